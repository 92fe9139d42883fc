"""Hold a vault that came out of an archive to what it says of itself, before anybody sees it.

Nothing of the vault is run: files are hashed, and SQLite's files are read.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import tablevault_like.operations  # noqa: F401 - registers every operation
from tablevault_like.archive import databases
from tablevault_like.archive.contents import SIDECARS, Known, instance_suffix, name_of
from tablevault_like.archive.progress import Watch
from tablevault_like.catalog import Catalog, schema
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.errors import TableVaultError
from tablevault_like.layout import FORMAT_VERSION, InstanceLayout, Layout
from tablevault_like.model import InstanceRecord, TableRecord, check_process_id, check_version, is_instance_id
from tablevault_like.process.journal import Journal
from tablevault_like.process.operation import REGISTRY, rebuild
from tablevault_like.storage import files, manifests, places
from tablevault_like.tapes.members import Unfit

_TABLE_FOLDER = re.compile(r"[A-Za-z0-9_-]{1,100}(~[0-9]{1,6})?")
_ROW_OBJECTS = {"files", "builders", "codes", "meta", "results", "rows"}


def verify(layout: Layout, watch: Watch) -> Known:
    """Raise Unfit if anything is wrong with the vault. Return what its catalog knows."""
    _check_marker(layout)
    # First what SQLite would take for its own: opening the catalog could change it otherwise.
    _check_names("", layout.root, {layout.marker.name, layout.metadata.name}, exactly=False)
    catalog_file = {layout.catalog.name}
    _check_names("metadata", layout.metadata, {*catalog_file, layout.processes.name, layout.trash.name})
    _check_names("metadata/trash", layout.trash, set())
    known = _read_catalog(layout)
    top = {path.name for path in (layout.marker, layout.description, layout.code_functions, layout.metadata)}
    _check_names("", layout.root, top | known.table_folders)
    _check_processes(layout, known)
    for record, found in known.tables:
        _check_table(layout, record, found, known, watch)
    return known


def _check_marker(layout: Layout) -> None:
    try:
        text = layout.marker.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        raise Unfit("it holds no vault") from None
    found = text.removeprefix("tablevault_like ")
    if not found.isdecimal() or int(found) > FORMAT_VERSION:
        raise Unfit(
            f"its vault has the format {text[:40]!r}, and this release of tablevault_like knows {FORMAT_VERSION}"
        )


def _check_names(shown: str, folder: Path, known: Iterable[str], *, exactly: bool = True) -> None:
    """Raise Unfit if something lies in a folder that doesn't belong there; if not ``exactly``, only SQLite's files."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.endswith(SIDECARS) or (exactly and path.name not in known):
            raise Unfit(f"{f'{shown}/{path.name}'.lstrip('/')!a} is no part of a vault")


def _read_catalog(layout: Layout) -> Known:
    """Return what the catalog knows, after making sure that it is one, is whole, and names nothing outside."""
    path = layout.catalog
    if not path.is_file():
        raise Unfit("its vault has no catalog")
    if defects := databases.defects(path):
        raise Unfit(f"its catalog is damaged ({'; '.join(defects)})")
    catalog = Catalog(path)
    try:
        with catalog.snapshot() as db:
            if db.execute("PRAGMA application_id").fetchone()[0] != schema.APPLICATION_ID:
                raise Unfit("its catalog is not one of tablevault_like's")
            if strange := databases.objects(db) - _catalog_objects():
                raise Unfit(f"its catalog holds the {' '.join(min(strange))}, which no catalog has")
            known = Known.read(db)
    except (TableVaultError, sqlite3.Error, ValueError, KeyError, TypeError) as error:
        raise Unfit(f"its catalog can't be read ({error})") from None
    finally:
        catalog.close()
    # What SQLite keeps beside it isn't part of the vault yet.
    for end in SIDECARS:
        files.remove(path.with_name(path.name + end))
    _check_known(known)
    return known


def _catalog_objects() -> set[tuple[str, str]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        schema.migrate(fresh, Path(":memory:"))
        return databases.objects(fresh)


def _check_known(known: Known) -> None:
    """Raise Unfit for a name in the catalog that would lead elsewhere."""
    for folder in sorted(known.table_folders):
        if not _TABLE_FOLDER.fullmatch(folder):
            raise Unfit(f"its catalog names the folder {folder[:100]!r}, which no table can have")
    for _, found in known.tables:
        for record in found:
            try:
                check_version(record.version)
            except TableVaultError as error:
                raise Unfit(f"its catalog is wrong: {error}") from None
            if not is_instance_id(record.instance_id):
                raise Unfit(f"its catalog names the instance {record.instance_id[:100]!r}, which can't be")
    for row in known.live:
        try:
            check_process_id(row.process_id)
            if row.operation not in REGISTRY:
                raise Unfit(f"process {row.process_id!r} in it does {row.operation[:100]!r}, which this release can't")
            rebuild(row.operation, row.arguments).check()
        except (TableVaultError, TypeError, ValueError, AttributeError) as error:
            raise Unfit(f"process {row.process_id[:100]!r} in it can't be resumed ({error})") from None


def _check_processes(layout: Layout, known: Known) -> None:
    live = {row.process_id for row in known.live}
    for path in sorted(layout.processes.iterdir()) if layout.processes.is_dir() else ():
        place, shown = layout.process(path.name), name_of(layout, path)
        if path.name not in live:
            _check_names(shown, path, {place.output_log.name})
            continue
        _check_names(shown, path, (), exactly=False)
        if place.worker_lock.exists():
            raise Unfit(f"{shown}/{place.worker_lock.name} is no part of an archive")
        if place.rows.exists():
            _check_rows(place.rows, name_of(layout, place.rows))


def _check_rows(path: Path, shown: str) -> None:
    if defects := databases.defects(path):
        raise Unfit(f"the row store {shown} is damaged ({'; '.join(defects)})")
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        strange = {
            each for each in databases.objects(connection) if each[1] not in _ROW_OBJECTS or each[0] == "trigger"
        }
    if strange:
        raise Unfit(f"the row store {shown} holds the {' '.join(min(strange))}, which no row store has")


def _check_table(
    layout: Layout, record: TableRecord, found: Iterable[InstanceRecord], known: Known, watch: Watch
) -> None:
    place = places.table_layout(layout, record)
    names = {place.description.name}
    for instance in found:
        names.add(instance.instance_id)
        if not instance.is_temporary:
            _check_instance(place.instance(instance.instance_id), instance, watch)
    suffixes = {_suffix(layout, row) for row in known.live}
    unpublished = {
        path.name
        for path in (place.folder.iterdir() if place.folder.is_dir() else ())
        if path.name[path.name.find("_") :] in suffixes
    }
    _check_names(name_of(layout, place.folder), place.folder, names | unpublished)


def _suffix(layout: Layout, row: ProcessRow) -> str:
    return instance_suffix(row, Journal(Catalog(layout.catalog), layout, time.time))


def _check_instance(place: InstanceLayout, record: InstanceRecord, watch: Watch) -> None:
    """Raise Unfit unless the files of an instance are those of its manifest, and that is the one of the catalog."""
    shown = f"{record.table_name}/{record.instance_id}"
    try:
        if files.sha256(place.manifest) != record.manifest_sha256:
            raise Unfit(f"the manifest of {shown} isn't the one that its catalog knows")
        listed = manifests.read(place.manifest)["files"]
        wanted = {str(name): (str(each["sha256"]), int(each["size"])) for name, each in listed.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise Unfit(f"{shown} has no manifest, or a damaged one") from None
    for name, path in _files_of(place):
        expected = wanted.pop(name, None)
        if expected is None:
            raise Unfit(f"{shown} holds {name!a}, which its manifest doesn't have")
        if (files.sha256(path), path.stat().st_size) != expected:
            raise Unfit(f"the file {name!a} of {shown} isn't what its manifest says")
        watch.add(expected[1])
        files.protect(path)
    files.protect(place.manifest)
    if wanted:
        raise Unfit(f"{shown} lacks the file {min(wanted)!a}, which its manifest has")


def _files_of(place: InstanceLayout) -> Iterator[tuple[str, Path]]:
    for name, path in files.regular_files(place.folder):
        if path != place.manifest:
            yield name, path
