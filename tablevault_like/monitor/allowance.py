"""How far a run gets before a budget is used up: rows are counted as an execution counts them.

It is taken that no row fails. Rows that are reused cost nothing. A DataFrame and a batch of an IndexBuilder are made as
a whole, though a budget ends in the midst of them. What takes how long, and costs what, isn't known.
"""

from __future__ import annotations

from dataclasses import dataclass

from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.limits import Budget
from tablevault_like.model import ReturnType
from tablevault_like.monitor.outlook import Doubt, Outlook
from tablevault_like.monitor.predictions import Certainty


@dataclass
class _Limit:
    """A budget, whose it is, and how many rows have been made of it: in any case, and at most (``None``: no limit)."""

    budget: Budget
    of: str
    least: int = 0
    most: int | None = 0

    @property
    def left_at_least(self) -> int | None:
        """How many rows can be made in any case, ``None`` for all."""
        if self.budget.seconds is not None or self.budget.cost is not None:
            return 0
        return self._rows_left_at_least

    @property
    def left_at_most(self) -> int | None:
        return None if self.budget.rows is None else max(0, self.budget.rows - self.least)

    @property
    def told(self) -> str:
        """What is said once it is used up in any case."""
        rows = Budget(rows=self.budget.rows).used_up(seconds=0, rows=self.least, failures=0, cost=0)
        return f"the budget of {self.of} is used up ({rows})"

    @property
    def is_used_up(self) -> bool:
        return self.budget.rows is not None and self.least >= self.budget.rows

    @property
    def may_be_used_up(self) -> bool:
        may_cost = self.budget.cost is not None and self.most != 0
        return self.budget.seconds is not None or may_cost or self._rows_left_at_least == 0

    def spend(self, least: int, most: int | None) -> None:
        self.least += least
        self.most = None if self.most is None or most is None else self.most + most

    @property
    def _rows_left_at_least(self) -> int | None:
        if self.budget.rows is None:
            return None
        return 0 if self.most is None else max(0, self.budget.rows - self.most)


class Allowance:
    """What budgets leave to the builders of a call, which are given to it in their order.

    ``pause`` is what the process is paused for, if it is; ``may_pause`` tells that it may be, or may not.
    """

    def __init__(self, budget: Budget | None) -> None:
        self.pause: str | None = None
        self.may_pause = False
        self._of_call = None if budget is None else _Limit(budget, "this call")

    def spend(self, spec: BuilderSpec, found: Outlook) -> None:
        """Leave in an outlook what is made before a budget is used up."""
        if self.pause is not None:
            _drop(found)
            return
        limits = [] if self._of_call is None else [self._of_call]
        if spec.budget is not None and found.to_run != 0:
            limits.append(_Limit(spec.budget, f"the builder {spec.name!r}"))
        if found.to_run == 0 and not found.reused:
            return
        if not limits and not self.may_pause:
            return
        self._cap(spec, found, limits)
        for limit in limits:
            if limit.is_used_up and self.pause is None:
                self.pause, self.may_pause = limit.told, False
        self.may_pause = self.pause is None and (self.may_pause or any(limit.may_be_used_up for limit in limits))

    def _cap(self, spec: BuilderSpec, found: Outlook, limits: list[_Limit]) -> None:
        sure = found.doubt.certainty in (Certainty.EXACT, Certainty.EXPECTED)
        needed, needed_at_least = found.to_run, (found.to_run or 0) if sure else found.at_least
        allowed = _least([limit.left_at_most for limit in limits])
        allowed_at_least = 0 if self.may_pause else _least([limit.left_at_least for limit in limits])
        most = _made(spec, found, needed, allowed)
        least = _made(spec, found, needed_at_least, allowed_at_least) or 0
        in_any_case = _made(spec, found, needed, allowed_at_least)
        found.left = None if needed is None or in_any_case is None else needed - in_any_case
        if needed is None and most is not None:
            found.doubt = Doubt(Certainty.AT_MOST, found.doubt.text)
        if most != needed:
            found.to_run, found.calls = most, _calls(spec, found, most)
        elif self.may_pause and needed is None:
            found.calls = None
        found.at_least = min(found.at_least, least)
        if found.left != 0 and not (sure and most == least):
            whose = " and ".join(limit.of for limit in limits) or "a builder"
            found.doubt.add(Certainty.AT_MOST, f"the run is paused when the budget of {whose} is used up")
        elif self.may_pause:
            found.doubt.add(Certainty.AT_MOST, "a budget may be used up before")
        for limit in limits:
            limit.spend(least, most)


def _drop(found: Outlook) -> None:
    """Leave nothing to be done of what comes after the pause."""
    needed = None if found.to_run is None or found.reused is None else found.to_run + found.reused
    found.left, found.to_run, found.at_least, found.reused, found.calls = needed, 0, 0, 0, 0
    found.offset = None
    if found.doubt.certainty is not Certainty.EXPECTED:
        found.doubt = Doubt()


def _made(spec: BuilderSpec, found: Outlook, needed: int | None, allowed: int | None) -> int | None:
    """Return how many of some rows are made if a budget allows so many."""
    if allowed is None or needed == 0:
        return needed
    if allowed == 0:
        return 0
    if spec.return_type is ReturnType.DATAFRAME:
        return needed
    if needed is None or not found.batches:
        return allowed if needed is None else min(needed, allowed)
    made = 0
    for size in found.batches:
        if made >= allowed:
            break
        made += size
    return made


def _calls(spec: BuilderSpec, found: Outlook, rows: int | None) -> int | None:
    """Return how many calls make some rows of a builder."""
    if rows == 0:
        return 0
    if rows is None or spec.return_type in (ReturnType.DATAFRAME, ReturnType.GENERATOR):
        return found.calls
    return rows if spec.batch_size is None else -(-rows // spec.batch_size)


def _least(numbers: list[int | None]) -> int | None:
    return min((each for each in numbers if each is not None), default=None)
