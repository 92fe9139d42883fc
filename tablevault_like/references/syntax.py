"""What a reference says, and where it says it.

A string of a builder file is a *template*: text with references in it. Every part of a reference is a template too,
so references nest. All are frozen, and equal where they say the same, wherever they stand.

A reference *varies* if what it gives can differ from row to row: ``<<self.index>>``, a condition on the current row
(``[index]``, ``[key]``), or anything around a nested reference that varies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tablevault_like.errors import Location, TableReferenceError

SELF = "self"
INDEX = "index"

_CONTEXT = 50


@dataclass(frozen=True, slots=True)
class Source:
    """A whole string, and its place in a file if it has one."""

    text: str
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a source: the characters from ``start`` up to ``stop``."""

    source: Source
    start: int
    stop: int

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.stop]

    def error(self, message: str) -> TableReferenceError:
        """Return an error that shows the line of the source with a caret under the first character of the span."""
        text = self.source.text
        line_start = text.rfind("\n", 0, self.start) + 1
        line_stop = text.find("\n", self.start)
        line_stop = len(text) if line_stop < 0 else line_stop
        first = max(line_start, self.start - _CONTEXT)
        last = min(line_stop, self.start + _CONTEXT)
        before = "..." if first > line_start else ""
        after = "..." if last < line_stop else ""
        shown = "".join(character if character.isprintable() else " " for character in text[first:last])
        caret = " " * (len(before) + self.start - first) + "^"
        return TableReferenceError(f"{message}\n    {before}{shown}{after}\n    {caret}", location=self.source.location)


@dataclass(frozen=True, slots=True)
class Template:
    """Text with references in it.

    ``parts`` never holds two texts in a row, nor an empty one. In them escapes and quotes are undone.
    """

    parts: tuple[str | Reference, ...]
    span: Span = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.span.text

    @property
    def text(self) -> str:
        """The template as it is written, quotes included."""
        return self.span.text

    @property
    def references(self) -> tuple[Reference, ...]:
        """The references in it, but not those inside them."""
        return tuple(part for part in self.parts if isinstance(part, Reference))

    @property
    def is_literal(self) -> bool:
        return not self.references

    @property
    def literal(self) -> str | None:
        """The text, escapes undone, or ``None`` if there is a reference in it."""
        return "".join(str(part) for part in self.parts) if self.is_literal else None

    @property
    def sole_reference(self) -> Reference | None:
        """The reference that is all there is, or ``None``. Then the value counts, otherwise its text."""
        if len(self.parts) == 1 and isinstance(self.parts[0], Reference):
            return self.parts[0]
        return None

    @property
    def varies(self) -> bool:
        return any(reference.varies for reference in self.references)

    def error(self, message: str) -> TableReferenceError:
        """Return an error that points here."""
        return self.span.error(message)


@dataclass(frozen=True, slots=True)
class Equal:
    """``[key::value]``"""

    value: Template


@dataclass(frozen=True, slots=True)
class Between:
    """``[key::start:stop]``: start <= key < stop"""

    start: Template
    stop: Template


@dataclass(frozen=True, slots=True)
class Condition:
    """What a row must meet. Without a value, its key must equal the index of the current row."""

    key: Template
    value: Equal | Between | None

    @property
    def templates(self) -> tuple[Template, ...]:
        match self.value:
            case Equal(value):
                return (self.key, value)
            case Between(start, stop):
                return (self.key, start, stop)
            case _:
                return (self.key,)


@dataclass(frozen=True, slots=True)
class Reference:
    """``<<table(version).{columns}[conditions]>>``

    ``version`` may name an instance; ``columns`` is ``None`` where all are meant; the conditions must all be met.
    """

    table: Template
    version: Template | None
    columns: tuple[Template, ...] | None
    conditions: tuple[Condition, ...]
    span: Span = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.span.text

    @property
    def text(self) -> str:
        """The reference as it is written, with its ``<<`` and ``>>``."""
        return self.span.text

    @property
    def is_row_index(self) -> bool:
        """Tell whether this is ``<<self.index>>``, the index of the current row."""
        return (
            self.table.literal == SELF
            and self.columns is not None
            and len(self.columns) == 1
            and self.columns[0].literal == INDEX
            and not self.conditions
        )

    @property
    def templates(self) -> tuple[Template, ...]:
        """The parts that may hold nested references, in the order in which they are written."""
        version = () if self.version is None else (self.version,)
        conditions = tuple(template for condition in self.conditions for template in condition.templates)
        return (self.table, *version, *(self.columns or ()), *conditions)

    @property
    def varies(self) -> bool:
        return (
            self.is_row_index
            or any(condition.value is None for condition in self.conditions)
            or any(template.varies for template in self.templates)
        )

    def error(self, message: str) -> TableReferenceError:
        """Return an error that points here."""
        return self.span.error(message)


@dataclass(frozen=True, slots=True)
class Dependency:
    """What one reference reads.

    ``table`` is ``None`` where the table or its version is named by a nested reference: resolve ``reference.table``
    and ``reference.version`` to know. ``version`` is ``None`` where none is named. ``columns`` holds those that are
    chosen and those that conditions look at; it is ``None`` where all are meant, or nested references name them.
    """

    table: str | None
    version: str | None
    columns: tuple[str, ...] | None
    reference: Reference


def walk(reference: Reference) -> Iterator[Reference]:
    """Yield the reference and all that are nested in it, outer ones first."""
    yield reference
    for template in reference.templates:
        for nested in template.references:
            yield from walk(nested)


def dependencies(references: Iterable[Reference]) -> list[Dependency]:
    """Return what the references and all that are nested in them read: one each, none twice."""
    seen = {nested: None for reference in references for nested in walk(reference)}
    return [_dependency(reference) for reference in seen]


def _dependency(reference: Reference) -> Dependency:
    table, version = reference.table.literal, None
    if reference.version is not None:
        version = reference.version.literal
        table = None if version is None else table
    return Dependency(table, version if table is not None else None, _columns_read(reference), reference)


def _columns_read(reference: Reference) -> tuple[str, ...] | None:
    if reference.is_row_index:
        return ()
    if reference.columns is None:
        return None
    keys = (condition.key for condition in reference.conditions if condition.key.literal != INDEX)
    names = [template.literal for template in (*reference.columns, *keys)]
    known = [name for name in names if name is not None]
    return tuple(dict.fromkeys(known)) if len(known) == len(names) else None
