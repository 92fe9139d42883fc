"""Which arguments of a function name files that count by their content, not by their path.

Rows are reused when their inputs are equal. For such an argument equal means: the same bytes in the file, or the
same files with the same bytes in the folder, that it names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_Function = TypeVar("_Function", bound=Callable[..., object])

_ATTRIBUTE = "__reads_files__"


def reads_files(*arguments: str) -> Callable[[_Function], _Function]:
    """Declare that these arguments of the decorated function are paths of files or folders that it reads.

    >>> @reads_files("path")
    ... def load(path, rows): ...
    >>> file_arguments(load)
    ('path',)
    """

    def declare(function: _Function) -> _Function:
        setattr(function, _ATTRIBUTE, arguments)
        return function

    return declare


def file_arguments(function: Callable[..., object]) -> tuple[str, ...]:
    """Return the arguments that ``function`` declares with ``reads_files``; none if it declares nothing."""
    declared: tuple[str, ...] = getattr(function, _ATTRIBUTE, ())
    return declared
