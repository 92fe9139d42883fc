"""What typer is spared changes nothing of what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer.testing import CliRunner

from tablevault_like.cli.startup import Command, Group
from tablevault_like.model import OnChange

Given = list[tuple[object, ...]]


def invoke(*arguments: str) -> tuple[int, Given, str]:
    """Run a command that takes everything, and return its exit code, what it was given, and stderr."""
    given: Given = []
    app = typer.Typer(cls=Group)

    @app.callback()
    def main(before: str | None = None) -> None:
        given.append((before,))

    @app.command(cls=Command)
    def run(
        name: str,
        path: Annotated[Path | None, typer.Argument()] = None,
        *,
        seconds: Annotated[float, typer.Option(min=0)] = 5.0,
        choice: OnChange = OnChange.ERROR,
        each: list[str] | None = None,
        number: int | None = None,
        flag: bool = False,
    ) -> None:
        given.append((name, path, seconds, choice, each or None, number, flag))

    result = CliRunner().invoke(app, arguments)
    return result.exit_code, given, result.stderr


def test_defaults_are_what_they_are() -> None:
    assert invoke("run", "x") == (0, [(None,), ("x", None, 5.0, OnChange.ERROR, None, None, False)], "")


def test_what_is_given_has_the_type_that_was_declared() -> None:
    line = [
        "--before=b",
        "run",
        "7",
        "p",
        "--seconds=2",
        "--choice=keep",
        "--each=1",
        "--each=2",
        "--number=3",
        "--flag",
    ]

    code, given, _ = invoke(*line)

    assert (code, given) == (0, [("b",), ("7", Path("p"), 2.0, OnChange.KEEP, ["1", "2"], 3, True)])
    assert [type(each) for each in given[1]] == [str, type(Path()), float, OnChange, list, int, bool]


def test_what_does_not_fit_is_a_usage_error() -> None:
    for wrong in ("--seconds=-1", "--seconds=x", "--choice=x", "--number=1.5"):
        code, _, said = invoke("run", "x", wrong)

        assert code == 2
        assert wrong.split("=")[0] in said
    assert invoke("run")[0] == 2
