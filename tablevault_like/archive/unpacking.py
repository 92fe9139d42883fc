"""Restore a vault from an archive, which may be anybody's: all of it, checked, or nothing.

1. Regular files and folders are made, and nothing else, each new and inside a draft beside the target.
2. No more is written than the archive's label says, and no more than there is room for.
3. The draft takes the target's place when every checksum is right, and all of it is on the disk.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tablevault_like import founding
from tablevault_like.archive import labels, verification
from tablevault_like.archive.completion import complete
from tablevault_like.archive.labels import Label
from tablevault_like.archive.progress import Observer, Stage, Watch
from tablevault_like.archive.spool import DEEPEST
from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.layout import Layout
from tablevault_like.storage import drafts, files
from tablevault_like.tapes import members
from tablevault_like.tapes.members import Member, Unfit
from tablevault_like.tapes.xz import Unpacked

_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Restored:
    """A vault that was restored. It can be used as its path: ``TableVault(restored)``."""

    path: Path
    """The folder of the vault, an absolute path."""
    files: int
    """How many files were restored."""
    total: int
    """How many bytes these have."""
    unfinished: tuple[str, ...]
    """The ids of processes that hadn't ended, oldest first: they can be resumed, restarted or stopped."""

    def __fspath__(self) -> str:
        return str(self.path)


def unpack(target: Path, archive: Path, *, max_bytes: int | None, observer: Observer | None) -> Restored:
    """Restore the vault in ``archive`` as the new folder ``target``.

    Raises TVArgumentError for a place where no vault can be, or an archive that isn't there, TVFileError for an archive
    that is damaged or isn't a vault's, or if the disk refuses. Nothing is left behind then.
    """
    _refuse_place(target)
    with _told(target), _opened(archive) as file:
        files.make_directory(target.parent)
        with drafts.draft(target, drafts.Kind.RESTORING) as draft, _fit(archive):
            watch = Watch(observer)
            vault = draft / "vault"
            unpacking = _Unpacking(vault, Unpacked(file), watch, max_bytes)
            label = unpacking.run()
            watch.begin(Stage.CHECKING, label.total)
            known = verification.verify(Layout(vault), watch)
            complete(Layout(vault), known)
            unpacking.set_times()
            files.sync_tree(vault, with_files=True)
            _take_place(vault, target)
    return Restored(target, label.files, label.total, tuple(row.process_id for row in known.live))


class _Unpacking:
    """Writes what an archive holds into a folder that isn't there yet."""

    def __init__(self, vault: Path, source: Unpacked, watch: Watch, max_bytes: int | None) -> None:
        self._vault = vault
        self._source = source
        self._watch = watch
        self._max_bytes = max_bytes
        self._files = self._folders = self._total = 0
        self._times: list[tuple[Path, int]] = []

    def run(self) -> Label:
        """Write all of it. Raises Unfit for whatever doesn't belong into an archive."""
        found = members.read(self._source)
        label = self._label(found)
        self._watch.begin(Stage.UNPACKING, label.total)
        for member, content in found:
            self._count(member, label)
            path = self._path(member.name, label)
            try:
                if member.is_folder:
                    path.mkdir(mode=member.mode | stat.S_IRWXU)
                    self._times.append((path, member.mtime))
                else:
                    self._write(path, member, content)
            except FileExistsError:
                raise Unfit(
                    f"{_shown(member)} is in it twice, or differs from another name only in what this file system "
                    "doesn't tell apart, such as upper and lower case"
                ) from None
            except (FileNotFoundError, NotADirectoryError):
                raise Unfit(f"{_shown(member)} lies in a folder that isn't in it") from None
            except OSError as error:
                if error.errno in (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL):
                    raise Unfit(f"{_shown(member)} is a name that can't be here ({error.strerror})") from None
                raise
        self._source.finish()
        if (self._files, self._folders, self._total) != (label.files, label.folders, label.total):
            raise Unfit("it lacks some of what its label says")
        return label

    def set_times(self) -> None:
        """Give the folders the times that they had, when nothing more is put into them."""
        for path, seconds in self._times:
            os.utime(path, (seconds, seconds))

    def _label(self, found: Iterator[tuple[Member, Iterator[bytes]]]) -> Label:
        member, content = next(found, (None, iter(())))
        if member is None or member.name != labels.NAME or member.is_folder or member.size > labels.LONGEST:
            raise Unfit(
                "it is no archive of a vault of this library. What TableVault 0.1 or tar has made can be unpacked with "
                "`tar xf`"
            )
        label = Label.from_json(b"".join(content))
        if self._max_bytes is not None and label.total > self._max_bytes:
            raise Unfit(f"it holds {label.total:,} bytes, more than the {self._max_bytes:,} that max_bytes= allows")
        room = shutil.disk_usage(self._vault.parent).free
        if label.total > room:
            raise Unfit(f"it holds {label.total:,} bytes, and there is room for {room:,}. Make room, and call again")
        inodes = os.statvfs(self._vault.parent)
        if inodes.f_files and label.files + label.folders > inodes.f_favail:
            raise Unfit(f"it holds {label.files + label.folders:,} files, and there is room for {inodes.f_favail:,}")
        return label

    def _count(self, member: Member, label: Label) -> None:
        self._files += not member.is_folder
        self._folders += member.is_folder
        self._total += member.size
        if self._files > label.files or self._folders > label.folders or self._total > label.total:
            raise Unfit(f"it holds more than its label says, from {_shown(member)} on")

    def _path(self, name: str, label: Label) -> Path:
        """Return where a member is to be. Raises Unfit if that would be outside, or can't be."""
        root, *parts = name.split("/")
        shown = ascii(name if len(name) <= 100 else name[:97] + "...")
        if root != label.vault or any(part in ("", ".", "..") or "\0" in part for part in (root, *parts)):
            raise Unfit(f"{shown} would lie outside of the vault")
        if len(parts) > DEEPEST:
            raise Unfit(f"{shown} lies more than {DEEPEST} folders deep")
        if any(len(os.fsencode(part)) > _LONGEST_NAME for part in parts):
            raise Unfit(f"{shown} is too long a name")
        return self._vault.joinpath(*parts)

    def _write(self, path: Path, member: Member, content: Iterator[bytes]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, member.mode | stat.S_IRUSR | stat.S_IWUSR)
        digest = hashlib.sha256()
        with os.fdopen(descriptor, "wb") as file:
            for chunk in content:
                digest.update(chunk)
                file.write(chunk)
                self._watch.add(len(chunk))
        if digest.hexdigest() != member.sha256:
            raise Unfit(f"{_shown(member)} isn't what it was when it was archived")
        os.utime(path, (member.mtime, member.mtime))
        if not member.mode & stat.S_IWUSR:
            files.protect(path)


def _take_place(vault: Path, target: Path) -> None:
    """Give the vault its place, durably, unless something is there by now."""
    try:
        vault.rename(target)  # an empty folder may be there
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise TVArgumentError(
                f"Something was put at {target} meanwhile, so no vault was restored there. Choose another place."
            ) from None
        raise
    files.sync_directory(target.parent)


def _refuse_place(target: Path) -> None:
    """Raise TVArgumentError for a place where no vault can be restored."""
    if Layout(target).marker.is_file():
        raise TVArgumentError(
            f"There is a vault at {target} already, so none was restored there. Choose another place, or delete that "
            "vault first."
        )
    if os.path.lexists(target) and (not target.is_dir() or any(target.iterdir())):
        raise TVArgumentError(f"{target} is not an empty folder, so no vault was restored there. Choose another place.")
    founding.check_outside(target)


@contextmanager
def _opened(archive: Path) -> Iterator[BinaryIO]:
    """Open an archive. Raises TVArgumentError if there is none."""
    try:
        descriptor = os.open(archive, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise TVArgumentError(f"There is no archive {archive}. Name the one that was made of the vault.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise TVArgumentError(f"{archive} is not a regular file. Name the archive that was made of the vault.")
    with os.fdopen(descriptor, "rb") as file:
        yield file


@contextmanager
def _fit(archive: Path) -> Iterator[None]:
    """Say of what archive it is that something is wrong with."""
    try:
        yield
    except Unfit as error:
        raise TVFileError(f"{archive} can't be restored: {error}. Nothing was restored.", path=archive) from None


@contextmanager
def _told(target: Path) -> Iterator[None]:
    """Turn what the disk refuses into TVFileError."""
    try:
        yield
    except TVFileError:
        raise
    except OSError as error:
        where = f" ({error.filename})" if error.filename is not None else ""
        raise TVFileError(
            f"No vault can be restored at {target}: {error.strerror or error}{where}. Nothing was left behind; mend "
            "that and call again, or choose another place.",
            path=error.filename or target,
        ) from error


def _shown(member: Member) -> str:
    return ascii(member.name if len(member.name) <= 100 else member.name[:97] + "...")
