"""Tables that lie in memory, for what reads them through references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import pandas as pd

from tablevault_like.builders.inputs import Pin, PinKey
from tablevault_like.storage.columns import dtype_name

Columns: TypeAlias = Mapping[str, Sequence[object]]


class Tables:
    """Frames of tables, whatever version is asked for."""

    def __init__(self, **tables: Columns) -> None:
        self.tables = {name: pd.DataFrame(dict(columns)) for name, columns in tables.items()}

    def columns(self, table: str, version: str | None) -> tuple[str, ...]:
        return tuple(self.tables[table].columns)

    def dtypes(self, table: str, version: str | None) -> Mapping[str, str]:
        return {str(name): dtype_name(dtype) for name, dtype in self.tables[table].dtypes.items()}

    def frame(self, table: str, version: str | None, columns: Sequence[str] | None = None) -> pd.DataFrame:
        return self.tables[table] if columns is None else self.tables[table][list(columns)]


class Instances:
    """Materialized instances: of each table one of the version base, called ``<table>_1``, unless another id is set."""

    def __init__(self, **tables: Columns) -> None:
        self.frames = Tables(**tables)
        self.ids: dict[PinKey, str] = {}
        self.asked: list[PinKey] = []
        self.opened: list[set[PinKey]] = []

    def pin(self, table: str, version: str | None) -> Pin | None:
        self.asked.append((table, version))
        instance_id = self.ids.get((table, version), f"{table}_1")
        if table not in self.frames.tables or version not in (None, "base", instance_id):
            return None
        return Pin(table, instance_id, self.frames.columns(table, version))

    def open(self, pins: Mapping[PinKey, Pin]) -> Tables:
        self.opened.append(set(pins))
        opened = Tables()
        opened.tables = {table: self.frames.tables[table] for table, _ in pins}
        return opened
