"""Write files so that they survive: every write is synced before it is named, every rename before it is relied on.

1. Nothing is written in place: a file is made under a name that nobody reads, synced, and then renamed or linked.
2. A rename is durable once both parents are synced; ``place`` does that.
3. A failed sync is never tried again: the kernel may have dropped the pages, so the error is raised and the file
   given up.
4. No symbolic link is followed when something is made, moved, copied or removed (``reach``). What is copied or hashed
   below a folder is reached from that folder's own descriptor, so a link that is put in the way leads nowhere.
5. Files of any size take constant memory. Where the file system can, a copy shares the disk space of its original.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import logging
import os
import stat
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from tablevault_like.errors import TVFileError
from tablevault_like.storage import reach

log = logging.getLogger("tablevault_like")

_C = ctypes.CDLL(None, use_errno=True)
_CHUNK = 1 << 20
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_READ_FOLDER = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a new file is opened: where nothing stands, for writing and for reading what was written."""
_FICLONE = 0x40049409
"""The request that makes one file share the blocks of another, of Linux (``linux/fs.h``)."""
WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
"""What no file of a materialized instance has in its mode."""
READABLE = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
"""What tells in a mode who may read."""


def write_file(path: Path, content: bytes | str, *, sync: bool = True) -> None:
    """Create ``path`` with ``content`` and sync it, unless it may be lost with the power. The caller syncs the folder.

    Raises FileExistsError if there is such a file.
    """
    raw = content.encode() if isinstance(content, str) else content
    descriptor = reach.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    with naming(path), os.fdopen(descriptor, "wb", buffering=0) as file:
        rest = memoryview(raw)
        while rest:
            rest = rest[file.write(rest) or 0 :]
        if sync:
            os.fsync(descriptor)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in the error of a call on its descriptor, or in its folder's, which by itself doesn't tell."""
    try:
        yield
    except OSError as error:
        is_named = isinstance(error.filename, str) and os.path.isabs(error.filename)
        if not is_named and not isinstance(error, TVFileError):
            error.filename = os.fspath(path)
        raise


def read_text(path: Path) -> str:
    """Return the text of a file as it is, line ends included. Raises TVFileError if it is a link, or isn't UTF-8."""
    if path.is_symlink():
        raise TVFileError(f"{path} is a link. Put the file itself there.", path=path)
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise TVFileError(f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8.", path=path) from error


def check_no_link(*paths: Path) -> None:
    """Raise TVFileError if one of these is a link: a vault is made of files and folders only (guarantee 13).

    What isn't there is no link.
    """
    for path in paths:
        if os.path.islink(path):
            raise reach.link_in_the_way(path)


def check_no_link_in(folder: Path, names: Collection[str] | None = None) -> None:
    """Raise TVFileError if a folder is a link, or anything in it that has one of these names, if they are given."""
    check_no_link(folder)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as found:
        for entry in found:
            if (names is None or entry.name in names) and entry.is_symlink():
                raise reach.link_in_the_way(Path(entry.path))


def sync_file(path: Path) -> None:
    """Sync the content of a file that something else has written."""
    descriptor = reach.open_file(path, os.O_RDONLY)
    try:
        sync(descriptor, path)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Sync the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(descriptor, path)
    finally:
        os.close(descriptor)


def sync(descriptor: int, path: Path) -> None:
    """Sync what is open. An error names ``path``."""
    with naming(path):
        os.fsync(descriptor)


def sync_tree(root: Path, *, with_files: bool = False) -> None:
    """Sync every folder below ``root`` bottom-up, ``root`` last; the files in them too, if asked to."""
    for folder, _, names in os.walk(root, topdown=False):
        if with_files:
            for name in names:
                path = Path(folder, name)
                if not path.is_symlink():
                    sync_file(path)
        sync_directory(Path(folder))


def sync_file_system(folder: Path) -> None:
    """Sync all that anybody has written to the file system that ``folder`` lies on; elsewhere than on Linux, to any.

    It takes as long as what other programs have written there takes. What fails of it is only logged: a call of this
    kind doesn't tell whose file it was.
    """
    sync_one = getattr(_C, "syncfs", None)
    if sync_one is None:
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if sync_one(descriptor):
            log.warning(
                "not all could be synced that was written where %s lies: %s", folder, os.strerror(ctypes.get_errno())
            )
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Make a folder, and those above it that are missing, durably. It may exist already."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            reach.make_folder(folder)
        sync_directory(folder.parent)


def place(source: Path, target: Path) -> None:
    """Rename ``source`` to ``target``, where nothing stands, and sync both parents.

    Raises TVFileError if something stands there.
    """
    if os.path.lexists(target):
        raise TVFileError(
            f"{target} exists already, so nothing was put there. Move it away and call again.", path=target
        )
    reach.rename(source, target)
    sync_directory(target.parent)
    if source.parent != target.parent:
        sync_directory(source.parent)


def replace(source: Path, target: Path) -> None:
    """Rename the file ``source`` over ``target`` and sync both parents."""
    reach.rename(source, target)
    sync_directory(target.parent)
    if source.parent != target.parent:
        sync_directory(source.parent)


def copy_file(source: Path, target: Path) -> str:
    """Copy a regular file to a new name, sync it, and return the SHA-256 of what was copied, in hexadecimal.

    Raises TVFileError for anything that isn't a regular file.
    """
    with opened(source) as reader:
        return copy_open_file(reader, target)


def copy_tree(source: Path, target: Path) -> dict[str, str]:
    """Copy the regular files and folders below ``source`` to the new folder ``target``, synced.

    Return the SHA-256 of each file by its POSIX path relative to ``source``. Raises TVFileError for a link, a device or
    a socket, and if ``source`` itself is one.
    """
    with opened_folder(source) as folder:
        return dict(_copy_tree(folder, source, target, ""))


def _copy_tree(folder: int, source: Path, target: Path, prefix: str) -> Iterator[tuple[str, str]]:
    reach.make_folder(target)
    for entry in entries(folder):
        path = source / entry.name
        if entry.is_dir(follow_symlinks=False):
            with opened_folder(path, folder) as inner:
                yield from _copy_tree(inner, path, target / entry.name, f"{prefix}{entry.name}/")
        else:
            with opened(path, folder) as reader:
                yield prefix + entry.name, copy_open_file(reader, target / entry.name)
    sync_directory(target)


def copy_open_file(reader: int, target: Path) -> str:
    """Do what ``copy_file`` does with a regular file that is open for reading, at its beginning."""
    writer = reach.open_file(target, CREATE)
    try:
        with naming(target):
            digest = _digest(writer) if clone(reader, writer) else _copy_content(reader, writer)
            os.fsync(writer)
    finally:
        os.close(writer)
    return digest


def _copy_content(reader: int, writer: int) -> str:
    digest = hashlib.sha256()
    while chunk := os.read(reader, _CHUNK):
        digest.update(chunk)
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(writer, rest) :]
    return digest.hexdigest()


def clone(reader: int, writer: int) -> bool:
    """Let a new file share the blocks of another until one of them is written to, and tell whether that works here."""
    if sys.platform != "linux":
        return False
    try:
        fcntl.ioctl(writer, _FICLONE, reader)
    except OSError:
        return False  # what is wrong with the disk itself is found when the content is copied
    return True


def open_files(root: Path) -> Iterator[tuple[str, int]]:
    """Yield every regular file below ``root`` as its POSIX path relative to ``root`` and a descriptor, in order.

    The descriptor is open for reading until the next one is asked for. No link is followed, even if it was put there
    meanwhile. Raises TVFileError for a link, a device or a socket.
    """
    with opened_folder(root) as folder:
        yield from _open_files(folder, root, "")


def _open_files(folder: int, root: Path, prefix: str) -> Iterator[tuple[str, int]]:
    for entry in entries(folder):
        path = root / entry.name
        if entry.is_dir(follow_symlinks=False):
            with opened_folder(path, folder) as inner:
                yield from _open_files(inner, path, f"{prefix}{entry.name}/")
        else:
            with opened(path, folder) as descriptor:
                yield prefix + entry.name, descriptor


def entries(folder: int) -> list[os.DirEntry[str]]:
    """Return what is in an open folder, in order."""
    with os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name)


@contextlib.contextmanager
def opened(path: Path, folder: int | None = None) -> Iterator[int]:
    """Open a regular file for reading: by its whole path, or by its name in an open folder.

    Raises TVFileError for anything else.
    """
    descriptor = _open(path, _READ, folder)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise TVFileError(f"{path} is not a regular file, so it was not copied. Remove it.", path=path)
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def opened_folder(path: Path, folder: int | None = None) -> Iterator[int]:
    """Open a folder that isn't a link: by its whole path, or by its name in an open folder."""
    descriptor = _open(path, _READ_FOLDER, folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open(path: Path, flags: int, folder: int | None) -> int:
    try:
        return reach.open_file(path, flags) if folder is None else os.open(path.name, flags, dir_fd=folder)
    except OSError as error:
        # A link is told as ELOOP, in the place of a folder as ENOTDIR; a socket as ENXIO.
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            kind = "a link" if path.is_symlink() else "neither a regular file nor a folder"
            raise TVFileError(
                f"{path} is {kind}, so it was not copied. Put the file itself there.", path=path
            ) from error
        error.filename = str(path)
        raise


def regular_files(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield every regular file below ``root`` as its POSIX path relative to ``root`` and its path, in order.

    Raises TVFileError for a link, a device or a socket: what a vault keeps is made of files and folders only.
    """
    for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            for name, file in regular_files(path):
                yield f"{entry.name}/{name}", file
        elif entry.is_file(follow_symlinks=False):
            yield entry.name, path
        else:
            raise TVFileError(f"{path} is neither a regular file nor a folder. Remove it.", path=path)


def sha256(file: Path | int) -> str:
    """Return the SHA-256 of a file, given by its path or by an open descriptor, in hexadecimal."""
    if isinstance(file, int):
        return _digest(file)
    descriptor = reach.open_file(file, os.O_RDONLY)
    try:
        return _digest(descriptor)
    finally:
        os.close(descriptor)


def _digest(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    digest = hashlib.sha256()
    while chunk := os.read(descriptor, _CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def remove(path: Path) -> None:
    """Remove a file or a whole folder, if it is there. Links are removed, never followed."""
    try:
        is_folder = stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if is_folder:
        with naming(path):
            reach.remove_tree(path)
    else:
        reach.unlink(path, missing_ok=True)


def remove_empty(folder: Path) -> None:
    """Remove a folder durably if nothing is in it. It may be gone, by somebody who died before that was durable."""
    if folder.is_dir() and not any(folder.iterdir()):
        reach.remove_folder(folder)
    if not folder.exists() and folder.parent.is_dir():
        sync_directory(folder.parent)


def protect(file: Path | int) -> None:
    """Make a file, given by its path or by an open descriptor, read-only. A guard against mistakes, not people."""
    if isinstance(file, Path):
        reach.change_mode(file, take=WRITABLE)
    else:
        reach.change_open_mode(file, take=WRITABLE)


def new_folder_mode(draft: Path) -> int:
    """Return the permissions that a folder gets which is made at ``draft``: those that the umask leaves.

    The umask itself can only be asked for by changing it, for all threads.
    """
    remove(draft)
    reach.make_folder(draft)
    try:
        return stat.S_IMODE(draft.stat().st_mode) & 0o777
    finally:
        reach.remove_folder(draft)


def narrow(descriptor: int, mode: int) -> None:
    """Take from an open file or folder of this user the permissions that aren't in ``mode``."""
    if os.fstat(descriptor).st_uid == os.geteuid():
        reach.change_open_mode(descriptor, take=0o777 & ~mode)


def narrow_folders(root: Path, mode: int) -> None:
    """Take from ``root``, and all folders below, the permissions that aren't in ``mode``. No link is followed."""
    with reach.folder_of(root) as (folder, name):
        for _, _, _, descriptor in os.fwalk(name, dir_fd=folder):
            narrow(descriptor, mode)


def unprotect_tree(root: Path) -> None:
    """Make every file below ``root`` writable for its owner again. One that has other names gets a copy of its own."""
    draft = root.with_name(f"{root.name}.new")
    for _, path in regular_files(root):
        found = path.stat()
        if found.st_nlink > 1:
            remove(draft)
            copy_file(path, draft)
            replace(draft, path)
        else:
            reach.change_mode(path, add=stat.S_IWUSR)


def has_writable(root: Path) -> bool:
    """Tell whether ``root`` is, or holds, anything but read-only files and folders of such."""
    if root.is_symlink() or not root.is_dir():
        return True
    for folder, inner, names in os.walk(root):
        for name in (*inner, *names):
            mode = os.lstat(os.path.join(folder, name)).st_mode
            if not stat.S_ISDIR(mode) and (mode & WRITABLE or not stat.S_ISREG(mode)):
                return True
    return False


def discard(path: Path, trash: Path, name: str) -> None:
    """Move what nobody needs any more into the trash, as ``name`` or, if that is taken, as ``name~1``, ..."""
    check_no_link(trash)
    make_directory(trash)
    reach.rename(path, available_name(trash, name))


def available_name(folder: Path, name: str) -> Path:
    """Return ``folder / name``, or the first of ``name~1``, ``name~2``, ... where nothing stands."""
    candidate, number = folder / name, 0
    while os.path.lexists(candidate):
        number += 1
        candidate = folder / f"{name}~{number}"
    return candidate
