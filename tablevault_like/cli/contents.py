"""Commands that list what is in a vault: tables, instances, builders, code modules and files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from tablevault_like.cli.app import Panel, command
from tablevault_like.cli.formats import moment
from tablevault_like.cli.options import Instance, OptionalTable, Table
from tablevault_like.cli.output import Listing, Verbatim
from tablevault_like.cli.session import Session
from tablevault_like.model import BASE_VERSION, InstanceRecord, temporary_id
from tablevault_like.storage.descriptions import describe_instance


@command("ls", panel=Panel.CONTENTS, example="tvl ls stories")
def ls(
    session: Session,
    table: OptionalTable = "",
    *,
    version: Annotated[str, typer.Option("--version", help="Only what is of this version.")] = "",
    builders: Annotated[
        bool,
        typer.Option("--builders", help="List the builders of the temporary or newest instance, or of --instance."),
    ] = False,
    instance: Instance = "",
    code: Annotated[bool, typer.Option("--code", help="List the code modules.")] = False,
) -> None:
    """List the tables of the vault, or the instances of a table.

    Tables come in order of their creation, instances oldest first, temporary ones last.
    """
    if code:
        _list_names(session, "MODULE", session.vault.get_code_modules_list())
    elif builders and not table:
        raise typer.BadParameter("--builders needs a TABLE.")
    elif builders:
        is_temporary = not instance and has_temporary(session, table, version or BASE_VERSION)
        _list_names(session, "BUILDER", session.vault.get_builders_list(table, instance, version, is_temporary))
    elif table:
        _list_instances(session, table, version)
    else:
        _list_tables(session)


@command("tree", panel=Panel.CONTENTS, example="tvl tree stories")
def tree(
    session: Session,
    table: OptionalTable = "",
    *,
    instance: Instance = "",
    artifacts: Annotated[bool, typer.Option("--artifacts", help="Show artifacts, too.")] = False,
    metadata: Annotated[bool, typer.Option("--metadata", help="Show the vault's own files, too.")] = False,
) -> None:
    """Show the files of the vault, of a table or of an instance."""
    shown = session.vault.get_file_tree(instance, table, metadata_files=metadata, artifact_files=artifacts)
    session.output.give(_nested(shown), lambda: shown)


@command("artifact-folder", panel=Panel.CONTENTS, example="tvl artifact-folder stories")
def artifact_folder(
    session: Session,
    table: Table,
    *,
    instance: Instance = "",
    version: Annotated[
        str, typer.Option("--version", help="The temporary, else the newest instance of this version.")
    ] = BASE_VERSION,
) -> None:
    """Print the folder that holds the artifacts of an instance.

    By default it is the temporary instance of the version 'base', where files can be put; else the newest one of it.
    """
    is_temporary = not instance and has_temporary(session, table, version)
    folder = session.vault.get_artifact_folder(table, instance, version, is_temporary)
    session.output.give({"table_name": table, "artifact_folder": folder}, lambda: Verbatim(folder + "\n"))


def as_document(described: Mapping[str, object]) -> dict[str, object]:
    """Return what describes a table or an instance with the names that these have in all documents."""
    names = {"table": "table_name", "instance": "instance_id"}
    return {names.get(name, name): value for name, value in described.items()}


def has_temporary(session: Session, table: str, version: str) -> bool:
    """Tell whether a table has a temporary instance of that version."""
    return any(record.instance_id == temporary_id(version) for record in session.reader.instance_records(table))


def _list_tables(session: Session) -> None:
    described = [_describe_table(session, name) for name in session.reader.table_names()]
    documents = [document for document, _ in described]
    right = ("INSTANCES", "ROWS")
    columns = ("TABLE", *right, "NEWEST", "TEMPORARY", "AUTHOR", "DESCRIPTION")

    def people() -> object:
        rows = [
            [
                each["table_name"],
                f"{each['instances']:,}",
                _number(each["rows"]),
                moment(newest.materialized_at if newest else None),
                ", ".join(each["temporary"]),
                each["author"],
                each["description"],
            ]
            for each, newest in described
        ]
        return (
            Listing(columns, rows, right=right) if rows else "There is no table yet: `tvl create-table NAME` makes one."
        )

    session.output.give(documents, people)


def _describe_table(session: Session, name: str) -> tuple[dict[str, Any], InstanceRecord | None]:
    """Return what is told of a table, and its newest instance."""
    described = session.reader.describe(table=name, instance_id=None)
    found = session.reader.instance_records(name)
    materialized = [record for record in found if not record.is_temporary]
    newest = materialized[-1] if materialized else None
    document = {
        "table_name": name,
        "description": described["description"],
        "author": described["author"],
        "created": described["created"],
        "instances": len(materialized),
        "newest": newest and newest.instance_id,
        "newest_at": newest and describe_instance(newest)["materialized"],
        "rows": newest and newest.rows,
        "temporary": [record.instance_id for record in found if record.is_temporary],
    }
    return document, newest


def _list_instances(session: Session, table: str, version: str) -> None:
    described = session.reader.describe_instances(table) if session.as_json else []
    found = [record for record in session.reader.instance_records(table) if version in ("", record.version)]
    columns = ("INSTANCE", "VERSION", "ROWS", "ACTIVE", "SUCCESS", "MADE", "AUTHOR", "DESCRIPTION")

    def people() -> object:
        rows = [
            [
                record.instance_id,
                record.version,
                _number(record.rows),
                "" if record.is_temporary else _yes_or_no(record.active),
                "" if record.is_temporary else _yes_or_no(record.success),
                moment(record.materialized_at or record.created_at),
                record.author,
                record.description,
            ]
            for record in found
        ]
        none = f"There is no such instance yet: `tvl create-instance {table}` makes one."
        return Listing(columns, rows, right=("ROWS",)) if rows else none

    session.output.give([_document(each) for each in described if version in ("", each["version"])], people)


def _document(described: Mapping[str, object]) -> dict[str, object]:
    return {**as_document(described), "temporary": described["materialized"] is None}


def _list_names(session: Session, heading: str, names: list[str]) -> None:
    session.output.give(names, lambda: Listing((heading,), [[name] for name in names]) if names else "There are none.")


def _nested(node: Any) -> dict[str, object]:
    """Return a rich tree as JSON has it: the folders and files below a node by name, ``None`` for a file."""
    return {str(child.label): _nested(child) if str(child.label).endswith("/") else None for child in node.children}


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _yes_or_no(fact: bool) -> tuple[str, str]:
    return ("yes", "green") if fact else ("no", "red")
