"""Memory runs out at the k-th allocation of an operation: what is told of it, and the catalog, agree.

Now and then the interpreter itself, or a library in C, can't go on without memory, and ends: then it was killed.
"""

from __future__ import annotations

import importlib.util
import random
import signal
from types import ModuleType

import pytest

from tests.faults import tally, tracing, verdicts
from tests.faults.tally import Row
from tests.faults.tracing import Ending
from tests.faults.trials import Bench, Next, Violation
from tests.workers import Workers

SAMPLES, FULL = 4, 60
"""How many allocations of each operation fail, and how many in a full run: 2,040 in all."""

_ENDED = (-signal.SIGABRT, -signal.SIGSEGV)
_MOST = 400_000
"""No operation of the library allocates more often than this."""


@pytest.fixture
def allocations(request: pytest.FixtureRequest) -> None:
    """Skip the test where no allocation can be made to fail."""
    if importlib.util.find_spec("_testcapi") is None:
        tally.skip(Row.MEMORY, "this Python has no _testcapi, which makes allocations fail")


def starve(bench: Bench, allocation: int) -> Ending:
    """Try the operation with one allocation that fails."""
    hooks = _hooks()

    def attempt() -> object:
        hooks.set_nomemory(allocation, allocation + 1)
        try:
            return bench.attempt_here()
        finally:
            hooks.remove_mem_hooks()

    return tracing.aside(attempt)


def run_out(bench: Bench, seed: int, limit: int) -> tuple[int, list[Violation]]:
    """Let allocations fail, early ones as often as late ones. Returns how many, and the violations."""
    dice = random.Random(seed)
    _ = bench.before, bench.after
    most = _last(bench)
    tried, violations = 0, list[Violation]()
    for _ in range(limit):
        number = dice.randint(1, most)
        bench.refresh()
        ending = starve(bench, number)
        tried += 1
        if (said := judge(bench, ending)) is not None:
            violations.append(Violation(f"{bench}, no memory", number, said))
    return tried, violations


def judge(bench: Bench, ending: Ending) -> str | None:
    """Tell what is wrong with what was told, or with what is left. What is raised isn't always a MemoryError.

    Python's own parser takes a failed allocation for a mistake in the code, for example.
    """
    if ending.code in _ENDED:
        return verdicts.judge(bench, verdicts.catch(bench), Next.RESTART)
    return verdicts.judge_interrupted(bench, ending, "Exception")


def _last(bench: Bench) -> int:
    """Return about how many allocations an undisturbed attempt makes: the first after which none fails any more."""
    hooks = _hooks()
    low, high = 1, _MOST

    def is_beyond(number: int) -> bool:
        def attempt() -> bool:
            hooks.set_nomemory(number, number + 1)
            try:
                bench.attempt_here()
            finally:
                hooks.remove_mem_hooks()
            return True

        bench.refresh()
        return tracing.aside(attempt).returned

    while high - low > high // 20:
        middle = (low + high) // 2
        low, high = (low, middle) if is_beyond(middle) else (middle, high)
    return high


def _hooks() -> ModuleType:
    return importlib.import_module("_testcapi")


@pytest.mark.fault(Row.MEMORY)
@pytest.mark.timeout(7_200)
@pytest.mark.usefixtures("allocations")
def test_an_operation(bench: Bench, workers: Workers, is_full: bool) -> None:
    limit = FULL if is_full else SAMPLES
    tried, violations = workers.start(run_out, bench, 1, limit).result(patience=7_000.0)
    tally.hold(Row.MEMORY, tried, violations)
    assert tried == limit
