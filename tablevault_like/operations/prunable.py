"""What there is to be pruned, what of it goes and what stays, and why: instances, the trash, what processes have left.

Nothing is changed in here. Files are looked at after the catalog was read, so that no commit waits for that.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tablevault_like.catalog import processes
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.layout import Layout
from tablevault_like.model import State
from tablevault_like.operations import retention, trash
from tablevault_like.operations.retention import Retention, Verdict
from tablevault_like.operations.trash import Removed, TrashRecord
from tablevault_like.process.journal import Journal
from tablevault_like.storage import places

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Prunable:
    """Something that is pruned, or stays. Times are seconds since the epoch (POSIX)."""

    kind: Removed
    """What it is: an instance, what is left of a process, or what something in the trash was."""
    name: str
    """``table/instance``, the id of a process, or its name in ``metadata/trash``."""
    goes: bool
    """Whether it is pruned."""
    why: str
    """Why it goes, or why it stays."""
    size: int
    """How many bytes its files have."""
    freed: int
    """How many of these nothing else has a share in: artifacts that haven't changed are shared by instances."""
    since: float
    """When the instance was made, the process ended, or it was removed."""
    table_name: str | None = None
    """The table that it is, or is of; ``None`` if it isn't a table's."""
    instance_id: str | None = None
    """The instance that it is; ``None`` if it isn't one."""
    process_id: str | None = None
    """The process of which it is left, or that removed it; ``None`` for an instance."""

    @classmethod
    def of_known(cls, known: Mapping[str, Any]) -> Self:
        """Return what ``known`` was made of."""
        return cls(**{**known["prunable"], "kind": Removed(known["prunable"]["kind"])})


@dataclass(frozen=True, slots=True)
class Pruning:
    """What is pruned, or would be, and what stays. ``process_id`` is that of the process that did it, if it was done.

    Instances come newest first, then what is in the trash, oldest first, then what is left of processes.
    """

    things: tuple[Prunable, ...]
    process_id: str | None = None

    @property
    def going(self) -> tuple[Prunable, ...]:
        """What is pruned, or would be."""
        return tuple(each for each in self.things if each.goes)

    @property
    def staying(self) -> tuple[Prunable, ...]:
        """What stays: ``why`` tells the reason."""
        return tuple(each for each in self.things if not each.goes)

    @property
    def size(self) -> int:
        """How many bytes the files have that go."""
        return sum(each.size for each in self.going)

    @property
    def freed(self) -> int:
        """How many bytes that frees, at least: of files that are shared, the last one to go frees them."""
        return sum(each.freed for each in self.going)

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each thing, with the fields of Prunable."""
        import pandas as pd

        dtypes = {"goes": "bool", "size": "int64", "freed": "int64", "since": "float64"}
        columns = {name: [getattr(each, name) for each in self.things] for name in Prunable.__slots__}
        columns["kind"] = [str(kind) for kind in columns["kind"]]
        return pd.DataFrame(
            {name: pd.Series(found, dtype=dtypes.get(name, "string")) for name, found in columns.items()}
        )


def find(
    journal: Journal, wanted: Retention, *, family: Sequence[str] = (), only_going: bool = False
) -> list[Prunable]:
    """Return what there is, and what becomes of it; if asked for, only what goes.

    ``family`` are the processes whose locks don't count: those of whoever prunes.
    """
    layout = journal.layout
    with journal.catalog.snapshot() as db:
        instances = retention.verdicts(db, wanted, family=family)
        removed = trash.contents(db, layout)
        left = [(path, processes.find(db, path.name)) for path in _folders(layout) if path.name not in family]
    found = [_instance(layout, each) for each in instances if each.goes or not only_going]
    found += [of_trash(layout.trashed(record.name), record, wanted) for record in removed]
    found += [_process(path, row, wanted) for path, row in left if row is not None and _has_more(path)]
    return [each for each in found if each.goes or not only_going]


def of_trash(path: Path, record: TrashRecord, wanted: Retention) -> Prunable:
    """Return what becomes of something that lies in the trash, or was set aside from there, at ``path``."""
    goes, why = True, "it was removed"
    if record.removed is Removed.UNKNOWN:
        goes, why = False, "it isn't the vault's own"
    elif record.removed_at > wanted.latest:
        goes, why = False, retention.TOO_YOUNG
    return Prunable(
        kind=record.removed,
        name=record.name,
        goes=goes,
        why=why,
        size=record.size,
        freed=_measured(path)[1],
        since=record.removed_at,
        table_name=record.table_name,
        instance_id=record.instance_id,
        process_id=record.process_id,
    )


def _instance(layout: Layout, verdict: Verdict) -> Prunable:
    record = verdict.record
    size, freed = _measured(places.instance_layout(layout, record).folder)
    return Prunable(
        kind=Removed.INSTANCE,
        name=f"{record.table_name}/{record.instance_id}",
        goes=verdict.goes,
        why=verdict.why,
        size=size,
        freed=freed,
        since=record.materialized_at or record.created_at,
        table_name=record.table_name,
        instance_id=record.instance_id,
    )


def _process(path: Path, row: ProcessRow, wanted: Retention) -> Prunable:
    goes, why = True, "the process has ended"
    if row.ended_at is None:
        goes, why = False, "the process is paused" if row.state is State.PAUSED else "the process hasn't ended"
    elif row.ended_at > wanted.latest:
        goes, why = False, retention.TOO_YOUNG
    size, freed = _measured(path)
    return Prunable(
        kind=Removed.PROCESS,
        name=row.process_id,
        goes=goes,
        why=why,
        size=size,
        freed=freed,
        since=row.ended_at or row.created_at,
        process_id=row.process_id,
    )


def _folders(layout: Layout) -> list[Path]:
    if layout.processes.is_symlink() or not layout.processes.is_dir():
        return []
    return sorted(path for path in layout.processes.iterdir() if path.is_dir() and not path.is_symlink())


def _has_more(path: Path) -> bool:
    """Tell whether there is more in the folder of a process than the lock by which its id can be claimed again."""
    try:
        return any(each.name != "worker.lock" for each in path.iterdir())
    except FileNotFoundError:  # it ended in this moment
        return False


def _measured(path: Path) -> tuple[int, int]:
    """Return the bytes of the files in a folder, and of those that have no other name elsewhere."""
    size = freed = 0
    for each in _files(path):
        size += each.st_size
        freed += each.st_size if each.st_nlink == 1 else 0
    return size, freed


def _files(path: Path) -> Iterator[os.stat_result]:
    try:
        found = path.lstat()
    except FileNotFoundError:  # it went in this moment
        return
    if not stat.S_ISDIR(found.st_mode):
        yield found
        return
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                yield Path(folder, name).lstat()
            except FileNotFoundError:
                continue


def known(thing: Prunable, described: Mapping[str, object]) -> dict[str, object]:
    """Return what is recorded of a thing that is pruned: what ``get_trash`` tells of it, and what became of it."""
    own = {name: getattr(thing, name) for name in Prunable.__slots__}
    return {**described, "prunable": own}
