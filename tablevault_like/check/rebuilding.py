"""Make the catalog of a vault anew from the vault's files, for one whose catalog is lost or damaged.

1. Nobody may be at work, and the catalog must be damaged, unless that is forced.
2. The new catalog is made as a whole beside the old one, and takes its place by a rename. The old one is kept in the
   trash; nothing is ever written over it. Killed at any point, there is the old state or the new one.
3. Instances are those whose manifests can be read. Processes that had kept their inputs are paused again, with what
   they have recorded; the folders of those that can't go on are set aside beside the old catalog.
4. What was deleted and lies in the trash is known as that again, so that it can be pruned.
5. What only the catalog knew is gone: the history of processes, events, and who has deleted what.
"""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tablevault_like.catalog import Catalog, Database, forks, instances, locks, processes, tables, vaults
from tablevault_like.catalog.instances import NewInstance
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.check import checking, reader
from tablevault_like.check.findings import CheckReport, Kind
from tablevault_like.check.looking import FILE, FOLDER, MISSING, entries, kind_of
from tablevault_like.check.remains import FoundDeletion, FoundInstance, FoundProcess, FoundTable, Remains, find
from tablevault_like.errors import TVArgumentError, TVFileError, TVProcessError
from tablevault_like.layout import Layout
from tablevault_like.locks import Worker, is_held
from tablevault_like.model import InstanceStatus, State, TableRecord
from tablevault_like.storage import drafts, files, reach

_UNKNOWN = "rebuilt"
"""The process that has made what nobody knows any more who has made it."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild has brought back, and what it couldn't."""

    tables: int
    """How many tables there are again."""
    instances: int
    """How many instances, temporary ones too."""
    processes: tuple[str, ...]
    """The processes that are paused again, and can go on under their ids."""
    notes: tuple[str, ...]
    """What couldn't be brought back, and what is only a guess, a sentence each."""
    kept: str | None
    """Where the old catalog is now, relative to the vault; ``None`` if there was none."""
    report: CheckReport
    """What a check says of the result."""


def rebuild(
    layout: Layout,
    *,
    force: bool = False,
    author: str,
    now: Callable[[], float] = time.time,
    observer: checking.Observer | None = None,
) -> Rebuilt:
    """Make the catalog anew, and check the result.

    Raises TVProcessError if a worker lives in the vault, TVArgumentError if the catalog is sound and ``force`` isn't
    given, and TVFileError if the disk refuses.
    """
    lock = drafts.locked(layout.metadata) if kind_of(layout.metadata) == FOLDER else None
    if lock is None:
        raise TVProcessError(f"Another worker rebuilds the catalog of {layout.root} at this moment. Wait for it.")
    try:
        _refuse_living(layout)
        if not force:
            _refuse_sound(layout)
        remains = find(layout)
        kept = _kept_folder(layout, now())
        with drafts.draft(layout.catalog, drafts.Kind.REBUILDING) as folder, _nobody_else(layout.catalog):
            draft = folder / layout.catalog.name
            _Rebuild(remains, author, now()).fill(draft)
            for process_id in remains.forgotten:
                _put_aside(layout.process(process_id).folder, kept / layout.processes.name)
            was_there = kind_of(layout.catalog) != MISSING
            _refuse_living(layout)
            if was_there:
                _keep_old(layout, kept)
            files.replace(draft, layout.catalog)
    finally:
        os.close(lock)
    return Rebuilt(
        tables=len(remains.tables),
        instances=sum(len(each.instances) for each in remains.tables),
        processes=tuple(each.memory.process_id for each in remains.processes),
        notes=(*remains.notes, "The history of processes that have ended, and who has deleted what, isn't known."),
        kept=kept.relative_to(layout.root).as_posix() if kept.exists() else None,
        report=checking.check(layout, observer=observer),
    )


def _refuse_living(layout: Layout) -> None:
    """Raise TVProcessError if the kernel says that a worker lives in the vault."""
    found = entries(layout.processes) if kind_of(layout.processes) == FOLDER else []
    for path in found:
        if kind_of(path) == FOLDER and is_held(layout.process(path.name).worker_lock):
            raise TVProcessError(
                f"A living worker is at process {path.name!r}, so the catalog of {layout.root} was not rebuilt. Wait "
                "for it, or end it first.",
                process_id=path.name,
            )


def _refuse_sound(layout: Layout) -> None:
    found = reader.read(layout).findings
    if any(each.kind is Kind.CORRUPTION for each in found):
        return
    if found:
        raise TVFileError(f"{found[0].what} Nothing was rebuilt. {found[0].to_do}", path=layout.catalog)
    raise TVArgumentError(
        f"The catalog {layout.catalog} is sound, so it was not rebuilt: the history of processes would be lost. With "
        "force=True it is rebuilt all the same."
    )


def _kept_folder(layout: Layout, now: float) -> Path:
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    return files.available_name(layout.trash, f"catalog-{moment}")


def _put_aside(path: Path, folder: Path) -> None:
    files.make_directory(folder)
    files.place(path, folder / path.name)


def _keep_old(layout: Layout, kept: Path) -> None:
    """Give the old catalog, and its journal, names in the trash.

    A catalog keeps its old name as well, until the new one takes it. Its journal doesn't: SQLite would take it for that
    of the new one.
    """
    files.make_directory(kept)
    journal = layout.catalog.with_name(f"{layout.catalog.name}-journal")
    others = [layout.catalog.with_name(f"{layout.catalog.name}{end}") for end in ("-wal", "-shm")]
    if kind_of(layout.catalog) == FILE:
        reach.link(layout.catalog, kept / layout.catalog.name)
    else:
        reach.rename(layout.catalog, kept / layout.catalog.name)
    for path in (journal, *others):
        if kind_of(path) == FILE:
            reach.link(path, kept / path.name)
    files.sync_directory(kept)
    for path in (journal, *others):
        if kind_of(path) != MISSING:
            files.remove(path)
    files.sync_directory(layout.metadata)


@contextmanager
def _nobody_else(path: Path) -> Iterator[None]:
    """Keep everybody from a catalog that can be opened at all; who has it open finds that it was moved."""
    if kind_of(path) != FILE or not path.stat().st_size:
        yield
        return
    with (
        forks.held_off(path),
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)) as connection,
    ):
        # What a dead worker left in the middle of a commit is rolled back by that, if anything can be read at all.
        with suppress(sqlite3.Error):
            connection.execute("BEGIN EXCLUSIVE")
        yield
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


class _Rebuild:
    """Writes what remains of a vault into a new catalog."""

    def __init__(self, remains: Remains, author: str, now: float) -> None:
        self._remains = remains
        self._author = author
        self._now = now
        self._table_ids: dict[str, int] = {}
        self._homes: dict[str, int] = {}
        """For each instance the table that it is in."""

    def fill(self, path: Path) -> None:
        catalog = Catalog.create(path)
        try:
            with catalog.transaction() as db:
                vaults.write(db, {"description": "", "author": self._author, **self._remains.vault})
                deletions = self._deletions()
                homes = [self._add_deletion(db, each) for each in deletions]
                for table in self._remains.tables:
                    self._add_table(db, table)
                for deletion, table_id in zip(deletions, homes, strict=True):
                    self._add_deleted(db, deletion, table_id)
                self._add_instances(db)
                for found in self._remains.processes:
                    self._add_process(db, found)
            if defects := catalog.integrity_errors():
                raise TVFileError(f"{path} was damaged while it was written ({defects[0]}). Check the disk.", path=path)
        finally:
            catalog.close()

    def _add_table(self, db: Database, table: FoundTable) -> None:
        self._table_ids[table.name] = tables.add(db, self._record(table, table.folder), process_id=_UNKNOWN)
        for each in table.instances:
            if not each.is_temporary:
                self._homes[each.instance_id] = self._table_ids[table.name]

    def _record(self, table: FoundTable, folder: str) -> TableRecord:
        return TableRecord(
            table_id=0,
            name=table.name,
            folder=folder,
            next_folder=None,
            allow_multiple_artifacts=table.allow_multiple_artifacts,
            has_side_effects=table.has_side_effects,
            description=table.description,
            author=table.author or self._author,
            created_at=table.created_at,
        )

    def _add_instances(self, db: Database) -> None:
        # In the order in which they became visible: the newest one is what readers get.
        found = [(each, table) for table in self._remains.tables for each in table.instances]
        for instance, table in sorted(found, key=lambda pair: (pair[0].is_temporary, pair[0].materialized_at)):
            sources = [self._known(db, each) for each in instance.sources]
            origin = None if instance.origin is None else self._known(db, instance.origin)
            number = instances.add(db, tables.get(db, table.name), self._new(instance, table, origin))
            instances.add_columns(db, number, instance.columns)
            instances.add_lineage(db, number, sources)
            if (pin := table.pinned.get(instance.instance_id)) is not None:
                instances.pin(db, self._table_ids[table.name], instance.instance_id, author=pin[1], now=pin[0])
            self._add_maker(db, instance, table)

    def _new(self, instance: FoundInstance, table: FoundTable | None, origin: tuple[int, str] | None) -> NewInstance:
        """Return an instance as it is recorded; one that was deleted has no table, and isn't active."""
        return NewInstance(
            instance_id=instance.instance_id,
            version=instance.version,
            status=InstanceStatus.TEMPORARY if instance.is_temporary else InstanceStatus.MATERIALIZED,
            author=instance.author or self._author,
            process_id=instance.process_id or _UNKNOWN,
            created_at=instance.created_at,
            active=table is not None and _is_active(instance, table),
            success=instance.success and not instance.is_temporary,
            external_edit=instance.external_edit,
            description=instance.description,
            origin_table_id=origin[0] if origin else None,
            origin_id=origin[1] if origin else None,
            materialized_at=None if instance.is_temporary else instance.materialized_at,
            rows=None if instance.is_temporary else instance.rows,
            manifest_sha256=instance.manifest_sha256,
        )

    def _known(self, db: Database, source: tuple[str, str]) -> tuple[int, str]:
        """Return an instance that another was made from by its table, recording it as deleted if it is gone."""
        table, instance_id = source
        if instance_id not in self._homes:
            if table not in self._table_ids:
                self._table_ids[table] = self._add_deleted_table(db, table)
            self._homes[instance_id] = self._table_ids[table]
            db.execute(
                "INSERT INTO instances (table_id, instance_id, version, status, active, success, external_edit,"
                " description, author, process_id, created_at, deleted_at, deleted_by)"
                " VALUES (?, ?, ?, 'deleted', 0, 1, 0, '', '', ?, ?, ?, ?)",
                (
                    *(self._homes[instance_id], instance_id, instance_id.partition("_")[0], _UNKNOWN),
                    *(float(instance_id.split("_")[1]), self._now, _UNKNOWN),
                ),
            )
        return self._homes[instance_id], instance_id

    def _add_deleted_table(self, db: Database, name: str) -> int:
        record = TableRecord(0, name, _nowhere(name), None, False, False, "", "", self._now)
        table_id = tables.add(db, record, process_id=_UNKNOWN)
        tables.delete(db, table_id, process_id=_UNKNOWN, now=self._now)
        return table_id

    def _deletions(self) -> list[FoundDeletion]:
        """Return what was deleted, but for what is in the vault all the same: somebody has put it back."""
        there = {(table.name, each.instance_id) for table in self._remains.tables for each in table.instances}
        paused = {found.memory.process_id for found in self._remains.processes}
        return [
            each
            for each in self._remains.deletions
            if each.process_id not in paused
            and (each.table is not None or (each.table_name, each.instances[0].instance_id) not in there)
        ]

    def _add_deletion(self, db: Database, found: FoundDeletion) -> int | None:
        """Record a table that was deleted, before another of its name is there, and return its id."""
        if found.table is None:
            return None
        record = self._record(found.table, _nowhere(found.table.name))
        table_id = tables.add(db, record, process_id=_UNKNOWN)
        tables.delete(db, table_id, process_id=found.process_id, now=found.deleted_at)
        return table_id

    def _add_deleted(self, db: Database, found: FoundDeletion, table_id: int | None) -> None:
        """Record the instances that were deleted, with their table or by themselves, and by which process."""
        if table_id is None:
            if found.table_name not in self._table_ids:
                self._table_ids[found.table_name] = self._add_deleted_table(db, found.table_name)
            table_id = self._table_ids[found.table_name]
        for each in found.instances:
            if not each.is_temporary:
                self._homes.setdefault(each.instance_id, table_id)
            instances.add(db, table_id, self._new(each, None, None))
            instances.delete(db, table_id, each.instance_id, process_id=found.process_id, now=found.deleted_at)
        if processes.find(db, found.process_id) is not None:
            return  # it has deleted more than one
        is_alone = sum(each.process_id == found.process_id for each in self._remains.deletions) == 1
        arguments = {"table_name": found.table_name}
        if found.table is None:
            arguments["instance_id"] = found.instances[0].instance_id
        operation = "delete_instance" if found.table is None else "delete_table"
        _add_ended(
            db,
            found.process_id,
            operation if is_alone else "prune",
            arguments if is_alone else {},
            author=self._author,
            state=State.COMPLETED,
            began=found.deleted_at,
            ended=found.deleted_at,
        )

    def _add_maker(self, db: Database, instance: FoundInstance, table: FoundTable) -> None:
        """Record the process that has made an instance: the same call with its id finds that it is done."""
        process_id = instance.process_id
        if not process_id or processes.find(db, process_id) is not None:
            return
        operation = "write_instance" if instance.external_edit else "execute_instance"
        _add_ended(
            db,
            process_id,
            "create_instance" if instance.is_temporary else operation,
            {"table_name": table.name, "version": instance.version},
            author=instance.author,
            state=State.COMPLETED if instance.success else State.MATERIALIZED,
            began=instance.created_at,
            ended=instance.materialized_at or instance.created_at,
        )

    def _add_process(self, db: Database, found: FoundProcess) -> None:
        """Record an unfinished process as paused: whoever calls it again, under its id, goes on with it."""
        memory = found.memory
        processes.add(
            db,
            memory.process_id,
            operation=memory.operation,
            arguments=memory.arguments,
            author=memory.author,
            named=True,
            parent_id=memory.parent_id if self._is_live(memory.parent_id) else None,
            state=State.PAUSED,
            epoch=max(memory.epoch, found.epoch),
            host=Worker.this().host,
            pid=os.getpid(),
            now=memory.created_at,
        )
        locks.grant(db, memory.process_id, memory.locks, claim_only=False, now=self._now)
        processes.plan_steps(db, memory.process_id, found.steps)
        table_id = self._table_ids.get(str(memory.arguments.get("table_name")))
        makes_instances = memory.operation in ("execute_instance", "write_instance")
        if table_id is not None and makes_instances and instances.has_side_effects(db, table_id):
            instances.deactivate_others(db, table_id, process_id=memory.process_id)
        processes.add_event(db, memory.process_id, "rebuilt", "the catalog was made anew", now=self._now)

    def _is_live(self, process_id: str | None) -> bool:
        return any(each.memory.process_id == process_id for each in self._remains.processes)


def _add_ended(
    db: Database,
    process_id: str,
    operation: str,
    arguments: Mapping[str, Any],
    *,
    author: str,
    state: State,
    began: float,
    ended: float,
) -> None:
    """Record a process that has ended, with what is known of it still. Times are seconds since the epoch (POSIX)."""
    row = ProcessRow(
        process_id=process_id,
        operation=operation,
        arguments=arguments,
        author=author,
        named=not _is_generated(process_id),
        parent_id=None,
        state=state,
        epoch=1,
        stop_intent=None,
        paused_on_request=False,
        host=None,
        pid=None,
        error=None,
        created_at=began,
        started_at=began,
        updated_at=ended,
        ended_at=ended,
    )
    processes.add_ended(db, row, ())


def _nowhere(name: str) -> str:
    """Return a folder that nothing can ever lie in: that of a deleted table is looked for when tables are put away."""
    return f"{name}~0"


def _is_active(instance: FoundInstance, table: FoundTable) -> bool:
    if instance.is_temporary:
        return False
    if table.inactive is not None:
        return instance.instance_id not in table.inactive
    if not table.has_side_effects:
        return True
    newest = max((each for each in table.instances if not each.is_temporary), key=lambda each: each.materialized_at)
    return instance is newest


def _is_generated(process_id: str) -> bool:
    try:
        return uuid.UUID(process_id).version == 4
    except ValueError:
        return False
