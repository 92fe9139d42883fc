"""Find what is damaged in a row store, and save what isn't.

1. Whatever is wrong with a file, ``row_store_damage`` returns it; it raises nothing, and changes nothing but that it
   undoes a commit in which a worker died, as all readers do.
2. ``salvage`` keeps each row that can be read and has the right checksum, and no other. The damaged file is kept beside
   the new one, which takes its place in one rename: killed at any point, one of both is there.
"""

from __future__ import annotations

import os
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tablevault_like.catalog import forks
from tablevault_like.errors import TVCheckpointError, TVFileError
from tablevault_like.model import RowStatus
from tablevault_like.storage import files, pages, reach, row_files, rows, sums
from tablevault_like.storage.damage import Damage, rows_told
from tablevault_like.storage.patience import code

_ROW_COLUMNS = 13
_COST = 9
"""Where the cost is in a row, after its builder's number."""


def row_store_damage(path: Path) -> list[Damage]:
    """Return what is wrong with the row store of a process; nothing if it is sound.

    Of a store that was written without checksums, only what SQLite finds. Nothing is found in a file that this user may
    not read, or that a worker left in the middle of a commit which this user may not undo.
    """
    if path.is_symlink() or not path.is_file():
        return [Damage(path, "the file is missing" if not os.path.lexists(path) else "this is no file")]
    with forks.held_off(path):
        try:
            return row_files.past_cut_off(path, lambda: _look_at(path))
        except TVCheckpointError as error:
            return [Damage(path, _clause(path, error))]
        except TVFileError as error:
            is_forbidden = row_files.is_cut_off(error.__cause__) or not os.access(path, os.R_OK)
            return [] if is_forbidden else [Damage(path, str(error))]
        except sqlite3.DatabaseError as error:
            if code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                return []
            return [Damage(path, f"SQLite can't read it ({error})")]
        except (ValueError, TypeError, OverflowError) as error:  # it may hold anything
            return [Damage(path, f"SQLite can't read it ({error})")]


def _look_at(path: Path) -> list[Damage]:
    with closing(row_files.connect(path, mode="ro", timeout=row_files.READ_SECONDS)) as connection:
        # In one transaction: what is looked at stays as it is, and its writer waits for milliseconds a row.
        connection.execute("BEGIN")
        return _damage_in(path, connection)


def _clause(path: Path, error: TVCheckpointError) -> str:
    """Return what an error tells, without the ways on."""
    return str(error).partition("\n")[0].partition(f"{path}: ")[2] or str(error)


def _damage_in(path: Path, connection: sqlite3.Connection) -> list[Damage]:
    version = row_files.check_version(path, connection)
    found = [
        Damage(path, f"SQLite: {line}") for (line,) in connection.execute("PRAGMA integrity_check(5)") if line != "ok"
    ]
    if version < row_files.SCHEMA_VERSION:
        return found
    schema = row_files.schema_sum(connection)
    connection.text_factory = _text
    found += _damaged_records(path, connection, schema)
    names = dict(connection.execute("SELECT id, name FROM builders").fetchall())
    damaged: dict[Any, list[int]] = defaultdict(list)
    starts = {number: sums.start_of(name) for number, name in names.items() if isinstance(name, str)}
    for number, *row in connection.execute("SELECT * FROM rows"):
        start = starts.get(number)
        if start is None or not sums.is_row(start, row):
            damaged[names.get(number)].append(row[0])
    for name, positions in damaged.items():
        known = tuple(sorted(each for each in positions if type(each) is int))
        told = rows_told(name, known) if isinstance(name, str) else f"{len(positions)} rows are of no builder"
        found.append(Damage(path, told, name if isinstance(name, str) else None, known))
    return found


def _damaged_records(path: Path, connection: sqlite3.Connection, schema: int) -> Iterator[Damage]:
    """Yield what is wrong beside the rows."""
    recorded = {}
    for key, value, found in connection.execute("SELECT key, value, sum FROM meta"):
        recorded[key] = value
        if sums.sum_of(key, value) != found:
            yield Damage(path, f"its {key!r} isn't what was recorded")
    missing = [key for key in ("schema_version", "process", "schema") if key not in recorded]
    if missing:
        yield Damage(path, f"its {missing[0]!r} is missing")
    elif recorded["schema"] != schema:
        yield Damage(path, "its tables aren't as they were made")
    elif recorded["process"] != sums.process_sum(path.parent.name):
        yield Damage(path, "it belongs to another process")
    for number, name, *rest, found in connection.execute("SELECT id, name, call_hash, cost, tokens, sum FROM builders"):
        if sums.sum_of(number, name, *rest) != found:
            yield Damage(path, f"what is recorded of the builder {name!r} isn't what was recorded")
    for number, fingerprint, found in connection.execute("SELECT id, fingerprint, sum FROM codes"):
        if sums.sum_of(number, fingerprint) != found:
            yield Damage(path, f"its code {number} isn't what was recorded")
    for name, sha256, found in connection.execute("SELECT path, sha256, sum FROM files"):
        if sums.sum_of(name, sha256) != found:
            yield Damage(path, f"what is recorded of the file {name!r} isn't what was recorded")


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


@dataclass
class Salvaged:
    """What could be saved of a row store: ``kept`` counts rows by builder. The damaged file lies at ``path`` now."""

    path: Path | None
    kept: dict[str, int]


@dataclass
class _Found:
    """Sound records, by what tells them apart."""

    rows: dict[tuple[str, int], list[Any]] = field(default_factory=dict)
    builders: dict[str, tuple[int, bytes | None, float, int]] = field(default_factory=dict)
    codes: dict[int, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    process: int | None = None


def salvage(path: Path, *, epoch: int, builders: Collection[str]) -> Salvaged:
    """Put a new store in the place of a damaged one, with all that is sound in that, claimed with ``epoch``.

    ``builders`` are the names that rows can be of. No other worker may use the store. Nothing is claimed of a store
    that was written without checksums: of such, what SQLite can read is kept.
    """
    found = _sound_records(path, builders)
    if found.process is not None and found.process != sums.process_sum(path.parent.name):
        found = _Found()  # it is the store of another process
    new = path.with_name(f"{path.name}.new")
    for each in (new, new.with_name(f"{new.name}-journal")):
        files.remove(each)
    with closing(rows.RowStore.create(new, epoch=epoch)) as store:
        store.restore(
            rows=((name, row) for (name, _), row in sorted(found.rows.items())),
            builders={name: fields[1:] for name, fields in found.builders.items()},
            codes=found.codes,
            files=found.files,
        )
    kept = _keep_beside(path)
    files.replace(new, path)
    files.remove(new.with_name(f"{new.name}-journal"))
    counts: dict[str, int] = defaultdict(int)
    for name, _ in found.rows:
        counts[name] += 1
    return Salvaged(kept, dict(counts))


def _keep_beside(path: Path) -> Path | None:
    if not path.is_file():
        files.remove(path)
        return None
    number = 1
    while os.path.lexists(kept := path.with_name(f"{path.name}.damaged-{number}")):
        number += 1
    reach.link(path, kept)
    journal = path.with_name(f"{path.name}-journal")
    if os.path.lexists(journal):
        # It must not be taken for that of the new file.
        reach.rename(journal, kept.with_name(f"{kept.name}-journal"))
    files.sync_directory(path.parent)
    return kept


def _sound_records(path: Path, builders: Collection[str]) -> _Found:
    """Return what is sound in a store: as SQLite reads it, and where it can't, as the pages are."""
    found = _Found()
    if path.is_symlink() or not path.is_file():
        return found
    try:
        # For writing, so that what a worker left half-done is undone.
        with closing(row_files.connect(path, mode="rw", timeout=row_files.READ_SECONDS)) as connection:
            connection.text_factory = _text
            connection.execute("BEGIN")  # and never committed
            (version,) = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
            if version in row_files.OLDER:
                row_files.upgrade(path, connection, version)
            for key, *rest in connection.execute("SELECT key, value, sum FROM meta"):
                _take_record(found, None, [key, *rest], builders)
            for name, *rest in connection.execute("SELECT path, sha256, sum FROM files"):
                _take_record(found, None, [name, *rest], builders)
            for number, *rest in connection.execute("SELECT id, name, call_hash, cost, tokens, sum FROM builders"):
                _take_record(found, number, [None, *rest], builders)
            for number, *rest in connection.execute("SELECT id, fingerprint, sum FROM codes"):
                _take_record(found, number, [None, *rest], builders)
            for row in connection.execute("SELECT * FROM rows"):
                _take_row(found, list(row), builders)
            return found
    except (sqlite3.Error, TVFileError, TypeError, ValueError, OverflowError):
        pass
    with suppress(OSError):
        records = list(pages.records(path))
        # The builders first: rows bear their numbers.
        for rowid, columns in records:
            if len(columns) != _ROW_COLUMNS:
                _take_record(found, rowid, columns, builders)
        for _, columns in records:
            if len(columns) == _ROW_COLUMNS:
                _take_row(found, columns, builders)
    return found


def _take_record(found: _Found, rowid: int | None, columns: list[Any], builders: Collection[str]) -> None:
    """Add a record of a table other than ``rows``, if it is one and has the right sum."""
    match columns:
        case [None, str(name), call_hash, cost, int(tokens), int(total)] if rowid is not None:
            if name in builders and isinstance(cost, int | float):
                values = (rowid, name, call_hash, float(cost), tokens)
                if sums.sum_of(*values) == total:
                    found.builders[name] = (rowid, call_hash, float(cost), tokens)
        case [None, str(fingerprint), int(total)] if rowid is not None:
            if sums.sum_of(rowid, fingerprint) == total:
                found.codes[rowid] = fingerprint
        case [str(name), bytes(sha256), int(total)] if rowid is None:
            if sums.sum_of(name, sha256) == total:
                found.files[name] = sha256
        case ["process", int(value), int(total)] if rowid is None and sums.sum_of("process", value) == total:
            found.process = value


def _take_row(found: _Found, columns: list[Any], builders: Collection[str]) -> None:
    """Add a row if it has the right sum, as one of the builder whose row it is."""
    number, index, status, *_ = columns
    row = columns[1:]
    row[_COST - 1] = float(row[_COST - 1]) if type(row[_COST - 1]) is int else row[_COST - 1]
    known = [name for name, fields in found.builders.items() if fields[0] == number]
    for name in (*known, *(each for each in builders if each not in known)):
        if sums.is_row(sums.start_of(name), row):
            before = found.rows.get((name, index))
            # One that is done is never anything else afterwards.
            if before is None or status == RowStatus.DONE:
                found.rows[name, index] = row[:-1]
            return
