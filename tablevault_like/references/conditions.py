"""The rows of a table that meet conditions. Each test finds rows by itself, or keeps some of those that another found.

Positions are in ascending order. Where a single row is found, its position may stand for it; None where there is none.
What conditions compare with is data: no text in it is ever executed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import numpy as np

from tablevault_like.references.frames import Table
from tablevault_like.references.indexes import Positions
from tablevault_like.references.keywords import CallKey, occurring
from tablevault_like.references.literals import Literals, read_number
from tablevault_like.references.syntax import INDEX, Between, Condition, Equal, Template
from tablevault_like.references.values import Value

Found = int | Positions | None

ROW_INDEX = Value(lambda index, row_key: index, True)


class Search(Protocol):
    """One condition, or several that are looked up together, to begin with."""

    @property
    def varies(self) -> bool:
        """Tell whether it passes other rows for other current rows."""
        ...

    def find(self, index: int | None, row_key: CallKey) -> Found:
        """Return the rows that pass."""
        ...


class Test(Search, Protocol):
    """One condition that can also look at rows which others found."""

    def keep(self, positions: Positions, index: int | None, row_key: CallKey) -> Positions:
        """Return those of the rows that pass."""
        ...


def check_condition(condition: Condition, key: str, literals: Literals | None) -> None:
    """Raise TableReferenceError for text in a condition that no value of its column is, or that is no position.

    ``key`` is the name of the condition's key, ``literals`` reads text as its column's type: None if that isn't known
    yet. What references or keywords give is not looked at.
    """
    reads: Mapping[Template, Callable[[Any], Any]]
    match condition.value:
        case Between(start, stop) if key == INDEX:
            reads = {start: _reads_position(start, whole=False), stop: _reads_position(stop, whole=False)}
        case Equal(template) if key == INDEX:
            reads = {template: _reads_position(template, whole=True)}
        case Between(start, stop) if literals is not None:
            reads = {bound: _reads_bound(bound, key, literals) for bound in (start, stop)}
        case Equal(template) if literals is not None:
            reads = {template: _reads_value(template, key, literals)}
        case _:
            reads = {}
    for template, read in reads.items():
        if template.literal is not None and not occurring(template.literal):
            read(template.literal)


def make_search(
    table: Table,
    conditions: Sequence[tuple[str, Condition]],
    *,
    rows: int,
    value_of: Callable[[Template], Value],
) -> tuple[Search, list[Test]]:
    """Return what finds rows first, as few as it can, and the tests that they must pass then.

    Each of the conditions, of which there is one at least, comes with the name of its key. ``rows`` is the number of
    the table's rows; ``value_of`` gives what templates come to.
    """
    equal: list[Operand] = []
    at: list[Test] = []
    between: list[Test] = []
    for name, condition in conditions:
        match condition.value:
            case Between(start, stop) if name == INDEX:
                bounds = (_position(start, value_of, whole=False), _position(stop, value_of, whole=False))
                between.append(PositionsBetween(bounds, start, rows))
            case Between(start, stop):
                bounds = (_bound(start, name, table, value_of), _bound(stop, name, table, value_of))
                between.append(CellsBetween(bounds, start, table, name))
            case Equal(template) if name == INDEX:
                at.append(AtPosition(_position(template, value_of, whole=True), rows))
            case Equal(template):
                equal.append(_operand(template, name, table, value_of))
            case None if name == INDEX:
                at.append(AtPosition(ROW_INDEX, rows))
            case None:
                equal.append(Operand(name, ROW_INDEX, condition.key))
    tests = [*at, *between]
    return (Equality(table, equal), tests) if equal else (tests[0], tests[1:])


@dataclass(frozen=True, slots=True)
class Operand:
    """What the cells of a column are to equal: a value, or any one of a tuple of values."""

    column: str
    value: Value
    template: Template
    is_choice: bool = False


class Equality:
    """All conditions of the form ``[key::value]``: one look-up in a hash table."""

    def __init__(self, table: Table, operands: Sequence[Operand]) -> None:
        self.varies = any(operand.value.varies for operand in operands)
        self._operands = tuple(operands)
        self._index = table.equal_index(tuple(operand.column for operand in operands))
        self.find: Callable[[int | None, CallKey], Found]
        if any(operand.is_choice for operand in operands):
            self.find = self._find_choices
        elif len(operands) > 1:
            self.find = self._find_together
        else:
            self.find = self._single()

    def _single(self) -> Callable[[int | None, CallKey], Found]:
        """Return the look-up of one value: it is made for each row, so it is a closure."""
        get, find = self._operands[0].value.get, self._index.find

        def find_single(index: int | None, row_key: CallKey) -> Found:
            value = get(index, row_key)
            try:
                return find(value)
            except TypeError:
                self._refuse([value])
                raise

        return find_single

    def _find_together(self, index: int | None, row_key: CallKey) -> Found:
        values = tuple([operand.value.get(index, row_key) for operand in self._operands])
        try:
            return self._index.find(values)
        except TypeError:
            self._refuse(values)
            raise

    def _find_choices(self, index: int | None, row_key: CallKey) -> Found:
        values = [operand.value.get(index, row_key) for operand in self._operands]
        choices = [
            value if operand.is_choice else (value,) for operand, value in zip(self._operands, values, strict=True)
        ]
        found: set[int] = set()
        for choice in product(*choices):
            try:
                positions = self._index.find(choice if len(choice) > 1 else choice[0])
            except TypeError:
                self._refuse(choice)
                raise
            found.update(as_positions(positions).tolist())
        return np.array(sorted(found), np.int64)

    def _refuse(self, values: Sequence[Any]) -> None:
        """Raise an error for the value that can't be looked up, if that is why the look-up failed."""
        for operand, value in zip(self._operands, values, strict=True):
            try:
                hash(value)
            except TypeError:
                raise operand.template.error(
                    f"The condition on {operand.column!r} needs one value, and this gives a {type(value).__name__}."
                ) from None


@dataclass(frozen=True, slots=True)
class AtPosition:
    """``[index]`` and ``[index::position]``. What isn't a position in the frame finds nothing."""

    position: Value
    rows: int

    @property
    def varies(self) -> bool:
        return self.position.varies

    def find(self, index: int | None, row_key: CallKey) -> int | None:
        position = self.position.get(index, row_key)
        if not isinstance(position, int | float | np.integer) or isinstance(position, bool):
            return None
        return int(position) if 0 <= position < self.rows and position == int(position) else None

    def keep(self, positions: Positions, index: int | None, row_key: CallKey) -> Positions:
        position = self.find(index, row_key)
        return positions[:0] if position is None else positions[positions == position]


@dataclass(frozen=True, slots=True)
class PositionsBetween:
    """``[index::start:stop]``"""

    bounds: tuple[Value, Value]
    template: Template
    rows: int

    @property
    def varies(self) -> bool:
        return any(bound.varies for bound in self.bounds)

    def find(self, index: int | None, row_key: CallKey) -> Found:
        first, last = self._range(index, row_key)
        return np.arange(first, last)

    def keep(self, positions: Positions, index: int | None, row_key: CallKey) -> Positions:
        first, last = self._range(index, row_key)
        return positions[(positions >= first) & (positions < last)]

    def _range(self, index: int | None, row_key: CallKey) -> tuple[int, int]:
        start, stop = (bound.get(index, row_key) for bound in self.bounds)
        if start is None or stop is None or start != start or stop != stop:
            return 0, 0
        try:
            first, last = (math.ceil(min(max(bound, 0), self.rows)) for bound in (start, stop))
        except TypeError:
            raise self.template.error(f"Positions are numbers, not {start!r} and {stop!r}.") from None
        return first, last


class CellsBetween:
    """``[key::start:stop]``: a search by bisection."""

    def __init__(self, bounds: tuple[Value, Value], template: Template, table: Table, column: str) -> None:
        self.varies = any(bound.varies for bound in bounds)
        self._bounds = bounds
        self._template = template
        self._table = table
        self._column = column
        self._index = table.order_index(column)

    def find(self, index: int | None, row_key: CallKey) -> Found:
        start, stop = (bound.get(index, row_key) for bound in self._bounds)
        try:
            return self._index.find(start, stop)
        except TypeError as error:
            raise self._incomparable(error) from None

    def keep(self, positions: Positions, index: int | None, row_key: CallKey) -> Positions:
        start, stop = (bound.get(index, row_key) for bound in self._bounds)
        try:
            return self._index.keep(positions, start, stop)
        except TypeError as error:
            raise self._incomparable(error) from None

    def _incomparable(self, error: TypeError) -> Exception:
        dtype = self._table.cells(self._column).array.dtype
        return self._template.error(f"The range doesn't fit the column {self._column!r} ({dtype}): {error}.")


def as_positions(found: Found) -> Positions:
    """Return what was found as an array."""
    if isinstance(found, np.ndarray):
        return found
    return np.array([] if found is None else [found], np.int64)


# Text that is written in a condition is read as the column's type. What a nested reference gives is taken as it is.


def _operand(template: Template, column: str, table: Table, value_of: Callable[[Template], Value]) -> Operand:
    value = value_of(template)
    if template.sole_reference is not None:
        return Operand(column, value, template)
    literals = table.literals(column)
    read = _reads_value(template, column, literals)
    if literals.is_definite:
        return Operand(column, value.then(lambda text: read(text)[0]), template)
    return Operand(column, value.then(read), template, is_choice=True)


def _bound(template: Template, column: str, table: Table, value_of: Callable[[Template], Value]) -> Value:
    value = value_of(template)
    if template.sole_reference is not None:
        return value
    return value.then(_reads_bound(template, column, table.literals(column)))


def _position(template: Template, value_of: Callable[[Template], Value], *, whole: bool) -> Value:
    value = value_of(template)
    return value if template.sole_reference is not None else value.then(_reads_position(template, whole=whole))


def _reads_value(template: Template, column: str, literals: Literals) -> Callable[[Any], tuple[Any, ...]]:
    def read(text: Any) -> tuple[Any, ...]:
        try:
            return literals.read(str(text))
        except ValueError as error:
            raise template.error(f"The condition doesn't fit the column {column!r}: {error}.") from None

    return read


def _reads_bound(template: Template, column: str, literals: Literals) -> Callable[[Any], Any]:
    def read(text: Any) -> Any:
        try:
            return literals.read_bound(str(text))
        except ValueError as error:
            raise template.error(
                f"The range doesn't fit the column {column!r}: {error}. A time with ':' in it stands in quotes."
            ) from None

    return read


def _reads_position(template: Template, *, whole: bool) -> Callable[[Any], int | float]:
    def read(text: Any) -> int | float:
        try:
            return read_number(str(text), whole=whole)
        except ValueError:
            raise template.error(f"'index' is the position of a row: a number from 0, not {text!r}.") from None

    return read
