"""Executions that fail or are killed in the middle of their rows: what is kept, what is called again, what is left."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.errors import (
    FencedError,
    TVArgumentError,
    TVArtifactError,
    TVBuilderError,
    TVLockError,
    TVProcessError,
    TVTableError,
)
from tablevault_like.layout import Layout
from tablevault_like.model import ProcessRecord, State
from tablevault_like.storage.row_reader import RowReader
from tests import library, states, tasks
from tests.library import BUILDERS, BY_NAME, CALLS, CODE, WORDS
from tests.scenes import Calls
from tests.workers import STRUCK, Action, Fault, Trouble, Worker, Workers, wait_until

ID = "nightly"
EXECUTE = BY_NAME["execute_instance"]

WHOLE = pd.DataFrame(
    {
        "word": pd.array(WORDS, dtype="string"),
        "length": pd.array([3] * len(WORDS), dtype="Int64"),
        "page": pd.array([f"{word}.txt" for word in WORDS], dtype="string"),
        "shout": pd.array([word.upper() for word in WORDS], dtype="string"),
    }
)

ROWS = {
    "word 3": ("words_index", 3),
    "length": ("words_index", 6),
    "page dog": ("page", 5),
    "shout dog": ("shout", 3),
}
"""Calls in which something happens: the builder that records rows meanwhile, and how many.

Pages are made in two threads, so the other one goes on with the rest of them.
"""

COLUMNS = {"words_index": "word", "page": "page", "shout": "shout"}


@dataclass(frozen=True)
class Scene:
    """A copy of the library in which ``words`` is executed."""

    vault_dir: Path
    made: str
    workers: Workers
    calls: Calls
    before: states.State

    @property
    def vault(self) -> TableVault:
        return TableVault(self.vault_dir, "ada", lock_timeout=0.05)

    def start(self, fault: Fault, name: str = ID) -> Worker:
        return self.start_all([fault], name)

    def start_all(self, faults: list[Fault], name: str = ID) -> Worker:
        return self.workers.start(library.attempt, self.vault_dir, "execute_instance", self.made, name, faults=faults)

    def waiting_in(self, call: str, name: str = ID, *, and_then: Sequence[Fault] = ()) -> Worker:
        """Execute in a worker until it is inside of a call, and everything that it can record is recorded."""
        worker = self.start_all([Fault(call, Action.WAIT), *and_then], name)
        assert worker.arrive() == call
        builder, rows = ROWS[call]
        wait_until(lambda: self.recorded(self.process_id, builder) >= rows)
        return worker

    def killed_in(self, call: str, name: str = ID) -> str:
        """Execute until the worker is inside of a call, kill it there, and return the process id."""
        worker = self.waiting_in(call, name)
        process_id = self.process_id
        worker.kill()
        return process_id

    @property
    def process_id(self) -> str:
        (process_id,) = self.vault.get_active_processes()
        return process_id

    @property
    def process(self) -> ProcessRecord:
        return self.vault.get_process(self.process_id)

    def recorded(self, process_id: str, builder: str) -> int:
        path = Layout(self.vault_dir).process(process_id).rows
        with RowReader.open(path) as store:
            return store.counts(builder).done

    def go_on(self, name: str = ID) -> None:
        assert EXECUTE.call(self.vault, self.made, name) == name

    def again(self) -> Counter[str]:
        """Return the calls that an undisturbed execution would not have made."""
        return self.calls() - Counter([*CALLS, STRUCK])

    def assert_whole(self) -> None:
        """Hold the newest instance to what an undisturbed execution makes."""
        frame = self.vault.get_dataframe("words", full_artifact_path=False)
        pd.testing.assert_frame_equal(frame, WHOLE)
        pages = self.vault.get_dataframe("words")["page"]
        assert [Path(page).read_text() for page in pages] == [word * 3 for word in WORDS]
        states.assert_sound(self.vault_dir)

    def assert_partial(self, call: str) -> None:
        """Hold the newest instance to what was recorded when a worker ended in a call."""
        frame = self.vault.get_dataframe("words", full_artifact_path=False)
        kept = frame.attrs["instance_id"]
        assert kept != self.made
        assert self.vault.get_descriptions(kept, "words")["success"] is False
        whole = self.vault.get_dataframe("words", active_only=False, successful_only=True)
        assert whole.attrs["instance_id"] == self.made
        builder, rows = ROWS[call]
        done = frame[COLUMNS[builder]].dropna()
        assert len(done) == rows
        assert done.tolist() == WHOLE[COLUMNS[builder]][done.index].tolist()
        pages = {path.name for path in Layout(self.vault_dir).table("words").instance(kept).artifacts.iterdir()}
        assert pages == set(frame["page"].dropna())
        states.assert_sound(self.vault_dir)

    def assert_unchanged(self) -> None:
        found = states.without_partial_frames(states.state(self.vault_dir))
        assert states.differences(found, self.before) == []
        states.assert_sound(self.vault_dir)


@pytest.fixture
def scene(copy_dir: Path, made: str, workers: Workers, calls: Calls) -> Scene:
    return Scene(copy_dir, made, workers, calls, states.state(copy_dir))


@pytest.mark.parametrize("call", ROWS)
class TestAWorkerThatIsKilledInACall:
    def test_costs_that_call_when_the_same_id_goes_on(self, scene: Scene, call: str) -> None:
        scene.killed_in(call)
        assert (scene.process.state, scene.process.status) == (State.RUNNING, "interrupted")

        scene.go_on()

        scene.assert_whole()
        assert scene.again() == {call: 1}

    def test_costs_that_call_when_it_is_restarted(self, scene: Scene, call: str) -> None:
        process_id = scene.killed_in(call, name="")

        outcomes = TableVault(scene.vault_dir, restart=True).restarted

        assert {each: outcome.state for each, outcome in outcomes.items()} == {process_id: State.COMPLETED}
        scene.assert_whole()
        assert scene.again() == {call: 1}

    def test_is_undone_by_a_stop(self, scene: Scene, call: str) -> None:
        scene.killed_in(call)

        scene.vault.stop_process(ID)

        assert scene.vault.get_process(ID).state is State.REVERTED
        scene.assert_unchanged()

    def test_is_undone_by_whoever_needs_its_locks(self, scene: Scene, call: str) -> None:
        process_id = scene.killed_in(call, name="")

        EXECUTE.call(scene.vault, scene.made, "")

        assert scene.vault.get_process(process_id).state is State.REVERTED
        scene.assert_whole()

    def test_leaves_what_is_done_to_be_kept(self, scene: Scene, call: str) -> None:
        scene.killed_in(call)

        assert scene.vault.stop_process(ID, materialize=True) == ID

        assert scene.vault.get_process(ID).state is State.MATERIALIZED
        assert scene.vault.get_process_completion(ID)
        scene.assert_partial(call)

    def test_can_not_go_on_once_what_is_done_was_kept(self, scene: Scene, call: str) -> None:
        scene.killed_in(call)
        scene.vault.stop_process(ID, materialize=True)
        before, calls = states.state(scene.vault_dir), scene.calls()

        scene.go_on()

        assert states.differences(states.state(scene.vault_dir), before) == []
        assert scene.calls() == calls


@pytest.mark.parametrize("call", ROWS)
class TestAnExceptionOfUserCode:
    def test_pauses_what_has_an_id(self, scene: Scene, call: str) -> None:
        with pytest.raises(Trouble, match="the disk is on fire") as caught:
            scene.start(Fault(call, Action.FAIL)).result()

        assert "is paused" in "".join(caught.value.__notes__)
        record = scene.process
        assert (record.state, record.is_alive) == (State.PAUSED, False)
        assert record.rows_failed == (0 if call == "length" else 1)
        assert record.error is not None
        assert (record.error.type, "the disk is on fire" in record.error.traceback) == ("Trouble", True)
        assert "words/TEMP_base (exclusive)" in record.locks
        scene.go_on()
        scene.assert_whole()
        assert scene.again() == {call: 1}

    def test_reverts_what_has_none(self, scene: Scene, call: str) -> None:
        with pytest.raises(Trouble, match="the disk is on fire") as caught:
            scene.start(Fault(call, Action.FAIL), name="").result()

        assert "was reverted" in "".join(caught.value.__notes__)
        scene.assert_unchanged()
        partial = scene.vault.get_dataframe("words", instance_id="TEMP_base", full_artifact_path=False)
        builder, rows = ROWS[call]
        done = partial[COLUMNS[builder]].dropna()
        assert len(done) == rows or call == "page dog"
        assert done.tolist() == WHOLE[COLUMNS[builder]][done.index].tolist()


def test_an_error_of_ours_that_user_code_raises_is_its_own(scene: Scene) -> None:
    with pytest.raises(TVArgumentError, match="no such thing"):
        scene.start(Fault("word 0", Action.REFUSE)).result()

    assert scene.process.state is State.PAUSED
    scene.go_on()
    scene.assert_whole()


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
    @pytest.mark.parametrize("call", ROWS)
    def test_let_rows_in_flight_finish(self, scene: Scene, call: str, number: signal.Signals) -> None:
        worker = scene.waiting_in(call, and_then=[Fault(REQUESTED, Action.TELL)])

        worker.signal(number)
        worker.arrive()
        worker.go()
        with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit) as caught:
            worker.result()

        assert "is paused" in "".join(caught.value.__notes__)
        assert worker.end() == 128 + number
        assert (scene.process.state, scene.process.is_alive) == (State.PAUSED, False)
        scene.go_on()
        scene.assert_whole()
        assert scene.again() == {}

    def test_revert_what_has_no_id(self, scene: Scene) -> None:
        worker = scene.waiting_in("shout dog", name="", and_then=[Fault(REQUESTED, Action.TELL)])

        worker.signal(signal.SIGINT)
        worker.arrive()
        worker.go()
        with pytest.raises(KeyboardInterrupt) as caught:
            worker.result()

        assert "was reverted" in "".join(caught.value.__notes__)
        scene.assert_unchanged()

    def test_do_not_wait_when_there_are_two(self, scene: Scene) -> None:
        worker = scene.waiting_in("shout dog", and_then=[Fault(REQUESTED, Action.TELL)])

        worker.signal(signal.SIGINT)
        worker.arrive()
        worker.signal(signal.SIGTERM)
        with pytest.raises(SystemExit):
            worker.result()

        assert worker.end() == 128 + signal.SIGTERM
        assert (scene.process.status, scene.process.is_alive) == ("interrupted", False)
        scene.go_on()
        scene.assert_whole()
        assert scene.again() == {"shout dog": 1}


class TestWhatIsRefusedBeforeAClaim:
    """It changes nothing: a paused process stays paused."""

    @pytest.fixture(autouse=True)
    def unchanged(self, scene: Scene) -> Iterator[None]:
        with pytest.raises(Trouble):
            scene.start(Fault("shout dog", Action.FAIL)).result()
        before, record = states.state(scene.vault_dir), scene.process
        yield
        assert states.differences(states.state(scene.vault_dir), before) == []
        assert scene.process == record
        scene.go_on()
        assert scene.again() == {"shout dog": 1}

    def test_other_arguments(self, scene: Scene) -> None:
        with pytest.raises(TVArgumentError, match="version: 'base' then, 'draft' now"):
            scene.vault.execute_instance("words", "draft", process_id=ID)

    def test_another_operation(self, scene: Scene) -> None:
        with pytest.raises(
            TVArgumentError, match="was started by execute_instance, so it can't be used for create_table"
        ):
            scene.vault.create_table("papers", process_id=ID)

    def test_an_unknown_id(self, scene: Scene) -> None:
        with pytest.raises(TVArgumentError, match=r"There is no process 'nightl'\. Did you mean 'nightly'"):
            scene.vault.stop_process("nightl")

    def test_another_process_that_needs_its_locks(self, scene: Scene) -> None:
        with pytest.raises(TVLockError, match=r"3 of 6 rows done.*resume the holder.*stop_process\('nightly'\)"):
            scene.vault.delete_table("words")


class TestChangedCode:
    @pytest.fixture(autouse=True)
    def paused(self, scene: Scene) -> None:
        with pytest.raises(Trouble):
            scene.start(Fault("shout dog", Action.FAIL)).result()
        scene.vault.create_code_module("tools", text=CODE.replace("word.upper()", "word.title()"))

    def test_leaves_the_process_as_it_was(self, scene: Scene) -> None:
        with pytest.raises(TVBuilderError, match="'continue'"):
            scene.go_on()
        outcome = TableVault(scene.vault_dir, restart=True).restarted[ID]

        assert (scene.process.state, scene.process.epoch) == (State.PAUSED, 1)
        assert outcome.state is State.PAUSED
        assert "TVBuilderError" in str(outcome)

    def test_is_used_for_the_rest_if_it_is_told_to(self, scene: Scene) -> None:
        scene.vault.execute_instance("words", process_id=ID, on_change="continue")

        assert scene.vault.get_dataframe("words")["shout"].tolist() == ["APE", "BEE", "CAT", "Dog", "Eel", "Fox"]
        assert scene.again() == {"shout dog": 1}


class TestALivingWorker:
    @pytest.fixture
    def worker(self, scene: Scene) -> Worker:
        return scene.waiting_in("shout dog")

    def test_is_told_by_name(self, scene: Scene, worker: Worker) -> None:
        told = rf"'nightly' \(execute_instance by bob, running, . of 6 rows done, on .*, pid {worker.pid}, since"

        with pytest.raises(TVProcessError, match=told):
            scene.go_on()
        with pytest.raises(TVProcessError, match=told):
            scene.vault.stop_process(ID)
        with pytest.raises(TVLockError, match=told) as caught:
            scene.vault.delete_table("words")
        assert "force=True" in str(caught.value)
        assert TableVault(scene.vault_dir, restart=True).restarted == {}

        worker.go()
        worker.result()
        scene.assert_whole()
        assert scene.again() == {}

    def test_is_not_stopped_without_force_and_what_was_to_be_kept_is_said_with_it(
        self, scene: Scene, worker: Worker
    ) -> None:
        with pytest.raises(TVProcessError, match=r"stop_process\('nightly', force=True, materialize=True\)\."):
            scene.vault.stop_process(ID, materialize=True)
        with pytest.raises(TVProcessError, match=r"stop_process\('nightly', force=True\)\."):
            scene.vault.stop_process(ID)

    def test_is_shown_with_what_it_does(self, scene: Scene, worker: Worker) -> None:
        record = scene.process

        assert (record.operation, record.author, record.state) == ("execute_instance", "bob", State.RUNNING)
        assert (record.is_alive, record.pid) == (True, worker.pid)
        assert record.arguments["table_name"] == "words"
        assert record.steps_done == ("words_index", "length", "page")
        assert record.steps_to_come == ("shout", "materialize")
        assert record.rows_total == 6
        assert "words/TEMP_base (exclusive)" in record.locks
        assert "force=True" in record.next_steps

    def test_is_ended_by_force(self, scene: Scene, worker: Worker) -> None:
        scene.vault.stop_process(ID, force=True)

        assert worker.end() == -signal.SIGKILL
        assert scene.vault.get_process(ID).state is State.REVERTED
        scene.assert_unchanged()

    def test_is_ended_by_force_and_what_it_has_done_is_kept(self, scene: Scene, worker: Worker) -> None:
        scene.vault.stop_process(ID, force=True, materialize=True)

        worker.end()
        scene.assert_partial("shout dog")

    def test_that_leaves_when_it_is_terminated_undoes_nothing(self, scene: Scene) -> None:
        worker = scene.waiting_in("shout dog", and_then=[Fault(REQUESTED, Action.TELL)])
        stopper = scene.workers.start(tasks.stop, scene.vault_dir, ID, True)

        worker.arrive()
        worker.go()
        with pytest.raises(BaseException, match="taken over or stopped") as caught:
            worker.result()
        stopper.result()

        assert isinstance(caught.value, FencedError | SystemExit)
        scene.assert_unchanged()


REQUESTED = "after tablevault_like.engines.base:Stop.request"


class TestRestart:
    def test_goes_on_with_all_that_it_can(self, scene: Scene) -> None:
        scene.killed_in("shout dog")
        for operation in ("create_instance", "write_instance"):
            attempt = BY_NAME[operation]
            fault = Fault(attempt.point("before", "execute"), Action.KILL)
            scene.workers.run(library.attempt, scene.vault_dir, operation, scene.made, operation, faults=[fault])
        # The first of them can't go on: what it needs is gone.
        (scene.vault_dir / "metadata" / "processes" / ID / "rows.sqlite").unlink()

        outcomes = TableVault(scene.vault_dir, restart=True).restarted

        assert list(outcomes) == [ID, "create_instance", "write_instance"]
        assert outcomes["create_instance"].state is outcomes["write_instance"].state is State.COMPLETED
        assert "TVCheckpointError" in str(outcomes[ID])
        scene.vault.stop_process(ID)
        states.assert_sound(scene.vault_dir)

    def test_leaves_what_it_can_not_bring_to_an_end_as_it_is(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scene.killed_in("shout dog")
        monkeypatch.setattr("tests.workers.note_call", _fail)

        outcomes = TableVault(scene.vault_dir, restart=True).restarted

        assert str(outcomes[ID]).startswith("paused: Trouble")


def _fail(text: str) -> None:
    raise Trouble(text)


class TestWhatAFunctionReturned:
    """A value or a file that can't be used is user code's error."""

    def change(self, scene: Scene, old: str, new: str) -> None:
        scene.vault.create_code_module("tools", text=CODE.replace(old, new))

    def test_pauses_if_it_does_not_fit(self, scene: Scene) -> None:
        scene.vault.create_builder_file("words", "shout", text=BUILDERS["shout"] + "dtypes: {shout: Int64}\n")

        with pytest.raises(TVTableError, match="shout"):
            scene.go_on()

        assert scene.process.state is State.PAUSED
        scene.vault.stop_process(ID)
        states.assert_sound(scene.vault_dir)

    def test_pauses_if_an_artifact_is_missing(self, scene: Scene) -> None:
        self.change(scene, 'return f"{word}.txt"', 'return f"{word}s.txt"')

        with pytest.raises(TVArtifactError, match=r"apes\.txt"):
            scene.go_on()

        assert scene.process.state is State.PAUSED
        self.change(scene, "", "")
        scene.vault.execute_instance("words", process_id=ID, on_change="continue")
        scene.assert_whole()

    def test_reverts_without_an_id(self, scene: Scene) -> None:
        self.change(scene, 'return f"{word}.txt"', "return 3")
        before = states.state(scene.vault_dir)

        with pytest.raises(TVTableError):
            EXECUTE.call(scene.vault, scene.made, "")

        found = states.without_partial_frames(states.state(scene.vault_dir))
        assert states.differences(found, before) == []


class TestWriting:
    def test_pauses_over_a_missing_artifact_and_goes_on_with_the_frame_that_it_kept(self, scene: Scene) -> None:
        frame = pd.DataFrame({"name": ["ada"], "page": ["ada.txt"]})
        dtypes = {"page": "artifact_string"}
        with pytest.raises(TVArtifactError, match=r"ada\.txt"):
            scene.vault.write_instance(frame, "scores", dtypes=dtypes, process_id=ID)
        assert scene.process.state is State.PAUSED
        Path(scene.vault.get_artifact_folder("scores"), "ada.txt").write_text("of Lovelace")

        scene.vault.write_instance(None, "scores", dtypes=dtypes, process_id=ID)

        (page,) = scene.vault.get_dataframe("scores")["page"]
        assert Path(page).read_text() == "of Lovelace"
        states.assert_sound(scene.vault_dir)

    def test_of_a_frame_that_does_not_fit_leaves_nothing(self, scene: Scene) -> None:
        frame = pd.DataFrame({"score": ["high"]})

        for name in (ID, ""):
            with pytest.raises(TVTableError, match="score"):
                scene.vault.write_instance(frame, "scores", dtypes={"score": "Int64"}, process_id=name)
            scene.assert_unchanged()

    def test_under_an_id_that_was_reverted_leaves_nothing_when_it_is_refused(self, scene: Scene) -> None:
        with pytest.raises(TVArtifactError):
            scene.vault.write_instance(
                pd.DataFrame({"page": ["x"]}), "scores", dtypes={"page": "artifact_string"}, process_id=ID
            )
        scene.vault.stop_process(ID)

        with pytest.raises(TVArgumentError, match="made by builders"):
            scene.vault.write_instance(library.scores(), "words", process_id=ID)

        scene.assert_unchanged()

    def test_without_a_frame_needs_one_that_was_kept(self, scene: Scene) -> None:
        with pytest.raises(TVProcessError, match="no frame to write"):
            scene.vault.write_instance(None, "scores", process_id=ID)

        scene.assert_unchanged()
