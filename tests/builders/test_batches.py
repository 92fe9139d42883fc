"""Dividing what a batch has cost, and the columns that its function is given."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from fractions import Fraction

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.builders.batches import _frame_of, _shares, _whole_shares
from tablevault_like.engines.base import Work

COSTS = st.floats(min_value=0, max_value=1e12, allow_subnormal=False).filter(lambda cost: cost == 0 or cost > 1e-12)


@given(COSTS, st.integers(1, 5_000), st.randoms())
def test_shares_of_a_cost_are_alike_and_add_up_exactly(cost: float, count: int, chance: object) -> None:
    shares = [share for share in _shares(cost, count) if share is not None]

    assert len(shares) == count
    assert sum(map(Fraction, shares)) == Fraction(cost)
    added = 0.0
    chance.shuffle(shares)  # type: ignore[attr-defined]
    for share in shares:
        added += share
    assert added == cost
    assert all(math.isclose(share, cost / count, rel_tol=1e-6, abs_tol=1e-300) for share in shares)


@given(st.integers(0, 2**62), st.integers(1, 5_000))
def test_shares_of_tokens_differ_by_one_at_most(tokens: int, count: int) -> None:
    shares = [share for share in _whole_shares(tokens, count) if share is not None]

    assert (len(shares), sum(shares)) == (count, tokens)
    assert max(shares) - min(shares) <= 1


def test_a_price_that_nobody_told_has_no_shares() -> None:
    assert _shares(None, 3) == _whole_shares(None, 3) == [None] * 3


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], "Int64"),
        ([2**70, 1], "object"),
        (["a", None], "string"),
        ([datetime(2024, 1, 1), None], "datetime64[us]"),
        ([datetime(2024, 1, 1, tzinfo=UTC)], "datetime64[us, UTC]"),
        ([None, None], "object"),
        ([1, True], "object"),
        ([b"x"], "object"),
        ([pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]})], "object"),
    ],
)
def test_columns_have_the_dtype_of_their_values_if_that_is_one(values: list[object], dtype: str) -> None:
    frame = _frame_of([Work(5 + place, {"a": value, "b": 1}) for place, value in enumerate(values)], ["a"])

    assert str(frame["a"].dtype) == dtype
    assert frame.columns.tolist() == ["a"]
    assert frame.index.tolist() == [5 + place for place in range(len(values))]
    if dtype == "object":
        assert all(found is value for found, value in zip(frame["a"], values, strict=True))


def test_a_frame_without_columns_has_its_rows() -> None:
    frame = _frame_of([Work(3, {}), Work(7, {})], [])

    assert frame.index.tolist() == [3, 7]
    assert frame.shape == (2, 0)
