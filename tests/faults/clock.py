"""A clock that several workers share, and that whoever schedules them sets: nothing of theirs rests on the real one."""

from __future__ import annotations

import ctypes
import math
import mmap
import struct
import time
from typing import SupportsIndex

_BEGAN = 1_900_000_000.0
"""The time of day at which every schedule begins, so that ids that tell of it are the same."""


class Clock:
    """The time that all workers of a schedule see: what has gone by since it began, and the wall clock, which jumps."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 16)
        self._began = _BEGAN

    @property
    def now(self) -> float:
        """Return how many seconds have gone by."""
        return float(struct.unpack_from("d", self._shared, 0)[0])

    @now.setter
    def now(self, seconds: float) -> None:
        struct.pack_into("d", self._shared, 0, seconds)

    @property
    def wall(self) -> float:
        """Return the time of day, in seconds since the epoch (POSIX)."""
        return self._began + self.now + float(struct.unpack_from("d", self._shared, 8)[0])

    def jump(self, seconds: float) -> None:
        """Set the wall clock."""
        already = struct.unpack_from("d", self._shared, 8)[0]
        struct.pack_into("d", self._shared, 8, already + seconds)

    def rule(self) -> None:
        """Be the clock of this interpreter from now on."""
        library = ctypes.CDLL(None)

        def sleep(seconds: float | SupportsIndex) -> None:
            seconds = float(seconds)
            whole = math.floor(seconds)
            library.nanosleep(struct.pack("ll", whole, int((seconds - whole) * 1e9)), None)

        time.monotonic = time.perf_counter = lambda: 1_000.0 + self.now
        time.time = lambda: self.wall
        time.time_ns = lambda: int(self.wall * 1e9)
        time.sleep = sleep

    def close(self) -> None:
        self._shared.close()
