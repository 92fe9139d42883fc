"""What of a vault belongs into its archive, as the catalog of one moment has it.

1. The catalog, the row stores of processes that haven't ended, and the files that may change are copied while the
   catalog stands still: no process begins, ends, or places anything meanwhile. Functions run on, and their rows are
   recorded a moment later.
2. A process that hasn't ended is archived with its folder, and with an instance that it has placed but not published,
   so that it can be resumed. Its worker lock isn't: in the copy nobody is at work.
3. Materialized instances never change, so they are read afterwards, at leisure.
4. What is no part of the vault, and what is in its trash, is left out and told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tablevault_like.archive import databases
from tablevault_like.archive.databases import Copy
from tablevault_like.archive.spool import Spool
from tablevault_like.catalog import Catalog, Database, instances, processes, tables
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.layout import Layout, is_instance_folder
from tablevault_like.model import InstanceRecord, TableRecord
from tablevault_like.process.journal import Journal
from tablevault_like.process.run import Run
from tablevault_like.storage import places

SIDECARS = ("-journal", "-wal", "-shm")
"""The ends of the names of files that SQLite keeps beside a database. They are none of ours to copy or to restore."""

_CACHES = ("__pycache__",)


@dataclass(frozen=True, slots=True)
class Placed:
    """A materialized instance, and the path of its folder in the vault at the time."""

    name: str
    record: InstanceRecord


@dataclass(frozen=True, slots=True)
class Known:
    """What the catalog knows that has files, at one moment."""

    tables: Sequence[tuple[TableRecord, Sequence[InstanceRecord]]]
    deleted_folders: Collection[str]
    live: Sequence[ProcessRow]

    @classmethod
    def read(cls, db: Database) -> Known:
        """Read it in a transaction."""
        records = [tables.get(db, name) for name in tables.names(db)]
        return cls(
            [(record, instances.of_table(db, record.name, include_temporary=True)) for record in records],
            {folder for folder, _ in tables.deleted_folders(db)},
            processes.live(db),
        )

    @property
    def table_folders(self) -> set[str]:
        """The folders of tables, under every name that each may have."""
        return {name for record, _ in self.tables for name in (record.folder, record.next_folder) if name is not None}


def collect(journal: Journal, spool: Spool) -> list[Placed]:
    """Copy into the spool what may change, and return the materialized instances, which can't, in order of their paths.

    Raises TVFileError for what can't be read or is damaged.
    """
    with journal.catalog.snapshot() as db:
        known = Known.read(db)
    _Survey(journal, known, spool).take()
    with ExitStack() as stores:
        with _standing_still(journal.catalog) as (db, copy):
            survey = _Survey(journal, Known.read(db), spool)
            found = survey.take()
            held = [(path, stores.enter_context(databases.held(path))) for path in survey.row_stores()]
            spool.add_database(name_of(journal.layout, journal.layout.catalog), journal.layout.catalog, copy)
        for path, copy_rows in held:
            spool.add_database(name_of(journal.layout, path), path, copy_rows)
    return found


@contextmanager
def _standing_still(catalog: Catalog) -> Iterator[tuple[Database, Copy]]:
    """Keep the catalog from being changed, for as short as can be, and give what copies it.

    Who may not write to it holds it by reading: then other readers may have to wait as well.
    """
    if databases.may_write(catalog.path):
        with catalog.transaction() as db, databases.held(catalog.path) as copy:
            yield db, copy
    else:
        # SQLite would give a transaction that keeps nobody out. And a second connection could wait for ever here, for
        # somebody who waits for the first one.
        with catalog.snapshot() as db:
            yield db, partial(databases.copy, db)


class _Survey:
    """One round of looking at everything."""

    def __init__(self, journal: Journal, known: Known, spool: Spool) -> None:
        self._layout = journal.layout
        self._known = known
        self._spool = spool
        self._owners = {instance_suffix(row, journal): row.process_id for row in known.live}
        self._instances: list[Placed] = []

    def take(self) -> list[Placed]:
        """Copy what may change, and return the materialized instances."""
        self._spool.begin()
        self._add_root()
        self._add_metadata()
        for record, found in self._known.tables:
            self._add_table(record, found)
        return sorted(self._instances, key=lambda placed: placed.name.split("/"))

    def row_stores(self) -> Iterator[Path]:
        """Yield the row stores of processes that haven't ended, which ``take`` leaves to SQLite."""
        for row in self._known.live:
            path = self._layout.process(row.process_id).rows
            if path.is_file():
                yield path

    def _add_root(self) -> None:
        layout, spool = self._layout, self._spool
        spool.add_file(name_of(layout, layout.marker), layout.marker)
        if layout.description.is_file():
            spool.add_file(name_of(layout, layout.description), layout.description)
        spool.add_tree(name_of(layout, layout.code_functions), layout.code_functions, skip=_CACHES.__contains__)
        known = {path.name for path in (layout.marker, layout.description, layout.code_functions, layout.metadata)}
        self._tell_others(layout.root, known | self._known.table_folders | {*self._known.deleted_folders})

    def _add_metadata(self) -> None:
        layout, spool = self._layout, self._spool
        for folder in (layout.metadata, layout.processes, layout.trash):
            spool.add_folder(name_of(layout, folder), folder)
        live = {row.process_id for row in self._known.live}
        for path in _entries(layout.processes):
            place = layout.process(path.name)
            if path.name in live:
                own = {place.worker_lock.name, *(place.rows.name + end for end in ("", *SIDECARS))}
                spool.add_tree(name_of(layout, path), path, skip=own.__contains__)
            elif place.output_log.is_file():
                spool.add_folder(name_of(layout, path), path)
                spool.add_file(name_of(layout, place.output_log), place.output_log)
        known = {layout.catalog.name + end for end in ("", *SIDECARS)}
        self._tell_others(layout.metadata, {*known, layout.reserve.name, layout.processes.name, layout.trash.name})
        if thrown := len(_entries(layout.trash)):
            things = "a thing that was" if thrown == 1 else f"{thrown:,} things that were"
            spool.leave_out(name_of(layout, layout.trash), f"the trash holds {things} deleted")

    def _add_table(self, record: TableRecord, found: Sequence[InstanceRecord]) -> None:
        place = places.table_layout(self._layout, record)
        name = name_of(self._layout, place.folder)
        self._spool.add_folder(name, place.folder)
        if place.description.is_file():
            self._spool.add_file(name_of(self._layout, place.description), place.description)
        known = {place.description.name, place.artifacts.name}  # the latter only shows what an instance has
        for instance in found:
            folder = place.instance(instance.instance_id).folder
            known.add(folder.name)
            if instance.is_temporary:
                self._spool.add_tree(name_of(self._layout, folder), folder)
            else:
                self._instances.append(Placed(name_of(self._layout, folder), instance))
        self._add_unpublished(place.folder, known)
        self._tell_others(place.folder, known)

    def _add_unpublished(self, table: Path, known: set[str]) -> None:
        """Add the instances that processes have placed in a table, but not published yet."""
        for path in _entries(table):
            owner = self._owners.get(path.name[path.name.find("_") :])
            if owner is not None and path.name not in known:
                known.add(path.name)
                # Who may only read can't keep it from being placed at this very moment.
                if not self._layout.process(owner).staged_instance(path.name).folder.exists():
                    self._spool.add_tree(name_of(self._layout, path), path)

    def _tell_others(self, folder: Path, known: Collection[str]) -> None:
        """Tell of what lies in a folder and isn't known. Litter of this library's own is not worth a word."""
        for path in _entries(folder):
            if path.name not in known and not is_instance_folder(path.name) and path.suffix != ".new":
                self._spool.leave_out(name_of(self._layout, path), "it is no part of the vault")


def instance_suffix(row: ProcessRow, journal: Journal) -> str:
    """Return how the id of the instance ends that a process makes, behind its version."""
    return Run(row.process_id, row.epoch, row.named, row.author, row.created_at, journal).instance_id("")


def name_of(layout: Layout, path: Path) -> str:
    """Return the path of a file in its vault."""
    return path.relative_to(layout.root).as_posix()


def _entries(folder: Path) -> list[Path]:
    """Return what is in a folder, in order; nothing if it isn't there."""
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
