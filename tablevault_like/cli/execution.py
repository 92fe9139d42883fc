"""The command that builds an instance by its builders."""

from __future__ import annotations

import shlex
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import partial
from typing import Annotated, Any

import typer

from tablevault_like.cli import steering
from tablevault_like.cli.app import Panel, command
from tablevault_like.cli.documents import give_plan
from tablevault_like.cli.errors import ExitCode
from tablevault_like.cli.formats import counted, duration, progress, rate
from tablevault_like.cli.instances import made_by
from tablevault_like.cli.options import Table, TemporaryVersion
from tablevault_like.cli.output import ClosedOutput, Listing, note
from tablevault_like.cli.session import Finished, Session, Writing
from tablevault_like.cli.words import command_line
from tablevault_like.errors import TableVaultError, TVArgumentError
from tablevault_like.model import (
    BASE_VERSION,
    Existing,
    InstanceRecord,
    OnChange,
    OnDamage,
    ProcessRecord,
    State,
    StepRecord,
    new_process_id,
)
from tablevault_like.vault import TableVault

_POLL_SECONDS = 0.05
_NOTHING_TO_TELL = (ClosedOutput, TableVaultError, sqlite3.Error, OSError)
"""What keeps a hint from being told, and is no reason to end an execution."""


@command("execute", panel=Panel.INSTANCES, example="tvl execute stories --resumable", runs_user_code=True)
def execute(
    session: Writing,
    table: Table,
    *,
    version: TemporaryVersion = BASE_VERSION,
    resumable: Annotated[bool, typer.Option("--resumable", "-r", help="Make a new --process-id and print it.")] = False,
    on_change: steering.OnChangeOption = OnChange.ERROR,
    on_damage: steering.OnDamageOption = OnDamage.ERROR,
    existing: steering.ExistingOption = Existing.AUTO,
    force: steering.Force = False,
    force_execute: steering.ForceExecute = False,
    until: steering.Until = "",
    from_builder: steering.FromBuilder = "",
    budget: steering.BudgetOption = None,
    progress: Annotated[
        bool, typer.Option("--progress/--no-progress", help="Show how far it is: bars, or a line every few seconds.")
    ] = True,
    background: Annotated[
        bool, typer.Option("--background", help="Return at once, and go on in the background.")
    ] = False,
    start_at: steering.StartAt = None,
    sample: steering.Sample = 0,
) -> None:
    """Build a temporary instance by its builders, row by row, and materialize it.

    With --process-id (or --resumable, which makes one) what a builder's function raises, Ctrl-C and a crash only pause
    the process: finished rows are kept, and the command that is printed when it has begun goes on with the rest.
    Without it they revert the process.

    A stage that is reached (--until) and a --budget that is used up pause the process, too; the exit code is 0 then.

    With --sample the first rows are made in memory and shown, with what a run would do; nothing is kept.
    """
    if resumable and session.process_id is not None:
        raise typer.BadParameter("--resumable makes a new process id, so it can't be used with --process-id.")
    if sample and (resumable or background):
        raise typer.BadParameter("--sample keeps nothing, so it can't be used with --resumable or --background.")
    if resumable:
        session = replace(session, process_id=new_process_id())
    how = steering.asked(
        session.process_id,
        on_change=on_change,
        on_damage=on_damage,
        existing=existing,
        force=force,
        force_execute=force_execute,
        until=until,
        from_builder=from_builder,
        budget=budget,
        start_at=start_at,
    )
    if sample:
        with session.output.reserved():
            planned = session.vault.plan(table, version, process_id=session.process_id, sample=sample, **how)
        give_plan(session.output, planned)
        return
    with _told_how_to_go_on(session, table, version, how["start_at"]), session.output.reserved():
        finished = session.run(
            partial(
                session.vault.execute_instance,
                table,
                version,
                background=background,
                progress=progress,
                **how,
            )
        )
    record = finished.record
    _give(session, finished, made_by(session, record.process_id, table))
    is_as_wanted = record.paused_on_request or record.state in (State.COMPLETED, State.MATERIALIZED)
    if not record.is_alive and not is_as_wanted:
        raise typer.Exit(ExitCode.PROCESS)


@contextmanager
def _told_how_to_go_on(session: Writing, table: str, version: str, start_at: Mapping[str, int]) -> Iterator[None]:
    """Tell how to go on with a named process as soon as it has begun: with what is refused before, nobody can go on."""
    if session.process_id is None:
        yield
        return
    process_id, vault = session.process_id, session.vault
    line = resume_line(session, process_id, {"table_name": table, "version": version, "start_at": start_at})
    before, is_told, is_over = _claim(vault, process_id), threading.Event(), threading.Event()

    def tell_if_begun() -> None:
        claim = _claim(vault, process_id)
        if claim is not None and claim != before:
            is_told.set()
            note(f"Process {process_id}. To go on after an interruption: {line}")

    def watch() -> None:
        with suppress(*_NOTHING_TO_TELL):
            while not is_told.is_set() and not is_over.wait(_POLL_SECONDS):
                tell_if_begun()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()
        if not is_told.is_set():
            with suppress(*_NOTHING_TO_TELL):
                tell_if_begun()


def _claim(vault: TableVault, process_id: str) -> tuple[float, int] | None:
    """Return what tells the claim of a process that can be gone on with from others, ``None`` if there is none."""
    try:
        record = vault.get_process(process_id)
    except TVArgumentError:
        return None
    return (record.created_at, record.epoch) if record.state in (State.RUNNING, State.PAUSED) else None


def _give(session: Writing, finished: Finished, made: InstanceRecord | None) -> None:
    record = finished.record
    document = {
        "process_id": record.process_id,
        "operation": record.operation,
        "state": record.state,
        "table_name": record.arguments["table_name"],
        "instance_id": made and made.instance_id,
        "rows": made and made.rows,
        "rows_reused": record.rows_reused,
        "pause_reason": record.pause_reason,
        "completed_through": record.completed_through,
        "steps": step_documents(record),
    }
    session.output.give(document, lambda: list(_told(session, finished, made)))


def _told(session: Writing, finished: Finished, made: InstanceRecord | None) -> Iterator[str | Listing]:
    record = finished.record
    if finished.had_completed and record.state is State.MATERIALIZED:
        yield (
            f"Process {record.process_id!r} was stopped before, and what it had done was kept; nothing was done. To "
            "make all of it, call again with --existing rerun."
        )
    elif finished.had_completed:
        yield f"Process {record.process_id!r} had completed before; nothing was done."
    elif record.is_alive:
        yield f"Process {record.process_id!r} runs in the background: `tvl ps {record.process_id}` tells how far it is."
    elif record.paused_on_request:
        yield steps(record)
        line = resume_line(session, record.process_id, record.arguments)
        yield f"Process {record.process_id!r} is paused: {record.pause_reason}. To go on: {line}"
    elif record.state is not State.COMPLETED:
        yield f"Process {record.process_id!r} is {record.status}: `tvl ps {record.process_id}` tells why."
    else:
        yield steps(record)
    if made is not None:
        took = "" if finished.had_completed else f" in {duration(_seconds(record))}"
        yield f"Materialized {made.table_name}/{made.instance_id}: {counted(made.rows, 'row')}{took}."


def resume_line(session: Session, process_id: str, arguments: Mapping[str, Any]) -> str:
    """Return the command that goes on with an execution.

    >>> resume_line(Session("my vault"), "p1", {"table_name": "stories", "version": "v2"})
    "tvl execute stories --version v2 --process-id p1 --db-dir 'my vault'"
    """
    version = {} if arguments["version"] == BASE_VERSION else {"version": arguments["version"]}
    line = command_line("execute_instance", table_name=arguments["table_name"], **version, process_id=process_id)
    for builder, offset in arguments.get("start_at", {}).items():
        line += f" --start-at {shlex.quote(f'{builder}={offset}')}"
    return line if session.db_dir is None else f"{line} --db-dir {shlex.quote(session.db_dir)}"


def steps(record: ProcessRecord) -> Listing:
    """Return the steps of a process: how many rows each has done, and batches, and how fast; what they cost if told."""
    right = ["ROWS", "REUSED", "FAILED", "TIME", "RATE"]
    more = {
        "SKIPPED": [f"{step.rows_skipped:,}" if step.rows_skipped else "" for step in record.steps],
        "COST": [f"{step.cost:,.6g}" if step.cost else "" for step in record.steps],
        "TOKENS": [f"{step.tokens:,}" if step.tokens else "" for step in record.steps],
    }
    told = {name: cells for name, cells in more.items() if any(cells)}
    rows = [[*_step(step), *(cells[place] for cells in told.values())] for place, step in enumerate(record.steps)]
    right += told
    if any(step.batch_size is not None for step in record.steps):
        right.insert(1, "BATCHES")
        for row, step in zip(rows, record.steps, strict=True):
            row.insert(3, batches(step))
    return Listing(("STEP", "STATE", *right), rows, right=right)


def step_documents(record: ProcessRecord) -> list[dict[str, object]]:
    """Return the steps of a process as they are told in JSON: batches, too."""
    return [
        {**asdict(step), "batches_done": step.batches_done, "batches_total": step.batches_total}
        for step in record.steps
    ]


def batches(step: StepRecord | None) -> str:
    """Return how many batches of a step are done, of how many: nothing if it doesn't work in batches.

    >>> batches(StepRecord("ask", False, 1.0, None, 25, 10, 0, 0, batch_size=10))
    '1 of 3'
    """
    return progress(step.batches_done, step.batches_total) if step is not None and step.batches_done is not None else ""


def _step(step: StepRecord) -> list[str | tuple[str, str]]:
    seconds = None
    if step.finished_at is not None and step.started_at is not None:
        seconds = step.finished_at - step.started_at
    state = "done" if step.is_done else "begun" if step.started_at else "to come"
    rows = f"{step.rows_done:,}" if step.rows_total is not None or step.rows_done else ""
    return [
        step.name,
        (state, "green" if step.is_done else ""),
        rows,
        f"{step.rows_reused:,}" if step.rows_reused else "",
        (f"{step.rows_failed:,}" if step.rows_failed else "", "red"),
        duration(seconds),
        rate(step.rows_done / seconds) if seconds and step.rows_done else "",
    ]


def _seconds(record: ProcessRecord) -> float | None:
    return None if record.ended_at is None or record.started_at is None else record.ended_at - record.started_at
