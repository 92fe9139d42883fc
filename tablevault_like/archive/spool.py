"""Copies of the files of a vault that may change while they are archived.

They are copied twice: at leisure first, and then, while the catalog stands still, those that have changed since. So
nobody waits for long, however much there is.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tablevault_like.archive.databases import Copy
from tablevault_like.errors import TVFileError
from tablevault_like.storage import files
from tablevault_like.tapes.members import CHUNK, Member

DEEPEST = 100
"""How many folders may lie in one another."""

_SETTLED_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something in a vault's folder that its archive doesn't have."""

    name: str
    """Its path, relative to the vault's folder."""
    why: str
    """Why it was left out, in a few words."""

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"


@dataclass(frozen=True, slots=True)
class _Copied:
    """A file that was copied, and what tells whether it has changed since. ``None``: it may have, without a trace."""

    member: Member
    signature: tuple[int, ...] | None


class Spool:
    """The copies, in a folder of their own, by the paths that the files have in the vault."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._copied: dict[str, _Copied] = {}
        self._members: dict[str, Member] = {}
        self.left_out: dict[str, LeftOut] = {}

    def begin(self) -> None:
        """Begin a round: what isn't added again doesn't count."""
        self._members.clear()
        self.left_out.clear()

    def leave_out(self, name: str, why: str) -> None:
        self.left_out[name] = LeftOut(name, why)

    def members(self) -> list[Member]:
        """Return what was added in the last round, each folder before what is in it."""
        return [self._members[name] for name in sorted(self._members, key=lambda name: name.split("/"))]

    def path(self, name: str) -> Path:
        """Return where the copy of a file lies."""
        return self._folder / name

    def add_folder(self, name: str, source: Path) -> None:
        """Add a folder without what is in it. One that isn't there is left out in silence."""
        try:
            found = source.lstat()
        except FileNotFoundError:
            return
        if stat.S_ISDIR(found.st_mode):
            if self.path(name).is_file():  # it was a file in the round before
                self.path(name).unlink()
                self._copied.pop(name, None)
            self.path(name).mkdir(parents=True, exist_ok=True)
            self._members[name] = Member(name, True, mode=stat.S_IMODE(found.st_mode) & 0o777, mtime=_seconds(found))

    def add_tree(self, name: str, source: Path, *, skip: Callable[[str], bool] = lambda name: False) -> None:
        """Add a folder with the regular files and folders in it. ``skip`` is asked about the name of each.

        Links, devices and what vanishes meanwhile are left out, and told.
        """
        if name.count("/") >= DEEPEST:
            raise TVFileError(
                f"{source} lies {DEEPEST} folders deep, which no archive can hold. Put it elsewhere.", path=source
            )
        self.add_folder(name, source)
        if source.is_symlink():
            self.leave_out(name, "it is neither a regular file nor a folder")
            return
        for entry in _scanned(source):
            inner = f"{name}/{entry.name}"
            if skip(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                self.add_tree(inner, Path(entry.path), skip=skip)
            elif entry.is_file(follow_symlinks=False):
                self.add_file(inner, Path(entry.path))
            else:
                self.leave_out(inner, "it is neither a regular file nor a folder")

    def add_file(self, name: str, source: Path) -> None:
        """Add a regular file. One that isn't there is told, and left out."""
        try:
            descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            self.leave_out(name, "it vanished while it was read")
            return
        with os.fdopen(descriptor, "rb") as reader:
            found = os.fstat(descriptor)
            known = self._copied.get(name)
            if known is None or known.signature is None or known.signature != _signature(found):
                now = time.time()
                size, digest = self._copy(reader, name)
                member = Member(name, False, size, stat.S_IMODE(found.st_mode) & 0o777, _seconds(found), digest)
                # Within the clock's precision a change leaves no trace.
                is_settled = found.st_ctime < now - _SETTLED_SECONDS
                self._copied[name] = known = _Copied(member, _signature(found) if is_settled else None)
            self._members[name] = known.member

    def add_database(self, name: str, source: Path, copy: Copy) -> None:
        """Add an SQLite file by what copies it."""
        found = source.stat()
        target = self.path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        copy(target)
        mode = stat.S_IMODE(found.st_mode) & 0o777
        self._members[name] = Member(name, False, target.stat().st_size, mode, _seconds(found), files.sha256(target))

    def _copy(self, reader: BinaryIO, name: str) -> tuple[int, str]:
        """Copy a file, and return how many bytes it has and their SHA-256."""
        target = self.path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():  # it was a folder in the round before
            files.remove(target)
            inner = f"{name}/"
            self._copied = {each: found for each, found in self._copied.items() if not each.startswith(inner)}
        digest, size = hashlib.sha256(), 0
        with target.open("wb") as writer:
            while chunk := reader.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
                writer.write(chunk)
        return size, digest.hexdigest()


def _scanned(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield what is in a folder, in order of the names; nothing if it has vanished."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    yield from found


def _signature(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _seconds(found: os.stat_result) -> int:
    return max(0, int(found.st_mtime))
