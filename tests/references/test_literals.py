import datetime
import decimal
import uuid

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tablevault_like.references.cells import Cells
from tablevault_like.references.literals import Literals

UTC = datetime.UTC
ID = uuid.UUID(int=5)


def literals(values, dtype):
    return Literals(Cells(pd.Series(values, dtype=dtype)))


@pytest.mark.parametrize(
    ("dtype", "text", "expected"),
    [
        ("Int64", "5", 5),
        ("Int64", "-5", -5),
        ("Int64", "+5.0", 5),
        ("Int64", "1e3", 1000),
        ("int8", "5", 5),
        ("Float64", "5", 5.0),
        ("Float64", "-.5e-1", -0.05),
        ("float64", "inf", float("inf")),
        ("float32", "0.1", float(np.float32("0.1"))),
        ("Float32", "0.1", float(np.float32("0.1"))),
        ("boolean", "true", True),
        ("bool", "False", False),
        ("boolean", "1", True),
        ("string", "5", "5"),
        ("string", "true", "true"),
        ("str", "", ""),
        ("datetime64[us]", "2024-05-06", pd.Timestamp("2024-05-06")),
        ("datetime64[us]", "2024", pd.Timestamp("2024-01-01")),
        ("datetime64[ns]", "2024-05-06T12:30", pd.Timestamp("2024-05-06 12:30")),
        ("datetime64[ns]", "2024-05-06 12:30:00.123456789", pd.Timestamp("2024-05-06 12:30:00.123456789")),
        ("datetime64[us, Europe/Berlin]", "2024-05-06 12:30", pd.Timestamp("2024-05-06 12:30", tz="Europe/Berlin")),
        ("datetime64[us, Europe/Berlin]", "2024-05-06 12:30Z", pd.Timestamp("2024-05-06 12:30", tz="UTC")),
        ("timedelta64[us]", "1 day 02:00:00", pd.Timedelta(hours=26)),
        (pd.CategoricalDtype(["a", "b"]), "c", "c"),
        (pd.CategoricalDtype([1, 2]), "2", 2),
        (pd.ArrowDtype(pa.int32()), "5", 5),
        (pd.ArrowDtype(pa.string()), "5", "5"),
        (pd.ArrowDtype(pa.float32()), "0.1", float(np.float32("0.1"))),
        (pd.ArrowDtype(pa.date32()), "2024-05-06", datetime.date(2024, 5, 6)),
        (pd.ArrowDtype(pa.decimal128(5, 2)), "1.5", decimal.Decimal("1.5")),
        (pd.ArrowDtype(pa.timestamp("us", "UTC")), "2024-05-06", pd.Timestamp("2024-05-06", tz="UTC")),
        (pd.ArrowDtype(pa.time64("us")), "12:30", datetime.time(12, 30)),
    ],
    ids=str,
)
def test_text_is_read_as_the_type_of_the_column(dtype, text, expected):
    column = literals([], dtype)
    (value,) = column.read(text)
    assert value == expected
    assert isinstance(value, type(expected))
    assert column.is_definite


@pytest.mark.parametrize(
    ("dtype", "text"),
    [
        ("Int64", "five"),
        ("Int64", "5.5"),
        ("Int64", ""),
        ("Int64", "1_000"),
        ("Int64", "true"),
        ("Int64", "5" * 5000),
        ("Int64", "0x10"),
        ("Float64", "nan"),
        ("Float64", "1_0.0"),
        ("boolean", "yes"),
        ("datetime64[us]", "5"),
        ("datetime64[us]", "today"),
        ("datetime64[us]", "12:30"),
        ("datetime64[us]", "2024-13-01"),
        ("datetime64[us, Europe/Berlin]", "2024-03-31 02:30"),
        ("timedelta64[us]", "soon"),
        ("timedelta64[us]", "nat"),
        (pd.CategoricalDtype([1, 2]), "x"),
        (pd.ArrowDtype(pa.date32()), "yesterday"),
        (pd.ArrowDtype(pa.decimal128(5, 2)), "nan"),
        (pd.ArrowDtype(pa.decimal128(5, 2)), "snan"),
        (pd.ArrowDtype(pa.list_(pa.int8())), "[1]"),
    ],
    ids=str,
)
def test_text_that_no_value_has_is_an_error(dtype, text):
    values = [[1]] if "list" in str(dtype) else []
    with pytest.raises(ValueError, match="is not a value of dtype"):
        literals(values, dtype).read(text)


def test_text_for_a_column_of_objects_is_read_as_all_types_in_it():
    mixed = literals(["5", 5, 5.5, True, datetime.date(2024, 1, 1), None, [1], ID], object)
    assert not mixed.is_definite
    assert sorted(mixed.read("5"), key=str) == ["5", 5, 5.0]
    assert sorted(mixed.read("true"), key=str) == [True, "true"]
    assert datetime.date(2024, 1, 1) in mixed.read("2024-01-01")
    assert ID in mixed.read(str(ID))
    assert mixed.read("plain") == ("plain",)


def test_column_of_objects_of_one_type_has_that_type():
    dates = literals([datetime.date(2024, 1, 1), None], object)
    assert dates.is_definite
    assert dates.read("2024-01-02") == (datetime.date(2024, 1, 2),)
    with pytest.raises(ValueError, match="dtype object"):
        dates.read("x")


def test_column_without_cells_fits_any_text_and_finds_none():
    assert literals([None, None], object).read("x") == ()
    assert literals([], object).read_bound("x") is None


def test_bounds_of_integers_may_be_fractions():
    assert literals([], "Int64").read_bound("2.5") == 2.5
    assert literals([], "Int64").read_bound("-inf") == float("-inf")
    with pytest.raises(ValueError, match="dtype Int64"):
        literals([], "Int64").read_bound("x")


def test_reading_too_large_a_number_for_a_short_float_warns_of_nothing():
    assert literals([], "float32").read("1e300") == (float("inf"),)


@pytest.mark.parametrize(
    ("dtype", "cell"),
    [
        ("Int64", 1),
        ("float32", 1.5),
        ("boolean", True),
        ("string", "a"),
        ("datetime64[us, UTC]", datetime.datetime(2024, 5, 6, tzinfo=UTC)),
        ("timedelta64[us]", datetime.timedelta(1)),
        (pd.ArrowDtype(pa.decimal128(5, 2)), decimal.Decimal("1.5")),
        (pd.ArrowDtype(pa.date32()), datetime.date(2024, 5, 6)),
    ],
    ids=str,
)
@pytest.mark.parametrize("text", ["1", "0.1", "a", "true", "2024-05-06"])
def test_a_dtype_alone_says_what_a_column_of_it_says(dtype, cell, text):
    def reading(read):
        try:
            return read(text)
        except ValueError as error:
            return str(error)

    known, found = Literals.of_dtype(dtype), literals([cell], dtype)
    assert reading(known.read) == reading(found.read)
    assert reading(known.read_bound) == reading(found.read_bound)


@pytest.mark.parametrize("dtype", ["object", "category"])
def test_a_dtype_alone_does_not_say_what_objects_are(dtype):
    assert Literals.of_dtype(pd.Series([], dtype=dtype).dtype).read("abc") == ()
