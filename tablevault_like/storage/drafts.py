"""Make something beside its place, and rename it in the end: it is there as a whole or not at all.

1. A draft is a hidden folder beside its target, whose name tells the target and what it is for.
2. Who works in it holds a lock on it (``flock``), which ends with its worker. It removes the draft, however it ends.
3. What a worker left that was killed is removed by the next call about the same target. Nothing else is.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

from tablevault_like.storage import files

log = logging.getLogger("tablevault_like")

_UNIQUE = "{unique}"


class Kind(Enum):
    """What a draft is for, and the form of its name. ``DELETING`` is a vault that is gone for everybody else."""

    CREATING = ".{name:.40}.{unique}.creating"
    MIGRATING = ".{name:.60}.migrating-{unique}"
    ARCHIVING = ".{name:.40}.{unique}.archiving"
    RESTORING = ".{name:.40}.{unique}.restoring"
    REBUILDING = ".{name:.40}.{unique}.rebuilding"
    DELETING = ".{name:.40}.{unique}.deleting"


@contextmanager
def draft(target: Path, kind: Kind, *, mode: int = 0o700) -> Iterator[Path]:
    """Make an empty draft for ``target``, and remove it in the end with what is still in it.

    ``mode`` is that of the folder, for one that is to be renamed to ``target`` itself; by default only its owner may
    enter it.
    """
    sweep(target)
    folder, lock = _make(target, kind, mode)
    try:
        yield folder
    finally:
        _remove(folder)
        os.close(lock)


def sweep(target: Path) -> None:
    """Remove the drafts for ``target`` whose workers are dead. What can't be removed is logged, and stays."""
    form = _form(target)
    with suppress(OSError), os.scandir(target.parent) as entries:
        for name in [entry.name for entry in entries]:
            if form.fullmatch(name):
                with suppress(OSError):
                    _remove_dead(target.with_name(name))


def is_draft(path: Path, target: Path) -> bool:
    """Tell whether something has the name of a draft for ``target``."""
    return _form(target).fullmatch(path.name) is not None


def is_held(folder: Path) -> bool:
    """Tell whether a living worker works in a draft. One that isn't there any more is nobody's."""
    try:
        lock = locked(folder)
    except OSError:
        return False
    if lock is None:
        return True
    os.close(lock)
    return False


def name_for(target: Path, kind: Kind) -> Path:
    """Return a name for a draft that nothing has yet."""
    return target.with_name(kind.value.format(name=target.name, unique=uuid.uuid4().hex))


def locked(folder: Path) -> int | None:
    """Lock a folder and return the descriptor that holds the lock; ``None`` if somebody else has it.

    Some network file systems can't lock folders; nobody can sweep there either.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        log.info("%s can't be locked", folder, exc_info=True)
    return descriptor


def _make(target: Path, kind: Kind, mode: int) -> tuple[Path, int]:
    while True:
        folder = name_for(target, kind)
        folder.mkdir(mode)
        # Before it is locked it looks dead, so it may be swept away in between.
        with suppress(FileNotFoundError):
            lock = locked(folder)
            if lock is not None:
                if folder.exists():
                    return folder, lock
                os.close(lock)


def _form(target: Path) -> re.Pattern[str]:
    """Return what all drafts for a target are named like."""
    forms = []
    for kind in Kind:
        before, after = (re.escape(part.format(name=target.name)) for part in kind.value.split(_UNIQUE))
        forms.append(f"{before}[0-9a-f]{{32}}{after}")
    return re.compile("|".join(forms))


def _remove_dead(folder: Path) -> None:
    with files.opened_folder(folder) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        log.info("removing %s, which a worker left that was killed", folder)
        _remove(folder)


def _remove(folder: Path) -> None:
    try:
        files.remove(folder)
    except OSError:
        log.warning("%s could not be removed; it may be removed by hand", folder, exc_info=True)
