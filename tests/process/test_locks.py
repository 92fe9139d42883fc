"""Locks between real workers: who waits for whom, in which order, who is told what, and who is passed by."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVLockError
from tablevault_like.model import ProcessRecord, State
from tests import library, states, tasks
from tests.library import BY_NAME
from tests.scenes import LibraryScene
from tests.workers import Action, Fault, Trouble, Worker, Workers, wait_until

HOLDER = "holder"
EXECUTE = BY_NAME["execute_instance"]
REPLACE = BY_NAME["create_code_module"]


class Scene(LibraryScene):
    """A copy of the library, of which one worker holds locks that others wait for."""

    @property
    def active(self) -> dict[str, ProcessRecord]:
        return self.vault.get_active_processes()

    def hold(self, operation: str, point: str, process_id: str = HOLDER) -> Worker:
        """Start an operation in a worker that waits at a point, with its locks."""
        worker = self.start(operation, process_id, Fault(point, Action.WAIT))
        worker.arrive()
        if operation == "execute_instance":
            # What comes before the row that waits is recorded meanwhile.
            (found,) = self.active
            wait_until(lambda: self.recorded(found, "shout") == 3)
        return worker

    def queue(self, task: Callable[..., object], process_id: str) -> Worker:
        """Start a worker that has to wait for its locks, and return when it does."""
        worker = self.workers.start(task, self.vault_dir, process_id)
        wait_until(lambda: process_id in self.active)
        return worker


@pytest.fixture
def scene(copy_dir: Path, made: str, workers: Workers) -> Scene:
    return Scene(copy_dir, workers, made)


class TestWhoWaits:
    @pytest.fixture
    def holder(self, scene: Scene) -> Worker:
        return scene.hold("execute_instance", "shout dog")

    def test_gets_the_lock_when_the_holder_has_ended(self, scene: Scene, holder: Worker) -> None:
        waiter = scene.queue(tasks.delete_words, "waiter")

        holder.go()

        assert holder.result() == HOLDER
        assert waiter.result() == "waiter"
        assert scene.vault.get_table_instances() == ["scores"]
        states.assert_sound(scene.vault_dir)

    def test_gets_the_lock_when_the_holder_is_killed_and_nobody_named_it(self, scene: Scene) -> None:
        holder = scene.hold("execute_instance", "shout dog", process_id="")
        waiter = scene.queue(tasks.delete_words, "waiter")

        holder.kill()

        assert waiter.result() == "waiter"
        states.assert_sound(scene.vault_dir)

    def test_gets_the_lock_when_the_holder_is_stopped(self, scene: Scene, holder: Worker) -> None:
        holder.kill()
        waiter = scene.queue(tasks.delete_words, "waiter")

        scene.vault.stop_process(HOLDER)

        assert waiter.result() == "waiter"
        states.assert_sound(scene.vault_dir)

    def test_is_shown_with_what_it_waits_for_and_who_blocks_it(self, scene: Scene, holder: Worker) -> None:
        waiter = scene.queue(tasks.delete_words, "waiter")

        record = scene.active["waiter"]

        assert (record.operation, record.author, record.state) == ("delete_table", "bob", State.CREATED)
        assert (record.is_alive, record.is_named, record.pid) == (True, True, waiter.pid)
        assert record.arguments == {"table_name": "words"}
        assert record.waits_for == ("words (exclusive)",)
        assert record.blocked_by == (HOLDER,)
        assert record.locks == ()
        assert record.next_steps == "It waits for 'holder'."
        assert scene.vault.get_process("waiter") == record
        assert list(scene.active) == [HOLDER, "waiter"]

    def test_is_told_in_the_end_who_holds_it_and_what_can_be_done(self, scene: Scene, holder: Worker) -> None:
        with pytest.raises(TVLockError) as caught:
            scene.vault.delete_table("words")

        error = caught.value
        assert (error.holder, error.resource) == (HOLDER, "words/TEMP_base")
        assert re.fullmatch(
            r"delete_table needs a lock that is held, and gave up after 0\.05 s: words/TEMP_base \(exclusive\) is held "
            rf"by process 'holder' \(execute_instance by bob, running, . of 6 rows done, on \S+, pid {holder.pid}, "
            r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\)\. Wait and call again \(lock_timeout= waits longer\), resume the "
            r"holder with its process_id, or stop it with stop_process\('holder', force=True\)\.",
            str(error),
        )
        assert isinstance(error, TimeoutError)

    def test_leaves_nothing_behind_when_it_gives_up(self, scene: Scene, holder: Worker) -> None:
        before = states.state(scene.vault_dir)

        for name in ("", "waiter"):
            with pytest.raises(TVLockError):
                scene.vault.delete_table("words", process_id=name)
            with pytest.raises(TVLockError):
                scene.vault.execute_instance("words", process_id=name)

        assert states.differences(states.state(scene.vault_dir), before) == []
        assert list(scene.active) == [HOLDER]

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
    def test_leaves_nothing_behind_when_it_is_interrupted(
        self, scene: Scene, holder: Worker, number: signal.Signals
    ) -> None:
        before = states.state(scene.vault_dir)
        waiter = scene.queue(tasks.delete_words, "waiter")

        waiter.signal(number)

        with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit):
            waiter.result()
        assert states.differences(states.state(scene.vault_dir), before) == []
        assert list(scene.active) == [HOLDER]


class TestTheQueue:
    def test_is_served_in_the_order_of_coming(self, scene: Scene) -> None:
        holder = scene.hold("create_code_module", REPLACE.point("before", "execute"))
        waiters = [scene.queue(tasks.write_module, f"waiter{number}") for number in range(3)]

        holder.go()

        for waiter in waiters:
            waiter.result()
        started = [scene.vault.get_process(f"waiter{number}").created_at for number in range(3)]
        assert started == sorted(started)
        assert scene.vault.get_code_module_str("tools") == "NAME = 'waiter2'\n"
        states.assert_sound(scene.vault_dir)

    def test_is_kept_by_who_comes_later(self, scene: Scene) -> None:
        scene.hold("execute_instance", "shout dog")
        scene.queue(tasks.delete_words, "first")

        with pytest.raises(TVLockError, match=r"gave up after 0\.05 s: 'first' came first") as caught:
            scene.vault.create_instance("words", "draft")

        assert caught.value.holder is None

    def test_does_not_hold_up_others(self, scene: Scene) -> None:
        scene.hold("execute_instance", "shout dog")
        scene.queue(tasks.delete_words, "first")

        scene.vault.write_instance(library.scores(), "scores")
        scene.vault.create_table("papers")

        assert scene.vault.get_table_instances() == ["words", "scores", "papers"]

    @pytest.mark.parametrize("action", [Action.FAIL, Action.KILL], ids=["paused", "dead and named"])
    def test_is_passed_by_where_it_waits_for_a_paused_process(self, scene: Scene, action: Action) -> None:
        scene.run("execute_instance", HOLDER, Fault("shout dog", action))
        first = scene.queue(tasks.delete_words, "first")

        scene.vault.create_instance("words", "draft")

        assert scene.active["first"].blocked_by == (HOLDER,)
        scene.vault.stop_process(HOLDER)
        first.result()
        states.assert_sound(scene.vault_dir)

    def test_skips_the_dead(self, scene: Scene) -> None:
        holder = scene.hold("execute_instance", "shout dog")
        first = scene.queue(tasks.delete_words, "first")
        first.kill()

        scene.vault.create_instance("words", "draft")

        record = scene.active["first"]
        assert (record.is_alive, record.next_steps) == (
            False,
            "It gave up waiting when its worker died; nothing is left to do.",
        )
        holder.go()
        holder.result()
        TableVault(scene.vault_dir, restart=True)
        assert scene.active == {}
        states.assert_sound(scene.vault_dir)

    def test_is_joined_anew_by_an_id_whose_waiter_died(self, scene: Scene) -> None:
        holder = scene.hold("execute_instance", "shout dog")
        scene.queue(tasks.delete_words, "first").kill()
        with pytest.raises(TVLockError):
            scene.vault.delete_table("words", process_id="first")
        assert list(scene.active) == [HOLDER]

        holder.go()
        holder.result()

        scene.vault.delete_table("words", process_id="first")
        states.assert_sound(scene.vault_dir)


class TestWhatALockCovers:
    """What others may do while an execution of ``words`` runs."""

    @pytest.fixture(autouse=True)
    def holder(self, scene: Scene) -> Worker:
        return scene.hold("execute_instance", "shout dog")

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(lambda vault, made: vault.create_code_module("tools", text="LIMIT = 1\n"), id="edit its code"),
            pytest.param(lambda vault, made: vault.delete_code_module("tools"), id="delete its code"),
            pytest.param(lambda vault, made: vault.delete_builder_file("shout", "words"), id="delete its builder"),
            pytest.param(lambda vault, made: vault.create_instance("words", "draft"), id="make another instance"),
            pytest.param(lambda vault, made: vault.rename_table("results", "scores"), id="rename another table"),
            pytest.param(lambda vault, made: vault.get_dataframe("words", instance_id=made), id="read"),
        ],
    )
    def test_is_allowed(self, scene: Scene, holder: Worker, change: Callable[[TableVault, str], object]) -> None:
        change(scene.vault, scene.made)

        holder.go()
        holder.result()
        assert scene.vault.get_dataframe("words")["shout"].tolist() == [word.upper() for word in library.WORDS]
        states.assert_sound(scene.vault_dir)

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(lambda vault, made: vault.delete_table("words"), id="delete the table"),
            pytest.param(lambda vault, made: vault.rename_table("terms", "words"), id="rename the table"),
            pytest.param(lambda vault, made: vault.delete_instance("TEMP_base", "words"), id="delete the instance"),
            pytest.param(lambda vault, made: vault.delete_instance(made, "words"), id="delete the origin"),
            pytest.param(lambda vault, made: vault.execute_instance("words"), id="execute it too"),
        ],
    )
    def test_waits(self, scene: Scene, change: Callable[[TableVault, str], object]) -> None:
        before = states.state(scene.vault_dir)

        with pytest.raises(TVLockError) as caught:
            change(scene.vault, scene.made)

        assert caught.value.holder == HOLDER
        assert states.differences(states.state(scene.vault_dir), before) == []


def test_two_workers_of_one_id_are_one_process(scene: Scene) -> None:
    holder = scene.hold("create_code_module", REPLACE.point("before", "execute"))
    second = scene.start("create_code_module", HOLDER)

    with pytest.raises(Exception, match="A living worker is at process 'holder'"):
        second.result()

    holder.go()
    assert holder.result() == HOLDER
    assert REPLACE.call(scene.vault, scene.made, HOLDER) == HOLDER


def test_a_paused_process_keeps_its_locks_whatever_happens(scene: Scene) -> None:
    with pytest.raises(Trouble):
        scene.start("execute_instance", HOLDER, Fault("shout dog", Action.FAIL)).result()

    for _ in range(2):
        with pytest.raises(TVLockError, match=r"'holder' .*paused, 3 of 6 rows done, last on"):
            scene.vault.delete_table("words")
    assert "words/TEMP_base (exclusive)" in scene.vault.get_process(HOLDER).locks

    EXECUTE.call(scene.vault, scene.made, HOLDER)
    scene.vault.delete_table("words")
    states.assert_sound(scene.vault_dir)
