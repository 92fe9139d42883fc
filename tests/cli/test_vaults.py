from __future__ import annotations

import os
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tests.cli.conftest import Tvl


def test_a_vault_is_created(tvl: Tvl, folder: Path) -> None:
    said = tvl("init", "new", "--description=Words", "--author=bob")

    assert said.out == f"Created a vault in {folder}/new.\n"
    described = TableVault(folder / "new").get_descriptions()
    assert (described["description"], described["author"]) == ("Words", "bob")


def test_json_tells_where(tvl: Tvl, folder: Path) -> None:
    assert tvl("init", "new", "--json").json == {"db_dir": f"{folder}/new"}


@pytest.mark.parametrize("how", ["option before", "option", "environment", "current folder"])
def test_the_place_may_be_named_otherwise(tvl: Tvl, folder: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    place = folder / "new"
    if how == "environment":
        monkeypatch.setenv("TABLEVAULT_DB_DIR", "new")
    if how == "current folder":
        place.mkdir()
        monkeypatch.chdir(place)
    options = ["--db-dir", "new"] if how.startswith("option") else []

    tvl(*options, "init") if how == "option before" else tvl("init", *options)

    assert TableVault(place).get_table_instances() == []
    os.chdir(folder)


def test_a_folder_that_is_in_use_stays_as_it_is(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    (folder / "notes").mkdir()
    (folder / "notes" / "a.txt").touch()

    assert "`--replace`" in tvl("init", "vault", code=3).err
    assert "not empty and not a vault" in tvl("init", "notes", code=3).err
    assert "not empty and not a vault" in tvl("init", "notes", "--replace", code=3).err
    assert vault.get_table_instances() == ["words"]


def test_a_vault_holds_no_other(tvl: Tvl, vault: TableVault, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"lies in the vault {folder}/vault" in tvl("init", "vault/inner", code=3).err
    monkeypatch.chdir(folder / "vault" / "words")
    assert f"lies in the vault {folder}/vault" in tvl("init", "--replace", code=3).err
    assert tvl("init", "../../other").out == f"Created a vault in {folder}/vault/words/../../other.\n"


def test_a_vault_is_replaced_when_asked_for(tvl: Tvl, vault: TableVault) -> None:
    tvl("init", "vault", "--replace")

    assert TableVault(vault.db_dir).get_table_instances() == []
