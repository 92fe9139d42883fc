"""Who may have its locks now, and who has to wait for whom.

1. All locks of a process are granted together or none is, so no process holds one while it waits for another.
2. First come, first served among requests that conflict; a waiter that is stuck behind a paused process, or behind
   one's own ancestors, holds up nobody else, and a dead one is skipped.
3. A process never waits for its ancestors. A wait that would close a circle through ancestors (a parent waits for its
   children, too) is refused at once, and so is what would take away the instance that an ancestor makes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from tablevault_like.catalog import Database, locks, processes
from tablevault_like.catalog.locks import Held, Waiter
from tablevault_like.layout import Layout
from tablevault_like.locks import is_held
from tablevault_like.model import LockMode, LockRequest, State


@dataclass(frozen=True, slots=True)
class Queued:
    """A process that wants its locks. ``ticket`` is its place in the queue, ``None`` before it has one."""

    process_id: str
    parent_id: str | None
    requests: tuple[LockRequest, ...]
    ticket: int | None = None

    @classmethod
    def of(cls, waiter: Waiter) -> Self:
        return cls(waiter.process_id, waiter.parent_id, waiter.requests, waiter.ticket)

    def family(self, db: Database) -> list[str]:
        return [self.process_id, *processes.ancestors(db, self.parent_id)]


@dataclass(frozen=True, slots=True)
class Blockers:
    """What stands against a request: locks that are held, and the processes that came first."""

    held: tuple[Held, ...]
    ahead: tuple[str, ...]

    @property
    def everyone(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*(held.process_id for held in self.held), *self.ahead]))

    def __bool__(self) -> bool:
        return bool(self.held or self.ahead)


def blockers(db: Database, layout: Layout, queued: Queued) -> Blockers:
    """Return what ``queued`` has to wait for; nothing, if it may have its locks."""
    family = queued.family(db)
    held = _holders(db, queued, family)
    ahead = []
    for waiter in locks.waiters(db):
        if waiter.process_id in family or (queued.ticket is not None and waiter.ticket >= queued.ticket):
            continue
        if not _conflict(waiter.requests, queued.requests) or queued.process_id in _family_of(db, waiter):
            continue
        if is_held(layout.process(waiter.process_id).worker_lock) and not _is_stuck(db, layout, waiter, family):
            ahead.append(waiter.process_id)
    return Blockers(tuple(held), tuple(ahead))


def closes_circle(db: Database, queued: Queued, blocked: Blockers) -> bool:
    """Tell whether some holder can't let go before ``queued`` or one of its ancestors does."""
    family = set(queued.family(db))
    waiters = [waiter for waiter in locks.waiters(db) if waiter.process_id != queued.process_id]
    to_visit, seen = [held.process_id for held in blocked.held], set[str]()
    while to_visit:
        holder = to_visit.pop()
        if holder in seen:
            continue
        seen.add(holder)
        for waiter in waiters:
            if holder not in _family_of(db, waiter):
                continue
            for held in _holders(db, Queued.of(waiter), _family_of(db, waiter)):
                if held.process_id in family:
                    return True
                to_visit.append(held.process_id)
    return False


def made_above(db: Database, queued: Queued) -> Held | None:
    """Return the lock of an ancestor on the instance that it makes, if ``queued`` would change that."""
    for ancestor in processes.ancestors(db, queued.parent_id):
        for held in locks.held_by(db, ancestor):
            is_made = held.mode is LockMode.EXCLUSIVE and held.resource.is_instance
            if is_made and any(
                request.mode is LockMode.EXCLUSIVE and request.conflicts_with(held) for request in queued.requests
            ):
                return Held(ancestor, held)
    return None


def _holders(db: Database, queued: Queued, family: list[str]) -> list[Held]:
    found: dict[str, Held] = {}
    for request in queued.requests:
        for held in locks.conflicting(db, request, family=family):
            found.setdefault(held.process_id, held)
    return list(found.values())


def _is_stuck(db: Database, layout: Layout, waiter: Waiter, family: Iterable[str]) -> bool:
    """Tell whether a waiter waits for a process that is paused (or as if paused), or for one of ``family``."""
    for held in _holders(db, Queued.of(waiter), _family_of(db, waiter)):
        holder = processes.get(db, held.process_id)
        if holder.state is State.PAUSED or held.process_id in family:
            return True
        if holder.named and not is_held(layout.process(holder.process_id).worker_lock):
            return True
    return False


def _family_of(db: Database, waiter: Waiter) -> list[str]:
    return Queued.of(waiter).family(db)


def _conflict(first: Iterable[LockRequest], second: Iterable[LockRequest]) -> bool:
    others = list(second)
    return any(one.conflicts_with(other) for one in first for other in others)
