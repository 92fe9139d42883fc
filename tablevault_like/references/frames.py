"""The tables that references look into, and what is kept of each so that looking is quick."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from typing import Protocol

import pandas as pd

from tablevault_like.references.cells import Cells
from tablevault_like.references.indexes import EqualIndex, OrderIndex
from tablevault_like.references.literals import Literals


class Frames(Protocol):
    """Gives tables to references. The table ``self``, with no version, is the frame that is being built."""

    def columns(self, table: str, version: str | None) -> tuple[str, ...]:
        """Return the names of a table's columns."""
        ...

    def frame(self, table: str, version: str | None, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return a table's frame, with these columns in this order, or with all. Rows count from 0."""
        ...


class Table:
    """One table while a builder runs: each column is fetched once, each index is made once, for all references."""

    def __init__(self, frames: Frames, name: str, *, version: str | None) -> None:
        self.name = name
        self.version = version
        self.columns = frames.columns(name, version)
        self._frames = frames
        self._cells: dict[str, Cells] = {}
        self._literals: dict[str, Literals] = {}
        self._equal: dict[tuple[str, ...], EqualIndex] = {}
        self._order: dict[str, OrderIndex] = {}
        self._lock = threading.RLock()

    def frame(self, columns: Sequence[str] | None) -> pd.DataFrame:
        """Return a frame of some columns, or of all. Copy it before anybody may write to it."""
        return self._frames.frame(self.name, self.version, columns)

    def fetch(self, columns: Collection[str]) -> int:
        """Fetch columns together, so that nothing fetches them one by one later, and return the number of rows."""
        with self._lock:
            missing = [column for column in dict.fromkeys(columns) if column not in self._cells]
            if missing or not columns:
                frame = self.frame(missing)
                self._cells.update((column, Cells(frame[column])) for column in missing)
                return len(frame)
            return len(self._cells[next(iter(columns))])

    def cells(self, column: str) -> Cells:
        with self._lock:
            self.fetch([column])
            return self._cells[column]

    def literals(self, column: str) -> Literals:
        with self._lock:
            if column not in self._literals:
                self._literals[column] = Literals(self.cells(column))
            return self._literals[column]

    def equal_index(self, columns: tuple[str, ...]) -> EqualIndex:
        with self._lock:
            if columns not in self._equal:
                self._equal[columns] = EqualIndex([self.cells(column) for column in columns])
            return self._equal[columns]

    def order_index(self, column: str) -> OrderIndex:
        with self._lock:
            if column not in self._order:
                self._order[column] = OrderIndex(self.cells(column))
            return self._order[column]
