"""Queries about what was deleted: the rows stay, and tell what it was. And about what was pruned of it for good."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tablevault_like.catalog.catalog import Database

PRUNED = "pruned"
"""The kind of event that tells of one thing that was pruned."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """What a process has deleted: a table, or one instance of a table. ``rows`` are those of all instances with it."""

    table_name: str
    instance_id: str | None
    description: str
    instances: int
    rows: int
    deleted_at: float


@dataclass(frozen=True, slots=True)
class Pruned:
    """One thing that was pruned. ``known`` is what was known of it then."""

    process_id: str
    author: str
    pruned_at: float
    known: Mapping[str, Any]


def deleted_by(db: Database, process_id: str) -> Deletion | None:
    """Return what a process has deleted, ``None`` if nothing."""
    table = db.execute(
        "SELECT table_id, name, description, deleted_at FROM tables WHERE deleted_by = ?", (process_id,)
    ).fetchone()
    found = db.execute(
        "SELECT instance_id, instances.description, instances.deleted_at, rows, tables.name AS table_name"
        " FROM instances JOIN tables USING (table_id) WHERE instances.deleted_by = ?",
        (process_id,),
    ).fetchall()
    rows = sum(row["rows"] or 0 for row in found)
    if table is not None:
        return Deletion(table["name"], None, table["description"], len(found), rows, table["deleted_at"])
    if not found:
        return None
    first = found[0]
    return Deletion(first["table_name"], first["instance_id"], first["description"], 1, rows, first["deleted_at"])


def record_pruned(db: Database, process_id: str, things: Iterable[Mapping[str, Any]], *, now: float) -> None:
    """Record what a process has pruned, thing by thing."""
    db.executemany(
        "INSERT INTO events (process_id, kind, detail, happened_at) VALUES (?, ?, ?, ?)",
        [(process_id, PRUNED, json.dumps(thing), now) for thing in things],
    )


def pruned(db: Database, *, process_id: str | None = None) -> list[Pruned]:
    """Return everything that was ever pruned, or what this process has pruned, in that order."""
    rows = db.execute(
        "SELECT process_id, author, detail, happened_at FROM events JOIN processes USING (process_id)"
        " WHERE kind = ? AND (? IS NULL OR process_id = ?) ORDER BY events.number",
        (PRUNED, process_id, process_id),
    )
    return [Pruned(row["process_id"], row["author"], row["happened_at"], json.loads(row["detail"])) for row in rows]
