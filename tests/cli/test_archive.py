from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tests.cli.conftest import Tvl


def test_a_vault_is_archived_restored_and_deleted(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    said = tvl("compress", "vault")
    assert said.out.startswith("Archived ")
    assert f" in {folder}/vault.tar.xz (" in said.out
    assert said.err == ""

    said = tvl("delete-vault", "vault", "--yes")
    assert said.out == f"Deleted the vault {folder}/vault.\n"
    assert not (folder / "vault").exists()

    said = tvl("decompress", "vault.tar.xz")
    assert said.out.startswith(f"Restored the vault in {folder}/vault: ")
    assert TableVault(folder / "vault").get_table_instances() == ["words"]


def test_json_tells_all(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    (folder / "vault" / "notes").touch()
    made = tvl("compress", "--db-dir", "vault", "--output", "a.tar.xz", "--preset", "0", "--json").json
    assert made["archive"] == f"{folder}/a.tar.xz"
    assert made["archive_bytes"] == (folder / "a.tar.xz").stat().st_size
    assert made["left_out"] == {"notes": "it is no part of the vault"}
    restored = tvl("decompress", "a.tar.xz", "copy", "--json").json
    assert restored == {
        "db_dir": f"{folder}/copy",
        "files": made["files"],
        "bytes": made["bytes"],
        "unfinished": [],
    }
    assert tvl("delete-vault", "copy", "--yes", "--json").json == {"db_dir": f"{folder}/copy"}


def test_what_is_left_out_is_told(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    for number in range(7):
        (folder / "vault" / f"note {number}").touch()
    said = tvl("compress", "vault")
    assert said.err.splitlines()[0] == "Left out: note 0: it is no part of the vault."
    assert said.err.splitlines()[5:] == ["Left out: 2 more; --json tells all of them."]


def test_the_vault_may_be_named_otherwise(
    tvl: Tvl, vault: TableVault, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / "vault" / "words")
    tvl("compress")
    assert (folder / "vault.tar.xz").is_file()
    monkeypatch.chdir(folder)
    tvl("decompress", "vault.tar.xz", "--db-dir", "copy")
    assert (folder / "copy" / "words").is_dir()


def test_unfinished_processes_are_told(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    (folder / "fail bee").touch()
    with pytest.raises(ConnectionError):
        vault.execute_instance("words", process_id="p")
    (folder / "fail bee").unlink()
    tvl("compress", "vault")
    said = tvl("decompress", "vault.tar.xz", "copy")
    assert said.err == f"A process hasn't ended: `tvl --db-dir {folder}/copy ps` shows what can be done.\n"
    assert tvl("decompress", "vault.tar.xz", "other", "--json").json["unfinished"] == ["p"]
    tvl("--db-dir", "copy", "execute", "words", "--process-id", "p")
    assert TableVault(folder / "copy").get_dataframe("words")["shout"].tolist() == ["APE", "BEE", "CAT"]


def test_errors_speak_of_commands(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    assert "is not a vault" in tvl("compress", "vault/words", code=3).err
    (folder / "vault.tar.xz").write_text("precious")
    assert "name another place with `--output`" in tvl("compress", "vault", code=3).err
    assert "it is cut off. Nothing was restored." in tvl("decompress", "vault.tar.xz", "copy", code=8).err
    assert "There is no archive" in tvl("decompress", "nothing.tar.xz", code=3).err
    assert "give DIR as well" in " ".join(tvl("decompress", "archive", code=2).err.split())
    tvl("compress", "vault", "-o", "small.tar.xz")
    assert (
        "more than the 1,000 that `--max-bytes` allows"
        in tvl("decompress", "small.tar.xz", "--max-bytes=1000", code=8).err
    )
    tvl("compress", "vault", "--preset", "10", code=2)


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_a_vault_is_deleted_only_if_it_is_confirmed(tvl: Tvl, vault: TableVault, folder: Path, answer: str) -> None:
    said = tvl("delete-vault", "vault", stdin=answer, code=3)
    assert f"Delete the vault {folder}/vault for good? [y/N]" in said.err
    assert "Nothing was deleted" in said.err
    assert said.out == ""
    assert TableVault(folder / "vault").get_table_instances() == ["words"]


@pytest.mark.parametrize("command", [["compress"], ["delete-vault", "--yes"]], ids=lambda each: each[0])
def test_a_vault_that_is_not_there_is_not_to_be_created(tvl: Tvl, folder: Path, command: list[str]) -> None:
    assert tvl(*command, "nope", code=3).err == f"Error: {folder}/nope does not exist. Name the folder of a vault.\n"
    assert tvl(*command, ".", code=3).err == f"Error: {folder} is not a vault. Name the folder of a vault.\n"


def test_who_confirms_deletes(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    tvl("delete-vault", "vault", stdin="y\n")
    assert not (folder / "vault").exists()


def test_what_is_no_vault_is_not_deleted(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    (folder / "vault" / "notes").touch()
    assert "'notes'. Move that away" in tvl("delete-vault", "vault", "--yes", code=3).err
    assert "is not a vault" in tvl("delete-vault", ".", "--yes", code=3).err
    tvl("delete-vault", code=2)
    assert (folder / "vault" / "notes").exists()


def test_progress_is_shown_on_a_terminal(
    shell: Callable[..., subprocess.Popen[str]], vault: TableVault, folder: Path
) -> None:
    terminal, other = pty.openpty()
    (folder / "vault" / "words" / "TEMP_base" / "artifacts" / "big").write_bytes(os.urandom(3_000_000))
    command = shell("compress", "vault", stderr=other, env={"TERM": "xterm"})
    out, _ = command.communicate(timeout=60)
    os.close(other)
    shown = b""
    try:
        while chunk := os.read(terminal, 65536):
            shown += chunk
    except OSError:  # the end of a terminal
        pass
    os.close(terminal)
    assert command.returncode == 0
    assert out.startswith("Archived ")
    assert b"Packing" in shown
