"""Start fast: keep typer from loading pydantic for parameters that need no conversion.

From 0.29 on typer converts what is given on the command line by pydantic, whose import takes longer than most commands
do. The classes here give typer's parameters another conversion, which leaves texts and defaults as they are, and asks
typer's own for everything else. A release of typer that knows no such attribute ignores it, and is only slower.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """A command whose parameters are converted only if they need it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _spare_conversions(self.get_params(ctx))
        return super().parse_args(ctx, args)


class Group(TyperGroup):
    """A group of commands whose parameters are converted only if they need it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _spare_conversions(self.get_params(ctx))
        return super().parse_args(ctx, args)


class _Sparing:
    """Converts a parameter as typer does, but for texts and defaults: these stay as they are."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None:
            return () if getattr(param, "multiple", False) else None
        if value is param.default or (isinstance(value, str) and param.type_descriptor.annotation is str):
            return value
        param._runtime_param = None
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)


def _spare_conversions(parameters: Iterable[Any]) -> None:
    for each in parameters:
        each._runtime_param = _Sparing()
