"""Foretell what an execution does with each builder, without running any of the vault's code.

1. A number that is called exact comes true, unless something is changed meanwhile.
2. What can't be known is said to be unknown, and what it depends on is named. No row is called reused that may be made.
3. Nothing in the vault is changed. Where artifacts count, a folder outside of it stands in for theirs.

It goes through the builders as an execution does, with the same parts: references are resolved, inputs are hashed, and
compared with those of the origin. A cell that is yet to be made is unknown, and so is every row that reads one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tablevault_like.builders.frames import FrameCache
from tablevault_like.builders.hashing import Contents
from tablevault_like.builders.plan import PlannedBuilder
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.model import ARTIFACT_DTYPE, ReturnType
from tablevault_like.monitor.allowance import Allowance
from tablevault_like.monitor.column_rows import ColumnRows
from tablevault_like.monitor.index_rows import IndexRows
from tablevault_like.monitor.made import open_tables
from tablevault_like.monitor.outlook import Outlook, resized
from tablevault_like.monitor.predictions import BuilderForecast, Certainty
from tablevault_like.monitor.reusing import Reusing, own_files
from tablevault_like.monitor.situation import Situation
from tablevault_like.monitor.unknowns import Unknowns

_KEYS = 5


class Forecast:
    """Goes through the builders of a plan. ``scratch`` is an empty folder outside of the vault."""

    def __init__(self, situation: Situation, scratch: Path) -> None:
        self._situation = situation
        self._plan = situation.plan
        self._kept = situation.kept
        self._contents = Contents()
        self._folder = self._artifact_folder(scratch)
        self._unknown = Unknowns()
        self._frames = FrameCache(
            open_tables(situation.vault, situation.plan.pins, self._contents), artifact_folder=self._folder
        )
        parts = (
            situation,
            self._frames,
            self._unknown,
            self._folder,
            self._contents,
            Reusing(situation, self._frames, self._folder),
        )
        self._index = IndexRows(*parts)
        self._columns = ColumnRows(*parts)
        self._allowance = Allowance(situation.budget)

    def builders(
        self, seconds: Callable[[PlannedBuilder, BuilderSpec, int | None], float | None]
    ) -> list[BuilderForecast]:
        """Return what is to be expected of each builder. ``seconds`` tells how long some rows of one take."""
        wanted = self._situation.stages.wanted
        return [self._builder(each, seconds) for each in self._plan.builders if each.name in wanted]

    @property
    def pause(self) -> str | None:
        """Why the process is paused before it is complete, if it is; to be asked when the builders have been told."""
        until = self._situation.stages.until
        if until is None or self._allowance.pause is not None or self._allowance.may_pause:
            return self._allowance.pause
        return f"the stage {until!r} is reached"

    def _builder(
        self, planned: PlannedBuilder, seconds: Callable[[PlannedBuilder, BuilderSpec, int | None], float | None]
    ) -> BuilderForecast:
        spec = planned.specify(self._situation.texts[planned.name], self._frames)
        found = self._taken(planned, spec)
        if found is None:
            found = self._made(planned, spec)
            self._add(planned, spec, found)
            if found.calls != 0 and spec.return_type is ReturnType.GENERATOR:
                found.offset = self._situation.start_at.get(planned.name, 0) + found.recorded
        self._add_doubt(planned, found)
        self._allowance.spend(spec, found)
        return BuilderForecast(
            builder=planned.name,
            rows=found.rows,
            recorded=found.recorded,
            reused=found.reused,
            to_run=found.to_run,
            to_run_at_least=found.at_least,
            failed_before=found.failed,
            calls=found.calls,
            certainty=found.doubt.certainty,
            doubt=found.doubt.text,
            reasons=tuple(found.reasons),
            seconds=0.0 if found.calls == 0 else seconds(planned, spec, found.to_run),
            left=found.left,
            offset=found.offset,
        )

    def _made(self, planned: PlannedBuilder, spec: BuilderSpec) -> Outlook:
        if planned.is_index:
            return self._index.outlook(planned, spec)
        rows = None if self._index.doubt.certainty is Certainty.UNKNOWN else self._frames.rows
        return self._columns.outlook(planned, spec, rows=rows)

    def _add_doubt(self, planned: PlannedBuilder, found: Outlook) -> None:
        """Let a builder rest on what is known of the rows, unless all that is done about it is known in any case."""
        doubt = self._index.doubt
        if doubt.certainty is Certainty.EXACT or (found.recorded and found.recorded == found.rows):
            return
        if not planned.is_index or not found.batches:
            found.doubt.add(doubt.certainty, doubt.text or "")
        elif found.rows is None:  # which batches it makes doesn't depend on what comes out
            found.doubt.add(Certainty.EXACT, doubt.text or "")

    def _taken(self, planned: PlannedBuilder, spec: BuilderSpec) -> Outlook | None:
        """Take the origin's columns in place of a builder's, if it isn't to run."""
        origin = self._situation.origin
        if origin is None or planned.name not in self._situation.stages.taken:
            return None
        if self._situation.has_finished(planned):
            return None
        table = origin.table.select(list(spec.changed_columns))
        if planned.is_index and spec.return_type is not ReturnType.ROW_WISE:
            self._frames.replace(table)
        elif planned.is_index:
            self._frames.replace(origin.table)
        else:
            self._frames.add(table)
        recorded = min(len(self._situation.counts(planned)[0]), table.num_rows)
        return Outlook(table.num_rows, recorded=recorded, reused=table.num_rows - recorded)

    def _add(self, planned: PlannedBuilder, spec: BuilderSpec, found: Outlook) -> None:
        """Add a builder's columns to the frame, as far as they are known."""
        is_finished = self._situation.has_finished(planned)
        if planned.is_index and spec.return_type is not ReturnType.ROW_WISE:
            if not is_finished:
                self._index.add(spec, found)
        elif found.rows is not None and not (planned.is_index and is_finished):
            table = found.table if found.table is not None else resized(None, found.rows, spec.changed_columns)
            self._frames.add(table)
        self._unknown.add(planned, spec, found, is_finished=is_finished)

    def _artifact_folder(self, scratch: Path) -> Path:
        """Return the folder that stands for that of the instance, in which artifacts count by content."""
        situation = self._situation
        if not any(ARTIFACT_DTYPE in builder.dtypes.values() for builder in self._plan.builders):
            return scratch
        staged = None
        if self._kept is not None:
            staged = next(self._kept.folder.staging.glob(f"{self._plan.version}_*/artifacts"), None)
        folder = staged or scratch

        def known() -> dict[str, str]:
            """Return the contents of what will lie in the folder: what people have put there, and what is reused."""
            origin = {} if situation.origin is None else situation.origin.digests()
            for each in reversed(situation.results):
                origin = {**each.origin.digests(), **origin}
            own = {} if staged is not None else dict(own_files(situation.own_artifacts))
            return {name: sha256 for name, sha256 in {**origin, **own}.items() if not (folder / name).exists()}

        self._contents.add(folder, known)
        return folder
