"""Make columns of every dtype that a table can have, and compare frames cell by cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.storage import exact as kinds
from tests.storage.exact import same

NUMBERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"]
NULLABLE = {name: name.replace("int", "Int").replace("uI", "UI").replace("float", "Float") for name in NUMBERS}
UNITS = ["s", "ms", "us", "ns"]


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Compare dtypes, labels and cells; NaN, NA, NaT and None are four different cells."""
    assert found.index.tolist() == list(range(len(expected)))
    assert found.columns.tolist() == expected.columns.tolist()
    assert found.columns.dtype == expected.columns.dtype
    for name in expected.columns:
        assert found[name].dtype == expected[name].dtype
        if isinstance(expected[name].dtype, pd.CategoricalDtype):
            assert found[name].cat.ordered == expected[name].cat.ordered
            assert same(found[name].cat.categories.tolist(), expected[name].cat.categories.tolist())
        for one, other in zip(found[name].tolist(), expected[name].tolist(), strict=True):
            assert same(one, other), (name, one, other)


def _arrays(dtype: str, rows: int) -> st.SearchStrategy[Any]:
    return hnp.arrays(np.dtype(dtype), rows)


def _masked(name: str, rows: int) -> st.SearchStrategy[Any]:
    array = pd.arrays.FloatingArray if name.startswith("float") else pd.arrays.IntegerArray
    return st.builds(array, _arrays(name, rows), _arrays("bool", rows))


def _boolean(rows: int) -> st.SearchStrategy[Any]:
    return st.builds(pd.arrays.BooleanArray, _arrays("bool", rows), _arrays("bool", rows))


def _texts(dtype: str, rows: int) -> st.SearchStrategy[Any]:
    return st.lists(
        kinds.texts | st.sampled_from(["", "NA", "None", "nan", "a\r\nb\n"]) | st.none(), min_size=rows, max_size=rows
    ).map(lambda values: pd.Series(values, dtype=dtype).array)


def _counts(rows: int) -> st.SearchStrategy[Any]:
    return hnp.arrays(np.dtype("int64"), rows, elements=st.integers(-(2**53), 2**53) | st.just(-(2**63)))


def _times(kind: str, rows: int) -> st.SearchStrategy[Any]:
    def make(counts: Any, unit: str) -> Any:
        scale = {"s": 10**6, "ms": 10**3}.get(unit, 1)
        scaled = np.where(counts == -(2**63), counts, counts // scale)
        return pd.array(scaled.view(f"{kind}8[{unit}]"))

    return st.builds(make, _counts(rows), st.sampled_from(UNITS))


def _zoned(rows: int) -> st.SearchStrategy[Any]:
    def make(array: Any, zone: Any) -> Any:
        return pd.DatetimeIndex(array).tz_localize("UTC").tz_convert(zone).array

    return st.builds(
        make,
        _times("M", rows),
        st.sampled_from(kinds.ZONES[1:]) | kinds.fixed_zones,  # UTC comes back as datetime.timezone.utc
    )


def _categories(rows: int) -> st.SearchStrategy[Any]:
    known: st.SearchStrategy[list[Any]] = st.sampled_from(
        [
            ["b", "a", "c"],
            [3, 1],
            [1.5, -0.0],
            [pd.Timestamp("2024-01-01"), pd.Timestamp("2023-01-01")],
            [True, False],
            ["a", 1, (1, 2)],
            [],
        ]
    )
    return known.flatmap(
        lambda categories: st.builds(
            lambda codes, ordered: pd.Categorical.from_codes(codes, pd.Index(categories), ordered=ordered),
            st.lists(st.integers(-1, len(categories) - 1), min_size=rows, max_size=rows),
            st.booleans(),
        )
    )


def _objects(rows: int) -> st.SearchStrategy[Any]:
    kind = st.sampled_from(
        [
            kinds.anything,
            kinds.texts,
            st.integers(),
            st.lists(st.floats()),
            st.dates(),
            hnp.arrays(np.dtype("f4"), st.integers(0, 3)),
            st.dictionaries(kinds.texts, st.integers()),
        ]
    )
    return kind.flatmap(lambda chosen: st.lists(st.none() | chosen, min_size=rows, max_size=rows)).map(
        lambda values: pd.Series(values, dtype=object).array
    )


def _arrow(rows: int) -> st.SearchStrategy[Any]:
    chosen = st.sampled_from(
        [
            (st.integers(-100, 100), pa.int16()),
            (kinds.texts, pa.string()),
            (st.lists(st.integers(0, 9)), pa.list_(pa.int64())),
            (
                st.decimals(allow_nan=False, allow_infinity=False, min_value=-99, max_value=99, places=2),
                pa.decimal128(5, 2),
            ),
            (st.dates(), pa.date32()),
            (st.fixed_dictionaries({"a": st.integers(0, 9)}), pa.struct([("a", pa.int8())])),
        ]
    )
    return chosen.flatmap(
        lambda pair: st.lists(st.none() | pair[0], min_size=rows, max_size=rows).map(
            lambda values: pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(values, pair[1])]))
        )
    )


def columns(rows: int) -> st.SearchStrategy[Any]:
    """Return a strategy for the content of one column."""
    return st.one_of(
        st.sampled_from(NUMBERS).flatmap(lambda name: _arrays(name, rows)),
        st.sampled_from(NUMBERS).flatmap(lambda name: _masked(name, rows)),
        _arrays("float16", rows),
        _arrays("bool", rows),
        _boolean(rows),
        st.sampled_from(["string", "str", "string[python]"]).flatmap(lambda name: _texts(name, rows)),
        _times("M", rows),
        _times("m", rows),
        _zoned(rows),
        _categories(rows),
        _objects(rows),
        _arrow(rows),
    )


labels = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
frames = st.integers(0, 6).flatmap(
    lambda rows: st.dictionaries(labels, columns(rows), min_size=1, max_size=4).map(
        lambda found: pd.DataFrame(found, index=pd.RangeIndex(rows))
    )
)
