"""Arguments as they are written: strings with references, anywhere in lists and dicts, the keys of dicts included."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tablevault_like.errors import Location, TableReferenceError
from tablevault_like.references.cells import PLAIN_TYPES, copied
from tablevault_like.references.grammar import parse
from tablevault_like.references.keywords import CallKey, occurring
from tablevault_like.references.syntax import Template
from tablevault_like.references.values import Getter, Value

TreePath = tuple[Any, ...]
Locate = Callable[[TreePath], Location | None]


@dataclass(frozen=True, slots=True)
class Constant:
    """What holds neither references nor keywords."""

    value: Any


@dataclass(frozen=True, slots=True)
class Text:
    """A string that holds some."""

    template: Template


@dataclass(frozen=True, slots=True)
class Items:
    """A list or a tuple, a part of which holds some."""

    kind: type[list[Any] | tuple[Any, ...]]
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Pairs:
    """A dict, a part of which holds some."""

    pairs: tuple[tuple[Node, Node], ...]


Node = Constant | Text | Items | Pairs


def read(tree: Any, *, locate: Locate | None = None, with_keywords: bool, path: TreePath = ()) -> Node:
    """Parse all strings in a tree of lists, tuples and dicts.

    ``locate`` tells where in a file the value at a path stands: the keys and numbers that lead to it from the root.
    Raises TableReferenceError.
    """

    def read_part(part: Any, step: Any) -> Node:
        return read(part, locate=locate, with_keywords=with_keywords, path=(*path, step))

    match tree:
        case Template():
            return Text(tree)
        case str():
            template = parse(tree, location=locate(path) if locate else None)
            literal = template.literal
            if literal is not None and not (with_keywords and occurring(literal)):
                return Constant(literal)
            return Text(template)
        case list() | tuple():
            kind = list if isinstance(tree, list) else tuple
            items = tuple(read_part(item, number) for number, item in enumerate(tree))
            constants = [item.value for item in items if isinstance(item, Constant)]
            return Constant(kind(constants)) if len(constants) == len(items) else Items(kind, items)
        case Mapping():
            pairs = tuple((read_part(key, key), read_part(item, key)) for key, item in tree.items())
            return Pairs(pairs)
        case _:
            return Constant(copy.deepcopy(tree))


def templates(node: Node) -> Iterator[Template]:
    """Yield the strings of a tree that hold references or keywords, in order."""
    match node:
        case Text(template):
            yield template
        case Items(items=parts):
            for part in parts:
                yield from templates(part)
        case Pairs(pairs):
            for pair in pairs:
                for part in pair:
                    yield from templates(part)
        case Constant():
            return


def evaluate(node: Node, of_template: Callable[[Template], Value]) -> Value:
    """Return what a tree comes to, given what its templates come to.

    Whatever varies is made anew for each row, and holds copies of what doesn't vary.
    """
    match node:
        case Constant(value):
            return Value.fixed(value)
        case Text(template):
            return of_template(template)
        case Items(kind, items):
            values = [evaluate(item, of_template) for item in items]
            return _together(values, kind)
        case Pairs(pairs):
            nodes = [key for key, _ in pairs]
            keys = [evaluate(key, of_template) for key in nodes]
            values = [evaluate(item, of_template) for _, item in pairs]
            if any(key.varies for key in keys):
                return _together(
                    [*keys, *values], lambda parts: _as_dict(nodes, parts[: len(nodes)], parts[len(nodes) :])
                )
            return _named(_as_dict(nodes, [key.constant for key in keys], values))


def copying(value: Value) -> Getter:
    """Return what gives a fixed value as a copy each time. What varies is new each time anyway."""
    if value.varies or type(value.constant) in PLAIN_TYPES:
        return value.get
    constant = value.constant
    return lambda row, row_key: copied(constant)


def _together(values: Sequence[Value], make: Callable[[list[Any]], Any]) -> Value:
    if not any(value.varies for value in values):
        return Value.fixed(make([value.constant for value in values]))
    getters = [copying(value) for value in values]
    return Value(lambda row, row_key: make([get(row, row_key) for get in getters]), True)


def _named(values: Mapping[Any, Value]) -> Value:
    """Return the dict of the values: of a row it costs no more than what varies in it."""
    if not any(value.varies for value in values.values()):
        return Value.fixed({name: value.constant for name, value in values.items()})
    base = {name: None if value.varies else value.constant for name, value in values.items()}
    getters = [
        (name, copying(value)) for name, value in values.items() if value.varies or type(base[name]) not in PLAIN_TYPES
    ]

    def get(row: Any, row_key: CallKey) -> dict[Any, Any]:
        made = base.copy()
        for name, getter in getters:
            made[name] = getter(row, row_key)
        return made

    return Value(get, True)


def _as_dict(nodes: Sequence[Node], keys: Sequence[Any], values: Sequence[Any]) -> dict[Any, Any]:
    """Make a dict. ``nodes`` tells how its keys are written; two that are the same are an error."""
    made: dict[Any, Any] = {}
    for node, key, value in zip(nodes, keys, values, strict=True):
        try:
            is_new = key not in made
        except TypeError:
            raise _error(node, f"A {type(key).__name__} can't be a key of a dict.") from None
        if not is_new:
            raise _error(node, f"The key {key!r} occurs twice.")
        made[key] = value
    return made


def _error(node: Node, message: str) -> TableReferenceError:
    return node.template.error(message) if isinstance(node, Text) else TableReferenceError(message)
