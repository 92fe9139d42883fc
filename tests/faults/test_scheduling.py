"""Workers that do conflicting things at once, in drawn schedules: it is as if they had come one after the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import tally
from tests.faults.contention import Bench
from tests.faults.scheduling import Step
from tests.faults.tally import Row
from tests.workers import Workers

SCENES = (
    ("create", "create it too"),
    ("rename", "rename other"),
    ("rename named", "delete table", "describe"),
    ("delete table", "delete instance", "read"),
    ("copy", "delete instance", "list"),
    ("copy named", "copy named", "rename"),
    ("module", "other module", "delete module"),
    ("module named", "restart", "module"),
    ("builder", "delete builder", "builder"),
    ("write", "write", "rename other"),
    ("write named", "write named", "stop"),
    ("write named", "stop gently", "restart", "list"),
    ("copy named", "module as child", "stop"),
    ("pin", "delete instance", "read"),
)
LONG = (
    ("execute", "execute"),
    ("execute named", "pause", "delete table"),
    ("execute named", "stop", "read"),
    ("execute named", "execute named", "restart"),
)


def schedules(bench: Bench, seeds: range, kills: bool, within: int) -> tuple[int, list[str]]:
    """Try so many schedules; every other one with kills, if there are any."""
    violations = []
    for seed in seeds:
        count = seed % (len(bench.deeds) + 1) if kills else 0
        schedule, wrong = bench.run(seed, kills=count, within=within)
        if wrong:
            violations.append(f"{bench.deeds}, seed {seed}, {count} kills: {'; '.join(wrong)}\n{schedule}")
    return len(seeds), violations


@pytest.mark.fault(Row.SCHEDULE)
@pytest.mark.usefixtures("traced")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("deeds", [*SCENES, *LONG], ids=", ".join)
def test_workers_at_once_do_what_they_would_have_done_one_after_the_other(
    deeds: tuple[str, ...], library_dir: Path, scratch: Path, workers: Workers, is_full: bool
) -> None:
    bench = Bench(library_dir, scratch / "scene", deeds)
    is_long = deeds in LONG
    count = (40 if is_long else 132) if is_full else (1 if is_long else 2)
    worker = workers.start(schedules, bench, range(count), True, 2_500 if is_long else 400)
    tried, violations = worker.result(patience=1_700.0)
    tally.hold(Row.SCHEDULE, tried, violations)


def twice(bench: Bench, seed: int) -> list[tuple[Step, ...]]:
    return [bench.run(seed, kills=1, within=300)[0].steps for _ in range(2)]


@pytest.mark.usefixtures("traced")
def test_a_seed_is_one_schedule(library_dir: Path, scratch: Path, workers: Workers) -> None:
    bench = Bench(library_dir, scratch / "scene", ("write named", "module", "rename other"))
    once, again = workers.start(twice, bench, 3).result()

    assert len({step.who for step in once}) == 3
    assert once == again
