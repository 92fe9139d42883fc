"""What a call of ``execute_instance`` begins with: a new run, one that goes on, or none as there is nothing to do.

It is found out as an execution does it, by the same checks. A call that makes no sense is refused with the error that
the execution raises. Where only the state of the vault stands against it, that error's message is the ``refusal`` of
what can be planned all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tablevault_like.builders.anew import Anew
from tablevault_like.builders.changes import changed_builders, differences
from tablevault_like.builders.checkpoint import Checkpoint
from tablevault_like.builders.plan import Plan
from tablevault_like.catalog import instances, locks, processes
from tablevault_like.catalog.locks import Held
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.errors import TableVaultError, TVBuilderError, message_of
from tablevault_like.locks import is_held
from tablevault_like.model import (
    Existing,
    InstanceRecord,
    LockRequest,
    OnChange,
    Resource,
    State,
    StopIntent,
    check_process_id,
    temporary_id,
)
from tablevault_like.monitor.predictions import Action
from tablevault_like.monitor.situation import Kept
from tablevault_like.operations import planning, publication
from tablevault_like.operations.execute import ExecuteInstance
from tablevault_like.process import records
from tablevault_like.process.existing import check_same_work, existing_error, is_other_work, lock_error, running_error
from tablevault_like.process.operation import Declaration, View
from tablevault_like.process.waiting import Queued, blockers

_NEW = "plan"
"""Stands for the id of a process that is given a new one."""


@dataclass(frozen=True)
class Call:
    """A call of ``execute_instance``: what it does, with which process, and why it would be refused, if so."""

    operation: ExecuteInstance
    action: Action
    process_id: str | None = None
    row: ProcessRow | None = None
    """The process that there is already, as far as it counts."""
    refusal: str | None = None
    reverted: str | None = None
    """The process that is reverted first, as it is dead and nobody has named it."""

    @classmethod
    def of(cls, view: View, operation: ExecuteInstance, process_id: str | None) -> Call:
        """Look up what there is of a process. Raises what the execution raises for a call that makes no sense."""
        if process_id is None:
            operation.check()
            return _without_id(view, operation)
        row = processes.find(view.db, check_process_id(process_id))
        if row is None or row.state is State.REVERTED:
            operation.check()
            return cls(operation, Action.START, process_id, refusal=_running(view, process_id))
        refusal = None
        if operation.existing is Existing.ERROR:
            is_other = is_other_work(row, operation)
            error = existing_error(records.find(view.db, view.layout, process_id), is_other_work=is_other)
            if is_other:
                raise error
            refusal = message_of(error)
        check_same_work(row, operation)
        action = _action(operation, row)
        if action is not Action.REUSE:
            operation.check()
            refusal = refusal or _running(view, process_id)
        return cls(operation, action, process_id, row, refusal)


@dataclass(frozen=True)
class Beginning:
    """What an execution begins with: the plan that counts, its builders' texts, and what a process has kept.

    The ``temporary`` instance may be yet to be made. ``refusal`` is why the call would be refused.
    """

    temporary: InstanceRecord
    plan: Plan
    texts: Mapping[str, str]
    kept: Kept | None
    refusal: str | None

    @classmethod
    def of(cls, view: View, call: Call) -> Beginning:
        """Find out what a call begins with that has something to do."""
        if call.action is Action.RESUME and call.row is not None:
            return _resumed(view, call, call.row)
        return _new(view, call)


def _without_id(view: View, operation: ExecuteInstance) -> Call:
    """Return the call of one that names no process: it is a new run, unless somebody holds the instance.

    If that is an execution, what it has left to do is what is planned.
    """
    resource = Resource.instance(operation.table_name, temporary_id(operation.version))
    publication.get_temporary(view.db, operation.table_name, operation.version)
    holder = locks.exclusive_holder(view.db, resource)
    row = None if holder is None else processes.find(view.db, holder)
    if row is None or row.operation != operation.name:
        return Call(operation, Action.START)
    if _is_reverted_by_others(view, row):
        return Call(operation, Action.START, reverted=row.process_id)
    if not view.layout.process(row.process_id).plan.exists():
        return Call(operation, Action.START)
    # What identifies its work can't be another one's when it goes on.
    same = {name: row.arguments[name] for name in ("force_execute", "start_at") if name in row.arguments}
    found = _locked(view, [Held(row.process_id, LockRequest.exclusive(resource))])
    return Call(replace(operation, **same), Action.RESUME, row.process_id, row, found)


def _action(operation: ExecuteInstance, row: ProcessRow) -> Action:
    if operation.existing is Existing.RERUN:
        return Action.RERUN
    is_kept = row.state is State.STOPPING and row.stop_intent is StopIntent.MATERIALIZE
    if is_kept or row.state in (State.COMPLETED, State.MATERIALIZED):
        return Action.REUSE
    return Action.RESUME if row.state in (State.RUNNING, State.PAUSED) else Action.START


def _running(view: View, process_id: str) -> str | None:
    """Return why nobody can claim a process, as somebody is at it."""
    if not is_held(view.layout.process(process_id).worker_lock):
        return None
    return message_of(running_error(view.db, view.layout, process_id))


def _is_reverted_by_others(view: View, row: ProcessRow) -> bool:
    """Tell whether a process is reverted by whoever needs its locks: it is dead, and nobody has named it."""
    is_free = not row.named or row.state in (State.REVERTING, State.STOPPING)
    return is_free and row.state is not State.PAUSED and not is_held(view.layout.process(row.process_id).worker_lock)


def _new(view: View, call: Call) -> Beginning:
    temporary, builders_of = _temporary(view, call)
    declared, refusal = _declared(view, call.operation, temporary, builders_of)
    queued = Queued(call.process_id or _NEW, None, (*declared.locks, *declared.claim_locks))
    refusal = call.refusal or refusal or _locked(view, blockers(view.db, view.layout, queued).held)
    planned: planning.Planned = declared.facts
    return Beginning(temporary, planned.plan, planned.texts, None, refusal)


def _temporary(view: View, call: Call) -> tuple[InstanceRecord, InstanceRecord | None]:
    """Return the instance that is to be executed; if it is yet to be made, also the one that it is made of."""
    operation, row = call.operation, call.row
    if call.action is Action.RERUN and row is not None and row.state in (State.COMPLETED, State.MATERIALIZED):
        first = operation.renewal(view, row.process_id)
        made = instances.made_by(view.db, operation.table_name, row.process_id)
        if first is not None and made is not None:
            new = replace(
                made,
                instance_id=temporary_id(operation.version),
                version=operation.version,
                origin_table=made.table_name,
                origin_id=made.instance_id,
                external_edit=False,
            )
            return new, made
    return publication.get_temporary(view.db, operation.table_name, operation.version), None


def _declared(
    view: View, operation: ExecuteInstance, temporary: InstanceRecord, builders_of: InstanceRecord | None
) -> tuple[Declaration, str | None]:
    """Return what a new run declares, and why what comes before a builder can't be taken over, if that is so."""
    try:
        return operation.declare_on(view, temporary, builders_of=builders_of), None
    except TVBuilderError as error:
        if operation.from_builder is None:
            raise
        found = replace(operation, from_builder=None).declare_on(view, temporary, builders_of=builders_of)
        return found, message_of(error)


def _locked(view: View, found: tuple[Held, ...] | list[Held]) -> str | None:
    """Return why a run that needs locks doesn't get them."""
    for held in found:
        row = processes.find(view.db, held.process_id)
        if row is not None and not _is_reverted_by_others(view, row):
            return message_of(
                lock_error(ExecuteInstance.name, held, records.find(view.db, view.layout, row.process_id))
            )
    return None


def _resumed(view: View, call: Call, row: ProcessRow) -> Beginning:
    operation, folder = call.operation, view.layout.process(row.process_id)
    temporary = publication.get_temporary(view.db, operation.table_name, operation.version)
    refused: TableVaultError | None = None
    try:
        operation.check_resume(view, folder)
    except TableVaultError as error:
        refused = error
    checkpoint = Checkpoint.read(folder)
    finished = frozenset(step.record.name for step in processes.steps(view.db, row.process_id) if step.record.is_done)
    kept = Kept(row.process_id, folder, finished, Anew.read(folder))
    refusal = call.refusal or (message_of(refused) if refused else None)
    old = checkpoint.plan
    if operation.on_change is OnChange.KEEP:
        texts = {builder.name: checkpoint.text(builder) for builder in old.builders}
        return Beginning(temporary, old, texts, kept, refusal)
    try:
        planned = planning.plan(view, temporary, pinned=old)
    except TableVaultError as error:
        raise refused or error from None
    kept = _adopted(kept, old, planned.plan, operation.on_change)
    return Beginning(temporary, planned.plan, planned.texts, kept, refusal)


def _adopted(kept: Kept, old: Plan, new: Plan, on_change: OnChange) -> Kept:
    """Return what stays of a process that goes on with another plan: as if it went on with ``on_change='continue'``."""
    if not differences(old, new):
        return kept
    changes = changed_builders(old, new)
    again = set(changes.removed)
    if on_change is OnChange.RECOMPUTE:
        again |= changes.changed | changes.dependent
    if new.builders[0].name in again:
        again |= {builder.name for builder in new.builders}
    # Steps that are new or changed begin where the old ones ended; finished ones that stay count as finished.
    added = {name for name in changes.changed if name not in {each.name for each in old.builders}}
    return replace(kept, forgotten=frozenset(again), finished=kept.finished - added, anew=kept.anew.without(again))
