"""What of a vault can be told without its catalog: from manifests, descriptions, and what processes have kept."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tablevault_like.operations  # noqa: F401 - registers every operation
from tablevault_like.check import databases
from tablevault_like.check.findings import shown, told
from tablevault_like.check.looking import FOLDER, MISSING, entries, kind_of
from tablevault_like.check.surroundings import KEPT_CATALOG
from tablevault_like.errors import TableVaultError, TVFileError
from tablevault_like.layout import InstanceLayout, Layout, ProcessLayout, TableLayout, is_instance_folder
from tablevault_like.model import (
    TEMP_PREFIX,
    Column,
    check_process_id,
    check_table_name,
    check_version,
    is_instance_id,
)
from tablevault_like.process.memory import Memory
from tablevault_like.process.operation import REGISTRY, rebuild
from tablevault_like.storage import files
from tablevault_like.storage.documents import described, parsed

_LONGEST = 1 << 30
_LONGEST_DESCRIPTION = 1 << 24
_COPY = re.compile(r"~[0-9]+\Z")


@dataclass(frozen=True, slots=True)
class FoundInstance:
    """An instance, as its manifest (or the description of a temporary one) has it. Missing facts have defaults."""

    instance_id: str
    version: str
    author: str
    description: str
    created_at: float
    process_id: str
    external_edit: bool
    origin: tuple[str, str] | None
    """The table, under its name at the time, and the instance."""
    materialized_at: float = 0.0
    success: bool = True
    rows: int = 0
    manifest_sha256: str | None = None
    columns: tuple[Column, ...] = ()
    sources: tuple[tuple[str, str], ...] = ()

    @property
    def is_temporary(self) -> bool:
        return self.instance_id.startswith(TEMP_PREFIX)


@dataclass(frozen=True, slots=True)
class FoundTable:
    """A table, as its folder tells."""

    folder: str
    name: str
    description: str
    author: str
    created_at: float
    allow_multiple_artifacts: bool
    has_side_effects: bool
    pinned: Mapping[str, tuple[float, str]]
    inactive: frozenset[str] | None
    """The instances that were inactive when that was written down; ``None`` if nobody did."""
    instances: tuple[FoundInstance, ...]


@dataclass(frozen=True, slots=True)
class FoundProcess:
    """A process that can go on: what it is, the last epoch that its row store knows (0 without one), and its steps."""

    memory: Memory
    epoch: int
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FoundDeletion:
    """A table, or an instance of one, that lies in the trash, and the process that has put it there."""

    process_id: str
    table: FoundTable | None
    """The table that was deleted, ``None`` if that was an instance."""
    table_name: str
    instances: tuple[FoundInstance, ...]
    deleted_at: float


@dataclass
class Remains:
    """What was found. ``notes`` tells what couldn't be read, and what is only a guess."""

    vault: dict[str, str] = field(default_factory=dict)
    tables: list[FoundTable] = field(default_factory=list)
    processes: list[FoundProcess] = field(default_factory=list)
    deletions: list[FoundDeletion] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    """The folders of processes that have kept something, of which nobody can tell what they are."""
    notes: list[str] = field(default_factory=list)


def find(layout: Layout) -> Remains:
    """Look at all of a vault but its catalog. Nothing is changed."""
    remains = Remains()
    said = _description(layout.description)
    remains.vault = {key: value for key, value in said.items() if isinstance(value, str)}
    if not remains.vault:
        remains.notes.append("The description of the vault isn't known any more.")
    _find_tables(layout, remains)
    _find_processes(layout, remains)
    remains.deletions = list(_deletions(layout, {table.name for table in remains.tables}))
    return remains


# --- tables


def _find_tables(layout: Layout, remains: Remains) -> None:
    own = {each.name for each in (layout.marker, layout.description, layout.code_functions, layout.metadata)}
    folders = [path for path in entries(layout.root) if path.name not in own and kind_of(path) == FOLDER]
    found = [table for path in folders if (table := _table(layout, path, remains)) is not None]
    # Of two that say they are the same, the older one was deleted, and not moved to the trash yet.
    names: set[str] = set()
    for table in sorted(found, key=lambda each: (-each.created_at, each.folder)):
        name, number = table.name, 1
        while name in names:
            number += 1
            name = f"{table.name}-{number}"
        if name != table.name:
            remains.notes.append(
                f"There are two tables {table.name!r}. The older one, in the folder {table.folder!r}, may have been "
                f"deleted; it is called {name!r} now."
            )
        names.add(name)
        remains.tables.append(_renamed(table, name))
    remains.tables.sort(key=lambda each: (each.created_at, each.name))


def _renamed(table: FoundTable, name: str) -> FoundTable:
    return replace(table, name=name)


def _table(layout: Layout, path: Path, remains: Remains) -> FoundTable | None:
    """Return the table that a folder is, None if it isn't one."""
    place = TableLayout(path)
    said = _description(place.description)
    instances = tuple(_instances(layout, path, remains))
    if not instances and "table" not in said:
        return None
    name = said.get("table")
    if not _is_table_name(name):
        name = _COPY.sub("", path.name)
        if not _is_table_name(name):
            remains.notes.append(f"{shown(path, layout.root)} can't be a table's: no table can have its name.")
            return None
        remains.notes.append(
            f"The description of the table {name!r} is lost. Its name is that of its folder; whether it has several "
            "artifact folders, or side effects, isn't known, and taken for no."
        )
    return FoundTable(
        folder=path.name,
        name=str(name),
        description=_text(said.get("description")),
        author=_text(said.get("author")),
        created_at=_created_at(said) or min((each.created_at for each in instances), default=0.0),
        allow_multiple_artifacts=said.get("allow_multiple_artifacts") is True,
        has_side_effects=said.get("has_side_effects") is True,
        pinned=_pins(said.get("pinned")),
        inactive=frozenset(map(str, said["inactive"])) if isinstance(said.get("inactive"), list) else None,
        instances=instances,
    )


def _is_table_name(name: object) -> bool:
    try:
        return isinstance(name, str) and bool(check_table_name(name))
    except TableVaultError:
        return False


def _pins(found: object) -> dict[str, tuple[float, str]]:
    if not isinstance(found, dict):
        return {}
    return {
        str(instance): (float(pin[0]), str(pin[1]))
        for instance, pin in found.items()
        if isinstance(pin, list) and len(pin) == 2 and isinstance(pin[0], int | float)
    }


def _instances(layout: Layout, folder: Path, remains: Remains) -> Iterator[FoundInstance]:
    for path in entries(folder):
        if not is_instance_folder(path.name) or kind_of(path) != FOLDER or not is_instance_id(path.name):
            continue
        place = InstanceLayout(path)
        try:
            yield _temporary(place) if path.name.startswith(TEMP_PREFIX) else _materialized(place, path.name)
        except (TableVaultError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            remains.notes.append(
                f"{shown(path, layout.root)} is left out: its manifest can't be read ({told(error)}). Restore it from "
                "a backup and begin again, or move it away."
            )


def _read_manifest(path: Path) -> tuple[dict[str, Any], bytes]:
    with files.opened(path) as descriptor, open(descriptor, "rb", closefd=False) as file:
        raw = file.read(min(os.fstat(descriptor).st_size, _LONGEST))
    return parsed(raw), raw


def _materialized(place: InstanceLayout, instance_id: str) -> FoundInstance:
    said, raw = _read_manifest(place.manifest)
    if said["instance"] != instance_id or not isinstance(said["files"], dict):
        raise ValueError("it isn't that of this instance")
    return FoundInstance(
        instance_id=said["instance"],
        version=check_version(said["version"]),
        author=_required_text(said["author"]),
        description=_required_text(said["description"]),
        created_at=float(said["created_at"]),
        process_id=_required_text(said["process_id"]),
        external_edit=bool(said["external_edit"]),
        origin=_pair([said.get("origin_table"), said.get("origin")]),
        materialized_at=float(said["materialized_at"]),
        success=bool(said["success"]),
        rows=int(said["rows"]),
        manifest_sha256=hashlib.sha256(raw).hexdigest(),
        columns=tuple(Column(_required_text(name), _required_text(dtype)) for name, dtype in said["columns"]),
        sources=tuple(pair for each in said["sources"] if (pair := _pair(each)) is not None),
    )


def _temporary(place: InstanceLayout) -> FoundInstance:
    said = _description(place.description)
    made = said.get("created_at")
    builders = entries(place.builders) if kind_of(place.builders) == FOLDER else []
    edited = said.get("external_edit")
    return FoundInstance(
        instance_id=place.folder.name,
        version=check_version(place.folder.name.removeprefix(TEMP_PREFIX)),
        author=_text(said.get("author")),
        description=_text(said.get("description")),
        created_at=float(made) if isinstance(made, int | float) else place.folder.stat().st_mtime,
        process_id=_text(said.get("process_id")),
        external_edit=edited if isinstance(edited, bool) else not builders,
        origin=_pair([said.get("origin_table"), said.get("origin")]),
    )


def _pair(found: object) -> tuple[str, str] | None:
    if not isinstance(found, list) or len(found) != 2 or not all(isinstance(each, str) for each in found):
        return None
    return (found[0], found[1]) if _is_table_name(found[0]) and is_instance_id(found[1]) else None


# --- the trash


def _deletions(layout: Layout, known: Collection[str]) -> Iterator[FoundDeletion]:
    """Yield what was deleted and lies in the trash. Litter bears a name that is ``known``: that of a table."""
    for path in entries(layout.trash) if kind_of(layout.trash) == FOLDER else []:
        name = _COPY.sub("", path.name)
        if kind_of(path) != FOLDER or KEPT_CATALOG.fullmatch(path.name):
            continue
        try:
            instance, table_name = _deleted_instance(path, name)
            process_id = name if instance is None else name.removesuffix(f"-{instance.instance_id}")
            table = None if instance is not None else _table(layout, path, Remains())
            check_process_id(process_id)
        except (TableVaultError, OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # what it was can't be told: it stays where it is
        if instance is not None and process_id not in known:
            yield FoundDeletion(process_id, None, table_name, (instance,), path.lstat().st_ctime)
        elif table is not None:
            yield FoundDeletion(process_id, table, table.name, table.instances, path.lstat().st_ctime)


def _deleted_instance(path: Path, name: str) -> tuple[FoundInstance | None, str]:
    """Return the instance that something in the trash is, and the table that it was made in; None if it is none."""
    place = InstanceLayout(path)
    if kind_of(place.manifest) == MISSING:
        return None, ""
    said = _read_manifest(place.manifest)[0]
    if not is_instance_id(said["instance"]) or not name.endswith(f"-{said['instance']}"):
        raise ValueError("it was put there under another name")
    if not _is_table_name(said["table"]):
        raise ValueError("its table isn't known")
    return _materialized(place, said["instance"]), said["table"]


# --- processes


def _find_processes(layout: Layout, remains: Remains) -> None:
    if kind_of(layout.processes) != FOLDER:
        return
    # What was placed as a whole counts as done, whether or not anybody could see it already.
    published = {each.process_id for table in remains.tables for each in table.instances}
    for path in entries(layout.processes):
        if kind_of(path) != FOLDER or path.name in published:
            continue
        place = layout.process(path.name)
        if {each.name for each in entries(path)} <= {place.worker_lock.name, place.output_log.name}:
            continue
        try:
            found = Memory.read(place)
            check_process_id(found.process_id)
            if found.process_id != path.name or found.operation not in REGISTRY:
                raise ValueError("it is that of another process")
            rebuild(found.operation, found.arguments)
            _check_target(found, remains)
        except (TVFileError, TableVaultError, TypeError, ValueError, AttributeError) as error:
            remains.forgotten.append(path.name)
            remains.notes.append(
                f"The process {path.name!r} can't go on: {told(error)} What it has recorded is set aside."
            )
        else:
            remains.processes.append(FoundProcess(found, _epoch(place), _steps(place)))


def _check_target(memory: Memory, remains: Remains) -> None:
    """Raise ValueError if what a process works on isn't there any more."""
    names = {table.name: table for table in remains.tables}
    for request in memory.locks:
        path = request.resource.path
        if not request.resource.is_instance or path[0] not in names:
            continue
        is_own = path[1].startswith(TEMP_PREFIX) and memory.operation in ("execute_instance", "write_instance")
        if is_own and path[1] not in {each.instance_id for each in names[path[0]].instances}:
            raise ValueError(f"{'/'.join(path)}, which it works on, isn't there.")


def _epoch(place: ProcessLayout) -> int:
    try:
        with databases.reading(place.rows) as connection:
            found = connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
    except (databases.Unreadable, sqlite3.Error):
        return 0
    return found[0] if found and isinstance(found[0], int) else 0


def _steps(place: ProcessLayout) -> tuple[str, ...]:
    """Return the names of the steps that a process has, as far as they can be told: they are for showing."""
    from tablevault_like.builders.checkpoint import Checkpoint
    from tablevault_like.operations.execution import MATERIALIZE

    if not place.plan.exists():
        return ()
    try:
        return (*(builder.name for builder in Checkpoint.read(place).plan.builders), MATERIALIZE)
    except TVFileError:
        return ()


# --- reading


def _description(path: Path) -> dict[str, Any]:
    """Return what a description says; nothing, if there is none that can be read."""
    try:
        with files.opened(path) as descriptor, open(descriptor, "rb", closefd=False) as file:
            return described(file.read(_LONGEST_DESCRIPTION))
    except OSError:
        return {}


def _text(found: object) -> str:
    return found if isinstance(found, str) else ""


def _required_text(found: object) -> str:
    if not isinstance(found, str):
        raise ValueError(f"{found!r:.40} in it is no text")
    return found


def _created_at(said: Mapping[str, object]) -> float | None:
    """Return when a table was created, which older descriptions have as ISO 8601 only."""
    exact, found = said.get("created_at"), said.get("created")
    if isinstance(exact, int | float):
        return float(exact)
    try:
        return datetime.fromisoformat(str(found)).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return None
