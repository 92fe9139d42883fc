"""Stop processes: fence the worker, end it, and then undo or keep what it has done. Leaves of the tree first."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from tablevault_like.catalog import processes
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.errors import TVArgumentError, TVProcessError
from tablevault_like.locks import WorkerLock
from tablevault_like.model import StopIntent, check_process_id
from tablevault_like.process.endings import Endings
from tablevault_like.process.journal import Journal
from tablevault_like.process.life import Life
from tablevault_like.process.operation import rebuild
from tablevault_like.process.run import LOCAL_RUNS
from tablevault_like.process.workers import end_worker


@dataclass(frozen=True)
class Stopper:
    """Stops processes of one vault."""

    journal: Journal
    endings: Endings
    life: Life

    def stop(self, process_id: str, *, force: bool = False, materialize: bool = False) -> str:
        """Revert a process that hasn't ended, or keep what it has done, and return its id.

        Raises TVProcessError if it has ended, or if its worker (or one of a child) lives and ``force`` wasn't given;
        TVArgumentError for an unknown id, or if what it does can't be kept in part.
        """
        row = self.journal.get(check_process_id(process_id))
        if row.state.has_ended:
            raise TVProcessError(
                f"Process {process_id!r} has ended ({row.state.lower()}), so there is nothing to stop.",
                process_id=process_id,
            )
        if materialize and not rebuild(row.operation, row.arguments).can_materialize:
            raise TVArgumentError(
                f"What {row.operation} has done can't be kept in part. Stop it without materialize=True."
            )
        intent = StopIntent.MATERIALIZE if materialize else StopIntent.REVERT
        if not force:
            self.life.refuse_living(process_id)
        self._stop_one(row, intent, force=force)
        return process_id

    def _stop_one(self, row: ProcessRow, intent: StopIntent, *, force: bool) -> None:
        """Stop a process and, before it, its children, leaves first. Fence, end the worker, then claim."""
        files = self.journal.layout.process(row.process_id)
        lock = WorkerLock(files.worker_lock)
        has_lock = lock.acquire()
        if not has_lock and not force:
            raise self.life.running_error(row.process_id)
        with self.endings.leaving(lock, row.process_id):
            row = self.journal.get(row.process_id)
            if row.state.has_ended:
                raise TVProcessError(
                    f"Process {row.process_id!r} ended by itself meanwhile ({row.state.lower()}).",
                    process_id=row.process_id,
                )
            self.journal.begin_stop(row, intent)
            self.stop_children(row.process_id, force=force)
            if not has_lock:
                end_worker(files.worker_lock, lock, process_id=row.process_id, local=LOCAL_RUNS.get(row.process_id))
            self.endings.conclude(self.journal.get(row.process_id))

    def stop_children(self, process_id: str, *, force: bool = True) -> None:
        """Revert what is live below a process that was fenced or is being reverted, leaves first.

        Raises TVProcessError if a worker lives there and ``force`` wasn't given, or if it can't be ended.
        """
        with self.journal.catalog.snapshot() as db:
            children = processes.live_children(db, process_id)
        for child in reversed(children):
            # A child that ends by itself in between is as good.
            with suppress(TVProcessError):
                self._stop_one(child, StopIntent.REVERT, force=force)
                continue
            if not self.journal.get(child.process_id).state.has_ended:
                raise self.life.running_error(child.process_id)
