"""The table of failures in the design, for every operation: whatever happens, whoever comes next.

An attempt (``tests.library``) meets a fault at a point, in a worker of its own. Then somebody comes. Afterwards the
vault is exactly what it was, or exactly what an undisturbed attempt makes of it.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TableVaultError, TVArgumentError, TVFileError, TVLockError, TVProcessError
from tablevault_like.model import ProcessRecord, State
from tablevault_like.process.operation import REGISTRY, Operation
from tests import library, states
from tests.library import ATTEMPTS, BY_NAME, Attempt
from tests.scenes import Calls
from tests.workers import GROUND, STRUCK, Action, Fault, Trouble, Workers

ID = "nightly"

EVERY = 17
"""Of so many calls that change something, one is struck in a run that isn't full. Each system call is, in faults/."""


class Point(StrEnum):
    """Where an attempt meets its fault, in the order of their coming."""

    RECORDING = "in the transaction that records the process"
    RECORDED = "before its inputs are kept"
    KEPT = "when its inputs are kept"
    BEGUN = "before anything is staged"
    PLACED = "when all is placed"
    PUBLISHING = "in the transaction that publishes"
    PUBLISHED = "after that transaction"

    def of(self, attempt: Attempt) -> str:
        match self:
            case Point.RECORDING:
                return "after tablevault_like.process.journal:Journal.add"
            case Point.RECORDED:
                return attempt.point("before", "keep")
            case Point.KEPT:
                return attempt.point("after", "keep")
            case Point.BEGUN:
                return attempt.point("before", "execute")
            case Point.PLACED:
                return attempt.point("after", "execute")
            case Point.PUBLISHING:
                return attempt.point("after", "publish")
            case Point.PUBLISHED:
                return "before tablevault_like.process.endings:Endings.finish"

    def is_in(self, attempt: Attempt, *, is_named: bool) -> bool:
        if attempt.is_at_once(is_named=is_named):
            return self in (Point.RECORDING, Point.PUBLISHING, Point.PUBLISHED)
        return attempt.keeps_inputs or self not in (Point.RECORDED, Point.KEPT)

    def state(self, attempt: Attempt, *, is_named: bool) -> State | None:
        """Return the state of a process whose worker dies here."""
        match self:
            case Point.RECORDING:
                return None
            case Point.RECORDED | Point.KEPT:
                return State.CREATED
            case Point.PUBLISHING if attempt.is_at_once(is_named=is_named):
                return None
            case Point.PUBLISHED:
                return State.COMPLETED
            case _:
                return State.RUNNING


class Next(StrEnum):
    """Who comes next."""

    SAME = "the same call"
    RESTART = "restart"
    STOP = "stop"
    FORCE = "stop by force"
    RIVAL = "another process that needs the locks"


@dataclass(frozen=True)
class Case:
    attempt: Attempt
    point: Point
    is_named: bool
    action: Action = Action.KILL
    then: Next | None = None

    def __str__(self) -> str:
        name = "named" if self.is_named else "unnamed"
        return "-".join([self.attempt.operation, self.point.name, name, (self.then or self.action).name])

    @property
    def is_at_once(self) -> bool:
        return self.attempt.is_at_once(is_named=self.is_named)

    @property
    def state(self) -> State | None:
        """Return the state of the process if its worker dies."""
        return self.point.state(self.attempt, is_named=self.is_named)

    @property
    def fault(self) -> Fault:
        return Fault(self.point.of(self.attempt), self.action)


def kills() -> Iterator[Case]:
    for attempt, point, is_named, then in itertools.product(ATTEMPTS, Point, (True, False), Next):
        if point.is_in(attempt, is_named=is_named) and (is_named or then is not Next.SAME):
            yield Case(attempt, point, is_named, then=then)


def errors() -> Iterator[Case]:
    actions = (Action.REFUSE, Action.FAIL, Action.INTERRUPT, Action.TERMINATE)
    for attempt, point, is_named, action in itertools.product(ATTEMPTS, Point, (True, False), actions):
        if point.is_in(attempt, is_named=is_named):
            yield Case(attempt, point, is_named, action)


def is_chosen(case: Case) -> bool:
    """Tell whether a case is tried by default. The others are with ``--full``."""
    if case.action is not Action.KILL:
        last = Point.PUBLISHING if case.is_at_once else Point.PLACED
        return case.point is last or (case.action is Action.INTERRUPT and case.point in (Point.KEPT, Point.PUBLISHED))
    match case.point:
        case Point.PLACED:
            return case.then is not Next.FORCE or case.attempt.operation == "create_instance"
        case Point.BEGUN:
            return case.then is (Next.SAME if case.is_named else Next.RIVAL)
        case Point.PUBLISHING if case.is_at_once:
            return case.then is (Next.SAME if case.is_named else Next.RIVAL)
        case Point.KEPT:
            return case.then in (Next.SAME, Next.RESTART)
        case Point.PUBLISHED:
            return case.then in (Next.SAME, Next.RESTART)
        case Point.RECORDING:
            return case.then is Next.RESTART and not case.is_named
        case _:
            return False


def chosen(cases: Iterator[Case]) -> list[object]:
    return [pytest.param(each, id=str(each), marks=[] if is_chosen(each) else [pytest.mark.full]) for each in cases]


@dataclass(frozen=True)
class Scene:
    """An attempt on a copy of the library, and what the vault is to be before and after."""

    attempt: Attempt
    is_named: bool
    vault_dir: Path
    made: str
    workers: Workers
    before: states.State
    after: states.State

    @property
    def vault(self) -> TableVault:
        return TableVault(self.vault_dir, "bob", lock_timeout=0.05)

    @property
    def name(self) -> str:
        return ID if self.is_named else ""

    def meet(self, fault: Fault) -> BaseException:
        """Make the attempt in a worker, and return what it raised: Trouble, if it didn't live to."""
        arguments = (self.vault_dir, self.attempt.operation, self.made, self.name)
        worker = self.workers.start(library.attempt, *arguments, faults=[fault])
        try:
            worker.result()
        except BaseException as error:
            return error
        raise AssertionError(f"the worker didn't come to {fault}")

    def process(self) -> ProcessRecord | None:
        """Return the process of the attempt, None if nothing is recorded of it."""
        if not self.is_named:
            return next(iter(self.vault.get_active_processes().values()), None)
        try:
            return self.vault.get_process(ID)
        except TVArgumentError:
            return None

    @property
    def may_leave_litter(self) -> bool:
        """Tell whether a worker that dies before it has recorded anything may have placed something already."""
        return self.attempt.is_short and not self.is_named

    def assert_unchanged(self, *, is_late: bool = False) -> None:
        """Hold the vault to what it was. Late housekeeping has put litter into the trash."""
        found, wanted = states.without_partial_frames(states.state(self.vault_dir)), self.before
        if is_late:
            found, wanted = states.without_trash(found), states.without_trash(wanted)
        assert states.differences(found, wanted) == []
        states.assert_sound(self.vault_dir)

    def assert_done(self, *, is_late: bool = False) -> None:
        """Hold the vault to what an undisturbed attempt makes of it. Late housekeeping puts more into the trash."""
        found, wanted = states.shape(self.vault_dir, known=self.made), self.after
        if is_late:
            found, wanted = states.without_trash(found), states.without_trash(wanted)
        assert states.differences(found, wanted) == []
        states.assert_sound(self.vault_dir)


class Afters:
    """What undisturbed attempts make of the library."""

    def __init__(self, library_dir: Path, folder: Path) -> None:
        self._library = library_dir
        self._folder = folder
        self.of = cache(self._make)

    def _make(self, operation: str) -> states.State:
        made = (self._library / "made").read_text()
        vault_dir = Path(shutil.copytree(self._library / "vault", self._folder / operation / "vault"))
        BY_NAME[operation].prepare(vault_dir, self._library)
        library.attempt(vault_dir, operation, made, "")
        states.assert_sound(vault_dir)
        return states.shape(vault_dir, known=made)


@pytest.fixture(scope="session")
def undisturbed(library_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Afters]:
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TABLEVAULT_TEST_CALLS", str(folder / "calls"))
        yield Afters(library_dir, folder)


@pytest.fixture
def attempt(case: Case) -> Attempt:
    return case.attempt


@pytest.fixture
def vault_dir(attempt: Attempt, copy_dir: Path, library_dir: Path) -> Path:
    """Return a copy of the library, with what the attempt needs."""
    attempt.prepare(copy_dir, library_dir)
    return copy_dir


@pytest.fixture
def scene(case: Case, vault_dir: Path, made: str, workers: Workers, undisturbed: Afters) -> Scene:
    return Scene(
        case.attempt,
        case.is_named,
        vault_dir,
        made,
        workers,
        before=states.state(vault_dir),
        after=undisturbed.of(case.attempt.operation),
    )


def test_every_operation_is_attempted() -> None:
    """One that is missing in ``tests.library`` is held to nothing here."""
    assert {attempt.kind for attempt in ATTEMPTS} == REGISTRY.keys() - {cls.name for cls in _made_by_tests()}


def _made_by_tests() -> list[type[Operation]]:
    return [cls for cls in REGISTRY.values() if not cls.__module__.startswith("tablevault_like.")]


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=str)
@pytest.mark.parametrize("name", [ID, ""], ids=["named", "unnamed"])
def test_what_is_refused_changes_nothing(attempt: Attempt, name: str, vault_dir: Path, made: str) -> None:
    before, vault = states.state(vault_dir), TableVault(vault_dir)

    with pytest.raises(TableVaultError):
        attempt.wrong(vault, made, name)

    assert states.differences(states.state(vault_dir), before) == []
    assert vault.get_active_processes() == {}
    with pytest.raises(TVArgumentError):
        vault.get_process(ID)


@pytest.mark.parametrize("case", chosen(errors()))
class TestAnError:
    def test_reverts_or_pauses(self, case: Case, scene: Scene) -> None:
        error = scene.meet(case.fault)

        assert isinstance(error, RAISED[case.action])
        record = scene.process()
        if case.point is Point.PUBLISHED:
            assert "".join(error.__notes__).count("had completed") == 1
            scene.assert_done()
        elif record is None or record.state is State.REVERTED:
            assert not is_to_pause(case)
            scene.assert_unchanged()
        else:
            assert is_to_pause(case)
            assert (record.state, record.is_alive) == (State.PAUSED, False)
            assert record.error is not None
            assert record.error.type == type(error).__name__
            assert "is paused" in "".join(error.__notes__)
            assert case.attempt.call(scene.vault, scene.made, ID) == ID
            scene.assert_done()


RAISED = {
    Action.REFUSE: TVArgumentError,
    Action.FAIL: Trouble,
    Action.INTERRUPT: KeyboardInterrupt,
    Action.TERMINATE: SystemExit,
}


def is_to_pause(case: Case) -> bool:
    """Tell whether an error pauses a process. Before the inputs are kept there is nothing to resume."""
    if not case.is_named or case.state is not State.RUNNING:
        return False
    has_steps = case.attempt.operation == "execute_instance" and case.point in (Point.PLACED, Point.PUBLISHING)
    return case.action is not Action.REFUSE or has_steps


@pytest.mark.parametrize("case", chosen(kills()))
class TestAWorkerThatIsKilled:
    def test_leaves_a_vault_that_whoever_comes_next_puts_right(self, case: Case, scene: Scene) -> None:
        error = scene.meet(case.fault)
        assert isinstance(error, Trouble)
        assert "-9" in str(error)
        record = scene.process()
        state = case.state
        if state is State.COMPLETED and not case.is_named:
            assert record is None
        elif state is None:
            assert record is None or record.state is State.REVERTED
        else:
            assert record is not None
            assert (record.state, record.is_alive) == (state, False)

        come(case.then, scene, state, "" if record is None else record.process_id)


def come(then: Next | None, scene: Scene, state: State | None, process_id: str) -> None:
    """Let somebody come to a process whose worker is dead, and hold what they do to the table of failures."""
    vault, attempt = scene.vault, scene.attempt
    match then:
        case Next.SAME:
            assert attempt.call(vault, scene.made, ID) == ID
            assert vault.get_process_completion(ID)
            if state is State.COMPLETED:
                TableVault(scene.vault_dir, restart=True)
            scene.assert_done(is_late=state is State.COMPLETED)
        case Next.RESTART:
            outcomes = TableVault(scene.vault_dir, restart=True).restarted
            match state:
                case State.RUNNING:
                    assert outcomes[process_id].state is State.COMPLETED
                    scene.assert_done()
                case State.CREATED:
                    assert outcomes[process_id].state is State.REVERTED
                    scene.assert_unchanged()
                case State.COMPLETED:
                    assert not outcomes
                    scene.assert_done(is_late=True)
                case _:
                    assert not outcomes
                    scene.assert_unchanged(is_late=scene.may_leave_litter)
        case Next.STOP | Next.FORCE:
            if state is None:
                TableVault(scene.vault_dir, restart=True)
                scene.assert_unchanged(is_late=scene.may_leave_litter)
            elif state in (State.RUNNING, State.CREATED):
                assert vault.stop_process(process_id, force=then is Next.FORCE) == process_id
                assert vault.get_process(process_id).state is State.REVERTED
                scene.assert_unchanged()
            elif scene.is_named:
                with pytest.raises(TVProcessError, match="has ended"):
                    vault.stop_process(ID)
        case Next.RIVAL:
            rival = BY_NAME[attempt.rival or attempt.operation]
            if state is State.COMPLETED:
                return
            if scene.is_named and state is not None:
                before = states.state(scene.vault_dir)
                with pytest.raises(TVLockError, match=f"{ID!r} .*by bob, interrupted.*pid .*since") as caught:
                    rival.call(vault, scene.made, "")
                assert caught.value.holder == ID
                assert states.state(scene.vault_dir) == before
                return
            rival.call(vault, scene.made, "")
            if process_id:
                assert vault.get_process(process_id).state is State.REVERTED
            if state is None:
                TableVault(scene.vault_dir, restart=True)
            if rival is attempt:
                scene.assert_done(is_late=state is None and scene.may_leave_litter)


LIVING = [
    pytest.param(attempt, is_named, id=f"{attempt}-{'named' if is_named else 'unnamed'}")
    for attempt, is_named in itertools.product(ATTEMPTS, (True, False))
    if not attempt.is_at_once(is_named=is_named)
]


@pytest.mark.parametrize(("attempt", "is_named"), LIVING)
def test_a_living_worker_is_ended_by_force(
    attempt: Attempt, is_named: bool, vault_dir: Path, made: str, workers: Workers, undisturbed: Afters
) -> None:
    scene = Scene(
        attempt, is_named, vault_dir, made, workers, states.state(vault_dir), undisturbed.of(attempt.operation)
    )
    fault = Fault(attempt.point("after", "execute"), Action.WAIT)
    worker = workers.start(library.attempt, vault_dir, attempt.operation, made, scene.name, faults=[fault])
    worker.arrive()
    ((process_id, record),) = scene.vault.get_active_processes().items()
    assert (record.is_alive, record.pid) == (True, worker.pid)
    with pytest.raises(TVProcessError, match=f"A living worker is at process '{process_id}'"):
        scene.vault.stop_process(process_id)

    scene.vault.stop_process(process_id, force=True)

    with pytest.raises(SystemExit) as caught:
        worker.result()
    assert "nothing was undone here" in "".join(caught.value.__notes__)
    assert scene.vault.get_process(process_id).state is State.REVERTED
    scene.assert_unchanged()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("attempt", ATTEMPTS, ids=str)
@pytest.mark.parametrize("is_named", [True, False], ids=["named", "unnamed"])
def test_wherever_a_worker_is_killed_the_vault_is_put_right(
    attempt: Attempt, is_named: bool, vault_dir: Path, made: str, workers: Workers, undisturbed: Afters, is_full: bool
) -> None:
    """Kill it before the first call that changes a file or the catalog, then before the second, ... to the last."""
    original = Path(shutil.copytree(vault_dir, vault_dir.with_name("original")))
    before, after = states.state(vault_dir), undisturbed.of(attempt.operation)
    known = states.processes(vault_dir)
    seen = set[str]()
    for number in itertools.count(1, 1 if is_full else EVERY):
        shutil.rmtree(vault_dir)
        shutil.copytree(original, vault_dir)
        scene = Scene(attempt, is_named, vault_dir, made, workers, before, after)
        fault = Fault(GROUND, Action.KILL, number)
        worker = workers.run(library.attempt, vault_dir, attempt.operation, made, scene.name, faults=[fault])
        if worker.end() == 0:
            break
        state = next((state for each, state in states.processes(vault_dir).items() if each not in known), "unrecorded")
        seen.add(state)
        if is_named:
            attempt.call(scene.vault, made, ID)
        TableVault(vault_dir, restart=True)
        if not is_named and state in ("unrecorded", State.CREATED):
            scene.assert_unchanged(is_late=scene.may_leave_litter)
        else:
            scene.assert_done(is_late=True)
    assert {"unrecorded", State.COMPLETED} <= seen or not is_full


@pytest.mark.timeout(300)
@pytest.mark.parametrize("attempt", ATTEMPTS, ids=str)
@pytest.mark.parametrize("is_named", [True, False], ids=["named", "unnamed"])
@pytest.mark.parametrize("action", [Action.INTERRUPT, Action.FAIL])
def test_wherever_a_worker_is_interrupted_nothing_is_left_half_done(
    attempt: Attempt,
    is_named: bool,
    action: Action,
    vault_dir: Path,
    made: str,
    workers: Workers,
    undisturbed: Afters,
    is_full: bool,
    calls: Calls,
) -> None:
    """Send it Ctrl-C, or let the disk fail, before the second call that changes something, before the third, ..."""
    original = Path(shutil.copytree(vault_dir, vault_dir.with_name("original")))
    before, after = states.state(vault_dir), undisturbed.of(attempt.operation)
    known = states.processes(vault_dir)
    for number in itertools.count(2, 1 if is_full else EVERY):
        shutil.rmtree(vault_dir)
        shutil.copytree(original, vault_dir)
        scene = Scene(attempt, is_named, vault_dir, made, workers, before, after)
        struck = calls()[STRUCK]
        fault = Fault(GROUND, action, number)
        worker = workers.start(library.attempt, vault_dir, attempt.operation, made, scene.name, faults=[fault])
        try:
            worker.result()
        except (KeyboardInterrupt, Trouble, TVFileError) as error:
            told = "".join(getattr(error, "__notes__", ()))
        else:
            if calls()[STRUCK] == struck:
                break
            assert action is Action.FAIL, f"the interrupt before call {number} was lost"
            told = "a failure in the housekeeping"
        state = next((state for each, state in states.processes(vault_dir).items() if each not in known), None)
        if state in (State.PAUSED, State.RUNNING):
            # Running, where a thread was left in user code that would have paused it on leaving, had it lived.
            assert is_named
            assert "is paused" in told
        else:
            assert scene.vault.get_active_processes() == {}
        if state in (None, State.REVERTED):
            scene.assert_unchanged()
        if is_named:
            attempt.call(scene.vault, made, ID)
            state = State.COMPLETED
        if state == State.COMPLETED:
            TableVault(vault_dir, restart=True)
            scene.assert_done(is_late=True)
