"""Count what rows cost while they come, and pause the run when a budget is used up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tablevault_like.limits import Budget


class Spending:
    """What has been spent of one budget since it was begun.

    ``pause`` is called once, with the reason, when it is used up; ``clock`` gives seconds that never go back. In a
    ``with`` that is seen to as soon as its time is over, however long a row takes: then by a thread of its own.
    """

    def __init__(
        self, budget: Budget, pause: Callable[[str], None], *, of: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._budget = budget
        self._pause = pause
        self._of = of
        self._clock = clock
        self._begun = clock()
        self._rows = 0
        self._failures = 0
        self._cost = 0.0
        self._is_used_up = False
        self._is_over = threading.Event()

    def __enter__(self) -> Self:
        if self._budget.seconds is not None:
            threading.Thread(target=self._wait, name="tablevault-budget", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over.set()

    @property
    def rows_left(self) -> int | None:
        """How many rows may still be made, None if they aren't counted."""
        return None if self._budget.rows is None else max(0, self._budget.rows - self._rows)

    @property
    def failures_left(self) -> int | None:
        """How many more rows may fail until it is used up, None if they aren't counted."""
        return None if self._budget.failures is None else max(0, self._budget.failures - self._failures)

    @property
    def cost_left(self) -> float | None:
        """What may still be spent, None if that isn't counted."""
        return None if self._budget.cost is None else max(0.0, self._budget.cost - self._cost)

    @property
    def seconds_left(self) -> float | None:
        """How many seconds there are left, None if they aren't counted."""
        seconds = self._budget.seconds
        return None if seconds is None else max(0.0, seconds - (self._clock() - self._begun))

    def add(self, *, rows: int = 0, failures: int = 0, cost: float = 0.0) -> None:
        """Count rows that were made, rows that failed, and what they have cost."""
        self._rows += rows
        self._failures += failures
        self._cost += cost
        self.look()

    def look(self) -> None:
        """Ask for a pause if nothing is left, be it of time."""
        spent = self._clock() - self._begun
        told = self._budget.used_up(seconds=spent, rows=self._rows, failures=self._failures, cost=self._cost)
        if told is not None and not self._is_used_up:
            self._is_used_up = True
            self._pause(f"the budget of {self._of} is used up ({told})")

    def _wait(self) -> None:
        while (left := self.seconds_left) and not self._is_over.wait(left):
            pass
        if not self._is_over.is_set():
            self.look()
