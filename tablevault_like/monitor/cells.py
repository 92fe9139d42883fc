"""Why a cell is what it is: who made it, with which code, of which inputs, and where it was taken over from."""

from __future__ import annotations

import json
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

import pandas as pd

from tablevault_like.builders.frames import row_keys
from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.catalog import instances, processes
from tablevault_like.errors import TVArgumentError, TVFileError, TVTableError, nearest
from tablevault_like.functions.sources import function_name
from tablevault_like.model import ErrorRecord, StepRecord
from tablevault_like.monitor import reasons
from tablevault_like.monitor.elsewhere import Elsewhere
from tablevault_like.monitor.made import Made, Vault
from tablevault_like.monitor.records import ArtifactFile, CellHistory, SourceRows
from tablevault_like.monitor.resolving import Resolved, efforts, frames_of, is_called_once, resolve_inputs
from tablevault_like.monitor.words import is_missing


def cell_history(
    vault: Vault, table: str, row: object, column: str, *, instance_id: str | None, version: str
) -> CellHistory:
    """Return where a cell comes from. See ``TableVault.why``."""
    asked = find_made(vault, table, instance_id, version)
    names = [each.name for each in asked.columns]
    if column not in names:
        raise TVArgumentError(f"{asked.name} has no column {column!r}.{nearest(column, names)}")
    place = position_of(asked, row)
    frame = asked.frame([*dict.fromkeys((*asked.primary_key, column))])
    value = plain(frame[column].iloc[place])
    trail = _follow(vault, asked, place, column)
    made, builder, maker = trail.made, trail.builder, trail.maker
    resolved = Resolved(None, trail.missing, ())
    texts: tuple[str | None, dict[str, str]] = (None, {})
    changes: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    taken: dict[str, Any] = {}
    if made is not None and builder is not None and made.plan is not None:
        texts = made.text(builder.name), made.code(builder)
        changes = _changes(vault, made, builder)
        resolved = inputs_of(vault, made, builder, trail.row)
        taken = efforts(made, builder.name, trail.row)
    elif made is not None:
        how = "it was written as a frame" if made.record.external_edit else "how it was made isn't on record"
        resolved = Resolved(None, how, _lineage(vault, made))
    failed = failure_of(made, builder.name, trail.row) if made and builder else None
    artifact = asked.artifacts.get(value) if column in asked.artifact_dtypes and isinstance(value, str) else None
    return CellHistory(
        table=asked.record.table_name,
        instance_id=asked.record.instance_id,
        row=place,
        key={name: plain(frame[name].iloc[place]) for name in asked.primary_key},
        column=column,
        value=value,
        builder=builder.name if builder else None,
        builder_text=texts[0],
        builder_changes=changes[0],
        function=_function(builder) if builder else None,
        code=texts[1],
        code_changes=changes[1],
        inputs=resolved.inputs,
        inputs_missing=resolved.missing,
        sources=resolved.sources,
        artifacts=(ArtifactFile(str(value), *artifact),) if artifact else (),
        made_in=trail.made_in,
        reused_through=trail.through,
        process_id=maker.process_id,
        author=maker.author,
        made_at=maker.ended_at,
        # What was taken over from imported results has cost nothing here, and what it took there isn't kept.
        attempts=None if trail.is_of_results else taken.get("attempts"),
        seconds=None if trail.is_of_results else taken.get("seconds"),
        cost=taken.get("cost"),
        tokens=taken.get("tokens"),
        error=failed[1] if failed else None,
        vault=maker.vault,
    )


def find_made(vault: Vault, table: str, instance_id: str | None, version: str) -> Made:
    """Return an instance of a table, by default the newest active one of a version."""
    with vault.catalog.snapshot() as db:
        if instance_id is not None:
            record = instances.get(db, table, instance_id)
        else:
            record = instances.get_newest(db, table, version)
        if record.is_temporary:
            raise TVArgumentError(
                f"{table}/{record.instance_id} is a temporary instance. Name a materialized one, or ask inspect() for "
                "what its process has done."
            )
        found = Made.find(vault, db, record.table_name, record.instance_id)
    assert found is not None
    return found


def position_of(made: Made, row: object) -> int:
    """Return the position of a row that is named by its position, or by its primary key.

    Raises TVArgumentError if there is no such row.
    """
    count, key = made.record.rows or 0, made.primary_key
    place = None if isinstance(row, bool) or not isinstance(row, numbers.Integral) else int(row)
    if place is not None:
        if 0 <= place < count:
            return place
        hint = f" Its primary key is given as {{{key[0]!r}: {row}}}." if len(key) == 1 else ""
        raise TVArgumentError(f"{made.name} has no row {row}: it has {count} rows, counted from 0.{hint}")
    given = dict(row) if isinstance(row, Mapping) else {key[0]: row} if len(key) == 1 else None
    if given is None or set(given) != set(key) or not key:
        named = f"its primary key ({', '.join(key)}) as a dict" if key else "as it has no primary key"
        raise TVArgumentError(f"row must be a position of {made.name}, {'or ' if key else ''}{named}, not {row!r}.")
    wanted = tuple(given[name] for name in key)
    keys = [] if any(map(is_missing, wanted)) else list(row_keys(made.frame(key), key))
    found = [place for place, each in enumerate(keys) if each == wanted]
    if not found:  # a shell has only texts: of a day, or of a number
        found = [place for place, each in enumerate(keys) if all(map(_reads_the_same, each, wanted))]
    if not found:
        shown = ", ".join(f"{name}={value!r}" for name, value in given.items())
        raise TVArgumentError(f"{made.name} has no row with {shown}.")
    return found[0]


def _reads_the_same(value: object, given: object) -> bool:
    """Tell whether a part of a key is what was given for it, or one is the other's text."""
    if isinstance(given, str) and not isinstance(value, str):
        texts = {str(value)}
        if isinstance(value, date):
            texts.add(value.isoformat())
        if isinstance(value, datetime) and value.time() == time.min and value.tzinfo is None:
            texts.add(value.date().isoformat())
        return given in texts
    if isinstance(value, str) and isinstance(given, numbers.Number):
        return str(given) == value
    return bool(value == given)


def inputs_of(vault: Vault, made: Made, builder: PlannedBuilder, row: int) -> Resolved:
    """Return what a builder's function was called with for a row of an instance."""
    plan, frames, unknown = frames_of(vault, made, builder)
    return resolve_inputs(
        vault,
        plan,
        builder,
        made.text(builder.name),
        frames,
        process_id=made.record.process_id,
        artifact_folder=str(made.place.artifacts),
        row=None if is_called_once(builder) else row,
        unknown=unknown,
    )


@dataclass(frozen=True)
class _Maker:
    """The process that made a cell, and the vault that it was in, if that was another one."""

    process_id: str | None = None
    author: str | None = None
    ended_at: float | None = None
    vault: str | None = None

    @classmethod
    def elsewhere(cls, found: Elsewhere) -> _Maker:
        return cls(found.process_id, found.author, found.ended_at, found.vault)


@dataclass
class _Trail:
    """Where a cell was made: in which instance, in which row of it, by which builder."""

    made: Made | None
    row: int
    builder: PlannedBuilder | None = None
    made_in: str | None = None
    through: tuple[str, ...] = ()
    maker: _Maker = _Maker()
    missing: str | None = None
    is_of_results: bool = False
    """Whether it was taken over from imported results: ``made`` is the instance that has done that."""


def _follow(vault: Vault, asked: Made, row: int, column: str) -> _Trail:
    """Go from instance to instance until the one that made the cell, or one that isn't there."""
    trail, made = _Trail(asked, row), asked
    while True:
        trail.builder = made.builder_of(column)
        before = _taken_from(vault, made, trail.builder, trail.row, column)
        # What was imported may tell of a circle.
        if before is None or made.name in trail.through:
            break
        trail.through = (*trail.through, made.name)
        origin, place = before
        if isinstance(origin, Elsewhere):
            trail.made_in, trail.maker, trail.is_of_results = origin.name, _Maker.elsewhere(origin), True
            return trail
        if isinstance(origin, _Gone):
            trail.made, trail.made_in, trail.builder = None, origin.name, None
            trail.missing = f"{origin.name}, from which it was reused, {origin.why}"
            return trail
        if place is None or column not in {each.name for each in origin.columns}:
            trail.made, trail.made_in, trail.builder = None, origin.name, None
            trail.missing = f"which row of {origin.name} it was isn't known"
            return trail
        trail.made, trail.row, made = origin, place, origin
    trail.made_in = made.name
    trail.maker = _maker(vault, made)
    return trail


def _maker(vault: Vault, made: Made) -> _Maker:
    """Return the process that made an instance, here or in another vault."""
    with vault.catalog.snapshot() as db:
        elsewhere = Elsewhere.of_instance(db, made.record)
        process = processes.find(db, made.record.process_id)
    if elsewhere is not None:
        return _Maker.elsewhere(elsewhere)
    return _Maker() if process is None else _Maker(process.process_id, process.author, process.ended_at)


@dataclass(frozen=True)
class _Gone:
    """An instance that isn't there, and why."""

    name: str
    why: str


def _taken_from(
    vault: Vault, made: Made, builder: PlannedBuilder | None, row: int, column: str
) -> tuple[Made | Elsewhere | _Gone, int | None] | None:
    """Return the instance that a cell was taken over from, or the imported results, and the row there.

    ``None`` if the cell was made for this instance.
    """
    if made.plan is None:
        return None
    origin, gone, steps = _origin(vault, made, made.plan)
    step = steps.get(builder.name) if builder else None
    if builder is None:  # a row-wise IndexBuilder leaves the other columns of its origin as they are
        return (origin, row) if origin else (gone, row) if gone else None
    if builder.is_index:
        made_here = step.rows_done if step else None
        is_kept = builder.fields["keep_old"] and made_here is not None and row < (made.record.rows or 0) - made_here
        if not is_kept and not _is_reused(made, builder, row, origin, step.rows_reused if step else 0):
            return None
    elif not _is_reused(made, builder, row, origin, step.rows_reused if step else 0):
        return None
    results = [each for each in Elsewhere.of_results(made.place) if each.builder == builder.name]
    if results and (origin is None or not _has_it(made, builder, row, origin)):
        return results[0], None
    if origin is None:
        return None if gone is None else (gone, None)
    return origin, _counterpart(made, origin, row)


def _origin(vault: Vault, made: Made, plan: Plan) -> tuple[Made | None, _Gone | None, dict[str, StepRecord]]:
    """Return what an instance began with, or that it isn't there, and the steps of the process that made it."""
    record = made.record
    with vault.catalog.snapshot() as db:
        elsewhere = Elsewhere.of_instance(db, record)
        if elsewhere is None:
            steps = [each.record for each in processes.steps(db, record.process_id)]
        else:
            steps = list(elsewhere.steps)
        table, instance_id = record.origin_table, record.origin_id
        if elsewhere is not None and instance_id is None and plan.origin is not None:
            # It may have been imported later, or not at all.
            instance_id = plan.origin.instance_id
            table = instances.table_of(db, instance_id)
        origin = Made.find(vault, db, table, instance_id)
    named = {step.name: step for step in steps}
    if origin is not None or instance_id is None:
        return origin, None, named
    told = table or (plan.origin.table if plan.origin else "")
    why = "was deleted" if elsewhere is None else "isn't in this vault"
    return None, _Gone(f"{told}/{instance_id}", why), named


def _has_it(made: Made, builder: PlannedBuilder, row: int, origin: Made) -> bool:
    """Tell whether an execution finds in the origin what it has reused, before it looks at imported results."""
    try:
        if is_called_once(builder):
            wanted = {each.name: each.input_hash for each in made.provenance.builders()}.get(builder.name)
            return wanted is not None and wanted in {each.input_hash for each in origin.provenance.builders()}
        place, earlier = _counterpart(made, origin, row), reasons.counterpart(origin.plan, builder)
        if place is None or earlier is None:
            return False
        rows = origin.provenance.rows(earlier.name, count=origin.record.rows or 0)
    except TVFileError:
        return True
    if rows is None:
        return False
    is_same_input = rows.hashes[place] is not None and rows.hashes[place] == efforts(made, builder.name, row).get(
        "input_hash"
    )
    return is_same_input and rows.recipes.get(rows.codes[place]) == builder.recipe


def _is_reused(made: Made, builder: PlannedBuilder, row: int, origin: Made | None, reused: int) -> bool:
    """Tell whether a row was taken over, as it is recorded; in older instances that is told by its recipe and hash."""
    if not reused:
        return False
    taken = efforts(made, builder.name, row)
    if "attempts" in taken:
        return bool(taken["attempts"] == 0)
    if not taken:
        return True  # a function that is called once for all rows is reused as a whole
    if origin is None:
        return True
    place = _counterpart(made, origin, row)
    earlier = reasons.counterpart(origin.plan, builder)
    if place is None or earlier is None:
        return False
    before = efforts(origin, earlier.name, place)
    is_same_input: bool = before.get("input_hash") == taken.get("input_hash")
    return is_same_input and earlier.recipe == builder.recipe


def _counterpart(made: Made, origin: Made, row: int) -> int | None:
    """Return the row of the origin that stands for a row: that of the same primary key, else of the same position."""
    key = made.primary_key
    if not key:
        return row if row < (origin.record.rows or 0) else None
    if not set(key) <= {column.name for column in origin.columns}:
        return None
    wanted = next(iter(row_keys(made.frame(key).iloc[[row]], key)))
    try:
        return next((place for place, each in enumerate(row_keys(origin.frame(key), key)) if each == wanted), None)
    except TVTableError:
        return None


def _changes(vault: Vault, made: Made, builder: PlannedBuilder) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return in which lines a builder's file and its code differ from those of the instance's origin."""
    with vault.catalog.snapshot() as db:
        origin = Made.find(vault, db, made.record.origin_table, made.record.origin_id)
    earlier = reasons.counterpart(origin.plan, builder) if origin else None
    if origin is None or earlier is None:
        return (), ()
    before, after = origin.text(earlier.name) or "", made.text(builder.name) or ""
    old, new = origin.code(earlier), made.code(builder)
    lines: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        different = reasons.line_difference(old.get(name, ""), new.get(name, ""))
        lines += [f"{name}:", *different] if different else []
    return reasons.line_difference(before, after), tuple(lines)


def _lineage(vault: Vault, made: Made) -> tuple[SourceRows, ...]:
    with vault.catalog.snapshot() as db:
        found = instances.lineage(db, made.record.table_name, made.record.instance_id)
        gone = {instance_id for _, instance_id in found if instances.table_of(db, instance_id) is None}
    return tuple(SourceRows("", table, instance_id, None, instance_id in gone) for table, instance_id in found)


def _function(builder: PlannedBuilder) -> str:
    module = str(builder.fields["code_module"])
    name = f"{module}.{function_name(module, builder.fields['python_function'])}"
    return name if builder.fields["is_custom"] else f"{name} (built in)"


def failure_of(made: Made, builder: str, row: int) -> tuple[str, ErrorRecord] | None:
    """Return whether a row is recorded as ``failed`` or ``skipped``, and what it failed with; ``None`` if it hasn't."""
    try:
        found = made.provenance.failures()
    except TVFileError:
        return None
    rows = found[(found["builder"] == builder) & (found["row"] == row)]
    if rows.empty:
        return None
    last = rows.iloc[-1]
    told = (last[name] for name in ("error_type", "message", "traceback"))
    return str(last["status"]), ErrorRecord(*("" if text is pd.NA else str(text) for text in told))


def plain(value: Any) -> Any:
    """Return a cell as a plain Python value; ``None`` for a missing one."""
    if value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value):
        return None
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value


def error_of(text: str | None) -> ErrorRecord | None:
    """Return the error that is recorded of a row."""
    return None if text is None else ErrorRecord(**json.loads(text))
