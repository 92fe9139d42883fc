"""Clocks that jump, by seconds or by years, forward or back, at any moment: no decision rests on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import tally
from tests.faults.contention import Bench
from tests.faults.tally import Row
from tests.workers import Workers

SCENES = (
    ("write named", "write named"),
    ("write named", "restart", "rename other"),
    ("copy named", "stop", "delete instance"),
    ("module named", "module", "delete module"),
    ("delete table", "copy", "read"),
    ("execute named", "read", "pause"),
)


def jump(bench: Bench, seeds: range) -> tuple[int, list[str]]:
    violations = []
    for seed in seeds:
        schedule, wrong = bench.run(seed, kills=seed % 3, jumps=1 + seed % 4, within=300)
        if wrong:
            violations.append(f"{bench.deeds}, seed {seed}: {'; '.join(wrong)}\n{schedule}")
    return len(seeds), violations


@pytest.mark.fault(Row.CLOCK)
@pytest.mark.usefixtures("traced")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("deeds", SCENES, ids=", ".join)
def test_that_jump_change_nothing(
    deeds: tuple[str, ...], library_dir: Path, scratch: Path, workers: Workers, is_full: bool
) -> None:
    bench = Bench(library_dir, scratch / "scene", deeds)
    count = 90 if is_full else 1
    tried, violations = workers.start(jump, bench, range(1, count + 1)).result(patience=1_700.0)
    tally.hold(Row.CLOCK, tried, violations)
