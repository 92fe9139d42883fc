"""Which arguments of a function name files that count by their content, not by their path.

Rows are reused when their inputs are equal. For such an argument equal means: the same bytes in the file, or the
same files with the same bytes in the folder, that it names. It may name many, in whatever a cell, a reference or a
default can be.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TypeVar

from tablevault_like.errors import TVArgumentError, nearest

_Function = TypeVar("_Function", bound=Callable[..., object])

_ATTRIBUTE = "__reads_files__"
_MANY = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


def reads_files(*arguments: str) -> Callable[[_Function], _Function]:
    """Declare that these arguments of the decorated function are paths of files or folders that it reads.

    They may also be lists, dicts or frames of paths. Declarations add up. Raises TVArgumentError if nothing is
    declared, or an argument that the function doesn't have.

    >>> @reads_files("path")
    ... def load(path, rows): ...
    >>> file_arguments(load)
    ('path',)
    """
    if not arguments or not all(isinstance(name, str) for name in arguments):
        raise TVArgumentError("reads_files needs the names of arguments: @reads_files('path').")

    def declare(function: _Function) -> _Function:
        _check_names(function, arguments)
        setattr(function, _ATTRIBUTE, tuple(dict.fromkeys((*file_arguments(function), *arguments))))
        return function

    return declare


def file_arguments(function: Callable[..., object]) -> tuple[str, ...]:
    """Return the arguments that ``function`` declares with ``reads_files``; none if it declares nothing.

    It may also be an object that can be called, or a ``partial``.
    """
    while isinstance(function, functools.partial):
        function = function.func
    declared: tuple[str, ...] | None = getattr(function, _ATTRIBUTE, None)
    if declared is None:
        declared = getattr(type(function).__call__, _ATTRIBUTE, ())
    return declared


def files_by_default(function: Callable[..., object]) -> dict[str, object]:
    """Return the arguments that ``function`` declares with ``reads_files``, and what they are if they aren't given."""
    names = file_arguments(function)
    if not names:
        return {}
    bound: dict[str, object] = {}
    while isinstance(function, functools.partial):
        given = inspect.signature(function.func).bind_partial(*function.args, **function.keywords).arguments
        bound, function = {**given, **bound}, function.func
    parameters = inspect.signature(function).parameters
    return {name: bound.get(name, parameters[name].default if name in parameters else None) for name in names}


def _check_names(function: Callable[..., object], names: tuple[str, ...]) -> None:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return  # it doesn't tell what it takes
    known = [name for name, each in parameters.items() if each.kind not in _MANY]
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    for name in names:
        if name in parameters and name not in known:
            raise TVArgumentError(f"reads_files can't name {name!r}, which takes many arguments. Name each of them.")
        if name not in known and not takes_any:
            what = getattr(function, "__qualname__", repr(function))
            raise TVArgumentError(f"reads_files names {name!r}, but {what} has no such argument.{nearest(name, known)}")
