"""Each instance gets the artifacts that are its own."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from tablevault_like.migration.artifacts import Brought, bring, bring_loose
from tablevault_like.migration.old import OldInstance, OldTable
from tests.migration.old_vaults import instance_id

OLD, NEW = 1_700_000_000.0, 1_700_000_100.0


class Place:
    """A table of 0.1 that has two instances, and whose artifacts are those of the second."""

    def __init__(self, root: Path, *, multiple: bool = False) -> None:
        folder = root / "words"
        folder.mkdir()
        (folder / "artifacts").mkdir()
        ids = instance_id(number=1), instance_id(number=2)
        (folder / "description.yaml").write_text(
            f"multiple_artifacts: {str(multiple).lower()}\nartifact_instance: {ids[1]}\n"
        )
        self.older, self.newest = (
            OldInstance("words", each, folder / each, made_at) for each, made_at in zip(ids, (OLD, NEW), strict=True)
        )
        self.table = OldTable("words", folder, (self.older, self.newest))
        self.target, self.aside = root / "target", root / "aside"

    def bring(self, instance: OldInstance, *cells: str | None) -> Brought:
        frame = pd.DataFrame({"page": pd.array([*cells], dtype="string")})
        return bring(self.table, instance, frame, ["page"], target=self.target, aside=self.aside)

    def found(self) -> list[str]:
        return sorted(path.relative_to(self.target).as_posix() for path in self.target.rglob("*") if path.is_file())


def write(path: Path, *, at: float = OLD) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.name)
    os.utime(path, (at, at))


def test_the_newest_instance_has_the_files_of_the_table(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for name in ("a.txt", "deep/er/b.txt", ".hidden", "deep/.hidden/c"):
        write(place.table.artifacts / name)

    brought = place.bring(place.newest, "a.txt", None, "deep/er/b.txt", "a.txt")

    assert brought.notes == ()
    assert not brought.lost
    assert place.found() == [".hidden", "a.txt", "deep/.hidden/c", "deep/er/b.txt"]
    assert brought.frame["page"].tolist() == ["a.txt", pd.NA, "deep/er/b.txt", "a.txt"]


def test_an_older_instance_has_only_what_was_not_written_since(tmp_path: Path) -> None:
    place = Place(tmp_path)
    write(place.table.artifacts / "kept.txt", at=OLD - 1)
    write(place.table.artifacts / "replaced.txt", at=OLD + 1)

    brought = place.bring(place.older, "kept.txt", "replaced.txt", "gone.txt")

    assert place.found() == ["kept.txt"]
    assert brought.lost
    assert brought.frame["page"].tolist() == ["kept.txt", pd.NA, pd.NA]
    assert brought.notes[0].startswith("2 artifact cells without the file")


def test_an_instance_of_a_table_with_many_sets_has_its_own(tmp_path: Path) -> None:
    place = Place(tmp_path, multiple=True)
    write(place.table.artifacts / "a.txt")
    write(place.older.artifacts / "b.txt")

    brought = place.bring(place.older, "a.txt", "b.txt")

    assert place.found() == ["b.txt"]
    assert brought.frame["page"].tolist() == [pd.NA, "b.txt"]


def test_a_partial_instance_has_its_own(tmp_path: Path) -> None:
    place = Place(tmp_path)
    partial = OldInstance("words", instance_id(number=3), tmp_path / "words" / "partial", NEW, success=False)
    write(place.table.artifacts / "a.txt", at=1.0)
    write(partial.artifacts / "b.txt")

    place.bring(partial, "a.txt", "b.txt")

    assert place.found() == ["b.txt"]


def test_a_path_into_the_temporary_instance_becomes_a_name(tmp_path: Path) -> None:
    place = Place(tmp_path)
    write(place.table.artifacts / "a.txt")

    brought = place.bring(place.newest, f"{tmp_path}/words/TEMP_base/artifacts/a.txt")

    assert brought.frame["page"].tolist() == ["a.txt"]
    assert brought.notes == ()


@pytest.mark.parametrize("name", ["/etc/hostname", "../words/description.yaml", "link", "folder", "link/inside", ""])
def test_no_cell_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    place = Place(tmp_path)
    (tmp_path / "outside").mkdir()
    write(tmp_path / "outside" / "inside")
    (place.table.artifacts / "folder").mkdir()
    (place.table.artifacts / "link").symlink_to(tmp_path / "outside")

    brought = place.bring(place.newest, name)

    assert place.found() == []
    assert brought.frame["page"].isna().all()
    assert "the artifact 'link' is a link or no regular file, and was left out" in brought.notes


def test_a_table_whose_artifacts_are_a_link_has_none(tmp_path: Path) -> None:
    place = Place(tmp_path)
    write(tmp_path / "outside" / "a.txt")
    place.table.artifacts.rmdir()
    place.table.artifacts.symlink_to(tmp_path / "outside")

    assert place.bring(place.newest, "a.txt").lost


def test_many_are_listed_in_short(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for number in range(9):
        write(place.table.artifacts / f"{number}.txt")

    [note] = place.bring(place.newest).notes

    assert (
        note == "9 files that no cell names, in provenance/ now: '0.txt', '1.txt', '2.txt', '3.txt', '4.txt' and 4 more"
    )
    assert len([*place.aside.iterdir()]) == 9


def test_artifacts_of_a_temporary_instance_are_copied_as_they_are(tmp_path: Path) -> None:
    write(tmp_path / "source" / "deep" / "a.txt")
    (tmp_path / "source" / "link").symlink_to(tmp_path)

    notes = bring_loose(tmp_path / "source", tmp_path / "target")

    assert [path.name for path in (tmp_path / "target").rglob("*")] == ["deep", "a.txt"]
    assert notes == ["the artifact 'link' is a link or no regular file, and was left out"]
    assert bring_loose(tmp_path / "nothing", tmp_path / "empty") == []
