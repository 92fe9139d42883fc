"""How far what a builder's function has given is committed, for user code that wants to be sure of it.

Workers count what they give, right before they hand it over; the coordinator counts what it has committed. Results are
taken in the order in which they were handed over, so once the second count reaches what the first was, all that had
been handed over by then is on the disk.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import TypeVar

from tablevault_like.engines.base import Calls, RelayedCalls, Result, Work
from tablevault_like.errors import TVProcessError

T = TypeVar("T")


class Commits:
    """The results of one run of one builder. ``saved`` is called by whoever has waited for a commit."""

    def __init__(self, saved: Callable[[], None] = lambda: None) -> None:
        self._saved = saved
        self._changed = threading.Condition(threading.Lock())
        self._given = itertools.count()
        self._waits = 0
        self._committed = 0
        self._is_over = False
        self.has_ceased = False
        """Whether nothing more is to be handed out, by the will of whoever records."""

    def counting(self, function: Callable[[Work], T]) -> Callable[[Work], T]:
        """Return a function that is called once for each piece of work, and is counted."""
        give = self._given.__next__

        def call(work: Work) -> T:
            try:
                return function(work)
            finally:
                give()

        return call

    def counting_each(self, function: Callable[[Work], Iterable[T]]) -> Callable[[Work], Iterator[T]]:
        """Return a function that is called once, and counts each result that its iterator gives."""

        def follow(work: Work) -> Iterator[T]:
            with closing(_generator(function(work))) as results:
                for result in results:
                    next(self._given)
                    yield result

        return follow

    def committed(self, calls: Calls[T], *, is_stream: bool = False) -> Calls[T]:
        """Return calls whose results count as committed as soon as somebody asks for the next ones.

        Of a stream nothing is recorded any more once it is to cease.
        """
        self._is_over = False
        return _Counted(calls, self, is_stream=is_stream)

    def wait(self) -> None:
        """Wait, in a worker, until all is committed that has been given by now.

        Raises TVProcessError if the run was given up before: then nobody knows what is committed.
        """
        if not self.settle():
            raise TVProcessError("This run was given up: what its function has given last is not recorded.")
        self._saved()

    def settle(self) -> bool:
        """Wait, in a worker, until all is committed that has been given by now. False if the run was given up."""
        with self._changed:
            # A wait draws a number, too: taking one is how workers count without waiting for one another.
            wanted = next(self._given) - self._waits
            self._waits += 1
            self._changed.wait_for(lambda: self._committed >= wanted or self._is_over)
            return self._committed >= wanted

    def commit(self, count: int) -> None:
        """Count results that are committed."""
        with self._changed:
            self._committed += count
            self._changed.notify_all()

    def end(self) -> None:
        """Let nobody wait any more: nothing else will be committed."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()


class _Counted(RelayedCalls[T]):
    def __init__(self, calls: Calls[T], commits: Commits, *, is_stream: bool) -> None:
        super().__init__(calls)
        self._commits = commits
        self._is_stream = is_stream
        self._taken = 0
        self._is_heard = True

    def __next__(self) -> list[Result[T]]:
        if self._is_heard:
            self._commits.commit(self._taken)
        batch = next(self._calls)
        self._taken = len(batch)
        return batch

    def cease(self) -> None:
        self._commits.has_ceased = True
        if self._is_stream:
            self._is_heard = False
            self._commits.end()
        super().cease()

    def close(self) -> None:
        super().close()
        self._commits.end()


def _generator(results: Iterable[T]) -> Generator[T]:
    yield from results
