"""How far a step is goes to the catalog a few times a second, however fast its rows are."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tablevault_like.catalog import Catalog, processes
from tablevault_like.layout import Layout
from tablevault_like.model import Progress, State
from tablevault_like.process.journal import Journal
from tablevault_like.process.run import Run, StepReport
from tests.library import BY_NAME
from tests.scenes import LibraryScene
from tests.workers import Action, Fault, Workers, wait_until


class Time:
    """A clock that the test sets, and timers that it lets ring."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def monotonic(self) -> float:
        return self.now

    def timer(self, seconds: float, ring: Callable[[], None]) -> SimpleNamespace:
        return SimpleNamespace(daemon=False, start=lambda: self.timers.append((self.now + seconds, ring)))

    def pass_by(self, seconds: float) -> None:
        """Let time pass, and what is due ring."""
        self.now += seconds
        due = [each for each in self.timers if each[0] <= self.now]
        self.timers = [each for each in self.timers if each[0] > self.now]
        for _, ring in due:
            ring()


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr("tablevault_like.process.run.time", SimpleNamespace(monotonic=time.monotonic))
    monkeypatch.setattr("tablevault_like.process.run.threading", SimpleNamespace(Lock=threading.Lock, Timer=time.timer))
    return time


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Return a process that runs."""
    catalog = Catalog.create(tmp_path / "catalog.sqlite")
    clock = itertools.count(1)
    journal = Journal(catalog, Layout(tmp_path), lambda: float(next(clock)))
    with catalog.transaction() as db:
        epoch = journal.add(
            db,
            "p",
            operation="execute_instance",
            arguments={},
            needed=[],
            needed_for_claim=[],
            author="ada",
            named=True,
            parent_id=None,
            created_at=1.0,
        )
        journal.advance(db, "p", epoch, State.CREATED, State.RUNNING)
    run = Run("p", epoch, True, "ada", 1.0, journal)
    run.plan_steps(["loud"])
    yield run
    catalog.close()


@pytest.fixture
def report(run: Run, time: Time) -> StepReport:
    report = StepReport(run, "loud")
    report.start(total=10_000, already=0)
    return report


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the numbers of rows that are written to the catalog."""
    original, written = processes.report_step, []

    def report_step(db: object, process_id: str, name: str, progress: Progress, *, now: float) -> None:
        original(db, process_id, name, progress, now=now)  # type: ignore[arg-type]
        written.append(progress.done)

    monkeypatch.setattr(processes, "report_step", report_step)
    return written


def done(run: Run) -> int:
    with run.journal.catalog.snapshot() as db:
        (step,) = processes.steps(db, run.process_id)
    return step.record.rows_done


def test_ten_thousand_rows_in_ten_seconds_are_some_25_commits(
    run: Run, report: StepReport, time: Time, written: list[int]
) -> None:
    for rows in range(1, 10_001):
        report.update(Progress(rows, 0, 10_000))
        time.pass_by(0.001)

    assert 20 <= len(written) <= 26
    assert written == sorted(written)
    assert 10_000 - done(run) <= 401
    report.finish()
    assert (done(run), written[-1]) == (10_000, 10_000)


def test_a_row_after_which_none_comes_is_told_all_the_same(
    run: Run, report: StepReport, time: Time, written: list[int]
) -> None:
    report.update(Progress(1, 0, 10_000))
    time.pass_by(0.1)
    report.update(Progress(2, 0, 10_000))
    assert written == []

    time.pass_by(0.3)

    assert (written, done(run)) == ([2], 2)
    time.pass_by(3600)
    assert written == [2]


def test_what_slow_rows_give_is_told_at_once(run: Run, report: StepReport, time: Time, written: list[int]) -> None:
    for rows in range(1, 4):
        time.pass_by(60)
        report.update(Progress(rows, 0, 10_000))

    assert written == [1, 2, 3]


def test_of_a_killed_run_all_that_is_recorded_is_told(copy_dir: Path, made: str, workers: Workers) -> None:
    scene = LibraryScene(copy_dir, workers, made)
    held = scene.start("execute_instance", "nightly", Fault("shout dog", Action.WAIT))
    held.arrive()
    wait_until(lambda: scene.recorded("nightly", "shout") == 3)
    held.kill()  # most likely before any of this went to the catalog

    record = scene.vault.get_process("nightly")

    (step,) = (each for each in record.steps if each.name == "shout")
    assert (record.status, step.rows_done) == ("interrupted", 3)
    assert BY_NAME["execute_instance"].call(scene.vault, made, "nightly") == "nightly"
