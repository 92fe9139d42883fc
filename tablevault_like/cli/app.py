"""The command line as a whole: what all commands share, and how a function becomes one of them."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import fields
from enum import StrEnum
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar, get_type_hints

import typer

from tablevault_like.cli.errors import MEANINGS, reported
from tablevault_like.cli.options import DbDir, Debug
from tablevault_like.cli.output import write_line
from tablevault_like.cli.session import Session
from tablevault_like.cli.startup import Command, Group
from tablevault_like.storage import networks

P = ParamSpec("P")
S = TypeVar("S", bound=Session)


class Panel(StrEnum):
    """The parts of ``tvl --help``, in their order."""

    VAULT = "Vault"
    CONTENTS = "Contents"
    TABLES = "Tables"
    INSTANCES = "Instances"
    SOURCES = "Builders and code"
    PROCESSES = "Processes"


_EXIT_CODES = "\n".join(["Exit codes:", *(f"{code:>5}  {meaning}" for code, meaning in MEANINGS.items())])

app = typer.Typer(
    name="tvl",
    cls=Group,
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def command(
    name: str, *, panel: Panel, example: str, runs_user_code: bool = False
) -> Callable[[Callable[Concatenate[S, P], None]], Callable[Concatenate[S, P], None]]:
    """Make a function a command of the command line.

    Its first parameter is a Session or a subclass, whose fields become options of the command; what it raises becomes
    a message and an exit code. ``example`` ends its help. ``runs_user_code``: builders' functions may raise in it.
    """

    def register(function: Callable[Concatenate[S, P], None]) -> Callable[Concatenate[S, P], None]:
        first, *own = inspect.signature(function, eval_str=True).parameters.values()
        session_class: type[S] = first.annotation
        call: Callable[..., None] = function

        def run(context: typer.Context, **given: Any) -> None:
            shared = {field.name: given.pop(field.name) for field in fields(session_class)}
            shared["db_dir"] = shared["db_dir"] or context.obj["db_dir"]
            shared["debug"] = shared["debug"] or context.obj["debug"]
            with reported(debug=shared["debug"], runs_user_code=runs_user_code):
                call(session_class(**shared), **given)

        parameters = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
        parameters += [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
        parameters += _options(session_class)
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        text = f"{_unwrapped(function.__doc__ or '')}\n\nExample:\n  {example}"
        app.command(name, help=text.replace("[", "\\["), rich_help_panel=panel, cls=Command)(run)
        return function

    return register


def _options(session_class: type[Session]) -> list[inspect.Parameter]:
    """Return the fields of a session as parameters, which typer makes options of."""
    hints = get_type_hints(session_class, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(session_class)
    ]


def _unwrapped(docstring: str) -> str:
    """Return a docstring with each paragraph on one line, so that it can be wrapped to the terminal's width."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in docstring.split("\n\n"))


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        from tablevault_like import __version__

        with reported(debug=False):
            write_line(f"tablevault_like {__version__}")
        raise typer.Exit


@app.callback(
    help="Versioned tables in a plain directory, built row by row, that survive every failure.\n\n"
    "Every command that changes something is a process: if it fails it is reverted, or with --process-id paused, and "
    f"the same command goes on with it. `tvl ps` shows what is under way.\n\n{_EXIT_CODES}"
)
def main_options(
    context: typer.Context,
    *,
    db_dir: DbDir = None,
    debug: Debug = False,
    allow_network: Annotated[
        bool,
        typer.Option(
            "--allow-network",
            help="Open a vault on a network file system. Only one machine may use it then.",
        ),
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Keep the options that stand before a command, for the command."""
    if allow_network:
        os.environ[networks.VARIABLE] = "1"  # for all that this command opens, and for workers in the background
    context.obj = {"db_dir": db_dir, "debug": debug}
