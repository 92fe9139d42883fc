"""Queries about processes, their steps and their events.

Who changes the state of a process is ``process.journal``; here are only the statements. Every change to a process is
guarded by its epoch: a worker whose claim is over changes nothing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tablevault_like.catalog.catalog import Database
from tablevault_like.errors import TVArgumentError, nearest
from tablevault_like.model import ENDED_STATES, ErrorRecord, Progress, State, StepRecord, StopIntent


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """A process as the catalog stores it. ``model.ProcessRecord`` adds what is known from elsewhere."""

    process_id: str
    operation: str
    arguments: Mapping[str, Any]
    author: str
    named: bool
    parent_id: str | None
    state: State
    epoch: int
    stop_intent: StopIntent | None
    paused_on_request: bool
    host: str | None
    pid: int | None
    error: ErrorRecord | None
    created_at: float
    started_at: float | None
    updated_at: float
    ended_at: float | None
    pause_requested_by: str | None = None
    pause_reason: str | None = None
    completed_through: str | None = None
    mark: int = 0
    deaths: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """A step with what is needed to tell its rate. Times are seconds since the epoch (POSIX)."""

    record: StepRecord
    rows_before: int
    resumed_at: float | None


def find(db: Database, process_id: str) -> ProcessRow | None:
    """Return the process of that id, ``None`` if there is none."""
    row = db.execute("SELECT * FROM processes WHERE process_id = ?", (process_id,)).fetchone()
    return None if row is None else _process(row)


def number(db: Database, process_id: str) -> int | None:
    """Return the number of the process of that id, ``None`` if there is none. No other process ever has that number."""
    row = db.execute("SELECT number FROM processes WHERE process_id = ?", (process_id,)).fetchone()
    return None if row is None else int(row["number"])


def get(db: Database, process_id: str) -> ProcessRow:
    """Return the process of that id. Raises TVArgumentError, with the nearest id, if there is none."""
    found = find(db, process_id)
    if found is None:
        # Generated ids are nobody's typing error, and there may be very many.
        rows = db.execute("SELECT process_id FROM processes WHERE named ORDER BY number DESC LIMIT 1000").fetchall()
        if not rows and db.execute("SELECT 1 FROM processes LIMIT 1").fetchone():
            hint = " None was given an id yet; get_active_processes() lists those that haven't ended."
        else:
            hint = nearest(process_id, [row[0] for row in rows])
        raise TVArgumentError(f"There is no process {process_id!r:.150}.{hint}")
    return found


def live(db: Database) -> list[ProcessRow]:
    """Return the processes that haven't ended, oldest first."""
    return [_process(row) for row in db.execute("SELECT * FROM processes WHERE ended_at IS NULL ORDER BY number")]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of the processes that have ended are wanted. Times are those of their ends, ``until`` excluded."""

    table: str | None = None
    operation: str | None = None
    author: str | None = None
    outcome: State | None = None
    since: float | None = None
    until: float | None = None
    named_only: bool = False
    limit: int | None = None


ENDED_COLUMNS = (
    "process_id",
    "operation",
    "table",
    "outcome",
    "author",
    "created_at",
    "started_at",
    "ended_at",
    "rows_made",
    "rows_reused",
    "rows_failed",
    "rows_skipped",
    "cost",
    "tokens",
    "claims",
    "is_named",
    "parent_id",
    "error",
    "arguments",
)
"""What ``ended`` tells of each process. ``error`` and ``arguments`` are JSON, and so they stay: there may be many."""


def ended(db: Database, wanted: Wanted) -> list[tuple[Any, ...]]:
    """Return the processes that have ended, the last one first, with the sums of their steps' rows."""
    conditions, values = ["ended_at IS NOT NULL"], list[object]()
    for condition, value in (
        ("json_extract(arguments, '$.table_name') = ?", wanted.table),
        ("operation = ?", wanted.operation),
        ("author = ?", wanted.author),
        ("state = ?", wanted.outcome),
        ("ended_at >= ?", wanted.since),
        ("ended_at < ?", wanted.until),
        ("named = ?", 1 if wanted.named_only else None),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    rows = db.execute(
        f"WITH found AS MATERIALIZED (SELECT * FROM processes WHERE {' AND '.join(conditions)}"  # noqa: S608
        " ORDER BY ended_at DESC, number DESC LIMIT ?)"
        " SELECT process_id, operation, json_extract(arguments, '$.table_name'), lower(state), author, created_at,"
        " found.started_at, ended_at, ifnull(sum(rows_done - rows_reused), 0), ifnull(sum(rows_reused), 0),"
        " ifnull(sum(rows_failed), 0), ifnull(sum(rows_skipped), 0), total(cost), ifnull(sum(tokens), 0), epoch, named,"
        " parent_id, error, arguments FROM found LEFT JOIN steps USING (process_id) GROUP BY found.number"
        " ORDER BY ended_at DESC, found.number DESC",
        (*values, -1 if wanted.limit is None else wanted.limit),
    )
    return [tuple(row) for row in rows]


def newest_ended(db: Database, *, limit: int) -> list[ProcessRow]:
    """Return the processes that ended last, the last one first."""
    rows = db.execute(
        "SELECT * FROM processes WHERE ended_at IS NOT NULL ORDER BY ended_at DESC, number DESC LIMIT ?", (limit,)
    )
    return [_process(row) for row in rows]


def live_children(db: Database, process_id: str) -> list[ProcessRow]:
    """Return the children of a process that haven't ended, oldest first."""
    rows = db.execute("SELECT * FROM processes WHERE parent_id = ? AND ended_at IS NULL ORDER BY number", (process_id,))
    return [_process(row) for row in rows]


def ancestors(db: Database, parent_id: str | None) -> list[str]:
    """Return ``parent_id`` and the ids above it, nearest first."""
    if parent_id is None:
        return []
    rows = db.execute(
        "WITH RECURSIVE up (process_id, depth) AS (SELECT ?, 0 UNION SELECT parent_id, depth + 1 FROM processes"
        " JOIN up USING (process_id) WHERE parent_id IS NOT NULL AND depth < 1000)"
        " SELECT process_id FROM up ORDER BY depth",
        (parent_id,),
    )
    return [row[0] for row in rows]


def add(
    db: Database,
    process_id: str,
    *,
    operation: str,
    arguments: Mapping[str, Any],
    author: str,
    named: bool,
    parent_id: str | None,
    state: State,
    epoch: int,
    host: str,
    pid: int,
    now: float,
) -> None:
    """Record a new process. One that has already ended is its own commit."""
    started = None if state is State.CREATED else now
    ended = now if state in ENDED_STATES else None
    db.execute(
        "INSERT INTO processes (process_id, operation, arguments, author, named, parent_id, state, epoch, host, pid,"
        " created_at, started_at, updated_at, ended_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            process_id,
            operation,
            json.dumps(arguments),
            author,
            named,
            parent_id,
            state,
            epoch,
            host,
            pid,
            now,
            started,
            now,
            ended,
        ),
    )


def add_ended(db: Database, row: ProcessRow, steps: Sequence[StepRecord]) -> None:
    """Record a process that has ended elsewhere, in another vault, with the steps that it had."""
    error = row.error and json.dumps([row.error.type, row.error.message, row.error.traceback])
    db.execute(
        "INSERT INTO processes (process_id, operation, arguments, author, named, parent_id, state, epoch, pid, error,"
        " created_at, started_at, updated_at, ended_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.process_id,
            row.operation,
            json.dumps(row.arguments),
            row.author,
            row.named,
            row.parent_id,
            row.state,
            row.epoch,
            row.pid,
            error,
            row.created_at,
            row.started_at,
            row.updated_at,
            row.ended_at,
        ),
    )
    db.executemany(
        "INSERT INTO steps (process_id, position, name, started_at, finished_at) VALUES (?, ?, ?, ?, ?)",
        [
            (row.process_id, position, step.name, step.started_at, step.finished_at)
            for position, step in enumerate(steps)
        ],
    )


def withdraw(db: Database, process_id: str) -> None:
    """Take back a process that was recorded and has done nothing yet, with its locks."""
    db.execute("DELETE FROM locks WHERE process_id = ?", (process_id,))
    db.execute("DELETE FROM steps WHERE process_id = ?", (process_id,))
    db.execute("DELETE FROM events WHERE process_id = ?", (process_id,))
    db.execute("DELETE FROM processes WHERE process_id = ?", (process_id,))


def archive(db: Database, process_id: str, *, with_children: bool = False) -> str:
    """Rename an ended process to ``<id>~<n>``, so that its id can be used anew, and return that name.

    What it has made is known by that name from then on. ``with_children`` renames those below it, too, whose ids are
    derived from its own: then nobody finds them done.
    """
    like = process_id.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "~%"
    # Those of their children begin likewise: nightly~1.shout.0.1
    taken = [
        int(number)
        for (name,) in db.execute("SELECT process_id FROM processes WHERE process_id LIKE ? ESCAPE '\\'", (like,))
        if (number := name[len(process_id) + 1 :]).isdecimal()
    ]
    archived = f"{process_id}~{max(taken, default=0) + 1}"
    _rename(db, process_id, archived, with_children=with_children)
    return archived


def restore(db: Database, archived: str, process_id: str) -> None:
    """Take back that a process was archived, with those below it."""
    _rename(db, archived, process_id, with_children=True)


def _rename(db: Database, process_id: str, name: str, *, with_children: bool) -> None:
    db.execute("UPDATE processes SET process_id = ? WHERE process_id = ?", (name, process_id))
    for change in (
        "UPDATE events SET process_id = ? WHERE process_id = ?",
        "UPDATE instances SET process_id = ? WHERE process_id = ?",
        "UPDATE instances SET deactivated_by = ? WHERE deactivated_by = ?",
        "UPDATE tables SET process_id = ? WHERE process_id = ?",
    ):
        db.execute(change, (name, process_id))
    if with_children:
        for (child,) in db.execute("SELECT process_id FROM processes WHERE parent_id = ?", (process_id,)).fetchall():
            db.execute("UPDATE processes SET parent_id = ? WHERE process_id = ?", (name, child))
            if child.startswith(f"{process_id}."):
                _rename(db, child, name + child[len(process_id) :], with_children=True)


def is_current(db: Database, process_id: str, epoch: int) -> State | None:
    """Return the state of a process if this epoch is its current one, else ``None``."""
    row = db.execute("SELECT state FROM processes WHERE process_id = ? AND epoch = ?", (process_id, epoch)).fetchone()
    return None if row is None else State(row["state"])


def set_state(db: Database, process_id: str, *, epoch: int, before: State, after: State, now: float) -> bool:
    """Change the state, if epoch and state are what they are believed to be. Tell whether it was changed."""
    cursor = db.execute(
        "UPDATE processes SET state = ?, updated_at = ?, started_at = coalesce(started_at, ?), ended_at = ?"
        " WHERE process_id = ? AND epoch = ? AND state = ?",
        (
            after,
            now,
            now if after is State.RUNNING else None,
            now if after in ENDED_STATES else None,
            process_id,
            epoch,
            before,
        ),
    )
    return cursor.rowcount == 1


def raise_epoch(db: Database, process_id: str, *, host: str, pid: int, now: float) -> int:
    """Give the process a new epoch, whose claimer is this worker, and return it. What older claims write is refused."""
    row = db.execute(
        "UPDATE processes SET epoch = epoch + 1, host = ?, pid = ?, updated_at = ? WHERE process_id = ?"
        " RETURNING epoch",
        (host, pid, now, process_id),
    ).fetchone()
    return int(row["epoch"])


def set_arguments(db: Database, process_id: str, arguments: Mapping[str, Any]) -> None:
    """Record how the process is run from now on."""
    db.execute("UPDATE processes SET arguments = ? WHERE process_id = ?", (json.dumps(arguments), process_id))


def set_error(db: Database, process_id: str, error: ErrorRecord | None) -> None:
    """Record the last error of a process, or that there is none any more."""
    text = None if error is None else json.dumps([error.type, error.message, error.traceback])
    db.execute("UPDATE processes SET error = ? WHERE process_id = ?", (text, process_id))


def set_stop_intent(db: Database, process_id: str, intent: StopIntent | None) -> None:
    """Record what is to happen to a process that is being stopped."""
    db.execute("UPDATE processes SET stop_intent = ? WHERE process_id = ?", (intent, process_id))


def set_named(db: Database, process_id: str) -> None:
    """Record that somebody means to come back to the process."""
    db.execute("UPDATE processes SET named = 1 WHERE process_id = ?", (process_id,))


def request_pause(db: Database, process_id: str, *, author: str) -> None:
    """Record who wants a process paused, for its worker to see."""
    db.execute("UPDATE processes SET pause_requested_by = ? WHERE process_id = ?", (author, process_id))


def set_pause(db: Database, process_id: str, *, reason: str, completed_through: str | None) -> None:
    """Record that the pause was asked for, and why: ``restart`` leaves the process alone."""
    db.execute(
        "UPDATE processes SET paused_on_request = 1, pause_requested_by = NULL, pause_reason = ?,"
        " completed_through = coalesce(?, completed_through) WHERE process_id = ?",
        (reason, completed_through, process_id),
    )


def set_mark(db: Database, process_id: str, mark: int, *, deaths: int) -> None:
    """Record how much was recorded of a process when a worker took it on, and how many died before it at that point."""
    db.execute("UPDATE processes SET mark = ?, deaths = ? WHERE process_id = ?", (mark, deaths, process_id))


def clear_pause(db: Database, process_id: str) -> None:
    """Record that a process goes on, whoever wanted it paused."""
    db.execute(
        "UPDATE processes SET paused_on_request = 0, pause_requested_by = NULL, pause_reason = NULL"
        " WHERE process_id = ?",
        (process_id,),
    )


def plan_steps(db: Database, process_id: str, names: Sequence[str]) -> None:
    """Record the steps that are to come, in order. Those that are known already stay as they are."""
    db.executemany(
        "INSERT INTO steps (process_id, position, name) VALUES (?, ?, ?)"
        " ON CONFLICT (process_id, name) DO UPDATE SET position = excluded.position",
        [(process_id, position, name) for position, name in enumerate(names)],
    )


def start_step(
    db: Database,
    process_id: str,
    name: str,
    *,
    rows_total: int | None,
    rows_before: int,
    batch_size: int | None = None,
    now: float,
) -> None:
    """Record that a step is under way. ``rows_before`` rows of it were recorded earlier."""
    db.execute(
        "UPDATE steps SET started_at = coalesce(started_at, ?), resumed_at = ?, rows_total = ?, rows_before = ?,"
        " rows_done = ?, batch_size = ? WHERE process_id = ? AND name = ?",
        (now, now, rows_total, rows_before, rows_before, batch_size, process_id, name),
    )


def report_step(db: Database, process_id: str, name: str, progress: Progress, *, now: float) -> None:
    """Record how far a step is. The rows are committed already."""
    db.execute(
        "UPDATE steps SET rows_done = ?, rows_failed = ?, rows_skipped = ?, rows_reused = ?, rows_total = ?,"
        " batch_size = ?, cost = ?, tokens = ? WHERE process_id = ? AND name = ?",
        (
            progress.done,
            progress.failed,
            progress.skipped,
            progress.reused,
            progress.total,
            progress.batch_size,
            progress.cost,
            progress.tokens,
            process_id,
            name,
        ),
    )
    db.execute("UPDATE processes SET updated_at = ? WHERE process_id = ?", (now, process_id))


def finish_step(db: Database, process_id: str, name: str, *, now: float) -> None:
    """Record a step as finished: it is never run again."""
    db.execute("UPDATE steps SET finished_at = ? WHERE process_id = ? AND name = ?", (now, process_id, name))
    db.execute("UPDATE processes SET updated_at = ? WHERE process_id = ?", (now, process_id))


def forget_steps(db: Database, process_id: str, names: Sequence[str]) -> None:
    """Take back that these steps are finished: they are to be run again."""
    db.executemany(
        "UPDATE steps SET started_at = NULL, finished_at = NULL, resumed_at = NULL, rows_total = NULL, rows_done = 0,"
        " rows_failed = 0, rows_skipped = 0, rows_reused = 0, rows_before = 0, cost = 0, tokens = 0"
        " WHERE process_id = ? AND name = ?",
        [(process_id, name) for name in names],
    )
    db.executemany(
        "UPDATE processes SET completed_through = NULL WHERE process_id = ? AND completed_through = ?",
        [(process_id, name) for name in names],
    )


def drop_steps(db: Database, process_id: str, names: Sequence[str]) -> None:
    """Forget steps that the process no longer has."""
    db.executemany("DELETE FROM steps WHERE process_id = ? AND name = ?", [(process_id, name) for name in names])


def steps(db: Database, process_id: str) -> list[Step]:
    """Return the steps of a process, in order."""
    rows = db.execute("SELECT * FROM steps WHERE process_id = ? ORDER BY position, name", (process_id,))
    return [
        Step(
            record=StepRecord(
                name=row["name"],
                is_done=row["finished_at"] is not None,
                started_at=row["started_at"],
                finished_at=row["finished_at"],
                rows_total=row["rows_total"],
                rows_done=row["rows_done"],
                rows_failed=row["rows_failed"],
                rows_reused=row["rows_reused"],
                rows_skipped=row["rows_skipped"],
                batch_size=row["batch_size"],
                cost=row["cost"],
                tokens=row["tokens"],
            ),
            rows_before=row["rows_before"],
            resumed_at=row["resumed_at"],
        )
        for row in rows
    ]


def has_finished_step(db: Database, process_id: str) -> bool:
    """Tell whether anything of a process is recorded as finished, be it a step or a row."""
    row = db.execute(
        "SELECT 1 FROM steps WHERE process_id = ? AND (finished_at IS NOT NULL OR rows_done > 0) LIMIT 1", (process_id,)
    ).fetchone()
    return row is not None


def add_event(db: Database, process_id: str, kind: str, detail: str, *, now: float) -> None:
    """Append to the history of a process."""
    db.execute(
        "INSERT INTO events (process_id, kind, detail, happened_at) VALUES (?, ?, ?, ?)",
        (process_id, kind, detail, now),
    )


def last_event(db: Database, process_id: str, kind: str) -> str | None:
    """Return what was added last to the history of a process under this kind; ``None`` if nothing was."""
    row = db.execute(
        "SELECT detail FROM events WHERE process_id = ? AND kind = ? ORDER BY number DESC LIMIT 1", (process_id, kind)
    ).fetchone()
    return None if row is None else str(row["detail"])


def _process(row: sqlite3.Row) -> ProcessRow:
    return ProcessRow(
        process_id=row["process_id"],
        operation=row["operation"],
        arguments=json.loads(row["arguments"]),
        author=row["author"],
        named=bool(row["named"]),
        parent_id=row["parent_id"],
        state=State(row["state"]),
        epoch=row["epoch"],
        stop_intent=None if row["stop_intent"] is None else StopIntent(row["stop_intent"]),
        paused_on_request=bool(row["paused_on_request"]),
        host=row["host"],
        pid=row["pid"],
        error=None if row["error"] is None else ErrorRecord(*json.loads(row["error"])),
        created_at=row["created_at"],
        started_at=row["started_at"],
        updated_at=row["updated_at"],
        ended_at=row["ended_at"],
        pause_requested_by=row["pause_requested_by"],
        pause_reason=row["pause_reason"],
        completed_through=row["completed_through"],
        mark=row["mark"],
        deaths=row["deaths"],
    )
