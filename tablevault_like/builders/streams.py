"""A builder whose function is a generator: its rows are recorded in the order in which it yields them.

Whenever ``checkpoint_every`` more rows are recorded, a line in the log says how far it is, and so it does when the run
ends early. An offset in these lines counts in the source: it is where the next run goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import cast

import numpy as np

from tablevault_like.builders.recording import Recorder, failure
from tablevault_like.builders.results import RowError, RowResult, RowStream
from tablevault_like.builders.reuse import ReusedRow
from tablevault_like.builders.task import Task
from tablevault_like.engines.base import Calls, Failed, RelayedCalls, Result, Work
from tablevault_like.errors import TVTableError
from tablevault_like.references.keywords import Keyword
from tablevault_like.storage import tables
from tablevault_like.storage.values import encode_cells

_log = logging.getLogger(__name__)
_NOTHING = object()


def follow(task: Task) -> None:
    """Record the rows of a generator, from the first one that isn't recorded yet."""
    building = task.building
    total = None if task.spec.is_index else task.rows_to_fill()
    recorded = building.store.recorded(task.name)
    resumes = Keyword.RESUME_FROM in task.spec.arguments.keywords
    recorder = task.recorder(total=total)
    if total and recorder.reused == total:
        return  # taken over by a worker that died then: nobody needs to be asked whether there is more
    if len(recorded) and building.store.is_exhausted(task.name):
        return  # made by a worker that died before the step was recorded
    stream = RowStream(
        task.function,
        task.spec.changed_columns,
        recorded=recorded,
        resumes=resumes,
        start_at=task.start_at,
        total=total,
    )
    offset = task.start_at + len(recorded)
    bound = task.bind(resume_from=offset)
    work = task.whole_work(bound)
    input_hash = task.call_hash(bound, work)
    if len(recorded):
        if building.store.input_hash(task.name) != input_hash:
            # Its rows are of different calls: another code goes on, or other inputs.
            building.store.set_input_hash(task.name, None)
    elif input_hash is not None:
        building.store.set_input_hash(task.name, input_hash)
        made = task.made_before(input_hash)
        if made is not None:
            # At once: if it were in parts, a resume would take the first of them for a generator's.
            rows = enumerate(tables.cells_of(made))
            recorder.reuse([ReusedRow(row, encode_cells(cells), None) for row, cells in rows])
            task.tell_reuse(made.num_rows, of=made.num_rows)
            return
    _tell_begin(task, is_resumed=len(recorded) > 0, offset=offset)
    commits, left = task.commits(recorder), recorder.rows_left
    limited = stream if left is None else _limited(stream, left)
    holding = task.holding(recorder, commits)
    follow_source = holding.held_stream(commits.counting_each(limited))
    calls = building.engine.stream(follow_source, work, stop=building.stop, enter=building.enter)
    parts = _InParts(commits.committed(calls, is_stream=True), task, recorder, left_out=0 if resumes else task.start_at)
    is_complete = False
    try:
        recorder.record(parts, first=len(recorded) if resumes else 0)
        may_be_cut = left is not None or holding.has_ended
        is_complete = calls.is_exhausted and not (may_be_cut and building.stop.requested)
    finally:
        if not is_complete and recorder.done:
            task.tell_saved(recorder)
    if not is_complete:
        raise building.interrupted()
    _check_end(task, stream, resumes=resumes, recorded=len(recorded))
    _check_positions(task, total)
    if not building.store.counts(task.name).failed:
        building.store.set_exhausted(task.name)
    _log.info("Processing complete, removing checkpoint")


class _InParts(RelayedCalls[RowResult | RowError | None]):
    """The results of a stream, in parts that end where a line is to be logged, which is logged once that is recorded.

    Of a failure in ``left_out`` values, which don't count, or behind them, only the latter are counted.
    """

    def __init__(
        self, calls: Calls[RowResult | RowError | None], task: Task, recorder: Recorder, *, left_out: int
    ) -> None:
        super().__init__(calls)
        self._task = task
        self._recorder = recorder
        self._left_out = left_out
        self._every = task.spec.checkpoint_every
        self._told = recorder.done
        self._waiting: list[Result[RowResult | RowError | None]] = []

    def __next__(self) -> list[Result[RowResult | RowError | None]]:
        done = self._recorder.done
        if done // self._every > self._told // self._every:
            self._task.tell_saved(self._recorder)
            self._told = done
        if not self._waiting:
            self._waiting = next(self._calls)
        room = self._every - done % self._every
        taken = 0
        for result in self._waiting:
            taken += 1
            if isinstance(result, Failed):
                result.index = max(0, (result.index or 0) - self._left_out)
            elif result.value is not None:
                room -= 1
                if not room:
                    break
        part, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return part


def _tell_begin(task: Task, *, is_resumed: bool, offset: int) -> None:
    if is_resumed:
        _log.info("Resuming from checkpoint: offset=%d", offset)
    elif offset:
        _log.info("No checkpoint found, starting from offset=%d", offset)
    else:
        _log.info("No checkpoint found, starting from beginning")


def _check_end(task: Task, stream: RowStream, *, resumes: bool, recorded: int) -> None:
    """Raise UserCodeError if the source, which has ended, doesn't reach as far as it is said to have been used.

    A generator that was told where to go on, and gave nothing, knows alone how long its source is: it may return that.
    If it doesn't, an IndexBuilder's is asked for single values, which are thrown away. (How many rows a ColumnBuilder's
    has to give is known.)
    """
    offset = task.start_at + recorded
    length: int | None = None
    if not resumes:
        length = stream.given
    elif not stream.given and offset:
        if type(stream.returned) is int and stream.returned > 0:
            length = stream.returned
        elif task.spec.is_index:
            length = _length_up_to(task, offset)
    if length is None or length >= offset:
        return
    what = f"the checkpoint is at {offset}" if recorded else f"start_at is {offset}"
    raise failure(
        task.spec,
        TVTableError(
            f"The source of {task.name!r} ended after {length} values, but {what}. If it is another source, bring back "
            "the one that was begun with and call again; else stop the process and start anew."
        ),
    )


def _length_up_to(task: Task, offset: int) -> int:
    """Return how many values a generator's source has, at most ``offset``: it is asked for some of them."""
    length, beyond = 0, offset + 1  # it has as many, and fewer than that
    middle = offset
    while beyond - length > 1:
        if _has(task, middle - 1):
            length = middle
        else:
            beyond = middle
        middle = (length + beyond) // 2
    return length


def _has(task: Task, place: int) -> bool:
    """Tell whether a generator that goes on at a place of its source gives anything."""
    building = task.building

    def ask(work: Work) -> bool:
        iterator = iter(task.function(**work.arguments))  # type: ignore[call-overload]
        try:
            return next(iterator, _NOTHING) is not _NOTHING
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    work = task.whole_work(task.bind(resume_from=place))
    result = building.engine.call(ask, work, stop=building.stop, enter=building.enter)
    if isinstance(result, Failed):
        raise building.interrupted() if building.is_echo(result.error) else failure(task.spec, result.error)
    return result.value


def _limited(stream: RowStream, rows: int) -> Callable[[Work], Iterator[RowResult | RowError | None]]:
    """Let a stream give no more new rows than that: it runs ahead of who counts them."""

    def limited(work: Work) -> Iterator[RowResult | RowError | None]:
        left = rows
        with closing(cast("Generator[RowResult | RowError | None]", stream(work))) as results:
            for result in results:
                left -= result is not None
                yield result
                if left <= 0:
                    return

    return limited


def _check_positions(task: Task, total: int | None) -> None:
    """Raise UserCodeError unless the generator, which has ended, gave every row."""
    store = task.building.store
    recorded = store.recorded(task.name)
    if total is None:
        total = int(recorded[-1]) + 1 if len(recorded) else 0
    missing = np.setdiff1d(np.arange(total), recorded, assume_unique=True)
    if len(missing):
        shown = ", ".join(map(str, missing[:5].tolist())) + (", ..." if len(missing) > 5 else "")
        error = TVTableError(
            f"The generator ended without having yielded {len(missing)} of {total} rows: {shown}. It must yield "
            "every row once.",
            row=int(missing[0]),
        )
        raise failure(task.spec, error)
    # What failed in earlier runs, at positions that the generator has no longer.
    store.forget(task.name, [each.index for each in store.failures(task.name)])
