import math
import threading

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.references.cells import Cells
from tablevault_like.references.indexes import EqualIndex, OrderIndex

INTEGERS = st.none() | st.integers(-3, 3)
COLUMNS = st.one_of(
    st.tuples(st.just("Int64"), st.lists(INTEGERS)),
    st.tuples(st.just("Float64"), st.lists(st.none() | st.sampled_from([-1.5, 0.0, -0.0, 2.0, math.inf]))),
    st.tuples(st.just("float64"), st.lists(st.none() | st.sampled_from([-1.5, 0.0, 2.0, math.nan, -math.inf]))),
    st.tuples(st.just("boolean"), st.lists(st.none() | st.booleans())),
    st.tuples(st.just("string"), st.lists(st.none() | st.text("abä\U0001f600\uffff", max_size=2))),
    st.tuples(st.just("object"), st.lists(st.none() | st.text("ab", max_size=1))),
    st.tuples(st.just("category"), st.lists(st.none() | st.sampled_from("cab"))),
    st.tuples(st.just("datetime64[us]"), st.lists(st.none() | st.sampled_from(list(pd.date_range("2024", periods=3))))),
)


def cells_of(values, dtype):
    return Cells(pd.Series(values, dtype=dtype))


def found(index, value):
    positions = index.find(value)
    if positions is None:
        return []
    return [positions] if isinstance(positions, int) else positions.tolist()


@given(COLUMNS)
def test_equal_index_finds_what_a_scan_finds(column):
    dtype, values = column
    cells = cells_of(values, dtype)
    plain = cells.take(np.arange(len(values)))
    index = EqualIndex([cells])
    for value in {value for value in plain if value is not None} | {"no such value"}:
        assert found(index, value) == [position for position, cell in enumerate(plain) if cell == value]
    assert found(index, None) == []


@given(st.lists(st.tuples(INTEGERS, st.sampled_from(["x", "y", None]))))
def test_equal_index_of_two_columns_finds_what_a_scan_finds(rows):
    index = EqualIndex([cells_of([a for a, _ in rows], "Int64"), cells_of([b for _, b in rows], "string")])
    for value in {*rows, (1, "x"), (None, "x"), (9, "y")}:
        expected = [] if None in value else [position for position, row in enumerate(rows) if row == value]
        assert found(index, value) == expected


@given(COLUMNS, st.data())
def test_order_index_finds_what_a_scan_finds(column, data):
    dtype, values = column
    cells = cells_of(values, dtype)
    plain = cells.take(np.arange(len(values)))
    present = [cell for cell in plain if cell is not None and cell == cell]
    if not present:
        return
    bounds = [data.draw(st.sampled_from(present)) for _ in range(2)]
    index = OrderIndex(cells)
    expected = [
        position
        for position, cell in enumerate(plain)
        if cell is not None and cell == cell and bounds[0] <= cell < bounds[1]
    ]
    assert index.find(*bounds).tolist() == expected
    some = np.array(data.draw(st.lists(st.sampled_from(range(len(values))), unique=True).map(sorted)), np.int64)
    assert index.keep(some, *bounds).tolist() == sorted(set(expected) & set(some.tolist()))


def test_nothing_equals_missing_cells_and_nan():
    for dtype in ("Float64", "float64", "object"):
        index = EqualIndex([cells_of([1.0, None, math.nan], dtype)])
        assert found(index, None) == []
        assert found(index, math.nan) == []
        assert found(index, 1) == [0]


def test_cells_that_cannot_be_hashed_are_not_found():
    index = EqualIndex([cells_of([[1], "x", {"a": 1}, (1, [2]), (1, 2)], object)])
    assert found(index, "x") == [1]
    assert found(index, (1, 2)) == [4]
    with pytest.raises(TypeError):
        index.find([1])


def test_no_row_lies_between_bounds_that_are_missing():
    index = OrderIndex(cells_of([1.0, 2.0], "Float64"))
    for bounds in [(None, 5), (0, None), (math.nan, 5.0), (0.0, math.nan)]:
        assert index.find(*bounds).tolist() == []
        assert index.keep(np.arange(2), *bounds).tolist() == []


def test_values_that_cannot_be_compared_are_an_error():
    with pytest.raises(TypeError):
        OrderIndex(cells_of([1, "x"], object)).find(0, 5)
    with pytest.raises(TypeError):
        OrderIndex(cells_of([1, 2], "Int64")).find("a", "b")


def test_threads_build_an_index_once(monkeypatch):
    cells = cells_of(range(5000), "Int64")
    built = []
    blocks = Cells.blocks

    def counting(self):
        built.append(1)
        return blocks(self)

    monkeypatch.setattr(Cells, "blocks", counting)
    index = EqualIndex([cells])
    start = threading.Barrier(4)
    results = []

    def work():
        start.wait()
        results.append([index.find(value) for value in range(0, 5000, 50)])

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [list(range(0, 5000, 50))] * 4
    assert len(built) == 1
