"""Names that were not synced are gone after a loss of power. What was built in such a folder is found all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.catalog import Database, tables
from tablevault_like.layout import Layout
from tablevault_like.storage import files
from tablevault_like.typing import Removed
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


def test_a_folder_that_was_renamed_by_somebody_who_died_is_synced_before_the_catalog_says_so(
    scene: LibraryScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.run("rename_table", "nightly", Fault("before tablevault_like.catalog.tables:settle_folder", Action.KILL))
    synced = list[Path]()
    settle = tables.settle_folder

    def settling(db: Database, table_id: int, folder: str) -> None:
        assert scene.vault_dir in synced
        settle(db, table_id, folder)

    monkeypatch.setattr(files, "sync_directory", synced.append)
    monkeypatch.setattr(tables, "settle_folder", settling)

    TableVault(scene.vault_dir, restart=True)

    assert synced
    states.assert_sound(scene.vault_dir)


def test_what_a_worker_has_left_in_the_place_of_an_instance_is_put_away_under_the_name_of_its_table(
    scene: LibraryScene,
) -> None:
    """Its process may never have been recorded, and so may the one that puts it away."""
    left = Layout(scene.vault_dir).table("words").temporary("draft").folder
    left.mkdir()

    scene.vault.create_instance("words", version="draft")

    (record,) = scene.vault.get_trash()
    assert (record.name, record.removed, record.table_name) == ("words-TEMP_draft", Removed.LEFTOVER, "words")


def test_a_half_written_description_is_not_left(vault_dir: Path) -> None:
    vault = TableVault(vault_dir, create=True)
    vault.create_table("words", description="loud ones")
    description = Layout(vault_dir).table("words").description
    draft = description.with_suffix(".yaml.new")
    draft.write_text("table: wo")

    TableVault(vault_dir, restart=True)

    assert "loud ones" in description.read_text()
    assert not draft.exists()
