"""What user code returned for a row, as the cells that are recorded.

These run in workers. Nothing here writes: what can't be kept is raised, and is then the failure of its row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tablevault_like.builders.hashing import InputHash
from tablevault_like.engines.attempts import Attempts, CallFailed, Tried, price_of
from tablevault_like.engines.base import Interrupted, Work
from tablevault_like.errors import TVPausedError, TVTableError
from tablevault_like.model import Result, Row
from tablevault_like.storage.values import encode, encode_cells

_LONGEST_INPUT = 20_000
"""Characters of one argument that are recorded of a row that failed."""


@dataclass(slots=True)
class RowResult:
    """The cells of one row in the order of ``changed_columns``, and their text as it is recorded."""

    index: int
    cells: Sequence[object]
    text: str
    input_hash: bytes | None = None
    attempts: int = 1
    cost: float | None = None
    tokens: int | None = None


class RowError(Exception):
    """Tell which row failed, after how many attempts, at which price, and what it was called with.

    ``original`` is the error, ``inputs`` the text that is recorded of the arguments. One that isn't ``is_final`` would
    have been tried again, but for a stop.
    """

    def __init__(
        self,
        index: int,
        original: BaseException,
        *,
        attempts: int = 1,
        cost: float | None = None,
        tokens: int | None = None,
        inputs: str | None = None,
        is_final: bool = True,
    ) -> None:
        super().__init__(index, original)
        self.index = index
        self.original = original
        self.attempts = attempts
        self.cost = cost
        self.tokens = tokens
        self.inputs = inputs
        self.is_final = is_final


class RowCall:
    """Compute one row: hash its inputs, call the function, and take its cells from what it returns.

    ``attempts`` is how the function is called, if it isn't just called. With ``goes_on`` a row that fails is returned
    as a RowError, so that nobody stops over it, unless an operation was paused in it; else it is raised. Raises
    Interrupted if it was stopped before the function was called.
    """

    def __init__(
        self,
        function: Callable[..., object],
        columns: Sequence[str],
        *,
        inputs: InputHash | None = None,
        attempts: Attempts | None = None,
        goes_on: bool = False,
    ) -> None:
        self._function = function
        self._columns = tuple(columns)
        self._inputs = InputHash(function, ()) if inputs is None else inputs
        self._attempts = attempts
        self._goes_on = goes_on

    def __call__(self, work: Work) -> RowResult | RowError:
        index = work.index or 0
        tried: Tried[object] | None = None
        try:
            # Before the call, which may change what it is given.
            input_hash = self._inputs.of(work.arguments, work.inputs)
            if self._attempts is None:
                value = self._function(**work.arguments)
                if type(value) is not Result:
                    return row_result(index, value, self._columns, input_hash)
                tried = Tried(value.values, 1, value.cost, value.tokens)
            else:
                tried = self._attempts.call(lambda: self._function(**work.arguments))
            result = row_result(index, tried.value, self._columns, input_hash)
        except Interrupted:
            raise
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            failed = row_error(work, error, tried)
        else:
            result.attempts, result.cost, result.tokens = tried.attempts, tried.cost, tried.tokens
            return result
        if self._goes_on and may_go_on(failed.original):
            return failed
        raise failed from failed.original


class RowStream:
    """Follow a generator: give its rows with their positions, and None for each that is recorded already.

    A plain value is the row at the number of values before it; a ``Row`` names its own. ``recorded`` are the positions
    (sorted) that are recorded; a generator that ``resumes`` was told how many those are, and goes on after them; of
    another one the first ``start_at`` values don't count. ``total`` is the number of rows there are to be, if it is
    known.

    When it has ended, ``given`` is the number of values that the function gave, ``returned`` what a generator returned.

    Raises RowError, about a TVTableError, for a value that can't be a row.
    """

    def __init__(
        self,
        function: Callable[..., object],
        columns: Sequence[str],
        *,
        recorded: NDArray[np.int64],
        resumes: bool = False,
        start_at: int = 0,
        total: int | None = None,
    ) -> None:
        self.given = 0
        self.returned: object = None
        self._function = function
        self._columns = tuple(columns)
        self._recorded = recorded
        self._resumes = resumes
        self._left_out = 0 if resumes else start_at
        self._total = total

    def __call__(self, work: Work) -> Iterator[RowResult | RowError | None]:
        recorded = Positions(self._recorded)
        given = Positions(self._recorded if self._resumes else ())
        first = len(self._recorded) if self._resumes else 0
        iterator = iter(_iterable(self._function(**work.arguments)))
        self.given = 0
        try:
            for value in self._noting_return(iterator):
                self.given += 1
                if self.given <= self._left_out:
                    yield None
                    continue
                position = first + self.given - self._left_out - 1
                index, values = (value.index, value.values) if isinstance(value, Row) else (position, value)
                try:
                    self._check_index(index, given)
                    result = None if index in recorded else _priced_result(index, values, self._columns)
                except TVTableError as error:
                    raise RowError(position if error.row is None else error.row, error) from error
                yield result
        finally:
            # A generator is closed in the thread that runs it, not when it happens to be collected.
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def _noting_return(self, iterator: Iterator[object]) -> Iterator[object]:
        """Yield what an iterator gives, and note what it returns."""
        self.returned = yield from cast(Generator[object, None, object], iterator)

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


def row_result(index: int, value: object, columns: Sequence[str], input_hash: bytes | None = None) -> RowResult:
    """Return a row's result from what a function returned for it. Raises TVTableError for what can't be kept."""
    try:
        cells = cells_of(value, columns)
        return RowResult(index, cells, encode_cells(cells, columns), input_hash)
    except TVTableError as error:
        error.row = index
        raise


def _priced_result(index: int, value: object, columns: Sequence[str]) -> RowResult:
    if type(value) is not Result:
        return row_result(index, value, columns)
    result = row_result(index, value.values, columns)
    result.cost, result.tokens = value.cost, value.tokens
    return result


def may_go_on(error: BaseException) -> bool:
    """Tell whether other rows may go on over what one has raised: it is an error, and no operation that was paused."""
    return isinstance(error, Exception) and not isinstance(error, TVPausedError)


def row_error(work: Work, error: BaseException, tried: Tried[object] | None) -> RowError:
    """Return the error of a call as that of its row. ``tried`` is what the call returned, if it did."""
    if tried is not None:  # what it returned can't be kept, but had its price
        error = CallFailed(error, tried.attempts, tried.cost, tried.tokens)
    elif not isinstance(error, CallFailed):
        error = CallFailed(error, 1, *price_of(error))
    return RowError(
        work.index or 0,
        error.original,
        attempts=error.attempts,
        cost=error.cost,
        tokens=error.tokens,
        inputs=inputs_text(work.arguments),
        is_final=not error.was_stopped,
    )


def inputs_text(arguments: Mapping[str, object]) -> str:
    """Return what a function was called with as JSON text: values as they are kept, or what they look like.

    >>> inputs_text({"text": "an ant", "limit": 3})
    '{"text":"an ant","limit":3}'
    """
    return "{" + ",".join(f"{json.dumps(name)}:{_input_text(value)}" for name, value in arguments.items()) + "}"


def _input_text(value: object) -> str:
    if not isinstance(value, pd.DataFrame | pd.Series | np.ndarray):
        with suppress(Exception):  # it can't be kept
            text = encode(value)
            if len(text) <= _LONGEST_INPUT:
                return text
    try:
        shown = repr(value)
    except Exception:  # noqa: BLE001 - a value that nobody can show mustn't hide the error of its row
        shown = f"a {type(value).__name__}"
    return json.dumps(shown if len(shown) <= _LONGEST_INPUT else f"{shown[:_LONGEST_INPUT]}...")


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
