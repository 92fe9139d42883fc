"""The instances that a run reads, and how they differ from those that its origin has read."""

from __future__ import annotations

from collections.abc import Sequence

from tablevault_like.builders.frames import row_keys
from tablevault_like.builders.inputs import Pin, PinKey, known_pin
from tablevault_like.builders.plan import Plan
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.errors import TVTableError
from tablevault_like.monitor.made import Made, Vault, shown_keys
from tablevault_like.monitor.predictions import PlannedInput
from tablevault_like.references.syntax import Dependency, dependencies
from tablevault_like.storage.digests import digest

_SHOWN = 5


def planned_inputs(
    vault: Vault, plan: Plan, earlier: Plan | None, specs: Sequence[BuilderSpec]
) -> tuple[PlannedInput, ...]:
    """Return what a plan reads, compared with what ``earlier`` has read."""
    found = []
    for key, pin in plan.pins.items():
        readers = tuple(builder.name for builder in plan.builders if key in builder.pins)
        before = None if earlier is None else known_pin(earlier.pins, *key)
        told = PlannedInput(pin.table, key[1], pin.instance_id, readers, None if before is None else before.instance_id)
        if before is not None and told.is_another:
            columns = _columns_read(pin, [spec for spec in specs if spec.name in readers], key)
            told = _compared(vault, told, before, pin, columns)
        found.append(told)
    return tuple(found)


def _columns_read(pin: Pin, specs: Sequence[BuilderSpec], key: PinKey) -> tuple[str, ...]:
    """Return the columns of an input that builders read, all of them if that isn't known."""
    named: set[str] = set()
    for spec in specs:
        every: list[Dependency] = [*dependencies(spec.arguments.references), *spec.dependencies]
        for each in every:
            if each.table is None or (each.table, each.version) == key:
                if each.columns is None:
                    return pin.columns
                named.update(each.columns)
    known = tuple(name for name in pin.columns if name in named)
    return known or pin.columns


def _compared(vault: Vault, told: PlannedInput, before: Pin, now: Pin, columns: tuple[str, ...]) -> PlannedInput:
    with vault.catalog.snapshot() as db:
        old = Made.find(vault, db, before.table, before.instance_id)
        new = Made.find(vault, db, now.table, now.instance_id)
    if old is None or new is None:
        return told
    key = new.primary_key if new.primary_key == old.primary_key else ()
    known = {column.name for column in old.columns}
    names = [name for name in columns if name in known]
    try:
        before_rows, now_rows = _rows(old, key, names), _rows(new, key, names)
    except TVTableError:  # keys that can't be told apart by hashing
        key = ()
        before_rows, now_rows = _rows(old, key, names), _rows(new, key, names)
    added = [row for each, (row, _) in now_rows.items() if each not in before_rows]
    changed = [row for each, (row, cells) in now_rows.items() if each in before_rows and before_rows[each][1] != cells]
    removed = len(before_rows.keys() - now_rows.keys())
    shown = sorted([*changed, *added])[:_SHOWN]
    return PlannedInput(
        table=told.table,
        version=told.version,
        instance_id=told.instance_id,
        read_by=told.read_by,
        instance_before=told.instance_before,
        rows_added=len(added),
        rows_removed=removed,
        rows_changed=len(changed),
        changed_keys=tuple(shown_keys(new.frame(key), key, shown)),
    )


def _rows(made: Made, key: tuple[str, ...], columns: Sequence[str]) -> dict[object, tuple[int, bytes]]:
    """Return position and content of each row, by its key."""
    frame = made.frame([*dict.fromkeys((*key, *columns))])
    cells = zip(*(frame[name].tolist() for name in columns), strict=True) if columns else ((),) * len(frame)
    contents = [digest(*each) for each in cells]
    keys = row_keys(frame, key) if key else range(len(frame))
    return {each: (row, contents[row]) for row, each in enumerate(keys)}
