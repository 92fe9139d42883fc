"""Budgets: what a call, or a builder in a call, may spend before its process is paused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArgumentError, TVPausedError
from tablevault_like.model import ProcessRecord, State
from tests import states
from tests.scenes import Calls
from tests.tables import Background, begin, column, gates, index

ID = "nightly"
CODE = """
import pandas as pd

from tablevault_like.model import Result
from tests.tables import GATES
from tests.workers import note_call


def rows():
    for number in range(10):
        note_call("row")
        yield number


def priced(number):
    note_call("priced")
    return Result(number, cost=0.5)


def failing(number):
    note_call("failing")
    if number % 2:
        raise ConnectionError("nobody answers")
    return number


def frame(numbers):
    note_call("frame")
    return pd.DataFrame({"frame": numbers["number"] * 2})


def waiting(number):
    note_call("waiting")
    if number == 1:
        GATES["row"].enter()
    return number
"""
ARGUMENTS = {"number": "<<self.number[index]>>"}
BUILDERS = {
    "index": index("number"),
    "priced": column("priced", function="priced", arguments=ARGUMENTS),
    "failing": column("failing", function="failing", arguments=ARGUMENTS, on_error="continue"),
    "frame": column("frame", function="frame", arguments={"numbers": "<<self.{number}>>"}, return_type="dataframe"),
    "waiting": column("waiting", function="waiting", arguments=ARGUMENTS),
}


@pytest.fixture
def vault(tmp_path: Path, calls: Calls) -> Iterator[TableVault]:
    vault = TableVault(tmp_path / "vault", "ada", create=True)
    yield vault
    for process_id in vault.get_active_processes():
        vault.stop_process(process_id)
    states.assert_sound(tmp_path / "vault")


def start(vault: TableVault, *names: str, **more: str) -> None:
    begin(vault, "words", {name: BUILDERS[name] for name in ("index", *names)} | more, code=CODE)


def paused(vault: TableVault, reason: str) -> ProcessRecord:
    record = vault.get_process(ID)
    assert (record.state, record.paused_on_request) == (State.PAUSED, True)
    assert record.pause_reason is not None
    assert record.pause_reason.startswith(reason)
    assert record.error is None
    return record


class TestRows:
    def test_are_never_exceeded_by_a_generator(self, vault: TableVault, calls: Calls) -> None:
        start(vault)

        assert vault.execute_instance("words", process_id=ID, budget={"rows": 4}) == ID

        assert paused(vault, "the budget of this call is used up (4 of 4 rows)").rows_done == 4
        assert calls() == {"row": 4}
        vault.execute_instance("words", process_id=ID)
        assert vault.get_dataframe("words")["number"].tolist() == list(range(10))

    @pytest.mark.parametrize("n_threads", [1, 4])
    def test_are_counted_over_all_builders(self, vault: TableVault, calls: Calls, n_threads: int) -> None:
        start(vault, priced=BUILDERS["priced"] + f"n_threads: {n_threads}\n")

        vault.execute_instance("words", process_id=ID, budget={"rows": 13})

        paused(vault, "the budget of this call is used up (13 of 13 rows)")
        assert calls() == {"row": 10, "priced": 3}

    def test_are_counted_anew_in_every_call(self, vault: TableVault, calls: Calls) -> None:
        start(vault, "priced")
        for wanted in ({"row": 8}, {"row": 18, "priced": 6}, {"row": 18, "priced": 10}):
            vault.execute_instance("words", process_id=ID, budget={"rows": 8})
            assert calls() == wanted
        assert vault.get_process(ID).state is State.COMPLETED

    def test_of_a_frame_count_when_it_is_done(self, vault: TableVault, calls: Calls) -> None:
        start(vault, "frame", "priced")

        vault.execute_instance("words", process_id=ID, budget={"rows": 15})

        paused(vault, "the budget of this call is used up (20 of 15 rows)")
        assert calls() == {"row": 10, "frame": 1}
        assert {step.name: step.rows_done for step in vault.get_process(ID).steps}["frame"] == 10
        vault.execute_instance("words", process_id=ID)
        assert calls() == {"row": 10, "frame": 1, "priced": 10}

    def test_that_fail_do_not_count_among_them(self, vault: TableVault, calls: Calls) -> None:
        start(vault, "failing")

        vault.execute_instance("words", process_id=ID, budget={"rows": 13})

        record = paused(vault, "the budget of this call is used up (13 of 13 rows)")
        assert 5 <= calls()["failing"] < 10
        assert record.rows_done == 3

    def test_that_are_reused_do_not_count(self, vault: TableVault, calls: Calls) -> None:
        start(vault, "priced")
        vault.execute_instance("words")
        vault.create_instance("words", copy=True)

        vault.execute_instance("words", process_id=ID, budget={"rows": 11})

        assert vault.get_process(ID).state is State.COMPLETED


class TestCostsAndFailures:
    def test_that_are_used_up_pause(self, vault: TableVault, calls: Calls) -> None:
        start(vault, "priced")

        vault.execute_instance("words", process_id=ID, budget={"cost": 2})

        paused(vault, "the budget of this call is used up (a cost of ")
        assert calls()["priced"] == 4

    def test_of_rows_that_fail_pause_instead_of_failing(self, vault: TableVault, calls: Calls) -> None:
        start(vault, "failing")

        vault.execute_instance("words", process_id=ID, budget={"failures": 2})

        paused(vault, "the budget of this call is used up (2 of 2 failures)")
        assert calls()["failing"] == 4

    def test_pause_even_where_the_failure_would_stop(self, vault: TableVault, calls: Calls) -> None:
        start(vault, failing=BUILDERS["failing"].replace("continue", "stop"))

        vault.execute_instance("words", process_id=ID, budget={"failures": 1})

        paused(vault, "the budget of this call is used up (1 of 1 failures)")

    def test_belong_to_a_process_without_an_id_as_well(self, vault: TableVault, calls: Calls) -> None:
        start(vault, "priced")

        process_id = vault.execute_instance("words", budget={"cost": 2})

        record = vault.get_process(process_id)
        assert (record.status, record.is_named) == ("paused", True)
        vault.execute_instance("words", process_id=process_id)
        assert vault.get_dataframe("words")["priced"].tolist() == list(range(10))

    def test_in_the_background(self, vault: TableVault, calls: Calls) -> None:
        start(vault, "priced")

        vault.execute_instance("words", process_id=ID, budget={"cost": 2}, background=True)

        vault.wait(ID, timeout=40)
        paused(vault, "the budget of this call is used up (a cost of ")


class TestSeconds:
    def test_are_over_though_a_row_takes_long(self, vault: TableVault, calls: Calls) -> None:
        start(vault, "waiting")
        with gates("row") as (row,):
            running = Background(vault.execute_instance, "words", process_id=ID, budget={"seconds": 0.2})
            row.await_arrival()
            time.sleep(0.3)
            row.open()
            assert running.result() == ID

        record = vault.get_process(ID)
        assert record.pause_reason is not None
        assert record.pause_reason.startswith("the budget of this call is used up (0.")
        assert record.rows_done == 2
        vault.execute_instance("words", process_id=ID, budget={"seconds": 3600})
        assert vault.get_process(ID).state is State.COMPLETED
        assert calls()["waiting"] == 10

    def test_that_are_over_before_anything_runs_pause_at_once(self, vault: TableVault, calls: Calls) -> None:
        start(vault)
        vault.execute_instance("words", process_id=ID, budget={"seconds": 0})

        assert vault.get_process(ID).state is State.PAUSED


class TestABuildersOwn:
    def test_counts_what_the_builder_spends(self, vault: TableVault, calls: Calls) -> None:
        start(vault, priced=BUILDERS["priced"] + "budget: {rows: 3}\n")

        vault.execute_instance("words", process_id=ID, budget={"rows": 1000})

        paused(vault, "the budget of the builder 'priced' is used up (3 of 3 rows)")
        assert calls() == {"row": 10, "priced": 3}

    def test_counts_a_frame_and_its_seconds(self, vault: TableVault, calls: Calls) -> None:
        start(vault, frame=BUILDERS["frame"] + "budget: {rows: 10}\n")

        vault.execute_instance("words", process_id=ID)

        paused(vault, "the budget of the builder 'frame' is used up (10 of 10 rows)")
        vault.execute_instance("words", process_id=ID)
        assert vault.get_process(ID).state is State.COMPLETED

    def test_knows_its_time_though_a_row_takes_long(self, vault: TableVault, calls: Calls) -> None:
        start(vault, waiting=BUILDERS["waiting"] + "budget: {seconds: 0.2}\n")
        with gates("row") as (row,):
            running = Background(vault.execute_instance, "words", process_id=ID)
            row.await_arrival()
            time.sleep(0.3)
            row.open()
            running.result()

        assert vault.get_process(ID).status == "paused"
        assert calls()["waiting"] == 2


@pytest.mark.parametrize("budget", [{"money": 3}, {}, {"rows": 0}, {"seconds": -1}, "cost=5"])
def test_what_is_no_budget_is_refused(vault: TableVault, budget: object) -> None:
    start(vault)

    with pytest.raises(TVArgumentError, match="budget must be a mapping"):
        vault.execute_instance("words", budget=budget)  # type: ignore[arg-type]


def test_a_pause_that_somebody_else_asks_for_is_told_all_the_same(vault: TableVault, calls: Calls) -> None:
    start(vault, "waiting")
    with gates("row") as (row,):
        running = Background(vault.execute_instance, "words", process_id=ID, budget={"rows": 1000})
        row.await_arrival()
        vault.pause_process(ID)
        with pytest.raises(TimeoutError):
            vault.wait(ID, timeout=1.0)
        row.open()
        with pytest.raises(TVPausedError, match="ada asked for it"):
            running.result()
