"""A function that was given as it is, in a script or a notebook, as the text of a code module."""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Callable

from tablevault_like.errors import TVArgumentError
from tablevault_like.functions.pickled import pickled
from tablevault_like.functions.standalone import standalone
from tablevault_like.functions.written import NotAloneError


def name_of(function: object) -> str | None:
    """Return the name by which a builder calls ``function``; ``None`` if it has none that can be written."""
    name = getattr(function, "__name__", None)
    is_usable = isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)
    return str(name) if is_usable else None


def module_text(function: Callable[..., object], *, module: str) -> str:
    """Return the text of the code module ``module`` for ``function``: its source if that stands alone, else pickled.

    There it has its own name; what has none (a lambda, a ``partial``) is called like the module. Raises
    ``TVArgumentError`` for what is no function, and for one that can't be kept either way.
    """
    _check_is_function(function)
    name = name_of(function) or module
    original = inspect.unwrap(function)
    if inspect.isfunction(original) and _is_unbound_method(original):
        raise TVArgumentError(
            f"{original.__qualname__} is a method, and a builder has no object to call it on. Give a function, or the "
            "method of an object."
        )
    if inspect.iscoroutinefunction(original) or inspect.isasyncgenfunction(original):
        raise TVArgumentError(
            f"The function {name!r} is asynchronous, and builders call functions of the usual kind. Give one that runs "
            "it, with asyncio.run()."
        )
    try:
        return standalone(function, name)
    except NotAloneError as error:
        return pickled(function, name, reason=str(error))


def _check_is_function(given: object) -> None:
    if inspect.isclass(given):
        raise TVArgumentError(f"function must be a function, not the class {given.__qualname__}.")
    if not callable(given):
        raise TVArgumentError(f"function must be a function, not a value of type {type(given).__qualname__}.")


def _is_unbound_method(function: Callable[..., object]) -> bool:
    parameters = list(inspect.signature(function).parameters)
    is_inside_class = "." in function.__qualname__.rpartition("<locals>.")[2]
    return is_inside_class and parameters[:1] in (["self"], ["cls"])
