"""Filters: which rows of a table are wanted, in the form that pyarrow and pandas know.

``[("year", ">=", 2020), ("lang", "in", ["en", "fr"])]`` are conditions that must all hold; a list of such lists holds
if one of them does. What they mean:

1. A missing cell (what ``frame[column].isna()`` tells) is equal to ``None`` and to nothing else, is unequal to nothing,
   and comes in no order. It is ``not in`` a list without ``None``. So it is in pyarrow, too.
2. Cells and values are compared exactly, whatever their widths and units; only floats are rounded to the column's.
3. Of a category, what it stands for is compared; if it is ordered, by its order.
4. A value that can't be compared with the cells of a dtype is refused. Cells of dtype ``object`` are of any kind: those
   that can't be compared with the value don't match.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tablevault_like.errors import TVArgumentError, nearest
from tablevault_like.storage.arrow import REFUSALS, unpack
from tablevault_like.storage.columns import Form, Stored, from_stored
from tablevault_like.storage.operands import array_of, is_exact, kind_of, place_of
from tablevault_like.storage.values import decode

_FORM = (
    'filters must be a list of conditions such as [("year", ">=", 2020)], all of which hold, or a list of such lists, '
    "one of which holds"
)
_SHOWN = 60


class Op(StrEnum):
    """How a cell is compared with a value."""

    EQUAL = "=="
    UNEQUAL = "!="
    LESS = "<"
    GREATER = ">"
    AT_MOST = "<="
    AT_LEAST = ">="
    IN = "in"
    NOT_IN = "not in"


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of a column with a value; for ``in`` and ``not in`` with a tuple of values."""

    column: str
    op: Op
    value: Any


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows are wanted: those for which all conditions of one group hold."""

    groups: tuple[tuple[Condition, ...], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are looked at."""
        return tuple(dict.fromkeys(each.column for group in self.groups for each in group))

    def with_values(self, columns: Collection[str], change: Callable[[Any], Any]) -> Filter:
        """Return the filter with the values that these columns are compared with changed."""
        return Filter(
            tuple(
                tuple(_with_value(each, change) if each.column in columns else each for each in group)
                for group in self.groups
            )
        )


def read_filters(given: object) -> Filter | None:
    """Return filters as callers give them; ``None`` if all rows are wanted. Raises TVArgumentError for another form.

    >>> read_filters([("year", ">=", 2020)]).groups
    ((Condition(column='year', op=<Op.AT_LEAST: '>='>, value=2020),),)
    """
    if given is None:
        return None
    if not isinstance(given, list | tuple):
        raise TVArgumentError(f"{_FORM}, not {_shown(given)}.")
    if not given:
        return None
    if all(isinstance(item, list | tuple) and not (item and isinstance(item[0], str)) for item in given):
        groups = [tuple(_condition(each, given) for each in group) for group in given]
        # A group without conditions holds for every row.
        return Filter(tuple(groups)) if all(groups) else None
    return Filter((tuple(_condition(item, given) for item in given),))


def check_columns(found: Filter, known: Collection[str]) -> None:
    """Raise TVArgumentError, with the nearest name, for a filter of a column that there isn't."""
    for name in found.columns:
        if name not in known:
            raise TVArgumentError(f"filters: the table has no column {name!r}.{nearest(name, known)}")


def fit_values(found: Filter, schema: Any) -> Filter:
    """Return the filter with values as the columns of a schema (that ``storage.tables`` made) have them.

    Raises TVArgumentError for an unknown column, and for a value that can't be compared with its column.
    """
    check_columns(found, schema.names)
    return Filter(tuple(tuple(_fit(each, schema.field(each.column)) for each in group) for group in found.groups))


def pruning_expression(found: Filter, schema: Any) -> Any | None:
    """Return an Arrow expression that holds wherever a filter with fitted values does, to skip row groups by.

    It may hold elsewhere, too. ``None`` if there is none that helps.
    """
    groups = []
    for group in found.groups:
        parts = [_told(each) for each in group if _is_native(schema.field(each.column)) and _is_told(each)]
        if not parts:
            return None
        groups.append(reduce(operator.and_, parts))
    return reduce(operator.or_, groups)


def matching(table: pa.Table, found: Filter) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the positions of the rows of an Arrow table for which a filter with fitted values holds, in order."""
    # Under names of our own: those of the columns may be anything.
    operands: dict[str, Any] = {"row": pa.array(np.arange(table.num_rows))}
    groups = []
    for number, group in enumerate(found.groups):
        parts = []
        for place, each in enumerate(group):
            name, field, cells = f"{number}.{place}", table.schema.field(each.column), table.column(each.column)
            if _is_native(field):
                operands[name] = cells
                parts.append(_compared(pc.field(name), each, Form.of(field)))
            else:
                operands[name] = pa.array(_holds(cells, each, Form.of(field)), pa.bool_())
                parts.append(pc.field(name))
        groups.append(reduce(operator.and_, parts))
    rows = pa.table(operands).filter(reduce(operator.or_, groups)).column("row")
    positions: np.ndarray[Any, np.dtype[np.int64]] = rows.to_numpy()
    return positions


def _with_value(condition: Condition, change: Callable[[Any], Any]) -> Condition:
    value = condition.value
    changed = tuple(map(change, value)) if condition.op in (Op.IN, Op.NOT_IN) else change(value)
    return Condition(condition.column, condition.op, changed)


_OPS = {**{str(op): op for op in Op}, "=": Op.EQUAL}


def _condition(given: object, filters: object) -> Condition:
    if not isinstance(given, tuple | list) or len(given) != 3:
        raise TVArgumentError(f"{_FORM}, not {_shown(filters)}: {_shown(given)} is not (column, op, value).")
    column, name, value = given
    if not isinstance(column, str):
        raise TVArgumentError(f"filters: {_shown(given)} must begin with the name of a column.")
    op = _OPS.get(name) if isinstance(name, str) else None
    if op is None:
        hint = nearest(str(name), [str(each) for each in Op])
        raise TVArgumentError(f"filters: {_shown(given)} has the unknown op {_shown(name)}.{hint}")
    if op in (Op.IN, Op.NOT_IN):
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise TVArgumentError(f"filters: {_shown(given)}: {op!s} needs a list of values, not {_shown(value)}.")
        return Condition(column, op, tuple(_without_na(each) for each in value))
    value = _without_na(value)
    if value is None and op not in (Op.EQUAL, Op.UNEQUAL):
        raise TVArgumentError(f"filters: {_shown(given)}: a missing value comes in no order. Use == or !=.")
    return Condition(column, op, value)


def _without_na(value: object) -> object:
    """Return a value as Python has it, ``None`` for those of pandas that stand for a missing one."""
    if value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, np.datetime64 | np.timedelta64):
        return None if np.isnat(value) else value
    return value.item() if isinstance(value, np.generic) else value


_COMPARE: dict[Op, Callable[[Any, Any], Any]] = {
    Op.EQUAL: operator.eq,
    Op.UNEQUAL: operator.ne,
    Op.LESS: operator.lt,
    Op.GREATER: operator.gt,
    Op.AT_MOST: operator.le,
    Op.AT_LEAST: operator.ge,
}


def _is_native(field: Any) -> bool:
    """Tell whether Arrow compares the cells of a column as they are stored."""
    return Form.of(field).dtype not in ("object", "category") and kind_of(field.type) is not None


def _compared(cells: Any, condition: Condition, form: Form) -> Any:
    """Return the Arrow expression for a condition. It is never null."""
    # NaN is what is missing in numpy's floats, and a value in the nullable ones.
    missing = cells.is_null(nan_is_null=form.dtype in ("float32", "float64"))
    if condition.op in (Op.IN, Op.NOT_IN):
        values, has_none = condition.value
        found = cells.isin(values) | missing if has_none else cells.isin(values)
        return found if condition.op is Op.IN else ~found
    if condition.value is None:
        return missing if condition.op is Op.EQUAL else ~missing
    return pc.coalesce(_COMPARE[condition.op](cells, condition.value), pa.scalar(False)) & ~missing


def _is_told(condition: Condition) -> bool:
    """Tell whether the least and the greatest value of a row group may say that a condition holds for none of it."""
    if condition.op is Op.IN:
        return not condition.value[1]
    return condition.value is not None and condition.op not in (Op.UNEQUAL, Op.NOT_IN)


def _told(condition: Condition) -> Any:
    cells = pc.field(condition.column)
    if condition.op is Op.IN:
        return cells.isin(condition.value[0])
    return _COMPARE[condition.op](cells, condition.value)


def _fit(condition: Condition, field: Any) -> Condition:
    """Return a condition on a column that Arrow compares with values of the column's type; others as they are."""
    form = Form.of(field)
    if form.dtype == "category":
        _check_category(condition, form)
    if not _is_native(field):
        return condition
    column, op, kind = condition.column, condition.op, field.type
    if op in (Op.IN, Op.NOT_IN):
        placed = [_placed(value, field) for value in condition.value if value is not None]
        exact = [value for value in placed if value is not None and is_exact(value, kind)]
        return Condition(column, op, (array_of(exact, kind), _has_none(condition.value)))
    if condition.value is None:
        return condition
    value = _placed(condition.value, field)
    if value is not None and is_exact(value, kind):
        return Condition(column, op, array_of([value], kind)[0])
    # No cell can have this value. What is between two that cells can have, or beyond all of them, still has an order.
    never, always = Condition(column, Op.IN, (array_of([], kind), False)), Condition(column, Op.UNEQUAL, None)
    if value is None or op in (Op.EQUAL, Op.UNEQUAL):
        return always if op is Op.UNEQUAL else never
    is_upwards = op in (Op.GREATER, Op.AT_LEAST)
    neighbour = Fraction(math.floor(value) if is_upwards else math.ceil(value))
    if is_exact(neighbour, kind):
        return Condition(column, Op.GREATER if is_upwards else Op.LESS, array_of([neighbour], kind)[0])
    return always if (value < 0) is is_upwards else never


def _placed(value: Any, field: Any) -> Any:
    """Return a value as cells of a column are compared: counts of its unit as fractions, else what Arrow takes.

    ``None`` is for NaN, which is no cell's equal and comes in no order.
    """
    placed = place_of(value, field.type)
    if placed is not NotImplemented:
        return placed
    raise TVArgumentError(
        f"filters: the column {field.name!r} is {Form.of(field).dtype}, so its cells can't be compared with "
        f"{_shown(value)}. Give {kind_of(field.type)}."
    )


def _check_category(condition: Condition, form: Form) -> None:
    """Raise TVArgumentError for an order among categories that have none, and for a value that isn't in it."""
    if condition.op in (Op.EQUAL, Op.UNEQUAL, Op.IN, Op.NOT_IN):
        return
    if not form.ordered:
        raise TVArgumentError(
            f"filters: the categories of the column {condition.column!r} have no order. Use ==, !=, in or not in."
        )
    known = decode(form.categories or "[]")
    if not any(_is_same(each, condition.value) for each in known):
        raise TVArgumentError(
            f"filters: {_shown(condition.value)} is none of the categories of the column {condition.column!r}."
            f"{nearest(str(condition.value), [str(each) for each in known])}"
        )


def _holds(cells: Any, condition: Condition, form: Form) -> list[bool]:
    """Return for each cell of a column whether a condition holds."""
    if form.dtype != "category":
        values = unpack(cells, form.encoding) if form.dtype == "object" else cells.to_pylist()
        return [_is_met(value, condition) for value in values]
    series = from_stored(Stored(cells, form))
    categories = series.cat.categories.tolist()
    if condition.op in _ORDERS:
        # By their places in the order.
        place = next(place for place, each in enumerate(categories) if _is_same(each, condition.value))
        condition = Condition(condition.column, condition.op, place)
        categories = list(range(len(categories)))
    # What is missing has the code -1, which takes the last of these.
    met = [*(_is_met(each, condition) for each in categories), _is_met(None, condition)]
    return [met[code] for code in series.cat.codes.tolist()]


_ORDERS = (Op.LESS, Op.GREATER, Op.AT_MOST, Op.AT_LEAST)


def _is_met(cell: Any, condition: Condition) -> bool:
    op, value = condition.op, condition.value
    is_missing = _is_missing(cell)
    if op in (Op.IN, Op.NOT_IN):
        found = _has_none(value) if is_missing else any(_is_same(cell, each) for each in value if each is not None)
        return found is (op is Op.IN)
    if value is None:
        return is_missing is (op is Op.EQUAL)
    if is_missing:
        return False
    if op in (Op.EQUAL, Op.UNEQUAL):
        return _is_same(cell, value) is (op is Op.EQUAL)
    try:
        return bool(_COMPARE[op](cell, value))
    except REFUSALS:
        return False


def _has_none(values: Sequence[Any]) -> bool:
    return any(value is None for value in values)


def _is_missing(cell: Any) -> bool:
    if isinstance(cell, float | np.floating):
        return bool(cell != cell)
    return cell is None or cell is pd.NA or cell is pd.NaT


def _is_same(cell: Any, value: Any) -> bool:
    try:
        if isinstance(cell, np.ndarray) or isinstance(value, np.ndarray):
            return bool(np.array_equal(cell, value))
        return bool(cell == value)
    except REFUSALS:
        return False


def _shown(given: object) -> str:
    text = " ".join(repr(given).split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
