"""Commands that tell what a run will do, what it did, and why."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tablevault_like.cli import completion, frames, steering
from tablevault_like.cli.app import Panel, command
from tablevault_like.cli.documents import document, give_plan, parts
from tablevault_like.cli.errors import ExitCode
from tablevault_like.cli.formats import duration, moment
from tablevault_like.cli.options import Instance, ProcessId, Table, TemporaryVersion
from tablevault_like.cli.output import Cell, Listing, Verbatim
from tablevault_like.cli.session import Session
from tablevault_like.cli.words import as_commands
from tablevault_like.errors import TVFileError
from tablevault_like.model import BASE_VERSION, Existing, OnChange, OnDamage

if TYPE_CHECKING:
    import pandas as pd

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A process, a table or an instance, by its id.", autocompletion=completion.process_ids
    ),
]
Version = Annotated[
    str, typer.Option("--version", metavar="VERSION", help="The version whose newest instance is meant.")
]


@command("plan", panel=Panel.INSTANCES, example="tvl plan stories --sample 3", runs_user_code=True)
def plan(
    session: Session,
    table: Table,
    *,
    version: TemporaryVersion = BASE_VERSION,
    process_id: ProcessId = None,
    on_change: steering.OnChangeOption = OnChange.ERROR,
    on_damage: steering.OnDamageOption = OnDamage.ERROR,
    existing: steering.ExistingOption = Existing.AUTO,
    force: steering.Force = False,
    force_execute: steering.ForceExecute = False,
    until: steering.Until = "",
    from_builder: steering.FromBuilder = "",
    budget: steering.BudgetOption = None,
    start_at: steering.StartAt = None,
    sample: steering.Sample = 0,
) -> None:
    """Show what `tvl execute` would do with the same options, and why, without doing anything.

    Per builder: how many rows are reused and made, how sure that is, what has changed, and how long it takes. With
    --sample the builders' functions run, but nothing is kept.
    """
    how = steering.asked(
        process_id,
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
    with session.output.reserved():
        planned = session.vault.plan(table, version, process_id=process_id, sample=sample, **how)
    give_plan(session.output, planned)


@command("why", panel=Panel.CONTENTS, example="tvl why stories 3 summary")
def why(
    session: Session,
    table: Table,
    row: Annotated[
        str, typer.Argument(metavar="ROW", help="Its position, or its primary key: a value, or COLUMN=VALUE[,...].")
    ],
    column: Annotated[str, typer.Argument(metavar="COLUMN", help="The column.")],
    *,
    instance: Instance = "",
    version: Version = BASE_VERSION,
) -> None:
    """Show why a cell is what it is: its builder, code, inputs, sources, cost and process.

    A cell that was reused is followed to the instance that made it.
    """
    found = session.vault.why(table, _row(row), column, instance, version)
    session.output.give(document(found), lambda: parts(found))


@command("inspect", panel=Panel.PROCESSES, example="tvl inspect stories --row 3")
def inspect(
    session: Session,
    name: Name,
    *,
    instance: Instance = "",
    version: Version = BASE_VERSION,
    row: Annotated[str, typer.Option("--row", metavar="ROW", help="Show the inputs and the output of this row.")] = "",
    builder: Annotated[str, typer.Option("--builder", metavar="BUILDER", help="Of this builder only.")] = "",
) -> None:
    """Show what is known of a process or an instance: identity, provenance, and its steps.

    With --row what each builder's function was given for it, and what came of it.
    """
    found = session.vault.inspect(
        name, instance_id=instance, version=version, row=_row(row) if row else None, builder=builder
    )
    facts = {name: as_commands(value) if name in _SPOKEN and value else value for name, value in found.facts.items()}
    session.output.give(document(found), lambda: parts(replace(found, facts=facts)))


_SPOKEN = ("error", "next")
"""Facts that say what is to be done, in Python where the library tells them."""


@command("quickcheck", panel=Panel.PROCESSES, example="tvl quickcheck")
def quickcheck(
    session: Session,
    *,
    ended: Annotated[
        int, typer.Option("--ended", min=0, metavar="COUNT", help="How many that have ended are shown.")
    ] = 5,
) -> None:
    """Show a line for each process: those that haven't ended, and the last ones that have.

    The exit code is 6 if one of them needs attention: it failed, has lost its worker, or is paused by an error.
    """
    found = session.vault.quickcheck(ended)
    lines = [(f"! {each.line}", "red") if each.needs_attention else f"  {each.line}" for each in found]
    none = "There was no process yet." if ended else "No process is under way, paused or interrupted."
    session.output.give(document(found), lambda: lines or none)
    if any(each.needs_attention for each in found):
        raise typer.Exit(ExitCode.PROCESS)


@command("report", panel=Panel.PROCESSES, example="tvl report my-run --output report.md")
def report(
    session: Session,
    name: Name,
    *,
    instance: Instance = "",
    version: Version = BASE_VERSION,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there, in place of what is there.")
    ] = None,
) -> None:
    """Report a run or an instance as Markdown: what was built, from what, how long, failures, reuse, cost."""
    text = session.vault.report(name, instance_id=instance, version=version)
    if output is not None:
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise TVFileError(f"The report can't be written to {output}: {error.strerror}.", path=output) from error
    told = Verbatim(text) if output is None else f"Wrote {output}."
    session.output.give({"report": text, "output": None if output is None else str(output)}, lambda: told)


@command("history", panel=Panel.PROCESSES, example="tvl history stories --outcome completed --since 2026-07-01")
def history(
    session: Session,
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="Of this table only.", autocompletion=completion.tables)
    ] = "",
    *,
    operation: Annotated[str, typer.Option("--operation", metavar="NAME", help="Such as execute_instance.")] = "",
    by: Annotated[str, typer.Option("--by", metavar="AUTHOR", help="Whose processes.")] = "",
    outcome: Annotated[
        str, typer.Option("--outcome", metavar="OUTCOME", help="completed, reverted or materialized.")
    ] = "",
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="That ended at this time or later: 2026-07-21T18:00.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="That ended before this time.")] = None,
    named: Annotated[bool, typer.Option("--named", help="Those that were given an id.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=0, metavar="COUNT", help="The last ones; 0 for all.")] = 50,
) -> None:
    """Show the processes that have ended, the last one first: when, how long, how many rows, at which cost."""
    frame = session.vault.get_process_history(
        table,
        operation=operation,
        author=by,
        outcome=outcome,
        since=since,
        until=until,
        named_only=named,
        limit=limit or None,
    )
    session.output.give(document(frame), lambda: _history(frame) if len(frame) else "No process has ended that is so.")


_OUTCOMES = {"completed": "green", "materialized": "yellow", "reverted": "red"}


def _history(frame: pd.DataFrame) -> Listing:
    right = ("TIME", "MADE", "REUSED", "FAILED", "COST")
    rows: list[list[Cell]] = []
    for each in frames.records(frame):
        counts = [f"{each[name]:,}" if each[name] else "" for name in ("rows_made", "rows_reused", "rows_failed")]
        outcome, ended = str(each["outcome"]), frame["ended_at"].iloc[len(rows)].timestamp()
        rows.append(
            [
                str(each["process_id"]),
                str(each["operation"]),
                str(each["table"] or ""),
                (outcome, _OUTCOMES.get(outcome, "")),
                duration(None if each["seconds"] is None else float(str(each["seconds"]))),
                *counts,
                f"{each['cost']:g}" if each["cost"] else "",
                str(each["author"]),
                moment(ended),
            ]
        )
    columns = ("PROCESS", "OPERATION", "TABLE", "OUTCOME", *right, "AUTHOR", "ENDED")
    return Listing(columns, rows, right=right)


def _row(text: str) -> object:
    """Return the row that is named: ``3`` is a position, ``id=3`` and ``dog`` are primary keys."""
    if text.isdecimal():
        return int(text)
    # A comma begins the next column only where a name and a sign of equality follow.
    parts = [part.partition("=") for part in re.split(r",(?=[^=,]+=)", text)]
    if all(name and equals for name, equals, _ in parts):
        return {name: _value(value) for name, _, value in parts}
    return text


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
