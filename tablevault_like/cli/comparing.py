"""Commands that compare instances, and that ask the vault in SQL."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from tablevault_like.cli import completion, frames
from tablevault_like.cli.app import Panel, command
from tablevault_like.cli.formats import counted
from tablevault_like.cli.options import Table
from tablevault_like.cli.output import Cell, Listing, jsonable, write
from tablevault_like.cli.session import Session

if TYPE_CHECKING:
    import pandas as pd

    from tablevault_like.comparison.records import Difference, RowChanges, SchemaChanges

_ROWS_FOR_PEOPLE = 20
_STYLES = {"+": "green", "-": "red", "@": "cyan"}


@command("diff", panel=Panel.CONTENTS, example="tvl diff stories base_1795331032_7c2ae6cd-... TEMP_base")
def diff(
    session: Session,
    table: Table,
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="The old instance, by its id or version; by default the one before the new one.",
            autocompletion=completion.instances,
        ),
    ] = "",
    b: Annotated[
        str,
        typer.Argument(
            metavar="B",
            help="The new instance; by default the newest of the table.",
            autocompletion=completion.instances,
        ),
    ] = "",
    *,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key", "-k", metavar="COLUMN", help="Tell rows by this column, not by the primary key. Repeatable."
        ),
    ] = None,
    select: Annotated[
        list[str] | None, typer.Option("--select", "-s", metavar="COLUMN", help="Compare this column. Repeatable.")
    ] = None,
    rows: Annotated[
        int, typer.Option("--rows", "-n", min=0, metavar="N", help="How many keys and cells to show.")
    ] = _ROWS_FOR_PEOPLE,
) -> None:
    """Show what is different between two instances of a table: columns, rows, cells, inputs, builders and code.

    Without A and B they are the two newest. TEMP_<version> is what an execution has done by now. --json has all of it.
    """
    found = session.vault.diff(table, a, b, key=key or None, columns=select or None)
    session.output.give(_document(found), lambda: _shown(found, rows))


@command("query", panel=Panel.CONTENTS, example="tvl query 'SELECT lang, count(*) FROM stories GROUP BY lang'")
def query(
    session: Session,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT statement; - reads it from standard input.")],
    *,
    rows: Annotated[int | None, typer.Option("--rows", "-n", min=0, metavar="N", help="Only the first rows.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
) -> None:
    """Ask the vault in SQL.

    A table's name is its newest active instance; "stories@short" that of a version, "stories@short_1_..." the instance
    of that id. A query reads tables of the vault and nothing else. It needs duckdb: pip install 'tablevault-like[sql]'.
    """
    frame = session.vault.query(sys.stdin.read() if sql == "-" else sql)
    count = len(frame)
    shown = frame.head(count if rows is None else rows)
    if csv:
        write(frames.csv_text(shown), sys.stdout)
        return
    document = {
        "instances": frame.attrs["instances"],
        "rows": count,
        "columns": {str(name): str(dtype) for name, dtype in zip(frame.columns, frame.dtypes, strict=True)},
        "records": frames.records(shown),
    }
    few = shown.head(_ROWS_FOR_PEOPLE) if rows is None else shown
    of_all = f"{len(few):,} of " if len(few) < count else ""
    session.output.give(document, lambda: [frames.listing(few), "", (f"{of_all}{counted(count, 'row')}", "dim")])


def _document(found: Difference) -> dict[str, object]:
    rows = found.rows
    return {
        "table_name": found.table_name,
        "old": found.old,
        "new": found.new,
        "differs": bool(found),
        "summary": found.summary,
        "schema": jsonable(found.schema),
        "rows": {
            "key": list(rows.key),
            "note": rows.note,
            "old_count": rows.old_count,
            "new_count": rows.new_count,
            "added": [frames.plain(key) for key in rows.added],
            "removed": [frames.plain(key) for key in rows.removed],
            "changed": [frames.plain(key) for key in rows.changed],
            "changed_cells": dict(rows.changed_cells),
            "is_reordered": rows.is_reordered,
        },
        "cells": frames.records(found.cells),
        "inputs": list(found.inputs),
        "builders": list(found.builders),
        "code": found.code,
    }


def _shown(found: Difference, limit: int) -> list[object]:
    parts: list[object] = [(f"{found.table_name}: {found.old} -> {found.new}", "bold"), found.summary]
    if found.rows.note:
        parts.append((f"({found.rows.note})", "dim"))
    if found.schema:
        parts += ["", *_schema(found.schema)]
    parts += _rows(found.rows, limit)
    if len(found.cells):
        parts += ["", frames.listing(found.cells.head(limit).rename(columns=str.upper))]
        parts += _rest(len(found.cells) - limit, "cell")
    for lines in (found.inputs, found.builders):
        parts += ["", *lines] if lines else []
    parts += ["", *((line, _STYLES.get(line[:1], "")) for line in found.code.splitlines())] if found.code else []
    return parts


def _schema(schema: SchemaChanges) -> list[object]:
    rows: list[list[Cell]] = [[each.name, ("added", "green"), "", each.dtype] for each in schema.added]
    rows += [[each.name, ("removed", "red"), each.dtype, ""] for each in schema.removed]
    rows += [[each.name, ("another dtype", "yellow"), each.old, each.new] for each in schema.changed]
    reordered = ["The columns that both have come in another order."] if schema.is_reordered else []
    return [*([Listing(("COLUMN", "CHANGE", "OLD", "NEW"), rows)] if rows else []), *reordered]


def _rows(rows: RowChanges, limit: int) -> list[object]:
    parts: list[object] = []
    for what, style, keys in (("added", "green", rows.added), ("removed", "red", rows.removed)):
        if len(keys):
            parts += ["", (f"{counted(len(keys), 'row')} {what}: {_some(keys, limit)}", style)]
    return parts


def _some(keys: pd.Series, limit: int) -> str:
    shown = ", ".join(str(frames.plain(key)) for key in keys.head(limit))
    return f"{shown}, ..." if len(keys) > limit else shown


def _rest(number: int, noun: str) -> list[object]:
    return [(f"... and {counted(number, noun)} more: --rows shows more, --json all.", "dim")] if number > 0 else []
