"""Let folders follow the catalog: the housekeeping after a commit, which may come late.

1. A folder is moved in a transaction in which no process holds a lock on it and, if it is put away, no row accounts
   for it. So whoever has claimed the same name since the commit is never disturbed.
2. All of it may be done again, by anyone. What could not be done after the commit, because somebody held a lock or the
   worker died, is done by ``tidy``.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from tablevault_like.catalog import Database, instances, locks, tables
from tablevault_like.layout import InstanceLayout, Layout, is_instance_folder
from tablevault_like.model import INDEX_SUFFIX, LockRequest, Resource, TableRecord
from tablevault_like.operations import artifact_views
from tablevault_like.process.journal import Journal
from tablevault_like.storage import descriptions, files, places, reach

log = logging.getLogger("tablevault_like")


def follow_table(journal: Journal, table: str) -> None:
    """Make the folder of a table, or rename it after the table. A folder that somebody works in stays where it is."""
    with journal.catalog.transaction() as db:
        record = tables.find(db, table)
        if record is None:
            return
        if record.next_folder is not None and is_free(db, Resource.table(table)):
            old, new = journal.layout.table(record.folder), journal.layout.table(record.next_folder)
            if old.folder.is_dir():
                files.place(old.folder, new.folder)
            else:  # whoever has moved it may have died before that was durable
                files.sync_directory(journal.layout.root)
            tables.settle_folder(db, record.table_id, record.next_folder)
            record = tables.get(db, table)
        place = places.table_layout(journal.layout, record)
        reach.make_folder(place.folder, exist_ok=True)
        standing = descriptions.describe_standing(*instances.standing(db, record.table_id))
        descriptions.write_table(place, record, standing)
        for instance in instances.of_table(db, table, include_temporary=True):
            if instance.is_temporary and is_free(db, Resource.builders(table, instance.version)):
                _rename_index_builder(places.part_of(place, instance.instance_id), table)


def _rename_index_builder(place: InstanceLayout, table: str) -> None:
    """Let the IndexBuilder of a temporary instance bear the table's name: no other builder's ends like that."""
    name = place.builder(table + INDEX_SUFFIX)
    found = list(place.builders.glob(f"*{INDEX_SUFFIX}.yaml"))
    if len(found) == 1:
        if found[0] != name:
            reach.rename(found[0], name)
        files.sync_directory(place.builders)  # in any case: whoever has renamed it may have died before


def put_away_table(journal: Journal, folder: str, name: str) -> None:
    """Move the folder of a deleted table into the trash, as ``name``."""
    with journal.catalog.transaction() as db:
        place = journal.layout.table(folder)
        if not tables.is_folder_taken(db, folder) and place.folder.is_dir():
            files.discard(place.folder, journal.layout.trash, name)


def put_away_instance(
    journal: Journal, table: str, instance_id: str, name: str, *, unless_held: Resource | None = None
) -> None:
    """Move the folder of an instance that is no more into the trash, as ``name``.

    ``unless_held`` is what must be free; by default the instance.
    """
    with journal.catalog.transaction() as db:
        record = tables.find(db, table)
        if record is None or instances.find(db, table, instance_id) is not None:
            return
        place = places.table_layout(journal.layout, record).instance(instance_id)
        if place.folder.is_dir() and is_free(db, unless_held or Resource.instance(table, instance_id)):
            files.discard(place.folder, journal.layout.trash, name)


def free_folder(layout: Layout, db: Database, name: str, *, besides: str | None = None) -> str:
    """Return a folder for a table of this name: the name itself, unless something else lies there.

    ``besides`` is the folder that the table has.
    """
    candidate, number = name, 0
    while tables.is_folder_taken(db, candidate) or layout.table(candidate).folder.exists():
        if candidate == besides:
            break
        number += 1
        candidate = f"{name}~{number}"
    return candidate


def is_free(db: Database, resource: Resource) -> bool:
    """Tell whether no process holds a lock on a resource, on what it is part of, or on a part of it."""
    return not locks.conflicting(db, LockRequest.exclusive(resource), family=[])


def tidy(journal: Journal) -> None:
    """Do all housekeeping that was cut short. What can't be done is logged, and stays as it is."""
    with journal.catalog.snapshot() as db:
        live = [tables.get(db, name) for name in tables.names(db)]
        deleted = tables.deleted_folders(db)
    for folder, process_id in deleted:
        if journal.layout.table(folder).folder.is_dir():
            with _logged():
                put_away_table(journal, folder, process_id)
    for record in live:
        with _logged():
            if record.next_folder is not None or not descriptions.is_written(journal.layout.table(record.folder)):
                follow_table(journal, record.name)
            _tidy_instances(journal, record)
        with _logged():
            artifact_views.follow(journal, record.name, name=f"{record.name}-artifacts")


def _tidy_instances(journal: Journal, record: TableRecord) -> None:
    table = Resource.table(record.name)
    with journal.catalog.snapshot() as db:
        known = {each.instance_id for each in instances.of_table(db, record.name, include_temporary=True)}
        place = places.table_layout(journal.layout, record)
    for path in sorted(place.folder.iterdir()):
        if path.name not in known and path.is_dir() and is_instance_folder(path.name):
            # Whoever works in the table may have placed it, and be about to publish it.
            put_away_instance(journal, record.name, path.name, f"{record.name}-{path.name}", unless_held=table)


@contextmanager
def _logged() -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error):
        log.warning("housekeeping failed", exc_info=True)
