"""Create, rename and delete tables. All three are changes of the catalog; folders follow when they can."""

from __future__ import annotations

from dataclasses import dataclass

from tablevault_like.catalog import Database, tables
from tablevault_like.errors import TVArgumentError
from tablevault_like.model import LockRequest, Resource, TableRecord, check_table_name
from tablevault_like.operations import folders
from tablevault_like.process.operation import Declaration, Operation, View
from tablevault_like.process.run import Run
from tablevault_like.storage import places


@dataclass(frozen=True)
class CreateTable(Operation):
    """Create an empty table."""

    name = "create_table"
    is_catalog_only = True

    table_name: str
    allow_multiple_artifacts: bool = False
    has_side_effects: bool = False
    description: str = ""

    def declare(self, view: View) -> Declaration:
        check_table_name(self.table_name)
        if tables.find(view.db, self.table_name) is not None:
            raise TVArgumentError(
                f"There is a table {self.table_name!r} already. Choose another name, or delete it first."
            )
        return Declaration((LockRequest.exclusive(Resource.table(self.table_name)),))

    def publish(self, run: Run, db: Database) -> None:
        folder = folders.free_folder(run.layout, db, self.table_name)
        record = TableRecord(
            table_id=0,
            name=self.table_name,
            folder=folder,
            next_folder=None,
            allow_multiple_artifacts=self.allow_multiple_artifacts,
            has_side_effects=self.has_side_effects,
            description=self.description,
            author=run.author,
            created_at=run.now(),
        )
        tables.add(db, record, process_id=run.process_id)

    def finish(self, run: Run) -> None:
        folders.follow_table(run.journal, self.table_name)


@dataclass(frozen=True)
class RenameTable(Operation):
    """Give a table another name. Its instances, their lineage and their processes stay with it."""

    name = "rename_table"
    is_catalog_only = True

    new_table_name: str
    table_name: str

    def declare(self, view: View) -> Declaration:
        tables.get(view.db, self.table_name)
        check_table_name(self.new_table_name)
        if tables.find(view.db, self.new_table_name) is not None:
            raise TVArgumentError(f"There is a table {self.new_table_name!r} already. Choose another name.")
        names = (self.table_name, self.new_table_name)
        return Declaration(tuple(LockRequest.exclusive(Resource.table(name)) for name in names))

    def publish(self, run: Run, db: Database) -> None:
        record = tables.get(db, self.table_name)
        folder = places.table_layout(run.layout, record).folder.name
        if folder != record.folder:
            # Whoever moved it after an earlier rename died before that was recorded.
            tables.settle_folder(db, record.table_id, folder)
        next_folder = folders.free_folder(run.layout, db, self.new_table_name, besides=folder)
        tables.rename(
            db,
            record.table_id,
            name=self.new_table_name,
            next_folder=None if next_folder == folder else next_folder,
        )

    def finish(self, run: Run) -> None:
        folders.follow_table(run.journal, self.new_table_name)


@dataclass(frozen=True)
class DeleteTable(Operation):
    """Delete a table with all of its instances. What is known of them stays; their files go to the trash."""

    name = "delete_table"
    is_catalog_only = True

    table_name: str

    def declare(self, view: View) -> Declaration:
        tables.get(view.db, self.table_name)
        return Declaration((LockRequest.exclusive(Resource.table(self.table_name)),))

    def publish(self, run: Run, db: Database) -> None:
        record = tables.get(db, self.table_name)
        tables.delete(db, record.table_id, process_id=run.process_id, now=run.now())

    def finish(self, run: Run) -> None:
        with run.journal.catalog.snapshot() as db:
            deleted = tables.folders_deleted_by(db, run.process_id)
        for folder in deleted:
            folders.put_away_table(run.journal, folder, run.process_id)
