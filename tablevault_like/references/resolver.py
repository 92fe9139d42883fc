"""Finding what references name.

A reference without conditions is the frame of its columns. With conditions it is None where no row meets them, the
cell where one row of one column does, a list of cells for one column, and otherwise a frame whose rows count from 0.

A reference that doesn't vary is resolved at once. For the others everything that is the same for all rows is done at
once: names are checked, columns are fetched; a row then costs a few look-ups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from tablevault_like.errors import TableReferenceError, TVArgumentError, nearest
from tablevault_like.references.conditions import ROW_INDEX, AtPosition, Found, Search, Test, as_positions, make_search
from tablevault_like.references.frames import Frames, Table
from tablevault_like.references.indexes import Positions
from tablevault_like.references.keywords import CallKey, Keyword
from tablevault_like.references.syntax import INDEX, Reference, Template
from tablevault_like.references.values import Getter, Value, compose

Finder = Callable[[int | None, CallKey], Found]


class Resolver:
    """Makes values of references. The row of these values is the index of the current row.

    Equal references share one value. Values may be got by several threads at once.
    """

    def __init__(self, frames: Frames, *, keywords: Mapping[Keyword, Any] | None = None) -> None:
        self._frames = frames
        self._keywords = keywords
        self._tables: dict[tuple[str, str | None], Table] = {}
        self._values: dict[Reference, Value] = {}

    def template(self, template: Template) -> Value:
        """Return what a template comes to: a value if it is one reference, otherwise text."""
        return compose(template, self.reference, self._keywords)

    def reference(self, reference: Reference) -> Value:
        """Return what a reference comes to.

        Raises TableReferenceError for an unknown table or column and a condition that doesn't fit. If this depends on
        the row, the value's ``get`` raises it.
        """
        value = self._values.get(reference)
        if value is None:
            value = self._values[reference] = self._resolve(reference)
        return value

    def _resolve(self, reference: Reference) -> Value:
        if reference.is_row_index:
            return ROW_INDEX
        version = () if reference.version is None else (reference.version,)
        keys = (condition.key for condition in reference.conditions)
        names = [self._name(template) for template in (reference.table, *version, *(reference.columns or ()), *keys)]
        if not any(name.varies for name in names):
            return self._look_up(reference, [name.constant for name in names])
        known: dict[tuple[str, ...], Value] = {}

        def get(index: int | None, row_key: CallKey) -> Any:
            resolved = tuple([name.get(index, row_key) for name in names])
            value = known.get(resolved)
            if value is None:
                value = known[resolved] = self._look_up(reference, resolved)
            return value.get(index, row_key)

        return Value(get, True)

    def _name(self, template: Template) -> Value:
        def check(name: Any) -> str:
            if isinstance(name, str) and name:
                return name
            if isinstance(name, int) and not isinstance(name, bool):
                return str(name)
            raise template.error(f"A name is needed here, and this gives {_shown(name)}.")

        return self.template(template).then(check)

    def _look_up(self, reference: Reference, names: Sequence[str]) -> Value:
        """Return what a reference comes to, once its names are known, in the order in which they are written."""
        remaining = iter(names)
        table = self._table(reference, next(remaining), None if reference.version is None else next(remaining))
        columns = None if reference.columns is None else [next(remaining) for _ in reference.columns]
        keys = list(remaining)
        for name, template in zip(columns or (), reference.columns or (), strict=True):
            _check_column(name, table, template)
        for name, condition in zip(keys, reference.conditions, strict=True):
            if name != INDEX:
                _check_column(name, table, condition.key)
        if not keys:
            return Value.fixed(table.frame(columns))

        chosen = table.columns if columns is None else tuple(columns)
        rows = table.fetch([*chosen[:1], *(key for key in keys if key != INDEX)])
        conditions = list(zip(keys, reference.conditions, strict=True))
        first, others = make_search(table, conditions, rows=rows, value_of=self.template)
        find = _finder(first, others)
        if len(chosen) != 1:
            get = _frame(table, chosen, find)
        elif isinstance(first, AtPosition) and first.position is ROW_INDEX and not others:
            get = _current_cell(table, chosen[0])
        else:
            get = _cells(table, chosen[0], find)
        return Value(get, True) if any(test.varies for test in (first, *others)) else Value.fixed(get(None, None))

    def _table(self, reference: Reference, name: str, version: str | None) -> Table:
        table = self._tables.get((name, version))
        if table is None:
            try:
                table = Table(self._frames, name, version=version)
            except (TVArgumentError, TableReferenceError) as error:
                raise reference.table.error(error.message) from error
            table = self._tables.setdefault((name, version), table)
        return table


def _check_column(name: str, table: Table, template: Template) -> None:
    if name not in table.columns:
        hint = " The index of the current row is <<self.index>>." if name == INDEX else nearest(name, table.columns)
        raise template.error(f"The table {table.name!r} has no column {name!r}.{hint}")


def _finder(first: Search, others: Sequence[Test]) -> Finder:
    if not others:
        return first.find

    def find(index: int | None, row_key: CallKey) -> Found:
        positions = as_positions(first.find(index, row_key))
        for test in others:
            positions = test.keep(positions, index, row_key)
        return positions

    return find


def _current_cell(table: Table, column: str) -> Getter:
    """Return what gives ``<<table.column[index]>>``, for which nothing needs to be found."""
    at = table.cells(column).at
    return lambda index, row_key: at(index)


def _cells(table: Table, column: str, find: Finder) -> Getter:
    """Return what gives the cells of one column: one as itself, several as a list."""
    cells = table.cells(column)
    at, take = cells.at, cells.take

    def get(index: int | None, row_key: CallKey) -> Any:
        found = find(index, row_key)
        if isinstance(found, int):
            return at(found)
        if found is None or not len(found):
            return None
        return take(found) if len(found) > 1 else at(int(found[0]))

    return get


def _frame(table: Table, columns: Sequence[str], find: Finder) -> Getter:
    frame = table.frame(columns)

    def get(index: int | None, row_key: CallKey) -> Any:
        positions = as_positions(find(index, row_key))
        return _rows(frame, positions) if len(positions) else None

    return get


def _rows(frame: pd.DataFrame, positions: Positions) -> pd.DataFrame:
    """Return some rows of a frame, counted from 0. A slice is several times as quick as single rows."""
    first, last = int(positions[0]), int(positions[-1])
    rows = frame.iloc[first : last + 1] if last - first < len(positions) else frame.take(positions)
    rows.index = pd.RangeIndex(len(rows))
    return rows


def _shown(value: Any) -> str:
    if value is None or isinstance(value, str | bool | float):
        return repr(value)
    return f"a {type(value).__name__}"
