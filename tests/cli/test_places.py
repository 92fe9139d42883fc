from __future__ import annotations

import os
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tests.cli.conftest import Tvl


def test_an_option_before_the_command_is_as_good_as_one_after_it(tvl: Tvl, vault: TableVault) -> None:
    assert tvl("--db-dir", "vault", "ls").out == tvl("ls", "--db-dir", "vault").out != ""


def test_the_vault_is_found_from_any_folder_in_it(tvl: Tvl, vault: TableVault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("vault/words/TEMP_base")

    assert tvl("ls", "--json").json[0]["table_name"] == "words"


def test_the_environment_names_the_vault(tvl: Tvl, vault: TableVault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TABLEVAULT_DB_DIR", "vault")

    assert tvl("ls", "--json").json[0]["table_name"] == "words"


def test_the_option_goes_before_the_environment(tvl: Tvl, vault: TableVault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TABLEVAULT_DB_DIR", "elsewhere")

    assert "elsewhere (from TABLEVAULT_DB_DIR) does not exist" in tvl("ls", code=3).err
    assert tvl("ls", "--db-dir", "vault").out


def test_where_no_vault_is_the_ways_to_one_are_told(tvl: Tvl, folder: Path) -> None:
    (folder / "file").touch()

    assert "--db-dir or TABLEVAULT_DB_DIR, or create one with `tvl init`" in tvl("ls", code=3).err
    assert (
        "nowhere does not exist. Create a vault there with `tvl init nowhere`."
        in tvl("ls", "--db-dir", "nowhere", code=3).err
    )
    assert "file is not a vault" in tvl("ls", "--db-dir", "file", code=3).err


def test_a_current_folder_that_is_gone_is_told(tvl: Tvl, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert "The current directory is gone." in tvl("ls", code=3).err
    os.chdir(folder)
