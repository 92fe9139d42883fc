"""Say whether two values are the same in value and type, and make values of every kind."""

from __future__ import annotations

import datetime
import math
import struct
import uuid
import zoneinfo
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

ZONES = [zoneinfo.ZoneInfo(name) for name in ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu")]


def same(one: Any, other: Any) -> Any:
    """Tell whether two values have the same types and values throughout; NaN is NaN, 0.0 is not -0.0."""
    if type(one) is not type(other):
        return False
    if one is other:
        return True
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or struct.pack("d", one) == struct.pack("d", other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return len(one) == len(other) and all(map(same, one.items(), other.items()))
    if isinstance(one, set | frozenset):
        return one == other and sorted(map(_kind, one)) == sorted(map(_kind, other))
    if isinstance(one, Decimal):
        return repr(one) == repr(other)
    if isinstance(one, pd.Timestamp):
        return one.asm8 == other.asm8 and one.unit == other.unit and zone(one) == zone(other)
    if isinstance(one, datetime.datetime | datetime.time):
        return (
            one.replace(tzinfo=None) == other.replace(tzinfo=None)
            and one.fold == other.fold
            and zone(one) == zone(other)
        )
    if isinstance(one, pd.Timedelta):
        return one.asm8 == other.asm8 and one.unit == other.unit
    if isinstance(one, np.ndarray):
        if one.dtype != other.dtype or one.shape != other.shape:
            return False
        if one.dtype.kind == "O":
            return all(map(same, one.ravel().tolist(), other.ravel().tolist()))
        return one.tobytes() == other.tobytes()
    if isinstance(one, np.generic):
        return one.dtype == other.dtype and (one.tobytes() == other.tobytes() or bool(one != one and other != other))
    return bool(one == other)


def _kind(value: Any) -> str:
    return type(value).__name__


def zone(value: Any) -> Any:
    found = value.tzinfo
    return (type(found), found.utcoffset(None), found.tzname(None)) if isinstance(found, datetime.timezone) else found


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
fixed_zones = st.builds(
    lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes)), st.integers(-23 * 60, 23 * 60)
)
named_zones = st.builds(lambda zone, name: datetime.timezone(zone.utcoffset(None), name), fixed_zones, texts)
zones = st.none() | st.sampled_from(ZONES) | fixed_zones | named_zones
plain_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**700), 10**700)
    | st.floats()
    | texts
    | st.binary(max_size=20)
)
times = (
    st.dates()
    | st.datetimes(timezones=zones, allow_imaginary=True)
    | st.times(timezones=zones)
    | st.timedeltas()
    | st.decimals()
    | st.builds(lambda number: uuid.UUID(int=number), st.integers(0, 2**128 - 1))
)
dtypes = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="=")
    | hnp.unsigned_integer_dtypes(endianness="=")
    | hnp.floating_dtypes(endianness="=", sizes=(16, 32, 64))
    | hnp.complex_number_dtypes(endianness="=", sizes=(64, 128))
    | hnp.datetime64_dtypes(endianness="=")
    | hnp.timedelta64_dtypes(endianness="=")
    | hnp.byte_string_dtypes(endianness="=", max_len=5)
    | hnp.unicode_string_dtypes(endianness="=", max_len=5)
)


def _scalar(array: np.ndarray[Any, Any]) -> Any:
    return array[()]


numpy_arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3), elements=None)
numpy_scalars = hnp.arrays(dtypes, ()).map(_scalar)
timestamps = st.builds(
    lambda value, unit, zone: (
        pd.Timestamp(np.int64(value).view("M8[us]")).as_unit(unit)
        if zone is None
        else pd.Timestamp(np.int64(value).view("M8[us]")).as_unit(unit).tz_localize("UTC").tz_convert(zone)
    ),
    st.integers(-(2**52), 2**52),
    st.sampled_from(["s", "ms", "us", "ns"]),
    st.none() | st.sampled_from(ZONES) | fixed_zones,
)
pandas_scalars = (
    timestamps
    | st.builds(
        lambda value, unit: pd.Timedelta(value, "us").as_unit(unit),
        st.integers(-(2**50), 2**50),
        st.sampled_from(["s", "ms", "us", "ns"]),
    )
    | st.sampled_from([pd.NA, pd.NaT])
)
scalars = plain_scalars | times | numpy_scalars | pandas_scalars
keys = st.none() | st.booleans() | st.integers() | texts | st.dates() | st.tuples(st.integers(), texts)
hashable = keys | st.frozensets(st.integers(), max_size=3)
anything = st.recursive(
    scalars | numpy_arrays,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(hashable, inner, max_size=4)
        | st.dictionaries(st.sampled_from(["~tuple", "~", "", "a", "~dict"]), inner, max_size=2)
        | st.sets(hashable, max_size=4)
        | st.frozensets(hashable, max_size=4)
    ),
    max_leaves=10,
)
