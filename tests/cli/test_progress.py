"""How far a run is, as people see it: while it runs, in another terminal, and after its worker was killed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tablevault_like import TableVault, displays
from tests.cli.conftest import Tvl
from tests.workers import PATIENCE, wait_until

RUN = ("execute", "words", "--db-dir=vault", "--process-id=run")
CLEAR = "\x1b[2J\x1b[H"

Shell = Callable[..., "subprocess.Popen[str]"]


class Terminal:
    """A pseudo terminal of 100 columns, and the one command that has it."""

    def __init__(self, shell: Shell, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        ends = {"stdin": slave, "stdout": slave, "stderr": slave}
        self.process = shell(
            *arguments, **ends, env={"TERM": "xterm-256color"}, start_new_session=True, preexec_fn=_own_terminal
        )
        os.close(slave)
        self._written = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def written(self) -> str:
        """All that was written to it by now, without colours."""
        return re.sub("\x1b\\[[0-9;]*m", "", self._written.decode(errors="replace"))

    @property
    def screen(self) -> str:
        """What was written since it was cleared."""
        return self.written.rpartition(CLEAR)[2]

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def end(self) -> int:
        """Wait for the end of the command and return its exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def close(self) -> None:
        self.process.kill()
        self.end()
        os.close(self._master)

    def _read(self) -> None:
        # Linux tells the end of a pseudo terminal by an error.
        try:
            while read := os.read(self._master, 65536):
                self._written += read
        except OSError:
            return


def _own_terminal() -> None:
    """Make the terminal the one whose Ctrl-C this process hears."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def terminal(shell: Shell) -> Iterator[Callable[..., Terminal]]:
    """Return what runs a command on a terminal of its own."""
    opened: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        opened.append(Terminal(shell, *arguments))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.fixture
def running(vault: TableVault, folder: Path, shell: Shell) -> Iterator[subprocess.Popen[str]]:
    """Return an execution that is in its second row, with the first one recorded."""
    (folder / "wait bee").touch()
    output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = shell(*RUN, "--no-progress", **output)
    try:
        wait_until((folder / "waits").exists)
        wait_until(lambda: vault.get_process("run").rows_done == 1)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("asked", [["--progress"], []], ids=["--progress", "by default"])
def test_lines_go_to_stderr_where_there_is_no_terminal(
    tvl: Tvl, vault: TableVault, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    monkeypatch.setattr(displays, "INTERVAL", 0.0)

    said = tvl(*RUN, *asked, "--json")

    assert "words/base: words_index: 3 of 3 rows\n" in said.err
    assert "words/base: shout: 3 of 3 rows\n" in said.err
    assert said.json["state"] == "COMPLETED"


def test_nothing_is_shown_where_that_is_said(tvl: Tvl, vault: TableVault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(displays, "INTERVAL", 0.0)

    said = tvl(*RUN, "--no-progress")

    assert "3 of 3" not in said.err
    assert "Materialized words/base_" in said.out


def test_bars_are_drawn_on_a_terminal_though_a_row_takes_long(
    vault: TableVault, folder: Path, terminal: Callable[..., Terminal]
) -> None:
    (folder / "wait bee").touch()
    found = terminal(*RUN)

    wait_until(lambda: re.search("words/base: shout +━.+ 1/3", found.written) is not None)
    (folder / "wait bee").unlink()

    assert found.end() == 0
    assert re.search("words/base: words_index +━+ 3/3", found.written)
    assert re.search("words/base: shout +━+ 3/3", found.written)
    assert "Materialized words/base_" in found.written


def test_no_bars_are_drawn_on_a_terminal_where_that_is_said(
    vault: TableVault, folder: Path, terminal: Callable[..., Terminal]
) -> None:
    (folder / "wait bee").touch()
    found = terminal(*RUN, "--no-progress")

    wait_until((folder / "waits").exists)
    threading.Event().wait(displays.PATIENCE + 0.3)
    (folder / "wait bee").unlink()

    assert found.end() == 0
    assert "━" not in found.written
    assert "Materialized words/base_" in found.written


class TestWatching:
    def test_a_process_from_other_terminals_shows_how_far_it_gets_and_disturbs_it_in_nothing(
        self, running: subprocess.Popen[str], folder: Path, terminal: Callable[..., Terminal]
    ) -> None:
        watching, other = (terminal("ps", "run", "--watch", "--db-dir=vault") for _ in range(2))
        for each in (watching, other):
            wait_until(lambda each=each: "to come" in each.screen)  # type: ignore[misc]
            assert "running" in each.screen
            assert "1 of 3" in each.screen

        other.type("\x03")  # Ctrl-C
        assert other.end() == 130
        assert "Traceback" not in other.written
        (folder / "wait bee").unlink()

        assert watching.end() == 0
        assert "completed" in watching.screen
        assert watching.written.count(CLEAR) >= 2
        assert running.wait(PATIENCE) == 0

    def test_goes_on_until_the_worker_is_killed_and_shows_how_far_it_got(
        self, running: subprocess.Popen[str], terminal: Callable[..., Terminal]
    ) -> None:
        one, every = terminal("ps", "run", "--watch", "--db-dir=vault"), terminal("ps", "--watch", "--db-dir=vault")
        for each in (one, every):
            wait_until(lambda each=each: "1 of 3" in each.screen)  # type: ignore[misc]
            assert each.process.poll() is None

        running.kill()

        for each in (one, every):
            assert each.end() == 0
            assert "interrupted" in each.screen
            assert "1 of 3" in each.screen
            assert "--process-id run" in each.screen

    def test_what_is_not_under_way_is_shown_once(self, vault: TableVault, terminal: Callable[..., Terminal]) -> None:
        watching = terminal("ps", "--watch", "--db-dir=vault")

        assert watching.end() == 0
        assert watching.screen.strip() == "No process is under way."
