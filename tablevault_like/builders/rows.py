"""A builder whose function is called for each row."""

from __future__ import annotations

from collections.abc import Callable, Iterator

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
    building = task.building
    total = task.rows_to_fill()
    missing = rows_to_make(task, total)
    recorder = task.recorder(total=total)
    if not len(missing):
        return
    bound = task.bind()
    inputs = task.input_hash(bound)
    missing = left_to_make(task, missing, bound, inputs, recorder)
    if not len(missing):
        return
    recorder.inputs_of = lambda row: inputs_text(_row(task, bound, row, task.key(row))[0])
    call: Callable[[Work], RowResult | RowError | None] = RowCall(
        task.function,
        task.spec.changed_columns,
        inputs=inputs,
        attempts=task.attempts(),
        goes_on=task.spec.on_error is not OnError.STOP,
    )
    while len(missing) and not building.stop.requested:
        # What fails needn't count among the rows that a budget allows: then there is more to be made than this.
        part = missing[: recorder.rows_left]
        missing = missing[len(part) :]
        commits = task.commits(recorder)
        calls = building.engine.map(
            commits.counting(call),
            row_work(task, bound, part),
            workers=min(task.spec.n_threads, len(part)),
            stop=building.stop,
            enter=building.enter,
        )
        recorder.record(commits.committed(calls))
    recorder.check_complete()


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


def left_to_make(
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
