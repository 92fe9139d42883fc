from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tablevault_like.model import RowStatus
from tablevault_like.storage import sums
from tablevault_like.storage.row_reader import RowRecord
from tablevault_like.storage.rows import RowStore

START = sums.start_of("shout")
ROWS: list[tuple[int, str, int, float, bytes | None, int]] = [
    (0, "[]", 1, 0.0, None, 0),
    (1, '["é\U0001f600"]', 3, 0.25, b"h" * 16, 7),
    (1_000_000_007, '["x"]', 2**40, 1e300, b"", 2**40),
    (2**32, '["x"]', 1, 0.5, b"short", 1),
    (2**62, '["x"]', 1, 0.5, b"h" * 16, 1),
]


def sum_by_columns(row: tuple[int, str, int, float, bytes | None, int]) -> int:
    index, value, attempts, seconds, input_hash, code = row
    return sums.row_sum(START, index, RowStatus.DONE, value, attempts, seconds, input_hash, code)


def test_rows_that_are_done_have_the_sums_of_rows_of_any_kind() -> None:
    found = list(sums.done_rows(5, START, ROWS))

    assert found == [(5, *row, sum_by_columns(row)) for row in ROWS]


def test_a_store_reads_as_sound_what_it_was_given_in_either_way(tmp_path: Path) -> None:
    with RowStore.create(tmp_path / "rows.sqlite", epoch=1) as store:
        store.record("shout", (), done=ROWS)
        for index, *rest in ROWS:
            value, attempts, seconds, input_hash, code = rest
            store.record("other", [RowRecord(index, RowStatus.DONE, value, attempts, seconds, input_hash, code)])  # type: ignore[arg-type]

        for builder in ("shout", "other"):
            assert [row for batch in store.cells(builder, batch_size=2) for row in batch] == [row[:2] for row in ROWS]
            assert [row.index for index, *_ in ROWS if (row := store.row(builder, index)) is not None] == [
                row[0] for row in ROWS
            ]


def in_sql(found: object) -> Any:
    """Return what SQL makes of a sum for ``sound_values``."""
    with closing(sqlite3.connect(":memory:")) as db:
        return db.execute(f"SELECT {sums.VALUE_OF_SUM} FROM (SELECT ? AS sum)", (found,)).fetchone()[0]


@pytest.mark.parametrize("bit", range(64))
def test_any_bit_of_a_sum_counts(bit: int) -> None:
    row = ROWS[1]
    right = sum_by_columns(row)
    wrong = right ^ (1 << bit if bit < 63 else -1 << 63)  # as 64 bits with a sign
    whole = [row[0], 1, *row[1:], None, None, None, None]

    assert sums.is_row(START, [*whole, right])
    assert not sums.is_row(START, [*whole, wrong])
    assert sums.sound_values(START, [(row[0], row[1], in_sql(right))]) == [row[:2]]
    assert sums.sound_values(START, [(row[0], row[1], in_sql(wrong))]) == ([row[:2]] if bit < 32 else [])


@pytest.mark.parametrize(
    "wrong", [(2, ROWS[1][1]), (1, '["e\U0001f600"]'), (1, None), (1, b"[]"), (1, 7), (None, ROWS[1][1]), (1.0, "[]")]
)
@pytest.mark.parametrize("is_alone", [True, False])
def test_what_is_something_else_is_not_taken_for_a_value(wrong: Any, is_alone: bool) -> None:
    """Whatever its type is, and whatever else is read with it."""
    right = [(row[0], row[1], in_sql(sum_by_columns(row))) for row in ROWS]
    others = [] if is_alone else right

    assert sums.sound_values(START, [*others, (*wrong, right[1][2])]) == [row[:2] for row in others]


@pytest.mark.parametrize("found", [None, "text", b"bytes", 1.5])
def test_a_sum_that_is_no_number_is_none(found: object) -> None:
    row = ROWS[1]

    assert not sums.is_row(START, [row[0], 1, *row[1:], None, None, None, None, found])
    assert sums.sound_values(START, [(row[0], row[1], in_sql(found))]) == []
