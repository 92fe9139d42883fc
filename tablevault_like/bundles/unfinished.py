"""Make an instance of what an unfinished execution has recorded, without disturbing it.

The process may be under way meanwhile: its row store is copied by SQLite's own means, and what was copied counts only
if the plan and the frames are still the same afterwards. What comes out is what ``stop_process(materialize=True)``
would make of it at that moment, under an id of its own: the execution itself will make another instance.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from tablevault_like.archive import databases
from tablevault_like.builders.checkpoint import Checkpoint
from tablevault_like.builders.partial import partial_frame
from tablevault_like.builders.provenance import Provenance
from tablevault_like.catalog import instances, locks, processes
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.errors import TVArgumentError, TVArtifactError, TVFileError
from tablevault_like.layout import InstanceLayout, ProcessLayout
from tablevault_like.model import ARTIFACT_DTYPE, Column, InstanceRecord, Resource
from tablevault_like.operations.imported import write_reused
from tablevault_like.process.journal import Journal
from tablevault_like.process.run import Run
from tablevault_like.storage import artifacts, files, manifests, places, tables
from tablevault_like.storage.row_reader import RowReader

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Partial:
    """An instance that was made of an unfinished execution."""

    place: InstanceLayout
    instance_id: str
    process_id: str
    materialized_at: float
    columns: tuple[Column, ...]
    rows: int
    sources: tuple[tuple[str, str], ...]


def take(journal: Journal, record: InstanceRecord, folder: Path) -> Partial:
    """Make an instance in ``folder`` of what the execution of a temporary instance has done by now.

    Raises TVArgumentError if nothing executes it, and TVFileError if what it has kept can't be read.
    """
    row = _process_of(journal, record)
    source = journal.layout.process(row.process_id)
    for attempt in range(1, _ATTEMPTS + 1):
        target = ProcessLayout(folder / f"process{attempt}")
        place = InstanceLayout(folder / f"instance{attempt}")
        try:
            if _copied(source, target):
                return _assembled(journal, record, row, target, place)
        except (FileNotFoundError, TVArtifactError) as error:
            if attempt == _ATTEMPTS:
                raise TVFileError(
                    f"What process {row.process_id!r} has done can't be read: {error}. Call again when it has ended, "
                    "or is paused.",
                    path=source.folder,
                ) from error
    raise TVFileError(
        f"Process {row.process_id!r} began anew while it was read, {_ATTEMPTS} times over. Call again.",
        path=source.folder,
    )


def _process_of(journal: Journal, record: InstanceRecord) -> ProcessRow:
    with journal.catalog.snapshot() as db:
        process_id = locks.exclusive_holder(db, Resource.instance(record.table_name, record.instance_id))
        row = None if process_id is None else processes.find(db, process_id)
    if row is None or row.operation != "execute_instance" or not journal.layout.process(row.process_id).plan.exists():
        raise TVArgumentError(
            f"Nothing executes {record.table_name}/{record.instance_id}, so there is nothing of it to export. Execute "
            "it with a process_id, or name a materialized instance."
        )
    return row


def _copied(source: ProcessLayout, target: ProcessLayout) -> bool:
    """Copy what a process has recorded, and tell whether it was of one moment."""
    plan = source.plan.read_bytes()
    number = Checkpoint.read(source).number
    files.make_directory(target.pinned)
    files.write_file(target.plan, plan)
    files.copy_tree(source.pinned_files(number).folder, target.pinned_files(number).folder)
    frames = source.frame("any").parent
    known = _looks(frames)
    if known:
        target.frame("any").parent.mkdir()
    for name in known:
        files.copy_file(frames / name, target.frame("any").parent / name)
    with databases.held(source.rows) as copy:
        copy(target.rows)
    return source.plan.read_bytes() == plan and _looks(frames).items() >= known.items()


def _looks(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return what tells the frames in a folder from others that take their places."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        found = {each.name: each.stat(follow_symlinks=False) for each in entries if not each.name.startswith(".")}
    return {name: (at.st_ino, at.st_size, at.st_mtime_ns) for name, at in found.items()}


def _assembled(
    journal: Journal, record: InstanceRecord, row: ProcessRow, process: ProcessLayout, place: InstanceLayout
) -> Partial:
    checkpoint = Checkpoint.read(process)
    plan = checkpoint.plan
    found = partial_frame(process, plan)
    place.folder.mkdir()
    named = [name for column in found.artifact_columns for name in found.frame[column].dropna()]
    if named:
        place.artifacts.mkdir()
        artifacts.take_over(named, _artifacts_of(journal, record, row), place.artifacts)
    columns = tables.write_table(place.table, found.frame, dict.fromkeys(found.artifact_columns, ARTIFACT_DTYPE))
    files.copy_tree(checkpoint.files.builders, place.builders)
    files.copy_tree(checkpoint.files.code, place.code)
    rows = len(found.frame)
    with RowReader.open(process.rows) as store:
        Provenance.write(
            place.provenance,
            plan,
            store,
            table=place.table,
            rows=rows,
            has_frame=lambda name: process.frame(name).exists(),
        )
        with journal.catalog.snapshot() as db:
            reused = {step.record.name: step.record.rows_reused for step in processes.steps(db, row.process_id)}
            origin = None if plan.origin is None else instances.find(db, plan.origin.table, plan.origin.instance_id)
        own = places.instance_layout(journal.layout, record)
        before = None if origin is None else places.instance_layout(journal.layout, origin)
        write_reused(place, own, plan, store, origin=before, reused=reused)
    sources = {(pin.table, pin.instance_id) for pin in [*plan.pins.values(), *([plan.origin] if plan.origin else [])]}
    known = {
        "table": record.table_name,
        "version": record.version,
        "success": False,
        "description": record.description,
        "author": row.author,
        "external_edit": False,
        "origin_table": record.origin_table,
        "origin": record.origin_id,
        "process_id": row.process_id,
        "rows": rows,
        "created_at": record.created_at,
        "materialized_at": row.updated_at,
        "columns": [[column.name, column.dtype] for column in columns],
        "sources": [list(each) for each in sorted(sources)],
    }
    instance_id = _new_id(record.version, row.created_at, known, place)
    manifests.write(place.folder, place.manifest, known={"instance": instance_id, **known})
    return Partial(place, instance_id, row.process_id, row.updated_at, columns, rows, tuple(sorted(sources)))


def _artifacts_of(journal: Journal, record: InstanceRecord, row: ProcessRow) -> Path:
    """Return the folder with the artifacts of an execution: in its process, or placed but not published."""
    run = Run(row.process_id, row.epoch, row.named, row.author, row.created_at, journal)
    instance_id = run.instance_id(record.version)
    staged = run.files.staged_instance(instance_id)
    if staged.artifacts.is_dir():
        return staged.artifacts
    return places.part_of(places.table_layout(journal.layout, record), instance_id).artifacts


def _new_id(version: str, created_at: float, known: object, place: InstanceLayout) -> str:
    """Return an id that only the same instance, made of the same state, has."""
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
    for name, path in files.regular_files(place.folder):
        digest.update(f"{name}\0{files.sha256(path)}\n".encode("utf-8", "surrogateescape"))
    return f"{version}_{int(created_at)}_{uuid.uuid5(uuid.NAMESPACE_OID, digest.hexdigest())}"
