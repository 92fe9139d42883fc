"""What is different between two plans of one table: told to people, and which builders it concerns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tablevault_like.builders.inputs import Pin, PinKey
from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.functions.fingerprint import difference

_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Changes:
    """The builders of a new plan that an old one doesn't cover.

    ``changed`` are those that do something else than before, work on another input, or are new. ``dependent`` are all
    others that read, directly or not, what these make. ``removed`` are those that only the old plan has.
    """

    changed: frozenset[str]
    dependent: frozenset[str]
    removed: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed)


def differences(old: Plan, new: Plan) -> list[str]:
    """Return what is different in the new plan, a line for each thing: nothing if results can't differ."""
    lines = []
    if _instance(old.origin) != _instance(new.origin):
        lines.append(f"the origin is now {_instance(new.origin)}, it was {_instance(old.origin)}")
    before, after = _by_name(old), _by_name(new)
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            lines.append(f"builder {name!r} is new")
        elif name not in after:
            lines.append(f"builder {name!r} was removed")
        else:
            lines += [f"builder {name!r}: {line}" for line in _builder_differences(before[name], after[name])]
    for key in sorted(old.pins.keys() & new.pins.keys(), key=str):
        if old.pins[key].instance_id != new.pins[key].instance_id:
            lines.append(f"input {_named(key)} is now {new.pins[key].instance_id}, it was {old.pins[key].instance_id}")
    if not lines and [b.name for b in old.builders] != [b.name for b in new.builders]:
        lines.append(f"the builders run in another order: {', '.join(b.name for b in new.builders)}")
    return lines


def is_run_differently(old: Plan, new: Plan) -> bool:
    """Tell whether a builder's file isn't what it was, though results can't differ: it says how the builder is run."""
    before = _by_name(old)
    return any(name in before and builder.sha256 != before[name].sha256 for name, builder in _by_name(new).items())


def changed_builders(old: Plan, new: Plan) -> Changes:
    """Return which builders of the new plan the old one doesn't cover."""
    before, after = _by_name(old), _by_name(new)
    is_new_origin = _instance(old.origin) != _instance(new.origin)
    changed = {
        name
        for name, builder in after.items()
        if name not in before
        or builder.fingerprint != before[name].fingerprint
        or _inputs(builder, new) != _inputs(before[name], old)
        or (builder.is_index and is_new_origin)
    }
    reached = set(changed)
    for builder in new.builders:  # each comes after those that it depends on
        if reached.intersection(builder.dependencies):
            reached.add(builder.name)
    return Changes(frozenset(changed), frozenset(reached - changed), frozenset(before.keys() - after.keys()))


def field_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is different in the fields of a builder, a line for each field and each argument.

    >>> old, new = {"arguments": {"words": 3}, "n_threads": 2}, {"arguments": {"words": 5, "lang": "en"}}
    >>> list(field_differences(old, new))
    ['arguments.lang is new: "en"', 'arguments.words is now 5, it was 3', 'n_threads was removed']
    """
    before, after = _flat(old), _flat(new)
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            yield f"{name} is new: {_shown(after[name])}"
        elif name not in after:
            yield f"{name} was removed"
        elif before[name] != after[name]:
            was, now = _from_where_they_part(_text(before[name]), _text(after[name]))
            yield f"{name} is now {_cut(now)}, it was {_cut(was)}"


def _builder_differences(old: PlannedBuilder, new: PlannedBuilder) -> Iterator[str]:
    yield from field_differences(old.fields, new.fields)
    yield from difference(old.function, new.function)
    if set(old.dependencies) != set(new.dependencies):
        yield f"it now reads what these make: {', '.join(sorted(new.dependencies)) or 'none'}"
    yield from (f"it now reads {_named(key)}" for key in new.pins if key not in old.pins)
    yield from (f"it no longer reads {_named(key)}" for key in old.pins if key not in new.pins)


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with each argument as one of its own."""
    flat = {name: value for name, value in fields.items() if name != "arguments"}
    return flat | {f"arguments.{name}": value for name, value in fields.get("arguments", {}).items()}


def _inputs(builder: PlannedBuilder, plan: Plan) -> tuple[dict[PinKey, str], set[str]]:
    return {key: plan.pins[key].instance_id for key in builder.pins}, set(builder.dependencies)


def _by_name(plan: Plan) -> dict[str, PlannedBuilder]:
    return {builder.name: builder for builder in plan.builders}


def _instance(pin: Pin | None) -> str:
    return "none" if pin is None else f"{pin.table} {pin.instance_id}"


def _named(key: PinKey) -> str:
    table, version = key
    return table if version is None else f"{table}({version})"


def _shown(value: object) -> str:
    return _cut(_text(value))


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _from_where_they_part(old: str, new: str) -> tuple[str, str]:
    """Return long texts from a bit before the place where they part: what comes earlier would look the same."""
    if max(len(old), len(new)) <= _SHOWN:
        return old, new
    alike = next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    start = max(alike - _SHOWN // 3, 0)
    return (f"...{old[start:]}", f"...{new[start:]}") if start else (old, new)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
