"""Which cells are equal: whatever a table can hold, and whatever stands for a missing one."""

from __future__ import annotations

import datetime
import time
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.comparison.cells import codes, equal
from tablevault_like.storage.columns import parse_dtype

NAN = float("nan")


def series(values: list[Any], dtype: str = "object") -> pd.Series:
    if dtype != "object":
        return pd.Series(values, dtype=parse_dtype(dtype))
    found = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        found[row] = value
    return pd.Series(found, dtype=object)


EQUAL = [
    (1, "int64", 1, "int64"),
    (1, "int64", 1, "Int8"),
    (1, "int64", 1.0, "float64"),
    (2**62, "int64", 2**62, "Int64"),
    (2**64 - 1, "uint64", 2**64 - 1, "UInt64"),
    (1.5, "float32", 1.5, "Float64"),
    (NAN, "float64", NAN, "float64"),
    (NAN, "float64", None, "Float64"),
    (None, "Int64", None, "string"),
    (None, "object", NAN, "object"),
    (None, "object", pd.NA, "object"),
    ("a", "string", "a", "str"),
    ("a", "string", "a", "object"),
    ("a", "string", "a", "category"),
    ("a", "category", "a", "category"),
    (None, "category", None, "category"),
    (True, "bool", True, "boolean"),
    ("2024-01-01", "datetime64[us]", "2024-01-01", "datetime64[ns]"),
    ("2024-01-01T12:00Z", "datetime64[us, UTC]", "2024-01-01T12:00Z", "datetime64[us, Europe/Berlin]"),
    (None, "datetime64[us]", None, "datetime64[us]"),
    ([1, 2], "object", [1, 2], "object"),
    ([1, NAN], "object", [1, NAN], "object"),
    ({"a": 1, "b": [NAN]}, "object", {"a": 1, "b": [NAN]}, "object"),
    ({"a": 1, "b": 2}, "object", {"b": 2, "a": 1}, "object"),
    (np.array([1.0, NAN]), "object", np.array([1.0, NAN]), "object"),
    ({1, 2}, "object", {2, 1}, "object"),
    (Decimal("1.50"), "object", Decimal("1.5"), "object"),
    (datetime.date(2024, 1, 1), "object", datetime.date(2024, 1, 1), "object"),
]

DIFFERENT = [
    (1, "int64", 2, "int64"),
    (2**62, "int64", float(2**62 + 1024), "float64"),
    (2**53 + 1, "int64", float(2**53), "float64"),
    (NAN, "float64", 0.0, "float64"),
    (None, "Int64", 0, "Int64"),
    (None, "object", "", "object"),
    (None, "object", [], "object"),
    ("a", "string", "b", "string"),
    ("1", "string", 1, "int64"),
    ("a", "category", "b", "category"),
    (True, "bool", False, "boolean"),
    (1, "object", "1", "object"),
    (1, "object", True, "object"),
    (1, "object", 1.0, "object"),
    ([1], "object", [1, 2], "object"),
    ([1], "object", (1,), "object"),
    ({"a": 1}, "object", {"a": 2}, "object"),
    (np.array([1, 2]), "object", np.array([1, 3]), "object"),
    (np.array([1, 2]), "object", np.array([1, 2, 3]), "object"),
    ("2024-01-01", "datetime64[us]", "2024-01-02", "datetime64[us]"),
    ("2024-01-01", "datetime64[us]", "2024-01-01T00:00Z", "datetime64[us, UTC]"),
]


@pytest.mark.parametrize(("old", "old_dtype", "new", "new_dtype"), EQUAL)
def test_are_equal(old: Any, old_dtype: str, new: Any, new_dtype: str) -> None:
    assert equal(series([old], old_dtype), series([new], new_dtype)).tolist() == [True]
    assert equal(series([new], new_dtype), series([old], old_dtype)).tolist() == [True]


@pytest.mark.parametrize(("old", "old_dtype", "new", "new_dtype"), DIFFERENT)
def test_differ(old: Any, old_dtype: str, new: Any, new_dtype: str) -> None:
    assert equal(series([old], old_dtype), series([new], new_dtype)).tolist() == [False]
    assert equal(series([new], new_dtype), series([old], old_dtype)).tolist() == [False]


def test_arrow_types_are_compared() -> None:
    old = pd.Series([1, None, 3], dtype=pd.ArrowDtype(pa.decimal128(10, 2)))
    nested = pd.Series([[1], None, [3]], dtype=pd.ArrowDtype(pa.list_(pa.int64())))

    assert equal(old, pd.Series([1, None, 4], dtype=pd.ArrowDtype(pa.decimal128(10, 2)))).tolist() == [
        True,
        True,
        False,
    ]
    assert equal(nested, nested.copy()).tolist() == [True, True, True]


def test_of_no_rows_are_none() -> None:
    assert equal(series([]), series([], "int64")).tolist() == []
    assert [found.tolist() for found in codes(series([]), series([], "string"))] == [[], []]


values = st.one_of(
    st.none(), st.integers(-3, 3), st.floats(-2, 2, width=16), st.text("ab", max_size=2), st.lists(st.integers(0, 1))
)


@given(st.lists(st.tuples(values, values), max_size=20))
def test_codes_are_the_same_where_cells_are_equal(pairs: list[tuple[Any, Any]]) -> None:
    old, new = series([one for one, _ in pairs]), series([other for _, other in pairs])

    one, other = codes(old, new)

    for left, a in zip(one, old, strict=True):
        for right, b in zip(other, new, strict=True):
            is_missing = a is None or b is None
            assert (left == right) == ((a is None) == (b is None) if is_missing else a == b)
            assert ((left < 0), (right < 0)) == (a is None, b is None)


def test_a_million_cells_are_compared_in_a_moment() -> None:
    old = pd.Series(np.arange(1_000_000, dtype=np.float64))
    texts = pd.Series(np.arange(1_000_000).astype(str), dtype="string")
    started = time.monotonic()

    assert equal(old, old.copy()).all()
    assert equal(texts, texts.copy()).all()

    assert time.monotonic() - started < 5
