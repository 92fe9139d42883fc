from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tablevault_like.errors import TVTableError
from tablevault_like.storage import arrow
from tablevault_like.storage.arrow import Encoding, pack, unpack
from tests.storage import exact as kinds
from tests.storage.exact import same

one_kind = st.sampled_from(
    [
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.integers(),
        st.floats(),
        kinds.texts,
        st.binary(max_size=5),
        st.dates(),
        st.times(),
        st.times(timezones=kinds.zones),
        st.datetimes(timezones=kinds.zones),
        st.timedeltas(),
        st.decimals(),
        st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), max_size=3),
        st.lists(st.floats(), max_size=3),
        st.lists(kinds.texts, max_size=3),
        st.lists(st.lists(st.integers(), max_size=2), max_size=2),
        kinds.numpy_arrays,
        kinds.numpy_scalars,
        kinds.pandas_scalars,
        kinds.anything,
    ]
)
columns = st.lists(one_kind, min_size=1, max_size=2).flatmap(
    lambda chosen: st.lists(st.none() | st.one_of(chosen), max_size=8)
)


def blocks(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (values[start : start + size] for start in range(0, len(values), size))


@given(columns, st.integers(1, 4))
@example([[1, None], None, [], [2]], 1)
@example([[], [1.5]], 1)
@example([1, 1.5], 1)
@example([np.array([1.5]), None, np.array([])], 1)
@example([np.array([1]), np.array([1.5])], 1)
@example([None, None], 1)
@example([1, 2**63], 1)
@example([float("nan"), None], 2)
@example([True, 1], 1)
def test_exactly_packed_values_come_back_as_they_were(values: list[Any], size: int) -> None:
    packed = pack(lambda: blocks(values, size), exact=True)

    assert same(unpack(packed.values, packed.encoding), values)


@given(columns, st.integers(1, 4), st.booleans())
def test_the_type_does_not_depend_on_the_blocks(values: list[Any], size: int, exact: bool) -> None:
    whole = pack(lambda: [values], exact=exact)
    divided = pack(lambda: blocks(values, size), exact=exact)

    assert (divided.type, divided.encoding, divided.dtype) == (whole.type, whole.encoding, whole.dtype)
    assert same(unpack(divided.values, divided.encoding), unpack(whole.values, whole.encoding))


BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
NOON = datetime.datetime(2024, 1, 1, 12)


@pytest.mark.parametrize(
    ("values", "dtype", "encoding"),
    [
        ([1, None, 3], "Int64", "plain"),
        ([True, None], "boolean", "plain"),
        ([1.5, float("nan"), None], "Float64", "plain"),
        ([1.5, 2], "Float64", "plain"),
        ([1.5, 2**53 + 1], "object", "json"),
        (["a", "", "NA", "None", None], "string", "plain"),
        ([2**63], "object", "json"),
        ([True, 1], "object", "json"),
        (["a", 1], "object", "json"),
        (["a", {"b": 1}], "object", "json"),
        ([[1.5], np.zeros(2)], "object", "json"),
        ([None, None], "object", "plain"),
        ([], "object", "plain"),
        ([1, pd.NA], "Int64", "plain"),
        ([1, pd.NaT], "object", "json"),
        ([pd.NaT, None], "object", "json"),
        ([NOON, None, pd.NaT], "datetime64[us]", "plain"),
        ([NOON.replace(tzinfo=BERLIN)], "datetime64[us, Europe/Berlin]", "plain"),
        ([NOON.replace(tzinfo=datetime.UTC)], "datetime64[us, UTC]", "plain"),
        (
            [NOON.replace(tzinfo=datetime.timezone(-datetime.timedelta(hours=3.5)))],
            "datetime64[us, UTC-03:30]",
            "plain",
        ),
        ([NOON.replace(tzinfo=datetime.timezone(datetime.timedelta(seconds=1)))], "object", "json"),
        ([NOON, NOON.replace(tzinfo=BERLIN)], "object", "json"),
        ([datetime.datetime(1, 1, 1, tzinfo=BERLIN)], "object", "json"),
        ([datetime.datetime(1, 1, 1), datetime.datetime.max], "datetime64[us]", "plain"),
        ([pd.Timestamp(NOON).as_unit("s"), pd.Timestamp(NOON).as_unit("ns")], "datetime64[ns]", "plain"),
        ([pd.Timestamp(NOON, tz="UTC").as_unit("ms")], "datetime64[ms, UTC]", "plain"),
        ([pd.Timestamp(1, unit="ns"), datetime.datetime.max], "object", "json"),
        ([np.datetime64("2024-01-01T00", "s")], "datetime64[s]", "plain"),
        ([np.datetime64("2024-01-01", "D")], "object", "json"),
        ([datetime.timedelta(seconds=1), None], "timedelta64[us]", "plain"),
        ([datetime.timedelta.max], "object", "json"),
        ([pd.Timedelta(1, "s").as_unit("s"), datetime.timedelta(seconds=1)], "timedelta64[us]", "plain"),
        ([np.int32(1), None], "Int32", "plain"),
        ([np.int32(1), 1], "Int64", "plain"),
        ([np.int8(1), np.uint8(1)], "Int16", "plain"),
        ([np.int64(1), np.uint64(1)], "object", "json"),
        ([np.float32(1), np.float32("nan")], "Float32", "plain"),
        ([np.float64(1), 1.5, np.int32(1)], "Float64", "plain"),
        ([np.bool_(True), False], "boolean", "plain"),
        ([np.str_("a"), "b"], "string", "plain"),
        ([datetime.date(2024, 1, 1)], "object", "plain"),
        ([datetime.time(1, 2)], "object", "plain"),
        ([datetime.time(1, 2, tzinfo=datetime.UTC)], "object", "json"),
        ([b"a"], "object", "plain"),
        ([Decimal("1.0")], "object", "json"),
        ([{"a": 1}], "object", "json"),
        ([(1, 2)], "object", "json"),
        ([[1], [], None, [None]], "object", "plain"),
        ([[], []], "object", "plain"),
        ([[1], ["a"]], "object", "json"),
        ([[True], [1]], "object", "json"),
        ([[{"a": 1}]], "object", "json"),
        ([np.zeros(2), None], "object", "array"),
        ([np.zeros((2, 2))], "object", "json"),
        ([np.zeros(2), np.zeros(2, "f4")], "object", "json"),
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [1, 10])
def test_values_have_the_dtype_that_is_natural_for_them(
    values: list[Any], dtype: str, encoding: str, size: int
) -> None:
    packed = pack(lambda: blocks(values, size), exact=False)

    assert (packed.dtype, packed.encoding) == (dtype, encoding)
    if encoding == "json":
        assert same(unpack(packed.values, packed.encoding), values)


def test_what_is_mixed_late_comes_back_exactly() -> None:
    values = [1.5, 2, np.int32(3), "text"]

    packed = pack(lambda: blocks(values, 3), exact=False)

    assert packed.encoding is Encoding.JSON
    assert same(unpack(packed.values, packed.encoding), values)


def test_a_value_that_can_not_be_kept_is_told_with_its_row() -> None:
    values = [1, {"a": 1}, 2, object()]

    with pytest.raises(TVTableError, match="artifact") as caught:
        pack(lambda: blocks(values, 3), exact=True)

    assert caught.value.row == 3


def test_arrays_that_come_back_can_be_written_to() -> None:
    values = [np.zeros(3), np.ones(2)]
    packed = pack(lambda: [values], exact=True)

    found = unpack(packed.values, packed.encoding)
    found[0][:] = 5

    assert found[1].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "values",
    [
        [[1, 2], None, [3], []],
        [np.arange(2), None, np.arange(3), np.arange(0)],
        ["a", None, "b", "c"],
        [{"a": 1}, None, (1,), 2],
    ],
    ids=str,
)
def test_a_part_of_a_column_can_be_unpacked(values: list[Any]) -> None:
    packed = pack(lambda: [values], exact=True)

    assert same(unpack(packed.values.slice(1, 2), packed.encoding), values[1:3])


@given(kinds.fixed_zones | st.sampled_from(kinds.ZONES))
def test_a_zone_is_the_same_under_its_name(zone: datetime.tzinfo) -> None:
    array = pa.array([NOON.replace(tzinfo=zone)], pa.timestamp("us", arrow.zone_name(zone)))

    assert array[0].as_py().replace(tzinfo=None) == NOON
