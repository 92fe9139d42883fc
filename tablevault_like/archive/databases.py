"""Copy SQLite files that others use, by SQLite's own means. None of them is ever opened in another way."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeAlias

from tablevault_like.catalog import forks
from tablevault_like.errors import TVFileError

Copy: TypeAlias = Callable[[Path], None]

_BUSY_SECONDS = 30.0


@contextmanager
def held(path: Path) -> Iterator[Copy]:
    """Hold an SQLite file as it is at this moment, and give what copies it to a new file. Whoever writes it waits.

    What a worker left there that died inside a commit is rolled back first, as SQLite does. Raises FileNotFoundError if
    there is no file, TVFileError if it is damaged, or if somebody keeps it busy.
    """
    mode = "rw" if may_write(path) else "ro"
    path.stat()
    with forks.held_off(path), told(path):
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
            connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            yield lambda target: copy(connection, target)


def may_write(path: Path) -> bool:
    """Tell whether this user may write to a file. Who may not can't lock it either."""
    return os.access(path, os.W_OK)


def copy(connection: sqlite3.Connection, target: Path) -> None:
    """Copy what a connection reads to a new file, which isn't synced."""
    with closing(sqlite3.connect(target, isolation_level=None)) as copied:
        copied.execute("PRAGMA journal_mode = OFF")
        copied.execute("PRAGMA synchronous = OFF")
        connection.backup(copied)


def defects(path: Path) -> list[str]:
    """Return what SQLite finds wrong with a file that nobody else uses. Nothing but reading is done with it."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(10)")]
            broken = connection.execute("PRAGMA foreign_key_check").fetchall() if found == ["ok"] else []
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [each for each in found if each != "ok"] + [f"a row of {row[0]} refers to nothing" for row in broken[:10]]


def objects(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    """Return the kinds and names of what a database is made of: tables, indexes, views, triggers."""
    rows = connection.execute("SELECT type, name FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
    return {(str(row[0]), str(row[1])) for row in rows}


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about a file into TVFileError."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_BUSY:
            raise TVFileError(f"{path} is kept busy by another program. Try again later.", path=path) from error
        if code == sqlite3.SQLITE_READONLY:
            raise TVFileError(
                f"{path} can't be read: its worker died inside a commit, and this user may not roll that back. Have "
                "its owner resume or stop the process, or do this.",
                path=path,
            ) from error
        if code == sqlite3.SQLITE_FULL:
            raise TVFileError(
                f"{path} can't be copied: the disk is full. Free some space and call again, or name a place on another "
                "disk.",
                path=path,
            ) from error
        raise TVFileError(f"{path} can't be read or copied ({error}).", path=path) from error
