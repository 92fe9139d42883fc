from __future__ import annotations

import os
import pty
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pandas as pd
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
    new = ("--description", "loud and clear")
    assert tvl("describe", *arguments, *new, "--db-dir=vault").out == f"Described {what}.\n"
    assert vault.get_descriptions(**where)["description"] == "loud and clear"
    document = tvl("describe", *arguments, "--description=", "--db-dir=vault", "--json", "--process-id=d").json
    assert (document["process_id"], document["operation"], document["description"]) == ("d", "set_description", "")
    assert vault.get_descriptions(**where)["description"] == ""


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        ([], {}),
        (["words"], {"table_name": "words"}),
        (["words", "TEMP_base"], {"table_name": "words", "instance_id": "TEMP_base"}),
    ],
    ids=["the vault", "a table", "an instance"],
)
def test_what_describes_something_is_told_and_stays(
    tvl: Tvl, vault: TableVault, arguments: list[str], where: dict[str, str]
) -> None:
    vault.set_description("to be kept", **where)
    described = vault.get_descriptions(**where)

    said = tvl("describe", *arguments, "--db-dir=vault").out
    document = tvl("describe", *arguments, "--db-dir=vault", "--json").json

    assert re.search(r"^description +to be kept$", said, re.MULTILINE)
    assert re.search(rf"^created +{described['created']}$", said, re.MULTILINE)
    names = {"table": "table_name", "instance": "instance_id"}
    assert document == {names.get(name, name): value for name, value in described.items()}
    assert vault.get_descriptions(**where) == described


def test_what_an_instance_was_made_from_is_told(tvl: Tvl, vault: TableVault) -> None:
    vault.execute_instance("words")
    (origin,) = vault.get_table_instances("words")
    vault.create_instance("words", copy=True)
    vault.execute_instance("words")
    made = vault.get_table_instances("words")[-1]
    vault.create_table("papers")
    vault.create_instance("papers", external_edit=True)
    vault.write_instance(pd.DataFrame({"n": [1]}), "papers", dependencies=[("words", origin), ("words", made)])
    (paper,) = vault.get_table_instances("papers")

    assert re.search(rf"^origin +words/{origin}$", tvl("describe", "words", made, "--db-dir=vault").out, re.MULTILINE)
    assert tvl("describe", "words", made, "--db-dir=vault", "--json").json["origin"] == ["words", origin]
    said = tvl("describe", "papers", paper, "--db-dir=vault").out
    first, second = sorted([origin, made])
    assert re.search(rf"^dependencies +words/{first}\n +words/{second}$", said, re.MULTILINE)
    assert re.search(r"^columns +n \(int64\)$", said, re.MULTILINE)
    document = tvl("describe", "papers", paper, "--db-dir=vault", "--json").json
    assert document["dependencies"] == [["words", first], ["words", second]]


@pytest.mark.parametrize("option", ["--process-id=p", "--parent-id=p"])
def test_what_only_tells_is_no_process(tvl: Tvl, vault: TableVault, option: str) -> None:
    assert "give --description as well" in " ".join(tvl("describe", option, "--db-dir=vault", code=2).err.split())


def test_an_instance_is_described_with_its_table_only(tvl: Tvl, vault: TableVault) -> None:
    assert "There is no table 'TEMP_base'" in tvl("describe", "TEMP_base", "--db-dir=vault", code=3).err


def test_the_trash_is_shown_and_pruned(tvl: Tvl, vault: TableVault) -> None:
    assert tvl("trash", "--db-dir=vault").out == "The trash is empty.\n"
    assert tvl("trash", "--db-dir=vault", "--json").json == []
    assert tvl("prune", "--yes", "--db-dir=vault").out == "There was nothing to prune.\n"
    vault.delete_table("words")
    (Path(vault.db_dir) / "metadata" / "trash" / "mine").mkdir()

    lines = tvl("trash", "--db-dir=vault").out.splitlines()
    assert lines[0].split() == ["REMOVED", "WHAT", "ROWS", "SIZE", "AT", "BY", "PRUNED", "DESCRIPTION"]
    assert lines[1].split()[:2] == ["table", "words"]
    assert lines[1].endswith("Loud words")
    assert lines[2].split()[:2] == ["unknown", "mine"]
    (table, _) = tvl("trash", "--db-dir=vault", "--json").json
    assert (table["removed"], table["author"], table["pruned_at"]) == ("table", "ada", None)

    assert tvl("prune", "--older-than", "2w", "--yes", "--db-dir=vault").out == "There was nothing to prune.\n"
    document = tvl("prune", "--older-than=0s", "--yes", "--db-dir=vault", "--json").json
    assert document["pruned"] == [table["name"]]
    assert document["size"] == table["size"] > 0
    (gone, _) = tvl("trash", "--pruned", "--db-dir=vault", "--json").json
    assert (gone["name"], gone["pruned_in"]) == (table["name"], document["process_id"])
    assert [each["name"] for each in tvl("trash", "--db-dir=vault", "--json").json] == ["mine"]


def test_what_was_pruned_is_told_with_its_size(tvl: Tvl, vault: TableVault) -> None:
    vault.delete_table("words")

    said = tvl("prune", "--yes", "--db-dir=vault").out

    assert re.fullmatch(r"Pruned 1 thing \([0-9.]+ k?B\)\.\n", said)


Shell: TypeAlias = Callable[..., subprocess.Popen[str]]


def on_a_terminal(shell: Shell, *arguments: str, answer: str) -> tuple[int, str]:
    """Run a command whose input is a terminal, and return its exit code and what it printed."""
    terminal, other = pty.openpty()
    os.write(terminal, answer.encode())
    command = shell(*arguments, stdin=other, stderr=subprocess.STDOUT)
    out, _ = command.communicate(timeout=60)
    os.close(other)
    os.close(terminal)
    return command.returncode, out


@pytest.mark.parametrize("answer", ["\n", "n\n", "yesterday\n", "\x04"], ids=["nothing", "no", "else", "the end"])
def test_pruning_on_a_terminal_is_confirmed(shell: Shell, vault: TableVault, answer: str) -> None:
    vault.delete_table("words")

    code, said = on_a_terminal(shell, "prune", "--db-dir=vault", answer=answer)

    assert re.match(r"Remove 1 thing \([0-9.]+ k?B\) for good\? \(--dry-run shows what that is\.\) \[y/N\] ", said)
    assert "Nothing was pruned: that wasn't confirmed. With --yes nobody is asked." in said
    assert code == 3
    assert len(vault.get_trash()) == 1


def test_who_confirms_prunes(shell: Shell, vault: TableVault) -> None:
    vault.delete_table("words")

    code, said = on_a_terminal(shell, "prune", "--db-dir=vault", answer="y\n")

    assert code == 0, said
    assert "Pruned 1 thing (" in said
    assert vault.get_trash() == []


@pytest.mark.parametrize("options", [["--yes"], ["--older-than=1d"]], ids=["said before", "nothing to prune"])
def test_pruning_is_not_asked_about_where_that_is(shell: Shell, vault: TableVault, options: list[str]) -> None:
    vault.delete_table("words")

    code, said = on_a_terminal(shell, "prune", *options, "--db-dir=vault", answer="n\n")

    assert code == 0, said
    assert "[y/N]" not in said
    assert len(vault.get_trash()) == ("--yes" not in options)


@pytest.mark.parametrize("age", ["30", "d", "-1d", "1 month", "soon"])
def test_an_age_needs_its_unit(tvl: Tvl, vault: TableVault, age: str) -> None:
    assert (
        "can't be read. Give a number with its unit"
        in tvl("prune", f"--older-than={age}", "--db-dir=vault", code=3).err
    )
