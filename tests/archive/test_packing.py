"""What is refused, what a failure leaves behind (nothing), and what a killed worker leaves (until the next call)."""

from __future__ import annotations

import errno
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tablevault_like
from tablevault_like import TableVault, compress_vault, decompress_vault
from tablevault_like.archive.progress import Progress
from tablevault_like.errors import TVArgumentError, TVFileError
from tests import states
from tests.scenes import Calls
from tests.workers import Action, Fault, Workers


def beside(vault_dir: Path) -> set[str]:
    """Return what lies beside the vault, but for what the tests themselves keep there."""
    return {path.name for path in vault_dir.parent.iterdir()} - {"calls"}


def test_the_functions_are_at_the_top() -> None:
    assert {"compress_vault", "decompress_vault", "delete_vault"} <= set(tablevault_like.__all__)


def test_arguments_may_be_given_by_position(copy_dir: Path, tmp_path: Path) -> None:
    compress_vault(str(copy_dir), str(tmp_path / "a.tar.xz"), 0)
    assert decompress_vault(str(tmp_path / "b"), str(tmp_path / "a.tar.xz")).path == tmp_path / "b"
    compress_vault(f"{copy_dir}/")
    assert (tmp_path / "vault.tar.xz").is_file()


def test_the_place_follows_the_name_that_was_given(
    copy_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "link").symlink_to(copy_dir)
    monkeypatch.chdir(tmp_path / "other")
    assert compress_vault("link").path == tmp_path / "other" / "link.tar.xz"
    monkeypatch.chdir(copy_dir)
    assert compress_vault(".").path == tmp_path / "vault.tar.xz"


@pytest.mark.parametrize("given", ["file", "folder", "link"])
def test_nothing_is_overwritten(copy_dir: Path, tmp_path: Path, given: str) -> None:
    output = tmp_path / "vault.tar.xz"
    if given == "file":
        output.write_text("precious")
    elif given == "folder":
        output.mkdir()
    else:
        output.symlink_to(tmp_path / "nowhere")
    with pytest.raises(TVArgumentError, match="exists already, so no archive was made"):
        compress_vault(copy_dir)
    assert not (tmp_path / "nowhere").exists()
    assert beside(copy_dir) == {"vault", "vault.tar.xz"}


def test_what_appears_at_its_place_meanwhile_stays(copy_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "vault.tar.xz"

    def put(progress: Progress) -> None:
        output.write_text("precious")

    with pytest.raises(TVArgumentError, match="made by somebody else meanwhile"):
        compress_vault(copy_dir, observer=put)
    assert output.read_text() == "precious"
    assert beside(copy_dir) == {"vault", "vault.tar.xz"}


def test_where_links_cant_be_made_it_is_renamed(copy_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    states.assert_sound(decompress_vault(copy_dir.with_name("copy"), compress_vault(copy_dir)).path)
    assert beside(copy_dir) == {"vault", "vault.tar.xz", "copy"}


WRONG: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "no vault": (("nothing",), {}, "does not exist"),
    "another folder": (("folder",), {}, "is not a vault"),
    "a preset as 0.1 takes it": (("vault", 9), {}, "give preset=9"),
    "too high a preset": (("vault",), {"preset": 10}, "from 0 to 9"),
    "too low a preset": (("vault",), {"preset": -1}, "from 0 to 9"),
    "a preset that is none": (("vault",), {"preset": True}, "from 0 to 9"),
    "no path": (("",), {}, "db_dir must be a path"),
    "a path that is none": ((b"vault",), {}, "db_dir must be a path"),
    "no output": (("vault", ""), {}, "output must be a path"),
    "inside of the vault": (("vault", "vault/archive.tar.xz"), {}, "lies in the vault"),
    "a folder that isn't there": (("vault", "nowhere/archive.tar.xz"), {}, "there is no folder"),
}


@pytest.mark.parametrize(("given", "fields", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told(
    given: tuple[Any, ...],
    fields: dict[str, Any],
    message: str,
    copy_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    before = states.state(copy_dir)
    with pytest.raises(TVArgumentError, match=message):
        compress_vault(*given, **fields)
    assert beside(copy_dir) == {"vault", "folder"}
    assert states.state(copy_dir) == before


def overwrite(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(bytes(path.stat().st_size))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a changed file": (lambda instance: overwrite(instance / "table.parquet"), "isn't what it was"),
    "a longer file": (lambda instance: (instance / "artifacts" / "ape.txt").write_text("longer"), "bytes instead of"),
    "a missing file": (lambda instance: (instance / "artifacts" / "ape.txt").unlink(), "is missing"),
    "a changed manifest": (lambda instance: overwrite(instance / "manifest.json"), "isn't what it was"),
    "no manifest": (lambda instance: (instance / "manifest.json").unlink(), "is missing"),
    "no instance": (lambda instance: instance.rename(instance.with_name("gone")), "is missing"),
    "a damaged catalog": (lambda instance: overwrite(instance.parents[1] / "metadata" / "catalog.sqlite"), "damaged"),
    "a damaged row store": (
        lambda instance: overwrite(instance.parents[1] / "metadata" / "processes" / "p" / "rows.sqlite"),
        "rows.sqlite",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_is_told_and_never_archived(
    damage: Callable[[Path], object], message: str, paused: TableVault, copy_dir: Path, made: str
) -> None:
    damage(copy_dir / "words" / made)
    with pytest.raises(TVFileError, match=message) as caught:
        compress_vault(copy_dir)
    assert str(copy_dir) in str(caught.value)
    assert beside(copy_dir) == {"vault"}


def test_what_is_added_to_an_instance_is_left_out(copy_dir: Path, made: str) -> None:
    (copy_dir / "words" / made / "artifacts" / ".DS_Store").write_text("")
    (left,) = compress_vault(copy_dir).left_out
    assert str(left) == f"words/{made}/artifacts/.DS_Store: the manifest of its instance doesn't have it"
    states.assert_sound(decompress_vault(copy_dir.with_name("copy"), copy_dir.with_name("vault.tar.xz")).path)


def test_what_lies_too_deep_is_told(copy_dir: Path) -> None:
    (copy_dir / "code_functions").joinpath(*["x"] * 120).mkdir(parents=True)
    with pytest.raises(TVFileError, match="100 folders deep"):
        compress_vault(copy_dir)
    assert beside(copy_dir) == {"vault"}


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EIO, "I/O error")])
def test_a_full_disk_leaves_nothing(error: OSError, copy_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(self: lzma.LZMAFile, raw: bytes) -> int:
        raise error

    monkeypatch.setattr(lzma.LZMAFile, "write", write)
    with pytest.raises(TVFileError, match=f"can't be made: {error.strerror}"):
        compress_vault(copy_dir)
    assert beside(copy_dir) == {"vault"}


def test_a_refused_sync_leaves_nothing(copy_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(TVFileError, match="I/O error"):
        compress_vault(copy_dir)
    assert beside(copy_dir) == {"vault"}


def test_an_interrupt_leaves_nothing(copy_dir: Path) -> None:
    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compress_vault(copy_dir, observer=interrupt)
    assert beside(copy_dir) == {"vault"}


def compress(vault_dir: Path) -> None:
    """Archive a vault: the task of a worker."""
    compress_vault(vault_dir, preset=0)


def test_what_a_killed_worker_left_is_removed_by_the_next(copy_dir: Path, workers: Workers, calls: Calls) -> None:
    point = "before tablevault_like.outputs:Output.take"
    workers.run(compress, copy_dir, faults=[Fault(point, Action.KILL)])
    (left,) = beside(copy_dir) - {"vault"}
    assert left.startswith(".vault.tar.xz.")
    assert left.endswith(".archiving")
    # One that is at work is left alone.
    other = workers.start(compress, copy_dir, faults=[Fault(point, Action.WAIT)])
    other.arrive()
    assert left not in beside(copy_dir)
    compress_vault(copy_dir, copy_dir.with_name("vault.tar.xz"))
    assert len(beside(copy_dir)) == 3
    other.go()
    with pytest.raises(TVArgumentError, match="made by somebody else meanwhile"):
        other.result()
    assert beside(copy_dir) == {"vault", "vault.tar.xz"}
    states.assert_sound(copy_dir)
