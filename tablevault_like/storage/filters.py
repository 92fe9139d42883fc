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

import datetime
import decimal
import math
import numbers
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
    return Form.of(field).dtype not in ("object", "category") and _kind_of(field.type) is not None


def _kind_of(kind: Any) -> str | None:
    """Return what values of an Arrow type are for those who give them, ``None`` if Arrow compares no such values."""
    types = pa.types
    if types.is_boolean(kind):
        return "True or False"
    if types.is_integer(kind) or types.is_float32(kind) or types.is_float64(kind):
        return "a number"
    if types.is_string(kind) or types.is_large_string(kind):
        return "a string"
    if types.is_binary(kind) or types.is_large_binary(kind):
        return "bytes"
    if types.is_timestamp(kind):
        return "a time" if kind.tz is None else "a time with its zone"
    if types.is_duration(kind):
        return "a timedelta"
    return "a date" if types.is_date32(kind) else None


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
        exact = [value for value in placed if value is not None and _is_exact(value, kind)]
        return Condition(column, op, (_array(exact, kind), _has_none(condition.value)))
    if condition.value is None:
        return condition
    value = _placed(condition.value, field)
    if value is not None and _is_exact(value, kind):
        return Condition(column, op, _array([value], kind)[0])
    # No cell can have this value. What is between two that cells can have, or beyond all of them, still has an order.
    never, always = Condition(column, Op.IN, (_array([], kind), False)), Condition(column, Op.UNEQUAL, None)
    if value is None or op in (Op.EQUAL, Op.UNEQUAL):
        return always if op is Op.UNEQUAL else never
    is_upwards = op in (Op.GREATER, Op.AT_LEAST)
    neighbour = Fraction(math.floor(value) if is_upwards else math.ceil(value))
    if _is_exact(neighbour, kind):
        return Condition(column, Op.GREATER if is_upwards else Op.LESS, _array([neighbour], kind)[0])
    return always if (value < 0) is is_upwards else never


def _array(values: Sequence[Any], kind: Any) -> Any:
    """Return exact values as an Arrow array of a type."""
    if any(isinstance(value, Fraction) for value in values):
        if pa.types.is_integer(kind):
            return pa.array([int(value) for value in values], kind)
        storage = pa.int32() if pa.types.is_date32(kind) else pa.int64()
        return pa.array([int(value) for value in values], storage).cast(kind)
    return pa.array(values, kind)


def _is_exact(value: Any, kind: Any) -> bool:
    """Tell whether a cell of a type can have a value."""
    if not isinstance(value, Fraction):
        return True
    if value.denominator != 1:
        return False
    width = int(kind.bit_width)
    least = 0 if pa.types.is_unsigned_integer(kind) else -(2 ** (width - 1))
    return bool(least <= value < least + 2**width)


def _placed(value: Any, field: Any) -> Any:
    """Return a value as cells of a column are compared: counts of its unit as fractions, else what Arrow takes.

    ``None`` is for NaN, which is no cell's equal and comes in no order.
    """
    kind = field.type
    try:
        placed = _place(value, kind)
    except REFUSALS:
        placed = NotImplemented
    if placed is not NotImplemented:
        return placed
    raise TVArgumentError(
        f"filters: the column {field.name!r} is {Form.of(field).dtype}, so its cells can't be compared with "
        f"{_shown(value)}. Give {_kind_of(kind)}."
    )


def _place(value: Any, kind: Any) -> Any:
    types = pa.types
    if types.is_boolean(kind):
        return value if isinstance(value, bool) else NotImplemented
    if types.is_integer(kind) or types.is_floating(kind):
        if isinstance(value, bool) or not isinstance(value, numbers.Real | decimal.Decimal):
            return NotImplemented
        return _number(value, kind)
    if types.is_string(kind) or types.is_large_string(kind):
        return value if isinstance(value, str) and _is_unicode(value) else NotImplemented
    if types.is_binary(kind) or types.is_large_binary(kind):
        return value if isinstance(value, bytes) else NotImplemented
    if types.is_timestamp(kind):
        if not isinstance(value, str | datetime.date | np.datetime64):
            return NotImplemented
        moment: Any = pd.Timestamp(value)
        if moment is pd.NaT or (moment.tz is None) is not (kind.tz is None):
            return NotImplemented
        return Fraction(moment.asm8.view("i8").item() * _PER_SECOND[kind.unit], _PER_SECOND[moment.unit])
    if types.is_duration(kind):
        if not isinstance(value, str | datetime.timedelta | np.timedelta64):
            return NotImplemented
        length: Any = pd.Timedelta(value)
        if length is pd.NaT:
            return NotImplemented
        return Fraction(length.asm8.view("i8").item() * _PER_SECOND[kind.unit], _PER_SECOND[length.unit])
    day = datetime.date.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(day, datetime.date) or isinstance(day, datetime.datetime):
        return NotImplemented
    return Fraction((day - datetime.date(1970, 1, 1)).days)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_BEYOND = Fraction(2**100)


def _number(value: Any, kind: Any) -> Any:
    if value != value:  # NaN
        return None
    if pa.types.is_floating(kind):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if value in (math.inf, -math.inf):
        return _BEYOND if value > 0 else -_BEYOND
    return Fraction(value)


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
