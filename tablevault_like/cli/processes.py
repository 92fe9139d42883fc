"""Commands that show, stop and restart processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated

import typer

from tablevault_like.cli import completion
from tablevault_like.cli.app import Panel, command
from tablevault_like.cli.errors import ExitCode
from tablevault_like.cli.execution import batches, resume_line, step_documents, steps
from tablevault_like.cli.formats import counted, duration, moment, progress, rate, status, target
from tablevault_like.cli.instances import made_by
from tablevault_like.cli.output import Cell, Facts, Listing, jsonable
from tablevault_like.cli.session import Driving, Session
from tablevault_like.cli.words import as_commands
from tablevault_like.layout import Layout
from tablevault_like.model import ProcessRecord, State, StepRecord, new_process_id
from tablevault_like.vault import TableVault

ProcessArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The process.", autocompletion=completion.process_ids)
]

_WATCH_SECONDS = 1.0


@command("ps", panel=Panel.PROCESSES, example="tvl ps")
def ps(
    session: Session,
    process_id: Annotated[
        str, typer.Argument(metavar="ID", help="Show this one in full.", autocompletion=completion.process_ids)
    ] = "",
    *,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show the traceback of its last error.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it every second anew, while a worker is at it.")] = False,
) -> None:
    """Show what is under way, or one process in full.

    A process that is interrupted has lost its worker; a waiting one waits for locks. Children stand below their parent.
    """
    while True:
        is_under_way = _show(session, process_id, with_traceback=traceback, anew=watch and sys.stdout.isatty())
        if not watch or not is_under_way:
            return
        sys.stdout.flush()
        time.sleep(_WATCH_SECONDS)


def _show(session: Session, process_id: str, *, with_traceback: bool, anew: bool) -> bool:
    """Show one process, or what is under way, ``anew`` on a cleared screen; tell whether a worker is at it."""
    if process_id:
        record = session.vault.get_process(process_id)
        log = Layout(session.folder.absolute()).process(record.process_id).output_log
        output = str(log) if log.is_file() else None
        document = {**_document(session, record), "output": output}
        _clear(anew)
        session.output.give(document, lambda: list(_in_full(session, record, output, with_traceback=with_traceback)))
        return record.is_alive
    active = session.vault.get_active_processes()
    documents = [_document(session, record) for record in active.values()]
    _clear(anew)
    session.output.give(documents, lambda: list(_overview(session, active)))
    return any(record.is_alive for record in active.values())


def _clear(is_wanted: bool) -> None:
    """Clear the screen. Not before all is known that is to stand there: in between it is empty."""
    if is_wanted:
        sys.stdout.write("\x1b[2J\x1b[H")  # the whole screen, from its upper left corner


@command("stop", panel=Panel.PROCESSES, example="tvl stop my-run --materialize")
def stop(
    session: Session,
    process_id: ProcessArgument,
    *,
    force: Annotated[bool, typer.Option("--force", help="End its worker first, if that lives.")] = False,
    materialize: Annotated[
        bool, typer.Option("--materialize", help="Keep what an execution has done, as a partial instance.")
    ] = False,
) -> None:
    """Revert a process that hasn't ended, or keep what it has done.

    Its children are stopped first. Those that have completed stay.
    """
    session.vault.stop_process(process_id, force=force, materialize=materialize)
    record = session.vault.get_process(process_id)
    made, sentence = None, f"Stopped process {process_id!r}: it was reverted."
    if record.state is State.MATERIALIZED:
        made = made_by(session, process_id, record.arguments["table_name"])
    if made is not None:
        kept = f"{made.table_name}/{made.instance_id} ({counted(made.rows, 'row')})"
        sentence = f"Stopped process {process_id!r}: what it had done is kept as {kept}."
    document = {
        "process_id": process_id,
        "operation": record.operation,
        "state": record.state,
        "instance_id": made and made.instance_id,
        "rows": made and made.rows,
    }
    session.output.give(document, lambda: sentence)


@command("pause", panel=Panel.PROCESSES, example="tvl pause my-run")
def pause(session: Driving, process_id: ProcessArgument) -> None:
    """Ask an execution to pause when the rows that are under way are done.

    One whose worker is dead is paused at once. `tvl restart` leaves it alone; the command that began it
    goes on with it.
    """
    session.vault.pause_process(process_id)
    record = session.vault.get_process(process_id)

    def people() -> Iterator[str]:
        if record.is_alive:
            yield (
                f"Process {process_id!r} pauses as soon as the calls under way have returned: `tvl wait {process_id}` "
                "tells when."
            )
            return
        yield f"Process {process_id!r} is {record.status}."
        if line := _resume_line(session, record):
            yield f"  To go on: {line}"

    session.output.give(_document(session, record), lambda: list(people()))


@command("wait", panel=Panel.PROCESSES, example="tvl wait my-run --timeout 3600")
def wait(
    session: Session,
    process_id: ProcessArgument,
    *,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, metavar="SECONDS", help="Give up after so long (exit code 9).")
    ] = None,
) -> None:
    """Wait until a process has ended or is paused, wherever it runs.

    The exit code is 0 if it has completed, has reached the stage that it was to stop after, or was kept in part; 9 if
    the time was over before that; else 6.
    """
    record = session.vault.wait(process_id, timeout)

    def people() -> Iterator[str]:
        yield f"Process {process_id!r} is {record.status}."
        if not record.state.has_ended:
            yield from _remarks(session, record)

    session.output.give(_document(session, record), lambda: list(people()))
    if record.state not in (State.COMPLETED, State.MATERIALIZED) and not _has_reached_stage(record):
        raise typer.Exit(ExitCode.PROCESS)


@command("new-id", panel=Panel.PROCESSES, example="tvl new-id")
def new_id(session: Session) -> None:
    """Print a new id for a process to come, which a command takes as --process-id.

    What keeps it can go on with that process, or stop it, whatever becomes of the command.
    """
    process_id = new_process_id()
    session.output.give({"process_id": process_id}, lambda: process_id)


@command("restart", panel=Panel.PROCESSES, example="tvl restart", runs_user_code=True)
def restart(session: Driving) -> None:
    """Go on with every process that is interrupted or paused.

    They run here, one after the other. One that fails doesn't stop the others; it makes the exit code 6.
    """
    with session.output.reserved():
        vault = TableVault(session.folder, session.author, restart=True, lock_timeout=session.lock_timeout)
    documents = [
        {"process_id": process_id, "state": outcome.state, "error": outcome.error and as_commands(outcome.error)}
        for process_id, outcome in vault.restarted.items()
    ]

    def people() -> object:
        rows: list[list[Cell]] = [
            [
                str(each["process_id"]),
                (status(vault.get_process(str(each["process_id"])))[0], "red" if each["error"] else "green"),
                # The first line tells what it was; `tvl ps ID` has all of it.
                str(each["error"] or "").partition("\n")[0],
            ]
            for each in documents
        ]
        return Listing(("PROCESS", "STATE", "ERROR"), rows) if rows else "There was nothing to restart."

    session.output.give(documents, people)
    if any(each["error"] for each in documents):
        raise typer.Exit(ExitCode.PROCESS)


def _document(session: Session, record: ProcessRecord) -> dict[str, object]:
    """Return all that is known of a process, its state as people see it, and the command that goes on with it."""
    known = jsonable(replace(record, next_steps=as_commands(record.next_steps)))
    assert isinstance(known, dict)
    return {
        **known,
        "steps": step_documents(record),
        "status": status(record)[0],
        "resume": _resume_line(session, record),
    }


def _overview(session: Session, active: Mapping[str, ProcessRecord]) -> Iterator[str | Listing]:
    if not active:
        yield "No process is under way."
        return
    right = ("ROWS", "RATE", "LEFT")
    columns = ("PROCESS", "OPERATION", "TARGET", "STATE", *right, "AUTHOR", "WORKER", "SINCE")
    ordered = list(_family(active))
    yield Listing(columns, [_row(stem, record) for stem, record in ordered], right=right)
    for _, record in ordered:
        yield "\n".join(["", f"{record.process_id}:", *_remarks(session, record)])


def _row(stem: str, record: ProcessRecord) -> list[Cell]:
    return [
        stem + record.process_id,
        record.operation,
        target(record.arguments),
        status(record),
        progress(record.rows_done, record.rows_total),
        rate(record.rate),
        duration(record.remaining),
        record.author,
        _worker(record),
        moment(record.started_at or record.created_at),
    ]


def _remarks(session: Session, record: ProcessRecord) -> Iterator[str]:
    """Yield what it waits for, its last error, and what to do next."""
    if record.waits_for:
        yield f"  waits for {', '.join(record.waits_for)}"
    if of_all := batches(_shown_step(record)):
        yield f"  {of_all} batches done"
    if record.rows_failed:
        yield f"  {counted(record.rows_failed, 'row')} failed"
    if record.rows_skipped:
        yield f"  {counted(record.rows_skipped, 'row')} skipped"
    if record.rows_reused:
        yield f"  {counted(record.rows_reused, 'row')} reused"
    if record.error is not None:
        yield f"  {record.error.type}: {_first_line(record.error.message)}"
    if line := _resume_line(session, record):
        yield f"  To go on: {line}"
    yield f"  {as_commands(record.next_steps)}"


def _family(active: Mapping[str, ProcessRecord]) -> Iterator[tuple[str, ProcessRecord]]:
    """Yield the processes with what is drawn before their ids, children right below their parent."""
    children: dict[str | None, list[ProcessRecord]] = {}
    for record in active.values():
        parent = record.parent_id if record.parent_id in active else None
        children.setdefault(parent, []).append(record)

    def below(parent: str | None, indent: str) -> Iterator[tuple[str, ProcessRecord]]:
        found = children.get(parent, [])
        for record in found:
            is_last = record is found[-1]
            stem = "" if parent is None else indent + ("└─ " if is_last else "├─ ")
            yield stem, record
            yield from below(record.process_id, "" if parent is None else indent + ("   " if is_last else "│  "))

    return below(None, "")


def _in_full(session: Session, record: ProcessRecord, output: str | None, *, with_traceback: bool) -> Iterator[object]:
    facts: list[tuple[str, Cell]] = [
        ("process", record.process_id),
        ("operation", record.operation),
        ("target", target(record.arguments)),
        ("state", status(record)),
        ("rows", progress(record.rows_done, record.rows_total)),
        ("batches", batches(_shown_step(record))),
        ("failed", (f"{record.rows_failed:,}" if record.rows_failed else "", "red")),
        ("skipped", (f"{record.rows_skipped:,}" if record.rows_skipped else "", "red")),
        ("reused", f"{record.rows_reused:,}" if record.rows_reused else ""),
        ("cost", f"{record.cost:,.6g}" if record.cost else ""),
        ("tokens", f"{record.tokens:,}" if record.tokens else ""),
        ("rate", rate(record.rate)),
        ("left", duration(record.remaining)),
        ("author", record.author),
        ("worker", _worker(record)),
        ("parent", record.parent_id or ""),
        ("created", moment(record.created_at)),
        ("started", moment(record.started_at)),
        ("updated", moment(record.updated_at)),
        ("ended", moment(record.ended_at)),
        ("locks", "\n".join(record.locks)),
        ("waits for", "\n".join(record.waits_for)),
        ("held up by", "\n".join(record.blocked_by)),
        ("output", output or ""),
        ("error", (f"{record.error.type}: {record.error.message}" if record.error else "", "red")),
        ("to go on", _resume_line(session, record) or ""),
        ("complete", f"through {record.completed_through}" if record.completed_through else ""),
        ("next", as_commands(record.next_steps)),
    ]
    yield Facts(facts)
    if record.steps:
        yield ""
        yield steps(record)
    if with_traceback and record.error is not None:
        yield ""
        yield record.error.traceback.rstrip()


def _shown_step(record: ProcessRecord) -> StepRecord | None:
    """Return the step that is under way, else the last one that has rows: the one whose rows a process shows."""
    with_rows = [step for step in record.steps if step.rows_total is not None or step.rows_done]
    under_way = (step for step in record.steps if step.started_at is not None and not step.is_done)
    return next(under_way, with_rows[-1] if with_rows else None)


def _resume_line(session: Session, record: ProcessRecord) -> str | None:
    """Return the command that goes on with an execution on which nobody works, ``None`` for all else."""
    is_idle = record.is_named and not record.is_alive and record.state in (State.PAUSED, State.RUNNING)
    if not is_idle or record.operation != "execute_instance":
        return None
    return resume_line(session, record.process_id, record.arguments)


def _has_reached_stage(record: ProcessRecord) -> bool:
    """Tell whether a process is paused because the builder is done that it was to stop after."""
    return (
        record.paused_on_request
        and record.completed_through is not None
        and record.completed_through == record.arguments.get("until")
    )


def _worker(record: ProcessRecord) -> str:
    if record.pid is None:
        return record.host or ""
    return f"{record.host}/{record.pid}"


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
