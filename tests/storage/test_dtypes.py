from __future__ import annotations

import datetime
import zoneinfo
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.errors import TVArgumentError, TVTableError
from tablevault_like.storage import arrow
from tablevault_like.storage.columns import KNOWN_DTYPES, dtype_name, parse_dtype
from tablevault_like.storage.dtypes import coerce
from tests.storage.exact import same
from tests.storage.frames import assert_same, frames

NOON = datetime.datetime(2024, 1, 1, 12)
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


def objects(values: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({"a": pd.Series(values, dtype=object)})


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, None, True, 2.0, "3", np.int8(4)], "Int64", [1, pd.NA, 1, 2, 3, 4]),
        ([1, "2", 3.0], "int8", [1, 2, 3]),
        ([float("nan"), None, pd.NA], "Int32", [pd.NA, pd.NA, pd.NA]),
        ([2**63], "uint64", [2**63]),
        ([2**63, None], "UInt64", [2**63, pd.NA]),
        ([2**70], "float64", [float(2**70)]),
        ([1, 0.1, "0.5", None, True], "Float32", [1.0, float(np.float32(0.1)), 0.5, pd.NA, 1.0]),
        ([2**53 + 1], "float64", [2.0**53]),
        ([float("inf"), float("-inf")], "float32", [float("inf"), float("-inf")]),
        ([True, 0, 1.0, "true", "False", None], "boolean", [True, False, True, True, False, pd.NA]),
        ([True, False], "bool", [True, False]),
        (["a", 1, 1.5, True, None, float("nan"), NOON], "string", ["a", "1", "1.5", "True", pd.NA, pd.NA, str(NOON)]),
        ([datetime.date(2024, 1, 1), ""], "string", ["2024-01-01", ""]),
        (["a/b.txt", None], "artifact_string", ["a/b.txt", pd.NA]),
        (
            [NOON, "2024-01-01T12:00", datetime.date(2024, 1, 1), None, pd.NaT],
            "datetime64[s]",
            [
                pd.Timestamp(NOON).as_unit("s"),
                pd.Timestamp(NOON).as_unit("s"),
                pd.Timestamp("2024-01-01").as_unit("s"),
                pd.NaT,
                pd.NaT,
            ],
        ),
        ([NOON.replace(microsecond=5)], "datetime64[s]", [pd.Timestamp(NOON).as_unit("s")]),
        (
            [NOON.replace(tzinfo=datetime.UTC), "2024-01-01T13:00+01:00"],
            "datetime64[us, UTC]",
            [pd.Timestamp(NOON, tz="UTC").as_unit("us")] * 2,
        ),
        ([NOON], "datetime64[us, Europe/Berlin]", [pd.Timestamp(NOON, tz=BERLIN).as_unit("us")]),
        (
            [datetime.timedelta(seconds=1), "1 days", None],
            "timedelta64[ms]",
            [pd.Timedelta(1, "s").as_unit("ms"), pd.Timedelta(1, "D").as_unit("ms"), pd.NaT],
        ),
        (["b", None, "a"], "category", ["b", float("nan"), "a"]),
        ([1, "a", [2]], "object", [1, "a", [2]]),
        ([1, None], "int64[pyarrow]", [1, pd.NA]),
    ],
    ids=str,
)
def test_values_that_fit_become_the_dtype(values: list[Any], dtype: str, expected: list[Any]) -> None:
    found = coerce(objects(values), {"a": dtype})["a"]

    assert dtype_name(found.dtype) == ("string" if dtype == "artifact_string" else dtype)
    assert same(found.tolist(), expected)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, "x", 2], "Int64"),
        ([1, 1.5, 2], "Int64"),
        ([1, float("inf")], "Int64"),
        ([1, "1.5"], "int64"),
        ([1, 300], "int8"),
        ([1, -1], "uint8"),
        ([1, 2**64], "uint64"),
        ([1, None], "int64"),
        ([True, None], "bool"),
        ([1, NOON], "Int64"),
        ([1, datetime.timedelta(1)], "float64"),
        ([1, [1]], "Int64"),
        ([1.0, 1e300], "float32"),
        ([1.0, "x"], "float64"),
        ([1.0, 10**400], "float64"),
        ([True, 2], "boolean"),
        ([True, "maybe"], "boolean"),
        (["a", ["b"]], "string"),
        (["a", {"b": 1}], "string"),
        (["a", b"b"], "string"),
        (["a", (1,)], "string"),
        (["a", 5], "artifact_string"),
        (["a", ["b"]], "artifact_string"),
        ([NOON, "x"], "datetime64[us]"),
        ([NOON, 5], "datetime64[us]"),
        ([NOON, NOON.replace(tzinfo=BERLIN)], "datetime64[us]"),
        ([NOON, datetime.datetime.max], "datetime64[ns]"),
        ([NOON, datetime.datetime(2024, 3, 31, 2, 30)], "datetime64[us, Europe/Berlin]"),
        ([NOON, datetime.timedelta(1)], "datetime64[us]"),
        ([datetime.timedelta(1), NOON], "timedelta64[us]"),
        ([datetime.timedelta(1), 1], "timedelta64[us]"),
        (["a", ["b"]], "category"),
        ([1, "x"], "int64[pyarrow]"),
        ([1, np.zeros(2)], "float64"),
    ],
    ids=str,
)
@pytest.mark.parametrize("padding", [0, 7])
def test_a_value_that_does_not_fit_is_told_with_column_and_row(values: list[Any], dtype: str, padding: int) -> None:
    frame = objects([values[0]] * padding + values + [values[0]] * padding)

    with pytest.raises(TVTableError) as caught:
        coerce(frame, {"a": dtype})

    assert (caught.value.column, caught.value.row) == ("a", padding + 1)
    assert f"Row {padding + 1} of column 'a' h" in str(caught.value)  # it holds something, or has no value
    assert repr(dtype) in str(caught.value)


def test_the_row_is_found_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow, "BLOCK", 10)

    for bad in (0, 9, 10, 34, 99):
        values: list[Any] = [1] * 100
        values[bad] = "x"
        with pytest.raises(TVTableError) as caught:
            coerce(objects(values), {"a": "Int64"})
        assert caught.value.row == bad


@pytest.mark.parametrize(
    ("series", "dtype", "expected"),
    [
        (pd.Series([1.0, None]), "Int64", [1, pd.NA]),
        (pd.Series([1.0, None]), "Float64", [1.0, pd.NA]),
        (pd.Series([1.0, None]), "string", ["1.0", pd.NA]),
        (pd.Series([1, 2]), "string", ["1", "2"]),
        (pd.Series(["x", None], dtype="str"), "string", ["x", pd.NA]),
        (pd.Series([1, None], dtype="Int64"), "float64", [1.0, float("nan")]),
        (pd.Series([1, None], dtype="Int64"), "object", [1, None]),
        (pd.Series(["1", "2"], dtype="category"), "int8", [1, 2]),
        (pd.Series([1, 2], dtype="int64[pyarrow]"), "Int64", [1, 2]),
        (pd.Series([True, False]), "Int8", [1, 0]),
        (pd.Series(["x", None, 5], dtype=object), "str", ["x", float("nan"), "5"]),
    ],
)
def test_a_typed_column_becomes_another_dtype(series: pd.Series, dtype: str, expected: list[Any]) -> None:
    found = coerce(pd.DataFrame({"a": series}), {"a": dtype})["a"]

    assert found.dtype == parse_dtype(dtype)
    assert same(found.tolist(), expected)


def test_a_typed_column_that_does_not_fit_is_told() -> None:
    frame = pd.DataFrame({"a": pd.Series([1, 2, 1000], dtype="Int64")})

    with pytest.raises(TVTableError, match=r"Row 2 of column 'a' holds 1000.*'int8'"):
        coerce(frame, {"a": "int8"})


def test_missing_values_where_there_can_be_none_are_told_with_what_to_use() -> None:
    with pytest.raises(TVTableError) as caught:
        coerce(objects([1, None]), {"a": "int16"})
    assert str(caught.value) == (
        "Row 1 of column 'a' has no value, and the dtype 'int16' allows none to be missing. Give it a value, or give "
        "the column the dtype 'Int16' in 'dtypes', which allows that."
    )


@pytest.mark.parametrize(
    ("value", "dtype", "reason"),
    [
        ("soon", "datetime64[us]", "Time data soon is not ISO8601 format"),
        ("soon", "timedelta64[us]", "Could not convert 'soon' to NumPy timedelta"),
        (5, "artifact_string", "it must be the name of a file"),
    ],
)
def test_why_a_value_does_not_fit_is_told_in_whole_sentences(value: object, dtype: str, reason: str) -> None:
    with pytest.raises(TVTableError) as caught:
        coerce(objects([value]), {"a": dtype})
    assert str(caught.value) == (
        f"Row 0 of column 'a' holds {value!r}, which doesn't fit the dtype {dtype!r}: {reason}. Give a value that "
        "fits, or give the column another dtype in 'dtypes'."
    )


@given(frames)
def test_a_frame_fits_its_own_dtypes(frame: pd.DataFrame) -> None:
    own = {str(name): dtype_name(dtype) for name, dtype in frame.dtypes.items() if not str(dtype).endswith("[pyarrow]")}

    assert_same(coerce(frame, own), frame)


@given(frames, st.sampled_from(KNOWN_DTYPES))
def test_what_comes_of_a_column_has_the_dtype_or_is_told(frame: pd.DataFrame, dtype: str) -> None:
    for name in frame.columns:
        try:
            found = coerce(frame, {name: dtype})
        except TVTableError as error:
            told = error
        else:
            assert dtype_name(found[name].dtype) == dtype_name(parse_dtype(dtype))
            assert len(found) == len(frame)
            continue
        assert told.column == name
        assert told.row is not None or dtype == "category"


def test_other_columns_and_the_index_stay_as_they_are() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}, index=[5, 6])

    found = coerce(frame, {"a": "string"})

    assert found.index.tolist() == [5, 6]
    assert found["a"].tolist() == ["1", "2"]
    assert found["b"].tolist() == ["x", "y"]
    assert frame["a"].tolist() == [1, 2]


def test_a_column_may_have_any_name() -> None:
    found = coerce(pd.DataFrame({"self": [1], "other": [2]}), {"self": "string", "other": "Int8"})

    assert found.iloc[0].tolist() == ["1", 2]
    assert found.columns.tolist() == ["self", "other"]


def test_an_unknown_column_or_dtype_is_told() -> None:
    frame = pd.DataFrame({"text": [1]})

    with pytest.raises(TVArgumentError, match="Did you mean 'text'"):
        coerce(frame, {"texts": "string"})
    with pytest.raises(TVArgumentError, match="Did you mean 'string'"):
        coerce(frame, {"text": "strin"})
