"""Pack a vault into an archive, whatever is done with the vault meanwhile."""

from __future__ import annotations

import hashlib
import lzma
import os
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tablevault_like.archive import labels
from tablevault_like.archive.contents import collect
from tablevault_like.archive.finished import FinishedInstance, Vanished
from tablevault_like.archive.labels import Label
from tablevault_like.archive.progress import Observer, Stage, Watch
from tablevault_like.archive.spool import LeftOut, Spool
from tablevault_like.catalog import Catalog
from tablevault_like.errors import TVFileError
from tablevault_like.layout import Layout
from tablevault_like.outputs import Output
from tablevault_like.process.journal import Journal
from tablevault_like.storage import drafts
from tablevault_like.tapes import members
from tablevault_like.tapes.members import CHUNK, Member

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Archived:
    """An archive that was made. It can be used as its path: ``open(archived, "rb")``."""

    path: Path
    """Where the archive is, an absolute path."""
    files: int
    """How many files it holds."""
    total: int
    """How many bytes these have."""
    size: int
    """How many bytes the archive itself has."""
    left_out: tuple[LeftOut, ...]
    """What lies in the vault's folder and isn't in the archive."""

    def __fspath__(self) -> str:
        return str(self.path)


def pack(layout: Layout, output: Path, *, preset: int, observer: Observer | None) -> Archived:
    """Pack the vault into a new file.

    Raises TVArgumentError for a place where no archive can be made, TVFileError for what is damaged or can't be read or
    written. Nothing is left behind then.
    """
    place = Output(output, "archive", "another place with output=")
    place.check()
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with (
                place.told(),
                closing(Catalog(layout.catalog)) as catalog,
                drafts.draft(output, drafts.Kind.ARCHIVING) as draft,
            ):
                return _Packing(layout, catalog, place, draft, Watch(observer)).run(preset)
        except (Vanished, FileNotFoundError) as error:
            if attempt == _ATTEMPTS:
                raise TVFileError(
                    f"{error} vanished while {layout.root} was archived, {_ATTEMPTS} times over. Call again when less "
                    "is deleted there.",
                    path=layout.root,
                ) from error
    raise AssertionError("unreachable")


class _Packing:
    """One attempt, in a draft of its own."""

    def __init__(self, layout: Layout, catalog: Catalog, output: Output, draft: Path, watch: Watch) -> None:
        self._layout = layout
        self._catalog = catalog
        self._output = output
        self._draft = draft
        self._watch = watch
        self._left_out: list[LeftOut] = []

    def run(self, preset: int) -> Archived:
        """Pack all of it, and name the archive."""
        self._watch.begin(Stage.COLLECTING)
        spool = Spool(self._draft / "spool")
        placed = collect(Journal(self._catalog, self._layout, time.time), spool)
        finished = [FinishedInstance(self._layout, self._catalog, each) for each in placed]
        self._left_out += spool.left_out.values()
        label = _label(self._layout.root.name, spool.members(), finished)
        self._watch.begin(Stage.PACKING, label.total)
        path = self._draft / "archive"
        permissions = self._layout.root.stat().st_mode & 0o666  # nobody may read more of it than of the vault
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, permissions)
        with os.fdopen(descriptor, "wb") as file:
            with lzma.open(file, "wb", preset=preset) as stream:
                self._write(stream, label, spool, finished)
            file.flush()
            os.fsync(descriptor)
        self._output.take(path)
        size = self._output.path.stat().st_size
        return Archived(self._output.path, label.files, label.total, size, tuple(self._left_out))

    def _write(self, stream: lzma.LZMAFile, label: Label, spool: Spool, finished: list[FinishedInstance]) -> None:
        raw = label.to_json()
        stream.write(members.header(Member(labels.NAME, False, len(raw))) + raw + members.padding(len(raw)))
        root = self._layout.root.stat()
        stream.write(members.header(Member(label.vault, True, mode=root.st_mode & 0o777)))
        for member in spool.members():
            self._write_header(stream, member)
            if not member.is_folder:
                with spool.path(member.name).open("rb") as reader:
                    self._write_content(stream, reader, member)
        for instance in finished:
            for found in instance.members():
                if isinstance(found, LeftOut):
                    self._left_out.append(found)
                    continue
                self._write_header(stream, found)
                if not found.is_folder:
                    with os.fdopen(instance.open(found), "rb") as reader:
                        if not self._write_content(stream, reader, found):
                            raise instance.damaged(found)
        stream.write(members.END)

    def _write_header(self, stream: lzma.LZMAFile, member: Member) -> None:
        inside = Member(
            f"{self._layout.root.name}/{member.name}",
            member.is_folder,
            member.size,
            member.mode,
            member.mtime,
            member.sha256,
        )
        stream.write(members.header(inside))

    def _write_content(self, stream: lzma.LZMAFile, reader: BinaryIO, member: Member) -> bool:
        """Write the content of a file, and tell whether it is what was promised."""
        digest, left = hashlib.sha256(), member.size
        while left and (chunk := reader.read(min(CHUNK, left))):
            digest.update(chunk)
            stream.write(chunk)
            left -= len(chunk)
            self._watch.add(len(chunk))
        stream.write(members.padding(member.size))
        return left == 0 and not reader.read(1) and digest.hexdigest() == member.sha256


def _label(vault: str, spooled: Iterable[Member], finished: Iterable[FinishedInstance]) -> Label:
    file_count, folder_count, total = 0, 1, 0
    for member in spooled:
        file_count += not member.is_folder
        folder_count += member.is_folder
        total += member.size
    for instance in finished:
        size = instance.size()
        file_count, folder_count, total = file_count + size.files, folder_count + size.folders, total + size.total
    return Label(vault, file_count, folder_count, total)
