"""Workers that lost their claim, and don't know it yet: whatever they try, they write nothing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import FencedError, TVArgumentError, TVProcessError
from tablevault_like.layout import Layout
from tablevault_like.model import State
from tablevault_like.process.run import LOCAL_RUNS
from tablevault_like.storage import sealed
from tablevault_like.storage.row_reader import RowReader
from tests import states
from tests.library import BY_NAME
from tests.scenes import Calls, LibraryScene
from tests.workers import PATIENCE, Action, Fault, Trouble, Worker, Workers, wait_until

ID = "nightly"
PROCESS = f"metadata/processes/{ID}"
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
    Last("create_instance", f"before {RUN}Run.fenced"),
    Last("create_instance", CREATE.point("after", "execute")),
    Last("create_builder_file", REPLACE.point("before", "execute")),
    Last("create_builder_file", f"before {RUN}Run.fenced"),
    Last("create_builder_file", REPLACE.point("after", "execute")),
]


class Scene(LibraryScene):
    """A copy of the library, in which the worker of the process ``nightly`` loses its claim."""

    def start_until(self, last: Last) -> Worker:
        worker = self.start(last.operation, ID, *last.faults)
        assert worker.arrive() == last.point
        return worker

    @contextmanager
    def suspended(self, worker: Worker) -> Iterator[None]:
        """Suspend a worker, but not in the middle of a commit: whoever else writes would wait for it."""
        for _ in range(100):
            with worker.suspended():
                if not any(states.is_busy(path) for path in self.vault_dir.rglob("*.sqlite")):
                    yield
                    return
            threading.Event().wait(0.02)
        raise AssertionError("it is always in the middle of a commit")

    def call(self, operation: str) -> None:
        BY_NAME[operation].call(self.vault, self.made, ID)

    def lose_lock(self) -> None:
        """Take the worker lock away from under whoever holds it."""
        Layout(self.vault_dir).process(ID).worker_lock.unlink()

    def without_drafts(self, found: states.State) -> states.State:
        """Leave out the files in the process's own folder that nobody looks at."""
        plan = Layout(self.vault_dir).process(ID).plan
        number = sealed.read(plan, process_id=ID)["number"] if plan.exists() else 0
        unused = [
            rf"{PROCESS}/staging(/.*)?",
            rf"{PROCESS}/process\.\d+\.new",
            rf"{PROCESS}/pinned/(?!{number}(/|$)|plan.json$).*",
        ]
        return states.without(found, *unused)

    @property
    def history(self) -> object:
        """Return all that is known of the process, and all that it has recorded."""
        record = states.history(self.vault_dir, ID)
        path = Layout(self.vault_dir).process(ID).rows
        if not path.exists():
            return record
        with RowReader.open(path) as store:
            return record, {name: list(store.cells(name)) for name in ("words_index", "page", "shout")}


@pytest.fixture
def scene(copy_dir: Path, made: str, workers: Workers) -> Scene:
    return Scene(copy_dir, workers, made)


def stop_without_ending(scene: Scene, operation: str) -> None:
    """Stop the process by force, and let its worker survive that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tablevault_like.process.stopping.end_workers", lambda fenced: {})
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
    faults = [FAILS, Fault(BY_NAME[operation].point("after", "execute"), Action.FAIL)]
    worker = scene.run(operation, ID, *faults)
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
    worker = scene.start_until(last)
    with scene.suspended(worker):
        loses(scene, last.operation)
        then, history = states.state(scene.vault_dir), scene.history

    worker.go()
    with pytest.raises((FencedError, Trouble, TVArgumentError, OSError)) as caught:
        worker.result()

    assert "nothing was undone here" in "".join(caught.value.__notes__)
    assert scene.history == history
    assert states.differences(scene.without_drafts(states.state(scene.vault_dir)), scene.without_drafts(then)) == []
    if not scene.vault.get_process(ID).state.has_ended:
        scene.call(last.operation)
    states.assert_sound(scene.vault_dir)


def test_a_worker_that_is_suspended_is_killed_by_a_stop_by_force(scene: Scene, calls: Calls) -> None:
    before = states.state(scene.vault_dir)
    worker = scene.start_until(Last("execute_instance", "shout dog"))
    with scene.suspended(worker):
        scene.vault.stop_process(ID, force=True)

    assert worker.end() == -signal.SIGKILL
    found = states.without_partial_frames(states.state(scene.vault_dir))
    assert states.differences(found, before) == []
    states.assert_sound(scene.vault_dir)
    assert calls()["shout dog"] == 1


class Inside:
    """User code of this interpreter, which waits in the row ``dog`` of ``shout`` until it is let go."""

    def __init__(self, vault: TableVault, made: str) -> None:
        self.has_come = threading.Event()
        self.may_go = threading.Event()
        self.then: Callable[[], object] = lambda: None
        self.raised: list[BaseException] = []
        self._vault = vault
        self._made = made
        self._thread = threading.Thread(target=self._execute, daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self.has_come.wait(PATIENCE)

    def pass_point(self, point: str) -> None:
        if point == "shout dog":
            self.has_come.set()
            assert self.may_go.wait(PATIENCE)
            self._note(self.then)

    def join(self) -> None:
        self.may_go.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def _execute(self) -> None:
        self._note(lambda: EXECUTE.call(self._vault, self._made, ID))

    def _note(self, call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as error:
            self.raised.append(error)


class TestAThreadThatIsLeftBehind:
    """A thread of this interpreter that is still in user code when its process was stopped, or paused."""

    @pytest.fixture
    def inside(self, scene: Scene, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inside]:
        found = Inside(TableVault(scene.vault_dir, "bob"), scene.made)
        monkeypatch.setattr("tests.workers.pass_point", found.pass_point)
        monkeypatch.setattr("tablevault_like.process.workers._TERMINATE_SECONDS", 0.2)
        yield found
        found.join()

    def test_is_not_waited_for_for_ever_and_records_nothing(self, scene: Scene, inside: Inside) -> None:
        inside.start()
        with pytest.raises(TVProcessError, match="was fenced and writes nothing more"):
            scene.vault.stop_process(ID, force=True)
        assert scene.vault.get_process(ID).state is State.STOPPING
        history = scene.history

        inside.join()

        wait_until(lambda: not scene.vault.get_process(ID).is_alive)
        assert scene.history == history
        assert "nothing was undone here" in "".join(inside.raised[-1].__notes__)
        scene.vault.stop_process(ID)
        assert scene.vault.get_process(ID).state is State.REVERTED
        states.assert_sound(scene.vault_dir)

    def test_can_not_change_the_vault_any_more(self, scene: Scene, inside: Inside) -> None:
        inside.then = lambda: scene.vault.create_table("papers")
        inside.start()
        with pytest.raises(TVProcessError):
            scene.vault.stop_process(ID, force=True)

        inside.join()

        wait_until(lambda: len(inside.raised) == 2)
        (refused,) = (str(error) for error in inside.raised if type(error) is TVProcessError)
        assert refused == (
            "The parent process 'nightly' is stopping, so nothing new can be done under it. Resume the parent first, "
            "or call without parent_id."
        )
        assert "papers" not in scene.vault.get_table_instances()

    def test_keeps_its_process_from_being_paused_until_it_comes_back(self, scene: Scene, inside: Inside) -> None:
        inside.start()
        run = LOCAL_RUNS[ID]
        run.stop.abandon()
        wait_until(lambda: len(inside.raised) == 1)

        record = scene.vault.get_process(ID)
        assert (record.state, record.is_alive) == (State.RUNNING, True)
        with pytest.raises(TVProcessError, match="A living worker is at"):
            EXECUTE.call(scene.vault, scene.made, ID)

        inside.may_go.set()
        wait_until(lambda: scene.vault.get_process(ID).state is State.PAUSED)
        wait_until(lambda: not scene.vault.get_process(ID).is_alive)
        with RowReader.open(Layout(scene.vault_dir).process(ID).rows) as store:
            assert store.recorded("shout").tolist() == [0, 1, 2]
        EXECUTE.call(scene.vault, scene.made, ID)
        states.assert_sound(scene.vault_dir)
