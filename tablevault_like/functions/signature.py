"""Whether a builder's arguments fit the function that it names."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection
from inspect import Parameter

from tablevault_like.errors import Location, TVBuilderError, nearest


def validate_arguments(
    function: Callable[..., object],
    names: Collection[str],
    *,
    takes_batch: bool = False,
    location: Location | None = None,
) -> None:
    """Check that ``function`` can be called with keyword arguments of these ``names``.

    One that ``takes_batch`` is given a DataFrame before them, as its first parameter.

    Raises ``TVBuilderError`` that tells which are unexpected and which are missing. Accepts what can't be known:
    callables without a signature, and wrappers that take anything, whatever they wrap.

    >>> def rate(text, *, scale=1): ...
    >>> validate_arguments(rate, ["text", "scale"])
    >>> validate_arguments(rate, ["texts"])
    Traceback (most recent call last):
    tablevault_like.errors.TVBuilderError: rate() has no argument 'texts'. Did you mean 'text'? It needs 'text'.
    """
    parameters = _parameters(function)
    if parameters is None:
        return
    problems: list[str] = []
    if takes_batch:
        parameters, problems = _after_batch(parameters, names)
    named = [p for p in parameters if p.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)]
    unnamed = [p.name for p in parameters if p.kind is Parameter.POSITIONAL_ONLY and p.default is Parameter.empty]
    if unnamed:
        problems.append(f"takes {_listed(unnamed)} by position only, but builders pass arguments by name.")
    if not any(p.kind is Parameter.VAR_KEYWORD for p in parameters):
        known = [p.name for p in named]
        problems += [f"has no argument {name!r}.{_hint(name, known)}" for name in names if name not in known]
    missing = [p.name for p in named if p.default is Parameter.empty and p.name not in names]
    if missing:
        problems.append(f"needs {_listed(missing)}.")
    if problems:
        shown = getattr(function, "__name__", type(function).__name__)
        raise TVBuilderError(f"{shown}() {' It '.join(problems)}", location=location)


def _after_batch(parameters: list[Parameter], names: Collection[str]) -> tuple[list[Parameter], list[str]]:
    """Return the parameters that are left once the first one has been given a frame, and what is wrong with that."""
    first = parameters[0] if parameters else None
    if first is not None and first.kind is Parameter.VAR_POSITIONAL:
        return parameters, []
    if first is None or first.kind not in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD):
        return parameters, ["needs a first parameter, for the DataFrame of a batch's rows."]
    if first.kind is Parameter.POSITIONAL_OR_KEYWORD and first.name in names:
        told = f"is given the rows of a batch as {first.name!r}, so no other argument can have that name."
        return [each for each in parameters if each is not first or each.name in names], [told]
    return parameters[1:], []


def _parameters(function: Callable[..., object]) -> list[Parameter] | None:
    """Return what ``function`` itself takes: a wrapper may add or drop arguments of what it wraps."""
    try:
        if sys.version_info >= (3, 14):  # where annotations that can't be evaluated would be an error
            from annotationlib import Format

            signature = inspect.signature(function, follow_wrapped=False, annotation_format=Format.FORWARDREF)
        else:
            signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return None
    return list(signature.parameters.values())


def _hint(name: str, known: list[str]) -> str:
    return nearest(name, known) if known else " It takes none."


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
