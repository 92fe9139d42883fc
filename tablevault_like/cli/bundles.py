"""Commands that put an instance into a file, and take it in."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from tablevault_like.cli import completion
from tablevault_like.cli.app import Panel, command
from tablevault_like.cli.formats import counted
from tablevault_like.cli.options import Table
from tablevault_like.cli.session import Finished, Session, Writing
from tablevault_like.errors import TVArgumentError
from tablevault_like.model import BASE_VERSION, temporary_id


@command("export", panel=Panel.INSTANCES, example="tvl export stories --output stories.bundle.tar.xz")
def export_instance(
    session: Session,
    table: Table,
    instance_id: Annotated[
        str,
        typer.Argument(
            metavar="INSTANCE",
            help="Its id; by default the newest of --version. TEMP_base: what its execution has done by now.",
            autocompletion=completion.instances,
        ),
    ] = "",
    *,
    version: Annotated[str, typer.Option("--version", help="The version that is meant.")] = BASE_VERSION,
    builder: Annotated[
        str | None,
        typer.Option(
            "--builder", metavar="BUILDER", help="Only what this one has made.", autocompletion=completion.builders
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="A new file, or a folder; by default the current one."),
    ] = None,
) -> None:
    """Put an instance into one file, with its builders, code, artifacts and lineage.

    Another vault takes it in with `tvl import`. What an unfinished execution has done can be exported, too.
    """
    made = session.vault.export_instance(table, instance_id, version, output, builder=builder)
    what = f"{made.table_name}/{made.instance_id}"
    if made.builder is not None:
        what = f"the results of {made.builder!r} in {what}"
    session.output.give(
        {
            "path": str(made.path),
            "table_name": made.table_name,
            "instance_id": made.instance_id,
            "builder": made.builder,
            "bundle": made.bundle,
            "rows": made.rows,
            "files": made.files,
            "bytes": made.total,
            "bundle_bytes": made.size,
        },
        lambda: f"Exported {what} ({counted(made.rows, 'row')}) to {made.path}.",
    )


@command("import", panel=Panel.INSTANCES, example="tvl import stories.bundle.tar.xz --with-code")
def import_instance(
    session: Writing,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What `tvl export` has made.")],
    *,
    table: Annotated[
        str,
        typer.Option(
            "--table", metavar="TABLE", help="By default the one that it comes from.", autocompletion=completion.tables
        ),
    ] = "",
    version: Annotated[
        str,
        typer.Option(
            "--version", metavar="VERSION", help="For a builder's results: the temporary instance that uses them."
        ),
    ] = "",
    with_code: Annotated[
        bool, typer.Option("--with-code", help="Add its code to the code modules. None is ever replaced.")
    ] = False,
    max_bytes: Annotated[
        int | None, typer.Option("--max-bytes", min=0, metavar="BYTES", help="Refuse one that holds more.")
    ] = None,
) -> None:
    """Take in an instance, or one builder's results, from a file, which may come from anybody.

    None of it is run. Results are kept with the temporary instance, whose execution reuses them. What is there already
    stays as it is.
    """
    finished = session.run(
        partial(session.vault.import_instance, file, table, version, with_code=with_code, max_bytes=max_bytes)
    )
    told = finished.record.arguments
    known = {name: told[name] for name in ("table_name", "instance_id", "builder", "bundle")}
    session.give(finished, _sentence(session, finished), **known)


def _sentence(session: Session, finished: Finished) -> str:
    told = finished.record.arguments
    table, instance_id, builder = told["table_name"], told["instance_id"], told["builder"]
    if builder is not None:
        return (
            f"The results of {builder!r} are with {table}/{temporary_id(told['version'])}, whose execution reuses them."
        )
    try:
        described = session.vault.get_descriptions(instance_id, table)
    except TVArgumentError:
        return "It was deleted since."
    if described["process_id"] != finished.record.process_id:
        return f"{table}/{instance_id} was there already; nothing was done."
    rows = described["rows"]
    return f"Imported {table}/{instance_id}: {counted(rows if isinstance(rows, int) else 0, 'row')}."
