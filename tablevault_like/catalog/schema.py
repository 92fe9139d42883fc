"""The tables of the catalog, and how an older catalog becomes a newer one.

``MIGRATIONS[n]`` brings version ``n`` to ``n + 1``; a new catalog runs them all. ``PRAGMA user_version`` holds the
version. A resource is stored with a ``/`` after each name (``stories/TEMP_base/``, the vault is the empty string), so
that what lies below it is one range of the index. The column ``sum`` of each table has checksums of the rows
(``checks``).
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tablevault_like.catalog import checks
from tablevault_like.errors import TVFileError

APPLICATION_ID = 0x54564C4B

_VERSION_1 = """
CREATE TABLE vault (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE tables (
    table_id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    folder TEXT NOT NULL,
    next_folder TEXT,
    allow_multiple_artifacts INTEGER NOT NULL,
    has_side_effects INTEGER NOT NULL,
    description TEXT NOT NULL,
    author TEXT NOT NULL,
    process_id TEXT NOT NULL,
    created_at REAL NOT NULL,
    deleted_at REAL,
    deleted_by TEXT
);
CREATE UNIQUE INDEX tables_by_name ON tables (name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX tables_by_folder ON tables (folder) WHERE deleted_at IS NULL;
CREATE INDEX tables_by_next_folder ON tables (next_folder) WHERE deleted_at IS NULL AND next_folder IS NOT NULL;

CREATE TABLE instances (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    table_id INTEGER NOT NULL REFERENCES tables,
    instance_id TEXT NOT NULL,
    version TEXT NOT NULL,
    status TEXT NOT NULL,
    active INTEGER NOT NULL,
    success INTEGER NOT NULL,
    external_edit INTEGER NOT NULL,
    description TEXT NOT NULL,
    author TEXT NOT NULL,
    origin_table_id INTEGER REFERENCES tables (table_id),
    origin_id TEXT,
    process_id TEXT NOT NULL,
    deactivated_by TEXT,
    created_at REAL NOT NULL,
    materialized_at REAL,
    rows INTEGER,
    manifest_sha256 TEXT,
    deleted_at REAL,
    deleted_by TEXT
);
CREATE UNIQUE INDEX instances_by_id ON instances (table_id, instance_id) WHERE deleted_at IS NULL;
CREATE INDEX instances_by_version ON instances (table_id, version, status, number);
CREATE INDEX instances_by_deactivation ON instances (deactivated_by) WHERE deactivated_by IS NOT NULL;

CREATE TABLE columns (
    instance INTEGER NOT NULL REFERENCES instances,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    dtype TEXT NOT NULL,
    builder TEXT,
    PRIMARY KEY (instance, position)
) WITHOUT ROWID;

CREATE TABLE lineage (
    instance INTEGER NOT NULL REFERENCES instances,
    source_table_id INTEGER NOT NULL REFERENCES tables (table_id),
    source_id TEXT NOT NULL,
    PRIMARY KEY (instance, source_table_id, source_id)
) WITHOUT ROWID;
CREATE INDEX lineage_by_source ON lineage (source_table_id, source_id);

CREATE TABLE processes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    process_id TEXT NOT NULL UNIQUE,
    operation TEXT NOT NULL,
    arguments TEXT NOT NULL,
    author TEXT NOT NULL,
    named INTEGER NOT NULL,
    parent_id TEXT,
    state TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    stop_intent TEXT,
    paused_on_request INTEGER NOT NULL DEFAULT 0,
    host TEXT,
    pid INTEGER,
    error TEXT,
    created_at REAL NOT NULL,
    started_at REAL,
    updated_at REAL NOT NULL,
    ended_at REAL
);
CREATE INDEX processes_by_parent ON processes (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX processes_live ON processes (number) WHERE ended_at IS NULL;

CREATE TABLE steps (
    process_id TEXT NOT NULL REFERENCES processes (process_id) ON UPDATE CASCADE,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    started_at REAL,
    finished_at REAL,
    rows_total INTEGER,
    rows_done INTEGER NOT NULL DEFAULT 0,
    rows_failed INTEGER NOT NULL DEFAULT 0,
    rows_reused INTEGER NOT NULL DEFAULT 0,
    rows_before INTEGER NOT NULL DEFAULT 0,
    resumed_at REAL,
    PRIMARY KEY (process_id, name)
) WITHOUT ROWID;

CREATE TABLE locks (
    process_id TEXT NOT NULL REFERENCES processes (process_id) ON UPDATE CASCADE,
    resource TEXT NOT NULL,
    mode TEXT NOT NULL,
    claim_only INTEGER NOT NULL,
    granted_at REAL NOT NULL,
    PRIMARY KEY (resource, process_id)
) WITHOUT ROWID;
CREATE INDEX locks_by_process ON locks (process_id);

CREATE TABLE waiters (
    ticket INTEGER PRIMARY KEY AUTOINCREMENT,
    process_id TEXT NOT NULL UNIQUE,
    operation TEXT NOT NULL,
    arguments TEXT NOT NULL,
    author TEXT NOT NULL,
    named INTEGER NOT NULL,
    parent_id TEXT,
    host TEXT,
    pid INTEGER,
    since REAL NOT NULL
);
CREATE TABLE requests (
    ticket INTEGER NOT NULL REFERENCES waiters ON DELETE CASCADE,
    resource TEXT NOT NULL,
    mode TEXT NOT NULL,
    PRIMARY KEY (resource, ticket)
) WITHOUT ROWID;
CREATE INDEX requests_by_ticket ON requests (ticket);

CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    process_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    happened_at REAL NOT NULL
);
CREATE INDEX events_by_process ON events (process_id);
"""

_VERSION_2 = """
ALTER TABLE processes ADD COLUMN pause_requested_by TEXT;
ALTER TABLE processes ADD COLUMN pause_reason TEXT;
ALTER TABLE processes ADD COLUMN completed_through TEXT;
ALTER TABLE processes ADD COLUMN mark INTEGER NOT NULL DEFAULT 0;
ALTER TABLE processes ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0;
ALTER TABLE steps ADD COLUMN rows_skipped INTEGER NOT NULL DEFAULT 0;
ALTER TABLE steps ADD COLUMN batch_size INTEGER;
ALTER TABLE steps ADD COLUMN cost REAL NOT NULL DEFAULT 0;
ALTER TABLE steps ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN pinned_at REAL;
ALTER TABLE instances ADD COLUMN pinned_by TEXT;
CREATE INDEX processes_by_end ON processes (ended_at) WHERE ended_at IS NOT NULL
"""

_VERSION_3 = """
ALTER TABLE vault ADD COLUMN sum INTEGER;
ALTER TABLE tables ADD COLUMN sum INTEGER;
ALTER TABLE instances ADD COLUMN sum INTEGER;
ALTER TABLE columns ADD COLUMN sum INTEGER;
ALTER TABLE lineage ADD COLUMN sum INTEGER;
ALTER TABLE processes ADD COLUMN sum INTEGER;
ALTER TABLE steps ADD COLUMN sum INTEGER;
ALTER TABLE locks ADD COLUMN sum INTEGER;
ALTER TABLE waiters ADD COLUMN sum INTEGER;
ALTER TABLE requests ADD COLUMN sum INTEGER;
ALTER TABLE events ADD COLUMN sum INTEGER
"""

MIGRATIONS = (_VERSION_1, _VERSION_2, _VERSION_3)
VERSION = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the catalog to ``VERSION``, all in one transaction, or leave it as it is.

    Raises TVFileError if it was written by a newer release.
    """
    if read_version(connection, path) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = read_version(connection, path)
        for script in MIGRATIONS[found:]:
            for statement in script.split(";"):
                connection.execute(statement)
        if 0 < found < checks.SINCE:
            checks.sum_all(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def read_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the catalog. Raises TVFileError if it is newer than this release knows."""
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found > VERSION:
        raise TVFileError(
            f"{path} has catalog version {found}, and this release of tablevault_like knows {VERSION}. "
            "Install the newer release that wrote it.",
            path=path,
        )
    return found
