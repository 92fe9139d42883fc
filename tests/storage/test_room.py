"""The reserve, and what the disk's refusals mean."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.storage import room
from tablevault_like.storage.room import LEAST, WANTED, Reserve


@pytest.fixture
def reserve(tmp_path: Path) -> Reserve:
    (tmp_path / "vault/metadata").mkdir(parents=True)
    return Reserve(tmp_path / "vault/metadata/reserve")


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = code
    return error


def leave(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Let a file that is allocated have no more than so many bytes."""
    allocate = os.posix_fallocate

    def refuse(descriptor: int, start: int, wanted: int) -> None:
        if wanted > size:
            raise full()
        allocate(descriptor, start, wanted)

    monkeypatch.setattr(os, "posix_fallocate", refuse)


class TestTheReserve:
    def test_is_taken_and_stays(self, reserve: Reserve) -> None:
        reserve.ensure()
        assert reserve.path.stat().st_blocks * 512 >= WANTED
        before = reserve.path.stat()
        reserve.ensure()
        assert reserve.path.stat() == before

    def test_is_as_large_as_there_is_room(self, reserve: Reserve, monkeypatch: pytest.MonkeyPatch) -> None:
        leave(monkeypatch, LEAST)
        reserve.ensure()
        assert reserve.path.stat().st_size == LEAST

    def test_a_hole_is_no_reserve(self, reserve: Reserve) -> None:
        with reserve.path.open("wb") as stream:
            stream.truncate(WANTED)
        reserve.ensure()
        assert reserve.path.stat().st_blocks * 512 >= WANTED

    def test_nothing_begins_without_it(self, reserve: Reserve, monkeypatch: pytest.MonkeyPatch) -> None:
        leave(monkeypatch, LEAST - 1)
        vault = reserve.path.parent.parent
        with pytest.raises(TVFileError, match=r"so nothing new is begun there\. Free some space") as caught:
            reserve.ensure()
        assert str(vault) in str(caught.value)

    def test_is_not_what_tells_that_a_folder_is_read_only(
        self, reserve: Reserve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> int:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        monkeypatch.setattr(os, "open", refuse)
        reserve.ensure()

    def test_work_that_finds_no_room_is_done_in_it(self, reserve: Reserve) -> None:
        reserve.ensure()
        found = list[bool]()

        def work() -> str:
            found.append(reserve.path.exists())
            if reserve.path.exists():
                raise sqlite_error(sqlite3.SQLITE_FULL)
            return "done"

        assert reserve.insist(work) == "done"
        assert found == [True, False]
        assert reserve.path.stat().st_size == WANTED

    def test_work_that_finds_none_even_so_raises_that(self, reserve: Reserve) -> None:
        def work() -> None:
            raise full()

        with pytest.raises(OSError, match="No space left"):
            reserve.insist(work)
        assert reserve.path.stat().st_size == WANTED

    def test_stays_when_work_fails_for_another_reason(self, reserve: Reserve) -> None:
        reserve.ensure()
        tried = list[int]()

        def work() -> None:
            tried.append(1)
            raise TVArgumentError("no such thing")

        with pytest.raises(TVArgumentError):
            reserve.insist(work)
        assert tried == [1]
        assert reserve.path.exists()


class TestIsFull:
    @pytest.mark.parametrize("error", [full(), sqlite_error(sqlite3.SQLITE_FULL), OSError(errno.EDQUOT, "quota")])
    def test_what_says_so(self, error: BaseException, tmp_path: Path) -> None:
        assert room.is_full(error, tmp_path)

    def test_what_was_raised_from_it(self, tmp_path: Path) -> None:
        error = TVFileError("the row store can't be written")
        error.__cause__ = full()
        assert room.is_full(error, tmp_path)

    @pytest.mark.parametrize(
        "error", [ValueError("full"), OSError(errno.EIO, "I/O"), sqlite_error(sqlite3.SQLITE_CANTOPEN), None]
    )
    def test_what_does_not(self, error: BaseException | None, tmp_path: Path) -> None:
        assert not room.is_full(error, tmp_path)


class TestInWords:
    def test_a_full_disk(self, tmp_path: Path) -> None:
        said = room.in_words(OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "a/b")), tmp_path)
        assert str(said) == (
            f"The disk that holds {tmp_path} is full (No space left on device: {tmp_path}/a/b). Free some space on it, "
            "and call again."
        )

    def test_another_disk(self, tmp_path: Path) -> None:
        said = room.in_words(OSError(errno.ENOSPC, "No space left on device", "/elsewhere/file"), tmp_path)
        assert str(said).startswith("The disk that holds /elsewhere is full (No space left on device: /elsewhere/file)")

    def test_a_file_system_that_is_read_only(self, tmp_path: Path) -> None:
        said = room.in_words(OSError(errno.EROFS, "Read-only file system", str(tmp_path / "a")), tmp_path)
        assert f"{tmp_path} lies on a file system that is mounted read-only (Read-only file system)" in str(said)

    def test_a_folder_without_permission(self, tmp_path: Path) -> None:
        said = room.in_words(PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "a")), tmp_path)
        assert f"{tmp_path}/a may not be changed, or not be read, by this user (Permission denied)" in str(said)

    def test_notes_are_kept(self, tmp_path: Path) -> None:
        error = full()
        error.add_note("Process 'nightly' is paused.")
        said = room.in_words(error, tmp_path)
        assert said is not None
        assert said.__notes__ == ["Process 'nightly' is paused."]

    @pytest.mark.parametrize("error", [TVFileError("said already"), ValueError(), OSError(errno.EIO, "I/O error")])
    def test_other_errors_stay_as_they_are(self, error: Exception, tmp_path: Path) -> None:
        assert room.in_words(error, tmp_path) is None
        with pytest.raises(type(error)) as caught, room.told(tmp_path):
            raise error
        assert caught.value is error

    def test_told_raises_from_what_the_disk_said(self, tmp_path: Path) -> None:
        error = full()
        with pytest.raises(TVFileError) as caught, room.told(tmp_path):
            raise error
        assert caught.value.__cause__ is error
