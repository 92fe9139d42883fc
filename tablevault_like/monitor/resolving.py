"""Resolve again what a builder's function was called with for one row, after it was done.

Inputs aren't kept: what a plan has pinned and the instance's own columns never change. What was changed or deleted
since is told, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from tablevault_like.builders.frames import FrameCache
from tablevault_like.builders.inputs import known_pin
from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.errors import TableVaultError, TVFileError, message_of
from tablevault_like.model import ReturnType
from tablevault_like.monitor.made import Made, Vault, open_tables, renamed
from tablevault_like.monitor.records import SourceRows
from tablevault_like.references.arguments import Arguments
from tablevault_like.references.frames import Frames
from tablevault_like.references.grammar import parse
from tablevault_like.references.keywords import Keyword
from tablevault_like.references.resolver import Resolver
from tablevault_like.references.syntax import SELF, Reference, walk
from tablevault_like.storage import tables

_POSITION = "position of the row, from 0"
"""The name of a column that stands for the positions of rows. Nobody names a column like that."""
_MOST = 100


class MissingError(Exception):
    """Tell why inputs can't be had."""


@dataclass(frozen=True)
class Resolved:
    """What a function was called with, or why that can't be had, and which rows of which instances it was made of."""

    inputs: Mapping[str, Any] | None
    missing: str | None
    sources: tuple[SourceRows, ...]


def resolve_inputs(
    vault: Vault,
    plan: Plan,
    builder: PlannedBuilder,
    text: str | None,
    frames: FrameCache,
    *,
    process_id: str,
    artifact_folder: str,
    row: int | None,
    unknown: Mapping[str, str],
) -> Resolved:
    """Resolve the inputs of a row, ``None`` for a function that was called once for all.

    ``frames`` has the frame as the builder saw it, but for the columns that are ``unknown``, each with the reason.
    """
    try:
        if text is None:
            raise MissingError("the builder's file is gone")
        spec = builder.specify(text, frames)
        sources = _sources(vault, plan, spec, frames, row)
        for column in _own_columns(spec, frames):
            if column in unknown:
                return Resolved(None, unknown[column], sources)
        gone = [each for each in sources if each.is_deleted]
        if gone:
            named = ", ".join(sorted({f"{each.table}/{each.instance_id}" for each in gone}))
            return Resolved(None, f"{named} was deleted", sources)
        keywords: dict[Keyword, object] = {
            Keyword.ARTIFACT_FOLDER: artifact_folder,
            Keyword.PROCESS_ID: process_id,
            Keyword.RESUME_FROM: 0,
        }
        bound = spec.arguments.bind(frames, keywords)
        key = f"{process_id}:{builder.name}:{'all' if row is None else row}"
        arguments, _ = bound.row(row, key)
    except MissingError as error:
        return Resolved(None, str(error), ())
    except (TableVaultError, OSError) as error:
        deleted = [f"{pin.table}/{pin.instance_id}" for pin in plan.pins.values() if _is_gone(vault, pin.instance_id)]
        why = f"{', '.join(sorted(set(deleted)))} was deleted" if deleted else message_of(error)
        return Resolved(None, why, _deleted(vault, plan, builder))
    return Resolved(arguments, None, sources)


def frames_of(vault: Vault, made: Made, builder: PlannedBuilder) -> tuple[Plan, FrameCache, dict[str, str]]:
    """Return the plan of an instance, the frames as one of its builders saw them, and which columns can't be had."""
    assert made.plan is not None
    plan = renamed(vault, made.plan)
    frames = FrameCache(open_tables(vault, plan.pins), artifact_folder=made.place.artifacts)
    unknown: dict[str, str] = {}
    place = next(number for number, each in enumerate(plan.builders) if each.name == builder.name)
    if builder.is_index:
        with vault.catalog.snapshot() as db:
            origin = Made.find(vault, db, made.record.origin_table, made.record.origin_id)
        if origin is not None:
            frames.replace(origin.table, artifact_folder=origin.place.artifacts)
        elif made.record.origin_id is not None:
            unknown = dict.fromkeys((column.name for column in made.columns), f"{made.record.origin_id} was deleted")
            frames.replace(made.table)
        return plan, frames, unknown
    later = {name: each.name for each in plan.builders[place:] for name in each.changed_columns}
    before = {name for each in plan.builders[:place] for name in each.changed_columns}
    made_here = {name for each in plan.builders for name in each.changed_columns}
    seen = [name for name in made.table.column_names if name in before or name not in made_here]
    for name in seen:
        if name in later:
            unknown[name] = f"{name!r} was changed afterwards, by {later[name]}"
    frames.replace(made.table.select(seen))
    return plan, frames, unknown


def _own_columns(spec: BuilderSpec, frames: FrameCache) -> set[str]:
    """Return the columns of the instance itself that a builder reads, all of them if that isn't known."""
    found: set[str] = set()
    for reference in spec.arguments.references:
        if reference.table.literal not in (SELF, None) or reference.is_row_index:
            continue
        named = [*(reference.columns or ()), *(each.key for each in reference.conditions)]
        names = [each.literal for each in named]
        if reference.columns is None or None in names:
            return set(frames.columns(SELF, None))
        found.update(name for name in names if name is not None)
    return found


class _WithPositions:
    """Frames with one more column: the positions of their rows."""

    def __init__(self, frames: FrameCache) -> None:
        self._frames = frames

    def columns(self, table: str, version: str | None) -> tuple[str, ...]:
        return (*self._frames.columns(table, version), _POSITION)

    def frame(self, table: str, version: str | None, columns: Sequence[str] | None = None) -> pd.DataFrame:
        wanted = None if columns is None else [name for name in columns if name != _POSITION]
        found = self._frames.frame(table, version, wanted)
        return found.assign(**{_POSITION: np.arange(len(found))}) if columns is None or _POSITION in columns else found


def _sources(
    vault: Vault, plan: Plan, spec: BuilderSpec, frames: FrameCache, row: int | None
) -> tuple[SourceRows, ...]:
    """Return what references read: resolved once more, with the positions of rows in place of their cells."""
    with_positions: Frames = _WithPositions(frames)
    resolver = Resolver(with_positions)
    position = parse(f"{_POSITION}")
    outer = [reference for text in _texts(spec.written_arguments) for reference in parse(text).references]
    found = []
    for reference in dict.fromkeys(nested for each in outer for nested in walk(each)):
        if reference.is_row_index:
            continue
        names = _names(with_positions, reference, row)
        table = names[0] if names else reference.table.literal or reference.table.text
        version = names[1] if names else None
        pin = None if table == SELF else known_pin(plan.pins, table, version)
        instance_id = None if pin is None else pin.instance_id
        is_deleted = pin is not None and _is_gone(vault, pin.instance_id)
        rows: tuple[int, ...] | None = None
        if not is_deleted and reference.conditions:
            try:
                value = resolver.reference(replace(reference, columns=(position,))).get(row, None)
            except (TableVaultError, OSError):
                value = ...
            if value is not ...:
                rows = (
                    ()
                    if value is None
                    else tuple(map(int, value))[:_MOST]
                    if isinstance(value, list)
                    else (int(value),)
                )
        shown = plan.table if table == SELF else pin.table if pin else table
        found.append(SourceRows(reference.text, shown, instance_id, rows, is_deleted))
    return tuple(found)


def _names(frames: Frames, reference: Reference, row: int | None) -> tuple[str, str | None] | None:
    """Return the table and the version that a reference names for a row, ``None`` if that can't be had."""
    tree: dict[str, object] = {"table": str(reference.table)}
    if reference.version is not None:
        tree["version"] = str(reference.version)
    try:
        given, _ = Arguments.compile(tree).bind(frames, {}).row(row, None)
    except (TableVaultError, OSError):
        return None
    version = given.get("version")
    return str(given["table"]), None if version is None else str(version)


def _texts(value: object) -> list[str]:
    match value:
        case str():
            return [value] if "<<" in value else []
        case list() | tuple():
            return [text for each in value for text in _texts(each)]
        case Mapping():
            return [text for pair in value.items() for each in pair for text in _texts(each)]
    return []


def _deleted(vault: Vault, plan: Plan, builder: PlannedBuilder) -> tuple[SourceRows, ...]:
    """Return what a builder has read, where its references can't be resolved any more."""
    pins = [(key, plan.pins[key]) for key in builder.pins]
    return tuple(
        SourceRows(key[0], pin.table, pin.instance_id, None, _is_gone(vault, pin.instance_id)) for key, pin in pins
    )


def _is_gone(vault: Vault, instance_id: str) -> bool:
    from tablevault_like.catalog import instances

    with vault.catalog.snapshot() as db:
        return instances.table_of(db, instance_id) is None


def is_called_once(builder: PlannedBuilder) -> bool:
    """Tell whether a builder's function is called once for all rows, or to make them."""
    if builder.return_type is ReturnType.BATCH:
        return builder.is_index
    return builder.return_type is not ReturnType.ROW_WISE


def efforts(made: Made, builder: str, row: int) -> dict[str, Any]:
    """Return what is recorded of a row: input hash, code, attempts, seconds, cost and tokens, as far as it is."""
    path = made.place.provenance / f"{builder}.parquet"
    try:
        known = {column.name for column in tables.read_columns(path)[0]}
        names = [name for name in ("input_hash", "code", "attempts", "seconds", "cost", "tokens") if name in known]
        frame = tables.read_table(path, columns=names)
    except TVFileError:
        return {}
    if row >= len(frame):
        return {}
    values = {name: frame[name].iloc[row] for name in names}
    return {name: None if _is_missing(value) else _plain(value) for name, value in values.items()}


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
