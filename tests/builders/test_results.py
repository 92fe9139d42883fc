"""Taking cells from what user code returned, and following a generator's positions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.builders.hashing import InputHash
from tablevault_like.builders.results import Positions, RowCall, RowError, RowResult, RowStream, cells_of
from tablevault_like.engines.base import Work
from tablevault_like.errors import TVTableError
from tablevault_like.model import Row
from tablevault_like.storage.digests import digest
from tablevault_like.storage.values import decode


@given(st.sets(st.integers(0, 30)), st.lists(st.integers(0, 30)))
def test_positions_are_a_set(recorded: set[int], added: list[int]) -> None:
    positions, expected = Positions(np.array(sorted(recorded), dtype=np.int64)), set(recorded)

    for position in added:
        assert positions.add(position) == (position not in expected)
        expected.add(position)

    assert [position for position in range(32) if position in positions] == sorted(expected)


def test_positions_that_come_in_order_take_no_memory() -> None:
    positions = Positions(np.arange(1_000))
    for position in range(1_000, 2_000):
        positions.add(position)

    assert not positions._beyond


@pytest.mark.parametrize("value", [1, None, "ab", [1, 2], {"b": 1}, {"a": 1, "b": 2}, (1, 2), ()])
def test_one_column_takes_the_value_as_it_is(value: object) -> None:
    assert cells_of(value, ["a"]) == (value,)


@pytest.mark.parametrize("value", [{"a": [1]}, ([1],)])
def test_one_column_is_unpacked_where_that_is_clear(value: object) -> None:
    assert cells_of(value, ["a"]) == ([1],)


@pytest.mark.parametrize("value", [(1, None), [1, None], {"b": None, "a": 1}])
def test_several_columns_take_one_value_each(value: object) -> None:
    assert tuple(cells_of(value, ["a", "b"])) == (1, None)


@pytest.mark.parametrize(
    "value", [1, None, "ab", (1,), [1, 2, 3], {"a": 1}, {"a": 1, "c": 2}, {"a": 1, "b": 2, "c": 3}]
)
def test_several_columns_refuse_anything_else(value: object) -> None:
    with pytest.raises(TVTableError, match=r"Return a tuple of 2 values \(a, b\), or a dict with exactly these keys"):
        cells_of(value, ["a", "b"])


def test_a_row_is_called_with_its_arguments_and_hashed_by_its_inputs() -> None:
    def function(number: int, prompt: str) -> str:
        return f"{prompt}{number}"

    call = RowCall(function, ["answer"], inputs=InputHash(function, ("constant",)))

    def made(work: Work) -> RowResult:
        result = call(work)
        assert isinstance(result, RowResult)
        return result

    first = made(Work(3, {"number": 1, "prompt": "a"}, (1,)))
    other_prompt = made(Work(4, {"number": 1, "prompt": "b"}, (1,)))
    other_input = made(Work(4, {"number": 2, "prompt": "a"}, (2,)))

    assert (first.index, first.cells, decode(first.text)) == (3, ("a1",), ["a1"])
    assert first.input_hash == other_prompt.input_hash == digest(digest("constant"), 1)
    assert first.input_hash != other_input.input_hash


def test_inputs_are_hashed_before_the_function_can_change_them() -> None:
    call = RowCall(lambda numbers: numbers.clear(), ["answer"])
    numbers = [1, 2]

    result = call(Work(0, {"numbers": numbers}, (numbers,)))

    assert isinstance(result, RowResult)
    assert result.input_hash == InputHash(len, ()).of({}, ([1, 2],))


def follow(values: object, recorded: list[int], *, resumes: bool = False) -> list[int | None]:
    stream = RowStream(lambda: values, ["a"], recorded=np.array(recorded, dtype=np.int64), resumes=resumes)
    return [None if result is None else result.index for result in stream(Work(None, {}))]


def test_what_is_recorded_is_passed_over() -> None:
    assert follow(["a", "b", "c", "d"], [0, 1]) == [None, None, 2, 3]
    assert follow(["a", "b", "c", "d"], [1, 3]) == [0, None, 2, None]


def test_one_that_resumes_goes_on_after_what_is_recorded() -> None:
    assert follow(["c", "d"], [0, 1], resumes=True) == [2, 3]


def test_rows_name_their_own_positions_and_count_for_those_that_do_not() -> None:
    assert follow([Row(1, "b"), Row(0, "a"), "c"], []) == [1, 0, 2]


def test_one_that_resumes_repeats_nothing() -> None:
    with pytest.raises(RowError) as raised:
        follow([Row(0, "a")], [0, 1], resumes=True)

    assert raised.value.index == 0
    assert "Row 0 was yielded twice" in str(raised.value.original)


def test_a_generator_is_closed_with_its_stream() -> None:
    closed = []

    def function() -> Iterator[int]:
        try:
            yield from range(10)
        finally:
            closed.append(True)

    stream = RowStream(function, ["a"], recorded=np.array([], dtype=np.int64))(Work(None, {}))
    assert isinstance(next(stream), RowResult)
    assert not closed
    stream.close()  # type: ignore[attr-defined]

    assert closed
