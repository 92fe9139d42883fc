"""``wait``: from anywhere, until nobody is at a process any more, and without keeping a core busy."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tablevault_like import State, TableVault
from tablevault_like.catalog import Catalog, Database
from tablevault_like.errors import TVArgumentError, TVProcessError, TVTimeoutError
from tablevault_like.locks import is_held
from tests import states, tasks
from tests.library import BY_NAME
from tests.tables import GATED_ROWS, Background, Gate, begin, gates, index, write_code
from tests.workers import Action, Fault, Workers, wait_until


@pytest.fixture
def vault(vault_dir: Path) -> TableVault:
    vault = TableVault(vault_dir, "ada", create=True)
    begin(vault, "numbers", {"index": index("n")}, code=GATED_ROWS)
    return vault


@pytest.fixture
def row() -> Iterator[Gate]:
    with gates("row") as (gate,):
        yield gate


def execute(vault: TableVault, row: Gate) -> Background:
    running = Background(vault.execute_instance, "numbers", process_id="p")
    row.await_arrival()
    return running


def test_it_ends_with_the_process(vault: TableVault, row: Gate) -> None:
    running = execute(vault, row)
    waiting = Background(vault.wait, "p")
    row.open()

    record = waiting.result()

    assert (record.state, record.is_alive) == (State.COMPLETED, False)
    running.result()
    assert vault.wait("p", timeout=0).state is State.COMPLETED


def test_it_ends_with_a_pause(vault: TableVault, row: Gate) -> None:
    write_code(vault, GATED_ROWS.replace("yield 2", "raise ConnectionError('nobody answers')"))
    running = execute(vault, row)
    waiting = Background(vault.wait, "p")
    row.open()

    record = waiting.result()

    assert (record.state, record.error and record.error.type) == (State.PAUSED, "ConnectionError")
    with pytest.raises(ConnectionError):
        running.result()


def test_after_it_the_next_call_finds_nobody_at_the_process(vault: TableVault, row: Gate) -> None:
    """Not only the state counts: its worker is done with it."""
    write_code(vault, GATED_ROWS.replace("yield 2", "raise ConnectionError('nobody answers')"))
    execute(vault, row)
    waiting = Background(vault.wait, "p")
    row.open()
    waiting.result()

    vault.stop_process("p")

    assert vault.wait("p").state is State.REVERTED


def test_it_gives_up_in_time(vault: TableVault, row: Gate) -> None:
    running = execute(vault, row)
    begun = time.monotonic()

    with pytest.raises(TimeoutError, match=r"after 0\.1 s: a living worker is at process 'p'.*running") as caught:
        vault.wait("p", timeout=0.1)

    assert 0.1 <= time.monotonic() - begun < 5
    assert isinstance(caught.value, TVTimeoutError)
    assert caught.value.process_id == "p"
    row.open()
    running.result()


def test_it_sleeps_and_lets_the_catalog_alone(vault: TableVault, row: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    running = execute(vault, row)
    snapshots: list[int] = []
    original = Catalog.snapshot

    def snapshot(self: Catalog) -> AbstractContextManager[Database]:
        snapshots.append(1)
        return original(self)

    monkeypatch.setattr(Catalog, "snapshot", snapshot)
    begun = time.thread_time()

    with pytest.raises(TimeoutError):
        vault.wait("p", timeout=0.6)

    assert len(snapshots) <= 3
    assert time.thread_time() - begun < 0.2
    row.open()
    running.result()


def test_a_dead_worker_ends_it(copy_dir: Path, workers: Workers) -> None:
    vault = TableVault(copy_dir, "bob")
    worker = workers.start(tasks.execute, copy_dir, "words", "p", faults=[Fault("shout cat", Action.WAIT)])
    worker.arrive()
    waiting = Background(vault.wait, "p")
    worker.kill()

    record = waiting.result()

    assert (record.state, record.status) == (State.RUNNING, "interrupted")


@pytest.mark.parametrize("materialize", [False, True], ids=["reverted", "kept"])
def test_it_sees_a_stop_through(copy_dir: Path, workers: Workers, materialize: bool) -> None:
    """The process changes hands while it is stopped; what it is then is told, not what it was in between."""
    vault = TableVault(copy_dir, "bob")
    worker = workers.start(tasks.execute, copy_dir, "words", "p", faults=[Fault("shout cat", Action.WAIT)])
    worker.arrive()
    waiting = Background(vault.wait, "p")

    vault.stop_process("p", force=True, materialize=materialize)

    assert waiting.result().state is (State.MATERIALIZED if materialize else State.REVERTED)


def test_a_stopper_that_died_ends_it(copy_dir: Path, workers: Workers) -> None:
    vault = TableVault(copy_dir, "bob")
    workers.run(tasks.execute, copy_dir, "words", "p", faults=[Fault("shout cat", Action.KILL)])
    fault = Fault("before tablevault_like.process.endings:Endings.conclude", Action.KILL)
    workers.run(tasks.stop, copy_dir, "p", faults=[fault])

    record = vault.wait("p")

    assert record.status == "interrupted"
    assert "stop was interrupted" in record.next_steps


def test_it_waits_for_one_that_waits_for_its_locks(copy_dir: Path, made: str, workers: Workers) -> None:
    vault = TableVault(copy_dir, "bob")
    point = BY_NAME["create_code_module"].point("after", "execute")
    holder = workers.start(tasks.write_module, copy_dir, "holder", faults=[Fault(point, Action.WAIT)])
    holder.arrive()
    workers.start(tasks.write_module, copy_dir, "waiter")
    wait_until(lambda: "waiter" in vault.get_active_processes())
    waiting = Background(vault.wait, "waiter")
    with pytest.raises(TVTimeoutError) as caught:
        vault.wait("waiter", 0)
    assert re.fullmatch(
        r"Gave up waiting after 0 s: process 'waiter' \(.*\) waits for its locks\. It waits for 'holder'\. "
        r"Wait again, or longer\.",
        str(caught.value),
    )
    with pytest.raises(TVProcessError, match=r"'waiter' waits for its locks.* nothing to stop.*until it gives up"):
        vault.stop_process("waiter", force=True)
    holder.go()

    assert waiting.result().state is State.COMPLETED
    assert vault.wait("holder").state is State.COMPLETED


def test_one_that_never_got_its_locks_has_never_been(
    copy_dir: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = TableVault(copy_dir, "bob")
    looks: list[int] = []

    def look(path: Path) -> bool:
        looks.append(0)
        return is_held(path)

    monkeypatch.setattr("tablevault_like.process.watching.is_held", look)
    point = BY_NAME["create_code_module"].point("after", "execute")
    holder = workers.start(tasks.write_module, copy_dir, "holder", faults=[Fault(point, Action.WAIT)])
    holder.arrive()
    waiter = workers.start(tasks.write_module, copy_dir, "waiter")
    wait_until(lambda: "waiter" in vault.get_active_processes())
    waiting = Background(vault.wait, "waiter")
    wait_until(lambda: len(looks) > 0)
    waiter.signal(signal.SIGINT)

    with pytest.raises(TVProcessError, match="gave up before it had begun"):
        waiting.result()


def test_nothing_waits_for_itself(vault: TableVault, vault_dir: Path) -> None:
    write_code(
        vault,
        f"""
        from tablevault_like import TableVault

        def rows():
            TableVault({str(vault_dir)!r}).wait("p")
        """,
    )
    with pytest.raises(TVProcessError, match="part of process 'p', so it would wait for itself"):
        vault.execute_instance("numbers", process_id="p")


def test_an_unknown_process_is_refused(vault: TableVault) -> None:
    vault.create_table("other", process_id="other")
    with pytest.raises(TVArgumentError, match=r"no process 'othr'\. Did you mean 'other'"):
        vault.wait("othr")
    for timeout in (-1, "soon", float("nan")):
        with pytest.raises(TVArgumentError, match="timeout must be a number of seconds"):
            vault.wait("other", timeout)  # type: ignore[arg-type]


def test_one_that_died_while_it_waited_can_be_stopped(copy_dir: Path, made: str, workers: Workers) -> None:
    vault = TableVault(copy_dir, "bob")
    point = BY_NAME["create_code_module"].point("after", "execute")
    holder = workers.start(tasks.write_module, copy_dir, "holder", faults=[Fault(point, Action.WAIT)])
    holder.arrive()
    waiter = workers.start(tasks.write_module, copy_dir, "waiter")
    wait_until(lambda: "waiter" in vault.get_active_processes())
    waiter.kill()

    assert vault.stop_process("waiter") == "waiter"

    assert list(vault.get_active_processes()) == ["holder"]
    holder.go()
    assert vault.wait("holder").state is State.COMPLETED
    states.assert_sound(copy_dir)
