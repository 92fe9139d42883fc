"""What is taken over from an origin: which rows are whose, and which artifacts can be had."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tablevault_like.builders.frames import FrameCache
from tablevault_like.builders.provenance import BuilderOrigin, RowOrigins
from tablevault_like.builders.reuse import Origin, Reuse
from tablevault_like.model import ARTIFACT_DTYPE
from tablevault_like.storage import files, tables

RECIPE = "recipe"


class Told:
    """A provenance: a row-wise builder ``b`` whose rows have their positions for input hashes."""

    def __init__(self, columns: Sequence[str], hashes: Sequence[bytes | None], *, input_hash: bytes | None = None):
        self._columns = tuple(columns)
        self._hashes = list(hashes)
        self._input_hash = input_hash

    def builders(self) -> tuple[BuilderOrigin, ...]:
        return (BuilderOrigin("other", ("x",), b"x"), BuilderOrigin("b", self._columns, self._input_hash))

    def rows(self, builder: str, *, count: int) -> RowOrigins:
        assert (builder, count) == ("b", len(self._hashes))
        codes = [2 if row == 1 else 1 for row in range(count)]
        return RowOrigins(self._hashes, codes, {1: RECIPE, 2: "another"}, {})


def row_hash(row: int) -> bytes:
    return row.to_bytes(16, "big")


class Site:
    """A folder with an origin of some rows, and an instance that is being built of others."""

    def __init__(
        self,
        folder: Path,
        old: pd.DataFrame,
        new: pd.DataFrame,
        *,
        key: Sequence[str] = (),
        dtypes: Mapping[str, str] | None = None,
        columns: Sequence[str] = ("made",),
        input_hash: bytes | None = None,
    ) -> None:
        self.old, self.new = folder / "old", folder / "new"
        for place in (self.old, self.new):
            place.mkdir()
        hashes = [row_hash(row) for row in range(len(old))]
        self.digests: dict[str, str] = {}
        frames = FrameCache(_no_tables, artifact_folder=self.new)
        frames.begin(new, {})
        origin = Origin(
            tables.table_from_frame(old, dtypes),
            self.old,
            Told(columns, hashes, input_hash=input_hash),  # type: ignore[arg-type]
            digests=lambda: self.digests,
        )
        self.reuse = Reuse(origin, frames, key=key, artifact_folder=self.new)

    def write(self, name: str, content: str, *, recorded: bool = True) -> None:
        path = self.old / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        if recorded:
            self.digests[name] = files.sha256(path)

    def artifacts(self) -> dict[str, str]:
        found = (path for path in self.new.rglob("*") if path.is_file())
        return {str(path.relative_to(self.new)): path.read_text() for path in found}

    def take(self, places: Sequence[int], columns: Sequence[str] = ("made",)) -> dict[int, str]:
        """Take rows over whose inputs are those of the origin's rows in ``places``."""
        rows = self.reuse.rows(RECIPE, columns)
        assert rows is not None
        return {row.index: row.cells for row in rows.take(range(len(places)), lambda row: row_hash(places[row]))}


def _no_tables(table: str, version: str | None) -> Any:
    raise AssertionError(f"nobody was to open {table}")


def site(folder: Path, old: Sequence[Any], new: Sequence[Any], *, dtype: Any = object, key: bool = True) -> Site:
    """Return a site whose rows have these keys."""
    return Site(
        folder,
        pd.DataFrame({"key": pd.Series(old, dtype=dtype), "made": range(len(old))}),
        pd.DataFrame({"key": pd.Series(new, dtype=dtype)}),
        key=["key"] if key else [],
    )


class TestPlaces:
    @pytest.mark.parametrize(
        ("old", "new", "places"),
        [
            (["a", "b", "c"], ["c", "x", "a"], [2, -1, 0]),
            ([], ["a"], [-1]),
            (["a"], [], []),
            ([1, 2.5, "1", None], ["1", 1, None, 2.5], [2, 0, 3, 1]),
            ([1, 2], [1.0, True], [0, 0]),  # Python's equal; whether it is reused is for the input hash to say
            (["a", "a"], ["a"], [1]),
            ([datetime.date(2024, 1, 1), Decimal("1.0")], [Decimal("1.00"), datetime.date(2024, 1, 1)], [1, 0]),
            ([float("nan")], [float("nan")], [-1]),
            ([[1]], [1], [-1]),  # no key that could be hashed
            ([1], [[1]], [-1]),
        ],
    )
    def test_are_those_of_the_same_key(self, old: list[Any], new: list[Any], places: list[int], tmp_path: Path) -> None:
        assert site(tmp_path, old, new).reuse.places.tolist() == places

    @pytest.mark.parametrize(("old", "new", "places"), [(3, 2, [0, 1]), (2, 3, [0, 1, -1]), (0, 1, [-1]), (1, 0, [])])
    def test_are_the_same_positions_without_a_key(self, old: int, new: int, places: list[int], tmp_path: Path) -> None:
        assert site(tmp_path, range(old), range(new), key=False).reuse.places.tolist() == places

    def test_are_none_if_the_origin_has_no_such_key(self, tmp_path: Path) -> None:
        found = Site(tmp_path, pd.DataFrame({"made": [1]}), pd.DataFrame({"key": [1]}), key=["key"])
        assert found.reuse.places.tolist() == [-1]

    def test_of_several_columns(self, tmp_path: Path) -> None:
        old = pd.DataFrame({"a": ["x", "x", "y"], "b": [1, 2, 1], "made": [0, 1, 2]})
        new = pd.DataFrame({"b": [1, 2, 2], "a": ["y", "x", "y"]})
        assert Site(tmp_path, old, new, key=["a", "b"]).reuse.places.tolist() == [2, 1, -1]


class TestRows:
    def test_are_taken_where_recipe_and_inputs_are_the_same(self, tmp_path: Path) -> None:
        found = site(tmp_path, ["a", "b", "c"], ["c", "b", "a", "x"])
        # The row of "b" was made by another recipe; that of "a" has other inputs now; "x" is new.
        assert found.take([2, 1, 7, 0]) == {0: "[2]"}

    @pytest.mark.parametrize(("recipe", "columns"), [("unknown", ["made"]), (RECIPE, ["key"]), (RECIPE, ["none"])])
    def test_of_another_recipe_or_in_other_columns_there_are_none(
        self, recipe: str, columns: list[str], tmp_path: Path
    ) -> None:
        assert site(tmp_path, ["a"], ["a"]).reuse.rows(recipe, columns) is None

    def test_inputs_are_hashed_only_where_there_is_a_counterpart(self, tmp_path: Path) -> None:
        rows = site(tmp_path, ["a"], ["x", "a"]).reuse.rows(RECIPE, ["made"])
        assert rows is not None
        asked: list[int] = []

        def hash_of(row: int) -> bytes:
            asked.append(row)
            return bytes(16)

        rows.take([0, 1], hash_of)
        assert asked == [1]


class TestWholeColumns:
    @pytest.mark.parametrize(
        ("new", "input_hash", "is_reused"),
        [
            (["a", "b"], b"same", True),
            (["a", "b"], b"other", False),
            (["b", "a"], b"same", False),
            (["a"], b"same", False),
            (["a", "b", "c"], b"same", False),
        ],
    )
    def test_are_taken_if_call_and_rows_are_the_same(
        self, new: list[str], input_hash: bytes, is_reused: bool, tmp_path: Path
    ) -> None:
        old = pd.DataFrame({"key": ["a", "b"], "made": [1, 2]})
        found = Site(tmp_path, old, pd.DataFrame({"key": new}), key=["key"], input_hash=b"same")
        table = found.reuse.whole(["made"], input_hash)
        assert (table is not None) == is_reused
        assert table is None or table.column("made").to_pylist() == [1, 2]


class TestArtifacts:
    @pytest.fixture
    def site(self, tmp_path: Path) -> Site:
        pages = ["a.txt", "deep/b.txt", "deep/c.txt"]
        old = pd.DataFrame({"made": pages, "copy": [None, None, "a.txt"], "n": range(3)})
        dtypes = {"made": ARTIFACT_DTYPE, "copy": ARTIFACT_DTYPE}
        columns = ["made", "copy"]
        found = Site(tmp_path, old, pd.DataFrame({"n": range(3)}), dtypes=dtypes, columns=columns, input_hash=b"same")
        for name in pages:
            found.write(name, f"this is {name}")
        return found

    COLUMNS = ("made", "copy")
    A = '["a.txt",null]'
    C = '["deep/c.txt","a.txt"]'

    def test_are_copied_with_their_rows(self, site: Site) -> None:
        assert site.take([0, 1, 2], self.COLUMNS) == {0: self.A, 2: self.C}
        assert site.artifacts() == {"a.txt": "this is a.txt", "deep/c.txt": "this is deep/c.txt"}

    @pytest.mark.parametrize("harm", ["missing", "changed", "unrecorded", "linked"])
    def test_that_can_not_be_had_are_made_again_with_their_rows(
        self, site: Site, harm: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = site.old / "deep" / "c.txt"
        match harm:
            case "missing":
                path.unlink()
            case "changed":
                path.write_text("by hand")
            case "unrecorded":
                del site.digests["deep/c.txt"]
            case "linked":
                path.rename(site.old / "elsewhere")
                path.symlink_to(site.old / "elsewhere")
        with caplog.at_level(logging.WARNING):
            assert site.take([0, 1, 2], self.COLUMNS) == {0: self.A}
        assert site.artifacts() == {"a.txt": "this is a.txt"}
        assert "deep/c.txt" in caplog.text

    def test_that_another_row_has_written_anew_stay_as_they_are(self, site: Site) -> None:
        (site.new / "a.txt").write_text("new")
        assert site.take([0, 1, 2], self.COLUMNS) == {}
        assert site.artifacts() == {"a.txt": "new"}

    def test_that_are_there_already_are_not_taken_away(self, site: Site) -> None:
        (site.new / "a.txt").write_text("this is a.txt")
        (site.old / "deep" / "c.txt").unlink()
        assert site.take([7, 7, 2], self.COLUMNS) == {}
        assert site.artifacts() == {"a.txt": "this is a.txt"}

    def test_of_whole_columns_are_taken_all_or_none(self, site: Site) -> None:
        (site.old / "deep" / "c.txt").write_text("by hand")
        assert site.reuse.whole(self.COLUMNS, b"same") is None
        assert site.artifacts() == {}
        site.write("deep/c.txt", "by hand")
        assert site.reuse.whole(self.COLUMNS, b"same") is not None
        assert set(site.artifacts()) == {"a.txt", "deep/b.txt", "deep/c.txt"}


def test_rows_of_many_are_told_apart(tmp_path: Path) -> None:
    """By their own inputs, however many there are."""
    keys = np.random.default_rng(1).permutation(5_000).tolist()
    found = site(tmp_path, range(5_000), keys)
    taken = found.take(keys)
    assert taken == {row: f"[{key}]" for row, key in enumerate(keys) if key != 1}
