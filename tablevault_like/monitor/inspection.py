"""Inspect a process or an instance: what it is, how far its steps came, and what is stored of a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tablevault_like.builders.checkpoint import Checkpoint
from tablevault_like.builders.frames import FrameCache
from tablevault_like.builders.partial import partial_frame
from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.catalog import Database, instances, locks, processes, tables
from tablevault_like.errors import TVArgumentError, TVFileError, nearest
from tablevault_like.model import (
    InstanceRecord,
    ProcessRecord,
    Resource,
    ReturnType,
    RowStatus,
    StepRecord,
    is_instance_id,
)
from tablevault_like.monitor.cells import error_of, failure_of, inputs_of, plain, position_of
from tablevault_like.monitor.elsewhere import Elsewhere
from tablevault_like.monitor.made import Made, Vault, open_tables, renamed
from tablevault_like.monitor.records import Inspection, RowState
from tablevault_like.monitor.resolving import efforts, is_called_once, resolve_inputs
from tablevault_like.monitor.words import moment
from tablevault_like.process import records
from tablevault_like.storage import tables as parquet
from tablevault_like.storage.row_reader import RowReader
from tablevault_like.storage.values import decode


@dataclass(frozen=True)
class Named:
    """What is to be inspected: a process or an instance, by whatever says which one."""

    name: str = ""
    table_name: str = ""
    process_id: str = ""
    instance_id: str = ""
    version: str = "base"

    def find(self, vault: Vault) -> tuple[str | None, InstanceRecord | None]:
        """Return the id of a process, or an instance.

        Raises TVArgumentError, with the nearest name, if there is nothing of that name, or two things.
        """
        with vault.catalog.snapshot() as db:
            known = tables.names(db)
            if self.process_id:
                if self.name or self.table_name or self.instance_id:
                    raise TVArgumentError(
                        f"With process_id={self.process_id!r}, a process and something else are named. Name one thing."
                    )
                return processes.get(db, self.process_id).process_id, None
            table = self.table_name
            if not table and self.name:
                is_process = processes.find(db, self.name) is not None or locks.waiting(db, self.name) is not None
                if is_process and self.name in known:
                    raise TVArgumentError(
                        f"{self.name!r} is a process and a table. Give it as process_id, or as table_name."
                    )
                if is_process and self.instance_id:
                    raise TVArgumentError(
                        f"{self.name!r} is a process, which has no instances. Name a table, or no instance."
                    )
                if is_process:
                    return self.name, None
                if is_instance_id(self.name) and (found := instances.table_of(db, self.name)) is not None:
                    return None, instances.get(db, found, self.name)
                gone = instances.deleted(db, instance_id=self.name)
                if gone is not None:
                    at = moment(gone.deleted_at)
                    raise TVArgumentError(f"The instance {self.name!r} of table {gone.table_name!r} was deleted, {at}.")
                table = self.name
                if table not in known:
                    hint = nearest(table, known)
                    raise TVArgumentError(f"There is no process, no table and no instance {table!r:.150}.{hint}")
            if not table:
                raise TVArgumentError("Nothing is named: give the id of a process, or the name of a table.")
            if self.instance_id:
                return None, instances.get(db, table, self.instance_id)
            return None, instances.get_newest(db, table, self.version, active_only=False)


def inspect(vault: Vault, named: Named, *, row: object = None, builder: str = "") -> Inspection:
    """Return what is known of a process or an instance. See ``TableVault.inspect``."""
    process_id, record = named.find(vault)
    if record is not None and record.is_temporary:
        with vault.catalog.snapshot() as db:
            resource = Resource.instance(record.table_name, record.instance_id)
            process_id = locks.exclusive_holder(db, resource)
    if process_id is not None:
        return _of_process(vault, process_id, row, builder)
    assert record is not None
    return _of_instance(vault, record, row, builder)


def _of_process(vault: Vault, process_id: str, row: object, builder: str) -> Inspection:
    with vault.catalog.snapshot() as db:
        process = records.find(db, vault.layout, process_id)
        made = instances.of_process(db, process_id)
        found = None if made is None else Made.find(vault, db, made.table_name, made.instance_id)
    if found is not None:
        return _of_made(vault, found, process, row, builder, name=process_id)
    folder = vault.layout.process(process_id)
    plan = renamed(vault, Checkpoint.read(folder).plan) if folder.plan.exists() else None
    table = process.arguments.get("table_name")
    rows: tuple[RowState, ...] = ()
    if row is not None or builder:
        if plan is None:
            raise TVArgumentError(f"Process {process_id!r} ({process.operation}, {process.status}) keeps no rows.")
        rows = tuple(_rows_of_process(vault, process, plan, row, builder))
    return Inspection(
        name=process_id,
        table=table if isinstance(table, str) else None,
        instance_id=plan.instance_id if plan else None,
        facts=_process_facts(process),
        process=process,
        steps=process.steps,
        columns={name: dtype for each in (plan.builders if plan else ()) for name, dtype in each.dtypes.items()},
        origin=f"{plan.origin.table}/{plan.origin.instance_id}" if plan and plan.origin else None,
        sources=tuple(sorted({(pin.table, pin.instance_id) for pin in plan.pins.values()})) if plan else (),
        recipes={each.name: each.recipe for each in plan.builders} if plan else {},
        rows=rows,
    )


def _of_instance(vault: Vault, record: InstanceRecord, row: object, builder: str) -> Inspection:
    with vault.catalog.snapshot() as db:
        made = Made.find(vault, db, record.table_name, record.instance_id)
        process = _process(db, vault, record.process_id)
    if made is not None:
        return _of_made(vault, made, process, row, builder, name=f"{record.table_name}/{record.instance_id}")
    if row is not None or builder:
        raise TVArgumentError(f"{record.table_name}/{record.instance_id} isn't being executed, so it has no rows yet.")
    origin = f"{record.origin_table}/{record.origin_id}" if record.origin_id else None
    return Inspection(
        name=f"{record.table_name}/{record.instance_id}",
        table=record.table_name,
        instance_id=record.instance_id,
        facts=_instance_facts(record),
        process=process,
        steps=(),
        columns={},
        origin=origin,
        sources=(),
        recipes={},
    )


def _of_made(
    vault: Vault, made: Made, process: ProcessRecord | None, row: object, builder: str, *, name: str
) -> Inspection:
    record, plan, steps = made.record, made.plan, process.steps if process else ()
    with vault.catalog.snapshot() as db:
        sources = tuple(instances.lineage(db, record.table_name, record.instance_id))
        elsewhere = Elsewhere.of_instance(db, record)
    facts = _instance_facts(record) | {"process": record.process_id}
    if elsewhere is not None:
        steps = elsewhere.steps
        facts |= {"imported_from": elsewhere.vault, "made_by": elsewhere.maker or None}
    return Inspection(
        name=name,
        table=record.table_name,
        instance_id=record.instance_id,
        facts=facts,
        process=process,
        steps=steps,
        columns={column.name: column.dtype for column in made.columns},
        origin=f"{record.origin_table}/{record.origin_id}" if record.origin_id else None,
        sources=sources,
        recipes={each.name: each.recipe for each in plan.builders} if plan else {},
        rows=tuple(_rows_of_made(vault, made, steps, row, builder)) if row is not None or builder else (),
    )


def _process(db: Database, vault: Vault, process_id: str) -> ProcessRecord | None:
    found = processes.find(db, process_id)
    return None if found is None else records.describe(db, vault.layout, found)


def _instance_facts(record: InstanceRecord) -> dict[str, Any]:
    return {
        "table": record.table_name,
        "instance": record.instance_id,
        "version": record.version,
        "state": str(record.status),
        "active": record.active,
        "success": record.success,
        "external_edit": record.external_edit,
        "rows": record.rows,
        "author": record.author,
        "created_at": record.created_at,
        "materialized_at": record.materialized_at,
        "description": record.description,
        "manifest_sha256": record.manifest_sha256,
    }


def _process_facts(process: ProcessRecord) -> dict[str, Any]:
    return {
        "operation": process.operation,
        "arguments": dict(process.arguments),
        "state": process.status,
        "author": process.author,
        "host": process.host,
        "pid": process.pid,
        "created_at": process.created_at,
        "started_at": process.started_at,
        "updated_at": process.updated_at,
        "ended_at": process.ended_at,
        "parent": process.parent_id,
        "claims": process.epoch,
        "paused": process.pause_reason,
        "completed_through": process.completed_through,
        "error": f"{process.error.type}: {process.error.message}" if process.error else None,
        "next": process.next_steps,
    }


# --- one row


def _builders(plan: Plan | None, builder: str) -> list[PlannedBuilder]:
    known = [each.name for each in plan.builders] if plan else []
    if builder and builder not in known:
        raise TVArgumentError(f"There is no builder {builder!r}.{nearest(builder, known)}")
    return [each for each in (plan.builders if plan else ()) if not builder or each.name == builder]


def _rows_of_made(
    vault: Vault, made: Made, steps: Sequence[StepRecord], row: object, builder: str
) -> Iterator[RowState]:
    place = position_of(made, 0 if row is None else row)
    reused = {step.name for step in steps if step.rows_reused}
    for each in _builders(made.plan, builder):
        taken = efforts(made, each.name, place)
        failed = failure_of(made, each.name, place)
        resolved = inputs_of(vault, made, each, place)
        frame = made.frame([name for name in each.changed_columns if name in {one.name for one in made.columns}])
        recipe = each.recipe
        if taken.get("code") is not None:
            found = made.provenance.rows(each.name, count=made.record.rows or 0)
            recipe = found.recipes.get(taken["code"], recipe) if found else recipe
        yield RowState(
            builder=each.name,
            row=place,
            status=failed[0] if failed else _status(made, each, taken, each.name in reused),
            inputs=resolved.inputs,
            inputs_missing=resolved.missing,
            output={str(name): plain(frame[name].iloc[place]) for name in frame.columns},
            input_hash=taken["input_hash"].hex() if taken.get("input_hash") else None,
            code=recipe,
            attempts=taken.get("attempts"),
            seconds=taken.get("seconds"),
            cost=taken.get("cost"),
            tokens=taken.get("tokens"),
            error=failed[1] if failed else None,
        )


def _status(made: Made, builder: PlannedBuilder, taken: Mapping[str, Any], has_reused: bool) -> str:
    """Return what a row is that hasn't failed. Instances of older versions don't tell which ones were reused.

    A frame is reused as a whole, or not at all.
    """
    if "attempts" not in taken:
        if builder.is_index or builder.return_type is not ReturnType.DATAFRAME:
            return "done"
        return "missing" if _is_missing(made, builder) else "reused" if has_reused else "done"
    if taken["attempts"] is None:
        return "missing"
    return "reused" if taken["attempts"] == 0 else "done"


def _is_missing(made: Made, builder: PlannedBuilder) -> bool:
    """Tell whether a function that is called once for all rows never was."""
    try:
        found = made.provenance.missing(table=made.place.table)
    except TVFileError:
        return False
    return bool((found["builder"] == builder.name).any())


def _rows_of_process(vault: Vault, process: ProcessRecord, plan: Plan, row: object, builder: str) -> Iterator[RowState]:
    process_id, steps = process.process_id, {step.name: step for step in process.steps}
    folder = vault.layout.process(process_id)
    checkpoint = Checkpoint.read(folder)
    found = partial_frame(folder, checkpoint.plan)
    if isinstance(row, bool) or not isinstance(row, int | None):
        raise TVArgumentError(f"row must be a position in what the process has made, from 0, not {row!r}.")
    place, count = row or 0, len(found.frame)
    wanted = _builders(plan, builder)
    staged = next(folder.staging.glob(f"{plan.version}_*/artifacts"), folder.staging)
    with RowReader.open(folder.rows) as store:
        finished = {name: set(store.recorded(name).tolist()) for name in (each.name for each in plan.builders)}
        for each in wanted:
            stored, step = store.row(each.name, place), steps.get(each.name)
            is_done = step is not None and step.is_done
            if stored is None and place >= count and (is_done or not each.is_index):
                raise TVArgumentError(f"Process {process_id!r} has made {count} rows by now: there is no row {place}.")
            frames, unknown = _frames(vault, plan, each, found.frame, found.artifact_columns, staged, finished, place)
            resolved = resolve_inputs(
                vault,
                plan,
                each,
                checkpoint.text(each),
                frames,
                process_id=process_id,
                artifact_folder=str(staged),
                row=None if is_called_once(each) else place,
                unknown=unknown,
            )
            known = _recorded(store, each, place, stored, resolved.inputs, resolved.missing)
            if is_done and stored is None and each.return_type is ReturnType.DATAFRAME:  # it is kept as a frame
                known = replace(
                    known,
                    status="reused" if step is not None and step.rows_reused else "done",
                    output={name: plain(found.frame[name].iloc[place]) for name in each.changed_columns},
                    code=each.recipe,
                )
            yield known


def _recorded(
    store: RowReader,
    builder: PlannedBuilder,
    row: int,
    stored: Any,
    inputs: Mapping[str, Any] | None,
    missing: str | None,
) -> RowState:
    if stored is None:
        return RowState(builder.name, row, "to come", inputs, missing, None, None, None, None, None, None, None, None)
    is_done = stored.status is RowStatus.DONE
    cells = decode(stored.cells) if is_done and stored.cells is not None else None
    if inputs is None and stored.inputs is not None:
        inputs, missing = decode(stored.inputs), None
    return RowState(
        builder=builder.name,
        row=row,
        status="reused" if is_done and not stored.attempts else stored.status.name.lower(),
        inputs=inputs,
        inputs_missing=missing,
        output=None if cells is None else dict(zip(builder.changed_columns, cells, strict=True)),
        input_hash=stored.input_hash.hex() if stored.input_hash else None,
        code=store.codes().get(stored.code),
        attempts=stored.attempts,
        seconds=stored.seconds,
        cost=stored.cost,
        tokens=stored.tokens,
        error=error_of(stored.error),
    )


def _frames(
    vault: Vault,
    plan: Plan,
    builder: PlannedBuilder,
    frame: Any,
    artifact_columns: tuple[str, ...],
    staged: Any,
    finished: Mapping[str, set[int]],
    row: int,
) -> tuple[FrameCache, dict[str, str]]:
    """Return the frames as a builder sees them, and which columns aren't made yet."""
    frames = FrameCache(open_tables(vault, plan.pins), artifact_folder=staged)
    if builder.is_index:
        origin = None
        if plan.origin is not None:
            with vault.catalog.snapshot() as db:
                origin = Made.find(vault, db, plan.origin.table, plan.origin.instance_id)
        if origin is not None:
            frames.replace(origin.table, artifact_folder=origin.place.artifacts)
        return frames, {}
    place = [each.name for each in plan.builders].index(builder.name)
    seen = dict.fromkeys(name for each in plan.builders[:place] for name in each.changed_columns)
    carried = [name for name in frame.columns if name not in plan.columns]
    names = [name for name in (*seen, *carried) if name in frame.columns]
    dtypes = {name: "artifact_string" for name in names if name in artifact_columns}
    frames.replace(parquet.table_from_frame(frame[names], dtypes))
    waits = {
        name: f"{each.name} hasn't made {name!r} yet"
        for each in plan.builders[:place]
        if not each.is_index and each.return_type != "dataframe" and row not in finished[each.name]
        for name in each.changed_columns
    }
    return frames, waits
