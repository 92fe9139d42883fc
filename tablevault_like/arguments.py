"""Check what callers give, before anything is done with it: what is refused is told with what to give instead.

``checked`` holds the methods of a class to their annotations, for texts, paths and flags. The functions read arguments
that are made of more, and return them in the one form that operations know.
"""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from enum import StrEnum
from functools import wraps
from itertools import chain
from types import FunctionType
from typing import Any, TypeVar

from tablevault_like.errors import TVArgumentError
from tablevault_like.limits import Budget

C = TypeVar("C", bound=type)
E = TypeVar("E", bound=StrEnum)

_SHOWN = 60
_MOST = 2**63 - 1
"""The largest number that SQLite knows; more than there ever is of anything."""


def checked(cls: C) -> C:
    """Make a class's constructor and public methods refuse arguments that their annotations don't allow.

    ``None`` stands for "not given", for everything that has a default.
    """
    for name, member in list(vars(cls).items()):
        if isinstance(member, FunctionType) and (name == "__init__" or not name.startswith("_")):
            setattr(cls, name, _checked(member))
    return cls


def seconds(name: str, given: object) -> float:
    """Return a number of seconds, 0 or more.

    >>> seconds("lock_timeout", -1)
    Traceback (most recent call last):
    tablevault_like.errors.TVArgumentError: lock_timeout must be a number of seconds, 0 or more, not -1.
    """
    found = math.nan if isinstance(given, bool) or not isinstance(given, numbers.Real) else float(given)
    if found >= 0:  # as NaN is not
        return found
    raise TVArgumentError(f"{name} must be a number of seconds, 0 or more, not {_shown(given)}.")


def choice(name: str, given: object, of: type[E]) -> E:
    """Return one of a closed set of words.

    >>> from tablevault_like.model import Existing
    >>> choice("existing", "new", Existing)
    Traceback (most recent call last):
    tablevault_like.errors.TVArgumentError: existing='new' is not known. Use one of 'auto', 'error', 'rerun'.
    """
    try:
        return of(given)  # type: ignore[arg-type]
    except ValueError:
        allowed = ", ".join(repr(str(each)) for each in of)
        raise TVArgumentError(f"{name}={_shown(given)} is not known. Use one of {allowed}.") from None


def budget(given: object) -> dict[str, float] | None:
    """Return what a call may spend, None if it isn't limited.

    >>> budget({"cost": 5})
    {'cost': 5.0}
    >>> budget({"money": 5})
    Traceback (most recent call last):
    tablevault_like.errors.TVArgumentError: budget must be a mapping of seconds, rows, failures and cost; there is no \
'money'.
    """
    if given is None:
        return None
    try:
        return Budget.read(given).to_json()
    except ValueError as error:
        raise TVArgumentError(f"budget must be {error}.") from None


def offsets(given: object) -> dict[str, int]:
    """Return where sources begin, by the name of the builder.

    >>> offsets({"a_index": -1})
    Traceback (most recent call last):
    tablevault_like.errors.TVArgumentError: start_at must map names of builders to offsets from 0, not {'a_index': -1}.
    """
    if not given and (given is None or isinstance(given, Mapping | str)):
        return {}
    error = TVArgumentError(f"start_at must map names of builders to offsets from 0, not {_shown(given)}.")
    if not isinstance(given, Mapping):
        raise error
    for name, offset in given.items():
        is_number = isinstance(offset, numbers.Integral) and not isinstance(offset, bool)
        if not isinstance(name, str) or not is_number or offset < 0:
            raise error
    return {name: int(offset) for name, offset in given.items()}


def positive(name: str, given: object) -> int:
    """Return a number of things, 1 or more.

    >>> positive("kills", 0)
    Traceback (most recent call last):
    tablevault_like.errors.TVArgumentError: kills must be a whole number, 1 or more, not 0.
    """
    found = 0 if isinstance(given, bool) or not isinstance(given, numbers.Integral) else int(given)
    if found >= 1:
        return min(found, _MOST)
    raise TVArgumentError(f"{name} must be a whole number, 1 or more, not {_shown(given)}.")


def count(name: str, given: object) -> int:
    """Return a number of things, 0 or more.

    >>> count("sample", 2.5)
    Traceback (most recent call last):
    tablevault_like.errors.TVArgumentError: sample must be a whole number, 0 or more, not 2.5.
    """
    found = -1 if isinstance(given, bool) or not isinstance(given, numbers.Integral) else int(given)
    if found >= 0:
        return min(found, _MOST)
    raise TVArgumentError(f"{name} must be a whole number, 0 or more, not {_shown(given)}.")


def row(given: object) -> object:
    """Return what names a row: a position, a primary key, or a mapping of its columns.

    >>> row([1])
    Traceback (most recent call last):
    tablevault_like.errors.TVArgumentError: row must be a position, a primary key, or a dict of its columns, not [1].
    """
    if given is None or isinstance(given, str | numbers.Number | Mapping | date):
        return given
    raise TVArgumentError(f"row must be a position, a primary key, or a dict of its columns, not {_shown(given)}.")


def builder_texts(given: object) -> dict[str, str]:
    """Return the YAML text of each builder that is to be made, by name; an empty one stands for a template."""
    if not given and (given is None or isinstance(given, str)):
        return {}
    expected = "builders must be a list of names, or a mapping of names to YAML texts"
    if isinstance(given, str):
        raise TVArgumentError(f"{expected}, not {_shown(given)}. For one builder, give [{_shown(given)}].")
    found = list(given.items()) if isinstance(given, Mapping) else [(name, "") for name in _items(given, expected)]
    texts: dict[str, str] = {}
    for name, text in found:
        if not isinstance(name, str) or not isinstance(text, str | None):
            raise TVArgumentError(f"{expected}, not {_shown(given)}.")
        texts[name] = text or ""
    return texts


def column_names(name: str, given: object) -> tuple[str, ...] | None:
    """Return the names of columns, ``None`` if none were given.

    >>> column_names("key", "id")
    Traceback (most recent call last):
    tablevault_like.errors.TVArgumentError: key must be a list of column names, not 'id'. For one column, give ['id'].
    """
    if given is None:
        return None
    expected = f"{name} must be a list of column names"
    if isinstance(given, str):
        raise TVArgumentError(f"{expected}, not {_shown(given)}. For one column, give [{_shown(given)}].")
    names = _items(given, expected)
    if not names or len({each for each in names if isinstance(each, str)}) < len(names):
        raise TVArgumentError(f"{expected}, each of them once, not {_shown(given)}.")
    return tuple(str(each) for each in names)


def query_parameters(given: object) -> list[object] | dict[str, object] | None:
    """Return the values of a query, by their place or by their names; ``None`` if there are none."""
    if isinstance(given, Mapping) and all(isinstance(name, str) for name in given):
        return dict(given) or None
    expected = "parameters must be a list of values, or a mapping of names to values"
    return None if given is None else _items(given, expected) or None


def sources(given: object) -> tuple[tuple[str, str], ...]:
    """Return what an instance was made from, as pairs of a table and an instance id."""
    expected = "dependencies must be pairs of a table and an instance id, such as [('stories', 'base_1_...')]"
    pairs = []
    for each in _items(given or (), expected):
        if not isinstance(each, tuple | list) or len(each) != 2 or not all(isinstance(part, str) for part in each):
            raise TVArgumentError(f"{expected}, not {_shown(given)}.")
        pairs.append((each[0], each[1]))
    return tuple(pairs)


def dtype_names(given: object) -> dict[str, str]:
    """Return the names of dtypes by column. They may be given as they are: as Python's, numpy's or pandas' types.

    >>> dtype_names({"year": "Int16", "price": float})
    {'year': 'Int16', 'price': 'float64'}
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(column, str) for column in given):
        raise TVArgumentError(f"dtypes must be a mapping of columns to dtypes, not {_shown(given)}.")
    return {column: dtype if isinstance(dtype, str) else _dtype_name(column, dtype) for column, dtype in given.items()}


def _dtype_name(column: str, dtype: object) -> str:
    import pandas as pd

    from tablevault_like.storage.columns import dtype_name, is_object, parse_dtype

    try:
        found = pd.api.types.pandas_dtype(dtype)
    except (TypeError, ValueError, NotImplementedError):
        found = None
    # numpy takes any class for a kind of object.
    if found is None or (is_object(found) and dtype is not object and dtype != found):
        raise TVArgumentError(f"The dtypes of the column {column!r}: {_shown(dtype)} is not a dtype.")
    name = dtype_name(found)
    if parse_dtype(name) != found:
        raise TVArgumentError(
            f"The dtypes of the column {column!r}: {_shown(dtype)} can't be given by a name. Convert the column first "
            "with astype(), and leave it out of dtypes."
        )
    return name


def _items(given: object, expected: str) -> list[object]:
    """Return what is in a collection; a text and a mapping are none."""
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise TVArgumentError(f"{expected}, not {_shown(given)}.")
    return list(given)


def _checked(method: FunctionType) -> Callable[..., Any]:
    """Return a method that looks at its arguments before anything else."""
    code = method.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    checks = {name: _CHECKS[kind] for name, kind in method.__annotations__.items() if kind in _CHECKS}
    positional = names[: code.co_argcount]
    defaults = method.__defaults__ or ()
    optional = {*positional[len(positional) - len(defaults) :], *(method.__kwdefaults__ or ())}

    @wraps(method)
    def call(*given: Any, **named: Any) -> Any:
        for name, value in chain(zip(names, given, strict=False), named.items()):
            if name in checks and not (value is None and name in optional):
                checks[name](name, value)
        return method(*given, **named)

    return call


def _check_text(name: str, given: object) -> None:
    if not isinstance(given, str):
        raise TVArgumentError(f"{name} must be a string, not {_shown(given)}.")
    if not given.isascii():
        try:
            given.encode()
        except UnicodeEncodeError as error:
            raise TVArgumentError(f"{name} holds characters that aren't Unicode: {_shown(given)}.") from error


def _check_path(name: str, given: object) -> None:
    path = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    if not isinstance(path, str) or "\0" in path:
        raise TVArgumentError(f"{name} must be a path, not {_shown(given)}.")


def _check_flag(name: str, given: object) -> None:
    if not isinstance(given, bool):
        raise TVArgumentError(f"{name} must be True or False, not {_shown(given)}.")


_CHECKS = {
    "str": _check_text,
    "str | None": _check_text,
    "str | os.PathLike[str]": _check_path,
    "str | os.PathLike[str] | None": _check_path,
    "bool": _check_flag,
    "bool | None": _check_flag,
}
"""What is done with an argument, by its annotation as it is written."""


def _shown(given: object) -> str:
    """Return a value as a message shows it: on one line, and not at any length."""
    if type(given).__module__ in ("numpy", "pandas") and not isinstance(given, numbers.Number):
        text = f"a {type(given).__name__}"
    else:
        text = " ".join(repr(given).split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
