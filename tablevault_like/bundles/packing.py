"""Make a bundle of an instance, of what an unfinished execution has done, or of one builder's results.

1. Nothing is locked and nobody waits: a materialized instance never changes. One that is moved meanwhile is looked for
   again.
2. Every file is held to the manifest, and the manifest to the catalog: what is damaged is never exported.
3. The bundle is made in a draft beside its place, synced, and gets its name in the end. Nothing is ever overwritten.
4. The same instance gives the same bundle, byte for byte.
"""

from __future__ import annotations

import hashlib
import lzma
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from tablevault_like.bundles import label as labels
from tablevault_like.bundles import results, unfinished
from tablevault_like.bundles.label import CONTENT, InstanceTold, Kind, Label, Listed, TableTold
from tablevault_like.catalog import Database, instances, processes, tables
from tablevault_like.errors import TVFileError
from tablevault_like.layout import InstanceLayout
from tablevault_like.model import InstanceRecord, ProcessRecord, TableRecord
from tablevault_like.operations.importing import IMPORTED
from tablevault_like.outputs import Output
from tablevault_like.process import records
from tablevault_like.process.journal import Journal
from tablevault_like.storage import drafts, files, manifests, places
from tablevault_like.storage.documents import parsed
from tablevault_like.tapes import members
from tablevault_like.tapes.members import CHUNK, Member

SUFFIX = ".bundle.tar.xz"

_ATTEMPTS = 3
_PRESET = 1
"""Tables and most artifacts are compressed already."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle that was made. It can be used as its path: ``vault.import_instance(exported)``."""

    path: Path
    """Where the bundle is, an absolute path."""
    table_name: str
    """The table that it comes from."""
    instance_id: str
    """The instance in it, or whose rows its results are for."""
    builder: str | None
    """The builder whose results it holds; ``None`` for a whole instance."""
    bundle: str
    """The bundle's identity, the SHA-256 of the manifest in it."""
    rows: int
    """How many rows its table has."""
    files: int
    """How many files it holds."""
    total: int
    """How many bytes these have."""
    size: int
    """How many bytes the bundle itself has."""

    def __fspath__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be exported. Without an ``instance_id`` it is the newest active instance of the version."""

    table: str
    instance_id: str | None
    version: str
    builder: str | None

    def find(self, db: Database) -> InstanceRecord:
        if self.instance_id is None:
            return instances.get_newest(db, self.table, self.version)
        return instances.get(db, self.table, self.instance_id)


def export(journal: Journal, wanted: Wanted, path: str | os.PathLike[str] | None) -> Exported:
    """Make a bundle at ``path``, by default in the current folder and named after what is in it.

    Raises TVArgumentError for what isn't there, or a place where no bundle can be, TVFileError for what is damaged or
    can't be read or written. Nothing is left behind then.
    """
    with journal.catalog.snapshot() as db:
        record = wanted.find(db)
    name = f"{record.table_name}-{record.instance_id}{f'-{wanted.builder}' if wanted.builder else ''}{SUFFIX}"
    output = Path(os.path.abspath(name if path is None else path))  # noqa: PTH100 - a link at the end stays one
    if output.is_dir() and path is not None:
        output = output / name
    target = Output(output, "bundle")
    target.check()
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with target.told(), drafts.draft(output, drafts.Kind.ARCHIVING) as draft:
                return _Packing(journal, wanted, target, draft).run()
        except FileNotFoundError as error:
            if attempt == _ATTEMPTS:
                missing = error.filename or error
                raise TVFileError(
                    f"{record.table_name}/{record.instance_id} can't be exported: its file {missing} is missing. "
                    "Restore it from a backup.",
                    path=error.filename,
                ) from error
    raise AssertionError("unreachable")


class _Packing:
    """One attempt, in a draft of its own."""

    def __init__(self, journal: Journal, wanted: Wanted, output: Output, draft: Path) -> None:
        self._journal = journal
        self._wanted = wanted
        self._output = output
        self._draft = draft

    def run(self) -> Exported:
        place, label = self._collect()
        path = self._draft / "bundle"
        # Nobody may read more of it than of the vault.
        permissions = self._journal.layout.root.stat().st_mode & 0o666
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, permissions)
        with os.fdopen(descriptor, "wb") as file:
            with lzma.open(file, "wb", preset=_PRESET) as stream:
                self._write(stream, place, label)
            file.flush()
            os.fsync(descriptor)
        self._output.take(path)
        return Exported(
            self._output.path,
            label.table.name,
            label.instance.instance_id,
            label.builder,
            label.identity,
            label.instance.rows,
            len(label.files),
            label.total,
            self._output.path.stat().st_size,
        )

    def _collect(self) -> tuple[InstanceLayout, Label]:
        """Return what is to be packed, and the label that belongs to it."""
        with self._journal.catalog.snapshot() as db:
            record = self._wanted.find(db)
            table = tables.get(db, record.table_name)
        place, told, process_id = self._instance(record)
        builder = self._wanted.builder
        recipes = _recipes(place)
        if builder is not None:
            known = {"results_of": record.table_name, "instance": told.instance_id, "version": told.version}
            reduced = results.reduce(
                place, builder, InstanceLayout(self._draft / "results"), known={**known, "success": told.success}
            )
            place, told = reduced.place, replace(told, columns=reduced.columns, rows=reduced.rows)
            recipes = {builder: reduced.recipe}
        label = Label(
            kind=Kind.INSTANCE if builder is None else Kind.RESULTS,
            vault=self._journal.layout.root.name,
            table=_table_told(table),
            instance=told,
            builder=builder,
            recipes=recipes,
            process=self._process(process_id),
            files=_listed(place),
        )
        if builder is None and not record.is_temporary and label.identity != record.manifest_sha256:
            raise _damage(place.manifest)
        return place, label

    def _instance(self, record: InstanceRecord) -> tuple[InstanceLayout, InstanceTold, str]:
        """Return an instance's files, what is told of it, and the process that made it."""
        if record.is_temporary:
            partial = unfinished.take(self._journal, record, self._draft)
            told = InstanceTold(
                instance_id=partial.instance_id,
                version=record.version,
                success=False,
                active=True,
                external_edit=False,
                description=record.description,
                author=record.author,
                created_at=record.created_at,
                materialized_at=partial.materialized_at,
                rows=partial.rows,
                columns=partial.columns,
                origin=_origin(record),
                sources=partial.sources,
            )
            return partial.place, told, partial.process_id
        with self._journal.catalog.snapshot() as db:
            columns = instances.columns(db, record.table_name, record.instance_id)
            sources = instances.lineage(db, record.table_name, record.instance_id)
        place = places.instance_layout(self._journal.layout, record)
        if files.sha256(place.manifest) != record.manifest_sha256:
            raise _damage(place.manifest)
        told = InstanceTold(
            instance_id=record.instance_id,
            version=record.version,
            success=record.success,
            active=record.active,
            external_edit=record.external_edit,
            description=record.description,
            author=record.author,
            created_at=record.created_at,
            materialized_at=record.materialized_at or record.created_at,
            rows=record.rows or 0,
            columns=columns,
            origin=_origin(record),
            sources=tuple(sources),
        )
        return place, told, record.process_id

    def _process(self, process_id: str) -> dict[str, Any] | None:
        """Return what is on record of the process that made an instance, wherever that was."""
        with self._journal.catalog.snapshot() as db:
            if processes.find(db, process_id) is None:
                return None
            imported = processes.last_event(db, process_id, IMPORTED)
            if imported is not None:
                found = parsed(imported)["process"]
                return None if found is None else dict(found)
            return _process_told(records.find(db, self._journal.layout, process_id))

    def _write(self, stream: lzma.LZMAFile, place: InstanceLayout, label: Label) -> None:
        mtime = int(label.instance.materialized_at)
        raw = label.to_json()
        if len(raw) > labels.LONGEST:
            raise TVFileError(f"{place.folder} has too many files for a bundle. Use an archive of the vault.")
        stream.write(
            members.header(Member(labels.NAME, False, len(raw), mtime=mtime)) + raw + members.padding(len(raw))
        )
        for listed in label.files:
            stream.write(
                members.header(
                    Member(f"{CONTENT}/{listed.name}", False, listed.size, mtime=mtime, sha256=listed.sha256)
                )
            )
            path = place.folder / listed.name
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as reader:
                if not _write_content(stream, reader, listed):
                    raise _damage(path)
        stream.write(members.END)


def _write_content(stream: lzma.LZMAFile, reader: BinaryIO, listed: Listed) -> bool:
    """Write the content of a file, and tell whether it is what was promised."""
    digest, left = hashlib.sha256(), listed.size
    while left and (chunk := reader.read(min(CHUNK, left))):
        digest.update(chunk)
        stream.write(chunk)
        left -= len(chunk)
    stream.write(members.padding(listed.size))
    return left == 0 and not reader.read(1) and digest.hexdigest() == listed.sha256


def _listed(place: InstanceLayout) -> tuple[Listed, ...]:
    """Return the files of an instance as its manifest lists them, the manifest first."""
    raw = place.manifest.read_bytes()
    try:
        found = manifests.read(place.manifest)["files"]
        listed = [Listed(str(name), int(each["size"]), str(each["sha256"])) for name, each in sorted(found.items())]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _damage(place.manifest) from None
    return (Listed(place.manifest.name, len(raw), hashlib.sha256(raw).hexdigest()), *listed)


def _recipes(place: InstanceLayout) -> dict[str, str]:
    """Return the recipes of an instance's builders, as far as they are on record."""
    try:
        told = parsed((place.provenance / "builders.json").read_bytes())
        return {str(each["name"]): str(each["recipe"]) for each in told["builders"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _origin(record: InstanceRecord) -> tuple[str, str] | None:
    if record.origin_table is None or record.origin_id is None:
        return None
    return record.origin_table, record.origin_id


def _table_told(record: TableRecord) -> TableTold:
    return TableTold(record.name, record.allow_multiple_artifacts, record.has_side_effects, record.description)


def _process_told(record: ProcessRecord) -> dict[str, Any]:
    return {
        "process_id": record.process_id,
        "operation": record.operation,
        "arguments": dict(record.arguments),
        "author": record.author,
        "state": str(record.state),
        "created_at": record.created_at,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "steps": [asdict(step) for step in record.steps],
    }


def _damage(path: Path) -> TVFileError:
    return TVFileError(
        f"{path} isn't what it was when the instance was made, so nothing was exported. Restore it from a backup.",
        path=path,
    )
