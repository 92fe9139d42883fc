"""A builder whose function is called for each row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tablevault_like.builders.hashing import InputHash
from tablevault_like.builders.recording import Recorder
from tablevault_like.builders.results import RowCall, RowError, RowResult, inputs_text
from tablevault_like.builders.task import Task
from tablevault_like.engines.base import Work
from tablevault_like.errors import TableVaultError
from tablevault_like.model import OnError, RowStatus
from tablevault_like.references.arguments import Bound

_BLOCK = 8192


def make_rows(task: Task) -> None:
    """Call the function for each row that isn't recorded yet, and can't be reused."""
    left = left_to_make(task)
    if left is None:
        return
    call: Callable[[Work], RowResult | RowError | None] = RowCall(
        task.function,
        task.spec.changed_columns,
        inputs=left.inputs,
        attempts=task.attempts(),
        goes_on=task.spec.on_error is not OnError.STOP,
    )
    for rows in left.parts():
        work = row_work(task, left.bound, rows)
        left.recorder.record(task.calls(call, work, count=len(rows), recorder=left.recorder))
    left.recorder.check_complete()


@dataclass(frozen=True)
class Left:
    """The rows that a builder is called for now: none is recorded yet, and none can be reused."""

    task: Task
    recorder: Recorder
    bound: Bound
    inputs: InputHash
    rows: NDArray[np.int64]

    def parts(self) -> Iterator[NDArray[np.int64]]:
        """Yield as many of them as a budget of rows allows, until a stop is requested.

        More than once: those that fail needn't count among the rows that are made.
        """
        rows, recorder = self.rows, self.recorder
        while len(rows) and not self.task.building.stop.requested and recorder.rows_left != 0:
            part = rows[: recorder.rows_left]
            rows = rows[len(part) :]
            yield part


def left_to_make(task: Task) -> Left | None:
    """Take over the rows that can be reused, and return those that are left; None if there are none."""
    total = task.rows_to_fill()
    missing = rows_to_make(task, total)
    recorder = task.recorder(total=total)
    if not len(missing):
        return None
    bound = task.bind()
    inputs = task.input_hash(bound)
    missing = _not_reused(task, missing, bound, inputs, recorder)
    if not len(missing):
        return None
    recorder.inputs_of = lambda row: inputs_text(_row(task, bound, row, task.key(row))[0])
    return Left(task, recorder, bound, inputs, missing)


def rows_to_make(task: Task, total: int) -> NDArray[np.int64]:
    """Return the positions of the rows that are neither done nor skipped, sorted."""
    store = task.building.store
    settled = np.union1d(store.recorded(task.name), store.recorded(task.name, RowStatus.SKIPPED))
    return np.setdiff1d(np.arange(total), settled, assume_unique=True)


def row_work(task: Task, bound: Bound, rows: NDArray[np.int64]) -> Iterator[Work]:
    """Yield the calls for rows, one by one."""
    prefix = task.key("")
    for start in range(0, len(rows), _BLOCK):
        for index in rows[start : start + _BLOCK].tolist():
            key = f"{prefix}{index}"
            arguments, inputs = _row(task, bound, index, key)
            yield Work(index, arguments, inputs, key)


def _row(task: Task, bound: Bound, index: int, key: str) -> tuple[dict[str, object], tuple[object, ...]]:
    try:
        return bound.row(index, key)
    except TableVaultError as error:
        error.add_note(f"This was for row {index} of the builder {task.name!r}.")
        raise


def _not_reused(
    task: Task, missing: NDArray[np.int64], bound: Bound, inputs: InputHash, recorder: Recorder
) -> NDArray[np.int64]:
    """Take over the rows that were made before, and return those that weren't."""
    reusable = None if task.reuse is None else task.reuse.rows(task.recipe, task.spec.changed_columns)
    if reusable is None:
        return missing
    left: list[int] = []
    failed = {each.index for each in task.building.store.failures(task.name)}
    for start in range(0, len(missing), _BLOCK):
        if task.building.stop.requested:
            raise task.building.interrupted()
        block = missing[start : start + _BLOCK].tolist()
        taken = reusable.take(block, lambda row: inputs.of(*_row(task, bound, row, task.key(row))))
        indexes = {row.index for row in taken}
        if failed & indexes:
            # Or else the attempts that failed, with other code, would make them rows that were made here.
            task.building.store.forget(task.name, failed & indexes)
        recorder.reuse(taken)
        left += [row for row in block if row not in indexes]
    task.tell_reuse(len(missing) - len(left), of=len(missing))
    return np.array(left, np.int64)
