"""Workers that lose their claim while they stand still, at any system call, and wake: they write nothing any more."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from unittest import mock

import pytest

from tablevault_like import TableVault
from tablevault_like.layout import Layout
from tablevault_like.process import stopping
from tablevault_like.storage import sealed
from tablevault_like.storage.row_reader import RowReader
from tests import states
from tests.faults import tally, tracing
from tests.faults.injection import Act
from tests.faults.tally import Row
from tests.faults.trials import ID, Bench, End
from tests.workers import Workers

OPERATIONS = (
    *("create_instance", "write_instance", "execute_instance"),
    *("create_code_module", "delete_code_module", "create_builder_file", "delete_builder_file"),
)
BUILDERS = ("words_index", "shout", "page", "length")


class Loss(StrEnum):
    """How a worker loses its claim."""

    STOPPED = "stopped by somebody who can't end it"
    LOST = "its lock was taken away, and it was stopped"
    KEPT = "its lock was taken away, and it was stopped with what is done kept"
    REPLACED = "its lock was taken away, and another worker made the same call"
    RESTARTED = "its lock was taken away, and the vault was opened with restart"


@dataclass
class Replacement:
    """What happens while a worker stands still, and what the vault is then."""

    bench: Bench
    loss: Loss
    is_real: bool = False
    """Whether anybody replaced it: not in the middle of a transaction, nor before it has begun or when it has ended."""
    error: str | None = None
    then: states.State = field(default_factory=dict)
    history: object = None

    def __call__(self) -> None:
        if any(states.is_busy(path) for path in self.bench.vault_dir.rglob("*.sqlite")):
            return
        before = epoch(self.bench)
        ending = tracing.aside(partial(replace, self.bench, self.loss))
        self.is_real = epoch(self.bench) != before
        if self.is_real and not ending.returned:
            self.error = ending.error or f"it ended with {ending.code}"
        self.then, self.history = found(self.bench), history(self.bench)


def replace(bench: Bench, loss: Loss) -> None:
    if loss is not Loss.STOPPED:
        Layout(bench.vault_dir).process(ID).worker_lock.unlink(missing_ok=True)
    match loss:
        case Loss.REPLACED:
            bench.attempt_here()
        case Loss.RESTARTED:
            bench.settle_here()
        case _:
            with mock.patch.object(stopping, "end_workers", return_value={}):
                keeps = loss is Loss.KEPT and bench.operation == "execute_instance"
                TableVault(bench.vault_dir, "eve").stop_process(ID, force=True, materialize=keeps)


def found(bench: Bench) -> states.State:
    """Return what the vault is, without the files in the process's own folder that nobody looks at."""
    folder = Layout(bench.vault_dir).process(ID)
    number = sealed.read(folder.plan, process_id=ID)["number"] if folder.plan.exists() else 0
    own = f"metadata/processes/{ID}"
    unused = (rf"{own}/staging(/.*)?", rf"{own}/pinned/(?!{number}(/|$)|plan.json$).*", rf"{own}/rows.sqlite.*")
    return states.without(states.state(bench.vault_dir), *unused)


def epoch(bench: Bench) -> int | None:
    record = states.history(bench.vault_dir, ID)
    return record[0]["epoch"] if record else None


def history(bench: Bench) -> object:
    """Return all that is known of the process, and all that it has recorded."""
    record = states.history(bench.vault_dir, ID)
    path = Layout(bench.vault_dir).process(ID).rows
    if not path.exists():
        return record
    with RowReader.open(path) as store:
        return record, {name: list(store.cells(name)) for name in BUILDERS}


def trial(bench: Bench, loss: Loss, at: int) -> str | None:
    """Let a worker stand still before a call, replace it, and let it go on. ``None`` if it stood where nobody could."""
    bench.refresh()
    replacement = Replacement(bench, loss)
    outcome = bench.attempt(at, Act(replacement, kills=False))
    if not replacement.is_real:
        return None
    if replacement.error is not None:
        return f"who replaced it raised: {replacement.error}"
    if not outcome.returned and not outcome.ending.error:
        return f"it ended with {outcome.ending.code}"
    if replacement.history != (now := history(bench)):
        return f"it wrote: {states.differences(now, replacement.history)[:3]}"
    if written := states.differences(found(bench), replacement.then):
        return f"it wrote: {written[:3]}"
    settled = bench.settle()
    if not settled.returned:
        return f"restart raised: {settled.error}"
    if loss is Loss.KEPT and bench.operation == "execute_instance" and not outcome.returned:
        return "; ".join(states.unsound(bench.vault_dir))
    end = bench.end()
    # It may have found that the work is done, and said so.
    is_done = outcome.returned or loss is Loss.REPLACED
    return "" if end is End.DONE or (end is End.UNCHANGED and not is_done) else str(end)


def replace_somewhere(bench: Bench, wanted: int, seed: int) -> tuple[int, list[str]]:
    """Try so many points of an operation, each with a way to lose the claim."""
    dice, tried, violations = random.Random(seed), 0, list[str]()
    _ = bench.before, bench.after
    bench.refresh()
    calls = bench.attempt().calls
    for at in dice.sample(range(1, len(calls) + 1), len(calls)):
        if tried == wanted:
            break
        loss = dice.choice(list(Loss))
        said = trial(bench, loss, at)
        tried += said is not None
        if said:
            violations.append(f"{bench.operation}, call {at} ({calls[at - 1]}), {loss}: {said}")
    return tried, violations


@pytest.mark.fault(Row.SUSPENDED)
@pytest.mark.usefixtures("traced")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_worker_that_wakes_after_it_was_replaced_writes_nothing(
    operation: str, library_dir: Path, scratch: Path, workers: Workers, is_full: bool
) -> None:
    bench = Bench(library_dir, scratch / "vault", operation, is_named=True)
    is_long = operation == "execute_instance"
    wanted = (110 if is_long else 15) if is_full else (8 if is_long else 2)
    worker = workers.start(replace_somewhere, bench, wanted, len(operation))
    tried, violations = worker.result(patience=800.0)
    tally.hold(Row.SUSPENDED, tried, violations)
