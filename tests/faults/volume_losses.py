"""Lose power on a volume (``tests.faults.volumes``) during an operation, and tell what is wrong afterwards.

A *point* is a call that the operation makes, before which power is lost, or something that it has told, right after
which it is lost.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults import injection, telling, tracing
from tests.faults.injection import Act
from tests.faults.trials import Bench, Next, Violation
from tests.faults.volumes import Cut, Kind, Volume

_CUTS = (Cut.WITHOUT_JOURNAL, Cut.WITHOUT_JOURNAL, Cut.WITH_JOURNAL)


@dataclass(frozen=True)
class Point:
    """The ``number``-th call, or the ``number``-th time that something is told, from 1."""

    number: int
    is_told: bool

    def __str__(self) -> str:
        return f"after telling {self.number}" if self.is_told else f"at call {self.number}"


@dataclass(frozen=True)
class VolumeBench(Bench):
    """A bench on a volume."""

    volume: Volume

    def refresh(self) -> None:
        self.volume.refresh()

    def points(self) -> list[Point]:
        """Return all points of the operation: a few more or less each time, where it has several threads."""
        self.refresh()
        outcome = injection.run(lambda: _Attempt(self).make(), self.volume.root)
        assert outcome.returned, outcome.ending.error
        found = [Point(number, is_told=False) for number in range(1, len(outcome.calls) + 1)]
        return found + [Point(number, is_told=True) for number in range(1, outcome.ending.value + 1)]

    def lose_power(self, point: Point, cut: Cut) -> list[str] | None:
        """Let power be lost at a point, and come back. Return what was told by then; None if it didn't come to that."""
        self.refresh()
        attempt = _Attempt(self)
        if point.is_told:
            is_lost = not tracing.aside(lambda: attempt.make(until=point.number, cut=cut)).returned
        else:
            deed = Act(lambda: self.volume.lose_power(cut))
            is_lost = injection.run(attempt.make, self.volume.root, at=point.number, deed=deed).struck
        if not is_lost:
            return None
        self.volume.return_power()
        return attempt.told()


class _Attempt:
    """An attempt that notes what it tells on a disk that doesn't lose power."""

    def __init__(self, bench: VolumeBench) -> None:
        self._bench = bench
        self._notes = bench.volume.folder / "told"
        self._notes.write_text("", encoding="utf-8")
        self._times = 0

    def make(self, *, until: int | None = None, cut: Cut = Cut.WITHOUT_JOURNAL) -> int:
        """Make it, and return how often something was told. Lose power when that was ``until`` times."""

        def tell(told: Sequence[str]) -> None:
            with self._notes.open("a", encoding="utf-8") as file:
                file.writelines(f"{each}\n" for each in told)
            self._times += 1
            if self._times == until:
                self._bench.volume.lose_power(cut)
                os.kill(os.getpid(), signal.SIGKILL)

        telling.attempt(self._bench, tell)
        return self._times

    def told(self) -> list[str]:
        return self._notes.read_text(encoding="utf-8").splitlines()


@contextmanager
def volume_bench(
    library_dir: Path, folder: Path, operation: str, kind: Kind, *, is_named: bool
) -> Iterator[VolumeBench]:
    """Make a bench on a new volume in ``folder``. To be used where ``volumes.seclude`` was called."""
    volume = Volume(kind, folder)
    bench = VolumeBench(library_dir, volume.root / "vault", operation, is_named, volume)
    volume.fill(lambda _: bench.prepare())
    try:
        _ = bench.known, bench.before, bench.after
        yield bench
    finally:
        volume.unmount()


def lose_power(
    bench: VolumeBench, points: Iterable[Point], dice: random.Random, *, until_violated: bool = False
) -> tuple[int, list[Violation]]:
    """Lose power at some points. Return at how many, and the violations: only the first, with ``until_violated``."""
    tried, violations = 0, list[Violation]()
    for point in points:
        # What was told is most in danger when nothing more is written.
        cut = Cut.WITHOUT_JOURNAL if point.is_told else dice.choice(_CUTS)
        then = dice.choice([Next.SAME, Next.RESTART]) if bench.is_named else Next.RESTART
        told = bench.lose_power(point, cut)
        if told is None:
            continue
        tried += 1
        looked = tracing.aside(lambda told=told, then=then: telling.judge(bench, told, then))  # type: ignore[misc]
        said = looked.value if looked.returned else f"{looked.code}: {looked.error}"
        if not telling.is_end(said):
            name = f"{bench.operation} ({'named' if bench.is_named else 'unnamed'}), {bench.volume.kind}, {cut.name}"
            violations.append(Violation(f"{name}, {point}, {then}", point.number, said))
            if until_violated:
                break
    return tried, violations
