"""Prune: remove for good what is in the trash, what ended processes have left, and instances that nobody needs.

1. Which instances go is decided in the transaction that locks them, and once more in the one that deletes them. Those
   that are pinned, needed or locked, and those that readers get who name none, never go (``retention``).
2. What it takes from the trash is set aside in the process's own folder first, and goes when it is recorded that it is
   pruned. Reverted before that, everything lies in the trash again. Instances can be read until then.
3. What was pruned stays on record, and so does what the catalog knows of instances.
4. Only what the vault itself has made is ever pruned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tablevault_like.catalog import Database, deletions, instances, locks, processes, tables
from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.locks import is_held, lock_of
from tablevault_like.model import InstanceRecord, LockMode, LockRequest, Resource
from tablevault_like.operations import prunable, retention, trash
from tablevault_like.operations.prunable import Prunable, Pruning
from tablevault_like.operations.retention import Retention
from tablevault_like.operations.trash import Removed, TrashRecord
from tablevault_like.process.journal import Journal
from tablevault_like.process.operation import Declaration, Operation, View
from tablevault_like.process.run import Run
from tablevault_like.storage import files, places, reach

_RESOURCE = Resource("trash")


@dataclass
class _Made:
    """What a pruning takes. ``deleted`` are the instances that the catalog no longer shows."""

    aside: list[tuple[TrashRecord, Prunable]]
    others: list[Prunable]
    deleted: list[InstanceRecord] = field(default_factory=list)


@dataclass(frozen=True)
class Prune(Operation):
    """Remove for good what nobody needs any more."""

    name = "prune"

    keep_newest: int | None = None
    """How many instances of each table and version stay; without it, all of them."""
    older_than: float | None = None
    """In seconds: what was made, removed or ended later than so long before the process began stays."""

    def check(self) -> None:
        if self.older_than is not None and not self.older_than >= 0:
            raise TVArgumentError(f"older_than must be a number of seconds, 0 or more, not {self.older_than!r}.")
        keep: object = self.keep_newest
        if keep is not None and not (isinstance(keep, int) and not isinstance(keep, bool) and keep >= 1):
            raise TVArgumentError(
                f"keep must be a number of instances, 1 or more, or None to keep all of them, not {keep!r}."
            )

    def declare(self, view: View) -> Declaration:
        verdicts = retention.verdicts(view.db, self.retention(view.now))
        going = [LockRequest.exclusive(_resource(each.record)) for each in verdicts if each.goes]
        return Declaration((LockRequest.exclusive(_RESOURCE), *going))

    def retention(self, now: float) -> Retention:
        """Return what this asks for, if it begins at this time."""
        return Retention(self.keep_newest, now - (self.older_than or 0.0))

    def execute(self, run: Run) -> _Made:
        staging = run.files.staging
        files.make_directory(staging)
        wanted = self.retention(run.created_at)
        found = prunable.find(run.journal, wanted, family=[run.process_id], only_going=True)
        with run.journal.catalog.snapshot() as db:
            # What an earlier claim has set aside is there already.
            aside = [trash.describe(db, path) for path in sorted(staging.iterdir())]
            lying = {each.name: each for each in trash.contents(db, run.layout)}
        for name in [each.name for each in found if _is_in_trash(each)]:
            if name in lying:  # nobody has emptied the trash by hand meanwhile
                with run.fenced():
                    _set_aside(run.layout.trashed(name), staging)
                aside.append(lying[name])
        for folder in (run.layout.trash, staging):
            if folder.is_dir():
                files.sync_directory(folder)
        taken = [(each, prunable.of_trash(staging / each.name, each, wanted)) for each in aside]
        return _Made(taken, [each for each in found if not _is_in_trash(each)])

    def publish(self, run: Run, db: Database) -> None:
        made: _Made = run.made
        # What was decided under the locks may be otherwise by now: an instance that was to stay may have gone.
        still = {_key(each): each for each in self._locked(run, db)}
        pruned = [prunable.known(thing, record.known()) for record, thing in made.aside]
        for thing in made.others:
            if thing.kind is Removed.INSTANCE:
                record = still.get((thing.table_name, thing.instance_id))
                if record is None:
                    continue
                instances.delete(db, record.table_id, record.instance_id, process_id=run.process_id, now=run.now())
                made.deleted.append(record)
                pruned.append(prunable.known(thing, _of_instance(run, record, thing)))
            else:
                pruned.append(prunable.known(thing, _of_process(run, db, thing)))
        deletions.record_pruned(db, run.process_id, pruned, now=run.now())

    def finish(self, run: Run) -> None:
        made: _Made = run.made
        if made.deleted:
            # Staging is swept afterwards, when nobody waits for this transaction.
            files.make_directory(run.files.staging)
            with run.journal.catalog.transaction() as db:
                for record in made.deleted:
                    folder = _folder(run, db, record)
                    if folder is not None and instances.find(db, record.table_name, record.instance_id) is None:
                        reach.rename(folder, files.available_name(run.files.staging, folder.name))
        for thing in made.others:
            if thing.kind is Removed.PROCESS:
                _remove_process(run.journal, thing.name)

    def undo(self, run: Run) -> None:
        if not run.files.staging.is_dir():
            return
        files.check_no_link(run.layout.trash)
        files.make_directory(run.layout.trash)
        for path in sorted(run.files.staging.iterdir()):
            with run.fenced():
                reach.rename(path, files.available_name(run.layout.trash, path.name))
        files.sync_directory(run.layout.trash)

    def _locked(self, run: Run, db: Database) -> list[InstanceRecord]:
        """Return the instances that go, among those that this process has locked for that."""
        mine = {each.resource for each in locks.held_by(db, run.process_id) if each.mode is LockMode.EXCLUSIVE}
        verdicts = retention.verdicts(db, self.retention(run.created_at), family=[run.process_id])
        return [each.record for each in verdicts if each.goes and _resource(each.record) in mine]


def look(journal: Journal, operation: Prune) -> Pruning:
    """Return what an operation would prune now, and why everything else stays. Nothing is changed."""
    operation.check()
    return Pruning(tuple(prunable.find(journal, operation.retention(journal.now()))))


def done(journal: Journal, operation: Prune, process_id: str) -> Pruning:
    """Return what a process has pruned, and what stays."""
    with journal.catalog.snapshot() as db:
        gone = tuple(Prunable.of_known(each.known) for each in deletions.pruned(db, process_id=process_id))
    return Pruning((*gone, *look(journal, operation).staying), process_id)


def _resource(record: InstanceRecord) -> Resource:
    return Resource.instance(record.table_name, record.instance_id)


def _key(record: InstanceRecord) -> tuple[str | None, str | None]:
    return record.table_name, record.instance_id


def _is_in_trash(thing: Prunable) -> bool:
    return thing.kind is not Removed.PROCESS and not (thing.kind is Removed.INSTANCE and thing.process_id is None)


def _set_aside(path: Path, staging: Path) -> None:
    try:
        reach.rename(path, staging / path.name)
    except OSError as error:
        raise TVFileError(
            f"{path} can't be moved ({error.strerror}), so nothing was pruned. Remove it yourself, or mend that, and "
            "call again.",
            path=path,
        ) from error


def _of_instance(run: Run, record: InstanceRecord, thing: Prunable) -> Mapping[str, Any]:
    """Return what is told of an instance that was pruned where it lay."""
    return TrashRecord(
        name=record.instance_id,
        removed=Removed.INSTANCE,
        table_name=record.table_name,
        instance_id=record.instance_id,
        description=record.description,
        instances=1,
        rows=record.rows or 0,
        author=run.author,
        process_id=run.process_id,
        removed_at=run.now(),
        size=thing.size,
    ).known()


def _of_process(run: Run, db: Database, thing: Prunable) -> Mapping[str, Any]:
    row = processes.find(db, thing.name)
    return TrashRecord(
        name=thing.name,
        removed=Removed.PROCESS,
        table_name=None,
        instance_id=None,
        description="" if row is None else row.operation,
        instances=0,
        rows=0,
        author=run.author,
        process_id=thing.name,
        removed_at=run.now(),
        size=thing.size,
    ).known()


def _folder(run: Run, db: Database, record: InstanceRecord) -> Path | None:
    table = tables.find_by_id(db, record.table_id)
    if table is None:
        return None
    folder = places.table_layout(run.layout, table).instance(record.instance_id).folder
    return folder if folder.is_dir() else None


def _remove_process(journal: Journal, process_id: str) -> None:
    """Remove what is left of a process that has ended, unless somebody has claimed its id again."""
    folder = journal.layout.process(process_id)
    lock = lock_of(folder)
    if is_held(folder.worker_lock) or not lock.acquire():
        return
    try:
        row = journal.find(process_id)
        if row is None or row.state.has_ended:
            files.remove(folder.folder)
    finally:
        lock.release()
