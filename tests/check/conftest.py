from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tablevault_like.check import CheckReport, Finding, Kind, check_vault, checking
from tablevault_like.layout import Layout
from tests.scenes import LibraryScene, calls, copy_dir, library_dir, made, workers
from tests.workers import Workers

__all__ = ["calls", "copy_dir", "library_dir", "made", "workers"]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait before each new look: in these tests nothing changes meanwhile."""
    monkeypatch.setattr(checking, "_PAUSES", (0.0, 0.0, 0.0))


@pytest.fixture
def scene(copy_dir: Path, workers: Workers, made: str) -> LibraryScene:
    return LibraryScene(copy_dir, workers, made)


@pytest.fixture
def instance(copy_dir: Path, made: str) -> Path:
    """Return the folder of the library's materialized instance."""
    return copy_dir / "words" / made


def check(
    vault_dir: Path, table_name: str | None = None, *, contents: bool = True, repair: bool = False
) -> CheckReport:
    return check_vault(Layout(vault_dir), table_name, contents=contents, repair=repair)


def the_one(report: CheckReport, kind: Kind, where: str) -> Finding:
    """Return the finding of a kind at a place, of which there must be one."""
    found = [each for each in report if (each.kind, each.where) == (kind, where)]
    assert len(found) == 1, list(map(str, report))
    return found[0]


def change(path: Path, sql: str, *parameters: object) -> None:
    """Change an SQLite file as no part of the vault would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert connection.execute(sql, parameters).rowcount != 0


def overwrite(path: Path, edit: Callable[[bytearray], object]) -> None:
    """Change the bytes of a file, read-only or not."""
    raw = bytearray(path.read_bytes())
    edit(raw)
    path.chmod(0o644)
    path.write_bytes(raw)


def flip(path: Path, position: int, bit: int = 0) -> None:
    """Flip one bit of a file."""

    def edit(raw: bytearray) -> None:
        raw[position % len(raw)] ^= 1 << bit

    overwrite(path, edit)
