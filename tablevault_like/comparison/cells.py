"""Which cells of two columns are equal, and which rows have the same key. All cells of a column are compared at once.

1. Missing values are equal to one another, whatever they are written as: NaN, None, NA, NaT.
2. Values are compared by what they are, not by the dtype of their column: 1 is equal to 1.0. In columns of dtype
   ``object`` their types must be the same, too.
3. Cells may be anything that a table can hold: lists, dicts, arrays.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from tablevault_like.errors import TVTableError
from tablevault_like.storage.columns import is_object
from tablevault_like.storage.values import encode

Flags: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"
Codes: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"


def equal(old: pd.Series[Any], new: pd.Series[Any]) -> Flags:
    """Return which cells are equal, position by position. Both have the same length."""
    old, new = _plain(old), _plain(new)
    missing, also_missing = old.isna().to_numpy(bool), new.isna().to_numpy(bool)
    same: Flags = missing & also_missing
    both = ~missing & ~also_missing
    if is_object(old.dtype) or is_object(new.dtype):
        same[both] = _equal_objects(old[both], new[both], is_strict=old.dtype == new.dtype)
    elif old.dtype == new.dtype and not isinstance(old.dtype, pd.ArrowDtype):
        same[both] = np.asarray(old.array[both] == new.array[both], bool)
    else:
        same[both] = _equal_objects(old[both], new[both], is_strict=False)
    return same


def codes(old: pd.Series[Any], new: pd.Series[Any]) -> tuple[Codes, Codes]:
    """Return numbers that are the same for equal cells, of whichever column; -1 for a missing one."""
    old, new = _plain(old), _plain(new)
    if old.dtype != new.dtype:
        old, new = old.astype(object), new.astype(object)
    both = pd.concat([old, new], ignore_index=True)
    try:
        found, _ = pd.factorize(both)
    except TypeError:  # lists, say
        found, _ = pd.factorize(pd.Series([_hashable(value) for value in both], dtype=object))
    found = found.astype(np.int64)
    return found[: len(old)], found[len(old) :]


def _hashable(value: object) -> object:
    try:
        hash(value)
    except TypeError:
        return _Unhashable, _text(value)
    return value


def _plain(series: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column with categories as their values."""
    series = series.reset_index(drop=True)
    if isinstance(series.dtype, pd.CategoricalDtype):
        return series.astype(series.dtype.categories.dtype if not series.hasnans else object)
    return series


def _equal_objects(old: pd.Series[Any], new: pd.Series[Any], *, is_strict: bool) -> Flags:
    pairs = zip(old.tolist(), new.tolist(), strict=True)
    return np.fromiter((_is_same(one, other, is_strict) for one, other in pairs), bool, count=len(old))


def _is_same(old: object, new: object, is_strict: bool) -> bool:
    if old is new:
        return True
    if type(old) is type(new) or not is_strict:
        try:
            if (old == new) is True:
                return True
        except (TypeError, ValueError):  # arrays, dates with and without a time zone
            pass
        if type(old) in _SCALARS and type(new) in _SCALARS:
            return False
    return _text(old) == _text(new)  # NaN in lists, arrays


class _Unhashable:
    """Stands before the text of a value that can't be hashed: no value is equal to it."""


_SCALARS = (str, int, float, bool, bytes)


def _text(value: object) -> str:
    try:
        return encode(value)
    except TVTableError:
        return repr(value)
