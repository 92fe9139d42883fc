"""What a builder does with the values it is given: equal recipes make equal results of equal inputs.

A recipe leaves out where inputs come from. Which table, column or row a reference names makes no difference, for the
values that it comes to are hashed as inputs; so renaming a table, or a column, changes no recipe. What a function reads
by itself, as its declared dependencies say, is seen by nobody: there the instances themselves are part of the recipe.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.references.grammar import parse
from tablevault_like.references.syntax import Reference
from tablevault_like.storage.values import encode


def recipe(spec: BuilderSpec, function_digest: str, *, read: Sequence[str] = ()) -> str:
    """Return a digest of a builder's function, its arguments but for the references, its columns and their dtypes.

    ``read`` are the ids of the instances that the function reads by itself.
    """
    slots: dict[Reference, list[object]] = {}
    said = {
        "function": function_digest,
        "arguments": {name: _shape(value, slots) for name, value in spec.written_arguments.items()},
        "columns": list(spec.changed_columns),
        "dtypes": {name: spec.dtypes[name] for name in spec.changed_columns if name in spec.dtypes},
        "return_type": str(spec.return_type),
        "read": sorted(read),
    }
    return hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=16).hexdigest()


def _shape(value: object, slots: dict[Reference, list[object]]) -> object:
    """Return a value as JSON, with a number in place of each reference: equal ones have the same.

    Those that vary from row to row are numbered by themselves, as their values are hashed by themselves.
    """
    match value:
        case str():
            return ["text", *(part if isinstance(part, str) else _slot(part, slots) for part in parse(value).parts)]
        case list() | tuple():
            return ["list", *(_shape(item, slots) for item in value)]
        case dict():
            return ["dict", *([_shape(key, slots), _shape(item, slots)] for key, item in value.items())]
        case _:
            return ["value", encode(value)]


def _slot(reference: Reference, slots: dict[Reference, list[object]]) -> list[object]:
    if reference not in slots:
        alike = sum(known.varies is reference.varies for known in slots)
        slots[reference] = ["varies" if reference.varies else "constant", alike]
    return slots[reference]
