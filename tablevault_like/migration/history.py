"""Bring the log of TableVault 0.1 over: its processes and their outcome, and what is known of what was deleted.

0.1 runs the parts of an operation as processes of their own (``execute_instance_inner`` and so on); here they are steps
of it. A process that hasn't ended can't be resumed here: it is recorded as reverted, so that its id may be used again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tablevault_like.catalog import Database, processes
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.migration import names as naming
from tablevault_like.migration.names import Names
from tablevault_like.migration.old import OldProcess, OldVault
from tablevault_like.migration.report import Kind, Notes
from tablevault_like.model import TEMP_PREFIX, ErrorRecord, State, StepRecord

_PARTS = {
    "execute_instance_inner": "execute",
    "write_instance_inner": "write",
    "materialize_instance": "materialize",
}
_NOT_STEPS = ("clear_table",)


@dataclass
class TableHistory:
    """A table that was created; ``deleted`` is the process that deleted it."""

    name: str
    created: OldProcess
    deleted: OldProcess | None = None


@dataclass
class InstanceHistory:
    """An instance that was materialized. ``made`` is the process that made it, ``deleted`` the one that deleted it."""

    table: TableHistory
    instance_id: str
    made: OldProcess
    success: bool
    created: OldProcess | None
    deleted: OldProcess | None = None


@dataclass
class History:
    """What the log tells, under the names that tables had when something happened to them last."""

    ended: list[OldProcess] = field(default_factory=list)
    active: list[OldProcess] = field(default_factory=list)
    tables: list[TableHistory] = field(default_factory=list)
    instances: dict[str, InstanceHistory] = field(default_factory=dict)
    temporary: dict[tuple[str, str], OldProcess] = field(default_factory=dict)
    """The process that created each temporary instance, by its table's name and its id."""
    _parts: dict[str, list[OldProcess]] = field(default_factory=dict)
    _live: dict[str, TableHistory] = field(default_factory=dict)

    @classmethod
    def read(cls, vault: OldVault, notes: Notes) -> History:
        """Read the log. Lines that can't be read are told."""
        found = cls()

        def unreadable(number: int) -> None:
            notes.left_out(Kind.PROCESS, f"metadata/logs.txt:{number}", "the line can't be read")

        entries = list(vault.processes(unreadable))
        by_id = {each.process_id: each for each in (*entries, *vault.active)}
        for process in entries:
            if by_id[process.process_id] is not process:
                notes.left_out(Kind.PROCESS, process.process_id, "the log has this id again later")
                continue
            if process.succeeded:
                found._replay(process, by_id)
            if not found._is_part(process, by_id):
                found.ended.append(process)
        found.active = [each for each in vault.active if not found._is_part(each, by_id)]
        return found

    def table(self, name: str) -> TableHistory | None:
        """Return what is known of a table that is there."""
        return self._live.get(name)

    def steps(self, process: OldProcess) -> list[tuple[str, float]]:
        """Return the finished steps of a process, those of its parts included, and when each was finished."""
        parts = self._parts.get(process.process_id, [])
        own = f"{process.process_id}_"  # so begin the ids of its parts, which are steps by themselves
        found = [(name, at) for name, at in process.steps if not name.startswith(own)]
        for part in parts:
            found += part.steps
            if part.succeeded and part.operation != "execute_instance_inner":
                found.append((_PARTS[part.operation], part.ended_at))
        return [(name, at) for name, at in dict(found).items() if name not in _NOT_STEPS]

    def write(self, db: Database, names: Names, notes: Notes, *, now: float) -> None:
        """Record all processes in the catalog of the new vault."""
        known = {each.process_id for each in (*self.ended, *self.active)}
        for process in sorted((*self.ended, *self.active), key=lambda each: (each.started_at, each.ended_at)):
            row = self._row(process, names, known, now)
            processes.add_ended(db, row, self._step_records(process))
            notes.brought(Kind.PROCESS, process.process_id, _differences(process, row))

    def _row(self, process: OldProcess, names: Names, known: Collection[str], now: float) -> ProcessRow:
        is_active = process.succeeded is None
        state = State.COMPLETED if process.succeeded else State.REVERTED
        error = None if process.error is None or process.succeeded else ErrorRecord(*process.error, traceback="")
        if is_active:
            message = "It was under way in TableVault 0.1 when the vault was brought over, and can't be resumed here."
            error = ErrorRecord("TVProcessError", message, traceback="")
        made = self.instances.get(str(process.data.get("perm_instance_id")))
        if made is not None and made.made is process and not process.succeeded:
            state = State.MATERIALIZED
        parent = _parent(process.process_id, known)
        return ProcessRow(
            process_id=naming.process_id(process.process_id),
            operation=process.operation,
            arguments=_arguments(process, names),
            author=process.author,
            named=process.is_named,
            parent_id=None if parent is None else naming.process_id(parent),
            state=state,
            epoch=1,
            stop_intent=None,
            paused_on_request=False,
            host=None,
            pid=process.pid,
            error=error,
            created_at=process.started_at,
            started_at=process.started_at,
            updated_at=process.ended_at,
            ended_at=now if is_active else process.ended_at,
        )

    def _step_records(self, process: OldProcess) -> list[StepRecord]:
        found, started = [], process.started_at
        for name, finished in self.steps(process):
            found.append(StepRecord(name, True, started, finished, None, rows_done=0, rows_failed=0, rows_reused=0))
            started = finished
        return found

    def _is_part(self, process: OldProcess, by_id: Mapping[str, OldProcess]) -> bool:
        """Tell whether a process is a part of another one, which its author is; if so, keep it with that one."""
        whole = by_id.get(process.author)
        if process.operation not in _PARTS or whole is None or not process.process_id.startswith(f"{process.author}_"):
            return False
        self._parts.setdefault(process.author, []).append(process)
        return True

    def _replay(self, process: OldProcess, by_id: Mapping[str, OldProcess]) -> None:
        """Do in memory what a process did to tables and instances."""
        data = process.data
        table = str(data.get("table_name"))
        match process.operation:
            case "create_table":
                self._live[table] = TableHistory(table, process)
                self.tables.append(self._live[table])
            case "rename_table" if table in self._live:
                self._rename(table, str(data.get("new_table_name")))
            case "delete_table" if table in self._live:
                deleted = self._live.pop(table)
                deleted.deleted = process
                for instance in self.instances.values():
                    if instance.table is deleted and instance.deleted is None:
                        instance.deleted = process
                self.temporary = {key: made for key, made in self.temporary.items() if key[0] != table}
            case "create_instance":
                self.temporary[table, str(data.get("instance_id"))] = process
            case "delete_instance":
                instance_id = str(data.get("instance_id"))
                self.temporary.pop((table, instance_id), None)
                if instance_id in self.instances:
                    self.instances[instance_id].deleted = process
            case "materialize_instance" if table in self._live:
                self._materialize(process, table, by_id)

    def _rename(self, table: str, new: str) -> None:
        self._live[new] = self._live.pop(table)
        self._live[new].name = new
        self.temporary = {(new if key[0] == table else key[0], key[1]): made for key, made in self.temporary.items()}

    def _materialize(self, process: OldProcess, table: str, by_id: Mapping[str, OldProcess]) -> None:
        instance_id = str(process.data.get("perm_instance_id"))
        made = by_id.get(process.author, process)
        if made.operation == "stop_process":
            stopped = made.data.get("process_ids")
            targets = [by_id[each] for each in stopped if each in by_id] if isinstance(stopped, list) else []
            whole = [each for each in targets if each.data.get("perm_instance_id") == instance_id]
            made = whole[0] if whole else made
        temporary = self.temporary.pop((table, str(process.data.get("instance_id"))), None)
        success = process.data.get("success") is not False
        self.instances[instance_id] = InstanceHistory(self._live[table], instance_id, made, success, temporary)


def _differences(process: OldProcess, row: ProcessRow) -> Iterator[str]:
    """Tell what is different about a process now."""
    if row.process_id != process.process_id:
        yield f"its id is {row.process_id!r} now"
    if process.succeeded is None:
        temporary = process.data.get("instance_id")
        where = f"; what it had done can be read as {temporary!r}" if process.operation == "execute_instance" else ""
        yield (
            f"{process.operation} was under way and can't be resumed here, so it is recorded as reverted{where}. "
            "Its id may be used again"
        )


def _parent(process_id: str, known: Collection[str]) -> str | None:
    """Return the process whose child a process is: 0.1 puts a parent's id and ``_`` before that of a child."""
    parts = process_id.split("_")
    prefixes = ("_".join(parts[:length]) for length in range(len(parts) - 1, 0, -1))
    return next((prefix for prefix in prefixes if prefix in known), None)


_KEPT: Mapping[str, Sequence[str]] = {
    "create_table": ("table_name", "allow_multiple_artifacts", "has_side_effects", "description"),
    "rename_table": ("new_table_name", "table_name"),
    "delete_table": ("table_name",),
    "create_instance": ("table_name", "version", "external_edit", "description"),
    "delete_instance": ("instance_id", "table_name"),
    "execute_instance": ("table_name", "version"),
    "write_instance": ("table_name", "version"),
    "create_builder_file": ("table_name", "version", "builder_name"),
    "delete_builder_file": ("table_name", "version", "builder_name"),
    "create_code_module": ("module_name",),
    "delete_code_module": ("module_name",),
}
"""The arguments that 0.1 records as they were given, and that operations of that name have here."""


def _arguments(process: OldProcess, names: Names) -> dict[str, Any]:
    """Return the arguments of a process as they would be recorded here; as they are, if there is no such operation."""
    data = dict(process.data)
    if process.operation not in _KEPT:
        return {key: value for key, value in data.items() if key != "text"}
    temporary = data.get("instance_id")
    if "version" not in data and isinstance(temporary, str) and temporary.startswith(TEMP_PREFIX):
        data["version"] = temporary.removeprefix(TEMP_PREFIX)
    renamed: Mapping[str, Callable[[str], str]] = {
        "table_name": names.table,
        "new_table_name": names.table,
        "version": names.version,
        "instance_id": names.instance_id,
        "module_name": names.module,
    }
    found = {}
    for key in _KEPT[process.operation]:
        if data.get(key) not in (None, "") or key == "description":
            value = data.get(key)
            found[key] = renamed[key](value) if key in renamed and isinstance(value, str) else value
    return found
