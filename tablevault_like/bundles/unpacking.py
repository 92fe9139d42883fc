"""Unpack a bundle, which may be anybody's: all of it, checked, into a folder that nobody looks at, or nothing.

1. Each member must be the regular file that the label lists next. So nothing is there twice, nothing is missing,
   nothing is larger than was said, and nothing lies elsewhere.
2. No more is written than the label says, and no more than there is room for.
3. What is written is held to its checksum, and synced. None of it is run, imported or unpickled.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tablevault_like.bundles import label as labels
from tablevault_like.bundles.label import CONTENT, Label, Listed, shown
from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.storage import files, reach
from tablevault_like.tapes import members
from tablevault_like.tapes.members import Member, Unfit
from tablevault_like.tapes.xz import Unpacked


def read_label(path: Path) -> Label:
    """Return the label of a bundle, and read no more. Raises TVArgumentError if there is no file, TVFileError."""
    with _opened(path) as file, fit(path):
        return _read_label(members.read(Unpacked(file)))


def unpack(path: Path, folder: Path, *, max_bytes: int | None = None) -> Label:
    """Write the files of a bundle into the new folder ``folder``, synced, and return its label.

    Raises TVArgumentError if there is no file, TVFileError for a bundle that is damaged, and OSError if the disk
    refuses. The caller removes the folder then.
    """
    with _opened(path) as file, fit(path):
        source = Unpacked(file)
        found = members.read(source)
        label = _read_label(found)
        _check_room(label, folder.parent, max_bytes)
        reach.make_folder(folder)
        for listed in label.files:
            member, content = next(found, (None, iter(())))
            _check_member(member, listed)
            _write(folder, listed, content)
        for member, _ in found:
            raise Unfit(f"it holds {shown(member.name)}, which its label doesn't list there")
        source.finish()
    files.sync_tree(folder, with_files=True)
    return label


@contextmanager
def fit(path: Path) -> Iterator[None]:
    """Say of what bundle it is that something is wrong with."""
    try:
        yield
    except Unfit as error:
        raise TVFileError(f"{path} can't be imported: {error}. Nothing was imported.", path=path) from None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise TVArgumentError(f"There is no bundle {path}. Name the file that export_instance() has made.") from None
    except OSError as error:
        raise TVFileError(f"{path} can't be read: {error.strerror or error}.", path=path) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise TVArgumentError(f"{path} is not a regular file. Name the file that export_instance() has made.")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def _read_label(found: Iterator[tuple[Member, Iterator[bytes]]]) -> Label:
    member, content = next(found, (None, iter(())))
    if member is None or member.name != labels.NAME or member.is_folder:
        raise Unfit(f"it is no bundle: its first member isn't {labels.NAME}. A whole vault is restored by decompress")
    if member.size > labels.LONGEST:
        raise Unfit(f"its label {labels.NAME} has {member.size:,} bytes, more than the {labels.LONGEST:,} that one has")
    return Label.from_json(b"".join(content))


def _check_room(label: Label, place: Path, max_bytes: int | None) -> None:
    if max_bytes is not None and label.total > max_bytes:
        raise Unfit(f"it holds {label.total:,} bytes, more than the {max_bytes:,} that max_bytes= allows")
    room = shutil.disk_usage(place).free
    if label.total > room:
        raise Unfit(f"it holds {label.total:,} bytes, and there is room for {room:,}. Make room, and call again")


def _check_member(member: Member | None, listed: Listed) -> None:
    if member is None:
        raise Unfit(f"it lacks {shown(listed.name)}, which its label lists")
    if member.is_folder or member.name != f"{CONTENT}/{listed.name}":
        raise Unfit(f"it holds {shown(member.name)}, where its label lists {shown(listed.name)}")
    if member.size != listed.size:
        raise Unfit(f"{shown(listed.name)} has {member.size:,} bytes, and its label says {listed.size:,}")


def _write(folder: Path, listed: Listed, content: Iterator[bytes]) -> None:
    path = folder.joinpath(*listed.name.split("/"))
    try:
        reach.make_folders(path.parent)
        descriptor = reach.open_file(path, files.CREATE)
    except (FileExistsError, NotADirectoryError):
        raise Unfit(
            f"{shown(listed.name)} is in it twice, or differs from another name only in what this file system doesn't "
            "tell apart, such as upper and lower case"
        ) from None
    digest = hashlib.sha256()
    with files.naming(path), os.fdopen(descriptor, "wb") as file:
        for chunk in content:
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != listed.sha256:
        raise Unfit(f"{shown(listed.name)} isn't what it was when it was exported: its checksum is wrong")
