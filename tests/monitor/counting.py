"""Count the calls of builders' functions, hold a plan to what an execution then does, and see what people see."""

from __future__ import annotations

import functools
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tablevault_like import ProcessRecord, State, TableVault
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.errors import TableVaultError, TVArgumentError, message_of
from tablevault_like.model import StepRecord
from tablevault_like.operations.execution import Execution
from tablevault_like.typing import Action, BuilderForecast, Certainty, PlannedRun
from tests.states import state


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


@pytest.fixture(name="calls")
def counted_calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Return the calls of the test's executions. To be imported by the tests that count."""
    return Calls(monkeypatch)


def foretold(
    vault: TableVault, table: str, calls: Calls, version: str = "", process_id: str | None = None, **how: Any
) -> PlannedRun:
    """Plan a call of ``execute_instance``, make it, and hold the plan to what it did, or was refused with.

    Planning changes nothing, and calls nothing.
    """
    calls.clear()
    was, before = state(Path(vault.db_dir)), find(vault, process_id)
    plan = vault.plan(table, version, process_id=process_id, **how)
    assert state(Path(vault.db_dir)) == was
    assert not calls.counts
    if plan.refusal is not None:
        with pytest.raises(TableVaultError) as refused:
            vault.execute_instance(table, version, process_id=process_id, **how)
        assert plan.refusal == message_of(refused.value)
        assert not calls.counts
        return plan
    after = vault.get_process(vault.execute_instance(table, version, process_id=process_id, **how))
    if plan.action in (Action.RESUME, Action.REUSE):
        assert before is not None
        assert before.created_at == after.created_at
        hold(plan, after, calls, before=before)
    else:
        assert before is None or before.created_at != after.created_at
        hold(plan, after, calls)
    return plan


def find(vault: TableVault, process_id: str | None) -> ProcessRecord | None:
    """Return what is known of a process, ``None`` if there is none."""
    try:
        return vault.get_process(process_id or "")
    except TVArgumentError:
        return None


def told(plan: PlannedRun) -> dict[str, tuple[int, int | None, int | None, int | None]]:
    """Return of each builder how many rows are recorded, reused and made, and how often its function is called."""
    return {each.builder: (each.recorded, each.reused, each.to_run, each.calls) for each in plan.builders}


def hold(plan: PlannedRun, after: ProcessRecord, calls: Calls, *, before: ProcessRecord | None = None) -> None:
    """Hold a plan to what was done: ``after`` is the process, ``before`` what it was when it was planned.

    All builders are planned; or with ``until`` those that it needs, and no other is called.
    """
    steps = {step.name: step for step in after.steps}
    earlier: dict[str, StepRecord | None] = {}
    if before is not None:  # what it begins again is none of what it had
        earlier |= {step.name: step for step in before.steps}
        earlier |= {each.builder: None for each in plan.builders if not each.recorded}
    planned = [each.builder for each in plan.builders]
    assert planned == [name for name in steps if name in planned]
    assert set(calls.counts) <= set(planned)
    for each in plan.builders:
        hold_builder(each, steps[each.builder], earlier.get(each.builder), calls.counts[each.builder])
    if plan.certainty in (Certainty.EXACT, Certainty.EXPECTED):
        assert after.pause_reason == plan.pause
        assert (after.state is State.PAUSED) == (plan.pause is not None)
    if plan.pause is None:
        assert {*planned, "materialize"} == {*steps}


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


def seen(record: object, *, width: int = 200) -> str:
    """Return what people see of a record on a terminal, a wide one by default."""
    text = io.StringIO()
    Console(width=width, file=text).print(record)
    return text.getvalue()
