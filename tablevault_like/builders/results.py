"""What user code returned for a row, as the cells that are recorded.

These run in workers. Nothing here writes: what can't be kept is raised, and is then the failure of its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tablevault_like.builders.hashing import InputHash
from tablevault_like.engines.base import Work
from tablevault_like.errors import TVTableError
from tablevault_like.model import Row
from tablevault_like.storage.values import encode_cells


@dataclass(slots=True)
class RowResult:
    """The cells of one row in the order of ``changed_columns``, and their text as it is recorded."""

    index: int
    cells: Sequence[object]
    text: str
    input_hash: bytes | None = None


class RowError(Exception):
    """Tell which row a stream failed at. ``original`` is the error."""

    def __init__(self, index: int, original: BaseException) -> None:
        super().__init__(index, original)
        self.index = index
        self.original = original


class RowCall:
    """Compute one row: hash its inputs, call the function, and take its cells from what it returns."""

    def __init__(
        self, function: Callable[..., object], columns: Sequence[str], *, inputs: InputHash | None = None
    ) -> None:
        self._function = function
        self._columns = tuple(columns)
        self._inputs = InputHash(function, ()) if inputs is None else inputs

    def __call__(self, work: Work) -> RowResult:
        # Before the call, which may change what it is given.
        input_hash = self._inputs.of(work.arguments, work.inputs)
        return _row_result(work.index or 0, self._function(**work.arguments), self._columns, input_hash)


class RowStream:
    """Follow a generator: give its rows with their positions, and None for each that is recorded already.

    A plain value is the row at the number of values before it; a ``Row`` names its own. ``recorded`` are the positions
    (sorted) that are recorded; a generator that ``resumes`` was told how many those are, and goes on after them.
    ``total`` is the number of rows there are to be, if it is known.

    Raises RowError, about a TVTableError, for a value that can't be a row.
    """

    def __init__(
        self,
        function: Callable[..., object],
        columns: Sequence[str],
        *,
        recorded: NDArray[np.int64],
        resumes: bool = False,
        total: int | None = None,
    ) -> None:
        self._function = function
        self._columns = tuple(columns)
        self._recorded = recorded
        self._resumes = resumes
        self._total = total

    def __call__(self, work: Work) -> Iterator[RowResult | None]:
        recorded = Positions(self._recorded)
        given = Positions(self._recorded if self._resumes else ())
        first = len(self._recorded) if self._resumes else 0
        iterator = iter(_iterable(self._function(**work.arguments)))
        try:
            for position, value in enumerate(iterator, first):
                index, values = (value.index, value.values) if isinstance(value, Row) else (position, value)
                try:
                    self._check_index(index, given)
                    result = None if index in recorded else _row_result(index, values, self._columns)
                except TVTableError as error:
                    raise RowError(position if error.row is None else error.row, error) from error
                yield result
        finally:
            # A generator is closed in the thread that runs it, not when it happens to be collected.
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def _check_index(self, index: object, given: Positions) -> None:
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            raise TVTableError(f"A row was yielded at the position {index!r}. Positions are numbers from 0.")
        if self._total is not None and index >= self._total:
            raise TVTableError(
                f"A result was yielded for row {index}, but there are {self._total} rows. Yield one for each row.",
                row=index,
            )
        if not given.add(index):
            raise TVTableError(f"Row {index} was yielded twice. Yield every row once.", row=index)


class Positions:
    """A set of positions that is small while they come nearly in order.

    >>> positions = Positions([0, 1, 4])
    >>> positions.add(2), positions.add(4), 3 in positions, 4 in positions
    (True, False, False, True)
    """

    def __init__(self, positions: Sequence[int] | NDArray[np.int64] = ()) -> None:
        """Begin with ``positions``, which are sorted."""
        found = np.asarray(positions, dtype=np.int64)
        out_of_place = np.nonzero(found != np.arange(len(found)))[0]
        self._end = int(out_of_place[0]) if len(out_of_place) else len(found)  # all positions below are in the set
        self._beyond: set[int] = set(found[self._end :].tolist())

    def __contains__(self, position: int) -> bool:
        return position < self._end or position in self._beyond

    def add(self, position: int) -> bool:
        """Add a position; return whether it is new."""
        if position in self:
            return False
        if position > self._end:
            self._beyond.add(position)
            return True
        self._end += 1
        while self._beyond and self._end in self._beyond:
            self._beyond.remove(self._end)
            self._end += 1
        return True


def cells_of(value: object, columns: Sequence[str]) -> Sequence[object]:
    """Return the cells of one row, in the order of ``columns``, from what a function returned for it.

    For one column that is the value itself (taken out of a tuple of one, or of a dict whose only key is the column);
    for several a tuple or a list in their order, or a dict with exactly these keys. Raises TVTableError otherwise.

    >>> cells_of({"size": 3, "name": "a"}, ["name", "size"])
    ('a', 3)
    >>> cells_of([1, 2], ["sizes"])
    ([1, 2],)
    """
    if len(columns) == 1:
        if type(value) is tuple and len(value) == 1:
            return value
        if type(value) is dict and len(value) == 1 and columns[0] in value:
            return (value[columns[0]],)
        return (value,)
    if isinstance(value, tuple | list) and len(value) == len(columns):
        return value
    if isinstance(value, dict) and len(value) == len(columns) and all(column in value for column in columns):
        return tuple(value[column] for column in columns)
    expected = ", ".join(columns)
    raise TVTableError(
        f"The function returned {_described(value)} for a row. Return a tuple of {len(columns)} values ({expected}), "
        "or a dict with exactly these keys."
    )


def _row_result(index: int, value: object, columns: Sequence[str], input_hash: bytes | None = None) -> RowResult:
    try:
        cells = cells_of(value, columns)
        return RowResult(index, cells, encode_cells(cells, columns), input_hash)
    except TVTableError as error:
        error.row = index
        raise


def _described(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, dict):
        return f"a dict with the keys {', '.join(map(str, list(value)[:20])) or '(none)'}"
    return f"a {type(value).__name__}"


def _iterable(value: object) -> Iterable[object]:
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping | pd.DataFrame):
        return value
    raise TVTableError(
        f"The function returned a {type(value).__name__}, but a builder whose return_type is generator needs one that "
        "yields rows. Use yield, or set another return_type."
    )
