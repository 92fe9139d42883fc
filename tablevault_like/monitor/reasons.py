"""Why rows are made and not reused: what is different from what made the origin."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.functions.fingerprint import difference
from tablevault_like.monitor.predictions import Cause, PlannedInput, Reason

_SHOWN = 60


def counterpart(plan: Plan | None, builder: PlannedBuilder) -> PlannedBuilder | None:
    """Return the builder of an earlier plan that a builder stands for: of its name, or of its columns."""
    earlier = plan.builders if plan else ()
    same_name = [each for each in earlier if each.name == builder.name or (each.is_index and builder.is_index)]
    same_columns = [each for each in earlier if each.changed_columns == builder.changed_columns]
    return next(iter(same_name + same_columns), None)


def of_builder(old: PlannedBuilder, new: PlannedBuilder) -> list[Reason]:
    """Return what is different about a builder and its function, as far as its rows depend on it."""
    if old.recipe == new.recipe:
        return []
    found = [*_of_fields(old.fields, new.fields)]
    found += [Reason(Cause.FUNCTION, line) for line in difference(old.function, new.function)]
    return found or [Reason(Cause.FIELD, "what the builder says is another")]


def of_inputs(builder: PlannedBuilder, inputs: tuple[PlannedInput, ...]) -> list[Reason]:
    """Return which instances a builder reads that the origin didn't."""
    return [
        Reason(Cause.INPUT, f"{each.name} is now {each.instance_id}, it was {each.change}")
        for each in inputs
        if each.is_another and builder.name in each.read_by
    ]


def line_difference(old: str, new: str) -> tuple[str, ...]:
    r"""Return the lines in which two texts differ, the old ones after ``-``, the new ones after ``+``.

    >>> line_difference("Be brief.\nSum up.", "Be brief.\nSum it up.")
    ('-Sum up.', '+Sum it up.')
    """
    found = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)
    return tuple(line for line in found if not line.startswith(("---", "+++", "@@")))


def _of_fields(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Reason]:
    before, after = old["arguments"], new["arguments"]
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            yield Reason(Cause.ARGUMENT, f"the argument {name!r} is new", (f"+{_text(after[name])}",))
        elif name not in after:
            yield Reason(Cause.ARGUMENT, f"the argument {name!r} was removed", (f"-{_text(before[name])}",))
        elif before[name] != after[name]:
            lines = line_difference(_text(before[name]), _text(after[name]))
            yield Reason(Cause.ARGUMENT, f"the argument {name!r} is another", lines)
    for name in ("python_function", "code_module", "changed_columns", "dtypes", "return_type"):
        if old[name] != new[name]:
            yield Reason(Cause.FIELD, f"{name} is now {_short(new[name])}, it was {_short(old[name])}")


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
