"""Pauses that are asked for, and what ``restart`` makes of processes that get nowhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArgumentError, TVPausedError, TVProcessError
from tablevault_like.model import ProcessRecord, State
from tests import library, states, tasks
from tests.library import BY_NAME
from tests.scenes import Calls
from tests.workers import Action, Fault, Worker, Workers

ID = "nightly"
EXECUTE = BY_NAME["execute_instance"]


@dataclass(frozen=True)
class Scene:
    vault_dir: Path
    made: str
    workers: Workers
    calls: Calls

    @property
    def vault(self) -> TableVault:
        return TableVault(self.vault_dir, "bob", lock_timeout=0.05)

    @property
    def record(self) -> ProcessRecord:
        return self.vault.get_process(ID)

    def start(self, *faults: Fault, name: str = ID) -> Worker:
        return self.workers.start(
            library.attempt, self.vault_dir, "execute_instance", self.made, name, faults=list(faults)
        )

    def restart(self) -> dict[str, str]:
        return {name: str(outcome) for name, outcome in TableVault(self.vault_dir, restart=True).restarted.items()}

    def finish(self) -> None:
        """Go on with the process, and see that no row was called twice."""
        assert EXECUTE.call(self.vault, self.made, ID) == ID
        assert self.record.state is State.COMPLETED
        assert set(self.calls().values()) == {1}
        states.assert_sound(self.vault_dir)


@pytest.fixture
def scene(copy_dir: Path, made: str, workers: Workers, calls: Calls) -> Scene:
    return Scene(copy_dir, made, workers, calls)


def hear(scene: Scene, worker: Worker) -> None:
    """Let the worker hear of what is asked for while it is in the row ``dog``, then let it go."""
    scene.vault.pause_process(ID)
    assert scene.record.pause_requested_by == "bob"
    assert "because bob asked for it" in scene.record.next_steps
    # It looks twice a second; that it has looked is seen by nobody, so it is given a moment more than it needs.
    with pytest.raises(TimeoutError):
        scene.vault.wait(ID, timeout=1.2)
    worker.go()


class TestAPauseOfALivingWorker:
    def test_takes_effect_after_the_rows_that_are_under_way(self, scene: Scene) -> None:
        worker = scene.start(Fault("shout dog", Action.WAIT))
        worker.arrive()

        hear(scene, worker)

        with pytest.raises(TVPausedError, match=r"was paused: bob asked for it\. Call again") as caught:
            worker.result()
        assert caught.value.process_id == ID
        record = scene.record
        assert (record.state, record.is_alive, record.paused_on_request) == (State.PAUSED, False, True)
        assert (record.pause_requested_by, record.pause_reason, record.error) == (None, "bob asked for it", None)
        assert "It was paused on request: bob asked for it." in record.next_steps
        assert scene.calls()["shout dog"] == 1
        scene.finish()
        assert scene.record.pause_reason is None

    def test_is_left_alone_by_restart(self, scene: Scene) -> None:
        worker = scene.start(Fault("shout dog", Action.WAIT))
        worker.arrive()
        hear(scene, worker)
        with pytest.raises(TVPausedError):
            worker.result()

        assert scene.restart() == {}

        assert scene.record.state is State.PAUSED
        scene.finish()

    def test_gives_an_owner_to_what_nobody_named(self, scene: Scene) -> None:
        worker = scene.start(Fault("shout dog", Action.WAIT), name="")
        worker.arrive()
        (process_id,) = scene.vault.get_active_processes()
        scene.vault.pause_process(process_id)
        with pytest.raises(TimeoutError):
            scene.vault.wait(process_id, timeout=1.2)
        worker.go()

        with pytest.raises(TVPausedError):
            worker.result()

        record = scene.vault.get_process(process_id)
        assert (record.state, record.is_named) == (State.PAUSED, True)
        EXECUTE.call(scene.vault, scene.made, process_id)
        assert set(scene.calls().values()) == {1}

    def test_keeps_what_fails_meanwhile_though_nobody_named_it(self, scene: Scene) -> None:
        fails = 'pass_point("length")\n    raise ConnectionError("nobody answers")'
        scene.vault.create_code_module("tools", text=library.CODE.replace('pass_point("length")', fails))
        worker = scene.start(Fault("length", Action.WAIT), name="")
        worker.arrive()
        (process_id,) = scene.vault.get_active_processes()
        scene.vault.pause_process(process_id)
        worker.go()

        with pytest.raises(ConnectionError):
            worker.result()

        record = scene.vault.get_process(process_id)
        assert (record.status, record.is_named, record.paused_on_request) == ("paused", True, False)

    def test_of_what_dies_before_it_hears_is_done_by_restart(self, scene: Scene) -> None:
        worker = scene.start(Fault("shout dog", Action.WAIT))
        worker.arrive()
        scene.vault.pause_process(ID)
        worker.kill()

        assert scene.restart() == {ID: "paused"}

        assert (scene.record.state, scene.record.pause_reason) == (State.PAUSED, "bob asked for it")
        assert scene.restart() == {}

    def test_is_forgotten_when_the_process_goes_on(self, scene: Scene) -> None:
        worker = scene.start(Fault("shout dog", Action.WAIT))
        worker.arrive()
        scene.vault.pause_process(ID)
        worker.kill()

        EXECUTE.call(scene.vault, scene.made, ID)

        assert (scene.record.state, scene.record.pause_requested_by) == (State.COMPLETED, None)


class TestAPause:
    def test_of_a_dead_worker_is_at_once(self, scene: Scene) -> None:
        scene.start(Fault("shout dog", Action.KILL)).end()

        scene.vault.pause_process(ID)

        record = scene.record
        assert (record.status, record.paused_on_request, record.pause_reason) == ("paused", True, "bob asked for it")
        assert scene.restart() == {}

    def test_of_what_is_paused_over_an_error_keeps_restart_away(self, scene: Scene) -> None:
        scene.start(Fault("shout dog", Action.FAIL)).end()
        assert not scene.record.paused_on_request

        scene.vault.pause_process(ID)

        assert (scene.record.state, scene.record.paused_on_request) == (State.PAUSED, True)
        assert scene.restart() == {}

    def test_of_what_has_ended_is_refused(self, scene: Scene) -> None:
        scene.start().end()

        with pytest.raises(TVProcessError, match=r"'nightly' has ended \(completed\), so there is nothing to pause"):
            scene.vault.pause_process(ID)

    def test_of_another_operation_is_refused(self, scene: Scene) -> None:
        scene.vault.create_table("papers", process_id="other")

        with pytest.raises(TVArgumentError, match="create_table can't be paused"):
            scene.vault.pause_process("other")

    def test_of_an_unknown_process_is_refused(self, scene: Scene) -> None:
        with pytest.raises(TVArgumentError, match="There is no process 'nightli'"):
            scene.vault.pause_process("nightli")


class TestAProcessThatDiesAgainAndAgain:
    def die(self, scene: Scene, *faults: Fault) -> None:
        """Let ``restart`` go on with it in a worker that dies."""
        scene.workers.run(tasks.restart, scene.vault_dir, faults=list(faults))

    def test_is_not_started_again_for_ever(self, scene: Scene) -> None:
        dies = Fault("word 0", Action.KILL)
        scene.start(dies).end()
        for _ in range(2):
            self.die(scene, dies)
        before = scene.calls()
        assert before["word 0"] == 3

        told = scene.restart()

        assert "interrupted: its worker has died 3 times in a row without a new row or step" in told[ID]
        assert "call execute_instance with process_id='nightly'" in told[ID]
        assert scene.calls() == before
        assert scene.restart() == told

        EXECUTE.call(scene.vault, scene.made, ID)
        assert scene.record.state is State.COMPLETED

    def test_counts_from_the_last_step_that_was_made(self, scene: Scene) -> None:
        scene.start(Fault("word 0", Action.KILL)).end()
        self.die(scene, Fault("word 0", Action.KILL))
        self.die(scene, Fault("length", Action.KILL))  # after the rows
        self.die(scene, Fault("length", Action.KILL))

        assert scene.restart() == {ID: "completed"}

    def test_counts_anew_after_a_start_by_hand(self, scene: Scene) -> None:
        dies = Fault("word 0", Action.KILL)
        scene.start(dies).end()
        self.die(scene, dies)
        scene.start(dies).end()

        self.die(scene, dies)
        self.die(scene, dies)

        assert "died 3 times" in scene.restart()[ID]
        assert Counter(scene.calls())["word 0"] == 5
