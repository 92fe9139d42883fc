"""The catalog is held to its own rules; a damaged one is told, and never breaks a check."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.check import CheckReport, Kind
from tests.check.conftest import change, check, flip, overwrite

CATALOG = "metadata/catalog.sqlite"


def told(report: CheckReport) -> str:
    """Return what is told of the catalog."""
    return "\n".join(each.what for each in report if each.where == CATALOG and each.kind is Kind.CORRUPTION)


class TestAFileThatIsNoCatalog:
    def test_because_it_is_missing(self, copy_dir: Path) -> None:
        (copy_dir / CATALOG).unlink()

        report = check(copy_dir)

        assert "it is missing" in told(report)
        assert "tvl check --rebuild-catalog" in report.findings[0].to_do

    @pytest.mark.parametrize(
        "content", [b"", b"not a database at all " * 100, bytes(8192)], ids=["empty", "text", "zeros"]
    )
    def test_because_of_its_content(self, copy_dir: Path, content: bytes) -> None:
        overwrite(copy_dir / CATALOG, lambda raw: raw.__setitem__(slice(None), content))

        assert "lost or damaged" in told(check(copy_dir))

    @pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
    def test_because_something_else_stands_there(self, copy_dir: Path, kind: str) -> None:
        kept = (copy_dir / CATALOG).rename(copy_dir.parent / "kept")
        match kind:
            case "folder":
                (copy_dir / CATALOG).mkdir()
            case "pipe":
                os.mkfifo(copy_dir / CATALOG)
            case "link":
                (copy_dir / CATALOG).symlink_to(kept)

        assert "isn't a regular file" in told(check(copy_dir))

    def test_but_another_program_s(self, copy_dir: Path) -> None:
        change_pragma(copy_dir / CATALOG, "application_id", 7)

        assert "isn't one of tablevault_like's" in told(check(copy_dir))

    def test_but_of_a_newer_release(self, copy_dir: Path) -> None:
        change_pragma(copy_dir / CATALOG, "user_version", 99)

        (found,) = check(copy_dir)

        assert found.kind is Kind.UNCHECKED
        assert "has version 99" in found.what
        assert not check(copy_dir).ok

    def test_because_it_lacks_a_table(self, copy_dir: Path) -> None:
        change(copy_dir / CATALOG, "DROP TABLE events")

        report = check(copy_dir)

        assert "'events'" in told(report)


def change_pragma(path: Path, name: str, value: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA {name} = {value}")


GRANT = "INSERT INTO locks (process_id, resource, mode, claim_only, granted_at)"

BROKEN = {
    "UPDATE processes SET state = 'SLEEPING' WHERE number = 1": "SLEEPING",
    "UPDATE processes SET ended_at = NULL WHERE number = 1": "has not ended",
    "UPDATE processes SET arguments = '[]' WHERE number = 1": "no JSON object",
    "UPDATE processes SET arguments = '{' WHERE number = 1": "'processes'",
    "UPDATE processes SET epoch = 'x' WHERE number = 1": "'epoch' is a str",
    "UPDATE processes SET state = 'RUNNING', ended_at = NULL, parent_id = 'nobody' WHERE number = 1": "'nobody'",
    "UPDATE processes SET state = 'RUNNING', ended_at = NULL, operation = 'dance' WHERE number = 1": "'dance'",
    "UPDATE processes SET state = 'RUNNING', ended_at = NULL, arguments = '{}' WHERE operation = 'create_table'": (
        "can't be used"
    ),
    "UPDATE processes SET state = 'RUNNING', ended_at = NULL, process_id = '../x' WHERE number = 1": "name of a folder",
    "UPDATE steps SET rows_done = -1 WHERE rows_done > 0": "below 0",
    f"{GRANT} VALUES ('nobody', 'words/', 'exclusive', 0, 1.0)": "'nobody', which isn't known, holds a lock",
    "UPDATE tables SET name = '..' WHERE name = 'words'": "'tables'",
    "UPDATE tables SET folder = 'a/../../b' WHERE name = 'words'": "can't be a table's",
    "UPDATE tables SET deleted_at = 1.0 WHERE name = 'scores'": "isn't clear",
    "UPDATE instances SET status = 'lost' WHERE number = 3": "'instances'",
    "UPDATE instances SET status = 'deleted' WHERE number = 3": "was not deleted",
    "UPDATE instances SET version = 'other' WHERE status = 'materialized'": "version is 'other'",
    "UPDATE instances SET version = 'a_b' WHERE status = 'materialized'": "version",
    "UPDATE instances SET instance_id = '../../etc' WHERE status = 'materialized'": "no instance can have this id",
    "UPDATE instances SET manifest_sha256 = 'abc' WHERE status = 'materialized'": "checksum of its manifest",
    "UPDATE instances SET rows = NULL WHERE status = 'materialized'": "it lacks",
    "UPDATE instances SET rows = -1 WHERE status = 'materialized'": "it lacks",
    "UPDATE instances SET active = 1 WHERE status = 'temporary'": "it is active",
    "UPDATE instances SET origin_table_id = NULL WHERE origin_id IS NOT NULL": "in part only",
    "UPDATE instances SET table_id = 77 WHERE status = 'materialized'": "refers to",
    "DELETE FROM columns WHERE position = 1": "one of its columns is missing",
    "INSERT INTO lineage (instance, source_table_id, source_id)"
    " SELECT number, table_id, 'base_1_lost' FROM instances": "isn't known",
}


@pytest.mark.parametrize("sql", BROKEN)
def test_a_row_that_breaks_a_rule_is_told(copy_dir: Path, sql: str) -> None:
    with closing(sqlite3.connect(copy_dir / CATALOG, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        assert connection.execute(sql).rowcount > 0

    report = check(copy_dir)

    assert BROKEN[sql] in told(report), told(report)
    assert not report.ok


def test_two_active_instances_of_a_table_with_side_effects_are_told(copy_dir: Path, made: str) -> None:
    columns = "table_id, version, status, active, success, external_edit, description, author, process_id, created_at"
    change(
        copy_dir / CATALOG,
        f"INSERT INTO instances (instance_id, rows, manifest_sha256, materialized_at, {columns}) SELECT"
        f" replace(instance_id, 'base_1', 'base_2'), rows, manifest_sha256, materialized_at, {columns} FROM instances"
        " WHERE instance_id = ?",
        made,
    )

    found = [each.what for each in check(copy_dir) if each.where == "words"]

    assert found == ["The table has side effects, and 2 of its instances are active instead of one."]


def test_two_processes_that_hold_one_lock_are_told(copy_dir: Path) -> None:
    with closing(sqlite3.connect(copy_dir / CATALOG, isolation_level=None)) as connection:
        for number, process_id in ((1, "one"), (2, "two")):
            connection.execute(
                "UPDATE processes SET process_id = ?, state = 'PAUSED', ended_at = NULL WHERE number = ?",
                (process_id, number),
            )
            connection.execute(f"{GRANT} VALUES (?, 'words/', 'exclusive', 0, 1.0)", (process_id,))

    assert "Processes 'one' and 'two' both hold words" in told(check(copy_dir))


def test_the_locks_of_a_child_and_its_parent_are_no_conflict(copy_dir: Path) -> None:
    with closing(sqlite3.connect(copy_dir / CATALOG, isolation_level=None)) as connection:
        for number, process_id, parent_id in ((1, "one", None), (2, "two", "one")):
            connection.execute(
                "UPDATE processes SET process_id = ?, parent_id = ?, state = 'PAUSED', ended_at = NULL"
                " WHERE number = ?",
                (process_id, parent_id, number),
            )
            connection.execute(f"{GRANT} VALUES (?, 'words/', 'exclusive', 0, 1.0)", (process_id,))

    assert "both hold" not in told(check(copy_dir))


def test_what_can_be_read_of_a_damaged_catalog_is_checked_all_the_same(copy_dir: Path) -> None:
    change(copy_dir / CATALOG, "UPDATE tables SET name = '..' WHERE name = 'scores'")
    (copy_dir / "words" / "stray").touch()

    report = check(copy_dir)

    assert "'scores'" not in told(report)
    assert [each.where for each in report if each.kind is Kind.UNKNOWN] == ["words/stray"]


def test_a_catalog_that_somebody_keeps_busy_is_not_called_damaged(
    copy_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tablevault_like.check import databases

    monkeypatch.setattr(databases, "_BUSY_SECONDS", 0.01)
    with closing(sqlite3.connect(copy_dir / CATALOG, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")

        report = check(copy_dir)

    (found,) = report
    assert (found.kind, found.where) == (Kind.UNCHECKED, CATALOG)
    assert "busy" in found.what
    assert not report.ok


def test_an_older_catalog_is_checked_and_stays_one(copy_dir: Path) -> None:
    """A check is no migration."""
    columns = ("pause_requested_by", "pause_reason", "completed_through", "mark", "deaths")
    with closing(sqlite3.connect(copy_dir / CATALOG, isolation_level=None)) as connection:
        connection.execute("DROP INDEX processes_by_end")
        for table, names in {
            "processes": columns,
            "steps": ("rows_skipped", "batch_size", "cost", "tokens"),
            "instances": ("pinned_at", "pinned_by"),
        }.items():
            for name in names:
                connection.execute(f"ALTER TABLE {table} DROP COLUMN {name}")
        connection.execute("PRAGMA user_version = 1")

    report = check(copy_dir)

    assert list(report) == []
    with closing(sqlite3.connect(copy_dir / CATALOG)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


def test_random_damage_never_breaks_a_check(copy_dir: Path, is_full: bool) -> None:
    dice = random.Random(5)
    whole = copy_dir.parent / "whole.sqlite"
    shutil.copyfile(copy_dir / CATALOG, whole)
    size = whole.stat().st_size
    for _ in range(1000 if is_full else 60):
        path = copy_dir / CATALOG
        match dice.randrange(3):
            case 0:
                for _ in range(dice.randrange(1, 20)):
                    flip(path, dice.randrange(size), dice.randrange(8))
            case 1:
                start = dice.randrange(0, size, 512)
                overwrite(path, partial(wipe, start=start))
            case 2:
                overwrite(path, lambda raw: raw.__delitem__(slice(dice.randrange(size), None)))

        report = check(copy_dir)

        assert all(str(each) for each in report)
        # What was changed and breaks no rule is found by the rows' own checksums.
        assert not report.ok or isinstance(dump(path), list)
        shutil.copyfile(whole, path)


def wipe(raw: bytearray, *, start: int) -> None:
    raw[start : start + 512] = bytes(512)


def dump(path: Path) -> list[str] | str:
    """Return all that is in a catalog, or why it can't be read."""
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        try:
            return [
                str(connection.execute(f"SELECT * FROM {name.decode()}").fetchall())
                for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
            ]
        except (sqlite3.Error, UnicodeDecodeError) as error:
            return str(error)


def test_a_catalog_is_read_without_opening_the_vault(copy_dir: Path) -> None:
    vault = TableVault(copy_dir)
    (copy_dir / CATALOG).unlink()

    assert not vault.check().ok
