"""Plan a run: what ``execute_instance`` is going to do, and why.

Nothing is changed by it: there is no process, no lock, no file, and no code of the vault runs, but for a sample.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tablevault_like.builders.anew import Anew
from tablevault_like.builders.changes import changed_builders, differences
from tablevault_like.builders.checkpoint import Checkpoint
from tablevault_like.builders.frames import FrameCache
from tablevault_like.builders.plan import Plan
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.catalog import Database, instances, locks, processes
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.errors import TVArgumentError, TVBuilderError, message_of
from tablevault_like.locks import is_held
from tablevault_like.model import InstanceRecord, OnChange, Resource
from tablevault_like.monitor.durations import Durations
from tablevault_like.monitor.forecast import Forecast
from tablevault_like.monitor.inputs import planned_inputs
from tablevault_like.monitor.made import Made, Vault, open_tables, renamed
from tablevault_like.monitor.records import Cause, PlannedRun, Reason
from tablevault_like.monitor.situation import Kept, Situation
from tablevault_like.monitor.stages import Stages
from tablevault_like.operations import planning, publication
from tablevault_like.operations.again import check_takeover
from tablevault_like.operations.execute import ExecuteInstance
from tablevault_like.operations.imported import results_of
from tablevault_like.process.operation import View
from tablevault_like.storage import places

if TYPE_CHECKING:
    import pandas as pd


def plan_run(
    vault: Vault,
    table: str,
    version: str,
    *,
    force_execute: bool = False,
    on_change: OnChange = OnChange.ERROR,
    until: str | None = None,
    from_builder: str | None = None,
    sample: int = 0,
    now: float,
) -> PlannedRun:
    """Return what executing a temporary instance is going to do. See ``TableVault.plan``."""
    ExecuteInstance(table, version, force_execute=force_execute, until=until, from_builder=from_builder).check()
    with vault.catalog.snapshot() as db:
        temporary = publication.get_temporary(db, table, version)
        if temporary.external_edit:
            raise TVArgumentError(
                f"{table}/{temporary.instance_id} is edited externally, so it can't be executed. Write it with "
                "write_instance()."
            )
        view = View(db, vault.layout, now)
        holder = _holder(db, temporary)
        kept, plan, texts, refusal = _begun(vault, view, temporary, holder, on_change)
        is_forced = bool(holder.arguments.get("force_execute")) if holder and kept else force_execute
        origin = None
        if plan.origin is not None:
            origin = Made.find(vault, db, plan.origin.table, plan.origin.instance_id)
        part = Stages.of(plan, kept.anew if kept else None, until=until, from_builder=from_builder)
        if kept is not None:
            kept = replace(kept, forgotten=kept.forgotten | part.again)
        if kept is None and from_builder is not None and refusal is None:
            refusal = _refused_takeover(view, plan, from_builder)
        no_reuse = _no_reuse(db, plan, origin, kept, is_forced=is_forced, temporary=temporary)
        durations = Durations(vault, db, instances.of_table(db, table))
        index_rows = _rows_made(db, origin)
    place = places.instance_layout(vault.layout, temporary)
    earlier = None if origin is None or origin.plan is None else renamed(vault, origin.plan)
    specs = _specs(vault, plan, texts)
    inputs = planned_inputs(vault, plan, earlier, specs)
    code = vault.layout.code_functions
    if kept is not None and on_change is OnChange.KEEP:
        code = Checkpoint.read(kept.folder).files.code
    situation = Situation(
        vault=vault,
        plan=plan,
        texts=texts,
        own_artifacts=place.artifacts,
        code_folder=code,
        origin=origin,
        no_reuse=no_reuse,
        kept=kept,
        inputs=inputs,
        index_rows=index_rows,
        stages=part,
        results=tuple(results_of(place)),
    )
    with tempfile.TemporaryDirectory(prefix="tablevault-plan-") as scratch:
        builders = Forecast(situation, Path(scratch).resolve()).builders(durations.seconds)
    told = PlannedRun(
        table=table,
        version=version,
        process_id=kept.process_id if kept else None,
        origin=None if plan.origin is None else f"{plan.origin.table}/{plan.origin.instance_id}",
        refusal=refusal,
        builders=tuple(builders),
        inputs=inputs,
    )
    return replace(told, sample=_sample(situation, sample)) if sample else told


def _sample(situation: Situation, rows: int) -> pd.DataFrame:
    from tablevault_like.monitor.sample import first_rows

    return first_rows(situation, rows)


def _holder(db: Database, temporary: InstanceRecord) -> ProcessRow | None:
    """Return the process that has the temporary instance for itself."""
    process_id = locks.exclusive_holder(db, Resource.instance(temporary.table_name, temporary.instance_id))
    return None if process_id is None else processes.find(db, process_id)


def _begun(
    vault: Vault, view: View, temporary: InstanceRecord, holder: ProcessRow | None, on_change: OnChange
) -> tuple[Kept | None, Plan, dict[str, str], str | None]:
    """Return what a process has kept of the execution, the plan that counts, its builders' texts, and what is wrong."""
    folder = None if holder is None else vault.layout.process(holder.process_id)
    if holder is None or folder is None or holder.operation != "execute_instance" or not folder.plan.exists():
        planned = planning.plan(view, temporary)
        refusal = None
        if holder is not None:
            refusal = f"process {holder.process_id!r} ({holder.operation} by {holder.author}) holds the instance"
        return None, planned.plan, dict(planned.texts), refusal
    checkpoint = Checkpoint.read(folder)
    finished = frozenset(
        step.record.name for step in processes.steps(view.db, holder.process_id) if step.record.is_done
    )
    kept = Kept(holder.process_id, folder, finished, Anew.read(folder))
    at_work = None
    if is_held(folder.worker_lock):
        at_work = f"a worker is at process {holder.process_id!r}; this is what it has left to do"
    old = checkpoint.plan
    if on_change is OnChange.KEEP:
        return kept, old, {builder.name: checkpoint.text(builder) for builder in old.builders}, at_work
    planned = planning.plan(view, temporary, pinned=old)
    changed = differences(old, planned.plan)
    texts = dict(planned.texts)
    if not changed:
        return kept, planned.plan, texts, at_work
    changes = changed_builders(old, planned.plan)
    again = set(changes.removed)
    if on_change is OnChange.RECOMPUTE:
        again |= changes.changed | changes.dependent
    if planned.plan.builders[0].name in again:
        again |= {builder.name for builder in planned.plan.builders}
    refusal = at_work
    if on_change is OnChange.ERROR:
        told = "; ".join(changed)
        refusal = (
            f"since process {holder.process_id!r} was started, these have changed: {told}. It goes on with "
            "on_change='continue' (which this plan is for), 'recompute' or 'keep'"
        )
    # Steps that are new or changed begin where the old ones ended; finished ones that stay count as finished.
    new = {name for name in changes.changed if name not in {each.name for each in old.builders}}
    kept = replace(kept, forgotten=frozenset(again), finished=finished - new, anew=kept.anew.without(again))
    return kept, planned.plan, texts, refusal


def _no_reuse(
    db: Database, plan: Plan, origin: Made | None, kept: Kept | None, *, is_forced: bool, temporary: InstanceRecord
) -> Reason | None:
    """Return why nothing is taken over, ``None`` if something may be."""
    if is_forced:
        return Reason(Cause.SETTING, "force_execute makes all rows anew")
    if kept is not None and kept.anew.everything:
        return Reason(Cause.SETTING, f"process {kept.process_id!r} makes all rows anew")
    if origin is None or plan.origin is None:
        was = f"the origin {temporary.origin_id} was deleted" if temporary.origin_id else "the instance has no origin"
        return Reason(Cause.NEW, was)
    if not instances.is_true(
        db, plan.origin.table, plan.origin.instance_id, process_id=kept.process_id if kept else ""
    ):
        return Reason(Cause.NEW, f"the origin {plan.origin.instance_id} isn't active")
    return None


def _refused_takeover(view: View, plan: Plan, from_builder: str) -> str | None:
    """Return why what comes before a builder can't be taken over from the origin, ``None`` if it can."""
    try:
        check_takeover(view, plan, from_builder)
    except TVBuilderError as error:
        return message_of(error)
    return None


def _rows_made(db: Database, origin: Made | None) -> int | None:
    """Return how many rows the origin's IndexBuilder has made itself."""
    if origin is None or origin.plan is None:
        return None
    name = origin.plan.builders[0].name
    found = [step.record for step in processes.steps(db, origin.record.process_id) if step.record.name == name]
    return found[0].rows_done if found else None


def _specs(vault: Vault, plan: Plan, texts: dict[str, str]) -> list[BuilderSpec]:
    frames = FrameCache(open_tables(vault, plan.pins), artifact_folder=vault.layout.root)
    return [builder.specify(texts[builder.name], frames) for builder in plan.builders]
