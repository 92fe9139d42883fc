"""The history of a vault: every process that has ended, and filters."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from time import perf_counter, time

import numpy as np
import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.catalog import Catalog, processes
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.errors import TVArgumentError
from tablevault_like.layout import Layout
from tablevault_like.model import ErrorRecord, State
from tablevault_like.monitor.history import DTYPES
from tests.states import state
from tests.tables import begin, column, index

CODE = """
def rows():
    yield from ["ape", "bee", "cat"]

def shout(word):
    return word.upper()

def fail(word):
    raise ConnectionError("nobody answers")
"""
SHOUT = column("shout", function="shout", arguments={"word": "<<self.word[index]>>"})


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> TableVault:
    """Return a vault in which ada has made words, bob has failed to, and nothing else has ended. Nobody changes it."""
    vault_dir = tmp_path_factory.mktemp("history") / "vault"
    vault = TableVault(vault_dir, "ada", create=True)
    begin(vault, "words", {"index": index("word"), "shout": SHOUT}, code=CODE)
    vault.execute_instance("words", process_id="first")
    origin = vault.get_table_instances("words")[0]
    begin(vault, "words", {"index": index("word"), "shout": SHOUT}, origin_id=origin)
    vault.execute_instance("words", process_id="second")
    bob = TableVault(vault_dir, "bob")
    begin(bob, "words", {"index": index("word"), "shout": SHOUT.replace("function: shout", "function: fail")})
    with pytest.raises(ConnectionError):
        bob.execute_instance("words")
    with pytest.raises(ConnectionError):
        bob.execute_instance("words", process_id="paused")
    return vault


def test_what_is_told_of_a_process(vault: TableVault) -> None:
    before = state(Path(vault.db_dir))

    frame = vault.get_process_history()

    assert state(Path(vault.db_dir)) == before
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == DTYPES
    assert frame["ended_at"].is_monotonic_decreasing
    assert "paused" not in set(frame["process_id"])
    second = frame.set_index("process_id").loc["second"]
    record = vault.get_process("second")
    assert (second["operation"], second["table"], second["outcome"]) == ("execute_instance", "words", "completed")
    assert (second["rows_made"], second["rows_reused"], second["rows_failed"]) == (3, 3, 0)
    assert (second["author"], second["is_named"], second["claims"]) == ("ada", True, record.epoch)
    assert second["arguments"] == record.arguments
    assert second["ended_at"].timestamp() == pytest.approx(record.ended_at, abs=1e-5)
    assert second["seconds"] == pytest.approx((record.ended_at or 0) - (record.started_at or 0))
    failed = frame[frame["outcome"] == "reverted"].iloc[0]
    assert failed["author"] == "bob"
    assert failed["error"].startswith("ConnectionError: nobody answers\n")


FILTERS: dict[str, Callable[[TableVault], pd.DataFrame]] = {
    "named": lambda vault: vault.get_process_history(named_only=True),
    "of a table, by its operation": lambda vault: vault.get_process_history(
        "words", operation="execute_instance", outcome="completed"
    ),
    "of an author": lambda vault: vault.get_process_history(
        author="ada", operation="execute_instance", outcome="COMPLETED"
    ),
}


@pytest.mark.parametrize("called", FILTERS.values(), ids=FILTERS)
def test_filters(vault: TableVault, called: Callable[[TableVault], pd.DataFrame]) -> None:
    assert called(vault)["process_id"].tolist() == ["second", "first"]


def test_times(vault: TableVault) -> None:
    ended = vault.get_process("second").ended_at or 0
    of = {"operation": "execute_instance", "author": "ada"}

    def ids(**times: object) -> list[str]:
        return list(vault.get_process_history(**of, **times)["process_id"])  # type: ignore[arg-type]

    assert ids(since=ended) == ["second"]
    assert ids(until=ended) == ["first"]
    # A datetime has microseconds, and no more.
    assert ids(since=datetime.fromtimestamp(ended - 1e-5, UTC)) == ["second"]
    assert ids(since=datetime.fromtimestamp(ended - 1e-5).isoformat()) == ["second"]
    assert ids(since="2020-01-01", until="2020-01-02") == []


def test_times_may_be_whatever_says_a_time(vault: TableVault) -> None:
    ended = vault.get_process("second").ended_at or 0
    of = {"operation": "execute_instance", "author": "ada"}

    def ids(**times: object) -> list[str]:
        return list(vault.get_process_history(**of, **times)["process_id"])  # type: ignore[arg-type]

    assert ids(since=date(2020, 1, 1), until=date(2020, 1, 2)) == []
    assert ids(since=date(2020, 1, 1)) == ids() == ["second", "first"]
    assert ids(since=np.int64(0), until=np.float64(ended)) == ["first"]
    assert ids(since=pd.Timestamp(0, unit="s", tz="Asia/Tokyo"), until="9999-12-31") == ["second", "first"]
    # Long before anything that a clock can tell.
    assert ids(since="0001-01-01") == ids(since=datetime.min) == ["second", "first"]
    assert ids(until="0001-01-01") == []
    with pytest.raises(TVArgumentError, match="since"):
        ids(since=pd.NaT)


def test_limits(vault: TableVault) -> None:
    assert (
        vault.get_process_history(limit=2)["process_id"].tolist()
        == vault.get_process_history()["process_id"].tolist()[:2]
    )
    assert vault.get_process_history(limit=0).empty
    assert len(vault.get_process_history(limit=10**30)) == len(vault.get_process_history())
    assert list(vault.get_process_history(limit=0).columns) == list(DTYPES)


@pytest.mark.parametrize(
    ("name", "value"), [("outcome", "paused"), ("since", "yesterday"), ("until", True), ("limit", -1), ("limit", 1.5)]
)
def test_what_is_not_understood(vault: TableVault, name: str, value: object) -> None:
    with pytest.raises(TVArgumentError, match=name):
        vault.get_process_history(**{name: value})  # type: ignore[arg-type]


def fill(vault_dir: Path, count: int) -> None:
    """Record processes that have ended."""
    catalog, now = Catalog(Layout(vault_dir).catalog), time()
    with catalog.transaction() as db:
        for number in range(count):
            row = ProcessRow(
                process_id=f"p{number}",
                operation="execute_instance",
                arguments={"table_name": f"table{number % 10}", "version": "base"},
                author=f"author{number % 3}",
                named=True,
                parent_id=None,
                state=State.COMPLETED,
                epoch=1,
                stop_intent=None,
                paused_on_request=False,
                host="here",
                pid=1,
                error=ErrorRecord("E", "m", "t") if number % 50 == 0 else None,
                created_at=now + number,
                started_at=now + number,
                updated_at=now + number,
                ended_at=now + number + 0.5,
            )
            processes.add_ended(db, row, [])
        db.execute(
            "INSERT INTO steps (process_id, position, name, rows_done, cost)"
            " SELECT process_id, value, 'step' || value, 10, 0.5 FROM processes, json_each(?)",
            (json.dumps([0, 1, 2]),),
        )


def test_many_processes(vault_dir: Path, is_full: bool) -> None:
    count = 100_000 if is_full else 10_000
    vault = TableVault(vault_dir, "ada", create=True)
    fill(vault_dir, count)

    started = perf_counter()
    newest = vault.get_process_history(limit=50)
    filtered = vault.get_process_history("table3", author="author0", limit=50)
    took = perf_counter() - started
    every = vault.get_process_history()

    assert newest["process_id"].tolist() == [f"p{count - 1 - number}" for number in range(50)]
    assert newest["rows_made"].tolist() == [30] * 50
    assert newest["cost"].tolist() == [1.5] * 50
    assert len(filtered) == 50
    assert len(every) == count
    # The index leads to them: it takes no longer for many than for few.
    assert took < 5


def test_an_index_leads_to_the_newest(vault_dir: Path) -> None:
    TableVault(vault_dir, "ada", create=True)
    with Catalog(Layout(vault_dir).catalog).snapshot() as db:
        steps = db.execute(
            "EXPLAIN QUERY PLAN SELECT * FROM processes WHERE ended_at IS NOT NULL ORDER BY ended_at DESC, number DESC"
            " LIMIT 50"
        ).fetchall()

    assert any("processes_by_end" in step["detail"] for step in steps)
    assert not any("TEMP B-TREE" in step["detail"] for step in steps)
