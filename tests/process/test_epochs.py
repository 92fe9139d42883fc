"""Workers that lost their claim, and don't know it yet: whatever they try, they write nothing."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import FencedError, TVProcessError
from tablevault_like.layout import Layout
from tablevault_like.model import State
from tablevault_like.storage.rows import RowStore
from tests import library, states
from tests.library import BY_NAME, WORDS
from tests.scenes import Calls
from tests.workers import PATIENCE, Action, Fault, Trouble, Worker, Workers, wait_until

ID = "nightly"
EXECUTE = BY_NAME["execute_instance"]
CREATE = BY_NAME["create_instance"]
REPLACE = BY_NAME["create_builder_file"]

FAILS = Fault("shout dog", Action.FAIL)
RUN = "tablevault_like.process.run:"
JOURNAL = "tablevault_like.process.journal:Journal."


@dataclass(frozen=True)
class Last:
    """Where a worker is suspended: right before the first thing that it would write."""

    operation: str
    point: str
    and_then: Sequence[Fault] = ()

    def __str__(self) -> str:
        return f"{self.operation} {self.point.replace(' ', '-').rpartition(':')[2] or self.point}"

    @property
    def faults(self) -> list[Fault]:
        return [Fault(self.point, Action.WAIT), *self.and_then]


LASTS = [
    Last("execute_instance", "before tablevault_like.builders.checkpoint:Checkpoint.keep"),
    Last("execute_instance", "after tablevault_like.builders.checkpoint:Checkpoint.keep"),
    Last("execute_instance", EXECUTE.point("after", "keep")),
    Last("execute_instance", EXECUTE.point("before", "execute")),
    Last("execute_instance", "before tablevault_like.storage.rows:RowStore.code_number"),
    Last("execute_instance", f"before {RUN}StepReport.start"),
    Last("execute_instance", f"before {RUN}StepReport.update"),
    Last("execute_instance", f"before {RUN}StepReport.finish"),
    Last("execute_instance", "word 3"),
    Last("execute_instance", "length"),
    Last("execute_instance", "shout dog"),
    Last("execute_instance", "before tablevault_like.storage.tables:write_arrow_table"),
    Last("execute_instance", "before tablevault_like.operations.execution:assemble"),
    Last("execute_instance", "before tablevault_like.operations.publication:Publication.place"),
    Last("execute_instance", EXECUTE.point("after", "execute")),
    Last("execute_instance", f"before {JOURNAL}pause", (FAILS,)),
    Last("create_instance", CREATE.point("before", "execute")),
    Last("create_instance", "before tablevault_like.storage.files:place"),
    Last("create_instance", CREATE.point("after", "execute")),
    Last("create_builder_file", REPLACE.point("before", "execute")),
    Last("create_builder_file", "before tablevault_like.storage.files:replace"),
    Last("create_builder_file", REPLACE.point("after", "execute")),
]


@dataclass(frozen=True)
class Scene:
    vault_dir: Path
    made: str
    workers: Workers

    @property
    def vault(self) -> TableVault:
        return TableVault(self.vault_dir, "ada", lock_timeout=0.05)

    def start(self, last: Last, name: str = ID) -> Worker:
        worker = self.workers.start(
            library.attempt, self.vault_dir, last.operation, self.made, name, faults=last.faults
        )
        assert worker.arrive() == last.point
        return worker

    def call(self, operation: str) -> None:
        BY_NAME[operation].call(self.vault, self.made, ID)

    def lose_lock(self) -> None:
        """Take the worker lock away from under whoever holds it."""
        Layout(self.vault_dir).process(ID).worker_lock.unlink()

    @property
    def history(self) -> object:
        """Return all that is known of the process, and all that it has recorded."""
        record = self.vault.get_process(ID)
        path = Layout(self.vault_dir).process(ID).rows
        if not path.exists():
            return record
        with RowStore.read(path) as store:
            return record, {name: list(store.cells(name)) for name in ("words_index", "page", "shout")}


@pytest.fixture
def scene(copy_dir: Path, made: str, workers: Workers) -> Scene:
    return Scene(copy_dir, made, workers)


def stop_without_ending(scene: Scene, operation: str) -> None:
    """Stop the process by force, and let its worker survive that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tablevault_like.process.stopping.end_worker", lambda *arguments, **fields: None)
        scene.vault.stop_process(ID, force=True)
    assert scene.vault.get_process(ID).state is State.REVERTED


def stop_what_lost_its_lock(scene: Scene, operation: str) -> None:
    scene.lose_lock()
    scene.vault.stop_process(ID)
    assert scene.vault.get_process(ID).state is State.REVERTED


def complete_what_lost_its_lock(scene: Scene, operation: str) -> None:
    scene.lose_lock()
    scene.call(operation)
    assert scene.vault.get_process(ID).state is State.COMPLETED


def pause_what_lost_its_lock(scene: Scene, operation: str) -> None:
    """Go on with the process elsewhere, and let it fail there."""
    scene.lose_lock()
    fault = FAILS if operation == "execute_instance" else Fault(BY_NAME[operation].point("after", "execute"), Action.FAIL)
    worker = scene.workers.run(library.attempt, scene.vault_dir, operation, scene.made, ID, faults=[fault])
    with pytest.raises(Trouble):
        worker.result()
    assert scene.vault.get_process(ID).state is State.PAUSED


@pytest.mark.parametrize(
    "loses", [stop_without_ending, stop_what_lost_its_lock, complete_what_lost_its_lock, pause_what_lost_its_lock]
)
@pytest.mark.parametrize("last", LASTS, ids=str)
def test_a_worker_that_lost_its_claim_writes_nothing(
    scene: Scene, last: Last, loses: Callable[[Scene, str], None]
) -> None:
    worker = scene.start(last)
    with worker.suspended():
        loses(scene, last.operation)
        then, history = states.state(scene.vault_dir), scene.history

    worker.go()
    with pytest.raises(BaseException, match="") as caught:
        worker.result()

    assert isinstance(caught.value, FencedError) or "nothing was undone here" in "".join(caught.value.__notes__)
    assert states.differences(states.state(scene.vault_dir), then) == []
    assert scene.history == history
    if not scene.vault.get_process(ID).state.has_ended:
        scene.call(last.operation)
    states.assert_sound(scene.vault_dir)
