"""Hold calls to a rate, over all workers that share one ``Pace``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tablevault_like.engines.base import Interrupted, Stop
from tablevault_like.limits import Rate


class Pace:
    """Lets calls begin one interval after the other. ``clock`` gives seconds that never go back."""

    def __init__(self, rate: Rate, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = rate.interval
        self._clock = clock
        self._next = 0.0
        self._turn = threading.Lock()

    def keep(self, stop: Stop) -> None:
        """Wait until the next call may begin. Raises Interrupted if it is to stop before: then nothing has begun."""
        with self._turn:
            now = self._clock()
            begin = max(now, self._next)
            self._next = begin + self._interval
        if begin > now and not sleep(begin - now, stop):
            raise Interrupted


def sleep(seconds: float, stop: Stop) -> bool:
    """Sleep, but no longer than until a stop is requested. Tell whether it was the whole time."""
    if stop.requested:
        return False
    is_requested = threading.Event()
    unsubscribe = stop.subscribe(is_requested.set)
    try:
        return not is_requested.wait(min(seconds, threading.TIMEOUT_MAX))
    finally:
        unsubscribe()
