"""Ask a process to pause, wherever its worker is; and pause at once what has no worker any more."""

from __future__ import annotations

from dataclasses import dataclass

from tablevault_like.catalog import processes
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.errors import TVArgumentError, TVProcessError
from tablevault_like.locks import lock_of
from tablevault_like.model import Pause, State, check_process_id
from tablevault_like.process.endings import Endings
from tablevault_like.process.journal import Journal
from tablevault_like.process.operation import REGISTRY
from tablevault_like.process.pauses import request, request_below, requested_by


@dataclass(frozen=True)
class Pauser:
    """Pauses processes of one vault on behalf of one author."""

    journal: Journal
    endings: Endings
    author: str

    def pause(self, process_id: str) -> str:
        """Ask a process to pause at the next safe point, and return its id.

        Its worker hears of it within half a second, and is done when the calls that are under way have returned. What
        has no worker is paused at once; what is paused already stays so. In either case ``restart`` leaves it alone.
        What is below it pauses with it, whichever worker is at that.
        Raises TVProcessError if it has ended or is being stopped, TVArgumentError for an unknown id, or for an
        operation that is too short to be paused.
        """
        row = self.journal.get(check_process_id(process_id))
        if not REGISTRY[row.operation].can_pause:
            raise TVArgumentError(f"{row.operation} can't be paused: it has no point at which it could go on.")
        lock = lock_of(self.journal.layout.process(process_id))
        has_lock = lock.acquire()
        if not has_lock:
            self.journal.reserve.insist(lambda: self._request(process_id))
            return process_id
        with self.endings.leaving(lock, process_id):
            self.journal.reserve.insist(lambda: self.pause_dead(self.journal.get(process_id)))
        # A worker that lives does this itself, when it has heard of it.
        request_below(self.journal, process_id)
        return process_id

    def pause_dead(self, row: ProcessRow) -> None:
        """Pause a process whose worker lock is held here. What isn't kept yet can't be, and is reverted."""
        self._refuse(row)
        if row.state is State.CREATED:
            self.endings.conclude(row)
            return
        self.journal.make_durable(row)
        with self.journal.catalog.transaction() as db:
            processes.set_named(db, row.process_id)
            epoch = self.journal.claim(db, row.process_id)
            if row.state is State.RUNNING:
                self.journal.advance(db, row.process_id, epoch, State.RUNNING, State.PAUSED)
            self.journal.note_pause(db, row.process_id, Pause(requested_by(row.pause_requested_by or self.author)))

    def _request(self, process_id: str) -> None:
        with self.journal.catalog.transaction() as db:
            row = processes.get(db, process_id)
            self._refuse(row)
            request(db, process_id, author=self.author, now=self.journal.now())

    def _refuse(self, row: ProcessRow) -> None:
        if row.state.has_ended:
            raise TVProcessError(
                f"Process {row.process_id!r} has ended ({row.state.lower()}), so there is nothing to pause.",
                process_id=row.process_id,
            )
        if row.state in (State.STOPPING, State.REVERTING):
            raise TVProcessError(
                f"Process {row.process_id!r} is being stopped, so it can't be paused any more.",
                process_id=row.process_id,
            )
