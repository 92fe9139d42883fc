"""Text in a condition, read as the type of the column that it is compared with.

The text ``5`` is the number 5 for a column of numbers, and the string "5" for a column of strings. A column of Python
objects has no type of its own: there the text is read as every type that occurs among its cells.
"""

from __future__ import annotations

import datetime
import decimal
import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from tablevault_like.references.cells import Cells

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
# What pandas reads beyond this depends on the day: it fills in what is missing.
_TIME = re.compile(r"\d{4}(-\d\d(-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?)?)?", re.ASCII)
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}

# A type of cell, among its NumPy and pandas relatives. The order matters: a bool is an int, a datetime is a date, and
# to NumPy a timedelta is an integer.
_FAMILIES: tuple[tuple[type, type], ...] = (
    (np.timedelta64, datetime.timedelta),
    (np.bool_, bool),
    (bool, bool),
    (np.integer, int),
    (int, int),
    (np.floating, float),
    (float, float),
    (str, str),
    (np.datetime64, datetime.datetime),
    (datetime.datetime, datetime.datetime),
    (datetime.date, datetime.date),
    (datetime.time, datetime.time),
    (datetime.timedelta, datetime.timedelta),
    (decimal.Decimal, decimal.Decimal),
    (uuid.UUID, uuid.UUID),
    (bytes, bytes),
)


class Literals:
    """Reads texts as values of one column."""

    def __init__(self, cells: Cells) -> None:
        dtype: Any = cells.array.dtype
        self.dtype = str(dtype)
        if isinstance(dtype, pd.CategoricalDtype):
            cells = Cells(pd.Series(dtype.categories))
            dtype = cells.array.dtype
        self._families = _families(cells)
        self._timezone = getattr(getattr(dtype, "pyarrow_dtype", dtype), "tz", None)
        stored = getattr(dtype, "numpy_dtype", dtype)
        self._float = stored if isinstance(stored, np.dtype) and stored.kind == "f" else None

    @classmethod
    def of_dtype(cls, dtype: Any) -> Literals:
        """Return what reads texts as values of any column of a dtype. One of objects, or categories, may hold all."""
        return cls(Cells(pd.Series([], dtype=dtype)))

    @property
    def is_definite(self) -> bool:
        """Tell whether a text has exactly one reading."""
        return len(self._families) == 1

    def read(self, text: str) -> tuple[Any, ...]:
        """Return the values that the text may stand for: one, but for a column of objects.

        There is none if the column has no cell. Raises ValueError for a text that no value of the column has.
        """
        return self._read(text, whole=True)

    def read_bound(self, text: str) -> Any:
        """Return the end of a range that the text stands for; None if the column has no cell.

        Bounds of integers may be fractions. Raises ValueError for a text that can't be compared with the column.
        """
        return next(iter(self._read(text, whole=False)), None)

    def _read(self, text: str, *, whole: bool) -> tuple[Any, ...]:
        values = []
        for family in self._families:
            with suppress(ValueError, ArithmeticError):
                value = read_number(text, whole=whole) if family is int else _READERS[family](text)
                value = self._as_stored(value)
                if value == value:  # a NaN equals nothing
                    values.append(value)
        if self._families and not values:
            raise ValueError(f"{text!r} is not a value of dtype {self.dtype}")
        return tuple(values)

    def _as_stored(self, value: Any) -> Any:
        """Return the value with the precision of a short float, or in the time zone of the column."""
        if self._float is not None:
            with np.errstate(over="ignore"):
                return self._float.type(value).item()
        if self._timezone is not None and isinstance(value, pd.Timestamp) and value.tz is None:
            return value.tz_localize(self._timezone)
        return value


def _families(cells: Cells) -> tuple[type, ...]:
    known = _family(cells.array.dtype.type)
    if known is not object:
        return (known,)
    occurring: dict[type, None] = {}
    for block in cells.blocks():
        occurring.update(dict.fromkeys(map(type, block)))
    occurring.pop(type(None), None)
    return tuple(dict.fromkeys(map(_family, occurring)))


def _family(kind: type) -> type:
    return next((family for relative, family in _FAMILIES if issubclass(kind, relative)), object)


def read_number(text: str, *, whole: bool = False) -> int | float:
    """Return the number that the text is: an int if ``whole``. Raises ValueError for anything else.

    >>> read_number("5"), read_number("5.0", whole=True), read_number("1e-2")
    (5, 5, 0.01)
    """
    if _INTEGER.fullmatch(text):
        return int(text)
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    number = float(text)
    if whole and not number.is_integer():
        raise ValueError(text)
    return int(number) if whole else number


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError(text)
    return _BOOLEANS[text.lower()]


def _time(text: str) -> pd.Timestamp:
    if not _TIME.fullmatch(text):
        raise ValueError(text)
    return pd.Timestamp(text)


def _unreadable(text: str) -> Any:
    raise ValueError(text)


_READERS: dict[type, Callable[[str], Any]] = {
    bool: _boolean,
    float: lambda text: float(read_number(text)),
    str: str,
    datetime.datetime: _time,
    datetime.date: datetime.date.fromisoformat,
    datetime.time: datetime.time.fromisoformat,
    datetime.timedelta: pd.Timedelta,
    decimal.Decimal: decimal.Decimal,
    uuid.UUID: uuid.UUID,
    bytes: str.encode,
    object: _unreadable,
}
