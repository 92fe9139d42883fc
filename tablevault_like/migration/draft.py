"""A folder that becomes a vault: it is there as a whole, or not at all.

It is made beside its place under a hidden name and renamed at the end. Whoever makes one holds a lock on it, so that
the next one who makes one for the same place can tell what a killed worker left behind, and removes it.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tablevault_like.errors import TableVaultError, TVArgumentError, TVFileError
from tablevault_like.layout import Layout
from tablevault_like.storage import files


def check_place(place: Path) -> None:
    """Raise TVArgumentError if no vault can be made at ``place``, because something is there or it lies in a vault."""
    outer = next((folder for folder in place.parents if Layout(folder).marker.is_file()), None)
    if outer is not None:
        raise TVArgumentError(
            f"{place} lies in the vault {outer}, and a vault doesn't hold another one. Choose a place outside of it."
        )
    if os.path.lexists(place) and (place.is_symlink() or not place.is_dir() or any(place.iterdir())):
        raise TVArgumentError(
            f"There is something at {place} already, so nothing was brought there. Choose a folder that isn't there "
            "yet, or an empty one."
        )


@contextmanager
def drafted(place: Path) -> Iterator[Path]:
    """Give an empty folder that is renamed to ``place`` on leaving, all of it synced; removed if anything is raised.

    Raises TVFileError if the disk refuses.
    """
    try:
        files.make_directory(place.parent)
        _remove_litter(place)
        draft, lock = _made(place)
        made = draft
        try:
            yield draft
            files.sync_tree(draft)
            check_place(place)
            made = draft.rename(place)
            files.sync_directory(place.parent)
        except BaseException:
            files.remove(made)
            raise
        finally:
            os.close(lock)
    except TableVaultError:
        raise
    except OSError as error:
        named = error.filename or place
        raise TVFileError(
            f"{place} can't be made: {error.strerror} ({named}). Nothing was brought over. Choose another place, or "
            "mend this one, and call again.",
            path=place,
        ) from error


def _made(place: Path) -> tuple[Path, int]:
    """Make a draft, and return it with the descriptor that holds its lock."""
    while True:
        draft = place.with_name(f"{_prefix(place)}{uuid.uuid4().hex}")
        draft.mkdir()
        # Before it is locked it looks dead, so somebody may remove it in between.
        with suppress(FileNotFoundError):
            lock = _lock(draft)
            if lock is not None:
                if draft.exists():
                    return draft, lock
                os.close(lock)


def _remove_litter(place: Path) -> None:
    for path in place.parent.iterdir():
        if path.name.startswith(_prefix(place)) and path.is_dir() and not path.is_symlink():
            with suppress(FileNotFoundError):
                lock = _lock(path)
                if lock is not None:
                    files.remove(path)
                    os.close(lock)


def _prefix(place: Path) -> str:
    return f".{place.name[:60]}.migrating-"


def _lock(folder: Path) -> int | None:
    """Lock a folder, and return the descriptor that holds the lock; None if somebody else holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
