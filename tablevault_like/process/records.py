"""Describe processes: what runs, how far it is, what it waits for and why, and what to do next."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from tablevault_like.catalog import Database, locks, processes
from tablevault_like.catalog.locks import Waiter
from tablevault_like.catalog.processes import ProcessRow, Step
from tablevault_like.errors import TVFileError
from tablevault_like.layout import Layout, ProcessLayout
from tablevault_like.locks import is_held
from tablevault_like.model import LockRequest, ProcessRecord, Progress, State, StepRecord
from tablevault_like.process import waiting
from tablevault_like.storage.row_reader import Counts, RowReader


def active(db: Database, layout: Layout) -> dict[str, ProcessRecord]:
    """Return every process that hasn't ended, and every one that waits for its locks, oldest first."""
    records = [describe(db, layout, row) for row in processes.live(db)]
    records += [_describe_waiter(db, layout, waiter) for waiter in locks.waiters(db)]
    return {record.process_id: record for record in sorted(records, key=lambda record: record.created_at)}


def find(db: Database, layout: Layout, process_id: str) -> ProcessRecord:
    """Return one process, ended ones too. Raises TVArgumentError if there is none of that id."""
    waiter = locks.waiting(db, process_id)
    row = processes.find(db, process_id)
    if waiter is not None and (row is None or row.state.has_ended):
        return _describe_waiter(db, layout, waiter)
    return describe(db, layout, row or processes.get(db, process_id))


def describe(db: Database, layout: Layout, row: ProcessRow) -> ProcessRecord:
    """Return what is known of a process.

    A worker lets go of its lock after it has committed that its process ended, and while this transaction reads nobody
    commits: so a process that is live here and has no worker was left by it.
    """
    folder = layout.process(row.process_id)
    is_alive = not row.state.has_ended and is_held(folder.worker_lock)
    steps = processes.steps(db, row.process_id)
    if not is_alive and not row.state.has_ended:
        steps = _recounted(steps, folder)
    records = tuple(step.record for step in steps)
    under_way = next((step for step in steps if step.record.started_at and not step.record.is_done), None)
    rate, remaining = _speed(under_way, row) if is_alive else (None, None)
    with_rows = [step for step in records if step.rows_done or step.rows_total is not None]
    shown = under_way.record if under_way else (with_rows[-1] if with_rows else None)
    record = ProcessRecord(
        process_id=row.process_id,
        operation=row.operation,
        arguments=row.arguments,
        author=row.author,
        state=row.state,
        is_alive=is_alive,
        is_named=row.named,
        host=row.host,
        pid=row.pid,
        created_at=row.created_at,
        started_at=row.started_at,
        updated_at=row.updated_at,
        ended_at=row.ended_at,
        parent_id=row.parent_id,
        steps_done=tuple(step.name for step in records if step.is_done),
        steps_to_come=tuple(step.name for step in records if not step.is_done),
        rows_done=shown.rows_done if shown else 0,
        rows_failed=shown.rows_failed if shown else 0,
        rows_reused=shown.rows_reused if shown else 0,
        rows_skipped=shown.rows_skipped if shown else 0,
        cost=sum(step.cost for step in records),
        tokens=sum(step.tokens for step in records),
        rows_total=shown.rows_total if shown else None,
        rate=rate,
        remaining=remaining,
        locks=_texts(locks.held_by(db, row.process_id)),
        error=row.error,
        next_steps="",
        paused_on_request=row.paused_on_request,
        pause_requested_by=row.pause_requested_by,
        pause_reason=row.pause_reason,
        completed_through=row.completed_through,
        stop_intent=row.stop_intent,
        epoch=row.epoch,
        steps=records,
    )
    return replace(record, next_steps=_next_steps(record))


def unreported(db: Database, layout: Layout, process_id: str) -> list[StepRecord]:
    """Return the steps that a dead worker left unfinished, as far as it has recorded rows, with how many these are."""
    folder = layout.process(process_id)
    if not folder.rows.exists():
        return []
    told = processes.steps(db, process_id)
    return [now.record for then, now in zip(told, _recounted(told, folder), strict=True) if now is not then]


def report(db: Database, process_id: str, steps: Iterable[StepRecord], *, now: float) -> None:
    """Record how far steps are, on behalf of the worker that didn't come to it."""
    for step in steps:
        progress = Progress(
            step.rows_done,
            step.rows_failed,
            step.rows_total,
            reused=step.rows_reused,
            skipped=step.rows_skipped,
            batch_size=step.batch_size,
            cost=step.cost,
            tokens=step.tokens,
        )
        processes.report_step(db, process_id, step.name, progress, now=now)


def progress(db: Database, layout: Layout, process_id: str) -> int:
    """Return how many steps and rows are recorded of a process: a number that is another one after any progress."""
    steps = [step.record for step in _recounted(processes.steps(db, process_id), layout.process(process_id))]
    return sum(step.is_done + step.rows_done + step.rows_failed + step.rows_skipped for step in steps)


def summary(record: ProcessRecord) -> str:
    """Return a process in a clause: who does what, in which state, how far, where and since when."""
    where = f"on {record.host}, pid {record.pid}" if record.is_alive else f"last on {record.host}, pid {record.pid}"
    progress = ""
    if record.rows_done or record.rows_total:
        of_all = f" of {record.rows_total}" if record.rows_total else ""
        progress = f", {record.rows_done}{of_all} row{'' if record.rows_done == 1 and not of_all else 's'} done"
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.started_at or record.created_at))
    return (
        f"process {record.process_id!r} ({record.operation} by {record.author}, {record.status}{progress}, {where}, "
        f"since {since})"
    )


def _describe_waiter(db: Database, layout: Layout, waiter: Waiter) -> ProcessRecord:
    blocked_by = waiting.blockers(db, layout, waiting.Queued.of(waiter))
    is_alive = is_held(layout.process(waiter.process_id).worker_lock)
    names = ", ".join(repr(name) for name in blocked_by.everyone) or "nobody any more"
    return ProcessRecord(
        process_id=waiter.process_id,
        operation=waiter.operation,
        arguments=waiter.arguments,
        author=waiter.author,
        state=State.CREATED,
        is_alive=is_alive,
        is_named=waiter.named,
        host=waiter.host,
        pid=waiter.pid,
        created_at=waiter.since,
        updated_at=waiter.since,
        parent_id=waiter.parent_id,
        waits_for=_texts(waiter.requests),
        blocked_by=blocked_by.everyone,
        next_steps=f"It waits for {names}."
        if is_alive
        else "It gave up waiting when its worker died; nothing is left to do.",
    )


def _counted(record: StepRecord, found: Counts) -> StepRecord:
    return replace(
        record,
        rows_done=found.done,
        rows_failed=found.failed,
        rows_skipped=found.skipped,
        rows_reused=found.reused,
        cost=found.cost,
        tokens=found.tokens,
    )


def _recounted(steps: list[Step], folder: ProcessLayout) -> list[Step]:
    """Count the rows of steps that a dead worker left unfinished: its last report may be older than its last commit."""
    if not folder.rows.exists():
        return steps
    try:
        with RowReader.open(folder.rows) as store:
            counts = {step.record.name: store.counts(step.record.name) for step in steps if not step.record.is_done}
    except TVFileError:
        # It died inside a commit, say. What was reported is true all the same.
        return steps
    return [
        replace(step, record=_counted(step.record, found))
        if (found := counts.get(step.record.name)) is not None and found.done >= step.record.rows_done
        else step
        for step in steps
    ]


def _speed(step: Step | None, row: ProcessRow) -> tuple[float | None, float | None]:
    """Return rows a second since the step was last started, and the seconds that remain at that rate."""
    if step is None or step.resumed_at is None:
        return None, None
    seconds = row.updated_at - step.resumed_at
    rows = step.record.rows_done - step.rows_before
    if rows <= 0 or seconds <= 0:
        return None, None
    rate = rows / seconds
    total = step.record.rows_total
    return rate, None if total is None else max(0, total - step.record.rows_done) / rate


def _texts(requests: Iterable[LockRequest]) -> tuple[str, ...]:
    return tuple(f"{request.resource} ({request.mode})" for request in requests)


def _next_steps(record: ProcessRecord) -> str:
    process_id = record.process_id
    again = f"Call {record.operation} again with process_id={process_id!r} to go on"
    stop = f"stop_process({process_id!r}) reverts it"
    if record.operation == "execute_instance":
        stop += "; with materialize=True it keeps what is done"
    match record.state:
        case _ if record.state.has_ended and "~" in process_id:
            return f"It has ended, and its id was used anew: {process_id.partition('~')[0]!r} is another run now."
        case State.COMPLETED | State.MATERIALIZED if record.operation == "execute_instance" and record.is_named:
            return "It has ended; nothing is left to do. With existing='rerun' it starts anew."
        case State.COMPLETED | State.MATERIALIZED:
            return "It has ended; nothing is left to do."
        case State.REVERTED:
            return "It was reverted; its id may be used again."
        case State.REVERTING | State.STOPPING if not record.is_alive:
            return f"Its stop was interrupted; stop_process({process_id!r}) or restart=True finishes it."
        case State.REVERTING | State.STOPPING:
            return "It is being stopped; wait for it to end."
        case _ if record.is_alive and record.pause_requested_by is not None:
            return (
                f"It pauses as soon as the calls under way have returned, because {record.pause_requested_by} asked "
                "for it."
            )
        case _ if record.is_alive:
            pause = f"pause_process({process_id!r}) lets it pause, " if record.operation == "execute_instance" else ""
            return f"It runs. {pause}stop_process({process_id!r}, force=True) ends its worker first."
        case State.CREATED:
            return f"Its worker died before the inputs were kept; restart=True or {stop}."
        case _ if record.paused_on_request:
            return f"It was paused on request: {record.pause_reason}. {again}; {stop}."
        case _ if record.is_named:
            return f"{again} (or restart=True); {stop}."
        case _:
            return f"Its worker died. restart=True goes on with it; {stop}. Whoever next needs its locks reverts it."
