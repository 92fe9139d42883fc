"""The cells of a column as plain Python objects: int, float, str, bool, datetime, ..., and None where one is missing.

1. No more than a part of a column exists as Python objects at any time: blocks of it, the latest of them kept.
2. Cells that are read in order, or again and again, cost a look-up in a list; a cell here and there of a long column
   is converted by itself.
3. A NaN that isn't a missing value (in ``Float64``, Arrow and object columns) stays a NaN. In a NumPy float column the
   two can't be told apart: both are missing.
4. A time with nanoseconds, or beyond the year 9999, stays a ``pandas.Timestamp``: a datetime would lose it.
5. Cells of object columns are given as they are, not copied: whoever hands them to user code gives a copy.
"""

from __future__ import annotations

import copy
import datetime
import decimal
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

_BLOCK_ROWS = 8192
_BLOCK_BYTES = 2 << 20
_BLOCKS_KEPT = 64

# Until a block is converted each cell of it is converted alone; when that has cost as much as the block would, it is.
_CELLS_PER_BLOCK = 64

PLAIN_TYPES = frozenset(
    {
        bool,
        bytes,
        datetime.date,
        datetime.datetime,
        datetime.time,
        datetime.timedelta,
        decimal.Decimal,
        float,
        int,
        pd.Timedelta,
        pd.Timestamp,
        str,
        type(None),
        uuid.UUID,
    }
)
"""What needs no copy, because nobody can change it."""


class Cells:
    """The cells of a column by position. Any number of threads may read them."""

    __slots__ = ("_array", "_blocks", "_length", "_lock", "_mask", "_misses", "_shift", "_tolerated")

    def __init__(self, column: pd.Series[Any]) -> None:
        self._array: Any = column.array
        self._length = len(column)
        self._shift = _block_shift(self._array)
        self._mask = (1 << self._shift) - 1
        self._tolerated = (1 << self._shift) // _CELLS_PER_BLOCK
        self._blocks: dict[int, list[Any]] = {}
        self._misses: dict[int, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._length

    @property
    def array(self) -> Any:
        """The pandas array that holds the cells."""
        return self._array

    def at(self, position: int) -> Any:
        """Return the cell at a position, or None where there is none: beyond the end, or before the start."""
        try:
            return self._blocks[position >> self._shift][position & self._mask]
        except (KeyError, IndexError):
            return self._convert(position)

    def take(self, positions: np.ndarray[Any, Any]) -> list[Any]:
        """Return the cells at several positions, all of which must exist."""
        if len(positions) <= _CELLS_PER_BLOCK:
            return [self.at(position) for position in positions.tolist()]
        return plain(self._array.take(positions))

    def blocks(self) -> Iterator[list[Any]]:
        """Yield all cells in order, block by block, without keeping them."""
        step = 1 << self._shift
        for start in range(0, self._length, step):
            yield plain(self._array[start : start + step])

    def _convert(self, position: int) -> Any:
        if not 0 <= position < self._length:
            return None
        number = position >> self._shift
        # Another block would make one of those kept go, which is worth less if reads jump about.
        tolerated = self._tolerated if len(self._blocks) < _BLOCKS_KEPT else 4 * self._tolerated
        misses = self._misses.get(number, 0) + 1  # threads may miss a count: it decides about speed only
        if misses <= tolerated:
            self._misses[number] = misses
            return _plain_cell(self._array, position)
        return self._block(number)[position & self._mask]

    def _block(self, number: int) -> list[Any]:
        with self._lock:
            block = self._blocks.get(number)
            if block is None:
                start = number << self._shift
                block = plain(self._array[start : start + self._mask + 1])
                while len(self._blocks) >= _BLOCKS_KEPT:
                    self._blocks.pop(next(iter(self._blocks)), None)
                self._blocks[number] = block
                self._misses.pop(number, None)
            return block


def _block_shift(array: Any) -> int:
    """Return the power of two that is the length of a block: fewer rows where cells are long."""
    bytes_per_row = max(1, array.nbytes // max(1, len(array)))
    rows: int = max(1, min(_BLOCK_ROWS, _BLOCK_BYTES // bytes_per_row))
    return rows.bit_length() - 1


def plain(array: Any) -> list[Any]:
    """Return what a pandas array holds as a list of plain Python objects."""
    match array:
        case pd.arrays.DatetimeArray():
            return _datetimes(pd.DatetimeIndex(array))
        case pd.arrays.TimedeltaArray():
            return _timedeltas(pd.TimedeltaIndex(array))
        case pd.arrays.ArrowExtensionArray():
            return list(map(_plain_time, pa.array(array).to_pylist()))
        case pd.Categorical():
            # By way of the categories, since an array of numbers with gaps would become one of floats.
            categories = [*plain(array.categories.array), None]
            return [categories[code] for code in array.codes.tolist()]
        case pd.arrays.NumpyExtensionArray():
            return _from_numpy(array.to_numpy())
        case _:
            return _none_for_missing(array.to_numpy(dtype=object, na_value=None).tolist())


def _plain_cell(array: Any, position: int) -> Any:
    """Return one cell: quickly where that is easily right."""
    cell = array[position]
    if type(cell) is str:
        return cell
    if isinstance(cell, np.integer | np.bool_) and array.dtype.kind in "iub":
        return cell.item()
    return plain(array[position : position + 1])[0]


def _from_numpy(array: np.ndarray[Any, Any]) -> list[Any]:
    cells: list[Any] = array.tolist()
    if array.dtype.kind == "O":
        return _none_for_missing(cells)
    if array.dtype.kind in "fc" and np.isnan(array).any():
        return [None if cell != cell else cell for cell in cells]
    return cells


def _none_for_missing(cells: list[Any]) -> list[Any]:
    return [None if cell is pd.NA or cell is pd.NaT else cell for cell in cells]


def _datetimes(index: pd.DatetimeIndex) -> list[Any]:
    if not _has_nanoseconds(index):
        try:
            return _none_for_missing(index.to_pydatetime().tolist())
        except ValueError:  # a year that datetime doesn't have
            pass
    return [_plain_time(cell) for cell in index]


def _timedeltas(index: pd.TimedeltaIndex) -> list[Any]:
    if not _has_nanoseconds(index):
        try:
            return _none_for_missing(index.to_pytimedelta().tolist())
        except (ValueError, OverflowError):
            pass
    return [_plain_time(cell) for cell in index]


def _has_nanoseconds(index: pd.DatetimeIndex | pd.TimedeltaIndex) -> bool:
    return index.unit == "ns" and bool((index.asi8[index.notna()] % 1000).any())


def _plain_time(cell: Any) -> Any:
    """Return a time as Python's own if that loses nothing, and any other cell as it is."""
    try:
        if isinstance(cell, pd.Timestamp) and not cell.nanosecond:
            return cell.to_pydatetime()
        if isinstance(cell, pd.Timedelta) and not cell.nanoseconds:
            return cell.to_pytimedelta()
    except (ValueError, OverflowError):
        return cell
    return None if cell is pd.NaT else cell


def copied(value: Any) -> Any:
    """Return what user code may change without anybody else seeing it.

    A frame is copied when somebody writes to it, by pandas; the lists and dicts in its cells are shared all the same.
    """
    kind = type(value)
    if kind in PLAIN_TYPES:
        return value
    if kind is list:
        return value.copy() if PLAIN_TYPES.issuperset(map(type, value)) else [copied(item) for item in value]
    if kind is dict:
        return {key: copied(item) for key, item in value.items()}
    if kind is tuple:
        return tuple(map(copied, value))
    if isinstance(value, pd.DataFrame | pd.Series):
        return value.copy(deep=False)
    return copy.deepcopy(value)
