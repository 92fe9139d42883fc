"""Queries about instances, their columns and what they were made from.

The order of instances is the order in which they became visible (``number``), never that of a clock.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tablevault_like.catalog import tables
from tablevault_like.catalog.catalog import Database
from tablevault_like.errors import TVArgumentError, nearest
from tablevault_like.model import Column, InstanceRecord, InstanceStatus, TableRecord

_SELECT = (
    "SELECT instances.*, tables.name AS table_name, tables.folder AS folder, tables.next_folder,"
    " origins.name AS origin_table FROM instances JOIN tables USING (table_id)"
    " LEFT JOIN tables AS origins ON origins.table_id = instances.origin_table_id"
    " WHERE instances.deleted_at IS NULL AND tables.deleted_at IS NULL"
)


@dataclass(frozen=True, slots=True)
class NewInstance:
    """An instance to be added: a temporary one, or the frame that a process made."""

    instance_id: str
    version: str
    status: InstanceStatus
    author: str
    process_id: str
    created_at: float
    active: bool = False
    success: bool = False
    external_edit: bool = False
    description: str = ""
    origin_table_id: int | None = None
    origin_id: str | None = None
    materialized_at: float | None = None
    rows: int | None = None
    manifest_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """An instance that another one needs. Both are named by table id and instance id."""

    source: tuple[int, str]
    user: tuple[int, str]
    user_table: str


@dataclass(frozen=True, slots=True)
class DeletedInstance:
    """An instance that was deleted. ``deleted_at`` is in seconds since the epoch (POSIX)."""

    table_name: str
    instance_id: str
    deleted_at: float


def find(db: Database, table: str, instance_id: str) -> InstanceRecord | None:
    """Return an instance of a table, ``None`` if there is none."""
    row = db.execute(f"{_SELECT} AND tables.name = ? AND instance_id = ?", (table, instance_id)).fetchone()
    return None if row is None else _record(row)


def get(db: Database, table: str, instance_id: str) -> InstanceRecord:
    """Return an instance. Raises TVArgumentError, with the nearest name, for an unknown table or instance."""
    owner = tables.get(db, table)
    found = find(db, table, instance_id)
    if found is None:
        known = [instance.instance_id for instance in of_table(db, owner.name, include_temporary=True)]
        gone = deleted(db, instance_id=instance_id)
        why = ": it was deleted" if gone is not None and gone.table_name == owner.name else ""
        hint = nearest(str(instance_id), known)
        raise TVArgumentError(f"Table {table!r} has no instance {instance_id!r:.150}{why}.{hint}")
    return found


def deleted(db: Database, *, instance_id: str | None = None, process_id: str | None = None) -> DeletedInstance | None:
    """Return an instance of that id, or that a process made, if it was deleted, alone or with its table."""
    row = db.execute(
        "SELECT tables.name, instance_id, MIN(COALESCE(instances.deleted_at, tables.deleted_at),"
        " COALESCE(tables.deleted_at, instances.deleted_at)) AS gone_at FROM instances JOIN tables USING (table_id)"
        " WHERE (instance_id = ? OR instances.process_id = ?) AND status <> 'temporary' AND gone_at IS NOT NULL"
        " ORDER BY instances.number DESC LIMIT 1",
        (instance_id, process_id),
    ).fetchone()
    return None if row is None else DeletedInstance(str(row["name"]), str(row["instance_id"]), float(row["gone_at"]))


def newest(
    db: Database, table: str, version: str, *, active_only: bool = True, successful_only: bool = False
) -> InstanceRecord | None:
    """Return the newest materialized instance of a version, ``None`` if there is none."""
    row = db.execute(
        f"{_SELECT} AND tables.name = ? AND instances.version = ? AND status = 'materialized' AND active >= ?"
        " AND success >= ? ORDER BY number DESC LIMIT 1",
        (table, version, active_only, successful_only),
    ).fetchone()
    return None if row is None else _record(row)


def table_of(db: Database, instance_id: str) -> str | None:
    """Return today's name of the table that a materialized instance is in, ``None`` if it was deleted."""
    row = db.execute(
        "SELECT tables.name FROM instances JOIN tables USING (table_id) WHERE instance_id = ? AND status ="
        " 'materialized' AND instances.deleted_at IS NULL AND tables.deleted_at IS NULL",
        (instance_id,),
    ).fetchone()
    return None if row is None else str(row["name"])


def of_process(db: Database, process_id: str) -> InstanceRecord | None:
    """Return the materialized instance that a process made, ``None`` if it has made none, or that was deleted."""
    row = db.execute(
        f"{_SELECT} AND instances.process_id = ? AND status = 'materialized' ORDER BY number DESC LIMIT 1",
        (process_id,),
    ).fetchone()
    return None if row is None else _record(row)


def newest_successful(db: Database, table: str) -> InstanceRecord | None:
    """Return the newest materialized instance of a table that is no partial one, whatever its version and activity."""
    row = db.execute(
        f"{_SELECT} AND tables.name = ? AND status = 'materialized' AND success ORDER BY number DESC LIMIT 1", (table,)
    ).fetchone()
    return None if row is None else _record(row)


def get_newest_active(db: Database, table: str) -> InstanceRecord:
    """Return the newest active instance of a table, whatever its version. Raises TVArgumentError if there is none."""
    tables.get(db, table)
    row = db.execute(
        f"{_SELECT} AND tables.name = ? AND status = 'materialized' AND active ORDER BY number DESC LIMIT 1", (table,)
    ).fetchone()
    if row is None:
        others = of_table(db, table)
        hint = f"Name {others[-1].instance_id!r} by its id if it is meant" if others else "Execute or write one first"
        raise TVArgumentError(f"Table {table!r} has no active materialized instance. {hint}.")
    return _record(row)


def made_by(db: Database, table: str, process_id: str) -> InstanceRecord | None:
    """Return the materialized instance that a process has made, ``None`` if it made none or it was deleted since."""
    row = db.execute(
        f"{_SELECT} AND tables.name = ? AND status = 'materialized' AND instances.process_id = ?"
        " ORDER BY number DESC LIMIT 1",
        (table, process_id),
    ).fetchone()
    return None if row is None else _record(row)


def get_newest(
    db: Database, table: str, version: str, *, active_only: bool = True, successful_only: bool = False
) -> InstanceRecord:
    """Return the newest materialized instance of a version.

    Raises TVArgumentError, with the nearest name or the instances that there are, if there is none.
    """
    tables.get(db, table)
    found = newest(db, table, version, active_only=active_only, successful_only=successful_only)
    if found is None:
        kind = ("active " if active_only else "") + ("successful " if successful_only else "")
        others = of_table(db, table)
        same = [instance.instance_id for instance in others if instance.version == version]
        if same:
            hint = f" There is {same[-1]!r}, which isn't: name it by its id if it is meant."
        elif others:
            hint = nearest(version, {instance.version for instance in others})
        else:
            hint = " It has none of any other version either: execute or write one first."
        raise TVArgumentError(f"Table {table!r} has no {kind}materialized instance of version {version!r}.{hint}")
    return found


def of_table(
    db: Database, table: str, *, version: str | None = None, include_temporary: bool = False
) -> list[InstanceRecord]:
    """Return the instances of a table, oldest first, the temporary ones last."""
    rows = db.execute(
        f"{_SELECT} AND tables.name = ? AND (? OR status = 'materialized') AND (? IS NULL OR version = ?)"
        " ORDER BY status = 'temporary', number",
        (table, include_temporary, version, version),
    )
    return [_record(row) for row in rows]


def materialized(db: Database) -> list[InstanceRecord]:
    """Return the materialized instances of all tables, oldest first."""
    return [_record(row) for row in db.execute(f"{_SELECT} AND status = 'materialized' ORDER BY number")]


def add(db: Database, table: TableRecord | int, instance: NewInstance) -> int:
    """Add an instance to a table, given by its record or its id, and return its number."""
    cursor = db.execute(
        "INSERT INTO instances (table_id, instance_id, version, status, active, success, external_edit, description,"
        " author, origin_table_id, origin_id, process_id, created_at, materialized_at, rows, manifest_sha256)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            table if isinstance(table, int) else table.table_id,
            instance.instance_id,
            instance.version,
            instance.status,
            instance.active,
            instance.success,
            instance.external_edit,
            instance.description,
            instance.author,
            instance.origin_table_id,
            instance.origin_id,
            instance.process_id,
            instance.created_at,
            instance.materialized_at,
            instance.rows,
            instance.manifest_sha256,
        ),
    )
    return int(cursor.lastrowid or 0)


def add_columns(db: Database, number: int, columns: Sequence[Column]) -> None:
    """Record the columns of an instance, in order."""
    db.executemany(
        "INSERT INTO columns (instance, position, name, dtype) VALUES (?, ?, ?, ?)",
        [(number, position, column.name, column.dtype) for position, column in enumerate(columns)],
    )


def columns(db: Database, table: str, instance_id: str) -> tuple[Column, ...]:
    """Return the columns of an instance, in order."""
    rows = db.execute(
        "SELECT columns.name, columns.dtype FROM columns JOIN instances ON instances.number = columns.instance"
        " JOIN tables USING (table_id) WHERE tables.name = ? AND instance_id = ? AND instances.deleted_at IS NULL"
        " AND tables.deleted_at IS NULL ORDER BY position",
        (table, instance_id),
    )
    return tuple(Column(row["name"], row["dtype"]) for row in rows)


def add_lineage(db: Database, number: int, sources: Iterable[tuple[int, str]]) -> None:
    """Record the instances that an instance was made from, as (table id, instance id)."""
    db.executemany(
        "INSERT OR IGNORE INTO lineage (instance, source_table_id, source_id) VALUES (?, ?, ?)",
        [(number, table_id, instance_id) for table_id, instance_id in sources],
    )


def lineage(db: Database, table: str, instance_id: str) -> list[tuple[str, str]]:
    """Return the instances that an instance was made from, as (table, instance id), under today's names."""
    rows = db.execute(
        "SELECT sources.name AS source_table, source_id FROM lineage"
        " JOIN instances ON instances.number = lineage.instance JOIN tables USING (table_id)"
        " JOIN tables AS sources ON sources.table_id = lineage.source_table_id"
        " WHERE tables.name = ? AND instance_id = ? AND instances.deleted_at IS NULL AND tables.deleted_at IS NULL"
        " ORDER BY source_table, source_id",
        (table, instance_id),
    )
    return [(row["source_table"], row["source_id"]) for row in rows]


def uses(db: Database) -> list[Use]:
    """Return which instances others still need: those they were made from, and origins of temporary ones.

    A materialized instance doesn't need its origin any more: what it took over from it, it has.
    """
    rows = db.execute(
        "SELECT source_table_id, source_id, tables.name AS user_table, instances.table_id, instance_id FROM lineage"
        " JOIN instances ON instances.number = lineage.instance JOIN tables USING (table_id)"
        " WHERE instances.deleted_at IS NULL AND tables.deleted_at IS NULL"
        " AND NOT (source_table_id IS origin_table_id AND source_id IS origin_id)"
        " UNION ALL"
        " SELECT origin_table_id, origin_id, tables.name, instances.table_id, instance_id FROM instances"
        " JOIN tables USING (table_id) WHERE status = 'temporary' AND origin_id IS NOT NULL"
        " AND instances.deleted_at IS NULL AND tables.deleted_at IS NULL"
    )
    return [Use((row[0], row[1]), (row["table_id"], row["instance_id"]), row["user_table"]) for row in rows]


def pin(db: Database, table_id: int, instance_id: str, *, author: str, now: float) -> None:
    """Record who wants an instance kept. The first who did stays on record."""
    db.execute(
        "UPDATE instances SET pinned_at = ?, pinned_by = ? WHERE table_id = ? AND instance_id = ?"
        " AND deleted_at IS NULL AND pinned_at IS NULL",
        (now, author, table_id, instance_id),
    )


def unpin(db: Database, table_id: int, instance_id: str) -> None:
    """Record that nobody wants an instance kept any more."""
    db.execute(
        "UPDATE instances SET pinned_at = NULL, pinned_by = NULL WHERE table_id = ? AND instance_id = ?"
        " AND deleted_at IS NULL",
        (table_id, instance_id),
    )


def drop_temporary(db: Database, table_id: int, instance_id: str) -> None:
    """Forget a temporary instance: it has become a materialized one."""
    db.execute(
        "DELETE FROM instances WHERE table_id = ? AND instance_id = ? AND status = 'temporary'", (table_id, instance_id)
    )


def delete(db: Database, table_id: int, instance_id: str, *, process_id: str, now: float) -> None:
    """Mark an instance as deleted."""
    db.execute(
        "UPDATE instances SET status = 'deleted', active = 0, deleted_at = ?, deleted_by = ?"
        " WHERE table_id = ? AND instance_id = ? AND deleted_at IS NULL",
        (now, process_id, table_id, instance_id),
    )


def has_side_effects(db: Database, table_id: int) -> bool:
    """Tell whether making an instance of a table makes its other instances inactive."""
    row = db.execute("SELECT has_side_effects FROM tables WHERE table_id = ?", (table_id,)).fetchone()
    return bool(row["has_side_effects"])


def deactivate_others(db: Database, table_id: int, *, process_id: str, is_published: bool = False) -> None:
    """Make a table's materialized instances inactive, and remember that it was this process.

    If what the process has made ``is_published``, that goes for those too that another process has made inactive: when
    that one is reverted, they are not the newest any more.
    """
    db.execute(
        "UPDATE instances SET active = 0, deactivated_by = ? WHERE table_id = ? AND status = 'materialized'"
        " AND (active OR (? AND deactivated_by IS NOT NULL))",
        (process_id, table_id, is_published),
    )


def reactivate(db: Database, *, process_id: str) -> None:
    """Make active again what this process made inactive."""
    db.execute(
        "UPDATE instances SET active = status = 'materialized', deactivated_by = NULL WHERE deactivated_by = ?",
        (process_id,),
    )


def standing(db: Database, table_id: int) -> tuple[dict[str, tuple[float, str]], list[str]]:
    """Return when and by whom instances of a table are pinned, and which are inactive for good.

    One that a process has made inactive which may still be reverted isn't.
    """
    pinned = db.execute(
        "SELECT instance_id, pinned_at, pinned_by FROM instances WHERE table_id = ? AND status = 'materialized'"
        " AND pinned_at IS NOT NULL ORDER BY number",
        (table_id,),
    )
    inactive = db.execute(
        "SELECT instance_id FROM instances WHERE table_id = ? AND status = 'materialized' AND NOT active"
        " AND NOT EXISTS (SELECT 1 FROM processes WHERE process_id = deactivated_by AND processes.ended_at IS NULL)"
        " ORDER BY number",
        (table_id,),
    )
    return {row[0]: (row[1], row[2]) for row in pinned}, [row[0] for row in inactive]


def is_true(db: Database, table: str, instance_id: str, *, process_id: str) -> bool:
    """Tell whether an instance is active, or was until this process made it inactive."""
    row = db.execute(
        "SELECT active OR deactivated_by IS ? AS is_true FROM instances JOIN tables USING (table_id)"
        " WHERE tables.name = ? AND instance_id = ? AND instances.deleted_at IS NULL AND tables.deleted_at IS NULL",
        (process_id, table, instance_id),
    ).fetchone()
    return row is not None and bool(row["is_true"])


def _record(row: sqlite3.Row) -> InstanceRecord:
    return InstanceRecord(
        table_id=row["table_id"],
        table_name=row["table_name"],
        folder=row["folder"],
        next_folder=row["next_folder"],
        instance_id=row["instance_id"],
        version=row["version"],
        status=InstanceStatus(row["status"]),
        active=bool(row["active"]),
        success=bool(row["success"]),
        external_edit=bool(row["external_edit"]),
        description=row["description"],
        author=row["author"],
        origin_table=row["origin_table"],
        origin_id=row["origin_id"],
        created_at=row["created_at"],
        materialized_at=row["materialized_at"],
        rows=row["rows"],
        manifest_sha256=row["manifest_sha256"],
        process_id=row["process_id"],
        pinned_at=row["pinned_at"],
        pinned_by=row["pinned_by"],
    )
