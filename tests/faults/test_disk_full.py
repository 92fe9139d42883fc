"""A disk that is full, to the last page or the last file: operations fail cleanly, and recovery needs no room.

In each trial so much is left and no more; the operation is tried, or killed at one of its calls; then somebody else
takes what is left, and whoever comes next has nothing. Only then room is made.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault, compress_vault, map_rows
from tests import states
from tests.faults import mounts, tally, tracing
from tests.faults.injection import Act
from tests.faults.mounts import SmallDisk
from tests.faults.tally import Row
from tests.faults.tracing import Ending
from tests.faults.trials import Bench, End, Next, Violation
from tests.library import ATTEMPTS
from tests.workers import Workers

_PAGES, _FILES = 16_384, 2_000
_SAMPLES = 2
_ENOUGH = 3
"""At so many levels in a row an operation has to succeed, before more room is held to make no difference."""

_FULL = ("is full", "No space left on device", "there is room for")
_WAYS_ON = ("again", "resume", "stop_process()", "the same call goes on")


class Kind(StrEnum):
    """What there is too little of."""

    PAGES = "pages"
    FILES = "files"


@dataclass(frozen=True)
class Level:
    """How full the disk is."""

    kind: Kind
    left: int
    has_reserve: bool
    """Whether the vault has its reserve: one that was copied, or lost it to somebody before, hasn't."""

    def __str__(self) -> str:
        return f"{self.left} {self.kind} left{'' if self.has_reserve else ', no reserve'}"


@dataclass(frozen=True)
class Trial:
    """An operation on a small disk, and who comes next."""

    bench: Bench
    disk: SmallDisk
    level: Level
    then: Next

    def run(self, *, killed_at: int | None = None) -> tuple[bool, str | None]:
        """Return whether the operation succeeded (or wasn't killed), and what is wrong."""
        self.disk.make_room()
        self.bench.refresh()
        if not self.level.has_reserve:
            (self.bench.vault_dir / "metadata/reserve").unlink(missing_ok=True)
        (self.disk.leave if self.level.kind is Kind.PAGES else self.disk.leave_files)(self.level.left)
        if killed_at is None:
            ending = tracing.aside(self.bench.attempt_here)
        else:
            outcome = self.bench.attempt(killed_at, Act(self.disk.fill))
            ending = outcome.ending
            if not outcome.struck:
                return True, None
        self.disk.fill()
        return ending.returned, next(self._wrong(ending, is_killed=killed_at is not None), None)

    def _wrong(self, ending: Ending, *, is_killed: bool) -> Iterator[str]:
        if not ending.returned and not is_killed and not _is_clean(ending):
            yield f"the operation raised: {ending.error}"
        came = self.bench.come(self.then)
        if not came.returned and (self.then is not Next.SAME or not _is_clean(came)):
            yield f"{self.then}, while the disk was full, raised: {came.error}"
        if self.then is Next.STOP:
            yield from self._wrong_rows()
        self.disk.make_room()
        if self.then is Next.SAME and not (again := self.bench.come(Next.SAME)).returned:
            yield f"{self.then}, when there was room, raised: {again.error}"
        if not (settled := self.bench.settle()).returned:
            yield f"restart raised: {settled.error}"
        end = self.bench.end()
        must_be_done = ending.returned or self.then is Next.SAME
        if end is not End.DONE and (must_be_done or end is not End.UNCHANGED):
            yield f"it {'succeeded' if ending.returned else 'failed'}, then {self.then}: {end}"

    def _wrong_rows(self) -> Iterator[str]:
        """Hold the catalog to what is true when nothing is under way, while housekeeping can't be done yet."""
        rows = states.state(self.bench.vault_dir)["rows"]
        for kind in ("live processes", "locks", "waiters"):
            if rows[kind]:
                yield f"{kind}, while the disk was full: {rows[kind]}"


def _is_clean(ending: Ending) -> bool:
    """Tell whether a fork told in words that the disk is full, and what to do.

    What user code raised stays as it is.
    """
    assert ending.error is not None
    said = ending.error.rpartition("Error: ")[2]
    if not any(word in said for word in _FULL):
        return False
    if "OSError" in ending.raised and ending.is_of_user_code:
        return True
    return "TableVaultError" in ending.raised and any(word in said for word in _WAYS_ON)


def small_disk(library_dir: Path, folder: Path, operation: str, *, is_named: bool) -> tuple[Bench, SmallDisk]:
    """Return an operation on a small disk, which only this worker and its forks see."""
    mounts.set_apart()
    disk = SmallDisk.mounted(folder, pages=_PAGES, files=_FILES)
    bench = Bench(library_dir, disk.folder / "vault", operation, is_named=is_named)
    _ = bench.before, bench.after
    return bench, disk


def nexts(bench: Bench) -> tuple[Next, ...]:
    return (Next.SAME, Next.STOP) if bench.is_named else (Next.RESTART, Next.STOP)


def try_levels(
    library_dir: Path, folder: Path, operation: str, is_named: bool, seed: int, is_full: bool
) -> tuple[int, list[Violation]]:
    """Try an operation at every level until there is enough, or at one."""
    bench, disk = small_disk(library_dir, folder, operation, is_named=is_named)
    dice = random.Random(f"{operation} {is_named} {seed}")
    tried, violations = 0, list[Violation]()

    def tries(level: Level, then: Next) -> bool:
        nonlocal tried
        tried += 1
        succeeded, wrong = Trial(bench, disk, level, then).run()
        if wrong is not None:
            violations.append(Violation(f"{bench.operation}, {level}, {then}", level.left, wrong))
        return succeeded

    if not is_full:
        for _ in range(_SAMPLES):
            tries(Level(dice.choice([*Kind]), dice.randrange(12), dice.random() < 0.7), dice.choice(nexts(bench)))
        return tried, violations
    for kind in Kind:
        for then in nexts(bench):
            for has_reserve in (True, False):
                enough, left = 0, 0
                while enough < _ENOUGH:
                    enough = enough + 1 if tries(Level(kind, left, has_reserve), then) else 0
                    left += 1
    return tried, violations


def kill_and_fill(
    library_dir: Path, folder: Path, operation: str, is_named: bool, seed: int, limit: int
) -> tuple[int, list[Violation]]:
    """Kill an operation at some of its calls while somebody else fills the disk."""
    bench, disk = small_disk(library_dir, folder, operation, is_named=is_named)
    dice = random.Random(f"{operation} {is_named} {seed}")
    bench.refresh()
    count = len(bench.attempt().calls)
    violations = list[Violation]()
    numbers = dice.sample(range(1, count + 1), min(count, limit))
    for number in numbers:
        level, then = Level(Kind.PAGES, 500, has_reserve=True), dice.choice(nexts(bench))
        _, wrong = Trial(bench, disk, level, then).run(killed_at=number)
        if wrong is not None:
            violations.append(Violation(f"{bench.operation}, killed, {then}", number, wrong))
    return len(numbers), violations


@pytest.fixture
def mounted() -> None:
    reason = mounts.missing()
    if reason is not None:
        tally.skip(Row.DISK_FULL, reason)


def hold(task: Callable[..., object], workers: Workers, *arguments: object) -> None:
    tried, violations = workers.start(task, *arguments).result(patience=7_000.0)
    tally.hold(Row.DISK_FULL, tried, violations)


EACH = pytest.mark.parametrize("number", range(len(ATTEMPTS)), ids=[attempt.operation for attempt in ATTEMPTS])


def kinds(number: int, *, is_full: bool) -> tuple[bool, ...]:
    """Return whether an operation is tried with a process id: with one and without, or the one or the other."""
    return (True, False) if is_full else (number % 2 == 0,)


@EACH
@pytest.mark.fault(Row.DISK_FULL)
@pytest.mark.timeout(7_200)
@pytest.mark.usefixtures("mounted")
def test_at_every_level(number: int, library_dir: Path, tmp_path: Path, workers: Workers, is_full: bool) -> None:
    for is_named in kinds(number, is_full=is_full):
        operation = ATTEMPTS[number].operation
        hold(try_levels, workers, library_dir, tmp_path / "disk", operation, is_named, 1, is_full)


@EACH
@pytest.mark.fault(Row.DISK_FULL)
@pytest.mark.timeout(7_200)
@pytest.mark.usefixtures("mounted", "traced")
def test_killed_while_somebody_fills_the_disk(
    number: int, library_dir: Path, tmp_path: Path, workers: Workers, is_full: bool
) -> None:
    for is_named in kinds(number + 1, is_full=is_full):
        operation = ATTEMPTS[number].operation
        hold(kill_and_fill, workers, library_dir, tmp_path / "disk", operation, is_named, 1, 60 if is_full else 1)


def map_at_levels(folder: Path, calls: Path, levels: Sequence[int]) -> list[str]:
    """Map the rows of a frame with a cache on a disk with so many free pages, and return what is wrong."""
    mounts.set_apart()
    disk = SmallDisk.mounted(folder, pages=500, files=100)
    frame = pd.DataFrame({"id": range(40)})

    def long_answer(row: Mapping[str, object]) -> dict[str, str]:
        with calls.open("a") as stream:
            stream.write(f"{row['id']}\n")
        return {"answer": f"{row['id']} " * 500}

    def answers(cache: Path) -> int:
        return len(map_rows(frame, long_answer, cache, n_threads=2, progress=False)["answer"].dropna())

    wrong = list[str]()
    for level in levels:
        calls.unlink(missing_ok=True)
        disk.leave(level)
        first = tracing.aside(lambda cache=folder / f"{level}.sqlite": answers(cache))  # type: ignore[misc]
        disk.make_room()
        again = tracing.aside(lambda cache=folder / f"{level}.sqlite": answers(cache))  # type: ignore[misc]
        if not first.returned and not _is_clean(first):
            wrong.append(f"{level} pages left: {first.error}")
        if again.value_or_raise() != len(frame):
            wrong.append(f"{level} pages left: {again.value} answers when there was room")
        if first.returned and len(calls.read_text().split()) != len(frame):
            wrong.append(f"{level} pages left: calls were made twice")
        for path in folder.glob("*.sqlite*"):
            path.unlink()
    return wrong


@pytest.mark.fault(Row.DISK_FULL)
@pytest.mark.usefixtures("mounted")
def test_a_cache_goes_on_when_there_is_room(tmp_path: Path, workers: Workers, is_full: bool) -> None:
    levels = range(60) if is_full else (0, 9, 17, 59)
    wrong = workers.start(map_at_levels, tmp_path / "disk", tmp_path / "noted", levels).result(patience=600.0)
    tally.add(Row.DISK_FULL, len(levels), wrong)
    assert wrong == []


def pack_at_levels(library_dir: Path, folder: Path, levels: Sequence[int]) -> list[str]:
    """Make an archive and a bundle on a disk with so many free pages, and return what is wrong."""
    bench, disk = small_disk(library_dir, folder, "create_table", is_named=True)
    bench.refresh()
    there = {path.name for path in folder.iterdir()}
    before = states.state(bench.vault_dir)

    def archive() -> None:
        compress_vault(bench.vault_dir, folder / "vault.tar.xz")

    def bundle() -> None:
        TableVault(bench.vault_dir).export_instance("words", path=folder / "words.bundle.tar.xz")

    wrong = list[str]()
    for level in levels:
        for pack in (archive, bundle):
            disk.make_room()
            disk.leave(level)
            ending = tracing.aside(pack)
            made = sorted({path.name for path in folder.iterdir()} - there)
            if not ending.returned and (made or not _is_clean(ending)):
                wrong.append(f"{level} pages left: {made} {ending.error}")
            for name in made:
                (folder / name).unlink()
    return wrong + states.differences(states.state(bench.vault_dir), before)


@pytest.mark.fault(Row.DISK_FULL)
@pytest.mark.usefixtures("mounted")
def test_an_archive_that_finds_no_room_leaves_nothing(
    library_dir: Path, tmp_path: Path, workers: Workers, is_full: bool
) -> None:
    levels = range(60) if is_full else (0, 1, 7, 20, 39)
    wrong = workers.start(pack_at_levels, library_dir, tmp_path / "disk", levels).result(patience=600.0)
    tally.add(Row.DISK_FULL, 2 * len(levels), wrong)
    assert wrong == []


def in_a_private_mount(folder: Path) -> list[str]:
    mounts.set_apart()
    SmallDisk.mounted(folder, pages=16, files=16)
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.usefixtures("mounted")
def test_nobody_else_sees_the_disk_and_nothing_of_it_stays(tmp_path: Path, workers: Workers) -> None:
    assert workers.start(in_a_private_mount, tmp_path / "disk").result() == ["ballast", "ballasts"]
    assert list((tmp_path / "disk").iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
