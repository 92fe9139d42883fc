"""Open the catalog, and give transactions on it.

1. Every change is made in ``transaction()``: one ``BEGIN IMMEDIATE``, so what is read in it stays true until it
   commits.
2. When ``transaction()`` returns, its changes survive power loss: ``journal_mode=PERSIST, synchronous=EXTRA``. The
   commit is the synced overwriting of the journal's header: no file is made or deleted, which a file system would have
   to journal (docs/design-notes/0003).
3. What is read is durable too. A worker that is killed in the middle of that overwriting leaves a commit that everybody
   sees, and that a loss of power would undo; so what others have committed is synced before anything is made of it.
4. Neither the catalog nor its folder is reached through a link, looked at before every transaction.
5. A connection belongs to one thread, and never crosses a fork: closing an inherited connection could roll back the
   parent's open transaction, so a child leaves inherited ones alone for good. Forks wait for open transactions.
6. A commit that raises may have happened all the same. Who must know reads the catalog again.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from tablevault_like.catalog import checks, forks, schema
from tablevault_like.errors import TVFileError
from tablevault_like.storage import callbacks, files, networks, room

BUSY_SECONDS = 60.0


class Database(sqlite3.Connection):
    """A connection to a catalog, inside one transaction: what every query takes."""

    keeps_sums = False
    """It has the triggers that keep the checksums of what it writes."""
    durable_version: int | None = None
    """The version of the catalog, as SQLite counts what others have committed, that is known to be durable."""
    has_failed = False
    """A call of its own has failed since, of which SQLite makes another version, too."""

    def __del__(self) -> None:
        # When its thread has ended. From Python 3.13 on, leaving that to the base class is a warning.
        with suppress(sqlite3.ProgrammingError):  # an interrupt may have come before it was made, or an error
            self.close()


_OPEN_CONNECTIONS: weakref.WeakSet[Database] = weakref.WeakSet()
_interpreter = object()
"""Another one in every fork. A pid doesn't tell: a fork may have that of an ancestor that has ended."""


class Catalog:
    """The catalog of one vault. Safe to share between threads; each gets a connection of its own."""

    def __init__(self, path: Path, *, allow_network: bool = False) -> None:
        """Use the catalog at ``path``. It is opened when first used.

        Raises TVFileError on a network file system, unless that is allowed: SQLite's locks and the workers' locks
        can't be relied on there.
        """
        networks.check(path.parent, what=path, is_allowed=allow_network)
        self.path = path
        self.allows_network = allow_network
        self._journal = path.with_name(f"{path.name}-journal")
        self._local = _ThreadConnection()

    @classmethod
    def create(cls, path: Path, *, allow_network: bool = False) -> Catalog:
        """Make a new, empty catalog. Raises FileExistsError if there is one, and TVFileError on a network."""
        networks.check(path.parent, what=path, is_allowed=allow_network)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666))
        catalog = cls(path, allow_network=allow_network)
        with forks.held_off(path):
            schema.migrate(catalog._connection(is_new=True), path)
        files.sync_directory(path.parent)
        return catalog

    @contextmanager
    def transaction(self) -> Iterator[Database]:
        """Change the catalog in one transaction: all of it is committed and durable on leaving, or nothing is.

        Raises sqlite3.OperationalError if the catalog stayed busy for a minute, or if the disk refused.
        """
        with self._begun("BEGIN IMMEDIATE", keeps_sums=True) as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Database]:
        """Read the catalog as it is at one moment. Nobody is blocked but, for milliseconds, a commit."""
        with self._begun("BEGIN") as connection:
            yield connection

    @contextmanager
    def _begun(self, begin: str, *, keeps_sums: bool = False) -> Iterator[Database]:
        with forks.held_off(self.path):
            files.check_no_link(self.path.parent, self.path, self._journal)
            connection = self._connection()
            if connection.in_transaction:
                raise RuntimeError("a transaction is open in this thread already")
            try:
                if keeps_sums and not connection.keeps_sums:
                    checks.keep(connection)
                    connection.keeps_sums = True
                # Inside, because an interrupt that arrives meanwhile is raised as soon as this returns.
                connection.execute(begin)
                self._sync_others(connection)
                yield connection
                connection.execute("COMMIT")
            except sqlite3.OperationalError as error:
                connection.has_failed = True
                _roll_back(connection)
                if (interrupt := callbacks.interrupt_of(error)) is not None:
                    raise interrupt from None
                if (refusal := _refusal(error, self.path)) is not None:
                    raise refusal from error
                _tell_damage(self.path, error)
                _name_file(error, self.path)
                raise
            except sqlite3.DatabaseError as error:
                _roll_back(connection)
                _tell_damage(self.path, error)
                raise
            except BaseException:
                _roll_back(connection)
                raise

    def _sync_others(self, connection: Database) -> None:
        """Sync what others have committed since this connection looked last (invariant 3)."""
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version == connection.durable_version:
            return
        # A sync that fails is never tried again: not this one, and none of SQLite's.
        connection.durable_version, has_failed, connection.has_failed = version, connection.has_failed, False
        if not has_failed:
            # Who may not read the journal changes nothing; without one nothing was ever committed.
            with suppress(FileNotFoundError, PermissionError):
                files.sync_file(self._journal)

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

    def _connection(self, *, is_new: bool = False) -> Database:
        connection = self._local.connection
        if connection is None:
            if forks.is_torn(self.path):
                raise TVFileError(
                    f"This worker was forked while its parent was in the middle of a transaction on {self.path}, so it "
                    "can't use it. Start it by multiprocessing's 'forkserver' or 'spawn' method instead, or fork "
                    "again.",
                    path=self.path,
                )
            connection = _open(self.path, is_new=is_new)
            self._local.adopt(connection)
        return connection


def damage(path: Path) -> list[str]:
    """Return what is wrong with a catalog, a sentence for each thing; nothing if it is sound.

    Besides what SQLite finds, each row is held to its checksum. Nothing is raised for what can't be read, and nothing
    is written.
    """
    found: list[str] = []
    if path.is_symlink() or not path.is_file():
        return ["The file is missing." if not os.path.lexists(path) else "This is no file."]
    with forks.held_off(path):
        try:
            # As one that may write, where that is allowed: a journal that a dead worker left is rolled back.
            connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
            with closing(connection):
                connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
                connection.execute("PRAGMA trusted_schema = OFF")
                connection.execute("PRAGMA query_only = ON")
                connection.execute("BEGIN")
                version = schema.read_version(connection, path)
                if version == schema.VERSION:
                    found.extend(checks.damage(connection, lambda other: schema.migrate(other, path)))
                elif 0 < version < checks.SINCE:  # it has no checksums yet
                    lines = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
                    found += [f"SQLite: {line}." for line in lines if line != "ok"]
                else:
                    found.append(f"Its version is {version}, which no release has written.")
        except TVFileError as error:
            found.append(str(error))
        except (sqlite3.DatabaseError, ValueError, TypeError, OverflowError) as error:  # it may hold anything
            found.append(f"It can't be read any further ({error}).")
    return found


def _tell_damage(path: Path, error: sqlite3.DatabaseError) -> None:
    """Raise TVFileError if an error says that the catalog is damaged."""
    found = getattr(error, "sqlite_errorcode", None)
    is_no_text = found is None and isinstance(error, sqlite3.OperationalError)
    if is_no_text or (found is not None and found & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)):
        raise TVFileError(_told(path, error), path=path) from error


def _told(path: Path, error: Exception) -> str:
    return (
        f"The catalog {path} is damaged ({error}). `tvl check --rebuild-catalog` makes it anew from the instances; or "
        "restore it from a backup."
    )


def _name_file(error: sqlite3.OperationalError, path: Path) -> None:
    """Name the file in an error of SQLite, which by itself doesn't tell."""
    if str(path) not in str(error):
        error.args = (f"{error}: {path}",)


def _roll_back(connection: Database) -> None:
    # A commit that failed half-way may have ended the transaction by itself.
    with suppress(sqlite3.OperationalError):
        connection.execute("ROLLBACK")


def _open(path: Path, *, is_new: bool) -> Database:
    if not is_new and path.is_file() and path.stat().st_size == 0:
        raise TVFileError(f"The catalog {path} is damaged (it is empty). Restore it from a backup.", path=path)
    if not path.is_file():
        raise TVFileError(
            f"The catalog {path} is missing. Restore the vault from a backup; its instances still lie in their "
            "folders, so `tvl check --rebuild-catalog` can make it anew, too.",
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
        checks.offer(connection)
        connection.execute("PRAGMA synchronous = EXTRA")
        journal_mode = connection.execute("PRAGMA journal_mode = PERSIST").fetchone()[0]
        synchronous = connection.execute("PRAGMA synchronous").fetchone()[0]
        if (journal_mode, synchronous) != ("persist", 3):
            raise TVFileError(
                f"The catalog {path} can't be opened durably (journal mode {journal_mode}, synchronous {synchronous}). "
                "Close whatever else has it open and try again.",
                path=path,
            )
        if not is_new:
            schema.migrate(connection, path)
    except sqlite3.DatabaseError as error:
        connection.close()
        if isinstance(error, sqlite3.OperationalError):
            if (refusal := _refusal(error, path)) is not None:
                raise refusal from error
            _name_file(error, path)
            raise
        raise TVFileError(_told(path, error), path=path) from error
    except BaseException:
        connection.close()
        raise
    _OPEN_CONNECTIONS.add(connection)
    return connection


def _refusal(error: sqlite3.OperationalError, path: Path) -> TVFileError | None:
    """Return what an error means that says that the catalog can't be written to, ``None`` for any other."""
    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
        return None
    if error.sqlite_errorcode == sqlite3.SQLITE_READONLY_ROLLBACK:
        message = (
            f"A worker died in the middle of a change of the catalog {path}, which has to be undone before it can be "
            "read, and it may not be written to here. Let somebody open the vault who may write to it, or copy all of "
            "the vault to a place where you may, and use the copy."
        )
    elif error.sqlite_errorcode == sqlite3.SQLITE_READONLY_DBMOVED:
        message = (
            f"The catalog {path} was open here when another took its place (it was made anew, or restored), so nothing "
            "was changed. Open the vault anew."
        )
    elif os.statvfs(path).f_flag & os.ST_RDONLY:
        message = room.read_only(path.parent.parent, str(error))
    else:
        message = (
            f"The catalog {path} may not be written to by this user, so nothing was changed. The vault can be read all "
            "the same; to change it, ask its owner for the permission."
        )
    return TVFileError(message, path=path)


class _ThreadConnection(threading.local):
    """The connection of one thread, for as long as the thread lives."""

    def __init__(self) -> None:
        self._connection: Database | None = None
        self._interpreter: object = None

    @property
    def connection(self) -> Database | None:
        return self._connection if self._interpreter is _interpreter else None

    def adopt(self, connection: Database) -> None:
        self._connection, self._interpreter = connection, _interpreter

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self._connection = None


def _abandon_inherited_connections() -> None:
    """Keep what a forked child inherited from ever being closed there (invariant 5), not even when it exits."""
    global _interpreter
    _interpreter = object()
    for connection in list(_OPEN_CONNECTIONS):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
    _OPEN_CONNECTIONS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_inherited_connections)
