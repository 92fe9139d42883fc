"""Small file systems, full ones, and ones that can't be written to, which nobody but one worker sees.

A worker that was set apart has a table of mounts of its own. It goes with the worker and its forks, however they end:
nothing is left behind that somebody would have to unmount.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PAGE = 4096
"""Bytes: what a file in memory takes is a multiple of it."""

_NEW_MOUNTS = 0x00020000
_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 32, 4096, 16384, 1 << 18

_DROP_FROM_BOUNDS, _CAPABILITIES = 24, 0x20080522

_BALLAST, _BALLASTS = "ballast", "ballasts"


@cache
def missing() -> str | None:
    """Tell what is missing here for mounts of one's own, ``None`` if nothing is."""
    if not sys.platform.startswith("linux"):
        return "mounts of one's own need Linux"
    if os.geteuid() != 0:
        return "mounts need root"
    pid = os.fork()
    if pid == 0:
        try:
            set_apart()
        except OSError:
            os._exit(1)
        os._exit(0)
    is_refused = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0
    return "this container doesn't let root mount anything" if is_refused else None


def set_apart() -> None:
    """Give this worker a table of mounts of its own, from which nothing comes back to others'."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(_NEW_MOUNTS) != 0:
        raise _refused()
    _mount("none", Path("/"), None, _RECURSIVE | _PRIVATE)


@dataclass(frozen=True)
class SmallDisk:
    """A file system of a limited size, mounted on a folder of this worker. Ballast fills it."""

    folder: Path

    @classmethod
    def mounted(cls, folder: Path, *, pages: int, files: int) -> SmallDisk:
        """Mount a new one, that holds so many pages and so many files and folders."""
        folder.mkdir(parents=True, exist_ok=True)
        _mount("tmpfs", folder, "tmpfs", 0, f"size={pages * PAGE},nr_inodes={files},mode=0777")
        disk = cls(folder)
        # While there are some: on a full disk they couldn't be made.
        (folder / _BALLAST).touch()
        (folder / _BALLASTS).mkdir()
        return disk

    @property
    def free_pages(self) -> int:
        return os.statvfs(self.folder).f_bavail

    @property
    def free_files(self) -> int:
        return os.statvfs(self.folder).f_favail

    def leave(self, pages: int) -> None:
        """Fill it until so many pages are free."""
        surplus = (self.free_pages - pages) * PAGE
        if surplus > 0:
            with (self.folder / _BALLAST).open("ab") as stream:
                os.posix_fallocate(stream.fileno(), stream.tell(), surplus)

    def leave_files(self, count: int) -> None:
        """Fill it with empty files until no more than so many can be made. Its pages stay free."""
        folder = self.folder / _BALLASTS
        there = len(list(folder.iterdir()))
        for number in range(there, there + max(self.free_files - count, 0)):
            (folder / f"{number}").touch()

    def fill(self) -> None:
        """Leave nothing."""
        self.leave(0)
        self.leave_files(0)

    def make_room(self) -> None:
        """Take away the ballast."""
        os.truncate(self.folder / _BALLAST, 0)
        for path in (self.folder / _BALLASTS).iterdir():
            path.unlink()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nothing be written below a folder, by whomever."""
    _mount(os.fspath(folder), folder, None, _BIND | _RECURSIVE)
    try:
        _mount("none", folder, None, _REMOUNT | _BIND | _READ_ONLY)
        yield
    finally:
        _unmount(folder)


def become_ordinary() -> None:
    """Give up what root may do besides what everybody may, for this worker and whatever it starts.

    It keeps its name, so that it can still read the interpreter's own files: what it owns it may change, as far as the
    permissions let it.
    """
    if os.geteuid() != 0:
        return
    library = ctypes.CDLL(None, use_errno=True)
    for power in range(64):
        if library.prctl(_DROP_FROM_BOUNDS, power, 0, 0, 0) != 0:
            break
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0)
    none = (ctypes.c_uint32 * 6)()
    if library.capset(header, none) != 0:
        raise _refused()


def _mount(source: str, folder: Path, kind: str | None, flags: int, options: str | None = None) -> None:
    texts = [None if each is None else os.fsencode(each) for each in (source, folder, kind)]
    library = ctypes.CDLL(None, use_errno=True)
    if library.mount(*texts, ctypes.c_ulong(flags), None if options is None else options.encode()) != 0:
        raise _refused()


def _unmount(folder: Path) -> None:
    if ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(folder), 2) != 0:  # lazily
        raise _refused()


def _refused() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
