"""What to do where the disk refuses: tell it in words, and keep some room for what must work on a full one.

1. No process begins, or goes on, without a reserve beside the catalog: a file that holds nothing but room.
2. Whatever ends a process gives that room back when there is no other, and is done once more. So a process can be
   paused, stopped or reverted while the disk is full.
3. Afterwards as much of the reserve is taken again as there is room for.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tablevault_like.errors import TableVaultError, TVFileError
from tablevault_like.storage import reach

WANTED = 512 * 1024
"""Bytes that the reserve has: several times what the longest of these transactions was found to need."""
LEAST = 64 * 1024
"""Bytes of it without which no process begins."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
_T = TypeVar("_T")


@dataclass(frozen=True)
class Reserve:
    """The reserve of one vault: ``path`` is the file that keeps the room."""

    path: Path

    def ensure(self) -> None:
        """Take the room, unless it is there. Raises TVFileError if the disk is full.

        Where the file can't be made for another reason nothing is raised: what is to be done will tell.
        """
        if self._size() < WANTED and self._take() < LEAST and self._is_full():
            raise TVFileError(
                f"The disk that holds {self.path.parent.parent} is full, so nothing new is begun there. Free some "
                "space, and call again. What is under way can be stopped as it is.",
                path=self.path.parent.parent,
            )

    def insist(self, work: Callable[[], _T]) -> _T:
        """Return what ``work`` does; if the disk is too full for it, do it again in the room that is kept.

        ``work`` can be done again, wherever it failed.
        """
        try:
            return work()
        except Exception as error:
            if not is_full(error, self.path.parent):
                raise
            with suppress(OSError):
                reach.unlink(self.path, missing_ok=True)
        try:
            return work()
        finally:
            with suppress(OSError):
                self._take()

    def _size(self) -> int:
        """Return how many bytes the disk keeps for it: a copy of it may be nothing but a hole."""
        try:
            found = self.path.lstat()
        except OSError:
            return 0
        return min(found.st_size, found.st_blocks * 512)

    def _take(self) -> int:
        """Take as much as can be had, and return how much that is."""
        size = WANTED
        while size >= LEAST and self._size() < size:
            try:
                self._allocate(size)
            except OSError as error:
                if error.errno not in _FULL:
                    break
                size //= 2
        return self._size()

    def _allocate(self, size: int) -> None:
        descriptor = reach.open_file(self.path, os.O_WRONLY | os.O_CREAT)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, size)
            else:
                rest = memoryview(bytes(size))
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
        finally:
            os.close(descriptor)

    def _is_full(self) -> bool:
        """Tell whether the reserve is missing for want of room, and for no other reason."""
        try:
            self._allocate(LEAST)
        except OSError as error:
            return error.errno in _FULL
        return False


def is_full(error: BaseException | None, folder: Path) -> bool:
    """Tell whether an error, or what it was raised from, says that the disk that holds ``folder`` is full."""
    while error is not None:
        if isinstance(error, sqlite3.OperationalError):
            found = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if found == sqlite3.SQLITE_FULL:
                return True
            # A journal that can't be made, or a quota that is used up: SQLite doesn't tell why.
            if found in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR) and not _has_room(folder):
                return True
        elif isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__
    return False


def _has_room(folder: Path) -> bool:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        found = os.fstatvfs(descriptor)
    finally:
        os.close(descriptor)
    return found.f_bavail > 0 and (found.f_favail > 0 or found.f_files == 0)


def in_words(error: BaseException, root: Path) -> TVFileError | None:
    """Return what a refusal of the disk means for who uses the vault at ``root``, with its notes.

    ``None`` for any other error, and for one that says it already.
    """
    if isinstance(error, TableVaultError) or not isinstance(error, OSError | sqlite3.OperationalError):
        return None
    named = getattr(error, "filename", None)
    place = Path(os.fsdecode(named)) if isinstance(named, str | bytes) else root
    reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    number = error.errno if isinstance(error, OSError) else None
    is_inside = place.is_relative_to(root)
    if is_full(error, root):
        message = (
            f"The disk that holds {root if is_inside else place.parent} is full ({reason}"
            f"{f': {place}' if place != root else ''}). Free some space on it, and call again."
        )
    elif number == errno.EROFS:
        message = read_only(root if is_inside else place, reason)
    elif number in _FORBIDDEN:
        message = (
            f"{place} may not be changed, or not be read, by this user ({reason}). Ask its owner for the permission."
            f"{f' What may be read of {root} can be, all the same.' if is_inside else ''}"
        )
    else:
        return None
    said = TVFileError(message, path=place)
    for note in getattr(error, "__notes__", ()):
        said.add_note(note)
    return said


def read_only(place: Path, reason: str) -> str:
    """Return what to say where a whole file system can't be written to."""
    return (
        f"{place} lies on a file system that is mounted read-only ({reason}), so nothing was changed there. It can be "
        "read all the same; to change it, mount the file system for writing, or work on a copy of the vault."
    )


@contextmanager
def told(root: Path) -> Iterator[None]:
    """Raise what the disk refuses in words: where, and what to do."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        said = in_words(error, root)
        if said is None:
            raise
        raise said from error
