"""Files of the same content that take their disk space once, without one being able to change the other."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

import pytest

from tablevault_like.errors import TVFileError
from tablevault_like.storage import files, links, reach

CONTENT = "content\n"
SHA256 = hashlib.sha256(CONTENT.encode()).hexdigest()


@pytest.fixture
def original(tmp_path: Path) -> Path:
    path = tmp_path / "original"
    path.write_text(CONTENT)
    files.protect(path)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target"
    path.write_text(CONTENT)
    return path


@pytest.fixture
def no_clones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the ability to share blocks away from the file system."""
    monkeypatch.setattr(files, "clone", lambda reader, writer: False)


def share(original: Path, target: Path, sha256: str = SHA256) -> bool:
    return links.share(original, target, sha256=sha256, draft=target.with_name("draft"))


class TestSeparating:
    def separate(self, path: Path) -> str:
        with files.opened(path) as reader:
            return links.separate(reader, path, draft=path.with_name("draft"))

    def test_leaves_the_other_names_as_they_are(self, target: Path, tmp_path: Path) -> None:
        target.chmod(0o640)
        os.utime(target, (1_000_000_000, 1_000_000_000))
        os.link(target, tmp_path / "other")
        (tmp_path / "draft").write_text("half")

        assert self.separate(target) == SHA256

        (tmp_path / "other").write_text("written to")
        found = target.stat()
        assert target.read_text() == CONTENT
        assert (found.st_nlink, stat.S_IMODE(found.st_mode), found.st_mtime) == (1, 0o640, 1_000_000_000)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "target"]

    def test_gives_no_wider_permissions_than_there_were(self, target: Path, tmp_path: Path) -> None:
        os.link(target, tmp_path / "other")
        target.chmod(0o400)

        self.separate(target)

        assert stat.S_IMODE(target.stat().st_mode) == 0o400


class TestSharing:
    def test_is_not_with_a_file_that_more_people_may_read(self, original: Path, target: Path) -> None:
        target.chmod(0o600)

        assert not share(original, target)

        assert not original.samefile(target)
        assert stat.S_IMODE(target.stat().st_mode) == 0o600

    @pytest.mark.usefixtures("no_clones")
    def test_makes_two_names_of_one_file(self, original: Path, target: Path, tmp_path: Path) -> None:
        assert share(original, target)

        assert original.samefile(target)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["original", "target"]

    @pytest.mark.usefixtures("no_clones")
    def test_may_be_done_again_and_over_what_a_crash_left(self, original: Path, target: Path, tmp_path: Path) -> None:
        (tmp_path / "draft").write_text("half")

        assert share(original, target)
        assert share(original, target)

        assert sorted(path.name for path in tmp_path.iterdir()) == ["original", "target"]

    def test_leaves_the_target_where_the_original_is_removed(self, original: Path, target: Path) -> None:
        share(original, target)

        files.remove(original)

        assert target.read_text() == CONTENT

    def test_prefers_shared_blocks(self, original: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def clone(reader: int, writer: int) -> bool:
            os.pwrite(writer, os.pread(reader, 100, 0), 0)
            return True

        monkeypatch.setattr(files, "clone", clone)

        assert share(original, target)

        assert not original.samefile(target)
        assert original.stat().st_mtime_ns == target.stat().st_mtime_ns

    @pytest.mark.parametrize("wrong", ["content", "size", "digest", "writable", "link", "folder", "missing"])
    def test_is_refused_unless_the_original_is_what_it_should_be(
        self, original: Path, target: Path, tmp_path: Path, wrong: str
    ) -> None:
        original.chmod(0o644)
        if wrong in ("content", "size"):
            original.write_text("CONTENT\n" if wrong == "content" else "more")
        if wrong != "writable":
            files.protect(original)
        if wrong in ("link", "folder", "missing"):
            original.rename(tmp_path / "elsewhere")
        if wrong == "link":
            original.symlink_to("elsewhere")
        if wrong == "folder":
            original.mkdir()

        assert not share(original, target, "0" * 64 if wrong == "digest" else SHA256)

        assert target.read_text() == CONTENT
        assert not (tmp_path / "draft").exists()

    @pytest.mark.usefixtures("no_clones")
    @pytest.mark.parametrize("code", [errno.EXDEV, errno.EMLINK, errno.EPERM])
    def test_is_given_up_where_a_file_can_have_one_name_only(
        self, original: Path, target: Path, monkeypatch: pytest.MonkeyPatch, code: int
    ) -> None:
        def link(*_: object, **__: object) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "link", link)

        assert not share(original, target)
        assert target.read_text() == CONTENT

    @pytest.mark.usefixtures("no_clones")
    def test_raises_what_the_disk_raises(self, original: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def link(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "link", link)

        with pytest.raises(OSError, match="No space left"):
            share(original, target)
        assert target.read_text() == CONTENT

    @pytest.mark.usefixtures("no_clones")
    def test_never_takes_what_was_put_in_the_place_of_the_original(
        self, original: Path, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def link(source: Path, place: Path) -> None:
            source.rename(source.with_name("moved"))
            source.write_text("another")
            real(source, place)

        real = reach.link
        monkeypatch.setattr(reach, "link", link)

        assert not share(original, target)
        assert target.read_text() == CONTENT


class TestMirroring:
    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        root = tmp_path / "tree"
        (root / "deep" / "er").mkdir(parents=True)
        (root / "empty").mkdir()
        for name in ("a.txt", ".hidden", "deep/er/c.txt"):
            (root / name).write_text(name)
            files.protect(root / name)
        return root

    @pytest.mark.parametrize("can_link", [True, False])
    @pytest.mark.usefixtures("no_clones")
    def test_shows_the_same_files(
        self, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_link: bool
    ) -> None:
        def link(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, "not here")

        if not can_link:
            monkeypatch.setattr(os, "link", link)

        links.mirror_tree(tree, tmp_path / "view")

        found = dict(files.regular_files(tmp_path / "view"))
        assert {name: path.read_text() for name, path in found.items()} == {name: name for name in found}
        assert list(found) == [".hidden", "a.txt", "deep/er/c.txt"]
        for name, path in found.items():
            assert path.samefile(tree / name) is can_link
            assert path.stat().st_mtime_ns == (tree / name).stat().st_mtime_ns
        assert not files.has_writable(tmp_path / "view")

    def test_follows_no_link(self, tree: Path, tmp_path: Path) -> None:
        (tree / "up").symlink_to(tmp_path)

        with pytest.raises(TVFileError, match="is a link"):
            links.mirror_tree(tree, tmp_path / "view")
