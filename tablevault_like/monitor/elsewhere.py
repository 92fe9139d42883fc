"""What was made in another vault, and came from there in a bundle: in which vault, by which process, in which steps.

A bundle may come from anybody: what it tells of its process is shown, never relied on. What isn't of its form counts as
not told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Self

from tablevault_like.catalog import Database, processes
from tablevault_like.errors import TVFileError
from tablevault_like.layout import InstanceLayout
from tablevault_like.model import InstanceRecord, StepRecord
from tablevault_like.operations.imported import REUSED
from tablevault_like.operations.importing import IMPORTED
from tablevault_like.storage import files
from tablevault_like.storage.documents import parsed


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where something was made that was imported. Times are seconds since the epoch (POSIX), ``None`` if not told.

    ``vault`` is the name of the vault that it was exported from. ``name`` is the instance there, with its table.
    ``rows`` of ``builder`` are what an instance has taken over, if it is that builder's results.
    """

    vault: str
    name: str
    author: str | None
    process_id: str | None
    operation: str | None
    state: str | None
    started_at: float | None
    ended_at: float | None
    steps: tuple[StepRecord, ...]
    builder: str | None = None
    rows: int | None = None

    @classmethod
    def of_instance(cls, db: Database, record: InstanceRecord) -> Self | None:
        """Return where an instance was made, ``None`` if that was here."""
        found = None if record.is_temporary else processes.last_event(db, record.process_id, IMPORTED)
        return None if found is None else cls._read(parsed(found))

    @classmethod
    def of_results(cls, place: InstanceLayout) -> list[Self]:
        """Return from where an instance has taken over results of builders, in the order of looking."""
        try:
            found = parsed(files.read_text(place.provenance / REUSED))["reused"]
        except (TVFileError, OSError, ValueError, KeyError, TypeError):
            return []
        return [cls._read(each) for each in found if isinstance(each, dict)] if isinstance(found, list) else []

    @classmethod
    def _read(cls, found: Mapping[str, Any]) -> Self:
        process = found.get("process")
        told: Mapping[str, Any] = process if isinstance(process, dict) else {}
        return cls(
            vault=str(found.get("vault")),
            name=f"{found.get('table')}/{found.get('instance_id')}",
            author=_text(told.get("author")) or _text(found.get("author")),
            process_id=_text(told.get("process_id")),
            operation=_text(told.get("operation")),
            state=_text(told.get("state")),
            started_at=_time(told.get("started_at")),
            ended_at=_time(told.get("ended_at")),
            steps=_steps(told.get("steps")),
            builder=_text(found.get("builder")),
            rows=_count(found.get("rows")),
        )

    @property
    def maker(self) -> str:
        """Who has made it, in words: nothing if that isn't told."""
        by = f"of {self.author}" if self.process_id and self.author else self.author or ""
        return f"{f'process {self.process_id}' if self.process_id else ''} {by}".strip()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _time(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Nothing that a calendar can't tell.
    return float(value) if 0 <= value < 1 << 37 else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62 else None


def _steps(value: object) -> tuple[StepRecord, ...]:
    """Return steps, none unless all of them are of the form that they have."""
    found = [_step(each) for each in value] if isinstance(value, list) else []
    return () if None in found else tuple(each for each in found if each is not None)


def _step(value: object) -> StepRecord | None:
    if not isinstance(value, dict):
        return None
    known: dict[str, Any] = {}
    for each in fields(StepRecord):
        given = value.get(each.name, ... if each.default is MISSING else each.default)
        if not _fits(given, str(each.type)):
            return None
        known[each.name] = given
    return StepRecord(**known)


def _fits(value: object, wanted: str) -> bool:
    """Tell whether a value is of the type that is written so."""
    if value is None:
        return "None" in wanted
    if wanted == "bool":
        return isinstance(value, bool)
    if wanted == "str":
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if "float" in wanted:
        return math.isfinite(value) and 0 <= value < 1 << 62
    return isinstance(value, int) and 0 <= value < 1 << 62
