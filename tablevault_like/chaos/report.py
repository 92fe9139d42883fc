"""What a rehearsal tells: frozen records of plain values, so that they can be shown, pickled and written as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType


class Harm(StrEnum):
    """What is violated."""

    FAILED = "failed"
    """The builders fail, undisturbed, or only after a kill."""
    HANGS = "hangs"
    """A run doesn't end in time."""
    RESULT = "result"
    """The frame is another one than that of an undisturbed run."""
    ARTIFACTS = "artifacts"
    """The files that cells name are others, or were changed after that was recorded, so that no resume goes on."""
    SIDE_EFFECTS = "side effects"
    """A file outside of the vault was written to more often."""
    CALLS = "calls"
    """A function was called for a row that was recorded."""
    LITTER = "litter"
    """A check of the vault finds something: what is left there, or a catalog or an instance that is damaged."""
    LOCKS = "locks"
    """A process or a lock is left."""
    PROGRAMS = "programs"
    """A program that a function has started goes on after the run is complete."""


class Verdict(StrEnum):
    """What it comes to."""

    SOUND = "sound"
    VIOLATED = "violated"
    UNDECIDED = "undecided"
    """Nothing was killed, as the builders don't run undisturbed."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that isn't as it is to be, and what to do about it."""

    kind: Harm
    builder: str | None
    what: str
    """What is wrong, in a sentence."""
    to_do: str
    about: str | None = None
    """The column, or the file, that it is about."""
    trials: tuple[int, ...] = ()
    """In which trials it was so, by number, from 1; none for an undisturbed run."""


@dataclass(frozen=True, slots=True)
class Death:
    """One kill: when the worker was killed, and how many rows were recorded by then."""

    point: str
    rows_recorded: int | None
    """Over all builders; ``None`` if the instance was published."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One run that was killed, maybe several times, and resumed until it was complete."""

    number: int
    deaths: tuple[Death, ...]
    outcome: str
    """``completed``, ``failed`` or ``hangs``."""
    seconds: float


@dataclass(frozen=True, slots=True)
class BuilderCalls:
    """How often a builder's function was called for its rows, over all trials.

    A row whose function was called more than once was inside of it at a kill (``inside``), had returned within the time
    of a commit (``uncommitted``), or was recorded (``recorded``), which must not be. What makes all rows in
    one call, or yields them, counts by calls, and is called once more after each kill.
    """

    builder: str
    calls: int
    """In an undisturbed run."""
    again: int
    """How many calls there were in the trials for what had been called before."""
    inside: int
    uncommitted: int
    recorded: int


@dataclass(frozen=True, slots=True)
class ChaosReport:
    """What came of a rehearsal. ``is_sound`` tells whether nothing is violated."""

    table: str
    version: str
    sample: int
    """How many rows were asked for."""
    rows: int | None
    """How many there were."""
    seed: int
    """Chooses the same points again."""
    kills: int
    """How many were made."""
    wanted: int
    """How many were asked for. A worker that was done before its point came wasn't killed."""
    seconds: float
    undisturbed_seconds: float | None
    """How long an undisturbed run takes."""
    builders: tuple[BuilderCalls, ...]
    trials: tuple[Trial, ...]
    violations: tuple[Violation, ...]
    notes: tuple[str, ...]
    """What wasn't judged, and why."""
    kept: str | None = None
    """The folder in which it ran, if it was kept."""

    @property
    def verdict(self) -> Verdict:
        """Return what it comes to."""
        if not self.violations:
            return Verdict.SOUND
        return Verdict.VIOLATED if self.trials else Verdict.UNDECIDED

    @property
    def is_sound(self) -> bool:
        """Tell whether nothing is violated."""
        return self.verdict is Verdict.SOUND

    def __rich__(self) -> RenderableType:
        from tablevault_like.chaos.showing import shown

        return shown(self)
