"""Two workers that call the same operation with the same id, one a moment before the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like.errors import TVArgumentError
from tablevault_like.model import State
from tests import states
from tests.library import BY_NAME
from tests.scenes import Calls, LibraryScene
from tests.workers import Action, Fault, Trouble, Worker, Workers

ID = "nightly"
LATE = "before tablevault_like.locks:WorkerLock.acquire"


@pytest.fixture
def scene(copy_dir: Path, made: str, workers: Workers) -> LibraryScene:
    return LibraryScene(copy_dir, workers, made)


def start_late(scene: LibraryScene, operation: str) -> Worker:
    """Start a worker that has seen that there is no process of that id, and has yet to take its lock."""
    worker = scene.start(operation, ID, Fault(LATE, Action.WAIT))
    assert worker.arrive() == LATE
    return worker


@pytest.mark.parametrize("operation", ["write_instance", "execute_instance", "create_instance", "create_code_module"])
def test_the_late_one_finds_it_done(scene: LibraryScene, calls: Calls, operation: str) -> None:
    late = start_late(scene, operation)
    scene.run(operation, ID).result()
    then = states.state(scene.vault_dir)
    called = calls()
    late.go()

    assert late.result() == ID
    assert calls() == called
    assert states.state(scene.vault_dir) == then
    states.assert_sound(scene.vault_dir)


@pytest.mark.parametrize(
    ("operation", "point"),
    [("execute_instance", "shout dog"), ("create_instance", BY_NAME["create_instance"].point("before", "execute"))],
)
@pytest.mark.parametrize("action", [Action.FAIL, Action.KILL])
def test_the_late_one_goes_on_with_what_the_other_has_left(
    scene: LibraryScene, calls: Calls, operation: str, point: str, action: Action
) -> None:
    late = start_late(scene, operation)
    with pytest.raises(Trouble):
        scene.run(operation, ID, Fault(point, action)).result()
    assert scene.vault.get_process(ID).status == ("paused" if action is Action.FAIL else "interrupted")
    late.go()

    assert late.result() == ID
    assert scene.vault.get_process(ID).state is State.COMPLETED
    assert calls()["word 3"] <= 1
    states.assert_sound(scene.vault_dir)


def test_the_late_one_reverts_nothing_of_the_other_when_it_is_refused(scene: LibraryScene, calls: Calls) -> None:
    """It waited for the lock of a process that is other work by now."""
    late = start_late(scene, "execute_instance")
    with pytest.raises(Trouble):
        scene.run(
            "create_instance", ID, Fault(BY_NAME["create_instance"].point("before", "execute"), Action.FAIL)
        ).result()
    then = states.state(scene.vault_dir)
    late.go()

    with pytest.raises(TVArgumentError, match="'nightly'"):
        late.result()
    assert scene.vault.get_process(ID).state is State.PAUSED
    assert states.state(scene.vault_dir) == then
