"""Fixtures for tests on copies of the library (``tests.library``), with workers that can be killed."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests import library
from tests.workers import CALLS_VARIABLE, Workers

Calls: TypeAlias = Callable[[], Counter[str]]


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
