"""The system calls that change files, as a tracer sees them: which one, and on what file.

Only calls on files below a root count: what Python imports, or writes to a pipe, is no place for a fault.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tests.faults import ptrace
from tests.faults.ptrace import Registers

_AT_CURRENT = 2**32 - 100
"""``AT_FDCWD``, as the lower half of a register."""

_OPENS_TO_CHANGE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_DUPLICATE, _SET_LOCK, _SET_LOCK_AND_WAIT = 0, 6, 7
_CLONE, _CLONE_RANGE = 0x40049409, 0x4020940D
"""``FICLONE``, ``FICLONERANGE``."""

_Where: TypeAlias = Callable[[int, tuple[int, ...]], str | None]


@dataclass(frozen=True)
class Call:
    """A system call that a thread is about to make."""

    name: str
    path: Path
    """The file that it is made on; of a rename, the old name."""

    def __str__(self) -> str:
        return f"{self.name} {self.path.name}"


def _descriptor(argument: int) -> _Where:
    def where(pid: int, arguments: tuple[int, ...]) -> str | None:
        return _link(pid, arguments[argument])

    return where


def _path(argument: int, *, folder: int | None = None) -> _Where:
    def where(pid: int, arguments: tuple[int, ...]) -> str | None:
        if folder is not None and not arguments[argument]:  # of utimensat: the open file itself
            return _link(pid, arguments[folder])
        path = os.fsdecode(ptrace.text_at(pid, arguments[argument]))
        if path.startswith("/"):
            return path
        is_relative_to_folder = folder is not None and arguments[folder] & 0xFFFFFFFF != _AT_CURRENT
        base = _link(pid, arguments[folder]) if folder is not None and is_relative_to_folder else _working_folder(pid)
        return None if base is None else f"{base}/{path}"

    return where


def _opened(path: _Where, *, flags: int) -> _Where:
    def where(pid: int, arguments: tuple[int, ...]) -> str | None:
        return path(pid, arguments) if arguments[flags] & _OPENS_TO_CHANGE else None

    return where


def _record_lock(pid: int, arguments: tuple[int, ...]) -> str | None:
    return _link(pid, arguments[0]) if arguments[1] in (_SET_LOCK, _SET_LOCK_AND_WAIT) else None


def _cloned(pid: int, arguments: tuple[int, ...]) -> str | None:
    """Requests that change a file: those that let it share the blocks of another. Others only ask."""
    return _link(pid, arguments[0]) if arguments[1] & 0xFFFFFFFF in (_CLONE, _CLONE_RANGE) else None


_CALLS: dict[int, tuple[str, _Where]] = {
    1: ("write", _descriptor(0)),
    2: ("open", _opened(_path(0), flags=1)),
    3: ("close", _descriptor(0)),
    16: ("ioctl", _cloned),
    18: ("pwrite64", _descriptor(0)),
    20: ("writev", _descriptor(0)),
    40: ("sendfile", _descriptor(0)),
    72: ("fcntl", _record_lock),
    73: ("flock", _descriptor(0)),
    74: ("fsync", _descriptor(0)),
    75: ("fdatasync", _descriptor(0)),
    76: ("truncate", _path(0)),
    77: ("ftruncate", _descriptor(0)),
    82: ("rename", _path(0)),
    83: ("mkdir", _path(0)),
    84: ("rmdir", _path(0)),
    85: ("creat", _path(0)),
    86: ("link", _path(1)),
    87: ("unlink", _path(0)),
    88: ("symlink", _path(1)),
    90: ("chmod", _path(0)),
    91: ("fchmod", _descriptor(0)),
    257: ("openat", _opened(_path(1, folder=0), flags=2)),
    258: ("mkdirat", _path(1, folder=0)),
    263: ("unlinkat", _path(1, folder=0)),
    264: ("renameat", _path(1, folder=0)),
    265: ("linkat", _path(3, folder=2)),
    266: ("symlinkat", _path(2, folder=1)),
    268: ("fchmodat", _path(1, folder=0)),
    277: ("sync_file_range", _descriptor(0)),
    280: ("utimensat", _path(1, folder=0)),
    285: ("fallocate", _descriptor(0)),
    296: ("pwritev", _descriptor(0)),
    306: ("syncfs", _descriptor(0)),
    316: ("renameat2", _path(1, folder=0)),
    326: ("copy_file_range", _descriptor(2)),
    452: ("fchmodat2", _path(1, folder=0)),
}

_OTHER: dict[int, _Where] = {
    82: _path(1),
    86: _path(0),
    264: _path(3, folder=2),
    265: _path(1, folder=0),
    316: _path(3, folder=2),
}
"""The other path of a call that has two: the new name of a rename, the old one of a link."""

DESCRIPTORS = {"copy_file_range": 2} | dict.fromkeys(
    ("write", "pwrite64", "writev", "pwritev", "sendfile", "ftruncate", "fchmod", "fsync", "fdatasync", "fallocate"), 0
)
"""Which argument is the descriptor of the file that a call changes."""

NUMBERS = tuple(_CALLS)
CANNOT_FAIL = ("close",)
"""Calls of which nobody expects an error, and of which no file system that we name gives one."""


def decoded(pid: int, found: Registers, root: Path) -> Call | None:
    """Return the call that a stopped thread is about to make on ``root`` or what is below it, ``None`` for others."""
    name, where = _CALLS[found.number]
    path = where(pid, found.arguments)
    if path is None or not f"{path}/".startswith(f"{root}/"):
        return None
    return Call(name, Path(path.removesuffix(" (deleted)")))


def other_path(pid: int, found: Registers) -> Path:
    """Return the new name of a rename, or the old one of a link."""
    path = _OTHER[found.number](pid, found.arguments)
    assert path is not None
    return Path(path)


def _link(pid: int, descriptor: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/fd/{descriptor & 0xFFFFFFFF}")  # noqa: PTH115 - hundreds of times a trial
    except OSError:
        return None


def _working_folder(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/cwd")  # noqa: PTH115
