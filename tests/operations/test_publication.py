"""Taking back what was placed: only where something can have been placed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.storage import files
from tests import library, states
from tests.library import BY_NAME
from tests.scenes import Calls
from tests.workers import Action, Fault, Workers

EXECUTE = BY_NAME["execute_instance"]


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the folders whose files are made writable again, as they are."""
    found: list[Path] = []
    original = files.unprotect_tree

    def unprotect_tree(root: Path) -> None:
        found.append(root)
        original(root)

    monkeypatch.setattr(files, "unprotect_tree", unprotect_tree)
    return found


def test_an_execution_that_starts_walks_through_no_artifacts(
    copy_dir: Path, made: str, calls: Calls, walked: list[Path]
) -> None:
    folder = Path(TableVault(copy_dir).get_artifact_folder("words", "TEMP_base"))
    folder.mkdir(exist_ok=True)
    (folder / ".cover.txt").write_text("mine")

    EXECUTE.call(TableVault(copy_dir), made, "p")

    assert walked == []
    assert (Path(TableVault(copy_dir).get_artifact_folder("words", is_temp=False)) / ".cover.txt").read_text() == "mine"
    states.assert_sound(copy_dir)


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("after tablevault_like.storage.artifacts:keep_by_content", id="staged"),
        pytest.param("after tablevault_like.operations.publication:Publication.place", id="placed"),
    ],
)
def test_one_that_is_resumed_takes_back_what_it_had_made(
    copy_dir: Path, made: str, calls: Calls, workers: Workers, walked: list[Path], point: str
) -> None:
    fault = Fault(point, Action.KILL)
    workers.run(library.attempt, copy_dir, "execute_instance", made, "p", faults=[fault])

    EXECUTE.call(TableVault(copy_dir), made, "p")

    assert len(walked) == 1
    states.assert_sound(copy_dir)
