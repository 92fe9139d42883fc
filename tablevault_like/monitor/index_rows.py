"""The rows that an IndexBuilder makes, as far as they can be known before it has run.

Those of functions that come with the library are known, as they have no effects but their results; and those that a
paused process has recorded. A builder whose recipe and inputs are those of the origin is expected to make the same
rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tablevault_like.builders.batches import batch_hash, batches_of
from tablevault_like.builders.frames import FrameCache, keep_old
from tablevault_like.builders.gathered import GatheredBatches
from tablevault_like.builders.hashing import Contents, InputHash
from tablevault_like.builders.plan import PlannedBuilder
from tablevault_like.builders.results import cells_of
from tablevault_like.builders.reuse import ReusableBatches, ReusedRow
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.errors import TableVaultError, message_of
from tablevault_like.functions import builtin
from tablevault_like.model import ARTIFACT_DTYPE, ReturnType
from tablevault_like.monitor import reasons
from tablevault_like.monitor.declared import stand_in
from tablevault_like.monitor.made import PROCESS_ID, Made
from tablevault_like.monitor.outlook import Doubt, Outlook, resized
from tablevault_like.monitor.predictions import Cause, Certainty, Reason
from tablevault_like.monitor.reusing import Reusing
from tablevault_like.monitor.situation import Situation
from tablevault_like.monitor.unknowns import Unknowns
from tablevault_like.references.arguments import Bound
from tablevault_like.references.keywords import Batch, Keyword
from tablevault_like.references.syntax import SELF, Reference
from tablevault_like.storage import tables
from tablevault_like.storage.values import encode_cells

_PURE = ("random_string", "table_generation")
"""The built-in modules whose functions have no effects but their results, and files in the artifact folder."""


class IndexRows:
    """Finds out the rows of a plan's IndexBuilder. ``doubt`` is why they aren't known exactly."""

    def __init__(
        self,
        situation: Situation,
        frames: FrameCache,
        unknown: Unknowns,
        folder: Path,
        contents: Contents,
        reusing: Reusing,
    ) -> None:
        self.doubt = Doubt()
        self._situation = situation
        self._kept = situation.kept
        self._frames = frames
        self._unknown = unknown
        self._folder = folder
        self._contents = contents
        self._reusing = reusing

    def outlook(self, planned: PlannedBuilder, spec: BuilderSpec) -> Outlook:
        """Return what is to be expected of an IndexBuilder. What its arguments read is in the frame then."""
        origin = self._situation.origin
        if self._kept is not None and self._kept.has_finished(planned):
            table = self._kept.rows(planned)
            self._frames.replace(table)
            return Outlook(table.num_rows, recorded=table.num_rows)
        always = Reason(Cause.ALWAYS, "an IndexBuilder always runs: it makes the rows")
        if origin is not None:  # it sees the rows of the origin
            self._frames.replace(origin.table, artifact_folder=origin.place.artifacts)
        settled, failed = self._situation.counts(planned)
        recorded = len(settled)
        if spec.return_type is ReturnType.ROW_WISE:
            assert origin is not None
            rows = origin.table.num_rows
            made = set(self._situation.plan.columns)
            elsewhere = {name: origin.place.artifacts for name in made if name not in spec.changed_columns}
            self._frames.replace(self._frames.table(), elsewhere=elsewhere)
            left = rows - recorded
            unknown = np.zeros(rows, bool)
            return Outlook(rows, recorded, 0, left, left, failed, left, known=unknown, reasons=[always])
        found = self._made_rows(planned, spec)
        found.failed = failed
        if found.to_run != 0 or spec.return_type is not ReturnType.BATCH:
            found.reasons = [always, *found.reasons]
        if spec.return_type is ReturnType.BATCH:
            return found
        if found.to_run is not None and spec.return_type is ReturnType.GENERATOR:
            found.recorded = recorded
            found.to_run = max(found.to_run - recorded, 0)
            found.at_least = found.to_run if found.doubt.certainty is Certainty.EXACT else 0
        if found.rows is None:
            found.recorded = recorded
        return found

    def _made_rows(self, planned: PlannedBuilder, spec: BuilderSpec) -> Outlook:
        """Return the rows that an IndexBuilder makes, as far as they can be known."""
        origin = self._situation.origin
        if self._kept is not None and planned.name not in self._kept.forgotten and self._kept.has_frame(planned):
            table = self._kept.columns(planned, None)
            return self._with_old(spec, Outlook(None, recorded=table.num_rows, table=table))
        if not spec.is_custom and spec.code_module in _PURE:
            return self._pure_rows(spec)
        if spec.return_type is ReturnType.BATCH and spec.total_rows is not None:
            found = self._batches(planned, spec, spec.total_rows)
            return self._batches_with_old(planned, spec, found) if spec.keep_old else found
        doubt = f"how many rows there are is known when {planned.name} has run"
        if origin is not None and self._is_unchanged(planned, origin):
            table = self._same_rows(planned, spec, origin)
            made = self._situation.index_rows if spec.keep_old else table.num_rows
            return Outlook(table.num_rows, to_run=made, at_least=0, calls=1, table=table)
        self.doubt.add(Certainty.UNKNOWN, doubt)
        return Outlook(None, to_run=None, calls=1)

    def _batches(self, planned: PlannedBuilder, spec: BuilderSpec, total: int) -> Outlook:
        """Go through the batches that are to be made. Each is taken over as a whole, or made in one call."""
        cells = {} if self._kept is None else self._kept.cells(planned)
        settled = self._situation.counts(planned)[0]
        left = batches_of(np.setdiff1d(np.arange(total), settled), size=spec.batch_size or 1, total=total)
        found = Outlook(total, recorded=len(settled))
        reuse = self._reusing.reuse if self._reusing.prevented(planned, spec, ()) is None else None
        reusable = None if reuse is None else reuse.batches(planned.recipe, spec.changed_columns)
        if reusable is not None and left:
            taken = self._taken_batches(planned, spec, left, reusable, found)
            cells |= {row.index: row.cells for rows in taken.values() for row in rows}
            left = [batch for batch in left if batch not in taken]
            found.reused = sum(map(len, taken.values()))
        found.batches = tuple(batch.size for batch in left)
        found.to_run = sum(found.batches)
        found.calls = len(left)
        found.at_least = found.to_run if found.doubt.certainty is Certainty.EXACT else 0
        recorded = sorted(cells.items())
        found.table = tables.table_from_cells(
            lambda: iter([recorded] if recorded else []), spec.changed_columns, dtypes=spec.dtypes, rows=total
        )
        found.known = np.zeros(total, bool)
        found.known[list(cells)] = True
        return found

    def _batches_with_old(self, planned: PlannedBuilder, spec: BuilderSpec, found: Outlook) -> Outlook:
        """Add the rows of the origin to those of batches: which of them are kept depends on what is made.

        How many batches are made doesn't: all that aren't recorded, as nothing is taken over.
        """
        origin = self._situation.origin
        if origin is None:
            return found
        if not found.batches:
            found = self._with_old(spec, found)
            found.known = None
        elif self._is_unchanged(planned, origin) and not found.recorded:
            found.table, found.known = self._same_rows(planned, spec, origin), None
            found.rows = found.table.num_rows
        else:
            self.doubt.add(Certainty.UNKNOWN, f"how many old rows are kept is known when {planned.name} has run")
            found.rows = found.table = found.known = None
        return found

    def _same_rows(self, planned: PlannedBuilder, spec: BuilderSpec, origin: Made) -> pa.Table:
        """Return the rows that are made again, if code that is what it was gives what it gave."""
        table = origin.table.select(list(spec.changed_columns))
        self.doubt.add(
            Certainty.EXPECTED,
            f"it is so if {planned.name} makes the rows that it made for the origin: its recipe and inputs are "
            "the same",
        )
        # What other builders have made of these columns since isn't what this one makes.
        others = [each for each in (origin.plan.builders if origin.plan else ()) if not each.is_index]
        for name in {name for each in others for name in each.changed_columns} & set(spec.changed_columns):
            self._unknown.forget(name, table.num_rows)
        return table

    def _taken_batches(
        self,
        planned: PlannedBuilder,
        spec: BuilderSpec,
        batches: list[Batch],
        reusable: ReusableBatches | GatheredBatches,
        found: Outlook,
    ) -> dict[Batch, list[ReusedRow]]:
        """Return the batches that are taken over, with their rows."""
        function = stand_in(planned, self._situation.code_folder)
        if function is None:
            found.doubt.add(Certainty.AT_MOST, "which files its function reads is known when its code is loaded")
            return {}
        taken: dict[Batch, list[ReusedRow]] = {}
        try:
            bound = bind(spec, self._frames, self._folder)
            inputs = InputHash(function, bound.constant_inputs, self._contents)
            for batch in batches:
                arguments, values = bound.row(None, batch)
                if rows := reusable.take(batch.rows, batch_hash(inputs, batch, arguments, values)):
                    taken[batch] = rows
        except TableVaultError as error:
            found.doubt.add(Certainty.AT_MOST, f"a reference can't be resolved: {message_of(error)}")
        return taken

    def _pure_rows(self, spec: BuilderSpec) -> Outlook:
        """Call a function that comes with the library, which has no effects: so its rows are known."""
        function = builtin.function(spec.code_module, spec.python_function)
        try:
            arguments, _ = bind(spec, self._frames, self._folder).row(None, f"{PROCESS_ID}:{spec.name}:all")
            table = _as_table(function(**arguments), spec, start_at=self._situation.start_at.get(spec.name, 0))
        except (TableVaultError, OSError, ValueError, TypeError, KeyError) as error:
            self.doubt.add(Certainty.UNKNOWN, f"{spec.name} fails: {message_of(error)}")
            return Outlook(None, to_run=None, calls=1)
        made = table.num_rows
        found = self._with_old(spec, Outlook(None, to_run=made, at_least=made, calls=1, table=table))
        found.known = np.full(found.rows or 0, _is_repeatable(arguments, spec))
        return found

    def _with_old(self, spec: BuilderSpec, found: Outlook) -> Outlook:
        """Add the rows of the origin that an IndexBuilder keeps to those that it makes."""
        assert found.table is not None
        origin = self._situation.origin
        if spec.keep_old and origin is not None:
            dtypes = {name: dtype for name, dtype in spec.dtypes.items() if dtype == ARTIFACT_DTYPE}
            made, old = tables.frame_from_table(found.table), tables.frame_from_table(origin.table)
            found.table = tables.table_from_frame(keep_old(made, old, spec.primary_key), dtypes)
        found.rows = found.table.num_rows
        return found

    def _is_unchanged(self, planned: PlannedBuilder, origin: Made) -> bool:
        """Tell whether the origin's rows were made by the same recipe, of the same inputs."""
        old = reasons.counterpart(origin.plan, planned)
        if old is None or origin.plan is None or not origin.record.success or old.recipe != planned.recipe:
            return False
        if old.fields != planned.fields or any(self._reads_self(planned)):
            return False
        if self._situation.start_at.get(planned.name, 0) != self._situation.started_at:
            return False
        return all(
            key in origin.plan.pins and origin.plan.pins[key].instance_id == self._situation.plan.pins[key].instance_id
            for key in planned.pins
        )

    def _reads_self(self, planned: PlannedBuilder) -> list[Reference]:
        spec = planned.specify(self._situation.texts[planned.name], self._frames)
        return [each for each in spec.arguments.references if each.table.literal in (SELF, None)]

    def add(self, spec: BuilderSpec, found: Outlook) -> None:
        """Let the rows make the frame."""
        if found.rows is None:
            return
        table = found.table if found.table is not None else resized(None, found.rows, spec.changed_columns)
        origin = self._situation.origin
        is_evaluated = not spec.is_custom and spec.code_module in _PURE
        if is_evaluated or origin is None:
            self._frames.replace(table)
        else:
            # Columns that are added from now on lie in the instance's own folder.
            self._frames.replace(table, elsewhere=dict.fromkeys(spec.changed_columns, origin.place.artifacts))


def bind(spec: BuilderSpec, frames: FrameCache, folder: Path) -> Bound:
    """Bind a builder's arguments to the frames as they are known. ``folder`` stands for that of the artifacts."""
    keywords: dict[Keyword, object] = {
        Keyword.ARTIFACT_FOLDER: str(folder),
        Keyword.PROCESS_ID: PROCESS_ID,
        Keyword.RESUME_FROM: 0,
    }
    return spec.arguments.bind(frames, keywords)


def _is_repeatable(arguments: Mapping[str, object], spec: BuilderSpec) -> bool:
    """Tell whether a function that comes with the library gives the same when it is called again."""
    is_random = spec.code_module == "random_string" or arguments.get("random_sample") is True
    return not is_random or arguments.get("seed") is not None


def _as_table(value: Any, spec: BuilderSpec, *, start_at: int) -> pa.Table:
    """Return the columns of a builder from what its function returned, or yields."""
    if isinstance(value, pd.DataFrame):
        return tables.table_from_frame(value[list(spec.changed_columns)], spec.dtypes)
    source = itertools.islice(value, start_at, None)
    rows = [(row, encode_cells(cells_of(each, spec.changed_columns))) for row, each in enumerate(source)]
    return tables.table_from_cells(lambda: iter([rows] if rows else []), spec.changed_columns, dtypes=spec.dtypes)
