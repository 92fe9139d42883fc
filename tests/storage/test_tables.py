from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tablevault_like.errors import TVArgumentError, TVFileError, TVTableError
from tablevault_like.model import Column, RowStatus
from tablevault_like.storage import tables
from tablevault_like.storage.row_reader import RowRecord
from tablevault_like.storage.rows import RowStore
from tablevault_like.storage.tables import (
    distinct_cells,
    frame_from_table,
    iterate_batches,
    read_columns,
    read_table,
    table_columns,
    table_from_cells,
    table_from_frame,
    write_arrow_table,
    write_table,
)
from tablevault_like.storage.values import encode_cells
from tests.storage import exact as kinds
from tests.storage.exact import same
from tests.storage.frames import assert_same, columns, frames


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table.parquet"


def cells(rows: list[tuple[Any, ...]], size: int = 3) -> Any:
    """Return what gives batches of results, as a row store does."""
    found = [(index, encode_cells(row)) for index, row in enumerate(rows)]
    return lambda: (found[start : start + size] for start in range(0, len(found), size))


@pytest.mark.timeout(300)
@given(frame=frames)
def test_a_frame_comes_back_from_parquet_as_it_was(frame: pd.DataFrame, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.parquet"

    columns = write_table(path, frame)

    assert_same(read_table(path), frame)
    assert read_columns(path) == (columns, len(frame))
    assert [column.name for column in columns] == list(frame.columns)


@pytest.mark.timeout(300)
@given(frame=frames, size=st.integers(1, 3), data=st.data())
def test_a_part_of_a_table_is_that_part_of_its_frame(
    frame: pd.DataFrame, size: int, data: st.DataObject, tmp_path_factory: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "parts.parquet"
    write_table(path, frame)
    names = data.draw(st.permutations(list(frame.columns)))[: data.draw(st.integers(0, len(frame.columns)))]

    assert_same(read_table(path, columns=names, rows=size), frame[names].head(size))
    batches = list(iterate_batches(path, names or None, batch_size=size))
    whole = frame[names] if names else frame
    for start, batch in zip(range(0, len(frame), size), batches, strict=True):
        assert batch.index.tolist() == list(range(start, min(start + size, len(frame))))
        assert_same(batch.reset_index(drop=True), whole.iloc[start : start + size])


def _made_of(cells_given: list[tuple[Any, ...]], dtypes: dict[str, str]) -> Any:
    return table_from_cells(cells(cells_given), [f"c{place}" for place in range(len(cells_given[0]))], dtypes=dtypes)


alike = st.sampled_from(
    [
        kinds.anything,
        kinds.pandas_scalars,
        kinds.numpy_scalars,
        kinds.timestamps,
        kinds.texts,
        st.booleans(),
        st.integers() | st.floats(),
        st.datetimes(timezones=st.none() | st.sampled_from(kinds.ZONES)),
        st.timedeltas(),
        st.lists(st.integers() | st.floats()),
    ]
).flatmap(lambda kind: st.lists(st.none() | kind, min_size=1, max_size=6))


@pytest.mark.timeout(300)
@given(alike)
def test_of_the_cells_of_a_table_the_same_table_is_made(column: list[Any]) -> None:
    made = _made_of([(cell,) for cell in column], {})
    again = _made_of(list(tables.cells_of(made)), {})
    assert_same(frame_from_table(again), frame_from_table(made))


@pytest.mark.timeout(300)
@given(column=st.integers(1, 6).flatmap(columns))
def test_of_the_cells_of_a_declared_dtype_the_same_table_is_made(column: Any) -> None:
    table = table_from_frame(pd.DataFrame({"c0": column}))
    (dtype,) = (each.dtype for each in table_columns(table))
    assume(not dtype.startswith("datetime64[ns, "))  # no result of a function has nanoseconds in a zone
    made = _made_of(list(tables.cells_of(table)), {"c0": dtype})
    again = _made_of(list(tables.cells_of(made)), {"c0": dtype})
    assert_same(frame_from_table(again), frame_from_table(made))
    # Of a category those that no row has are lost; one name of an Arrow type may stand for several.
    if dtype != "category" and not dtype.endswith("[pyarrow]"):
        assert_same(frame_from_table(made), frame_from_table(table))


@given(st.lists(st.tuples(kinds.anything, st.integers(), st.floats() | st.none()), max_size=8), st.integers(1, 4))
def test_results_that_are_kept_as_objects_come_back_exactly(rows: list[Any], size: int) -> None:
    table = table_from_cells(cells(rows, size), ["a", "b", "c"], dtypes=dict.fromkeys("abc", "object"))

    frame = frame_from_table(table)

    assert [str(dtype) for dtype in frame.dtypes] == ["object"] * 3
    assert same([tuple(row) for row in frame.to_numpy().tolist()], rows)


_KINDS = (
    st.integers(-(2**70), 2**70),
    st.integers(-5, 5),
    st.booleans(),
    st.floats(),
    kinds.texts,
    st.binary(max_size=5),
    st.dates(),
    st.datetimes(),
    st.datetimes(timezones=kinds.zones, allow_imaginary=False),
    st.times(),
    st.timedeltas(),
    st.decimals(),
    kinds.timestamps,
    kinds.numpy_scalars,
    kinds.pandas_scalars,
    kinds.numpy_arrays,
    st.lists(st.integers()),
    st.lists(st.floats()),
    st.dictionaries(kinds.texts, st.integers()),
)
_RESULTS = st.one_of(
    *(st.lists(kind, min_size=1, max_size=6) for kind in _KINDS),
    *(st.lists(kind | st.none(), min_size=1, max_size=6) for kind in _KINDS),
    st.lists(kinds.anything, min_size=1, max_size=6),
)


@given(_RESULTS)
def test_results_of_every_kind_can_be_read(results: list[Any]) -> None:
    table = table_from_cells(lambda: [[(row, encode_cells((value,))) for row, value in enumerate(results)]], ["a"])

    assert len(frame_from_table(table)) == len(results)


def test_results_have_nullable_dtypes_by_default(path: Path) -> None:
    rows = [
        (1, "NA", 1.5, True, [1.0, 2.0], {"a": 1}),
        (None, "", float("nan"), None, None, None),
        (3, None, None, False, [], {}),
    ]

    table = table_from_cells(cells(rows, 2), list("abcdef"))
    frame = frame_from_table(table)

    assert [str(dtype) for dtype in frame.dtypes] == ["Int64", "string", "Float64", "boolean", "object", "object"]
    assert frame["a"].tolist() == [1, pd.NA, 3]
    assert frame["b"].tolist() == ["NA", "", pd.NA]
    assert frame["c"].isna().tolist() == [False, False, True]
    assert np.isnan(frame["c"][1])
    assert frame["d"].tolist() == [True, pd.NA, False]
    assert same(frame["e"].tolist(), [[1.0, 2.0], None, []])
    assert same(frame["f"].tolist(), [{"a": 1}, None, {}])
    write_arrow_table(path, table)
    assert_same(read_table(path), frame)


def test_results_of_a_row_store_become_a_table(tmp_path: Path) -> None:
    with RowStore.create(tmp_path / "rows.sqlite", epoch=1) as store:
        store.record("b", [RowRecord(i, RowStatus.DONE, encode_cells((i, f"text {i}"))) for i in range(25)])

        table = table_from_cells(lambda: store.cells("b", batch_size=10), ["n", "text"])

    assert table_columns(table) == (Column("n", "Int64"), Column("text", "string"))
    assert frame_from_table(table)["text"].tolist() == [f"text {i}" for i in range(25)]


def test_declared_dtypes_are_applied_to_results() -> None:
    rows = [(1, 1, "b", "x.txt", "5"), (2, None, "a", None, 6)]

    table = table_from_cells(
        cells(rows, 1),
        list("abcde"),
        dtypes={"a": "float32", "b": "Int8", "c": "category", "d": "artifact_string", "e": "int16"},
    )
    frame = frame_from_table(table)

    assert [str(dtype) for dtype in frame.dtypes] == ["float32", "Int8", "category", "string", "int16"]
    assert frame["c"].cat.categories.tolist() == ["a", "b"]
    assert frame["e"].tolist() == [5, 6]
    assert [column.dtype for column in table_columns(table)] == [
        "float32",
        "Int8",
        "category",
        "artifact_string",
        "int16",
    ]


def test_a_result_that_does_not_fit_is_told_with_its_row() -> None:
    def with_gaps() -> Any:
        return [[(10, encode_cells((1,))), (20, encode_cells((2,)))], [(30, encode_cells(("three",)))]]

    with pytest.raises(TVTableError, match=r"Row 30 of column 'a' holds 'three'.*'Int64'") as caught:
        table_from_cells(with_gaps, ["a"], dtypes={"a": "Int64"})

    assert (caught.value.column, caught.value.row) == ("a", 30)


@pytest.mark.parametrize(
    "dtype", ["int64", "bool", "float64", "Int64", "string", "category", "object", "datetime64[us]", None]
)
def test_rows_without_a_result_are_missing(dtype: str | None) -> None:
    value = {"bool": True, "string": "x", "datetime64[us]": "2024-01-01"}.get(dtype or "", 1)
    given_cells = lambda: [[(1, encode_cells((value,)))], [(3, encode_cells((value,)))]]  # noqa: E731

    frame = frame_from_table(table_from_cells(given_cells, ["a"], dtypes={"a": dtype} if dtype else {}, rows=5))

    assert frame["a"].isna().tolist() == [True, False, True, False, True]
    assert str(frame["a"].dtype) == {"int64": "Int64", "bool": "boolean", None: "Int64"}.get(dtype, dtype)


def test_no_results_make_an_empty_table() -> None:
    table = table_from_cells(list, ["a", "b", "c"], dtypes={"b": "int32", "c": "category"})

    frame = frame_from_table(table)

    assert frame.shape == (0, 3)
    assert [str(dtype) for dtype in frame.dtypes] == ["object", "int32", "category"]
    assert frame_from_table(table_from_cells(list, ["a"], rows=2))["a"].tolist() == [None, None]


@pytest.mark.parametrize("text", ["[1]", "[1,2,3]", "5", "{}", "[1,"])
def test_results_of_another_shape_are_told(text: str) -> None:
    with pytest.raises(TVFileError, match="damaged"):
        table_from_cells(lambda: [[(0, "[1,2]"), (1, text)]], ["a", "b"])


def test_the_dtypes_of_a_frame_are_applied(path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [1.0, None]})

    columns = write_table(path, frame, {"a": "float32", "b": "artifact_string", "c": "Int64"})

    assert columns == (Column("a", "float32"), Column("b", "artifact_string"), Column("c", "Int64"))
    found = read_table(path)
    assert [str(dtype) for dtype in found.dtypes] == ["float32", "string", "Int64"]
    assert found["c"].tolist() == [1, pd.NA]


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (pd.DataFrame({1: [1]}), "label 1"),
        (pd.DataFrame([[1]]), "label 0"),
        (pd.DataFrame({"": [1]}), "label ''"),
        (pd.DataFrame({("a", "b"): [1]}), "label"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "Two columns are named 'a'"),
        (pd.DataFrame({"a": [1]}, index=pd.Index([5], name="key")), "reset_index"),
        (pd.DataFrame({"a": pd.period_range("2024", periods=2)}), "astype"),
        (pd.DataFrame({"a": pd.arrays.IntervalArray.from_breaks([0, 1, 2])}), "astype"),
        (pd.DataFrame({"a": pd.cut(pd.Series([1, 2]), 2)}), "astype"),
        (pd.DataFrame({"a": [1j]}), "complex"),
        (pd.DataFrame({"a": np.array([1, 2], ">i4")}), ">i4"),
        (pd.DataFrame({"a": [1, object()]}), "Column 'a', row 1: "),
        (pd.DataFrame(index=range(3)), "no columns"),
        (pd.DataFrame({"a": pd.Series([1], dtype=pd.ArrowDtype(pa.timestamp("s")))}), "timestamp"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_frame_that_can_not_be_kept_is_told(frame: pd.DataFrame, told: str, path: Path) -> None:
    with pytest.raises(TVTableError) as caught:
        write_table(path, frame)

    assert told in str(caught.value)
    assert not path.exists()


def test_an_index_without_a_name_is_dropped(path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=["x", "y"])

    write_table(path, frame)

    assert_same(read_table(path), frame.reset_index(drop=True))


def test_the_frame_that_is_written_stays_as_it_was(path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [[1], None]}, index=[5, 6])
    before = frame.copy(deep=True)

    write_table(path, frame, {"a": "string"})

    pd.testing.assert_frame_equal(frame, before)


def test_a_column_is_found_among_others_with_similar_names(path: Path) -> None:
    frame = pd.DataFrame({"a": [[1, 2]], "a.list": ["x"], "a.list.element": [3], "a.b": [4]})

    write_table(path, frame)

    for name in frame.columns:
        assert_same(read_table(path, columns=[name]), frame[[name]])


def test_no_columns_at_all_still_have_rows(path: Path) -> None:
    write_table(path, pd.DataFrame({"a": [1, 2, 3]}))

    assert read_table(path, columns=[]).index.tolist() == [0, 1, 2]
    assert len(read_table(path, rows=0)) == 0
    assert len(read_table(path, rows=99)) == 3


def test_an_unknown_column_is_told(path: Path) -> None:
    write_table(path, pd.DataFrame({"text": [1]}))

    with pytest.raises(TVArgumentError, match="Did you mean 'text'"):
        read_table(path, columns=["texts"])


def test_the_head_of_a_table_is_read_without_the_rest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_ROW_GROUP_ROWS", 10)
    write_table(path, pd.DataFrame({"a": range(1000), "b": ["x" * 50] * 1000}))
    size = path.stat().st_size
    with path.open("r+b") as file:  # what isn't read may be anything
        file.seek(size // 2)
        file.write(b"\0" * 20)

    assert read_table(path, rows=15)["a"].tolist() == list(range(15))


def test_wide_rows_make_small_row_groups(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_ROW_GROUP_BYTES", 10_000)

    write_table(path, pd.DataFrame({"a": ["x" * 1_000] * 100}))

    assert pq.read_metadata(path).num_row_groups >= 10


def test_writing_again_leaves_a_hard_link_as_it_was(path: Path, tmp_path: Path) -> None:
    write_table(path, pd.DataFrame({"a": [1]}))
    os.link(path, tmp_path / "published.parquet")

    write_table(path, pd.DataFrame({"a": [2]}))

    assert read_table(tmp_path / "published.parquet")["a"].tolist() == [1]
    assert read_table(path)["a"].tolist() == [2]


def test_a_link_is_replaced_and_not_followed(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "outside"
    target.write_text("precious")
    path.symlink_to(target)

    write_table(path, pd.DataFrame({"a": [1]}))

    assert target.read_text() == "precious"
    assert not path.is_symlink()


def test_a_place_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(TVFileError, match="can't be written"):
        write_table(tmp_path / "missing" / "table.parquet", pd.DataFrame({"a": [1]}))


def test_other_programs_find_the_same_dtypes(path: Path) -> None:
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None], dtype="Int64"),
            "t": pd.array(["x", None], dtype="string"),
            "b": pd.array([True, None], dtype="boolean"),
            "f": [1.5, 2.5],
            "d": pd.Series(["2024-01-01", None], dtype="datetime64[us]"),
            "l": [[1, 2], None],
        }
    )
    write_table(path, frame)

    found = pd.read_parquet(path)

    assert str(found.pop("t").dtype) in ("string", "str")  # by the version of pandas
    assert found.dtypes.astype(str).tolist() == frame.drop(columns="t").dtypes.astype(str).tolist()
    assert found["l"][0].tolist() == [1, 2]


def test_any_path_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    for name in ("s3:a", "räume ?#%20", "a\nb"):
        write_table(Path(name), pd.DataFrame({"a": [1]}))
        assert read_table(Path(name))["a"].tolist() == [1]


def test_a_missing_table_is_told(path: Path) -> None:
    for read in (read_table, read_columns, lambda path: list(iterate_batches(path))):
        with pytest.raises(TVFileError, match="missing") as caught:
            read(path)
        assert isinstance(caught.value.__cause__, FileNotFoundError)


@pytest.mark.parametrize("cut", [0, 3, 50, -8, -100])
def test_a_damaged_table_is_told(path: Path, cut: int) -> None:
    write_table(path, pd.DataFrame({"a": range(100)}))
    path.write_bytes(path.read_bytes()[:cut])

    with pytest.raises(TVFileError, match="can't be read"):
        read_table(path)


def test_a_table_of_another_program_is_told(path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(path)

    for read in (read_table, read_columns):
        with pytest.raises(TVFileError, match="form of column 'a'"):
            read(path)


@pytest.mark.parametrize(
    ("dtype", "encoding"),
    [
        ("Int64", "plain"),
        ("int64", "plain"),
        ("nonsense", "plain"),
        ("object", "array"),
        ("object", "json"),
        ("object", "pickle"),
        ("category", "plain"),
        ("datetime64[us, UTC]", "plain"),
        (5, "plain"),
    ],
)
def test_a_forged_table_runs_nothing_and_is_told(path: Path, dtype: object, encoding: str) -> None:
    metadata = {"tablevault_like": json.dumps({"dtype": dtype, "encoding": encoding})}
    field = pa.field("a", pa.large_string(), metadata=metadata)
    pq.write_table(
        pa.table([pa.array(["x", None, '{"~pickle":1}'], pa.large_string())], schema=pa.schema([field])), path
    )

    with pytest.raises(TVFileError):
        read_table(path)


def test_a_table_is_synced_before_its_columns_are_returned(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("tablevault_like.storage.files.sync_file", synced.append)

    write_table(path, pd.DataFrame({"a": [1]}))

    assert synced == [path]
    assert table_from_frame(pd.DataFrame({"a": [1]})).num_rows == 1


def test_a_foreign_table_is_refused_before_it_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"a": [1]}), path)
    monkeypatch.setattr(pq.ParquetFile, "read", lambda *_, **__: pytest.fail("it was read"))

    with pytest.raises(TVFileError, match="the form of column 'a' is unknown"):
        read_table(path)
    with pytest.raises(TVFileError, match="the form of column 'a' is unknown"):
        iterate_batches(path)


def test_text_that_is_none_is_told(path: Path) -> None:
    write_table(path, pd.DataFrame({"a": pd.array(["ant", "bee"], "string"), "b": [1, 2]}))
    pq.write_table(pq.read_table(path), path)  # without checksums of its pages
    path.write_bytes(path.read_bytes().replace(b"bee", b"b\xffe"))

    with pytest.raises(TVFileError, match=r"can't be read .*UTF"):
        read_table(path)
    with pytest.raises(TVFileError, match=r"can't be read .*UTF"):
        list(iterate_batches(path))
    assert read_table(path, columns=["b"])["b"].tolist() == [1, 2]


def test_the_different_cells_of_a_column_are_given(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_ROW_GROUP_ROWS", 3)
    texts = pd.Series(["bee", "ant", "bee", None, "bee", "cat", None], dtype="string")
    frame = pd.DataFrame({"text": texts, "raw": pd.Series([b"b", b"a", b"b", None, b"b", b"c", None], dtype="object")})
    write_table(path, frame)

    assert [cells.tolist() for cells in distinct_cells(path, "text")] == [["bee", "ant"], ["bee", "cat"], []]
    assert {cell for cells in distinct_cells(path, "raw") for cell in cells} == {b"a", b"b", b"c"}


def test_of_cells_that_are_stored_once_one_is_held(path: Path) -> None:
    write_table(path, pd.DataFrame({"text": ["x" * 50_000] * 1_000}))
    before = pa.total_allocated_bytes()

    (cells,) = distinct_cells(path, "text")

    assert len(cells) == 1
    assert pa.total_allocated_bytes() - before < 5_000_000


@pytest.mark.parametrize("error", [pa.ArrowMemoryError("malloc of size 5 failed"), MemoryError()])
def test_that_a_table_is_too_large_is_told(path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(path, pd.DataFrame({"a": [1]}))

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pq.ParquetFile, "read", fail)

    with pytest.raises(TVFileError, match=r"needs more memory than there is \(.+\)\. Read a part of it"):
        read_table(path)
