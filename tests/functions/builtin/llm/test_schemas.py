from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from tablevault_like.errors import TVArgumentError
from tablevault_like.functions.builtin.llm.schemas import Schema

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": ["integer", "null"]},
        "kind": {"enum": ["cat", "dog"]},
        "size": {"type": "number"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "home": {"$ref": "#/$defs/Home"},
        "either": {"anyOf": [{"type": "string"}, {"type": "boolean"}]},
        "one": {"const": 1},
    },
    "required": ["name"],
    "$defs": {"Home": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}},
}


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "a"},
        {"name": "a", "age": 3},
        {"name": "a", "age": None},
        {"name": "a", "kind": "cat", "size": 1, "tags": ["x"], "home": {"town": "b"}, "either": True, "one": 1},
        {"name": "a", "age": 3.0},
        {"name": "a", "kind": None},
    ],
)
def test_what_fits_is_kept_with_none_for_what_is_left_out(fields: dict[str, Any]) -> None:
    found = Schema.read(PERSON).checked({**fields, "input_id": "r1", "more": 1})

    assert found == {**dict.fromkeys(PERSON["properties"]), **fields}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "the result has no 'name'"),
        ({"name": 7}, "'name' is 7, which isn't of the type string"),
        ({"name": None}, "'name' is None"),
        ({"name": "a", "age": "3"}, "'age' is '3', which isn't of the type integer or null"),
        ({"name": "a", "age": True}, "'age' is True"),
        ({"name": "a", "age": 3.5}, "'age' is 3.5"),
        ({"name": "a", "kind": "cow"}, "'kind' is 'cow', which is none of 'cat', 'dog'"),
        ({"name": "a", "tags": ["x", 2]}, "element 1 of 'tags' is 2"),
        ({"name": "a", "home": {}}, "'home' has no 'town'"),
        ({"name": "a", "either": 3}, "'either' is 3, which is none of what it may be"),
        ({"name": "a", "one": 2}, "'one' is 2, not 1"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_told(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schema.read(PERSON).checked(fields)


def test_an_envelope_asks_for_all_results_with_their_ids_and_keeps_references_valid() -> None:
    envelope = Schema.read(
        {**PERSON, "properties": {**PERSON["properties"], "input_id": {"type": "integer"}}}
    ).envelope()

    assert envelope["required"] == ["all_results"]
    assert envelope["$defs"] == PERSON["$defs"]
    item = envelope["properties"]["all_results"]["items"]
    assert "$defs" not in item
    assert item["properties"]["input_id"] == {"type": "string"}
    assert item["required"] == ["input_id", "name"]


def test_without_a_schema_everything_fits() -> None:
    assert Schema.read(None).fields == ()
    assert Schema.read(None).checked({"input_id": "a", "x": [1]}) == {"x": [1]}


class Nested(BaseModel):
    town: str


class Person(BaseModel):
    name: str
    home: Nested | None = None


def test_a_class_of_pydantic_checks_and_converts() -> None:
    schema = Schema.read(Person)

    assert schema.fields == ("name", "home")
    assert schema.checked({"name": "a", "home": {"town": "b", "more": 1}}) == {"name": "a", "home": {"town": "b"}}
    assert "Nested" in schema.envelope()["$defs"]
    with pytest.raises(ValueError, match="name"):
        schema.checked({})


@pytest.mark.parametrize("given", [7, "string", [], {}, {"type": "object"}, {"type": "string"}, Person(name="a"), str])
def test_what_is_no_schema_of_an_object_is_refused(given: object) -> None:
    with pytest.raises(TVArgumentError, match="schema must be a JSON Schema of an object"):
        Schema.read(given)
