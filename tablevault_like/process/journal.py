"""The record of every process: who may change it, from which state to which, and with which claim.

1. ``advance`` is the only place where the state of a process changes, and it checks id, epoch, state and transition.
2. Every claim raises the epoch. Whatever a worker writes checks the epoch in the same transaction, so a worker that
   lost its claim (or a thread that a paused process left behind) is refused with FencedError.
3. A process that ends frees its locks in the transaction that ends it.
"""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tablevault_like.catalog import Catalog, Database, locks, processes
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.errors import FencedError, TVProcessError, message_of
from tablevault_like.layout import Layout
from tablevault_like.locks import Worker
from tablevault_like.model import ErrorRecord, LockRequest, Pause, State, StopIntent
from tablevault_like.process.state import check_transition
from tablevault_like.storage import files, reach
from tablevault_like.storage.room import Reserve

log = logging.getLogger("tablevault_like")

_TOOK_ID = "took the id"
"""The event of a process whose id belonged to another one before, which bears the name in its detail since."""

UNCLAIMED = 0
"""The epoch of a process that isn't recorded yet. It holds until somebody records a process of that id."""


@dataclass(frozen=True)
class Journal:
    """The processes of one vault.

    ``now`` gives seconds since the epoch (POSIX); they are shown, nothing rests on them.
    """

    catalog: Catalog
    layout: Layout
    now: Callable[[], float]

    def __post_init__(self) -> None:
        reach.guard(self.layout.root)

    @property
    def reserve(self) -> Reserve:
        """Return the room that is kept for ending processes on a full disk."""
        return Reserve(self.layout.reserve)

    def find(self, process_id: str) -> ProcessRow | None:
        """Return a process, ``None`` if there is none of that id."""
        with self.catalog.snapshot() as db:
            return processes.find(db, process_id)

    def get(self, process_id: str) -> ProcessRow:
        """Return a process. Raises TVArgumentError if there is none of that id."""
        with self.catalog.snapshot() as db:
            return processes.get(db, process_id)

    def add(
        self,
        db: Database,
        process_id: str,
        *,
        operation: str,
        arguments: Mapping[str, Any],
        needed: Sequence[LockRequest],
        needed_for_claim: Sequence[LockRequest],
        author: str,
        named: bool,
        parent_id: str | None,
        created_at: float,
        replaces: int | None = None,
        is_rerun: bool = False,
    ) -> int:
        """Record a new process with its locks, and return its epoch.

        An id whose last process was reverted may be used again, and so may that of one that has ended in the epoch
        ``replaces``: the old record is kept as ``<id>~<n>``, and the epoch goes on from there, so that a worker of the
        old one is still refused. What ``is_rerun`` doesn't find the children of the old one done.
        """
        epoch = 1
        old = processes.find(db, process_id)
        may_be_replaced = old is None or old.state is State.REVERTED or (old.state.has_ended and old.epoch == replaces)
        if not may_be_replaced:
            raise TVProcessError(
                f"Another worker has used the process id {process_id!r} at the same time. Call again to join it.",
                process_id=process_id,
            )
        if old is not None:
            archived = processes.archive(db, process_id, with_children=is_rerun)
            epoch = old.epoch + 1
        processes.add(
            db,
            process_id,
            operation=operation,
            arguments=arguments,
            author=author,
            named=named,
            parent_id=parent_id,
            state=State.CREATED,
            epoch=epoch,
            host=Worker.this().host,
            pid=os.getpid(),
            now=created_at,
        )
        locks.grant(db, process_id, needed, claim_only=False, now=created_at)
        locks.grant(db, process_id, needed_for_claim, claim_only=True, now=created_at)
        if old is not None:
            processes.add_event(db, process_id, _TOOK_ID, archived, now=created_at)
        return epoch

    def withdraw(self, process_id: str, epoch: int) -> None:
        """Take back a process that was recorded and has done nothing yet. What had its id before has it again."""
        with self.changing(process_id, epoch) as db:
            archived = processes.last_event(db, process_id, _TOOK_ID)
            processes.withdraw(db, process_id)
            if archived is not None:
                processes.restore(db, archived, process_id)

    def advance(self, db: Database, process_id: str, epoch: int, before: State, after: State) -> None:
        """Change the state of a process (invariant 1). Raises FencedError if the claim is over."""
        check_transition(before, after)
        if not processes.set_state(db, process_id, epoch=epoch, before=before, after=after, now=self.now()):
            raise fenced_error(process_id)
        if after is State.RUNNING:
            locks.release(db, process_id, claim_only=True)
        if after.has_ended:
            locks.release(db, process_id)
        processes.add_event(db, process_id, "state", after, now=self.now())
        log.info("process %s: %s", process_id, after.lower())

    def make_durable(self, row: ProcessRow) -> None:
        """Let what a worker has done count that died: whoever goes on takes for done what is there, synced or not."""
        if row.state is not State.PAUSED:
            files.sync_file_system(self.layout.metadata)

    def claim(self, db: Database, process_id: str) -> int:
        """Raise the epoch of a process for this worker, which holds its worker lock, and return it."""
        return processes.raise_epoch(db, process_id, host=Worker.this().host, pid=os.getpid(), now=self.now())

    def resume(self, row: ProcessRow, arguments: Mapping[str, Any], *, mark: int, deaths: int) -> int:
        """Claim a process that is to go on, and return the new epoch.

        ``mark`` is how much is recorded of it by now, ``deaths`` how many workers have died in a row since that was
        less.
        """
        with self.catalog.transaction() as db:
            epoch = self.claim(db, row.process_id)
            if row.state is State.PAUSED:
                self.advance(db, row.process_id, epoch, State.PAUSED, State.RUNNING)
            processes.clear_pause(db, row.process_id)
            processes.set_mark(db, row.process_id, mark, deaths=deaths)
            processes.set_arguments(db, row.process_id, {**row.arguments, **arguments})
            processes.add_event(db, row.process_id, "resumed", f"epoch {epoch}", now=self.now())
        return epoch

    def pause(self, process_id: str, epoch: int, error: BaseException) -> None:
        """Pause a process over an error. Its locks stay."""
        with self.changing(process_id, epoch) as db:
            self.advance(db, process_id, epoch, State.RUNNING, State.PAUSED)
            processes.set_error(db, process_id, describe_error(error))

    def pause_on_request(self, process_id: str, epoch: int, pause: Pause) -> None:
        """Pause a process because somebody asked for it. Its locks stay, and ``restart`` leaves it alone."""
        with self.changing(process_id, epoch) as db:
            self.advance(db, process_id, epoch, State.RUNNING, State.PAUSED)
            self.note_pause(db, process_id, pause)

    def note_pause(self, db: Database, process_id: str, pause: Pause) -> None:
        """Record why a process is paused. Whoever asks for a pause means to go on, so from now on it has an owner."""
        processes.set_named(db, process_id)
        processes.set_error(db, process_id, None)
        processes.set_pause(db, process_id, reason=pause.reason, completed_through=pause.completed_through)
        processes.add_event(db, process_id, "paused", pause.reason, now=self.now())

    def begin_revert(self, process_id: str, epoch: int, error: BaseException | None) -> None:
        """Record that a process is being reverted, whatever live state it is in. It may be so already."""
        with self.catalog.transaction() as db:
            state = processes.is_current(db, process_id, epoch)
            if state is None or state.has_ended:
                raise fenced_error(process_id)
            if state not in (State.REVERTING, State.STOPPING):
                self.advance(db, process_id, epoch, state, State.REVERTING)
            if error is not None:
                processes.set_error(db, process_id, describe_error(error))

    def begin_stop(self, process_id: str, intent: StopIntent) -> int:
        """Fence the worker of a process, record what is to become of it, and return the new epoch.

        Raises TVProcessError if it has ended.
        """
        with self.catalog.transaction() as db:
            current = processes.get(db, process_id)
            if current.state.has_ended:
                raise TVProcessError(
                    f"Process {process_id!r} ended by itself meanwhile ({current.state.lower()}).",
                    process_id=process_id,
                )
            epoch = processes.raise_epoch(db, process_id, host=current.host or "", pid=current.pid or 0, now=self.now())
            # What is being reverted already, or isn't kept yet, can't be kept; else the newest wish counts.
            is_lost = current.state in (State.CREATED, State.REVERTING) or current.stop_intent is StopIntent.REVERT
            if current.state not in (State.STOPPING, State.REVERTING):
                self.advance(db, process_id, epoch, current.state, State.STOPPING)
            processes.set_stop_intent(db, process_id, StopIntent.REVERT if is_lost else intent)
        return epoch

    @contextmanager
    def changing(self, process_id: str, epoch: int) -> Iterator[Database]:
        """Change the catalog on behalf of a process, if the claim still holds (invariant 2)."""
        with self.catalog.transaction() as db:
            if not _is_held(db, process_id, epoch):
                raise fenced_error(process_id)
            yield db

    def check(self, process_id: str, epoch: int) -> None:
        """Raise FencedError if the claim is over."""
        with self.catalog.snapshot() as db:
            if not _is_held(db, process_id, epoch):
                raise fenced_error(process_id)


def _is_held(db: Database, process_id: str, epoch: int) -> bool:
    if epoch != UNCLAIMED:
        return processes.is_current(db, process_id, epoch) is not None
    row = processes.find(db, process_id)
    return row is None or row.state is State.REVERTED


def describe_error(error: BaseException) -> ErrorRecord:
    """Return an exception as it is kept: the name of its class, its message with notes, and its traceback."""
    message = "\n".join([message_of(error), *getattr(error, "__notes__", [])]).strip()
    return ErrorRecord(
        type=type(error).__qualname__, message=message, traceback="".join(traceback.format_exception(error))
    )


def fenced_error(process_id: str) -> FencedError:
    """Return the error of a worker that has lost its claim."""
    return FencedError(
        f"This worker's claim on process {process_id!r} is over: it was stopped, or another worker has taken it over. "
        "Nothing more was written. Look at it with get_process().",
        process_id=process_id,
    )
