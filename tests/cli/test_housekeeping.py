from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like import TableVault
from tests.cli.conftest import Tvl


@pytest.mark.parametrize(
    ("arguments", "where", "what"),
    [
        ([], {}, "the vault"),
        (["words"], {"table_name": "words"}, "the table 'words'"),
        (["words", "TEMP_base"], {"table_name": "words", "instance_id": "TEMP_base"}, "words/TEMP_base"),
    ],
    ids=["the vault", "a table", "an instance"],
)
def test_describe(tvl: Tvl, vault: TableVault, arguments: list[str], where: dict[str, str], what: str) -> None:
    assert tvl("describe", "loud and clear", *arguments, "--db-dir=vault").out == f"Described {what}.\n"
    assert vault.get_descriptions(**where)["description"] == "loud and clear"
    document = tvl("describe", "", *arguments, "--db-dir=vault", "--json", "--process-id=d").json
    assert (document["process_id"], document["operation"], document["description"]) == ("d", "set_description", "")


def test_the_trash_is_shown_and_pruned(tvl: Tvl, vault: TableVault) -> None:
    assert tvl("trash", "--db-dir=vault").out == "The trash is empty.\n"
    assert tvl("trash", "--db-dir=vault", "--json").json == []
    assert tvl("prune", "--db-dir=vault").out == "There was nothing to prune.\n"
    vault.delete_table("words")
    (Path(vault.db_dir) / "metadata" / "trash" / "mine").mkdir()

    lines = tvl("trash", "--db-dir=vault").out.splitlines()
    assert lines[0].split() == ["REMOVED", "WHAT", "ROWS", "SIZE", "AT", "BY", "PRUNED", "DESCRIPTION"]
    assert lines[1].split()[:2] == ["table", "words"]
    assert lines[1].endswith("Loud words")
    assert lines[2].split()[:2] == ["unknown", "mine"]
    (table, _) = tvl("trash", "--db-dir=vault", "--json").json
    assert (table["removed"], table["author"], table["pruned_at"]) == ("table", "ada", None)

    assert tvl("prune", "--older-than", "2w", "--db-dir=vault").out == "There was nothing to prune.\n"
    document = tvl("prune", "--older-than=0s", "--db-dir=vault", "--json").json
    assert document["pruned"] == [table["name"]]
    assert document["size"] == table["size"] > 0
    (gone, _) = tvl("trash", "--pruned", "--db-dir=vault", "--json").json
    assert (gone["name"], gone["pruned_in"]) == (table["name"], document["process_id"])
    assert [each["name"] for each in tvl("trash", "--db-dir=vault", "--json").json] == ["mine"]


def test_what_was_pruned_is_told_with_its_size(tvl: Tvl, vault: TableVault) -> None:
    vault.delete_table("words")

    said = tvl("prune", "--db-dir=vault").out

    assert said.startswith("Pruned 1 thing, ")
    assert said.endswith("B.\n")


@pytest.mark.parametrize("age", ["30", "d", "-1d", "1 month", "soon"])
def test_an_age_needs_its_unit(tvl: Tvl, vault: TableVault, age: str) -> None:
    assert (
        "can't be read. Give a number with its unit"
        in tvl("prune", f"--older-than={age}", "--db-dir=vault", code=3).err
    )
