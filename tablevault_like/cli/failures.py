"""The command that shows which rows failed, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tablevault_like.cli import completion, frames
from tablevault_like.cli.app import Panel, command
from tablevault_like.cli.formats import counted, duration
from tablevault_like.cli.options import Instance
from tablevault_like.cli.output import Cell, Facts, Listing
from tablevault_like.cli.session import Session
from tablevault_like.model import BASE_VERSION

if TYPE_CHECKING:
    import pandas as pd

_WIDTH = 60


@command("errors", panel=Panel.PROCESSES, example="tvl errors my-run --traceback")
def errors(
    session: Session,
    name: Annotated[
        str,
        typer.Argument(
            metavar="PROCESS|TABLE",
            help="A process, or a table: its newest instance.",
            autocompletion=completion.processes_and_tables,
        ),
    ],
    *,
    instance: Instance = "",
    version: Annotated[
        str, typer.Option("--version", metavar="VERSION", help="Of a table, the version that is meant.")
    ] = BASE_VERSION,
    is_table: Annotated[
        bool, typer.Option("--table", help="A table is meant, whatever process has this name.")
    ] = False,
    is_process: Annotated[
        bool, typer.Option("--process", help="A process is meant, whatever table has this name.")
    ] = False,
    missing: Annotated[
        bool, typer.Option("--missing", help="Show also the rows whose functions weren't called yet.")
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show each row in full: traceback and inputs.")
    ] = False,
) -> None:
    """Show the rows that failed, of a process or a table.

    Those that failed are tried again when the process goes on; skipped ones are left empty.
    """
    if is_table and is_process:
        raise typer.BadParameter("--table and --process contradict each other.")
    which = "table_name" if is_table else "process_id" if is_process else "name"
    found = session.vault.get_errors(**{which: name}, instance_id=instance, version=version, missing=missing)
    session.output.give(frames.records(found), lambda: list(_shown(found, in_full=traceback)))


def _shown(found: pd.DataFrame, *, in_full: bool) -> Iterator[object]:
    if found.empty:
        yield "No row has failed."
        return
    rows = frames.records(found)
    if in_full:
        for each in rows:
            yield Facts(_facts(each))
            yield ""
    else:
        told = [name for name in ("key", "cost", "tokens") if any(each[name] is not None for each in rows)]
        columns = ["BUILDER", "ROW", *(name.upper() for name in told), "STATUS", "ATTEMPTS", "TIME", "ERROR"]
        cells = [_cells(each, told) for each in rows]
        yield Listing(columns, cells, right=("ROW", "COST", "TOKENS", "ATTEMPTS", "TIME"))
        yield ""
    yield ", ".join(
        f"{counted(int(count), 'row')} {status}" for status, count in found["status"].value_counts(sort=False).items()
    )


def _cells(row: dict[str, Any], told: list[str]) -> list[Cell]:
    more = {"key": row["key"] or "", "cost": _number(row["cost"]), "tokens": _number(row["tokens"])}
    return [
        row["builder"],
        str(row["row"]),
        *(_short(more[name]) for name in told),
        (row["status"], "" if row["status"] == "missing" else "red"),
        _number(row["attempts"]),
        duration(row["seconds"]),
        _short(_error(row).partition("\n")[0]),
    ]


def _facts(row: dict[str, Any]) -> list[tuple[str, Cell]]:
    return [
        ("builder", row["builder"]),
        ("row", str(row["row"])),
        ("key", row["key"] or ""),
        ("status", row["status"]),
        ("attempts", _number(row["attempts"])),
        ("time", duration(row["seconds"])),
        ("cost", _number(row["cost"])),
        ("tokens", _number(row["tokens"])),
        ("inputs", row["inputs"] or ""),
        ("error", (_error(row), "red")),
        ("traceback", (row["traceback"] or "").rstrip()),
    ]


def _error(row: dict[str, Any]) -> str:
    return "" if row["error_type"] is None else f"{row['error_type']}: {row['message']}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.6g}" if value % 1 else f"{value:,.0f}"


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
