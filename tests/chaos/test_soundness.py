"""Whatever a dead worker could leave in a vault is found."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.chaos.report import Harm
from tablevault_like.chaos.soundness import unsound
from tablevault_like.layout import Layout
from tests.chaos.conftest import Make, column


@pytest.fixture
def vault(make: Make) -> TableVault:
    vault = make(
        "def shout(name):\n    raise ValueError(name)\n", shout=column("shout", 'name: "<<self.name[index]>>"')
    )
    vault.delete_builder_file("shout", "words")
    vault.execute_instance("words", process_id="first")
    return vault


@pytest.fixture
def layout(vault: TableVault, vault_dir: Path) -> Layout:
    return Layout(vault_dir)


def test_a_vault_in_which_all_has_ended_is_sound(layout: Layout) -> None:
    assert unsound(layout) == []


def test_a_paused_process_and_its_locks(vault: TableVault, layout: Layout) -> None:
    vault.create_instance("words", builders={"shout": column("shout", 'name: "<<self.name[index]>>"')}, copy=True)
    with pytest.raises(ValueError, match="name 0"):
        vault.execute_instance("words", process_id="second")

    found = unsound(layout)

    assert {kind for kind, _ in found} == {Harm.LOCKS}
    assert any("'second' (execute_instance) is left paused" in line for _, line in found)
    assert "words/TEMP_base (exclusive)" in str(found), found


def test_litter(layout: Layout) -> None:
    table = layout.root / "words"
    (instance,) = (path.name for path in table.iterdir() if path.name.startswith("base_"))
    unknown = f"{instance[:-1]}{'0' if instance[-1] != '0' else '1'}"
    (table / unknown).mkdir()
    (table / "TEMP_old").mkdir()
    (layout.process("first").folder / "staging").mkdir()
    (layout.root / "draft").mkdir()

    found = unsound(layout)

    assert {kind for kind, _ in found} == {Harm.LITTER}
    assert sorted(line.partition(":")[0] for _, line in found) == sorted(
        ["draft", "metadata/processes/first", "words/TEMP_old", f"words/{unknown}"]
    )


def test_a_lock_that_nobody_holds_any_more(layout: Layout) -> None:
    with closing(sqlite3.connect(layout.catalog)) as db, db:
        db.execute(
            "INSERT INTO locks (process_id, resource, mode, claim_only, granted_at)"
            " VALUES ('first', 'words/', 'exclusive', 0, 1.0)"
        )

    assert any("'first', which has ended, holds a lock on words" in line for _, line in unsound(layout))


def test_a_catalog_that_is_damaged(layout: Layout) -> None:
    with closing(sqlite3.connect(layout.catalog)) as db, db:
        db.execute("UPDATE instances SET rows = rows + 1")

    assert any(line.startswith("metadata/catalog.sqlite: ") for _, line in unsound(layout))


def test_housekeeping_that_was_not_done(layout: Layout) -> None:
    (layout.root / "words" / "description.yaml").unlink()

    ((kind, line),) = unsound(layout)

    assert (kind, line) == (
        Harm.LITTER,
        "words/description.yaml: The copy of the table's description is missing.",
    )


def test_instances_that_are_not_what_they_were(layout: Layout) -> None:
    (instance,) = (layout.root / "words").glob("base_*")
    frame = instance / "table.parquet"
    frame.chmod(0o644)
    frame.write_bytes(b"other")
    (instance / "builders" / "words_index.yaml").unlink()
    (instance / "more").touch()

    lines = [line.partition(f"{instance.name}/")[2] for _, line in unsound(layout)]

    assert [line.partition(":")[0] for line in lines] == ["builders/words_index.yaml", "table.parquet", "more"]
    assert "missing" in lines[0]
    assert "5 bytes instead of" in lines[1]
    assert "its manifest doesn't have it" in lines[2]
