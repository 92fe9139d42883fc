from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault
from tests.cli.conftest import Tvl


@pytest.fixture
def made(vault: TableVault) -> str:
    """Return the id of the materialized instance of ``words``."""
    vault.execute_instance("words")
    return vault.get_table_instances("words")[0]


def lines(text: str) -> list[list[str]]:
    """Return the words of each line."""
    return [line.split() for line in text.splitlines()]


def test_tables_are_listed_in_order_of_their_creation(tvl: Tvl, vault: TableVault, made: str) -> None:
    vault.create_table("papers")
    vault.create_instance("papers", "v2")

    said = tvl("ls", "--db-dir=vault").out

    assert lines(said)[0] == ["TABLE", "INSTANCES", "ROWS", "NEWEST", "TEMPORARY", "AUTHOR", "DESCRIPTION"]
    words, papers = lines(said)[1:]
    assert (words[:3], words[-3:]) == (["words", "1", "3"], ["ada", "Loud", "words"])
    assert papers == ["papers", "0", "TEMP_v2", "ada"]


def test_tables_as_json(tvl: Tvl, vault: TableVault, made: str) -> None:
    (document,) = tvl("ls", "--db-dir=vault", "--json").json

    assert document.keys() == {
        "table_name",
        "description",
        "author",
        "created",
        "instances",
        "newest",
        "newest_at",
        "rows",
        "temporary",
    }
    assert (document["table_name"], document["newest"], document["rows"]) == ("words", made, 3)
    (instance,) = tvl("ls", "words", "--db-dir=vault", "--json").json
    assert document["newest_at"] == instance["materialized"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document["newest_at"])


def test_instances_are_listed_oldest_first_temporary_ones_last(tvl: Tvl, vault: TableVault, made: str) -> None:
    vault.create_instance("words", copy=True)
    vault.create_instance("words", "v2")

    said = lines(tvl("ls", "words", "--db-dir=vault").out)
    newer = lines(tvl("ls", "words", "--version=v2", "--db-dir=vault").out)

    assert said[0] == ["INSTANCE", "VERSION", "ROWS", "ACTIVE", "SUCCESS", "MADE", "AUTHOR", "DESCRIPTION"]
    assert said[1][:5] == [made, "base", "3", "yes", "yes"]
    assert [line[:2] for line in said[2:]] == [["TEMP_base", "base"], ["TEMP_v2", "v2"]]
    assert [line[0] for line in newer[1:]] == ["TEMP_v2"]


def test_instances_as_json(tvl: Tvl, vault: TableVault, made: str) -> None:
    (document,) = tvl("ls", "words", "--db-dir=vault", "--json").json

    assert document["instance_id"] == made
    assert (document["rows"], document["active"], document["success"], document["temporary"]) == (3, True, True, False)
    assert (document["origin"], document["dependencies"]) == (None, [])


def test_what_instances_were_made_from_is_in_the_json(tvl: Tvl, vault: TableVault, made: str) -> None:
    vault.create_table("papers")
    vault.create_instance("papers", external_edit=True)
    vault.write_instance(pd.DataFrame({"n": [1]}), "papers", dependencies=[("words", made)])
    vault.create_instance("words", copy=True)

    (paper,) = tvl("ls", "papers", "--db-dir=vault", "--json").json
    _, copy = tvl("ls", "words", "--db-dir=vault", "--json").json

    assert (paper["origin"], paper["dependencies"], paper["columns"]) == (None, [["words", made]], {"n": "int64"})
    assert (copy["origin"], copy["dependencies"], copy["columns"]) == (["words", made], [], {})


def test_what_is_empty_says_how_to_begin(tvl: Tvl, vault: TableVault) -> None:
    vault.create_table("papers")
    assert "`tvl create-instance papers`" in tvl("ls", "papers", "--db-dir=vault").out
    assert tvl("ls", "papers", "--db-dir=vault", "--json").json == []

    vault.delete_table("papers")
    vault.delete_table("words")
    assert "`tvl create-table NAME`" in tvl("ls", "--db-dir=vault").out


def test_builders_and_code_modules_are_listed(tvl: Tvl, vault: TableVault, made: str) -> None:
    assert tvl("ls", "--code", "--db-dir=vault").out == "MODULE\ntools\n"
    assert tvl("ls", "--code", "--db-dir=vault", "--json").json == ["tools"]
    newest = tvl("ls", "words", "--builders", "--db-dir=vault", "--json").json
    named = tvl("ls", "words", "--builders", "--instance", made, "--db-dir=vault", "--json").json
    vault.create_instance("words", builders=["mood"])
    temporary = tvl("ls", "words", "--builders", "--db-dir=vault", "--json").json

    assert newest == named == ["shout", "words_index"]
    assert temporary == ["mood", "words_index"]
    assert "--builders needs a TABLE" in tvl("ls", "--builders", "--db-dir=vault", code=2).err


def test_files_are_shown_as_a_tree(tvl: Tvl, vault: TableVault) -> None:
    said = tvl("tree", "words", "--db-dir=vault").out
    document = tvl("tree", "--db-dir=vault", "--json").json

    assert "└── words_index.yaml" in said
    assert document["code_functions/"] == {"tools.py": None}
    assert document["words/"]["TEMP_base/"]["builders/"] == {"shout.yaml": None, "words_index.yaml": None}
    assert "metadata/" not in document
    assert "metadata/" in tvl("tree", "--metadata", "--db-dir=vault", "--json").json


def test_many_instances_have_thousands_separators(tvl: Tvl, vault: TableVault) -> None:
    vault.create_table("big")
    vault.create_instance("big", external_edit=True)
    vault.write_instance(pd.DataFrame({"i": range(1_234)}), "big")

    assert "1,234" in tvl("ls", "--db-dir=vault").out


def test_the_folder_of_artifacts_is_told(tvl: Tvl, vault: TableVault, folder: Path, made: str) -> None:
    assert tvl("artifact-folder", "words", "--db-dir=vault").out == f"{folder}/vault/words/{made}/artifacts\n"
    vault.create_instance("words", copy=True)
    vault.create_instance("words", "v2")

    temporary = tvl("artifact-folder", "words", "--db-dir=vault").out
    named = tvl("artifact-folder", "words", "--instance", made, "--db-dir=vault", "--json").json
    other = tvl("artifact-folder", "words", "--version=v2", "--db-dir=vault", "--json").json

    assert temporary == vault.get_artifact_folder("words") + "\n"
    assert temporary.endswith("/words/TEMP_base/artifacts\n")
    assert named == {"table_name": "words", "artifact_folder": f"{folder}/vault/words/{made}/artifacts"}
    assert other["artifact_folder"].endswith("/words/TEMP_v2/artifacts")
    assert (
        "no materialized instance of version 'v3'"
        in tvl("artifact-folder", "words", "--version=v3", "--db-dir=vault", code=3).err
    )
