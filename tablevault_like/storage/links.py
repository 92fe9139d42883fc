"""Let files of the same content take their disk space once.

1. A file is shared with a read-only one that nobody writes to any more, and that no more people may read, or not at
   all. One that has other names already becomes a file of its own first (``separate``).
2. Where the file system can, both keep an identity of their own and share blocks (a reflink); else they become one file
   with two names (a hard link), and what removes one of the names leaves the other. Never across file systems.
3. Where neither works there is a copy, and nothing fails.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from tablevault_like.errors import TVFileError
from tablevault_like.storage import files, reach

_NO_LINK = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP})
"""What says that a file can't have another name here."""


def share(original: Path, target: Path, *, sha256: str, draft: Path) -> bool:
    """Let the file ``target`` take no disk space besides that of ``original``, which has the same content.

    Tell whether it does. ``original`` is read-only and never written to again, and nobody may be about to write to
    ``target``: the two may become one file with two names. ``draft`` is a free path on their file system. Nothing
    happens to ``target`` if they lie on different file systems, or if ``original`` isn't there, or isn't what its
    SHA-256 says. The caller syncs the folder.
    """
    files.remove(draft)
    try:
        with files.opened(original) as reader:
            found, there = os.fstat(reader), target.lstat()
            if os.path.samestat(found, there):
                return True
            is_alike = (found.st_dev, found.st_size) == (there.st_dev, there.st_size)
            is_wider = found.st_mode & ~there.st_mode & files.READABLE
            if not is_alike or is_wider or found.st_mode & files.WRITABLE or files.sha256(reader) != sha256:
                return False
            files.sync(reader, original)  # somebody may have copied the vault here with another tool
            if not _link(reader, original, draft):
                return False
    except (FileNotFoundError, TVFileError):  # its instance was deleted meanwhile
        return False
    reach.rename(draft, target)
    return True


def separate(reader: int, target: Path, *, draft: Path) -> str:
    """Replace a file that has other names by a copy of its own, and return its SHA-256. The others stay as they are.

    ``reader`` is ``target``, open for reading at its beginning; ``draft`` is a free path on its file system. The copy
    is synced, with the same times, and permissions that are no wider. The caller syncs the folder.
    """
    files.remove(draft)
    digest = files.copy_open_file(reader, draft)
    _look_like(reader, draft)
    reach.rename(draft, target)
    return digest


def mirror_tree(source: Path, target: Path) -> None:
    """Make the new folder ``target`` show the read-only files below ``source`` by links, or by copies if need be.

    Names and sizes are synced, and times of modification are those of ``source``. Raises TVFileError for a link.
    """
    with files.opened_folder(source) as folder:
        _mirror_tree(folder, source, target)


def _mirror_tree(folder: int, source: Path, target: Path) -> None:
    reach.make_folder(target)
    for entry in files.entries(folder):
        path = source / entry.name
        if entry.is_dir(follow_symlinks=False):
            with files.opened_folder(path, folder) as inner:
                _mirror_tree(inner, path, target / entry.name)
        else:
            with files.opened(path, folder) as reader:
                if not _link(reader, path, target / entry.name):
                    files.copy_open_file(reader, target / entry.name)
                    _look_like(reader, target / entry.name)
    files.sync_directory(target)


def _link(reader: int, original: Path, target: Path) -> bool:
    """Make ``target`` share the blocks of an open file, or be another name of it. Tell whether that works here."""
    writer = reach.open_file(target, files.CREATE)
    try:
        is_clone = files.clone(reader, writer)
        if is_clone:
            files.sync(writer, target)
    finally:
        os.close(writer)
    if is_clone:
        _look_like(reader, target)
        return True
    reach.unlink(target)
    try:
        reach.link(original, target)
    except OSError as error:
        if error.errno in _NO_LINK:
            return False
        raise
    if os.path.samestat(os.fstat(reader), target.lstat()):
        return True
    reach.unlink(target)  # something else was put there meanwhile
    return False


def _look_like(reader: int, target: Path) -> None:
    """Give a new file the permissions and the time of another."""
    found = os.fstat(reader)
    descriptor = reach.open_file(target, os.O_RDONLY)
    try:
        with files.naming(target):
            os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) & found.st_mode)
            os.utime(descriptor, ns=(found.st_atime_ns, found.st_mtime_ns))
    finally:
        os.close(descriptor)
