"""Lose power during an operation on a disk that keeps only what it must, and tell what is wrong afterwards.

The disk is that of ``tests.faults.persistence``. The operation is recorded once; each loss leaves a disk of its own.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests import library
from tests.faults import recording, telling, tracing
from tests.faults.persistence import Disk, Key
from tests.faults.recording import Change, Mark
from tests.faults.trials import Bench, Next, Violation

_TOGETHER = 25
"""How many disks one fork looks at."""


@dataclass(frozen=True)
class Loss:
    """A disk after power was lost: after so many events, with what is left of them, and what had been told by then."""

    end: int
    left: tuple[int, ...]
    told: frozenset[str]


@dataclass(frozen=True)
class Recorded:
    """What an operation did to a disk, and after how many events it told what."""

    disk: Disk
    marks: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, bench: Bench, folder: Path, *, torn: int) -> Recorded:
        """Record an attempt on a fresh copy."""
        bench.refresh()
        base, marks = Path(shutil.copytree(bench.vault_dir, folder / "base")), folder / "marks"
        ending, changes = recording.record(lambda: _attempt(bench, marks), bench.vault_dir, marks)
        assert ending.returned, ending.error
        return cls._made(Disk(base, bench.vault_dir, torn), changes)

    @classmethod
    def of_recovery(cls, bench: Bench, folder: Path, then: Next, kill_at: int, *, torn: int) -> Recorded:
        """Record an attempt that is killed, and somebody who comes then. What the dead hadn't synced may be lost."""
        bench.refresh()
        base, marks = Path(shutil.copytree(bench.vault_dir, folder / "base")), folder / "marks"
        _, first = recording.record(lambda: _attempt(bench, marks), bench.vault_dir, marks, kill_at=kill_at)
        ending, second = recording.record(lambda: _come(bench, then, marks), bench.vault_dir, marks)
        assert ending.returned or then is Next.RIVAL, ending.error
        if then in (Next.STOP, Next.RIVAL):
            # What was recorded is thrown away, so it may be computed again.
            first = [change for change in first if change == Mark(telling.RETURNED) or not isinstance(change, Mark)]
        return cls._made(Disk(base, bench.vault_dir, torn), [*first, *second])

    @classmethod
    def _made(cls, disk: Disk, changes: Sequence[Change]) -> Recorded:
        told = list[tuple[int, str]]()
        for change in changes:
            if isinstance(change, Mark):
                told.append((len(disk), change.text))
            else:
                disk.happen(change)
        return cls(disk, tuple(told))

    def losses(self, dice: random.Random, limit: int) -> Iterator[Loss]:
        """Return so many losses that leave different disks, if there are as many."""
        seen = set[tuple[Key, frozenset[str]]]()
        moments, is_first_round, before = self._moments(dice), True, -1
        while len(seen) > before:
            before = len(seen)
            for end in moments:
                told = frozenset(text for count, text in self.marks if count <= end)
                found = list(self.disk.losses(end, dice, samples=5))
                for left in [*found[:1], *dice.sample(found, min(len(found), 3 if is_first_round else 12))]:
                    key = self.disk.key(left), told
                    if key not in seen:
                        seen.add(key)
                        yield Loss(end, left, told)
                        if len(seen) == limit:
                            return
            is_first_round = False

    def _moments(self, dice: random.Random) -> list[int]:
        """Return after how many events power may be lost, in an order in which what is most in danger comes early.

        That is what was told when nothing more happened, and what wasn't synced right before it would have been.
        """
        last = len(self.disk)
        told, synced = [count for count, _ in self.marks] or [last], self.disk.syncs() or [last]
        found = [last]
        for each in dice.sample(range(last + 1), last + 1):
            found += [dice.choice(told), dice.choice(synced), each]
        return list(dict.fromkeys(found))


def lose_power(
    bench: Bench, folder: Path, torn: int, seed: int, limit: int, *, until_violated: bool = False
) -> tuple[int, Counter[str], list[Violation]]:
    """Try losses of an operation. Returns how many, how they ended, and the violations.

    ``until_violated``: no more than it takes to find a violation.
    """
    dice = random.Random(seed)
    recorded = Recorded.of(bench, folder, torn=torn)
    _ = bench.known, bench.before, bench.after
    return _tried(bench, recorded, folder, dice, limit, until_violated=until_violated)


def lose_power_in_recovery(
    bench: Bench, folder: Path, torn: int, seed: int, limit: int, *, kills: int
) -> tuple[int, Counter[str], list[Violation]]:
    """Kill an operation at some of its calls, and try losses of what somebody does then who comes: ``limit`` in all."""
    dice = random.Random(seed)
    _ = bench.known, bench.before, bench.after
    bench.refresh()
    calls = len(bench.attempt().calls)
    tried, ends, violations = 0, Counter[str](), list[Violation]()
    for kill_at in dice.sample(range(1, calls + 1), min(kills, calls)):
        place = folder / f"killed{kill_at}"
        place.mkdir()
        then = _next(bench, dice)
        recorded = Recorded.of_recovery(bench, place, then, kill_at, torn=torn)
        added, more, found = _tried(bench, recorded, folder, dice, limit // kills)
        tried += added
        ends += more
        violations += [replace(each, trial=f"{each.trial}, after {then} at {kill_at}") for each in found]
        shutil.rmtree(place)
    return tried, ends, violations


def _tried(
    bench: Bench, recorded: Recorded, folder: Path, dice: random.Random, limit: int, *, until_violated: bool = False
) -> tuple[int, Counter[str], list[Violation]]:
    losses = list(recorded.losses(dice, limit))
    ends, violations = Counter[str](), list[Violation]()
    for first in range(0, len(losses), _TOGETHER):
        some = losses[first : first + _TOGETHER]
        nexts = [_next(bench, dice) for _ in some]
        looked = tracing.aside(lambda some=some, nexts=nexts: _look(bench, recorded.disk, folder, some, nexts))  # type: ignore[misc]
        assert looked.returned, looked.error
        for loss, then, said in zip(some, nexts, looked.value, strict=True):
            ends[said if telling.is_end(said) else "a violation"] += 1
            if not telling.is_end(said):
                name = f"{bench.operation} ({'named' if bench.is_named else 'unnamed'}), {then}, {recorded.disk.torn} B"
                violations.append(Violation(name, loss.end, f"{said} (left: {loss.left})"))
                if until_violated:
                    return ends.total(), ends, violations
    return ends.total(), ends, violations


def _attempt(bench: Bench, marks: Path) -> None:
    """Make the attempt, and mark what was told."""
    descriptor = os.open(marks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    telling.attempt(bench, lambda told: os.write(descriptor, "".join(f"{each}\n" for each in told).encode()))


def _come(bench: Bench, then: Next, marks: Path) -> None:
    """Let somebody come, and mark what is told to whoever that is."""
    if then is Next.SAME:
        _attempt(bench, marks)
        return
    bench.come_here(then)
    if then is Next.STOP:
        with marks.open("a", buffering=1) as file:
            file.write(f"{telling.STOPPED}\n")


def _next(bench: Bench, dice: random.Random) -> Next:
    if bench.is_named:
        return dice.choice([Next.SAME, Next.RESTART, Next.STOP])
    # Another operation would leave a vault that is neither as it was nor as this one leaves it.
    is_rival_the_same = library.BY_NAME[bench.operation].rival is None
    return dice.choice([Next.RESTART, Next.RIVAL] if is_rival_the_same else [Next.RESTART])


def _look(bench: Bench, disk: Disk, folder: Path, losses: Sequence[Loss], nexts: Sequence[Next]) -> list[str]:
    """Return what each vault is after the loss, when somebody has come."""
    said = []
    for number, (loss, then) in enumerate(zip(losses, nexts, strict=True)):
        found = bench.elsewhere(folder / f"disk{number}")
        disk.write(loss.left, found.vault_dir)
        said.append(telling.judge(found, loss.told, then))
        shutil.rmtree(found.vault_dir)
    return said
