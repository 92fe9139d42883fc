"""The commands that tell what a run will do, what it did, and why."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault
from tests.cli.conftest import SHOUT, Tvl
from tests.tables import begin, builder, write


@pytest.fixture
def made(vault: TableVault) -> TableVault:
    """Return the vault with one instance of ``words``, and another one begun from it."""
    vault.execute_instance("words", process_id="first")
    vault.create_instance("words", copy=True)
    return vault


def of_vault(tvl: Tvl) -> Tvl:
    return lambda *arguments, **fields: tvl("--db-dir", "vault", *arguments, **fields)


@pytest.fixture
def ask(tvl: Tvl) -> Tvl:
    return of_vault(tvl)


def test_plan(made: TableVault, ask: Tvl) -> None:
    made.create_builder_file("words", "shout", text=SHOUT.replace("self.word[index]>>", "self.word[index]>>!"))

    said = ask("plan", "words")
    planned = ask("plan", "words", "--json").json

    assert "the argument 'word' is another" in said.out
    assert "+<<self.word[index]>>!" in said.out
    assert "shouting" not in said.out
    assert [each["builder"] for each in planned["builders"]] == ["words_index", "shout"]
    assert (planned["builders"][1]["to_run"], planned["certainty"], planned["sample"]) == (3, "expected", None)


def test_plan_with_a_sample(made: TableVault, ask: Tvl) -> None:
    said = ask("plan", "words", "--sample", "2")
    document = ask("plan", "words", "--sample", "2", "--json")

    assert "shouting ape" in said.out
    assert document.json["sample"] == [{"word": "ape", "shout": "APE"}, {"word": "bee", "shout": "BEE"}]
    Path("fail bee").touch()
    assert "nobody answers" in ask("plan", "words", "--sample", "2", code=10).err


def test_plan_of_what_would_be_refused(vault: TableVault, ask: Tvl) -> None:
    Path("fail bee").touch()
    with pytest.raises(ConnectionError):
        vault.execute_instance("words", process_id="p")
    vault.create_builder_file("words", "shout", text=SHOUT + "dtypes: {shout: string}\n")

    assert "held by process 'p'" in ask("plan", "words").out
    said = " ".join(ask("plan", "words", "-p", "p").out.split())
    assert "It would be refused: The builders or the code of words/base have changed" in said
    assert "`--on-change continue`" in said
    assert "It would be refused" not in ask("plan", "words", "-p", "p", "--on-change", "keep").out


@pytest.mark.parametrize("row", ["1", "word=bee"])
def test_why(vault: TableVault, ask: Tvl, row: str) -> None:
    vault.create_builder_file("words", "words_index", text=vault.get_builder_str("words") + "primary_key: word\n")
    vault.execute_instance("words")

    said = ask("why", "words", row, "shout")
    document = ask("why", "words", row, "shout", "--json").json

    assert "def shout(word):" in said.out
    assert (document["value"], document["inputs"], document["row"]) == ("BEE", {"word": "bee"}, 1)
    assert ask("why", "words", "bee", "shout", "--json").json == document
    assert "Did you mean 'shout'" in ask("why", "words", row, "shoot", code=3).err


@pytest.mark.parametrize("row", ["key=a,b", "key=a,b,day=2026-01-09", "day=2026-01-09", "day=2026-01-09T00:00:00"])
def test_why_of_keys_that_have_commas_and_days(vault: TableVault, ask: Tvl, row: str) -> None:
    columns = [name for name in ("key", "day") if f"{name}=" in row]
    frame = pd.DataFrame({"key": ["c", "a,b"], "day": pd.to_datetime(["2026-01-08", "2026-01-09"])})[columns]
    write(vault, "raw", frame)
    text = builder(
        "IndexBuilder",
        *columns,
        python_function="create_data_table_from_table",
        code_module="table_generation",
        is_custom=False,
        return_type="dataframe",
        primary_key=columns,
        arguments={"df": "<<raw.{" + ", ".join(columns) + "}>>"},
    )
    begin(vault, "keyed", {"index": text})
    vault.execute_instance("keyed")

    assert ask("why", "keyed", row, columns[0], "--json").json["row"] == 1
    assert ask("inspect", "keyed", "--row", row, "--json").json["rows"][0]["row"] == 1


def test_inspect(made: TableVault, ask: Tvl) -> None:
    (instance,) = made.get_table_instances("words")

    said = ask("inspect", "words", "--row", "1", "--builder", "shout")
    document = ask("inspect", "first", "--json").json

    assert instance in said.out
    assert "input word" in said.out
    assert "BEE" in said.out
    assert (document["instance_id"], document["process"]["process_id"]) == (instance, "first")
    assert ask("inspect", "words", "--instance", instance, "--json").json["steps"] == document["steps"]
    assert "Did you mean 'words'" in ask("inspect", "word", code=3).err


def test_quickcheck(made: TableVault, ask: Tvl) -> None:
    assert "  first: execute_instance words/base, completed, 3 of 3 rows done" in ask("quickcheck").out
    Path("fail bee").touch()
    made.create_builder_file("words", "shout", text=SHOUT + "reuse: never\n")
    with pytest.raises(ConnectionError):
        made.execute_instance("words", process_id="p")

    said = ask("quickcheck", "--ended", "0", code=6)

    assert said.out.startswith("! p: execute_instance words/base, paused, 1 of 3 rows done, 1 row failed")
    assert ask("quickcheck", "--ended", "0", "--json", code=6).json[0]["needs_attention"] is True


def test_quickcheck_of_an_empty_vault(folder: Path, ask: Tvl) -> None:
    TableVault(folder / "vault", create=True)

    assert ask("quickcheck").out == "There was no process yet.\n"


def test_report(made: TableVault, ask: Tvl) -> None:
    said = ask("report", "first")

    assert said.out == made.report("first")
    assert ask("report", "words", "--output", "report.md").out == "Wrote report.md.\n"
    assert Path("report.md").read_text() == made.report("words")
    assert ask("report", "words", "--json").json["report"] == made.report("words")
    assert "can't be written" in ask("report", "words", "--output", "missing/report.md", code=8).err


def test_history(made: TableVault, ask: Tvl) -> None:
    said = ask("history", "words", "--operation", "execute_instance")
    documents = ask("history", "--named", "--json").json

    assert said.out.splitlines()[0].split()[:4] == ["PROCESS", "OPERATION", "TABLE", "OUTCOME"]
    assert said.out.splitlines()[1].split()[:4] == ["first", "execute_instance", "words", "completed"]
    assert [(each["process_id"], each["rows_made"]) for each in documents] == [("first", 6)]
    assert len(ask("history", "--limit", "2", "--json").json) == 2
    assert ask("history", "--by", "nobody").out == "No process has ended that is so.\n"
    assert "outcome" in ask("history", "--outcome", "lost", code=3).err
    assert "since" in ask("history", "--since", "yesterday", code=3).err


def test_what_is_to_be_done_is_told_in_commands(vault: TableVault, ask: Tvl) -> None:
    Path("fail bee").touch()
    with pytest.raises(ConnectionError):
        vault.execute_instance("words", process_id="p")
    vault.create_builder_file("words", "shout", text=SHOUT + "dtypes: {shout: string}\n")

    inspected, planned = ask("inspect", "p").out, ask("plan", "words", "--process-id", "p").out

    assert "`tvl stop p`" in inspected
    assert "stop_process" not in inspected
    assert "`--on-change continue`" in planned
    assert "on_change=" not in planned
    assert "`tvl ls`" in ask("query", "SHOW TABLES", code=3).err


def test_quickcheck_where_nothing_is_under_way(made: TableVault, ask: Tvl) -> None:
    assert ask("quickcheck", "--ended", "0").out == "No process is under way, paused or interrupted.\n"
