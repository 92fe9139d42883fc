"""The model of a disk that loses power: what may be there, and what is there for certain."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.persistence import Disk
from tests.faults.recording import Change, Make, Remove, Rename, Resize, Sync, SyncAll, Write


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    base = tmp_path / "base"
    (base / "folder").mkdir(parents=True)
    (base / "old").write_bytes(b"old")
    return Disk(base, Path("/root"), torn=4)


ROOT = Path("/root")
NEW = ROOT / "folder" / "new"


def left(disk: Disk, tmp_path: Path, *changes: Change, samples: int = 200) -> set[frozenset[tuple[str, bytes]]]:
    """Return what may be on the disk after some changes: the sets of files with their contents."""
    for change in changes:
        disk.happen(change)
    found = set()
    for number, losses in enumerate(disk.losses(len(disk), random.Random(1), samples)):
        target = tmp_path / f"left{number}"
        disk.write(losses, target)
        files = [path for path in target.rglob("*") if path.is_file()]
        found.add(frozenset((path.relative_to(target).as_posix(), path.read_bytes()) for path in files))
    return found


OLD = ("old", b"old")


def test_what_is_not_synced_may_be_there_or_not_and_in_part(disk: Disk, tmp_path: Path) -> None:
    found = left(disk, tmp_path, Make(NEW), Write(NEW, 2, b"abcdef"))

    contents = {dict(files).get("folder/new") for files in found}
    # Torn at the fourth byte: two pieces, the second may be there alone.
    assert contents == {None, b"", b"\0\0ab", b"\0\0\0\0cdef", b"\0\0abcdef"}


def test_a_synced_file_may_lack_its_name(disk: Disk, tmp_path: Path) -> None:
    found = left(disk, tmp_path, Make(NEW), Write(NEW, 0, b"abc"), Sync(NEW))

    assert found == {frozenset([OLD]), frozenset([OLD, ("folder/new", b"abc")])}


def test_a_synced_file_in_a_synced_folder_is_there(disk: Disk, tmp_path: Path) -> None:
    found = left(disk, tmp_path, Make(NEW), Write(NEW, 0, b"abc"), Sync(NEW), Sync(NEW.parent))

    assert found == {frozenset([OLD, ("folder/new", b"abc")])}


def test_all_is_there_when_all_was_synced(disk: Disk, tmp_path: Path) -> None:
    found = left(disk, tmp_path, Make(NEW), Write(NEW, 0, b"abc"), SyncAll(), Remove(ROOT / "old"))

    assert found == {frozenset([OLD, ("folder/new", b"abc")]), frozenset([("folder/new", b"abc")])}


def test_a_name_may_be_there_without_the_content(disk: Disk, tmp_path: Path) -> None:
    found = left(disk, tmp_path, Make(NEW), Write(NEW, 0, b"abc"), Sync(NEW.parent))

    assert found == {frozenset([OLD, ("folder/new", b"")]), frozenset([OLD, ("folder/new", b"abc")])}


def test_a_rename_is_there_or_not_and_replaces_at_once(disk: Disk, tmp_path: Path) -> None:
    new = ROOT / "temporary"
    found = left(disk, tmp_path, Make(new), Write(new, 0, b"new"), Sync(new), Sync(ROOT), Rename(new, ROOT / "old"))

    assert found == {frozenset([OLD, ("temporary", b"new")]), frozenset([("old", b"new")])}


def test_removing_and_shortening(disk: Disk, tmp_path: Path) -> None:
    found = left(disk, tmp_path, Resize(ROOT / "old", 1), Sync(ROOT / "old"), Remove(ROOT / "old"))

    assert found == {frozenset([("old", b"o")]), frozenset()}


def test_what_lies_in_a_lost_folder_is_lost(disk: Disk, tmp_path: Path) -> None:
    folder = ROOT / "lost"
    file = folder / "file"
    found = left(
        disk, tmp_path, Make(folder, is_folder=True), Make(file), Write(file, 0, b"a"), Sync(file), Sync(folder)
    )

    assert found == {frozenset([OLD]), frozenset([OLD, ("lost/file", b"a")])}


def test_losses_that_leave_the_same_have_one_key(disk: Disk, tmp_path: Path) -> None:
    new = ROOT / "temporary"
    for change in (Make(new), Write(new, 0, b"new"), Remove(new)):
        disk.happen(change)
    losses = list(disk.losses(len(disk), random.Random(1), 50))

    keys = {disk.key(each) for each in losses}
    written = set()
    for number, each in enumerate(losses):
        target = tmp_path / f"left{number}"
        disk.write(each, target)
        written.add(frozenset((path.name, path.read_bytes()) for path in target.rglob("*") if path.is_file()))
    assert len(keys) == len(written) == 3
