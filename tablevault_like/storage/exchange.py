"""Arrow tables that others have made, as frames with the dtypes that frames of a vault have."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tablevault_like.storage.columns import Form, Stored, from_stored

_NULLABLE = {
    pa.bool_(): "boolean",
    pa.int8(): "Int8",
    pa.int16(): "Int16",
    pa.int32(): "Int32",
    pa.int64(): "Int64",
    pa.uint8(): "UInt8",
    pa.uint16(): "UInt16",
    pa.uint32(): "UInt32",
    pa.uint64(): "UInt64",
    pa.float32(): "Float32",
    pa.float64(): "Float64",
    pa.string(): "string",
    pa.large_string(): "string",
}
_LARGEST = 2**63
_NANOSECONDS_A_DAY = 86_400_000_000_000


def frame_of(table: pa.Table) -> pd.DataFrame:
    """Return an Arrow table as a frame: numbers and texts in nullable dtypes, times in their own, all else as objects.

    Whole numbers of more digits than 64 bits hold, and lists, structs, dates and decimals, are Python's own. Labels
    that several columns have are theirs in the frame, too.
    """
    columns = [_series(table.column(place)) for place in range(table.num_columns)]
    frame = pd.DataFrame(dict(enumerate(columns)), index=pd.RangeIndex(table.num_rows))
    frame.columns = pd.Index(table.column_names, dtype="str")
    return frame


def _series(column: Any) -> pd.Series[Any]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _series(column.cast(kind.value_type))
    if pa.types.is_decimal(kind) and kind.scale == 0 and _is_small(column):
        return _series(column.cast(pa.int64()))
    if kind == pa.month_day_nano_interval():
        return _of_intervals(column)
    dtype = _NULLABLE.get(kind)
    if dtype is None and pa.types.is_timestamp(kind):
        dtype = f"datetime64[{kind.unit}]" if kind.tz is None else f"datetime64[{kind.unit}, {kind.tz}]"
    if dtype is None and pa.types.is_duration(kind):
        dtype = f"timedelta64[{kind.unit}]"
    if dtype is None:
        return _objects(column.to_pylist())
    return from_stored(Stored(column, Form(dtype)))


def _is_small(column: Any) -> bool:
    found = pc.min_max(column).as_py()
    ends = [each for each in (found["min"], found["max"]) if isinstance(each, Decimal)]
    return all(-_LARGEST <= each < _LARGEST for each in ends)


def _of_intervals(column: Any) -> pd.Series[Any]:
    """Return spans of time; those that have months have no length, and stay what they are."""
    values = column.to_pylist()
    if any(value is not None and value.months for value in values):
        return _objects(values)
    spans = [
        np.timedelta64("NaT", "us") if value is None else (value.days * _NANOSECONDS_A_DAY + value.nanoseconds) // 1000
        for value in values
    ]
    return pd.Series(np.array(spans, dtype="timedelta64[us]"))


def _objects(values: list[Any]) -> pd.Series[Any]:
    found = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):  # at once, numpy would take nested lists for further dimensions
        found[row] = value
    return pd.Series(found, dtype=object)
