"""The frames that references look into: read once, only what is asked for, artifact cells as absolute paths."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tablevault_like.builders.frames import FrameCache, PinnedTable, check_primary_key, keep_old
from tablevault_like.errors import TableReferenceError, TVTableError
from tablevault_like.model import ARTIFACT_DTYPE
from tablevault_like.storage import tables

OpenTable = Callable[[str, str | None], PinnedTable]


@pytest.fixture
def opened() -> list[tuple[str, str | None]]:
    """Return a list of the tables that were opened."""
    return []


@pytest.fixture
def open_table(tmp_path: Path, opened: list[tuple[str, str | None]]) -> OpenTable:
    """Return what opens the one table there is, ``stories``."""
    path = tmp_path / "stories.parquet"
    frame = pd.DataFrame({"id": [1, 2, 3], "text": ["a", None, "NA"], "page": ["1.txt", None, "b/3.txt"]})
    columns = tables.write_table(path, frame, {"id": "Int64", "text": "string", "page": ARTIFACT_DTYPE})

    def open_it(table: str, version: str | None) -> PinnedTable:
        opened.append((table, version))
        assert table == "stories"
        return PinnedTable(path, Path("/vault/stories/artifacts"), columns)

    return open_it


@pytest.fixture
def cache(open_table: OpenTable) -> FrameCache:
    return FrameCache(open_table, artifact_folder=Path("/vault/TEMP_base/artifacts"))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return a list of the columns of each reading of a file."""
    found: list[list[str]] = []
    read_table = tables.read_table

    def read_and_tell(path: Path, *, columns: list[str]) -> pd.DataFrame:
        found.append(list(columns))
        return read_table(path, columns=columns)

    monkeypatch.setattr(tables, "read_table", read_and_tell)
    return found


def test_a_table_is_opened_once(cache: FrameCache, opened: list[tuple[str, str | None]]) -> None:
    for _ in range(3):
        cache.columns("stories", "base")
        cache.frame("stories", "base", ["id"])

    assert opened == [("stories", "base")]


def test_only_the_columns_that_are_asked_for_are_read_and_once(cache: FrameCache, read: list[list[str]]) -> None:
    assert cache.columns("stories", None) == ("id", "text", "page")
    assert read == []

    cache.frame("stories", None, ["text"])
    cache.frame("stories", None, ["text", "id"])
    cache.frame("stories", None, ["id", "text"])

    assert read == [["text"], ["id"]]


def test_columns_come_in_the_order_in_which_they_are_named(cache: FrameCache) -> None:
    assert list(cache.frame("stories", None, ["text", "id"])) == ["text", "id"]
    assert list(cache.frame("stories", None)) == ["id", "text", "page"]


def test_values_and_dtypes_are_those_that_were_stored(cache: FrameCache) -> None:
    expected = pd.DataFrame(
        {"text": pd.array(["a", None, "NA"], dtype="string"), "id": pd.array([1, 2, 3], dtype="Int64")}
    )

    assert_frame_equal(cache.frame("stories", None, ["text", "id"]), expected)


def test_no_columns_still_have_rows(cache: FrameCache) -> None:
    assert cache.frame("stories", None, []).shape == (3, 0)


def test_artifact_cells_are_absolute_paths(cache: FrameCache) -> None:
    pages = cache.frame("stories", None, ["page"])["page"]

    assert pages.dropna().tolist() == ["/vault/stories/artifacts/1.txt", "/vault/stories/artifacts/b/3.txt"]
    assert pages.isna().tolist() == [False, True, False]


def test_what_is_given_can_be_changed_without_changing_what_others_are_given(cache: FrameCache) -> None:
    cache.begin(pd.DataFrame({"n": [1, 2]}), {"n": "Int64"})
    for table in ("stories", "self"):
        frame = cache.frame(table, None)
        before = frame.copy()
        frame.iloc[0, 0] = 99
        frame["new"] = 1

        assert_frame_equal(cache.frame(table, None), before)


def test_an_unknown_column_is_told_with_the_nearest(cache: FrameCache) -> None:
    with pytest.raises(TableReferenceError, match=r"'stories' has no column 'txt'\. Did you mean 'text'"):
        cache.frame("stories", None, ["txt"])
    with pytest.raises(TableReferenceError, match="'self' has no column 'txt'"):
        cache.frame("self", None, ["txt"])


def test_many_threads_read_a_column_once(cache: FrameCache, read: list[list[str]]) -> None:
    start, frames = threading.Barrier(8), list[pd.DataFrame]()

    def look() -> None:
        start.wait(10)
        frames.append(cache.frame("stories", None, ["text"]))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(frames) == 8
    assert read == [["text"]]


def test_nothing_is_built_at_first(cache: FrameCache) -> None:
    assert cache.rows is None
    assert cache.columns("self", None) == ()
    assert cache.built().empty


def test_finished_builders_add_columns_and_replace_those_of_their_names(cache: FrameCache) -> None:
    cache.begin(pd.DataFrame({"id": [1, 2], "text": ["a", "b"]}), {})
    assert cache.frame("self", None, ["text"])["text"].tolist() == ["a", "b"]

    cache.add(tables.table_from_frame(pd.DataFrame({"text": ["A", "B"], "size": [10, 20]})))

    assert cache.columns("self", None) == ("id", "text", "size")
    assert cache.rows == 2
    assert cache.frame("self", None, ["text"])["text"].tolist() == ["A", "B"]
    assert cache.built()["text"].tolist() == ["A", "B"]
    assert cache.table().column_names == ["id", "text", "size"]


def test_columns_of_another_length_are_refused(cache: FrameCache) -> None:
    cache.begin(pd.DataFrame({"id": [1, 2]}), {})

    with pytest.raises(ValueError, match="3 rows can't be added to 2"):
        cache.add(tables.table_from_frame(pd.DataFrame({"size": [1, 2, 3]})))


def test_rows_that_are_made_anew_take_the_place_of_everything(cache: FrameCache) -> None:
    cache.begin(pd.DataFrame({"id": [1, 2], "text": ["a", "b"]}), {})
    cache.begin(pd.DataFrame({"id": [1, 2, 3]}), {})

    assert cache.columns("self", None) == ("id",)
    assert cache.rows == 3


def test_own_artifacts_are_absolute_for_references_and_relative_as_they_are_stored(cache: FrameCache) -> None:
    cache.begin(pd.DataFrame({"page": ["1.txt", None], "id": [1, 2]}), {"page": ARTIFACT_DTYPE})

    assert cache.frame("self", None, ["page"])["page"].dropna().tolist() == ["/vault/TEMP_base/artifacts/1.txt"]
    assert cache.built(["page"])["page"].dropna().tolist() == ["1.txt"]
    assert cache.artifact_columns == ("page",)


def test_a_primary_key_has_a_value_in_every_row() -> None:
    frame = pd.DataFrame({"id": pd.array([1, None, 3, None], dtype="Int64"), "v": [1, 1, 1, 1]})

    with pytest.raises(TVTableError, match="'id' has no value in rows 1, 3") as error:
        check_primary_key(frame, ["v", "id"])
    assert (error.value.column, error.value.row) == ("id", 1)


def test_a_primary_key_tells_rows_apart() -> None:
    frame = pd.DataFrame({"a": [1, 1, 1], "b": ["x", "y", "x"], "c": [1, 2, 3]})

    check_primary_key(frame, [])
    check_primary_key(frame, ["c"])
    check_primary_key(frame, ["a", "c"])
    with pytest.raises(TVTableError, match="Rows 0 and 2 have the same primary key: a=1, b='x'") as error:
        check_primary_key(frame, ["a", "b"])
    assert error.value.row == 2


def test_a_primary_key_is_made_of_plain_values() -> None:
    frame = pd.DataFrame({"id": pd.Series([(1,), [2]], dtype=object)})

    with pytest.raises(TVTableError, match="'id' holds a list in row 1"):
        check_primary_key(frame, ["id"])


def test_old_rows_are_kept_before_the_new_ones_unless_their_key_comes_again() -> None:
    new = pd.DataFrame({"id": [2, 3], "text": ["two", "three"]}).astype({"id": "Int64", "text": "string"})
    old = pd.DataFrame({"id": [1, 2], "text": ["one", "zwei"]}).astype({"id": "Int64", "text": "string"})

    kept = keep_old(new, old, ["id"])

    expected = pd.DataFrame({"id": [1, 2, 3], "text": ["one", "two", "three"]})
    assert_frame_equal(kept, expected.astype({"id": "Int64", "text": "string"}))


def test_without_a_key_old_rows_are_kept_unless_the_same_row_comes_again() -> None:
    new = pd.DataFrame({"id": [2, 3], "text": ["b", "c"]})
    old = pd.DataFrame({"loud": list("ABCAB"), "text": list("abxab"), "id": [1, 2, 3, 1, 2]})

    kept = keep_old(new, old, [])

    assert kept.to_dict("list") == {"id": [1, 3, 1, 2, 3], "text": ["a", "x", "a", "b", "c"]}


@pytest.mark.parametrize(
    ("cell", "others"),
    [
        (None, ["", "None", 0, False]),
        (1, [True, "1", 2]),
        ([1, {"a": None}], [[1, {"a": 0}], [1], (1, {"a": None})]),
        (np.array([1, 2]), [np.array([1, 3])]),
        (float("nan"), [0.0]),
    ],
    ids=str,
)
def test_rows_are_the_same_if_all_their_cells_are(cell: object, others: list[object]) -> None:
    old = pd.DataFrame({"n": range(len(others) + 1), "cell": pd.Series([cell, *others], dtype=object)})
    new = old.head(1).assign(n=0)

    assert len(keep_old(new, old.assign(n=0), [])) == len(old)
    assert len(keep_old(new, old.assign(n=9), [])) == len(old) + 1


def test_missing_cells_of_any_dtype_are_the_same() -> None:
    old = pd.DataFrame({"a": pd.array([None, 1], "Int64"), "b": pd.array(["x", None], "string"), "c": [1.5, None]})
    new = pd.DataFrame(
        {"a": [None, 1.0], "b": pd.Series(["x", None], dtype=object), "c": pd.array([1.5, None], "Float64")}
    )

    assert len(keep_old(new, old, [])) == 2


def test_an_old_row_that_lacks_a_column_is_the_same_if_it_is_missing_in_the_new_one() -> None:
    new = pd.DataFrame({"id": [1, 2], "text": pd.array([None, "b"], "string")})

    assert keep_old(new, pd.DataFrame({"id": [1, 2]}), [])["id"].tolist() == [2, 1, 2]


def test_what_old_rows_lack_is_missing_in_the_new_dtype() -> None:
    new = pd.DataFrame({"id": [3], "n": [7], "text": ["x"]}).astype({"n": "Int64", "text": "string"})
    old = pd.DataFrame({"gone": [0, 0], "id": [1, 2]})

    kept = keep_old(new, old, ["id"])

    assert list(kept) == ["id", "n", "text"]
    assert kept["id"].tolist() == [1, 2, 3]
    assert kept["n"].isna().tolist() == [True, True, False]
    assert [str(dtype) for dtype in kept.dtypes] == ["int64", "Int64", "string"]


@pytest.mark.parametrize(("new", "old", "expected"), [([], [1], [1]), ([1], [], [1]), ([], [], []), ([1], [1], [1])])
def test_either_may_be_empty(new: list[int], old: list[int], expected: list[int]) -> None:
    kept = keep_old(
        pd.DataFrame({"id": pd.array(new, dtype="Int64")}), pd.DataFrame({"id": pd.array(old, dtype="Int64")}), ["id"]
    )

    assert kept["id"].tolist() == expected
    assert kept["id"].dtype == "Int64"
    assert kept.index.equals(pd.RangeIndex(len(expected)))
