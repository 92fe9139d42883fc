"""Calls that user code of a vault makes, or a function of another call: they stop with what they are part of."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVPausedError
from tablevault_like.layout import Layout
from tablevault_like.model import State
from tablevault_like.storage.row_reader import RowReader
from tests import states, tasks
from tests.mapping.tasks import map_each, recorded
from tests.scenes import Calls
from tests.tables import Background, begin, column, index
from tests.workers import STRUCK, Action, Fault, Workers, wait_until

ID = "nightly"
FRAMES, ROWS = 2, 40
CODE = """
from pathlib import Path

import pandas as pd

from tests.mapping.tasks import map_numbers


def names():
    yield from ["a", "b"]


def total(name, folder, rows):
    return sum(map_numbers(Path(folder, name + ".sqlite"), rows))


def totals(folder, rows):
    return pd.DataFrame({"total": [total(name, folder, rows) for name in names()]})
"""


@pytest.fixture
def vault(tmp_path: Path, calls: Calls) -> TableVault:
    return TableVault(tmp_path / "vault", "ada", create=True)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Return the cache of the first row."""
    return tmp_path / "a.sqlite"


def prepare(vault: TableVault, *, rows: int = ROWS, **fields: object) -> None:
    """Create the instance ``totals``, whose builder ``total`` maps a frame for each of its rows."""
    arguments = {"name": "<<self.name[index]>>", "folder": str(Path(vault.db_dir).parent), "rows": rows}
    total = column("total", function="total", arguments=arguments, **fields)
    begin(vault, "totals", {"index": index("name", function="names"), "total": total}, code=CODE)


def hear(vault: TableVault) -> None:
    """Let a worker that is in a row hear of what is asked for. It looks twice a second; nobody sees that it has."""
    with pytest.raises(TimeoutError):
        vault.wait(ID, timeout=1.2)


def finish(vault: TableVault, calls: Calls, *, rows: int = ROWS) -> None:
    """Go on with the process, and see that no row of a frame was called twice."""
    vault.execute_instance("totals", process_id=ID)

    found = calls()
    assert {found[str(each)] for each in range(rows)} == {FRAMES}
    assert vault.get_dataframe("totals")["total"].tolist() == [rows * (rows - 1)] * FRAMES
    states.assert_sound(Path(vault.db_dir))


def totals_done(vault: TableVault) -> int:
    with RowReader.open(Layout(Path(vault.db_dir)).process(ID).rows) as store:
        return store.counts("total").done


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"on_error": "continue", "retries": {"attempts": 3, "wait": 0}},
        {"on_error": "null", "timeout": 60},
    ],
    ids=str,
)
def test_a_pause_waits_for_the_calls_in_flight_and_no_row_counts_as_failed(
    vault: TableVault, workers: Workers, calls: Calls, kept: Path, fields: dict[str, Any]
) -> None:
    prepare(vault, **fields)
    worker = workers.start(tasks.execute, vault.db_dir, "totals", ID, faults=[Fault("row 3", Action.WAIT)])
    worker.arrive()
    vault.pause_process(ID)
    hear(vault)
    worker.go()

    with pytest.raises(TVPausedError, match="ada asked for it"):
        worker.result()

    assert recorded(kept) == {"0", "1", "2", "3"} == {*calls()}
    assert vault.get_process(ID).paused_on_request
    assert vault.get_errors(ID).empty
    finish(vault, calls)


def test_a_pause_of_a_builder_that_makes_a_whole_frame(
    vault: TableVault, workers: Workers, calls: Calls, kept: Path
) -> None:
    arguments = {"folder": str(Path(vault.db_dir).parent), "rows": ROWS}
    total = column("total", function="totals", arguments=arguments, return_type="dataframe")
    begin(vault, "totals", {"index": index("name", function="names"), "total": total}, code=CODE)
    worker = workers.start(tasks.execute, vault.db_dir, "totals", ID, faults=[Fault("row 3", Action.WAIT)])
    worker.arrive()
    vault.pause_process(ID)
    hear(vault)
    worker.go()

    with pytest.raises(TVPausedError):
        worker.result()

    assert recorded(kept) == {"0", "1", "2", "3"} == {*calls()}
    finish(vault, calls)


def test_a_pause_in_the_last_row_of_a_frame_loses_nothing(
    vault: TableVault, workers: Workers, calls: Calls, kept: Path
) -> None:
    prepare(vault)
    last = Fault(f"row {ROWS - 1}", Action.WAIT)
    worker = workers.start(tasks.execute, vault.db_dir, "totals", ID, faults=[last])
    worker.arrive()
    vault.pause_process(ID)
    hear(vault)
    worker.go()

    with pytest.raises(TVPausedError):
        worker.result()

    assert len(recorded(kept)) == ROWS
    assert totals_done(vault) == 1
    finish(vault, calls)


@pytest.mark.parametrize(
    ("action", "error", "code"), [(Action.INTERRUPT, KeyboardInterrupt, 130), (Action.TERMINATE, SystemExit, 143)]
)
def test_an_interrupt_keeps_what_is_done(
    vault: TableVault,
    workers: Workers,
    calls: Calls,
    kept: Path,
    action: Action,
    error: type[BaseException],
    code: int,
) -> None:
    prepare(vault, rows=3_000)
    worker = workers.start(tasks.execute, vault.db_dir, "totals", ID, faults=[Fault("row 10", action)])

    with pytest.raises(error):
        worker.result()

    assert worker.end() == code
    begun = {*calls()} - {STRUCK}
    assert recorded(kept) == begun
    assert 10 < len(begun) < 3_000
    assert vault.get_process(ID).state is State.PAUSED
    assert totals_done(vault) == 0
    finish(vault, calls, rows=3_000)


def test_a_stop_keeps_what_is_done(vault: TableVault, workers: Workers, calls: Calls, kept: Path) -> None:
    prepare(vault)
    worker = workers.start(tasks.execute, vault.db_dir, "totals", ID, faults=[Fault("row 3", Action.WAIT)])
    worker.arrive()
    stopping = Background(vault.stop_process, ID, force=True)
    hear(vault)
    worker.go()

    with pytest.raises((SystemExit, Exception)):
        worker.result()

    stopping.result()
    assert recorded(kept) == {"0", "1", "2", "3"} == {*calls()}
    assert vault.get_process(ID).state is State.REVERTED


def test_a_call_within_a_row_of_another_is_interrupted_with_it(workers: Workers, calls: Calls, tmp_path: Path) -> None:
    worker = workers.start(map_each, tmp_path, 2, 3_000, faults=[Fault("row 10", Action.INTERRUPT)])

    with pytest.raises(KeyboardInterrupt):
        worker.result()

    begun = {*calls()} - {STRUCK}
    assert recorded(tmp_path / "inner_0.sqlite") == begun
    assert len(begun) < 3_000
    assert recorded(tmp_path / "outer.sqlite") == set()
    assert workers.start(map_each, tmp_path, 2, 3_000).result() == [8_997_000] * 2
    assert {calls()[str(each)] for each in range(3_000)} == {2}


def test_a_second_interrupt_waits_for_no_call_within_a_row(workers: Workers, calls: Calls, tmp_path: Path) -> None:
    worker = workers.start(map_each, tmp_path, 2, 40, faults=[Fault("row 10", Action.WAIT)])
    worker.arrive()
    wait_until(lambda: len(recorded(tmp_path / "inner_0.sqlite")) == 10)
    worker.signal(signal.SIGINT)
    worker.signal(signal.SIGTERM)

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        worker.result()

    assert len(recorded(tmp_path / "inner_0.sqlite")) == 10
    assert workers.start(map_each, tmp_path, 2, 40).result() == [1_560] * 2
