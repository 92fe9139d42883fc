"""An execution that keeps to a sample, notes its calls, and dies where it is told to. Only in a worker made for it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import pandas as pd

from tablevault_like.builders.batches import BatchWork
from tablevault_like.builders.plan import PlannedBuilder
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.catalog import Database
from tablevault_like.chaos.notes import Notebook
from tablevault_like.chaos.points import Point
from tablevault_like.engines.base import Calls, Engine, Stop, Work
from tablevault_like.engines.threads import ThreadEngine
from tablevault_like.errors import TVArtifactError
from tablevault_like.model import ARTIFACT_DTYPE, Progress, Result, ReturnType, Row
from tablevault_like.operations.execute import ExecuteInstance
from tablevault_like.operations.execution import Execution
from tablevault_like.operations.publication import Publication
from tablevault_like.process.run import Run, StepReport
from tablevault_like.references.keywords import Keyword
from tablevault_like.storage import artifacts

T = TypeVar("T")

builder_inside: ContextVar[str | None] = ContextVar("tablevault_like_rehearsed_builder", default=None)
"""The builder whose function this thread is in."""


class Striker:
    """Counts the points that a worker passes, and kills it at one of them."""

    def __init__(self, point: str = "", nth: int = 0, stage: str = "") -> None:
        self.counts = dict.fromkeys(Point, 0)
        self._target = Point(point) if point else None
        self._nth = nth
        self._stage = stage
        self._counting = threading.RLock()
        self._done: dict[str, int] = {}

    def reach(self, point: Point, count: int = 1) -> None:
        """Tell that the worker is at a point, maybe several times at once."""
        with self._counting:
            self.counts[point] += count
            is_there = point is self._target and self.counts[point] >= self._nth
        if is_there:
            strike()

    def reach_stage(self, stage: str) -> None:
        """Tell that the worker is at a stage of publishing."""
        if self._target is Point.PUBLISHING and stage == self._stage:
            strike()

    def observe(self, step: str, progress: Progress, is_done: bool) -> None:
        """Count the rows that are recorded."""
        made = progress.done - self._done.get(step, 0)
        self._done[step] = progress.done
        if made > 0 and not is_done:
            self.reach(Point.COMMIT, made)


def strike() -> None:
    """Kill this worker."""
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What this worker rehearses."""

    sample: int
    striker: Striker
    notebook: Notebook


_rehearsals: list[Rehearsal] = []


def begin(rehearsal: Rehearsal) -> None:
    """Let the executions of this worker be rehearsals."""
    _rehearsals[:] = [rehearsal]


def _rehearsal() -> Rehearsal:
    return _rehearsals[0]


class RehearsedInstance(ExecuteInstance):
    """An execution that passes the stages of publishing."""

    def execution(self) -> type[Execution]:
        return RehearsedExecution

    def execute(self, run: Run) -> Publication:
        made = super().execute(run)
        _rehearsal().striker.reach_stage("placed")
        return made

    def publish(self, run: Run, db: Database) -> None:
        striker = _rehearsal().striker
        striker.reach_stage("publish")
        super().publish(run, db)
        striker.reach_stage("uncommitted")

    def finish(self, run: Run) -> None:
        striker = _rehearsal().striker
        striker.reach_stage("published")
        super().finish(run)
        striker.reach_stage("finished")


class RehearsedExecution(Execution):
    """An execution whose IndexBuilder makes no more rows than the sample has."""

    @staticmethod
    def make_engine() -> Engine:
        return NotingEngine()

    def stage(self) -> Publication:
        _rehearsal().striker.reach_stage("place")
        return super().stage()

    def _specify(self, planned: PlannedBuilder) -> BuilderSpec:
        spec = super()._specify(planned)
        if spec.is_index and spec.return_type is ReturnType.BATCH and spec.total_rows is not None:
            return replace(spec, total_rows=min(_rehearsal().sample, spec.total_rows))
        return spec

    def _function(self, spec: BuilderSpec) -> Callable[..., object]:
        function = super()._function(spec)
        if not spec.is_index or spec.return_type not in (ReturnType.GENERATOR, ReturnType.DATAFRAME):
            return function
        # Nothing of it is being recorded yet, so that is where a generator is told to go on.
        offset = len(self.building.store.recorded(spec.name)) if _resumes(spec) else 0
        columns = [name for name, dtype in spec.dtypes.items() if dtype == ARTIFACT_DTYPE]
        return _limited(function, _rehearsal().sample, offset, _Rest(columns, self.building.artifact_folder))

    def _run_builder(
        self, planned: PlannedBuilder, spec: BuilderSpec, function: Callable[..., object], report: StepReport
    ) -> None:
        engine = self.building.engine
        assert isinstance(engine, NotingEngine)
        engine.builder = planned.name
        super()._run_builder(planned, spec, function, report)


def _resumes(spec: BuilderSpec) -> bool:
    return Keyword.RESUME_FROM in spec.arguments.keywords


@dataclass(frozen=True, slots=True)
class _Rest:
    """Cuts off what of a frame isn't in the sample. ``columns`` name artifacts in ``folder``."""

    columns: Sequence[str]
    folder: Path

    def cut_off(self, frame: pd.DataFrame, sample: int) -> pd.DataFrame:
        """Return the first rows of a frame. The files that only the others name are removed: no cell names them now."""
        columns = [name for name in self.columns if name in frame.columns]
        kept, rest = (
            {cell for column in columns for cell in part[column].dropna() if isinstance(cell, str)}
            for part in (frame.head(sample), frame.iloc[sample:])
        )
        for name in rest - kept:
            with suppress(TVArtifactError, OSError):
                artifacts.resolve(self.folder, name).unlink()
        return frame.head(sample)


def _limited(function: Callable[..., object], sample: int, offset: int, rest: _Rest) -> Callable[..., object]:
    """Let a function that makes all rows make no more than a sample."""

    @wraps(function)
    def limited(**arguments: Any) -> object:
        found = function(**arguments)
        if isinstance(found, pd.DataFrame):
            return rest.cut_off(found, sample)
        if isinstance(found, Result) and isinstance(found.values, pd.DataFrame):
            return replace(found, values=rest.cut_off(found.values, sample))
        is_stream = isinstance(found, Iterable) and not isinstance(found, str | bytes | Mapping | Result)
        return _first(found, sample, offset) if is_stream else found

    return limited


def _first(found: object, sample: int, offset: int) -> Generator[object, None, object]:
    """Yield the first values of a stream that begins at an offset; return what it returns, or how far they reach."""
    iterator = iter(cast("Iterable[object]", found))
    try:
        for _ in range(sample - offset):
            try:
                value = next(iterator)
            except StopIteration as end:
                return end.value
            # Where it stands among all rows makes no sense among the first.
            yield value.values if isinstance(value, Row) else value
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
    return sample


class NotingEngine(ThreadEngine):
    """An engine that notes every call."""

    builder = ""
    """The builder whose function is called."""

    def map(
        self,
        function: Callable[[Work], T],
        work: Iterable[Work],
        *,
        stop: Stop,
        workers: int = 1,
        enter: Callable[[Work], None] | None = None,
    ) -> Calls[T]:
        rehearsal, builder = _rehearsal(), self.builder

        def noted(work: Work) -> T:
            rows = _rows_of(work)
            number = rehearsal.notebook.begin(builder, rows)
            rehearsal.striker.reach(Point.CALL)
            token = builder_inside.set(builder)
            try:
                return function(work)
            finally:
                builder_inside.reset(token)
                rehearsal.notebook.end(number, builder, rows)
                rehearsal.striker.reach(Point.RETURN)

        return super().map(noted, work, stop=stop, workers=workers, enter=enter)

    def stream(
        self,
        function: Callable[[Work], Iterable[T]],
        work: Work,
        *,
        stop: Stop,
        enter: Callable[[Work], None] | None = None,
    ) -> Calls[T]:
        rehearsal, builder = _rehearsal(), self.builder

        def noted(work: Work) -> Iterator[T]:
            number = rehearsal.notebook.begin(builder, None)
            builder_inside.set(builder)
            rehearsal.striker.reach(Point.CALL)
            values = iter(function(work))
            try:
                for value in values:
                    rehearsal.striker.reach(Point.RETURN)
                    yield value
                    rehearsal.striker.reach(Point.CALL)
            finally:
                close = getattr(values, "close", None)
                if close is not None:
                    close()
                rehearsal.notebook.end(number, builder, None)

        return super().stream(noted, work, stop=stop, enter=enter)


def _rows_of(work: Work) -> tuple[int, ...] | None:
    if isinstance(work, BatchWork):
        return tuple(row.index for row in work.rows if row.index is not None)
    return None if work.index is None else (work.index,)
