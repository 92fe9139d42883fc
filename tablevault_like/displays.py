"""Show people how far a run is: bars on a terminal, a table of bars in a notebook, else a line every few seconds.

A run is an execution in a vault, or a call of ``map_rows`` or ``extract_df``.

1. Nothing is shown of what is over in a moment.
2. One run at a time has bars on a terminal, for there is one place for them; another one that runs meanwhile, and one
   that user code starts, has lines.
3. Showing never disturbs: whatever goes wrong in it is logged, and the run goes on without.
"""

from __future__ import annotations

import contextvars
import importlib
import logging
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from tablevault_like.meters import Meter
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
REDRAW = 0.25
"""Seconds after which a notebook shows something new. Each time is a message to the browser."""

_CAN_NOT = "the progress of %s can't be shown"

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
    lines go to the log; with ``True`` they go to stderr. A child, which user code starts, has lines in any case.
    """
    if wanted is False:
        return None
    if not is_child and _is_in_notebook():
        return NotebookDisplay(title)
    if not is_child and _has_terminal():
        return BarDisplay(title)
    return LineDisplay(title, _print if wanted else log.info)


@contextmanager
def shown(title: str, *, wanted: bool | None = None, is_child: bool = False) -> Iterator[Observer | None]:
    """Show a run while the block lasts, and give what it is to tell how far it is. Called as ``display`` is.

    What is given raises nothing, nor does the end of the block by itself: where a run can't be shown, that is logged,
    once, and it isn't shown any more.
    """
    found = display(title, wanted=wanted, is_child=is_child)
    if found is None:
        yield None
        return
    with closing(_Harmless(title, found)) as harmless:
        yield lambda step, progress, is_done: harmless.show(step, progress, is_done=is_done)


def lines(title: str, *, wanted: bool | None = None) -> Callable[[str], None]:
    """Return what is told in lines how far something is that has no bars: stderr, if that is a terminal, or the log."""
    if wanted is False:
        return lambda line: None
    write = _print if wanted or _has_terminal() else log.info

    def tell(line: str) -> None:
        try:
            write(f"{title}: {line}")
        except Exception:
            log.warning(_CAN_NOT, title, exc_info=True)

    return tell


class _Harmless(Display):
    """Passes on what it is told until that fails."""

    def __init__(self, title: str, display: Display) -> None:
        self._title = title
        self._display: Display | None = display

    def show(self, step: str, progress: Progress, *, is_done: bool = False) -> None:
        shown = self._display
        if shown is not None:
            try:
                shown.show(step, progress, is_done=is_done)
            except Exception:
                log.warning(_CAN_NOT, self._title, exc_info=True)
                self.close()

    def close(self) -> None:
        shown, self._display = self._display, None
        if shown is not None:
            try:
                shown.close()
            except Exception:
                log.warning(_CAN_NOT, self._title, exc_info=True)


class LineDisplay(Display):
    """Writes a line every few seconds, and one at the end of each step of which it has told."""

    def __init__(
        self, title: str, write: Callable[[str], object], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._title = title
        self._write = write
        self._clock = clock
        self._meter: Meter | None = None
        self._next = clock() + INTERVAL

    def show(self, step: str, progress: Progress, *, is_done: bool = False) -> None:
        now = self._clock()
        meter = self._meter
        if meter is None or meter.step != step:
            meter = self._meter = Meter.begun(step, progress, now)
        meter.last, meter.is_done = progress, is_done
        if (is_done and meter.is_told) or now >= self._next:
            self._next = now + INTERVAL
            meter.is_told = True
            self._write(f"{self._title}: {step}: {meter.in_words(now)}")


class Drawing(Display):
    """Draws all steps of a run, from when it has taken a moment: then even if no row comes for an hour."""

    def __init__(self, title: str, *, clock: Callable[[], float]) -> None:
        self._title = title
        self._clock = clock
        self._begun = clock()
        self._meters: dict[str, Meter] = {}
        self._is_drawn = self._is_over = False
        self._turn = threading.Lock()
        """Held by the thread that runs what is shown, or by the one that draws it for the first time."""
        self._late: threading.Timer | None = None

    def show(self, step: str, progress: Progress, *, is_done: bool = False) -> None:
        with self._turn:
            now = self._clock()
            meter = self._meters.setdefault(step, Meter.begun(step, progress, now))
            meter.last, meter.is_done = progress, is_done
            if self._is_drawn:
                self.draw(meter, now)
            elif now - self._begun >= PATIENCE:
                self._draw_first(now)
            elif self._late is None:
                # In the same context, by which a notebook knows the cell.
                self._late = threading.Timer(PATIENCE, contextvars.copy_context().run, (self._draw_late,))
                self._late.daemon = True
                self._late.start()

    def close(self) -> None:
        with self._turn:
            if self._late is not None:
                self._late.cancel()
            if self._is_drawn and not self._is_over:
                self._is_over = True
                self.end()
            self._is_over = True

    @abstractmethod
    def begin(self, now: float) -> None:
        """Draw for the first time what ``steps`` are."""

    @abstractmethod
    def draw(self, meter: Meter, now: float) -> None:
        """Draw how far a step is by now."""

    @abstractmethod
    def end(self) -> None:
        """Leave what is drawn as it is."""

    @property
    def meters(self) -> Sequence[Meter]:
        """The steps that have begun."""
        return [*self._meters.values()]

    def _draw_late(self) -> None:
        with self._turn:
            if not (self._is_drawn or self._is_over):
                try:
                    self._draw_first(self._clock())
                except Exception:
                    self._is_over = True
                    log.warning(_CAN_NOT, self._title, exc_info=True)

    def _draw_first(self, now: float) -> None:
        if not self._is_over:
            self.begin(now)
            self._is_drawn = True


class BarDisplay(Drawing):
    """Draws a bar for each step on stderr; a line now and then, if somebody else has the terminal."""

    def __init__(
        self, title: str, *, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(title, clock=clock)
        self._console = console
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._instead: LineDisplay | None = None

    def begin(self, now: float) -> None:
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
        for meter in self.meters:
            self.draw(meter, now)

    def draw(self, meter: Meter, now: float) -> None:
        bars = self._bars
        if bars is None:
            if self._instead is not None:
                self._instead.show(meter.step, meter.last, is_done=meter.is_done)
            return
        if meter.step not in self._tasks:
            self._tasks[meter.step] = bars.add_task(meter.step, total=meter.last.total, told="")
        bars.update(self._tasks[meter.step], completed=meter.settled, total=meter.total, told=meter.remarks(now))

    def end(self) -> None:
        bars, self._bars, self._instead = self._bars, None, None
        if bars is not None:
            try:
                bars.stop()
            finally:
                _showing.release()


class NotebookDisplay(Drawing):
    """Shows a table with a bar for each step below the cell, and nothing but text where there is no HTML.

    It needs what every notebook has, ``IPython.display``, and no widgets.
    """

    def __init__(self, title: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(title, clock=clock)
        self._shown: Any = None
        self._next = 0.0

    def begin(self, now: float) -> None:
        self._next = now + REDRAW
        show = importlib.import_module("IPython.display").display
        self._shown = show(self._forms(now), raw=True, display_id=True)

    def draw(self, meter: Meter, now: float) -> None:
        if now >= self._next:
            self._next = now + REDRAW
            self._shown.update(self._forms(now), raw=True)

    def end(self) -> None:
        shown, self._shown, self._next = self._shown, None, float("inf")
        shown.update(self._forms(None), raw=True)

    def _forms(self, now: float | None) -> dict[str, str]:
        text = "\n".join(f"{self._title}: {each.step}: {each.in_words(now)}" for each in self.meters)
        return {
            "text/plain": text,
            "text/html": f"<table>{''.join(self._row(each, now) for each in self.meters)}</table>",
        }

    def _row(self, meter: Meter, now: float | None) -> str:
        settled, total = meter.settled, meter.total
        # Without a value it is a bar that only moves; one of nothing is full.
        known = "" if total is None else f' value="{settled if total else 1}" max="{total or 1}"'
        cells = (
            escape(f"{self._title}: {meter.step}"),
            f"<progress{known}></progress>",
            str(settled) if total is None else f"{settled}/{total}",
            escape(meter.remarks(now)),
        )
        return "<tr>" + "".join(f'<td style="text-align: left">{each}</td>' for each in cells) + "</tr>"


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - it was asked for


def _is_in_notebook() -> bool:
    """Tell whether this interpreter is the kernel of a notebook. Then IPython has been imported."""
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_shell is not None and getattr(get_shell(), "kernel", None) is not None


def _has_terminal() -> bool:
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
