"""Create and delete instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tablevault_like.catalog import Database, instances, tables
from tablevault_like.catalog.instances import NewInstance
from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.model import (
    BASE_VERSION,
    INDEX_SUFFIX,
    BuilderType,
    InstanceRecord,
    InstanceStatus,
    LockRequest,
    Resource,
    check_builder_name,
    check_version,
    temporary_id,
)
from tablevault_like.operations import artifact_views, folders, publication
from tablevault_like.process.operation import Declaration, Operation, View
from tablevault_like.process.run import Run
from tablevault_like.storage import descriptions, files, places, reach


@dataclass(frozen=True)
class CreateInstance(Operation):
    """Create a temporary instance, with builder files that are new or copied from its origin."""

    name = "create_instance"
    is_short = True

    table_name: str
    version: str = BASE_VERSION
    origin_id: str | None = None
    origin_table: str | None = None
    external_edit: bool = False
    copy: bool = False
    builders: Mapping[str, str] = field(default_factory=dict)
    """The builder files to be made, by name: YAML text, or an empty string for a template."""
    description: str = ""

    def check(self) -> None:
        from tablevault_like.builders import spec

        check_version(self.version)
        for name, text in self.builders.items():
            check_builder_name(name)
            if text:
                spec.read_builder(text, name)

    def declare(self, view: View) -> Declaration:
        tables.get(view.db, self.table_name)
        existing = instances.find(view.db, self.table_name, temporary_id(self.version))
        if existing is not None:
            finish = "Write" if existing.external_edit else "Execute"
            raise TVArgumentError(
                f"Table {self.table_name!r} has a temporary instance of version {self.version!r} already. {finish} it, "
                f"or delete it with delete_instance({temporary_id(self.version)!r}, {self.table_name!r})."
            )
        if self.external_edit and self.builders:
            raise TVArgumentError(
                "An instance that is edited externally has no builders. Leave out builders= or external_edit."
            )
        needed = [
            LockRequest.exclusive(Resource.instance(self.table_name, temporary_id(self.version))),
            LockRequest.exclusive(Resource.builders(self.table_name, self.version)),
        ]
        origin = self._origin(view.db)
        if origin is not None:
            needed.append(LockRequest.shared(Resource.instance(origin.table_name, origin.instance_id)))
        return Declaration(tuple(needed), facts=origin)

    def stage(self, run: Run) -> _StagedBuilders:
        with run.journal.catalog.snapshot() as db:
            tables.get(db, self.table_name)
            origin = self._origin(db)
        staged = run.files.staged_instance(temporary_id(self.version))
        files.remove(staged.folder)
        reach.make_folders(staged.builders)
        reach.make_folder(staged.artifacts)
        for name, text in self._builder_texts(run, origin).items():
            files.write_file(staged.builder(name), text)
        descriptions.write_temporary(staged, self._described(run, origin))
        files.sync_tree(staged.folder)
        return _StagedBuilders(origin)

    def place(self, run: Run, db: Database) -> bool:
        if _StagedBuilders(self._origin(db)) != run.made:
            return False
        self._place(run, db)
        return True

    def execute(self, run: Run) -> None:
        self.stage(run)
        with run.fenced() as db:
            self._place(run, db)

    def publish(self, run: Run, db: Database) -> None:
        origin: InstanceRecord | None = self._origin(db)
        new = NewInstance(
            instance_id=temporary_id(self.version),
            version=self.version,
            status=InstanceStatus.TEMPORARY,
            author=run.author,
            process_id=run.process_id,
            created_at=run.now(),
            external_edit=self.external_edit,
            description=self.description,
            origin_table_id=origin.table_id if origin else None,
            origin_id=origin.instance_id if origin else None,
        )
        instances.add(db, tables.get(db, self.table_name), new)

    def undo(self, run: Run) -> None:
        publication.remove(run, self.table_name, temporary_id(self.version))

    def _place(self, run: Run, db: Database) -> None:
        staged = run.files.staged_instance(temporary_id(self.version))
        table = places.table_layout(run.layout, tables.get(db, self.table_name))
        places.make_table_folder(table)
        target = table.temporary(self.version).folder
        if target.exists():
            # No instance of that name exists and its lock is held here, so it is what a crash left behind: maybe of
            # this very process, after it had placed the folder.
            if _is_same(target, staged.folder):
                return
            files.discard(target, run.layout.trash, f"{self.table_name}-{target.name}")
        files.place(staged.folder, target)

    def _described(self, run: Run, origin: InstanceRecord | None) -> dict[str, object]:
        return {
            "table": self.table_name,
            "instance": temporary_id(self.version),
            "version": self.version,
            "description": self.description,
            "author": run.author,
            "external_edit": self.external_edit,
            "origin_table": origin.table_name if origin else None,
            "origin": origin.instance_id if origin else None,
            "process_id": run.process_id,
            "created_at": run.created_at,
        }

    def _origin(self, db: Database) -> InstanceRecord | None:
        if self.origin_id is not None:
            origin = instances.get(db, self.origin_table or self.table_name, self.origin_id)
            if origin.is_temporary:
                raise TVArgumentError(f"The origin {self.origin_id!r} is a temporary instance. Execute it first.")
            return origin
        if not self.copy:
            if self.origin_table is not None:
                raise TVArgumentError(
                    "origin_table was given without origin_id. Give both, or copy=True for the newest instance of it."
                )
            return None
        source = tables.get(db, self.origin_table or self.table_name).name
        found = instances.newest(db, source, self.version, active_only=False)
        if found is None:
            everything = instances.of_table(db, source)
            found = everything[-1] if everything else None
        return found

    def _builder_texts(self, run: Run, origin: InstanceRecord | None) -> dict[str, str]:
        from tablevault_like.builders.template import template

        texts: dict[str, str] = {}
        if origin is not None and not self.external_edit:
            texts.update(_origin_builders(run, origin, self.table_name))
        for name, text in self.builders.items():
            is_index = name == self.table_name + INDEX_SUFFIX
            kind = BuilderType.INDEX if is_index else BuilderType.COLUMN
            texts[name] = text or template(self.table_name, kind)
        index = self.table_name + INDEX_SUFFIX
        if index not in texts and origin is None and not self.external_edit:
            texts[index] = template(self.table_name, BuilderType.INDEX)
        return texts


@dataclass(frozen=True, slots=True)
class _StagedBuilders:
    """The builder files of a temporary instance, made from those of ``origin`` if there is one."""

    origin: InstanceRecord | None


@dataclass(frozen=True)
class DeleteInstance(Operation):
    """Delete an instance. What is known of it stays; its files go to the trash."""

    name = "delete_instance"
    is_catalog_only = True

    instance_id: str
    table_name: str

    def declare(self, view: View) -> Declaration:
        instance = instances.get(view.db, self.table_name, self.instance_id)
        needed = [LockRequest.exclusive(Resource.instance(self.table_name, self.instance_id))]
        if instance.is_temporary:
            needed.append(LockRequest.exclusive(Resource.builders(self.table_name, instance.version)))
        return Declaration(tuple(needed))

    def publish(self, run: Run, db: Database) -> None:
        table = tables.get(db, self.table_name)
        instances.delete(db, table.table_id, self.instance_id, process_id=run.process_id, now=run.now())

    def finish(self, run: Run) -> None:
        name = f"{run.process_id}-{self.instance_id}"
        folders.put_away_instance(run.journal, self.table_name, self.instance_id, name)
        artifact_views.follow(run.journal, self.table_name, name=f"{run.process_id}-artifacts")


def _is_same(folder: Path, other: Path) -> bool:
    try:
        return _digests(folder) == _digests(other)
    except TVFileError:
        return False


def _digests(folder: Path) -> dict[str, str]:
    return {name: files.sha256(path) for name, path in files.regular_files(folder)}


def _origin_builders(run: Run, origin: InstanceRecord, table_name: str) -> dict[str, str]:
    """Return the builder files of an origin. Its index builder is named after the table that it is copied to."""
    found = places.builder_files(places.instance_layout(run.layout, origin), origin.table_name)
    texts = {name: files.read_text(path) for name, path in found.items()}
    index = texts.pop(origin.table_name + INDEX_SUFFIX, None)
    return texts if index is None else {table_name + INDEX_SUFFIX: index, **texts}
