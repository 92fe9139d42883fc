"""Keep a column's Python values in Arrow, in the type that is natural for them, and get the same values back.

1. ``exact=True``: what comes back has the values and the types of what went in. Values of one plain type (``bool``,
   ``int`` within 64 bits, ``float``, ``str``, ``bytes``, ``date``, naive ``time``), lists of such values, and
   one-dimensional numpy arrays of one dtype are kept as Arrow's own; anything else as tagged JSON (``values.encode``).
2. ``exact=False``: values may also be kept as another type that pandas has for them: integers among floats as floats
   (if no digit is lost), numpy scalars as their dtype, datetimes and timedeltas as those of pandas. Values of different
   types still come back exactly.
3. ``None`` is Arrow's null. NaN is a float. Without ``exact`` pandas' NA is null too, and NaT is among times.
4. The type is that of the whole column, however it is divided into blocks.
"""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tablevault_like.errors import TVTableError
from tablevault_like.storage.values import decode, encode

BLOCK = 10_000
"""Rows whose values are held as Python objects at one time."""

REFUSALS = (ValueError, TypeError, ArithmeticError, NotImplementedError)
"""What pandas and Arrow raise for a value that doesn't fit."""

_T = TypeVar("_T")

Unit: TypeAlias = Literal["s", "ms", "us", "ns"]
UNITS: tuple[Unit, ...] = ("s", "ms", "us", "ns")


class Encoding(StrEnum):
    """How the values of a column are written in Arrow."""

    PLAIN = "plain"
    ARRAY = "array"  # numpy arrays, as lists
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Packed:
    """Values in Arrow, and the pandas dtype that they have unless another one is asked for."""

    values: Any  # pa.Array, or pa.ChunkedArray for a whole column
    dtype: str = "object"
    encoding: Encoding = Encoding.PLAIN
    has_nat: bool = False  # among nulls only: the other blocks must be times

    @property
    def type(self) -> Any:
        return self.values.type


def pack(blocks: Callable[[], Iterable[Sequence[object]]], *, exact: bool) -> Packed:
    """Return a column's values, given in blocks, as one chunked array.

    ``blocks`` may be called twice. Raises TVTableError, with the row, for a value that can't be kept.
    """
    joined = join(_each(blocks(), lambda block: pack_block(block, exact=exact)), exact=exact)
    return joined if joined is not None else pack_json(blocks())


def pack_json(blocks: Iterable[Sequence[object]]) -> Packed:
    """Return a column's values as tagged JSON text. Raises TVTableError, with the row, as ``pack`` does."""
    return Packed(pa.chunked_array(_each(blocks, _json_array), pa.large_string()), encoding=Encoding.JSON)


def pack_block(values: Sequence[object], *, exact: bool) -> Packed:
    """Return one block of a column; ``join`` makes a column of several."""
    kinds = {*map(type, values)}
    kinds.discard(type(None))
    given = values
    if not exact:
        values, kinds = _without_missing(values, kinds)
    elif _NAT in kinds:
        return Packed(_json_array(values), encoding=Encoding.JSON)
    if not kinds - {_NAT}:
        return Packed(pa.nulls(len(values)), has_nat=bool(kinds))
    try:
        packed = _pack_arrays(values) if kinds == {np.ndarray} else _pack_plain(values, kinds, exact=exact)
    except REFUSALS:  # out of the type's range, for instance
        packed = None
    return packed or Packed(_json_array(given), encoding=Encoding.JSON)


def join(blocks: Sequence[Packed], *, exact: bool) -> Packed | None:
    """Return the blocks of a column as one; None if only JSON can hold what they hold together."""
    present = [block for block in blocks if not pa.types.is_null(block.type)]
    has_nat = any(block.has_nat for block in blocks)
    if not present:
        rows = sum(len(block.values) for block in blocks)
        return None if has_nat else Packed(pa.chunked_array([pa.nulls(rows)], pa.null()))
    common = _common(present, exact=exact)
    if common is None or (has_nat and not pa.types.is_temporal(common.type)):
        return None
    try:
        arrays = [_widened(block.values, common) for block in blocks]
    except pa.ArrowInvalid:  # an integer that no float holds, or a time out of a finer unit's range
        return None
    return Packed(pa.chunked_array(arrays, common.type), common.dtype, common.encoding)


def unpack(values: Any, encoding: Encoding) -> list[Any]:
    """Return the Python values of a chunked array that was packed with ``encoding``."""
    unpack_chunk = _UNPACKERS[encoding]
    return [value for chunk in values.chunks for value in unpack_chunk(chunk)]


def zone_name(zone: datetime.tzinfo | None) -> str | None:
    """Return Arrow's name for a time zone, None for none. Raises ValueError for a zone that Arrow can't name."""
    if zone is None:
        return None
    if isinstance(zone, zoneinfo.ZoneInfo) and zone.key is not None:
        return zone.key
    if isinstance(zone, datetime.timezone) and zone.tzname(None) == _offset(zone).tzname(None):
        seconds = zone.utcoffset(None).total_seconds()
        if seconds == 0:
            return "UTC"
        if seconds % 60 == 0:
            sign, minutes = "-" if seconds < 0 else "+", int(abs(seconds)) // 60
            return f"{sign}{minutes // 60:02}:{minutes % 60:02}"
    raise ValueError(f"a time zone of type {type(zone).__module__}.{type(zone).__qualname__} can't be kept")


def _offset(zone: datetime.timezone) -> datetime.timezone:
    """Return a zone of fixed offset without the name that it may have been given."""
    return datetime.timezone(zone.utcoffset(None))


def datetime_dtype(unit: Unit, zone: datetime.tzinfo | None) -> str:
    """Return the name of the pandas dtype for times of a unit in a zone."""
    return f"datetime64[{unit}]" if zone is None else str(pd.DatetimeTZDtype(unit, zone))


def _each(blocks: Iterable[Sequence[object]], step: Callable[[Sequence[object]], _T]) -> list[_T]:
    """Return what a step makes of each block. Raises TVTableError with the row in the column, not in the block."""
    made, rows = [], 0
    for block in blocks:
        try:
            made.append(step(block))
        except TVTableError as error:
            raise TVTableError(error.message, row=rows + (error.row or 0)) from None
        rows += len(block)
    return made


_NA, _NAT = type(pd.NA), type(pd.NaT)

_Plain = tuple[Any, str]  # an Arrow type, and the pandas dtype for it

_SIMPLE: dict[type, _Plain] = {
    bool: (pa.bool_(), "boolean"),
    int: (pa.int64(), "Int64"),
    float: (pa.float64(), "Float64"),
    str: (pa.large_string(), "string"),
    bytes: (pa.large_binary(), "object"),
    datetime.date: (pa.date32(), "object"),
}

_INTEGERS = (int, np.integer)
_FLOATS = (float, np.floating)
_MOMENTS = (datetime.datetime, np.datetime64)
_LENGTHS = (datetime.timedelta, np.timedelta64)


def _json_array(values: Sequence[object]) -> Any:
    texts: list[str | None] = []
    for row, value in enumerate(values):
        try:
            texts.append(None if value is None else encode(value))
        except TVTableError as error:
            raise TVTableError(error.message, row=row) from None
    return pa.array(texts, pa.large_string())


def _without_missing(values: Sequence[object], kinds: set[type]) -> tuple[Sequence[object], set[type]]:
    """Put None in the place of NA, and of NaT if all other values are times or all are lengths of time."""
    missing = kinds & {_NA, _NAT}
    others = kinds - missing
    if _NAT in missing and not (others and (_all_are(others, _MOMENTS) or _all_are(others, _LENGTHS))):
        missing.discard(_NAT)
    if missing:
        values = [None if type(value) in missing else value for value in values]
    return values, kinds - missing


def _all_are(kinds: Iterable[type], bases: tuple[type, ...]) -> bool:
    return all(issubclass(kind, bases) for kind in kinds)


def _pack_plain(values: Sequence[Any], kinds: set[type], *, exact: bool) -> Packed | None:
    (kind, *others) = kinds
    if not others and kind in _SIMPLE:
        plain: _Plain | None = _SIMPLE[kind]
    elif kinds == {datetime.time}:
        is_naive = all(value is None or (value.tzinfo is None and not value.fold) for value in values)
        plain = (pa.time64("us"), "object") if is_naive else None
    elif kinds == {list}:
        plain = _list_type(values)
    elif exact or not _are_known(kinds):
        plain = None
    elif _all_are(kinds, _MOMENTS):
        return _pack_moments(values, kinds)
    elif _all_are(kinds, _LENGTHS):
        return _pack_lengths(values, kinds)
    else:
        plain = _scalar_type(kinds)
    return None if plain is None else Packed(pa.array(values, plain[0], from_pandas=False), plain[1])


def _are_known(kinds: set[type]) -> bool:
    """Tell whether no kind is a subclass that would lose what it is, such as an enum."""
    known = (int, float, str, bool, datetime.datetime, datetime.timedelta, pd.Timestamp, pd.Timedelta)
    return all(kind in known or kind.__module__ == "numpy" for kind in kinds)


def _scalar_type(kinds: set[type]) -> _Plain | None:
    """Return the type for Python's and numpy's scalars together; None where they don't go together."""
    if _all_are(kinds, (bool, np.bool_)):
        return _SIMPLE[bool]
    if _all_are(kinds, (str, np.str_)):
        return _SIMPLE[str]
    if bool in kinds or not _all_are(kinds, _INTEGERS + _FLOATS):
        return None
    dtypes = {np.dtype(kind) for kind in kinds}
    return None if np.dtype(np.longdouble) in dtypes else _number_type(dtypes)


def _number_type(dtypes: set[np.dtype[Any]]) -> _Plain | None:
    """Return the type for numbers of some numpy dtypes together; None where there is none."""
    floats = {dtype for dtype in dtypes if dtype.kind == "f"}
    if floats and floats != dtypes:
        return _SIMPLE[float]  # an integer that the float can't hold is refused when it is converted
    dtype = np.result_type(*dtypes)
    if dtype.kind == "f" and not floats:  # int64 with uint64
        return None
    if dtype == np.float16:  # pandas has no nullable one
        dtype = np.dtype(np.float32)
    return pa.from_numpy_dtype(dtype), nullable_name(dtype.name)


def nullable_name(name: str) -> str:
    """Return the name of the pandas dtype that holds the same numbers and missing values.

    >>> nullable_name("uint8"), nullable_name("bool"), nullable_name("string")
    ('UInt8', 'boolean', 'string')
    """
    for prefix, replacement in (("int", "Int"), ("uint", "UInt"), ("float", "Float"), ("bool", "bool")):
        if name.startswith(prefix) and name != "boolean":
            return "boolean" if name == "bool" else replacement + name.removeprefix(prefix)
    return name


def _list_type(values: Sequence[Any]) -> _Plain | None:
    kinds = {*map(type, chain.from_iterable(value for value in values if value is not None))}
    kinds.discard(type(None))
    if not kinds:
        return pa.large_list(pa.null()), "object"
    (kind, *others) = kinds
    return (pa.large_list(_SIMPLE[kind][0]), "object") if not others and kind in (bool, int, float, str) else None


def _pack_arrays(values: Sequence[Any]) -> Packed | None:
    present: list[np.ndarray[Any, Any]] = [value for value in values if value is not None]
    dtype = present[0].dtype
    if dtype.char not in "?bhilqBHILQefd" or not dtype.isnative:
        return None
    if any(value.ndim != 1 or value.dtype != dtype for value in present):
        return None
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum([0 if value is None else len(value) for value in values], out=offsets[1:])
    mask = pa.array([value is None for value in values])
    items = pa.array(np.concatenate(present), from_pandas=False)
    return Packed(pa.LargeListArray.from_arrays(offsets, items, mask=mask), encoding=Encoding.ARRAY)


def _pack_moments(values: Sequence[Any], kinds: set[type]) -> Packed | None:
    zones = {zone_name(value.tzinfo): value.tzinfo for value in values if isinstance(value, datetime.datetime)}
    if len(zones) > 1 or (any(zones) and any(issubclass(kind, np.datetime64) for kind in kinds)):
        return None
    ((name, zone),) = zones.items() or ((None, None),)
    if kinds == {datetime.datetime}:
        unit: Unit = "us"
        array = pa.array(values, pa.timestamp(unit, name))
    else:
        moments = [None if pd.isna(value) else pd.Timestamp(value) for value in values]
        unit = _finest(moments, values)
        instants = [
            np.datetime64("NaT", unit) if each is None else each.as_unit(unit).to_datetime64() for each in moments
        ]
        array = pa.array(np.array(instants, f"datetime64[{unit}]"), pa.timestamp(unit, name))
    if name is not None and not _is_within_years(array, unit):
        return None
    return Packed(array, datetime_dtype(unit, zone))


def _is_within_years(array: Any, unit: Unit) -> bool:
    """Tell whether every instant has a date in any zone: pandas knows the years 1 to 9999 only."""
    first, last = np.datetime64("0001-01-03", unit), np.datetime64("9999-12-29", unit)
    bounds = pc.min_max(array.cast(pa.int64()))
    return bool(first.view("i8") <= bounds["min"].as_py() and bounds["max"].as_py() <= last.view("i8"))


def _pack_lengths(values: Sequence[Any], kinds: set[type]) -> Packed | None:
    if kinds == {datetime.timedelta}:
        unit: Unit = "us"
        array = pa.array(values, pa.duration(unit))
    else:
        lengths = [None if pd.isna(value) else pd.Timedelta(value) for value in values]
        unit = _finest(lengths, values)
        counts = [
            np.timedelta64("NaT", unit) if each is None else each.as_unit(unit).to_timedelta64() for each in lengths
        ]
        array = pa.array(np.array(counts, f"timedelta64[{unit}]"), pa.duration(unit))
    return Packed(array, f"timedelta64[{unit}]")


def _finest(converted: Sequence[Any], values: Sequence[Any]) -> Unit:
    """Return the finest unit of some pandas times. Raises ValueError for a numpy unit that pandas would change."""
    for value in values:
        if isinstance(value, (np.datetime64, np.timedelta64)) and np.datetime_data(value.dtype)[0] not in UNITS:
            raise ValueError(f"numpy's {value.dtype} would become another unit")
    units: set[Unit] = {each.unit for each in converted if each is not None}
    return max(units, key=UNITS.index)


def _common(blocks: Sequence[Packed], *, exact: bool) -> Packed | None:
    """Return a block, or an empty one, of the type that holds what all blocks hold; None if none does."""
    first = blocks[0]
    if any(block.encoding is not first.encoding for block in blocks):
        return None
    types = {block.type for block in blocks}
    if len(types) == 1:
        return first
    if first.encoding is not Encoding.PLAIN:
        return None
    if all(map(pa.types.is_large_list, types)):
        filled = [block for block in blocks if not pa.types.is_null(block.type.value_type)]
        return filled[0] if len({block.type for block in filled}) == 1 else None
    if exact:
        return None
    if all(map(pa.types.is_duration, types)) or (
        all(map(pa.types.is_timestamp, types)) and len({each.tz for each in types}) == 1
    ):
        return max(blocks, key=lambda block: UNITS.index(block.type.unit))
    plain = _number_type({np.dtype(each.to_pandas_dtype()) for each in types}) if all(map(_is_number, types)) else None
    return None if plain is None else Packed(pa.nulls(0, plain[0]), plain[1])


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _widened(array: Any, common: Packed) -> Any:
    if array.type == common.type:
        return array
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), common.type)
    return array.cast(common.type)


def _unpack_json(chunk: Any) -> Iterator[Any]:
    texts = chunk.to_numpy(zero_copy_only=False).tolist()
    return (None if text is None else decode(text) for text in texts)


def _unpack_arrays(chunk: Any) -> Iterator[np.ndarray[Any, Any] | None]:
    if not pa.types.is_large_list(chunk.type):
        raise ValueError(f"arrays can't be kept as {chunk.type}")
    items, offsets, present = _list_parts(chunk)
    values = items.to_numpy(zero_copy_only=False)
    for row, is_present in enumerate(present):
        # A copy, which can be written to and doesn't keep the whole column in memory.
        yield values[offsets[row] : offsets[row + 1]].copy() if is_present else None


def _unpack_plain(chunk: Any) -> Iterable[Any]:
    if pa.types.is_large_list(chunk.type):
        items, offsets, present = _list_parts(chunk)
        values = _plain_list(items)
        return (values[offsets[row] : offsets[row + 1]] if is_there else None for row, is_there in enumerate(present))
    return _plain_list(chunk)


def _list_parts(chunk: Any) -> tuple[Any, list[int], list[bool]]:
    """Return the items of all lists, where each list begins and the last one ends, and which lists are there."""
    offsets = chunk.offsets.to_numpy()
    items = chunk.values.slice(offsets[0], offsets[-1] - offsets[0])
    return items, (offsets - offsets[0]).tolist(), chunk.is_valid().to_pylist()


def _plain_list(array: Any) -> list[Any]:
    is_text = pa.types.is_large_string(array.type)
    if is_text or (array.null_count == 0 and (_is_number(array.type) or pa.types.is_boolean(array.type))):
        found: list[Any] = array.to_numpy(zero_copy_only=False).tolist()  # much faster than to_pylist
        return found
    return list(array.to_pylist())


_UNPACKERS: dict[Encoding, Callable[[Any], Iterable[Any]]] = {
    Encoding.PLAIN: _unpack_plain,
    Encoding.ARRAY: _unpack_arrays,
    Encoding.JSON: _unpack_json,
}
