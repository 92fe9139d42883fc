"""Row stores as earlier versions have written them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def without_checksums(path: Path) -> None:
    """Make of a store one that an earlier version has written."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TABLE files")
        db.execute("DELETE FROM meta WHERE key IN ('process', 'schema', 'release')")
        for table in ("rows", "builders", "codes", "meta"):
            db.execute(f"ALTER TABLE {table} DROP COLUMN sum")
        db.execute("UPDATE meta SET value = 3 WHERE key = 'schema_version'")
