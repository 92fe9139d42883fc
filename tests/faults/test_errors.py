"""A system call that changes a file fails, once or all from then on: the operation raises, or it is done.

What is raised names the file. An execution that was given an id is paused, if its rows had begun to be recorded, and
the same id finishes it; everything else is reverted. A sync that failed is never tried again.
"""

from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest

from tablevault_like.model import State
from tests.faults import calls, tally, verdicts
from tests.faults.calls import Call
from tests.faults.injection import Fail, Outcome
from tests.faults.tally import Row
from tests.faults.trials import Bench, Next, Violation
from tests.workers import Workers

SAMPLES = 4
"""How many calls of each operation fail in a run that isn't full."""

_LOCKS = ("flock", "fcntl")
"""What asks for a lock: it fails only where the disk does, and where a signal arrives."""

_SYNCS = ("fsync", "fdatasync")
_REWRITES = ("write", "pwrite64", "writev", "pwritev", "ftruncate", "open", "openat", "unlink", "unlinkat", "rename")
_INTERNAL = {"AssertionError", "TypeError", "AttributeError", "NameError", "LookupError", "RecursionError"}


def faults() -> list[Fail]:
    """Return each error, once and lasting. EINTR can't last: whoever meets it just calls again."""
    spares = (*calls.CANNOT_FAIL, *_LOCKS)
    refused = [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EMFILE]
    lasting = [Fail(number, lasts, spares) for number in refused for lasts in (False, True)]
    return [*lasting, Fail(errno.EIO), Fail(errno.EIO, True), Fail(errno.EINTR)]


def fail(bench: Bench, seed: int, limit: int | None) -> tuple[int, list[Violation]]:
    """Let some calls of an operation fail, or all. Returns how many points were tried, and the violations.

    In full every call fails with each error; of an operation that makes thousands of calls, with one of them in turn.
    """
    dice = random.Random(seed)
    _ = bench.before, bench.after
    kinds = faults()
    count = bench.count_calls(kinds[0])
    numbers = sorted(dice.sample(range(1, count + 1), min(count, limit or count)))
    tried, violations = 0, list[Violation]()
    for place, number in enumerate(numbers):
        deeds = kinds
        if limit is not None:
            deeds = [dice.choice(kinds)]
        elif count > 1_000:
            deeds = [kinds[place % len(kinds)]]
        for deed in deeds:
            bench.refresh()
            outcome = bench.attempt(number, deed)
            if not outcome.struck:
                continue  # threads make not quite as many calls each time
            tried += 1
            if (said := judge(bench, outcome, deed)) is not None:
                name = f"{bench}, {errno.errorcode[deed.errno]}{' from' if deed.lasts else ''} at {outcome.calls[-1]}"
                violations.append(Violation(name, number, said))
    return tried, violations


def judge(bench: Bench, outcome: Outcome, deed: Fail) -> str | None:
    """Tell what is wrong with what was told, with what is left, or with what the same call makes of it."""
    # Python itself calls again what a signal has interrupted; nothing of it has failed.
    if deed.errno != errno.EINTR and (again := synced_again(outcome)) is not None:
        return f"{again} was synced again after that had failed"
    if outcome.ending.code < 0:
        return f"it was ended by signal {-outcome.ending.code}"
    caught = verdicts.catch(bench)
    if outcome.returned:
        if caught.state is not State.COMPLETED:
            return f"it returned, and is {caught.state}"
        return verdicts.judge(bench, caught, Next.RESTART)
    if (said := verdicts.contradicts(caught, outcome.ending, may_be_left=deed.lasts)) is not None:
        return said
    if _INTERNAL & set(outcome.ending.raised):
        return f"it raised {outcome.ending.error}"
    if not names_file(bench, outcome):
        return f"it names no file: {outcome.ending.error}"
    if not deed.lasts and (said := verdicts.misjudged(bench, caught, outcome.ending)) is not None:
        return said
    return verdicts.judge(bench, caught, Next.SAME if bench.is_named else Next.RESTART)


def names_file(bench: Bench, outcome: Outcome) -> bool:
    """Tell whether the message of an error tells where in the vault something was refused.

    Python names no file where it writes to one: what user code raises there is raised as it is.
    """
    is_users = "OSError" in outcome.ending.raised and outcome.ending.is_of_user_code
    return is_users or str(bench.vault_dir) in outcome.ending.message


def synced_again(outcome: Outcome) -> Path | None:
    """Return a file that was synced although that had failed before, and nothing was written to it since.

    A folder is synced again when other names are in it.
    """
    struck = outcome.calls[-1]
    is_folder = struck.path.is_dir() or any(
        call.path == struck.path and call.name in ("mkdir", "mkdirat") for call in outcome.calls
    )
    if struck.name not in _SYNCS or is_folder:
        return None
    for call in outcome.later:
        if call.path == struck.path and call.name in _REWRITES:
            return None
        if call.path == struck.path and call.name in _SYNCS:
            return call.path
    return None


def test_a_sync_that_is_tried_again_is_found() -> None:
    sync, write = Call("fsync", Path("a")), Call("pwrite64", Path("a"))

    def found(*later: Call) -> Path | None:
        return synced_again(Outcome(verdicts.NOTHING, [write, sync], True, list(later)))

    assert found(sync) == Path("a")
    assert found(Call("fsync", Path("b"))) is None
    assert found(write, sync) is None
    made = Outcome(verdicts.NOTHING, [Call("mkdirat", Path("a")), sync], True, [sync])
    assert synced_again(made) is None  # a folder that is gone by now


@pytest.mark.fault(Row.ERROR)
@pytest.mark.timeout(14_400)
@pytest.mark.usefixtures("traced")
def test_an_operation(bench: Bench, workers: Workers, is_full: bool) -> None:
    tried, violations = workers.start(fail, bench, 1, None if is_full else SAMPLES).result(patience=14_000.0)
    tally.hold(Row.ERROR, tried, violations)
