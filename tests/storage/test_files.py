"""Files that survive: new ones, synced, placed where nothing stands, and never through a link."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

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

    def test_discards_under_a_name_that_is_free(self, tree: Path, tmp_path: Path) -> None:
        trash = tmp_path / "trash"

        files.discard(tree / "a", trash, "p1")
        files.discard(tree / "top.txt", trash, "p1")

        assert sorted(path.name for path in trash.iterdir()) == ["p1", "p1~1"]


def test_protection_can_be_taken_back(tree: Path) -> None:
    files.protect(tree / "a" / "é.txt")
    assert stat.S_IMODE((tree / "a" / "é.txt").stat().st_mode) & 0o222 == 0

    files.unprotect_tree(tree)
    assert stat.S_IMODE((tree / "a" / "é.txt").stat().st_mode) & 0o200


def test_sha256_is_of_the_file_itself(tree: Path) -> None:
    (tree / "link").symlink_to("top.txt")

    assert files.sha256(tree / "top.txt") == hashlib.sha256(b"top").hexdigest()
    with pytest.raises(OSError, match="link"):
        files.sha256(tree / "link")


def test_the_file_system_is_looked_up_by_the_longest_mount_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda rw\n"
        f"2 1 0:1 / {tmp_path}/shared\\040files rw - nfs4 server:/ rw\n"
        f"3 2 0:2 / {tmp_path}/shared\\040files/local rw - xfs /dev/sdb rw\n"
    )
    monkeypatch.setattr(files, "Path", lambda path: mounts if str(path) == "/proc/self/mountinfo" else Path(path))

    found = {
        name: files.network_file_system(tmp_path / name)
        for name in ("shared files", "shared files/a/b", "shared files/local/a", "shared", "other")
    }

    assert found == {
        "shared files": "nfs4",
        "shared files/a/b": "nfs4",
        "shared files/local/a": None,
        "shared": None,
        "other": None,
    }
