"""Hold workers back where what they have given may be the last that a limit allows.

Workers run ahead of the coordinator, which counts failures and cost when it records them: a function that fails at once
would fail for hundreds of rows until somebody notices that they are too many. So workers count, too: from the moment at
which what they have given may have used up a limit, nothing is begun until all of it is recorded. Then either the run
is to end, or there is something left. What goes beyond a limit are the calls that were under way.

Batches are held back always: each is recorded before its worker begins the next one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import TypeVar

from tablevault_like.builders.commits import Commits
from tablevault_like.builders.results import RowError, RowResult
from tablevault_like.engines.base import Stop, Work

T = TypeVar("T")


class Holding:
    """What may still fail, and be spent, in one run of one builder. None is a limit that isn't set.

    ``one_by_one`` holds workers back before each piece of work, until all that was given is recorded.
    """

    def __init__(
        self, commits: Commits, stop: Stop, *, failures: int | None, cost: float | None, one_by_one: bool = False
    ) -> None:
        self._commits = commits
        self._stop = stop
        self._failures = failures
        self._cost = cost
        self._one_by_one = one_by_one
        self._failed = 0
        self._spent = 0.0
        self._lock = threading.Lock()
        self.has_ended = False
        """Whether nothing more was begun because a limit was reached."""

    def counting(self, function: Callable[[Work], T]) -> Callable[[Work], T]:
        """Return a function that is called once for each piece of work, and whose failures and cost are counted."""
        if self._is_unlimited:
            return function

        def call(work: Work) -> T:
            value = function(work)
            self._count(value)
            return value

        return call

    def held(self, work: Iterable[Work]) -> Iterator[Work]:
        """Give pieces of work while there is something left of all limits."""
        if self._is_unlimited and not self._one_by_one:
            return iter(work)
        return self._held(work)

    def held_stream(self, function: Callable[[Work], Iterable[T]]) -> Callable[[Work], Iterable[T]]:
        """Return a function whose results are counted, and are given while there is something left of all limits."""
        if self._is_unlimited:
            return function

        def follow(work: Work) -> Iterator[T]:
            with closing(_generator(function(work))) as results:
                for result in results:
                    self._count(result)
                    yield result
                    if self._must_end():
                        return

        return follow

    @property
    def _is_unlimited(self) -> bool:
        return self._failures is None and self._cost is None

    def _held(self, work: Iterable[Work]) -> Iterator[Work]:
        for piece in work:
            if self._must_end():
                return
            yield piece

    def _must_end(self) -> bool:
        with self._lock:
            is_used_up = (self._failures is not None and self._failed >= self._failures) or (
                self._cost is not None and self._spent >= self._cost
            )
        if is_used_up or self._one_by_one:
            self._commits.settle()
            self.has_ended = self._stop.requested or self._commits.has_ceased
        return self.has_ended

    def _count(self, value: object) -> None:
        rows = value if isinstance(value, list) else [value]
        with self._lock:
            for row in rows:
                self._failed += isinstance(row, RowError)
                if isinstance(row, RowResult | RowError):
                    self._spent += row.cost or 0.0


def _generator(results: Iterable[T]) -> Generator[T]:
    yield from results
