"""What a plan tells of a run: what is done about each builder, how sure that is, and why.

All are frozen, and made of plain values, so that they can be shown, compared, pickled and written as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from tablevault_like.monitor.words import counted, listed

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType


class Action(StrEnum):
    """What a call of ``execute_instance`` does first."""

    START = "start"
    """A new run begins."""
    RESUME = "resume"
    """A process that is paused, or was interrupted, goes on."""
    RERUN = "rerun"
    """The process id has a run already: its record is kept under another id, and a new run reuses nothing."""
    REUSE = "reuse"
    """The process has completed: there is nothing to do, what it made is taken."""


class Certainty(StrEnum):
    """How sure a prediction is. Of several reasons for doubt the last one of these counts; ``doubt`` names all."""

    EXACT = "exact"
    """It will be so, unless something is changed meanwhile."""
    EXPECTED = "expected"
    """It will be so if code that can't be looked into gives what it gave before: its recipe and inputs are the same."""
    AT_MOST = "at most"
    """No more rows will be made than that. Some of them may come out equal to what is there already, and be reused."""
    UNKNOWN = "unknown"
    """It can't be known before other builders have run."""


class Cause(StrEnum):
    """Why rows are made and not reused."""

    ALWAYS = "always"
    """IndexBuilders always run."""
    NEW = "new"
    """There is nothing that could be reused: no origin, no such builder in it, or it isn't active."""
    SETTING = "setting"
    """The builder's ``reuse`` is ``never``, or ``force_execute`` was asked for."""
    ARGUMENT = "argument"
    """An argument of the builder is another; ``lines`` has the difference."""
    FIELD = "field"
    """Another field of the builder, such as its columns or dtypes."""
    FUNCTION = "function"
    """The function, or something in vault code that it uses."""
    INPUT = "input"
    """It reads another instance of a table than the origin did."""
    ROWS = "rows"
    """Some rows have other inputs than in the origin, or aren't in it."""
    UPSTREAM = "upstream"
    """It reads what another builder makes anew."""
    FILES = "files"
    """Which files its function reads is only known when its code is loaded."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for rows to be made, in a sentence; of a changed text, ``lines`` are those that differ."""

    cause: Cause
    text: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BuilderForecast:
    """What a run is going to do about one builder. Numbers of rows are ``None`` where they can't be known yet."""

    builder: str
    rows: int | None
    """How many rows it has in the end."""
    recorded: int
    """How many a paused process has recorded already; they stay."""
    reused: int | None
    """How many are taken over from the origin."""
    to_run: int | None
    """How many this call makes; the most that it can be, where ``certainty`` is ``at most``."""
    to_run_at_least: int
    """How many are made in any case."""
    failed_before: int
    """How many of those to run have failed in this process before."""
    calls: int | None
    """How often its function is called: once for all rows, unless it is called for each row or batch."""
    certainty: Certainty
    doubt: str | None
    """Why that isn't exact."""
    reasons: tuple[Reason, ...]
    """Why rows are made."""
    seconds: float | None
    """How long that takes, by what earlier runs took; ``None`` without any."""
    left: int | None = 0
    """How many are left when a budget is used up, for the next call to make or to reuse: the most that it can be."""
    offset: int | None = None
    """Where in its source a generator begins or goes on, in values; ``None`` of what isn't one, or isn't called."""

    @classmethod
    def of_recorded(cls, builder: str, rows: int) -> Self:
        """Return what is told of a builder that has done all its rows."""
        certainty = Certainty.EXACT
        return cls(builder, rows, rows, 0, 0, 0, 0, calls=0, certainty=certainty, doubt=None, reasons=(), seconds=0.0)


@dataclass(frozen=True, slots=True)
class PlannedInput:
    """An instance that a run reads. Rows are told by primary key where the table has one, else by position."""

    table: str
    version: str | None
    """As references name it; ``None`` is the default version."""
    instance_id: str
    read_by: tuple[str, ...]
    """The builders that read it."""
    instance_before: str | None
    """The instance that the origin has read in its place; ``None`` if it has read none."""
    rows_added: int | None = None
    """How many rows it has that the one before hadn't; ``None`` where they can't be compared, as it was deleted."""
    rows_removed: int | None = None
    rows_changed: int | None = None
    """How many differ in what is read of them."""
    changed_keys: tuple[str, ...] = ()
    """The first of the rows that were added or changed."""

    @property
    def is_another(self) -> bool:
        """Whether the origin has read another one."""
        return self.instance_before is not None and self.instance_before != self.instance_id

    @property
    def name(self) -> str:
        """The table, with the version if references name one."""
        return self.table if self.version is None else f"{self.table}({self.version})"

    @property
    def change(self) -> str:
        """How it differs from the instance before, in words."""
        if self.rows_changed is None:
            return f"{self.instance_before}, which was deleted"
        counts = (("changed", self.rows_changed), ("added", self.rows_added), ("removed", self.rows_removed))
        told = [f"{counted(number, 'row')} {what}" for what, number in counts if number]
        if not told:
            return f"{self.instance_before}, with the same rows"
        shown = listed(self.changed_keys, self.rows_changed + (self.rows_added or 0))
        return f"{self.instance_before}: {', '.join(told)}" + (f" ({shown})" if shown else "")


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """What ``execute_instance`` is going to do. ``builders`` are in the order in which they run."""

    table: str
    version: str
    process_id: str | None
    """The process that goes on, is run again, or has completed; ``None`` if a new one begins."""
    origin: str | None
    """The instance from which rows can be reused."""
    refusal: str | None
    """Why ``execute_instance`` would raise an error, in its words, and what to do then; ``None`` if it would run.

    The plan is of what it does once that is out of the way: where builders have changed, with ``on_change="continue"``;
    where a process holds the instance, with its ``process_id``.
    """
    builders: tuple[BuilderForecast, ...]
    inputs: tuple[PlannedInput, ...]
    action: Action = Action.START
    made: str | None = None
    """The instance that a completed process has made."""
    pause: str | None = None
    """Why the process is paused before the instance is complete, in its words: a stage or a budget. ``None`` if it
    isn't, or if that can't be known; what may happen is in the ``doubt`` of a builder."""
    sample: Any = field(default=None, repr=False, compare=False)
    """The first rows as they would be made: a DataFrame, if that was asked for."""

    @property
    def certainty(self) -> Certainty:
        """The certainty of the least certain builder."""
        return weakest(each.certainty for each in self.builders)

    @property
    def seconds(self) -> float | None:
        """How long all of it takes; ``None`` unless that is known of every builder that has something to do."""
        known = [each.seconds for each in self.builders if each.calls != 0]
        return None if None in known else float(sum(each for each in known if each is not None))

    def builder(self, name: str) -> BuilderForecast:
        """Return what is planned for a builder. Raises KeyError for any other name."""
        return {each.builder: each for each in self.builders}[name]

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each builder, with the reasons as text."""
        import pandas as pd

        names = [each.name for each in fields(BuilderForecast)]
        rows = [[getattr(each, name) for name in names] for each in self.builders]
        frame = pd.DataFrame(rows, columns=names)
        counts = ("rows", "recorded", "reused", "to_run", "to_run_at_least", "failed_before", "calls")
        frame = frame.astype(dict.fromkeys(counts, "Int64") | {"seconds": "Float64"})
        frame["certainty"] = [str(each.certainty) for each in self.builders]
        frame["reasons"] = ["; ".join(reason.text for reason in each.reasons) for each in self.builders]
        return frame

    def __rich__(self) -> RenderableType:
        from tablevault_like.monitor.showing import planned_run

        return planned_run(self)


def weakest(found: Iterator[Certainty]) -> Certainty:
    """Return the least certain.

    >>> weakest(iter([Certainty.EXACT, Certainty.AT_MOST, Certainty.EXPECTED]))
    <Certainty.AT_MOST: 'at most'>
    """
    order = list(Certainty)
    return max(found, key=order.index, default=Certainty.EXACT)
