"""Every way in which the fault tests look for mistakes, small enough to be tried on one operation.

Each harness tries so many points, but no more than it takes to find something wrong. To be used in a worker that forks
for each point.
"""

from __future__ import annotations

import errno
import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tablevault_like.catalog import catalog
from tests.faults import disk_losses, tracing, volume_losses, volumes
from tests.faults.calls import Call
from tests.faults.injection import Act, Deed, Fail, Kill, Outcome
from tests.faults.trials import ID, Bench, End, Next
from tests.faults.volumes import Kind

_LIVE = "SELECT 1 FROM processes WHERE process_id = ? AND ended_at IS NULL"
_CLAIM = "UPDATE processes SET epoch = epoch + 1 WHERE process_id = ? AND ended_at IS NULL RETURNING 1"


class Harness(StrEnum):
    """What an operation is put to."""

    POWER_MODEL = "power loss, weak model"
    POWER_REAL = "power loss, ext4"
    KILL = "a kill"
    ERROR = "a sync that fails"
    RIVAL = "somebody who needs the locks of the dead"
    REPLACED = "a worker that was replaced, and goes on"
    RESTART = "a restart while the worker lives"


@dataclass(frozen=True)
class Trial:
    """A harness, and what it is tried on: no more than so many ``points``."""

    harness: Harness
    operation: str
    is_named: bool = True
    points: int = 100

    def __str__(self) -> str:
        return f"{self.harness} during {self.operation}{'' if self.is_named else ', unnamed'}"

    def run(self, library_dir: Path, folder: Path) -> tuple[int, bool]:
        """Return how many points were tried, and whether something was wrong at the last of them."""
        dice = random.Random(str(self))
        match self.harness:
            case Harness.POWER_REAL:
                return self._lose_power_on_volume(library_dir, folder, dice)
            case Harness.POWER_MODEL:
                bench = Bench(library_dir, folder / "vault", self.operation, self.is_named)
                tried, _, violations = disk_losses.lose_power(bench, folder, 512, 1, self.points, until_violated=True)
                return tried, bool(violations)
        bench = Bench(library_dir, folder / "vault", self.operation, self.is_named)
        _ = bench.before, bench.after
        tried = 0
        for is_wrong in _HARNESSES[self.harness](bench, dice, self.points):
            tried += 1
            if is_wrong or tried == self.points:
                return tried, is_wrong
        return tried, False

    def _lose_power_on_volume(self, library_dir: Path, folder: Path, dice: random.Random) -> tuple[int, bool]:
        volumes.seclude()
        with volume_losses.volume_bench(
            library_dir, folder, self.operation, Kind.ORDERED, is_named=self.is_named
        ) as bench:
            points = bench.points()
            # Right after something was told, it is most in danger.
            told, others = [each for each in points if each.is_told], [each for each in points if not each.is_told]
            some = [*told, *dice.sample(others, min(len(others), self.points))][: self.points]
            tried, violations = volume_losses.lose_power(bench, some, dice, until_violated=True)
        return tried, bool(violations)


def _kill(bench: Bench, dice: random.Random, points: int) -> Iterator[bool]:
    """Kill the worker; let somebody come; the vault must be sound, and what it was or is to be."""
    for outcome in _tried(bench, dice, points, Kill()):
        if outcome.struck:
            then = dice.choice([Next.SAME, Next.RESTART, Next.STOP])
            came, settled = bench.come(then), bench.settle()
            wanted = [End.DONE] if then is Next.SAME else [End.DONE, End.UNCHANGED]
            yield not (came.returned and settled.returned and _end(bench) in wanted)


def _fail_a_sync(bench: Bench, dice: random.Random, points: int) -> Iterator[bool]:
    """Let a sync fail, once, before the operation has committed: it must say so."""
    names = [(call.name, call.path.name) for call in bench.calls(Fail(errno.EIO))]
    committed = max(place for place, name in enumerate(names) if name[1] == "catalog.sqlite")
    synced = [place + 1 for place, name in enumerate(names[:committed]) if name[0] == "fsync"]
    for number in dice.sample(synced, min(len(synced), points)):
        bench.refresh()
        outcome = bench.attempt(number, Fail(errno.EIO))
        yield outcome.returned


def _come_as_rival(bench: Bench, dice: random.Random, points: int) -> Iterator[bool]:
    """Kill the worker of a named process, which keeps its locks: nobody else gets them."""
    for outcome in _tried(bench, dice, points, Kill()):
        if outcome.struck and _is_live(bench):
            yield bench.come(Next.RIVAL).returned


def _replace(bench: Bench, dice: random.Random, points: int) -> Iterator[bool]:
    """Let another worker claim the process while this one stands still: this one must not complete it."""
    replaced: list[bool] = []
    deed = Act(lambda: replaced.append(tracing.aside(lambda: _raise_epoch(bench)).value), kills=False)
    for outcome in _tried(bench, dice, points, deed):
        if replaced and replaced.pop():
            settled = bench.settle()
            yield outcome.returned or not settled.returned or _end(bench) not in (End.UNCHANGED, End.DONE)


def _restart(bench: Bench, dice: random.Random, points: int) -> Iterator[bool]:
    """Let somebody restart while the worker stands still, but lives: nobody takes its process from it."""
    asked: list[bool] = []
    deed = Act(lambda: asked.append(tracing.aside(lambda: _restart_at_once(bench)).value), kills=False)
    for outcome in _tried(bench, dice, points, deed):
        if asked and asked.pop():
            yield not outcome.returned


_HARNESSES: dict[Harness, Callable[[Bench, random.Random, int], Iterator[bool]]] = {
    Harness.KILL: _kill,
    Harness.ERROR: _fail_a_sync,
    Harness.RIVAL: _come_as_rival,
    Harness.REPLACED: _replace,
    Harness.RESTART: _restart,
}


def _tried(bench: Bench, dice: random.Random, points: int, deed: Deed) -> Iterator[Outcome]:
    """Try an operation with a deed at some of its calls: half of so many around its commits.

    Not each of them counts, so there are more.
    """
    calls = bench.calls(deed)
    numbers = dice.sample(range(1, len(calls) + 1), len(calls))
    at_commits = [number for number in numbers if _is_at_commit(calls, number)]
    for number in list(dict.fromkeys(at_commits[: points // 2] + numbers))[: 10 * points]:
        bench.refresh()
        yield bench.attempt(number, deed)


def _is_at_commit(calls: Sequence[Call], number: int) -> bool:
    """Tell whether a call comes right behind a commit of the catalog, or before one begins."""
    pair = {_is_of_catalog(call) for call in calls[number - 2 : number]}
    return len(pair) == 2


def _is_of_catalog(call: Call) -> bool:
    return call.path.name.startswith("catalog.sqlite")


def _end(bench: Bench) -> End | str:
    """Return what the vault is, in a fork: what is damaged may raise anything."""
    found = tracing.aside(bench.end)
    return found.value if found.returned else str(found.error)


def _is_live(bench: Bench) -> bool:
    return bool(tracing.aside(lambda: _change(bench, _LIVE)).value)


def _raise_epoch(bench: Bench) -> bool:
    """Claim the process, if it is live, as a worker does that dies at once. Tell whether that worked."""
    return _change(bench, _CLAIM)


def _change(bench: Bench, sql: str) -> bool:
    try:
        with closing(sqlite3.connect(bench.vault_dir / "metadata/catalog.sqlite", timeout=0.05)) as db, db:
            return db.execute(sql, [ID]).fetchone() is not None
    except sqlite3.OperationalError:
        return False  # the worker stands in the middle of a transaction


def _restart_at_once(bench: Bench) -> bool:
    """Restart, if the process is live and its worker isn't in a transaction. Tell whether that worked."""
    catalog.BUSY_SECONDS = 0.05
    if not _change(bench, _LIVE):
        return False
    with suppress(sqlite3.OperationalError):
        bench.settle_here()
        return True
    return False
