"""Read what a process has recorded for its rows, whoever writes it meanwhile.

What doesn't match its checksum is never given out: it is told as TVCheckpointError.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

from tablevault_like.catalog import forks
from tablevault_like.errors import TVCheckpointError
from tablevault_like.model import RowStatus
from tablevault_like.storage import row_files, sums
from tablevault_like.storage.damage import Damage, checkpoint_error, rows_told

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EXHAUSTED = "exhausted "
"""What the keys of ``meta`` begin with that tell of which builders the source has nothing more."""


_VALUES = f"""
SELECT iif(typeof(row) = 'integer', row, NULL), value, {sums.VALUE_OF_SUM} FROM rows
    WHERE builder = ? AND status = 1 AND row > ? AND (? = '' OR instr(value, ?)) ORDER BY row LIMIT ?
"""  # noqa: S608

_BATCH = 2000
"""Rows that are read at once. Of many more the garbage collector would look at each, again and again."""

_T = TypeVar("_T")

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
    """Read the rows of a process without ever writing any, and without holding up its writer for long.

    What a worker that died in the middle of a commit has left of it is undone first, as SQLite does, by who may write.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._builders: dict[str, int] = {}
        self._has_sums = True

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a store for reading only, whoever writes it. Raises TVFileError if it is missing or damaged."""
        connection = row_files.connect(path, mode="ro", timeout=row_files.READ_SECONDS)
        reader = cls(path, connection)
        try:
            version = reader._patiently(lambda: row_files.check_version(path, connection))
            reader._has_sums = version == row_files.SCHEMA_VERSION
            with row_files.told(path):
                for statement in row_files.AS_IF_UPGRADED.get(version, ()):
                    connection.execute(statement)
        except BaseException:
            reader.close()
            raise
        return reader

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

    def cells(self, builder: str, *, holding: str = "", batch_size: int = _BATCH) -> Iterator[list[tuple[int, str]]]:
        """Yield the position and the cells of every row that is done, by position, in batches.

        With ``holding``, only those whose text holds that. The file is read for each batch anew, so that nobody waits
        while the batch is used.
        """
        last, start = -1, sums.start_of(builder)
        found: list[Any]  # positions (None if it is no number), values, and what is taken of their sums
        while found := self._rows(
            builder,
            _VALUES,
            last,
            holding,
            holding,
            batch_size,
        ):
            if self._has_sums:
                sound = sums.sound_values(start, found)
                if len(sound) < len(found):
                    damaged = {row for row, *_ in found} - {row for row, _ in sound}
                    raise self._damaged(builder, sorted(row for row in damaged if row is not None))
                yield sound
            else:
                yield [(row, value) for row, value, _ in found]
            last = found[-1][0]

    def input_hash(self, builder: str) -> bytes | None:
        """Return the hash of what a function was given that is called once for all rows; None if none is recorded."""
        found = self._fetch("SELECT call_hash FROM builders WHERE name = ?", builder)
        return found[0][0] if found else None

    def is_exhausted(self, builder: str) -> bool:
        """Tell whether the source of a builder has given all that it has, and all of it is recorded."""
        return bool(self._fetch("SELECT 1 FROM meta WHERE key = ?", EXHAUSTED + builder))

    def efforts(self, builder: str, *, batch_size: int = _BATCH) -> Iterator[list[Effort]]:
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
        found = self._rows(builder, f"{row_files.READ} AND status = ? ORDER BY row", int(status))
        return self._records(builder, found)

    def row(self, builder: str, index: int) -> RowRecord | None:
        """Return what is recorded of one row, ``None`` if nothing is. Raises TVCheckpointError if it is damaged."""
        found = self._rows(builder, f"{row_files.READ} AND row = ?", index)
        return self._records(builder, found)[0] if found else None

    def codes(self) -> dict[int, str]:
        """Return the fingerprint of the code that each code number stands for."""
        return dict(self._fetch("SELECT id, fingerprint FROM codes"))

    def files(self) -> dict[str, bytes]:
        """Return the SHA-256 of the files that are recorded, by their names. Raises TVCheckpointError."""
        if not self._has_sums:
            return {}
        found = self._fetch("SELECT path, sha256, sum FROM files ORDER BY path")
        if damaged := [path for path, sha256, recorded in found if sums.sum_of(path, sha256) != recorded]:
            raise self._damage(f"what is recorded of the file {damaged[0]!r} isn't what was recorded")
        return {path: sha256 for path, sha256, _ in found}

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _records(self, builder: str, found: list[Any]) -> list[RowRecord]:
        self._check(builder, found)
        return [RowRecord(index, RowStatus(status), *rest) for index, status, *rest, _ in found]

    def _check(self, builder: str, found: list[Any]) -> None:
        """Raise TVCheckpointError if rows aren't what was recorded."""
        if self._has_sums:
            start = sums.start_of(builder)
            if damaged := [row[0] for row in found if not sums.is_row(start, row)]:
                raise self._damaged(builder, damaged)

    def _damaged(self, builder: str, rows: Sequence[int]) -> TVCheckpointError:
        return self._damage(rows_told(builder, rows), builder=builder, rows=tuple(rows))

    def _damage(self, what: str, **which: Any) -> TVCheckpointError:
        return checkpoint_error(self.path.parent.name, [Damage(self.path, what, **which)])

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
            return row_files.past_cut_off(self.path, step)
