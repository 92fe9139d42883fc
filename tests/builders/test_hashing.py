"""Input hashes: equal where a function would be given the same, and only there."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from tablevault_like.builders.hashing import Contents, InputHash, PathName, paths_in
from tablevault_like.functions.file_arguments import reads_files
from tablevault_like.storage import files
from tests.storage import exact as kinds
from tests.storage.exact import same


def plain(**arguments: object) -> None:
    raise AssertionError("nobody calls it")


@reads_files("path")
def reading(path: object = "default.txt", other: object = None) -> None:
    raise AssertionError("nobody calls it")


@dataclass(frozen=True)
class Elsewhere:
    """A path of somebody else's class."""

    name: str | bytes

    def __fspath__(self) -> str | bytes:
        return self.name


def hash_of(*inputs: object, contents: Contents | None = None) -> bytes:
    return InputHash(plain, (), contents).of({}, inputs)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "one" / "artifacts"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("A")
    (folder / "b.txt").write_text("B")
    (folder / "deep" / "a.txt").write_text("A")
    return folder


@pytest.fixture
def copy(tmp_path: Path, folder: Path) -> Path:
    """Return another folder, whose ``a.txt`` is the same and whose ``b.txt`` isn't."""
    copy = tmp_path / "two" / "artifacts"
    copy.mkdir(parents=True)
    (copy / "a.txt").write_text("A")
    (copy / "b.txt").write_text("b")
    return copy


@pytest.fixture
def contents(folder: Path, copy: Path) -> Contents:
    contents = Contents()
    contents.add(folder)
    contents.add(copy)
    return contents


class TestValues:
    @given(one=kinds.anything, other=kinds.anything)
    def test_values_that_differ_have_other_hashes(self, one: Any, other: Any) -> None:
        assert hash_of(one) == hash_of(one)
        if not same(one, other):
            assert hash_of(one) != hash_of(other)

    def test_the_order_of_a_dict_counts(self) -> None:
        """A function that is given a dict may write it into a prompt."""
        one, other = {"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"d": 3, "c": 2}}
        assert hash_of(one) != hash_of(other)
        assert hash_of([one]) != hash_of([other])
        assert hash_of(pd.DataFrame({"x": [one]})) != hash_of(pd.DataFrame({"x": [other]}))
        assert hash_of(np.array([one, None], dtype=object)) != hash_of(np.array([other, None], dtype=object))

    def test_what_is_put_for_a_value_is_not_taken_for_it(self) -> None:
        given = [{"a": 1}, ["dict", ["a", 1]], ("dict", ["a", 1]), [["dict", ["a", 1]]], ["list", "dict", ["a", 1]]]
        assert len({hash_of(each) for each in given}) == len(given)

    def test_constants_and_inputs_are_apart(self) -> None:
        assert InputHash(plain, (1,)).of({}, ()) != InputHash(plain, ()).of({}, (1,))


class TestArtifacts:
    def test_count_by_name_and_content_wherever_they_lie(self, folder: Path, copy: Path, contents: Contents) -> None:
        def of(path: Path) -> bytes:
            return hash_of(str(path), contents=contents)

        assert of(folder / "a.txt") == of(copy / "a.txt")
        assert of(folder / "b.txt") != of(copy / "b.txt")
        assert of(folder / "a.txt") != of(folder / "deep" / "a.txt")  # a function may look at the name

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda path: [path],
            lambda path: (1, path),
            lambda path: {"a": path},
            lambda path: {path: 1},
            lambda path: [{"a": (path,)}],
            lambda path: pd.Series([path], dtype="string"),
            lambda path: pd.DataFrame({"page": pd.array([path, None], dtype="string"), "n": [1, 2]}),
            lambda path: pd.DataFrame({"page": pd.Series([path, [path]], dtype=object)}),
            lambda path: pd.DataFrame({"page": pd.array([path] * 200, dtype="string")}),
            lambda path: pd.DataFrame({"self": pd.array([path], dtype="string")}),
        ],
    )
    def test_wherever_they_are_in_a_value(
        self, wrap: Callable[[str], object], folder: Path, copy: Path, contents: Contents
    ) -> None:
        def of(path: Path) -> bytes:
            return hash_of(wrap(str(path)), contents=contents)

        assert of(folder / "a.txt") == of(copy / "a.txt")
        assert of(folder / "b.txt") != of(copy / "b.txt")

    def test_what_is_on_record_is_not_read(self, folder: Path, contents: Contents) -> None:
        known = Contents()
        known.add(folder, lambda: {"a.txt": "recorded", "gone.txt": "recorded too"})
        assert hash_of(f"{folder}/a.txt", contents=known) != hash_of(f"{folder}/a.txt", contents=contents)
        assert hash_of(f"{folder}/gone.txt", contents=known) != hash_of(f"{folder}/gone.txt", contents=contents)
        assert hash_of(f"{folder}/b.txt", contents=known) == hash_of(f"{folder}/b.txt", contents=contents)

    def test_text_that_begins_like_one_is_text(self, folder: Path, contents: Contents) -> None:
        texts = [f"{folder}/a.txt is red", f"{folder}/a.txt is blue", f"{folder}/", f"{folder}/gone", f"{folder}/x\0y"]
        assert len({hash_of(text, contents=contents) for text in texts}) == len(texts)
        assert len({hash_of(text, contents=contents) for text in [*texts, *texts[:4]]}) == len(texts)

    def test_a_folder_with_the_same_beginning_is_another(
        self, tmp_path: Path, folder: Path, contents: Contents
    ) -> None:
        beside = tmp_path / "one" / "artifacts2"
        beside.mkdir()
        (beside / "a.txt").write_text("A")
        assert hash_of(f"{beside}/a.txt", contents=contents) == hash_of(f"{beside}/a.txt")
        assert hash_of(f"{beside}/a.txt", contents=contents) != hash_of(f"{folder}/a.txt", contents=contents)

    def test_a_folder_may_be_added_later(self, folder: Path, copy: Path) -> None:
        contents = Contents()
        hashes = InputHash(plain, (), contents)
        contents.add(folder)
        contents.add(copy)
        assert hashes.of({}, (f"{folder}/a.txt",)) == hashes.of({}, (f"{copy}/a.txt",))


class TestFiles:
    """Arguments that name files which the function reads."""

    @staticmethod
    def of(path: object) -> bytes:
        return InputHash(reading, ()).of({"path": path}, ())

    def test_count_by_their_content(self, folder: Path) -> None:
        before = self.of(folder / "a.txt")
        assert before == self.of(str(folder / "a.txt")) == self.of(folder / "deep" / "a.txt")
        (folder / "a.txt").write_text("a")
        assert self.of(folder / "a.txt") != before

    def test_two_that_were_swapped_are_others(self, folder: Path) -> None:
        def both() -> bytes:
            return self.of([f"{folder}/a.txt", {"second": f"{folder}/b.txt"}])

        before = both()
        (folder / "a.txt").rename(folder / "c.txt")
        (folder / "b.txt").rename(folder / "a.txt")
        (folder / "c.txt").rename(folder / "b.txt")
        assert both() != before

    @pytest.mark.parametrize(
        "named",
        [
            lambda path: str(path),
            lambda path: path,
            lambda path: PurePosixPath(path),
            lambda path: Elsewhere(str(path)),
            lambda path: Elsewhere(os.fsencode(path)),
            lambda path: os.fsencode(path),
            lambda path: [1, None, str(path)],
            lambda path: (path, 2.5),
            lambda path: deque([path]),
            lambda path: {"first": {"second": [path]}},
            lambda path: {str(path): "its title"},
            lambda path: MappingProxyType({"first": path}),
            lambda path: {str(path)},
            lambda path: frozenset([path]),
            lambda path: np.array([[str(path)]]),
            lambda path: np.array([None, path], dtype=object),
            lambda path: pd.Series([str(path), None], dtype="string"),
            lambda path: pd.Series([str(path)], dtype="category"),
            lambda path: pd.Index([str(path)]),
            lambda path: pd.DataFrame({"n": [1], "path": [str(path)]}),
            lambda path: pd.DataFrame([[1, [path]]], columns=["twice", "twice"]),
            lambda path: [pd.DataFrame({"path": pd.Series([str(path)], dtype="str")})],
        ],
    )
    def test_count_in_whatever_they_are_named(self, named: Callable[[Path], object], folder: Path) -> None:
        for path, changed in ((folder / "a.txt", folder / "a.txt"), (folder, folder / "deep" / "a.txt")):
            before = self.of(named(path))
            assert before == self.of(named(path))
            changed.write_text("changed")
            assert self.of(named(path)) != before
            (folder / "b.txt").unlink(missing_ok=True)
            changed.write_text("A")

    def test_of_a_set_are_in_order(self, folder: Path) -> None:
        """Whatever order its members have in this interpreter."""
        paths: list[PathName] = [f"{folder}/a.txt", f"{folder}/b.txt", folder / "deep" / "a.txt", os.fsencode(folder)]
        texts = [os.fsdecode(path) for path in sorted(paths, key=os.fsencode)]
        assert [os.fsdecode(path) for path in paths_in(set(paths))] == texts

    @pytest.mark.parametrize("value", [None, 1, 2.5, True, pd.NA, pd.Series([1, 2]), np.arange(3), pd.DataFrame()])
    def test_other_values_name_none(self, value: object) -> None:
        assert list(paths_in(value)) == []

    def test_an_empty_folder_is_something(self, folder: Path) -> None:
        before = self.of(folder)
        (folder / "deep" / "empty").mkdir()
        assert self.of(folder) != before

    def test_a_file_in_place_of_a_folder_is_another(self, tmp_path: Path) -> None:
        (tmp_path / "in" / "x").mkdir(parents=True)
        before = self.of(tmp_path / "in")
        (tmp_path / "in" / "x").rmdir()
        (tmp_path / "in" / "x").write_text("")
        assert self.of(tmp_path / "in") != before

    def test_what_is_bound_by_a_partial_names_one_too(self, folder: Path) -> None:
        for bound in (partial(reading, f"{folder}/a.txt"), partial(partial(reading, other=1), path=folder / "a.txt")):
            before = InputHash(bound, ()).of({}, ())
            (folder / "a.txt").write_text("changed")
            assert InputHash(bound, ()).of({}, ()) != before
            (folder / "a.txt").write_text("A")
            assert InputHash(bound, ()).of({}, ()) == before

    def test_a_default_names_one_too(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        hashes = InputHash(reading, ())
        missing = hashes.of({}, ())
        Path("default.txt").write_text("one")
        one = hashes.of({}, ())
        Path("default.txt").write_text("two")
        assert len({missing, one, hashes.of({}, ())}) == 3
        Path("default.txt").unlink()
        assert hashes.of({}, ()) == missing

    def test_a_relative_path_is_of_the_folder_that_one_is_in(
        self, folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hashes = InputHash(reading, ())
        found = []
        for place in (folder, copy):
            monkeypatch.chdir(place)
            found.append([hashes.of({"path": name}, ()) for name in ("a.txt", "b.txt")])
        assert found[0][0] == found[1][0]
        assert found[0][1] != found[1][1]

    @pytest.mark.parametrize("change", ["content", "new", "renamed", "gone", "deep", "linked"])
    def test_a_folder_counts_by_all_that_is_in_it(self, folder: Path, tmp_path: Path, change: str) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "x.txt").write_text("x")
        (folder / "linked").symlink_to(elsewhere)
        (folder / "circle").symlink_to(folder)
        (folder / "broken").symlink_to(tmp_path / "nowhere")
        before = self.of(folder)
        assert before == self.of(folder)
        match change:
            case "content":
                (folder / "a.txt").write_text("a")
            case "new":
                (folder / "new.txt").write_text("")
            case "renamed":
                (folder / "a.txt").rename(folder / "c.txt")
            case "gone":
                (folder / "a.txt").unlink()
            case "deep":
                (folder / "deep" / "a.txt").write_text("a")
            case "linked":
                (elsewhere / "x.txt").write_text("y")
        assert self.of(folder) != before

    @pytest.mark.parametrize("path", ["https://example.org/a.csv", "a\0b"])
    def test_what_can_not_be_read_is_never_the_same(self, path: str) -> None:
        assert self.of(path) != self.of(path)

    def test_a_pipe_is_never_the_same(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        assert self.of(tmp_path / "pipe") != self.of(tmp_path / "pipe")

    def test_a_link_is_what_it_leads_to(self, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(folder / "a.txt")
        assert self.of(tmp_path / "link") == self.of(folder / "a.txt")
        (tmp_path / "link").unlink()
        (tmp_path / "link").symlink_to(folder / "b.txt")
        assert self.of(tmp_path / "link") == self.of(folder / "b.txt")

    def test_other_arguments_are_not_looked_at(self, folder: Path) -> None:
        hashes = InputHash(reading, ())
        assert hashes.of({"path": None, "other": f"{folder}/a.txt"}, ()) == hashes.of({"path": None}, ())


class TestReading:
    @pytest.fixture
    def read(self, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        """Return the files that are read."""
        found: list[Path] = []
        real = files.sha256

        def sha256(path: Path) -> str:
            found.append(path)
            digest: str = real(path)
            return digest

        monkeypatch.setattr(files, "sha256", sha256)
        return found

    def test_a_file_is_read_again_only_if_it_may_have_changed(
        self, folder: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = folder / "a.txt"
        contents = Contents()
        contents.of_path(path)
        contents.of_path(path)
        assert len(read) == 2  # it is so young that it may be changed once more at this very time
        monkeypatch.setattr("tablevault_like.builders.hashing._SETTLED", -(10**12))  # as if much time had passed
        first = contents.of_path(path)
        assert contents.of_path(path) == first
        assert len(read) == 3
        path.write_text("a")
        assert contents.of_path(path) != first
