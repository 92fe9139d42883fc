from __future__ import annotations

import enum
import math
import os
import re
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.functions.constants import constant

_LEAVES = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats(allow_nan=False)
_HASHABLE = st.recursive(
    _LEAVES, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=6
)
_CONSTANTS = st.recursive(
    _LEAVES | st.just(...) | st.sets(_HASHABLE, max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_HASHABLE, inner, max_size=3) | st.tuples(inner),
    max_leaves=12,
)


def typed(value: object) -> object:
    """Return a value that is equal only for equal values of the same types."""
    if isinstance(value, dict):
        return [(typed(key), typed(item)) for key, item in value.items()]
    if isinstance(value, set | frozenset):
        return type(value), sorted(repr(typed(item)) for item in value)
    if isinstance(value, list | tuple):
        return type(value), [typed(item) for item in value]
    return type(value), value, repr(value)


@given(_CONSTANTS)
def test_the_text_makes_an_equal_value_of_the_same_types(value: object) -> None:
    text = constant(value)

    assert text is not None
    assert typed(eval(text)) == typed(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_floats_that_are_no_numbers(value: float) -> None:
    found = eval(constant(value) or "")

    assert math.isnan(found) if math.isnan(value) else found == value


@pytest.mark.parametrize(
    "value",
    [re.compile("a.b", re.IGNORECASE | re.DOTALL), re.compile(b"x"), re.compile("(?i)a"), re.compile("é", re.ASCII)],
)
def test_patterns(value: re.Pattern[str]) -> None:
    assert eval(constant(value) or "") == value


@pytest.mark.parametrize("value", [Path("a b/c"), PurePosixPath("/x")])
def test_paths(value: PurePosixPath) -> None:
    found = eval(constant(value) or "")

    assert (type(found), found) == (type(value), value)


class Color(enum.IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value", [object(), len, np.int64(3), np.array([1]), Color.RED, Text("a"), OrderedDict(), [1, {2: object()}], int]
)
def test_what_is_more_than_its_text_is_none(value: object) -> None:
    assert constant(value) is None


def test_what_holds_itself_is_none() -> None:
    endless: list[object] = []
    endless.append(endless)

    assert constant(endless) is None


def test_the_text_of_a_set_is_the_same_in_every_session() -> None:
    line = "from tablevault_like.functions.constants import constant; print(constant({'a', 'b', 'c', 1, None}))"
    texts = {
        subprocess.run(
            [sys.executable, "-c", line],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2, 3)
    }

    assert texts == {constant({"a", "b", "c", 1, None}) + "\n"}  # type: ignore[operator]
