"""What a migration tells: one item for each thing that the old vault holds, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What an item is about."""

    VAULT = "vault"
    CODE_MODULE = "code module"
    TABLE = "table"
    INSTANCE = "instance"
    BUILDER = "builder"
    DELETED = "deleted"
    PROCESS = "process"
    FILE = "file"


class Outcome(StrEnum):
    """What became of an item."""

    BROUGHT = "brought"
    """It is there as it was."""
    CHANGED = "changed"
    """It is there, and something is different about it."""
    LEFT_OUT = "left out"
    """It isn't there."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing of the old vault."""

    kind: Kind
    name: str
    """Its name there: a table, ``table/instance``, ``table/instance/builder``, ..."""
    outcome: Outcome
    notes: tuple[str, ...] = ()
    """What is different now, or why it was left out; empty if it was brought over as it was."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a migration has brought over, and what it could not."""

    items: tuple[Item, ...]
    """Everything that was found, by kind. A loop over the report goes over these."""

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def of(self, outcome: Outcome) -> tuple[Item, ...]:
        """Return the items with this outcome."""
        return tuple(item for item in self.items if item.outcome is outcome)

    def summary(self) -> str:
        """Return the report in a sentence.

        >>> Report((Item(Kind.TABLE, "stories", Outcome.BROUGHT), Item(Kind.FILE, "x", Outcome.LEFT_OUT))).summary()
        'Brought over: 1 table. Left out: 1 file.'
        """
        counts = {outcome: Counter(item.kind for item in self.of(outcome)) for outcome in Outcome}
        brought, changed, left_out = counts[Outcome.BROUGHT], counts[Outcome.CHANGED], counts[Outcome.LEFT_OUT]
        parts = [f"Brought over: {_listed(brought + changed)}"]
        if changed:
            parts.append(f"; of these changed: {_listed(changed)}")
        if left_out:
            parts.append(f". Left out: {_listed(left_out)}")
        return "".join(parts) + "."


class Notes:
    """Collects the items of a report."""

    def __init__(self) -> None:
        self._items: list[Item] = []

    def brought(self, kind: Kind, name: str, notes: Iterable[str] = ()) -> None:
        """Tell that something was brought over, and what is different about it now, if anything is."""
        found = tuple(notes)
        self._add(kind, name, Outcome.CHANGED if found else Outcome.BROUGHT, found)

    def left_out(self, kind: Kind, name: str, why: str) -> None:
        """Tell that something was not brought over."""
        self._add(kind, name, Outcome.LEFT_OUT, (why,))

    def report(self) -> Report:
        """Return what was told so far."""
        order = list(Kind)
        return Report(tuple(sorted(self._items, key=lambda item: order.index(item.kind))))

    def _add(self, kind: Kind, name: str, outcome: Outcome, notes: Iterable[str]) -> None:
        self._items.append(Item(kind, _printable(name), outcome, tuple(map(_printable, notes))))


def _printable(text: str) -> str:
    """Return a text in which the bytes of a file's name that are no UTF-8 are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


def _listed(counts: Counter[Kind]) -> str:
    parts = [f"{counts[kind]} {_plural(kind) if counts[kind] != 1 else kind}" for kind in Kind if counts[kind]]
    return ", ".join(parts)


def _plural(kind: Kind) -> str:
    irregular = {Kind.DELETED: "deleted", Kind.PROCESS: "processes"}
    return irregular.get(kind, f"{kind}s")
