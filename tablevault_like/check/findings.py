"""What a check has found: each finding says what is wrong, where, and what to do about it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class Kind(StrEnum):
    """What a finding is about."""

    CORRUPTION = "corruption"
    """Something is missing, or isn't what was recorded of it."""
    UNCHECKED = "unchecked"
    """Something couldn't be looked at, so nothing is known of it."""
    STUCK = "stuck"
    """A process that others wait for goes on only if somebody sees to it."""
    STALE = "stale"
    """A process that nobody named is left by its worker. Whoever needs what it holds reverts it."""
    UNFINISHED = "unfinished"
    """Housekeeping was cut short. It is done later, by whoever comes to it."""
    LITTER = "litter"
    """A process that was killed has left something of which the catalog knows nothing."""
    UNKNOWN = "unknown"
    """Something lies in the vault that isn't its own."""


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """Something is lost or wrong, and stays so until somebody mends it."""
    WARNING = "warning"
    """Somebody should look at it."""
    NOTE = "note"
    """Nothing is wrong with any table."""


_SEVERITIES = {Kind.CORRUPTION: Severity.ERROR, Kind.UNCHECKED: Severity.WARNING, Kind.STUCK: Severity.WARNING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a check has found."""

    kind: Kind
    where: str
    """Its path, relative to the vault."""
    what: str
    """What is wrong, in a sentence."""
    to_do: str
    """What to do about it."""
    table_name: str | None = None
    instance_id: str | None = None
    process_id: str | None = None
    mended: str | None = None
    """What is to be told when ``repair`` has mended it, in a sentence; ``None`` for what it doesn't mend."""
    has_weight: bool | None = None
    """For a finding that is worse, or less bad, than its kind: whether somebody should look at it."""
    trace: object = field(default=None, repr=False)
    """What tells it from another finding of the same words: two looks at the same thing find the same."""

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        if self.has_weight is not None:
            return Severity.WARNING if self.has_weight else Severity.NOTE
        return _SEVERITIES.get(self.kind, Severity.NOTE)

    @property
    def is_repairable(self) -> bool:
        """Whether ``repair`` mends it."""
        return self.mended is not None

    def __str__(self) -> str:
        return f"{self.where}: {self.what} {self.to_do}"


@dataclass(frozen=True, slots=True)
class About:
    """What findings are about: they share these names, and their paths are told relative to ``root``."""

    root: Path
    table_name: str | None = None
    instance_id: str | None = None
    process_id: str | None = None

    def finding(
        self,
        kind: Kind,
        path: Path,
        what: str,
        to_do: str,
        *,
        mended: str | None = None,
        has_weight: bool | None = None,
        trace: object = None,
    ) -> Finding:
        """Return a finding about what stands at a path, or should."""
        return Finding(
            kind=kind,
            where=shown(path, self.root),
            what=what,
            to_do=to_do,
            table_name=self.table_name,
            instance_id=self.instance_id,
            process_id=self.process_id,
            mended=mended,
            has_weight=has_weight,
            trace=trace,
        )

    def unchecked(self, path: Path, error: OSError, name: str = "It") -> Finding:
        """Return that nothing is known of what stands at a path, which has a ``name`` in the sentence."""
        return self.finding(
            Kind.UNCHECKED,
            path,
            f"{name} can't be looked at ({told(error)}).",
            "Check its permissions, and the disk; then check again.",
        )


COLUMNS = (
    "kind",
    "severity",
    "where",
    "table_name",
    "instance_id",
    "process_id",
    "what",
    "to_do",
    "is_repairable",
)


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check has found, and what it has looked at. Iterating over it gives the findings, the worst first."""

    findings: tuple[Finding, ...]
    repaired: tuple[Finding, ...] = ()
    """What was found first, and is mended."""
    tables: int = 0
    """How many tables were looked at, as are the next two."""
    instances: int = 0
    processes: int = 0
    size: int = 0
    """How many bytes of files were read and compared with their checksums."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong: there may be litter, and other things that take care of themselves."""
        return all(each.severity is Severity.NOTE for each in self.findings)

    def count(self, kind: Kind) -> int:
        """Return how many findings are of a kind."""
        return Counter(each.kind for each in self.findings)[kind]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __bool__(self) -> bool:
        raise TypeError("A report is neither true nor false: ask for its .ok, or for its length.")

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each finding, with the columns ``kind`` to ``is_repairable`` in the order of Finding."""
        import pandas as pd

        columns = {name: [_plain(getattr(each, name)) for each in self.findings] for name in COLUMNS}
        dtypes = {"is_repairable": "bool"}
        return pd.DataFrame(
            {name: pd.Series(found, dtype=dtypes.get(name, "string")) for name, found in columns.items()}
        )


def as_document(finding: Finding) -> dict[str, object]:
    """Return a finding as JSON has it."""
    return {name: _plain(getattr(finding, name)) for name in COLUMNS}


def in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    """Return findings by their kind, then by place; none of them twice."""
    ranks = {kind: number for number, kind in enumerate(Kind)}
    return tuple(sorted(dict.fromkeys(findings), key=lambda each: (ranks[each.kind], each.where, each.what)))


def shown(path: Path, root: Path) -> str:
    """Return a path relative to the vault, with whatever isn't text in it made visible."""
    raw = os.fsencode(path.relative_to(root) if path != root else Path())
    return raw.decode("utf-8", "backslashreplace")


def told(error: BaseException) -> str:
    """Return what an exception says, for a sentence: without the path that is told anyway."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(f"{error}".split())[:300] or type(error).__name__


def _plain(value: object) -> object:
    return str(value) if isinstance(value, StrEnum) else value
