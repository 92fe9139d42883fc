"""Finding the rows that meet a condition without looking at every row.

Positions are rows' positions in their frame, always in ascending order. An index is made when it is first asked, once,
whichever thread asks; after that it never changes.

Missing cells and NaN equal nothing and lie in no range. So do cells that can't be hashed, such as lists.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tablevault_like.references.cells import Cells

Positions = np.ndarray[tuple[int], np.dtype[np.int64]]


class EqualIndex:
    """The rows by the value of a column, or by the values of several: a hash table.

    A value is what the column's cell is as a Python object, or a tuple of such for several columns. Values are equal
    where Python says so: 5 equals 5.0.
    """

    __slots__ = ("_codes", "_columns", "_lock", "_order", "_positions", "_starts")

    def __init__(self, columns: Sequence[Cells]) -> None:
        self._columns = tuple(columns)
        self._lock = threading.Lock()
        # The rows of the value with code c are _order[_starts[c]:_starts[c + 1]].
        self._codes: dict[Hashable, int] | None = None
        self._order: Positions = np.empty(0, np.int64)
        self._positions = self._order.data
        self._starts = self._order.data

    def find(self, value: Any) -> int | Positions | None:
        """Return the position of the row that has the value, those of the rows, or None where none has it.

        Raises TypeError for a value that can't be hashed.
        """
        codes = self._codes
        if codes is None:
            codes = self._build()
        code = codes.get(value)
        if code is None:
            return None
        start, stop = self._starts[code], self._starts[code + 1]
        return self._positions[start] if stop - start == 1 else self._order[start:stop]

    def _build(self) -> dict[Hashable, int]:
        with self._lock:
            if self._codes is None:
                codes: dict[Hashable, int] = {}
                row_codes = np.fromiter(self._row_codes(codes), np.int64)
                positions = np.flatnonzero(row_codes >= 0)
                found = row_codes[positions]
                self._order = positions[np.argsort(found, kind="stable")]
                self._positions = self._order.data
                self._starts = np.concatenate(([0], np.cumsum(np.bincount(found, minlength=len(codes))))).data
                self._codes = codes  # at last: from here on other threads use it all
            return self._codes

    def _row_codes(self, codes: dict[Hashable, int]) -> Iterator[int]:
        """Number the values in the order in which they occur; a row that can't be found has -1."""
        for value in self._values():
            try:
                yield -1 if _is_unfindable(value) else codes.setdefault(value, len(codes))
            except TypeError:  # it can't be hashed
                yield -1

    def _values(self) -> Iterator[Any]:
        if len(self._columns) == 1:
            for block in self._columns[0].blocks():
                yield from block
        else:
            yield from zip(*(_cells(column) for column in self._columns), strict=True)


def _cells(column: Cells) -> Iterator[Any]:
    for block in column.blocks():
        yield from block


def _is_unfindable(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(map(_is_unfindable, value))
    return value is None or (isinstance(value, float) and value != value)


class OrderIndex:
    """The rows in the order of a column's values."""

    __slots__ = ("_cells", "_lock", "_order", "_ranks")

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._lock = threading.Lock()
        self._order: Positions | None = None
        self._ranks: Positions | None = None

    def find(self, start: Any, stop: Any) -> Positions:
        """Return the positions of the rows with start <= value < stop: none if a bound is None or a NaN.

        Raises TypeError if the values, or the values and the bounds, can't be compared with one another.
        """
        first, last = self._bounds(start, stop)
        return np.sort(self._ordered()[first:last])

    def keep(self, positions: Positions, start: Any, stop: Any) -> Positions:
        """Return those of the positions whose rows have start <= value < stop. Raises TypeError as ``find`` does."""
        first, last = self._bounds(start, stop)
        ranks = self._ranked()[positions]
        return positions[(ranks >= first) & (ranks < last)]

    def _bounds(self, start: Any, stop: Any) -> tuple[int, int]:
        if _is_unfindable(start) or _is_unfindable(stop):
            return 0, 0
        positions = self._ordered().data
        at = self._cells.at
        return bisect_left(positions, start, key=at), bisect_left(positions, stop, key=at)

    def _ordered(self) -> Positions:
        with self._lock:
            if self._order is None:
                self._order = _order(self._cells)
            return self._order

    def _ranked(self) -> Positions:
        order = self._ordered()
        with self._lock:
            if self._ranks is None:
                ranks = np.full(len(self._cells), -1, np.int64)
                ranks[order] = np.arange(len(order))
                self._ranks = ranks
            return self._ranks


def _order(cells: Cells) -> Positions:
    """Sort the positions of all cells that have a value as Python compares the cells."""
    array = cells.array
    present = np.flatnonzero(~np.asarray(pd.isna(array)))
    if array.dtype.kind not in "iufbmM" and not isinstance(array.dtype, pd.StringDtype):
        values = dict(zip(present.tolist(), cells.take(present), strict=True))
        return np.array(sorted(values, key=values.__getitem__), np.int64)
    taken = array.take(present)
    if array.dtype.kind == "f":
        numbers = np.asarray(taken, float)
        present, taken = present[~np.isnan(numbers)], numbers[~np.isnan(numbers)]
    return np.asarray(present[np.asarray(taken.argsort(kind="stable"))], np.int64)
