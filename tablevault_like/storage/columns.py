"""One column between pandas and Arrow.

1. ``from_stored(to_stored(series))`` has the dtype and the values of ``series``; NaN and missing stay different in the
   nullable floats.
2. A dtype that can't come back out of a Parquet file as it was is refused when it is written.
3. The form of a stored column stands in its Arrow field's metadata, as JSON.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pandas.api.extensions import ExtensionDtype

from tablevault_like.errors import TVArgumentError, TVTableError, nearest
from tablevault_like.model import ARTIFACT_DTYPE
from tablevault_like.storage import arrow
from tablevault_like.storage.arrow import Encoding
from tablevault_like.storage.arrow_names import arrow_type_of
from tablevault_like.storage.documents import parsed
from tablevault_like.storage.values import decode, encode

Dtype: TypeAlias = "np.dtype[Any] | ExtensionDtype"

_METADATA_KEY = b"tablevault_like"

_NUMBERS = [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)] + ["float32", "float64"]
_NULLABLE = [arrow.nullable_name(name) for name in _NUMBERS]
KNOWN_DTYPES = (
    *_NUMBERS,
    *_NULLABLE,
    "float16",
    "bool",
    "boolean",
    "string",
    "str",
    "object",
    "category",
    ARTIFACT_DTYPE,
    *(f"{kind}64[{unit}]" for kind in ("datetime", "timedelta") for unit in arrow.UNITS),
    "datetime64[us, UTC]",
)


@dataclass(frozen=True, slots=True)
class Form:
    """How a column is stored: the dtype that it has in pandas, and how its values are written in Arrow.

    ``categories`` is the tagged JSON of a categorical dtype's categories, and ``categories_dtype`` their dtype.
    """

    dtype: str
    encoding: Encoding = Encoding.PLAIN
    categories: str | None = None
    categories_dtype: str | None = None
    ordered: bool = False

    def metadata(self) -> dict[bytes, bytes]:
        given = {name: value for name in self.__slots__ if (value := getattr(self, name)) not in (None, False)}
        return {_METADATA_KEY: json.dumps(given).encode()}

    @classmethod
    def of(cls, field: Any) -> Form:
        """Return the form of an Arrow field. Raises ValueError if it has none that can be understood."""
        try:
            return _read_form((field.metadata or {})[_METADATA_KEY])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"the form of column {field.name!r} is unknown") from error


@dataclass(frozen=True, slots=True)
class Stored:
    """A column in Arrow: a chunked array and its form."""

    values: Any
    form: Form


@functools.lru_cache(maxsize=256)
def _read_form(metadata: bytes) -> Form:
    given = parsed(metadata)
    form = Form(**{**given, "encoding": Encoding(given["encoding"])})
    if not form.dtype.endswith("[pyarrow]"):
        parse_dtype(form.dtype)
    return form


@functools.lru_cache(maxsize=256)
def parse_dtype(name: str) -> Dtype:
    """Return the pandas dtype of this name (``artifact_string`` is ``string``).

    Raises TVArgumentError if there is none, or if pandas and Parquet don't share it.
    """
    try:
        dtype = _dtype_named("string" if name == ARTIFACT_DTYPE else name)
    except (TypeError, ValueError, NotImplementedError, KeyError, SyntaxError):
        raise TVArgumentError(f"There is no dtype {name!r}.{nearest(str(name), KNOWN_DTYPES)}") from None
    if not _is_kept(dtype):
        raise TVArgumentError(
            f"A column can't have the dtype {name!r}: pandas and Parquet don't share it.{nearest(name, KNOWN_DTYPES)}"
        )
    return dtype


def _dtype_named(name: str) -> Dtype:
    try:
        dtype: Dtype = pd.api.types.pandas_dtype(name)
    except (TypeError, NotImplementedError):
        if not name.endswith("[pyarrow]"):
            raise
        return pd.ArrowDtype(arrow_type_of(name.removesuffix("[pyarrow]")))
    return dtype


def dtype_name(dtype: Dtype) -> str:
    """Return the name of a pandas dtype by which ``parse_dtype`` gives it back.

    >>> dtype_name(pd.StringDtype()), dtype_name(pd.StringDtype(na_value=float("nan")))
    ('string', 'str')
    """
    if isinstance(dtype, pd.StringDtype) and dtype.storage == "python" and dtype.na_value is pd.NA:
        return "string[python]"
    return str(dtype)


def is_object(dtype: Any) -> bool:
    """Tell whether a dtype is ``object``."""
    return isinstance(dtype, np.dtype) and dtype.kind == "O"


def to_stored(series: pd.Series[Any]) -> Stored:
    """Return a column in Arrow.

    Raises TVTableError for a dtype or a value that can't be kept, with the row of such a value.
    """
    dtype = series.dtype
    if is_object(dtype):
        values = series.to_numpy()
        blocks = range(0, len(values), arrow.BLOCK)
        packed = arrow.pack(lambda: (values[start : start + arrow.BLOCK].tolist() for start in blocks), exact=True)
        return Stored(packed.values, Form("object", packed.encoding))
    if not _is_kept(dtype):
        raise TVTableError(
            f"The dtype {dtype} can't be kept in a table. Convert the column with astype('string') first."
        )
    if isinstance(dtype, pd.CategoricalDtype):
        return _categories_to_stored(series, dtype)
    values = _native(series, dtype)
    chunked = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
    return Stored(chunked, Form(dtype_name(dtype)))


def from_stored(stored: Stored) -> pd.Series[Any]:
    """Return a stored column as a Series. Raises ValueError or TypeError if its values don't have its form."""
    values, form = stored.values, stored.form
    if form.dtype.endswith("[pyarrow]"):
        return pd.Series(pd.arrays.ArrowExtensionArray(values))
    dtype = parse_dtype(form.dtype)
    if is_object(dtype):
        return pd.Series(_objects(arrow.unpack(values, form.encoding)), dtype=object)
    if isinstance(dtype, pd.CategoricalDtype):
        return _categories_from_stored(stored)
    values = values.cast(arrow_type(dtype))
    if isinstance(dtype, pd.Float32Dtype | pd.Float64Dtype):
        # Not by pandas' own conversion, which takes NaN for missing.
        mask = values.is_null().to_numpy(zero_copy_only=False)
        return pd.Series(pd.arrays.FloatingArray(pc.fill_null(values, 0.0).to_numpy(), mask))
    if isinstance(dtype, ExtensionDtype):
        return pd.Series(dtype.__from_arrow__(values))  # type: ignore[attr-defined]
    found = values.to_numpy()
    if found.dtype != dtype:
        raise ValueError(f"missing values in a column of dtype {dtype}")
    return pd.Series(found)


def arrow_type(dtype: Dtype) -> Any:
    """Return the Arrow type that holds the values of a pandas dtype.

    Raises ValueError for ``object`` and ``category``, which have none of their own.
    """
    if isinstance(dtype, pd.ArrowDtype):
        return dtype.pyarrow_dtype
    if isinstance(dtype, pd.StringDtype):
        return pa.large_string()
    if isinstance(dtype, pd.DatetimeTZDtype):
        return pa.timestamp(dtype.unit, arrow.zone_name(dtype.tz))
    numpy_dtype = dtype if isinstance(dtype, np.dtype) else getattr(dtype, "numpy_dtype", np.dtype(object))
    if numpy_dtype.kind == "O":
        raise ValueError(f"no Arrow type for {dtype}")
    return pa.from_numpy_dtype(numpy_dtype)


def with_missing(stored: Stored) -> Stored:
    """Return a column in a form that can hold missing values: ``int64`` becomes ``Int64``, ``bool`` ``boolean``."""
    dtype = None if stored.form.dtype.endswith("[pyarrow]") else parse_dtype(stored.form.dtype)
    if isinstance(dtype, np.dtype) and dtype.kind in "biu":
        return Stored(stored.values, replace(stored.form, dtype=arrow.nullable_name(stored.form.dtype)))
    return stored


def _is_kept(dtype: Any) -> bool:
    if isinstance(dtype, np.dtype):
        if dtype.kind in "mM":
            return np.datetime_data(dtype) in [(unit, 1) for unit in arrow.UNITS] and bool(dtype.isnative)
        return dtype.char in "?bhilqBHILQefdO" and bool(dtype.isnative)
    if isinstance(dtype, pd.ArrowDtype):
        return _survives_parquet(dtype.pyarrow_dtype)
    if isinstance(dtype, pd.DatetimeTZDtype):
        try:
            return arrow.zone_name(dtype.tz) is not None
        except ValueError:
            return False
    return isinstance(dtype, pd.StringDtype | pd.CategoricalDtype) or str(dtype) in (*_NULLABLE, "boolean")


@functools.lru_cache(maxsize=256)
def _survives_parquet(kind: Any) -> bool:
    schema = pa.schema([pa.field("column", kind)])
    sink = pa.BufferOutputStream()
    try:
        pq.write_table(schema.empty_table(), sink)
        return bool(pq.read_schema(pa.BufferReader(sink.getvalue())).field(0).type == kind)
    except (pa.ArrowException, OSError):
        return False


def _native(series: pd.Series[Any], dtype: Dtype) -> Any:
    if isinstance(dtype, pd.DatetimeTZDtype):
        instants = series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
        return pa.array(instants, arrow_type(dtype))
    if isinstance(dtype, np.dtype):
        return pa.array(series.to_numpy(), from_pandas=False)
    if isinstance(dtype, pd.StringDtype):
        return pa.array(series.array, pa.large_string(), from_pandas=True)
    return pa.array(series.array)


def _objects(values: list[Any]) -> np.ndarray[Any, Any]:
    objects = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):  # at once, numpy would take nested lists for further dimensions
        objects[row] = value
    return objects


def _categories_to_stored(series: pd.Series[Any], dtype: pd.CategoricalDtype) -> Stored:
    categories = pd.Series(dtype.categories)
    stored = to_stored(categories)
    codes = series.cat.codes.to_numpy().astype(np.int64)
    values = stored.values.take(pa.array(codes, mask=codes < 0))
    form = Form(
        "category",
        stored.form.encoding,
        categories=encode(categories.tolist()),
        categories_dtype=stored.form.dtype,
        ordered=bool(dtype.ordered),
    )
    return Stored(values, form)


def _categories_from_stored(stored: Stored) -> pd.Series[Any]:
    form = stored.form
    known = decode(form.categories or "[]")
    objects = _objects(known)
    categories = pd.Series(objects, dtype=parse_dtype(form.categories_dtype or "object"))
    codes = pc.index_in(stored.values, value_set=to_stored(categories).values.combine_chunks())
    if codes.null_count != stored.values.null_count:
        raise ValueError("a value that is none of the categories")
    dtype = pd.CategoricalDtype(pd.Index(categories), ordered=form.ordered)
    return pd.Series(pd.Categorical.from_codes(pc.fill_null(codes, -1).to_numpy(), dtype=dtype))
