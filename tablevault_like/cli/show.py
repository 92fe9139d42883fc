"""The command that shows one thing of a vault: a frame, its columns, a builder file or a code module."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tablevault_like.cli import completion, frames
from tablevault_like.cli.app import Panel, command
from tablevault_like.cli.conditions import read_conditions
from tablevault_like.cli.contents import has_temporary
from tablevault_like.cli.formats import counted
from tablevault_like.cli.options import Instance, OptionalTable
from tablevault_like.cli.output import Listing, Verbatim, write
from tablevault_like.cli.session import Session
from tablevault_like.model import BASE_VERSION

if TYPE_CHECKING:
    import pandas as pd

_ROWS_FOR_PEOPLE = 20


@command("show", panel=Panel.CONTENTS, example="tvl show stories --rows 5 --select title --filter 'year >= 2020'")
def show(
    session: Session,
    table: OptionalTable = "",
    *,
    instance: Instance = "",
    version: Annotated[
        str, typer.Option("--version", help="The newest active instance of this version.")
    ] = BASE_VERSION,
    inactive: Annotated[bool, typer.Option("--inactive", help="Inactive instances count as well.")] = False,
    rows: Annotated[int | None, typer.Option("--rows", "-n", min=0, metavar="N", help="Only the first rows.")] = None,
    select: Annotated[
        list[str] | None, typer.Option("--select", "-s", metavar="COLUMN", help="Only this column. Repeatable.")
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            "-f",
            metavar="CONDITION",
            help="Only rows such as 'year >= 2020' or 'lang in [\"en\", \"fr\"]'. Repeatable: all must hold.",
        ),
    ] = None,
    columns: Annotated[bool, typer.Option("--columns", help="The names and dtypes of the columns.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    builder: Annotated[
        str, typer.Option("--builder", "-b", help="The text of a builder file.", autocompletion=completion.builders)
    ] = "",
    code: Annotated[
        str, typer.Option("--code", help="The text of a code module.", autocompletion=completion.modules)
    ] = "",
) -> None:
    """Show the frame of an instance, a builder file or a code module.

    By default it is the newest active instance of the version 'base'. People see its first rows, with long cells cut
    off; --json and --csv give all of it. After an execution that was reverted, --instance TEMP_base shows what it had
    made.
    """
    if code:
        _show_text(session, code, session.vault.get_code_module_str(code))
        return
    if not table:
        raise typer.BadParameter("Give a TABLE, or --code MODULE.")
    if builder:
        is_temporary = not instance and has_temporary(session, table, version)
        _show_text(session, builder, session.vault.get_builder_str(table, builder, instance, version, is_temporary))
        return
    if rows is None and not csv and not session.as_json:
        rows = _ROWS_FOR_PEOPLE
    read = partial(session.vault.get_dataframe, table, instance, version, not inactive)
    if columns:
        _show_columns(session, read(rows=0))
        return
    conditions = read_conditions(filters, read(rows=0)) if filters else None
    frame = read(rows=rows, columns=select or None, filters=conditions)
    if csv:
        write(frames.csv_text(frame), sys.stdout)
    else:
        _show_frame(session, frame)


def _show_text(session: Session, name: str, text: str) -> None:
    session.output.give({"name": name, "text": text}, lambda: Verbatim(text))


def _show_columns(session: Session, frame: pd.DataFrame) -> None:
    known = _known(session, frame)
    session.output.give(known, lambda: Listing(("COLUMN", "DTYPE"), [list(each) for each in known["columns"].items()]))


def _show_frame(session: Session, frame: pd.DataFrame) -> None:
    known = _known(session, frame)
    is_part = known["rows"] not in (None, len(frame))
    count = f"{len(frame):,} of {counted(known['rows'], 'row')}" if is_part else counted(len(frame), "row")
    footer = f"{count} of {known['table_name']}/{known['instance_id']}"
    session.output.give(
        {**known, "records": frames.records(frame)}, lambda: [frames.listing(frame), "", (footer, "dim")]
    )


def _known(session: Session, frame: pd.DataFrame) -> dict[str, Any]:
    """Return which instance a frame was read from, its columns with their dtypes, and how many rows it has."""
    table, instance_id = frame.attrs["table_name"], frame.attrs["instance_id"]
    described = session.reader.describe(table=table, instance_id=instance_id)
    dtypes = described["columns"] or {name: str(dtype) for name, dtype in frame.dtypes.items()}
    return {"table_name": table, "instance_id": instance_id, "rows": described["rows"], "columns": dtypes}
