"""One YAML document, read safely, that remembers where each value stands.

Guarantees, for any text whatsoever:

1. Nothing but plain values comes out: mappings, lists, strings, numbers, booleans, dates and None. Nothing is
   imported or called.
2. Reading ends in bounded time and memory: size, depth, number of values and length of numbers are limited, and
   nothing expands.
3. What hides or repeats values is refused: tags, anchors and aliases, merge keys, duplicate keys, several documents.
4. Every refusal is a ``TVBuilderError`` that names line and column and says what to write instead.

Plain scalars mean what they mean to PyYAML (YAML 1.1): ``yes``, ``no``, ``on`` and ``off`` are booleans, ``1:30`` is
the number 90, ``2024-05-01`` is a date.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Protocol, TypeAlias

import yaml
from yaml.constructor import SafeConstructor
from yaml.events import AliasEvent, CollectionStartEvent, NodeEvent, ScalarEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from tablevault_like.errors import Location, TVBuilderError

MAX_CHARACTERS = 1024 * 1024
MAX_DEPTH = 50
MAX_VALUES = 50_000
MAX_NUMBER = 400  # characters: enough to write out the largest float

KeyPath: TypeAlias = tuple[object, ...]
"""The keys and list positions that lead to a value: ``("arguments", "texts", 0)``."""


class _Mark(Protocol):
    """A place in a text, counted from 0, as PyYAML gives it."""

    @property
    def line(self) -> int: ...

    @property
    def column(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Document:
    """What a YAML text says, and where it says it. ``value`` is None for an empty text.

    ``nulls`` are the places where None is written out, as ``null`` or ``~``, rather than by writing nothing.
    """

    path: str
    value: object
    nulls: frozenset[KeyPath] = field(repr=False)
    _values: Mapping[KeyPath, _Mark] = field(repr=False)
    _keys: Mapping[KeyPath, _Mark] = field(repr=False)

    def location(self, path: KeyPath = (), *, of_key: bool = False) -> Location:
        """Return where the value at ``path`` begins, or its key; where there is none, the place nearest above it."""
        if of_key and path in self._keys:
            return _location(self.path, self._keys[path])
        while path and path not in self._values:
            path = path[:-1]
        mark = self._values.get(path)
        return Location(self.path, 1, 1) if mark is None else _location(self.path, mark)


def read(text: str, path: Path | str) -> Document:
    r"""Read one YAML document. ``path`` names it in messages; no file is opened.

    >>> document = read("arguments:\n  limit: 3\n", "stories_index.yaml")
    >>> document.value
    {'arguments': {'limit': 3}}
    >>> str(document.location(("arguments", "limit")))
    'stories_index.yaml:2:10'

    Raises ``TVBuilderError`` for what isn't YAML, and for what the module's docstring refuses.
    """
    if len(text) > MAX_CHARACTERS:
        raise _too_long(path)
    return _Reading(str(path), text).document()


def text_of(path: Path) -> str:
    """Return what a file says, reading no more than ``read`` accepts. Raises ``TVBuilderError`` if it isn't UTF-8."""
    with path.open("rb") as file:
        content = file.read(4 * MAX_CHARACTERS + 1)  # UTF-8 has at most four bytes a character
    if len(content) > 4 * MAX_CHARACTERS:
        raise _too_long(path)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TVBuilderError(
            f"The file is not UTF-8 text (byte {error.start}). Save it as UTF-8.", location=Location(path)
        ) from None


def _too_long(path: Path | str) -> TVBuilderError:
    return TVBuilderError(
        f"The file has more than {MAX_CHARACTERS:,} characters. Keep large values in a table, and refer to them.",
        location=Location(path),
    )


class _Reading:
    """The reading of one text: composes nodes within the limits, then turns them into values."""

    def __init__(self, path: str, text: str) -> None:
        self._path = path
        self._text = text
        self._values: dict[KeyPath, _Mark] = {}
        self._keys: dict[KeyPath, _Mark] = {}
        self._nulls: set[KeyPath] = set()

    def document(self) -> Document:
        try:
            self._loader = _Loader(self._text, refuse=self._refuse)
            node = self._loader.get_single_node()
        except ReaderError as error:
            line = self._text.count("\n", 0, error.position)
            column = error.position - (self._text.rfind("\n", 0, error.position) + 1)
            raise TVBuilderError(
                f"The character {_shown(self._text[error.position])} is not allowed in YAML. Remove it, or write it as "
                'an escape in double quotes, such as "\\x07".',
                location=Location(self._path, line + 1, column + 1),
            ) from None
        except yaml.MarkedYAMLError as error:
            problem = (error.problem or "it can't be read").replace(r"'\x00'", "the end of the file")
            mark = error.problem_mark or error.context_mark
            self._refuse(mark, f"This is not YAML: {problem}.{_hint(problem)}")
        value = None if node is None else self._value(node, ())
        return Document(self._path, value, frozenset(self._nulls), self._values, self._keys)

    def _value(self, node: Node, path: KeyPath) -> object:
        self._values[path] = node.start_mark
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self._value(item, (*path, position)) for position, item in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        if node.tag == _TAG + "null" and node.value:
            self._nulls.add(path)
        return self._scalar(node)

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[object, object]:
        mapping: dict[object, object] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            place = (*path, key)
            if key in mapping:
                first = self._keys[place].line + 1
                self._refuse(
                    key_node.start_mark,
                    f"The key {_shown(key)} is given twice; it stands in line {first} already. Remove one of them.",
                )
            self._keys[place] = key_node.start_mark
            mapping[key] = self._value(value_node, place)
        return mapping

    def _key(self, node: Node) -> object:
        if not isinstance(node, ScalarNode):
            self._refuse(
                node.start_mark,
                "A key must be a single value, not a list or a mapping. If it is text with brackets, put it in quotes.",
            )
        if node.tag == _MERGE:
            self._refuse(
                node.start_mark,
                "Merge keys (<<) are not allowed: write the values out. If a <<reference>> is meant, put it in quotes.",
            )
        return self._scalar(node)

    def _scalar(self, node: ScalarNode) -> object:
        construct = _SCALARS.get(node.tag)
        if construct is None:
            return self._text_value(node)
        if len(node.value) > MAX_NUMBER:
            self._refuse(node.start_mark, f"This number has more than {MAX_NUMBER} characters: {_shown(node.value)}.")
        try:
            return construct(self._loader, node)
        except (ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
            # PyYAML checks the form of what it recognised by itself, not of what a tag claims, nor the calendar.
            kind = _KINDS[node.tag.removeprefix(_TAG)]
            self._refuse(
                node.start_mark, f"{_shown(node.value)} is not a valid {kind}. If it is text, put it in quotes.", error
            )

    def _text_value(self, node: ScalarNode) -> str:
        text: str = node.value
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            self._refuse(node.start_mark, "Half a character: write what is beyond \\uffff as \\U and eight digits.")
        return text

    def _refuse(self, mark: _Mark | None, message: str, cause: Exception | None = None) -> NoReturn:
        location = Location(self._path) if mark is None else _location(self._path, mark)
        raise TVBuilderError(message, location=location) from cause


class _Loader(yaml.SafeLoader):
    """PyYAML's pure Python loader, used up to its nodes, that refuses what isn't plain as soon as it comes by."""

    def __init__(self, text: str, *, refuse: Callable[[_Mark | None, str], NoReturn]) -> None:
        super().__init__(text)
        self._refuse = refuse
        self._depth = 0
        self._count = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event: NodeEvent = self.peek_event()  # type: ignore[no-untyped-call]
        self._check(event)
        self._count += 1
        if self._count > MAX_VALUES:
            self._refuse(event.start_mark, f"The file holds more than {MAX_VALUES:,} values. Keep them in a table.")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse(event.start_mark, f"Values are nested more than {MAX_DEPTH} levels deep.")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def compose_document(self) -> Node | None:
        node = super().compose_document()
        if not self.check_event(yaml.StreamEndEvent):
            self._refuse(
                self.peek_event().start_mark,  # type: ignore[no-untyped-call]
                "A second document begins here. Keep one document in a file: remove what follows '---' or '...'.",
            )
        return node

    def _check(self, event: NodeEvent) -> None:
        if isinstance(event, AliasEvent) or event.anchor is not None:
            self._refuse(
                event.start_mark,
                "Anchors (&) and aliases (*) are not allowed: write the value out. If it is text, put it in quotes.",
            )
        assert isinstance(event, ScalarEvent | CollectionStartEvent)
        if event.tag in (None, "!") or (isinstance(event, ScalarEvent) and event.tag in _EXPLICIT_TAGS):
            return
        tag = event.tag.replace(_TAG, "!!", 1)
        self._refuse(
            event.start_mark,
            f"The tag {_shown(tag)} is not allowed: values are plain. If it is text, put it in quotes.",
        )


_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"
_KINDS = {"null": "null", "bool": "boolean", "int": "integer", "float": "number", "timestamp": "date"}
_EXPLICIT_TAGS = frozenset({_TAG + "str", *(_TAG + kind for kind in _KINDS)})
_SCALARS: Mapping[str, Callable[[SafeConstructor, ScalarNode], object]] = {
    _TAG + "null": SafeConstructor.construct_yaml_null,
    _TAG + "bool": SafeConstructor.construct_yaml_bool,
    _TAG + "int": SafeConstructor.construct_yaml_int,
    _TAG + "float": SafeConstructor.construct_yaml_float,
    _TAG + "timestamp": SafeConstructor.construct_yaml_timestamp,
}

_IN_BRACKETS = "Between [ ] or { } put text that holds commas or brackets, such as a <<reference>>, in quotes."
_HINTS = (
    ("'\\t'", "Indent with spaces instead of tabs."),
    ("'>' that", _IN_BRACKETS),
    ("expected ',' or", _IN_BRACKETS),
    ("mapping values are not allowed", "Put text that holds ': ' in quotes, and check the indentation."),
    ("cannot start any token", "Put text that begins with it in quotes."),
    ("expected alphabetic or numeric character", "Put text that begins with & or * in quotes."),
    (
        "could not find expected ':'",
        "Give each key a ':' with a space after it, and put text of several lines in quotes.",
    ),
    ("unexpected end of stream", "Close the quotes."),
)


def _hint(problem: str) -> str:
    advice = next((advice for sign, advice in _HINTS if sign in problem), "Check indentation, brackets and quotes.")
    return f" {advice}"


def _location(path: str, mark: _Mark) -> Location:
    return Location(path, mark.line + 1, mark.column + 1)


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    return repr(text if len(text) <= 40 else text[:37] + "...")
