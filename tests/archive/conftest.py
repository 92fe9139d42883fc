from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tablevault_like import TableVault, compress_vault
from tests.archive.tapes import Tape
from tests.scenes import Calls, calls, copy_dir, library_dir, made, workers
from tests.workers import Trouble

__all__ = ["calls", "copy_dir", "library_dir", "made", "workers"]


@pytest.fixture
def paused(copy_dir: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> TableVault:
    """Return a vault in which the process ``p`` is paused: it has made three of six pages."""
    pause(copy_dir, monkeypatch)
    return TableVault(copy_dir, "ada")


def pause(vault_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(point: str) -> None:
        if point == "page dog":
            raise Trouble("nobody answers")

    with monkeypatch.context() as patch, pytest.raises(Trouble):
        patch.setattr("tests.workers.pass_point", fail)
        TableVault(vault_dir, "ada").execute_instance("words", process_id="p")


@pytest.fixture(scope="session")
def sound(library_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the archive of a vault with a paused process, to be read only."""

    folder = tmp_path_factory.mktemp("archive")
    shutil.copytree(library_dir / "vault", folder / "vault")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TABLEVAULT_TEST_CALLS", str(folder / "calls"))
        pause(folder / "vault", patch)
    return compress_vault(folder / "vault", preset=0).path


@pytest.fixture
def tape(sound: Path) -> Tape:
    """Return the members of a sound archive, to be changed."""
    return Tape.read(sound)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return an empty folder, for an archive and what comes out of it."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"
