"""Drafts: what a dead worker left is removed, and nothing else."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tablevault_like.storage import drafts, files
from tablevault_like.storage.drafts import Kind, draft, sweep

UNIQUE = "0123456789abcdef" * 2
NAMES = {
    Kind.CREATING: f".a.{UNIQUE}.creating",
    Kind.MIGRATING: f".a.migrating-{UNIQUE}",
    Kind.ARCHIVING: f".a.{UNIQUE}.archiving",
    Kind.RESTORING: f".a.{UNIQUE}.restoring",
    Kind.DELETING: f".a.{UNIQUE}.deleting",
}
"""What the drafts for ``a`` are named. Those that older releases have left must still be known."""


@pytest.fixture
def umask() -> Iterator[int]:
    """Set the usual umask, and return it."""
    before = os.umask(0o022)
    yield 0o022
    os.umask(before)


@pytest.mark.parametrize("kind", Kind)
def test_a_draft_is_removed_however_it_ends(kind: Kind, tmp_path: Path) -> None:
    with draft(tmp_path / "a", kind) as folder:
        (folder / "x").write_text("x")
        assert folder.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt), draft(tmp_path / "a", kind):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("kind", "name"), NAMES.items())
def test_a_draft_is_named_for_its_target_and_its_kind(
    kind: Kind, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(UNIQUE))
    with draft(tmp_path / "a", kind) as folder:
        assert folder == tmp_path / name


def test_a_draft_that_takes_the_place_of_its_target_stays(tmp_path: Path, umask: int) -> None:
    target = tmp_path / "a"
    with draft(target, Kind.CREATING, mode=0o777) as folder:
        (folder / "x").write_text("x")
        folder.rename(target)
    assert list(tmp_path.iterdir()) == [target]
    assert (target / "x").read_text() == "x"
    assert stat.S_IMODE(target.stat().st_mode) == 0o777 & ~umask


def test_a_draft_under_way_is_left_alone(tmp_path: Path) -> None:
    with draft(tmp_path / "a", Kind.ARCHIVING) as one, draft(tmp_path / "a", Kind.RESTORING) as two:
        sweep(tmp_path / "a")
        assert one.is_dir()
        assert two.is_dir()


def test_only_dead_drafts_for_the_same_target_are_swept(tmp_path: Path) -> None:
    others = [
        *(f".b.{UNIQUE}.archiving", f".a.{UNIQUE}.other", f"a.{UNIQUE}.archiving", f".a.{UNIQUE[:-1]}.deleting"),
        *(f".a.{UNIQUE}", f".ab.migrating-{UNIQUE}", ".a.migrating-notes", f".a.migrating-{UNIQUE}.creating"),
        *(f".a.{UNIQUE}.archiving.", f".a\n.{UNIQUE}.archiving", f".a.{UNIQUE}.deleting\n"),
    ]
    for name in (*NAMES.values(), *others):
        (tmp_path / name / "inner").mkdir(parents=True)
    file, link = tmp_path / f".a.{uuid.uuid4().hex}.archiving", tmp_path / f".a.{uuid.uuid4().hex}.deleting"
    file.touch()
    link.symlink_to(tmp_path / others[0])
    sweep(tmp_path / "a")
    assert {path.name for path in tmp_path.iterdir()} == {*others, file.name, link.name}


@pytest.mark.parametrize("name", ["a.*", "{name}", "{unique}", "a\nb", "[a]"])
def test_a_name_is_taken_literally(name: str, tmp_path: Path) -> None:
    others = [tmp_path / f".abc.{UNIQUE}.archiving", tmp_path / f".a.migrating-{UNIQUE}"]
    for path in (*others, tmp_path / f".{name}.{UNIQUE}.archiving", tmp_path / f".{name}.migrating-{UNIQUE}"):
        path.mkdir()
    with draft(tmp_path / name, Kind.ARCHIVING) as folder:
        assert folder.name.startswith(f".{name}.")
        assert {*tmp_path.iterdir()} == {*others, folder}


def test_a_draft_that_is_swept_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = drafts.locked
    swept: list[Path] = []

    def locked(folder: Path) -> int | None:
        if not swept:
            swept.append(folder)
            sweep(tmp_path / "a")
        return original(folder)

    monkeypatch.setattr(drafts, "locked", locked)
    with draft(tmp_path / "a", Kind.ARCHIVING) as folder:
        assert folder.is_dir()
        assert folder not in swept


@pytest.mark.parametrize(("kind", "length"), [(Kind.RESTORING, 40), (Kind.MIGRATING, 60)])
def test_long_names_have_drafts_too(kind: Kind, length: int, tmp_path: Path) -> None:
    target = tmp_path / ("ä" * 120)
    for name in (f".{target.name[:40]}.{UNIQUE}.restoring", f".{target.name[:60]}.migrating-{UNIQUE}"):
        (tmp_path / name).mkdir()
    with draft(target, kind) as folder:
        assert list(tmp_path.iterdir()) == [folder]
        assert folder.name.count("ä") == length


def test_what_can_not_be_removed_is_told_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dead = tmp_path / NAMES[Kind.RESTORING]
    dead.mkdir()

    def remove(path: Path) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path))

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "tablevault_like"):
        patch.setattr(files, "remove", remove)
        sweep(tmp_path / "a")
    assert dead.is_dir()
    assert f"{dead} could not be removed; it may be removed by hand" in caplog.text
    sweep(tmp_path / "a")
    assert not dead.exists()


def test_where_folders_can_not_be_locked_drafts_are_made_and_nothing_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = tmp_path / NAMES[Kind.ARCHIVING]
    dead.mkdir()

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", flock)
        with draft(tmp_path / "a", Kind.ARCHIVING) as folder:
            assert {*tmp_path.iterdir()} == {dead, folder}
    assert list(tmp_path.iterdir()) == [dead]
