"""What a builder reads: pinned instances of other tables, and columns of the table that is being built.

It is found without running any user code. Where a table or a column is itself named by a reference, that is resolved
now if it can be: if it is the same for all rows, and doesn't come from the table that is yet to be built. Otherwise
the builder must declare its ``dependencies``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from tablevault_like.errors import TableReferenceError, TVArgumentError, nearest
from tablevault_like.model import BASE_VERSION
from tablevault_like.references.conditions import check_condition
from tablevault_like.references.frames import Frames
from tablevault_like.references.literals import Literals
from tablevault_like.references.resolve import resolve
from tablevault_like.references.syntax import INDEX, SELF, Condition, Dependency, Reference, Template
from tablevault_like.storage.columns import parse_dtype

PinKey: TypeAlias = tuple[str, str | None]
"""A table and a version (or an instance id, or None) as a reference names them."""


@dataclass(frozen=True, slots=True)
class Pin:
    """The instance that a table and a version stand for while a process lasts, and the columns of its frame."""

    table: str
    instance_id: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What one builder reads.

    ``own_columns`` are those of the table being built, each with a reference to it. ``whole_table`` is a
    reference that reads all columns of it there are when the builder runs, or None.
    """

    pins: tuple[PinKey, ...]
    own_columns: Mapping[str, Reference]
    whole_table: Reference | None


class PinnedFrames(Frames, Protocol):
    """Frames whose dtypes are known without reading them."""

    def dtypes(self, table: str, version: str | None) -> Mapping[str, str]:
        """Return the dtypes of a table's columns by their names."""
        ...


def known_pin(pins: Mapping[PinKey, Pin], table: str, version: str | None) -> Pin | None:
    """Return what is pinned for a table and a version, None if nothing is.

    No version is the default one. An instance is known by its id, however it was pinned.
    """
    same = (None, BASE_VERSION) if version in (None, BASE_VERSION) else ()
    for key in [(table, version), *((table, other) for other in same)]:
        if key in pins:
            return pins[key]
    return next((pin for pin in pins.values() if (pin.table, pin.instance_id) == (table, version)), None)


def find_pin(pins: Mapping[PinKey, Pin], table: str, version: str | None) -> Pin:
    """Return what ``known_pin`` does, for a reference whose table or version is known only when the builder runs.

    Raises TableReferenceError, with what to declare, for what isn't pinned.
    """
    found = known_pin(pins, table, version)
    if found is None:
        tables = {pinned for pinned, _ in pins}
        what = f"Which version of {table!r}" if table in tables else "Which table"
        named = table if version in (None, BASE_VERSION) else f"{table}({version})"
        close = "" if table in tables else nearest(table, tables)
        raise TableReferenceError(
            f"{what} this reads is known only now, and {named!r} was not pinned when the execution began. If it is "
            f"meant, declare it in the builder: dependencies: [{named!r}].{close if 'Did you mean' in close else ''}"
        )
    return found


class Pins:
    """The instances that references stand for. Each table and version is looked up once, when it is first met.

    ``tables`` are the names of some that could be pinned, for examples in messages.
    """

    def __init__(
        self,
        pin: Callable[[str, str | None], Pin | None],
        open_frames: Callable[[Mapping[PinKey, Pin]], PinnedFrames],
        *,
        tables: Sequence[str] = (),
    ) -> None:
        self.tables = tables
        self._pin = pin
        self._open_frames = open_frames
        self._frames: PinnedFrames | None = None
        self.found: dict[PinKey, Pin] = {}

    def get(self, table: str, version: str | None, *, wanted_by: Reference) -> Pin:
        """Return the pin of a table and a version. Raises TableReferenceError if there is nothing to be pinned."""
        key = (table, version)
        if key not in self.found:
            try:
                pin = self._pin(table, version)
            except TVArgumentError as error:
                raise wanted_by.error(error.message) from error
            if pin is None:
                named = f"table {table!r}" + ("" if version is None else f", version or instance {version!r},")
                raise wanted_by.error(
                    f"The {named} has no materialized instance yet. Execute or write it first, or correct the name."
                )
            self.found[key] = pin
            self._frames = None
        return self.found[key]

    def frames(self) -> PinnedFrames:
        """Return the frames of all that is pinned by now."""
        if self._frames is None:
            self._frames = self._open_frames(dict(self.found))
        return self._frames


def find_inputs(templates: Iterable[Template], declared: Sequence[Dependency], pins: Pins) -> Inputs:
    """Return what the templates read, and what is declared besides.

    Pins what it finds. Raises TableReferenceError for an instance or a column that isn't there, and for a table that
    is only known when the builder runs and isn't declared.
    """
    search = _Search(declared, pins)
    for dependency in declared:
        search.add(dependency.reference)
    for template in templates:
        search.add_all(template)
    search.check_conditions()
    return Inputs(tuple(sorted(search.pins, key=pin_order)), search.own_columns, search.whole_table)


def read_by_itself(declared: Iterable[Dependency], references: Iterable[Reference]) -> list[PinKey]:
    """Return the tables that are declared although no reference can read them: then the function itself must."""
    found = {(item.table, item.version) for item in declared if item.table is not None and item.table != SELF}
    for reference in references:
        version = None if reference.version is None else reference.version.literal
        if reference.table.literal is None or (reference.version is not None and version is None):
            return []  # it is declared for this reference
        found.discard((reference.table.literal, version))
    return sorted(found, key=pin_order)


def pin_order(key: PinKey) -> tuple[str, str]:
    """Sort pins by table and version, those without a version first."""
    return key[0], key[1] or ""


class _Search:
    def __init__(self, declared: Sequence[Dependency], pins: Pins) -> None:
        self._declared = declared
        self._all_pins = pins
        self._unknown: set[Reference] = set()  # what these give is only known when the builder runs
        self.pins: set[PinKey] = set()
        self.own_columns: dict[str, Reference] = {}
        self.whole_table: Reference | None = None
        self._conditions: list[tuple[Condition, PinKey | None]] = []  # those with text; the table's pin, None for self

    def check_conditions(self) -> None:
        """Raise TableReferenceError for text in a condition that can't be a value of the column it is compared with."""
        for condition, pin in self._conditions:
            column = self._value(condition.key)
            if column is not None:
                literals = None if pin is None or column == INDEX else self._literals(pin, column)
                check_condition(condition, column, literals)

    def _literals(self, pin: PinKey, column: str) -> Literals:
        dtype = self._all_pins.frames().dtypes(*pin)[column]
        return Literals.of_dtype(parse_dtype(dtype))

    def add_all(self, template: Template) -> None:
        for reference in template.references:
            self.add(reference)

    def add(self, reference: Reference) -> None:
        for template in reference.templates:
            self.add_all(template)
        table = self._value(reference.table)
        version = None if reference.version is None else self._value(reference.version)
        if table is None or (reference.version is not None and version is None):
            self._require_declaration(reference, table)
        elif table == SELF:
            self._add_own(reference)
            self._note_conditions(reference, None)
        else:
            self._add_pin(reference, table, version)
            self._note_conditions(reference, (table, version))
        if table == SELF or reference.varies or not all(map(self._is_known, reference.templates)):
            self._unknown.add(reference)

    def _add_own(self, reference: Reference) -> None:
        if reference.is_row_index:
            return
        names = self._columns_of(reference)
        if reference.columns is None or None in names.values():
            declares_columns = any(item.table == SELF and item.columns for item in self._declared)
            if reference.columns is None or not declares_columns:
                self.whole_table = self.whole_table or reference
        for name in names.values():
            if name is not None:
                self.own_columns.setdefault(name, reference)

    def _add_pin(self, reference: Reference, table: str, version: str | None) -> None:
        pin = self._all_pins.get(table, version, wanted_by=reference)
        self.pins.add((table, version))
        for template, name in self._columns_of(reference).items():
            if name is not None and name not in pin.columns:
                raise template.error(
                    f"The table {table!r} has no column {name!r} in its instance {pin.instance_id}."
                    f"{nearest(name, pin.columns)}"
                )

    def _note_conditions(self, reference: Reference, pin: PinKey | None) -> None:
        for condition in reference.conditions:
            _, *values = condition.templates
            if any(value.is_literal for value in values):
                self._conditions.append((condition, pin))

    def _columns_of(self, reference: Reference) -> dict[Template, str | None]:
        """Return the columns that a reference chooses or looks at; None for what is only known when it runs."""
        columns = {template: self._value(template) for template in reference.columns or ()}
        keys = {condition.key: self._value(condition.key) for condition in reference.conditions}
        return columns | {template: name for template, name in keys.items() if name != INDEX}

    def _require_declaration(self, reference: Reference, table: str | None) -> None:
        if not any(table is None or item.table == table for item in self._declared):
            what = "Which table this reads" if table is None else f"Which version of {table!r} this reads"
            example = self._example() if table is None else f"{table}({BASE_VERSION})"
            how = " in 'dependencies'." if example is None else f", such as: dependencies: [{example!r}]"
            raise reference.error(f"{what} is only known when the builder runs. Declare all that it may read{how}")

    def _example(self) -> str | None:
        # The table that the name comes from is less likely meant than any other.
        known = {table for table, _ in self.pins}
        return min(self._all_pins.tables, key=lambda table: (table in known, table), default=None)

    def _value(self, template: Template) -> str | None:
        """Return what a part of a reference says, None if that isn't known yet."""
        if template.literal is not None:
            return template.literal
        if not self._is_known(template):
            return None
        value = resolve(template, self._all_pins.frames())
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            raise template.error(f"This should give a name, but it gives {type(value).__name__} ({value!r:.60}).")
        return value

    def _is_known(self, template: Template) -> bool:
        return not any(reference in self._unknown for reference in template.references)
