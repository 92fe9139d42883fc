"""Run a builder, from what is recorded of it to all of its rows.

1. Only the coordinator, the thread that calls ``run``, writes. A worker that is left behind writes nothing.
2. A row that is recorded as done is not computed again; neither is a dataframe that was kept.
3. A generator's rows are recorded in the order in which it yields them: what is recorded is always all that it had
   yielded up to some point.
4. When a stop is requested, what is in flight is awaited and recorded; then ``Interrupted`` is raised.
5. What user code raised, and what is wrong with what it returned, is raised as ``UserCodeError``. Errors of the vault's
   own (a reference that can't be resolved, a lost claim) are raised as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pyarrow as pa

from tablevault_like.builders.batches import fill_batches, make_batches
from tablevault_like.builders.frames import check_primary_key
from tablevault_like.builders.recording import Building, failure
from tablevault_like.builders.rows import make_rows
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.builders.spending import Spending
from tablevault_like.builders.streams import follow
from tablevault_like.builders.task import Task
from tablevault_like.builders.wholes import kept, make_frame
from tablevault_like.errors import TVArtifactError, TVTableError
from tablevault_like.model import Progress, ReturnType
from tablevault_like.storage import files, tables

__all__ = ["BuilderRun", "Building", "Progress"]


class BuilderRun:
    """One builder of an execution, given as the fields of a ``Task``."""

    def __init__(
        self,
        building: Building,
        spec: BuilderSpec,
        function: Callable[..., object],
        *,
        code: int = 0,
        recipe: str = "",
        report: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        self.building = building
        self.spec = spec
        self.task = Task(building, spec, function, code, recipe, report)

    def run(self) -> None:
        """Compute what isn't recorded yet, and add the builder's columns to the frame that is being built.

        Raises UserCodeError for whatever user code raised, or returned that can't be used; Interrupted if it was
        stopped before it was complete; TableVaultError for what is wrong with the builder; FencedError if another
        worker took the process over.
        """
        self.building.offer_checkpoint(lambda: None)
        self.building.store.while_busy = self.task.give_up_if_abandoned
        with self._spending() as building:
            table = self._make(replace(self.task, building=building))
        try:
            table = self.columns() if table is None else table
            if self.spec.primary_key:
                check_primary_key(
                    tables.frame_from_table(table.select(list(self.spec.primary_key))), self.spec.primary_key
                )
        except (TVTableError, TVArtifactError) as error:
            if self.building.stop.requested:  # it comes before what is wrong with what was made meanwhile
                raise self.building.interrupted() from error
            raise failure(self.spec, error) from error
        self._add(table)

    def _make(self, task: Task) -> pa.Table | None:
        """Make what isn't recorded yet. Return it if it is one frame."""
        match self.spec.return_type:
            case ReturnType.ROW_WISE:
                make_rows(task)
            case ReturnType.BATCH if self.spec.is_index:
                make_batches(task)
            case ReturnType.BATCH:
                fill_batches(task)
            case ReturnType.GENERATOR:
                follow(task)
            case ReturnType.DATAFRAME:
                return make_frame(task)
        return None

    @contextmanager
    def _spending(self) -> Iterator[Building]:
        """Count what is spent of the builder's own budget, too, if it has one."""
        building, budget = self.building, self.spec.budget
        if budget is None:
            yield building
            return
        with Spending(budget, building.pause, of=f"the builder {self.spec.name!r}") as spending:
            yield replace(building, spendings=(*building.spendings, spending))

    def load(self) -> None:
        """Add the columns of a builder that was finished earlier to the frame that is being built."""
        self._add(self.columns())

    def columns(self) -> pa.Table:
        """Return what is recorded of this builder as an Arrow table, in its dtypes.

        An IndexBuilder's has a row for each that is done, and if it makes batches, for each that is skipped, too; a
        ColumnBuilder's one for each of the frame being built. What isn't done is missing then.
        """
        names = self.spec.changed_columns
        rows = self.building.frames.rows
        if self._makes_rows:
            counts = self.building.store.counts(self.task.name)
            # Not total_rows: what was taken over from the origin may be fewer, or more.
            rows = counts.done + counts.skipped if self.spec.makes_batches else None
        if self.spec.return_type is ReturnType.DATAFRAME and self.task.frame_path.exists():
            return kept(self.task)
        return tables.table_from_cells(
            lambda: self.building.store.cells(self.task.name), names, dtypes=self.spec.dtypes, rows=rows
        )

    def forget(self) -> None:
        """Delete what is recorded of this builder: its next run begins anew."""
        self.building.store.forget(self.task.name)
        files.remove(self.task.frame_path)

    @property
    def _makes_rows(self) -> bool:
        return self.spec.is_index and self.spec.return_type is not ReturnType.ROW_WISE

    def _add(self, table: pa.Table) -> None:
        if self._makes_rows:
            self.building.frames.replace(table)
        else:
            self.building.frames.add(table)
