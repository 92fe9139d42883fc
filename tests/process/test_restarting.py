"""Restarts that take a while: what others decide about a process meanwhile counts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.locks import WorkerLock
from tablevault_like.model import State
from tablevault_like.process.runner import Runner
from tests import states, tasks
from tests.library import BUILDERS, BY_NAME
from tests.scenes import Calls, LibraryScene
from tests.workers import Action, Fault, Workers

FIRST, SECOND = "first", "second"


@pytest.fixture
def scene(copy_dir: Path, workers: Workers, made: str) -> LibraryScene:
    """Return a vault with two processes that a restart goes on with, one after the other."""
    scene = LibraryScene(copy_dir, workers, made)
    scene.vault.create_table("others")
    builders = {"others_index": BUILDERS["words_index"], "shout": BUILDERS["shout"]}
    scene.vault.create_instance("others", builders=builders)
    scene.run("execute_instance", FIRST, Fault("shout dog", Action.FAIL))
    scene.workers.run(execute_other, scene.vault_dir, faults=[Fault("shout bee", Action.FAIL)])
    assert {scene.vault.get_process(each).status for each in (FIRST, SECOND)} == {"paused"}
    return scene


def execute_other(vault_dir: Path) -> str:
    return TableVault(vault_dir, "bob").execute_instance("others", process_id=SECOND)


def restarted(scene: LibraryScene, meanwhile: Callable[[], object]) -> dict[str, str]:
    """Restart the vault; when the restart is at the first process, let others do something."""
    worker = scene.workers.start(tasks.restart, scene.vault_dir, faults=[Fault("shout dog", Action.WAIT)])
    worker.arrive()
    meanwhile()
    worker.go()
    outcomes: dict[str, str] = worker.result()
    return outcomes


def test_go_on_with_all(scene: LibraryScene) -> None:
    assert restarted(scene, lambda: None) == {FIRST: "completed", SECOND: "completed"}


def test_do_not_begin_anew_what_was_stopped(scene: LibraryScene, calls: Calls) -> None:
    before = calls()

    outcomes = restarted(scene, lambda: scene.vault.stop_process(SECOND))

    assert outcomes == {FIRST: "completed", SECOND: "reverted"}
    assert scene.vault.get_process(SECOND).state is State.REVERTED
    assert scene.vault.get_table_instances("others") == []
    assert (calls() - before)["shout bee"] == 0
    states.assert_sound(scene.vault_dir)


def test_leave_alone_what_was_paused(scene: LibraryScene) -> None:
    outcomes = restarted(scene, lambda: scene.vault.pause_process(SECOND))

    assert outcomes == {FIRST: "completed", SECOND: "paused"}
    assert scene.vault.get_process(SECOND).paused_on_request


def test_keep_what_was_completed(scene: LibraryScene) -> None:
    outcomes = restarted(scene, lambda: execute_other(scene.vault_dir))

    assert outcomes == {FIRST: "completed", SECOND: "completed"}


def test_do_not_revert_what_was_begun_anew(scene: LibraryScene, calls: Calls) -> None:
    """It was being stopped, and isn't any more: what it has by now is the work of another run."""
    point = BY_NAME["execute_instance"].point("before", "undo")
    scene.workers.run(stop_second, scene.vault_dir, faults=[Fault(point, Action.KILL)])
    assert scene.vault.get_process(SECOND).state is State.STOPPING
    before = calls()

    def begin_anew() -> None:
        scene.workers.run(execute_other, scene.vault_dir, faults=[Fault("shout cat", Action.FAIL)])
        assert scene.vault.get_process(SECOND).state is State.PAUSED

    assert restarted(scene, begin_anew) == {FIRST: "completed", SECOND: "completed"}
    assert (calls() - before)["shout bee"] == 1


@pytest.mark.parametrize(("way", "left"), [("stop_process", "reverted"), ("pause_process", "paused")])
def test_leave_to_others_what_they_claim_at_the_last_moment(
    scene: LibraryScene, monkeypatch: pytest.MonkeyPatch, way: str, left: str
) -> None:
    take_on = Runner._take_on

    def late(self: Runner, process_id: str, cleanup: ExitStack) -> tuple[WorkerLock, ProcessRow]:
        if process_id == SECOND:
            getattr(scene.vault, way)(SECOND)
        return take_on(self, process_id, cleanup)

    monkeypatch.setattr(Runner, "_take_on", late)
    outcomes = TableVault(scene.vault_dir, restart=True).restarted

    assert {name: str(each) for name, each in outcomes.items()} == {FIRST: "completed", SECOND: left}


def stop_second(vault_dir: Path) -> str:
    return TableVault(vault_dir, "bob").stop_process(SECOND)
