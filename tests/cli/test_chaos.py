"""``tvl chaos``: kills builders on a sample, and tells what came of it."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from tablevault_like import TableVault
from tests.chaos.conftest import MARK, alive
from tests.cli.conftest import CODE, Tvl

Shell: TypeAlias = Callable[..., subprocess.Popen[str]]

SMALL = ("--db-dir", "vault", "chaos", "words", "--kills", "1", "--sample", "1", "--yes")


def test_a_table_that_survives(vault: TableVault, tvl: Tvl) -> None:
    said = tvl("--db-dir", "vault", "chaos", "words", "--kills", "1", "--sample", "2", "--seed", "11", "--yes")

    first, *_ = said.out.splitlines()
    assert first == "words/base comes out the same: killed 1 time in 1 run over 2 rows (seed 11)"
    assert "BUILDER" in said.out
    assert "- What functions do elsewhere can't be seen" in said.out


def test_a_violation_has_an_exit_code_and_is_in_json(vault: TableVault, tvl: Tvl) -> None:
    Path("fail ape").touch()

    said = tvl("--db-dir", "vault", "chaos", "words", "--kills", "1", "--sample", "2", "--yes", "--json", code=1)

    assert (said.json["verdict"], said.json["is_sound"]) == ("undecided", False)
    (violation,) = said.json["violations"]
    assert violation["kind"] == "failed"
    assert "ConnectionError: nobody answers" in violation["what"]


def test_who_does_not_confirm_runs_nothing(vault: TableVault, tvl: Tvl) -> None:
    said = tvl("--db-dir", "vault", "chaos", "words", code=3)

    assert "really called, up to 12 times for each of 20 rows" in said.err
    assert "Nothing was run" in said.err


def test_what_is_kept_is_named(vault: TableVault, tvl: Tvl, folder: Path) -> None:
    said = tvl(*SMALL, "--keep", "--scratch", str(folder))

    (kept,) = folder.glob("tablevault-chaos-*")
    assert f"What was run is kept in {kept}." in said.out
    assert (kept / "trial-1" / "vault" / ".tablevault").exists()


def test_ctrl_c_leaves_nothing(vault: TableVault, shell: Shell, folder: Path) -> None:
    blocking = "from pathlib import Path\nimport threading\n" + CODE.replace(
        '"""Shout', 'Path("waits").touch(); threading.Event().wait()\n    """Shout'
    )
    vault.create_code_module("tools", text=blocking)
    running = shell("--db-dir", "vault", "chaos", "words", "--sample", "2", "--yes", env={MARK: str(folder)})
    deadline = time.monotonic() + 60
    while not Path("waits").exists():
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.01)

    running.send_signal(signal.SIGINT)

    running.communicate(timeout=60)
    assert running.returncode == 130
    assert alive(folder) == []
    assert list(folder.glob("tablevault-chaos-*")) == []
    assert list(folder.parent.glob("tablevault-chaos-*")) == []
