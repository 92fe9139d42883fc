"""The functions that come with this library: those that users of TableVault know, and some more.

A builder names one with ``is_custom: false``, its ``code_module`` and its ``python_function``.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from tablevault_like.errors import TVBuilderError, nearest
from tablevault_like.functions.builtin.declared import version_of
from tablevault_like.functions.fingerprint import Fingerprint
from tablevault_like.functions.sources import function_name

_MODULES = ("llm", "random_string", "table_generation")


def modules() -> list[str]:
    """Return the names of the built-in modules, sorted."""
    return sorted(_MODULES)


def functions(module: str) -> list[str]:
    """Return the names of the functions in the built-in ``module``, sorted. Raises ``TVBuilderError`` if unknown."""
    return sorted(_functions(module))


def function(module: str, name: str) -> Callable[..., Any]:
    """Return a built-in function. ``name`` may also be written ``module.name``.

    Raises ``TVBuilderError`` for an unknown module or function.
    """
    found = _functions(module)
    bare = function_name(module, name)
    if bare not in found:
        raise TVBuilderError(f"The built-in module {module!r} has no function {bare!r}.{nearest(bare, found)}")
    return found[bare]


def fingerprint(module: str, name: str) -> Fingerprint:
    """Return the fingerprint of a built-in function: its name and version, so that rewriting it changes nothing.

    Raises ``TVBuilderError`` for an unknown module or function.
    """
    found = function(module, name)
    part = f"built-in {module}.{found.__name__}"
    return Fingerprint.of_parts(part, {part: f"version {version_of(found)}"})


def _functions(module: str) -> dict[str, Callable[..., Any]]:
    if module not in _MODULES:
        raise TVBuilderError(
            f"There is no built-in module {module!r}.{nearest(module, _MODULES)} "
            "A code module of the vault needs is_custom: true."
        )
    loaded = import_module(f"{__name__}.{module}")
    return {name: value for name, value in vars(loaded).items() if version_of(value) is not None}
