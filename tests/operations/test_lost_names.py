"""Names that were not synced are gone after a loss of power. What was built in such a folder is found all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.layout import Layout
from tests import library, states
from tests.library import BY_NAME
from tests.scenes import LibraryScene
from tests.workers import Action, Fault, Workers


@pytest.fixture
def scene(copy_dir: Path, made: str, workers: Workers) -> LibraryScene:
    return LibraryScene(copy_dir, workers, made)


@pytest.mark.parametrize("operation", ["write_instance", "execute_instance"])
def test_a_staging_folder_that_is_gone_is_made_again_for_what_was_placed(scene: LibraryScene, operation: str) -> None:
    scene.run(operation, "nightly", Fault(BY_NAME[operation].point("after", "execute"), Action.KILL))
    staging = Layout(scene.vault_dir).process("nightly").staging
    for path in sorted(staging.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    staging.rmdir()

    library.attempt(scene.vault_dir, operation, scene.made, "nightly")

    assert scene.vault.get_process_completion("nightly")
    states.assert_sound(scene.vault_dir)


def test_the_folder_of_a_process_is_swept_although_its_worker_lock_is_gone(vault_dir: Path) -> None:
    vault = TableVault(vault_dir, create=True)
    left = Layout(vault_dir).process("gone")
    left.replaced.mkdir(parents=True)
    own = Layout(vault_dir).process("notes").folder
    own.mkdir()
    (own / "todo.txt").write_text("mine")

    TableVault(vault.db_dir, restart=True)

    assert not left.folder.exists()
    assert (own / "todo.txt").read_text() == "mine"


def test_a_half_written_description_is_not_left(vault_dir: Path) -> None:
    vault = TableVault(vault_dir, create=True)
    vault.create_table("words", description="loud ones")
    description = Layout(vault_dir).table("words").description
    draft = description.with_suffix(".yaml.new")
    draft.write_text("table: wo")

    TableVault(vault_dir, restart=True)

    assert "loud ones" in description.read_text()
    assert not draft.exists()
