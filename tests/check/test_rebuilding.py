"""A catalog that is lost is made anew from the files of the vault; nothing that was computed is lost with it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.check import Finding, Kind, Rebuilt, rebuild_catalog
from tablevault_like.errors import TVArgumentError, TVFileError, TVProcessError
from tests import library, states
from tests.check.conftest import change, check, overwrite
from tests.scenes import Calls, LibraryScene
from tests.workers import GROUND, Action, Fault, Workers

CATALOG = "metadata/catalog.sqlite"
FORGOTTEN = {"number", "process_id", "created_at", "materialized_at", "deactivated_by", "table_id", "instance", "sum"}
"""What a rebuilt catalog may have otherwise: numbers, times and checksums of its own."""


def lose(vault_dir: Path) -> None:
    for path in (vault_dir / "metadata").glob("catalog.sqlite*"):
        path.unlink()


def rows(vault_dir: Path) -> dict[str, list[dict[str, Any]]]:
    """Return what a catalog says, without what a rebuild may change."""
    found = states.state(vault_dir)["rows"]
    return {
        kind: [{key: value for key, value in row.items() if key not in FORGOTTEN} for row in each]
        for kind, each in found.items()
        if kind in ("vault", "tables", "instances", "columns", "lineage", "locks", "waiters")
    }


def lost_and_rebuilt(vault_dir: Path) -> Rebuilt:
    lose(vault_dir)
    return rebuild_catalog(vault_dir, author="ada")


class TestWhatComesBack:
    @pytest.fixture
    def vault(self, copy_dir: Path, made: str, calls: Calls) -> TableVault:
        """Return a vault with all that a catalog can know."""
        vault = TableVault(copy_dir, "ada")
        vault.set_description("all of it")
        vault.set_description("words, loud and clear", "words")
        vault.create_table("many", allow_multiple_artifacts=True, description="of everything")
        vault.write_instance(library.scores(), "scores", dependencies=[("words", made)])
        vault.execute_instance("words")
        vault.pin("words", made)
        vault.rename_table("terms", "words")
        vault.create_instance("terms", "next", origin_id=made)
        return vault

    def test_is_all_that_there_was(self, vault: TableVault, copy_dir: Path) -> None:
        before, files = rows(copy_dir), states.state(copy_dir)["files"]

        rebuilt = lost_and_rebuilt(copy_dir)

        assert states.differences(rows(copy_dir), before) == []
        assert states.state(copy_dir)["files"] == files
        assert (rebuilt.tables, rebuilt.instances, rebuilt.processes) == (3, 4, ())
        assert list(rebuilt.report) == []
        states.assert_sound(copy_dir)

    def test_reads_as_before(self, vault: TableVault, copy_dir: Path) -> None:
        before = {name: vault.get_dataframe(name) for name in ("terms", "scores")}

        lost_and_rebuilt(copy_dir)

        again = TableVault(copy_dir)
        for name, frame in before.items():
            pd.testing.assert_frame_equal(again.get_dataframe(name), frame)

    def test_can_be_worked_with(self, vault: TableVault, copy_dir: Path) -> None:
        lost_and_rebuilt(copy_dir)

        again = TableVault(copy_dir, "bob")
        again.execute_instance("terms", "next")
        again.delete_table("many")
        assert len(again.get_table_instances("terms")) == 3
        assert list(check(copy_dir)) == []

    def test_knows_what_was_active(self, vault: TableVault, copy_dir: Path, made: str) -> None:
        """Of a table with side effects it is the newest."""
        lost_and_rebuilt(copy_dir)

        active = [TableVault(copy_dir).get_descriptions(each, "terms")["active"] for each in _instances(copy_dir)]
        assert active == [False, True]

    def test_finds_a_completed_call_done(self, copy_dir: Path, calls: Calls) -> None:
        TableVault(copy_dir).execute_instance("words", process_id="mine")
        before = calls().total()

        lost_and_rebuilt(copy_dir)

        assert TableVault(copy_dir).execute_instance("words", process_id="mine") == "mine"
        assert calls().total() == before

    def test_a_source_that_was_deleted_is_known_as_that(self, vault: TableVault, copy_dir: Path, made: str) -> None:
        vault.delete_instance(made, "terms")
        vault.delete_table("many")
        shutil.rmtree(copy_dir / "metadata/trash")

        rebuilt = lost_and_rebuilt(copy_dir)

        assert list(rebuilt.report) == []
        described = TableVault(copy_dir).get_descriptions(_instances(copy_dir, "scores")[-1], "scores")
        # Under the name that its table had at the time.
        assert described["dependencies"] == [["words", made]]

    def test_without_descriptions_it_is_guessed_and_told(self, copy_dir: Path) -> None:
        """As in a vault of an earlier release, or one of which somebody has removed them."""
        for path in copy_dir.rglob("description.yaml"):
            if "base_" not in str(path):
                path.unlink()

        rebuilt = lost_and_rebuilt(copy_dir)

        assert (rebuilt.tables, rebuilt.instances) == (2, 3)
        assert sum("The description of the table" in note for note in rebuilt.notes) == 2
        assert rebuilt.report.ok
        vault = TableVault(copy_dir)
        vault.write_instance(library.scores(), "scores")

    @pytest.mark.parametrize("text", ["", "[]", "{", "\xff"])
    def test_an_instance_without_a_manifest_is_left_out_and_told(self, copy_dir: Path, made: str, text: str) -> None:
        manifest = copy_dir / "words" / made / "manifest.json"
        overwrite(manifest, lambda raw: raw.__setitem__(slice(None), text.encode("latin-1")))

        rebuilt = lost_and_rebuilt(copy_dir)

        assert rebuilt.instances == 2
        assert any(f"words/{made} is left out" in note for note in rebuilt.notes)

    def test_two_folders_that_say_they_are_one_table_are_both_kept(self, copy_dir: Path) -> None:
        shutil.copytree(copy_dir / "scores", copy_dir / "scores~1")

        rebuilt = lost_and_rebuilt(copy_dir)

        assert TableVault(copy_dir).get_table_instances() == ["words", "scores", "scores-2"]
        assert any("There are two tables 'scores'" in note for note in rebuilt.notes)


def _instances(vault_dir: Path, table: str = "terms") -> list[str]:
    return TableVault(vault_dir).get_table_instances(table)


def is_in_trash(finding: Finding) -> bool:
    """Tell whether a finding is about the trash, of which nobody can tell any more how it came there."""
    return finding.where.startswith("metadata/trash/")


class TestUnfinishedProcesses:
    @pytest.mark.parametrize(
        "fault",
        [Fault("length", Action.KILL), Fault("shout dog", Action.FAIL), Fault("word 3", Action.INTERRUPT)],
        ids=str,
    )
    def test_go_on_under_their_ids_without_calling_a_recorded_row_again(
        self, scene: LibraryScene, calls: Calls, fault: Fault
    ) -> None:
        scene.run("execute_instance", "p1", fault)
        locks = states.state(scene.vault_dir)["rows"]["locks"]

        rebuilt = lost_and_rebuilt(scene.vault_dir)

        assert rebuilt.processes == ("p1",)
        assert states.state(scene.vault_dir)["rows"]["locks"] == locks
        assert scene.vault.get_process("p1").status == "paused"
        with pytest.raises(Exception, match="held by process 'p1'"):
            scene.vault.delete_table("words")
        scene.vault.execute_instance("words", process_id="p1")
        found = calls()
        # A source of which nobody knows that it has ended is asked for its last row once more.
        assert [name for name, count in found.items() if count > 1] in ([fault.point], ["word 5"], [])
        assert set(found) - {"struck"} == set(library.CALLS)
        assert sorted(scene.vault.get_dataframe("words")["shout"]) == sorted(word.upper() for word in library.WORDS)
        assert list(check(scene.vault_dir)) == []

    def test_that_nobody_named_are_paused_so_that_nobody_reverts_them(self, scene: LibraryScene, calls: Calls) -> None:
        scene.workers.run(execute, scene.vault_dir, faults=[Fault("length", Action.KILL)])
        (process_id,) = scene.vault.get_active_processes()

        lost_and_rebuilt(scene.vault_dir)

        assert scene.vault.get_process(process_id).status == "paused"
        assert list(check(scene.vault_dir, repair=True)) == []
        restarted = TableVault(scene.vault_dir, restart=True).restarted
        assert list(map(str, restarted.values())) == ["completed"]
        assert {name: count for name, count in calls().items() if count > 1} == {"length": 2}

    def test_of_tables_with_side_effects_can_still_be_reverted(self, scene: LibraryScene, made: str) -> None:
        scene.run("execute_instance", "p1", Fault("length", Action.FAIL))

        lost_and_rebuilt(scene.vault_dir)

        assert scene.vault.get_descriptions(made, "words")["active"] is False
        scene.vault.stop_process("p1")
        assert scene.vault.get_descriptions(made, "words")["active"] is True
        assert list(check(scene.vault_dir)) == []

    @pytest.mark.parametrize("materialize", [False, True])
    def test_can_be_stopped(self, scene: LibraryScene, materialize: bool) -> None:
        scene.run("execute_instance", "p1", Fault("length", Action.FAIL))

        lost_and_rebuilt(scene.vault_dir)
        scene.vault.stop_process("p1", materialize=materialize)

        assert len(_instances(scene.vault_dir, "words")) == 1 + materialize
        assert list(check(scene.vault_dir)) == []

    @pytest.mark.parametrize(
        "attempt", [each for each in library.ATTEMPTS if not each.is_at_once(is_named=True)], ids=str
    )
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_of_every_operation_go_on(
        self, scene: LibraryScene, library_dir: Path, attempt: library.Attempt, when: str, calls: Calls
    ) -> None:
        attempt.prepare(scene.vault_dir, library_dir)
        scene.run(attempt.operation, "p1", Fault(attempt.point(when, "execute"), Action.KILL))

        rebuilt = lost_and_rebuilt(scene.vault_dir)

        assert rebuilt.report.ok
        # What was placed as a whole counts as done; so it is found done, or goes on.
        attempt.call(scene.vault, scene.made, "p1")
        assert scene.vault.get_active_processes() == {}
        left = [each for each in check(scene.vault_dir, repair=True) if not is_in_trash(each)]
        assert [str(each) for each in left] == []

    def test_of_which_nobody_can_tell_what_they_are_are_set_aside(self, scene: LibraryScene) -> None:
        scene.run("execute_instance", "p1", Fault("length", Action.FAIL))
        (scene.vault_dir / "metadata/processes/p1/process.json").write_text("{}")

        rebuilt = lost_and_rebuilt(scene.vault_dir)

        assert rebuilt.processes == ()
        assert any("'p1' can't go on" in note for note in rebuilt.notes)
        assert rebuilt.kept is not None
        assert (scene.vault_dir / rebuilt.kept / "processes/p1/rows.sqlite").is_file()
        assert list(check(scene.vault_dir, repair=True)) == []
        assert TableVault(scene.vault_dir).prune(dry_run=False).going == ()


def execute(vault_dir: Path) -> str:
    return TableVault(vault_dir, "bob").execute_instance("words")


class TestWhatIsRefused:
    def test_while_a_worker_lives(self, scene: LibraryScene) -> None:
        worker = scene.start("execute_instance", "p1", Fault("shout dog", Action.WAIT))
        worker.arrive()
        before = (scene.vault_dir / CATALOG).stat().st_ino

        with pytest.raises(TVProcessError, match="A living worker is at process 'p1'"):
            rebuild_catalog(scene.vault_dir, force=True)

        assert (scene.vault_dir / CATALOG).stat().st_ino == before
        worker.go()
        assert worker.result() == "p1"

    def test_a_sound_catalog(self, copy_dir: Path) -> None:
        with pytest.raises(TVArgumentError, match="is sound, so it was not rebuilt"):
            rebuild_catalog(copy_dir)

    def test_a_catalog_of_a_newer_release_is_no_reason(self, copy_dir: Path) -> None:
        with closing(sqlite3.connect(copy_dir / CATALOG)) as connection:
            connection.execute("PRAGMA user_version = 99")

        with pytest.raises(TVFileError, match="Install the newer release"):
            rebuild_catalog(copy_dir)

    def test_what_is_no_vault(self, tmp_path: Path) -> None:
        with pytest.raises(TVArgumentError, match="is not a vault"):
            rebuild_catalog(tmp_path)


class TestTheOldCatalog:
    def test_is_kept(self, copy_dir: Path) -> None:
        overwrite(copy_dir / CATALOG, lambda raw: raw.__setitem__(slice(0, 100), bytes(100)))
        old = (copy_dir / CATALOG).read_bytes()

        rebuilt = rebuild_catalog(copy_dir)

        assert rebuilt.kept is not None
        assert rebuilt.kept.startswith("metadata/trash/catalog-")
        assert (copy_dir / rebuilt.kept / "catalog.sqlite").read_bytes() == old
        assert list(rebuilt.report) == []

    def test_is_kept_a_second_time_beside_the_first(self, copy_dir: Path) -> None:
        one, other = (rebuild_catalog(copy_dir, force=True).kept for _ in range(2))

        assert one != other
        assert list(check(copy_dir)) == []

    @pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")])
    def test_may_be_anything(self, copy_dir: Path, make: Callable[[Path], None]) -> None:
        lose(copy_dir)
        make(copy_dir / CATALOG)

        assert list(rebuild_catalog(copy_dir).report) == []

    def test_leaves_no_journal_to_be_rolled_back_into_the_new_one(self, copy_dir: Path) -> None:
        with closing(sqlite3.connect(copy_dir / CATALOG, isolation_level=None)) as connection:
            connection.execute("PRAGMA cache_size = 1")
            connection.execute("BEGIN")
            connection.execute("UPDATE processes SET author = hex(zeroblob(4000))")
            shutil.copy(copy_dir / f"{CATALOG}-journal", copy_dir.parent / "hot")
            connection.execute("ROLLBACK")
        overwrite(copy_dir / CATALOG, lambda raw: raw.__setitem__(slice(0, 16), bytes(16)))
        shutil.copy(copy_dir.parent / "hot", copy_dir / f"{CATALOG}-journal")

        rebuilt = rebuild_catalog(copy_dir, force=True)

        assert list(rebuilt.report) == []
        assert rebuilt.kept is not None
        assert TableVault(copy_dir).get_table_instances() == ["words", "scores"]

    def test_can_t_be_written_any_more_by_who_has_it_open(self, copy_dir: Path) -> None:
        vault = TableVault(copy_dir)
        vault.create_table("before")

        rebuild_catalog(copy_dir, force=True)

        with pytest.raises(TVFileError, match=r"another took its place.*Open the vault anew"):
            vault.create_table("after")
        assert TableVault(copy_dir).get_table_instances() == ["words", "scores", "before"]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("is_there", [True, False], ids=["damaged", "lost"])
def test_a_rebuild_that_is_killed_leaves_the_old_state_or_the_new_one(
    scene: LibraryScene, workers: Workers, tmp_path: Path, is_full: bool, is_there: bool
) -> None:
    scene.run("execute_instance", "p1", Fault("length", Action.FAIL))
    if is_there:
        change(scene.vault_dir / CATALOG, "UPDATE tables SET name = '..' WHERE name = 'scores'")
        old = (scene.vault_dir / CATALOG).read_bytes()
    else:
        lose(scene.vault_dir)
    nth, seen = 1, set[str]()
    while True:
        copied = Path(shutil.copytree(scene.vault_dir, tmp_path / f"killed {nth}", symlinks=True))
        worker = workers.run(rebuild, copied, faults=[Fault(GROUND, Action.KILL, nth)])
        if is_there and (copied / CATALOG).read_bytes() == old:
            seen.add("old")
        elif (copied / CATALOG).exists():
            seen.add("new")
        else:
            assert not is_there
        if "new" not in seen:
            rebuild(copied)
        report = check(copied, repair=True)
        assert [str(each) for each in report if each.kind is not Kind.UNKNOWN] == [], nth
        assert TableVault(copied).get_process("p1").status == "paused"
        if worker.end() == 0:
            break
        shutil.rmtree(copied)
        nth += 1 if is_full else 3
    assert seen >= {"new"} | ({"old"} if is_there else set())


def rebuild(vault_dir: Path) -> list[str]:
    return list(map(str, rebuild_catalog(vault_dir).report))
