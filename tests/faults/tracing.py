"""Run a function in a fork, with or without somebody who meets each of its system calls that change a file.

To be used in an interpreter that has one thread (a worker of ``tests.workers``), for it forks.
"""

from __future__ import annotations

import os
import pickle
import re
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

from tests.faults import calls, ptrace

PATIENCE = 60
"""How many seconds a fork may take before it is killed, because it hangs."""

Meet: TypeAlias = Callable[[int, int], None]
"""Called with the fork's process id and that of the thread that stands before a call; has to let it go on."""


_FRAMES = re.compile(r'^ +File "[^"]*/(tablevault_like|code_functions)/[^"]*", line', re.MULTILINE)
"""The frames of a traceback that are the library's, or those of user code."""


@dataclass(frozen=True)
class Ending:
    """What became of a fork."""

    code: int
    """Its exit code, negative for the signal that ended it."""
    value: Any = None
    """What the function returned."""
    error: str | None = None
    """What the function raised, with its traceback."""
    raised: list[str] = field(default_factory=list)
    """The names of the classes of what was raised, most special first."""
    message: str = ""
    """Its message, and its notes."""

    @property
    def returned(self) -> bool:
        return self.code == 0 and self.error is None

    @property
    def is_of_user_code(self) -> bool:
        """Whether what it raised came from user code, or from what that called, but not through the library."""
        return _FRAMES.findall(self.error or "")[-1:] == ["code_functions"]

    def value_or_raise(self) -> Any:
        """Return what the function returned. Raises AssertionError with what became of it otherwise."""
        assert self.returned, self.error or f"the fork ended with {self.code}"
        return self.value


def follow(function: Callable[[], object], meet: Meet) -> Ending:
    """Run ``function`` in a fork that stops before each call that may change a file, in whatever thread or child."""
    gate_reading, gate_writing = os.pipe()

    def begin() -> None:
        os.close(gate_writing)
        os.read(gate_reading, 1)
        ptrace.stop_before(calls.NUMBERS)

    def wait(pid: int) -> int:
        os.close(gate_reading)
        ptrace.seize(pid)
        os.write(gate_writing, b"x")
        os.close(gate_writing)
        while True:
            thread, status = os.waitpid(-1, ptrace.WAIT_FOR_ALL)
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                if thread == pid:
                    return os.waitstatus_to_exitcode(status)
            elif status >> 16 == ptrace.Event.SYSTEM_CALL:
                meet(pid, thread)
            else:
                pass_on(thread, status)

    return _fork(function, begin, wait)


def aside(function: Callable[[], object]) -> Ending:
    """Run ``function`` in a fork, undisturbed."""
    return _fork(function, lambda: None, lambda pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def pass_on(thread: int, status: int) -> None:
    """Let a thread go on that has stopped for anything but a call, and meet the signal that it stopped for."""
    event, number = status >> 16, os.WSTOPSIG(status)
    is_signal = event == ptrace.Event.NONE and number != signal.SIGTRAP
    ptrace.proceed(thread, number=number if is_signal else 0)


@dataclass(frozen=True)
class Fork:
    """A fork that runs a function."""

    pid: int
    told: int
    """The descriptor from which one reads what became of it."""

    @classmethod
    def begin(cls, function: Callable[[], object], begin: Callable[[], None]) -> Fork:
        """Let a fork call ``begin`` and then the function."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _work(function, begin, writing)
        os.close(writing)
        return cls(pid, reading)

    def ending(self, code: int) -> Ending:
        """Return what became of it, when it has ended with this exit code."""
        told = _read(self.told)
        return Ending(code, *(pickle.loads(told) if told else ()))

    def forget(self) -> None:
        os.close(self.told)


def _fork(function: Callable[[], object], begin: Callable[[], None], wait: Callable[[int], int]) -> Ending:
    fork = Fork.begin(function, begin)
    try:
        with _limited(fork.pid):
            code = wait(fork.pid)
        return fork.ending(code)
    except BaseException:
        # Whoever waits for it can't go on: it must not stand still for ever, with its files open.
        os.kill(fork.pid, signal.SIGKILL)
        os.waitpid(fork.pid, ptrace.WAIT_FOR_ALL)
        raise
    finally:
        fork.forget()


def _work(function: Callable[[], object], begin: Callable[[], None], told: int) -> NoReturn:
    """Run the function, tell what it returned or raised, and end."""
    code = 0
    try:
        begin()
        try:
            found: tuple[Any, str | None, list[str], str] = (function(), None, [], "")
        except BaseException as error:
            classes = [each.__name__ for each in type(error).__mro__]
            message = "\n".join([str(error), *getattr(error, "__notes__", ())])
            # Not more than a pipe holds: nobody reads before the end.
            found, code = (None, "".join(traceback.format_exception(error))[-30_000:], classes, message[:5_000]), 1
        try:
            _ignore_interrupts()
        except (KeyboardInterrupt, SystemExit):  # it has arrived at the last moment, when nobody was left to interrupt
            _ignore_interrupts()
        os.write(told, pickle.dumps(found))
    except BaseException:
        code = 70
    finally:
        os._exit(code)


def _ignore_interrupts() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _read(descriptor: int) -> bytes:
    told = b""
    while chunk := os.read(descriptor, 1 << 16):
        told += chunk
    return told


@contextmanager
def _limited(pid: int) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
    left = signal.alarm(PATIENCE)
    try:
        yield
    finally:
        # One fork may stand still while another one runs: it has what it had left.
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        signal.alarm(left)
