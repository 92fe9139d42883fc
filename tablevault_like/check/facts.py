"""What the catalog of a vault says at one moment, as a check needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tablevault_like.check.findings import Finding
from tablevault_like.layout import Layout
from tablevault_like.model import Column, InstanceStatus, LockRequest, Resource, State, StopIntent, TableRecord


@dataclass(frozen=True, slots=True)
class KnownInstance:
    """An instance that wasn't deleted."""

    number: int
    table_id: int
    instance_id: str
    version: str
    status: InstanceStatus
    active: bool
    success: bool
    external_edit: bool
    process_id: str
    created_at: float
    rows: int | None
    manifest_sha256: str | None
    columns: tuple[Column, ...]
    pinned_at: float | None = None
    pinned_by: str | None = None
    deactivated_by: str | None = None

    @property
    def is_temporary(self) -> bool:
        return self.status is InstanceStatus.TEMPORARY


@dataclass(frozen=True, slots=True)
class KnownTable:
    """A table that wasn't deleted, with its instances, oldest first."""

    record: TableRecord
    instances: tuple[KnownInstance, ...]

    @property
    def table_id(self) -> int:
        return self.record.table_id

    @property
    def name(self) -> str:
        return self.record.name


@dataclass(frozen=True, slots=True)
class KnownProcess:
    """A process that hasn't ended."""

    process_id: str
    operation: str
    arguments: Mapping[str, Any]
    named: bool
    parent_id: str | None
    state: State
    epoch: int
    stop_intent: StopIntent | None
    paused_on_request: bool
    created_at: float
    deaths: int
    is_alive: bool
    finished: frozenset[str]
    """The names of its finished steps."""

    @property
    def table_name(self) -> str | None:
        name = self.arguments.get("table_name")
        return name if isinstance(name, str) else None


@dataclass(frozen=True, slots=True)
class KnownWaiter:
    """A process that waits for its locks, and whether its worker lives."""

    process_id: str
    requests: tuple[LockRequest, ...]
    is_alive: bool


@dataclass(frozen=True, slots=True)
class HeldLock:
    process_id: str
    request: LockRequest


@dataclass
class Facts:
    """What the catalog of a vault says. ``findings`` tells what is wrong with it."""

    layout: Layout
    findings: list[Finding] = field(default_factory=list)
    is_readable: bool = False
    tables: list[KnownTable] = field(default_factory=list)
    deleted_folders: dict[str, str] = field(default_factory=dict)
    """The folders of deleted tables, and which process deleted each."""
    live: dict[str, KnownProcess] = field(default_factory=dict)
    ended: dict[str, bool] = field(default_factory=dict)
    """The processes that have ended, and whether each was named."""
    parents: dict[str, str] = field(default_factory=dict)
    waiters: list[KnownWaiter] = field(default_factory=list)
    locks: list[HeldLock] = field(default_factory=list)

    @cached_property
    def by_name(self) -> dict[str, KnownTable]:
        return {each.name: each for each in self.tables}

    @property
    def table_folders(self) -> set[str]:
        """The folders of tables, under every name that each may have."""
        return {
            name for each in self.tables for name in (each.record.folder, each.record.next_folder) if name is not None
        }

    def is_free(self, resource: Resource) -> bool:
        """Tell whether no process holds a lock on a resource, on what it is part of, or on a part of it."""
        return not any(held.request.resource.overlaps(resource) for held in self.locks)

    def family(self, process_id: str) -> set[str]:
        """Return a process and its ancestors."""
        found: set[str] = set()
        above: str | None = process_id
        while above is not None and above not in found:
            found.add(above)
            above = self.parents.get(above)
        return found
