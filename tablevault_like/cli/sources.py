"""Commands that create and delete builder files and code modules."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tablevault_like.cli import completion
from tablevault_like.cli.app import Panel, command
from tablevault_like.cli.options import Table, TemporaryVersion
from tablevault_like.cli.session import Finished, Writing
from tablevault_like.errors import TVArgumentError
from tablevault_like.layout import InstanceLayout, Layout
from tablevault_like.model import BASE_VERSION, temporary_id

Source = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="PATH",
        help="A file to copy, or a folder: then all of its files, or the one that is named. '-' reads stdin.",
    ),
]


@command(
    "create-builder-file",
    panel=Panel.SOURCES,
    example="tvl create-builder-file stories --from builders/score.yaml",
)
def create_builder_file(
    session: Writing,
    table: Table,
    builder: Annotated[
        str, typer.Argument(metavar="BUILDER", help="Its name.", autocompletion=completion.builders)
    ] = "",
    *,
    source: Source = "",
    version: TemporaryVersion = BASE_VERSION,
) -> None:
    """Create builder files in a temporary instance, or replace those that have their names.

    Without --from, a template that explains every field is written under the given name. The form is checked now;
    references and code are, when the instance is executed.
    """
    path, text = _source(source, name=builder)
    finished = session.run(
        partial(session.vault.create_builder_file, table, builder, version=version, copy_dir=path, text=text)
    )
    if finished.had_completed:
        _give(session, finished, [])
        return
    place = InstanceLayout(session.reader.folder(table=table, instance_id=temporary_id(version)))
    _give(session, finished, [place.builder(name) for name in finished.record.arguments["texts"]])


@command("delete-builder-file", panel=Panel.SOURCES, example="tvl delete-builder-file stories summary")
def delete_builder_file(
    session: Writing,
    table: Table,
    builder: Annotated[str, typer.Argument(metavar="BUILDER", help="Its name.", autocompletion=completion.builders)],
    *,
    version: TemporaryVersion = BASE_VERSION,
) -> None:
    """Delete a builder file from a temporary instance."""
    finished = session.run(partial(session.vault.delete_builder_file, builder, table, version=version))
    session.give(finished, f"Deleted the builder {builder!r} of {table}/{temporary_id(version)}.", table_name=table)


@command("create-code-module", panel=Panel.SOURCES, example="tvl create-code-module --from prompts.py")
def create_code_module(
    session: Writing,
    module: Annotated[str, typer.Argument(metavar="MODULE", help="Its name.", autocompletion=completion.modules)] = "",
    *,
    source: Source = "",
) -> None:
    """Create code modules, or replace those that have their names.

    Without --from, a template is written under the given name. A folder with an __init__.py is a package. Nothing is
    executed; that it is Python is checked.
    """
    path, text = _source(source, name=module)
    finished = session.run(partial(session.vault.create_code_module, module, copy_dir=path, text=text))
    layout = Layout(session.folder.absolute())
    wrote = [layout.module(name.replace(".", "/")) for name in finished.record.arguments["texts"]]
    wrote += [layout.module(name).with_suffix("") for name in finished.record.arguments.get("packages", ())]
    _give(session, finished, wrote)


@command("delete-code-module", panel=Panel.SOURCES, example="tvl delete-code-module prompts")
def delete_code_module(
    session: Writing,
    module: Annotated[str, typer.Argument(metavar="MODULE", help="Its name.", autocompletion=completion.modules)],
) -> None:
    """Delete a code module.

    Instances that were made with it keep their copies.
    """
    finished = session.run(partial(session.vault.delete_code_module, module))
    session.give(finished, f"Deleted the code module {module!r}.", module_name=module)


def _source(source: str, *, name: str) -> tuple[str, str]:
    """Return the path and the text that are meant by ``--from``; one of them is empty, or both."""
    if source != "-":
        return source, ""
    if not name:
        raise TVArgumentError("What is read from stdin needs a name. Give it before --from.")
    if text := sys.stdin.read():
        return "", text
    raise TVArgumentError("There was nothing to read from stdin, so nothing was created.")


def _give(session: Writing, finished: Finished, paths: list[Path]) -> None:
    session.give(finished, "\n".join(f"Wrote {path}" for path in paths), files=[str(path) for path in paths])
