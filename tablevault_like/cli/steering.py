"""The options that steer an execution: what is asked of ``tvl execute`` is asked of ``tvl plan`` in the same words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from tablevault_like.model import Existing, OnChange, OnDamage

OnChangeOption = Annotated[
    OnChange, typer.Option("--on-change", help="What to do if builders or code have changed since it was started.")
]
OnDamageOption = Annotated[
    OnDamage, typer.Option("--on-damage", help="What to do if what the process has kept is damaged.")
]
ExistingOption = Annotated[
    Existing, typer.Option("--existing", help="What to do with a run that --process-id has already.")
]
Force = Annotated[bool, typer.Option("--force", help="Compute all rows anew: with --process-id, --existing rerun.")]
ForceExecute = Annotated[bool, typer.Option("--force-execute", help="Compute rows anew that the origin has already.")]
Until = Annotated[str, typer.Option("--until", metavar="BUILDER", help="Stop when this builder is done, and pause.")]
FromBuilder = Annotated[
    str, typer.Option("--from-builder", metavar="BUILDER", help="Make this builder and all that need it anew.")
]
BudgetOption = Annotated[
    list[str] | None,
    typer.Option("--budget", metavar="WHAT=LIMIT", help="Pause after so many seconds, rows, failures or cost."),
]
StartAt = Annotated[
    list[str] | None,
    typer.Option(
        "--start-at",
        metavar="BUILDER=OFFSET",
        help="Let the source of this generator begin there. May be repeated.",
    ),
]
Sample = Annotated[
    int, typer.Option("--sample", min=0, metavar="ROWS", help="Make so many rows in memory, show them, keep nothing.")
]


def asked(
    process_id: str | None,
    *,
    on_change: OnChange,
    on_damage: OnDamage,
    existing: Existing,
    force: bool,
    force_execute: bool,
    until: str,
    from_builder: str,
    budget: Sequence[str] | None,
    start_at: Sequence[str] | None,
) -> dict[str, Any]:
    """Return the arguments of ``execute_instance``, and of ``plan``, that are asked for by options."""
    if force and existing not in (Existing.AUTO, Existing.RERUN):
        raise typer.BadParameter(f"--force is --existing rerun, so it can't be used with --existing {existing}.")
    if from_builder and (force_execute or (force and process_id is None)):
        given = "--force-execute" if force_execute else "--force"
        raise typer.BadParameter(f"{given} makes all rows anew, --from-builder those of some. Leave out one of them.")
    return {
        # What has no id has no run that could be made anew.
        "force_execute": force_execute or (force and process_id is None),
        "on_change": on_change,
        "on_damage": on_damage,
        "existing": Existing.RERUN if force and process_id is not None else existing,
        "until": until,
        "from_builder": from_builder,
        "budget": _limits(budget or ()),
        "start_at": _offsets(start_at or ()),
    }


def _limits(given: Sequence[str]) -> dict[str, float] | None:
    """Read limits such as ``cost=5``.

    >>> _limits(["seconds=3600", "cost=0.5"])
    {'seconds': 3600, 'cost': 0.5}
    """
    limits: dict[str, float] = {}
    for each in given:
        name, _, value = each.partition("=")
        try:
            limits[name] = float(value) if "." in value or "e" in value.lower() else int(value)
        except ValueError:
            raise typer.BadParameter(f"--budget {each}: give a limit as seconds=3600, rows=100 or cost=5.") from None
    return limits or None


def _offsets(given: Sequence[str]) -> dict[str, int]:
    offsets = {}
    for text in given:
        builder, equals, offset = text.partition("=")
        if not builder or not equals or not offset.isdecimal():
            raise typer.BadParameter(f"--start-at is given as BUILDER=OFFSET, such as pages_index=3000, not {text!r}.")
        offsets[builder] = int(offset)
    return offsets
