"""SIGINT and SIGTERM at every system call that changes a file: what is told of an operation, and the catalog, agree."""

from __future__ import annotations

import random
import signal

import pytest

from tests.faults import tally, verdicts
from tests.faults.injection import Signal
from tests.faults.tally import Row
from tests.faults.trials import Bench, Violation
from tests.workers import Workers

SAMPLES = 4
"""At how many calls of each operation a signal arrives in a run that isn't full."""


def interrupt(bench: Bench, seed: int, limit: int | None) -> tuple[int, list[Violation]]:
    """Let signals arrive at some calls of an operation, or at all. Returns how many points, and the violations.

    In full both arrive at every call; of an operation that makes thousands of calls, one of them in turn.
    """
    dice = random.Random(seed)
    _ = bench.before, bench.after
    count = bench.count_calls()
    numbers = sorted(dice.sample(range(1, count + 1), min(count, limit or count)))
    tried, violations = 0, list[Violation]()
    for place, number in enumerate(numbers):
        kinds = [signal.SIGINT, signal.SIGTERM]
        if limit is not None or count > 1_000:
            kinds = [kinds[place % 2]]
        for kind in kinds:
            bench.refresh()
            outcome = bench.attempt(number, Signal(kind))
            if not outcome.struck:
                continue  # threads make not quite as many calls each time
            tried += 1
            wanted = "KeyboardInterrupt" if kind == signal.SIGINT else "SystemExit"
            if (said := verdicts.judge_interrupted(bench, outcome.ending, wanted, died=-kind)) is not None:
                violations.append(Violation(f"{bench}, {kind.name} at {outcome.calls[-1]}", number, said))
    return tried, violations


@pytest.mark.fault(Row.SIGNAL)
@pytest.mark.timeout(7_200)
@pytest.mark.usefixtures("traced")
def test_an_operation(bench: Bench, workers: Workers, is_full: bool) -> None:
    tried, violations = workers.start(interrupt, bench, 1, None if is_full else SAMPLES).result(patience=7_000.0)
    tally.hold(Row.SIGNAL, tried, violations)
