"""How long rows take, by what earlier runs took."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tablevault_like.builders.plan import PlannedBuilder
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.catalog import Database, processes
from tablevault_like.errors import TVFileError
from tablevault_like.model import InstanceRecord, ReturnType, StepRecord
from tablevault_like.monitor.made import Made, Vault
from tablevault_like.storage import tables

_INSTANCES = 10
"""How many instances, the newest ones, are looked at."""


class Durations:
    """What the builders of a table took. ``made`` are its instances, the newest first."""

    def __init__(self, vault: Vault, db: Database, made: Sequence[InstanceRecord]) -> None:
        newest = sorted(made, key=lambda each: each.materialized_at or 0, reverse=True)[:_INSTANCES]
        found = [Made.find(vault, db, each.table_name, each.instance_id) for each in newest]
        self._made = [each for each in found if each is not None]
        self._steps = {
            each.record.process_id: [step.record for step in processes.steps(db, each.record.process_id)]
            for each in self._made
        }

    def seconds(self, builder: PlannedBuilder, spec: BuilderSpec, rows: int | None) -> float | None:
        """Return how many seconds some rows take: those of the same recipe count, else those of the same builder."""
        for is_same in (True, False):
            for made in self._made:
                earlier = next(
                    (each for each in (made.plan.builders if made.plan else ()) if _is_it(each, builder)), None
                )
                if earlier is None or (is_same and earlier.recipe != builder.recipe):
                    continue
                found = self._of(made, earlier, spec, rows)
                if found is not None:
                    return found
        return None

    def _of(self, made: Made, builder: PlannedBuilder, spec: BuilderSpec, rows: int | None) -> float | None:
        steps = self._steps[made.record.process_id]
        step = next((each for each in steps if each.name == builder.name), None)
        if builder.return_type is ReturnType.DATAFRAME:
            # One call: how long it takes depends on the number of rows in ways that nobody knows.
            return None if step is None or _computed(step) == 0 else _lasted(step)
        if rows is None:
            return None
        alone = None if builder.is_index else _seconds_a_row(made, builder.name)
        if alone is not None:
            return rows * alone / max(spec.n_threads, 1)
        lasted = None if step is None else _lasted(step)
        return None if step is None or lasted is None or not _computed(step) else rows * lasted / _computed(step)


def _is_it(earlier: PlannedBuilder, builder: PlannedBuilder) -> bool:
    return earlier.name == builder.name or (earlier.is_index and builder.is_index)


def _computed(step: StepRecord) -> int:
    return step.rows_done + step.rows_failed - step.rows_reused


def _lasted(step: StepRecord) -> float | None:
    if step.started_at is None or step.finished_at is None:
        return None
    return step.finished_at - step.started_at


def _seconds_a_row(made: Made, builder: str) -> float | None:
    """Return how long a call for a row took, all its attempts together; ``None`` if that isn't on record."""
    path = made.place.provenance / f"{builder}.parquet"
    try:
        columns = {column.name for column in tables.read_columns(path)[0]}
        if "seconds" not in columns:
            return None
        names = [name for name in ("seconds", "attempts") if name in columns]
        frame = tables.read_table(path, columns=names)
    except TVFileError:
        return None
    seconds = frame["seconds"].to_numpy(dtype=float, na_value=np.nan)
    if "attempts" in frame:
        seconds = seconds[frame["attempts"].to_numpy(dtype=float, na_value=0) > 0]
    seconds = seconds[np.isfinite(seconds)]
    return float(seconds.mean()) if len(seconds) else None
