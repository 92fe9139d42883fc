"""One of two instances that are compared: columns, artifacts, builders, inputs and code, read as they are needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from tablevault_like.catalog import instances
from tablevault_like.comparison import texts
from tablevault_like.errors import TVArgumentError, TVArtifactError, TVFileError
from tablevault_like.functions.sources import CodeFolder
from tablevault_like.model import ARTIFACT_DTYPE, INDEX_SUFFIX
from tablevault_like.reading import Found, Reader
from tablevault_like.storage import artifacts, files, manifests, places
from tablevault_like.storage import tables as parquet
from tablevault_like.storage.columns import dtype_name


class Side:
    """One of two instances that are compared."""

    def __init__(self, reader: Reader, found: Found) -> None:
        self._reader = reader
        self.record = found.record
        self._found = found
        self._frame: pd.DataFrame | None = None
        self.columns: dict[str, str] | None = None
        """The dtypes of the columns by name; None for a temporary instance that has no frame yet."""
        self.count = 0
        self._open()

    def _open(self) -> None:
        if not self.record.is_temporary:
            columns, self.count = parquet.read_columns(self._found.place.table)
            self.columns = {each.name: each.dtype for each in columns}
            return
        try:
            self._frame, made = self._reader.temporary_frame(self._found)
        except TVArgumentError:
            return
        named = set(made.artifact_columns)
        if made is self._found:  # it is what a reverted run has left in a file
            named = {each.name for each in parquet.read_columns(made.place.table)[0] if each.dtype == ARTIFACT_DTYPE}
        self._found = made
        self.count = len(self._frame)
        self.columns = {
            str(name): ARTIFACT_DTYPE if name in named else dtype_name(dtype)
            for name, dtype in self._frame.dtypes.items()
        }

    def column(self, name: str) -> pd.Series[Any]:
        """Return a column, with artifacts by the names that are stored."""
        if self._frame is not None:
            return self._frame[name]
        return parquet.read_table(self._found.place.table, columns=[name])[name]

    def contents(self, names: Iterable[str]) -> dict[str, str]:
        """Return what tells the contents of artifacts, by name: their SHA-256, or that they aren't there."""
        known = self._manifest
        return {name: known.get(name) or self._content(name) for name in names}

    def _content(self, name: str) -> str:
        if self.record.is_temporary:
            try:
                return files.sha256(artifacts.resolve(self._found.artifact_folder, name))
            except (TVArtifactError, TVFileError):
                pass
        return f"nothing at {name}"

    @cached_property
    def _manifest(self) -> Mapping[str, str]:
        if self.record.is_temporary:
            return {}
        place = self._found.place
        try:
            return {name: sha256 for name, (sha256, _) in manifests.contents(place.manifest, "artifacts").items()}
        except ValueError as error:
            raise TVFileError(
                f"{place.manifest} is damaged ({error}), so artifacts can't be compared. Restore it from a backup.",
                path=place.manifest,
            ) from error

    @cached_property
    def builders(self) -> dict[str, str]:
        """The texts of the builder files, by name."""
        found = places.builder_files(self._found.place, self.record.table_name)
        return {name: files.read_text(path) for name, path in found.items() if path.is_file()}

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The primary key that the IndexBuilder names; empty if there is none, or it is named by a reference."""
        name = self.record.table_name + INDEX_SUFFIX
        read = texts.read(self.builders[name], name) if name in self.builders else None
        given = None if read is None else read.fields.get("primary_key")
        found = [given] if isinstance(given, str) else given if isinstance(given, list) else []
        return tuple(str(each) for each in found) if not any("<<" in str(each) for each in found) else ()

    @property
    def sources(self) -> list[tuple[str, str]]:
        """The instances of other tables that it was made from."""
        with self._reader.catalog.snapshot() as db:
            found = instances.lineage(db, self.record.table_name, self.record.instance_id)
        return [source for source in found if source != (self.record.origin_table, self.record.origin_id)]

    def code(self, other: Side) -> dict[str, bytes]:
        """Return the files of code that are kept with it, by name.

        A temporary instance has none yet: it is what an execution would take now for those that the other one has.
        """
        if not self.record.is_temporary:
            return dict(_files_in(self._found.place.code))
        folder = CodeFolder(self._reader.layout.code_functions)
        names = set() if other.record.is_temporary else set(other.code(self))
        for name, text in self.builders.items():
            read = texts.read(text, name)
            module = str(read.fields.get("code_module", "")) if read is not None else ""
            if module.partition(".")[0] in folder.names:
                names |= {path.relative_to(folder.folder).as_posix() for path in folder.files(module.partition(".")[0])}
        return {name: content for name, content in _files_in(folder.folder) if name in names}


def _files_in(folder: Path) -> Iterator[tuple[str, bytes]]:
    if folder.is_dir():
        for name, path in files.regular_files(folder):
            if "__pycache__" not in name:
                yield name, path.read_bytes()
