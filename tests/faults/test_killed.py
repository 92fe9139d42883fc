"""SIGKILL at every system call that changes a file: whoever comes next puts the vault right (see ``verdicts``)."""

from __future__ import annotations

import random

import pytest

from tests.faults import tally, verdicts
from tests.faults.injection import Kill
from tests.faults.tally import Row
from tests.faults.trials import Bench, Violation
from tests.workers import Workers

SAMPLES = 4
"""At how many calls each operation is killed in a run that isn't full."""


def kill(bench: Bench, seed: int, limit: int | None) -> tuple[int, list[Violation]]:
    """Kill an operation at some of its calls, or at all. Returns how many points were tried, and the violations.

    In full every call is tried with all who may come next; of an operation that makes thousands of calls, each with
    one of them in turn.
    """
    dice = random.Random(seed)
    _ = bench.before, bench.after
    calls = bench.count_calls()
    numbers = sorted(dice.sample(range(1, calls + 1), min(calls, limit or calls)))
    tried, violations = 0, list[Violation]()
    for place, number in enumerate(numbers):
        nexts = bench.nexts
        if limit is not None:
            nexts = (dice.choice(nexts),)
        elif calls > 1_000:
            nexts = (nexts[place % len(nexts)],)
        for then in nexts:
            bench.refresh()
            outcome = bench.attempt(number, Kill())
            if not outcome.struck:
                continue  # threads make not quite as many calls each time
            tried += 1
            if (said := verdicts.judge(bench, verdicts.catch(bench), then)) is not None:
                violations.append(Violation(f"{bench}, killed at {outcome.calls[-1]}", number, said))
    return tried, violations


@pytest.mark.fault(Row.KILL)
@pytest.mark.timeout(7_200)
@pytest.mark.usefixtures("traced")
def test_an_operation(bench: Bench, workers: Workers, is_full: bool) -> None:
    tried, violations = workers.start(kill, bench, 1, None if is_full else SAMPLES).result(patience=7_000.0)
    tally.hold(Row.KILL, tried, violations)
