"""Record what was brought over in the catalog of the new vault: all of it in one transaction."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tablevault_like.catalog import Catalog, Database, instances, processes, tables, vaults
from tablevault_like.catalog.instances import NewInstance
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.migration import names as naming
from tablevault_like.migration.old import OldTable
from tablevault_like.migration.report import Kind, Outcome
from tablevault_like.migration.scope import Made, Scope
from tablevault_like.model import InstanceStatus, State, TableRecord


@dataclass(frozen=True)
class Recorder:
    """Records a migration."""

    _scope: Scope

    def record(self, catalog: Catalog, made: Sequence[tuple[OldTable, Sequence[Made]]]) -> None:
        """Record the history, the tables and instances, and the migration itself with all that it tells."""
        with catalog.transaction() as db:
            vaults.write(db, {"migrated_from": str(self._scope.vault.root)})
            self._scope.history.write(db, self._scope.names, self._scope.notes, now=self._scope.now)
            self._record_deleted_tables(db)
            for table, _ in made:
                tables.add(db, self._scope.table_record(table), process_id=self._scope.creator(table.name)[0])
            every = [(table, each) for table, found in made for each in found]
            every.sort(key=lambda pair: (pair[1].old.is_temporary, pair[1].old.made_at or 0))
            self._record_deleted_instances(db)
            for table, each in every:
                self._record_instance(db, table.name, each)
            self._record_itself(db)

    def _record_instance(self, db: Database, table: str, made: Made) -> None:
        new = made.new
        if made.origin is not None:
            origin = tables.find(db, self._scope.names.table(made.origin[0]))
            if origin is not None:
                new = replace(
                    new, origin_table_id=origin.table_id, origin_id=self._scope.names.instance_id(made.origin[1])
                )
        number = instances.add(db, tables.get(db, self._scope.names.table(table)), new)
        instances.add_columns(db, number, made.columns)
        sources = [(tables.find(db, name), instance_id) for name, instance_id in map(self._scope.renamed, made.sources)]
        instances.add_lineage(db, number, [(record.table_id, each) for record, each in sources if record is not None])

    def _record_deleted_tables(self, db: Database) -> None:
        """Record tables that were deleted, with their instances: what is known of them stays."""
        for history in self._scope.history.tables:
            if history.deleted is None:
                continue
            data = history.created.data
            record = TableRecord(
                table_id=0,
                name=self._scope.names.table(history.name),
                folder=self._scope.names.table(history.name),
                next_folder=None,
                allow_multiple_artifacts=data.get("allow_multiple_artifacts") is True,
                has_side_effects=data.get("has_side_effects") is True,
                description=str(data.get("description") or ""),
                author=history.created.author,
                created_at=history.created.started_at,
            )
            table_id = tables.add(db, record, process_id=naming.process_id(history.created.process_id))
            for each in self._scope.history.instances.values():
                if each.table is history:
                    self._record_deleted_instance(db, tables.get(db, record.name), each.instance_id)
            deleter = naming.process_id(history.deleted.process_id)
            tables.delete(db, table_id, process_id=deleter, now=history.deleted.ended_at)
            self._scope.notes.brought(Kind.DELETED, history.name)

    def _record_deleted_instances(self, db: Database) -> None:
        for each in self._scope.history.instances.values():
            if each.deleted is not None and each.table.deleted is None:
                record = tables.find(db, self._scope.names.table(each.table.name))
                if record is not None:
                    self._record_deleted_instance(db, record, each.instance_id)
                    self._scope.notes.brought(Kind.DELETED, f"{each.table.name}/{each.instance_id}")

    def _record_deleted_instance(self, db: Database, table: TableRecord, old_id: str) -> None:
        history = self._scope.history.instances[old_id]
        instance_id = self._scope.names.instance_id(old_id)
        new = NewInstance(
            instance_id=instance_id,
            version=instance_id.partition("_")[0],
            status=InstanceStatus.MATERIALIZED,
            author=history.made.author,
            process_id=naming.process_id(history.made.process_id),
            created_at=(history.created or history.made).started_at,
            success=history.success,
            materialized_at=history.made.ended_at,
        )
        instances.add(db, table, new)
        if history.deleted is not None:
            deleter = naming.process_id(history.deleted.process_id)
            instances.delete(db, table.table_id, instance_id, process_id=deleter, now=history.deleted.ended_at)

    def _record_itself(self, db: Database) -> None:
        """Record the migration as a process, with all that it tells as its events."""
        row = ProcessRow(
            process_id=self._scope.process_id,
            operation="migrate",
            arguments={"old": str(self._scope.vault.root)},
            author=self._scope.author,
            named=False,
            parent_id=None,
            state=State.COMPLETED,
            epoch=1,
            stop_intent=None,
            paused_on_request=False,
            host=None,
            pid=os.getpid(),
            error=None,
            created_at=self._scope.now,
            started_at=self._scope.now,
            updated_at=time.time(),
            ended_at=time.time(),
        )
        processes.add_ended(db, row, [])
        self._scope.notes.brought(Kind.VAULT, self._scope.vault.root.name)
        for item in self._scope.notes.report():
            if item.outcome is not Outcome.BROUGHT:
                detail = f"{item.kind} {item.name}: {'; '.join(item.notes)}"
                processes.add_event(db, self._scope.process_id, item.outcome, detail, now=self._scope.now)
