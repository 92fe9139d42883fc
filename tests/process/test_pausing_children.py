"""Pauses of a process whose children are at work: they pause with it, and go on with it."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVPausedError
from tablevault_like.model import ProcessRecord, State
from tests import states, tasks
from tests.scenes import Calls
from tests.tables import Background, begin, column, gates, index
from tests.workers import Action, Fault, Workers, wait_until

ID = "nightly"
CODE = """
from pathlib import Path
from time import sleep

from tablevault_like import TableVault
from tests.tables import GATES
from tests.workers import note_call, pass_point


def names():
    yield from ["a", "b"]


def make(name, vault_dir, background):
    note_call(f"make {name}")
    vault = TableVault(vault_dir, lock_timeout=30)
    child = vault.execute_instance(f"inner_{name}", background=background)
    pass_point(f"made {name}")
    if background:
        vault.wait(child)
    return child


def numbers():
    yield from range(4)


def work(number, name, folder):
    note_call(f"work {name} {number}")
    if number == 1:
        if Path(folder, "wait").exists():
            Path(folder, f"waits {name}").touch()
            while Path(folder, "wait").exists():
                sleep(0.01)
        elif "row" in GATES:
            GATES["row"].enter()
    return number * 2
"""
MADE = Counter({f"make {name}": 2 for name in "ab"})
"""The rows of the parent that were under way are called again."""
WORKED = Counter(f"work {name} {number}" for name in "ab" for number in range(4))
"""Those of its children aren't."""


def start(vault: TableVault, *, background: bool = False) -> None:
    folder = str(Path(vault.db_dir).parent)
    for name in "ab":
        arguments = {"number": "<<self.number[index]>>", "name": name, "folder": folder}
        builders = {
            "index": index("number", function="numbers"),
            "work": column("made", function="work", arguments=arguments),
        }
        begin(vault, f"inner_{name}", builders, code=CODE if name == "a" else None)
    given: dict[str, object] = {"name": "<<self.name[index]>>", "vault_dir": vault.db_dir, "background": background}
    make = column("child", function="make", arguments=given, n_threads=2)
    begin(vault, "outer", {"index": index("name", function="names"), "make": make})


@pytest.fixture
def vault(tmp_path: Path, calls: Calls) -> TableVault:
    return TableVault(tmp_path / "vault", "ada", create=True)


def children(vault: TableVault, parent: str = ID) -> list[str]:
    return [vault.get_process(f"{parent}.make.{row}.1").status for row in (0, 1)]


def hear(vault: TableVault, process_id: str) -> None:
    """Let a worker that is in a row hear of what is asked for. It looks twice a second; nobody sees that it has."""
    with pytest.raises(TimeoutError):
        vault.wait(process_id, timeout=1.2)


def finish(vault: TableVault, calls: Calls, process_id: str = ID) -> None:
    """Go on with the parent, and see that no row of a child was made twice."""
    vault.execute_instance("outer", process_id=process_id)
    assert calls() == MADE + WORKED
    assert children(vault, process_id) == ["completed", "completed"]
    assert vault.get_dataframe("inner_b")["made"].tolist() == [0, 2, 4, 6]
    states.assert_sound(Path(vault.db_dir))


class TestChildrenInTheSameInterpreter:
    def test_pause_with_their_parent(self, vault: TableVault, calls: Calls) -> None:
        start(vault)
        with gates("row") as (row,):
            running = Background(vault.execute_instance, "outer", process_id=ID)
            row.await_arrival()
            row.await_arrival()
            vault.pause_process(ID)
            hear(vault, ID)
            row.open()
            with pytest.raises(TVPausedError, match="ada asked for it"):
                running.result()

        assert vault.get_process(ID).paused_on_request
        assert children(vault) == ["paused", "paused"]
        assert calls()["work a 1"] == 1
        finish(vault, calls)

    def test_pause_with_a_parent_whose_budget_is_used_up_though_nobody_named_it(
        self, vault: TableVault, calls: Calls
    ) -> None:
        start(vault)
        with gates("row") as (row,):
            running = Background(vault.execute_instance, "outer", budget={"seconds": 1.0})
            row.await_arrival()
            row.await_arrival()
            threading.Event().wait(1.2)
            row.open()
            process_id = running.result()

        assert vault.get_process(process_id).paused_on_request
        assert children(vault, process_id) == ["paused", "paused"]
        finish(vault, calls, process_id)

    def test_pause_with_a_parent_that_meets_ctrl_c(self, vault: TableVault, calls: Calls, workers: Workers) -> None:
        start(vault)
        folder = Path(vault.db_dir).parent
        (folder / "wait").touch()
        heard = Fault("after tablevault_like.engines.base:Stop.request", Action.TELL)
        worker = workers.start(tasks.execute, Path(vault.db_dir), "outer", ID, faults=[heard])
        wait_until(lambda: all((folder / f"waits {name}").exists() for name in "ab"))
        worker.signal(signal.SIGINT)
        worker.arrive()
        (folder / "wait").unlink()

        with pytest.raises(KeyboardInterrupt):
            worker.result()

        assert children(vault) == ["paused", "paused"]
        finish(vault, calls)

    def test_can_be_paused_by_themselves(self, vault: TableVault, calls: Calls) -> None:
        start(vault)
        with gates("row") as (row,):
            running = Background(vault.execute_instance, "outer", process_id=ID)
            row.await_arrival()
            row.await_arrival()
            vault.pause_process(f"{ID}.make.1.1")
            hear(vault, f"{ID}.make.1.1")
            row.open()
            with pytest.raises(TVPausedError, match=r"'nightly\.make\.1\.1', which its code called, is paused"):
                running.result()

        # The parent can't be done without it, and is paused, too; the other child wasn't touched by that.
        assert vault.get_process(ID).paused_on_request
        assert children(vault) == ["completed", "paused"]
        vault.execute_instance("outer", process_id=ID)
        assert calls() == MADE - Counter(["make a"]) + WORKED


class TestChildrenInOtherWorkers:
    def test_pause_with_their_parent(self, vault: TableVault, calls: Calls) -> None:
        start(vault, background=True)
        folder = Path(vault.db_dir).parent
        (folder / "wait").touch()
        running = Background(vault.execute_instance, "outer", process_id=ID)
        wait_until(lambda: all((folder / f"waits {name}").exists() for name in "ab"))

        vault.pause_process(ID)

        with pytest.raises(TVPausedError, match="ada asked for it"):
            running.result()
        wanted = f"its parent {ID!r}"
        wait_until(lambda: all(child(vault, row).pause_requested_by == wanted for row in (0, 1)))
        hear(vault, f"{ID}.make.0.1")
        (folder / "wait").unlink()
        for row in (0, 1):
            record = vault.wait(f"{ID}.make.{row}.1", timeout=40)
            assert (record.status, record.pause_reason) == ("paused", f"{wanted} asked for it")
        finish(vault, calls)

    def test_pause_with_a_parent_that_is_dead(self, vault: TableVault, calls: Calls, workers: Workers) -> None:
        start(vault, background=True)
        folder = Path(vault.db_dir).parent
        (folder / "wait").touch()
        worker = workers.start(tasks.execute, Path(vault.db_dir), "outer", ID, faults=[Fault("made b", Action.TELL)])
        wait_until(lambda: all((folder / f"waits {name}").exists() for name in "ab"))
        worker.arrive()
        os.kill(worker.pid, signal.SIGKILL)
        worker.end()

        vault.pause_process(ID)

        assert vault.get_process(ID).status == "paused"
        assert [child(vault, row).pause_requested_by for row in (0, 1)] == [f"its parent {ID!r}"] * 2
        hear(vault, f"{ID}.make.0.1")
        (folder / "wait").unlink()
        for row in (0, 1):
            assert vault.wait(f"{ID}.make.{row}.1", timeout=40).state is State.PAUSED
        finish(vault, calls)


def child(vault: TableVault, row: int) -> ProcessRecord:
    return vault.get_process(f"{ID}.make.{row}.1")
