"""Record what was computed for each row, in an SQLite file of its own for each process.

1. When ``record`` returns, its rows survive SIGKILL and power loss: ``journal_mode=PERSIST, synchronous=EXTRA``.
2. Recorded once: a row that is done is never changed by ``record``. One that failed is, and its attempts add up.
3. Fenced: every write checks, in its own transaction, that no later claim has put its epoch into the file.
4. A busy file (somebody reads it with another tool) is waited out and logged; it is never an error.
5. A store belongs to the thread that opened it. A fork that user code makes in another thread waits until that one
   is neither reading nor in a transaction, so the child inherits none of SQLite's locks, on the file or in memory.

Anyone may open the file with any SQLite tool; the view ``results`` shows it with readable names.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

from tablevault_like.catalog import forks
from tablevault_like.errors import FencedError, TVFileError
from tablevault_like.model import RowStatus
from tablevault_like.storage import files, row_files
from tablevault_like.storage.patience import patiently

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_RECORD = """
INSERT INTO rows (builder, row, status, value, attempts, seconds, input_hash, code, error, cost, tokens, inputs)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (builder, row) DO UPDATE SET
        status = excluded.status, value = excluded.value, attempts = attempts + excluded.attempts,
        seconds = excluded.seconds, input_hash = excluded.input_hash, code = excluded.code, error = excluded.error,
        cost = CASE WHEN rows.cost IS NULL THEN excluded.cost ELSE rows.cost + ifnull(excluded.cost, 0) END,
        tokens = CASE WHEN rows.tokens IS NULL THEN excluded.tokens ELSE rows.tokens + ifnull(excluded.tokens, 0) END,
        inputs = excluded.inputs
    WHERE rows.status <> 1
"""

_RECORD_DONE = """
INSERT INTO rows (builder, row, status, value, attempts, seconds, input_hash, code)
    VALUES (?, ?, 1, ?, ?, ?, ?, ?)
    ON CONFLICT (builder, row) DO UPDATE SET
        status = 1, value = excluded.value, attempts = attempts + excluded.attempts, seconds = excluded.seconds,
        input_hash = excluded.input_hash, code = excluded.code, error = NULL, inputs = NULL
    WHERE rows.status <> 1
"""
"""The same for a ``DoneRow``: mostly all rows are such, so it is worth their time."""

_WRITER_TIMEOUT = 0.25  # seconds in SQLite itself, which no signal interrupts; then it is tried again
_READER_TIMEOUT = 10.0

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

DoneRow: TypeAlias = tuple[int, str, int, float, bytes | None, int]
"""Position, cells, attempts, seconds, input hash and code of a row that is done at a price that nobody told."""

Effort: TypeAlias = tuple[int, bytes | None, int, int, float]
"""Position, input hash and code (None and 0 of a row that isn't done), attempts, seconds."""

Price: TypeAlias = tuple[int, float | None, int | None]
"""Position, cost, tokens."""


@dataclass(slots=True)
class RowRecord:
    """What is recorded of one row of one builder.

    ``cells`` is the text of a JSON array with one element for each changed column, ``error`` that of an ErrorRecord.
    ``seconds`` is how long its last call took, all its attempts and what they waited for included; a row that was
    reused has had no attempts here. ``code`` is a number
    from ``RowStore.code_number``; 0 is none. ``cost`` and ``tokens`` are what these attempts took, None where nobody
    told; they add up, as attempts do. ``inputs`` is the text of what a row that failed was called with.
    """

    index: int
    status: RowStatus
    cells: str | None = None
    attempts: int = 1
    seconds: float = 0.0
    input_hash: bytes | None = None
    code: int = 0
    error: str | None = None
    cost: float | None = None
    tokens: int | None = None
    inputs: str | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows of a builder are recorded as what. ``reused`` are those of the done ones that weren't made here.

    ``cost`` and ``tokens`` are what all attempts took, as far as it was told.
    """

    done: int = 0
    failed: int = 0
    skipped: int = 0
    reused: int = 0
    cost: float = 0.0
    tokens: int = 0


class RowReader:
    """Read the rows of a process without ever writing, and without holding up its writer for long."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._builders: dict[str, int] = {}

    def recorded(self, builder: str, status: RowStatus = RowStatus.DONE) -> NDArray[np.int64]:
        """Return the positions of the rows with this status, sorted."""
        import numpy as np

        found = self._rows(builder, "SELECT row FROM rows WHERE builder = ? AND status = ? ORDER BY row", int(status))
        return np.fromiter((row for (row,) in found), dtype=np.int64, count=len(found))

    def counts(self, builder: str) -> Counts:
        """Return how many rows are done, failed and skipped."""
        whole = self._fetch("SELECT id, cost, tokens FROM builders WHERE name = ?", builder)
        if not whole:
            return Counts()
        ((number, cost, tokens),) = whole
        # Not GROUP BY, which sorts.
        ((*counts, row_cost, row_tokens),) = self._fetch(
            "SELECT count(*) FILTER (WHERE status = 1), count(*) FILTER (WHERE status = 2),"
            " count(*) FILTER (WHERE status = 3), count(*) FILTER (WHERE status = 1 AND attempts = 0),"
            " total(cost), ifnull(sum(tokens), 0) FROM rows WHERE builder = ?",
            number,
        )
        done, failed, skipped, reused = counts
        return Counts(done, failed, skipped, reused, cost + row_cost, tokens + row_tokens)

    def is_empty(self) -> bool:
        """Tell whether no row of any builder is recorded."""
        return not self._fetch("SELECT 1 FROM rows LIMIT 1")

    def cells(self, builder: str, *, holding: str = "", batch_size: int = 10_000) -> Iterator[list[tuple[int, str]]]:
        """Yield the position and the cells of every row that is done, by position, in batches.

        With ``holding``, only those whose text holds that. The file is read for each batch anew, so that nobody waits
        while the batch is used.
        """
        last, batch = -1, [(0, "")]
        while batch:
            batch = self._rows(
                builder,
                "SELECT row, value FROM rows WHERE builder = ?1 AND status = 1 AND row > ?2"
                " AND (?3 = '' OR instr(value, ?3)) ORDER BY row LIMIT ?4",
                last,
                holding,
                batch_size,
            )
            if batch:
                yield batch
                last = batch[-1][0]

    def input_hash(self, builder: str) -> bytes | None:
        """Return the hash of what a function was given that is called once for all rows; None if none is recorded."""
        found = self._fetch("SELECT call_hash FROM builders WHERE name = ?", builder)
        return found[0][0] if found else None

    def efforts(self, builder: str, *, batch_size: int = 10_000) -> Iterator[list[Effort]]:
        """Yield what each recorded row took, by position, in batches."""
        last = -1
        batch: list[Effort]
        while batch := self._rows(
            builder,
            "SELECT row, iif(status = 1, input_hash, NULL), iif(status = 1, code, 0), attempts, seconds FROM rows"
            " WHERE builder = ? AND row > ? ORDER BY row LIMIT ?",
            last,
            batch_size,
        ):
            yield batch
            last = batch[-1][0]

    def reused(self, builder: str) -> set[int]:
        """Return the positions of the rows that are done and weren't made here."""
        found = self._rows(builder, "SELECT row FROM rows WHERE builder = ? AND status = 1 AND attempts = 0")
        return {row for (row,) in found}

    def prices(self, builder: str) -> list[Price]:
        """Return what rows have cost, by position, for those of which it was told."""
        return self._rows(
            builder,
            "SELECT row, cost, tokens FROM rows WHERE builder = ? AND (cost IS NOT NULL OR tokens IS NOT NULL)"
            " ORDER BY row",
        )

    def failures(self, builder: str, status: RowStatus = RowStatus.FAILED) -> list[RowRecord]:
        """Return the rows that failed (or failed and were skipped), by position."""
        found = self._rows(
            builder,
            "SELECT row, status, value, attempts, seconds, input_hash, code, error, cost, tokens, inputs FROM rows "
            "WHERE builder = ? AND status = ? ORDER BY row",
            int(status),
        )
        return [RowRecord(index, RowStatus(status), *rest) for index, status, *rest in found]

    def row(self, builder: str, index: int) -> RowRecord | None:
        """Return what is recorded of one row, ``None`` if nothing is."""
        found = self._rows(
            builder,
            "SELECT row, status, value, attempts, seconds, input_hash, code, error, cost, tokens, inputs FROM rows "
            "WHERE builder = ? AND row = ?",
            index,
        )
        return RowRecord(found[0][0], RowStatus(found[0][1]), *found[0][2:]) if found else None

    def codes(self) -> dict[int, str]:
        """Return the fingerprint of the code that each code number stands for."""
        return dict(self._fetch("SELECT id, fingerprint FROM codes"))

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _rows(self, builder: str, sql: str, *parameters: object) -> list[Any]:
        number = self._builder(builder)
        return [] if number is None else self._fetch(sql, number, *parameters)

    def _builder(self, name: str) -> int | None:
        if name not in self._builders:
            found = self._fetch("SELECT id FROM builders WHERE name = ?", name)
            if not found:
                return None
            self._builders[name] = found[0][0]
        return self._builders[name]

    def _fetch(self, sql: str, *parameters: object) -> list[Any]:
        return self._patiently(lambda: self._connection.execute(sql, parameters).fetchall())

    def _patiently(self, step: Callable[[], _T]) -> _T:
        with forks.held_off(self.path), row_files.told(self.path):
            return step()


class RowStore(RowReader):
    """The row results of one process, for the worker that has claimed it.

    ``while_busy``, if set, is called with the seconds waited so far, several times a second, while somebody else keeps
    the file busy. It may raise, to give up; nothing has been recorded then.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        super().__init__(path, connection)
        self.while_busy: Callable[[float], None] | None = None
        self._epoch: int | None = None

    @classmethod
    def create(cls, path: Path, *, epoch: int) -> Self:
        """Make a new store that is claimed with ``epoch``. Raises FileExistsError if there is a file."""
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666))
        store = cls.open(path)
        try:
            store.claim(epoch)
            files.sync_directory(path.parent)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a store. It can be read at once, and written once it is claimed.

        Raises TVFileError if it is missing, damaged, or of a newer version.
        """
        store = cls(path, row_files.connect(path, mode="rw", timeout=_WRITER_TIMEOUT))
        try:
            store._prepare()
        except BaseException:
            store.close()
            raise
        return store

    @staticmethod
    def read(path: Path) -> RowReader:
        """Open a store for reading only, whoever writes it. Raises TVFileError if it is missing or damaged."""
        reader = RowReader(path, row_files.connect(path, mode="ro", timeout=_READER_TIMEOUT))
        try:
            with row_files.told(path):
                if row_files.check_version(path, reader._connection) < row_files.SCHEMA_VERSION:
                    for statement in row_files.AS_IF_UPGRADED:
                        reader._connection.execute(statement)
        except BaseException:
            reader.close()
            raise
        return reader

    def claim(self, epoch: int) -> None:
        """Write ``epoch`` into the file: from now on workers with a lower one are refused, and this one may write.

        Raises FencedError if there was a later claim.
        """
        with self._transaction():
            self._check_epoch(at_most=epoch)
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (epoch,))
        self._epoch = epoch

    def record(self, builder: str, rows: Sequence[RowRecord], *, done: Sequence[DoneRow] = ()) -> None:
        """Record rows of a builder in one transaction. They are durable when it returns.

        Raises FencedError, and records nothing, if the process was claimed by another worker.
        """
        with self._write():
            number = self._number("builders", "name", builder)
            self._connection.executemany(_RECORD_DONE, ((number, *row) for row in done))
            self._connection.executemany(
                _RECORD,
                [
                    (
                        number,
                        row.index,
                        int(row.status),  # sqlite3 is slow to adapt an enum
                        row.cells,
                        row.attempts,
                        row.seconds,
                        row.input_hash,
                        row.code,
                        row.error,
                        row.cost,
                        row.tokens,
                        row.inputs,
                    )
                    for row in rows
                ],
            )

    def add_price(self, builder: str, *, cost: float, tokens: int) -> None:
        """Record what a call took that makes all rows of a builder: it belongs to none of them."""
        with self._write():
            number = self._number("builders", "name", builder)
            self._connection.execute(
                "UPDATE builders SET cost = cost + ?, tokens = tokens + ? WHERE id = ?", (cost, tokens, number)
            )

    def set_input_hash(self, builder: str, input_hash: bytes | None) -> None:
        """Record the hash of what a function is given that is called once for all rows, None for none."""
        with self._write():
            number = self._number("builders", "name", builder)
            self._connection.execute("UPDATE builders SET call_hash = ? WHERE id = ?", (input_hash, number))

    def forget(self, builder: str, indexes: Iterable[int] | None = None) -> None:
        """Delete what is recorded of some rows of a builder, or of all."""
        with self._write():
            number = self._number("builders", "name", builder)
            if indexes is None:
                self._connection.execute("DELETE FROM rows WHERE builder = ?", (number,))
                self._connection.execute(
                    "UPDATE builders SET call_hash = NULL, cost = 0, tokens = 0 WHERE id = ?", (number,)
                )
            else:
                self._connection.executemany(
                    "DELETE FROM rows WHERE builder = ? AND row = ?", [(number, int(index)) for index in indexes]
                )

    def code_number(self, fingerprint: str) -> int:
        """Return the small number that stands for a fingerprint of code in the rows, from 1."""
        with self._write():
            return self._number("codes", "fingerprint", fingerprint)

    def _prepare(self) -> None:
        connection = self._connection
        self._patiently(lambda: connection.execute("PRAGMA synchronous = EXTRA"))
        (journal_mode,) = self._patiently(lambda: connection.execute("PRAGMA journal_mode = PERSIST").fetchone())
        (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
        if (journal_mode, synchronous) != ("persist", 3):
            raise TVFileError(
                f"The row store {self.path} can't be opened durably (journal mode {journal_mode}, synchronous "
                f"{synchronous}). Close whatever else has it open and try again.",
                path=self.path,
            )
        # A worker that died while it made the file left it empty.
        if not self._fetch("SELECT 1 FROM sqlite_schema LIMIT 1"):
            with self._transaction():
                if not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall():
                    for statement in (row_files.SCHEMA + row_files.VIEW).split(";\n"):
                        connection.execute(statement)
                    connection.execute("INSERT INTO meta VALUES ('schema_version', ?)", (row_files.SCHEMA_VERSION,))
        if self._patiently(lambda: row_files.check_version(self.path, connection)) < row_files.SCHEMA_VERSION:
            with self._transaction():
                if (
                    row_files.check_version(self.path, connection) < row_files.SCHEMA_VERSION
                ):  # nobody else has done it meanwhile
                    for statement in row_files.UPGRADE:
                        connection.execute(statement)
                    connection.execute(
                        "UPDATE meta SET value = ? WHERE key = 'schema_version'", (row_files.SCHEMA_VERSION,)
                    )

    @contextmanager
    def _write(self) -> Iterator[None]:
        if self._epoch is None:
            raise RuntimeError("a row store has to be claimed before it is written")
        with self._transaction():
            self._check_epoch(at_most=self._epoch)
            yield

    def _check_epoch(self, *, at_most: int) -> None:
        found = self._connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
        if found is not None and found[0] > at_most:
            raise FencedError(
                f"The rows in {self.path} belong to a later claim (epoch {found[0]}, this worker's is {at_most}). "
                "Another worker took the process over; this one must stop."
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        connection = self._connection
        with forks.held_off(self.path):
            self._patiently(lambda: connection.execute("BEGIN IMMEDIATE"))
            try:
                with row_files.told(self.path):
                    yield
                self._patiently(lambda: connection.execute("COMMIT"))
            except BaseException:
                self._builders.clear()
                # A commit that failed half-way may have ended the transaction by itself.
                with suppress(sqlite3.OperationalError):
                    connection.execute("ROLLBACK")
                raise

    def _number(self, table: str, column: str, name: str) -> int:
        """Return the id of ``name`` in one of the two tables of names; give it one, if it has none."""
        if table == "builders" and name in self._builders:
            return self._builders[name]
        self._connection.execute(f"INSERT OR IGNORE INTO {table} ({column}) VALUES (?)", (name,))  # noqa: S608
        (number,) = self._connection.execute(f"SELECT id FROM {table} WHERE {column} = ?", (name,)).fetchone()  # noqa: S608
        if table == "builders":
            self._builders[name] = number
        return int(number)

    def _patiently(self, step: Callable[[], _T]) -> _T:
        with forks.held_off(self.path), row_files.told(self.path, but_busy=True):
            return patiently(self.path, step, while_busy=self.while_busy)
