from __future__ import annotations

import random
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tablevault_like import TableVault
from tablevault_like.catalog import Catalog, checks, schema
from tablevault_like.catalog.catalog import damage
from tablevault_like.errors import TVFileError
from tests.scenes import Calls

POINTS = 150


@pytest.fixture
def path(copy_dir: Path, calls: Calls) -> Path:
    """Return the catalog of a vault in which a lot has happened, and a process is paused."""
    vault = TableVault(copy_dir, "ada")
    vault.create_table("more", description="another one")
    vault.rename_table("fewer", "more")
    vault.execute_instance("words", process_id="paused", until="shout")
    return copy_dir / "metadata" / "catalog.sqlite"


def content(path: Path) -> dict[str, list[Any]] | None:
    """Return all that a catalog holds, None if SQLite can't read it."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
            db.text_factory = bytes
            found = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
            tables = [name.decode() for kind, name, *_ in found if kind == b"table"]
            held = {each: sorted(db.execute(f"SELECT * FROM {each}").fetchall(), key=repr) for each in tables}
            # A number that is too high is skipped, which is nothing.
            held["sqlite_sequence"] = [name for name, _ in held["sqlite_sequence"]]
            return {"schema": found, **held}
    except (sqlite3.Error, UnicodeDecodeError):
        return None


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)


def test_all_that_operations_write_has_its_checksum(path: Path) -> None:
    assert damage(path) == []
    with closing(sqlite3.connect(path)) as db:
        for table in ("tables", "instances", "columns", "processes", "steps", "locks"):
            assert db.execute(f"SELECT count(*) FROM {table} WHERE sum IS NOT NULL").fetchone()[0] > 0


def test_a_flipped_bit_that_changes_anything_is_found(path: Path) -> None:
    before, whole, rng = content(path), path.read_bytes(), random.Random(3)
    used = [at for at, byte in enumerate(whole) if byte]
    found = 0
    for _ in range(POINTS):
        at, bit = rng.choice(used), rng.randrange(8)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
        lines = damage(path)
        assert lines or content(path) == before, f"byte {at}, bit {bit}"
        found += bool(lines)
    assert found > POINTS / 5


def test_a_truncated_catalog_is_found(path: Path) -> None:
    whole = path.read_bytes()
    for size in range(0, len(whole), 4096 * 3 + 512):
        path.write_bytes(whole[:size])
        assert damage(path), size


CHANGES = [
    "UPDATE vault SET value = 'other'",
    "UPDATE tables SET description = 'other' WHERE name = 'fewer'",
    "UPDATE instances SET rows = rows + 1",
    "UPDATE columns SET dtype = 'int32' WHERE position = 0",
    "UPDATE lineage SET source_id = 'other'",
    "UPDATE processes SET epoch = epoch + 1 WHERE process_id = 'paused'",
    "UPDATE steps SET rows_done = 99",
    "UPDATE locks SET mode = 'shared'",
    "UPDATE tables SET sum = NULL WHERE name = 'fewer'",
    "INSERT INTO events (process_id, kind, detail, happened_at) VALUES ('x', 'y', 'z', 1)",
    "UPDATE sqlite_sequence SET seq = 0 WHERE name = 'processes'",
    "DROP INDEX tables_by_name",
    "PRAGMA user_version = 9",
    "PRAGMA application_id = 1",
]


@pytest.mark.parametrize("statement", CHANGES)
def test_what_another_tool_has_changed_is_found(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        before = db.total_changes
        db.execute(statement)
        if statement.startswith(("UPDATE lineage",)) and db.total_changes == before:
            db.execute("INSERT INTO lineage (instance, source_table_id, source_id) VALUES (1, 1, 'other')")

    assert damage(path)


def test_it_says_which_row_it_is(path: Path) -> None:
    change(path, "UPDATE tables SET description = 'other' WHERE name = 'fewer'")

    (line,) = damage(path)

    assert line == "The row of tables with table_id 3 isn't what was written."


def test_a_cascade_keeps_the_checksums(path: Path) -> None:
    catalog = Catalog(path)

    with catalog.transaction() as db:
        db.execute("UPDATE processes SET process_id = 'paused~1' WHERE process_id = 'paused'")
        assert db.execute("SELECT count(*) FROM steps WHERE process_id = 'paused~1'").fetchone()[0] > 1

    assert damage(catalog.path) == []


def test_every_thread_keeps_the_checksums_of_what_it_writes(path: Path) -> None:
    catalog = Catalog(path)

    def write(number: int) -> None:
        with catalog.transaction() as db:
            db.execute(
                "INSERT INTO events (process_id, kind, detail, happened_at) VALUES ('p', 'k', 'd', ?)", (number,)
            )
        catalog.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert damage(catalog.path) == []


def test_other_tools_can_read_it_and_find_no_function_of_ours_in_it(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        texts = [row[0] or "" for row in db.execute("SELECT sql FROM sqlite_schema")]
        assert db.execute("SELECT count(*) FROM processes").fetchone()[0] > 3
    assert not [text for text in texts if "catalog_sum" in text or "TRIGGER" in text]


def test_every_table_has_checksums(tmp_path: Path) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        checks.offer(db)
        schema.migrate(db, tmp_path)
        names = {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert names - {"sqlite_sequence"} == set(checks.TABLES)


def test_a_catalog_of_version_2_gets_checksums_and_keeps_all_that_it_had(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.executescript((Path(__file__).parent / "version_2.sql").read_text())
        before = {table: db.execute(f"SELECT * FROM {table}").fetchall() for table in checks.TABLES}
    assert damage(path) == []

    with Catalog(path).snapshot() as db:
        after = {table: [tuple(row)[:-1] for row in db.execute(f"SELECT * FROM {table}")] for table in checks.TABLES}

    assert after == before
    assert len(before["processes"]) == 8
    assert damage(path) == []
    change(path, "UPDATE processes SET author = 'eve' WHERE process_id = 'first'")
    assert len(damage(path)) == 1


def test_a_damaged_page_is_told_to_whoever_reads_it(path: Path) -> None:
    whole = path.read_bytes()
    with closing(sqlite3.connect(path)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'tables'").fetchone()
    path.write_bytes(whole[: (page - 1) * 4096] + b"\xff" * 4096 + whole[page * 4096 :])

    with pytest.raises(TVFileError, match="is damaged") as caught:
        TableVault(path.parent.parent, "ada").get_table_instances()
    assert caught.value.path == str(path)


def test_what_is_no_catalog_is_told(path: Path, tmp_path: Path) -> None:
    assert damage(tmp_path / "none") == ["The file is missing."]
    path.unlink()
    path.mkdir()
    assert damage(path) == ["This is no file."]
    shutil.rmtree(path)
