"""The arguments and options that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

from tablevault_like.cli import completion
from tablevault_like.cli.places import VARIABLE

_COMMON = "Options of most commands"

DbDir = Annotated[
    str | None,
    typer.Option(
        "--db-dir",
        metavar="DIR",
        help=f"The vault. By default {VARIABLE}, or the vault that holds the current directory.",
        rich_help_panel=_COMMON,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.", rich_help_panel=_COMMON)]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=_COMMON)]
Author = Annotated[
    str | None,
    typer.Option("--author", metavar="NAME", help="Who does this; by default you.", rich_help_panel=_COMMON),
]
LockTimeout = Annotated[
    float,
    typer.Option(
        "--lock-timeout",
        min=0,
        metavar="SECONDS",
        help="How long to wait for locks that another process holds.",
        rich_help_panel=_COMMON,
    ),
]
ProcessId = Annotated[
    str | None,
    typer.Option(
        "--process-id",
        "-p",
        metavar="ID",
        help="Give the process this id, or go on with the one that has it.",
        autocompletion=completion.process_ids,
        rich_help_panel=_COMMON,
    ),
]
ParentId = Annotated[
    str | None,
    typer.Option(
        "--parent-id",
        metavar="ID",
        help="Make the process a child of this one, which shares its locks.",
        autocompletion=completion.process_ids,
        rich_help_panel=_COMMON,
    ),
]

Table = Annotated[str, typer.Argument(metavar="TABLE", help="The table.", autocompletion=completion.tables)]
InstanceArgument = Annotated[
    str, typer.Argument(metavar="INSTANCE", help="The instance, by its id.", autocompletion=completion.instances)
]
OptionalTable = Annotated[str, typer.Argument(metavar="TABLE", help="The table.", autocompletion=completion.tables)]
Instance = Annotated[
    str,
    typer.Option(
        "--instance", "-i", metavar="INSTANCE", help="The instance, by its id.", autocompletion=completion.instances
    ),
]
TemporaryVersion = Annotated[
    str, typer.Option("--version", metavar="VERSION", help="The version whose temporary instance is meant.")
]
Description = Annotated[str, typer.Option("--description", metavar="TEXT", help="What it is, for people.")]
