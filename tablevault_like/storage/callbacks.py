"""What interrupts a function that SQLite calls: SQLite says of it no more than that something was raised.

Such functions are short and raise nothing by themselves, so it is a signal whose handler was run inside of one.
Those that are ``carried`` remember what any handler has raised; our own handlers ``note`` it themselves.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_MESSAGE = "user-defined function raised exception"

_P = ParamSpec("_P")
_T = TypeVar("_T")

_noted: BaseException | None = None


def note(error: BaseException) -> BaseException:
    """Remember what the handler of a signal is about to raise, and return it."""
    global _noted
    _noted = error
    return error


def carried(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Return a function for SQLite to call, of which ``interrupt_of`` knows what was raised in it."""

    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - SQLite drops it
            raise note(error) from None

    return call


def interrupt_of(error: sqlite3.DatabaseError) -> BaseException | None:
    """Return what an error of SQLite's stands for, if a function was interrupted; ``None`` for any other."""
    global _noted
    if str(error) != _MESSAGE:
        return None
    found, _noted = _noted or KeyboardInterrupt(), None
    return found
