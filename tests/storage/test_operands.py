from __future__ import annotations

import datetime
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.storage.operands import array_of, is_exact, kind_of, place_of

MIDNIGHT = datetime.datetime(1970, 1, 2)


@pytest.mark.parametrize(
    ("value", "kind", "place"),
    [
        (True, pa.bool_(), True),
        (3, pa.int8(), Fraction(3)),
        (1.5, pa.int8(), Fraction(3, 2)),
        (float("inf"), pa.int64(), Fraction(2**100)),
        (float("-inf"), pa.uint8(), -Fraction(2**100)),
        (float("nan"), pa.int8(), None),
        (10**400, pa.float64(), float("inf")),
        ("a", pa.string(), "a"),
        (b"a", pa.binary(), b"a"),
        (MIDNIGHT, pa.timestamp("s"), Fraction(86_400)),
        (np.datetime64(1, "ns"), pa.timestamp("us"), Fraction(1, 1000)),
        ("1970-01-02", pa.timestamp("ms"), Fraction(86_400_000)),
        (datetime.timedelta(seconds=1), pa.duration("ms"), Fraction(1000)),
        (MIDNIGHT.date(), pa.date32(), Fraction(1)),
    ],
)
def test_a_value_has_its_place_among_the_cells(value: Any, kind: Any, place: Any) -> None:
    found = place_of(value, kind)

    assert found == place
    assert type(found) is type(place)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, pa.bool_()),
        (True, pa.int64()),
        ("1", pa.int64()),
        (1, pa.string()),
        ("\ud800", pa.string()),
        ("a", pa.binary()),
        ("soon", pa.timestamp("us")),
        (MIDNIGHT, pa.timestamp("us", "UTC")),
        (MIDNIGHT.replace(tzinfo=datetime.UTC), pa.timestamp("us")),
        (5, pa.duration("s")),
        (MIDNIGHT, pa.date32()),
        ("01.02.1970", pa.date32()),
    ],
)
def test_what_cannot_be_compared_has_none(value: Any, kind: Any) -> None:
    assert place_of(value, kind) is NotImplemented


@given(st.integers(-(2**70), 2**70), st.sampled_from([pa.int8(), pa.uint8(), pa.int64(), pa.uint64()]))
def test_exact_is_what_a_cell_can_have(value: int, kind: Any) -> None:
    try:
        cell = pa.scalar(value, kind)
    except (OverflowError, pa.ArrowInvalid):
        assert not is_exact(Fraction(value), kind)
    else:
        assert is_exact(Fraction(value), kind)
        assert array_of([Fraction(value)], kind)[0] == cell


def test_nothing_between_two_cells_is_exact() -> None:
    assert not is_exact(Fraction(1, 2), pa.int64())


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.decimal128(5), pa.null()])
def test_of_some_types_nothing_is_compared(kind: Any) -> None:
    assert kind_of(kind) is None
