"""Mistakes that we might have made, or make one day: each is put into the package, to see that a harness finds it.

A mistake is made in a worker of its own and never taken back. It must not show as long as nothing goes wrong.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tablevault_like.catalog import catalog, locks, processes
from tablevault_like.locks import WorkerLock
from tablevault_like.model import RowStatus, State
from tablevault_like.operations import folders
from tablevault_like.operations.publication import Publication
from tablevault_like.operations.write import WriteInstance
from tablevault_like.process.driving import Driver
from tablevault_like.storage import files
from tablevault_like.storage.replacements import Replacements
from tablevault_like.storage.row_reader import RowReader, RowRecord
from tablevault_like.storage.rows import RowStore
from tests.faults.harnesses import Harness, Trial

_Make: TypeAlias = Callable[[], None]


@dataclass(frozen=True)
class Mistake:
    """A mistake, and what is to find it."""

    name: str
    make: _Make
    trials: tuple[Trial, ...]

    def __str__(self) -> str:
        return self.name


MISTAKES: list[Mistake] = []


def _found_by(*trials: Trial) -> Callable[[_Make], _Make]:
    def add(make: _Make) -> _Make:
        MISTAKES.append(Mistake((make.__doc__ or "").rstrip("."), make, trials))
        return make

    return add


_MODEL, _REAL, _KILL = Harness.POWER_MODEL, Harness.POWER_REAL, Harness.KILL


@_found_by(Trial(_MODEL, "create_code_module"), Trial(_REAL, "create_code_module"))
def _no_file_is_synced() -> None:
    """No file is synced."""
    _sync_only(lambda mode: not stat.S_ISREG(mode))


@_found_by(Trial(_MODEL, "create_code_module"))
def _no_folder_is_synced() -> None:
    """No folder is synced."""
    _sync_only(lambda mode: not stat.S_ISDIR(mode))


@_found_by(Trial(_MODEL, "write_instance"))
def _manifest_is_not_synced() -> None:
    """A manifest isn't synced."""
    write_file = files.write_file

    def writing(path: Path, content: bytes | str, *, sync: bool = True) -> None:
        if path.name == "manifest.json":
            path.write_text(str(content), encoding="utf-8")
        else:
            write_file(path, content)

    files.write_file = writing


@_found_by(Trial(_KILL, "write_instance"))
def _instance_is_placed_after_the_commit() -> None:
    """The catalog shows an instance before its folder is renamed."""
    place, finish = Publication.place_at_once, WriteInstance.finish
    Publication.place = Publication.place_at_once = lambda self, run: None  # type: ignore[method-assign]

    def finishing(self: WriteInstance, run: Any) -> None:
        place(run.made, run)
        finish(self, run)

    WriteInstance.finish = finishing  # type: ignore[method-assign]


@_found_by(Trial(_MODEL, "execute_instance", points=400))
def _file_is_renamed_before_it_is_synced() -> None:
    """A file is renamed before it is synced."""
    replace = files.replace

    def writing(path: Path, content: bytes | str, *, sync: bool = True) -> None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def replacing(source: Path, target: Path) -> None:
        replace(source, target)
        files.sync_file(target)

    files.write_file, files.replace = writing, replacing


@_found_by(Trial(_KILL, "write_instance"))
def _publication_is_two_transactions() -> None:
    """A process is recorded as completed before its effects are."""

    def performing(self: Driver, operation: Any, run: Any) -> None:
        run.made = operation.execute(run)
        with self.journal.changing(run.process_id, run.epoch) as db:
            self.journal.advance(db, run.process_id, run.epoch, State.RUNNING, State.COMPLETED)
        with self.journal.catalog.transaction() as db:
            operation.publish(run, db)

    Driver._perform = performing  # type: ignore[method-assign]


@_found_by(Trial(Harness.RIVAL, "create_code_module"))
def _locks_are_released_early() -> None:
    """Locks are released when a process begins to run."""
    release = locks.release
    locks.release = lambda db, process_id, *, claim_only=False: release(db, process_id)


@_found_by(Trial(Harness.REPLACED, "write_instance"))
def _epoch_is_not_checked() -> None:
    """The epoch isn't checked."""
    set_state = processes.set_state

    def is_current(db: catalog.Database, process_id: str, epoch: int) -> State | None:
        row = processes.find(db, process_id)
        return None if row is None else row.state

    def setting(db: catalog.Database, process_id: str, *, epoch: int, **fields: Any) -> bool:
        return set_state(db, process_id, epoch=processes.get(db, process_id).epoch, **fields)

    processes.is_current, processes.set_state = is_current, setting
    RowStore._check_epoch = lambda self, *, at_most: None  # type: ignore[method-assign]


@_found_by(Trial(Harness.RESTART, "write_instance"))
def _worker_lock_is_not_held() -> None:
    """A worker doesn't hold its lock."""

    def acquiring(self: WorkerLock) -> bool:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        vars(self)["is_taken"] = True
        return True

    WorkerLock.acquire = acquiring  # type: ignore[method-assign]
    WorkerLock.release = lambda self: vars(self).update(is_taken=False)  # type: ignore[method-assign]
    WorkerLock.is_mine = property(lambda self: vars(self).get("is_taken", False))  # type: ignore[method-assign, assignment]


@_found_by(Trial(_MODEL, "execute_instance"))
def _row_is_told_before_its_commit() -> None:
    """A row is told to be recorded before that is committed."""
    record, fetch, close = RowStore.record, RowReader._fetch, RowReader.close

    def commit(self: RowReader) -> None:
        for waiting in vars(self).pop("waiting", []):
            record(self, *waiting[:2], **waiting[2])  # type: ignore[arg-type]

    def recording(self: RowStore, builder: str, rows: Sequence[RowRecord], **more: Any) -> None:
        commit(self)
        vars(self)["waiting"] = [(builder, rows, more)]

    def fetching(self: RowReader, sql: str, *parameters: object) -> list[Any]:
        commit(self)
        return fetch(self, sql, *parameters)

    def closing(self: RowReader) -> None:
        commit(self)
        close(self)

    RowStore.record, RowReader._fetch, RowReader.close = recording, fetching, closing  # type: ignore[method-assign]


@_found_by(Trial(_MODEL, "execute_instance"))
def _row_store_does_not_sync() -> None:
    """The row store is opened with synchronous=OFF."""
    prepare = RowStore._prepare

    def preparing(self: RowStore) -> None:
        prepare(self)
        self._connection.execute("PRAGMA synchronous = OFF")

    RowStore._prepare = preparing  # type: ignore[method-assign]


@_found_by(Trial(_MODEL, "create_table"), Trial(_REAL, "create_table"))
def _catalog_does_not_sync() -> None:
    """The catalog is opened with synchronous=OFF."""
    _open_catalog_with("PRAGMA synchronous = OFF")


@_found_by(Trial(_MODEL, "pin", is_named=False), Trial(_REAL, "pin", is_named=False))
def _catalog_deletes_its_journal_unsynced() -> None:
    """The catalog is opened with journal_mode=DELETE, synchronous=FULL."""
    _open_catalog_with("PRAGMA journal_mode = DELETE", "PRAGMA synchronous = FULL")


@_found_by(Trial(_KILL, "create_table"))
def _catalog_has_no_journal() -> None:
    """The catalog is opened with journal_mode=OFF."""
    _open_catalog_with("PRAGMA journal_mode = OFF")


@_found_by(Trial(_KILL, "create_code_module"))
def _undo_removes_too_much() -> None:
    """What an operation has replaced is removed when it is undone."""

    def undoing(self: Replacements) -> None:
        for target in self.texts:
            target.unlink(missing_ok=True)
            files.sync_directory(target.parent)

    Replacements.undo = undoing  # type: ignore[method-assign]


@_found_by(Trial(_KILL, "delete_table"))
def _recovery_forgets_the_trash() -> None:
    """What a dead worker had still to put into the trash stays where it is."""
    folders.tidy = lambda journal: None


@_found_by(Trial(Harness.ERROR, "create_code_module"))
def _failed_sync_is_tried_again() -> None:
    """A sync that failed is tried again."""
    sync = os.fsync

    def syncing(descriptor: int) -> None:
        try:
            sync(descriptor)
        except OSError:
            sync(descriptor)

    os.fsync = syncing  # type: ignore[assignment]


@_found_by(Trial(Harness.ERROR, "create_code_module"))
def _failed_sync_of_a_folder_is_ignored() -> None:
    """That a folder can't be synced is ignored."""
    sync = files.sync_directory

    def syncing(path: Path) -> None:
        with suppress(OSError):
            sync(path)

    files.sync_directory = syncing


@_found_by(Trial(_MODEL, "execute_instance"))
def _recorded_rows_are_forgotten() -> None:
    """A resume doesn't look at what is recorded."""

    def recorded(self: RowReader, builder: str, status: RowStatus = RowStatus.DONE) -> Any:
        return np.empty(0, dtype=np.int64)

    RowStore.recorded = recorded  # type: ignore[method-assign]


def _sync_only(is_wanted: Callable[[int], bool]) -> None:
    sync = os.fsync

    def syncing(descriptor: int) -> None:
        if is_wanted(os.fstat(descriptor).st_mode):
            sync(descriptor)

    os.fsync = syncing  # type: ignore[assignment]


def _open_catalog_with(*pragmas: str) -> None:
    opening = catalog._open

    def opened(path: Path, *, is_new: bool) -> catalog.Database:
        connection = opening(path, is_new=is_new)
        for pragma in pragmas:
            connection.execute(pragma)
        return connection

    catalog._open = opened
