"""How commands fail: one message on stderr, a traceback only with ``--debug``, and an exit code that tells the kind."""

from __future__ import annotations

import sqlite3
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path

import typer

from tablevault_like.cli.output import ClosedOutput, note
from tablevault_like.cli.words import as_commands
from tablevault_like.errors import (
    TableReferenceError,
    TableVaultError,
    TVArgumentError,
    TVArtifactError,
    TVBuilderError,
    TVFileError,
    TVLockError,
    TVPausedError,
    TVProcessError,
    TVRowsError,
    TVTableError,
    TVTimeoutError,
)


class ExitCode(IntEnum):
    """What a command's exit code tells: ``MEANINGS`` says it in words."""

    DONE = 0
    DEFECT = 1
    USAGE = 2
    ARGUMENT = 3
    BUILDER = 4
    LOCK = 5
    PROCESS = 6
    VALUE = 7
    FILE = 8
    TIMEOUT = 9
    USER_CODE = 10
    INTERRUPTED = 130
    CLOSED_OUTPUT = 141
    TERMINATED = 143


MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.DEFECT: "a defect of tablevault_like; of `tvl check` and `tvl chaos`, that something is wrong",
    ExitCode.USAGE: "usage: an unknown command or option, or a missing one",
    ExitCode.ARGUMENT: "an argument: an unknown or forbidden name, no vault there",
    ExitCode.BUILDER: "a builder file, a reference in one, code that isn't Python",
    ExitCode.LOCK: "a lock that another process holds",
    ExitCode.PROCESS: "a process: it runs, has ended, or a restart failed",
    ExitCode.VALUE: "a value that doesn't fit its column, or an artifact its cell",
    ExitCode.FILE: "a file or the disk",
    ExitCode.TIMEOUT: "the process that was waited for is still at work",
    ExitCode.USER_CODE: "a builder's function raised",
    ExitCode.INTERRUPTED: "Ctrl-C",
    ExitCode.CLOSED_OUTPUT: "nobody reads the output any more",
    ExitCode.TERMINATED: "SIGTERM",
}
"""What `tvl --help` and the documentation say of each exit code."""

_CODES: dict[type[BaseException], ExitCode] = {
    TVArgumentError: ExitCode.ARGUMENT,
    TVBuilderError: ExitCode.BUILDER,
    TableReferenceError: ExitCode.BUILDER,
    TVLockError: ExitCode.LOCK,
    TVProcessError: ExitCode.PROCESS,
    TVPausedError: ExitCode.PROCESS,
    TVTimeoutError: ExitCode.TIMEOUT,
    TVRowsError: ExitCode.USER_CODE,
    TVTableError: ExitCode.VALUE,
    TVArtifactError: ExitCode.VALUE,
    TVFileError: ExitCode.FILE,
    KeyboardInterrupt: ExitCode.INTERRUPTED,
}


def exit_code(error: BaseException, *, runs_user_code: bool = False) -> ExitCode:
    """Return the exit code for what a command raised. ``runs_user_code``: a builder's function may have."""
    for kind in type(error).__mro__:
        if kind in _CODES:
            return _CODES[kind]
    if isinstance(error, SystemExit) and error.code == ExitCode.TERMINATED:
        return ExitCode.TERMINATED
    if runs_user_code:
        return ExitCode.USER_CODE
    return ExitCode.FILE if isinstance(error, OSError | sqlite3.Error) else ExitCode.DEFECT


@contextmanager
def reported(*, debug: bool, runs_user_code: bool = False) -> Iterator[None]:
    """Turn what the block raises into a message on stderr and ``typer.Exit`` with its exit code."""
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except ClosedOutput:
        raise typer.Exit(ExitCode.CLOSED_OUTPUT) from None
    except BaseException as error:  # noqa: BLE001 - a signal, or what a builder's function raised, ends a command as well
        code = exit_code(error, runs_user_code=runs_user_code)
        with suppress(ClosedOutput):
            _tell(error, code, debug=debug)
        raise typer.Exit(code) from None


def _tell(error: BaseException, code: ExitCode, *, debug: bool) -> None:
    if debug:
        note("".join(traceback.format_exception(error)).rstrip())
    heading, message = _message(error, code)
    note(message, heading=heading)
    for line in getattr(error, "__notes__", ()):
        note(as_commands(line))
    if code in (ExitCode.DEFECT, ExitCode.USER_CODE) and not debug:
        note("With --debug there is a traceback.")


def _message(error: BaseException, code: ExitCode) -> tuple[str, str]:
    """Return what to say of an error: a heading, and the rest."""
    if isinstance(error, TableVaultError):
        return "Error:", as_commands(str(error))
    if code is ExitCode.INTERRUPTED:
        return "Interrupted.", ""
    if code is ExitCode.TERMINATED:
        return "Terminated.", ""
    said = ": ".join(filter(None, (type(error).__qualname__, str(error))))
    if code is ExitCode.DEFECT:
        return "This is a defect of tablevault_like:", said + _place(error)
    return "Error:", said if code is ExitCode.FILE else said + _place(error)


def _place(error: BaseException) -> str:
    """Return where an exception was raised, if possible in code that is neither installed nor ours."""
    frames = traceback.extract_tb(error.__traceback__)
    found = next(
        (frame for frame in reversed(frames) if _is_of_the_user(frame.filename)), frames[-1] if frames else None
    )
    return "" if found is None else f" ({Path(found.filename).name}:{found.lineno}, in {found.name})"


def _is_of_the_user(filename: str) -> bool:
    installed = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    ours = Path(__file__).parents[1]
    return not any(Path(filename).is_relative_to(folder) for folder in (*installed, ours))
