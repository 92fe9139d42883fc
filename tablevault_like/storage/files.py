"""Write files so that they survive: every write is synced before it is named, every rename before it is relied on.

1. Nothing is written in place: a file is made under a name that nobody reads, synced, and then renamed or linked.
2. A rename is durable once both parents are synced; ``place`` does that.
3. A failed sync is never tried again: the kernel may have dropped the pages, so the error is raised and the file
   given up.
4. No symbolic link is followed, neither when something is copied nor when it is removed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from tablevault_like.errors import TVFileError

_CHUNK = 1 << 20
_NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs", "lustre", "9p"}
)


def write_file(path: Path, content: bytes | str) -> None:
    """Create ``path`` with ``content`` and sync it. The caller syncs the folder.

    Raises FileExistsError if there is such a file.
    """
    raw = content.encode() if isinstance(content, str) else content
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        rest = memoryview(raw)
        while rest:
            rest = rest[file.write(rest) or 0 :]
        os.fsync(descriptor)


def read_text(path: Path) -> str:
    """Return the text of a file as it is, line ends included. Raises TVFileError if it is a link, or isn't UTF-8."""
    if path.is_symlink():
        raise TVFileError(f"{path} is a link. Put the file itself there.", path=path)
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise TVFileError(f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8.", path=path) from error


def sync_file(path: Path) -> None:
    """Sync the content of a file that something else has written."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Sync the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(root: Path, *, with_files: bool = False) -> None:
    """Sync every folder below ``root`` bottom-up, ``root`` last; the files in them too, if asked to."""
    for folder, _, names in os.walk(root, topdown=False):
        if with_files:
            for name in names:
                path = Path(folder, name)
                if not path.is_symlink():
                    sync_file(path)
        sync_directory(Path(folder))


def make_directory(path: Path) -> None:
    """Make a folder, and those above it that are missing, durably. It may exist already."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
        sync_directory(folder.parent)


def place(source: Path, target: Path) -> None:
    """Rename ``source`` to ``target``, where nothing stands, and sync both parents.

    Raises TVFileError if something stands there.
    """
    if os.path.lexists(target):
        raise TVFileError(
            f"{target} exists already, so nothing was put there. Move it away and call again.", path=target
        )
    source.rename(target)
    sync_directory(target.parent)
    if source.parent != target.parent:
        sync_directory(source.parent)


def replace(source: Path, target: Path) -> None:
    """Rename the file ``source`` over ``target`` and sync both parents."""
    source.replace(target)
    sync_directory(target.parent)
    if source.parent != target.parent:
        sync_directory(source.parent)


def copy_file(source: Path, target: Path) -> None:
    """Copy a regular file to a new name and sync it. Raises TVFileError for anything that isn't a regular file."""
    if source.is_symlink():
        raise TVFileError(f"{source} is a link, so it was not copied. Put the file itself there.", path=source)
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as reader:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise TVFileError(f"{source} is not a regular file, so it was not copied.", path=source)
        out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        with os.fdopen(out, "wb") as writer:
            shutil.copyfileobj(reader, writer, _CHUNK)
            writer.flush()
            os.fsync(out)


def copy_tree(source: Path, target: Path) -> None:
    """Copy the regular files and folders below ``source`` to the new folder ``target``, synced.

    Raises TVFileError for a link, a device or a socket.
    """
    target.mkdir()
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            copy_tree(Path(entry.path), target / entry.name)
        else:
            copy_file(Path(entry.path), target / entry.name)
    sync_directory(target)


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


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove(path: Path) -> None:
    """Remove a file or a whole folder, if it is there. Links are removed, never followed."""
    try:
        is_folder = stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if is_folder:
        try:
            shutil.rmtree(path)
        except PermissionError:
            _make_writable(path)
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _make_writable(root: Path) -> None:
    """Undo the read-only protection of the folders below ``root``, so that an ordinary user can remove them."""
    for folder, _, _ in os.walk(root):
        mode = os.stat(folder).st_mode
        if not mode & stat.S_IWUSR:
            os.chmod(folder, stat.S_IMODE(mode) | stat.S_IWUSR)


def protect(path: Path) -> None:
    """Make a file read-only. A guard against mistakes, not against people."""
    mode = path.stat().st_mode
    path.chmod(stat.S_IMODE(mode) & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))


def unprotect_tree(root: Path) -> None:
    """Make every file below ``root`` writable for its owner again."""
    for _, path in regular_files(root):
        path.chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_IWUSR)


def discard(path: Path, trash: Path, name: str) -> None:
    """Move what nobody needs any more into the trash, as ``name`` or, if that is taken, as ``name~1``, ..."""
    make_directory(trash)
    path.rename(available_name(trash, name))


def available_name(folder: Path, name: str) -> Path:
    """Return ``folder / name``, or the first of ``name~1``, ``name~2``, ... where nothing stands."""
    candidate, number = folder / name, 0
    while os.path.lexists(candidate):
        number += 1
        candidate = folder / f"{name}~{number}"
    return candidate


def network_file_system(path: Path) -> str | None:
    """Return the type of the file system that holds ``path`` if it is a network one, as far as the kernel tells."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EACCES):
            return None
        raise
    resolved = os.fspath(path.resolve())
    best, kind = "", ""
    for line in lines:
        left, _, right = line.partition(" - ")
        mount_point = left.split(" ")[4].encode().decode("unicode_escape")
        inside = resolved == mount_point or resolved.startswith(mount_point.rstrip("/") + "/")
        if inside and len(mount_point) >= len(best):
            best, kind = mount_point, right.split(" ", 1)[0]
    return kind if kind in _NETWORK_FILE_SYSTEMS else None
