"""Record what was computed for each row, in an SQLite file of its own for each process.

1. When ``record`` returns, its rows survive SIGKILL and power loss: ``journal_mode=PERSIST, synchronous=EXTRA``.
2. Recorded once: a row that is done is never changed by ``record``. One that failed is, and its attempts add up.
3. Fenced: every write checks, in its own transaction, that no later claim has put its epoch into the file.
4. A busy file (somebody reads it with another tool) is waited out and logged; it is never an error.
5. Every row has a checksum over all that is recorded of it, written in the same statement, and so has everything else
   (``sums``). What doesn't match is told as ``TVCheckpointError`` when it is read to be used (``row_reader``), and by
   ``row_damage``, which saves the rest.
6. A store belongs to the thread that opened it. A fork that user code makes in another thread waits until that one
   is neither reading nor in a transaction, so the child inherits none of SQLite's locks, on the file or in memory.

Anyone may open the file with any SQLite tool; the view ``results`` shows it with readable names.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypeAlias, TypeVar

from tablevault_like.catalog import forks
from tablevault_like.errors import FencedError, TVFileError
from tablevault_like.model import RowStatus
from tablevault_like.storage import callbacks, files, reach, row_files, sums
from tablevault_like.storage.patience import patiently
from tablevault_like.storage.row_reader import EXHAUSTED, RowReader, RowRecord

_RECORD = """
INSERT INTO rows (builder, row, status, value, attempts, seconds, input_hash, code, error, cost, tokens, inputs, sum)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (builder, row) DO UPDATE SET
        status = excluded.status, value = excluded.value, attempts = attempts + excluded.attempts,
        seconds = excluded.seconds, input_hash = excluded.input_hash, code = excluded.code, error = excluded.error,
        cost = CASE WHEN rows.cost IS NULL THEN excluded.cost ELSE rows.cost + ifnull(excluded.cost, 0) END,
        tokens = CASE WHEN rows.tokens IS NULL THEN excluded.tokens ELSE rows.tokens + ifnull(excluded.tokens, 0) END,
        inputs = excluded.inputs,
        sum = row_sum(builder, row, excluded.status, excluded.value, attempts + excluded.attempts, excluded.seconds,
            excluded.input_hash, excluded.code, excluded.error,
            CASE WHEN rows.cost IS NULL THEN excluded.cost ELSE rows.cost + ifnull(excluded.cost, 0) END,
            CASE WHEN rows.tokens IS NULL THEN excluded.tokens ELSE rows.tokens + ifnull(excluded.tokens, 0) END,
            excluded.inputs)
    WHERE rows.status <> 1
"""

_RECORD_DONE = """
INSERT INTO rows (builder, row, status, value, attempts, seconds, input_hash, code, sum)
    VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (builder, row) DO UPDATE SET
        status = 1, value = excluded.value, attempts = attempts + excluded.attempts, seconds = excluded.seconds,
        input_hash = excluded.input_hash, code = excluded.code, error = NULL, inputs = NULL,
        sum = row_sum(builder, row, 1, excluded.value, attempts + excluded.attempts, excluded.seconds,
            excluded.input_hash, excluded.code, NULL, rows.cost + 0, rows.tokens + 0, NULL)
    WHERE rows.status <> 1
"""
"""The same for a ``DoneRow``: mostly all rows are such, so it is worth their time."""

ARTIFACTS, FRAMES, LOST = "artifacts", "frames", "lost"
"""What the names of files begin with that are recorded; those of frames that were lost, as they were."""

_WRITER_TIMEOUT = 0.25  # seconds in SQLite itself, which no signal interrupts; then it is tried again

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

DoneRow: TypeAlias = tuple[int, str, int, float, bytes | None, int]
"""Position, cells, attempts, seconds, input hash and code of a row that is done at a price that nobody told."""


class RowStore(RowReader):
    """The row results of one process, for the worker that has claimed it.

    ``while_busy``, if set, is called with the seconds waited so far, several times a second, while somebody else keeps
    the file busy. It may raise, to give up; nothing has been recorded then.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        super().__init__(path, connection)
        self.while_busy: Callable[[float], None] | None = None
        self._epoch: int | None = None
        self._starts: dict[int, int] = {}
        connection.create_function("row_sum", 12, callbacks.carried(self._row_sum), deterministic=True)

    @classmethod
    def create(cls, path: Path, *, epoch: int) -> Self:
        """Make a new store that is claimed with ``epoch``. Raises FileExistsError if there is a file."""
        os.close(reach.open_file(path, files.CREATE))
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

    def claim(self, epoch: int) -> None:
        """Write ``epoch`` into the file: from now on workers with a lower one are refused, and this one may write.

        Raises FencedError if there was a later claim.
        """
        with self._transaction():
            self._check_epoch(at_most=epoch)
            row_files.set_meta(self._connection, "epoch", epoch)
        self._epoch = epoch

    def record(
        self,
        builder: str,
        rows: Sequence[RowRecord],
        *,
        done: Sequence[DoneRow] = (),
        files: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Record rows of a builder in one transaction. They are durable when it returns.

        With ``files``, the SHA-256 of files of the process are recorded in the same one, by their names: ``ARTIFACTS/``
        and the name of an artifact, or ``FRAMES/`` and that of a frame's file.

        Raises FencedError, and records nothing, if the process was claimed by another worker.
        """
        with self._write():
            number = self._number("builders", "name", builder)
            start = self._starts[number]
            self._connection.executemany(_RECORD_DONE, sums.done_rows(number, start, done))
            self._connection.executemany(_RECORD, [_record(number, start, row) for row in rows])
            if files:
                self._record_files(files)

    def restore(
        self,
        *,
        rows: Iterable[tuple[str, Sequence[Any]]],
        builders: Mapping[str, tuple[bytes | None, float, int]],
        codes: Mapping[int, str],
        files: Mapping[str, bytes],
    ) -> None:
        """Record, in a store that is empty, what was saved of another one.

        ``rows`` are values in the order of the columns, each with the name of its builder; ``builders`` have what else
        is recorded of each: input hash, cost and tokens. Rows keep the numbers of their codes; one whose code is lost
        has none.
        """
        with self._write():
            execute = self._connection.execute
            for number, fingerprint in codes.items():
                execute("INSERT INTO codes VALUES (?, ?, ?)", (number, fingerprint, sums.sum_of(number, fingerprint)))
            for name, values in builders.items():
                number = self._number("builders", "name", name)
                execute("UPDATE builders SET call_hash = ?, cost = ?, tokens = ? WHERE id = ?", (*values, number))
                self._sum_builder(number)
            for name, row in rows:
                number = self._number("builders", "name", name)
                record = RowRecord(row[0], RowStatus(row[1]), *row[2:])
                record.code = record.code if record.code in codes else 0
                execute(_RECORD, _record(number, self._starts[number], record))
        self.record_files({name: sha256.hex() for name, sha256 in files.items()})

    def record_files(self, found: Mapping[str, str]) -> None:
        """Record the SHA-256 of files of the process, by their names as ``record`` takes them."""
        if found:
            with self._write():
                self._record_files(found)

    def _record_files(self, found: Mapping[str, str]) -> None:
        values = [(name, bytes.fromhex(sha256)) for name, sha256 in found.items()]
        self._connection.executemany(
            "INSERT OR REPLACE INTO files (path, sha256, sum) VALUES (?, ?, ?)",
            [(name, sha256, sums.sum_of(name, sha256)) for name, sha256 in values],
        )

    def forget_files(self, paths: Iterable[str]) -> None:
        """Delete what is recorded of some files."""
        with self._write():
            self._connection.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in paths])

    def add_price(self, builder: str, *, cost: float, tokens: int) -> None:
        """Record what a call took that makes all rows of a builder: it belongs to none of them."""
        with self._write():
            number = self._number("builders", "name", builder)
            self._connection.execute(
                "UPDATE builders SET cost = cost + ?, tokens = tokens + ? WHERE id = ?", (cost, tokens, number)
            )
            self._sum_builder(number)

    def set_input_hash(self, builder: str, input_hash: bytes | None) -> None:
        """Record the hash of what a function is given that is called once for all rows, None for none."""
        with self._write():
            number = self._number("builders", "name", builder)
            self._connection.execute("UPDATE builders SET call_hash = ? WHERE id = ?", (input_hash, number))
            self._sum_builder(number)

    def set_exhausted(self, builder: str) -> None:
        """Record that the source of a builder has given all that it has, and that all of it is recorded."""
        with self._write():
            row_files.set_meta(self._connection, EXHAUSTED + builder, 1)

    def forget(self, builder: str, indexes: Iterable[int] | None = None) -> None:
        """Delete what is recorded of some rows of a builder, or of all."""
        with self._write():
            number = self._number("builders", "name", builder)
            self._connection.execute("DELETE FROM meta WHERE key = ?", (EXHAUSTED + builder,))
            if indexes is None:
                self._connection.execute("DELETE FROM rows WHERE builder = ?", (number,))
                self._connection.execute(
                    "UPDATE builders SET call_hash = NULL, cost = 0, tokens = 0 WHERE id = ?", (number,)
                )
                self._sum_builder(number)
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
        # What is deleted must not be found again when pages of a damaged file are searched for rows.
        connection.execute("PRAGMA secure_delete = ON")
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
                    row_files.make_tables(connection)
                    row_files.describe(self.path, connection)
        if self._patiently(lambda: row_files.check_version(self.path, connection)) < row_files.SCHEMA_VERSION:
            self._upgrade()

    def _upgrade(self) -> None:
        with self._transaction():
            # From the one that it has by now: somebody else may have done it meanwhile.
            row_files.upgrade(self.path, self._connection, row_files.check_version(self.path, self._connection))

    @contextmanager
    def _write(self) -> Iterator[None]:
        if self._epoch is None:
            raise RuntimeError("a row store has to be claimed before it is written")
        with self._transaction():
            self._check_epoch(at_most=self._epoch)
            yield

    def _check_epoch(self, *, at_most: int) -> None:
        found = self._connection.execute("SELECT value, sum FROM meta WHERE key = 'epoch'").fetchone()
        if found is not None and found[0] > at_most:
            if sums.sum_of("epoch", found[0]) != found[1]:
                raise self._damage("its epoch isn't what was recorded")
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
                self._starts.clear()
                # A commit that failed half-way may have ended the transaction by itself.
                with suppress(sqlite3.OperationalError):
                    connection.execute("ROLLBACK")
                raise

    def _number(self, table: str, column: str, name: str) -> int:
        """Return the id of ``name`` in one of the two tables of names; give it one, if it has none."""
        if table == "builders" and self._builders.get(name) in self._starts:
            return self._builders[name]
        execute = self._connection.execute
        is_new = execute(f"INSERT OR IGNORE INTO {table} ({column}) VALUES (?)", (name,)).rowcount > 0  # noqa: S608
        (number,) = execute(f"SELECT id FROM {table} WHERE {column} = ?", (name,)).fetchone()  # noqa: S608
        if table == "builders":
            self._builders[name], self._starts[number] = number, sums.start_of(name)
            if is_new:
                self._sum_builder(number)
        elif is_new:
            execute("UPDATE codes SET sum = ? WHERE id = ?", (sums.sum_of(number, name), number))
        return int(number)

    def _sum_builder(self, number: int) -> None:
        execute = self._connection.execute
        found = execute("SELECT id, name, call_hash, cost, tokens FROM builders WHERE id = ?", (number,)).fetchone()
        execute("UPDATE builders SET sum = ? WHERE id = ?", (sums.sum_of(*found), number))

    def _row_sum(self, number: int, *row: Any) -> int | None:
        return sums.sum_if_row(self._starts.get(number), row)

    def _patiently(self, step: Callable[[], _T]) -> _T:
        with forks.held_off(self.path), row_files.told(self.path, but_busy=True):
            return patiently(self.path, step, while_busy=self.while_busy)


def _record(number: int, start: int, row: RowRecord) -> tuple[object, ...]:
    values = (
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
    return (number, *values, sums.sum_if_row(start, values))  # of one without a sum SQLite tells what is wrong with it
