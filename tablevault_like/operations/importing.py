"""Take in what another vault has made, from a bundle.

1. The bundle is unpacked and verified before anything is recorded, in the process's own folder. From then on it is
   needed no more.
2. What came out of it takes its place by one rename, inside the transaction that ends the process. A worker that dies
   in between leaves it where the next one finds it: there, or still in the process's folder. If it isn't what it was,
   that is told, and nothing is imported.
3. What is there already, by its manifest, isn't taken in again; another instance of that id is never replaced.
4. Code goes into the vault's code modules on request only, where nothing is, or the very same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tablevault_like.catalog import Database, instances, processes, tables
from tablevault_like.catalog.instances import NewInstance
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.errors import TVArgumentError, TVCheckpointError, TVFileError
from tablevault_like.layout import InstanceLayout, Layout, ProcessLayout, TableLayout
from tablevault_like.model import (
    InstanceStatus,
    LockRequest,
    Resource,
    State,
    TableRecord,
    check_module_name,
    check_table_name,
    check_version,
)
from tablevault_like.operations import artifact_views, bundled_code, folders, publication
from tablevault_like.operations.bundled_code import BundledCode
from tablevault_like.process.operation import HOW, Declaration, Operation, View
from tablevault_like.process.run import Run
from tablevault_like.storage import artifacts, files, places
from tablevault_like.storage.damage import Damage

if TYPE_CHECKING:
    from tablevault_like.bundles.label import Label

IMPORTED = "imported"
"""The kind of the event that tells where an imported instance was made."""

_LARGEST_CODE = 64 << 20


@dataclass(frozen=True)
class ImportInstance(Operation):
    """Make an instance of a bundle; or let the results of one builder be reused by a temporary instance.

    ``instance_id`` is that of the instance in the bundle, or whose rows its results are for; ``builder`` is that of
    results, else None. ``bundle`` is the bundle's identity, ``code`` the SHA-256 of its code files by their paths, if
    they are wanted.
    """

    name = "import_instance"
    reads_files = True

    path: str = field(metadata=HOW)
    table_name: str
    version: str
    instance_id: str
    builder: str | None
    bundle: str
    code: Mapping[str, str] = field(default_factory=dict)
    max_bytes: int | None = field(default=None, metadata=HOW)

    @classmethod
    def read(
        cls,
        path: str | os.PathLike[str],
        table_name: str | None,
        version: str | None,
        *,
        with_code: bool,
        max_bytes: int | None,
        known: ProcessRow | None = None,
    ) -> Self:
        """Make the operation from the label of a bundle. Raises TVArgumentError, TVFileError.

        ``known`` is the process that is to go on, if there is one: it has the bundle, which may be gone by now.
        """
        from tablevault_like.bundles.unpacking import read_label

        _check_bytes(max_bytes)
        place = Path(os.path.abspath(path))  # noqa: PTH100 - a link at the end stays one
        is_known = known is not None and known.operation == cls.name and known.state is not State.REVERTED
        if known is not None and is_known and not os.path.lexists(place):
            recorded = cls.from_arguments(known.arguments)
            if recorded.path == os.fspath(place):
                return recorded
        label = read_label(place)
        if label.builder is None and version not in (None, label.instance.version):
            raise TVArgumentError(
                f"{place} holds an instance of version {label.instance.version!r}, which it keeps. Leave out version=."
            )
        code = {each.name.removeprefix("code/"): each.sha256 for each in label.files if each.name.startswith("code/")}
        if with_code and sum(each.size for each in label.files if each.name.startswith("code/")) > _LARGEST_CODE:
            raise TVArgumentError(f"{place} holds more than {_LARGEST_CODE:,} bytes of code. Import it without code.")
        return cls(
            os.fspath(place),
            table_name or label.table.name,
            version or label.instance.version,
            label.instance.instance_id,
            label.builder,
            label.identity,
            code if with_code else {},
            max_bytes,
        )

    def check(self) -> None:
        check_table_name(self.table_name)
        check_version(self.version)
        for name in bundled_code.modules(self.code):
            check_module_name(name)

    def prepare(self, folder: ProcessLayout) -> None:
        from tablevault_like.bundles.opening import open_bundle

        label = open_bundle(Path(self.path), folder.bundle, max_bytes=self.max_bytes)
        if label.identity != self.bundle:
            raise TVFileError(f"{self.path} was replaced while it was read. Call again.", path=self.path)

    def check_resume(self, view: View, folder: ProcessLayout) -> None:
        """Raise TVCheckpointError if what came out of the bundle isn't what it was, wherever it is by now."""
        record = tables.find(view.db, self.table_name)
        table = None if record is None else places.table_layout(view.layout, record)
        found = next(self.damage(view.layout, folder, table), None)
        if found is not None:
            process_id = folder.folder.name
            raise TVCheckpointError(
                f"What process {process_id!r} has kept of the bundle {self.path} is damaged: {found}. Nothing was "
                f"imported, and the process stays as it is. stop_process({process_id!r}), and import the bundle anew.",
                path=found.path,
                process_id=process_id,
            )

    def damage(self, layout: Layout, folder: ProcessLayout, table: TableLayout | None) -> Iterator[Damage]:
        """Yield what isn't what came out of the bundle any more. ``table`` is where its table is, if there is one."""
        from tablevault_like.bundles import opening
        from tablevault_like.operations.imported import folder_for

        home, placed, note = folder.bundle, None, _folder_note(folder)
        if os.path.lexists(note) and (noted_folder(folder) or "").partition("~")[0] != self.table_name:
            yield Damage(note, "it doesn't name the folder that was chosen for the table")
            return
        table = table or layout.table(noted_folder(folder) or self.table_name)
        if self.builder is not None and not home.is_dir():
            home = folder_for(table.temporary(self.version), self.bundle)
        elif self.builder is None and not opening.content(home).folder.is_dir():
            instance = table.instance(self.instance_id)
            placed = instance if instance.folder.is_dir() else None
        yield from opening.damage(home, self.bundle, placed)

    def declare(self, view: View) -> Declaration:
        locks, is_there = self._declare_instance(view) if self.builder is None else self._declare_results(view)
        locks += [LockRequest.exclusive(Resource.code(name)) for name in bundled_code.modules(self.code)]
        return Declaration(tuple(locks), facts=(is_there, bundled_code.missing(view.layout, self.code)))

    def execute(self, run: Run) -> Label:
        from tablevault_like.bundles import opening

        label = opening.kept_label(self._home(run))
        self._code(run).place()
        content = opening.content(run.files.bundle)
        if self.builder is None and content.folder.is_dir():
            self._share(run, content, label)
        return label

    def publish(self, run: Run, db: Database) -> None:
        if self.builder is None:
            self._publish_instance(run, db)
        else:
            self._publish_results(run, db)

    def finish(self, run: Run) -> None:
        if self.builder is None:
            folders.follow_table(run.journal, self.table_name)
            artifact_views.follow(run.journal, self.table_name, name=f"{run.process_id}-artifacts")

    def undo(self, run: Run) -> None:
        if self.builder is None:
            self._withdraw_instance(run)
        else:
            self._withdraw_results(run)
        self._code(run).undo()

    # --- a whole instance

    def _declare_instance(self, view: View) -> tuple[list[LockRequest], bool]:
        if tables.find(view.db, self.table_name) is None:
            return [LockRequest.exclusive(Resource.table(self.table_name))], False
        resource = Resource.instance(self.table_name, self.instance_id)
        found = instances.find(view.db, self.table_name, self.instance_id)
        if found is None:
            return [LockRequest.exclusive(resource)], False
        if found.manifest_sha256 != self.bundle:
            raise TVArgumentError(
                f"{self.table_name}/{self.instance_id} is there already, and isn't what {self.path} holds. Nothing was "
                "imported. Import it into another table, or delete that instance first."
            )
        return [LockRequest.shared(resource)], True

    def _share(self, run: Run, content: InstanceLayout, label: Label) -> None:
        """Let artifacts take no disk space again that the newest instance has; from now on all files are read-only."""
        with run.journal.catalog.snapshot() as db:
            newest = instances.newest_successful(db, self.table_name)
        earlier = [] if newest is None else [places.instance_layout(run.layout, newest)]
        prefix = f"{content.artifacts.name}/"
        digests = {each.name.removeprefix(prefix): each.sha256 for each in label.files if each.name.startswith(prefix)}
        draft = artifacts.draft_of(content.artifacts)
        files.remove(draft)
        artifacts.keep_by_content(content.artifacts, earlier, digests=digests)
        files.remove(draft)
        for _, path in files.regular_files(content.folder):
            files.protect(path)
        files.sync_tree(content.folder, with_files=True)

    def _publish_instance(self, run: Run, db: Database) -> None:
        label: Label = run.made
        record = tables.find(db, self.table_name)
        if record is not None and instances.find(db, self.table_name, self.instance_id) is not None:
            return
        if record is None:
            record = self._add_table(run, db, label)
        self._place(run, record)
        told = label.instance
        origin = None if told.origin is None else instances.find(db, *told.origin)
        number = instances.add(
            db,
            record,
            NewInstance(
                instance_id=self.instance_id,
                version=told.version,
                status=InstanceStatus.MATERIALIZED,
                author=told.author,
                process_id=run.process_id,
                created_at=told.created_at,
                # What it did outside was done from another vault, and may have been overwritten since.
                active=not record.has_side_effects,
                success=told.success,
                external_edit=told.external_edit,
                description=told.description,
                origin_table_id=origin.table_id if origin else None,
                origin_id=origin.instance_id if origin else None,
                materialized_at=told.materialized_at,
                rows=told.rows,
                manifest_sha256=label.identity,
            ),
        )
        instances.add_columns(db, number, told.columns)
        sources = [found for each in told.sources if (found := instances.find(db, *each)) is not None]
        instances.add_lineage(db, number, [(each.table_id, each.instance_id) for each in sources])
        processes.add_event(db, run.process_id, IMPORTED, json.dumps(label.origin()), now=run.now())

    def _add_table(self, run: Run, db: Database, label: Label) -> TableRecord:
        # Whoever finds the folder after a crash must know that it was made for this.
        folder = noted_folder(run.files)
        if folder is None:
            folder = folders.free_folder(run.layout, db, self.table_name)
            note = _folder_note(run.files)
            files.make_directory(note.parent)
            draft = note.with_suffix(".new")
            files.remove(draft)
            files.write_file(draft, folder)
            files.replace(draft, note)
        told = label.table
        record = TableRecord(
            table_id=0,
            name=self.table_name,
            folder=folder,
            next_folder=None,
            allow_multiple_artifacts=told.allow_multiple_artifacts,
            has_side_effects=told.has_side_effects,
            description=told.description,
            author=run.author,
            created_at=run.now(),
        )
        tables.add(db, record, process_id=run.process_id)
        return tables.get(db, self.table_name)

    def _place(self, run: Run, record: TableRecord) -> None:
        from tablevault_like.bundles import opening

        content = opening.content(run.files.bundle)
        if not content.folder.exists():  # a worker that died then has placed it
            return
        table = places.table_layout(run.layout, record)
        places.make_table_folder(table)
        target = table.instance(self.instance_id).folder
        if target.exists():  # no instance of that id is known, so it is what somebody's crash left behind
            files.discard(target, run.layout.trash, f"{run.process_id}-{target.name}")
        files.place(content.folder, target)

    def _withdraw_instance(self, run: Run) -> None:
        from tablevault_like.bundles import opening

        content = opening.content(run.files.bundle)
        with run.fenced() as db:
            record, folder = tables.find(db, self.table_name), noted_folder(run.files)
            if record is not None:
                if instances.find(db, self.table_name, self.instance_id) is not None:
                    return
                table: TableLayout = places.table_layout(run.layout, record)
            elif folder is not None and not tables.is_folder_taken(db, folder):
                table = run.layout.table(folder)
            else:
                return
            target = table.instance(self.instance_id).folder
            # What is still here wasn't placed: then what lies there is none of this process's.
            if target.exists() and run.files.bundle.is_dir() and not content.folder.exists():
                files.place(target, content.folder)
            if record is None:
                files.remove_empty(table.folder)

    # --- the results of one builder

    def _declare_results(self, view: View) -> tuple[list[LockRequest], bool]:
        from tablevault_like.operations.imported import folder_for

        temporary = publication.get_temporary(view.db, self.table_name, self.version)
        if temporary.external_edit:
            raise TVArgumentError(
                f"{self.table_name}/{temporary.instance_id} is edited externally, so no builder's results can be used "
                "there. Create an instance with builders."
            )
        target = folder_for(places.instance_layout(view.layout, temporary), self.bundle)
        return [LockRequest.exclusive(Resource.instance(self.table_name, temporary.instance_id))], target.exists()

    def _publish_results(self, run: Run, db: Database) -> None:
        label: Label = run.made
        target = self._target(run, db)
        if run.files.bundle.is_dir():
            if target.exists():
                return
            files.make_directory(target.parent)
            files.place(run.files.bundle, target)
        processes.add_event(db, run.process_id, IMPORTED, json.dumps(label.origin()), now=run.now())

    def _withdraw_results(self, run: Run) -> None:
        with run.fenced() as db:
            target = self._target(run, db)
            if target.exists() and not run.files.bundle.exists():
                files.place(target, run.files.bundle)
            files.remove_empty(target.parent)

    def _target(self, run: Run, db: Database) -> Path:
        from tablevault_like.operations.imported import folder_for

        temporary = publication.get_temporary(db, self.table_name, self.version)
        return folder_for(places.instance_layout(run.layout, temporary), self.bundle)

    def _home(self, run: Run) -> Path:
        """Return where the bundle was opened, wherever that is by now."""
        if self.builder is None or run.files.bundle.is_dir():
            return run.files.bundle
        with run.journal.catalog.snapshot() as db:
            return self._target(run, db)

    # --- code, and what is noted

    def _code(self, run: Run) -> BundledCode:
        from tablevault_like.bundles import opening

        source = opening.content(self._home(run)).code
        return BundledCode(run, self.code, source if source.is_dir() else self._placed_code(run))

    def _placed_code(self, run: Run) -> Path:
        """Return the code of an instance that a worker has placed which died then."""
        with run.journal.catalog.snapshot() as db:
            record = tables.find(db, self.table_name)
        table = run.layout.table(noted_folder(run.files) or self.table_name)
        if record is not None:
            table = places.table_layout(run.layout, record)
        return table.instance(self.instance_id).code


def _folder_note(folder: ProcessLayout) -> Path:
    return folder.staging / "folder"


def noted_folder(folder: ProcessLayout) -> str | None:
    """Return the name of the folder that an import has chosen for a table that it makes.

    None if it makes none, or if its note of that can't be read.
    """
    try:
        return _folder_note(folder).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _check_bytes(given: object) -> None:
    if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < 0):
        raise TVArgumentError(f"max_bytes must be a number of bytes, or None for no limit, not {given!r}.")
