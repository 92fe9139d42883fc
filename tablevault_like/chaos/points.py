"""Where workers are killed: chosen from a seed, among all that a run goes through."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any


class Point(StrEnum):
    """A kind of moment."""

    MOMENT = "moment"
    """After some time, wherever the worker is."""
    CALL = "call"
    """When a function is about to be called, or a generator asked for a row."""
    RETURN = "return"
    """When it has returned, and before that is recorded."""
    COMMIT = "commit"
    """When rows were recorded."""
    FILE = "file"
    """When a file is about to be opened for writing, renamed or removed, by the library or by user code."""
    PUBLISHING = "publishing"
    """While the instance is published, and right after."""


STAGES = ("place", "placed", "publish", "uncommitted", "published", "finished")
"""The moments of publishing, in their order."""

_BY_ROWS = (Point.CALL, Point.RETURN, Point.COMMIT)
_WORDS = {
    Point.CALL: "before call {n}",
    Point.RETURN: "after call {n}, before its commit",
    Point.COMMIT: "after row {n} was recorded",
    Point.FILE: "at change {n} of a file",
}
_STAGE_WORDS = {
    "place": "when all rows were made",
    "placed": "when the instance was placed",
    "publish": "before it was published",
    "uncommitted": "inside the publishing transaction",
    "published": "right after it was published",
    "finished": "after the housekeeping",
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where one worker is to be killed: the ``nth`` time at a point, or after some seconds, or at a stage."""

    point: Point
    nth: int = 0
    seconds: float = 0.0
    stage: str = ""

    def request(self) -> dict[str, Any]:
        """Return what a worker has to know."""
        return {"point": self.point.value, "nth": self.nth, "stage": self.stage}

    def __str__(self) -> str:
        if self.point is Point.MOMENT:
            return f"after {self.seconds * 1000:,.0f} ms"
        if self.point is Point.PUBLISHING:
            return _STAGE_WORDS[self.stage]
        return _WORDS[self.point].format(n=self.nth)


@dataclass(frozen=True, slots=True)
class Extent:
    """What an undisturbed run goes through: how many of each, and how long it takes."""

    calls: int
    commits: int
    files: int
    seconds: float


class Targets:
    """Chooses where workers are killed. Every kind comes up before one comes again."""

    def __init__(self, extent: Extent, seed: int) -> None:
        self._extent = extent
        self._random = Random(seed)
        self._waiting: list[Point] = []

    def deaths(self, left: int) -> int:
        """Return how often the next run is killed, of so many kills that are left."""
        return min(left, self._random.choice((1, 1, 2, 3)))

    def next(self, share: float) -> Target:
        """Return where the next worker is killed. ``share`` is how much of the calls is still to come, from 0 to 1."""
        extent = self._extent
        point = self._kind(may_be_rows=share > 0 and extent.calls > 0)
        if point is Point.MOMENT:
            return Target(point, seconds=self._random.uniform(0, extent.seconds * max(share, 0.3)))
        if point is Point.PUBLISHING:
            return Target(point, stage=self._random.choice(STAGES))
        most = {Point.CALL: extent.calls, Point.RETURN: extent.calls, Point.COMMIT: extent.commits}
        count = extent.files if point is Point.FILE else max(1, int(most[point] * share))
        return Target(point, nth=self._random.randint(1, max(1, count)))

    def _kind(self, *, may_be_rows: bool) -> Point:
        if not self._waiting:
            self._waiting = list(Point)
            self._random.shuffle(self._waiting)
        for place, point in enumerate(self._waiting):
            if may_be_rows or point not in _BY_ROWS:
                return self._waiting.pop(place)
        self._waiting = []
        return Point.PUBLISHING
