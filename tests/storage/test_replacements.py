"""Replacing and deleting files of a fixed name: undone wherever it was interrupted, and never over somebody's edit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from tablevault_like.errors import FencedError, TVFileError
from tablevault_like.storage import files
from tablevault_like.storage.replacements import Replacements


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder with files that are to be changed."""
    found = tmp_path / "builders"
    found.mkdir()
    (found / "old").write_text("old")
    (found / "same").write_text("same")
    (found / "gone").write_text("gone")
    return found


@pytest.fixture
def changes(place: Path, tmp_path: Path) -> Replacements:
    texts = {place / "old": "newer", place / "same": "same", place / "gone": None, place / "new": "new"}
    return Replacements(tmp_path / "staging" / "replaced", texts)


BEFORE = {"old": "old", "same": "same", "gone": "gone"}
AFTER = {"old": "newer", "same": "same", "new": "new"}


def found(place: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in place.iterdir()}


def test_place_and_undo(changes: Replacements, place: Path) -> None:
    changes.place()
    assert found(place) == AFTER

    changes.undo()
    assert found(place) == BEFORE


def test_both_may_be_done_again(changes: Replacements, place: Path) -> None:
    for _ in range(2):
        changes.place()
        assert found(place) == AFTER
    for _ in range(2):
        changes.undo()
        assert found(place) == BEFORE


def test_undo_without_place_changes_nothing(changes: Replacements, place: Path) -> None:
    changes.undo()

    assert found(place) == BEFORE


class Interruption(Exception):  # noqa: N818 - stands for a crash
    pass


GROUND = ("write_file", "replace", "sync_directory", "make_directory", "remove")


@contextmanager
def interrupted_at(number: int) -> Iterator[None]:
    """Interrupt whatever is done before the ``number``-th call that changes a file."""
    calls = 0

    def wrap(name: str) -> None:
        original = getattr(files, name)

        def call(*arguments: object) -> object:
            nonlocal calls
            calls += 1
            if calls == number:
                raise Interruption
            return original(*arguments)

        patch.setattr(files, name, call)

    with pytest.MonkeyPatch.context() as patch:
        for name in GROUND:
            wrap(name)
        yield


def every_interruption(change: Callable[[], None]) -> Iterator[None]:
    """Make a change again and again, and interrupt it at each call in turn, until it comes to its end."""
    for number in itertools.count(1):
        try:
            with interrupted_at(number):
                change()
        except Interruption:
            yield
        else:
            assert number > 5, "it hardly does anything"
            return


def test_wherever_placing_is_interrupted_it_can_be_undone_or_completed(changes: Replacements, place: Path) -> None:
    for _ in every_interruption(changes.place):
        changes.undo()
        assert found(place) == BEFORE
    assert found(place) == AFTER

    changes.undo()
    for number, _ in enumerate(every_interruption(changes.place)):
        changes.place()
        assert found(place) == AFTER, number
        changes.undo()


def test_wherever_undoing_is_interrupted_it_can_be_completed(changes: Replacements, place: Path) -> None:
    changes.place()
    for _ in every_interruption(changes.undo):
        changes.undo()
        assert found(place) == BEFORE
        changes.place()
        assert found(place) == AFTER
    assert found(place) == BEFORE


def test_undo_leaves_what_somebody_else_has_put_there(changes: Replacements, place: Path) -> None:
    changes.place()
    (place / "old").write_text("an edit")
    (place / "new").write_text("an edit")
    (place / "gone").write_text("made again")

    changes.undo()

    assert found(place) == {"old": "an edit", "same": "same", "new": "an edit", "gone": "made again"}


def test_a_folder_that_is_gone_is_told_and_undone(changes: Replacements, place: Path) -> None:
    files.remove(place)

    with pytest.raises(TVFileError, match="is gone, so nothing was written"):
        changes.place()

    changes.undo()
    assert not place.exists()


def test_what_is_somebody_elses_business_by_now_is_left_alone(place: Path, tmp_path: Path) -> None:
    def fenced() -> nullcontext[None]:
        raise FencedError("the claim is over")

    changes = Replacements(tmp_path / "replaced", {place / "old": "newer", place / "gone": None}, fenced)

    with pytest.raises(FencedError):
        changes.place()
    with pytest.raises(FencedError):
        changes.undo()
    assert found(place) == BEFORE


def test_a_link_is_not_followed(place: Path, tmp_path: Path) -> None:
    outside = tmp_path / "precious"
    outside.write_text("precious")
    (place / "link").symlink_to(outside)

    with pytest.raises(OSError, match="link"):
        Replacements(tmp_path / "replaced", {place / "link": "new"}).place()

    assert outside.read_text() == "precious"


class TestOfSomebodyWhoDiedBeforeTheSync:
    """What stands there already need not be durable: it is synced before it is relied on."""

    @pytest.fixture
    def synced(self, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        """Return the folders that are synced from now on."""
        told: list[Path] = []
        sync = files.sync_directory

        def syncing(path: Path) -> None:
            told.append(path)
            sync(path)

        monkeypatch.setattr(files, "sync_directory", syncing)
        return told

    def test_what_was_placed(self, place: Path, tmp_path: Path, synced: list[Path]) -> None:
        (place / "new").write_text("new")

        Replacements(tmp_path / "replaced", {place / "new": "new"}).place()

        assert place in synced

    def test_what_was_deleted(self, place: Path, tmp_path: Path, synced: list[Path]) -> None:
        Replacements(tmp_path / "replaced", {place / "missing": None}).place()

        assert place in synced

    def test_what_was_put_back(self, place: Path, tmp_path: Path, synced: list[Path]) -> None:
        changes = Replacements(tmp_path / "replaced", {place / "old": "newer"})
        changes.place()
        changes.undo()
        synced.clear()

        changes.undo()

        assert place in synced
