"""Make values fit the dtypes that a builder declares.

1. A value fits if nothing that counts is lost: an integer within range, a float without a fraction as an integer, text
   that spells the value. Floats may be rounded, times cut to their unit. A time without a zone is one in the column's.
2. What doesn't fit is a TVTableError that names column, row and value.
3. A missing value fits every dtype but the integers and booleans of numpy. Where it isn't a float that is asked for,
   NaN is a missing value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tablevault_like.errors import TVArgumentError, TVTableError, nearest
from tablevault_like.model import ARTIFACT_DTYPE
from tablevault_like.storage import arrow
from tablevault_like.storage.arrow import REFUSALS, Encoding
from tablevault_like.storage.columns import (
    Form,
    Stored,
    arrow_type,
    dtype_name,
    from_stored,
    is_object,
    parse_dtype,
    to_stored,
)


def check_labels(frame: pd.DataFrame) -> None:
    """Raise TVTableError unless the columns have names, and different ones."""
    seen = set()
    for label in frame.columns:
        if type(label) is not str or not label:
            raise TVTableError(
                f"A column has the label {label!r}. Give every column a name: frame.rename(columns=...)."
            )
        if label in seen:
            raise TVTableError(f"Two columns are named {label!r}. Rename or drop one of them.", column=label)
        seen.add(label)


def check_dtypes(dtypes: Mapping[str, str], columns: Sequence[str]) -> None:
    """Raise TVArgumentError unless every dtype can be had and every column is there."""
    for column, name in dtypes.items():
        if column not in columns:
            raise TVArgumentError(f"dtypes names the column {column!r}, which isn't there.{nearest(column, columns)}")
        parse_dtype(name)


def coerce(frame: pd.DataFrame, dtypes: Mapping[str, str]) -> pd.DataFrame:
    """Return the frame with its columns made to fit ``dtypes``; others stay as they are.

    Raises TVTableError for the first value that doesn't fit, and what ``check_labels`` and ``check_dtypes`` raise.
    """
    check_labels(frame)
    check_dtypes(dtypes, list(frame.columns))
    if not dtypes:
        return frame
    fitted = frame.copy(deep=False)  # not assign: it takes no column that is named "self"
    for column, name in dtypes.items():
        fitted[column] = coerce_column(frame[column], name)
    return fitted


def coerce_column(series: pd.Series[Any], dtype: str) -> pd.Series[Any]:
    """Return one column made to fit a dtype, as ``coerce`` does."""
    target, name = parse_dtype(dtype), str(series.name)
    if series.dtype == target:
        return series
    if is_object(target):
        found = pd.Series([None if _is_missing(value) else value for value in series.tolist()], dtype=object)
    elif isinstance(target, pd.CategoricalDtype):
        found = _categorical(series, name)
    else:
        found = from_stored(fit_column(series, dtype))
    found.index = series.index
    found.name = series.name
    return found


def fit_column(series: pd.Series[Any], dtype: str) -> Stored:
    """Return a column, stored, made to fit any dtype but ``object`` and ``category``."""
    name = str(series.name)
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(object)
    if is_object(series.dtype):
        values = series.tolist()
        rows = range(len(values))
        arrays = [
            fit(values[start : start + arrow.BLOCK], dtype, column=name, rows=rows[start:])
            for start in rows[:: arrow.BLOCK]
        ]
    elif isinstance(series.dtype, np.dtype) and series.dtype.kind == "f":
        # There NaN is what pandas has for a missing value.
        arrays = [fit(pa.array(series.to_numpy(), from_pandas=True), dtype, column=name, rows=range(len(series)))]
    else:
        arrays = [fit(to_stored(series).values.combine_chunks(), dtype, column=name, rows=range(len(series)))]
    return Stored(pa.chunked_array(arrays, arrow_type(parse_dtype(dtype))), form_of(dtype))


def form_of(dtype: str) -> Form:
    """Return the form of a stored column that was made to fit a dtype."""
    return Form(ARTIFACT_DTYPE if dtype == ARTIFACT_DTYPE else dtype_name(parse_dtype(dtype)))


def fit(values: Any, dtype: str, *, column: str, rows: Sequence[int]) -> Any:
    """Return values (Python's, or an Arrow array) as an Arrow array of a dtype, any but ``object`` and ``category``.

    ``column`` and ``rows``, the positions of the values, are for the message of TVTableError.
    """
    target = parse_dtype(dtype)
    kind = arrow_type(target)
    cast = _cast_artifact if dtype == ARTIFACT_DTYPE else _cast
    try:
        array = _fitted(values, kind, cast)
    except REFUSALS as error:
        position, reason = _first_misfit(values, kind, cast, error)
        value = values[position].as_py() if isinstance(values, pa.Array) else values[position]
        raise _misfit(value, dtype, column, rows[position], _reason(reason)) from error
    if array.null_count and isinstance(target, np.dtype) and target.kind in "biu":
        position = array.is_null().to_pylist().index(True)
        raise TVTableError(
            f"Row {rows[position]} of column {column!r} has no value, and the dtype {dtype!r} allows none to be "
            f"missing. Give it a value, or give the column the dtype {arrow.nullable_name(target.name)!r} in 'dtypes', "
            "which allows that.",
            column=column,
            row=rows[position],
        )
    return array


_Cast = Callable[[Any, Any], Any]


def _fitted(values: Any, kind: Any, cast: _Cast) -> Any:
    """Return values as an array of an Arrow type. Raises one of REFUSALS if one of them doesn't fit."""
    if isinstance(values, pa.Array):
        return cast(values, kind)
    kinds = {*map(type, values)} - {type(None)}
    if kinds == {int} and pa.types.is_integer(kind):
        return pa.array(values, kind)  # also those that int64 can't hold
    if len(kinds) > 1 and pa.types.is_large_string(kind):
        return _fitted_by_type(values, kind, cast)  # 1 is spelled "1", whatever its neighbours are
    packed = arrow.pack_block(values, exact=False)
    if packed.encoding is Encoding.PLAIN:
        return cast(packed.values, kind)
    if len(kinds) > 1:
        return _fitted_by_type(values, kind, cast)
    if kinds == {int} and pa.types.is_floating(kind):
        return cast(pa.array(list(map(_to_float, values)), pa.float64()), kind)
    if not _is_common(kind):
        return pa.array(values, kind)  # lists, structs and what else Arrow has
    if len(values) > 1:
        return pa.concat_arrays([_fitted([value], kind, cast) for value in values])
    raise TypeError(f"it is a {kinds.pop().__name__}")


def _fitted_by_type(values: Sequence[object], kind: Any, cast: _Cast) -> Any:
    positions: dict[type, list[int]] = {}
    for position, value in enumerate(values):
        positions.setdefault(type(value), []).append(position)
    parts = [_fitted([values[position] for position in group], kind, cast) for group in positions.values()]
    order = np.empty(len(values), np.int64)
    order[np.concatenate(list(positions.values()))] = np.arange(len(values))
    return pa.concat_arrays(parts).take(pa.array(order))


def _to_float(value: int | None) -> float | None:
    return None if value is None else float(value)


def _cast(array: Any, kind: Any) -> Any:
    """Return an array of plain values as one of a type; loses nothing that counts, or raises one of REFUSALS."""
    source = array.type
    if source == kind:
        return array
    if pa.types.is_floating(source) and not pa.types.is_floating(kind):
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, source), array)
    if pa.types.is_null(source) or array.null_count == len(array):
        return pa.nulls(len(array), kind)
    if pa.types.is_large_string(kind):
        return _spelled(array)
    if pa.types.is_temporal(source) and not pa.types.is_temporal(kind):
        raise TypeError("it is a time")
    if pa.types.is_boolean(kind) and not (_is_text(source) or pa.types.is_boolean(source)):
        numbers = array.cast(pa.int64())
        if not pc.all(pc.is_in(numbers, value_set=pa.array([0, 1, None], pa.int64()))).as_py():
            raise ValueError("a number other than 0 and 1 is no boolean")
        return numbers.cast(kind)
    if pa.types.is_floating(kind):
        return _rounded(array, kind)
    if pa.types.is_timestamp(kind):
        return _as_moments(array, kind)
    if pa.types.is_duration(kind):
        return _as_lengths(array, kind)
    return array.cast(kind)


def _cast_artifact(array: Any, kind: Any) -> Any:
    found = _cast(array, kind)
    if found.null_count < len(found) and not _is_text(array.type):
        raise TypeError("it must be the name of a file")
    return found


def _spelled(array: Any) -> Any:
    """Return values as the text that Python's ``str`` gives for them."""
    source = array.type
    if _is_text(source) or pa.types.is_integer(source):
        return array.cast(pa.large_string())
    if not _is_common(source) and not pa.types.is_date(source) and not pa.types.is_time(source):
        raise TypeError(f"{source} is no text")
    return pa.array([None if value is None else str(value) for value in array.to_pylist()], pa.large_string())


def _rounded(array: Any, kind: Any) -> Any:
    wide = array.cast(pa.float64(), safe=False) if not _is_text(array.type) else array.cast(pa.float64())
    found = wide.cast(kind, safe=False)
    if pc.any(pc.xor(pc.is_inf(found.cast(pa.float64())), pc.is_inf(wide))).as_py():
        raise OverflowError(f"out of the range of {kind}")
    return found


def _as_moments(array: Any, kind: Any) -> Any:
    source = array.type
    if _is_text(source):
        parsed = pd.to_datetime(pd.Series(array.to_pylist(), dtype=object), format="ISO8601")
        array = arrow.pack_block(parsed.tolist(), exact=False).values
        source = array.type
    if pa.types.is_date(source):
        array = array.cast(pa.timestamp("us"))
        source = array.type
    if not pa.types.is_timestamp(source):
        raise TypeError("it is no time")
    if source.tz is None and kind.tz is not None:
        array = pc.assume_timezone(array, kind.tz, ambiguous="raise", nonexistent="raise")
    elif source.tz is not None and kind.tz is None:
        raise ValueError("it has a time zone, and the dtype has none")
    return _to_unit(array, kind)


def _as_lengths(array: Any, kind: Any) -> Any:
    if _is_text(array.type):
        parsed = pd.to_timedelta(pd.Series(array.to_pylist(), dtype=object))
        array = arrow.pack_block(parsed.tolist(), exact=False).values
    if not pa.types.is_duration(array.type):
        raise TypeError("it is no length of time")
    return _to_unit(array, kind)


def _to_unit(array: Any, kind: Any) -> Any:
    """Cast to another unit: to a coarser one by cutting, to a finer one only within its range."""
    is_coarser = arrow.UNITS.index(kind.unit) < arrow.UNITS.index(array.type.unit)
    return array.cast(kind, safe=not is_coarser)


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_large_string(kind) or pa.types.is_string(kind))


def _is_common(kind: Any) -> bool:
    """Tell whether an Arrow type is that of one of pandas' own dtypes."""
    return _is_text(kind) or any(
        test(kind)
        for test in (
            pa.types.is_boolean,
            pa.types.is_integer,
            pa.types.is_floating,
            pa.types.is_timestamp,
            pa.types.is_duration,
        )
    )


def _first_misfit(values: Any, kind: Any, cast: _Cast, reason: Exception) -> tuple[int, Exception]:
    """Return the position of the first value that doesn't fit, by halving, and why it doesn't."""
    start, length = 0, len(values)
    while length > 1:
        half = length // 2
        try:
            _fitted(values[start : start + half], kind, cast)
        except REFUSALS as error:
            reason, length = error, half
        else:
            start, length = start + half, length - half
    try:
        _fitted(values[start : start + 1], kind, cast)
    except REFUSALS as error:
        reason = error
    return start, reason


def _categorical(series: pd.Series[Any], column: str) -> pd.Series[Any]:
    try:
        return series.astype("category")
    except REFUSALS as error:
        for row, value in enumerate(series.tolist()):
            try:
                hash(value)
            except TypeError:
                raise _misfit(value, "category", column, row, "it can't be hashed") from error
        raise TVTableError(f"Column {column!r} can't be made a category: {error}.", column=column) from error


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT


def _reason(error: Exception) -> str:
    if not str(error):
        return type(error).__name__
    # pandas goes on with what to pass to the function of its that is called here.
    return str(error).splitlines()[0].removesuffix(" You might want to try:").rstrip(".")


def _misfit(value: object, dtype: str, column: str, row: int, reason: str) -> TVTableError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return TVTableError(
        f"Row {row} of column {column!r} holds {shown}, which doesn't fit the dtype {dtype!r}: {reason}. "
        "Give a value that fits, or give the column another dtype in 'dtypes'.",
        column=column,
        row=row,
    )
