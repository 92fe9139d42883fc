"""Filters mean what pyarrow's and pandas' do, whatever is pushed down to the file."""

from __future__ import annotations

import datetime as dt
import operator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.errors import TVArgumentError
from tablevault_like.storage import filters, tables
from tablevault_like.storage.filters import read_filters

COMPARE = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


def rows(column: Any, *conditions: Any, dtype: Any = None) -> list[int]:
    """Return the positions of the cells of a column ``c`` for which conditions such as ``(">", 2)`` hold."""
    frame = pd.DataFrame({"c": pd.Series(column, dtype=dtype)})
    wanted = read_filters([("c", *condition) for condition in conditions])
    assert wanted is not None
    found: list[int] = tables.matching_positions(frame, wanted).tolist()
    return found


class TestNumbers:
    @pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "UInt64", "Int16", "float32", "Float64"])
    @pytest.mark.parametrize("op", COMPARE)
    @pytest.mark.parametrize("value", [2, 2.5, -1, -0.5, 300, 2**70, -(2**70), float("inf"), -float("inf")])
    def test_are_compared_exactly(self, dtype: str, op: str, value: float) -> None:
        cells = [1, 2, 3, 100]

        wanted = [place for place, cell in enumerate(cells) if COMPARE[op](cell, value)]

        assert rows(cells, (op, value), dtype=dtype) == wanted

    @pytest.mark.parametrize("value", [2**63, 2**64 - 1, float(2**63)])
    def test_also_where_floats_are_too_coarse(self, value: float) -> None:
        cells = [0, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1]
        for op, compare in COMPARE.items():
            expected = [place for place, cell in enumerate(cells) if compare(cell, value)]
            assert rows(cells, (op, value), dtype="uint64") == expected
        assert rows([2**53, 2**53 + 1], (">", float(2**53)), dtype="int64") == [1]

    def test_floats_are_rounded_to_the_width_of_the_column(self) -> None:
        assert rows([0.1, 0.2], ("==", 0.1), dtype="float32") == [0]
        assert rows([0.1, 0.2], ("in", [0.2, 7]), dtype="Float32") == [1]

    def test_numpys_numbers_are_numbers(self) -> None:
        assert rows([1, 2, 3], (">", np.int8(1)), ("<", np.float32(3))) == [1]

    def test_nan_equals_nothing_and_has_no_place_in_any_order(self) -> None:
        nan = float("nan")
        for op in COMPARE:
            assert rows([1, 2], (op, nan)) == ([0, 1] if op == "!=" else [])
        assert rows([1.0, nan], ("in", [nan, 1])) == [0]
        assert rows(pd.array([1.0, nan, pd.NA], dtype="Float64"), ("not in", [nan])) == [0, 1, 2]


class TestMissingCells:
    COLUMNS = (
        ([1, None, 3], "Int64"),
        ([1.0, None, 3.0], "float64"),
        (["1", None, "3"], "string"),
        (["1", None, "3"], "str"),
        ([True, None, False], "boolean"),
        ([dt.datetime(2020, 1, 1), None, dt.datetime(2021, 1, 1)], "datetime64[s]"),
        ([1, None, "x"], "object"),
        ([1, float("nan"), "x"], "object"),
        (["1", None, "3"], "category"),
        ([[1], None, [3]], pd.ArrowDtype(pa.list_(pa.int64()))),
    )

    @pytest.mark.parametrize(("cells", "dtype"), COLUMNS, ids=str)
    def test_are_equal_to_none_and_to_nothing_else(self, cells: list[object], dtype: Any) -> None:
        assert rows(cells, ("==", None), dtype=dtype) == [1]
        assert rows(cells, ("!=", None), dtype=dtype) == [0, 2]
        assert rows(cells, ("==", cells[0]), dtype=dtype) == [0]
        assert rows(cells, ("!=", cells[0]), dtype=dtype) == [2]
        assert rows(cells, ("in", [cells[2], None]), dtype=dtype) == [1, 2]
        assert rows(cells, ("in", [cells[2]]), dtype=dtype) == [2]
        assert rows(cells, ("not in", [cells[2]]), dtype=dtype) == [0, 1]
        assert rows(cells, ("not in", [cells[2], pd.NA]), dtype=dtype) == [0]
        assert rows(cells, ("in", []), dtype=dtype) == []
        assert rows(cells, ("not in", ()), dtype=dtype) == [0, 1, 2]


class TestTimes:
    MOMENTS = ("2020-01-01", None, "2020-01-01 00:00:01", "2021-06-01")

    @pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
    def test_are_compared_exactly_whatever_their_units(self, unit: Literal["s", "ms", "us", "ns"]) -> None:
        cells = pd.Series(self.MOMENTS, dtype="datetime64[ns]").dt.as_unit(unit)
        assert rows(cells, (">=", "2020-01-01T00:00:01")) == [2, 3]
        assert rows(cells, ("<", dt.datetime(2020, 1, 1, 0, 0, 0, 1))) == [0]
        assert rows(cells, (">", pd.Timestamp("2020-01-01").as_unit("ns") + pd.Timedelta(1, "ns"))) == [2, 3]
        assert rows(cells, ("==", np.datetime64("2020-01-01T00:00:01", "ns"))) == [2]
        assert rows(cells, ("==", dt.date(2021, 6, 1))) == [3]
        assert rows(cells, ("<", dt.datetime(9999, 1, 1))) == [0, 2, 3]
        assert rows(cells, ("<", dt.datetime(1, 1, 1))) == []
        assert rows(cells, ("==", pd.NaT)) == [1]

    def test_with_zones_are_instants(self) -> None:
        cells = pd.Series(self.MOMENTS, dtype="datetime64[ns]").dt.tz_localize("Europe/Berlin")
        assert rows(cells, ("==", "2019-12-31T23:00Z")) == [0]
        with pytest.raises(TVArgumentError, match=r"can't be compared with '2020-01-01'\. Give a time with its zone"):
            rows(cells, ("==", "2020-01-01"))

    def test_lengths_and_dates(self) -> None:
        lengths = pd.to_timedelta([1, 2, 3], unit="s")
        assert rows(lengths, (">", dt.timedelta(milliseconds=2500))) == [2]
        assert rows(lengths, ("<=", "2 s")) == [0, 1]
        dates = [dt.date(2020, 1, 1), None, dt.date(2021, 1, 1)]
        assert rows(dates, (">", "2020-06-01"), dtype="date32[pyarrow]") == [2]
        assert rows(dates, ("<", dt.date(2020, 6, 1)), dtype="object") == [0]


class TestCategories:
    CELLS = pd.Categorical(["low", "high", None, "mid"], categories=["low", "mid", "high"], ordered=True)

    def test_are_compared_by_what_they_stand_for_and_by_their_order(self) -> None:
        assert rows(self.CELLS, ("in", ["low", "mid"])) == [0, 3]
        assert rows(self.CELLS, ("==", "none of them")) == []
        assert rows(self.CELLS, ("<", "high")) == [0, 3]
        assert rows(self.CELLS, (">=", "mid")) == [1, 3]

    def test_without_an_order_come_in_none(self) -> None:
        with pytest.raises(TVArgumentError, match="have no order"):
            rows(self.CELLS.as_unordered(), ("<", "high"))
        with pytest.raises(TVArgumentError, match=r"'hi' is none of the categories.*Did you mean 'high'"):
            rows(self.CELLS, ("<", "hi"))


def test_objects_match_what_they_can_be_compared_with() -> None:
    cells = [1, "x", None, [1], (1,), {"a": 1}, np.array([1, 2]), dt.time(12), b"x"]
    for place, cell in enumerate(cells):
        if cell is not None:
            assert rows(cells, ("==", cell), dtype="object") == [place]
            assert rows(cells, ("in", [cell, 7]), dtype="object") == [place]
    assert rows(cells, (">", 0), dtype="object") == [0]
    assert rows(cells, ("!=", "x"), dtype="object") == [0, 3, 4, 5, 6, 7, 8]


class TestGroups:
    FRAME = pd.DataFrame({"a": [1, 2, 3, 4], "b": list("xyxy")})

    def positions(self, given: object) -> list[int]:
        wanted = read_filters(given)
        return [0, 1, 2, 3] if wanted is None else tables.matching_positions(self.FRAME, wanted).tolist()

    def test_all_of_a_list_or_one_of_several(self) -> None:
        assert self.positions([("a", ">", 1), ("b", "=", "x")]) == [2]
        assert self.positions([[("a", ">", 1), ("b", "=", "x")], [("a", "==", 1)]]) == [0, 2]
        assert self.positions([["a", ">", 1], ["b", "=", "x"]]) == [2]

    def test_nothing_is_asked_by_none(self) -> None:
        assert read_filters(None) is read_filters([]) is read_filters([[]]) is None

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("a > 1", "must be a list of conditions"),
            ({"a": 1}, "must be a list of conditions"),
            (("a", ">", 1), "'a' is not"),
            ([("a", ">")], r"is not \(column, op, value\)"),
            ([(1, ">", 1)], "is not"),
            ([("a", "=>", 1)], r"unknown op '=>'\. Did you mean '>"),
            ([("a", None, 1)], "unknown op None"),
            ([("a", ">", None)], "comes in no order"),
            ([("a", "in", "xyz")], "in needs a list of values"),
            ([("a", "not in", 3)], "not in needs a list of values"),
            ([("A", "==", 1)], "no column 'A'. Did you mean 'a'"),
            ([("a", "==", "1")], "the column 'a' is int64.*can't be compared with '1'. Give a number"),
            ([("a", "==", True)], "Give a number"),
            ([("b", "in", ["x", 1])], "Give a string"),
            ([("b", "==", "\ud800")], "Give a string"),
        ],
    )
    def test_what_cannot_be_meant_is_refused(self, given: object, message: str) -> None:
        with pytest.raises(TVArgumentError, match=message):
            self.positions(given)


FRAMES = st.integers(0, 30).flatmap(
    lambda count: st.fixed_dictionaries(
        {
            "i": st.lists(st.none() | st.integers(-3, 3), min_size=count, max_size=count),
            "f": st.lists(st.none() | st.floats(-3, 3) | st.just(float("nan")), min_size=count, max_size=count),
            "s": st.lists(st.none() | st.sampled_from(["", "a", "b", "é", "z" * 50]), min_size=count, max_size=count),
            "o": st.lists(st.none() | st.sampled_from([1, "a", (1,)]), min_size=count, max_size=count),
        }
    )
)
VALUES = {
    "i": st.integers(-4, 4) | st.floats(-4, 4),
    "f": st.floats(-3, 3) | st.integers(-3, 3),
    "s": st.sampled_from(["", "a", "é", "c"]),
    "o": st.sampled_from([1, "a", (1,)]),
}


@st.composite
def conditions(draw: st.DrawFn) -> tuple[str, str, object]:
    column = draw(st.sampled_from(sorted(VALUES)))
    op = draw(st.sampled_from([*COMPARE, "in", "not in"]))
    if op in ("in", "not in"):
        return column, op, draw(st.lists(st.none() | VALUES[column], max_size=3))
    return column, op, draw(VALUES[column] | st.none() if op in ("==", "!=") else VALUES[column])


@given(cells=FRAMES, wanted=st.lists(st.lists(conditions(), min_size=1, max_size=3), min_size=1, max_size=3))
def test_a_file_is_read_as_its_whole_frame_would_be_filtered(
    cells: dict[str, list[Any]], wanted: list[list[Any]], tmp_path_factory: Any
) -> None:
    """Whatever is skipped of it: it has many small row groups."""
    path = tmp_path_factory.getbasetemp() / "filtered.parquet"
    dtypes = {"i": "Int64", "f": "Float64", "s": "string", "o": "object"}
    frame = pd.DataFrame({name: pd.Series(values, dtype=dtypes[name]) for name, values in cells.items()})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "_ROW_GROUP_ROWS", 4)
        tables.write_table(path, frame)
    found = read_filters(wanted)
    assert found is not None

    expected = [place for place in range(len(frame)) if any(all(_holds(frame, place, *c) for c in g) for g in wanted)]

    assert tables.read_table(path, wanted=found).index.tolist() == expected
    pd.testing.assert_frame_equal(tables.read_table(path, wanted=found), tables.read_table(path).loc[expected])
    some = tables.read_table(path, columns=["s"], rows=2, wanted=found)
    assert (some.index.tolist(), some.columns.tolist()) == (expected[:2], ["s"])
    assert [place for batch in tables.iterate_batches(path, batch_size=3, wanted=found) for place in batch.index] == (
        expected
    )


def _holds(frame: pd.DataFrame, place: int, column: str, op: str, value: Any) -> bool:
    """Say it once more, in plain words."""
    cell = frame[column].iloc[place]
    is_missing = cell is None or cell is pd.NA
    if op in ("in", "not in"):
        found = None in value if is_missing else any(cell == each for each in value if each is not None)
        return found == (op == "in")
    if value is None:
        return is_missing == (op == "==")
    try:
        return not is_missing and bool(COMPARE[op](cell, value))
    except TypeError:
        return False


@pytest.mark.parametrize("op", [*COMPARE, "in", "not in"])
def test_plain_columns_are_filtered_as_pyarrow_does(tmp_path: Path, op: str) -> None:
    path = tmp_path / "table.parquet"
    frame = pd.DataFrame({"i": pd.array([1, 2, None, 4], "Int64"), "s": pd.array(["a", None, "c", "d"], "string")})
    tables.write_table(path, frame)
    for column, value in (("i", 2), ("s", "c")):
        condition = (column, op, [value] if "in" in op else value)
        theirs = pq.read_table(path, filters=[condition]).to_pydict()
        ours = tables.read_arrow_table(path, wanted=read_filters([condition]))[0].to_pydict()
        assert ours == theirs


class TestWhatIsRead:
    @pytest.fixture
    def path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(tables, "_ROW_GROUP_ROWS", 10)
        path = tmp_path / "table.parquet"
        frame = pd.DataFrame({"n": range(100), "a": "a", "b": range(100)})
        frame["a"] = frame["n"].map(lambda n: f"text {n}")
        tables.write_table(path, frame)
        return path

    @pytest.fixture
    def reads(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, tuple[str, ...]]]:
        """Note which columns of which row groups are read."""
        noted: list[tuple[int, tuple[str, ...]]] = []
        original = pq.ParquetFile.read_row_group

        def read_row_group(self: Any, group: int, columns: list[str]) -> Any:
            noted.append((group, tuple(columns)))
            return original(self, group, columns=columns)

        monkeypatch.setattr(pq.ParquetFile, "read_row_group", read_row_group)
        return noted

    def test_is_what_may_match(self, path: Path, reads: list[Any]) -> None:
        frame = tables.read_table(path, columns=["a"], wanted=read_filters([("n", ">=", 95)]))

        assert frame["a"].tolist() == [f"text {n}" for n in range(95, 100)]
        assert reads == [(9, ("n",)), (9, ("a",))]

    def test_is_what_tells_where_nothing_matches(self, path: Path, reads: list[Any]) -> None:
        wanted = read_filters([("b", "in", [15, 55]), ("n", "!=", 15)])

        assert tables.read_table(path, wanted=wanted)["b"].tolist() == [55]
        assert reads == [(1, ("b", "n")), (5, ("b", "n")), (5, ("a",))]

    def test_ends_with_the_rows_that_are_wanted(self, path: Path, reads: list[Any]) -> None:
        frame = tables.read_table(path, rows=3, wanted=read_filters([("n", ">=", 25)]))

        assert frame.index.tolist() == [25, 26, 27]
        assert {group for group, _ in reads} == {2}


def test_a_value_is_never_run_through_the_expression_language(tmp_path: Path) -> None:
    """Names of columns are names, whatever they look like."""
    frame = pd.DataFrame({"a.b": [1, 2], "row": [3, 4], "0.0": [5, 6], "x ": [7, 8], "a": [9, 10]})
    tables.write_table(tmp_path / "t", frame)
    for name in frame.columns:
        wanted = filters.read_filters([(name, ">", int(frame[name][0]))])
        assert tables.read_table(tmp_path / "t", wanted=wanted).index.tolist() == [1]
        assert tables.read_table(tmp_path / "t", columns=[name], wanted=wanted)[name].tolist() == [frame[name][1]]
