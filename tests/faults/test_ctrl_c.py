"""Ctrl-C at every line, and at opcodes, of the package: what is told of an operation, and the catalog, agree.

The outermost two frames, which only hand on what the runner returns, are left out: what is interrupted there is done,
and nobody is left who could say so.
"""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

import tablevault_like
from tests.faults import tally, tracing, verdicts
from tests.faults.tally import Row
from tests.faults.tracing import Ending
from tests.faults.trials import Bench, Violation
from tests.workers import Workers

SAMPLES = 4
"""At how many lines, and at how many opcodes, an operation is interrupted in a run that isn't full."""
OPCODES = 60
"""At how many opcodes in a full run: 2,040 in all. Lines are all taken then."""

_PACKAGE = str(Path(tablevault_like.__file__).parent)
_OUTERMOST = tuple(f"{_PACKAGE}/{name}" for name in ("vault.py", "arguments.py"))


class Interrupter:
    """Follows the lines or opcodes of the package in this thread, and interrupts at the ``at``-th that counts.

    Of lines only the first time counts that each is reached: a loop goes through them again.
    """

    def __init__(self, at: int | None, *, is_opcode: bool) -> None:
        self.count = 0
        self.place = ""
        self._at = at
        self._is_opcode = is_opcode
        self._seen: set[tuple[CodeType, int]] = set()

    def run(self, function: Callable[[], object]) -> object:
        sys.settrace(self._enter)
        try:
            return function()
        finally:
            sys.settrace(None)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(_PACKAGE) or name in _OUTERMOST:
            return None
        frame.f_trace_opcodes = self._is_opcode
        frame.f_trace_lines = not self._is_opcode
        return self._step

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == ("opcode" if self._is_opcode else "line") and self._counts(frame):
            self.count += 1
            if self.count == self._at:
                self.place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                sys.settrace(None)
                frame.f_trace = None
                signal.raise_signal(signal.SIGINT)
        return self._step

    def _counts(self, frame: FrameType) -> bool:
        if self._is_opcode:
            return True
        key = (frame.f_code, frame.f_lineno)
        if key in self._seen:
            return False
        self._seen.add(key)
        return True


def interrupt_at(bench: Bench, at: int | None, *, is_opcode: bool) -> tuple[Ending, int, str]:
    """Try the operation with Ctrl-C at a point. Returns what became of it, how many points there were, and which."""
    place = bench.vault_dir.with_name("place")
    place.write_text("0 ")
    interrupter = Interrupter(at, is_opcode=is_opcode)

    def attempt() -> object:
        try:
            return interrupter.run(bench.attempt_here)
        finally:
            place.write_text(f"{interrupter.count} {interrupter.place}")

    ending = tracing.aside(attempt)
    count, _, where = place.read_text().partition(" ")
    return ending, int(count), where


def interrupt(bench: Bench, seed: int, lines: int | None, opcodes: int) -> tuple[int, list[Violation]]:
    """Interrupt an operation at some lines, or all, and some opcodes. Returns how many, and the violations."""
    dice = random.Random(seed)
    tried, violations = 0, list[Violation]()
    for is_opcode, limit in ((False, lines), (True, opcodes)):
        count = count_steps(bench, is_opcode=is_opcode)
        numbers = sorted(dice.sample(range(1, count + 1), min(count, count if limit is None else limit)))
        found = interrupt_each(bench, numbers, is_opcode=is_opcode)
        tried, violations = tried + found[0], violations + found[1]
    return tried, violations


def interrupt_last(bench: Bench, lines: int, every: int) -> tuple[int, list[Violation]]:
    """Interrupt an operation at one of every so many of its last lines, the very last among them."""
    count = count_steps(bench, is_opcode=False)
    return interrupt_each(bench, range(count, count - lines, -every), is_opcode=False)


def count_steps(bench: Bench, *, is_opcode: bool) -> int:
    _ = bench.before, bench.after
    bench.refresh()
    ending, count, _ = interrupt_at(bench, None, is_opcode=is_opcode)
    ending.value_or_raise()
    return count


def interrupt_each(bench: Bench, numbers: Iterable[int], *, is_opcode: bool) -> tuple[int, list[Violation]]:
    tried, violations = 0, list[Violation]()
    for number in numbers:
        bench.refresh()
        ending, _, where = interrupt_at(bench, number, is_opcode=is_opcode)
        if not where:
            continue  # threads make not quite as many steps each time
        tried += 1
        if (said := verdicts.judge_interrupted(bench, ending, "KeyboardInterrupt")) is not None:
            violations.append(Violation(f"{bench}, Ctrl-C at {where}", number, said))
    return tried, violations


@pytest.mark.fault(Row.CTRL_C)
@pytest.mark.timeout(7_200)
def test_an_operation(bench: Bench, workers: Workers, is_full: bool) -> None:
    limits = (None, OPCODES) if is_full else (SAMPLES, SAMPLES)
    tried, violations = workers.start(interrupt, bench, 1, *limits).result(patience=7_000.0)
    tally.hold(Row.CTRL_C, tried, violations)


@pytest.mark.fault(Row.CTRL_C)
@pytest.mark.parametrize("is_named", [True, False], ids=["named", "unnamed"])
@pytest.mark.parametrize("operation", ["prune", "execute_instance"])
def test_whoever_is_interrupted_when_all_is_done_is_told_so(
    library_dir: Path, scratch: Path, workers: Workers, operation: str, is_named: bool, is_full: bool
) -> None:
    """A prune still has to tell what it has pruned, and an execution to end its display."""
    bench = Bench(library_dir, scratch / "vault", operation, is_named=is_named)

    tried, violations = workers.start(interrupt_last, bench, 40, 1 if is_full else 4).result(patience=120.0)

    tally.hold(Row.CTRL_C, tried, violations)
