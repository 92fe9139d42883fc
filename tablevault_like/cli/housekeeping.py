"""Commands that describe what is there anew, that pin it, and that show and prune what nobody needs any more."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated

import typer

from tablevault_like.cli.app import Panel, command
from tablevault_like.cli.contents import as_document
from tablevault_like.cli.formats import counted, moment
from tablevault_like.cli.options import InstanceArgument, OptionalTable, Table
from tablevault_like.cli.output import Facts, Listing, jsonable
from tablevault_like.cli.questions import is_confirmed
from tablevault_like.cli.session import Session, Writing
from tablevault_like.errors import TVArgumentError
from tablevault_like.operations.prunable import Prunable, Pruning
from tablevault_like.operations.trash import TrashRecord

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhdw])")


@command("describe", panel=Panel.CONTENTS, example="tvl describe stories --description 'Short stories, by hand'")
def describe(
    session: Writing,
    table: OptionalTable = "",
    instance: InstanceArgument = "",
    *,
    text: Annotated[
        str | None, typer.Option("--description", metavar="TEXT", help="Describe it anew; by default nothing changes.")
    ] = None,
) -> None:
    """Tell what is known of the vault, a table, or an instance of it; with --description, describe it anew.

    Of an instance that is its columns, its origin and what it was made from, too. A temporary instance can't be
    described anew while it is executed.
    """
    if text is None:
        if session.process_id is not None or session.parent_id is not None:
            raise typer.BadParameter("Nothing is changed, so there is no process: give --description as well.")
        described = session.vault.get_descriptions(instance, table)
        session.output.give(as_document(described), lambda: Facts([_fact(*each) for each in described.items()]))
        return
    finished = session.run(partial(session.vault.set_description, text, table, instance))
    what = "the vault" if not table else f"{table}/{instance}" if instance else f"the table {table!r}"
    known = {"table_name": table or None, "instance_id": instance or None, "description": text}
    session.give(finished, f"Described {what}.", **known)


@command("trash", panel=Panel.VAULT, example="tvl trash")
def trash(
    session: Session,
    *,
    pruned: Annotated[bool, typer.Option("--pruned", help="Show what is on record of what was pruned, too.")] = False,
) -> None:
    """Show what was deleted and not pruned yet: what it was, when, and by whom."""
    found = session.vault.get_trash(include_pruned=pruned)
    columns = ("REMOVED", "WHAT", "ROWS", "SIZE", "AT", "BY", "PRUNED", "DESCRIPTION")

    def people() -> object:
        rows = [
            [
                str(record.removed),
                _what(record),
                f"{record.rows:,}" if record.rows else "",
                _size(record.size),
                moment(record.removed_at),
                record.author or "",
                moment(record.pruned_at),
                record.description,
            ]
            for record in found
        ]
        return Listing(columns, rows, right=("ROWS", "SIZE")) if rows else "The trash is empty."

    session.output.give([jsonable(record) for record in found], people)


@command("pin", panel=Panel.INSTANCES, example="tvl pin stories base_1795331032_7c2ae6cd-01ca-5b15-ad6d-2e9812597beb")
def pin(session: Writing, table: Table, instance: InstanceArgument) -> None:
    """Keep an instance, and what it was made from, from being pruned. `tvl describe` tells who has pinned it."""
    finished = session.run(partial(session.vault.pin, table, instance))
    session.give(finished, f"Pinned {table}/{instance}.", table_name=table, instance_id=instance)


@command(
    "unpin", panel=Panel.INSTANCES, example="tvl unpin stories base_1795331032_7c2ae6cd-01ca-5b15-ad6d-2e9812597beb"
)
def unpin(session: Writing, table: Table, instance: InstanceArgument) -> None:
    """Let an instance be pruned again, whoever has pinned it."""
    finished = session.run(partial(session.vault.unpin, table, instance))
    session.give(finished, f"Unpinned {table}/{instance}.", table_name=table, instance_id=instance)


@command("prune", panel=Panel.VAULT, example="tvl prune --keep 3 --older-than 30d --yes")
def prune(
    session: Writing,
    *,
    keep: Annotated[
        int | None,
        typer.Option(
            "--keep",
            min=1,
            metavar="N",
            help="Instances go, too: those that aren't among the newest N of their table and version.",
        ),
    ] = None,
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than",
            metavar="AGE",
            help="Only what was removed, ended or made so long ago: 90s, 15m, 12h, 30d, 4w.",
        ),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go, what stays, and why.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Remove for good what lies in the trash, what ended processes have left, and with --keep old instances.

    On a terminal that is asked about first; elsewhere, without --yes, it is only shown. What is pinned, what readers
    get who name no instance, what others were made from, and what a process uses never goes. What something was stays
    on record: `tvl trash --pruned`.
    """
    if dry_run and yes:
        raise typer.BadParameter("With --dry-run nothing is removed, so there is nothing to say yes to.")
    age = _seconds(older_than) if older_than else None
    if dry_run or not (yes or sys.stdin.isatty()):
        _show(session, session.vault.prune(keep, age))
        return
    would = None if yes else session.vault.prune(keep, age)
    question = "" if would is None else f"Remove {_counted(would)} for good? (--dry-run shows what that is.)"
    if would is not None and would.going and not is_confirmed(question):
        raise TVArgumentError("Nothing was pruned: that wasn't confirmed. With --yes nobody is asked.")
    found: list[Pruning] = []

    def call(process_id: str | None) -> str:
        found.append(session.vault.prune(keep, age, False, process_id))
        return found[0].process_id or ""

    finished = session.run(call)
    sentence = f"Pruned {_counted(found[0])}." if found[0].going else "There was nothing to prune."
    session.give(finished, sentence, **_pruning(found[0]))


def _show(session: Session, found: Pruning) -> None:
    """Show what would go, what stays, and why."""

    def people() -> object:
        parts: list[object] = []
        for heading, things in (("Would go:", found.going), ("Stays:", found.staying)):
            if things:
                parts += [(heading, "bold"), _listing(things), ""]
        would = f"Would prune {_counted(found)}. Nothing was removed: --yes does that."
        return [*parts, would if found.going else "There is nothing to prune."]

    session.output.give({"process_id": None, **_pruning(found)}, people)


def _listing(things: Sequence[Prunable]) -> Listing:
    rows = [[str(each.kind), _what(each), _size(each.size), moment(each.since), each.why] for each in things]
    return Listing(("KIND", "WHAT", "SIZE", "SINCE", "WHY"), rows, right=("SIZE",))


def _counted(found: Pruning) -> str:
    return f"{counted(len(found.going), 'thing')} ({_size(found.size)})"


def _pruning(found: Pruning) -> dict[str, object]:
    return {
        "pruned": [each.name for each in found.going] if found.process_id else [],
        "size": found.size,
        "freed": found.freed,
        "going": [jsonable(each) for each in found.going],
        "staying": [jsonable(each) for each in found.staying],
    }


def _fact(name: str, value: object) -> tuple[str, str]:
    """Return something that is known, for people."""
    if value is None:
        return name, ""
    if isinstance(value, bool):
        return name, "yes" if value else "no"
    if isinstance(value, int):
        return name, f"{value:,}"
    if name == "columns" and isinstance(value, Mapping):
        return name, "\n".join(f"{column} ({dtype})" for column, dtype in value.items())
    if name == "dependencies" and isinstance(value, list):
        return name, "\n".join("/".join(each) for each in value)
    return name, "/".join(value) if isinstance(value, list) else str(value)


def _what(record: TrashRecord | Prunable) -> str:
    if record.table_name is None:
        return record.name
    return record.table_name if record.instance_id is None else f"{record.table_name}/{record.instance_id}"


def _seconds(text: str) -> float:
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise TVArgumentError(f"The age {text!r} can't be read. Give a number with its unit: 90s, 15m, 12h, 30d or 4w.")
    return float(found[1]) * _UNITS[found[2]]


def _size(size: float) -> str:
    """Return a number of bytes as people read it.

    >>> _size(512), _size(2_500_000)
    ('512 B', '2.5 MB')
    """
    if size < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"
