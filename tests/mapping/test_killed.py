"""Runs that are killed, interrupted, or met by others: nothing that was recorded is computed again."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from builders_examples.llm.code_functions.model_server import ModelServer
from tablevault_like import map_rows
from tablevault_like.errors import TVLockError
from tests.mapping import tasks
from tests.mapping.tasks import extract_texts, map_numbers, query, recorded
from tests.scenes import Calls
from tests.workers import STRUCK, Action, Fault, Worker, Workers, wait_until

ROWS, CHUNK, WORKERS = 1_000, 5, 8


def test_an_extraction_that_is_killed_at_600_rows_sends_requests_for_the_rest_only(
    workers: Workers, server: ModelServer, cache_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    undisturbed = ROWS // CHUNK
    server.holds_after = 128  # so that it is met in the midst, however slow this machine is
    worker = workers.start(extract_texts, cache_path, server.base_url, ROWS, WORKERS, CHUNK)
    wait_until(lambda: server.requests == 128 + WORKERS)  # none is under way to the server: all are waiting there
    wait_until(lambda: len(recorded(cache_path)) >= 600)
    worker.kill()
    first, done = server.requests, recorded(cache_path)
    assert first < undisturbed
    assert 600 <= len(done) <= 640
    server.released.set()
    server.holds_after = None
    server.asked.clear()

    with caplog.at_level(logging.INFO, "tablevault_like"):
        assert extract_texts(cache_path, server.base_url, ROWS, WORKERS, CHUNK) == ROWS

    assert f"skipping {len(done)} / {ROWS} rows" in caplog.messages
    assert done.isdisjoint(server.asked)
    assert set(server.asked.values()) == {1}
    assert len(server.asked) == ROWS - len(done)
    assert server.requests - first == (ROWS - len(done)) / CHUNK
    assert server.requests <= undisturbed + 2 * WORKERS


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_around_a_commit_loses_what_was_not_recorded_and_nothing_else(
    workers: Workers, calls: Calls, cache_path: Path, when: str
) -> None:
    point = f"{when} tablevault_like.mapping.cache:Cache.record"

    workers.run(map_numbers, cache_path, 6, faults=[Fault(point, Action.KILL)])

    done = recorded(cache_path)
    assert bool(done) == (when == "after")
    assert workers.start(map_numbers, cache_path, 6).result() == [0, 2, 4, 6, 8, 10]
    assert all(calls()[each] == 1 for each in done)
    assert query(cache_path, "SELECT count(*) FROM results") == [(6,)]


def test_a_fresh_run_that_is_killed_goes_on_and_a_completed_one_begins_anew(
    workers: Workers, calls: Calls, cache_path: Path
) -> None:
    workers.start(map_numbers, cache_path, 5).result()
    kill_at_row(3, workers.start(map_numbers, cache_path, 5, 1, True, faults=[Fault("row 3", Action.WAIT)]), cache_path)

    workers.start(map_numbers, cache_path, 5, 1, True).result()

    assert [calls()[str(each)] for each in range(5)] == [2, 2, 2, 3, 2]
    workers.start(map_numbers, cache_path, 5).result()
    assert calls().total() == 11
    workers.start(map_numbers, cache_path, 5, 1, True).result()
    assert calls().total() == 16


def kill_at_row(row: int, worker: Worker, cache_path: Path) -> None:
    """Kill a worker that waits in a row, when all rows before it are recorded."""
    worker.arrive()
    wait_until(lambda: recorded(cache_path) == {*map(str, range(row))})
    worker.kill()


def test_going_on_without_fresh_takes_what_was_there_before(workers: Workers, calls: Calls, cache_path: Path) -> None:
    workers.start(map_numbers, cache_path, 4).result()
    kill_at_row(2, workers.start(map_numbers, cache_path, 4, 1, True, faults=[Fault("row 2", Action.WAIT)]), cache_path)

    assert workers.start(map_numbers, cache_path, 4).result() == [0, 2, 4, 6]

    assert [calls()[str(each)] for each in range(4)] == [2, 2, 2, 1]


@pytest.mark.parametrize(
    ("action", "error", "code"), [(Action.INTERRUPT, KeyboardInterrupt, 130), (Action.TERMINATE, SystemExit, 143)]
)
def test_an_interrupt_records_what_is_in_flight_and_is_raised(
    workers: Workers, calls: Calls, cache_path: Path, action: Action, error: type[BaseException], code: int
) -> None:
    worker = workers.start(map_numbers, cache_path, 3_000, 2, faults=[Fault("row 10", action)])

    with pytest.raises(error):
        worker.result()

    assert worker.end() == code
    begun = {*calls()} - {STRUCK}
    assert "10" in begun
    assert recorded(cache_path) == begun
    assert len(begun) < 3_000
    assert workers.start(map_numbers, cache_path, 3_000, 2).result() == [2 * each for each in range(3_000)]
    assert calls().total() - calls()[STRUCK] == 3_000


def test_a_second_process_is_told_who_is_at_it(workers: Workers, cache_path: Path) -> None:
    worker = workers.start(map_numbers, cache_path, 3, faults=[Fault("row 1", Action.WAIT)])
    worker.arrive()

    for _ in range(2):  # being refused changes nothing
        with pytest.raises(TVLockError) as told:
            map_rows(tasks.numbers(3), tasks.double, cache_path)

        assert re.search(rf"in use by another process \(pid {worker.pid} on .+\) since 20\d\d-", str(told.value))
        assert told.value.resource == str(cache_path)
    worker.go()
    assert worker.result() == [0, 2, 4]


def test_the_lock_of_one_that_was_killed_is_free(workers: Workers, cache_path: Path) -> None:
    worker = workers.start(map_numbers, cache_path, 3, faults=[Fault("row 1", Action.WAIT)])
    worker.arrive()
    worker.signal(signal.SIGKILL)
    worker.end()

    assert workers.start(map_numbers, cache_path, 3).result() == [0, 2, 4]


def test_whoever_reads_for_long_holds_up_a_run_and_breaks_nothing(workers: Workers, cache_path: Path) -> None:
    worker = workers.start(map_numbers, cache_path, 4, faults=[Fault("row 2", Action.WAIT)])
    worker.arrive()
    with closing(sqlite3.connect(cache_path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        before = reader.execute("SELECT count(*) FROM results").fetchone()
        worker.go()
        assert reader.execute("SELECT count(*) FROM results").fetchone() == before
        reader.execute("COMMIT")

    assert worker.result() == [0, 2, 4, 6]


def test_a_second_interrupt_gives_up_on_a_file_that_is_kept_busy(workers: Workers, cache_path: Path) -> None:
    worker = workers.start(map_numbers, cache_path, 4, faults=[Fault("row 2", Action.WAIT)])
    worker.arrive()
    with closing(sqlite3.connect(cache_path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM results").fetchone()
        worker.go()
        worker.signal(signal.SIGINT)
        worker.signal(signal.SIGTERM)

        with pytest.raises((KeyboardInterrupt, SystemExit)):
            worker.result()

    assert workers.start(map_numbers, cache_path, 4).result() == [0, 2, 4, 6]


def test_the_lock_file_names_its_holder(workers: Workers, cache_path: Path) -> None:
    workers.start(map_numbers, cache_path, 2).result()

    assert json.loads(Path(f"{cache_path}.lock").read_text())["pid"] != os.getpid()
