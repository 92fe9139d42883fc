"""Files that survive: new ones, synced, placed where nothing stands, and never through a link."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tablevault_like.errors import TVFileError
from tablevault_like.storage import files


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of what is synced, in order."""
    found: list[str] = []

    def fsync(descriptor: int) -> None:
        found.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr("tablevault_like.storage.files.os.fsync", fsync)
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "deep.txt").write_text("deep")
    (root / "a" / "é.txt").write_text("é")
    (root / "top.txt").write_text("top")
    return root


def contents(root: Path) -> dict[str, str]:
    return {name: path.read_text() for name, path in files.regular_files(root)}


class TestWriting:
    @pytest.mark.parametrize("content", ["é\n", b"\x00\xff", "", b"x" * 3_000_000], ids=len)
    def test_makes_a_new_file_and_syncs_it(self, tmp_path: Path, synced: list[str], content: str | bytes) -> None:
        files.write_file(tmp_path / "new", content)

        assert (tmp_path / "new").read_bytes() == (content.encode() if isinstance(content, str) else content)
        assert synced == ["new"]

    def test_replaces_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "old").write_text("old")
        (tmp_path / "link").symlink_to(tmp_path / "missing")

        for name in ("old", "link"):
            with pytest.raises(FileExistsError):
                files.write_file(tmp_path / name, "new")

        assert (tmp_path / "old").read_text() == "old"
        assert not (tmp_path / "missing").exists()

    def test_raises_what_a_sync_raises(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = []

        def fsync(descriptor: int) -> None:
            calls.append(descriptor)
            raise OSError(5, "the disk is on fire")

        monkeypatch.setattr("tablevault_like.storage.files.os.fsync", fsync)

        with pytest.raises(OSError, match="the disk is on fire"):
            files.write_file(tmp_path / "new", "new")
        assert len(calls) == 1


class TestFolders:
    def test_are_made_with_those_above_and_named_durably(self, tmp_path: Path, synced: list[str]) -> None:
        files.make_directory(tmp_path / "a" / "b")

        assert (tmp_path / "a" / "b").is_dir()
        assert synced[:2] == [tmp_path.name, "a"]

    def test_are_synced_from_the_bottom(self, tree: Path, synced: list[str]) -> None:
        files.sync_tree(tree, with_files=True)

        assert [name for name in synced if "." not in name] == ["b", "a", "tree"]
        assert synced.index("deep.txt") < synced.index("b")


class TestPlacing:
    def test_renames_and_syncs_both_parents(self, tree: Path, tmp_path: Path, synced: list[str]) -> None:
        files.place(tree / "a", tmp_path / "placed")

        assert (tmp_path / "placed" / "b" / "deep.txt").read_text() == "deep"
        assert synced == [tmp_path.name, "tree"]

    @pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")])
    def test_is_refused_where_something_stands(self, tree: Path, tmp_path: Path, make: Callable[[Path], None]) -> None:
        make(tmp_path / "placed")

        with pytest.raises(TVFileError, match="exists already") as caught:
            files.place(tree, tmp_path / "placed")

        assert caught.value.path == str(tmp_path / "placed")
        assert tree.is_dir()

    def test_replacing_takes_the_place_of_a_file(self, tree: Path, synced: list[str]) -> None:
        files.replace(tree / "a" / "é.txt", tree / "top.txt")

        assert (tree / "top.txt").read_text() == "é"
        assert synced == ["tree", "a"]


class TestCopying:
    def test_a_tree_copies_regular_files_and_folders(self, tree: Path, tmp_path: Path, synced: list[str]) -> None:
        files.copy_tree(tree, tmp_path / "copy")

        assert contents(tree) == {"a/b/deep.txt": "deep", "a/é.txt": "é", "top.txt": "top"}
        assert contents(tmp_path / "copy") == contents(tree)
        assert set(synced) == {"deep.txt", "é.txt", "top.txt", "b", "a", "copy"}

    def test_tells_the_sha256_of_what_was_copied(self, tree: Path, tmp_path: Path) -> None:
        large = os.urandom(3_000_000)
        (tree / "large").write_bytes(large)

        assert files.copy_file(tree / "large", tmp_path / "copied") == hashlib.sha256(large).hexdigest()
        assert (tmp_path / "copied").read_bytes() == large
        assert files.copy_tree(tree, tmp_path / "copy") == {
            name: files.sha256(tmp_path / "copy" / name) for name in ("a/b/deep.txt", "a/é.txt", "large", "top.txt")
        }

    def test_of_a_large_file_takes_little_memory(self, tree: Path, tmp_path: Path) -> None:
        with (tree / "large").open("wb") as file:
            file.truncate(64 << 20)
        tracemalloc.start()
        try:
            digest = files.copy_file(tree / "large", tmp_path / "copied")
            files.sha256(tmp_path / "copied")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

        assert digest == files.sha256(tree / "large")
        assert peak < 8 << 20

    def test_shares_blocks_where_that_works(self, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def clone(reader: int, writer: int) -> bool:
            os.write(writer, b"cloned")
            return True

        monkeypatch.setattr(files, "clone", clone)

        assert files.copy_file(tree / "top.txt", tmp_path / "copy") == hashlib.sha256(b"cloned").hexdigest()
        assert (tmp_path / "copy").read_text() == "cloned"

    @pytest.mark.parametrize("swapped", ["a", "top.txt"])
    def test_follows_no_link_that_is_put_there_meanwhile(
        self, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swapped: str
    ) -> None:
        """What was a folder or a file when it was listed is a link when it is opened."""
        secret = tmp_path / "secret"
        (secret / "b").mkdir(parents=True)
        (secret / "b" / "deep.txt").write_text("secret")

        def entries(folder: int) -> list[os.DirEntry[str]]:
            found = original(folder)
            if not (tree / swapped).is_symlink():
                (tree / swapped).rename(tmp_path / "away")
                (tree / swapped).symlink_to(secret if swapped == "a" else secret / "b" / "deep.txt")
            return found

        original = files.entries
        monkeypatch.setattr(files, "entries", entries)

        for read in (lambda: files.copy_tree(tree, tmp_path / "copy"), lambda: list(files.open_files(tree))):
            with pytest.raises(TVFileError, match="is a link") as caught:
                read()
            assert caught.value.path == str(tree / swapped)
            (tree / swapped).unlink()
            (tmp_path / "away").rename(tree / swapped)

    def test_of_a_link_to_a_tree_is_refused(self, tree: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tree)

        with pytest.raises(TVFileError, match="is a link"):
            files.copy_tree(tmp_path / "link", tmp_path / "copy")

    @pytest.mark.parametrize("make", [lambda path: path.symlink_to("top.txt"), os.mkfifo], ids=["link", "fifo"])
    def test_nothing_else_is_copied_or_listed(self, tree: Path, tmp_path: Path, make: Callable[[Path], None]) -> None:
        make(tree / "odd")

        with pytest.raises((TVFileError, OSError)):
            files.copy_tree(tree, tmp_path / "copy")
        with pytest.raises(TVFileError, match="neither a regular file nor a folder"):
            contents(tree)

    def test_a_link_to_a_folder_is_not_followed(self, tree: Path, tmp_path: Path) -> None:
        (tree / "up").symlink_to(tmp_path)

        with pytest.raises((TVFileError, OSError)):
            files.copy_tree(tree, tmp_path / "copy")
        with pytest.raises(TVFileError):
            contents(tree)


class TestRemoving:
    def test_removes_files_folders_and_nothing(self, tree: Path) -> None:
        files.remove(tree / "top.txt")
        files.remove(tree / "missing")
        files.remove(tree)

        assert not tree.exists()

    def test_removes_links_and_not_what_they_point_at(self, tree: Path, tmp_path: Path) -> None:
        (tmp_path / "precious").mkdir()
        (tree / "link").symlink_to(tmp_path / "precious")
        (tmp_path / "other").symlink_to(tmp_path / "precious")

        files.remove(tree)
        files.remove(tmp_path / "other")

        assert (tmp_path / "precious").is_dir()
        assert not (tmp_path / "other").is_symlink()

    def test_removes_what_is_protected(self, tree: Path) -> None:
        files.protect(tree / "a" / "é.txt")
        (tree / "a").chmod(0o500)

        files.remove(tree)

        assert not tree.exists()

    def test_of_an_empty_folder_is_durable_even_if_somebody_else_has_begun_it(
        self, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tree / "empty").mkdir()
        synced = list[Path]()
        monkeypatch.setattr(files, "sync_directory", synced.append)

        files.remove_empty(tree / "empty")
        files.remove_empty(tree / "empty")
        files.remove_empty(tree / "a")
        files.remove_empty(tree / "missing" / "empty")

        assert not (tree / "empty").exists()
        assert (tree / "a").is_dir()
        assert synced == [tree, tree]

    def test_discards_under_a_name_that_is_free(self, tree: Path, tmp_path: Path) -> None:
        trash = tmp_path / "trash"

        files.discard(tree / "a", trash, "p1")
        files.discard(tree / "top.txt", trash, "p1")

        assert sorted(path.name for path in trash.iterdir()) == ["p1", "p1~1"]


class TestSyncingAFileSystem:
    def test_is_done_where_the_folder_lies(self, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        synced = list[Path]()

        def syncing(descriptor: int) -> None:
            synced.append(Path(f"/dev/fd/{descriptor}").readlink())

        monkeypatch.setattr(files, "_C", SimpleNamespace(syncfs=syncing))

        files.sync_file_system(tree)

        assert synced == [tree]

    def test_is_done_of_all_where_the_system_knows_no_other_way(
        self, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced = list[bool]()
        monkeypatch.setattr(files, "_C", SimpleNamespace())
        monkeypatch.setattr(os, "sync", lambda: synced.append(True))

        files.sync_file_system(tree)

        assert synced == [True]

    def test_that_fails_is_logged(
        self, tree: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def failing(descriptor: int) -> int:
            ctypes.set_errno(errno.EIO)
            return -1

        monkeypatch.setattr(files, "_C", SimpleNamespace(syncfs=failing))

        files.sync_file_system(tree)

        assert "Input/output error" in caplog.text

    def test_is_known_to_this_system(self, tree: Path) -> None:
        files.sync_file_system(tree)

        assert hasattr(files._C, "syncfs") == (sys.platform == "linux")


def test_permissions_are_narrowed_to_those_of_a_new_folder(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir(mode=0o755)
    (tree / "a" / "link").symlink_to(tmp_path / "outside")
    (tree / "a").chmod(0o2777)
    tree.chmod(0o700)

    assert files.new_folder_mode(tmp_path / "draft") == 0o777 & ~_umask(tmp_path)
    files.narrow_folders(tree, 0o750)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "tree"]
    assert stat.S_IMODE((tree / "a").stat().st_mode) == 0o2750
    assert stat.S_IMODE(tree.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "outside").stat().st_mode) == 0o755


def _umask(folder: Path) -> int:
    file = folder / "new"
    file.touch(mode=0o777)
    mode = stat.S_IMODE(file.stat().st_mode)
    file.unlink()
    return 0o777 & ~mode


def test_protection_can_be_taken_back(tree: Path) -> None:
    files.protect(tree / "a" / "é.txt")
    assert stat.S_IMODE((tree / "a" / "é.txt").stat().st_mode) & 0o222 == 0

    files.unprotect_tree(tree)
    assert stat.S_IMODE((tree / "a" / "é.txt").stat().st_mode) & 0o200


def test_a_file_with_other_names_gets_a_copy_of_its_own_before_it_is_writable(tree: Path, tmp_path: Path) -> None:
    files.protect(tree / "top.txt")
    os.link(tree / "top.txt", tmp_path / "other")

    files.unprotect_tree(tree)
    (tree / "top.txt").write_text("changed")

    assert (tmp_path / "other").read_text() == "top"
    assert not (tmp_path / "other").stat().st_mode & 0o222
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "tree"]


def test_what_people_may_have_put_there_is_told_from_read_only_files(tree: Path) -> None:
    assert files.has_writable(tree)

    for _, path in files.regular_files(tree):
        files.protect(path)
    assert not files.has_writable(tree)

    (tree / "a" / "link").symlink_to("../top.txt")
    assert files.has_writable(tree)
    assert files.has_writable(tree / "top.txt")


def test_sha256_is_of_the_file_itself(tree: Path) -> None:
    (tree / "link").symlink_to("top.txt")

    assert files.sha256(tree / "top.txt") == hashlib.sha256(b"top").hexdigest()
    with pytest.raises(OSError, match="link"):
        files.sha256(tree / "link")
