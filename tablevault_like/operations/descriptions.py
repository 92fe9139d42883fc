"""Describe the vault, a table or an instance anew. The catalog is the truth; the copy in a table's folder follows."""

from __future__ import annotations

from dataclasses import dataclass

from tablevault_like.catalog import Database, instances, tables, vaults
from tablevault_like.catalog import descriptions as catalog
from tablevault_like.errors import TVArgumentError
from tablevault_like.model import LockRequest, Resource
from tablevault_like.operations import folders
from tablevault_like.process.operation import Declaration, Operation, View
from tablevault_like.process.run import Run
from tablevault_like.storage import descriptions as copies

_DESCRIPTION = "description"
"""A resource of its own beside the tables, and beside the instances of a table: none of them can have this name."""


@dataclass(frozen=True)
class SetDescription(Operation):
    """Describe the vault anew, or a table, or one of its instances.

    The description of a temporary instance goes over to what is made of it, so whoever makes that keeps it from being
    changed. All others may be changed at any time: no work depends on them.
    """

    name = "set_description"
    is_catalog_only = True

    description: str
    table_name: str | None = None
    instance_id: str | None = None

    def check(self) -> None:
        if self.instance_id is not None and self.table_name is None:
            raise TVArgumentError("An instance is described by instance_id and table_name; table_name is missing.")

    def declare(self, view: View) -> Declaration:
        return Declaration((LockRequest.exclusive(self._resource(view.db)),))

    def publish(self, run: Run, db: Database) -> None:
        if self.table_name is None:
            catalog.set_of_vault(db, self.description)
            return
        table_id = tables.get(db, self.table_name).table_id
        if self.instance_id is None:
            catalog.set_of_table(db, table_id, self.description)
        else:
            catalog.set_of_instance(db, table_id, self.instance_id, self.description)

    def finish(self, run: Run) -> None:
        if self.table_name is None:
            with run.journal.catalog.transaction() as db:  # so that the last description is the one that stays
                copies.write_vault(run.layout.description, vaults.read(db))
        elif self.instance_id is None:
            folders.follow_table(run.journal, self.table_name)

    def _resource(self, db: Database) -> Resource:
        if self.table_name is None:
            return Resource(_DESCRIPTION)
        tables.get(db, self.table_name)
        if self.instance_id is None:
            return Resource(self.table_name, _DESCRIPTION)
        if instances.get(db, self.table_name, self.instance_id).is_temporary:
            return Resource.instance(self.table_name, self.instance_id)
        return Resource(self.table_name, _DESCRIPTION, self.instance_id)
