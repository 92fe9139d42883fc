"""Checksums of what a row store holds: of each row, and of each record beside the rows.

The sum of a row is 64 bits, as SQLite keeps them: above 32 bits over its value, below 32 bits over all else that is
recorded of it. Both begin with the builder's *name*, the row's position and its status, so that neither a row that took
the place of another, nor one whose status was changed, has the right sum; and so that rows can be told apart by their
builders when nothing but the rows is left. They are CRC-32s: any change of up to 32 bits in a row is found for certain,
anything else but for one case in 2**32.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from zlib import crc32

_MASK = 0xFFFFFFFF
_SPREAD = 0x9E3779B1  # odd, so that each position has a start of its own
_NO_VALUE = 0x5BD1E995
_HALF = 0x80000000
_EFFORT = struct.Struct("<qqd")  # attempts, code, seconds


def start_of(builder: str) -> int:
    """Return with what the sums of a builder's rows begin."""
    return crc32(builder.encode("utf-8", "surrogatepass"))


def value_sum(start: int, row: int, status: int, value: str | None) -> int:
    """Return the sum over a row's value."""
    first = (start + row * _SPREAD + status) & _MASK
    return first ^ _NO_VALUE if value is None else crc32(value.encode("utf-8", "surrogatepass"), first)


def row_sum(
    start: int,
    row: int,
    status: int,
    value: str | None,
    attempts: int,
    seconds: float,
    input_hash: bytes | None,
    code: int,
    error: str | None = None,
    cost: float | None = None,
    tokens: int | None = None,
    inputs: str | None = None,
) -> int:
    """Return the sum of a row, in the order of its columns."""
    first = (start + row * _SPREAD + status) & _MASK
    effort = crc32(_EFFORT.pack(attempts, code, seconds), first)
    if input_hash is not None:
        effort = crc32(input_hash, effort)
    if error is not None or cost is not None or tokens is not None or inputs is not None:
        rest = (error, None if cost is None else float(cost), tokens, inputs)
        effort = crc32(repr(rest).encode("utf-8", "surrogatepass"), effort)
    value_part = first ^ _NO_VALUE if value is None else crc32(value.encode("utf-8", "surrogatepass"), first)
    return ((value_part - _HALF) << 32) | effort


def sum_if_row(start: int | None, row: Sequence[Any]) -> int | None:
    """Return the sum of what may be a row of any types; None if no row can be that, or if ``start`` is None."""
    try:
        if start is None or not isinstance(row[0], int):  # a text would be repeated, two billion times
            return None
        return row_sum(start, *row)
    except (TypeError, ValueError, AttributeError, struct.error):
        return None


def done_rows(
    builder: int, start: int, rows: Iterable[tuple[int, str, int, float, bytes | None, int]]
) -> Iterator[tuple[object, ...]]:
    """Yield rows that are done at no price, each with the builder's number before it and its sum behind it.

    A row is its position, value, attempts, seconds, input hash and code. One by one: many at once would be many objects
    for the garbage collector.
    """
    start += 1  # their status
    pack = _EFFORT.pack
    for row, value, attempts, seconds, input_hash, code in rows:
        first = start + row * _SPREAD  # of which crc32 takes the lowest 32 bits
        effort = crc32(pack(attempts, code, seconds), first)
        if input_hash is not None:
            effort = crc32(input_hash, effort)
        total = ((crc32(value.encode(), first) - _HALF) << 32) | effort
        yield builder, row, value, attempts, seconds, input_hash, code, total


def is_row(start: int, row: Sequence[Any]) -> bool:
    """Tell whether a row, in the order of its columns, has the sum that is its last item. It may be of any types."""
    try:
        return isinstance(row[0], int) and bool(row_sum(start, *row[:-1]) == row[-1])
    except (TypeError, ValueError, AttributeError, struct.error):
        return False


VALUE_OF_SUM = "(sum >> 32) + 2147483648"
"""What ``sound_values`` takes of a sum, in SQL: it is shorter, and so faster."""


def sound_values(start: int, rows: Sequence[tuple[int, str, int]]) -> list[tuple[int, str]]:
    """Return the rows whose values are those of their sums, without the sums.

    All are done: position (None if it is no number), value, ``VALUE_OF_SUM``.
    """
    first = start + 1
    try:
        return [
            (row, value)
            for row, value, found in rows
            if crc32(value.encode(), first + row * _SPREAD) == found  # it takes the lowest 32 bits
        ]
    except (TypeError, AttributeError, UnicodeEncodeError):
        # Something is of another type than it was.
        return [(row, value) for row, value, found in rows if _has_value(start, row, value, found)]


def _has_value(start: int, row: object, value: object, found: object) -> bool:
    if type(row) is not int or not (value is None or type(value) is str):
        return False
    return found == value_sum(start, row, 1, value)


def process_sum(process_id: str) -> int:
    """Return what tells the row store of one process from that of another."""
    return crc32(process_id.encode("utf-8", "surrogatepass"))


def sum_of(*values: object) -> int:
    """Return the sum of a record of text, numbers, bytes and None."""
    return crc32(repr(values).encode("utf-8", "surrogatepass"))
