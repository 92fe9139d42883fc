"""What an execution begins with: its plan, its origin, what a paused process has kept, and which part is to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tablevault_like.builders.anew import Anew
from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.builders.stages import check_stage, needed_for, resting_on
from tablevault_like.layout import ProcessLayout
from tablevault_like.limits import Budget
from tablevault_like.model import ARTIFACT_DTYPE, ReturnType, RowStatus
from tablevault_like.monitor.made import Made, Vault
from tablevault_like.monitor.predictions import PlannedInput, Reason
from tablevault_like.operations.imported import Results
from tablevault_like.storage import tables
from tablevault_like.storage.row_reader import RowReader


@dataclass(frozen=True)
class Kept:
    """A process that would go on. ``forgotten`` are the builders that it would begin again."""

    process_id: str
    folder: ProcessLayout
    finished: frozenset[str]
    anew: Anew = Anew()  # noqa: RUF009 - it is frozen
    forgotten: frozenset[str] = frozenset()

    def has_finished(self, builder: PlannedBuilder) -> bool:
        """Tell whether nothing more is done about a builder."""
        return builder.name in self.finished and builder.name not in self.forgotten

    def counts(self, builder: PlannedBuilder) -> tuple[NDArray[np.int64], int]:
        """Return the rows about which nothing more is done, and how many have failed."""
        if not self._has_rows(builder):
            return np.empty(0, np.int64), 0
        with RowReader.open(self.folder.rows) as store:
            settled = np.union1d(store.recorded(builder.name), store.recorded(builder.name, RowStatus.SKIPPED))
            if self.has_frame(builder):
                settled = np.arange(tables.read_columns(self.folder.frame(builder.name))[1])
            return settled, store.counts(builder.name).failed

    def cells(self, builder: PlannedBuilder) -> dict[int, str]:
        """Return the cells that are recorded, by row."""
        if not self._has_rows(builder):
            return {}
        with RowReader.open(self.folder.rows) as store:
            return {row: cells for batch in store.cells(builder.name) for row, cells in batch}

    def rows(self, index: PlannedBuilder) -> pa.Table:
        """Return the rows that an IndexBuilder has made, with those that it has kept of the origin."""
        path = self.folder.frame_with_old(index.name)
        if not path.exists():
            return self.columns(index, None)
        dtypes = {each.name: ARTIFACT_DTYPE for each in tables.read_columns(path)[0] if each.dtype == ARTIFACT_DTYPE}
        return tables.table_from_frame(tables.read_table(path), dtypes)

    def columns(self, builder: PlannedBuilder, rows: int | None) -> pa.Table:
        """Return what is recorded of a builder, as an execution has it."""
        if self.has_frame(builder):
            made = tables.read_table(self.folder.frame(builder.name), columns=builder.changed_columns)
            return tables.table_from_frame(made, builder.dtypes)
        with RowReader.open(self.folder.rows) as store:
            return tables.table_from_cells(
                lambda: store.cells(builder.name), builder.changed_columns, dtypes=builder.dtypes, rows=rows
            )

    def has_frame(self, builder: PlannedBuilder) -> bool:
        """Tell whether a function that makes all rows at once has returned."""
        return builder.return_type is ReturnType.DATAFRAME and self.folder.frame(builder.name).exists()

    def _has_rows(self, builder: PlannedBuilder) -> bool:
        return builder.name not in self.forgotten and self.folder.rows.exists()


@dataclass(frozen=True)
class Stages:
    """What ``until`` and ``from_builder`` mean for the builders of a plan.

    Those that aren't ``wanted`` don't run. The ``fresh`` ones reuse nothing. In place of those that are ``taken``,
    which aren't run either, the origin's columns are taken over as they are. A process that is paused begins those that
    are ``again`` from their first row.
    """

    wanted: frozenset[str]
    until: str | None = None
    fresh: frozenset[str] = frozenset()
    taken: frozenset[str] = frozenset()
    again: frozenset[str] = frozenset()

    @classmethod
    def of(cls, plan: Plan, anew: Anew | None, *, until: str | None, from_builder: str | None) -> Stages:
        """Return the stages of a plan. ``anew`` is what a paused process has kept, ``None`` for a new one.

        Raises TVBuilderError, with the nearest name, for a builder that isn't there.
        """
        for argument, name in (("until", until), ("from_builder", from_builder)):
            if name is not None:
                check_stage(plan, argument, name)
        again: frozenset[str] = frozenset()
        if anew is None:
            anew = Anew.of_new(plan, from_builder, everything=False)
        elif from_builder is not None and from_builder != anew.from_builder:
            again = resting_on(plan, from_builder)
            anew = anew.begun_again(plan, from_builder)
        every = frozenset(builder.name for builder in plan.builders)
        wanted = every if until is None else needed_for(plan, until) | {until}
        return cls(wanted, until, anew.fresh, anew.taken, again)


@dataclass(frozen=True)
class Situation:
    """What an execution begins with. ``own_artifacts`` is the folder in which people put artifacts of the instance.

    ``no_reuse`` is why nothing is taken over from the origin, if so. ``index_rows`` is how many rows the origin's
    IndexBuilder has made. ``results`` were imported: they are looked into after the origin. ``start_at`` and ``budget``
    are those of the call; in ``started_at`` is where the source of the origin's IndexBuilder began.
    """

    vault: Vault
    plan: Plan
    texts: Mapping[str, str]
    own_artifacts: Path
    code_folder: Path
    origin: Made | None
    no_reuse: Reason | None
    kept: Kept | None
    inputs: tuple[PlannedInput, ...]
    index_rows: int | None
    stages: Stages
    results: tuple[Results, ...]
    start_at: Mapping[str, int] = field(default_factory=dict)
    started_at: int = 0
    budget: Budget | None = None

    def counts(self, builder: PlannedBuilder) -> tuple[NDArray[np.int64], int]:
        """Return the rows about which nothing more is done, and how many have failed."""
        return (np.empty(0, np.int64), 0) if self.kept is None else self.kept.counts(builder)

    def has_finished(self, builder: PlannedBuilder) -> bool:
        """Tell whether nothing more is done about a builder."""
        return self.kept is not None and self.kept.has_finished(builder)
