"""The command line as a whole: its help, its options, how it starts, ends and is interrupted."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import typer

from tablevault_like import TableVault, __version__
from tablevault_like.cli import app
from tablevault_like.cli.errors import MEANINGS
from tests.cli.conftest import CHECKOUT, Tvl

Shell: TypeAlias = Callable[..., subprocess.Popen[str]]

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
ARCHIVE = {"compress", "decompress", "delete-vault"}
READING = {
    *("artifact-folder", "diff", "errors", "export", "ls", "new-id", "ps", "query", "show", "trash", "tree", "wait"),
    *("chaos", "check", "history", "inspect", "plan", "quickcheck", "report", "why"),
}
HEAVY = {"dill", "lark", "numpy", "pandas", "pyarrow", "pydantic", "tenacity"}


def options(command: Any) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts if option.startswith("--")}


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} didn't appear"
        time.sleep(0.01)


def test_the_commands_are_those_that_are_promised() -> None:
    assert set(COMMANDS) == {
        "init",
        "migrate",
        "compress",
        "decompress",
        "delete-vault",
        "ps",
        "errors",
        "pause",
        "stop",
        "restart",
        "wait",
        "new-id",
        "artifact-folder",
        "trash",
        "prune",
        "check",
        "pin",
        "unpin",
        "diff",
        "query",
        "describe",
        "execute",
        "plan",
        "chaos",
        "why",
        "inspect",
        "quickcheck",
        "report",
        "history",
        "ls",
        "show",
        "tree",
        "create-table",
        "rename-table",
        "delete-table",
        "create-instance",
        "write-instance",
        "delete-instance",
        "export",
        "import",
        "create-builder-file",
        "delete-builder-file",
        "create-code-module",
        "delete-code-module",
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(tvl: Tvl, name: str) -> None:
    shown = " ".join(tvl(name, "--help").out.split())

    assert f"Example: tvl {name}" in shown
    assert shown.startswith(f"Usage: tvl {name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_the_common_options(name: str) -> None:
    found = options(COMMANDS[name])

    assert found >= {"--db-dir", "--json", "--debug"}
    if name not in READING | ARCHIVE | {"init", "migrate", "pause", "stop", "restart"}:
        assert found >= {"--process-id", "--parent-id", "--author", "--lock-timeout"}


def test_help_tells_every_exit_code(tvl: Tvl) -> None:
    shown = tvl("--help").out

    for code, meaning in MEANINGS.items():
        assert f"{code:>5}  {meaning}" in shown


def test_version(tvl: Tvl) -> None:
    assert tvl("--version").out == f"tablevault_like {__version__}\n"


def test_an_unknown_command_is_a_usage_error_with_the_nearest_name(tvl: Tvl) -> None:
    assert "create-table" in tvl("creat-table", code=2).err


@pytest.mark.parametrize(
    "arguments",
    [
        ["ps"],
        ["ps", "--json"],
        ["ls"],
        ["ls", "words"],
        ["quickcheck"],
        ["tree"],
        ["show", "--code", "tools"],
        ["create-table", "new"],
        ["delete-instance", "words", "TEMP_base"],
        ["delete-code-module", "tools", "--process-id", "p1", "--author", "bob"],
        ["pause", "nothing"],
        ["stop", "nothing"],
        ["wait", "nothing"],
        ["trash"],
        ["prune"],
        ["check"],
        ["describe", "words", "--description", "Words, loud and clear"],
        ["describe", "words", "TEMP_base"],
        ["artifact-folder", "words"],
        ["new-id"],
        ["restart"],
        ["init", "other"],
    ],
    ids=" ".join,
)
def test_commands_that_need_no_frame_load_nothing_heavy(vault: TableVault, folder: Path, arguments: list[str]) -> None:
    code = (
        "import atexit, sys; from tablevault_like.cli import main;"
        "atexit.register(lambda: print(*sys.modules, file=open('loaded', 'w'))); main()"
    )

    subprocess.run(
        [sys.executable, "-c", code, "--db-dir", "vault", *arguments],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
    )

    loaded = (folder / "loaded").read_text().split()
    assert "tablevault_like.cli.processes" in loaded
    assert HEAVY.isdisjoint(loaded)


def test_a_reader_who_left_ends_the_command_quietly(vault: TableVault, shell: Shell) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    started = shell("--db-dir", "vault", "ls", stdout=writing)
    os.close(writing)
    _, err = started.communicate(timeout=30)

    assert (started.returncode, err) == (141, "")


def test_a_narrow_terminal_cuts_no_id_off(vault: TableVault, folder: Path) -> None:
    process_id = vault.create_table("papers")
    parent, child = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "30", "NO_COLOR": "1", "TERM": "xterm"}
    command = [sys.executable, "-m", "tablevault_like", "ps", process_id]
    with subprocess.Popen(command, stdin=child, stdout=child, cwd=vault.db_dir, env=environment) as started:
        os.close(child)
        said = b""
        with suppress(OSError):  # the other end was closed
            while piece := os.read(parent, 1000):
                said += piece
    os.close(parent)

    assert started.returncode == 0
    assert process_id in re.sub(r"\s|\x1b\[[0-9;]*m", "", said.decode())


SIGNALS = [(signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "Terminated.")]


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS, ids=lambda each: getattr(each, "name", ""))
def test_a_signal_pauses_a_named_execution_and_the_printed_command_goes_on(
    vault: TableVault, folder: Path, shell: Shell, tvl: Tvl, number: int, code: int, word: str
) -> None:
    (folder / "wait bee").touch()
    started = shell("--db-dir", "vault", "execute", "words", "--process-id", "run")
    wait_for(folder / "waits")
    assert started.stderr is not None
    announced = started.stderr.readline()
    started.send_signal(number)
    wait_for(folder / "told")
    (folder / "wait bee").unlink()
    out, err = started.communicate(timeout=30)

    assert started.returncode == code, err
    assert err.splitlines()[0] == word
    assert "Process 'run' is paused: call again with the same `--process-id`" in err
    _, _, line = announced.strip().partition("To go on after an interruption: tvl ")
    assert line == "execute words --process-id run --db-dir vault"
    assert "cat" not in out

    said = tvl(*line.split())
    assert "shouting cat" in said.out
    assert "shouting ape" not in said.out


def test_a_signal_before_anything_has_begun_says_so(vault: TableVault, folder: Path, shell: Shell, tvl: Tvl) -> None:
    (folder / "fail bee").touch()
    tvl("execute", "words", "--db-dir=vault", "--process-id=run", code=10)
    started = shell("--db-dir", "vault", "execute", "words", "--process-id", "late", "--lock-timeout", "60")
    deadline = time.monotonic() + 30
    while "late" not in vault.get_active_processes():  # it waits for its locks
        assert time.monotonic() < deadline
        time.sleep(0.01)
    started.send_signal(signal.SIGINT)
    _, err = started.communicate(timeout=30)

    assert (started.returncode, err) == (130, "Interrupted.\nNothing had begun.\n")


def test_the_traceback_is_for_debug_only(tvl: Tvl, vault: TableVault) -> None:
    quiet = tvl("--db-dir", "vault", "ls", "nothing", code=3).err
    told = tvl("--db-dir", "vault", "--debug", "ls", "nothing", code=3).err

    assert quiet.count("\n") == 1
    assert "Traceback" in told
    assert told.endswith(quiet)
    assert tvl("--db-dir", "vault", "ls", "nothing", "--debug", code=3).err == told


def test_errors_print_nothing_on_stdout(tvl: Tvl, vault: TableVault) -> None:
    assert tvl("--db-dir", "vault", "ls", "nothing", "--json", code=3).out == ""


def test_stdout_holds_one_json_document_while_user_code_prints(vault: TableVault, shell: Shell) -> None:
    out, err = shell("--db-dir", "vault", "execute", "words", "--json").communicate(timeout=30)

    assert json.loads(out)["state"] == "COMPLETED"
    assert "shouting ape\na program says something\n" in err
