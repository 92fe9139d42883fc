"""The trash: what was deleted, by whom and when, until it is pruned.

1. Only what the vault itself has put there is ever pruned, in whatever folder a person may have put something else.
2. What was pruned stays on record, and so does what the catalog knows of deleted tables and instances.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from tablevault_like.catalog import Database, deletions, processes
from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.layout import Layout, is_instance_folder
from tablevault_like.model import check_table_name

_COPY = re.compile(r"~[0-9]+\Z")


class Removed(StrEnum):
    """What something in the trash was."""

    TABLE = "table"
    """A table that was deleted, with all of its instances."""
    INSTANCE = "instance"
    """An instance that was deleted, or pruned."""
    LEFTOVER = "leftover"
    """What lay in a folder that an operation needed or no longer needed, such as builders edited during a run."""
    PROCESS = "process"
    """What was left of a process that has ended, such as the output of its worker. It is pruned where it lies."""
    UNKNOWN = "unknown"
    """Nothing that the vault has put there. It is never pruned."""


@dataclass(frozen=True, slots=True)
class TrashRecord:
    """Something in the trash, or that was pruned. Times are seconds since the epoch (POSIX)."""

    name: str
    """Its name in ``metadata/trash``."""
    removed: Removed
    """What it was."""
    table_name: str | None
    """The table that it was, or was of, under its last name; ``None`` if it wasn't a table's."""
    instance_id: str | None
    """The instance that it was; ``None`` if it wasn't one."""
    description: str
    """That of the table or instance when it was deleted."""
    instances: int
    """How many instances a deleted table had, temporary ones too; 1 for an instance."""
    rows: int
    """How many rows all of these had."""
    author: str | None
    """Who removed it; ``None`` where the vault has cleared litter away, and for what isn't its own."""
    process_id: str | None
    """The process that removed it; ``None`` where ``author`` is."""
    removed_at: float
    size: int
    """How many bytes its files have."""
    pruned_at: float | None = None
    """When it was removed for good; ``None`` while it is in the trash, as are the next two."""
    pruned_by: str | None = None
    """Who pruned it."""
    pruned_in: str | None = None
    """The id of the process that pruned it."""

    @classmethod
    def of_pruned(cls, found: deletions.Pruned) -> Self:
        """Return what is on record of something that was pruned."""
        known = {each.name: found.known[each.name] for each in fields(cls) if each.name in found.known}
        known["removed"] = Removed(known["removed"])
        return cls(**known, pruned_at=found.pruned_at, pruned_by=found.author, pruned_in=found.process_id)

    def known(self) -> Mapping[str, Any]:
        """Return what is recorded when it is pruned, as JSON has it."""
        return {name: value for name, value in asdict(self).items() if not name.startswith("pruned")}


def contents(db: Database, layout: Layout, *, include_pruned: bool = False) -> list[TrashRecord]:
    """Return what is in the trash, and if asked for what was pruned of it, in order of its removal."""
    found = []
    for path in _entries(layout):
        with suppress(FileNotFoundError):  # it was pruned, or taken out, in this moment
            found.append(describe(db, path))
    if include_pruned:
        found += [TrashRecord.of_pruned(each) for each in deletions.pruned(db)]
    return sorted(found, key=lambda record: (record.removed_at, record.name))


def describe(db: Database, path: Path) -> TrashRecord:
    """Return what something is that lies, or lay, in the trash: its name tells, together with the catalog."""
    name = _COPY.sub("", path.name)
    process_id, folder = _parts(db, name)
    process = processes.find(db, process_id) if process_id is not None else None
    deletion = deletions.deleted_by(db, process_id) if process_id is not None else None
    table_name, instance_id = None, folder if folder and is_instance_folder(folder) else None
    removed = Removed.UNKNOWN
    if deletion is not None and folder in (None, deletion.instance_id):
        removed = Removed.TABLE if deletion.instance_id is None else Removed.INSTANCE
        table_name, instance_id = deletion.table_name, deletion.instance_id
    elif process is not None and folder is not None:
        removed, deletion = Removed.LEFTOVER, None
        table_name = process.arguments.get("table_name")
    elif (litter := _litter(name)) is not None:
        removed = Removed.LEFTOVER
        table_name, instance_id = litter
    if not stat.S_ISDIR(path.lstat().st_mode):  # all that the vault puts there are folders
        removed = Removed.UNKNOWN
    if removed is Removed.UNKNOWN:
        process, deletion, table_name, instance_id = None, None, None, None
    return TrashRecord(
        name=path.name,
        removed=removed,
        table_name=table_name,
        instance_id=instance_id,
        description=deletion.description if deletion else "",
        instances=deletion.instances if deletion else 0,
        rows=deletion.rows if deletion else 0,
        author=process.author if process else None,
        process_id=process.process_id if process else None,
        # A folder's own time is that of its last change of name, or later.
        removed_at=deletion.deleted_at if deletion else path.lstat().st_ctime,
        size=folder_size(path),
    )


def _entries(layout: Layout) -> Iterator[Path]:
    if layout.trash.is_symlink():
        raise TVFileError(
            f"{layout.trash} is a link, so nothing is looked at there. Put a folder in its place.", path=layout.trash
        )
    if layout.trash.is_dir():
        yield from sorted(layout.trash.iterdir())


def _parts(db: Database, name: str) -> tuple[str | None, str | None]:
    """Return the process after which something in the trash is named, and the folder that it was, if it says so."""
    if processes.find(db, name) is not None:
        return name, None
    for place, character in enumerate(name):
        process_id, folder = name[:place], name[place + 1 :]
        if character == "-" and _is_folder(folder) and processes.find(db, process_id) is not None:
            return process_id, folder
    return None, None


def _is_folder(name: str) -> bool:
    return name == "artifacts" or is_instance_folder(name)


def _litter(name: str) -> tuple[str, str] | None:
    """Return the table and the instance after which litter is named."""
    for place, character in enumerate(name):
        table, folder = name[:place], name[place + 1 :]
        if character == "-" and is_instance_folder(folder):
            try:
                return check_table_name(table), folder
            except TVArgumentError:
                continue
    return None


def folder_size(path: Path) -> int:
    """Return the bytes of the files in a folder. No link is followed."""
    mode = path.lstat()
    if not stat.S_ISDIR(mode.st_mode):
        return mode.st_size
    return sum(Path(folder, name).lstat().st_size for folder, _, names in os.walk(path) for name in names)
