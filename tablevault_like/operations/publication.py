"""Make a materialized instance of what lies in staging: the same for executed, written and partial instances.

``staged`` completes the staged folder, ``place`` renames it to its final name, ``publish`` makes the catalog show it in
place of the temporary instance. ``withdraw`` takes a placed folder back into staging, ``remove`` removes it for good.
Artifacts that an earlier instance has, too, take no disk space again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tablevault_like.catalog import Database, instances, tables
from tablevault_like.catalog.instances import NewInstance
from tablevault_like.errors import TVArgumentError
from tablevault_like.layout import InstanceLayout
from tablevault_like.model import Column, InstanceRecord, InstanceStatus, Resource, temporary_id
from tablevault_like.operations import artifact_views, folders
from tablevault_like.process.run import Run
from tablevault_like.storage import artifacts, descriptions, files, manifests, places, reach


@dataclass(frozen=True)
class Publication:
    """An instance that is about to be, made from ``temporary``.

    ``sources`` are (table, instance id) it was made from. ``digests`` are the SHA-256 of its artifacts, by name, as far
    as they were read already and nobody can have written to them since.
    """

    temporary: InstanceRecord
    instance_id: str
    columns: Sequence[Column]
    rows: int
    sources: Sequence[tuple[str, str]] = ()
    success: bool = True
    extra: Mapping[str, object] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    manifest_sha256: str | None = None

    def staged(self, run: Run) -> Publication:
        """Complete the staged folder: its description, and the manifest last. Everything is synced, and read-only."""
        folder = run.files.staged_instance(self.instance_id)
        temporary = self.temporary
        described: dict[str, object] = {
            "table": temporary.table_name,
            "instance": self.instance_id,
            "version": temporary.version,
            "success": self.success,
            "description": temporary.description,
            "author": run.author,
            "external_edit": temporary.external_edit,
            "origin_table": temporary.origin_table,
            "origin": temporary.origin_id,
            "process_id": run.process_id,
            "rows": self.rows,
        }
        times = {"created_at": temporary.created_at, "materialized_at": run.now()}
        known = {
            **described,
            **times,
            "columns": [[column.name, column.dtype] for column in self.columns],
            "sources": [list(source) for source in self.sources],
            **self.extra,
        }
        for path in (folder.manifest, folder.description, artifacts.draft_of(folder.artifacts)):
            files.remove(path)
        descriptions.write_instance(folder, described, **times)
        found = artifacts.keep_by_content(folder.artifacts, _earlier(run, temporary), digests=self.digests)
        digests = {f"{folder.artifacts.name}/{name}": digest for name, digest in found.items()}
        sha256 = manifests.write(folder.folder, folder.manifest, known=known, digests=digests)
        return replace(self, manifest_sha256=sha256)

    def place(self, run: Run) -> None:
        """Rename the staged folder to where its instance will be looked for."""
        with run.fenced():
            self.place_at_once(run)

    def place_at_once(self, run: Run) -> None:
        """Do what ``place`` does, in a transaction that makes sure of the claim already."""
        table = places.table_layout(run.layout, self.temporary)
        if not table.folder.is_dir():  # its name was synced when the temporary instance was placed in it
            places.make_table_folder(table)
        files.place(run.files.staged_instance(self.instance_id).folder, table.instance(self.instance_id).folder)

    def publish(self, run: Run, db: Database) -> None:
        """Replace the temporary instance by the materialized one, in the catalog."""
        temporary = self.temporary
        table = tables.get(db, temporary.table_name)
        if table.has_side_effects:
            # Again: what has been made meanwhile isn't the newest any more.
            instances.deactivate_others(db, table.table_id, process_id=run.process_id, is_published=True)
        origin = tables.find(db, temporary.origin_table) if temporary.origin_table else None
        number = instances.add(
            db,
            table,
            NewInstance(
                instance_id=self.instance_id,
                version=temporary.version,
                status=InstanceStatus.MATERIALIZED,
                author=run.author,
                process_id=run.process_id,
                created_at=temporary.created_at,
                active=True,
                success=self.success,
                external_edit=temporary.external_edit,
                description=temporary.description,
                origin_table_id=origin.table_id if origin else None,
                origin_id=temporary.origin_id,
                materialized_at=run.now(),
                rows=self.rows,
                manifest_sha256=self.manifest_sha256,
            ),
        )
        instances.add_columns(db, number, self.columns)
        sources = [(tables.get(db, name).table_id, instance_id) for name, instance_id in self.sources]
        instances.add_lineage(db, number, sources)
        instances.drop_temporary(db, table.table_id, temporary.instance_id)


def stage_artifacts(run: Run, temporary: InstanceRecord, staged: InstanceLayout) -> dict[str, str]:
    """Copy the artifacts that lie in the temporary instance's folder into the staged one, which the caller syncs.

    The originals stay as they are. Return the SHA-256 of each by name. Raises TVFileError, with its path, for what is
    neither a regular file nor a folder.
    """
    placed = places.instance_layout(run.layout, temporary).artifacts
    if placed.is_symlink() or artifacts.has_any(placed):
        return files.copy_tree(placed, staged.artifacts)
    reach.make_folder(staged.artifacts)
    return {}


def _earlier(run: Run, temporary: InstanceRecord) -> Iterator[InstanceLayout]:
    """Yield the instances that may have the same artifacts: the origin, and the newest of the table and the version."""
    with run.journal.catalog.snapshot() as db:
        table = temporary.table_name
        found = [
            instances.find(db, temporary.origin_table or "", temporary.origin_id or ""),
            instances.newest(db, table, temporary.version, active_only=False),
            instances.newest_successful(db, table),
        ]
    for record in dict.fromkeys(each for each in found if each is not None and not each.is_temporary):
        yield places.instance_layout(run.layout, record)


def withdraw(run: Run, temporary: InstanceRecord, instance_id: str) -> None:
    """Take a folder that was placed, but not published, back into staging, so that work can go on in it."""
    placed = places.table_layout(run.layout, temporary).instance(instance_id)
    staged = run.files.staged_instance(instance_id)
    if placed.folder.is_dir() and not staged.folder.exists():
        with run.fenced():
            # What was placed is durable; the folder that it was made in need not be.
            files.make_directory(run.files.staging)
            files.place(placed.folder, staged.folder)
    if staged.folder.is_dir():
        files.unprotect_tree(staged.folder)


def remove(run: Run, table_name: str, instance_id: str) -> None:
    """Take a folder that was placed, but not published, away into staging, which is swept afterwards.

    What is not claimed has no locks: somebody who has them may have placed a folder of that name meanwhile.
    """
    with run.fenced() as db:
        record = tables.find(db, table_name)
        if record is None or instances.find(db, table_name, instance_id) is not None:
            return
        if not run.is_claimed and not folders.is_free(db, Resource.instance(table_name, instance_id)):
            return
        placed = places.table_layout(run.layout, record).instance(instance_id)
        if placed.folder.exists():
            files.make_directory(run.files.staging)
            files.place(placed.folder, files.available_name(run.files.staging, instance_id))


def get_temporary(db: Database, table_name: str, version: str, *, external_edit: bool = False) -> InstanceRecord:
    """Return the temporary instance of a version. Raises TVArgumentError, with what to do, if there is none.

    ``external_edit``: it is wanted for a frame, not for builders. It may be of the other kind all the same.
    """
    tables.get(db, table_name)
    found = instances.find(db, table_name, temporary_id(version))
    if found is None:
        known = [
            instance.version
            for instance in instances.of_table(db, table_name, include_temporary=True)
            if instance.is_temporary
        ]
        there = f" (there is one for {', '.join(sorted(known))})" if known else ""
        raise TVArgumentError(
            f"Table {table_name!r} has no temporary instance of version {version!r}{there}. Create one with "
            f"create_instance({table_name!r}, version={version!r}{', external_edit=True' if external_edit else ''})."
        )
    return found


def discard_temporary(run: Run, temporary: InstanceRecord, instance_id: str) -> None:
    """Remove the folder of a temporary instance that was materialized. Builders edited meanwhile go to the trash."""
    with run.journal.catalog.transaction() as db:
        record = tables.find_by_id(db, temporary.table_id)
        if record is None or instances.find(db, record.name, temporary.instance_id) is not None:
            return
        table = places.table_layout(run.layout, record)
        place, made = table.instance(temporary.instance_id), table.instance(instance_id)
        if not place.folder.is_dir() or not folders.is_free(db, Resource.instance(record.name, temporary.instance_id)):
            return
        if _texts(place.builders) == _texts(made.builders):
            # Staging is swept afterwards, when nobody waits for this transaction. What the name is need not last.
            reach.rename(place.folder, run.files.staged_instance(temporary.instance_id).folder)
        else:
            files.discard(place.folder, run.layout.trash, f"{run.process_id}-{temporary.instance_id}")


def show_artifacts(run: Run, made: Publication) -> None:
    """Let the table's folder show the artifacts of a new instance, if it has one set of them."""
    with run.journal.catalog.snapshot() as db:
        has_side_effects = instances.has_side_effects(db, made.temporary.table_id)
    if has_side_effects:  # others have become inactive
        folders.follow_table(run.journal, made.temporary.table_name)
    if made.success:
        artifact_views.follow_instance(
            run.journal, made.temporary, made.instance_id, name=f"{run.process_id}-artifacts"
        )


def _texts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.yaml")} if folder.is_dir() else {}
