"""Whether a vault in which nothing is under way any more is sound: what check finds, and what it takes for ordinary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from tablevault_like.catalog import Catalog, Database, locks, processes
from tablevault_like.chaos.report import Harm
from tablevault_like.check import Kind, check_vault
from tablevault_like.layout import Layout

_OF_PROCESSES = (Kind.STUCK, Kind.STALE)


def unsound(layout: Layout) -> list[tuple[Harm, str]]:
    """Return what is wrong with a vault: all that a check tells, notes too, and every process that hasn't ended."""
    with closing(Catalog(layout.catalog)) as catalog, catalog.snapshot() as db:
        held = [(Harm.LOCKS, line) for line in _held(db)]
    found = [each for each in check_vault(layout) if each.kind not in _OF_PROCESSES]
    return held + [(Harm.LITTER, f"{each.where}: {each.what}") for each in found]


def _held(db: Database) -> Iterator[str]:
    """Yield what is nothing special in a vault that is in use: processes, their locks, and who waits for some."""
    for row in processes.live(db):
        yield f"process {row.process_id!r} ({row.operation}) is left {row.state.lower()}"
        for lock in locks.held_by(db, row.process_id):
            yield f"process {row.process_id!r} still holds {lock.resource} ({lock.mode})"
    for waiter in locks.waiters(db):
        yield f"process {waiter.process_id!r} still waits for locks"
