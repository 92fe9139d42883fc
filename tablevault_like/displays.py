"""Show people how far an execution is while it runs: bars on a terminal and in notebooks, else a line now and then.

1. Nothing is shown of what is over in a moment.
2. One run at a time has bars, for a terminal has one place for them; another one that runs meanwhile, and one that user
   code starts, has lines.
3. Showing never disturbs: whatever goes wrong in it is logged, and the run goes on without.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tablevault_like.model import Progress
from tablevault_like.process.run import Observer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

log = logging.getLogger("tablevault_like")

PATIENCE = 0.5
"""Seconds that a run takes before anything is shown of it."""
INTERVAL = 5.0
"""Seconds from one line to the next, where there are no bars."""

_showing = threading.Lock()
"""Held by whoever has the terminal."""


class Display(ABC):
    """What shows one run. Its methods are called by the thread that runs it."""

    @abstractmethod
    def show(self, step: str, progress: Progress, *, is_done: bool = False) -> None:
        """Show how far a step is."""

    def close(self) -> None:
        """Show nothing more. May be called twice."""


def display(title: str, *, wanted: bool | None = None, is_child: bool = False) -> Display | None:
    """Return what is to show a run, ``None`` for nothing.

    ``wanted`` is what the caller says: ``None`` leaves it to what there is, a terminal, a notebook, or neither, where
    lines go to the log; with ``True`` they go to stderr.
    """
    if wanted is False:
        return None
    if not is_child and _has_place_for_bars():
        return BarDisplay(title)
    return LineDisplay(title, _print if wanted else log.info)


@contextmanager
def shown(title: str, *, wanted: bool | None = None, is_child: bool = False) -> Iterator[Observer | None]:
    """Show a run while the block lasts, and give what it is to tell how far it is. Called as ``display`` is."""
    found = display(title, wanted=wanted, is_child=is_child)
    if found is None:
        yield None
        return
    with closing(found):
        yield lambda step, progress, is_done: found.show(step, progress, is_done=is_done)


class LineDisplay(Display):
    """Writes a line every few seconds, and one at the end of each step of which it has told."""

    def __init__(
        self, title: str, write: Callable[[str], object], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._title = title
        self._write = write
        self._clock = clock
        self._meter: _Meter | None = None
        self._next = clock() + INTERVAL

    def show(self, step: str, progress: Progress, *, is_done: bool = False) -> None:
        now = self._clock()
        meter = self._meter
        if meter is None or meter.step != step:
            meter = self._meter = _Meter(step, now, _made(progress))
        if (is_done and meter.is_told) or now >= self._next:
            self._next = now + INTERVAL
            meter.is_told = True
            rate = "" if is_done else meter.told(progress, now)
            self._write(f"{self._title}: {step}: {in_words(progress)}{rate}")


class BarDisplay(Display):
    """Draws a bar for each step, on stderr or in the notebook."""

    def __init__(
        self, title: str, *, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._title = title
        self._clock = clock
        self._console = console
        self._begun = clock()
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._meters: dict[str, _Meter] = {}
        self._instead: LineDisplay | None = None

    def show(self, step: str, progress: Progress, *, is_done: bool = False) -> None:
        now = self._clock()
        meter = self._meters.setdefault(step, _Meter(step, now, _made(progress)))
        meter.last, meter.is_done = progress, is_done
        if self._instead is not None:
            self._instead.show(step, progress, is_done=is_done)
        elif self._bars is not None:
            self._draw(meter, now)
        elif now - self._begun >= PATIENCE:
            self._begin(now)

    def close(self) -> None:
        bars, self._bars = self._bars, None
        if bars is not None:
            try:
                bars.stop()
            finally:
                _showing.release()

    def _begin(self, now: float) -> None:
        if not _showing.acquire(blocking=False):
            self._instead = LineDisplay(self._title, log.info, clock=self._clock)
            return
        try:
            self._bars = _bars(self._title, self._console)
            self._bars.start()
        except BaseException:
            self._bars = None
            _showing.release()
            raise
        for meter in self._meters.values():
            self._draw(meter, now)

    def _draw(self, meter: _Meter, now: float) -> None:
        assert self._bars is not None
        progress = meter.last
        if meter.step not in self._tasks:
            self._tasks[meter.step] = self._bars.add_task(meter.step, total=progress.total, told="")
        settled = progress.done + progress.skipped
        total = settled if meter.is_done else progress.total
        told = _remarks(progress) + ("" if meter.is_done else meter.told(progress, now))
        self._bars.update(self._tasks[meter.step], completed=settled, total=total, told=told.removeprefix(", "))


@dataclass(slots=True)
class _Meter:
    """How fast a step is: ``before`` rows of it had been made when it was begun."""

    step: str
    begun: float
    before: int
    last: Progress = field(default_factory=lambda: Progress(0, 0, None))
    is_done: bool = False
    is_told: bool = False

    def told(self, progress: Progress, now: float) -> str:
        """Return the rate, and the time that is left at it, as far as they are known."""
        made, seconds = _made(progress) - self.before, now - self.begun
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


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - it was asked for


def _has_place_for_bars() -> bool:
    if "ipykernel" in sys.modules:
        return True
    stream = sys.stderr
    return stream is not None and not stream.closed and stream.isatty()


def _bars(title: str, console: Console | None) -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    return Bars(
        TextColumn(f"{title}: {{task.description}}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}", markup=False),
        console=console or Console(stderr=True),
        refresh_per_second=4,
    )
