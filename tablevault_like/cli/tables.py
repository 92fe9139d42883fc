"""Commands that create, rename and delete tables."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from tablevault_like.cli.app import Panel, command
from tablevault_like.cli.options import Description, Table
from tablevault_like.cli.session import Writing


@command("create-table", panel=Panel.TABLES, example="tvl create-table stories --description 'Short stories'")
def create_table(
    session: Writing,
    table: Annotated[str, typer.Argument(metavar="TABLE", help="The name of the new table.")],
    *,
    description: Description = "",
    multiple_artifacts: Annotated[
        bool,
        typer.Option(
            "--multiple-artifacts", help="Show no artifacts in the table's folder: each instance has its own."
        ),
    ] = False,
    side_effects: Annotated[
        bool,
        typer.Option("--side-effects", help="When an instance is made, the others become inactive at once."),
    ] = False,
) -> None:
    """Create an empty table."""
    finished = session.run(
        partial(
            session.vault.create_table,
            table,
            allow_multiple_artifacts=multiple_artifacts,
            has_side_effects=side_effects,
            description=description,
        )
    )
    session.give(finished, f"Created the table {table!r}.", table_name=table)


@command("rename-table", panel=Panel.TABLES, example="tvl rename-table stories short-stories")
def rename_table(
    session: Writing,
    table: Table,
    new_name: Annotated[str, typer.Argument(metavar="NEW_NAME", help="Its new name.")],
) -> None:
    """Give a table another name.

    Its instances, and what was made from them, stay as they are.
    """
    finished = session.run(partial(session.vault.rename_table, new_name, table))
    session.give(finished, f"Renamed the table {table!r} to {new_name!r}.", table_name=new_name)


@command("delete-table", panel=Panel.TABLES, example="tvl delete-table stories")
def delete_table(session: Writing, table: Table) -> None:
    """Delete a table with all of its instances.

    Their files go to the vault's trash.
    """
    finished = session.run(partial(session.vault.delete_table, table))
    session.give(finished, f"Deleted the table {table!r}.", table_name=table)
