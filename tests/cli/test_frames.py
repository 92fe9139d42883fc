from __future__ import annotations

import csv
import datetime
import io
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.cli import frames

PLAIN = [
    (None, None),
    (pd.NA, None),
    (pd.NaT, None),
    (float("nan"), None),
    (np.float32("nan"), None),
    (float("-inf"), "-inf"),
    (np.int8(3), 3),
    (np.bool_(True), True),
    (np.float64(0.1), 0.1),
    (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (np.datetime64("2026-07-21"), "2026-07-21"),
    (np.longdouble(1), "1.0"),
    (pd.Timestamp("2026-07-21 12:00", tz="UTC"), "2026-07-21T12:00:00+00:00"),
    (pd.Timedelta(seconds=90), "P0DT0H1M30S"),
    (datetime.timedelta(seconds=90), "P0DT0H1M30S"),
    (datetime.time(12, 30), "12:30:00"),
    (Decimal("1.10"), "1.10"),
    ({1: (pd.NA, b"ab")}, {"1": [None, "YWI="]}),
]


@pytest.mark.parametrize(("value", "expected"), PLAIN, ids=[repr(value) for value, _ in PLAIN])
def test_values_become_plain_json(value: object, expected: object) -> None:
    found = frames.plain(value)

    assert found == expected
    assert type(found) is type(expected)
    json.dumps(found, allow_nan=False)


def test_numbers_are_aligned_to_the_right() -> None:
    frame = pd.DataFrame({"n": pd.array([1, None], "Int64"), "t": ["a", "b"]})

    assert frames.listing(frame).right == {"n"}


@given(st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0")), st.integers())))
def test_csv_gives_texts_and_numbers_back(rows: list[tuple[str, int]]) -> None:
    frame = pd.DataFrame(rows, columns=["text", "number"])

    found = list(csv.reader(io.StringIO(frames.csv_text(frame))))

    assert found == [["text", "number"], *([text, str(number)] for text, number in rows)]
