"""Commands that describe what is there anew, and that show and prune the trash."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from functools import partial
from typing import Annotated

import typer

from tablevault_like.cli.app import Panel, command
from tablevault_like.cli.contents import as_document
from tablevault_like.cli.formats import counted, moment
from tablevault_like.cli.options import InstanceArgument, OptionalTable
from tablevault_like.cli.output import Facts, Listing, jsonable
from tablevault_like.cli.questions import is_confirmed
from tablevault_like.cli.session import Session, Writing
from tablevault_like.errors import TVArgumentError
from tablevault_like.operations.trash import Removed, TrashRecord

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


@command("prune", panel=Panel.VAULT, example="tvl prune --older-than 30d --yes")
def prune(
    session: Writing,
    *,
    older_than: Annotated[
        str,
        typer.Option("--older-than", metavar="AGE", help="Only what was removed so long ago: 90s, 15m, 12h, 30d, 4w."),
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Remove what is in the trash for good. On a terminal, that is asked about first.

    What it was stays on record: `tvl trash --pruned`. Nothing goes that the vault hasn't put there itself.
    """
    age = _seconds(older_than) if older_than else None
    if not yes and sys.stdin.isatty():
        _ask(session, age)
    finished = session.run(partial(session.vault.prune, age))
    process_id = finished.record.process_id
    pruned = [each for each in session.vault.get_trash(include_pruned=True) if each.pruned_in == process_id]
    size = sum(each.size for each in pruned)
    sentence = f"Pruned {counted(len(pruned), 'thing')}, {_size(size)}."
    if not pruned:
        sentence = "There was nothing to prune."
    session.give(finished, sentence, pruned=[each.name for each in pruned], size=size)


def _ask(session: Session, age: float | None) -> None:
    """Raise TVArgumentError if there is something to prune, and the person at the terminal doesn't want that."""
    latest = time.time() - (age or 0)
    going = [
        each for each in session.vault.get_trash() if each.removed is not Removed.UNKNOWN and each.removed_at <= latest
    ]
    what = f"{counted(len(going), 'thing')} ({_size(sum(each.size for each in going))})"
    if going and not is_confirmed(f"Remove {what} from the trash for good?"):
        raise TVArgumentError("Nothing was pruned: that wasn't confirmed. With --yes nobody is asked.")


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


def _what(record: TrashRecord) -> str:
    if record.removed is Removed.UNKNOWN or record.table_name is None:
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
