"""Stopping processes: what a stop does, and what becomes of it when the stopper itself is killed."""

from __future__ import annotations

import itertools
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tablevault_like import ProcessRecord, TableVault
from tablevault_like.errors import TVArgumentError, TVLockError, TVProcessError
from tablevault_like.model import State, StopIntent
from tablevault_like.process.journal import Journal
from tests import states, tasks
from tests.library import BY_NAME, Attempt
from tests.scenes import LibraryScene, cut_off_a_commit
from tests.workers import GROUND, Action, Fault, Worker, Workers, wait_until

ID = "nightly"


@dataclass(frozen=True)
class Left(LibraryScene):
    """A vault in which the process ``nightly`` was left with its worker dead, or paused."""

    attempt: Attempt

    def state(self) -> State:
        return self.vault.get_process(ID).state


def leave(workers: Workers, vault_dir: Path, made: str, operation: str, fault: Fault) -> Left:
    left = Left(vault_dir, workers, made, BY_NAME[operation])
    left.run(operation, ID, fault)
    return left


STOPS = [
    pytest.param("execute_instance", Fault("shout dog", Action.FAIL), True, id="keep a paused execution"),
    pytest.param("execute_instance", Fault("shout dog", Action.KILL), False, id="revert a dead execution"),
    pytest.param("create_instance", None, False, id="revert a dead create_instance"),
    pytest.param("create_builder_file", None, False, id="revert a dead create_builder_file"),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("operation", "fault", "materialize"), STOPS)
class TestAStopperThatIsKilled:
    def test_is_finished_by_whoever_comes_next(
        self,
        operation: str,
        fault: Fault | None,
        materialize: bool,
        copy_dir: Path,
        made: str,
        workers: Workers,
        is_full: bool,
    ) -> None:
        before = states.state(copy_dir)
        fault = fault or Fault(BY_NAME[operation].point("after", "execute"), Action.KILL)
        left = leave(workers, copy_dir, made, operation, fault)
        original = Path(shutil.copytree(copy_dir, copy_dir.with_name("original")))
        tasks.stop(copy_dir, ID, False, materialize)
        wanted = states.shape(copy_dir, known=made)
        seen = set[State]()
        others = itertools.cycle([stop_again, restart, need_its_locks, call_again])
        for number in itertools.count(1, 1 if is_full else 3):
            shutil.rmtree(copy_dir)
            shutil.copytree(original, copy_dir)
            if (
                workers.run(
                    tasks.stop, copy_dir, ID, False, materialize, faults=[Fault(GROUND, Action.KILL, number)]
                ).end()
                == 0
            ):
                break
            seen.add(left.state())
            if left.state() in (State.PAUSED, State.RUNNING):
                continue
            comes = next(others)
            comes(left, left.state())
            TableVault(copy_dir, restart=True)
            states.assert_sound(copy_dir)
            if comes in (call_again, need_its_locks):
                continue
            if left.state() is State.REVERTED:
                found = states.without_partial_frames(states.state(copy_dir))
                assert states.differences(found, before) == []
            else:
                found = states.without_trash(states.shape(copy_dir, known=made))
                assert states.differences(found, states.without_trash(wanted)) == []
        assert {State.STOPPING, State.MATERIALIZED if materialize else State.REVERTED} <= seen


def stop_again(left: Left, state: State) -> None:
    if state.has_ended:
        with pytest.raises(TVProcessError, match="has ended"):
            left.vault.stop_process(ID)
    else:
        # The newest wish counts, unless what was done is undone already.
        intent = left.vault.get_process(ID).stop_intent
        left.vault.stop_process(ID, materialize=intent is StopIntent.MATERIALIZE)


def restart(left: Left, state: State) -> None:
    intent = left.vault.get_process(ID).stop_intent
    outcomes = TableVault(left.vault_dir, restart=True).restarted
    if not state.has_ended:
        assert outcomes[ID].state is (State.MATERIALIZED if intent is StopIntent.MATERIALIZE else State.REVERTED)


def need_its_locks(left: Left, state: State) -> None:
    left.vault.delete_table("words")
    assert left.state().has_ended


def call_again(left: Left, state: State) -> None:
    left.attempt.call(left.vault, left.made, ID)
    assert left.vault.get_process_completion(ID)


class TestStopping:
    @pytest.fixture
    def left(self, copy_dir: Path, made: str, workers: Workers) -> Left:
        return leave(workers, copy_dir, made, "execute_instance", Fault("shout dog", Action.FAIL))

    def test_twice_says_that_it_has_ended(self, left: Left) -> None:
        left.vault.stop_process(ID)

        for force, materialize in itertools.product((False, True), repeat=2):
            with pytest.raises(TVProcessError, match=r"has ended \(reverted\)"):
                left.vault.stop_process(ID, force=force, materialize=materialize)

    def test_frees_the_id(self, left: Left) -> None:
        left.vault.stop_process(ID)

        left.vault.create_table("papers", process_id=ID)

        assert left.vault.get_process(ID).operation == "create_table"
        assert left.vault.get_process(ID).epoch > 2

    def test_keeps_only_what_can_be_kept_in_part(self, copy_dir: Path, made: str, workers: Workers) -> None:
        fault = Fault(BY_NAME["create_instance"].point("before", "execute"), Action.KILL)
        left = leave(workers, copy_dir, made, "create_instance", fault)

        with pytest.raises(TVArgumentError, match="can't be kept in part"):
            left.vault.stop_process(ID, materialize=True)

        assert (left.state(), left.vault.get_process(ID).epoch) == (State.RUNNING, 1)

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_reverts_what_has_not_kept_its_inputs(self, copy_dir: Path, made: str, workers: Workers, when: str) -> None:
        before = states.state(copy_dir)
        fault = Fault(BY_NAME["execute_instance"].point(when, "keep"), Action.KILL)
        left = leave(workers, copy_dir, made, "execute_instance", fault)
        assert left.state() is State.CREATED

        left.vault.stop_process(ID, materialize=True)

        assert left.state() is State.REVERTED
        found = states.without_partial_frames(states.state(copy_dir))
        assert states.differences(found, before) == []

    @pytest.mark.parametrize("materialize", [True, False], ids=["kept", "reverted"])
    def test_counts_the_rows_that_were_recorded_after_the_last_report(
        self, copy_dir: Path, made: str, workers: Workers, materialize: bool
    ) -> None:
        left, recorded = self.leave_unreported(copy_dir, made, workers, Worker.kill)
        assert left.vault.get_process(ID).rows_done == recorded

        left.vault.stop_process(ID, materialize=materialize)

        record = left.vault.get_process(ID)
        assert record.state is (State.MATERIALIZED if materialize else State.REVERTED)
        assert record.rows_done == recorded
        assert {step.name: step.rows_done for step in record.steps}["shout"] == recorded
        if materialize:
            assert left.vault.get_dataframe("words")["shout"].notna().sum() == recorded

    def test_by_force_counts_what_was_recorded_until_the_worker_ended(
        self, copy_dir: Path, made: str, workers: Workers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tablevault_like.process.workers._TERMINATE_SECONDS", 0.1)
        left, recorded = self.leave_unreported(copy_dir, made, workers, lambda worker: worker.signal(signal.SIGSTOP))

        left.vault.stop_process(ID, force=True, materialize=True)

        assert left.vault.get_process(ID).rows_done == recorded
        assert left.vault.get_dataframe("words")["shout"].notna().sum() == recorded

    def leave_unreported(
        self, copy_dir: Path, made: str, workers: Workers, end: Callable[[Worker], None]
    ) -> tuple[Left, int]:
        """Leave an execution whose last report of its rows is older than its last commit, and tell how many it has."""
        left = Left(copy_dir, workers, made, BY_NAME["execute_instance"])
        worker = left.start("execute_instance", ID, Fault("shout dog", Action.WAIT))
        worker.arrive()
        wait_until(lambda: left.recorded(ID, "shout") == 3)
        end(worker)
        with closing(sqlite3.connect(copy_dir / "metadata" / "catalog.sqlite")) as db, db:
            db.execute("UPDATE steps SET rows_done = 1 WHERE process_id = ? AND name = 'shout'", (ID,))
        return left, 3

    def test_keeps_what_is_done_of_a_worker_that_died_inside_of_a_commit(
        self, copy_dir: Path, made: str, workers: Workers
    ) -> None:
        """SQLite's journal has to be played back then, whatever it was that the worker had begun to commit."""
        left, recorded = self.leave_unreported(copy_dir, made, workers, Worker.kill)
        cut_off_a_commit(workers, copy_dir / "metadata" / "processes" / ID / "rows.sqlite")

        left.vault.stop_process(ID, materialize=True)

        assert left.vault.get_process(ID).rows_done == recorded
        assert left.vault.get_dataframe("words")["shout"].notna().sum() == recorded
        states.assert_sound(copy_dir)

    @pytest.mark.parametrize(("way", "state"), [("completes", State.COMPLETED), ("is stopped", State.REVERTED)])
    def test_by_force_of_what_ends_at_the_last_moment_says_so(
        self, copy_dir: Path, made: str, workers: Workers, monkeypatch: pytest.MonkeyPatch, way: str, state: State
    ) -> None:
        left = Left(copy_dir, workers, made, BY_NAME["execute_instance"])
        worker = left.start("execute_instance", ID, Fault("shout dog", Action.WAIT))
        worker.arrive()

        def late(journal: Journal, *arguments: Any) -> int:
            monkeypatch.undo()
            if way == "completes":
                worker.go()
                worker.result()
            else:
                worker.kill()
                left.vault.stop_process(ID)
            ended.append(left.vault.get_process(ID))
            return journal.begin_stop(*arguments)

        ended: list[ProcessRecord] = []
        monkeypatch.setattr(Journal, "begin_stop", late)
        with pytest.raises(TVProcessError, match=rf"ended by itself meanwhile \({state.lower()}\)"):
            left.vault.stop_process(ID, force=True)

        assert [left.vault.get_process(ID)] == ended
        assert left.state() is state
        states.assert_sound(copy_dir)

    @pytest.mark.parametrize("action", [Action.FAIL, Action.WAIT], ids=["paused", "running"])
    def test_by_force_leaves_alone_what_was_begun_anew_meanwhile(
        self, copy_dir: Path, made: str, workers: Workers, monkeypatch: pytest.MonkeyPatch, action: Action
    ) -> None:
        """Who comes first when the fenced worker is dead finishes the stop, and may use the id again at once."""
        left = Left(copy_dir, workers, made, BY_NAME["execute_instance"])
        worker = left.start("execute_instance", ID, Fault("shout dog", Action.WAIT))
        worker.arrive()
        begin_stop, others = Journal.begin_stop, list[Worker]()

        def fast(journal: Journal, process_id: str, intent: StopIntent) -> int:
            epoch = begin_stop(journal, process_id, intent)
            worker.kill()
            others.append(left.start("execute_instance", ID, Fault("shout eel", action)))
            if action is Action.WAIT:
                others[0].arrive()
            else:
                others[0].end()
            return epoch

        monkeypatch.setattr(Journal, "begin_stop", fast)
        assert left.vault.stop_process(ID, force=True) == ID

        if action is Action.WAIT:
            assert left.vault.get_process(ID).status == "running"
            others[0].go()
            others[0].result()
        else:
            assert left.vault.get_process(ID).status == "paused"
            left.run("execute_instance", ID)
        assert left.state() is State.COMPLETED
        states.assert_sound(copy_dir)

    def test_by_force_at_the_same_time_as_another_one_is_done_when_it_returns(
        self, copy_dir: Path, made: str, workers: Workers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        left = Left(copy_dir, workers, made, BY_NAME["execute_instance"])
        left.start("execute_instance", ID, Fault("shout dog", Action.WAIT)).arrive()
        begin_stop = Journal.begin_stop

        def twice(journal: Journal, process_id: str, intent: StopIntent) -> int:
            epoch = begin_stop(journal, process_id, intent)
            begin_stop(journal, process_id, intent)
            return epoch

        monkeypatch.setattr(Journal, "begin_stop", twice)
        left.vault.stop_process(ID, force=True)

        assert left.state() is State.REVERTED
        states.assert_sound(copy_dir)

    def test_keeps_what_was_reported_where_the_rows_can_not_be_counted(self, left: Left) -> None:
        rows = left.vault_dir / "metadata" / "processes" / ID / "rows.sqlite"
        reported = left.vault.get_process(ID).rows_done
        rows.write_bytes(b"no database")

        left.vault.stop_process(ID)

        record = left.vault.get_process(ID)
        assert (record.state, record.rows_done) == (State.REVERTED, reported)

    def test_that_can_not_keep_what_is_done_holds_up_nobody_with_its_own_error(self, left: Left) -> None:
        pinned = left.vault_dir / "metadata" / "processes" / ID / "pinned"
        pinned.rename(pinned.with_suffix(".away"))
        with pytest.raises(OSError, match=r"plan\.json"):
            left.vault.stop_process(ID, materialize=True)
        assert left.state() is State.STOPPING

        with pytest.raises(TVLockError, match=f"held by process {ID!r}") as caught:
            left.vault.delete_table("words")
        assert caught.value.holder == ID
        assert "plan.json" in str(TableVault(left.vault_dir, restart=True).restarted[ID])

        left.vault.stop_process(ID)
        assert left.state() is State.REVERTED
        states.assert_sound(left.vault_dir)
