"""One plain SQLite file that holds what a function gave for each row, from one run to the next.

::

    results    the rows of the current run that are done: ``SELECT COUNT(*) FROM results`` tells how far it is
    failures   the rows of the current run that failed, with error, traceback, attempts and cost
    history    what other inputs, prompts and functions gave, or the same ones before a fresh run

1. When ``record`` returns, its rows survive SIGKILL and power loss: ``journal_mode=PERSIST, synchronous=EXTRA``
   (docs/design-notes/0003).
2. Nothing is ever deleted: what is no longer of the current run goes to ``history``, and comes back from there.
3. One process at a time uses the file: it holds the lock on ``<file>.lock``, which the kernel frees when it dies.
4. Anybody may read the file meanwhile, with any tool. If that keeps it busy, it is waited out, and logged.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from tablevault_like.catalog import forks
from tablevault_like.errors import TVArgumentError, TVFileError, TVLockError
from tablevault_like.locks import Worker, WorkerLock, read_worker
from tablevault_like.storage import files, networks
from tablevault_like.storage.patience import code, patiently

_APPLICATION = 0x54564D52  # "TVMR"
_VERSION = 1
_BUSY_SECONDS = 0.25  # in SQLite itself, which no signal interrupts; then it is tried again

_COLUMNS = (
    "row_id, json_result, prompt_hash, input_hash, recipe, attempts, seconds, cost, tokens, recorded_at, generation, "
    "number"
)
_SCHEMA = """
CREATE TABLE results (
    row_id TEXT PRIMARY KEY, json_result TEXT NOT NULL, prompt_hash TEXT NOT NULL, input_hash TEXT NOT NULL,
    recipe TEXT NOT NULL, attempts INTEGER NOT NULL, seconds REAL NOT NULL, cost REAL, tokens INTEGER,
    recorded_at TEXT NOT NULL, generation INTEGER NOT NULL, number INTEGER NOT NULL UNIQUE
);
CREATE TABLE history (
    row_id TEXT NOT NULL, json_result TEXT NOT NULL, prompt_hash TEXT NOT NULL, input_hash TEXT NOT NULL,
    recipe TEXT NOT NULL, attempts INTEGER NOT NULL, seconds REAL NOT NULL, cost REAL, tokens INTEGER,
    recorded_at TEXT NOT NULL, generation INTEGER NOT NULL, number INTEGER PRIMARY KEY
);
CREATE INDEX history_of_a_row ON history (row_id);
CREATE TABLE failures (
    row_id TEXT PRIMARY KEY, status TEXT NOT NULL, error TEXT NOT NULL, traceback TEXT, prompt_hash TEXT NOT NULL,
    input_hash TEXT NOT NULL, recipe TEXT NOT NULL, attempts INTEGER NOT NULL, seconds REAL NOT NULL, cost REAL,
    tokens INTEGER, recorded_at TEXT NOT NULL, generation INTEGER NOT NULL
);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)
"""

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that a result depends on but the row's input, as a digest; and the hash by which people know the prompt."""

    digest: str
    prompt_hash: str


@dataclass(slots=True)
class Finished:
    """What came of one row: the text of its value, or, if that is None, an error with its traceback."""

    row_id: str
    json_result: str | None
    attempts: int = 1
    seconds: float = 0.0
    cost: float | None = None
    tokens: int | None = None
    error: str | None = None
    traceback: str | None = None
    is_skipped: bool = False


@dataclass(frozen=True, slots=True)
class Totals:
    """What the rows of the current run took, those that failed too."""

    cost: float | None
    """None if nobody said what they cost."""
    tokens: int


class Cache:
    """The file, for the one process that uses it. Made by ``opened``."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self.while_busy: Callable[[], None] = lambda: None
        """Called while somebody else keeps the file busy. It may raise, to give up."""
        self._recipe = Recipe("", "")
        self._inputs: Mapping[str, str] = {}
        self._failed: set[str] = set()
        self.skipped = 0
        """How many rows of the current run were left empty for good before it began."""
        self._generation = 0
        self._number = 0

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[Self]:
        """Open the cache at ``path``, or make it, with the folders above it, and keep all others out.

        Raises TVLockError if another process uses it, TVFileError if the file is damaged or something else, lies on a
        network file system, or can't be written.
        """
        _make_folder(path)
        with _locked(path):
            connection = _connect(path)
            try:
                cache = cls(path, connection)
                cache._prepare()
                yield cache
            finally:
                connection.close()

    def begin(
        self, recipe: Recipe, inputs: Mapping[str, str], *, fresh: bool = False, any_recipe: bool = False
    ) -> set[str]:
        """Make ``results`` hold what is there for these rows (ids, and hashes of inputs), and return which are left.

        ``fresh`` leaves out what was recorded before this run began; a run that began so and wasn't completed goes on.
        ``any_recipe`` takes the newest result for an input, whatever gave it.
        """
        self._recipe, self._inputs = recipe, inputs
        run = self._connection.execute
        with self._transaction():
            least = self._first_generation(fresh=fresh)
            run("DROP TABLE IF EXISTS temp.wanted")
            run("CREATE TEMP TABLE wanted (row_id TEXT PRIMARY KEY, input_hash TEXT NOT NULL) WITHOUT ROWID")
            self._connection.executemany("INSERT INTO temp.wanted VALUES (?, ?)", inputs.items())
            run("DROP TABLE IF EXISTS temp.best")
            run("CREATE TEMP TABLE best (number INTEGER PRIMARY KEY)")
            run(
                "INSERT INTO temp.best SELECT max(number) FROM ("
                "SELECT row_id, input_hash, recipe, generation, number FROM main.results UNION ALL "
                "SELECT row_id, input_hash, recipe, generation, number FROM main.history"
                ") JOIN temp.wanted USING (row_id, input_hash) WHERE generation >= ? AND (recipe = ? OR ?) "
                "GROUP BY row_id",
                (least, recipe.digest, any_recipe),
            )
            outside = "FROM main.results WHERE number NOT IN (SELECT number FROM temp.best)"
            inside = "FROM main.history WHERE number IN (SELECT number FROM temp.best)"
            run(f"INSERT INTO main.history ({_COLUMNS}) SELECT {_COLUMNS} {outside}")
            run(f"DELETE {outside}")
            run(f"INSERT INTO main.results ({_COLUMNS}) SELECT {_COLUMNS} {inside}")
            run(f"DELETE {inside}")
            run(
                "DELETE FROM main.failures WHERE recipe <> ? OR generation < ? "
                "OR row_id IN (SELECT row_id FROM main.results) OR NOT EXISTS (SELECT 1 FROM temp.wanted AS wanted "
                "WHERE wanted.row_id = failures.row_id AND wanted.input_hash = failures.input_hash)",
                (recipe.digest, least),
            )
            done = {row for (row,) in run("SELECT row_id FROM main.results")}
            failures = run("SELECT row_id, status FROM main.failures").fetchall()
            (self._number,) = run(
                "SELECT max(ifnull((SELECT max(number) FROM results), 0), ifnull((SELECT max(number) FROM history), 0))"
            ).fetchone()
        self._failed = {row for row, _ in failures}
        skipped = {row for row, status in failures if status == "skipped"}
        self.skipped = len(skipped)
        return inputs.keys() - done - skipped

    def record(self, rows: Sequence[Finished]) -> None:
        """Record rows in one transaction. They are durable when it returns."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._transaction():
            number = self._number
            for row in rows:
                self._add_earlier_attempts(row)
                number += row.json_result is not None
                self._record(row, now, number)
            # Only what is committed counts: a commit that fails may be tried again with the same rows.
        self._number = number
        self._failed -= {row.row_id for row in rows if row.json_result is not None}
        self._failed |= {row.row_id for row in rows if row.json_result is None}

    def complete(self) -> None:
        """Say that all rows of the current run are done: the next fresh one begins anew."""
        if self._connection.execute("SELECT 1 FROM meta WHERE key = 'fresh'").fetchone():
            with self._transaction():
                self._connection.execute("DELETE FROM meta WHERE key = 'fresh'")

    def results(self) -> dict[str, str]:
        """Return the text of the value of every row that is done, by id."""
        return dict(self._patiently(self._connection.execute("SELECT row_id, json_result FROM results").fetchall))

    def failures(self) -> dict[str, str]:
        """Return the errors of the rows that failed, by id."""
        return dict(self._patiently(self._connection.execute("SELECT row_id, error FROM failures").fetchall))

    def totals(self) -> Totals:
        """Return what the rows of the current run took."""
        (cost, tokens) = self._connection.execute(
            "SELECT sum(cost), ifnull(sum(tokens), 0) FROM "
            "(SELECT cost, tokens FROM results UNION ALL SELECT cost, tokens FROM failures)"
        ).fetchone()
        return Totals(cost, tokens)

    def _first_generation(self, *, fresh: bool) -> int:
        """Return the generation from which on results count in this run.

        A fresh run begins a generation, and leaves a mark until it is complete, so that it can go on.
        """
        meta = dict(self._connection.execute("SELECT key, value FROM main.meta"))
        self._generation = int(meta.get("generation", 0))
        if not fresh:
            return 0
        mark = json.loads(meta["fresh"]) if "fresh" in meta else None
        if mark is not None and mark["recipe"] == self._recipe.digest:
            return int(mark["generation"])
        self._generation += 1
        mark = {"recipe": self._recipe.digest, "generation": self._generation}
        self._connection.executemany(
            "INSERT OR REPLACE INTO main.meta VALUES (?, ?)",
            [("generation", str(self._generation)), ("fresh", json.dumps(mark))],
        )
        return self._generation

    def _add_earlier_attempts(self, row: Finished) -> None:
        if row.row_id in self._failed:
            found = self._connection.execute(
                "SELECT attempts, cost, tokens FROM failures WHERE row_id = ?", (row.row_id,)
            ).fetchone()
            if found is not None:
                attempts, cost, tokens = found
                row.attempts += attempts
                row.cost = _sum(row.cost, cost)
                row.tokens = _sum(row.tokens, tokens)

    def _record(self, row: Finished, now: str, number: int) -> None:
        name, recipe = row.row_id, self._recipe
        made = (recipe.prompt_hash, self._inputs[name], recipe.digest)
        took = (row.attempts, row.seconds, row.cost, row.tokens, now, self._generation)
        if row.json_result is None:
            status = "skipped" if row.is_skipped else "failed"
            self._connection.execute(
                "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (name, status, row.error or "", row.traceback, *made, *took),
            )
            return
        self._connection.execute(
            f"INSERT INTO results ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            (name, row.json_result, *made, *took, number),
        )
        if name in self._failed:
            self._connection.execute("DELETE FROM failures WHERE row_id = ?", (name,))

    def _prepare(self) -> None:
        run = self._connection.execute
        self._check_is_ours()
        self._patiently(lambda: run("PRAGMA synchronous = EXTRA"))
        (mode,) = self._patiently(lambda: run("PRAGMA journal_mode = PERSIST").fetchone())
        (synchronous,) = run("PRAGMA synchronous").fetchone()
        if (mode, synchronous) != ("persist", 3):
            raise TVFileError(
                f"The cache {self.path} can't be opened durably (journal mode {mode}, synchronous {synchronous}). "
                "Close whatever else has it open and try again.",
                path=self.path,
            )
        run("PRAGMA temp_store = MEMORY")
        with self._transaction():
            if not run("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall():  # new, or left empty by who was killed
                for statement in _SCHEMA.split(";\n"):
                    run(statement)
                run(f"PRAGMA application_id = {_APPLICATION}")
                run(f"PRAGMA user_version = {_VERSION}")
                files.sync_directory(self.path.parent)

    def _check_is_ours(self) -> None:
        run = self._connection.execute
        tables = self._patiently(lambda: run("SELECT name FROM sqlite_schema LIMIT 1").fetchall())
        (application,) = run("PRAGMA application_id").fetchone()
        (version,) = run("PRAGMA user_version").fetchone()
        if tables and application != _APPLICATION:
            raise TVFileError(
                f"{self.path} is an SQLite file of something else (it has a table {tables[0][0]!r}). Name another "
                "cache_path.",
                path=self.path,
            )
        if tables and version != _VERSION:
            raise TVFileError(
                f"The cache {self.path} was written by another version of tablevault_like (its format is {version}, "
                f"this version knows {_VERSION}). Upgrade tablevault_like, or name another cache_path.",
                path=self.path,
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with forks.held_off(self.path):
            self._patiently(lambda: self._connection.execute("BEGIN IMMEDIATE"))
            try:
                with _told(self.path):
                    yield
                self._patiently(lambda: self._connection.execute("COMMIT"))
            except BaseException:
                with suppress(sqlite3.OperationalError):  # a commit that failed half-way may have ended it
                    self._connection.execute("ROLLBACK")
                raise

    def _patiently(self, step: Callable[[], _T]) -> _T:
        with _told(self.path):
            return patiently(self.path, step, while_busy=lambda seconds: self.while_busy())


def cache_file(given: object) -> Path:
    """Return the path of a cache. Raises TVArgumentError for what can't be one."""
    if not (isinstance(given, str | os.PathLike) and os.fspath(given)):
        raise TVArgumentError(f"cache_path must be the path of a file, such as 'cache.sqlite', not {given!r}.")
    path = Path(os.fsdecode(given)).expanduser()
    if "\0" in str(path):
        raise TVArgumentError(f"cache_path holds a null character, which no name of a file can: {given!r}.")
    with suppress(OSError):  # what can't be looked for is no folder
        if path.is_dir():
            raise TVArgumentError(
                f"cache_path is a folder, {path}. Name a file in it, such as {path / 'cache.sqlite'}."
            )
    return path.absolute()


def _make_folder(path: Path) -> None:
    try:
        files.make_directory(path.parent)
        if not path.parent.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "a file is in its place")
    except OSError as error:
        raise TVFileError(
            f"The folder {path.parent} of the cache can't be made ({error.strerror}). Name a cache_path where you may "
            "write.",
            path=path,
        ) from error
    ways = f"Name a cache_path on a local disk. If only one machine ever uses it, set {networks.VARIABLE}=1."
    networks.check(path.parent, what=path, is_allowed=False, ways=ways)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of the file, or say who does."""
    lock = WorkerLock(path.with_name(f"{path.name}.lock"))
    try:
        may_write = os.access(lock.path if lock.path.exists() else path.parent, os.W_OK)
        is_free = may_write and lock.acquire()
    except OSError as error:
        raise TVFileError(
            f"The cache {path} can't be used: its lock {lock.path} can't be made ({error.strerror or error}). Name "
            "another cache_path.",
            path=path,
        ) from error
    if not may_write:
        raise TVFileError(
            f"The cache {path} can't be used: this user may not write {lock.path}. Name another cache_path, or ask its "
            "owner for the permission.",
            path=path,
        )
    if not is_free:
        raise TVLockError(_taken(path, lock.path), resource=str(path))
    try:
        yield
    finally:
        lock.release()


def _taken(path: Path, lock: Path) -> str:
    worker = read_worker(lock)
    if worker is None:
        return f"The cache {path} is in use by another process. Wait for it to end, or name another cache_path."
    with suppress(OSError):
        since = datetime.fromtimestamp(lock.stat().st_mtime, UTC).astimezone()
        return _taken_by(path, worker, f" since {since:%Y-%m-%d %H:%M:%S}")
    return _taken_by(path, worker, "")


def _taken_by(path: Path, worker: Worker, since: str) -> str:
    who = "this very process" if worker == Worker.this() else "another process"
    return (
        f"The cache {path} is in use by {who} (pid {worker.pid} on {worker.host}){since}. Wait for it to end, end it, "
        "or name another cache_path."
    )


def _connect(path: Path) -> sqlite3.Connection:
    with _told(path):
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.execute("PRAGMA trusted_schema = OFF")
        return connection


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about the file into TVFileError."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        told = _TOLD.get(code(error))
        if told is None:
            raise
        raise TVFileError(f"The cache {path} {told.format(error=error)}", path=path) from error


_TOLD = {
    sqlite3.SQLITE_FULL: "can't be written: the disk is full. Free some space; the same call goes on.",
    sqlite3.SQLITE_IOERR: "can't be read or written ({error}). Check the disk; the same call goes on.",
    sqlite3.SQLITE_CANTOPEN: "can't be opened ({error}). Check that you may write there.",
    sqlite3.SQLITE_PERM: "may not be written to by this user ({error}).",
    sqlite3.SQLITE_READONLY: "may not be written to by this user ({error}).",
    sqlite3.SQLITE_CORRUPT: "is damaged ({error}). Restore it from a backup, or name another cache_path.",
    sqlite3.SQLITE_NOTADB: "isn't an SQLite file. Name another cache_path.",
}


def _sum(one: Any, other: Any) -> Any:
    return other if one is None else one if other is None else one + other


def first(names: Iterable[object], *, count: int = 5) -> str:
    """Return some of many things for a message: the first few, and how many more there are.

    >>> first([1, 2, 3], count=2)
    '1, 2 and 1 more'
    """
    every = list(names)
    shown = ", ".join(map(repr, every[:count]))
    return shown if len(every) <= count else f"{shown} and {len(every) - count} more"
