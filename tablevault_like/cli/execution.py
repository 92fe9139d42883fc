"""The command that builds an instance by its builders."""

from __future__ import annotations

import shlex
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import typer

from tablevault_like.cli.app import Panel, command
from tablevault_like.cli.errors import ExitCode
from tablevault_like.cli.formats import counted, duration, rate
from tablevault_like.cli.instances import made_by
from tablevault_like.cli.options import Table, TemporaryVersion
from tablevault_like.cli.output import ClosedOutput, Listing, note
from tablevault_like.cli.session import Finished, Session, Writing
from tablevault_like.cli.words import command_line
from tablevault_like.errors import TableVaultError, TVArgumentError
from tablevault_like.model import (
    BASE_VERSION,
    InstanceRecord,
    OnChange,
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
    on_change: Annotated[
        OnChange, typer.Option("--on-change", help="What to do if builders or code have changed since it was started.")
    ] = OnChange.ERROR,
    force: Annotated[bool, typer.Option("--force", help="Compute rows anew that the origin has already.")] = False,
    background: Annotated[
        bool, typer.Option("--background", help="Return at once, and go on in the background.")
    ] = False,
) -> None:
    """Build a temporary instance by its builders, row by row, and materialize it.

    With --process-id (or --resumable, which makes one) what a builder's function raises, Ctrl-C and a crash only pause
    the process: finished rows are kept, and the command that is printed when it has begun goes on with the rest.
    Without it they revert the process.
    """
    if resumable and session.process_id is not None:
        raise typer.BadParameter("--resumable makes a new process id, so it can't be used with --process-id.")
    if resumable:
        session = replace(session, process_id=new_process_id())
    with _told_how_to_go_on(session, table, version), session.output.reserved():
        finished = session.run(
            partial(
                session.vault.execute_instance,
                table,
                version,
                force,
                background=background,
                on_change=on_change,
            )
        )
    _give(session, finished, made_by(session, finished.record.process_id, table))
    if not finished.record.is_alive and finished.record.state not in (State.COMPLETED, State.MATERIALIZED):
        raise typer.Exit(ExitCode.PROCESS)


@contextmanager
def _told_how_to_go_on(session: Writing, table: str, version: str) -> Iterator[None]:
    """Tell how to go on with a named process as soon as it has begun: with what is refused before, nobody can go on."""
    if session.process_id is None:
        yield
        return
    process_id, vault = session.process_id, session.vault
    line = resume_line(session, process_id, {"table_name": table, "version": version})
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
        "steps": record.steps,
    }
    session.output.give(document, lambda: list(_told(finished, made)))


def _told(finished: Finished, made: InstanceRecord | None) -> Iterator[str | Listing]:
    record = finished.record
    if finished.had_completed:
        yield f"Process {record.process_id!r} had completed before; nothing was done."
    elif record.is_alive:
        yield f"Process {record.process_id!r} runs in the background: `tvl ps {record.process_id}` tells how far it is."
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
    return line if session.db_dir is None else f"{line} --db-dir {shlex.quote(session.db_dir)}"


def steps(record: ProcessRecord) -> Listing:
    """Return the steps of a process: how many rows each has done, and how fast."""
    right = ("ROWS", "REUSED", "FAILED", "TIME", "RATE")
    return Listing(("STEP", "STATE", *right), [_step(step) for step in record.steps], right=right)


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
