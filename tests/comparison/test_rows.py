"""Which row is which: by one column or several, of whatever values."""

from __future__ import annotations

import pandas as pd
import pytest

from tablevault_like.comparison.rows import Matched, by_key, by_position


def matched(old: list[object], new: list[object]) -> Matched:
    found = by_key([pd.Series(old)], [pd.Series(new)])
    assert isinstance(found, Matched)
    return found


def test_rows_are_found_wherever_they_are() -> None:
    found = matched(["a", "b", "c", "d"], ["d", "x", "b"])

    assert (found.old.tolist(), found.new.tolist()) == ([3, 1], [0, 2])
    assert (found.removed.tolist(), found.added.tolist(), found.is_reordered) == ([0, 2], [1], True)


def test_rows_in_their_old_order_are_not_reordered() -> None:
    assert not matched(["a", "b", "c"], ["a", "x", "c"]).is_reordered


def test_keys_of_several_columns_count_together() -> None:
    old: list[pd.Series] = [pd.Series([1, 1, 2]), pd.Series(["x", "y", "x"], dtype="string")]
    new: list[pd.Series] = [pd.Series([2, 1, 2], dtype="Int64"), pd.Series(["x", "x", "y"], dtype="category")]

    found = by_key(old, new)

    assert isinstance(found, Matched)
    assert (found.old.tolist(), found.new.tolist(), found.removed.tolist()) == ([2, 0], [0, 1], [1])


def test_keys_may_be_lists() -> None:
    found = matched([[1, 2], [3]], [[3], [4]])

    assert (found.old.tolist(), found.new.tolist()) == ([1], [0])


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ([1, 2, 1], [1, 2], "row 2 of the old instance has the value of another row"),
        ([1, 2], [3, 3], "row 1 of the new instance has the value of another row"),
        ([1, None], [1], "row 1 of the old instance has no value in it"),
    ],
)
def test_keys_that_tell_nothing_apart_are_told(old: list[int | None], new: list[int | None], why: str) -> None:
    assert by_key([pd.Series(old, dtype="Int64")], [pd.Series(new, dtype="Int64")]) == why


def test_no_rows_are_matched() -> None:
    assert matched([], [1]).added.tolist() == [0]
    assert matched([1], []).removed.tolist() == [0]


def test_by_position_the_shorter_one_counts() -> None:
    found = by_position(2, 4)

    assert (found.old.tolist(), found.new.tolist()) == ([0, 1], [0, 1])
    assert (found.removed.tolist(), found.added.tolist()) == ([], [2, 3])
