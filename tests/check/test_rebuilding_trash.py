"""What was deleted is known again when a lost catalog was made anew: it can be listed, pruned, or put back."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.check import Kind, rebuild_catalog
from tablevault_like.operations.trash import Removed, TrashRecord
from tests import library, states
from tests.check.conftest import check
from tests.check.test_rebuilding import lost_and_rebuilt
from tests.scenes import Calls

TRASH = "metadata/trash"


@pytest.fixture
def vault(copy_dir: Path, calls: Calls) -> TableVault:
    """Return a vault in which a table, and an instance of another, were deleted: the process ids tell which."""
    vault = TableVault(copy_dir, "ada")
    vault.write_instance(library.scores(), "scores")
    vault.set_description("all of them", "scores")
    (old,) = vault.get_table_instances("words")
    vault.execute_instance("words")
    vault.create_instance("words")
    vault.delete_instance(old, "words", process_id="the-instance")
    vault.delete_table("scores", process_id="the-table")
    return vault


def told(record: TrashRecord) -> tuple[object, ...]:
    """Return what is known of something in the trash, without who has deleted it and when."""
    return (
        *(record.name, record.removed, record.table_name, record.instance_id, record.description),
        *(record.instances, record.rows, record.process_id, record.size),
    )


def test_what_was_deleted_is_listed_as_before(vault: TableVault, copy_dir: Path) -> None:
    before = sorted(map(told, vault.get_trash()))
    assert {each[1] for each in before} == {Removed.TABLE, Removed.INSTANCE}

    rebuilt = lost_and_rebuilt(copy_dir)

    again = TableVault(copy_dir, "bob")
    assert sorted(map(told, again.get_trash())) == before
    assert [record.author for record in again.get_trash()] == ["ada", "ada"]
    assert list(rebuilt.report) == []
    assert "who has deleted what" in rebuilt.notes[-1]
    assert again.get_table_instances() == ["words"]
    states.assert_sound(copy_dir)


def test_it_can_be_pruned(vault: TableVault, copy_dir: Path) -> None:
    lost_and_rebuilt(copy_dir)

    TableVault(copy_dir, "bob").prune(dry_run=False)

    assert list((copy_dir / TRASH).iterdir()) == []
    assert list(check(copy_dir)) == []


def test_the_same_call_finds_it_done(vault: TableVault, copy_dir: Path) -> None:
    lost_and_rebuilt(copy_dir)

    assert TableVault(copy_dir).delete_table("scores", process_id="the-table") == "the-table"


def test_a_second_rebuild_tells_the_same(vault: TableVault, copy_dir: Path) -> None:
    before = sorted(map(told, vault.get_trash()))

    lost_and_rebuilt(copy_dir)
    lost_and_rebuilt(copy_dir)

    assert sorted(map(told, TableVault(copy_dir).get_trash())) == before


def test_another_table_of_that_name_is_another(vault: TableVault, copy_dir: Path) -> None:
    vault.create_table("scores")
    vault.create_instance("scores", external_edit=True)
    vault.write_instance(pd.DataFrame({"n": [1]}), "scores")
    vault.delete_table("scores", process_id="once-more")
    vault.create_table("scores", description="the third")

    rebuilt = lost_and_rebuilt(copy_dir)

    again = TableVault(copy_dir)
    assert again.get_descriptions(table_name="scores")["description"] == "the third"
    assert again.get_table_instances("scores") == []
    known = {record.process_id: record.description for record in again.get_trash()}
    assert (known["the-table"], known["once-more"]) == ("all of them", "")
    assert list(rebuilt.report) == []


def test_several_that_one_process_has_pruned_are_told_as_that(copy_dir: Path, calls: Calls) -> None:
    vault = TableVault(copy_dir, "ada")
    for _ in range(2):
        vault.execute_instance("words")
        vault.create_instance("words", copy=True)
    first, second, _ = vault.get_table_instances("words")
    for name in (first, second):
        vault.delete_instance(name, "words", process_id=f"delete-{name}")
        (copy_dir / TRASH / f"delete-{name}-{name}").rename(copy_dir / TRASH / f"nightly-{name}")

    lost_and_rebuilt(copy_dir)

    again = TableVault(copy_dir)
    assert {record.process_id for record in again.get_trash()} == {"nightly"}
    assert again.get_process("nightly").operation == "prune"


class TestPuttingBack:
    def test_a_table(self, vault: TableVault, copy_dir: Path) -> None:
        (copy_dir / TRASH / "the-table").rename(copy_dir / "scores")

        rebuilt = rebuild_catalog(copy_dir, force=True, author="ada")

        again = TableVault(copy_dir)
        pd.testing.assert_frame_equal(
            again.get_dataframe("scores"), library.scores(), check_dtype=False, check_column_type=False
        )
        assert rebuilt.report.ok
        assert [record.removed for record in again.get_trash() if record.removed is Removed.TABLE] == []

    def test_an_instance(self, vault: TableVault, copy_dir: Path, made: str) -> None:
        (copy_dir / TRASH / f"the-instance-{made}").rename(copy_dir / "words" / made)

        rebuilt = rebuild_catalog(copy_dir, force=True, author="ada")

        assert made in TableVault(copy_dir).get_table_instances("words")
        assert rebuilt.report.ok

    def test_a_copy_leaves_the_other_in_the_trash_and_is_there(
        self, vault: TableVault, copy_dir: Path, made: str
    ) -> None:
        import shutil

        shutil.copytree(copy_dir / TRASH / f"the-instance-{made}", copy_dir / "words" / made)

        rebuilt = rebuild_catalog(copy_dir, force=True, author="ada")

        assert made in TableVault(copy_dir).get_table_instances("words")
        assert rebuilt.report.ok


@pytest.mark.parametrize("text", ["", "[]", "{", '{"instance": 1}', "\xff"])
def test_what_can_t_be_told_stays_where_it_is(vault: TableVault, copy_dir: Path, made: str, text: str) -> None:
    manifest = copy_dir / TRASH / f"the-instance-{made}" / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_text(text, encoding="latin-1")

    rebuilt = lost_and_rebuilt(copy_dir)

    assert (copy_dir / TRASH / f"the-instance-{made}" / "table.parquet").exists()
    assert rebuilt.report.ok
    assert "the-instance" not in {record.process_id for record in TableVault(copy_dir).get_trash()}


def test_what_somebody_has_put_there_is_nobody_s(vault: TableVault, copy_dir: Path) -> None:
    (copy_dir / TRASH / "mine").mkdir()
    (copy_dir / TRASH / "mine" / "notes.txt").touch()

    rebuilt = lost_and_rebuilt(copy_dir)

    assert [(each.kind, each.where) for each in rebuilt.report] == [(Kind.UNKNOWN, f"{TRASH}/mine")]
