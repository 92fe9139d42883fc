"""Transactions and snapshots of the catalog: all or nothing, durable, and one thread each."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tablevault_like.catalog import Catalog, Database, processes, schema, vaults
from tablevault_like.catalog import catalog as module
from tablevault_like.errors import TVFileError
from tablevault_like.storage import files
from tests.workers import PATIENCE, Action, Fault, Workers


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    found = Catalog.create(tmp_path / "catalog.sqlite")
    yield found
    found.close()


def put(catalog: Catalog, **fields: str) -> None:
    with catalog.transaction() as db:
        vaults.write(db, fields)


def read(catalog: Catalog) -> dict[str, str]:
    with catalog.snapshot() as db:
        return vaults.read(db)


class TestATransaction:
    def test_is_kept_as_a_whole(self, catalog: Catalog) -> None:
        put(catalog, author="ada")

        other = Catalog(catalog.path)
        assert read(other) == {"author": "ada"}
        other.close()

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
    def test_leaves_nothing_when_it_raises(self, catalog: Catalog, error: type[BaseException]) -> None:
        with pytest.raises(error), catalog.transaction() as db:
            vaults.write(db, {"author": "ada"})
            raise error

        assert read(catalog) == {}

    def test_keeps_others_from_changing_anything(self, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "BUSY_SECONDS", 0.01)
        other = Catalog(catalog.path)

        with catalog.transaction(), pytest.raises(sqlite3.OperationalError, match="locked"):
            put(other, author="bob")

        put(other, author="bob")
        assert read(catalog) == {"author": "bob"}
        other.close()

    def test_is_not_opened_inside_another(self, catalog: Catalog) -> None:
        with (
            catalog.transaction(),
            pytest.raises(RuntimeError, match="open in this thread already"),
            catalog.snapshot(),
        ):
            pass

    def test_that_is_interrupted_while_it_begins_is_over(
        self, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An interrupt that arrives while SQLite waits is raised as soon as its call returns."""

        def execute(self: Database, sql: str, *parameters: Any) -> Any:
            result = sqlite3.Connection.execute(self, sql, *parameters)
            if sql.startswith("BEGIN"):
                signal.raise_signal(signal.SIGINT)
            return result

        put(catalog, author="ada")
        with monkeypatch.context() as patch:
            patch.setattr(Database, "execute", execute)
            with pytest.raises(KeyboardInterrupt) as caught, catalog.transaction():
                pass

        assert caught.value.__traceback__ is not None  # what it holds on to must not hold the transaction
        put(catalog, author="bob")
        assert read(catalog) == {"author": "bob"}

    def test_that_was_left_open_is_rolled_back_by_recover(self, catalog: Catalog) -> None:
        left = catalog.transaction()
        vaults.write(left.__enter__(), {"author": "ada"})

        catalog.recover()

        assert read(catalog) == {}
        put(catalog, author="bob")


class TestASnapshot:
    def test_is_of_one_moment(self, catalog: Catalog) -> None:
        put(catalog, author="ada")
        other = Catalog(catalog.path)
        with catalog.snapshot() as db:
            before = vaults.read(db)
            writer = threading.Thread(target=put, args=(other,), kwargs={"author": "bob"})
            writer.start()
            assert vaults.read(db) == before
        writer.join(PATIENCE)

        assert read(catalog) == {"author": "bob"}


class TestWhatOthersCommitted:
    @pytest.mark.parametrize("begin", [Catalog.snapshot, Catalog.transaction])
    def test_is_synced_once_before_it_is_read(
        self,
        catalog: Catalog,
        begin: Callable[[Catalog], AbstractContextManager[Database]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Whoever has committed it may have died before it was durable."""
        synced = list[Path]()
        put(catalog, author="ada")
        other = Catalog(catalog.path)
        put(other, author="bob")
        monkeypatch.setattr(files, "sync_file", synced.append)

        with begin(catalog):
            assert synced == [catalog.path.with_name("catalog.sqlite-journal")]
        with begin(catalog):
            pass
        put(catalog, author="eve")
        with begin(catalog):
            pass

        assert len(synced) == 1
        other.close()

    def test_is_not_read_if_it_can_not_be_synced_which_is_tried_once(
        self, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tried = list[Path]()

        def failing(path: Path) -> None:
            tried.append(path)
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

        other = Catalog(catalog.path)
        put(other, author="bob")
        other.close()
        with monkeypatch.context() as patch:
            patch.setattr(files, "sync_file", failing)
            with pytest.raises(OSError, match=r"catalog\.sqlite-journal"):
                read(catalog)
            assert read(catalog) == {"author": "bob"}

        assert len(tried) == 1


class TestThreads:
    def test_have_connections_of_their_own(self, catalog: Catalog) -> None:
        def change() -> None:
            put(catalog, there="1")
            catalog.close()

        with catalog.snapshot():
            pass
        thread = threading.Thread(target=change)
        thread.start()
        thread.join(PATIENCE)

        assert read(catalog) == {"there": "1"}


class TestOpening:
    def test_is_durable(self, catalog: Catalog) -> None:
        with catalog.snapshot() as db:
            assert db.execute("PRAGMA journal_mode").fetchone()[0] == "persist"
            assert db.execute("PRAGMA synchronous").fetchone()[0] == 3
            assert db.execute("PRAGMA foreign_keys").fetchone()[0] == 1

    def test_attaches_nothing(self, catalog: Catalog, tmp_path: Path) -> None:
        with catalog.snapshot() as db, pytest.raises(sqlite3.OperationalError, match="too many attached"):
            db.execute("ATTACH ? AS other", (str(tmp_path / "other.sqlite"),))

    def test_of_a_missing_one_makes_none(self, tmp_path: Path) -> None:
        catalog = Catalog(tmp_path / "catalog.sqlite")

        with pytest.raises(TVFileError, match="is missing"):
            read(catalog)

        assert not catalog.path.exists()

    def test_of_a_damaged_one_is_told(self, tmp_path: Path) -> None:
        path = tmp_path / "catalog.sqlite"
        path.write_bytes(b"this is no database at all" * 100)

        with pytest.raises(TVFileError, match="is damaged"):
            read(Catalog(path))

    def test_of_a_newer_one_is_refused(self, catalog: Catalog) -> None:
        with sqlite3.connect(catalog.path) as db:
            db.execute("PRAGMA user_version = 99")
        db.close()

        with pytest.raises(TVFileError, match="catalog version 99"):
            read(Catalog(catalog.path))

    def test_of_an_older_one_brings_it_to_this_version(self, tmp_path: Path) -> None:
        path = tmp_path / "catalog.sqlite"
        with sqlite3.connect(path) as db:
            for statement in schema.MIGRATIONS[0].split(";"):
                db.execute(statement)
            db.execute("PRAGMA user_version = 1")
            db.execute(
                "INSERT INTO processes (process_id, operation, arguments, author, named, state, epoch, created_at,"
                " updated_at) VALUES ('p', 'create_table', '{}', 'ada', 1, 'PAUSED', 3, 1.0, 2.0)"
            )
        db.close()

        with Catalog(path).snapshot() as found:
            row = processes.get(found, "p")
            assert found.execute("PRAGMA user_version").fetchone()[0] == schema.VERSION
        assert (row.epoch, row.pause_reason, row.completed_through, row.deaths) == (3, None, None, 0)

    def test_on_a_network_file_system_is_refused_unless_it_is_told_to(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tablevault_like.storage.networks.kind_of", lambda path: "nfs4")

        with pytest.raises(TVFileError, match=r"network file system \(nfs4\)"):
            Catalog(tmp_path / "catalog.sqlite")

        monkeypatch.setenv("TABLEVAULT_ALLOW_NETWORK_FS", "1")
        Catalog.create(tmp_path / "catalog.sqlite").close()

    def test_twice_makes_one(self, catalog: Catalog) -> None:
        with pytest.raises(FileExistsError):
            Catalog.create(catalog.path)


def test_a_worker_that_is_killed_in_a_transaction_leaves_none_of_it(catalog: Catalog, workers: Workers) -> None:
    put(catalog, author="ada")
    fault = Fault("after tablevault_like.catalog.vaults:write", Action.KILL)

    worker = workers.run(overwrite, catalog.path, faults=[fault])

    assert worker.end() == -signal.SIGKILL
    assert read(catalog) == {"author": "ada"}
    assert catalog.integrity_errors() == []


def overwrite(path: Path) -> None:
    put(Catalog(path), author="eve")
