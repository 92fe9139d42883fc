from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import typer

from tablevault_like import tv_errors
from tablevault_like.cli.errors import MEANINGS, ExitCode, exit_code, reported
from tablevault_like.cli.output import ClosedOutput

KINDS = {
    tv_errors.TVArgumentError: ExitCode.ARGUMENT,
    tv_errors.TVBuilderError: ExitCode.BUILDER,
    tv_errors.TableReferenceError: ExitCode.BUILDER,
    tv_errors.TVLockError: ExitCode.LOCK,
    tv_errors.TVProcessError: ExitCode.PROCESS,
    tv_errors.FencedError: ExitCode.PROCESS,
    tv_errors.TVPausedError: ExitCode.PROCESS,
    tv_errors.TVTimeoutError: ExitCode.TIMEOUT,
    tv_errors.TVRowsError: ExitCode.USER_CODE,
    tv_errors.TVTableError: ExitCode.VALUE,
    tv_errors.TVArtifactError: ExitCode.VALUE,
    tv_errors.TVFileError: ExitCode.FILE,
    tv_errors.TVCheckpointError: ExitCode.FILE,
}


@pytest.mark.parametrize("kind", [each for each in vars(tv_errors).values() if isinstance(each, type)])
def test_every_error_of_the_vault_has_an_exit_code(kind: type) -> None:
    if issubclass(kind, tv_errors.TableVaultError) and kind.__name__[0] != "_":
        expected = KINDS.get(kind, ExitCode.DEFECT)
        assert exit_code(kind("text")) is expected


def test_other_errors_are_told_apart() -> None:
    assert exit_code(KeyboardInterrupt()) is ExitCode.INTERRUPTED
    assert exit_code(SystemExit(143)) is ExitCode.TERMINATED
    assert exit_code(sqlite3.OperationalError()) is ExitCode.FILE
    assert exit_code(PermissionError()) is ExitCode.FILE
    assert exit_code(ZeroDivisionError()) is ExitCode.DEFECT


def test_what_user_code_may_have_raised_is_its_own() -> None:
    for error in (ZeroDivisionError(), PermissionError(), SystemExit(3), BrokenPipeError()):
        assert exit_code(error, runs_user_code=True) is ExitCode.USER_CODE
    assert exit_code(tv_errors.TVLockError("x"), runs_user_code=True) is ExitCode.LOCK
    assert exit_code(SystemExit(143), runs_user_code=True) is ExitCode.TERMINATED


def test_the_table_tells_every_code() -> None:
    assert list(MEANINGS) == list(ExitCode)


def test_the_documentation_has_the_same_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()

    for code, meaning in MEANINGS.items():
        assert f"\n| {code} | {meaning} |\n" in page


def report(error: BaseException, *, debug: bool = False, runs_user_code: bool = False) -> int:
    """Return the exit code of a block that raises ``error``."""
    with pytest.raises(typer.Exit) as caught, reported(debug=debug, runs_user_code=runs_user_code):
        raise error
    return int(caught.value.exit_code)


def test_a_message_speaks_the_commands_language(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(tv_errors.TVProcessError("It runs. Call stop_process('p1', force=True).")) == 6

    assert capsys.readouterr() == ("", "Error: It runs. Call `tvl stop p1 --force`.\n")


def test_notes_are_told_too(capsys: pytest.CaptureFixture[str]) -> None:
    error = KeyboardInterrupt()
    error.add_note("Process 'p1' is paused: call again with the same process_id to go on.")
    report(error)

    assert capsys.readouterr().err == (
        "Interrupted.\nProcess 'p1' is paused: call again with the same `--process-id` to go on.\n"
    )


def test_user_code_is_told_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    def shout() -> None:
        raise ValueError("too loud")

    with pytest.raises(typer.Exit) as caught, reported(debug=False, runs_user_code=True):
        shout()

    assert caught.value.exit_code == 10
    line = shout.__code__.co_firstlineno + 1
    assert capsys.readouterr().err == (
        f"Error: ValueError: too loud (test_errors.py:{line}, in shout)\nWith --debug there is a traceback.\n"
    )


def test_the_place_is_the_last_line_that_is_not_of_a_library(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    with pytest.raises(typer.Exit), reported(debug=False, runs_user_code=True):
        json.loads("{")

    assert "(test_errors.py:" in capsys.readouterr().err


def test_a_defect_asks_for_attention(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ZeroDivisionError()) == 1

    assert capsys.readouterr().err.startswith("This is a defect of tablevault_like: ZeroDivisionError (test_errors.py:")


def test_debug_shows_the_traceback_before_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    report(tv_errors.TVFileError("gone"), debug=True)

    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last):")
    assert said.endswith("Error: gone\n")


def test_usage_errors_and_exits_pass_through() -> None:
    for error in (typer.Exit(3), typer.BadParameter("x")):
        with pytest.raises(type(error)) as caught, reported(debug=False):
            raise error
        assert caught.value is error


def test_nothing_is_said_when_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ClosedOutput()) == 141

    assert capsys.readouterr() == ("", "")
