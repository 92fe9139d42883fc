"""Plan a run: what ``execute_instance`` is going to do, and why.

Nothing is changed by it: there is no process, no lock, no file, and no code of the vault runs, but for a sample.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tablevault_like.builders.checkpoint import Checkpoint
from tablevault_like.builders.frames import FrameCache
from tablevault_like.builders.plan import Plan
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.catalog import Database, instances, processes
from tablevault_like.errors import TVArgumentError, TVProcessError, message_of
from tablevault_like.limits import Budget
from tablevault_like.model import OnChange
from tablevault_like.monitor.beginning import Beginning, Call
from tablevault_like.monitor.durations import Durations
from tablevault_like.monitor.forecast import Forecast
from tablevault_like.monitor.inputs import planned_inputs
from tablevault_like.monitor.made import Made, Vault, open_tables, renamed
from tablevault_like.monitor.predictions import Action, BuilderForecast, Cause, PlannedRun, Reason
from tablevault_like.monitor.situation import Situation, Stages
from tablevault_like.operations.execute import ExecuteInstance
from tablevault_like.operations.imported import results_of
from tablevault_like.process.journal import Journal
from tablevault_like.process.life import Life
from tablevault_like.process.operation import View
from tablevault_like.storage import places

if TYPE_CHECKING:
    import pandas as pd


def plan_run(
    vault: Vault, operation: ExecuteInstance, process_id: str | None, *, sample: int = 0, now: float
) -> PlannedRun:
    """Return what an execution is going to do. See ``TableVault.plan``."""
    with vault.catalog.snapshot() as db:
        view = View(db, vault.layout, now)
        call = Call.of(view, operation, process_id)
        if call.action is Action.REUSE:
            if sample:
                raise TVArgumentError(
                    f"Process {process_id!r} has completed, so a call with its id runs nothing of which there could be "
                    "a sample. Leave out the process_id, or call with existing='rerun'."
                )
            return _reused(db, call)
        begun = Beginning.of(view, call)
        origin = _origin(vault, db, begun.plan)
        part = Stages.of(
            begun.plan,
            begun.kept.anew if begun.kept else None,
            until=call.operation.until,
            from_builder=call.operation.from_builder,
        )
        kept = None if begun.kept is None else replace(begun.kept, forgotten=begun.kept.forgotten | part.again)
        no_reuse = _no_reuse(db, call, replace(begun, kept=kept), origin)
        durations = Durations(vault, db, instances.of_table(db, operation.table_name))
        before = _Before.of(db, origin)
    place = places.instance_layout(vault.layout, begun.temporary)
    earlier = None if origin is None or origin.plan is None else renamed(vault, origin.plan)
    specs = _specs(vault, begun.plan, begun.texts)
    inputs = planned_inputs(vault, begun.plan, earlier, specs)
    code = vault.layout.code_functions
    if kept is not None and operation.on_change is OnChange.KEEP:
        code = Checkpoint.read(kept.folder).files.code
    budget = call.operation.budget
    situation = Situation(
        vault=vault,
        plan=begun.plan,
        texts=begun.texts,
        own_artifacts=place.artifacts,
        code_folder=code,
        origin=origin,
        no_reuse=no_reuse,
        kept=kept,
        inputs=inputs,
        index_rows=before.rows,
        stages=part,
        results=tuple(results_of(place)),
        start_at=call.operation.start_at,
        started_at=before.started_at,
        budget=None if budget is None else Budget.read(budget),
    )
    with tempfile.TemporaryDirectory(prefix="tablevault-plan-") as scratch:
        forecast = Forecast(situation, Path(scratch).resolve())
        builders = tuple(forecast.builders(durations.seconds))
    told = PlannedRun(
        table=operation.table_name,
        version=operation.version,
        process_id=None if call.row is None else call.process_id,
        origin=None if begun.plan.origin is None else f"{begun.plan.origin.table}/{begun.plan.origin.instance_id}",
        refusal=begun.refusal or _below(vault, call, now),
        builders=builders,
        inputs=inputs,
        action=call.action,
        pause=forecast.pause,
    )
    return replace(told, sample=_sample(situation, sample)) if sample else told


def _reused(db: Database, call: Call) -> PlannedRun:
    """Return the plan of a call that does nothing, as its process has completed."""
    assert call.row is not None
    steps = [step.record for step in processes.steps(db, call.row.process_id)][:-1]  # the last one materializes
    rows = [step.rows_done + step.rows_skipped for step in steps]
    made = instances.made_by(db, call.operation.table_name, call.row.process_id)
    origin = made is not None and made.origin_id and f"{made.origin_table}/{made.origin_id}"
    return PlannedRun(
        table=call.operation.table_name,
        version=call.operation.version,
        process_id=call.process_id,
        origin=origin or None,
        refusal=call.refusal,
        builders=tuple(BuilderForecast.of_recorded(step.name, count) for step, count in zip(steps, rows, strict=True)),
        inputs=(),
        action=call.action,
        made=None if made is None else f"{made.table_name}/{made.instance_id}",
    )


def _sample(situation: Situation, rows: int) -> pd.DataFrame:
    from tablevault_like.monitor.sample import first_rows

    return first_rows(situation, rows)


def _below(vault: Vault, call: Call, now: float) -> str | None:
    """Return why a process can't go on, or be run again, as a worker is below it."""
    if call.row is None or call.row.state.has_ended:
        return None
    try:
        Life(Journal(vault.catalog, vault.layout, lambda: now)).refuse_living_descendants(call.row.process_id)
    except TVProcessError as error:
        return message_of(error)
    return None


def _origin(vault: Vault, db: Database, plan: Plan) -> Made | None:
    return None if plan.origin is None else Made.find(vault, db, plan.origin.table, plan.origin.instance_id)


def _no_reuse(db: Database, call: Call, begun: Beginning, origin: Made | None) -> Reason | None:
    """Return why nothing is taken over, ``None`` if something may be."""
    kept, plan = begun.kept, begun.plan
    if call.operation.force_execute:
        return Reason(Cause.SETTING, "force_execute makes all rows anew")
    if call.action is Action.RERUN:
        return Reason(Cause.SETTING, "existing='rerun' makes all rows anew")
    if kept is not None and kept.anew.everything:
        return Reason(Cause.SETTING, f"process {kept.process_id!r} makes all rows anew")
    if origin is None or plan.origin is None:
        deleted = begun.temporary.origin_id
        return Reason(Cause.NEW, f"the origin {deleted} was deleted" if deleted else "the instance has no origin")
    process_id = call.process_id or call.reverted or ""
    if not instances.is_true(db, plan.origin.table, plan.origin.instance_id, process_id=process_id):
        return Reason(Cause.NEW, f"the origin {plan.origin.instance_id} isn't active")
    return None


@dataclass(frozen=True)
class _Before:
    """How many rows the origin's IndexBuilder has made itself, and where its source began."""

    rows: int | None = None
    started_at: int = 0

    @classmethod
    def of(cls, db: Database, origin: Made | None) -> _Before:
        if origin is None or origin.plan is None:
            return cls()
        name, process_id = origin.plan.builders[0].name, origin.record.process_id
        row = processes.find(db, process_id)
        found = [step.record for step in processes.steps(db, process_id) if step.record.name == name]
        started_at = row.arguments.get("start_at", {}).get(name, 0) if row is not None else 0
        return cls(found[0].rows_done if found else None, started_at)


def _specs(vault: Vault, plan: Plan, texts: Mapping[str, str]) -> list[BuilderSpec]:
    frames = FrameCache(open_tables(vault, plan.pins), artifact_folder=vault.layout.root)
    return [builder.specify(texts[builder.name], frames) for builder in plan.builders]
