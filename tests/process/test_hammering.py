"""Many workers on one vault at once, some of which are killed at random: nothing breaks, is left, or overlaps."""

from __future__ import annotations

import itertools
import random
import time
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.model import State
from tests import hammer, states
from tests.workers import Worker, Workers, wait_until

WORKERS = 8


@pytest.fixture
def vault_dir(tmp_path: Path) -> Path:
    vault = TableVault(tmp_path / "vault", create=True)
    vault.create_code_module("numbers", text=hammer.CODE)
    (tmp_path / "held").mkdir()
    return Path(vault.db_dir)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kills", [False, True], ids=["undisturbed", "killed"])
def test_many_workers_change_one_vault(vault_dir: Path, workers: Workers, is_full: bool, kills: bool) -> None:
    dice, seeds = random.Random(7), itertools.count()

    def start() -> Worker:
        return workers.start(hammer.hammer, vault_dir, next(seeds))

    running = [start() for _ in range(WORKERS)]
    # On a busy machine it takes longer until they have done something.
    until = time.monotonic() + (20.0 if is_full else 5.0)
    wait_until(lambda: completed(vault_dir) > WORKERS)
    while time.monotonic() < until:
        time.sleep(0.1)
        if kills:
            number = dice.randrange(WORKERS)
            running[number].kill()
            running[number] = start()
    hammer.end(vault_dir)
    for worker in running:
        assert worker.end() == 0

    errors = vault_dir.with_name("errors")
    assert not errors.exists(), errors.read_text()
    outcomes = TableVault(vault_dir, restart=True).restarted
    assert all(outcome.state.has_ended for outcome in outcomes.values()), outcomes
    assert kills or not outcomes
    assert TableVault(vault_dir).get_active_processes() == {}
    states.assert_sound(vault_dir)


def completed(vault_dir: Path) -> int:
    return list(states.processes(vault_dir).values()).count(State.COMPLETED)
