"""The file that holds the rows of one process: its format, how it is opened, and what SQLite's errors about it mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tablevault_like.errors import TVFileError
from tablevault_like.storage.patience import code

SCHEMA_VERSION = 3

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE builders (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, call_hash BLOB,
    cost REAL NOT NULL DEFAULT 0, tokens INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE codes (id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE);
CREATE TABLE rows (
    builder INTEGER NOT NULL, row INTEGER NOT NULL, status INTEGER NOT NULL, value TEXT, attempts INTEGER NOT NULL,
    seconds REAL NOT NULL, input_hash BLOB, code INTEGER NOT NULL, error TEXT, cost REAL, tokens INTEGER, inputs TEXT,
    PRIMARY KEY (builder, row)
) WITHOUT ROWID;
"""

VIEW = """
CREATE VIEW results AS
    SELECT builders.name AS builder, row,
        CASE status WHEN 1 THEN 'done' WHEN 2 THEN 'failed' ELSE 'skipped' END AS status,
        value, attempts, seconds, rows.cost, rows.tokens, error, inputs, codes.fingerprint AS code
    FROM rows JOIN builders ON builders.id = rows.builder LEFT JOIN codes ON codes.id = rows.code
    ORDER BY rows.builder, row;
"""

_OLDEST = 2
"""The oldest format that is still read. It has no costs and no inputs."""

UPGRADE = (
    "ALTER TABLE rows ADD COLUMN cost REAL",
    "ALTER TABLE rows ADD COLUMN tokens INTEGER",
    "ALTER TABLE rows ADD COLUMN inputs TEXT",
    "ALTER TABLE builders ADD COLUMN cost REAL NOT NULL DEFAULT 0",
    "ALTER TABLE builders ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0",
    "DROP VIEW results",
    VIEW,
)

AS_IF_UPGRADED = (
    "CREATE TEMP VIEW rows AS SELECT *, NULL AS cost, NULL AS tokens, NULL AS inputs FROM main.rows",
    "CREATE TEMP VIEW builders AS SELECT *, 0.0 AS cost, 0 AS tokens FROM main.builders",
)


def connect(path: Path, *, mode: str, timeout: float) -> sqlite3.Connection:
    """Open the file. ``timeout`` is in seconds. Raises TVFileError if it is missing or can't be opened."""
    with told(path):
        if not path.is_file():
            raise TVFileError(
                f"The row store {path} is missing. What it had recorded is lost: stop the process and start it anew.",
                path=path,
            )
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.execute("PRAGMA trusted_schema = OFF")
        return connection


def check_version(path: Path, connection: sqlite3.Connection) -> int:
    """Return the version of the file's format. Raises TVFileError for one that can't be read."""
    (version,) = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    if not _OLDEST <= version <= SCHEMA_VERSION:
        what, way = ("a newer", "Upgrade tablevault_like.") if version > SCHEMA_VERSION else ("an older", "Start anew.")
        raise TVFileError(
            f"The row store {path} was written by {what} version of tablevault_like (its format is {version}, this "
            f"version knows {_OLDEST} to {SCHEMA_VERSION}). {way}",
            path=path,
        )
    return int(version)


@contextmanager
def told(path: Path, *, but_busy: bool = False) -> Iterator[None]:
    """Turn SQLite's errors about the file into TVFileError; that it is busy, only if nobody waits."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        found = code(error)
        if found == sqlite3.SQLITE_BUSY and not but_busy:
            message = f"The row store {path} is busy: another program is writing it. Try again later."
        elif found in _DISK_CODES:
            message = f"The row store {path} can't be read or written ({error}). {_DISK_CODES[found]}"
        elif found in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
            message = (
                f"The row store {path} is damaged ({error}). Restore it from a backup, or stop the process and start "
                "it anew; what it had recorded is lost then."
            )
        else:
            raise
        raise TVFileError(message, path=path) from error


_DISK_CODES = {
    sqlite3.SQLITE_FULL: "The disk is full: free some space and resume the process.",
    sqlite3.SQLITE_IOERR: "The disk reported an error: check it and resume the process.",
    sqlite3.SQLITE_CANTOPEN: "Check that its folder exists and that you may write there.",
    sqlite3.SQLITE_PERM: "Check that you may write it.",
    sqlite3.SQLITE_READONLY: (
        "Check that you may write it. If its worker died in the middle of a commit, resume or stop the process first."
    ),
}
