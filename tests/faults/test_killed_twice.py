"""SIGKILL in an operation, then in whoever comes to put it right: the next puts that right, too."""

from __future__ import annotations

import random

import pytest

from tests.faults import injection, tally, verdicts
from tests.faults.injection import Kill
from tests.faults.tally import Row
from tests.faults.trials import Bench, Violation
from tests.workers import Workers

SAMPLES, PAIRS = 2, 60
"""How many pairs of kills each operation gets, and how many in a full run: 2,040 over all of them."""

_ATTEMPTS_AT_A_PAIR = 5


def kill_twice(bench: Bench, seed: int, pairs: int) -> tuple[int, list[Violation]]:
    """Kill an operation and then a recovery from that, at random calls. Returns how many pairs, and the violations."""
    dice = random.Random(seed)
    _ = bench.before, bench.after
    calls = bench.count_calls()
    tried, violations = 0, list[Violation]()
    for _ in range(pairs * _ATTEMPTS_AT_A_PAIR):
        if tried == pairs:
            break
        first, second, last = dice.randint(1, calls), dice.choice(bench.nexts), dice.choice(bench.nexts)
        bench.refresh()
        if not bench.attempt(first, Kill()).struck:
            continue
        # How many calls a recovery makes is seen when it was made: from the same point, but for threads.
        far = injection.run(lambda second=second: bench.come_here(second), bench.vault_dir)  # type: ignore[misc]
        if not far.calls:
            continue
        bench.refresh()
        bench.attempt(first, Kill())
        number = dice.randint(1, len(far.calls))
        outcome = injection.run(
            lambda second=second: bench.come_here(second),  # type: ignore[misc]
            bench.vault_dir,
            at=number,
            deed=Kill(),
        )
        if not outcome.struck:
            continue
        tried += 1
        if (said := verdicts.judge(bench, verdicts.catch(bench), last)) is not None:
            name = f"{bench}, killed at call {first}, then {second}, killed at {outcome.calls[-1]}"
            violations.append(Violation(name, number, said))
    return tried, violations


@pytest.mark.fault(Row.KILL_TWICE)
@pytest.mark.timeout(7_200)
@pytest.mark.usefixtures("traced")
def test_an_operation(bench: Bench, workers: Workers, is_full: bool) -> None:
    pairs = PAIRS if is_full else SAMPLES
    tried, violations = workers.start(kill_twice, bench, 1, pairs).result(patience=7_000.0)
    tally.hold(Row.KILL_TWICE, tried, violations)
    assert tried == pairs
