"""How far and how fast a step is, and that in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from tablevault_like.model import Progress


@dataclass(slots=True)
class Meter:
    """How fast a step is. Of its rows ``before`` had been made when it was begun, at ``start`` (in seconds)."""

    step: str
    start: float
    before: int
    last: Progress
    is_done: bool = False
    is_told: bool = False

    @classmethod
    def begun(cls, step: str, progress: Progress, now: float) -> Self:
        """Return that of a step which is so far as it begins."""
        return cls(step, now, _made(progress), progress)

    @property
    def settled(self) -> int:
        """How many rows need nothing more."""
        return self.last.done + self.last.skipped

    @property
    def total(self) -> int | None:
        """How many rows there are to be, as far as it is known."""
        return self.settled if self.is_done else self.last.total

    def in_words(self, now: float | None) -> str:
        """Return how far and how fast the step is. Nothing is fast when it is over (``None``)."""
        return in_words(self.last) + self._rate(now)

    def remarks(self, now: float | None) -> str:
        """Return what there is to say beside how many rows are done."""
        return (_remarks(self.last) + self._rate(now)).removeprefix(", ")

    def _rate(self, now: float | None) -> str:
        """Return the rate, and the time that is left at it, as far as they are known."""
        if now is None or self.is_done:
            return ""
        progress = self.last
        made, seconds = _made(progress) - self.before, now - self.start
        if made <= 0 or seconds <= 0:
            return ""
        rate = made / seconds
        told = f", {rate:.3g} rows/s" if rate >= 1 else f", {60 * rate:.3g} rows/min"
        if progress.total is None:
            return told
        left = max(0, progress.total - progress.done - progress.skipped - progress.failed) / rate
        return f"{told}, {span(left)} left"


def in_words(progress: Progress) -> str:
    """Return how far a step is.

    >>> in_words(Progress(120, 2, 1000, reused=30))
    '120 of 1000 rows, 30 reused, 2 failed'
    """
    of = "" if progress.total is None else f" of {progress.total}"
    return f"{progress.done}{of} row{'' if progress.done == 1 and not of else 's'}{_remarks(progress)}"


def span(seconds: float) -> str:
    """Return a time in words that fit a line.

    >>> span(3), span(75), span(4000), span(90000)
    ('3 s', '1 min 15 s', '1 h 6 min', '25 h 0 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _made(progress: Progress) -> int:
    return progress.done - progress.reused + progress.failed + progress.skipped


def _remarks(progress: Progress) -> str:
    remarks = [f", {progress.reused} reused"] if progress.reused else []
    remarks += [f", {progress.failed} failed"] if progress.failed else []
    remarks += [f", {progress.skipped} left empty"] if progress.skipped else []
    remarks += [f", cost {progress.cost:.4g}"] if progress.cost else []
    return "".join(remarks)
