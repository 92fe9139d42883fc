"""What all parts of a migration share: the two vaults, the names, what is known, and what is told."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tablevault_like.catalog.instances import NewInstance
from tablevault_like.layout import Layout
from tablevault_like.migration import names as naming
from tablevault_like.migration.history import History
from tablevault_like.migration.names import Names
from tablevault_like.migration.old import OldInstance, OldTable, OldVault, is_folder, source_files
from tablevault_like.migration.report import Kind, Notes
from tablevault_like.model import BASE_VERSION, Column, TableRecord


@dataclass(frozen=True)
class Made:
    """An instance that lies in the new vault, and what its catalog is to know of it."""

    old: OldInstance
    new: NewInstance
    columns: Sequence[Column] = ()
    sources: Sequence[tuple[str, str]] = ()
    origin: tuple[str, str] | None = None


@dataclass(frozen=True)
class Scope:
    """One migration: from ``vault`` to ``layout``, by ``author``, at ``now`` (seconds since the epoch)."""

    vault: OldVault
    layout: Layout
    author: str
    now: float
    notes: Notes = field(default_factory=Notes)
    process_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @cached_property
    def tables(self) -> tuple[OldTable, ...]:
        """The tables that are to be brought over. Those that can't be are told."""
        return tuple(table for table in self.vault.tables if self._is_there(table))

    @cached_property
    def history(self) -> History:
        """What the log of the old vault tells."""
        return History.read(self.vault, self.notes)

    @cached_property
    def names(self) -> Names:
        """The names that everything has in the new vault."""
        deleted = [each for each in self.history.tables if each.deleted is not None]
        return Names.of(
            tables=[*(table.name for table in self.tables), *(each.name for each in deleted)],
            versions=dict.fromkeys(
                [each.version for table in self.tables for each in table.instances]
                + [each.partition("_")[0] for each in self.history.instances]
            ),
            modules=source_files(self.vault.code_functions, ".py"),
        )

    @cached_property
    def unpinned(self) -> dict[str, str]:
        """The tables whose newest instance is of another version than the default one, with that version."""
        return dict(self._newest_of_other_versions())

    def table_record(self, table: OldTable) -> TableRecord:
        name = self.names.table(table.name)
        _, author, created_at = self.creator(table.name)
        return TableRecord(
            table_id=0,
            name=name,
            folder=name,
            next_folder=None,
            allow_multiple_artifacts=table.allow_multiple_artifacts,
            has_side_effects=table.has_side_effects,
            description=table.summary,
            author=author,
            created_at=created_at,
        )

    def creator(self, table: str) -> tuple[str, str, float]:
        """Return the process that created a table, its author, and the time; the migration's if the log lacks it."""
        history = self.history.table(table)
        if history is None:
            return self.process_id, self.author, self.now
        created = history.created
        return naming.process_id(created.process_id), created.author, created.started_at

    def renamed(self, source: tuple[str, str]) -> tuple[str, str]:
        """Return a table and an instance as they are named now."""
        return self.names.table(source[0]), self.names.instance_id(source[1])

    def _is_there(self, table: OldTable) -> bool:
        """Tell whether a table has a folder, and nothing but that; tell of one that hasn't."""
        why = ""
        if not is_name(table.name):
            why = "its name leads out of the vault"
        elif not is_folder(table.folder):
            why = f"{table.folder} is missing, or no folder"
        if why:
            self.notes.left_out(Kind.TABLE, table.name, why)
        return not why

    def _newest_of_other_versions(self) -> Iterator[tuple[str, str]]:
        for table in self.tables:
            active = [each for each in table.instances if not each.is_temporary and each.stopped_at is None]
            if active and active[-1].version != BASE_VERSION:
                yield self.names.table(table.name), self.names.version(active[-1].version)


def is_name(name: str) -> bool:
    """Tell whether a name is that of something in a folder, rather than a path that leads elsewhere."""
    return bool(name) and "/" not in name and "\0" not in name and name not in (".", "..")
