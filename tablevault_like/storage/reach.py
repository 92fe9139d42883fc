"""Change what lies in a vault without following a link, not even one that is put in the way in that very moment.

1. Below the root of a vault that is in use here (``guard``), each folder is opened from the one above it, and none that
   is a link. What is then done is done by its name in the open folder, wherever that is moved meanwhile.
2. What a process stages is reached by its path from the folder for that on: a worker that stands still while somebody
   else takes its place, and with it what is staged, finds nothing there when it wakes.
3. Anywhere else a path is what the system makes of it: links above a vault are its user's business.
4. The last name in a path is never followed either: of a link it is the link that is renamed or removed.

Each function does what that of ``os`` does which it stands for, and raises TVFileError for a link that is in the way.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tablevault_like.errors import TVFileError

_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
"""How a folder is opened that is only gone through: where the system has a way that needs no permission to read it."""

STAGING = ("metadata", "processes", "*", "staging")
"""Where a process stages, below the root; ``*`` stands for its id."""

_roots: dict[str, str] = {}
"""The vaults that are in use here, each with the path that the system knows it by."""


def guard(root: Path) -> None:
    """Let nothing that is named as below ``root`` be reached through a link from now on."""
    _roots[os.fspath(root)] = os.path.realpath(root)


@contextmanager
def folder_of(path: Path) -> Iterator[tuple[int | None, str]]:
    """Open the folder that ``path`` lies in. Yield what is given as ``dir_fd``, and the name that goes with it.

    Outside of all vaults these are ``None`` and the whole path. An error of what is done with them names ``path``.
    """
    whole = os.fspath(path)
    root = _root_of(whole)
    if root is None:
        yield None, whole
        return
    folders = whole[len(root) + 1 :].split("/")[:-1]
    if _is_staged(folders):
        del folders[len(STAGING) :]
    below = "".join([f"/{folder}" for folder in folders])
    name = whole[len(root) + len(below) + 1 :]
    descriptor = _open_at_once(root, below)
    if descriptor is None:
        descriptor = _open_in_steps(root, folders)
    try:
        yield descriptor, name
    except OSError as error:
        if error.filename == name:
            error.filename = whole
        if error.filename2 == name:
            error.filename2 = whole
        raise
    finally:
        os.close(descriptor)


def link_in_the_way(path: Path) -> TVFileError:
    """Return the error that says that there is a link in a vault."""
    return TVFileError(
        f"{path} is a link, and nothing of a vault is reached through one. Find out who has put it there, and put the "
        "file or folder itself in its place.",
        path=path,
    )


def open_file(path: Path, flags: int, mode: int = 0o666) -> int:
    """Open a file that isn't a link."""
    with folder_of(path) as (folder, name):
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder)


def make_folder(path: Path, *, exist_ok: bool = False) -> None:
    """Make a folder, in one that is there."""
    with folder_of(path) as (folder, name):
        try:
            os.mkdir(name, dir_fd=folder)
        except FileExistsError:
            if not exist_ok or not stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
                raise


def make_folders(path: Path) -> None:
    """Make a folder, and those above it that are missing. It may be there."""
    with suppress(FileNotFoundError):
        make_folder(path, exist_ok=True)
        return
    make_folders(path.parent)
    make_folder(path, exist_ok=True)


def rename(source: Path, target: Path) -> None:
    """Rename a file, over what stands there if that is one, or a folder."""
    with folder_of(source) as (old_folder, old), folder_of(target) as (new_folder, new):
        os.rename(old, new, src_dir_fd=old_folder, dst_dir_fd=new_folder)


def link(source: Path, target: Path) -> None:
    """Give a file another name, where nothing stands."""
    with folder_of(source) as (old_folder, old), folder_of(target) as (new_folder, new):
        os.link(old, new, src_dir_fd=old_folder, dst_dir_fd=new_folder, follow_symlinks=False)


def unlink(path: Path, *, missing_ok: bool = False) -> None:
    """Remove a file."""
    try:
        with folder_of(path) as (folder, name):
            os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        if not missing_ok:
            raise


def remove_folder(path: Path) -> None:
    """Remove an empty folder."""
    with folder_of(path) as (folder, name):
        os.rmdir(name, dir_fd=folder)


def remove_tree(path: Path) -> None:
    """Remove a folder and all that is in it, even folders of this user's that can't be written to."""
    with folder_of(path) as (folder, name):
        try:
            shutil.rmtree(name, dir_fd=folder)
        except PermissionError:
            for _, _, _, descriptor in os.fwalk(name, dir_fd=folder):
                change_open_mode(descriptor, add=stat.S_IWUSR)
            shutil.rmtree(name, dir_fd=folder)


def change_mode(path: Path, *, add: int = 0, take: int = 0) -> None:
    """Add permissions to a file that can be read, and take others from it."""
    descriptor = open_file(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        change_open_mode(descriptor, add=add, take=take)
    except OSError as error:
        error.filename = os.fspath(path)
        raise
    finally:
        os.close(descriptor)


def change_open_mode(descriptor: int, *, add: int = 0, take: int = 0) -> None:
    """Add permissions to an open file or folder, and take others from it."""
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    # One that shares its content with another user's is as it should be already.
    if (wanted := (mode | add) & ~take) != mode:
        os.fchmod(descriptor, wanted)


def _is_staged(folders: Sequence[str]) -> bool:
    return len(folders) >= len(STAGING) and (*folders[:2], "*", folders[3]) == STAGING


def _root_of(path: str) -> str | None:
    """Return the root of the vault that a path lies in, if that is in use here."""
    folder = path.rpartition("/")[0]
    while folder and folder not in _roots:
        folder = folder.rpartition("/")[0]
    return folder or None


def _open_at_once(root: str, below: str) -> int | None:
    """Open a folder by its whole path, if the system says of what is open then that it lies just there.

    That is so if no link led to it. It takes a third of the time of a step for each folder. Return None otherwise, and
    where the system doesn't tell.
    """
    if sys.platform != "linux":
        return None
    try:
        descriptor = os.open(root + below, _FOLDER)
    except OSError:
        return None
    try:
        found = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - a path would take longer than the call
    except OSError:
        found = ""
    if found == _roots[root] + below:
        return descriptor
    os.close(descriptor)
    return None


def _open_in_steps(root: str, folders: Sequence[str]) -> int:
    """Open a folder from the one above it, from ``root`` on. An error names the one that it is about."""
    descriptor, reached = os.open(root, _FOLDER), root
    try:
        for folder in folders:
            reached = f"{reached}/{folder}"
            inner = _enter(folder, descriptor, reached)
            descriptor, above = inner, descriptor
            os.close(above)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _enter(name: str, above: int, path: str) -> int:
    try:
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
    except OSError as error:
        error.filename = path
        # A link is told as ELOOP, or in the place of a folder as ENOTDIR.
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and Path(path).is_symlink():
            raise link_in_the_way(Path(path)) from error
        raise
