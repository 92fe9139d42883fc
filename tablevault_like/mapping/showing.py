"""Show how far a run is: a bar on a terminal, a line in the log every few seconds elsewhere, or nothing."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Any, Self

from tablevault_like.model import Progress

_LOG_EVERY = 5.0
_DRAW_EVERY = 0.1

_log = logging.getLogger(__name__)


class Show:
    """Shows progress while it is entered. ``wanted`` is True for a bar, False for nothing, None for what fits."""

    def __init__(self, title: str, *, wanted: bool | None = None) -> None:
        self._title = title
        self._wants_bar = sys.stderr.isatty() if wanted is None else wanted
        self._wants_lines = wanted is None and not self._wants_bar
        self._bar: Any = None
        self._task: Any = None
        self._began = self._last = time.monotonic()
        self._first = 0

    def __enter__(self) -> Self:
        self._began = self._last = time.monotonic()
        self._first = -1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def update(self, progress: Progress) -> None:
        """Show this, if it is time to."""
        if self._first < 0:
            self._first = progress.done
        now = time.monotonic()
        if self._wants_bar:
            self._draw(progress)
        elif self._wants_lines and now - self._last >= _LOG_EVERY:
            self._last = now
            _log.info("%s", line(progress, since=self._first, seconds=now - self._began))

    def _draw(self, progress: Progress) -> None:
        if self._bar is None:
            self._bar = _new_bar()
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=progress.total, failed="")
        failed = f"{progress.failed} failed" if progress.failed else ""
        self._bar.update(self._task, completed=progress.done + progress.failed, failed=failed)


def line(progress: Progress, *, since: int, seconds: float) -> str:
    """Return progress in words.

    >>> line(Progress(620, 3, 1000), since=600, seconds=10)
    '620 of 1000 rows, 3 failed, 2.0 rows/s, 190 s left'
    """
    words = [f"{progress.done} of {progress.total} rows"]
    if progress.failed:
        words.append(f"{progress.failed} failed")
    rate = (progress.done - since) / seconds if seconds > 0 else 0.0
    if rate > 0:
        words += [f"{rate:.1f} rows/s", f"{((progress.total or 0) - progress.done) / rate:.0f} s left"]
    return ", ".join(words)


def _new_bar() -> Any:
    from rich import progress as bars
    from rich.console import Console

    return bars.Progress(
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[failed]}"),
        bars.TimeRemainingColumn(),
        console=Console(stderr=True),
        refresh_per_second=1 / _DRAW_EVERY,
    )
