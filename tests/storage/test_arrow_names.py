from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from tablevault_like.errors import TVArgumentError
from tablevault_like.storage.arrow_names import arrow_type_of
from tablevault_like.storage.columns import dtype_name, parse_dtype

NESTED = [
    pa.list_(pa.int64()),
    pa.large_list(pa.float32()),
    pa.list_(pa.field("item", pa.float64(), nullable=False)),
    pa.list_(pa.list_(pa.date32())),
    pa.list_(pa.float16()),
    pa.struct({"a": pa.string(), "b": pa.list_(pa.timestamp("us", tz="Europe/Berlin"))}),
    pa.struct([]),
    pa.map_(pa.string(), pa.struct({"a": pa.int8(), "b": pa.bool_()})),
    pa.decimal128(10, 2),
    pa.list_(pa.decimal128(5, -1)),
    pa.list_(pa.null()),
    pa.duration("s"),
]
IN_ARROW_ONLY = [pa.struct([]), pa.list_(pa.decimal128(5, -1))]


@pytest.mark.parametrize("kind", NESTED, ids=str)
def test_a_type_is_had_by_the_name_that_it_shows(kind: Any) -> None:
    assert arrow_type_of(str(kind)) == kind


@pytest.mark.parametrize("kind", [kind for kind in NESTED if kind not in IN_ARROW_ONLY], ids=str)
def test_so_is_a_dtype_of_pandas(kind: Any) -> None:
    assert parse_dtype(dtype_name(pd.ArrowDtype(kind))) == pd.ArrowDtype(kind)


@pytest.mark.parametrize("kind", IN_ARROW_ONLY, ids=str)
def test_what_parquet_lacks_is_refused(kind: Any) -> None:
    with pytest.raises(TVArgumentError, match="pandas and Parquet don't share it"):
        parse_dtype(dtype_name(pd.ArrowDtype(kind)))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "list",
        "list<",
        "list<>",
        "list<item>",
        "list<int64",
        "struct<a>",
        "map<int64>",
        "decimal128(50, 2)",
        "x<int64>",
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        arrow_type_of(name)


def test_hostile_nesting_is_refused() -> None:
    with pytest.raises(ValueError, match="deep"):
        arrow_type_of("list<" * 1000 + "int64" + ">" * 1000)
