from __future__ import annotations

import re

import pandas as pd
import pytest

from tablevault_like.functions.builtin.random_string import random_column_string, random_gen_string, random_row_string

FRAME = pd.DataFrame({"id": [1, 2, 3]})
STRING = re.compile("[A-Za-z0-9]{20}")


def test_columns_are_as_long_as_the_frame() -> None:
    frame = random_column_string(FRAME, ["a", "b"])
    assert frame.shape == (3, 2)
    assert len({text for name in "ab" for text in frame[name] if STRING.fullmatch(text)}) == 6


def test_a_row_is_a_string_or_a_tuple_of_them() -> None:
    one, two = random_row_string(["a"]), random_row_string(["a", "b"])
    assert isinstance(one, str)
    assert isinstance(two, tuple)
    assert all(STRING.fullmatch(text) for text in (one, *two))


def test_a_generator_yields_a_row_for_each_row_of_the_frame() -> None:
    assert len(list(random_gen_string(["a"], FRAME))) == 3
    assert all(len(row) == 2 for row in random_gen_string(["a", "b"], FRAME))
    assert list(random_gen_string(["a"], FRAME.head(0))) == []


def test_a_single_column_needs_no_list() -> None:
    assert list(random_column_string(FRAME, "name").columns) == ["name"]
    assert isinstance(random_row_string("name"), str)


@pytest.mark.parametrize("seed", [1, "a row's key"])
def test_a_seed_repeats_and_its_absence_does_not(seed: int | str) -> None:
    assert random_column_string(FRAME, ["a"], seed=seed).equals(random_column_string(FRAME, ["a"], seed=seed))
    assert random_row_string(["a", "b"], seed=seed) == random_row_string(["a", "b"], seed=seed)
    assert list(random_gen_string(["a"], FRAME, seed=seed)) == list(random_gen_string(["a"], FRAME, seed=seed))
    assert random_row_string(["a"]) != random_row_string(["a"])


def test_the_rows_of_a_seed_differ() -> None:
    assert len(set(random_gen_string("a", FRAME, seed=1))) == 3


def test_other_arguments_are_ignored() -> None:
    assert random_row_string(["a"], seed=1, whatever=2) == random_row_string(["a"], seed=1)
