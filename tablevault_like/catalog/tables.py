"""Queries about tables."""

from __future__ import annotations

import sqlite3

from tablevault_like.catalog.catalog import Database
from tablevault_like.errors import TVArgumentError, nearest
from tablevault_like.model import TableRecord


def find(db: Database, name: str) -> TableRecord | None:
    """Return the table of that name, ``None`` if there is none."""
    row = db.execute("SELECT * FROM tables WHERE name = ? AND deleted_at IS NULL", (name,)).fetchone()
    return None if row is None else record_of(row)


def find_by_id(db: Database, table_id: int) -> TableRecord | None:
    """Return the table of that id, whatever its name is by now; ``None`` if it was deleted."""
    row = db.execute("SELECT * FROM tables WHERE table_id = ? AND deleted_at IS NULL", (table_id,)).fetchone()
    return None if row is None else record_of(row)


def get(db: Database, name: str) -> TableRecord:
    """Return the table of that name. Raises TVArgumentError, with the nearest name, if there is none."""
    found = find(db, name)
    if found is None:
        raise TVArgumentError(f"There is no table {name!r:.150}.{nearest(str(name), names(db))}")
    return found


def names(db: Database) -> list[str]:
    """Return the names of all tables, in order of their creation."""
    return [row["name"] for row in db.execute("SELECT name FROM tables WHERE deleted_at IS NULL ORDER BY table_id")]


def is_folder_taken(db: Database, folder: str) -> bool:
    """Tell whether a table has this folder, or is about to have it."""
    # Two queries, for there are two indexes.
    taken = "SELECT 1 FROM tables WHERE deleted_at IS NULL AND"
    return any(
        db.execute(f"{taken} {column} = ?", (folder,)).fetchone() is not None for column in ("folder", "next_folder")
    )


def add(db: Database, table: TableRecord, *, process_id: str) -> int:
    """Add a table and return its id; ``table.table_id`` is ignored."""
    cursor = db.execute(
        "INSERT INTO tables (name, folder, allow_multiple_artifacts, has_side_effects, description, author, process_id,"
        " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            table.name,
            table.folder,
            table.allow_multiple_artifacts,
            table.has_side_effects,
            table.description,
            table.author,
            process_id,
            table.created_at,
        ),
    )
    return int(cursor.lastrowid or 0)


def rename(db: Database, table_id: int, *, name: str, next_folder: str | None) -> None:
    """Give a table another name. Its folder is to become ``next_folder`` when it can."""
    db.execute("UPDATE tables SET name = ?, next_folder = ? WHERE table_id = ?", (name, next_folder, table_id))


def settle_folder(db: Database, table_id: int, folder: str) -> None:
    """Record that the table's folder is now ``folder``."""
    db.execute("UPDATE tables SET folder = ?, next_folder = NULL WHERE table_id = ?", (folder, table_id))


def delete(db: Database, table_id: int, *, process_id: str, now: float) -> None:
    """Mark a table and all of its instances as deleted."""
    db.execute(
        "UPDATE tables SET deleted_at = ?, deleted_by = ? WHERE table_id = ? AND deleted_at IS NULL",
        (now, process_id, table_id),
    )
    db.execute(
        "UPDATE instances SET status = 'deleted', active = 0, deleted_at = ?, deleted_by = ?"
        " WHERE table_id = ? AND deleted_at IS NULL",
        (now, process_id, table_id),
    )


def folders_deleted_by(db: Database, process_id: str) -> list[str]:
    """Return the folders of the tables that a process has deleted, under both names that each may have."""
    rows = db.execute("SELECT folder, next_folder FROM tables WHERE deleted_by = ?", (process_id,))
    return [folder for row in rows for folder in row if folder is not None]


def deleted_folders(db: Database) -> list[tuple[str, str]]:
    """Return the folders that deleted tables had, with the process that deleted each."""
    rows = db.execute("SELECT folder, next_folder, deleted_by FROM tables WHERE deleted_at IS NOT NULL")
    return [(folder, row["deleted_by"]) for row in rows for folder in (row["folder"], row["next_folder"]) if folder]


def record_of(row: sqlite3.Row) -> TableRecord:
    """Return the table that a row of the catalog is about."""
    return TableRecord(
        table_id=row["table_id"],
        name=row["name"],
        folder=row["folder"],
        next_folder=row["next_folder"],
        allow_multiple_artifacts=bool(row["allow_multiple_artifacts"]),
        has_side_effects=bool(row["has_side_effects"]),
        description=row["description"],
        author=row["author"],
        created_at=row["created_at"],
    )
