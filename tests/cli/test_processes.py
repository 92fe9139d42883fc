from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tablevault_like import ProcessRecord, State, TableVault
from tablevault_like.cli import processes
from tablevault_like.cli.formats import status
from tests.cli.conftest import Said, Tvl
from tests.workers import wait_until

RECORD = ProcessRecord(
    process_id="p1",
    operation="execute_instance",
    arguments={"table_name": "words", "version": "base"},
    author="ada",
    state=State.RUNNING,
    is_alive=True,
    is_named=True,
    host="box",
    pid=42,
    created_at=1_784_635_391.0,
    started_at=1_784_635_392.0,
    updated_at=1_784_635_399.0,
    ended_at=None,
    parent_id=None,
    steps_done=(),
    steps_to_come=("shout",),
    rows_done=1_412,
    rows_failed=0,
    rows_reused=0,
    rows_total=10_000,
    rate=8.25,
    remaining=1_041.0,
    locks=("words/TEMP_base (exclusive)",),
    waits_for=(),
    blocked_by=(),
    error=None,
    next_steps="It runs. stop_process('p1', force=True) ends its worker first.",
)


@pytest.fixture
def show(tvl: Tvl, vault: TableVault, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Return what shows these processes as the active ones."""

    def run(*records: ProcessRecord, options: tuple[str, ...] = ()) -> Said:
        active = {record.process_id: record for record in records}
        monkeypatch.setattr(TableVault, "get_active_processes", lambda _: active)
        return tvl("ps", "--db-dir=vault", *options)

    return run


@pytest.fixture
def paused(tvl: Tvl, vault: TableVault, folder: Path) -> str:
    """Return the id of an execution that is paused after one row, and would go on now."""
    (folder / "fail bee").touch()
    tvl("execute", "words", "--process-id=run", "--db-dir=vault", code=10)
    (folder / "fail bee").unlink()
    return "run"


def test_nothing_under_way(tvl: Tvl, vault: TableVault) -> None:
    assert tvl("ps", "--db-dir=vault").out == "No process is under way.\n"
    assert tvl("ps", "--db-dir=vault", "--json").json == []


def cells(line: str) -> list[str]:
    """Return the cells of a line of a table."""
    return re.split(" {2,}", line)


def test_a_running_process(show: Callable[..., Said]) -> None:
    said = show(RECORD).out.splitlines()

    assert " ".join(cells(said[0])) == "PROCESS OPERATION TARGET STATE ROWS RATE LEFT AUTHOR WORKER SINCE"
    assert cells(said[1]) == [
        "p1",
        "execute_instance",
        "words/base",
        "running",
        "1,412 of 10,000",
        "8.2/s",
        "17 min 21 s",
        "ada",
        "box/42",
        datetime.fromtimestamp(1_784_635_392).strftime("%Y-%m-%d %H:%M:%S"),
    ]
    assert said[2:] == ["", "p1:", "  It runs. `tvl stop p1 --force` ends its worker first."]


def test_children_stand_below_their_parent(show: Callable[..., Said]) -> None:
    family = [("a", None), ("a.1", "a"), ("b", None), ("a.2", "a"), ("a.1.1", "a.1"), ("orphan", "ended")]
    records = [replace(RECORD, process_id=name, parent_id=parent) for name, parent in family]

    said = show(*records).out.splitlines()[1:7]

    assert [line.split("  execute")[0].rstrip() for line in said] == [
        "a",
        "├─ a.1",
        "│  └─ a.1.1",
        "└─ a.2",
        "b",
        "orphan",
    ]


STATUSES = [
    ("running", RECORD),
    ("waiting", replace(RECORD, state=State.CREATED, waits_for=("words (exclusive)",))),
    ("interrupted", replace(RECORD, is_alive=False)),
    ("interrupted", replace(RECORD, state=State.CREATED, waits_for=("words (exclusive)",), is_alive=False)),
    ("paused", replace(RECORD, state=State.PAUSED, is_alive=False)),
    ("stopping", replace(RECORD, state=State.STOPPING)),
    ("reverted", replace(RECORD, state=State.REVERTED, is_alive=False)),
]


@pytest.mark.parametrize(("word", "record"), STATUSES, ids=[word for word, _ in STATUSES])
def test_the_state_is_one_word(word: str, record: ProcessRecord) -> None:
    assert status(record)[0] == word


def test_a_paused_process_says_why_and_how_to_go_on(tvl: Tvl, paused: str) -> None:
    said = tvl("ps", "--db-dir=vault").out

    assert "paused" in said
    assert "  ConnectionError: nobody answers\n" in said
    assert "  1 row failed\n" in said
    assert "  To go on: tvl execute words --process-id run --db-dir vault\n" in said
    assert "`tvl restart`" in said
    assert "`tvl stop run` reverts it" in said


def test_json_has_every_field_of_the_record(tvl: Tvl, paused: str) -> None:
    (document,) = tvl("ps", "--db-dir=vault", "--json").json

    assert document.keys() == {*ProcessRecord.__dataclass_fields__, "status", "resume"}
    assert document["state"] == "PAUSED"
    assert document["error"]["type"] == "ConnectionError"
    assert document["resume"] == "tvl execute words --process-id run --db-dir vault"
    assert "`tvl stop run`" in document["next_steps"]


def test_one_process_is_shown_in_full(tvl: Tvl, paused: str) -> None:
    said = tvl("ps", "run", "--db-dir=vault").out
    traced = tvl("ps", "run", "--traceback", "--db-dir=vault").out

    facts = {line.split()[0]: " ".join(line.split()[1:]) for line in said.splitlines() if line.strip()}
    assert facts["process"] == "run"
    assert facts["locks"] == "words/TEMP_base (exclusive)"
    assert facts["words_index"].startswith("done 3")
    assert facts["error"] == "ConnectionError: nobody answers"
    assert "Traceback" not in said
    assert "Traceback (most recent call last):" in traced
    assert 'tools.py", line' in traced


def test_rows_that_were_reused_are_shown(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    tvl("execute", "words", "--db-dir=vault")
    vault.create_instance("words", copy=True)

    executed = tvl("execute", "words", "--process-id=again", "--db-dir=vault").out.splitlines()
    said = tvl("ps", "again", "--db-dir=vault").out
    document = tvl("ps", "again", "--db-dir=vault", "--json").json

    assert [cells(line)[:4] for line in executed if line.startswith(("STEP", "shout"))] == [
        ["STEP", "STATE", "ROWS", "REUSED"],
        ["shout", "done", "3", "3"],
    ]
    facts = {line.split()[0]: " ".join(line.split()[1:]) for line in said.splitlines() if line.strip()}
    assert facts["reused"] == "3"
    assert facts["shout"].startswith("done 3 3")
    assert document["rows_reused"] == 3
    assert [step["rows_reused"] for step in document["steps"]] == [0, 3, 0]


def test_rows_that_were_reused_are_shown_on_the_way(show: Callable[..., Said]) -> None:
    assert "\n  997 rows reused\n" in show(replace(RECORD, rows_reused=997)).out


def test_a_process_that_has_ended_is_shown_too(tvl: Tvl, vault: TableVault) -> None:
    process_id = vault.create_table("papers")

    assert "completed" in tvl("ps", process_id, "--db-dir=vault").out
    assert tvl("ps", process_id, "--db-dir=vault", "--json").json["state"] == "COMPLETED"
    assert "There is no process" in tvl("ps", "nothing", "--db-dir=vault", code=3).err


def test_a_waiting_process_says_for_what(tvl: Tvl, vault: TableVault, paused: str) -> None:
    patient = TableVault(vault.db_dir, "bob", lock_timeout=30)
    waiting = threading.Thread(target=patient.delete_table, args=("words",), kwargs={"process_id": "bobs"})
    waiting.start()
    while "bobs" not in vault.get_active_processes():
        assert waiting.is_alive()
        time.sleep(0.01)

    said = tvl("ps", "--db-dir=vault").out
    full = tvl("ps", "bobs", "--db-dir=vault").out
    tvl("stop", "run", "--db-dir=vault")
    waiting.join(30)

    assert "  waits for words (exclusive)\n  It waits for 'run'.\n" in said
    assert "held up by  run\n" in full
    assert vault.get_table_instances() == []


def test_a_paused_process_is_stopped(tvl: Tvl, vault: TableVault, paused: str) -> None:
    assert tvl("stop", "run", "--db-dir=vault").out == "Stopped process 'run': it was reverted.\n"
    assert vault.get_process("run").state is State.REVERTED
    assert "has ended (reverted)" in tvl("stop", "run", "--db-dir=vault", code=6).err


def test_what_is_done_can_be_kept(tvl: Tvl, vault: TableVault, paused: str) -> None:
    said = tvl("stop", "run", "--materialize", "--db-dir=vault")

    (made,) = vault.get_table_instances("words")
    assert said.out == f"Stopped process 'run': what it had done is kept as words/{made} (3 rows).\n"
    assert tvl("ls", "words", "--db-dir=vault").out.splitlines()[1].split()[3:5] == ["yes", "no"]


def test_what_was_kept_is_not_told_to_be_complete(tvl: Tvl, vault: TableVault, paused: str) -> None:
    tvl("stop", "run", "--materialize", "--db-dir=vault")

    said = tvl("execute", "words", "--process-id=run", "--db-dir=vault")

    assert said.out.startswith("Process 'run' was stopped before, and what it had done was kept; nothing was done. ")
    assert "--existing rerun" in said.out


def test_stop_as_json(tvl: Tvl, vault: TableVault, paused: str) -> None:
    assert tvl("stop", "run", "--materialize", "--db-dir=vault", "--json").json == {
        "process_id": "run",
        "operation": "execute_instance",
        "state": "MATERIALIZED",
        "instance_id": vault.get_table_instances("words")[0],
        "rows": 3,
    }


def test_a_killed_execution_is_interrupted_and_restart_completes_it(
    tvl: Tvl, vault: TableVault, folder: Path, shell: Callable[..., Any]
) -> None:
    (folder / "wait bee").touch()
    started = shell("--db-dir", "vault", "execute", "words")
    wait_until(lambda: (folder / "waits").exists())
    wait_until(lambda: vault.get_dataframe("words", "TEMP_base")["shout"].notna().sum() == 1)  # it is recorded
    started.send_signal(signal.SIGKILL)
    started.communicate(timeout=30)
    (folder / "wait bee").unlink()

    (shown,) = tvl("ps", "--db-dir=vault", "--json").json
    said = tvl("restart", "--db-dir=vault")

    assert shown["status"] == "interrupted"
    assert said.out.splitlines()[-1].split() == [shown["process_id"], "completed"]
    assert "shouting ape" not in said.out
    assert vault.get_dataframe("words")["shout"].tolist() == ["APE", "BEE", "CAT"]


def test_a_dead_process_that_is_not_started_again_is_not_told_to_be_running(
    tvl: Tvl, vault: TableVault, folder: Path, shell: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "wait bee").touch()
    started = shell("--db-dir", "vault", "execute", "words", "--process-id=run")
    wait_until(lambda: (folder / "waits").exists())
    started.kill()
    started.communicate(timeout=30)
    monkeypatch.setattr("tablevault_like.process.runner.MAXIMUM_DEATHS", 0)

    said = tvl("restart", "--db-dir=vault", code=6)

    assert cells(said.out.splitlines()[-1])[:2] == ["run", "interrupted"]


def test_restart_tells_what_failed_and_goes_on(tvl: Tvl, vault: TableVault, folder: Path, paused: str) -> None:
    (folder / "fail bee").touch()
    failed = tvl("restart", "--db-dir=vault", code=6)
    (folder / "fail bee").unlink()
    completed = tvl("restart", "--db-dir=vault", "--json")

    assert cells(failed.out.splitlines()[-1]) == ["run", "paused", "ConnectionError: nobody answers"]
    assert completed.json == [{"process_id": "run", "state": "COMPLETED", "error": None}]
    assert tvl("restart", "--db-dir=vault").out == "There was nothing to restart.\n"


def test_a_process_without_a_worker_on_record_is_shown() -> None:
    assert processes._worker(replace(RECORD, pid=None)) == "box"
    assert processes._worker(replace(RECORD, pid=None, host=None)) == ""


def test_wait_ends_with_the_process(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    (folder / "wait bee").touch()
    vault.execute_instance("words", process_id="run", background=True)
    late = tvl("wait", "run", "--timeout=0.05", "--db-dir=vault", code=9).err
    assert "Gave up waiting after 0.05 s: a living worker is at process 'run'" in late
    assert "end it with `tvl stop run --force`" in late

    (folder / "wait bee").unlink()

    assert tvl("wait", "run", "--db-dir=vault").out == "Process 'run' is completed.\n"
    assert tvl("wait", "run", "--db-dir=vault", "--json").json["state"] == "COMPLETED"


def test_wait_tells_what_became_of_it_by_its_exit_code(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    (folder / "fail bee").touch()
    vault.execute_instance("words", process_id="run", background=True)

    said = tvl("wait", "run", "--db-dir=vault", code=6).out

    assert said.startswith("Process 'run' is paused.\n")
    assert "ConnectionError: nobody answers" in said
    assert "To go on: tvl execute words --process-id run" in said
    assert "no process 'ran'" in tvl("wait", "ran", "--db-dir=vault", code=3).err


def test_a_process_may_be_the_child_of_another(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    (folder / "fail bee").touch()
    tvl("execute", "words", "--process-id=parent", "--db-dir=vault", code=10)
    told = tvl("describe", "words", "TEMP_base", "--description=x", "--parent-id=parent", "--db-dir=vault", code=6).err
    assert "or call without `--parent-id`" in told
    (folder / "fail bee").unlink()
    (folder / "wait bee").touch()
    background = ("execute", "words", "--process-id=parent", "--background", "--db-dir=vault")
    tvl(*background)

    child = tvl("create-table", "papers", "--parent-id=parent", "--db-dir=vault", "--json").json["process_id"]

    (folder / "wait bee").unlink()
    tvl("wait", "parent", "--db-dir=vault")
    assert vault.get_process(child).parent_id == "parent"
    assert (
        "There is no process 'nobody'" in tvl("create-table", "x", "--parent-id=nobody", "--db-dir=vault", code=3).err
    )


def test_a_new_id_is_for_a_process_to_come(tvl: Tvl, folder: Path) -> None:
    first, second = tvl("new-id").out.strip(), tvl("new-id", "--json").json["process_id"]

    assert first != second
    assert tvl("init", "vault").code == 0
    assert tvl("create-table", "x", "--process-id", first, "--db-dir=vault", "--json").json["process_id"] == first


def test_the_ways_on_after_a_change_are_all_said_in_options(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    (folder / "fail bee").touch()
    tvl("execute", "words", "--process-id=run", "--db-dir=vault", code=10)
    vault.create_code_module("tools", text=vault.get_code_module_str("tools").replace("upper()", "title()"))

    told = tvl("execute", "words", "--process-id=run", "--db-dir=vault", code=4).err

    for way in ("continue", "recompute", "keep"):
        assert f"`--on-change {way}` (" in told


def test_a_process_is_watched_until_its_worker_is_gone(
    vault: TableVault, tvl: Tvl, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [replace(RECORD, rows_done=done) for done in (1, 2)] + [replace(RECORD, rows_done=3, is_alive=False)]
    monkeypatch.setattr(TableVault, "get_process", lambda self, process_id: found.pop(0))
    monkeypatch.setattr("tablevault_like.cli.processes._WATCH_SECONDS", 0.0)

    said = tvl("ps", "p1", "--watch", "--db-dir=vault").out

    assert found == []
    assert said.count("p1") >= 3
