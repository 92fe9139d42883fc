"""How an instance was made, as it is kept: a row is had again exactly, and what is damaged is told."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.builders.frames import FrameCache
from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.builders.provenance import Provenance
from tablevault_like.builders.reuse import Origin, Reuse
from tablevault_like.errors import TVFileError
from tablevault_like.functions.fingerprint import Fingerprint
from tablevault_like.model import RowStatus
from tablevault_like.storage import files, tables
from tablevault_like.storage.row_reader import Counts, Effort, Price, RowRecord
from tablevault_like.storage.values import encode_cells
from tests.storage import exact as kinds
from tests.storage.frames import assert_same

RECIPE = "recipe"


class Rows:
    """The rows of one builder, as a row store gives them: those with cells are done."""

    def __init__(self, cells: Sequence[str | None], *, call_hash: bytes | None = None) -> None:
        self.done = [(row, text) for row, text in enumerate(cells) if text is not None]
        self.call_hash = call_hash

    def codes(self) -> dict[int, str]:
        return {1: RECIPE}

    def counts(self, builder: str) -> Counts:
        return Counts(done=len(self.done))

    def input_hash(self, builder: str) -> bytes | None:
        return self.call_hash

    def efforts(self, builder: str) -> Iterator[list[Effort]]:
        if self.done:
            yield [(row, row.to_bytes(16, "big"), 1, 1, 0.5) for row, _ in self.done]

    def recorded(self, builder: str, status: RowStatus) -> Any:
        return np.array([row for row, _ in self.done] if status is RowStatus.DONE else [], np.int64)

    def prices(self, builder: str) -> list[Price]:
        return []

    def failures(self, builder: str, status: RowStatus = RowStatus.FAILED) -> list[RowRecord]:
        return []

    def cells(self, builder: str, *, holding: str = "", batch_size: int = 2) -> Iterator[list[tuple[int, str]]]:
        found = [(row, text) for row, text in self.done if holding in text]
        for start in range(0, len(found), batch_size):
            yield found[start : start + batch_size]


def plan(columns: Sequence[str], dtypes: dict[str, str] | None = None, return_type: str = "row-wise") -> Plan:
    fields = {
        "builder_type": "ColumnBuilder",
        "changed_columns": list(columns),
        "return_type": return_type,
        "dtypes": dtypes or {},
        "primary_key": [],
    }
    builder = PlannedBuilder("b", "", fields, Fingerprint("", {}), (), (), (), RECIPE)
    return Plan("t", "base", "TEMP_base", None, (builder,), {})


class Made:
    """An instance that was made of some rows, and its provenance."""

    def __init__(self, folder: Path, rows: Sequence[Sequence[object] | None], dtypes: dict[str, str]) -> None:
        width = max((len(row) for row in rows if row is not None), default=1)
        self.columns = [f"c{place}" for place in range(width)]
        self.dtypes = dtypes
        self.texts = [None if row is None else encode_cells(row) for row in rows]
        self.store: Any = Rows(self.texts)
        files.remove(folder)
        folder.mkdir()
        self.path = folder / "table.parquet"
        table = tables.table_from_cells(lambda: self.store.cells("b"), self.columns, dtypes=dtypes, rows=len(rows))
        tables.write_arrow_table(self.path, table)
        self.provenance = folder / "provenance"
        store: Any = self.store
        Provenance.write(self.provenance, plan(self.columns, dtypes), store, table=self.path, rows=len(rows))

    def reused(self) -> list[str | None]:
        """Return the cells of the rows as another instance takes them over."""
        table = tables.table_from_frame(tables.read_table(self.path))
        frames = FrameCache(_no_tables, artifact_folder=Path())
        frames.replace(table)
        origin = Origin(table, Path(), Provenance(self.provenance), digests=dict)
        found = Reuse(origin, frames, key=(), artifact_folder=Path()).rows(RECIPE, self.columns)
        assert found is not None
        taken = {
            row.index: row.cells for row in found.take(range(len(self.texts)), lambda row: row.to_bytes(16, "big"))
        }
        return [taken.get(row) for row in range(len(self.texts))]


def _no_tables(table: str, version: str | None) -> Any:
    raise AssertionError(f"nobody was to open {table}")


def frame_of(texts: Sequence[str], columns: Sequence[str], dtypes: dict[str, str]) -> pd.DataFrame:
    cells: Callable[[], Any] = lambda: [list(enumerate(texts))] if texts else []  # noqa: E731
    return tables.frame_from_table(tables.table_from_cells(cells, columns, dtypes=dtypes))


alike = [
    st.integers(-(2**70), 2**70),
    st.booleans(),
    st.floats(),
    kinds.texts,
    st.binary(max_size=5),
    st.dates(),
    st.datetimes(timezones=st.none() | st.sampled_from(kinds.ZONES)),
    st.times(),
    st.timedeltas(),
    st.decimals(),
    kinds.timestamps,
    kinds.numpy_scalars,
    kinds.pandas_scalars,
    kinds.numpy_arrays,
    st.lists(st.integers() | st.floats()),
    st.dictionaries(kinds.texts, st.integers()),
    st.integers(-5, 5) | st.floats(),
    st.sampled_from([1, 1.0, True, None, float("nan"), pd.NA, pd.NaT]),
    st.datetimes() | st.dates(),
    kinds.anything,
]
cells = st.sampled_from(alike).flatmap(lambda kind: st.lists(st.none() | kind, min_size=1, max_size=6))


@given(column=cells, other=st.sampled_from([None, 1, 1.5, "a"]))
def test_a_row_is_had_again_exactly(column: list[Any], other: object, tmp_path_factory: Any) -> None:
    """Without a declared dtype, as it depends on all rows which one a column gets."""
    rows = [(cell, other) for cell in column]
    made = Made(tmp_path_factory.getbasetemp() / "exact", rows, {"c1": "object"})
    assert made.reused() == made.texts


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("Int64", [1, None, True, 2.0]),
        ("int8", [1, -2]),
        ("float32", [0.1, None, float("nan"), 3]),
        ("Float32", [0.1, None, float("nan"), 3]),
        ("Float64", [0.1, None, float("nan"), 3]),
        ("float16", [0.1, 3]),
        ("boolean", [True, None]),
        ("bool", [True, False]),
        ("string", ["a", None, ""]),
        ("str", ["a", None, ""]),
        ("object", [1, None, pd.NA, 1.5, "a", {"b": 1, "a": 2}]),
        ("category", [1, 2.5, None, 1]),
        ("category", ["a", None, "b"]),
        ("datetime64[s]", [datetime.datetime(2024, 1, 31), None]),
        ("datetime64[us, UTC]", [datetime.datetime(2024, 1, 31, tzinfo=datetime.UTC), None]),
        ("timedelta64[ms]", [datetime.timedelta(1), None]),
        ("list<item: int64>[pyarrow]", [[1], None, []]),
    ],
)
def test_in_a_declared_dtype_a_part_of_the_rows_is_what_it_would_be(
    dtype: str, values: list[Any], tmp_path: Path
) -> None:
    dtypes = {"c0": dtype}
    made = Made(tmp_path / "made", [(value,) for value in values], dtypes)
    reused = made.reused()
    for kept in ([0], [1], [0, 1], list(range(len(values)))):
        taken, plain = ([text for row in kept if (text := found[row]) is not None] for found in (reused, made.texts))
        assert_same(frame_of(taken, ["c0"], dtypes), frame_of(plain, ["c0"], dtypes))


def test_nothing_more_is_kept_where_the_frame_says_it_all(tmp_path: Path) -> None:
    made = Made(tmp_path / "plain", [(1, "a", 1.5), (None, None, None), (3, "{", 2.0)], {})
    assert "cells" not in tables.read_table(made.provenance / "b.parquet")
    assert made.reused() == made.texts
    mixed = Made(tmp_path / "mixed", [(1.5,), (1,), (2.5,)], {})
    assert tables.read_table(mixed.provenance / "b.parquet")["cells"].tolist() == [None, "[1]", None]


def test_the_plan_is_kept_unhashed(tmp_path: Path) -> None:
    """What the recipes and hashes were made of: nobody can tell from those why a row was made anew."""
    made = Made(tmp_path / "made", [(1,)], {})
    assert Plan.from_json((made.provenance / "plan.json").read_text()) == plan(made.columns)


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_frame_that_was_never_kept_has_no_input_hash(tmp_path: Path, is_kept: bool) -> None:
    store: Any = Rows([], call_hash=b"hash")
    whole = plan(["a"], return_type="dataframe")
    Provenance.write(tmp_path / "p", whole, store, table=tmp_path, rows=3, has_frame=lambda builder: is_kept)
    (found,) = Provenance(tmp_path / "p").builders()
    assert found.input_hash == (b"hash" if is_kept else None)


def test_it_is_read_once(tmp_path: Path) -> None:
    made = Made(tmp_path / "made", [(1,)], {})
    provenance = Provenance(made.provenance)
    assert provenance.builders()
    (made.provenance / "builders.json").unlink()
    assert provenance.builders()
    assert provenance.rows("b", count=1) is not None


def test_a_row_that_is_not_there_is_never_reused(tmp_path: Path) -> None:
    assert Made(tmp_path / "made", [(1,), None, (3,)], {}).reused() == ["[1]", None, "[3]"]


@pytest.mark.parametrize(("done", "known"), [(3, b"hash"), (2, None), (0, None)])
def test_a_generator_that_came_to_no_end_has_no_input_hash(tmp_path: Path, done: int, known: bytes | None) -> None:
    store: Any = Rows(["[1]"] * done + [None] * (3 - done), call_hash=b"hash")
    Provenance.write(tmp_path / "p", plan(["a"], return_type="generator"), store, table=tmp_path, rows=3)
    (found,) = Provenance(tmp_path / "p").builders()
    assert found.input_hash == known


def test_without_any_there_is_nothing_to_reuse(tmp_path: Path) -> None:
    assert Provenance(tmp_path / "none").builders() == ()
    assert Provenance(tmp_path / "none").rows("b", count=3) is None


def test_another_format_is_as_none(tmp_path: Path) -> None:
    made = Made(tmp_path / "made", [(1,)], {})
    (made.provenance / "builders.json").write_text('{"format": 99}')
    assert Provenance(made.provenance).builders() == ()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", '{"format": 1}', '{"format": 1, "recipes": [], "builders": [{}]}', "\udcff"]
)
def test_what_is_damaged_is_told_with_the_way_on(tmp_path: Path, text: str) -> None:
    made = Made(tmp_path / "made", [(1,)], {})
    (made.provenance / "builders.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(TVFileError, match=r"builders\.json is damaged .* force_execute=True"):
        Provenance(made.provenance).builders()


@pytest.mark.parametrize("damage", ["missing", "cut", "short", "foreign"])
def test_damaged_rows_are_told_with_the_way_on(tmp_path: Path, damage: str) -> None:
    made = Made(tmp_path / "made", [(1,), (2,)], {})
    path = made.provenance / "b.parquet"
    content = path.read_bytes()
    frame = tables.read_table(path)
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[:-9])
    elif damage == "short":
        tables.write_table(path, frame.head(1))
    elif damage == "foreign":
        tables.write_table(path, frame.rename(columns={"code": "codes"}))
    with pytest.raises(TVFileError, match=r"b\.parquet is damaged .* force_execute=True"):
        Provenance(made.provenance).rows("b", count=2)
