"""Hand out work no faster than its results become durable.

Of each worker at most two pieces are not on the disk at any moment: one whose result is about to be recorded, and the
one that it has begun meanwhile. So a kill costs no more than that, however slow the disk is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from tablevault_like.engines.base import Stop, Work

_LOOK_EVERY = 0.1
"""Seconds after which a worker that waits looks whether there is a stop."""


class Handing(Iterator[Work]):
    """Gives pieces of work, ``limit`` of which may be unsettled. The index of each is its place among ``pieces``."""

    def __init__(self, pieces: Sequence[object], *, limit: int, stop: Stop) -> None:
        self._next = 0
        self._count = len(pieces)
        self._limit = limit
        self._stop = stop
        self._unsettled = 0
        self._is_closed = False
        self._changed = threading.Condition()

    def __next__(self) -> Work:
        with self._changed:
            while self._unsettled >= self._limit and not self._is_over():
                self._changed.wait(_LOOK_EVERY)
            if self._is_over():
                raise StopIteration
            number = self._next
            self._next += 1
            self._unsettled += 1
        return Work(number, {})

    def settle(self, count: int = 1) -> None:
        """Say that the results of some pieces are recorded, or cost so little that they may be lost."""
        with self._changed:
            self._unsettled -= count
            self._changed.notify(count)

    def close(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _is_over(self) -> bool:
        return self._next == self._count or self._is_closed or self._stop.requested
