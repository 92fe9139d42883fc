"""Which builders of a plan belong to a stage: what one needs, and what rests on one."""

from __future__ import annotations

from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.errors import TVBuilderError, nearest


def check_stage(plan: Plan, argument: str, name: str) -> PlannedBuilder:
    """Return the builder that an argument names. Raises TVBuilderError, with the nearest name, if there is none."""
    for builder in plan.builders:
        if builder.name == name:
            return builder
    hint = nearest(name, (builder.name for builder in plan.builders))
    raise TVBuilderError(
        f"{argument}={name!r}: {plan.table}/{plan.instance_id} has no builder of that name.{hint} Nothing was done."
    )


def needed_for(plan: Plan, name: str) -> frozenset[str]:
    """Return the builders whose columns a builder reads, directly or not, and the IndexBuilder. It isn't among them."""
    needed = {name, *(builder.name for builder in plan.builders if builder.is_index)}
    for builder in reversed(plan.builders):  # each comes after those that it depends on
        if builder.name in needed:
            needed.update(builder.dependencies)
    return frozenset(needed - {name})


def resting_on(plan: Plan, name: str) -> frozenset[str]:
    """Return a builder and all that read what it makes, directly or not."""
    reached = {name}
    for builder in plan.builders:
        if reached.intersection(builder.dependencies):
            reached.add(builder.name)
    return frozenset(reached)
