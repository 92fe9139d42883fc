"""Which part of a plan is to run: up to a builder, or from a builder on."""

from __future__ import annotations

from dataclasses import dataclass

from tablevault_like.builders.anew import Anew
from tablevault_like.builders.plan import Plan
from tablevault_like.builders.stages import check_stage, needed_for, resting_on


@dataclass(frozen=True)
class Stages:
    """What ``until`` and ``from_builder`` mean for the builders of a plan.

    Those that aren't ``wanted`` don't run. The ``fresh`` ones reuse nothing. In place of those that are ``taken``,
    which aren't run either, the origin's columns are taken over as they are. A process that is paused begins those that
    are ``again`` from their first row.
    """

    wanted: frozenset[str]
    fresh: frozenset[str] = frozenset()
    taken: frozenset[str] = frozenset()
    again: frozenset[str] = frozenset()

    @classmethod
    def of(cls, plan: Plan, anew: Anew | None, *, until: str | None, from_builder: str | None) -> Stages:
        """Return the stages of a plan. ``anew`` is what a paused process has kept, ``None`` for a new one.

        Raises TVBuilderError, with the nearest name, for a builder that isn't there.
        """
        for argument, name in (("until", until), ("from_builder", from_builder)):
            if name is not None:
                check_stage(plan, argument, name)
        again: frozenset[str] = frozenset()
        if anew is None:
            anew = Anew.of_new(plan, from_builder, everything=False)
        elif from_builder is not None and from_builder != anew.from_builder:
            again = resting_on(plan, from_builder)
            anew = anew.begun_again(plan, from_builder)
        every = frozenset(builder.name for builder in plan.builders)
        wanted = every if until is None else needed_for(plan, until) | {until}
        return cls(wanted, anew.fresh, anew.taken, again)
