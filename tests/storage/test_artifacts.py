from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tablevault_like.errors import TVArtifactError
from tablevault_like.layout import InstanceLayout
from tablevault_like.storage import files, manifests
from tablevault_like.storage.artifacts import (
    absolute_paths,
    check_artifacts,
    draft_of,
    has_any,
    keep_by_content,
    resolve,
    sync_artifacts,
    take_over,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an artifact folder with a few files, and a file outside."""
    (tmp_path / "outside.txt").write_text("outside")
    folder = tmp_path / "artifacts"
    for name in ("a.txt", "b.txt", "deep/er/c.txt"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def frame(*names: Any, **others: Any) -> pd.DataFrame:
    return pd.DataFrame({"file": pd.Series(names, dtype="string"), **others})


UNSAFE = [
    "",
    "/",
    "/etc/passwd",
    "..",
    "../outside.txt",
    "deep/../../outside.txt",
    "deep/../a.txt",
    "./a.txt",
    "deep/./er/c.txt",
    "deep//er/c.txt",
    "a.txt/",
    "a.txt/.",
    "a\0.txt",
]


def test_cells_and_files_that_match_pass(folder: Path) -> None:
    check_artifacts(frame("a.txt", "b.txt", "deep/er/c.txt", None), ["file"], folder)


def test_several_columns_and_cells_may_share_a_file(folder: Path) -> None:
    cells = frame("a.txt", "a.txt", other=pd.Series(["b.txt", "deep/er/c.txt"], dtype="str"))

    check_artifacts(cells, ["file", "other"], folder)


def test_hidden_files_need_no_cell_and_may_have_one(folder: Path) -> None:
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x").touch()
    (folder / ".hidden").touch()

    check_artifacts(frame("a.txt", "b.txt", "deep/er/c.txt"), ["file"], folder)
    check_artifacts(frame("a.txt", "b.txt", "deep/er/c.txt", ".hidden"), ["file"], folder)


def test_a_folder_that_nobody_made_has_no_files(tmp_path: Path) -> None:
    check_artifacts(frame(None), ["file"], tmp_path / "missing")
    check_artifacts(frame(), [], tmp_path / "missing")


def test_missing_files_are_told_by_name(folder: Path) -> None:
    with pytest.raises(TVArtifactError) as caught:
        check_artifacts(frame("a.txt", "x.txt", "b.txt", "y.txt"), ["file"], folder)

    assert "2 artifact cells" in str(caught.value)
    assert "row 1 of column 'file': The artifact 'x.txt' doesn't exist" in str(caught.value)
    assert "'y.txt'" in str(caught.value)


def test_files_without_a_cell_are_told_by_name(folder: Path) -> None:
    with pytest.raises(TVArtifactError, match=r"2 files .*'b.txt'; 'deep/er/c.txt'\."):
        check_artifacts(frame("a.txt"), ["file"], folder)


def test_only_a_few_of_many_are_told(folder: Path) -> None:
    with pytest.raises(TVArtifactError, match=r"100 artifact cells.*and 95 more") as caught:
        check_artifacts(frame(*(f"{number}.txt" for number in range(100))), ["file"], folder)

    assert len(str(caught.value)) < 1_500


@pytest.mark.parametrize("name", UNSAFE)
def test_a_name_that_could_lead_out_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(TVArtifactError, match="not allowed"):
        resolve(folder, name)
    with pytest.raises(TVArtifactError, match="not allowed"):
        sync_artifacts(folder, ["a.txt", name])
    with pytest.raises(TVArtifactError, match="not allowed"):
        absolute_paths(frame("a.txt", name), ["file"], folder)
    with pytest.raises(TVArtifactError, match="not allowed"):
        check_artifacts(frame("a.txt", "b.txt", "deep/er/c.txt", name), ["file"], folder)


@pytest.mark.parametrize("name", ["...", "..a", "a..", " ", "räume.txt", "a\nb", "-", "a\\b", ".hidden", "~", "*"])
def test_an_odd_name_is_a_name(folder: Path, name: str) -> None:
    (folder / name).touch()

    assert resolve(folder, name) == folder / name
    check_artifacts(frame("a.txt", "b.txt", "deep/er/c.txt", name), ["file"], folder)


@pytest.mark.parametrize(
    ("link", "target", "name"),
    [
        ("link.txt", "../outside.txt", "link.txt"),
        ("link.txt", "a.txt", "link.txt"),
        ("link.txt", "nowhere", "link.txt"),
        ("loop", "loop", "loop"),
        ("linked", "..", "linked/outside.txt"),
        ("linked", "deep", "linked/er/c.txt"),
    ],
)
def test_links_are_refused(folder: Path, link: str, target: str, name: str) -> None:
    (folder / link).symlink_to(target)

    with pytest.raises(TVArtifactError, match="link"):
        resolve(folder, name)
    with pytest.raises(TVArtifactError, match="link"):
        sync_artifacts(folder, [name])
    with pytest.raises(TVArtifactError, match="link"):
        check_artifacts(frame("a.txt", "b.txt", "deep/er/c.txt", name), ["file"], folder)
    with pytest.raises(TVArtifactError, match=f"1 file .*'{link}'"):
        check_artifacts(frame("a.txt", "b.txt", "deep/er/c.txt"), ["file"], folder)


def test_what_is_no_regular_file_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "pipe")

    for name in ("pipe", "deep", "a.txt/x"):
        with pytest.raises(TVArtifactError, match=r"not a regular file"):
            sync_artifacts(folder, [name])
    with pytest.raises(TVArtifactError, match="'pipe'"):
        check_artifacts(frame("a.txt", "b.txt", "deep/er/c.txt"), ["file"], folder)


@pytest.mark.parametrize("name", ["x" * 300, "a\udcff", "missing", "missing/x"])
def test_a_name_that_no_file_has_is_told(folder: Path, name: str) -> None:
    with pytest.raises(TVArtifactError, match=r"can't be found|doesn't exist"):
        resolve(folder, name)


def test_a_folder_that_is_reached_through_a_link_will_do(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(folder)

    assert resolve(tmp_path / "alias", "a.txt") == tmp_path / "alias" / "a.txt"
    sync_artifacts(tmp_path / "alias", ["deep/er/c.txt"])
    check_artifacts(frame("a.txt", "b.txt", "deep/er/c.txt"), ["file"], tmp_path / "alias")


def test_files_are_synced_before_their_folders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync_file", synced.append)
    monkeypatch.setattr(files, "sync_directory", synced.append)

    sync_artifacts(folder, ["deep/er/c.txt", "a.txt", "a.txt"])

    assert synced == [folder / "deep/er/c.txt", folder / "a.txt", folder / "deep/er", folder / "deep", folder]


def test_a_missing_artifact_is_told_before_its_row_is_recorded(folder: Path) -> None:
    with pytest.raises(TVArtifactError, match="Write it into ~ARTIFACT_FOLDER~"):
        sync_artifacts(folder, ["a.txt", "x.txt"])


@pytest.mark.parametrize("dtype", ["string", "str", "object"])
def test_cells_become_absolute_paths(folder: Path, dtype: str) -> None:
    cells = pd.DataFrame({"file": pd.Series(["a.txt", None], dtype=dtype), "other": ["a.txt", "b.txt"]})

    found = absolute_paths(cells, ["file"], folder)

    assert found["file"].tolist() == [str(folder / "a.txt"), pd.NA]
    assert found["file"].dtype == "string"
    assert found["other"].tolist() == ["a.txt", "b.txt"]
    assert cells["file"][0] == "a.txt"


def test_a_column_of_artifacts_may_have_any_name(folder: Path) -> None:
    found = absolute_paths(pd.DataFrame({"self": ["one.txt"]}), ["self"], folder)

    assert found["self"].tolist() == [f"{folder}/one.txt"]


def test_a_frame_without_artifacts_stays_as_it_is(folder: Path) -> None:
    cells = frame("a.txt")

    assert absolute_paths(cells, [], folder) is cells


def test_a_cell_that_is_no_text_is_told(folder: Path) -> None:
    with pytest.raises(TVArtifactError, match=r"Row 1 of column 'file' holds a int"):
        check_artifacts(pd.DataFrame({"file": ["a.txt", 5]}), ["file"], folder)


class TestTakingOver:
    def test_copies_files_and_the_folders_that_lead_to_them(self, folder: Path, tmp_path: Path) -> None:
        take_over(["a.txt", "deep/er/c.txt", "a.txt"], folder, tmp_path / "target")

        assert sorted(name for name, _ in files.regular_files(tmp_path / "target")) == ["a.txt", "deep/er/c.txt"]
        assert not draft_of(tmp_path / "target").exists()

    def test_of_a_name_of_any_length(self, folder: Path, tmp_path: Path) -> None:
        name = "x" * 255
        (folder / name).write_text("long")

        take_over([name], folder, tmp_path / "target")

        assert (tmp_path / "target" / name).read_text() == "long"

    def test_leaves_what_is_the_same_and_refuses_what_is_not(self, folder: Path, tmp_path: Path) -> None:
        take_over(["a.txt"], folder, tmp_path / "target")
        take_over(["a.txt"], folder, tmp_path / "target")
        (tmp_path / "target" / "a.txt").write_text("another")

        with pytest.raises(TVArtifactError, match=r"The artifact 'a.txt' .* was written anew, with another content"):
            take_over(["a.txt"], folder, tmp_path / "target")


def test_a_folder_has_any_artifacts_if_something_lies_in_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    assert has_any(folder)
    assert not any(map(has_any, (tmp_path / "empty", tmp_path / "missing", folder / "a.txt", None)))


class TestKeepingByContent:
    @pytest.fixture
    def earlier(self, tmp_path: Path) -> InstanceLayout:
        place = InstanceLayout(tmp_path / "earlier")
        (place.artifacts / "sub").mkdir(parents=True)
        (place.artifacts / "sub" / "old.txt").write_text("a.txt")
        (place.artifacts / "changed.txt").write_text("changed")
        manifests.write(place.folder, place.manifest, known={})
        return place

    def test_shares_what_is_there_under_any_name(self, folder: Path, earlier: InstanceLayout) -> None:
        found = keep_by_content(folder, [earlier])

        assert found == {name: files.sha256(path) for name, path in files.regular_files(folder)}
        assert (folder / "a.txt").read_text() == "a.txt"
        assert not draft_of(folder).exists()
        if not _can_clone(folder):
            assert (folder / "a.txt").samefile(earlier.artifacts / "sub" / "old.txt")
            assert (folder / "b.txt").stat().st_nlink == 1

    def test_reads_no_file_whose_sha256_is_known(
        self, folder: Path, earlier: InstanceLayout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known = {name: files.sha256(path) for name, path in files.regular_files(folder)}
        read: list[object] = []

        def sha256(file: object) -> str:
            read.append(file)
            return known["a.txt"]

        monkeypatch.setattr(files, "sha256", sha256)

        assert keep_by_content(folder, [earlier], digests=known) == known
        assert len(read) == 1  # the one that is to be shared, to be sure of it

    def test_asks_for_earlier_instances_only_if_there_are_files(self, tmp_path: Path) -> None:
        earlier = map(pytest.fail, ["nobody needs them"])

        (tmp_path / "empty" / "sub").mkdir(parents=True)
        assert keep_by_content(tmp_path / "empty", earlier) == {}

    @pytest.mark.parametrize("text", [None, "", "[]", '{"files": {"artifacts/x": 1}}'])
    def test_takes_nothing_from_an_instance_without_a_proper_manifest(
        self, folder: Path, tmp_path: Path, text: str | None
    ) -> None:
        place = InstanceLayout(tmp_path / "damaged")
        place.folder.mkdir()
        if text is not None:
            place.manifest.write_text(text)

        assert set(keep_by_content(folder, [place])) == {"a.txt", "b.txt", "deep/er/c.txt"}


def _can_clone(folder: Path) -> bool:
    with (folder / "a.txt").open("rb") as reader, (folder.parent / "clone").open("wb") as writer:
        return files.clone(reader.fileno(), writer.fileno())
