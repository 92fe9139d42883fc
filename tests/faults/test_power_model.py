"""Power is lost at any moment of any operation, on a disk that keeps only what it must (``tests.faults.persistence``).

Whoever comes next finds a vault that is what it was, or what the operation makes of it: the latter in any case, when
the call had returned. A row that was recorded isn't computed again.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.faults import tally
from tests.faults.disk_losses import lose_power, lose_power_in_recovery
from tests.faults.tally import Row
from tests.faults.trials import Bench, End
from tests.library import ATTEMPTS
from tests.workers import Workers

OPERATIONS = [attempt.operation for attempt in ATTEMPTS]
TORN = (512, 4096)
"""What a write is torn into, in bytes."""


@pytest.mark.fault(Row.POWER_MODEL)
@pytest.mark.timeout(3_600)
@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("is_named", [True, False], ids=["named", "unnamed"])
def test_an_operation(
    operation: str, is_named: bool, library_dir: Path, scratch: Path, workers: Workers, is_full: bool
) -> None:
    for torn in TORN if is_full else TORN[int(is_named) :][:1]:
        bench = Bench(library_dir, scratch / f"{torn}" / "vault", operation, is_named=is_named)
        bench.vault_dir.parent.mkdir()
        worker = workers.start(lose_power, bench, bench.vault_dir.parent, torn, torn, 700 if is_full else 10)
        tried, ends, violations = worker.result(patience=1_700.0)

        tally.hold(Row.POWER_MODEL, tried, violations)
        assert ends.keys() <= set(End)
        assert End.DONE in ends


@pytest.mark.fault(Row.POWER_MODEL)
@pytest.mark.timeout(3_600)
@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_recovery_of_a_killed_process(
    operation: str, library_dir: Path, scratch: Path, workers: Workers, is_full: bool
) -> None:
    place = OPERATIONS.index(operation)
    for is_named in [True, False] if is_full else [place % 3 < 2]:
        torn = TORN[(place + is_named) % 2]
        bench = Bench(library_dir, scratch / f"{is_named}" / "vault", operation, is_named=is_named)
        bench.vault_dir.parent.mkdir()
        limit, kills = (400, 40) if is_full else (6, 2)
        worker = workers.start(
            partial(lose_power_in_recovery, kills=kills), bench, bench.vault_dir.parent, torn, place, limit
        )
        tried, ends, violations = worker.result(patience=1_700.0)

        tally.hold(Row.POWER_MODEL, tried, violations)
        assert ends.keys() <= set(End)
