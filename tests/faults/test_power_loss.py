"""Power is lost on real file systems: at every system call of any operation, and right after something was told.

What the kernel had not written by then is gone, and the file system puts itself right from its journal. The model
(``test_power_model``) loses more; this shows what its own idea of a file system may have missed.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tablevault_like.storage import files
from tests.faults import tally, volumes
from tests.faults.tally import Row
from tests.faults.trials import Violation
from tests.faults.volume_losses import lose_power, volume_bench
from tests.faults.volumes import Cut, Kind, Volume
from tests.library import ATTEMPTS
from tests.workers import Workers

KINDS = list(Kind)
OPERATIONS = [attempt.operation for attempt in ATTEMPTS]
SAMPLE = 5
"""How many points of each operation are tried by default."""


def try_operation(library_dir: Path, folder: Path, operation: str, is_full: bool) -> tuple[int, list[Violation]]:
    """Lose power at some points on one file system, or at all points, each on one of the file systems in turn."""
    volumes.seclude()
    tried, violations = 0, list[Violation]()
    place = OPERATIONS.index(operation)
    for turn in range(len(KINDS)) if is_full else [0]:
        kind = KINDS[(place + turn) % len(KINDS)]
        dice = random.Random(f"{operation} {turn}")
        with volume_bench(library_dir, folder / kind.name, operation, kind, is_named=turn % 2 == 0) as bench:
            points = bench.points()
            # What was told last is most in danger.
            some = points[turn :: len(KINDS)] if is_full else [*dice.sample(points[:-1], SAMPLE - 1), points[-1]]
            added, found = lose_power(bench, some, dice)
        tried += added
        violations += found
    return tried, violations


@pytest.mark.fault(Row.POWER_REAL)
@pytest.mark.timeout(3_600)
@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation(operation: str, library_dir: Path, scratch: Path, workers: Workers, is_full: bool) -> None:
    for kind in KINDS if is_full else [KINDS[OPERATIONS.index(operation) % len(KINDS)]]:
        if reason := volumes.missing(kind):
            tally.skip(Row.POWER_REAL, reason)

    worker = workers.start(try_operation, library_dir, scratch, operation, is_full)
    tried, violations = worker.result(patience=3_500.0)

    tally.hold(Row.POWER_REAL, tried, violations)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_what_is_not_synced_is_lost(kind: Kind, scratch: Path, workers: Workers) -> None:
    if reason := volumes.missing(kind):
        pytest.skip(reason)

    left = workers.start(lose_a_file, kind, scratch).result()

    assert left[Cut.WITHOUT_JOURNAL] == {"first": "1", "synced": "2"}
    assert left[Cut.WITH_JOURNAL].items() >= {"first": "1", "synced": "2"}.items()
    assert not Path(scratch, "mounted").is_mount()


def lose_a_file(kind: Kind, folder: Path) -> dict[Cut, dict[str, str]]:
    """Return what is left of two new files, of which one was synced."""
    volumes.seclude()
    volume = Volume(kind, folder)
    volume.fill(lambda root: (root / "first").write_text("1"))
    left = {}
    for cut in Cut:
        volume.refresh()
        files.write_file(volume.root / "synced", "2")
        files.sync_directory(volume.root)
        (volume.root / "unsynced").write_text("3")
        volume.lose_power(cut)
        volume.return_power()
        left[cut] = {path.name: path.read_text() for path in volume.root.iterdir() if path.is_file()}
    volume.unmount()
    return left
