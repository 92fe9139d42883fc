"""Read an SQLite file that may be damaged, and that others may be using: nothing is ever written to it.

1. Only SQLite opens the file (design.md). A commit that a dead worker left half-done is rolled back by that, as any
   reader does; who may not write to the file can't do that, and is told so.
2. All of it is read in one transaction, row by row: what can be read before the first damage is kept.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tablevault_like.catalog import forks

CHECK_AGAIN = "Check its permissions, and who uses it; then check again."
"""What to do about a file that is unreadable, and not damaged."""

_BUSY_SECONDS = 30.0
_BARRIER_SECONDS = 2.0


class Unreadable(Exception):  # noqa: N818 - it is told as a finding
    """Tell why a file can't be read. ``is_damaged``: it is no such database, or no whole one."""

    def __init__(self, why: str, *, is_damaged: bool = True) -> None:
        super().__init__(why)
        self.is_damaged = is_damaged


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a table that could be read, and what went wrong after the last of them."""

    rows: list[sqlite3.Row]
    error: str | None = None


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Read a database as it is at one moment. Raises Unreadable."""
    _check_file(path)
    mode = "rw" if os.access(path, os.W_OK) else "ro"
    with forks.held_off(path):
        with _told():
            connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=_BUSY_SECONDS, isolation_level=None
            )
        with closing(connection):
            with _told():
                connection.row_factory = sqlite3.Row
                connection.text_factory = _text
                connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
                connection.execute("PRAGMA trusted_schema = OFF")
                connection.execute("PRAGMA query_only = ON")
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            yield connection


def wait_for_writers(path: Path) -> bool:
    """Wait until nobody is in the middle of a transaction any more, and tell whether that came about.

    Nothing is written; who may not write can't keep others from it either, and so can't wait for them.
    """
    if not os.access(path, os.W_OK):
        return False
    try:
        with forks.held_off(path), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as other:
            other.isolation_level = None
            other.execute(f"PRAGMA busy_timeout = {int(_BARRIER_SECONDS * 1000)}")
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")
    except sqlite3.Error:
        return False
    return True


def rows_of(connection: sqlite3.Connection, table: str) -> Rows:
    """Return all rows of a table, or as many as can be read."""
    found = list[sqlite3.Row]()
    try:
        found.extend(connection.execute(f"SELECT * FROM {table}"))  # noqa: S608 - the names are our own
    except (sqlite3.Error, ValueError, OverflowError) as error:
        return Rows(found, str(error))
    return Rows(found)


def _check_file(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        raise Unreadable("it is missing") from None
    except OSError as error:
        raise Unreadable(f"it can't be looked at ({error.strerror})", is_damaged=False) from error
    if not stat.S_ISREG(found.st_mode):
        raise Unreadable("it isn't a regular file")
    if found.st_size == 0:
        raise Unreadable("it is empty")
    if not os.access(path, os.R_OK):
        raise Unreadable("this user may not read it", is_damaged=False)
    journal = path.with_name(f"{path.name}-journal")
    if journal.is_symlink():
        why = f"{journal.name} beside it is a link, which nobody follows. Find out who has put it there, and remove it"
        raise Unreadable(why, is_damaged=False)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, ValueError) as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_BUSY:
            raise Unreadable("another program keeps it busy", is_damaged=False) from error
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            raise Unreadable(
                f"it can't be opened by this user ({error}); maybe a commit of a dead worker has to be rolled back",
                is_damaged=False,
            ) from error
        raise Unreadable(f"SQLite can't read it ({error})") from error


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
