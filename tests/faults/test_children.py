"""Children of user code, forked, spawned or in the background, that die or outlive the worker that they come from."""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path

import pytest

from tests.faults import families, tally
from tests.faults.families import Death, Family, Kind, Next
from tests.faults.tally import Row
from tests.workers import Workers

SLOW = (Kind.SPAWN, Kind.FORKSERVER, Kind.BACKGROUND)
"""What starts an interpreter."""


def live(folder: Path, kind: Kind, wanted: int) -> tuple[int, list[str]]:
    """Try so many cases: each once, and then again in another order."""
    families.make(folder / "made")
    dice, cases = random.Random(str(kind)), list(product(Death, Next))
    chosen = [case for _ in range(-(-wanted // len(cases))) for case in dice.sample(cases, len(cases))][:wanted]
    violations = []
    for death, then in chosen:
        family = Family(folder / "made", folder / "family", kind, death, then)
        if (wrong := family.wrong()) is not None:
            violations.append(f"{family}: {wrong}")
    return len(chosen), violations


@pytest.mark.fault(Row.CHILDREN)
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_hold_up_nobody_and_write_nothing(kind: Kind, scratch: Path, workers: Workers, is_full: bool) -> None:
    wanted = (20 if kind in SLOW else 90) if is_full else (1 if kind in SLOW else 2)
    tried, violations = workers.start(live, scratch, kind, wanted).result(patience=800.0)
    tally.hold(Row.CHILDREN, tried, violations)
