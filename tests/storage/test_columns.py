from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.errors import TVArgumentError, TVTableError
from tablevault_like.storage.arrow import Encoding
from tablevault_like.storage.columns import (
    KNOWN_DTYPES,
    Form,
    Stored,
    arrow_type,
    dtype_name,
    from_stored,
    parse_dtype,
    to_stored,
    with_missing,
)
from tests.storage.frames import assert_same, columns


@given(st.integers(0, 6).flatmap(columns))
def test_a_column_comes_back_from_arrow_as_it_was(content: Any) -> None:
    series = pd.Series(content, name="a")

    found = from_stored(to_stored(series)).rename("a")

    assert_same(found.to_frame(), series.to_frame())


@given(st.integers(1, 6).flatmap(columns), st.data())
def test_a_part_of_a_stored_column_comes_back(content: Any, data: st.DataObject) -> None:
    series = pd.Series(content, name="a")
    start = data.draw(st.integers(0, len(series) - 1))
    stored = to_stored(series)

    found = from_stored(Stored(stored.values.slice(start), stored.form)).rename("a")

    assert_same(found.to_frame(), series.iloc[start:].to_frame())


@pytest.mark.parametrize("name", KNOWN_DTYPES)
def test_a_known_dtype_has_its_name(name: str) -> None:
    dtype = parse_dtype(name)

    assert parse_dtype(dtype_name(dtype)) == dtype
    assert dtype_name(dtype) == ("string" if name == "artifact_string" else name)


@pytest.mark.parametrize("name", ["int", "float", "string[python]", "int64[pyarrow]", "datetime64[ms, Europe/Berlin]"])
def test_other_dtypes_of_pandas_that_parquet_shares_are_had_too(name: str) -> None:
    assert parse_dtype(dtype_name(parse_dtype(name))) == parse_dtype(name)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("int46", "'int64'"),
        ("Strin", "'string'"),
        ("nonsense dtype", "no dtype"),
        ("", "no dtype"),
        ("period[D]", "Parquet"),
        ("interval", "Parquet"),
        ("Sparse[int]", "Parquet"),
        ("complex128", "Parquet"),
        ("datetime64[D]", "Parquet"),
        (">i4", "Parquet"),
        ("U5", "Parquet"),
        ("i8,f4", "Parquet"),
        ("timestamp[s][pyarrow]", "Parquet"),
    ],
)
def test_a_dtype_that_a_table_can_not_have_is_told(name: str, told: str) -> None:
    with pytest.raises(TVArgumentError) as caught:
        parse_dtype(name)

    assert told in str(caught.value)
    assert repr(name) in str(caught.value)


def test_a_zone_that_can_not_be_named_is_told() -> None:
    zone = datetime.timezone(datetime.timedelta(seconds=30))
    series = pd.Series(pd.to_datetime(["2024-01-01"])).dt.tz_localize(zone)

    with pytest.raises(TVTableError, match="can't be kept"):
        to_stored(series)


@pytest.mark.parametrize(
    "form",
    [
        Form("Int64"),
        Form("object", Encoding.JSON),
        Form("category", categories='["a"]', categories_dtype="str", ordered=True),
        Form("artifact_string"),
    ],
    ids=str,
)
def test_a_form_is_read_from_what_it_wrote(form: Form) -> None:
    assert Form.of(pa.field("a", pa.int64(), metadata=form.metadata())) == form


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {"tablevault_like": "?"},
        {"tablevault_like": "[]"},
        {"tablevault_like": '{"dtype":"x","encoding":"plain"}'},
        {"tablevault_like": '{"dtype":"Int64","encoding":"plain","more":1}'},
    ],
)
def test_what_is_no_form_is_told(metadata: Any) -> None:
    with pytest.raises(ValueError, match="form of column 'a'"):
        Form.of(pa.field("a", pa.int64(), metadata=metadata))


@pytest.mark.parametrize(
    ("series", "dtype"),
    [
        (pd.Series([1], dtype="uint8"), "UInt8"),
        (pd.Series([True]), "boolean"),
        (pd.Series([1.5]), "float64"),
        (pd.Series([[1]]), "object"),
        (pd.Series([1], dtype="int64[pyarrow]"), "int64[pyarrow]"),
    ],
)
def test_a_column_gets_a_dtype_that_can_be_missing(series: pd.Series, dtype: str) -> None:
    stored = with_missing(to_stored(series))
    longer = Stored(stored.values.take(pa.array([0, None])), stored.form)

    assert str(from_stored(longer).dtype) == dtype
    assert from_stored(longer).isna().tolist() == [False, True]


def test_object_and_category_have_no_arrow_type_of_their_own() -> None:
    for name in ("object", "category"):
        with pytest.raises(ValueError, match=name):
            arrow_type(parse_dtype(name))


def test_nan_and_missing_stay_different() -> None:
    series = pd.Series(pd.arrays.FloatingArray(np.array([np.nan, 1.0]), np.array([False, True])))

    found = from_stored(to_stored(series))

    assert found.isna().tolist() == [False, True]
    assert np.isnan(found[0])
