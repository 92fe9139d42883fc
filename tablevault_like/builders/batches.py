"""A builder whose function is called for many rows at once.

1. A ColumnBuilder's function is given a frame with a row for each row of the batch. Its rows are hashed, reused and
   recorded one by one: batches are made of what is left.
2. An IndexBuilder's function makes the rows of a batch. Such a batch is one thing: all of its rows are recorded, or
   none is; and it is taken over from the origin as a whole.
3. Rows of one batch are recorded in one commit.
4. What a call has cost and how long it took is divided over its rows: the sum is what it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tablevault_like.builders.hashing import InputHash
from tablevault_like.builders.recording import Recorder
from tablevault_like.builders.results import RowError, RowResult, may_go_on, row_error, row_result
from tablevault_like.builders.reuse import ReusedRow
from tablevault_like.builders.rows import left_to_make, row_work, rows_to_make
from tablevault_like.builders.task import Task
from tablevault_like.engines.attempts import Attempts, Tried
from tablevault_like.engines.base import Done, Failed, Interrupted, RelayedCalls, Work
from tablevault_like.engines.base import Result as Finished
from tablevault_like.errors import TVTableError, nearest
from tablevault_like.model import OnError, Result
from tablevault_like.references.arguments import Bound
from tablevault_like.references.cells import plain
from tablevault_like.references.keywords import Batch
from tablevault_like.storage import arrow
from tablevault_like.storage.columns import Form, Stored, from_stored
from tablevault_like.storage.digests import digest
from tablevault_like.storage.dtypes import check_labels

Rows: TypeAlias = list[RowResult | RowError]

_OWN_DTYPE = {bool, int, float, str, datetime, timedelta}
"""The types of values that make a column of a dtype of their own."""

_BLOCK = 8192
"""Rows of batches that are taken over in one commit."""

_SIGNIFICANT_BITS = 53
"""Of a float."""


@dataclass(slots=True)
class BatchWork(Work):
    """The call for one batch. ``rows`` are the calls that its rows would be by themselves.

    ``batch`` is which one it is, where it makes these rows.
    """

    rows: Sequence[Work] = ()
    batch: Batch | None = None


def fill_batches(task: Task) -> None:
    """Call a ColumnBuilder's function for the rows that aren't recorded yet and can't be reused, some at a time."""
    left = left_to_make(task)
    if left is None:
        return
    call = _FillBatch(task, left.inputs)
    for rows in left.parts():
        batches = list(_parts(task, rows))
        works = (_batch_of(task, left.bound, batch) for batch in batches)
        left.recorder.record(_ByRow(task.calls(call, works, count=len(batches), recorder=left.recorder)))
    left.recorder.check_complete()


def make_batches(task: Task) -> None:
    """Call an IndexBuilder's function for the batches that aren't recorded yet and can't be reused."""
    building, size, total = task.building, task.spec.batch_size or 1, task.spec.total_rows or 0
    missing = batches_of(rows_to_make(task, total), size=size, total=total)
    recorder = task.recorder(total=total)
    if not missing:
        return
    bound = task.bind()
    inputs = task.input_hash(bound)
    missing = _batches_left(task, missing, bound, inputs, recorder)
    call = _MakeBatch(task, inputs, recorder)
    while missing and not building.stop.requested and recorder.rows_left != 0:
        # A batch is made as a whole, though a budget ends in the midst of it.
        allowed = len(missing) if recorder.rows_left is None else -(-recorder.rows_left // size)
        part, missing = missing[:allowed], missing[allowed:]
        works = (_work_of(task, bound, batch) for batch in part)
        recorder.record(_ByRow(task.calls(call, works, count=len(part), recorder=recorder)))
    recorder.check_complete()


def batches_of(rows: NDArray[np.int64], *, size: int, total: int) -> list[Batch]:
    """Return the batches that have some rows, of those that make ``total`` rows, ``size`` at a time.

    >>> [batch.rows for batch in batches_of(np.array([1, 9]), size=4, total=10)]
    [range(0, 4), range(8, 10)]
    """
    starts = (np.unique(rows // size) * size).tolist()
    return [Batch(start, min(size, total - start), start // size) for start in starts]


def batch_hash(inputs: InputHash, batch: Batch, arguments: Mapping[str, object], values: Sequence[object]) -> bytes:
    """Return the hash of a batch that is made in one call: each has its own, for it says which one it is."""
    return digest(inputs.of(arguments, values), batch.start, batch.size, batch.index)


def _parts(task: Task, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    size = task.spec.batch_size or 1
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _batch_of(task: Task, bound: Bound, positions: NDArray[np.int64]) -> BatchWork:
    rows = list(row_work(task, bound, positions))
    constants = {name: value for name, value in rows[0].arguments.items() if name not in task.spec.arguments.varying}
    return BatchWork(rows[0].index, constants, (), rows[0].key, rows)


def _work_of(task: Task, bound: Bound, batch: Batch) -> BatchWork:
    arguments, inputs = bound.row(None, batch)
    return BatchWork(batch.start, arguments, inputs, None, [Work(row, arguments) for row in batch.rows], batch)


def _batches_left(
    task: Task, missing: Sequence[Batch], bound: Bound, inputs: InputHash, recorder: Recorder
) -> list[Batch]:
    """Take over the batches that were made before, and return those that weren't."""
    reusable = None if task.reuse is None else task.reuse.batches(task.recipe, task.spec.changed_columns)
    if reusable is None:
        return list(missing)
    left: list[Batch] = []
    waiting: list[ReusedRow] = []
    count = 0
    failed = {each.index for each in task.building.store.failures(task.name)}
    for place, batch in enumerate(missing, 1):
        if task.building.stop.requested:
            raise task.building.interrupted()
        taken = reusable.take(batch.rows, batch_hash(inputs, batch, *bound.row(None, batch)))
        if not taken:
            left.append(batch)
        elif failed.intersection(batch.rows):
            # Or else the attempts that failed, with other code, would make them rows that were made here.
            task.building.store.forget(task.name, failed.intersection(batch.rows))
        waiting += taken
        if len(waiting) >= _BLOCK or place == len(missing):
            recorder.reuse(waiting)
            count += len(waiting)
            waiting.clear()
    task.tell_reuse(count, of=recorder.total or 0)
    return left


class _BatchCall:
    """Compute one batch: hash its inputs, call the function, and take the cells of its rows from what it returns.

    With an ``on_error`` that lets others go on, rows that fail are returned among the others; else ``_BatchFailed`` is
    raised. Raises Interrupted if it was stopped before the function was called.
    """

    def __init__(self, task: Task, inputs: InputHash) -> None:
        self._function = task.function
        self._columns = task.spec.changed_columns
        self._inputs = inputs
        self._attempts: Attempts | None = task.attempts()
        self._goes_on = task.spec.on_error is not OnError.STOP

    def __call__(self, work: Work) -> Rows:
        assert isinstance(work, BatchWork)
        tried: Tried[object] | None = None
        try:
            # Before the call, which may change what it is given.
            hashes = self.hashes(work)
            tried = self._try(work)
            rows = self.rows_of(work, tried, hashes)
        except Interrupted:
            raise
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            rows = _all_failed(work, error, tried)
        failed = [each.original for each in rows if isinstance(each, RowError)]
        if failed and not (self._goes_on and all(may_go_on(error) for error in failed)):
            raise _BatchFailed(rows) from failed[0]
        return rows

    def hashes(self, work: BatchWork) -> list[bytes]:
        """Return the input hash of each row."""
        raise NotImplementedError

    def call(self, work: BatchWork) -> object:
        """Call the function."""
        raise NotImplementedError

    def rows_of(self, work: BatchWork, tried: Tried[object], hashes: Sequence[bytes]) -> Rows:
        """Return the results of the rows. Raises TVTableError if what was returned can't be those of a batch."""
        values = _values_of(tried.value, self._columns, [row.index or 0 for row in work.rows])
        costs, tokens = _shares(tried.cost, len(work.rows)), _whole_shares(tried.tokens, len(work.rows))
        rows: Rows = []
        for row, value, input_hash, cost, count in zip(work.rows, values, hashes, costs, tokens, strict=True):
            made = Tried(value, tried.attempts, cost, count)
            if isinstance(value, Result):  # that of one row, with a price of its own
                own_cost, own_count = value.cost + (cost or 0.0), value.tokens + (count or 0)
                made = Tried(value.values, tried.attempts, own_cost, own_count)
            rows.append(_one_row(row, made, self._columns, input_hash))
        return rows

    def _try(self, work: BatchWork) -> Tried[object]:
        if self._attempts is not None:
            return self._attempts.call(lambda: _gathered(self.call(work)))
        value = _gathered(self.call(work))
        if isinstance(value, Result):
            return Tried(value.values, 1, value.cost, value.tokens)
        return Tried(value)


class _FillBatch(_BatchCall):
    """Fill columns of some rows."""

    def __init__(self, task: Task, inputs: InputHash) -> None:
        super().__init__(task, inputs)
        self._varying = task.spec.arguments.varying

    def hashes(self, work: BatchWork) -> list[bytes]:
        return [self._inputs.of(row.arguments, row.inputs) for row in work.rows]

    def call(self, work: BatchWork) -> object:
        # A frame of its own for each attempt.
        return self._function(_frame_of(work.rows, self._varying), **work.arguments)


class _MakeBatch(_BatchCall):
    """Make some rows, all or none."""

    def __init__(self, task: Task, inputs: InputHash, recorder: Recorder) -> None:
        super().__init__(task, inputs)
        self._check = recorder.check

    def hashes(self, work: BatchWork) -> list[bytes]:
        assert work.batch is not None
        return [batch_hash(self._inputs, work.batch, work.arguments, work.inputs)] * len(work.rows)

    def call(self, work: BatchWork) -> object:
        return self._function(**work.arguments)

    def rows_of(self, work: BatchWork, tried: Tried[object], hashes: Sequence[bytes]) -> Rows:
        rows = super().rows_of(work, tried, hashes)
        for row in rows:
            if isinstance(row, RowError):
                raise row.original
        self._check([row for row in rows if isinstance(row, RowResult)])
        return rows


class _BatchFailed(Exception):  # noqa: N818 - it carries errors
    """Carry the rows of a batch of which some failed, and end the run."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows)
        self.rows = rows


class _ByRow(RelayedCalls[RowResult | RowError | None]):
    """The rows of batches that come back. Those of one batch come together."""

    def __next__(self) -> list[Finished[RowResult | RowError | None]]:
        return [row for result in next(self._calls) for row in _rows_of(result)]


def _rows_of(result: Finished[Rows]) -> Iterator[Finished[RowResult | RowError | None]]:
    if not isinstance(result, Failed):
        rows, ends = result.value, False
    elif isinstance(result.error, _BatchFailed):
        rows, ends = result.error.rows, True
    else:
        yield result
        return
    for row in rows:
        seconds = result.seconds / len(rows)
        yield (Failed(row.index, row, seconds) if ends and isinstance(row, RowError) else Done(row.index, row, seconds))


def _one_row(row: Work, made: Tried[object], columns: Sequence[str], input_hash: bytes) -> RowResult | RowError:
    try:
        result = row_result(row.index or 0, made.value, columns, input_hash)
    except TVTableError as error:
        return row_error(row, error, made)
    result.attempts, result.cost, result.tokens = made.attempts, made.cost, made.tokens
    return result


def _all_failed(work: BatchWork, error: BaseException, tried: Tried[object] | None) -> Rows:
    rows = [row_error(row, error, tried) for row in work.rows]
    first = rows[0]
    costs, tokens = _shares(first.cost, len(rows)), _whole_shares(first.tokens, len(rows))
    for row, cost, count in zip(rows, costs, tokens, strict=True):
        row.cost, row.tokens = cost, count
    first.original.add_note(f"This was the call for {len(rows)} rows, {first.index} to {rows[-1].index}.")
    return [*rows]


def _frame_of(rows: Sequence[Work], names: Sequence[str]) -> pd.DataFrame:
    """Return arguments as the columns of a frame whose index holds the positions of the rows."""
    index = pd.Index([row.index for row in rows], dtype="int64")
    columns = {name: _column([row.arguments[name] for row in rows]) for name in names}
    for column in columns.values():
        column.index = index
    return pd.DataFrame(columns, index=index, columns=pd.Index([*names], dtype="str"))


def _column(values: Sequence[object]) -> pd.Series[Any]:
    """Return values as a column that gives back just these: of a dtype of its own only if all are of one type."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) == 1 and kinds <= _OWN_DTYPE:
        packed = arrow.pack_block(values, exact=False)
        if packed.encoding is arrow.Encoding.PLAIN and packed.dtype != "object":
            return from_stored(Stored(pa.chunked_array([packed.values]), Form(packed.dtype, packed.encoding)))
    held = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):  # numpy would look into lists
        held[place] = value
    return pd.Series(held)


def _gathered(value: object) -> object:
    """Return what a function returned with all that an iterator gives: it may be user code, too."""
    if isinstance(value, Result):
        return Result(_gathered(value.values), value.cost, value.tokens)
    return list(value) if isinstance(value, Iterator) else value


def _values_of(value: object, columns: Sequence[str], positions: Sequence[int]) -> list[object]:
    """Return what a function that was called for a batch returned for each of its rows.

    A frame or a column whose labels are the positions of the rows is read by these. Raises TVTableError if it isn't
    made of as many rows.
    """
    if isinstance(value, pd.DataFrame):
        values = _values_of_frame(_in_order(value, positions), columns)
    elif isinstance(value, pd.Series) and len(columns) == 1:
        values = [(cell,) for cell in plain(_in_order(value, positions).array)]
    elif isinstance(value, np.ndarray):
        values = value.tolist() if value.ndim == 1 or len(columns) > 1 else [*value]
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        values = [*value]
    else:
        raise TVTableError(
            f"The function returned a {type(value).__name__}, but a builder whose return_type is batch needs as many "
            f"rows as the batch has, {len(positions)}: a DataFrame, a list, or a Series for one column."
        )
    if len(values) != len(positions):
        raise TVTableError(
            f"The function returned {len(values)} rows for a batch of {len(positions)}. Return one for each row of the "
            "batch, in their order."
        )
    return values


def _values_of_frame(frame: pd.DataFrame, columns: Sequence[str]) -> list[object]:
    for name in columns:
        if name not in frame.columns:
            hint = nearest(name, map(str, frame.columns))
            raise TVTableError(f"The DataFrame that was returned has no column {name!r}.{hint}", column=name)
    wanted = frame[[*columns]]
    check_labels(wanted)
    return [*zip(*(plain(wanted[name].array) for name in columns), strict=True)]


def _in_order(found: Any, positions: Sequence[int]) -> Any:
    """Return a frame or a column in the order of the batch, if its index tells the positions in another one."""
    labels = found.index.tolist()
    try:
        is_another_order = labels != [*positions] and sorted(labels) == [*positions]
    except TypeError:  # labels that have no order
        return found
    return found.loc[[*positions]] if is_another_order else found


def _shares(cost: float | None, count: int) -> list[float | None]:
    """Return as many equal shares of a cost; the last one differs by so little that the sum is exact.

    >>> shares = _shares(0.1, 3)
    >>> sum(shares) == 0.1, sum(reversed(shares)) == 0.1, round(shares[0], 10)
    (True, True, 0.0333333333)
    """
    if cost is None or not math.isfinite(cost):
        return [cost] * count
    # With so few digits that neither sums of shares nor what is left are rounded, in whatever order they are added.
    mantissa, exponent = math.frexp(cost / count)
    bits = _SIGNIFICANT_BITS - count.bit_length()
    share = math.ldexp(math.floor(math.ldexp(mantissa, bits)), exponent - bits)
    return [*[share] * (count - 1), cost - share * (count - 1)]


def _whole_shares(tokens: int | None, count: int) -> list[int | None]:
    """Return as many shares of a number, whole ones.

    >>> _whole_shares(11, 3)
    [4, 4, 3]
    """
    if tokens is None:
        return [None] * count
    share, rest = divmod(tokens, count)
    return [share + (place < rest) for place in range(count)]
