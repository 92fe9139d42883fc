from __future__ import annotations

import csv
import io
import json

import pandas as pd
import pytest

from tablevault_like import TableVault
from tests.cli.conftest import CODE, SHOUT, Tvl


@pytest.fixture
def made(vault: TableVault) -> str:
    """Return the id of an instance with 25 rows of the table ``papers``."""
    vault.create_table("papers")
    vault.create_instance("papers", external_edit=True)
    frame = pd.DataFrame({"i": range(25), "t": ["x" * 80, "a\nb", None, "NA", "é"] * 5, "l": [[1, 2]] * 25})
    vault.write_instance(frame, "papers", dtypes={"t": "string"})
    return vault.get_table_instances("papers")[0]


def test_people_see_the_first_rows(tvl: Tvl, made: str) -> None:
    said = tvl("show", "papers", "--db-dir=vault").out.splitlines()

    assert said[0].split() == ["i", "t", "l"]
    assert said[1].split() == ["0", "x" * 59 + "…", "[1,", "2]"]
    assert said[2].split() == ["1", "a\\nb", "[1,", "2]"]
    assert said[3].split() == ["2", "<NA>", "[1,", "2]"]
    assert said[4].split() == ["3", "NA", "[1,", "2]"]
    assert len(said) == 23
    assert said[-1] == f"20 of 25 rows of papers/{made}"


def test_as_many_rows_as_wanted(tvl: Tvl, made: str) -> None:
    said = tvl("show", "papers", "--rows=1", "--db-dir=vault").out.splitlines()

    assert len(said) == 4
    assert tvl("show", "papers", "-n", "100", "--db-dir=vault").out.endswith(f"25 rows of papers/{made}\n")
    assert len(tvl("show", "papers", "-n", "2", "--json", "--db-dir=vault").json["records"]) == 2
    assert tvl("show", "papers", "-n", "2", "--csv", "--db-dir=vault").out.endswith('\n1,"a\nb","[1, 2]"\n')
    assert "'--rows'" in tvl("show", "papers", "-n", "-1", "--db-dir=vault", code=2).err


def test_json_gives_all_rows(tvl: Tvl, made: str) -> None:
    document = tvl("show", "papers", "--json", "--db-dir=vault").json

    assert document.keys() == {"table_name", "instance_id", "rows", "columns", "records"}
    assert (document["table_name"], document["instance_id"], document["rows"]) == ("papers", made, 25)
    assert document["columns"]["t"] == "string"
    assert len(document["records"]) == 25
    assert document["records"][0] == {"i": 0, "t": "x" * 80, "l": [1, 2]}
    assert document["records"][2]["t"] is None


def test_csv_gives_all_rows(tvl: Tvl, made: str) -> None:
    said = tvl("show", "papers", "--csv", "--db-dir=vault").out

    assert said.startswith("i,t,l\n0," + "x" * 80 + ',"[1, 2]"\n1,"a\nb","[1, 2]"\n2,,"[1, 2]"\n3,NA,')
    assert len(list(csv.reader(io.StringIO(said)))) == 26


def test_columns_are_selected_in_the_order_that_is_wanted(tvl: Tvl, made: str) -> None:
    said = tvl("show", "papers", "-s", "t", "-s", "i", "-n", "4", "--db-dir=vault").out.splitlines()

    assert said[0].split() == ["t", "i"]
    assert said[4].split() == ["NA", "3"]
    assert "no column 'tt'. Did you mean 't'?" in tvl("show", "papers", "-s", "tt", "--db-dir=vault", code=3).err


def test_columns_are_told_with_their_dtypes(tvl: Tvl, made: str) -> None:
    said = tvl("show", "papers", "--columns", "--db-dir=vault").out.splitlines()
    document = tvl("show", "papers", "--columns", "--db-dir=vault", "--json").json

    assert [line.split() for line in said[:3]] == [["COLUMN", "DTYPE"], ["i", "int64"], ["t", "string"]]
    assert document["rows"] == 25
    assert "records" not in document


def test_an_instance_is_named_by_its_id_or_version(tvl: Tvl, vault: TableVault, made: str) -> None:
    vault.create_instance("papers", "v2", external_edit=True)
    vault.write_instance(pd.DataFrame({"i": [7]}), "papers", "v2")

    assert tvl("show", "papers", "--version=v2", "--csv", "--db-dir=vault").out == "i\n7\n"
    assert tvl("show", "papers", "--instance", made, "--json", "--db-dir=vault").json["rows"] == 25
    assert "Known: base, v2." in tvl("show", "papers", "--version=x", "--db-dir=vault", code=3).err


def test_inactive_instances_are_shown_when_asked_for(tvl: Tvl, vault: TableVault) -> None:
    vault.create_table("notes", has_side_effects=True)
    vault.create_instance("notes", external_edit=True)
    vault.write_instance(pd.DataFrame({"i": [1]}), "notes")
    builders = {"notes_index": vault.get_builder_str("words").replace("[word]", "[i]")}
    vault.create_instance("notes", builders=builders)
    vault.create_code_module(
        "tools", text="def words():\n    raise OSError('no')\n    yield\n\n\ndef shout(word): ...\n"
    )
    tvl("execute", "notes", "-p", "run", "--db-dir=vault", code=10)

    tvl("show", "notes", "--db-dir=vault", code=3)
    assert tvl("show", "notes", "--inactive", "--csv", "--db-dir=vault").out == "i\n1\n"


def test_builders_and_code_are_shown_as_they_are(tvl: Tvl, vault: TableVault) -> None:
    assert tvl("show", "words", "--builder", "shout", "--db-dir=vault").out == SHOUT
    assert tvl("show", "--code", "tools", "--db-dir=vault").out == CODE
    assert tvl("show", "--code", "tools", "--db-dir=vault", "--json").json == {"name": "tools", "text": CODE}

    vault.execute_instance("words")
    (made,) = vault.get_table_instances("words")
    assert tvl("show", "words", "--builder", "shout", "--db-dir=vault").out == SHOUT
    assert tvl("show", "words", "--builder", "shout", "--instance", made, "--db-dir=vault").out == SHOUT


def test_what_is_unknown_is_told_with_the_nearest_name(tvl: Tvl, vault: TableVault) -> None:
    assert "Did you mean 'shout'?" in tvl("show", "words", "--builder", "shot", "--db-dir=vault", code=3).err
    assert "Did you mean 'tools'?" in tvl("show", "--code", "tool", "--db-dir=vault", code=3).err
    assert "Give a TABLE, or --code MODULE." in tvl("show", "--db-dir=vault", code=2).err


def test_json_has_nothing_that_json_lacks(tvl: Tvl, vault: TableVault) -> None:
    vault.create_table("odd")
    vault.create_instance("odd", external_edit=True)
    vault.write_instance(pd.DataFrame({"f": [float("inf"), float("nan"), 0.1], "b": [b"ab", None, b""]}), "odd")

    text = tvl("show", "odd", "--json", "--db-dir=vault").out

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    document = json.loads(text, parse_constant=refuse)
    assert document["records"] == [{"f": "inf", "b": "YWI="}, {"f": None, "b": None}, {"f": 0.1, "b": ""}]
