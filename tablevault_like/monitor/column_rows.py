"""The cells that ColumnBuilders make, as far as they can be known before they have run.

References are resolved and inputs are hashed as an execution does it, and compared with those of the origin. A row that
reads a cell that is yet to be made may be reused, or may not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tablevault_like.builders.frames import FrameCache
from tablevault_like.builders.gathered import GatheredRows
from tablevault_like.builders.hashing import Contents, InputHash
from tablevault_like.builders.plan import PlannedBuilder
from tablevault_like.builders.reuse import ReusableRows
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.errors import TableVaultError, message_of
from tablevault_like.model import ReturnType
from tablevault_like.monitor import reasons
from tablevault_like.monitor.declared import stand_in
from tablevault_like.monitor.index_rows import bind
from tablevault_like.monitor.made import PROCESS_ID, shown_keys
from tablevault_like.monitor.outlook import Outlook
from tablevault_like.monitor.predictions import Cause, Certainty, Reason
from tablevault_like.monitor.reusing import Reusing
from tablevault_like.monitor.situation import Situation
from tablevault_like.monitor.unknowns import Unknowns
from tablevault_like.monitor.words import listed
from tablevault_like.references.syntax import SELF
from tablevault_like.storage import tables
from tablevault_like.storage.digests import digest

_KEYS = 5


class ColumnRows:
    """Finds out which rows of a plan's ColumnBuilders are made, and which are taken over."""

    def __init__(
        self,
        situation: Situation,
        frames: FrameCache,
        unknown: Unknowns,
        folder: Path,
        contents: Contents,
        reusing: Reusing,
    ) -> None:
        self._situation = situation
        self._plan = situation.plan
        self._kept = situation.kept
        self._frames = frames
        self._unknown = unknown
        self._folder = folder
        self._contents = contents
        self._reusing = reusing

    def outlook(self, planned: PlannedBuilder, spec: BuilderSpec, *, rows: int | None) -> Outlook:
        """Return what is to be expected of a ColumnBuilder. ``rows`` is how many there are, if that is known."""
        settled, failed = self._situation.counts(planned)
        recorded = len(settled)
        if self._kept is not None and self._kept.has_finished(planned):
            return Outlook(rows, recorded=recorded, table=self._kept.columns(planned, rows))
        found = Outlook(rows, recorded=recorded, failed=failed)
        changes = self._changes(planned)
        is_reusable = self._reusing.prevented(planned, spec, changes) is None
        if rows is None:
            found.to_run, found.calls = None, None if self._is_called_by_row(spec) else 1
            if is_reusable:
                found.reused, found.calls = None, None
            found.reasons = self._why(planned, spec, changes)
            return found
        if self._is_called_by_row(spec):
            self._by_row(planned, spec, found, settled, is_reusable=is_reusable)
        else:
            self._as_a_whole(planned, spec, found, settled, is_reusable=is_reusable)
        if found.to_run:
            found.reasons = [*self._why(planned, spec, changes), *found.reasons]
        return found

    def _by_row(
        self,
        planned: PlannedBuilder,
        spec: BuilderSpec,
        found: Outlook,
        settled: NDArray[np.int64],
        *,
        is_reusable: bool,
    ) -> None:
        assert found.rows is not None
        missing = np.setdiff1d(np.arange(found.rows), settled, assume_unique=True)
        cells = {} if self._kept is None else self._kept.cells(planned)
        made: list[int] = missing.tolist()
        maybe: list[int] = []
        hash_of: Callable[[int | None], bytes] | None = None
        reuse = self._reusing.reuse if is_reusable else None
        reusable = None if reuse is None else reuse.rows(planned.recipe, spec.changed_columns)
        if reusable is not None and made:
            unsure = self._unknown.unsure(spec, found)
            compared: dict[int, str | None] = {}
            hash_of = self._hash_of(planned, spec, found, compared)
            if hash_of is None or self._is_key_unknown:
                unsure[:] = True
            sure = [row for row in made if not unsure[row]]
            taken = [] if hash_of is None else reusable.take(sure, hash_of)
            maybe = self._found_in_origin(reusable, [row for row in made if unsure[row]])
            cells |= {row.index: row.cells for row in taken}
            reused = {row.index for row in taken}
            made = [row for row in made if row not in reused]
            found.reused = len(reused)
            self._tell_rows(found, made, compared, maybe)
        found.to_run, found.at_least = len(made), len(made) - len(maybe)
        if maybe:
            found.doubt.add(
                Certainty.AT_MOST,
                f"{len(maybe):,} of them are reused if what they read comes out as it was"
                if hash_of is not None
                else "which files its function reads is known when its code is loaded",
            )
        found.calls = -(-len(made) // spec.batch_size) if spec.batch_size else len(made)
        found.known = np.zeros(found.rows, bool)
        found.known[list(cells)] = True
        found.known[settled] = True  # of one that was skipped it is known that it is empty
        recorded = sorted(cells.items())
        found.table = tables.table_from_cells(
            lambda: iter([recorded] if recorded else []), spec.changed_columns, dtypes=spec.dtypes, rows=found.rows
        )

    def _found_in_origin(self, reusable: ReusableRows | GatheredRows, rows: list[int]) -> list[int]:
        """Return those of some rows that have a counterpart in the origin, or may have one."""
        if self._is_key_unknown:
            return rows
        found: list[int] = []

        def note(row: int) -> bytes:
            found.append(row)
            return b""

        reusable.take(rows, note)
        return found

    @property
    def _is_key_unknown(self) -> bool:
        """Whether it can't be told which row of the origin stands for which."""
        return any(self._unknown.is_unknown(name) for name in self._plan.builders[0].fields["primary_key"])

    def _as_a_whole(
        self,
        planned: PlannedBuilder,
        spec: BuilderSpec,
        found: Outlook,
        settled: NDArray[np.int64],
        *,
        is_reusable: bool,
    ) -> None:
        assert found.rows is not None
        left = found.rows - len(settled)
        found.to_run, found.at_least = left, left
        found.calls = 0 if not left and spec.return_type is ReturnType.DATAFRAME else 1
        if not is_reusable or self._reusing.reuse is None or len(settled):
            return
        unsure = self._unknown.unsure(spec, found)
        hash_of = self._hash_of(planned, spec, found, {})
        if hash_of is None or unsure.any() or self._is_key_unknown:
            found.at_least = 0
            found.doubt.add(
                Certainty.AT_MOST,
                "all of them are reused if what is read comes out as it was"
                if hash_of is not None
                else "which files its function reads is known when its code is loaded",
            )
            return
        table = self._reusing.reuse.whole(spec.changed_columns, digest(planned.recipe, hash_of(None)))
        if table is not None:
            found.reused, found.to_run, found.at_least, found.calls = found.rows, 0, 0, 0
            found.table, found.known = table, np.ones(found.rows, bool)
        else:
            found.reasons.append(Reason(Cause.ROWS, "what it is given for all rows is not what it was given before"))

    @staticmethod
    def _is_called_by_row(spec: BuilderSpec) -> bool:
        return spec.return_type in (ReturnType.ROW_WISE, ReturnType.BATCH)

    def _tell_rows(
        self, found: Outlook, made: Sequence[int], compared: Mapping[int, str | None], maybe: Sequence[int]
    ) -> None:
        """Tell which rows are made because of themselves."""
        unsure = set(maybe)
        other = [row for row in made if row in compared]
        new = [row for row in made if row not in compared and row not in unsure]
        if broken := [text for row in other if (text := compared[row]) is not None]:
            found.doubt.add(Certainty.AT_MOST, f"a reference can't be resolved: {broken[0]}")
        for rows, what in ((other, "have other inputs than in the origin"), (new, "can't be had from the origin")):
            if rows:
                told = listed(self._keys(rows[:_KEYS]), len(rows))
                count = f"{len(rows):,} rows {what}" if len(rows) != 1 else f"1 row {what.replace('have', 'has')}"
                found.reasons.append(Reason(Cause.ROWS, f"{count}: {told}"))

    def _keys(self, rows: list[int]) -> list[str]:
        key = tuple(self._plan.builders[0].fields["primary_key"])
        if not set(key) <= set(self._frames.columns(SELF, None)) or any(self._unknown.is_unknown(name) for name in key):
            key = ()
        return shown_keys(self._frames.built(key) if key else self._frames.built([]), key, rows)

    def _hash_of(
        self, planned: PlannedBuilder, spec: BuilderSpec, found: Outlook, compared: dict[int, str | None]
    ) -> Callable[[int | None], bytes] | None:
        """Return what gives the input hash of a row, ``None`` if it can't be had. ``compared`` notes what was asked."""
        function = stand_in(planned, self._situation.code_folder)
        if function is None:
            found.reasons.append(Reason(Cause.FILES, "which files its function reads is known when its code is loaded"))
            return None
        try:
            bound = bind(spec, self._frames, self._folder)
        except TableVaultError:
            return lambda row: b""
        inputs = InputHash(function, bound.constant_inputs, self._contents)

        def hash_of(row: int | None) -> bytes:
            compared[-1 if row is None else row] = None
            try:
                arguments, values = bound.row(row, f"{PROCESS_ID}:{spec.name}:{'all' if row is None else row}")
            except TableVaultError as error:
                compared[-1 if row is None else row] = message_of(error)
                return b""
            return inputs.of(arguments, values)

        return hash_of

    def _changes(self, planned: PlannedBuilder) -> list[Reason]:
        origin = self._situation.origin
        old = None if origin is None else reasons.counterpart(origin.plan, planned)
        return [] if old is None else reasons.of_builder(old, planned)

    def _why(self, planned: PlannedBuilder, spec: BuilderSpec, changes: Sequence[Reason]) -> list[Reason]:
        prevented = self._reusing.prevented(planned, spec, changes)
        if prevented is not None and (prevented.cause is not Cause.NEW or not changes):
            return [prevented]
        return [*changes, *reasons.of_inputs(planned, self._situation.inputs)]
