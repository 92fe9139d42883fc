"""Small files that carry a checksum and have a copy: damage is told and mended, a death is neither."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tablevault_like.errors import TVCheckpointError
from tablevault_like.storage import files, sealed

OLD, NEW = {"number": 1}, {"number": 2}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    sealed.write(tmp_path / "plan.json", OLD)
    return tmp_path / "plan.json"


class Death(BaseException):
    """What ends a worker."""


def die_before(replacement: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write, and die before the file (0) or its copy (1) is replaced."""
    replaced, replace = list[Path](), files.replace

    def replace_or_die(source: Path, target: Path) -> None:
        if len(replaced) == replacement:
            raise Death
        replaced.append(target)
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(Death):
        patch.setattr(files, "replace", replace_or_die)
        sealed.write(path, NEW)


def number(path: Path) -> int:
    return int(sealed.read(path, process_id="nightly")["number"])


def test_what_was_written_is_read(path: Path) -> None:
    assert number(path) == 1
    assert sealed.damage(path) == []
    assert path.read_bytes() == sealed.copy_of(path).read_bytes()


@pytest.mark.parametrize("which", [lambda path: path, sealed.copy_of], ids=["file", "copy"])
@pytest.mark.parametrize("content", [None, b"", b'{"number": 3, "is_sealed": true}\n'], ids=["gone", "empty", "other"])
def test_either_of_the_two_is_enough_and_mends_the_other(
    path: Path, which: Callable[[Path], Path], content: bytes | None
) -> None:
    spoilt = which(path)
    spoilt.unlink()
    if content is not None:
        spoilt.write_bytes(content)

    assert number(path) == 1
    assert [each.path for each in sealed.damage(path)] == [spoilt]

    sealed.mend(path)

    assert number(path) == 1
    assert sealed.damage(path) == []


def test_both_are_needed(path: Path) -> None:
    for each in (path, sealed.copy_of(path)):
        each.write_bytes(b"{}x")

    assert len(sealed.damage(path)) == 2
    with pytest.raises(TVCheckpointError, match=r"plan\.json: it isn't what was written"):
        number(path)


def test_a_copy_of_something_else_is_told(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    sealed.write(other, NEW)
    files.replace(other, sealed.copy_of(path))

    assert [str(each) for each in sealed.damage(path)] == [f"{sealed.copy_of(path)}: it isn't a copy of plan.json"]

    sealed.mend(path)

    assert number(path) == 1
    assert sealed.damage(path) == []


class TestAWriterThatDies:
    @pytest.mark.parametrize(("replacement", "found"), [(0, 1), (1, 2)], ids=["before the file", "before its copy"])
    def test_leaves_no_damage_and_is_settled(
        self, path: Path, replacement: int, found: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        die_before(replacement, path, monkeypatch)

        assert number(path) == found
        assert sealed.damage(path) == []

        sealed.settle(path)

        assert number(path) == found
        assert sealed.damage(path) == []
        path.unlink()
        assert number(path) == found

    def test_of_the_first_write_leaves_the_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "anew.json"

        die_before(1, path, monkeypatch)

        assert number(path) == 2
        assert sealed.damage(path) == []

    def test_is_followed_by_another_write(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        die_before(1, path, monkeypatch)
        die_before(0, path, monkeypatch)

        assert number(path) == 2
        assert sealed.damage(path) == []

    def test_leaves_nobody_to_guess_when_the_file_is_damaged_then(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        die_before(1, path, monkeypatch)
        path.write_bytes(b"")

        with pytest.raises(TVCheckpointError):
            number(path)
        assert sealed.damage(path)[0].path == path
