"""What a model is to answer for one input: as JSON Schema, and as a check of what it did answer.

A schema is given as a JSON Schema of an object, as a class of pydantic's, or not at all; then any fields will do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tablevault_like.errors import TVArgumentError

if TYPE_CHECKING:
    from pydantic import BaseModel

INPUT_ID = "input_id"
ALL_RESULTS = "all_results"

_DEFINITIONS = ("$defs", "definitions")


@dataclass(frozen=True, slots=True)
class Schema:
    """The fields of one result. ``form`` is their JSON Schema, None if there is none; ``model`` is pydantic's class."""

    form: Mapping[str, Any] | None = None
    model: type[BaseModel] | None = None

    @classmethod
    def read(cls, given: object) -> Schema:
        """Make a schema of what a caller or a builder file gives. Raises TVArgumentError if it is none.

        >>> Schema.read({"type": "object", "properties": {"mood": {"type": "string"}}}).fields
        ('mood',)
        """
        if given is None:
            return cls()
        if isinstance(given, Schema):
            return given
        if isinstance(given, type) and hasattr(given, "model_json_schema"):
            return cls(_plain(given.model_json_schema()), given)
        if isinstance(given, Mapping):
            form = _plain(given)
            properties = form.get("properties")
            if form.get("type", "object") == "object" and isinstance(properties, dict) and properties:
                return cls({"type": "object", **form})
        raise TVArgumentError(
            "schema must be a JSON Schema of an object, such as {'type': 'object', 'properties': {'mood': {'type': "
            f"'string'}}}}, a class of pydantic's, or None; not {_shown(given)}."
        )

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields, in the order of the schema; none if any will do."""
        return () if self.form is None else tuple(name for name in self.form.get("properties", {}) if name != INPUT_ID)

    def envelope(self) -> dict[str, Any]:
        """Return the JSON Schema of a whole answer: ``{"all_results": [...]}``, each result with its ``input_id``."""
        form = {} if self.form is None else dict(self.form)
        definitions = {name: form.pop(name) for name in _DEFINITIONS if name in form}
        properties = {INPUT_ID: {"type": "string"}, **{n: form["properties"][n] for n in self.fields}}
        required = [INPUT_ID, *(name for name in form.get("required", ()) if name != INPUT_ID)]
        item = {**form, "type": "object", "properties": properties, "required": required}
        results = {"type": "array", "items": item}
        return {"type": "object", "properties": {ALL_RESULTS: results}, "required": [ALL_RESULTS], **definitions}

    def checked(self, fields: Mapping[str, object]) -> dict[str, Any]:
        """Return the fields of one result as they are kept. Raises ValueError that tells what doesn't fit.

        Of a schema these are its own fields only, and those that aren't required and weren't answered are None.
        """
        found = {name: value for name, value in fields.items() if name != INPUT_ID}
        if self.model is not None:
            kept: dict[str, Any] = self.model.model_validate(found).model_dump(mode="json")
            return kept
        if self.form is None:
            return found
        _check(found, self.form, self.form, "the result")
        return {name: found.get(name) for name in self.fields}


_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
}


def _check(value: object, form: object, root: Mapping[str, Any], where: str) -> None:
    """Check what most schemas say: types, enums, constants, required fields, items, and the same in what they nest."""
    if not isinstance(form, Mapping):
        return
    reference = form.get("$ref")
    if isinstance(reference, str):
        _check(value, _followed(reference, root), root, where)
        return
    choices = form.get("anyOf") or form.get("oneOf")
    if isinstance(choices, list):
        if not any(_fits(value, each, root) for each in choices):
            raise ValueError(f"{where} is {_shown(value)}, which is none of what it may be")
        return
    types = form.get("type")
    types = [types] if isinstance(types, str) else types
    if isinstance(types, list) and not any(_is_a(value, each) for each in types):
        raise ValueError(f"{where} is {_shown(value)}, which isn't of the type {' or '.join(map(str, types))}")
    if isinstance(form.get("enum"), list) and value not in form["enum"]:
        raise ValueError(f"{where} is {_shown(value)}, which is none of {', '.join(map(repr, form['enum']))}")
    if "const" in form and value != form["const"]:
        raise ValueError(f"{where} is {_shown(value)}, not {form['const']!r}")
    if isinstance(value, dict):
        missing = [name for name in form.get("required", ()) if name not in value and name != INPUT_ID]
        if missing:
            raise ValueError(f"{where} has no {missing[0]!r}")
        for name, inner in form.get("properties", {}).items():
            if name in value and not (value[name] is None and name not in form.get("required", ())):
                _check(value[name], inner, root, repr(name))
    if isinstance(value, list) and isinstance(form.get("items"), Mapping):
        for number, item in enumerate(value):
            _check(item, form["items"], root, f"element {number} of {where}")


def _fits(value: object, form: object, root: Mapping[str, Any]) -> bool:
    try:
        _check(value, form, root, "")
    except ValueError:
        return False
    return True


def _is_a(value: object, name: object) -> bool:
    kind = _TYPES.get(str(name))
    if kind is None:
        return True
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, kind)


def _followed(reference: str, root: Mapping[str, Any]) -> object:
    """Return what ``#/$defs/Mood`` stands for; None, which fits anything, if it leads elsewhere."""
    here: object = root
    for part in reference.removeprefix("#/").split("/"):
        here = here.get(part) if isinstance(here, Mapping) else None
    return here


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = json.loads(json.dumps(given))
    except (TypeError, ValueError) as error:
        raise TVArgumentError(f"schema can't be written as JSON: {error}.") from error
    return plain


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def listed(names: Sequence[str]) -> str:
    """Return ids for a message: the first few, and how many more.

    >>> listed(["a", "b"]), listed(list("abcdefgh"))
    ("'a', 'b'", "'a', 'b', 'c', 'd', 'e' and 3 more")
    """
    shown = ", ".join(map(repr, names[:5]))
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
