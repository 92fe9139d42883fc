"""What a comparison returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tablevault_like.model import Column

if TYPE_CHECKING:
    import pandas as pd

_WHAT = ("schema", "row", "cell", "input", "builder", "code")


@dataclass(frozen=True, slots=True)
class DtypeChange:
    """A column whose dtype is another one."""

    name: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class SchemaChanges:
    """How the columns differ."""

    added: tuple[Column, ...] = ()
    """Those that only the new instance has."""
    removed: tuple[Column, ...] = ()
    """Those that only the old instance has."""
    changed: tuple[DtypeChange, ...] = ()
    """Those whose dtype is another one."""
    is_reordered: bool = False
    """Whether those that both have come in another order."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.is_reordered)


@dataclass(frozen=True, eq=False)
class RowChanges:
    """How the rows differ. Rows are told by their keys: by the primary key, or by their position, counted from 0."""

    key: tuple[str, ...]
    """The columns that tell which row is which; none if that is their position."""
    note: str
    """Why rows are told by position, or weren't compared; empty if there is a key."""
    old_count: int
    """How many rows the old instance has."""
    new_count: int
    """How many rows the new instance has."""
    added: pd.Series
    """The keys of the rows that only the new instance has. A key of several columns is a tuple."""
    removed: pd.Series
    """The keys of the rows that only the old instance has."""
    changed: pd.Series
    """The keys of the rows that both have, and of which at least one cell differs."""
    changed_cells: Mapping[str, int]
    """In how many rows the cells of a column differ, for the columns where some do."""
    is_reordered: bool = False
    """Whether the rows that both have come in another order."""

    def __bool__(self) -> bool:
        return bool(len(self.added) or len(self.removed) or len(self.changed) or self.is_reordered)


@dataclass(frozen=True, eq=False)
class Difference:
    """What is different between two instances of a table. It is true if anything is."""

    table_name: str
    old: str
    """The id of the instance that counts as the old one."""
    new: str
    """The id of the instance that counts as the new one."""
    schema: SchemaChanges
    rows: RowChanges
    cells: pd.DataFrame
    """A row for each cell that differs, of rows and columns that both have: ``key``, ``column``, ``old``, ``new``."""
    inputs: tuple[str, ...]
    """What is different about the instances that they were made from, a line for each."""
    builders: tuple[str, ...]
    """What is different about the builders, a line for each field."""
    code: str
    """What is different about the code that is kept with the instances, as a unified diff."""

    def __bool__(self) -> bool:
        return bool(self.schema or self.rows or self.inputs or self.builders or self.code)

    def __repr__(self) -> str:
        return f"<Difference of {self.table_name}: {self.old} -> {self.new}: {self.summary}>"

    @property
    def summary(self) -> str:
        """What differs, in a line."""
        rows, schema = self.rows, self.schema
        parts = [
            _counted(len(schema.added), "column", "added"),
            _counted(len(schema.removed), "column", "removed"),
            _counted(len(schema.changed), "column", "of another dtype"),
            "columns in another order" if schema.is_reordered else "",
            _counted(len(rows.added), "row", "added"),
            _counted(len(rows.removed), "row", "removed"),
            _counted(len(rows.changed), "row", f"changed ({_counted(len(self.cells), 'cell', '').strip()})"),
            "rows in another order" if rows.is_reordered else "",
            "other inputs" if self.inputs else "",
            "other builders" if self.builders else "",
            "other code" if self.code else "",
        ]
        return ", ".join(part for part in parts if part) or "no difference"

    def to_frame(self) -> pd.DataFrame:
        """Return all of it as one frame, a row for each thing that differs.

        ``what`` is ``schema``, ``row``, ``cell``, ``input``, ``builder`` or ``code``, ``change`` is ``added``,
        ``removed``, ``changed`` or ``reordered``, or the text that tells it; ``key``, ``column``, ``old`` and ``new``
        are there where they make sense.
        """
        import pandas as pd

        told: list[tuple[str, str, object, object, object, object]] = []
        told += [("schema", "added", None, each.name, None, each.dtype) for each in self.schema.added]
        told += [("schema", "removed", None, each.name, each.dtype, None) for each in self.schema.removed]
        told += [("schema", "changed", None, each.name, each.old, each.new) for each in self.schema.changed]
        told += [("schema", "reordered", None, None, None, None)] * self.schema.is_reordered
        told += [("row", "added", key, None, None, None) for key in self.rows.added]
        told += [("row", "removed", key, None, None, None) for key in self.rows.removed]
        told += [("row", "reordered", None, None, None, None)] * self.rows.is_reordered
        columns = (self.cells["key"], self.cells["column"], self.cells["old"], self.cells["new"])
        told += [("cell", "changed", *cell) for cell in zip(*columns, strict=True)]
        told += [("input", line, None, None, None, None) for line in self.inputs]
        told += [("builder", line, None, None, None, None) for line in self.builders]
        told += [("code", line, None, None, None, None) for line in self.code.splitlines()]
        names = ("what", "change", "key", "column", "old", "new")
        texts = ("what", "change", "column")
        return pd.DataFrame(
            {
                name: pd.Series([row[place] for row in told], dtype="string" if name in texts else "object")
                for place, name in enumerate(names)
            }
        )


def _counted(number: int, noun: str, what: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'} {what}" if number else ""
