"""A soak of random kills: many workers do everything at random; what any of them was told is true in the end."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tests import hammer, states
from tests.faults import soaking, tally
from tests.faults.tally import Row
from tests.workers import Worker, Workers

WORKERS = 6
VARIABLE = "TABLEVAULT_TEST_SOAK"
"""How many seconds it takes, if it isn't 10 (or 600 with ``--full``)."""


@pytest.fixture
def vault_dir(scratch: Path) -> Path:
    vault = TableVault(scratch / "vault", create=True)
    vault.create_code_module("numbers", text=soaking.CODE)
    for name in ("held", "told"):
        (scratch / name).mkdir()
    return Path(vault.db_dir)


@pytest.mark.fault(Row.SOAK)
@pytest.mark.timeout(7_200)
def test_of_random_kills(vault_dir: Path, workers: Workers, is_full: bool) -> None:
    seconds = int(os.environ.get(VARIABLE) or (600 if is_full else 10))
    seed = random.SystemRandom().randrange(10**6) if seconds > 600 else 7
    dice, seeds, kills = random.Random(seed), itertools.count(seed), 0

    def start() -> Worker:
        return workers.start(soaking.soak, vault_dir, next(seeds))

    running = [start() for _ in range(WORKERS)]
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(dice.uniform(0.02, 0.4))
        number = dice.randrange(WORKERS)
        workers.end(running[number])
        running[number] = start()
        kills += 1
    hammer.end(vault_dir)
    # One that a stop by force meets between two changes is ended by it.
    ends = [worker.end() for worker in running]

    violations = [line for line in errors(vault_dir).split("\n\n") if line]
    outcomes = TableVault(vault_dir, restart=True).restarted
    vault = TableVault(vault_dir)
    for process_id in vault.get_active_processes():
        vault.stop_process(process_id)
    count, untrue = soaking.untrue(vault_dir)
    violations += untrue + states.unsound(vault_dir)
    tally.add(Row.SOAK, seconds, violations)
    told = "\n".join([f"seed {seed}, {kills} kills, {count} notes, restarted {outcomes}", *violations])
    assert not violations, told
    assert set(ends) <= {0, -signal.SIGTERM}
    assert count > seconds
    assert kills > seconds


def errors(vault_dir: Path) -> str:
    path = vault_dir.with_name("errors")
    return path.read_text() if path.exists() else ""
