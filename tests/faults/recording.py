"""Record what a function changes in a folder, call by call, and do it again elsewhere.

The system calls are met on their way in, for what they are to do, and on their way out, for what became of them. One at
a time: while a thread is inside such a call, the others stand still. A call that changes a file in a way that isn't
known here fails the recording; only what is written through a shared mapping isn't noticed, but it would leave another
vault than the recording does (``test_recording``).
"""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tests.faults import calls, ptrace, tracing
from tests.faults.calls import Call
from tests.faults.ptrace import Registers
from tests.faults.tracing import Ending


@dataclass(frozen=True)
class Make:
    """A new file, empty, or a new folder."""

    path: Path
    is_folder: bool = False


@dataclass(frozen=True)
class Link:
    """One more name for a file."""

    old: Path
    path: Path


@dataclass(frozen=True)
class Rename:
    old: Path
    path: Path


@dataclass(frozen=True)
class Remove:
    """A name is gone; of a folder, the folder."""

    path: Path


@dataclass(frozen=True)
class Write:
    path: Path
    offset: int
    content: bytes


@dataclass(frozen=True)
class Resize:
    path: Path
    size: int


@dataclass(frozen=True)
class Protect:
    """Other permissions."""

    path: Path
    mode: int


@dataclass(frozen=True)
class Sync:
    """A file's content, or a folder's entries, are durable when this is over."""

    path: Path


@dataclass(frozen=True)
class SyncAll:
    """Everything is durable that was done before."""


@dataclass(frozen=True)
class Mark:
    """Something that was told to somebody: what was done before is acknowledged."""

    text: str


Change: TypeAlias = Make | Link | Rename | Remove | Write | Resize | Protect | Sync | SyncAll | Mark


def record(
    function: Callable[[], object], root: Path, marks: Path, *, kill_at: int | None = None
) -> tuple[Ending, list[Change]]:
    """Run ``function`` in a fork, and return how it ended and what it changed below ``root``, in order.

    Every line that it writes to the file ``marks`` becomes a mark. It is killed before its ``kill_at``-th call.
    """
    recorder = _Recorder(root, marks, kill_at)
    ending = tracing.follow(function, recorder.meet)
    return ending, recorder.changes


def replay(changes: list[Change], root: Path, copy: Path) -> None:
    """Do the same to a copy of what was below ``root``."""
    for change in changes:
        match change:
            case Make(path, is_folder):
                target = copy / path.relative_to(root)
                target.mkdir() if is_folder else target.touch(exist_ok=False)
            case Link(old, path):
                (copy / path.relative_to(root)).hardlink_to(copy / old.relative_to(root))
            case Rename(old, path):
                (copy / old.relative_to(root)).replace(copy / path.relative_to(root))
            case Remove(path):
                target = copy / path.relative_to(root)
                target.rmdir() if target.is_dir() else target.unlink()
            case Write(path, offset, content):
                with (copy / path.relative_to(root)).open("r+b") as file:
                    file.seek(offset)
                    file.write(content)
            case Resize(path, size):
                os.truncate(copy / path.relative_to(root), size)
            case Protect(path, mode):
                (copy / path.relative_to(root)).chmod(mode)
            case Sync() | SyncAll() | Mark():
                pass


class _Recorder:
    def __init__(self, root: Path, marks: Path, kill_at: int | None) -> None:
        self.changes: list[Change] = []
        self._root = root
        self._marks = marks
        self._left = kill_at

    def meet(self, pid: int, thread: int) -> None:
        try:
            registers = ptrace.registers(thread)
            call = calls.decoded(thread, registers, self._root)
        except (ProcessLookupError, FileNotFoundError):
            if self._left == 0:
                return  # it was killed
            raise
        if call is not None and self._left is not None:
            self._left = max(0, self._left - 1)
            if self._left == 0:
                os.kill(pid, signal.SIGKILL)
                return
        if call is not None and (about := _KINDS[call.name]) is not None:
            changes = list(about(_Meeting(thread, registers, call, self._root)))
            result = _result(thread)
            is_cut_short = call.name in ("write", "pwrite64", "writev")
            self.changes += [] if result < 0 else [_done(each, result) for each in changes] if is_cut_short else changes
            return
        noted = calls.decoded(thread, registers, self._marks.parent)
        if noted == Call("write", self._marks):
            text = ptrace.bytes_at(thread, registers.arguments[1], registers.arguments[2]).decode()
            self.changes += [Mark(line) for line in text.splitlines()]
        ptrace.proceed(thread)


@dataclass(frozen=True)
class _Meeting:
    """A call that a thread is about to make."""

    thread: int
    registers: Registers
    call: Call
    root: Path

    @property
    def arguments(self) -> tuple[int, ...]:
        return self.registers.arguments

    @property
    def path(self) -> Path:
        return self.call.path

    def is_named(self) -> bool:
        """Tell whether the file of a descriptor still has a name."""
        descriptor = self.arguments[calls.DESCRIPTORS[self.call.name]] & 0xFFFFFFFF
        return Path(f"/proc/{self.thread}/fd/{descriptor}").stat().st_nlink > 0

    def offset(self) -> int:
        """Return where a write begins that doesn't say."""
        descriptor = self.arguments[calls.DESCRIPTORS[self.call.name]] & 0xFFFFFFFF
        told = dict(
            line.split(":", 1)
            for line in Path(f"/proc/{self.thread}/fdinfo/{descriptor}").read_text().splitlines()
            if ":" in line
        )
        if int(told["flags"], 8) & os.O_APPEND:
            return self.path.stat().st_size
        return int(told["pos"])

    def buffers(self) -> bytes:
        """Return what a call with a list of buffers writes."""
        address, count = self.arguments[1], self.arguments[2]
        listed = ptrace.bytes_at(self.thread, address, 16 * count)
        return b"".join(ptrace.bytes_at(self.thread, *pair) for pair in struct.iter_unpack("QQ", listed))


_Changes: TypeAlias = Iterator[Change]


def _make_or_open(met: _Meeting) -> _Changes:
    flags = met.arguments[1 if met.call.name == "open" else 2]
    if not os.path.lexists(met.path):
        if flags & os.O_CREAT:
            yield Make(met.path)
    elif flags & os.O_TRUNC:
        yield Resize(met.path, 0)


def _make_folder(met: _Meeting) -> _Changes:
    yield Make(met.path, is_folder=True)


def _remove(met: _Meeting) -> _Changes:
    yield Remove(met.path)


def _link(met: _Meeting) -> _Changes:
    old = calls.other_path(met.thread, met.registers)
    yield Link(old, met.path)


def _rename(met: _Meeting) -> _Changes:
    yield Rename(met.path, calls.other_path(met.thread, met.registers))


def _write(met: _Meeting) -> _Changes:
    if met.is_named():
        content = ptrace.bytes_at(met.thread, met.arguments[1], met.arguments[2])
        yield Write(met.path, met.offset(), content)


def _write_at(met: _Meeting) -> _Changes:
    if met.is_named():
        content = ptrace.bytes_at(met.thread, met.arguments[1], met.arguments[2])
        yield Write(met.path, met.arguments[3], content)


def _write_buffers(met: _Meeting) -> _Changes:
    if met.is_named():
        yield Write(met.path, met.offset(), met.buffers())


def _resize(met: _Meeting) -> _Changes:
    if met.is_named():
        yield Resize(met.path, met.arguments[1])


def _protect(met: _Meeting) -> _Changes:
    if met.is_named():
        yield Protect(met.path, met.arguments[1])


def _protect_path(met: _Meeting) -> _Changes:
    yield Protect(met.path, met.arguments[1 if met.call.name == "chmod" else 2])


def _clone(met: _Meeting) -> _Changes:
    source = Path(f"/proc/{met.thread}/fd/{met.arguments[2] & 0xFFFFFFFF}")
    yield Resize(met.path, 0)
    yield Write(met.path, 0, source.read_bytes())


def _sync(met: _Meeting) -> _Changes:
    if met.is_named():
        yield Sync(met.path)


def _sync_all(met: _Meeting) -> _Changes:
    yield SyncAll()


def _unknown(met: _Meeting) -> _Changes:
    raise AssertionError(f"{met.call} changes a file in a way that can't be recorded")


_KINDS: dict[str, Callable[[_Meeting], _Changes] | None] = {
    **dict.fromkeys(("close", "fcntl", "flock", "utimensat", "sync_file_range")),
    **dict.fromkeys(("open", "openat"), _make_or_open),
    **dict.fromkeys(("mkdir", "mkdirat"), _make_folder),
    **dict.fromkeys(("rmdir", "unlink", "unlinkat"), _remove),
    **dict.fromkeys(("link", "linkat"), _link),
    **dict.fromkeys(("rename", "renameat", "renameat2"), _rename),
    "write": _write,
    "pwrite64": _write_at,
    "writev": _write_buffers,
    "ioctl": _clone,
    "ftruncate": _resize,
    "fchmod": _protect,
    **dict.fromkeys(("chmod", "fchmodat", "fchmodat2"), _protect_path),
    **dict.fromkeys(("fsync", "fdatasync"), _sync),
    "syncfs": _sync_all,
    **dict.fromkeys(
        ("creat", "truncate", "symlink", "symlinkat", "pwritev", "fallocate", "sendfile", "copy_file_range"), _unknown
    ),
}
"""How each call changes files; None for those that change nothing that a loss of power could take."""


def _result(thread: int) -> int:
    """Let a thread make its call, and return what became of it: negative for an error."""
    ptrace.proceed_to_exit(thread)
    while True:
        _, status = os.waitpid(thread, ptrace.WAIT_FOR_ALL)
        assert os.WIFSTOPPED(status), "the thread ended inside a call"
        if os.WSTOPSIG(status) == ptrace.CALL_IS_OVER:
            result = ptrace.registers(thread).result
            ptrace.proceed(thread)
            return result
        tracing.pass_on(thread, status)


def _done(change: Change, result: int) -> Change:
    """Return what was really done: less may have been written than was wanted."""
    return Write(change.path, change.offset, change.content[:result]) if isinstance(change, Write) else change
