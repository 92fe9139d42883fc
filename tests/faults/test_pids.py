"""Process ids that are used again: nothing of a dead worker is taken for that of whoever has its pid now."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch as patching

import pytest

from tablevault_like import TableVault, locks
from tablevault_like.layout import Layout
from tablevault_like.locks import Worker, WorkerLock
from tests import states
from tests.faults import tally, tracing
from tests.faults.injection import Kill
from tests.faults.tally import Row
from tests.faults.trials import ID, Bench, End, Next
from tests.workers import Workers

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
OPERATIONS = ("create_instance", "write_instance", "execute_instance", "create_code_module", "delete_builder_file")


@pytest.fixture
def reused() -> None:
    """Skip a test where one can't say which pid comes next."""
    try:
        LAST_PID.write_text(LAST_PID.read_text())
    except OSError as error:
        tally.skip(Row.PID, f"{LAST_PID} can't be written to ({error.strerror}), so no pid can be used again")


@contextmanager
def innocent(pid: int, vault_dir: Path, *, is_at_work: bool) -> Iterator[bool]:
    """Let somebody have a pid, who may be the worker of another process; tell whether that was possible."""
    for _ in range(20):
        reading, writing = os.pipe()
        LAST_PID.write_text(str(pid - 1))
        found = os.fork()
        if found == 0:
            if os.getpid() == pid and is_at_work:
                WorkerLock(Layout(vault_dir).process("other").worker_lock).acquire()
            os.write(writing, b"x")
            while os.getpid() == pid:
                signal.pause()
            os._exit(0)
        os.read(reading, 1)
        os.close(reading)
        os.close(writing)
        if found == pid:
            break
        os.waitpid(found, 0)
    try:
        yield found == pid
    finally:
        if found == pid:
            assert os.waitpid(pid, os.WNOHANG) == (0, 0), "an innocent one was ended"
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def stop_by_force(bench: Bench) -> None:
    TableVault(bench.vault_dir, "eve").stop_process(ID, force=True)


def trial(bench: Bench, at: int, dice: random.Random) -> str | None:
    """Kill a worker at a call, let somebody else have its pid, and put the vault right."""
    bench.refresh()
    bench.attempt(at, Kill())
    worker = locks.read_worker(Layout(bench.vault_dir).process(ID).worker_lock)
    if worker is None:
        return None
    with innocent(worker.pid, bench.vault_dir, is_at_work=dice.random() < 0.5) as is_reused:
        if not is_reused:
            return None
        then = dice.choice([*Next, "stop by force"])
        came = bench.come(then) if isinstance(then, Next) else tracing.aside(lambda: stop_by_force(bench))
        may_raise = then in (Next.RIVAL, "stop by force")
        if not came.returned and not (may_raise and "TableVaultError" in came.raised):
            return f"{then} raised: {came.error}"
        settled = bench.settle()
        if not settled.returned:
            return f"restart raised: {settled.error}"
        (Layout(bench.vault_dir).process("other").worker_lock).unlink(missing_ok=True)
        if (folder := Layout(bench.vault_dir).process("other").folder).exists():
            folder.rmdir()
        is_partial = then is Next.MATERIALIZE and bench.operation == "execute_instance"
        if is_partial or (then is Next.RIVAL and came.returned):
            return "; ".join(states.unsound(bench.vault_dir))
        end = bench.end()
        if isinstance(end, End) and (end is End.DONE or then is not Next.SAME):
            return ""
        return f"{then}: {end}"


def trials_somewhere(bench: Bench, wanted: int, seed: int) -> tuple[int, list[str]]:
    dice, tried, violations = random.Random(seed), 0, list[str]()
    _ = bench.before, bench.after
    bench.refresh()
    calls = bench.attempt().calls
    for at in dice.choices(range(1, len(calls) + 1), k=10 * wanted):
        if tried == wanted:
            break
        said = trial(bench, at, dice)
        tried += said is not None
        if said:
            violations.append(f"{bench.operation}, call {at} ({calls[at - 1]}): {said}")
    return tried, violations


@pytest.mark.fault(Row.PID)
@pytest.mark.usefixtures("traced", "reused")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_of_a_dead_worker_are_those_of_nobody_to_us(
    operation: str, library_dir: Path, scratch: Path, workers: Workers, is_full: bool
) -> None:
    bench = Bench(library_dir, scratch / "vault", operation, is_named=True)
    worker = workers.start(trials_somewhere, bench, 100 if is_full else 2, len(operation))
    tried, violations = worker.result(patience=800.0)
    tally.hold(Row.PID, tried, violations)


def look_in_forks_with_the_same_pid(vault_dir: Path) -> tuple[float, bool]:
    """Return when a fork says that it has started, and whether it uses a connection of its own."""
    pid, vault = os.getpid(), TableVault(vault_dir, "ada")
    assert Worker.this().pid == pid
    vault.get_table_instances()
    inherited = vault._journal.catalog._connection()

    def look() -> tuple[float, bool]:
        with patching.object(os, "getpid", return_value=pid), patching.object(locks, "_started", return_value=-1.0):
            return Worker.this().started, vault._journal.catalog._connection() is not inherited

    ending = tracing.aside(look)
    assert ending.returned, ending.error
    found: tuple[float, bool] = ending.value
    return found


def test_of_an_ancestor_that_has_ended_are_no_sign_of_being_it(copy_dir: Path, workers: Workers) -> None:
    """A fork of a fork may have the pid of the first of them. It is another worker, and has none of its connections."""
    assert workers.start(look_in_forks_with_the_same_pid, copy_dir).result() == (-1.0, True)
