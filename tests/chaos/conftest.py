"""A vault with builders that behave well or badly, and rehearsals whose kills are aimed."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import psutil
import pytest

from tablevault_like import TableVault
from tablevault_like.chaos import programs, trials
from tablevault_like.chaos.points import Extent, Point, Target
from tablevault_like.chaos.report import ChaosReport

Make: TypeAlias = Callable[..., TableVault]
Rehearse: TypeAlias = Callable[..., ChaosReport]

INDEX = """
builder_type: IndexBuilder
changed_columns: [name]
python_function: names
code_module: work
is_custom: true
return_type: generator
"""
COLUMN = """
builder_type: ColumnBuilder
changed_columns: [{name}]
python_function: {name}
code_module: work
is_custom: true
return_type: {return_type}
arguments: {{{arguments}}}
"""
NAMES = """
from pathlib import Path

def names():
    yield from (f"name {number}" for number in range(50))
"""


def column(name: str, *arguments: str, return_type: str = "row-wise", more: str = "") -> str:
    """Return a ColumnBuilder that calls the function of its own name."""
    return COLUMN.format(name=name, return_type=return_type, arguments=", ".join(arguments)) + more


MARK = "TABLEVAULT_TEST_REHEARSAL"
"""A variable in the environment of whatever a test starts: it names its folder."""


def alive(tmp_path: Path) -> list[int]:
    """Return the programs of a test that are still running."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            is_ours = process.pid != os.getpid() and process.environ().get(MARK) == str(tmp_path)
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


@pytest.fixture(autouse=True)
def marked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let programs be found, and not be waited for."""
    monkeypatch.setenv(MARK, str(tmp_path))
    monkeypatch.setattr(programs, "GRACE_SECONDS", 0.1)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Return a folder outside of the vault."""
    folder = tmp_path / "outside"
    folder.mkdir()
    return folder


@pytest.fixture
def make(vault_dir: Path, outside: Path) -> Make:
    """Return what makes a vault with a table ``words``. ``OUTSIDE`` in its code is a folder outside of the vault."""

    def make(code: str, *, index: str = INDEX, **builders: str) -> TableVault:
        vault = TableVault(vault_dir, "ada", create=True)
        text = f"{NAMES}\nOUTSIDE = Path({str(outside)!r})\n{code}"
        vault.create_code_module("work", text=text)
        vault.create_table("words")
        vault.create_instance("words", builders={"words_index": index, **builders})
        return vault

    return make


@pytest.fixture
def rehearse(monkeypatch: pytest.MonkeyPatch) -> Rehearse:
    """Return what rehearses a table with one kill for each target, in as many trials, unless ``at_once``."""

    def rehearse(
        vault: TableVault, *targets: Target, table: str = "words", at_once: bool = False, **how: Any
    ) -> ChaosReport:
        class Aimed:
            def __init__(self, extent: Extent, seed: int) -> None:
                self._left = list(targets)

            def deaths(self, left: int) -> int:
                return left if at_once else 1

            def next(self, share: float) -> Target:
                return self._left.pop(0)

        monkeypatch.setattr(trials, "Targets", Aimed)
        return vault.chaos(table, **{"sample": 4, "kills": len(targets), "seed": 1, "progress": False, **how})

    return rehearse


def call(nth: int) -> Target:
    return Target(Point.CALL, nth=nth)


def returned(nth: int) -> Target:
    return Target(Point.RETURN, nth=nth)


def committed(nth: int) -> Target:
    return Target(Point.COMMIT, nth=nth)


def stage(name: str) -> Target:
    return Target(Point.PUBLISHING, stage=name)
