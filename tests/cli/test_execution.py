from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tests.cli.conftest import CODE, Tvl


def test_an_execution_tells_its_steps_and_what_it_made(tvl: Tvl, vault: TableVault) -> None:
    said = tvl("execute", "words", "--db-dir=vault")

    (made,) = vault.get_table_instances("words")
    steps = [line.split() for line in said.out.splitlines() if line.split()[1:2] == ["done"]]
    assert [step[0] for step in steps] == ["words_index", "shout", "materialize"]
    assert steps[1][2] == "3"
    assert said.out.splitlines()[-1].startswith(f"Materialized words/{made}: 3 rows in ")
    assert said.err == ""


def test_json_tells_the_same(tvl: Tvl, vault: TableVault) -> None:
    document = tvl("execute", "words", "--db-dir=vault", "--json").json

    assert document["instance_id"] == vault.get_table_instances("words")[0]
    assert (document["state"], document["table_name"], document["rows"]) == ("COMPLETED", "words", 3)
    assert [step["name"] for step in document["steps"]] == ["words_index", "shout", "materialize"]


def test_without_an_id_an_error_reverts(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    (folder / "fail bee").touch()

    said = tvl("execute", "words", "--db-dir=vault", code=10)

    assert said.err.startswith("Error: ConnectionError: nobody answers (tools.py:")
    assert "was reverted." in said.err
    assert vault.get_active_processes() == {}


def test_with_an_id_an_error_pauses_and_the_same_command_goes_on(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    (folder / "fail bee").touch()
    line = ("execute", "words", "--db-dir=vault", "--process-id=run")

    paused = tvl(*line, code=10)
    (folder / "fail bee").unlink()
    resumed = tvl(*line)
    again = tvl(*line)

    assert "Process 'run' is paused" in paused.err
    assert resumed.out.count("shouting ape") + paused.out.count("shouting ape") == 1
    assert vault.get_process_completion("run")
    assert again.out.splitlines()[0] == "Process 'run' had completed before; nothing was done."


def test_resumable_makes_an_id_and_tells_how_to_go_on(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    (folder / "fail bee").touch()

    said = tvl("execute", "words", "--resumable", "--db-dir=vault", code=10)

    ((process_id, record),) = vault.get_active_processes().items()
    assert record.status == "paused"
    line = f"tvl execute words --process-id {process_id} --db-dir vault"
    assert said.err.count("To go on after") == 1
    assert said.err.splitlines()[0] == f"Process {process_id}. To go on after an interruption: {line}"
    assert "can't be used with" in tvl("execute", "words", "-r", "-p", "x", "--db-dir=vault", code=2).err


def test_what_is_refused_has_nothing_to_go_on_with(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    (folder / "fail bee").touch()
    tvl("execute", "words", "--process-id=run", "--db-dir=vault", code=10)

    for line, code in (
        (("execute", "words", "--process-id=run", "--version=other"), 3),  # other work
        (("execute", "words", "--process-id=more", "--lock-timeout=0"), 5),  # never recorded
        (("execute", "wrods", "--resumable"), 3),
    ):
        assert "To go on after" not in tvl(*line, "--db-dir=vault", code=code).err
    (folder / "fail bee").unlink()
    assert "To go on after" not in tvl("execute", "wrods", "-p", "run", "--db-dir=vault", code=3).err
    tvl("execute", "words", "-p", "run", "--db-dir=vault")
    assert "To go on after" not in tvl("execute", "words", "-p", "run", "--db-dir=vault").err


@pytest.mark.parametrize("choice", ["continue", "recompute", "keep"])
def test_code_that_changed_is_told_and_a_choice_goes_on(tvl: Tvl, vault: TableVault, folder: Path, choice: str) -> None:
    (folder / "fail bee").touch()
    line = ("execute", "words", "--db-dir=vault", "--process-id=run")
    tvl(*line, code=10)
    (folder / "fail bee").unlink()
    vault.create_code_module("tools", text=CODE.replace("word.upper()", "word.title()"))

    refused = tvl(*line, code=4)
    tvl(*line, "--on-change", choice)

    assert "`--on-change continue`" in refused.err
    expected = {"continue": "APE", "recompute": "Ape", "keep": "APE"}[choice]
    assert vault.get_dataframe("words")["shout"][0] == expected
    assert "'error', 'continue'" in " ".join(tvl(*line, "--on-change", "x", code=2).err.split())


def test_what_is_damaged_is_told_and_made_again(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    line = ("execute", "words", "--db-dir=vault", "--process-id=run")
    tvl(*line, "--until", "shout")
    with closing(sqlite3.connect("vault/metadata/processes/run/rows.sqlite")) as db, db:
        assert db.execute("UPDATE rows SET value = replace(value, 'BEE', 'BEEP')").rowcount > 0

    refused = tvl(*line, code=8)
    tvl(*line, "--on-damage", "recompute")

    assert "of the builder 'shout' isn't what was recorded" in " ".join(refused.err.split())
    assert "`--on-damage recompute`" in refused.err
    assert "BEE" in vault.get_dataframe("words")["shout"].tolist()


def test_a_value_that_cannot_be_kept_is_a_value_error(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    (folder / "number bee").touch()

    assert "artifact" in tvl("execute", "words", "--db-dir=vault", code=7).err


def test_an_execution_in_the_background_is_told_at_once(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    (folder / "wait bee").touch()

    said = tvl("execute", "words", "--background", "--process-id=run", "--db-dir=vault")
    shown = tvl("ps", "run", "--db-dir=vault", "--json").json
    refused = tvl("stop", "run", "--db-dir=vault", code=6)
    (folder / "wait bee").unlink()
    deadline = time.monotonic() + 30
    while vault.get_active_processes():
        assert time.monotonic() < deadline
        time.sleep(0.01)

    assert said.out == "Process 'run' runs in the background: `tvl ps run` tells how far it is.\n"
    assert "`tvl stop run --force`" in refused.err
    assert shown["status"] == "running"
    assert "shouting ape\n" in Path(shown["output"]).read_text()
    assert vault.get_process_completion("run")


def test_an_execution_whose_table_was_deleted_since_is_no_error(tvl: Tvl, vault: TableVault) -> None:
    line = ("execute", "words", "--db-dir=vault", "--process-id=run")
    tvl(*line)
    vault.delete_table("words")

    assert tvl(*line).out == "Process 'run' had completed before; nothing was done.\n"


BATCHES = """
builder_type: ColumnBuilder
changed_columns: [size]
python_function: sizes
code_module: sizes
is_custom: true
return_type: batch
batch_size: 2
arguments: {word: "<<self.word[index]>>"}
"""


def test_batches_are_told(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    vault.create_code_module("sizes", text="def sizes(rows):\n    return rows['word'].str.len()\n")
    vault.create_builder_file("words", "sizes", text=BATCHES)
    (folder / "fail bee").touch()
    tvl("execute", "words", "--process-id=run", "--db-dir=vault", code=10)
    (folder / "fail bee").unlink()

    said = tvl("execute", "words", "--process-id=run", "--db-dir=vault")

    cells = {line.split()[0]: line.split() for line in said.out.splitlines() if line}
    assert cells["STEP"][:4] == ["STEP", "STATE", "ROWS", "BATCHES"]
    assert cells["sizes"][2:6] == ["3", "2", "of", "2"]
    for command in (("ps", "run"), ("execute", "words", "--process-id=run")):
        shown = tvl(*command, "--db-dir=vault", "--json").json
        assert {step["name"]: (step["batches_done"], step["batches_total"]) for step in shown["steps"]} == {
            "words_index": (None, None),
            "shout": (None, None),
            "sizes": (2, 2),
            "materialize": (None, None),
        }


def test_a_source_may_begin_elsewhere(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    (folder / "fail cat").touch()
    line = ("execute", "words", "--db-dir=vault", "--process-id=run", "--start-at", "words_index=1")

    paused = tvl(*line, code=10)
    (folder / "fail cat").unlink()

    told = "tvl execute words --process-id run --start-at words_index=1 --db-dir vault"
    assert f"To go on after an interruption: {told}" in paused.err
    assert tvl("ps", "run", "--db-dir=vault", "--json").json["resume"] == told
    assert "start_at" in tvl("execute", "words", "--db-dir=vault", "--process-id=run", code=3).err
    tvl(*line)
    assert vault.get_dataframe("words")["word"].tolist() == ["bee", "cat"]


def test_an_offset_that_is_none_is_refused(tvl: Tvl, vault: TableVault) -> None:
    for given in ("words_index", "words_index=-1", "=3", "words_index=a"):
        said = tvl("execute", "words", "--db-dir=vault", "--start-at", given, code=2)
        assert "--start-at is given as BUILDER=OFFSET" in " ".join(said.err.replace("│", "").split())
