"""Count the calls of builders' functions, hold a plan to what an execution then does, and see what people see."""

from __future__ import annotations

import functools
import io
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from tablevault_like import ProcessRecord
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.model import StepRecord
from tablevault_like.operations.execution import Execution
from tablevault_like.typing import BuilderForecast, Certainty, PlannedRun


class Calls:
    """The calls of builders' functions by builder. ``fail`` lets a builder's function fail at some call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts: Counter[str] = Counter()
        self._failing: dict[str, range] = {}
        original = Execution._function

        def counted(execution: Execution, spec: BuilderSpec) -> Callable[..., object]:
            function = original(execution, spec)

            @functools.wraps(function)
            def call(*frame: Any, **arguments: Any) -> object:
                self.counts[spec.name] += 1
                if self.counts[spec.name] in self._failing.get(spec.name, ()):
                    raise ConnectionError("nobody answers")
                return function(*frame, **arguments)

            return call

        monkeypatch.setattr(Execution, "_function", counted)

    def clear(self) -> None:
        self.counts.clear()
        self._failing.clear()

    def fail(self, builder: str, call: int, *, until: int | None = None) -> None:
        """Let a call fail; with ``until`` those that come after it, too."""
        self._failing[builder] = range(call, until or call + 1)


def hold(plan: PlannedRun, after: ProcessRecord, calls: Calls, *, before: ProcessRecord | None = None) -> None:
    """Hold a plan to what was done: ``after`` is the process, ``before`` what it was when it was planned."""
    steps = {step.name: step for step in after.steps}
    earlier = {step.name: step for step in before.steps} if before else {}
    assert [each.builder for each in plan.builders] == [name for name in steps if name != "materialize"]
    for each in plan.builders:
        hold_builder(each, steps[each.builder], earlier.get(each.builder), calls.counts[each.builder])


def hold_builder(each: BuilderForecast, step: StepRecord, before: StepRecord | None, calls: int) -> None:
    recorded, reused_before = (before.rows_done + before.rows_skipped, before.rows_reused) if before else (0, 0)
    reused = step.rows_reused - reused_before
    made = step.rows_done + step.rows_skipped - recorded - reused  # rows that are left empty were tried, too
    told = (each, step, calls)
    match each.certainty:
        case Certainty.EXACT | Certainty.EXPECTED:
            assert (each.to_run, each.reused, each.calls) == (made, reused, calls), told
            assert each.to_run_at_least <= made, told
        case Certainty.AT_MOST:
            assert each.to_run is not None, told
            assert each.to_run_at_least <= made <= each.to_run, told
            assert each.calls is None or calls <= each.calls, told
        case Certainty.UNKNOWN:
            assert each.doubt, told
            assert each.reused in (None, reused), told
            assert each.calls in (None, calls), told
    assert each.certainty is Certainty.EXACT or each.doubt, told


def seen(record: object) -> str:
    """Return what people see of a record on a wide terminal."""
    text = io.StringIO()
    Console(width=200, file=text).print(record)
    return text.getvalue()
