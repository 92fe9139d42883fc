"""How a built-in function declares itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_Function = TypeVar("_Function", bound=Callable[..., object])

_ATTRIBUTE = "__builtin_version__"


def built_in(*, version: int) -> Callable[[_Function], _Function]:
    """Declare a function as built in. Raise ``version`` when equal arguments give other results than before."""

    def declare(function: _Function) -> _Function:
        setattr(function, _ATTRIBUTE, version)
        return function

    return declare


def version_of(function: object) -> int | None:
    """Return the version that ``function`` declares, ``None`` if it isn't built in."""
    version: int | None = getattr(function, _ATTRIBUTE, None)
    return version
