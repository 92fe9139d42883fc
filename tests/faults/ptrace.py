"""What the kernel offers a tracer, as little of it as the tests need: Linux on x86-64.

A tracee installs a filter (seccomp) that stops it before each system call of a list; all other calls run at full
speed. Its threads and children inherit the filter, and are traced from their first instruction.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from enum import IntEnum
from functools import cache
from pathlib import Path

_SEIZE, _CONTINUE, _CONTINUE_TO_EXIT, _GET_REGISTERS, _SET_REGISTERS = 0x4206, 7, 24, 12, 13
_MARK_CALLS, _FOLLOW_FORK, _FOLLOW_VFORK, _FOLLOW_CLONE, _EVENT_EXEC, _EVENT_SECCOMP = (
    0x01,
    0x02,
    0x04,
    0x08,
    0x10,
    0x80,
)
_KILL_WITH_TRACER = 0x100000
_OPTIONS = _MARK_CALLS | _FOLLOW_FORK | _FOLLOW_VFORK | _FOLLOW_CLONE | _EVENT_EXEC | _EVENT_SECCOMP | _KILL_WITH_TRACER

_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000

WAIT_FOR_ALL = 0x40000000
"""``__WALL``: wait for threads as for children."""

CALL_IS_OVER = signal.SIGTRAP | 0x80
"""What a thread stops with that has come out of a call (``proceed_to_exit``)."""


class Event(IntEnum):
    """Why a tracee has stopped, other than for a signal."""

    NONE = 0
    SYSTEM_CALL = 7
    STOP = 128


class Registers(ctypes.Structure):
    """``struct user_regs_struct``."""

    _fields_ = [
        (name, ctypes.c_ulonglong)
        for name in (
            *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi"),
            *("orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs"),
        )
    ]

    @property
    def number(self) -> int:
        """Return the number of the system call that is about to be made."""
        return int(self.orig_rax)

    @property
    def arguments(self) -> tuple[int, ...]:
        """Return its six arguments."""
        return tuple(int(getattr(self, name)) for name in ("rdi", "rsi", "rdx", "r10", "r8", "r9"))

    @property
    def result(self) -> int:
        """Return what became of the call that was made: a negative errno, if it failed."""
        return ctypes.c_longlong(self.rax).value

    def refuse(self, number: int) -> None:
        """Let the call not be made, and fail with an errno."""
        self.orig_rax = 2**64 - 1
        self.rax = 2**64 - number


@cache
def missing() -> str | None:
    """Return why nothing can be traced here, ``None`` if it can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "tracing system calls needs Linux on x86-64"
    # In an interpreter of its own, because this one may have threads, and must not fork.
    tried = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"tracing isn't permitted here: {tried.stderr.splitlines()[-1]}"


def stop_before(numbers: Iterable[int]) -> None:
    """Let this thread, and all that it starts, stop before each of these system calls, for its tracer."""
    wanted = list(numbers)
    program = [(_LOAD, 0, 0, 0)]
    program += [(_JUMP_IF_EQUAL, len(wanted) - place, 0, number) for place, number in enumerate(wanted)]
    program += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _TRACE)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    _check(_libc().prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _check(_libc().prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(header), 0, 0))


def seize(pid: int) -> None:
    """Become the tracer of a process, which goes on."""
    _ptrace(_SEIZE, pid, data=_OPTIONS)


def proceed(pid: int, *, number: int = 0) -> None:
    """Let a stopped tracee go on, and meet a signal. One that was killed meanwhile is no error."""
    with suppress(ProcessLookupError):
        _ptrace(_CONTINUE, pid, data=number)


def proceed_to_exit(pid: int) -> None:
    """Let a tracee make the call before which it has stopped, and stop again behind it."""
    _ptrace(_CONTINUE_TO_EXIT, pid, data=0)


def registers(pid: int) -> Registers:
    found = Registers()
    _ptrace(_GET_REGISTERS, pid, data=ctypes.addressof(found))
    return found


def set_registers(pid: int, given: Registers) -> None:
    _ptrace(_SET_REGISTERS, pid, data=ctypes.addressof(given))


def text_at(pid: int, address: int) -> bytes:
    """Return the bytes at an address of a tracee up to the first NUL: a path."""
    found = b""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        while b"\0" not in found:
            # Not beyond the page, for the next one may not be mapped.
            memory.seek(address + len(found))
            found += memory.read(4096 - (address + len(found)) % 4096)
    return found.partition(b"\0")[0]


def bytes_at(pid: int, address: int, count: int) -> bytes:
    """Return so many bytes at an address of a tracee."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        found = b""
        while len(found) < count:
            found += memory.read(count - len(found))
    return found


def _ptrace(request: int, pid: int, *, data: int) -> None:
    _check(_libc().ptrace(request, pid, None, data))


def _check(result: int) -> None:
    number = ctypes.get_errno()
    if result == -1 and number:
        raise OSError(number, f"{os.strerror(number)} ({errno.errorcode.get(number, number)})")


@cache
def _libc() -> ctypes.CDLL:
    found = ctypes.CDLL(None, use_errno=True)
    found.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    found.ptrace.restype = ctypes.c_long
    found.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    return found


def _try() -> None:
    """Trace a fork for a moment."""
    pid = os.fork()
    if pid == 0:
        stop_before([])
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    try:
        seize(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, WAIT_FOR_ALL)


if __name__ == "__main__":
    _try()
