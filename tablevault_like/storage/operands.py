"""Values as the cells of an Arrow column are compared with them: exactly, whatever their widths and units.

Integers, times, lengths of time and dates are placed on a line, as fractions of the column's unit, where also those
have a place that no cell can have: 1.5 among integers, a nanosecond among seconds. Floats are rounded to the column's.
"""

from __future__ import annotations

import datetime
import decimal
import math
import numbers
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tablevault_like.storage.arrow import REFUSALS


def kind_of(kind: Any) -> str | None:
    """Return what values of an Arrow type are for those who give them, ``None`` if Arrow compares no such values."""
    types = pa.types
    if types.is_boolean(kind):
        return "True or False"
    if types.is_integer(kind) or types.is_float32(kind) or types.is_float64(kind):
        return "a number"
    if types.is_string(kind) or types.is_large_string(kind):
        return "a string"
    if types.is_binary(kind) or types.is_large_binary(kind):
        return "bytes"
    if types.is_timestamp(kind):
        return "a time" if kind.tz is None else "a time with its zone"
    if types.is_duration(kind):
        return "a timedelta"
    return "a date" if types.is_date32(kind) else None


def place_of(value: Any, kind: Any) -> Any:
    """Return a value as cells of an Arrow type are compared: counts of its unit as fractions, else what Arrow takes.

    ``None`` is for NaN, which is no cell's equal and comes in no order; ``NotImplemented`` for what can't be compared.
    """
    try:
        return _place(value, kind)
    except REFUSALS:
        return NotImplemented


def array_of(values: Sequence[Any], kind: Any) -> Any:
    """Return exact values, each as ``place_of`` gives it, as an Arrow array of a type."""
    if any(isinstance(value, Fraction) for value in values):
        if pa.types.is_integer(kind):
            return pa.array([int(value) for value in values], kind)
        storage = pa.int32() if pa.types.is_date32(kind) else pa.int64()
        return pa.array([int(value) for value in values], storage).cast(kind)
    return pa.array(values, kind)


def is_exact(value: Any, kind: Any) -> bool:
    """Tell whether a cell of a type can have a value, given as ``place_of`` gives it."""
    if not isinstance(value, Fraction):
        return True
    if value.denominator != 1:
        return False
    width = int(kind.bit_width)
    least = 0 if pa.types.is_unsigned_integer(kind) else -(2 ** (width - 1))
    return bool(least <= value < least + 2**width)


def _place(value: Any, kind: Any) -> Any:
    types = pa.types
    if types.is_boolean(kind):
        return value if isinstance(value, bool) else NotImplemented
    if types.is_integer(kind) or types.is_floating(kind):
        if isinstance(value, bool) or not isinstance(value, numbers.Real | decimal.Decimal):
            return NotImplemented
        return _number(value, kind)
    if types.is_string(kind) or types.is_large_string(kind):
        return value if isinstance(value, str) and _is_unicode(value) else NotImplemented
    if types.is_binary(kind) or types.is_large_binary(kind):
        return value if isinstance(value, bytes) else NotImplemented
    if types.is_timestamp(kind):
        if not isinstance(value, str | datetime.date | np.datetime64):
            return NotImplemented
        moment: Any = pd.Timestamp(value)
        if moment is pd.NaT or (moment.tz is None) is not (kind.tz is None):
            return NotImplemented
        return Fraction(moment.asm8.view("i8").item() * _PER_SECOND[kind.unit], _PER_SECOND[moment.unit])
    if types.is_duration(kind):
        if not isinstance(value, str | datetime.timedelta | np.timedelta64):
            return NotImplemented
        length: Any = pd.Timedelta(value)
        if length is pd.NaT:
            return NotImplemented
        return Fraction(length.asm8.view("i8").item() * _PER_SECOND[kind.unit], _PER_SECOND[length.unit])
    day = datetime.date.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(day, datetime.date) or isinstance(day, datetime.datetime):
        return NotImplemented
    return Fraction((day - datetime.date(1970, 1, 1)).days)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_BEYOND = Fraction(2**100)


def _number(value: Any, kind: Any) -> Any:
    if value != value:  # NaN
        return None
    if pa.types.is_floating(kind):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if value in (math.inf, -math.inf):
        return _BEYOND if value > 0 else -_BEYOND
    return Fraction(value)
