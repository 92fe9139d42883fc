from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pandas as pd
import pytest

from tablevault_like import TableVault
from tests.cli.conftest import CODE, Tvl
from tests.tables import write

Shell: TypeAlias = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def two(vault: TableVault) -> list[str]:
    """Return the ids of two instances of ``words``: a word is another one, and its shout is softer."""
    vault.execute_instance("words")
    vault.create_code_module("tools", text=CODE.replace('"bee"', '"bat"').replace("word.upper()", "word.title()"))
    vault.create_instance("words", copy=True)
    vault.execute_instance("words")
    return vault.get_table_instances("words")


class TestDiff:
    def test_shows_what_differs(self, tvl: Tvl, two: list[str]) -> None:
        said = tvl("diff", "words", "--db-dir=vault").out

        assert said.startswith(f"words: {two[0]} -> {two[1]}\n3 rows changed (4 cells), other code\n")
        assert "(rows are told by position, as no builder names a primary key)\n" in said
        assert "\nKEY  COLUMN  OLD  NEW\n  0  shout   APE  Ape\n  1  word    bee  bat\n" in said
        assert '-    yield from ["ape", "bee", "cat"]\n+    yield from ["ape", "bat", "cat"]\n' in said

    def test_shows_keys(self, tvl: Tvl, two: list[str]) -> None:
        said = tvl("diff", "words", *two, "--key=word", "--select=word", "--db-dir=vault").out

        assert "\n1 row added: bat\n\n1 row removed: bee\n" in said
        assert "told by position" not in said
        assert "COLUMN" not in said

    def test_shows_columns(self, tvl: Tvl, vault: TableVault) -> None:
        write(vault, "t", pd.DataFrame({"a": [1], "b": [1.5]}))
        write(vault, "t", pd.DataFrame({"b": ["x"], "c": [True]}))

        said = tvl("diff", "t", "--db-dir=vault").out

        lines = [line.split() for line in said.splitlines()]
        assert ["c", "added", "bool"] in lines
        assert ["a", "removed", "int64"] in lines
        assert ["b", "another", "dtype", "float64", "str"] in lines

    def test_shows_no_more_than_is_asked_for(self, tvl: Tvl, vault: TableVault) -> None:
        write(vault, "t", pd.DataFrame({"n": range(100)}))
        write(vault, "t", pd.DataFrame({"n": range(1, 201)}))

        said = tvl("diff", "t", "--rows=3", "--db-dir=vault").out

        assert "100 rows added: 100, 101, 102, ...\n" in said
        assert "... and 97 cells more: --rows shows more, --json all." in said

    def test_in_json_has_all_of_it(self, tvl: Tvl, two: list[str]) -> None:
        document = tvl("diff", "words", "--db-dir=vault", "--json").json

        assert (document["table_name"], document["old"], document["new"]) == ("words", *two)
        assert (document["differs"], document["summary"]) == (True, "3 rows changed (4 cells), other code")
        assert document["rows"]["changed_cells"] == {"word": 1, "shout": 3}
        assert document["cells"][0] == {"key": 0, "column": "shout", "old": "APE", "new": "Ape"}
        assert document["schema"] == {"added": [], "removed": [], "changed": [], "is_reordered": False}
        assert "+++ b/tools.py" in document["code"]

    def test_says_if_nothing_differs(self, tvl: Tvl, two: list[str]) -> None:
        said = tvl("diff", "words", two[0], two[0], "--db-dir=vault").out

        assert said.splitlines()[1] == "no difference"
        assert tvl("diff", "words", two[0], two[0], "--db-dir=vault", "--json").json["differs"] is False

    def test_of_what_is_not_there_fails(self, tvl: Tvl, vault: TableVault) -> None:
        assert "has no materialized instances" in tvl("diff", "words", "--db-dir=vault", code=3).err
        assert "Did you mean 'words'?" in tvl("diff", "wordz", "--db-dir=vault", code=3).err

    def test_shows_no_control_characters(self, shell: Shell, vault: TableVault) -> None:
        for text in ("a", "\x1b[2Jb"):
            write(vault, "t", pd.DataFrame({"n": [text]}))
        terminal, other = pty.openpty()
        command = shell("diff", "t", "--db-dir=vault", stdout=other)
        _, err = command.communicate(timeout=60)
        os.close(other)
        said = os.read(terminal, 100_000).decode()
        os.close(terminal)

        assert command.returncode == 0, err
        assert "\x1b[2J" not in said
        assert "\\x1b[2Jb" in said


class TestQuery:
    @pytest.fixture(autouse=True)
    def made(self, vault: TableVault) -> None:
        vault.execute_instance("words")

    def test_shows_its_result(self, tvl: Tvl) -> None:
        said = tvl("query", "SELECT word, length(shout) AS n FROM words ORDER BY word DESC", "--db-dir=vault").out

        assert said == "word  n\ncat   3\nbee   3\nape   3\n\n3 rows\n"

    def test_shows_the_first_rows_of_many(self, tvl: Tvl) -> None:
        assert tvl("query", "FROM range(50)", "--db-dir=vault").out.endswith("\n   19\n\n20 of 50 rows\n")
        assert tvl("query", "FROM range(50)", "--rows=2", "--db-dir=vault").out.endswith("\n    1\n\n2 of 50 rows\n")

    def test_in_json_has_all_of_it(self, tvl: Tvl, vault: TableVault) -> None:
        (instance,) = vault.get_table_instances("words")

        document = tvl("query", "SELECT word, NULL AS x FROM words", "--db-dir=vault", "--json").json

        assert document["instances"] == {"words": instance}
        assert (document["rows"], document["columns"]["word"]) == (3, "string")
        assert document["records"][0] == {"word": "ape", "x": None}

    def test_is_read_from_standard_input(self, tvl: Tvl) -> None:
        said = tvl("query", "-", "--csv", "--db-dir=vault", stdin="SELECT max(word) AS last\nFROM words\n").out

        assert said == "last\ncat\n"

    @pytest.mark.parametrize("sql", ["COPY words TO 'out.csv'", "FROM read_text('vault/.tablevault')", "SELEKT"])
    def test_that_is_none_is_refused(self, tvl: Tvl, folder: Path, sql: str) -> None:
        assert "Error: " in tvl("query", sql, "--db-dir=vault", code=3).err
        assert not (folder / "out.csv").exists()


def test_pinning_and_pruning(tvl: Tvl, vault: TableVault, two: list[str]) -> None:
    assert tvl("pin", "words", two[0], "--db-dir=vault").out == f"Pinned words/{two[0]}.\n"
    assert "pinned_by" in tvl("describe", "words", two[0], "--db-dir=vault").out
    assert tvl("prune", "--keep=1", "--yes", "--db-dir=vault").out == "There was nothing to prune.\n"
    document = tvl("unpin", "words", two[0], "--db-dir=vault", "--json").json
    assert (document["operation"], document["instance_id"]) == ("unpin", two[0])

    said = tvl("prune", "--keep=1", "--db-dir=vault").out
    assert "Would go:\nKIND      WHAT" in said
    assert "there is 1 newer one of its version" in said
    assert said.endswith("Nothing was removed: --yes does that.\n")
    assert vault.get_table_instances("words") == two
    document = tvl("prune", "--keep=1", "--dry-run", "--db-dir=vault", "--json").json
    assert (document["process_id"], document["pruned"]) == (None, [])
    assert [each["instance_id"] for each in document["going"]] == [two[0]]
    assert [each["why"] for each in document["staying"]] == ["it is the newest active instance of version 'base'"]

    document = tvl("prune", "--keep=1", "--yes", "--process-id=p", "--db-dir=vault", "--json").json
    assert (document["process_id"], document["pruned"]) == ("p", [f"words/{two[0]}"])
    assert json.dumps(document["size"]) == str(document["freed"])
    assert vault.get_table_instances("words") == [two[1]]
    again = tvl("prune", "--keep=1", "--yes", "--process-id=p", "--db-dir=vault").out
    assert again == "Process 'p' had completed before; nothing was done.\n"


@pytest.mark.parametrize("options", [["--keep=0"], ["--keep=few"], ["--dry-run", "--yes"]])
def test_pruning_of_no_sense_is_refused(tvl: Tvl, vault: TableVault, options: list[str]) -> None:
    tvl("prune", *options, "--db-dir=vault", code=2)
