from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like import TableVault
from tests.cli.conftest import Tvl


@pytest.fixture
def executed(tvl: Tvl, vault: TableVault) -> str:
    """Execute the table ``words``, and return the id of its instance."""
    vault.execute_instance("words")
    return vault.get_table_instances("words")[0]


@pytest.fixture
def other(folder: Path) -> TableVault:
    """Return an empty vault."""
    return TableVault(folder / "other", "bob", create=True)


def test_an_instance_goes_into_another_vault(tvl: Tvl, executed: str, other: TableVault, folder: Path) -> None:
    said = tvl("export", "words", "--output", "w.tar.xz", "--db-dir", "vault")
    assert said.out == f"Exported words/{executed} (3 rows) to {folder}/w.tar.xz.\n"

    said = tvl("import", "w.tar.xz", "--db-dir", "other", "--with-code")
    assert said.out == f"Imported words/{executed}: 3 rows.\n"
    assert other.get_table_instances("words") == [executed]
    assert other.get_code_modules_list() == ["tools"]

    said = tvl("import", "w.tar.xz", "--db-dir", "other")
    assert said.out == f"words/{executed} was there already; nothing was done.\n"


def test_results_wait_for_an_execution(tvl: Tvl, executed: str, vault: TableVault, folder: Path) -> None:
    vault.create_instance("words", version="next", copy=True)
    tvl("export", "words", executed, "--builder", "shout", "--output", ".", "--db-dir", "vault")
    bundle = f"words-{executed}-shout.bundle.tar.xz"

    said = tvl("import", bundle, "--db-dir", "vault", "--version", "next", "--process-id", "mine")
    assert said.out == "The results of 'shout' are with words/TEMP_next, whose execution reuses them.\n"
    said = tvl("import", bundle, "--db-dir", "vault", "--version", "next", "--process-id", "mine")
    assert said.out == "Process 'mine' had completed before; nothing was done.\n"


def test_json_tells_all(tvl: Tvl, executed: str, other: TableVault, folder: Path) -> None:
    made = tvl("export", "words", "-o", "w.tar.xz", "--db-dir", "vault", "--json").json
    path = folder / "w.tar.xz"
    assert made["path"] == str(path)
    assert made["bundle_bytes"] == path.stat().st_size
    assert (made["table_name"], made["instance_id"], made["builder"], made["rows"]) == ("words", executed, None, 3)

    taken = tvl("import", "w.tar.xz", "--db-dir", "other", "--table", "more", "--json").json
    assert (taken["operation"], taken["state"]) == ("import_instance", "COMPLETED")
    assert (taken["table_name"], taken["instance_id"], taken["bundle"]) == ("more", executed, made["bundle"])
    assert other.get_table_instances() == ["more"]


def test_what_is_refused_is_told(tvl: Tvl, executed: str, other: TableVault, folder: Path) -> None:
    made = tvl("export", "words", "-o", "w.tar.xz", "--db-dir", "vault", "--json").json

    said = tvl("import", "w.tar.xz", "--db-dir", "other", "--max-bytes", "10", code=8)
    assert "w.tar.xz can't be imported: it holds" in said.err
    said = tvl("export", "words", "-o", "w.tar.xz", "--db-dir", "vault", code=3)
    assert "exists already, so no bundle was made" in said.err
    assert Path(made["path"]).stat().st_size == made["bundle_bytes"]
