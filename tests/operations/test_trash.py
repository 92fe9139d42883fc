"""What is deleted lies in the trash, tells what it was, and goes for good when it is pruned: all of it or nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tablevault_like import State, TableVault
from tablevault_like.errors import TVArgumentError, TVFileError, TVLockError
from tablevault_like.operations.pruning import Prune
from tablevault_like.operations.trash import Removed
from tablevault_like.storage import reach
from tests import states, tasks
from tests.workers import Action, Fault, Workers

PRUNE = "tablevault_like.operations.pruning:Prune"


@pytest.fixture
def vault(copy_dir: Path, made: str) -> TableVault:
    """Return the library, of which an instance and a table were deleted by ada."""
    vault = TableVault(copy_dir, "ada", lock_timeout=0.3)
    vault.set_description("the very first", "words", made)
    vault.delete_instance(made, "words", process_id="one")
    vault.delete_table("scores", process_id="two")
    return vault


def trash(vault: TableVault) -> list[str]:
    return sorted(path.name for path in (Path(vault.db_dir) / "metadata/trash").iterdir())


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class TestTheTrash:
    def test_tells_what_was_removed_by_whom_and_when(self, vault: TableVault, made: str) -> None:
        instance, table = vault.get_trash()

        assert (instance.removed, instance.table_name, instance.instance_id) == (Removed.INSTANCE, "words", made)
        assert (instance.description, instance.instances, instance.rows) == ("the very first", 1, 6)
        assert (instance.author, instance.process_id) == ("ada", "one")
        ended = vault.get_process("one").ended_at
        assert ended is not None
        assert abs(instance.removed_at - ended) < 1
        assert instance.size == size(Path(vault.db_dir, "metadata/trash", instance.name)) > 0
        assert (table.removed, table.table_name, table.instance_id) == (Removed.TABLE, "scores", None)
        assert (table.process_id, table.pruned_at) == ("two", None)

    def test_tells_of_a_table_under_its_last_name(self, vault: TableVault) -> None:
        vault.rename_table("terms", "words")
        vault.delete_table("terms", process_id="three")

        last = vault.get_trash()[-1]

        assert (last.removed, last.table_name, last.process_id) == (Removed.TABLE, "terms", "three")

    def test_tells_of_litter(self, vault: TableVault) -> None:
        litter = Path(vault.db_dir, "words", "TEMP_lost", "builders")
        litter.mkdir(parents=True)
        TableVault(vault.db_dir, restart=True)

        found = vault.get_trash()[-1]

        assert (found.removed, found.table_name, found.instance_id) == (Removed.LEFTOVER, "words", "TEMP_lost")
        assert (found.author, found.process_id) == (None, None)
        vault.prune(dry_run=False)
        assert trash(vault) == []

    def test_is_empty_where_there_is_none(self, vault: TableVault) -> None:
        vault.prune(dry_run=False)
        Path(vault.db_dir, "metadata/trash").rmdir()

        assert vault.get_trash() == []
        vault.prune(dry_run=False)

    def test_is_never_looked_for_behind_a_link(self, vault: TableVault, tmp_path: Path) -> None:
        place = Path(vault.db_dir, "metadata/trash")
        place.rename(tmp_path / "elsewhere")
        place.symlink_to(tmp_path / "elsewhere")

        with pytest.raises(TVFileError, match="is a link"):
            vault.prune(dry_run=False)
        assert len(list((tmp_path / "elsewhere").iterdir())) == 2


class TestPruning:
    def test_frees_what_was_deleted_and_keeps_what_is_known_of_it(self, vault: TableVault, made: str) -> None:
        before = vault.get_trash()

        process_id = vault.prune(dry_run=False).process_id
        assert process_id is not None

        assert (vault.get_trash(), trash(vault)) == ([], [])
        states.assert_sound(Path(vault.db_dir))
        after = vault.get_trash(include_pruned=True)
        assert [(each.name, each.instance_id, each.size) for each in after] == [
            (each.name, each.instance_id, each.size) for each in before
        ]
        assert {each.pruned_in for each in after} == {process_id}
        assert {each.pruned_by for each in after} == {"ada"}
        assert vault.get_process(process_id).ended_at is not None

    def test_keeps_what_is_younger_than_asked_for(self, vault: TableVault) -> None:
        vault.prune(older_than=3600, dry_run=False)
        assert len(trash(vault)) == 2
        with closing(sqlite3.connect(Path(vault.db_dir, "metadata/catalog.sqlite"))) as db, db:
            db.execute("UPDATE tables SET deleted_at = deleted_at - 7200")

        vault.prune(older_than=timedelta(hours=1), dry_run=False)

        assert [each.process_id for each in vault.get_trash()] == ["one"]
        vault.prune(older_than=0, dry_run=False)
        assert trash(vault) == []

    @pytest.mark.parametrize("name", ["mine.txt", "my folder", "words-notes", "TEMP_base", "one", "words-TEMP_base"])
    def test_leaves_what_is_not_ours(self, vault: TableVault, name: str) -> None:
        """Files of any name, and folders of a name that the vault doesn't give."""
        path = Path(vault.db_dir, "metadata/trash", name)
        if name in ("my folder", "words-notes", "TEMP_base"):
            path.mkdir()
        else:
            path.write_text("mine")

        found = next(each for each in vault.get_trash() if each.name == name)
        vault.prune(dry_run=False)

        assert (found.removed, found.author, found.table_name) == (Removed.UNKNOWN, None, None)
        assert trash(vault) == [name]

    def test_follows_no_link(self, vault: TableVault, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "a.txt").write_text("mine")
        name = vault.get_trash()[0].name
        (Path(vault.db_dir, "metadata/trash", name) / "link").symlink_to(tmp_path / "mine")
        Path(vault.db_dir, "metadata/trash", f"{name}~1").symlink_to(tmp_path / "mine")

        vault.prune(dry_run=False)

        assert (tmp_path / "mine" / "a.txt").read_text() == "mine"
        assert trash(vault) == [f"{name}~1"]

    @pytest.mark.parametrize("age", [-1, float("nan"), "30d", True, timedelta(days=-1)])
    def test_of_no_age_is_refused(self, vault: TableVault, age: object) -> None:
        with pytest.raises(TVArgumentError, match="older_than must be a number of seconds, 0 or more"):
            vault.prune(older_than=age, dry_run=False)  # type: ignore[arg-type]
        assert len(trash(vault)) == 2

    @pytest.mark.usefixtures("calls")
    def test_disturbs_nobody_who_reads_what_was_deleted(self, vault: TableVault) -> None:
        vault.execute_instance("words")
        batches = vault.iter_batches("words", batch_size=2)
        first = next(batches)
        vault.delete_table("words")
        vault.prune(dry_run=False)

        assert len(first) + sum(len(each) for each in batches) == 6


POINTS = [
    f"before {PRUNE}.execute",
    "before tablevault_like.operations.pruning:_set_aside",
    "after tablevault_like.operations.pruning:_set_aside",
    f"after {PRUNE}.execute",
    f"before {PRUNE}.publish",
    f"after {PRUNE}.publish",
]
COMMITTED = ["before tablevault_like.process.endings:Endings.finish", "before tablevault_like.storage.files:remove"]


class TestAnInterruptedPrune:
    @pytest.mark.parametrize("point", POINTS)
    def test_is_reverted_where_nobody_named_it(self, vault: TableVault, workers: Workers, point: str) -> None:
        before = states.state(Path(vault.db_dir))
        workers.run(tasks.prune, Path(vault.db_dir), "", faults=[Fault(point, Action.FAIL)])

        assert states.differences(states.state(Path(vault.db_dir)), before) == []
        assert len(vault.get_trash(include_pruned=True)) == 2

    @pytest.mark.parametrize("point", POINTS)
    @pytest.mark.parametrize("process_id", ["", "p"], ids=["unnamed", "named"])
    def test_is_continued_after_a_kill(self, vault: TableVault, workers: Workers, point: str, process_id: str) -> None:
        workers.run(tasks.prune, Path(vault.db_dir), process_id, faults=[Fault(point, Action.KILL)])
        assert sum(each.pruned_at is not None for each in vault.get_trash(include_pruned=True)) == 0

        restarted = TableVault(vault.db_dir, restart=True).restarted

        assert [outcome.state for outcome in restarted.values()] == [State.COMPLETED]
        assert trash(vault) == []
        found = vault.get_trash(include_pruned=True)
        assert [(each.process_id, each.removed) for each in found] == [
            ("one", Removed.INSTANCE),
            ("two", Removed.TABLE),
        ]
        states.assert_sound(Path(vault.db_dir))

    @pytest.mark.parametrize("point", POINTS)
    def test_gives_all_back_when_it_is_stopped(self, vault: TableVault, workers: Workers, point: str) -> None:
        before = states.state(Path(vault.db_dir))
        workers.run(tasks.prune, Path(vault.db_dir), "p", faults=[Fault(point, Action.KILL)])

        vault.stop_process("p")

        assert states.differences(states.state(Path(vault.db_dir)), before) == []

    def test_is_reverted_by_the_next_one(self, vault: TableVault, workers: Workers) -> None:
        fault = Fault(f"after {PRUNE}.execute", Action.KILL)
        workers.run(tasks.prune, Path(vault.db_dir), "", faults=[fault])
        assert trash(vault) == []

        vault.prune(dry_run=False)

        assert (trash(vault), len(vault.get_trash(include_pruned=True))) == ([], 2)
        states.assert_sound(Path(vault.db_dir))

    @pytest.mark.parametrize("point", COMMITTED)
    def test_is_swept_up_if_it_was_killed_after_its_commit(
        self, vault: TableVault, workers: Workers, point: str
    ) -> None:
        workers.run(tasks.prune, Path(vault.db_dir), "", faults=[Fault(point, Action.KILL)])
        assert len(vault.get_trash(include_pruned=True)) == 2

        TableVault(vault.db_dir, restart=True)

        states.assert_sound(Path(vault.db_dir))
        assert list(Path(vault.db_dir).glob("metadata/processes/*/staging")) == []

    def test_excludes_another_one(self, vault: TableVault, workers: Workers) -> None:
        fault = Fault(f"after {PRUNE}.execute", Action.WAIT)
        worker = workers.start(tasks.prune, Path(vault.db_dir), "p", faults=[fault])
        worker.arrive()

        with pytest.raises(TVLockError, match=r"trash \(exclusive\) is held by process 'p'"):
            vault.prune(dry_run=False)
        worker.go()
        worker.result()
        assert trash(vault) == []

    def test_what_the_disk_refuses_is_told_and_all_lies_where_it_was(
        self, vault: TableVault, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = states.state(Path(vault.db_dir))
        rename = reach.rename

        def refuse(source: Path, target: Path) -> None:
            if source.name == "two" and "staging" in str(target):
                raise PermissionError(13, "Permission denied")
            rename(source, target)

        monkeypatch.setattr(reach, "rename", refuse)

        with pytest.raises(TVFileError, match=r"trash/two can't be moved \(Permission denied\), so nothing was pruned"):
            vault.prune(dry_run=False)
        assert states.differences(states.state(Path(vault.db_dir)), before) == []


def test_only_what_is_there_is_recorded_as_pruned(vault: TableVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody empties the trash by hand meanwhile."""
    execute = Prune.execute

    def late(self: Prune, run: object) -> object:
        (Path(vault.db_dir) / "metadata/trash" / "two").rename(Path(vault.db_dir).parent / "taken")
        return execute(self, run)  # type: ignore[arg-type]

    monkeypatch.setattr(Prune, "execute", late)
    vault.prune(dry_run=False)

    assert [each.process_id for each in vault.get_trash(include_pruned=True)] == ["one"]
