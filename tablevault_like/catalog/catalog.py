"""Open the catalog, and give transactions on it.

1. Every change is made in ``transaction()``: one ``BEGIN IMMEDIATE``, so what is read in it stays true until it
   commits.
2. When ``transaction()`` returns, its changes survive power loss: ``journal_mode=PERSIST, synchronous=EXTRA``. The
   commit is the synced overwriting of the journal's header: no file is made or deleted, which a file system would have
   to journal (docs/design-notes/0003).
3. A connection belongs to one thread, and never crosses a fork: closing an inherited connection could roll back the
   parent's open transaction, so a child leaves inherited ones alone for good. Forks wait for open transactions.
4. A commit that raises may have happened all the same. Who must know reads the catalog again.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tablevault_like.catalog import forks, schema
from tablevault_like.errors import TVFileError
from tablevault_like.storage import files

BUSY_SECONDS = 60.0
NETWORK_VARIABLE = "TABLEVAULT_ALLOW_NETWORK_FS"


class Database(sqlite3.Connection):
    """A connection to a catalog, inside one transaction: what every query takes."""

    def __del__(self) -> None:
        # When its thread has ended. From Python 3.13 on, leaving that to the base class is a warning.
        self.close()


_OPEN_CONNECTIONS: weakref.WeakSet[Database] = weakref.WeakSet()


class Catalog:
    """The catalog of one vault. Safe to share between threads; each gets a connection of its own."""

    def __init__(self, path: Path) -> None:
        """Use the catalog at ``path``. It is opened when first used.

        Raises TVFileError on a network file system, unless ``TABLEVAULT_ALLOW_NETWORK_FS=1`` is set: SQLite's locks and
        the workers' locks can't be relied on there.
        """
        self.path = path
        self._local = _ThreadConnection()
        if os.environ.get(NETWORK_VARIABLE) != "1" and (kind := files.network_file_system(path.parent)):
            raise TVFileError(
                f"{path} lies on a network file system ({kind}), where locks can't be relied on. Move the vault to a "
                f"local disk, or set {NETWORK_VARIABLE}=1 if only one machine ever uses it.",
                path=path,
            )

    @classmethod
    def create(cls, path: Path) -> Catalog:
        """Make a new, empty catalog. Raises FileExistsError if there is one."""
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666))
        catalog = cls(path)
        with forks.held_off(path):
            schema.migrate(catalog._connection(), path)
        files.sync_directory(path.parent)
        return catalog

    @contextmanager
    def transaction(self) -> Iterator[Database]:
        """Change the catalog in one transaction: all of it is committed and durable on leaving, or nothing is.

        Raises sqlite3.OperationalError if the catalog stayed busy for a minute, or if the disk refused.
        """
        with self._begun("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Database]:
        """Read the catalog as it is at one moment. Nobody is blocked but, for milliseconds, a commit."""
        with self._begun("BEGIN") as connection:
            yield connection

    @contextmanager
    def _begun(self, begin: str) -> Iterator[Database]:
        with forks.held_off(self.path):
            connection = self._connection()
            if connection.in_transaction:
                raise RuntimeError("a transaction is open in this thread already")
            try:
                # Inside, because an interrupt that arrives meanwhile is raised as soon as this returns.
                connection.execute(begin)
                yield connection
                connection.execute("COMMIT")
            except sqlite3.OperationalError as error:
                _roll_back(connection)
                if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_READONLY:
                    raise TVFileError(
                        f"The catalog {self.path} may not be written to by this user, so nothing was changed. The "
                        "vault can be read all the same; to change it, ask its owner for the permission.",
                        path=self.path,
                    ) from error
                raise
            except BaseException:
                _roll_back(connection)
                raise

    def recover(self) -> None:
        """Roll back what is still open in this thread, because an interrupt was raised before its ``with`` had begun.

        To be called before anything is made of an error, where no transaction can be open otherwise.
        """
        connection = self._local.connection
        if connection is not None and connection.in_transaction:
            _roll_back(connection)
        forks.recover(self.path)

    def integrity_errors(self) -> list[str]:
        """Return what SQLite finds wrong with the file; nothing if it is sound."""
        with self.snapshot() as db:
            found = [str(row[0]) for row in db.execute("PRAGMA integrity_check")]
        return [] if found == ["ok"] else found

    def close(self) -> None:
        """Close the connection of this thread."""
        self._local.close()

    def _connection(self) -> Database:
        connection = self._local.connection
        if connection is None:
            if forks.is_torn(self.path):
                raise TVFileError(
                    f"This worker was forked while its parent was in the middle of a transaction on {self.path}, so it "
                    "can't use it. Start it by multiprocessing's 'forkserver' or 'spawn' method instead, or fork "
                    "again.",
                    path=self.path,
                )
            connection = _open(self.path)
            self._local.adopt(connection)
        return connection


def _roll_back(connection: Database) -> None:
    # A commit that failed half-way may have ended the transaction by itself.
    with suppress(sqlite3.OperationalError):
        connection.execute("ROLLBACK")


def _open(path: Path) -> Database:
    if not path.is_file():
        raise TVFileError(
            f"The catalog {path} is missing. Restore the vault from a backup; its instances still lie in their "
            "folders.",
            path=path,
        )
    # Not by URI (mode=rw): a path may hold any character. The check above keeps SQLite from making an empty file.
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, factory=Database
    )
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = EXTRA")
        journal_mode = connection.execute("PRAGMA journal_mode = PERSIST").fetchone()[0]
        synchronous = connection.execute("PRAGMA synchronous").fetchone()[0]
        if (journal_mode, synchronous) != ("persist", 3):
            raise TVFileError(
                f"The catalog {path} can't be opened durably (journal mode {journal_mode}, synchronous {synchronous}). "
                "Close whatever else has it open and try again.",
                path=path,
            )
        if path.stat().st_size > 0:
            schema.migrate(connection, path)
    except sqlite3.DatabaseError as error:
        connection.close()
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise TVFileError(f"The catalog {path} is damaged ({error}). Restore it from a backup.", path=path) from error
    except BaseException:
        connection.close()
        raise
    _OPEN_CONNECTIONS.add(connection)
    return connection


class _ThreadConnection(threading.local):
    """The connection of one thread, for as long as the thread lives."""

    def __init__(self) -> None:
        self._connection: Database | None = None
        self._pid = 0

    @property
    def connection(self) -> Database | None:
        return self._connection if self._pid == os.getpid() else None

    def adopt(self, connection: Database) -> None:
        self._connection, self._pid = connection, os.getpid()

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self._connection = None


def _abandon_inherited_connections() -> None:
    """Keep what a forked child inherited from ever being closed there (invariant 3), not even when it exits."""
    for connection in list(_OPEN_CONNECTIONS):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
    _OPEN_CONNECTIONS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_inherited_connections)
