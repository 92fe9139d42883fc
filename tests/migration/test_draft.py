"""The new vault is there as a whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.migration import draft, migrate
from tablevault_like.storage import files
from tests.migration import old_vaults
from tests.states import assert_sound

Unpack = Callable[[str], Path]

OCCUPIED: dict[str, Callable[[Path], object]] = {
    "a file": lambda place: place.write_text(""),
    "a folder with something in it": lambda place: (place / "mine").mkdir(parents=True),
    "a link to an empty folder": lambda place: place.symlink_to(_empty(place.with_name("elsewhere"))),
    "a link that leads nowhere": lambda place: place.symlink_to(place.with_name("nowhere")),
    "a vault": lambda place: TableVault(place, create=True),
}


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize("occupy", OCCUPIED.values(), ids=OCCUPIED)
def test_what_is_there_is_never_touched(old_vault: Unpack, new: Path, occupy: Callable[[Path], object]) -> None:
    old = old_vault("empty")
    occupy(new)
    before = old_vaults.content(new.parent)

    with pytest.raises(TVArgumentError, match=r"There is something at .*new already"):
        migrate(old, new)

    assert old_vaults.content(new.parent) == before


def test_an_empty_folder_becomes_the_vault(old_vault: Unpack, new: Path) -> None:
    new.mkdir()

    migrate(old_vault("empty"), new)

    assert_sound(new)


def test_missing_folders_above_are_made(old_vault: Unpack, new: Path) -> None:
    migrate(old_vault("empty"), new / "deeper" / "vault")

    assert_sound(new / "deeper" / "vault")


@pytest.mark.parametrize("name", ["old/empty/new", "old/empty/metadata/new"])
def test_a_vault_is_never_made_in_another(old_vault: Unpack, tmp_path: Path, name: str) -> None:
    old = old_vault("empty")

    with pytest.raises(TVArgumentError, match="lies in the vault"):
        migrate(old, tmp_path / name)


@pytest.mark.parametrize("number", [1, 5, 12])
@pytest.mark.parametrize("function", ["write_file", "copy_file", "sync_tree", "make_directory"])
def test_a_disk_that_refuses_leaves_nothing(
    old_vault: Unpack, new: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int
) -> None:
    old, calls, original = old_vault("library"), [0], getattr(files, function)

    def failing(*given: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == number or function == "make_directory":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "file")
        return original(*given, **named)

    monkeypatch.setattr(files, function, failing)

    with pytest.raises(TVFileError, match=r"No space left on device.*Nothing was brought over"):
        migrate(old, new)

    assert [path.name for path in new.parent.iterdir()] == ["old"]


def test_a_table_that_can_not_be_written_is_no_reason_to_leave_it_out(
    old_vault: Unpack, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    old = old_vault("library")
    monkeypatch.setattr(files, "sync_file", failing)

    with pytest.raises(TVFileError, match=r"No space left on device"):
        migrate(old, new)

    assert [path.name for path in new.parent.iterdir()] == ["old"]


def test_a_name_that_can_not_be_synced_is_taken_back(
    old_vault: Unpack, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, original = old_vault("library"), files.sync_directory

    def failing(path: Path) -> None:
        if (new / ".tablevault").exists():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        original(path)

    monkeypatch.setattr(files, "sync_directory", failing)

    with pytest.raises(TVFileError, match=r"Input/output error.*Nothing was brought over"):
        migrate(old, new)

    assert [path.name for path in new.parent.iterdir()] == ["old"]


@pytest.mark.parametrize("number", [1, 9, 30])
def test_a_killed_migration_leaves_nothing_that_the_next_one_does_not_remove(
    old_vault: Unpack, new: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    old = old_vault("library")

    assert _status_of_killed(old, new, files, "copy_file", number) == signal.SIGKILL
    assert not new.exists()
    assert len([path for path in new.parent.iterdir() if path.name.startswith(".new.migrating-")]) == 1
    migrate(old, new)

    assert sorted(path.name for path in new.parent.iterdir()) == ["new", "old"]
    assert_sound(new)


def test_a_migration_that_is_killed_before_it_is_done_is_not_there(old_vault: Unpack, new: Path) -> None:
    old = old_vault("library")

    assert _status_of_killed(old, new, draft, "check_place", 2) == signal.SIGKILL  # all but the rename is done

    assert not new.exists()
    migrate(old, new)
    assert_sound(new)


def test_the_draft_of_a_living_worker_is_left_alone(old_vault: Unpack, new: Path) -> None:
    old = old_vault("empty")

    with draft.drafted(new.with_name("new")) as folder:
        with pytest.raises(TVArgumentError, match="There is something"), draft.drafted(new):
            assert folder.is_dir()
            new.mkdir()
            (new / "mine").touch()
        assert folder.is_dir()
        (new / "mine").unlink()

    assert new.is_dir()
    assert old.is_dir()


def test_whatever_else_lies_there_is_left_alone(old_vault: Unpack, new: Path) -> None:
    others = [new.with_name(".new.migrating-file"), new.with_name(".newer.migrating-0")]
    others[0].touch()
    others[1].mkdir()

    migrate(old_vault("empty"), new)

    assert all(path.exists() for path in others)


def test_an_interrupt_leaves_nothing(old_vault: Unpack, new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    old = old_vault("library")
    monkeypatch.setattr(files, "copy_file", interrupted)

    with pytest.raises(KeyboardInterrupt):
        migrate(old, new)

    assert [path.name for path in new.parent.iterdir()] == ["old"]


def _status_of_killed(old: Path, new: Path, module: Any, function: str, number: int) -> int:
    """Migrate in a worker that is killed when a function is called for that time; return the signal that ended it."""
    worker = os.fork()
    if not worker:
        calls, original = [0], getattr(module, function)

        def killing(*given: Any, **named: Any) -> Any:
            calls[0] += 1
            if calls[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*given, **named)

        setattr(module, function, killing)
        try:
            migrate(old, new)
        finally:
            os._exit(0)
    return os.WTERMSIG(os.waitpid(worker, 0)[1])
