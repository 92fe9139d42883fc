"""The records of the monitor as a command gives them: as one JSON document, or part by part for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from tablevault_like.cli import frames
from tablevault_like.cli.output import Output
from tablevault_like.cli.words import as_commands

if TYPE_CHECKING:
    from rich.console import Group

    from tablevault_like.monitor.predictions import PlannedRun


def give_plan(output: Output, planned: PlannedRun) -> None:
    """Print what a run is going to do, with the sample if one was made."""
    given = {
        **document(replace(planned, sample=None)),
        "certainty": planned.certainty,
        "seconds": planned.seconds,
        "sample": None if planned.sample is None else document(planned.sample),
    }
    refusal = None if planned.refusal is None else as_commands(planned.refusal)
    output.give(given, lambda: parts(replace(planned, refusal=refusal)))


def parts(found: Any) -> list[object]:
    """Return what rich shows of a record, part by part: each of them is fitted to the terminal by itself."""
    group: Group = found.__rich__()
    return list(group.renderables)


def document(value: Any) -> Any:
    """Return a record, and all that is in it, as JSON has it: a DataFrame as its rows."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: document(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): document(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [document(item) for item in value]
    if type(value).__name__ == "DataFrame":
        return frames.records(value)
    if type(value).__name__ == "Series":
        return [frames.plain(item) for item in value.tolist()]
    return frames.plain(value)
