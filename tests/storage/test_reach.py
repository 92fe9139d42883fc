from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tablevault_like.errors import TVFileError
from tablevault_like.layout import Layout
from tablevault_like.storage import files, reach


@pytest.fixture(params=["at once", "in steps"])
def root(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a vault's root with ``a/b``, a folder that holds a file, another folder, and an empty one.

    Folders in it are opened at once where that can be, or as where the system doesn't tell where they lie.
    """
    if request.param == "in steps":
        monkeypatch.setattr(reach, "_open_at_once", lambda root, below: None)
    root = tmp_path / "vault"
    (root / "a/b/full/inner").mkdir(parents=True)
    (root / "a/b/empty").mkdir()
    (root / "a/b/file").write_text("old")
    reach.guard(root)
    yield root
    reach._roots.pop(str(root))


def _opened(place: Path) -> None:
    os.close(reach.open_file(place / "new", os.O_WRONLY | os.O_CREAT))


CHANGES: Mapping[str, Callable[[Path, Path], object]] = {
    "open_file": lambda place, other: _opened(place),
    "make_folder": lambda place, other: reach.make_folder(place / "new"),
    "make_folders": lambda place, other: reach.make_folders(place / "new/inner"),
    "rename from there": lambda place, other: reach.rename(place / "file", other / "new"),
    "rename to there": lambda place, other: reach.rename(other / "mine", place / "file"),
    "link from there": lambda place, other: reach.link(place / "file", other / "new"),
    "link to there": lambda place, other: reach.link(other / "mine", place / "new"),
    "unlink": lambda place, other: reach.unlink(place / "file"),
    "unlink what may be missing": lambda place, other: reach.unlink(place / "file", missing_ok=True),
    "remove_folder": lambda place, other: reach.remove_folder(place / "empty"),
    "remove_tree": lambda place, other: reach.remove_tree(place / "full"),
    "change_mode": lambda place, other: reach.change_mode(place / "file", take=files.WRITABLE),
    "write_file": lambda place, other: files.write_file(place / "new", "new"),
    "make_directory": lambda place, other: files.make_directory(place / "new/inner"),
    "place": lambda place, other: files.place(other / "mine", place / "new"),
    "replace": lambda place, other: files.replace(other / "mine", place / "file"),
    "copy_file": lambda place, other: files.copy_file(other / "mine", place / "new"),
    "copy_tree": lambda place, other: files.copy_tree(other, place / "new"),
    "remove": lambda place, other: files.remove(place / "full"),
    "protect": lambda place, other: files.protect(place / "file"),
    "discard": lambda place, other: files.discard(place / "full", other, "old"),
    "narrow_folders": lambda place, other: files.narrow_folders(place / "full", 0o700),
}


def seen(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        path.relative_to(folder).as_posix(): (path.lstat().st_mode, path.read_text() if path.is_file() else "")
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("above", ["a", "a/b"])
@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_changed_through_a_link(root: Path, change: str, above: str, tmp_path: Path) -> None:
    other = root / "other"
    other.mkdir()
    (other / "mine").write_text("mine")
    outside = tmp_path / "outside"
    (root / above).rename(outside)
    (root / above).symlink_to(outside)
    before = seen(outside)

    with pytest.raises(TVFileError, match=rf"{above} is a link, and nothing of a vault is reached through one"):
        CHANGES[change](root / "a/b", other)

    assert seen(outside) == before
    assert seen(other) == {"mine": ((other / "mine").stat().st_mode, "mine")}


@pytest.mark.parametrize("change", CHANGES)
def test_without_a_link_it_is_done(root: Path, change: str) -> None:
    """The test of the test."""
    other = root / "other"
    other.mkdir()
    (other / "mine").write_text("mine")
    before = seen(root)

    CHANGES[change](root / "a/b", other)

    assert seen(root) != before


def test_a_link_that_is_put_in_the_way_at_the_last_moment_leads_nowhere(root: Path, tmp_path: Path) -> None:
    """Whatever the name leads to by then, what is open is what was found."""
    outside = tmp_path / "outside"
    outside.mkdir()

    with reach.folder_of(root / "a/b/new") as (folder, name):
        (root / "a").rename(root / "moved")
        (root / "a").symlink_to(outside)
        os.mkdir(name, dir_fd=folder)

    assert list(outside.iterdir()) == []
    assert (root / "moved/b/new").is_dir()


@pytest.mark.parametrize("name", ["file", "full"])
def test_of_a_link_it_is_the_link_that_is_removed_or_renamed(root: Path, name: str, tmp_path: Path) -> None:
    outside, link = tmp_path / "outside", root / "a/b" / name
    link.rename(outside)
    link.symlink_to(outside)

    reach.rename(link, link.with_name("renamed"))
    reach.unlink(link.with_name("renamed"))

    assert outside.exists()
    assert not os.path.lexists(link)


@pytest.mark.parametrize(
    "change", [lambda path: reach.open_file(path, os.O_WRONLY), lambda path: reach.change_mode(path, take=0o222)]
)
def test_a_link_in_the_place_of_a_file_is_not_followed(
    root: Path, change: Callable[[Path], object], tmp_path: Path
) -> None:
    outside, link = tmp_path / "outside", root / "a/b/file"
    link.rename(outside)
    link.symlink_to(outside)
    before = outside.stat().st_mode

    with pytest.raises(OSError, match="Too many levels of symbolic links") as caught:
        change(link)

    assert caught.value.filename == str(link)
    assert outside.stat().st_mode == before


def test_above_a_vault_links_are_its_users_business(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    reach.guard(link / "vault")
    try:
        reach.make_folder(link / "vault/a/new")
        reach.make_folder(link / "beside")
    finally:
        reach._roots.pop(str(link / "vault"))

    assert (root / "a/new").is_dir()
    assert (tmp_path / "beside").is_dir()


def test_an_error_names_the_whole_path(root: Path) -> None:
    place = root / "a/b"
    with pytest.raises(FileNotFoundError) as caught:
        reach.rename(place / "missing", place / "new")
    assert (caught.value.filename, caught.value.filename2) == (str(place / "missing"), str(place / "new"))
    with pytest.raises(FileNotFoundError) as caught:
        reach.make_folder(root / "missing/new")
    assert caught.value.filename == str(root / "missing")
    with pytest.raises(NotADirectoryError) as refused:
        reach.make_folder(place / "file/new/newer")
    assert refused.value.filename == str(place / "file")
    with pytest.raises(FileExistsError):
        reach.make_folder(place / "file", exist_ok=True)


def test_a_folder_is_gone_through_that_can_not_be_read(root: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (root / "a").chmod(0o300)

    reach.make_folder(root / "a/new")

    (root / "a").chmod(0o700)
    assert (root / "a/new").is_dir()


def test_a_tree_with_folders_that_can_not_be_written_is_removed(root: Path) -> None:
    (root / "a/b/full/inner").chmod(0o500)
    (root / "a/b/full").chmod(0o500)

    reach.remove_tree(root / "a/b/full")

    assert not (root / "a/b/full").exists()


def test_permissions_are_added_and_taken(root: Path) -> None:
    path = root / "a/b/file"
    path.chmod(0o640)

    reach.change_mode(path, take=files.WRITABLE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o440
    reach.change_mode(path, add=stat.S_IWUSR)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_no_descriptor_is_left_open(root: Path) -> None:
    before = sorted(Path("/dev/fd").iterdir())

    reach.make_folder(root / "a/b/new")
    for missing in (root / "missing/new", root / "a/b/file/new/newer"):
        with pytest.raises(OSError, match=r"No such file|Not a directory"):
            reach.make_folder(missing)

    assert sorted(Path("/dev/fd").iterdir()) == before


def test_what_was_staged_and_is_taken_by_somebody_else_is_not_written_to_any_more(root: Path) -> None:
    staged = Layout(root).process("nightly").staged_instance("base_1").folder
    staged.mkdir(parents=True)
    taken = root / "a/base_1"

    with reach.folder_of(staged / "new") as (folder, name):
        staged.rename(taken)
        with pytest.raises(FileNotFoundError):
            os.mkdir(name, dir_fd=folder)

    assert list(taken.iterdir()) == []


def test_where_a_process_stages_is_what_the_layout_says(root: Path) -> None:
    assert Layout(root).process("*").staging.relative_to(root).parts == reach.STAGING
