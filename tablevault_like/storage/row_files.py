"""The file that holds the rows of one process: its format, how it is opened, and what SQLite's errors about it mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from tablevault_like.errors import TVFileError
from tablevault_like.release import __version__
from tablevault_like.storage import callbacks, files, room, sums
from tablevault_like.storage.damage import Damage, checkpoint_error
from tablevault_like.storage.patience import code

READ_SECONDS = 10.0
"""How long whoever reads waits for somebody who commits."""

SCHEMA_VERSION = 4
_SUMS_SINCE = 4
_BATCH = 2000
_T = TypeVar("_T")

_FILES = "CREATE TABLE files (path TEXT PRIMARY KEY, sha256 BLOB NOT NULL, sum INTEGER) WITHOUT ROWID"

_SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL, sum INTEGER) WITHOUT ROWID;
CREATE TABLE builders (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, call_hash BLOB,
    cost REAL NOT NULL DEFAULT 0, tokens INTEGER NOT NULL DEFAULT 0, sum INTEGER
);
CREATE TABLE codes (id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, sum INTEGER);
{_FILES};
CREATE TABLE rows (
    builder INTEGER NOT NULL, row INTEGER NOT NULL, status INTEGER NOT NULL, value TEXT, attempts INTEGER NOT NULL,
    seconds REAL NOT NULL, input_hash BLOB, code INTEGER NOT NULL, error TEXT, cost REAL, tokens INTEGER, inputs TEXT,
    sum INTEGER,
    PRIMARY KEY (builder, row)
) WITHOUT ROWID;
"""

_VIEW = """
CREATE VIEW results AS
    SELECT builders.name AS builder, row,
        CASE status WHEN 1 THEN 'done' WHEN 2 THEN 'failed' ELSE 'skipped' END AS status,
        value, attempts, seconds, rows.cost, rows.tokens, error, inputs, codes.fingerprint AS code
    FROM rows JOIN builders ON builders.id = rows.builder LEFT JOIN codes ON codes.id = rows.code
    ORDER BY rows.builder, row;
"""

_PROJECT = "tablevault_like "
"""Before the number of a release: SQLite would take ``7.0`` for a number."""

_OLDEST = 2
"""The oldest format that is still read."""

COLUMNS = "row, status, value, attempts, seconds, input_hash, code, error, cost, tokens, inputs"
READ = f"SELECT {COLUMNS}, sum FROM rows WHERE builder = ?"  # noqa: S608

_UPGRADES = {
    2: (
        "ALTER TABLE rows ADD COLUMN cost REAL",
        "ALTER TABLE rows ADD COLUMN tokens INTEGER",
        "ALTER TABLE rows ADD COLUMN inputs TEXT",
        "ALTER TABLE builders ADD COLUMN cost REAL NOT NULL DEFAULT 0",
        "ALTER TABLE builders ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0",
        "DROP VIEW results",
        _VIEW,
    ),
    3: (
        *(f"ALTER TABLE {table} ADD COLUMN sum INTEGER" for table in ("rows", "builders", "codes", "meta")),
        _FILES,
    ),
}
"""What makes of each format the next one. 2 has no costs and no inputs, 3 has no checksums."""

OLDER = tuple(_UPGRADES)
"""The older formats that are still read."""

AS_IF_UPGRADED = {
    2: (
        "CREATE TEMP VIEW rows AS SELECT *, NULL AS cost, NULL AS tokens, NULL AS inputs, NULL AS sum FROM main.rows",
        "CREATE TEMP VIEW builders AS SELECT *, 0.0 AS cost, 0 AS tokens FROM main.builders",
    ),
    3: ("CREATE TEMP VIEW rows AS SELECT *, NULL AS sum FROM main.rows",),
}


def connect(path: Path, *, mode: str, timeout: float) -> sqlite3.Connection:
    """Open the file. ``timeout`` is in seconds. Raises TVCheckpointError if it is missing."""
    with told(path):
        if not path.is_file():
            raise checkpoint_error(path.parent.name, [Damage(path, "the file is missing")])
        files.check_no_link(path, path.with_name(f"{path.name}-journal"))
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.execute("PRAGMA trusted_schema = OFF")
        return connection


def past_cut_off(path: Path, step: Callable[[], _T]) -> _T:
    """Read something. What a worker that died in the middle of a commit has left of it is undone first."""
    try:
        return step()
    except sqlite3.OperationalError as error:
        if not is_cut_off(error):
            raise
    undo_cut_off(path)
    return step()


def is_cut_off(error: BaseException | None) -> bool:
    """Tell whether an error says that a worker died in the middle of a commit, which has to be undone first."""
    return getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_ROLLBACK


def undo_cut_off(path: Path) -> None:
    """Undo what a worker that died in the middle of a commit has left of it, as SQLite does for all who may write.

    Raises TVFileError if this user may not.
    """
    with closing(connect(path, mode="rw", timeout=READ_SECONDS)) as connection, told(path):
        connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute("PRAGMA journal_mode = PERSIST")
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()


def make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables of an empty store."""
    for statement in (_SCHEMA + _VIEW).split(";\n"):
        connection.execute(statement)


def upgrade(path: Path, connection: sqlite3.Connection, version: int) -> None:
    """Make of a store of an older format one of the newest."""
    for before in range(version, SCHEMA_VERSION):
        for statement in _UPGRADES[before]:
            connection.execute(statement)
    if version < _SUMS_SINCE:
        _sum_all(connection)
    if version < SCHEMA_VERSION:
        describe(path, connection)


def _sum_all(connection: sqlite3.Connection) -> None:
    """Give every record its sum. A row that can't have been recorded as it is gets none, and so is told as damaged."""
    starts = {}
    for number, name, *rest in connection.execute("SELECT id, name, call_hash, cost, tokens FROM builders").fetchall():
        starts[number] = sums.start_of(name)
        connection.execute("UPDATE builders SET sum = ? WHERE id = ?", (sums.sum_of(number, name, *rest), number))
    for number, fingerprint in connection.execute("SELECT id, fingerprint FROM codes").fetchall():
        connection.execute("UPDATE codes SET sum = ? WHERE id = ?", (sums.sum_of(number, fingerprint), number))
    for key, value in connection.execute("SELECT key, value FROM meta").fetchall():
        set_meta(connection, key, value)
    # Not by a function of ours in SQL: an interrupt in it would look like damage.
    after, last = "", ()
    read = f"SELECT builder, {COLUMNS} FROM rows {{}} ORDER BY builder, row LIMIT {_BATCH}"  # noqa: S608
    while rows := connection.execute(read.format(after), last).fetchall():
        connection.executemany(
            "UPDATE rows SET sum = ? WHERE builder = ? AND row = ?",
            [(sums.sum_if_row(starts.get(number), row), number, row[0]) for number, *row in rows],
        )
        after, last = "WHERE (builder, row) > (?, ?)", rows[-1][:2]


def schema_sum(connection: sqlite3.Connection) -> int:
    """Return the sum over the statements that have made a store's tables."""
    return sums.sum_of(*connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"))


def describe(path: Path, connection: sqlite3.Connection) -> None:
    """Record what a store is, and which release has made it so."""
    set_meta(connection, "schema_version", SCHEMA_VERSION)
    set_meta(connection, "process", sums.process_sum(path.parent.name))
    set_meta(connection, "schema", schema_sum(connection))
    set_meta(connection, "release", f"{_PROJECT}{__version__}")


def set_meta(connection: sqlite3.Connection, key: str, value: int | str) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO meta (key, value, sum) VALUES (?, ?, ?)", (key, value, sums.sum_of(key, value))
    )


def check_version(path: Path, connection: sqlite3.Connection) -> int:
    """Return the version of the file's format. Raises TVFileError for one that can't be read."""
    version = _read_version(path, connection)
    if not _is_known(version):
        raise _format_error(path, version, _release(connection))
    return version


def refuse_unknown(path: Path) -> None:
    """Raise TVFileError for a file whose format this release doesn't know. One that can't be read is another matter."""
    try:
        with closing(connect(path, mode="ro", timeout=READ_SECONDS)) as connection, told(path):
            version = _read_version(path, connection)
            release = "" if _is_known(version) else _release(connection)
    except TVFileError:
        return
    if not _is_known(version):
        raise _format_error(path, version, release)


def _read_version(path: Path, connection: sqlite3.Connection) -> int:
    found = connection.execute("SELECT * FROM meta WHERE key = 'schema_version'").fetchone()
    version = None if found is None else found[1]
    if type(version) is not int or (len(found) > 2 and sums.sum_of(*found[:2]) != found[2]):
        raise checkpoint_error(
            path.parent.name, [Damage(path, f"the version of its format ({version!r}) isn't what was recorded")]
        )
    return version


def _is_known(version: int) -> bool:
    return _OLDEST <= version <= SCHEMA_VERSION


def _format_error(path: Path, version: int, release: str) -> TVFileError:
    what, way = "a newer", "Nothing was done, and the process stays as it is. Use that release, or a newer one."
    if version < _OLDEST:
        what, way = "an older", "Finish the process with that release, or stop it and start anew."
    return TVFileError(
        f"The row store {path} was written by {what} version of tablevault_like{release} (its format is {version}, "
        f"this version knows {_OLDEST} to {SCHEMA_VERSION}). {way}",
        path=path,
    )


def _release(connection: sqlite3.Connection) -> str:
    """Return which release has made a file what it is, after a comma; nothing if it doesn't say."""
    found = connection.execute("SELECT value FROM meta WHERE key = 'release'").fetchone()
    return "" if found is None else f", {str(found[0]).removeprefix(_PROJECT)}"


@contextmanager
def told(path: Path, *, but_busy: bool = False) -> Iterator[None]:
    """Turn SQLite's errors about the file into TVFileError; that it is busy, only if nobody waits.

    What interrupted a function that SQLite called is raised as what it is.
    """
    try:
        yield
    except UnicodeDecodeError as error:  # in what SQLite says of the damage
        raise checkpoint_error(path.parent.name, [Damage(path, f"SQLite can't read it ({error})")]) from error
    except sqlite3.DatabaseError as error:
        if (interrupt := callbacks.interrupt_of(error)) is not None:
            raise interrupt from None
        found = code(error)
        if found == sqlite3.SQLITE_BUSY and not but_busy:
            message = f"The row store {path} is busy: another program is writing it. Try again later."
        elif found in _DISK_CODES:
            # A journal that can't be made for want of room: SQLite doesn't tell why.
            way = _DISK_CODES[sqlite3.SQLITE_FULL if room.is_full(error, path.parent) else found]
            message = f"The row store {path} can't be read or written ({error}). {way}"
        elif found in _DAMAGE_CODES or (not found and isinstance(error, sqlite3.OperationalError)):
            # Without a code: a text that isn't UTF-8.
            raise checkpoint_error(path.parent.name, [Damage(path, f"SQLite can't read it ({error})")]) from error
        else:
            raise
        raise TVFileError(message, path=path) from error


_DAMAGE_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)

_DISK_CODES = {
    sqlite3.SQLITE_FULL: "The disk is full: free some space and resume the process.",
    sqlite3.SQLITE_IOERR: "The disk reported an error: check it and resume the process.",
    sqlite3.SQLITE_CANTOPEN: "Check that its folder exists and that you may write there.",
    sqlite3.SQLITE_PERM: "Check that you may write it.",
    sqlite3.SQLITE_READONLY: (
        "Check that you may write it. If its worker died in the middle of a commit, somebody who may has to read, "
        "resume or stop the process first."
    ),
}
