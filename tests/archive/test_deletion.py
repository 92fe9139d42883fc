"""A vault is deleted at once, as a whole, and nothing else ever is."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from tablevault_like import TableVault, compress_vault, decompress_vault, delete_vault
from tablevault_like.archive import databases
from tablevault_like.errors import TableVaultError, TVArgumentError, TVFileError, TVProcessError
from tablevault_like.storage import files
from tests import states
from tests.workers import Action, Fault, Workers, wait_until


def beside(vault_dir: Path) -> set[str]:
    return {path.name for path in vault_dir.parent.iterdir()} - {"calls"}


def test_all_of_a_vault_is_deleted(paused: TableVault, copy_dir: Path) -> None:
    paused.delete_table("scores")
    assert delete_vault(copy_dir) is None  # type: ignore[func-returns-value]
    assert beside(copy_dir) == set()


def test_a_vault_can_be_made_again_in_its_place(copy_dir: Path) -> None:
    archive = compress_vault(copy_dir)
    delete_vault(str(copy_dir))
    decompress_vault(copy_dir)
    states.assert_sound(copy_dir)
    assert archive.path.is_file()


def test_through_a_link_the_vault_is_meant(copy_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(copy_dir)
    delete_vault(tmp_path / "link")
    assert not copy_dir.exists()


def foreign_marker(folder: Path) -> None:
    (folder / ".tablevault").write_text("0.1\n")


def only_file(folder: Path) -> None:
    folder.rmdir()
    folder.write_text("")


def only_marker(folder: Path) -> None:
    (folder / ".tablevault").write_text("tablevault_like 1\n")


def other_catalog(folder: Path) -> None:
    import sqlite3

    only_marker(folder)
    (folder / "metadata").mkdir()
    sqlite3.connect(folder / "metadata" / "catalog.sqlite").close()


OTHERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a folder": (lambda folder: None, "is not a vault"),
    "a vault of TableVault 0.1": (foreign_marker, "has the format"),
    "a folder with a marker": (only_marker, "is missing"),
    "a file": (only_file, "is not a vault"),
    "nothing": (lambda folder: folder.rmdir(), "does not exist"),
}


@pytest.mark.parametrize(("make", "message"), OTHERS.values(), ids=OTHERS)
def test_what_is_no_vault_is_left_alone(make: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    make(folder)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(TableVaultError, match=message):
        delete_vault(folder)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_catalog_of_something_else_is_left_alone(tmp_path: Path) -> None:
    other_catalog(tmp_path)
    with pytest.raises(TableVaultError):
        delete_vault(tmp_path)
    assert (tmp_path / "metadata" / "catalog.sqlite").is_file()


@pytest.mark.parametrize("name", ["notes.txt", "data", ".git"])
def test_a_vault_that_holds_other_things_is_left_alone(copy_dir: Path, name: str) -> None:
    (copy_dir / name).mkdir()
    before = states.state(copy_dir)
    with pytest.raises(TVArgumentError, match=f"no part of the vault: '{name}'. Move that away"):
        delete_vault(copy_dir)
    assert states.state(copy_dir) == before


def execute(vault_dir: Path, process_id: str) -> str:
    """Execute the library's table: the task of a worker."""
    return TableVault(vault_dir, "bob", lock_timeout=20).execute_instance("words", process_id=process_id)


def test_a_vault_in_use_is_left_alone(copy_dir: Path, workers: Workers) -> None:
    worker = workers.start(execute, copy_dir, "p", faults=[Fault("shout dog", Action.WAIT)])
    worker.arrive()
    with pytest.raises(TVProcessError, match=r"in use, so it was not deleted: process 'p'.*stop it first") as caught:
        delete_vault(copy_dir)
    assert caught.value.process_id == "p"
    worker.go()
    worker.result()
    states.assert_sound(copy_dir)
    delete_vault(copy_dir)


def test_who_waits_for_a_lock_is_at_work_too(paused: TableVault, copy_dir: Path, workers: Workers) -> None:
    worker = workers.start(_delete, copy_dir)
    wait_until(lambda: len(paused.get_active_processes()) == 2)
    with pytest.raises(TVProcessError, match=r"process 'waits'"):
        delete_vault(copy_dir)
    worker.kill()
    delete_vault(copy_dir)


def _delete(vault_dir: Path) -> str:
    return TableVault(vault_dir, "bob", lock_timeout=30).delete_table("words", process_id="waits")


def test_nobody_begins_anything_in_between(copy_dir: Path, workers: Workers) -> None:
    vault = TableVault(copy_dir, "ada")
    worker = workers.start(
        delete, copy_dir, faults=[Fault("before tablevault_like.archive.deletion:_remove", Action.WAIT)]
    )
    worker.arrive()
    # It is gone at once, though its files are there still.
    assert not copy_dir.exists()
    (left,) = beside(copy_dir)
    assert left.startswith(".vault.")
    with pytest.raises(TableVaultError):
        TableVault(copy_dir)
    with pytest.raises(TableVaultError):
        vault.create_table("late")
    worker.go()
    worker.result()
    assert beside(copy_dir) == set()


def delete(vault_dir: Path) -> None:
    """Delete a vault: the task of a worker."""
    delete_vault(vault_dir)


def test_what_a_killed_worker_left_is_removed_by_the_next(copy_dir: Path, workers: Workers, made: str) -> None:
    compress_vault(copy_dir)
    point = "before tablevault_like.archive.deletion:_remove"
    workers.run(delete, copy_dir, faults=[Fault(point, Action.KILL)])
    (left,) = beside(copy_dir) - {"vault.tar.xz"}
    assert left.endswith(".deleting")
    decompress_vault(copy_dir)
    assert beside(copy_dir) == {"vault", "vault.tar.xz"}
    assert TableVault(copy_dir).get_table_instances("words") == [made]


def test_what_cant_be_removed_is_named(copy_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def remove(path: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(files, "remove", remove)
    with pytest.raises(TVFileError, match="was deleted, but its files couldn't be removed: Device") as caught:
        delete_vault(copy_dir)
    assert not copy_dir.exists()
    assert caught.value.path is not None
    assert Path(caught.value.path).is_dir()


def test_what_cant_be_renamed_stays(copy_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(self: Path, target: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    before = states.state(copy_dir)
    with monkeypatch.context() as patch, pytest.raises(TVFileError, match="was not deleted: Device or resource busy"):
        patch.setattr(Path, "rename", rename)
        delete_vault(copy_dir)
    assert states.state(copy_dir) == before


def test_who_may_only_read_deletes_nothing(copy_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "may_write", lambda path: False)
    with pytest.raises(TVFileError, match="may not be written to by this user"):
        delete_vault(copy_dir)
    states.assert_sound(copy_dir)


def test_a_damaged_vault_is_left_to_its_owner(copy_dir: Path) -> None:
    (copy_dir / "metadata" / "catalog.sqlite").write_bytes(b"x" * 8192)
    with pytest.raises(TVFileError, match="damaged"):
        delete_vault(copy_dir)
    assert copy_dir.is_dir()
