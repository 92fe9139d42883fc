from __future__ import annotations

import getpass

from tablevault_like import TableVault
from tests.cli.conftest import Tvl


def test_a_table_is_created_renamed_and_deleted(tvl: Tvl, vault: TableVault) -> None:
    assert tvl("--db-dir", "vault", "create-table", "papers").out == "Created the table 'papers'.\n"
    assert tvl("--db-dir", "vault", "rename-table", "papers", "articles").out == (
        "Renamed the table 'papers' to 'articles'.\n"
    )
    assert vault.get_table_instances() == ["words", "articles"]
    assert tvl("--db-dir", "vault", "delete-table", "articles").out == "Deleted the table 'articles'.\n"
    assert vault.get_table_instances() == ["words"]


def test_options_reach_the_vault(tvl: Tvl, vault: TableVault) -> None:
    tvl(
        "create-table",
        "papers",
        "--db-dir=vault",
        "--description=To read",
        "--multiple-artifacts",
        "--side-effects",
        "--author=bob",
        "--process-id=p1",
    )

    described = vault.get_descriptions(table_name="papers")
    assert described["description"] == "To read"
    assert described["allow_multiple_artifacts"] is True
    assert described["has_side_effects"] is True
    assert described["author"] == "bob"
    assert vault.get_process("p1").author == "bob"


def test_the_author_is_the_user_by_default(tvl: Tvl, vault: TableVault) -> None:
    tvl("create-table", "papers", "--db-dir=vault")

    assert vault.get_descriptions(table_name="papers")["author"] == getpass.getuser()


def test_json_tells_the_process(tvl: Tvl, vault: TableVault) -> None:
    document = tvl("create-table", "papers", "--db-dir=vault", "--json").json

    assert document == {
        "process_id": document["process_id"],
        "operation": "create_table",
        "state": "COMPLETED",
        "table_name": "papers",
    }
    assert vault.get_process_completion(document["process_id"])


def test_the_same_command_with_the_same_id_does_nothing(tvl: Tvl, vault: TableVault) -> None:
    line = ("create-table", "papers", "--db-dir=vault", "--process-id=p1")
    tvl(*line)

    assert tvl(*line).out == "Process 'p1' had completed before; nothing was done.\n"
    assert tvl(*line, "--json").json["process_id"] == "p1"
    assert "was started for other work" in tvl("create-table", "others", "--db-dir=vault", "-p", "p1", code=3).err


def test_wrong_names_are_argument_errors(tvl: Tvl, vault: TableVault) -> None:
    assert "Forbidden Table Name: artifacts" in tvl("create-table", "artifacts", "--db-dir=vault", code=3).err
    assert "Did you mean 'words'?" in tvl("delete-table", "word", "--db-dir=vault", code=3).err


def test_a_lock_that_is_held_is_told_with_the_ways_on(tvl: Tvl, vault: TableVault) -> None:
    vault.create_builder_file("words", "shout", text=vault.get_builder_str("words", "shout") + "n_threads: 1\n")
    vault.create_code_module("tools", text="def words():\n    raise OSError('no')\n\n\ndef shout(word):\n    pass\n")
    tvl("execute", "words", "--db-dir=vault", "-p", "run", code=10)

    said = tvl("delete-table", "words", "--db-dir=vault", "--lock-timeout=0", code=5).err

    assert "process 'run'" in said
    assert "`tvl stop run`" in said
    assert "`--lock-timeout` waits longer" in said
