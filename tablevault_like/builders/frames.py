"""The frames that references look into: pinned instances of any table, and the frame that is being built.

1. A column is read from its file once, and only if something asks for it.
2. To references, artifact cells are absolute paths. ``table`` and ``built`` have them as they are stored.
3. What is given shares memory with the cache, and pandas copies on write: nobody can change what others are given.
4. Any thread may ask. Only the coordinator adds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tablevault_like.errors import TableReferenceError, TVTableError, nearest
from tablevault_like.model import ARTIFACT_DTYPE, Column
from tablevault_like.storage import artifacts, tables
from tablevault_like.storage.digests import digest

SELF = "self"


@dataclass(frozen=True, slots=True)
class PinnedTable:
    """Where an instance's frame lies, in which columns, and the folder that its artifact cells are relative to."""

    path: Path
    artifact_folder: Path
    columns: tuple[Column, ...]


class FrameCache:
    """Gives references their frames. ``open_table`` tells which instance a table and a version stand for.

    ``artifact_folder`` is that of the instance being built.
    """

    def __init__(self, open_table: Callable[[str, str | None], PinnedTable], *, artifact_folder: Path) -> None:
        self._open_table = open_table
        self._opened: dict[tuple[str, str | None], _Pinned] = {}
        self._artifact_folder = artifact_folder
        self._built = _Built(artifact_folder)
        self._lock = threading.Lock()

    def columns(self, table: str, version: str | None) -> tuple[str, ...]:
        """Return the names of the columns that a table has (``self``: has by now)."""
        if table == SELF:
            return tuple(self._built.columns)
        with self._lock:
            return tuple(self._pinned(table, version).dtypes)

    def dtypes(self, table: str, version: str | None) -> Mapping[str, str]:
        """Return the dtypes of a pinned table's columns by their names."""
        with self._lock:
            return self._pinned(table, version).dtypes

    def frame(self, table: str, version: str | None, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return some columns of a table, all of them by default, in the order in which they are named.

        Raises TableReferenceError for a column that isn't there.
        """
        with self._lock:
            source = self._built if table == SELF else self._pinned(table, version)
            names = source.names if columns is None else columns
            for name in names:
                if name not in source.names:
                    raise TableReferenceError(
                        f"The table {table!r} has no column {name!r}.{nearest(name, source.names)}"
                    )
            return source.frame(names)

    # The frame being built

    @property
    def rows(self) -> int | None:
        """Return how many rows the frame being built has; None while nothing has made them."""
        return self._built.rows

    def begin(self, frame: pd.DataFrame, dtypes: Mapping[str, str]) -> None:
        """Let a frame make the rows of the frame being built, in place of whatever was there.

        Its artifact cells, in the columns whose dtype is ``artifact_string``, are as they are stored: relative.
        """
        self.replace(tables.table_from_frame(frame, dtypes))

    def replace(
        self, table: pa.Table, *, artifact_folder: Path | None = None, elsewhere: Mapping[str, Path] | None = None
    ) -> None:
        """Let an Arrow table make the rows of the frame being built, in place of whatever was there.

        ``artifact_folder`` is given for one whose artifacts aren't in the folder of the instance being built, and
        ``elsewhere`` are the folders of columns whose artifacts are in none of both.
        """
        built = _Built(artifact_folder or self._artifact_folder)
        built.add(table, elsewhere)
        with self._lock:
            self._built = built

    def add(self, table: pa.Table) -> None:
        """Add the columns of a finished builder, or put them in place of those that bear their names."""
        with self._lock:
            self._built.add(table)

    def table(self) -> pa.Table:
        """Return the frame being built as it is to be stored, as an Arrow table. This makes no Python objects."""
        return self._built.table()

    def built(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return some columns of the frame being built, by default all, as they are to be stored."""
        table = self.table()
        return tables.frame_from_table(table if columns is None else table.select(list(columns)))

    @property
    def artifact_columns(self) -> tuple[str, ...]:
        """Return the columns of the frame being built whose cells name artifacts."""
        return tuple(each.name for each in tables.table_columns(self.table()) if each.dtype == ARTIFACT_DTYPE)

    def _pinned(self, table: str, version: str | None) -> _Pinned:
        if (table, version) not in self._opened:
            self._opened[table, version] = _Pinned(self._open_table(table, version))
        return self._opened[table, version]


class _Pinned:
    """The columns of one instance that have been read so far."""

    def __init__(self, table: PinnedTable) -> None:
        self.dtypes = {column.name: column.dtype for column in table.columns}
        self._table = table
        self._read: dict[str, pd.Series[Any]] = {}
        self._rows: int | None = None

    @property
    def names(self) -> Collection[str]:
        return self.dtypes

    def frame(self, names: Collection[str]) -> pd.DataFrame:
        missing = [name for name in names if name not in self._read]
        if missing or self._rows is None:
            frame = tables.read_table(self._table.path, columns=missing)
            paths = [name for name in missing if self.dtypes[name] == ARTIFACT_DTYPE]
            frame = artifacts.absolute_paths(frame, paths, self._table.artifact_folder)
            self._read.update((name, frame[name]) for name in missing)
            self._rows = len(frame)
        return _assembled({name: self._read[name] for name in names}, rows=self._rows)


class _Built:
    """The columns that finished builders have made, as Arrow tables of one column, and as frames where asked for."""

    def __init__(self, artifact_folder: Path) -> None:
        self.artifact_folder = artifact_folder
        self.rows: int | None = None
        self.columns: dict[str, pa.Table] = {}
        self._elsewhere: dict[str, Path] = {}
        self._given: dict[str, pd.Series[Any]] = {}

    @property
    def names(self) -> Collection[str]:
        return self.columns

    def add(self, table: pa.Table, elsewhere: Mapping[str, Path] | None = None) -> None:
        if self.rows is not None and table.num_rows != self.rows:
            raise ValueError(f"columns of {table.num_rows} rows can't be added to {self.rows}")
        self.rows = table.num_rows
        for name in table.column_names:
            self.columns[name] = table.select([name])
            self._given.pop(name, None)
            self._elsewhere.pop(name, None)
        self._elsewhere.update(elsewhere or {})

    def frame(self, names: Collection[str]) -> pd.DataFrame:
        for name in names:
            if name not in self._given:
                column = self.columns[name]
                frame = tables.frame_from_table(column)
                paths = [each.name for each in tables.table_columns(column) if each.dtype == ARTIFACT_DTYPE]
                folder = self._elsewhere.get(name, self.artifact_folder)
                self._given[name] = artifacts.absolute_paths(frame, paths, folder)[name]
        return _assembled({name: self._given[name] for name in names}, rows=self.rows or 0)

    def table(self) -> pa.Table:
        schema = pa.schema([column.schema.field(0) for column in self.columns.values()])
        return pa.Table.from_arrays([column.column(0) for column in self.columns.values()], schema=schema)


def _assembled(columns: Mapping[str, pd.Series[Any]], *, rows: int) -> pd.DataFrame:
    # Not copied: what the caller writes to it, pandas copies then.
    return pd.DataFrame(dict(columns), index=pd.RangeIndex(rows), columns=list(columns), copy=False)


def check_primary_key(frame: pd.DataFrame, key: Sequence[str]) -> None:
    """Raise TVTableError, naming rows, unless every row has a value in all columns of ``key``, each a different one."""
    if not key:
        return
    for name in key:
        missing = frame[name].isna().to_numpy().nonzero()[0]
        if len(missing):
            raise TVTableError(
                f"The primary key column {name!r} has no value in {_rows(missing)}. Every row needs one.",
                column=name,
                row=int(missing[0]),
            )
    if len(key) == 1 and _are_distinct(frame[key[0]]):
        return
    seen: dict[tuple[object, ...], int] = {}
    for row, values in enumerate(row_keys(frame, key)):
        first = seen.setdefault(values, row)
        if first != row:
            shown = ", ".join(f"{name}={value!r}" for name, value in zip(key, values, strict=True))
            raise TVTableError(
                f"Rows {first} and {row} have the same primary key: {shown}. Every row needs one of its own.",
                column=key[0],
                row=row,
            )


def _are_distinct(column: pd.Series[Any]) -> bool:
    """Tell whether all values of a column differ; False, too, if some can't be told apart by hashing."""
    try:
        return len(set(column.tolist())) == len(column)
    except TypeError:
        return False


def keep_old(new: pd.DataFrame, old: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """Return the rows of ``old`` whose ``key`` isn't among those of ``new``, followed by the rows of ``new``.

    Without a key they are those that aren't among the rows of ``new`` as they are. The columns are those of ``new``;
    what ``old`` lacks is missing.

    >>> new = pd.DataFrame({"id": [2, 3], "text": ["two", "three"]})
    >>> old = pd.DataFrame({"id": [1, 2], "text": ["one", "zwei"]})
    >>> keep_old(new, old, ["id"])["text"].tolist()
    ['one', 'two', 'three']
    """
    if key:
        known = set(row_keys(new, key))
        old = old[[values not in known for values in row_keys(old, key)]]
    # Missing values of the dtype that the new rows have.
    kept = pd.DataFrame(
        {name: old[name] if name in old else new[name].head(0).reindex(old.index) for name in new.columns}
    )
    if not key:
        same = set(_whole_rows(new))
        kept = kept[[values not in same for values in _whole_rows(kept)]]
    if not len(kept):
        return new.reset_index(drop=True)
    return pd.concat([kept, new], ignore_index=True) if len(new) else kept.reset_index(drop=True)


def row_keys(frame: pd.DataFrame, key: Sequence[str]) -> Iterable[tuple[object, ...]]:
    """Return the cells of ``key`` of every row. Raises TVTableError for values that can't be told apart by hashing."""
    for name in key:
        values = frame[name]
        if values.dtype == object:
            for row, value in enumerate(values):
                try:
                    hash(value)
                except TypeError:
                    raise TVTableError(
                        f"The primary key column {name!r} holds a {type(value).__name__} in row {row}. "
                        "A key is made of plain values such as text and numbers.",
                        column=name,
                        row=row,
                    ) from None
    return zip(*(frame[name].tolist() for name in key), strict=True)


def _whole_rows(frame: pd.DataFrame) -> Iterable[tuple[object, ...]]:
    """Return what is equal for rows whose cells are the same, and can be hashed. All missing cells are the same."""
    columns = []
    for name in frame.columns:
        missing = frame[name].isna().tolist()
        cells = zip(frame[name].tolist(), missing, strict=True)
        columns.append([None if is_missing else _identity(cell) for cell, is_missing in cells])
    return zip(*columns, strict=True)


def _identity(cell: object) -> object:
    kind = type(cell)
    if kind is float and cell != cell:
        return None
    # Python takes True for 1, and can't hash lists and dicts.
    return cell if kind in _PLAIN else digest(cell)


_PLAIN = frozenset({float, int, pd.Timedelta, pd.Timestamp, str})


def _rows(positions: NDArray[np.intp]) -> str:
    shown = ", ".join(str(position) for position in positions[:5])
    more = f" and {len(positions) - 5} more" if len(positions) > 5 else ""
    return f"row{'s' if len(positions) > 1 else ''} {shown}{more}"
