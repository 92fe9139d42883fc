"""Frames in memory, for references to look into."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tablevault_like.errors import TVArgumentError


class Tables:
    """Frames by table, or by table and version. Remembers what was asked for."""

    def __init__(self, tables: Mapping[Any, pd.DataFrame]) -> None:
        self._tables = tables
        self.asked: list[tuple[str, tuple[str, ...] | None]] = []

    def columns(self, table: str, version: str | None) -> tuple[str, ...]:
        return tuple(self._table(table, version).columns)

    def frame(self, table: str, version: str | None, columns: Sequence[str] | None = None) -> pd.DataFrame:
        self.asked.append((table, None if columns is None else tuple(columns)))
        frame = self._table(table, version)
        return frame if columns is None else frame[list(columns)]

    def _table(self, table: str, version: str | None) -> pd.DataFrame:
        key = table if version is None else (table, version)
        if key not in self._tables:
            raise TVArgumentError(f"There is no table {table!r}.")
        return self._tables[key]


def column(values: Sequence[Any], dtype: Any) -> pd.DataFrame:
    return pd.DataFrame({"key": pd.Series(list(values), dtype=dtype), "row": range(len(values))})
