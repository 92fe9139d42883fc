"""Pin instances, so that no pruning takes them, and let go of them again."""

from __future__ import annotations

from dataclasses import dataclass

from tablevault_like.catalog import Database, instances, tables
from tablevault_like.errors import TVArgumentError
from tablevault_like.model import LockRequest, Resource
from tablevault_like.operations import folders
from tablevault_like.process.operation import Declaration, Operation, View
from tablevault_like.process.run import Run


@dataclass(frozen=True)
class _PinOperation(Operation):
    is_catalog_only = True

    table_name: str
    instance_id: str

    def declare(self, view: View) -> Declaration:
        if instances.get(view.db, self.table_name, self.instance_id).is_temporary:
            raise TVArgumentError(
                f"{self.table_name}/{self.instance_id} is a temporary instance, which no pruning takes anyway. Pin the "
                "instance that is made of it."
            )
        # Shared: who works with it isn't disturbed, but a pruning that is about to take it is waited for.
        return Declaration((LockRequest.shared(Resource.instance(self.table_name, self.instance_id)),))

    def finish(self, run: Run) -> None:
        folders.follow_table(run.journal, self.table_name)


@dataclass(frozen=True)
class Pin(_PinOperation):
    """Keep an instance from being pruned."""

    name = "pin"

    def publish(self, run: Run, db: Database) -> None:
        table = tables.get(db, self.table_name)
        instances.pin(db, table.table_id, self.instance_id, author=run.author, now=run.now())


@dataclass(frozen=True)
class Unpin(_PinOperation):
    """Let an instance be pruned again."""

    name = "unpin"

    def publish(self, run: Run, db: Database) -> None:
        instances.unpin(db, tables.get(db, self.table_name).table_id, self.instance_id)
