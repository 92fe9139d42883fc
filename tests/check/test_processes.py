"""Processes that don't go on by themselves are told with what to do; repair ends those that are nobody's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.check import Kind, Severity
from tablevault_like.model import State
from tests import library, states, tasks
from tests.check.conftest import change, check, flip, overwrite, the_one
from tests.scenes import Calls, LibraryScene, cut_off_a_commit
from tests.workers import Action, Fault, Workers

ENDINGS = "tablevault_like.process.endings:Endings"
KEEP = "tablevault_like.operations.execute:ExecuteInstance.keep"


def folder(process_id: str) -> str:
    return f"metadata/processes/{process_id}"


def killed_without_a_name(scene: LibraryScene, point: str = "shout dog") -> str:
    """Leave an execution that nobody named as its worker leaves it that is killed."""
    scene.workers.run(execute, scene.vault_dir, faults=[Fault(point, Action.KILL)])
    (process_id,) = scene.vault.get_active_processes()
    return process_id


def execute(vault_dir: Path) -> str:
    return TableVault(vault_dir, "bob").execute_instance("words")


class TestOneThatNobodyNamed:
    def test_is_stale_and_reverted_by_repair(self, scene: LibraryScene) -> None:
        process_id = killed_without_a_name(scene)

        found = the_one(check(scene.vault_dir), Kind.STALE, folder(process_id))
        assert (found.severity, found.table_name, found.process_id) == (Severity.NOTE, "words", process_id)
        assert f"stop_process('{process_id}')" in found.to_do

        report = check(scene.vault_dir, repair=True)
        assert (list(report), [each.mended for each in report.repaired]) == ([], ["It was reverted."])
        assert scene.vault.get_process(process_id).state is State.REVERTED

    def test_is_left_alone_without_repair(self, scene: LibraryScene) -> None:
        process_id = killed_without_a_name(scene)
        before = states.state(scene.vault_dir)

        check(scene.vault_dir)

        assert states.state(scene.vault_dir) == before
        assert scene.vault.get_process(process_id).status == "interrupted"


class TestOneThatWasNamed:
    def test_is_never_touched_by_repair(self, scene: LibraryScene, calls: Calls) -> None:
        scene.run("execute_instance", "p1", Fault("length", Action.KILL))

        assert list(check(scene.vault_dir, repair=True)) == []

        scene.vault.execute_instance("words", process_id="p1")
        assert [name for name, count in calls().items() if count > 1] == ["length"]

    def test_before_its_inputs_were_kept_is_reverted_by_repair(self, scene: LibraryScene) -> None:
        scene.run("execute_instance", "p1", Fault(f"before {KEEP}", Action.KILL))

        the_one(check(scene.vault_dir), Kind.STALE, folder("p1"))
        assert list(check(scene.vault_dir, repair=True)) == []
        assert scene.vault.get_process("p1").state is State.REVERTED

    def test_whose_stop_was_cut_short_is_finished_by_repair(self, scene: LibraryScene) -> None:
        scene.run("execute_instance", "p1", Fault("shout dog", Action.FAIL))
        scene.workers.run(tasks.stop, scene.vault_dir, "p1", faults=[Fault(f"before {ENDINGS}.revert", Action.KILL)])

        found = the_one(check(scene.vault_dir), Kind.UNFINISHED, folder("p1"))
        assert "while the process was stopping" in found.what
        assert list(check(scene.vault_dir, repair=True)) == []
        assert scene.vault.get_process("p1").state is State.REVERTED

    def test_for_which_others_wait_is_stuck(self, scene: LibraryScene) -> None:
        scene.run("execute_instance", "p1", Fault("shout dog", Action.FAIL))
        waiting = scene.workers.start(
            tasks.delete_words, scene.vault_dir, "p2", faults=[Fault(f"after {WAIT}", Action.WAIT, nth=2)]
        )
        waiting.arrive()

        report = check(scene.vault_dir)

        found = the_one(report, Kind.STUCK, folder("p1"))
        assert "It is paused, and holds locks that 'p2' waits for." in found.what
        assert (found.severity, report.ok) == (Severity.WARNING, False)

    def test_that_died_several_times_is_stuck(self, scene: LibraryScene) -> None:
        scene.run("execute_instance", "p1", Fault("word 0", Action.KILL))
        for _ in range(2):
            scene.workers.run(tasks.restart, scene.vault_dir, faults=[Fault("word 0", Action.KILL)])

        found = the_one(check(scene.vault_dir), Kind.STUCK, folder("p1"))

        assert "died 3 times in a row" in found.what


WAIT = "tablevault_like.process.start:Start._wait_in_queue"


def test_a_waiter_that_is_dead_is_forgotten_by_repair(scene: LibraryScene) -> None:
    scene.run("execute_instance", "p1", Fault("shout dog", Action.FAIL))
    waiting = scene.workers.start(
        tasks.delete_words, scene.vault_dir, "p2", faults=[Fault(f"after {WAIT}", Action.WAIT, nth=2)]
    )
    waiting.arrive()
    waiting.kill()

    the_one(check(scene.vault_dir), Kind.UNFINISHED, folder("p2"))
    assert list(check(scene.vault_dir, repair=True)) == []
    assert set(scene.vault.get_active_processes()) == {"p1"}


class TestTheCheckpointOfAPausedProcess:
    @pytest.fixture
    def process(self, scene: LibraryScene) -> Path:
        scene.run("execute_instance", "p1", Fault("length", Action.FAIL))
        return scene.vault_dir / folder("p1")

    def test_that_is_missing_as_a_whole_is_told(self, copy_dir: Path, process: Path) -> None:
        shutil.rmtree(process)

        found = the_one(check(copy_dir), Kind.CORRUPTION, folder("p1"))

        assert "what it has recorded is lost" in found.what
        assert "stop_process('p1', materialize=True)" in found.to_do

    @pytest.mark.parametrize("name", ["rows.sqlite", "pinned/plan.json", "pinned/1/builders/shout.yaml"])
    def test_of_which_a_file_is_missing_is_told(self, copy_dir: Path, process: Path, name: str) -> None:
        (process / name).unlink()

        assert f"{folder('p1')}/{name}" in [each.where for each in check(copy_dir) if each.kind is Kind.CORRUPTION]

    @pytest.mark.parametrize("name", ["rows.sqlite", "pinned/plan.json"])
    def test_of_which_a_file_was_cut_short_is_told(self, copy_dir: Path, process: Path, name: str) -> None:
        overwrite(process / name, lambda raw: raw.__delitem__(slice(len(raw) // 2, None)))

        assert f"{folder('p1')}/{name}" in [each.where for each in check(copy_dir) if each.kind is Kind.CORRUPTION]

    def test_that_is_from_another_time_is_told(self, copy_dir: Path, process: Path) -> None:
        change(process / "rows.sqlite", "UPDATE meta SET value = 99 WHERE key = 'epoch'")

        assert f"{folder('p1')}/rows.sqlite" in [each.where for each in check(copy_dir) if each.kind is Kind.CORRUPTION]

    def test_whose_worker_died_inside_of_a_commit_is_sound(
        self, copy_dir: Path, process: Path, workers: Workers
    ) -> None:
        cut_off_a_commit(workers, process / "rows.sqlite")

        assert [each for each in check(copy_dir) if each.severity is not Severity.NOTE] == []

    def test_whose_worker_died_inside_of_a_commit_is_looked_at_as_it_was_before(
        self, copy_dir: Path, process: Path, workers: Workers
    ) -> None:
        change(process / "rows.sqlite", "UPDATE rows SET value = '[\"odd\"]' WHERE row = 1")
        cut_off_a_commit(workers, process / "rows.sqlite")

        found = the_one(check(copy_dir), Kind.CORRUPTION, f"{folder('p1')}/rows.sqlite")

        assert found.what == "Row 1 of the builder 'words_index' isn't what was recorded."

    def test_that_is_damaged_doesn_t_break_the_check(self, copy_dir: Path, process: Path) -> None:
        whole = (process / "rows.sqlite").read_bytes()
        for position in range(0, len(whole), len(whole) // 40):
            flip(process / "rows.sqlite", position, position % 8)

            assert all(str(each) for each in check(copy_dir))
            (process / "rows.sqlite").write_bytes(whole)


def test_a_frame_that_was_to_be_written_and_is_damaged_is_told(scene: LibraryScene) -> None:
    point = "before tablevault_like.operations.write:WriteInstance.execute"
    scene.run("write_instance", "p1", Fault(point, Action.KILL))
    assert list(check(scene.vault_dir)) == []

    overwrite(scene.vault_dir / folder("p1") / "frame.parquet", lambda raw: raw.__delitem__(slice(20, None)))

    the_one(check(scene.vault_dir), Kind.CORRUPTION, f"{folder('p1')}/frame.parquet")


@pytest.mark.parametrize("attempt", [each for each in library.ATTEMPTS if not each.is_at_once(is_named=True)], ids=str)
def test_what_dies_at_any_time_of_its_work_can_be_checked(scene: LibraryScene, attempt: library.Attempt) -> None:
    scene.run(attempt.operation, "p1", Fault(attempt.point("after", "execute"), Action.KILL))

    assert check(scene.vault_dir).ok
