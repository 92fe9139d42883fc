"""One builder that is to make its rows, however it makes them: what all ways have in common."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from tablevault_like.builders.commits import Commits
from tablevault_like.builders.gathered import GatheredReuse
from tablevault_like.builders.hashing import InputHash
from tablevault_like.builders.holding import Holding
from tablevault_like.builders.recording import Building, Recorder
from tablevault_like.builders.reuse import Reuse
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.engines.attempts import Attempts
from tablevault_like.engines.base import Calls, Work
from tablevault_like.errors import TVBuilderError
from tablevault_like.model import Progress, ReturnType
from tablevault_like.model import Reuse as ReuseMode
from tablevault_like.references.arguments import Bound
from tablevault_like.references.keywords import Keyword
from tablevault_like.storage.digests import digest

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """One builder of an execution.

    ``code`` is the number of the code that makes its rows (``RowStore.code_number``), ``recipe`` what its rows can be
    reused by. ``report`` is called in the coordinator when it begins, and after each commit.
    """

    building: Building
    spec: BuilderSpec
    function: Callable[..., object]
    code: int = 0
    recipe: str = ""
    report: Callable[[Progress], None] = lambda progress: None

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def frame_path(self) -> Path:
        """Where the frame of a dataframe builder is kept."""
        return self.building.frame_path(self.name)

    def rows_to_fill(self) -> int:
        rows = self.building.frames.rows
        if self.spec.is_index and not rows:
            raise TVBuilderError(
                "An IndexBuilder whose return_type is row-wise runs over the rows that the instance has from its "
                "origin, and it has none. Create the instance with an origin that has rows, or set 'return_type: "
                "generator' or 'return_type: dataframe' to make rows.",
                location=self.spec.location("return_type"),
            )
        if rows is None:
            raise RuntimeError(f"the rows that {self.name!r} is to fill aren't made yet")
        return rows

    def bind(self, *, resume_from: int = 0) -> Bound:
        """Return the builder's arguments. ``resume_from`` counts in the source of a generator."""
        building = self.building
        keywords: dict[Keyword, object] = {
            Keyword.ARTIFACT_FOLDER: str(building.artifact_folder),
            Keyword.PROCESS_ID: building.process_id,
            Keyword.RESUME_FROM: resume_from,
        }
        return self.spec.arguments.bind(building.frames, keywords)

    def whole_work(self, bound: Bound) -> Work:
        """Return the one call of a function that makes all rows."""
        key = self.key("all")
        arguments, inputs = bound.row(None, key)
        return Work(None, arguments, inputs, key)

    def input_hash(self, bound: Bound) -> InputHash:
        return InputHash(self.function, bound.constant_inputs, self.building.contents)

    @property
    def reuse(self) -> Reuse | GatheredReuse | None:
        """What may be taken over. An IndexBuilder always runs, but for the batches of one that makes such."""
        can_be_reused = self.spec.makes_batches and not self.spec.keep_old if self.spec.is_index else True
        return self.building.reuse if can_be_reused and self.spec.reuse is not ReuseMode.NEVER else None

    @property
    def start_at(self) -> int:
        """Where the source of a generator begins."""
        return self.building.start_at.get(self.name, 0)

    def commits(self, recorder: Recorder) -> Commits:
        """Return what counts the results that are recorded; from now on user code may wait for their commits."""
        commits = Commits(lambda: self.tell_saved(recorder))
        self.building.offer_checkpoint(commits.wait)
        return commits

    def calls(self, function: Callable[[Work], T], work: Iterable[Work], *, count: int, recorder: Recorder) -> Calls[T]:
        """Call a function for ``count`` pieces of work, in the builder's threads, and count what it gives."""
        building, commits = self.building, self.commits(recorder)
        holding = self.holding(recorder, commits)
        return commits.committed(
            building.engine.map(
                commits.counting(holding.counting(function)),
                holding.held(work),
                workers=min(self.spec.n_threads, count),
                stop=building.stop,
                enter=building.enter,
            )
        )

    def holding(self, recorder: Recorder, commits: Commits) -> Holding:
        """Return what holds workers back at the limits of failures and cost."""
        return Holding(
            commits,
            self.building.stop,
            failures=recorder.failures_left,
            cost=recorder.cost_left,
            one_by_one=self.spec.takes_batches or self.spec.makes_batches,
        )

    def call_hash(self, bound: Bound, work: Work) -> bytes | None:
        """Return what tells the one call that makes all rows from any other; None for an IndexBuilder's."""
        if self.spec.is_index:
            return None
        return digest(self.recipe, self.input_hash(bound).of(work.arguments, work.inputs))

    def made_before(self, input_hash: bytes | None) -> pa.Table | None:
        """Return what this call has made in the origin, None if it hasn't."""
        if self.reuse is None or input_hash is None:
            return None
        return self.reuse.whole(self.spec.changed_columns, input_hash)

    def tell_reuse(self, reused: int, *, of: int) -> None:
        if reused and self.reuse is not None:
            process_id, told = self.building.process_id, self.reuse.told
            _log.info(
                "Process %s, builder %s: %d of %d rows are reused from %s", process_id, self.name, reused, of, told
            )

    def tell_saved(self, recorder: Recorder) -> None:
        """Log how far what is recorded goes. An offset counts in the source of a generator."""
        done = recorder.done
        if self.spec.return_type is ReturnType.GENERATOR:
            _log.info("Checkpoint saved: offset=%d, processed=%d", self.start_at + done, done)
        else:
            _log.info("Checkpoint saved: processed=%d", done)

    def key(self, row: int | str) -> str:
        return f"{self.building.process_id}:{self.name}:{row}"

    def recorder(self, *, total: int | None) -> Recorder:
        counts = self.building.store.counts(self.name)
        return Recorder(self.building, self.spec, code=self.code, report=self.report, counts=counts, total=total)

    def attempts(self) -> Attempts | None:
        """Return how the function is called, None if it is just called."""
        spec = self.spec
        if spec.retries.attempts == 1 and spec.timeout is None and spec.rate is None:
            return None
        return Attempts(
            self.building.engine, self.building.stop, retries=spec.retries, timeout=spec.timeout, rate=spec.rate
        )

    def give_up_if_abandoned(self, seconds: float) -> None:
        """Wait for a busy row store no longer than the user does."""
        if self.building.stop.abandoned:
            raise self.building.interrupted()
