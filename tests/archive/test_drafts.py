"""Drafts: what a dead worker left is removed, and nothing else."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tablevault_like.archive import drafts
from tablevault_like.archive.drafts import Kind, draft, sweep


@pytest.mark.parametrize("kind", Kind)
def test_a_draft_is_removed_however_it_ends(kind: Kind, tmp_path: Path) -> None:
    with draft(tmp_path / "a", kind) as folder:
        (folder / "x").write_text("x")
        assert folder.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt), draft(tmp_path / "a", kind):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_draft_under_way_is_left_alone(tmp_path: Path) -> None:
    with draft(tmp_path / "a", Kind.ARCHIVING) as one, draft(tmp_path / "a", Kind.RESTORING) as two:
        sweep(tmp_path / "a")
        assert one.is_dir()
        assert two.is_dir()


def test_only_dead_drafts_for_the_same_target_are_swept(tmp_path: Path) -> None:
    unique = uuid.uuid4().hex
    dead = [f".a.{unique}.{kind}" for kind in Kind]
    others = [f".b.{unique}.archiving", f".a.{unique}.other", f"a.{unique}.archiving", f".a.{unique[:-1]}.deleting"]
    for name in (*dead, *others):
        (tmp_path / name / "inner").mkdir(parents=True)
    file, link = tmp_path / f".a.{uuid.uuid4().hex}.archiving", tmp_path / f".a.{uuid.uuid4().hex}.deleting"
    file.touch()
    link.symlink_to(tmp_path / others[0])
    sweep(tmp_path / "a")
    assert {path.name for path in tmp_path.iterdir()} == {*others, file.name, link.name}


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


def test_long_names_have_drafts_too(tmp_path: Path) -> None:
    target = tmp_path / ("ä" * 120)
    (tmp_path / f".{target.name[:40]}.{uuid.uuid4().hex}.restoring").mkdir()
    with draft(target, Kind.RESTORING) as folder:
        assert list(tmp_path.iterdir()) == [folder]
