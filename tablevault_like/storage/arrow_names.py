"""Arrow types by the names that they show: ``list<item: int64>``, ``struct<a: double>``, ``decimal128(5, 2)``.

pandas gives nested types such names and doesn't read them back; it reads only those without parts.
"""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa

_DECIMAL = re.compile(r"decimal(128|256)\((\d{1,2}), ?(-?\d{1,2})\)")
_MOMENT = re.compile(r"timestamp\[(s|ms|us|ns), ?tz=([^\[\]<>]+)\]")
_MAX_DEPTH = 20


def arrow_type_of(name: str) -> Any:
    """Return the Arrow type of this name. Raises ValueError if there is none.

    >>> arrow_type_of("list<item: struct<a: int64, b: string>>")
    ListType(list<item: struct<a: int64, b: string>>)
    """
    return _parse(name.strip(), 0)


def _parse(name: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise ValueError(f"nested more than {_MAX_DEPTH} deep")
    if found := _DECIMAL.fullmatch(name):
        make = pa.decimal128 if found[1] == "128" else pa.decimal256
        return make(int(found[2]), int(found[3]))
    if found := _MOMENT.fullmatch(name):
        return pa.timestamp(found[1], found[2])
    kind, opening, inside = name.partition("<")
    if not opening:
        return pa.type_for_alias(_ALIASES.get(name, name))
    if not inside.endswith(">"):
        raise ValueError(f"{name!r} isn't closed")
    parts = _split(inside[:-1])
    match kind:
        case "list" | "large_list" if len(parts) == 1:
            return (pa.list_ if kind == "list" else pa.large_list)(_field(parts[0], depth))
        case "struct":
            return pa.struct([_field(part, depth) for part in parts])
        case "map" if len(parts) == 2:
            return pa.map_(*(_parse(part, depth + 1) for part in parts))
        case _:
            raise ValueError(f"there is no type {name!r}")


def _field(text: str, depth: int) -> Any:
    name, colon, kind = text.partition(": ")
    if not colon:
        name, kind = "item", text
    is_nullable = not kind.endswith(" not null")
    return pa.field(name, _parse(kind.removesuffix(" not null").strip(), depth + 1), nullable=is_nullable)


def _split(text: str) -> list[str]:
    """Split at the commas that are in no brackets."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        if character in "<([":
            depth += 1
        elif character in ">)]":
            depth -= 1
        elif character == "," and not depth:
            parts.append(text[start:position].strip())
            start = position + 1
    return [*parts, text[start:].strip()] if text else []


# What types are called where they are shown, which isn't always an alias.
_ALIASES = {"halffloat": "float16"}
