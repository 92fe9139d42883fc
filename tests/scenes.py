"""What tests on copies of the library (``tests.library``) share: fixtures, and scenes in which workers meet."""

from __future__ import annotations

import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from tablevault_like import TableVault
from tablevault_like.layout import Layout
from tablevault_like.storage.row_reader import RowReader
from tests import library, tasks
from tests.workers import CALLS_VARIABLE, Fault, Worker, Workers

Calls: TypeAlias = Callable[[], Counter[str]]

HOT = bytes.fromhex("d9d505f920a163d7")
"""What a journal of SQLite begins with that has to be played back."""


@dataclass(frozen=True)
class Scene:
    """A vault in which several workers meet."""

    vault_dir: Path
    workers: Workers

    @property
    def vault(self) -> TableVault:
        """Return the vault, as one opens it who doesn't wait for locks."""
        return TableVault(self.vault_dir, "ada", lock_timeout=0.05)

    def recorded(self, process_id: str, builder: str) -> int:
        """Return how many rows of a builder a process has done and recorded."""
        with RowReader.open(Layout(self.vault_dir).process(process_id).rows) as store:
            return store.counts(builder).done


@dataclass(frozen=True)
class LibraryScene(Scene):
    """A copy of the library; ``made`` is the id of its materialized instance."""

    made: str

    def start(self, operation: str, process_id: str, *faults: Fault) -> Worker:
        """Start one of the library's attempts in a worker."""
        return self.workers.start(library.attempt, self.vault_dir, operation, self.made, process_id, faults=faults)

    def run(self, operation: str, process_id: str, *faults: Fault) -> Worker:
        """Make one of the library's attempts in a worker, and wait for its end."""
        worker = self.start(operation, process_id, *faults)
        worker.end()
        return worker


@pytest.fixture(scope="session")
def library_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the library that is copied for each test."""
    folder = tmp_path_factory.mktemp("library")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CALLS_VARIABLE, str(folder / "calls"))
        made = library.make(folder / "vault")
    (folder / "made").write_text(made)
    return folder


@pytest.fixture
def copy_dir(library_dir: Path, tmp_path: Path) -> Path:
    """Return a copy of the library."""
    return Path(shutil.copytree(library_dir / "vault", tmp_path / "vault"))


@pytest.fixture
def made(library_dir: Path) -> str:
    """Return the id of the library's materialized instance."""
    return (library_dir / "made").read_text()


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Return what counts the calls of user code, in whatever worker they were."""
    path = tmp_path / "calls"
    monkeypatch.setenv(CALLS_VARIABLE, str(path))
    return lambda: Counter(path.read_text().splitlines() if path.exists() else [])


@pytest.fixture
def workers(tmp_path: Path, calls: Calls) -> Iterator[Workers]:
    """Return what starts workers. None of them outlives the test."""
    found = Workers({CALLS_VARIABLE: str(tmp_path / "calls")})
    yield found
    found.dismiss()


def cut_off_a_commit(workers: Workers, rows: Path) -> None:
    """Leave a row store as a worker does that dies in the middle of a commit."""
    assert workers.run(tasks.die_inside_of_a_commit, rows).end() == -signal.SIGKILL
    assert rows.with_name(f"{rows.name}-journal").read_bytes().startswith(HOT)
