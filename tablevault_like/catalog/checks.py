"""A checksum in every row of the catalog, for damage that SQLite can't see: a letter or a number that is another one.

Temporary triggers of our own connections keep it, in the statement that changes a row. Whoever changes the catalog with
another tool leaves a checksum that is wrong, which is what it is for. The database itself has neither triggers nor
functions of ours, so every tool can read it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from zlib import crc32

SINCE = 3
"""The first version of the catalog that has checksums."""

_MOST_VALUES = 40
"""Of a row that has a checksum, with the name of its table."""

TABLES = (
    *("vault", "tables", "instances", "columns", "lineage", "processes", "steps", "locks", "waiters", "requests"),
    "events",
)


def offer(connection: sqlite3.Connection) -> None:
    """Let a connection compute checksums, by functions that are written in C."""
    connection.create_function("catalog_crc", 1, crc32, deterministic=True)
    for count in range(2, _MOST_VALUES + 1):
        connection.create_function("catalog_text", count, _form(count).format, deterministic=True)


def row_sum(table: str, values: Sequence[object]) -> int:
    """Return the checksum of a row, as the triggers compute it: a CRC-32 over the values as Python writes them."""
    text = _form(len(values) + 1).format(table, *values)
    return crc32(text.encode("utf-8", "surrogatepass"))


def keep(connection: sqlite3.Connection) -> None:
    """Let a connection keep the checksums of what it writes from now on."""
    connection.execute("PRAGMA temp_store = MEMORY")
    for table in TABLES:
        columns, key = _columns(connection, table)
        which = " AND ".join(f"{name} = NEW.{name}" for name in key)
        body = f"BEGIN UPDATE {table} SET sum = {_sum_in_sql(table, columns, of='NEW.')} WHERE {which}; END"  # noqa: S608
        connection.execute(f"CREATE TEMP TRIGGER IF NOT EXISTS sum_new_{table} AFTER INSERT ON main.{table} {body}")
        changed = f"AFTER UPDATE OF {', '.join(columns)} ON main.{table}"
        connection.execute(f"CREATE TEMP TRIGGER IF NOT EXISTS sum_changed_{table} {changed} {body}")


def sum_all(connection: sqlite3.Connection) -> None:
    """Give every row its checksum, in the transaction that is open."""
    for table in TABLES:
        columns, _ = _columns(connection, table)
        connection.execute(f"UPDATE {table} SET sum = {_sum_in_sql(table, columns)}")  # noqa: S608


def damage(connection: sqlite3.Connection, make: Callable[[sqlite3.Connection], None]) -> Iterator[str]:
    """Yield what is wrong with a catalog, a sentence for each. ``make`` makes the tables as they should be.

    Raises sqlite3.DatabaseError for what can't be read any further.
    """
    connection.text_factory = _text
    yield from (f"SQLite: {row[0]}." for row in connection.execute("PRAGMA integrity_check(20)") if row[0] != "ok")
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as other:
        offer(other)
        make(other)
        if _schema(connection) != _schema(other):
            yield "Its tables aren't those that this release makes."
        known = {table: _columns(other, table) for table in TABLES}
    for table, (columns, key) in known.items():
        selected = connection.execute(f"SELECT {', '.join((*key, *columns))}, sum FROM {table}")  # noqa: S608
        for row in selected:
            values = tuple(row)
            if row_sum(table, values[len(key) : -1]) != values[-1]:
                which = ", ".join(f"{name} {value!r}" for name, value in zip(key, values, strict=False))
                yield f"The row of {table} with {which} isn't what was written."
    for name, last in connection.execute("SELECT name, seq FROM sqlite_sequence"):
        if name not in TABLES or type(last) is not int or last < _last(connection, name):
            yield f"The last number that was given to {name!r} ({last!r}) isn't what was written."
    for row in connection.execute("PRAGMA foreign_key_check"):
        yield f"A row of {row[0]} refers to a row of {row[2]} that isn't there."


def _form(count: int) -> str:
    return "{!r}\0" * count


def _sum_in_sql(table: str, columns: Sequence[str], *, of: str = "") -> str:
    values = ", ".join(f"{of}{name}" for name in columns)
    return f"catalog_crc(CAST(catalog_text('{table}', {values}) AS BLOB))"


def _columns(connection: sqlite3.Connection, table: str) -> tuple[list[str], list[str]]:
    """Return the columns of a table but for the checksum, and those that tell its rows apart."""
    found = [(row[1], row[5]) for row in connection.execute(f"PRAGMA main.table_info({table})")]
    return [name for name, _ in found if name != "sum"], [name for name, is_key in found if is_key]


def _schema(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    found = connection.execute("SELECT type, name, tbl_name, sql FROM main.sqlite_schema ORDER BY type, name")
    versions = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    return [tuple(versions), *(tuple(row) for row in found)]


def _last(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT ifnull(max(rowid), 0) FROM {table}").fetchone()[0])  # noqa: S608


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
