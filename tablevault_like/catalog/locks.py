"""Queries about logical locks: who holds what, and who waits for it in which order.

A lock is a row that bears a process id, so a paused process keeps its locks without a living worker. What conflicts is
found by the index: a resource overlaps with its prefixes and with the range below it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tablevault_like.catalog.catalog import Database
from tablevault_like.model import LockMode, LockRequest, Resource


@dataclass(frozen=True, slots=True)
class Held:
    """A lock that a process holds."""

    process_id: str
    request: LockRequest


@dataclass(frozen=True, slots=True)
class Waiter:
    """A process that waits for its locks, before it is recorded. Tickets grow in the order of arrival."""

    ticket: int
    process_id: str
    operation: str
    arguments: Mapping[str, Any]
    author: str
    named: bool
    parent_id: str | None
    host: str | None
    pid: int | None
    since: float
    requests: tuple[LockRequest, ...]


def grant(db: Database, process_id: str, requests: Iterable[LockRequest], *, claim_only: bool, now: float) -> None:
    """Give a process its locks. Of two requests for one resource the stricter counts."""
    db.executemany(
        "INSERT INTO locks (process_id, resource, mode, claim_only, granted_at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (resource, process_id) DO UPDATE SET"
        " mode = CASE WHEN excluded.mode = 'exclusive' THEN excluded.mode ELSE mode END,"
        " claim_only = min(claim_only, excluded.claim_only)",
        [(process_id, _key(request.resource), request.mode, claim_only, now) for request in requests],
    )


def release(db: Database, process_id: str, *, claim_only: bool = False) -> None:
    """Take all locks from a process, or those that it needed only while it was claimed."""
    db.execute("DELETE FROM locks WHERE process_id = ? AND claim_only >= ?", (process_id, claim_only))


def held_by(db: Database, process_id: str, *, until_its_end: bool = False) -> list[LockRequest]:
    """Return the locks that a process holds; if asked for, without those that it needs only while it is claimed."""
    rows = db.execute(
        "SELECT resource, mode FROM locks WHERE process_id = ? AND claim_only <= ? ORDER BY resource",
        (process_id, not until_its_end),
    )
    return [_request(row) for row in rows]


def conflicting(db: Database, request: LockRequest, *, family: Sequence[str]) -> list[Held]:
    """Return the locks of processes outside ``family`` that stand against a request."""
    rows = _overlapping(db, "SELECT process_id, resource, mode FROM locks", request)
    return [Held(row["process_id"], _request(row)) for row in rows if row["process_id"] not in family]


def exclusive_holder(db: Database, resource: Resource) -> str | None:
    """Return the process that holds exactly this resource exclusively, ``None`` if there is none."""
    row = db.execute(
        "SELECT process_id FROM locks WHERE resource = ? AND mode = 'exclusive'", (_key(resource),)
    ).fetchone()
    return None if row is None else str(row["process_id"])


def waiting(db: Database, process_id: str) -> Waiter | None:
    """Return what a process waits for, ``None`` if it doesn't wait."""
    row = db.execute("SELECT * FROM waiters WHERE process_id = ?", (process_id,)).fetchone()
    return None if row is None else _waiter(db, row)


def waiters(db: Database) -> list[Waiter]:
    """Return all who wait, in the order of arrival."""
    return [_waiter(db, row) for row in db.execute("SELECT * FROM waiters ORDER BY ticket").fetchall()]


def enqueue(
    db: Database,
    process_id: str,
    requests: Iterable[LockRequest],
    *,
    operation: str,
    arguments: Mapping[str, Any],
    author: str,
    named: bool,
    parent_id: str | None,
    host: str,
    pid: int,
    now: float,
) -> int:
    """Put a process at the end of the queue and return its ticket."""
    cursor = db.execute(
        "INSERT INTO waiters (process_id, operation, arguments, author, named, parent_id, host, pid, since)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (process_id, operation, json.dumps(arguments), author, named, parent_id, host, pid, now),
    )
    ticket = int(cursor.lastrowid or 0)
    replace_requests(db, ticket, requests)
    return ticket


def replace_requests(db: Database, ticket: int, requests: Iterable[LockRequest]) -> None:
    """Let a waiter wait for other locks, at its old place in the queue."""
    db.execute("DELETE FROM requests WHERE ticket = ?", (ticket,))
    db.executemany(
        "INSERT INTO requests (ticket, resource, mode) VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET mode = CASE WHEN excluded.mode = 'exclusive' THEN excluded.mode ELSE mode END",
        [(ticket, _key(request.resource), request.mode) for request in requests],
    )


def dequeue(db: Database, process_id: str) -> None:
    """Take a process out of the queue, if it is in it."""
    db.execute("DELETE FROM waiters WHERE process_id = ?", (process_id,))


def _overlapping(db: Database, select: str, request: LockRequest) -> list[sqlite3.Row]:
    key = _key(request.resource)
    prefixes = [key[: end + 1] for end, character in enumerate(key) if character == "/"][:-1]
    marks = ", ".join("?" for _ in prefixes)
    # '0' follows '/': the range holds the resource and all that is below it.
    below = (key, key[:-1] + "0") if key else ("", "\U0010ffff")
    rows = db.execute(
        f"{select} WHERE (resource >= ? AND resource < ? OR resource IN ('' {',' if marks else ''} {marks}))"
        " AND NOT (mode = 'shared' AND ? = 'shared')",
        (*below, *prefixes, request.mode),
    )
    return rows.fetchall()


def _waiter(db: Database, row: sqlite3.Row) -> Waiter:
    requests = db.execute("SELECT resource, mode FROM requests WHERE ticket = ? ORDER BY resource", (row["ticket"],))
    return Waiter(
        ticket=row["ticket"],
        process_id=row["process_id"],
        operation=row["operation"],
        arguments=json.loads(row["arguments"]),
        author=row["author"],
        named=bool(row["named"]),
        parent_id=row["parent_id"],
        host=row["host"],
        pid=row["pid"],
        since=row["since"],
        requests=tuple(_request(request) for request in requests),
    )


def _key(resource: Resource) -> str:
    return "".join(f"{name}/" for name in resource.path)


def _request(row: sqlite3.Row) -> LockRequest:
    path = row["resource"].split("/")[:-1]
    return LockRequest(Resource(*path), LockMode(row["mode"]))
