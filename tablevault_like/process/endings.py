"""End processes whose worker lock is held here: undo them, or keep what they have done.

Nothing is asked of the caller but that lock.

Whoever claims a process that was left in STOPPING or REVERTING finishes that first, so every ending may be done again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from tablevault_like.catalog import locks, processes
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.errors import TVFileError
from tablevault_like.locks import WorkerLock, is_held, lock_of
from tablevault_like.model import State, StepRecord, StopIntent
from tablevault_like.process import housekeeping, records
from tablevault_like.process.journal import Journal
from tablevault_like.process.life import Life
from tablevault_like.process.operation import Operation, rebuild
from tablevault_like.process.run import Run
from tablevault_like.storage import files

log = logging.getLogger("tablevault_like")


@dataclass(frozen=True)
class Endings:
    """Ends processes of one vault."""

    journal: Journal

    def recover(self, process_id: str) -> bool:
        """Revert a dead process that nobody named, or finish a stop whose stopper died.

        Tell whether that freed its locks. Called by whoever needs what the process holds.
        """
        lock = lock_of(self.journal.layout.process(process_id))
        if not lock.acquire():
            return False
        with self.leaving(lock, process_id):
            row = self.journal.find(process_id)
            if row is None or row.state.has_ended:
                return True
            if row.state not in (State.REVERTING, State.STOPPING) and (row.named or row.state is State.PAUSED):
                return False
            if Life(self.journal).has_living_descendant(process_id):
                return False
            self.conclude(row)
            return True

    def finish_dead(self, process_id: str) -> None:
        """End a process whose worker is dead. Raises TVProcessError if it lives after all."""
        lock = lock_of(self.journal.layout.process(process_id))
        if not lock.acquire():
            raise Life(self.journal).running_error(process_id)
        with self.leaving(lock, process_id):
            self.conclude(self.journal.get(process_id))

    @contextmanager
    def leaving(self, lock: WorkerLock, process_id: str) -> Iterator[None]:
        """Let go of a worker lock afterwards. What a process that has ended, or was never recorded, left there goes.

        Its folder goes with it, unless it was given an id: then it may be claimed again.
        """
        try:
            yield
        except BaseException:
            lock.release()
            raise
        self.leave(lock, process_id)

    def leave(self, lock: WorkerLock, process_id: str) -> None:
        """Do now what ``leaving`` does at its end. What fails is litter, and is logged."""
        try:
            row = self.journal.find(process_id)
            if row is None or (row.state.has_ended and not row.named):
                housekeeping.dismiss(self.journal.layout, process_id)
            elif row.state.has_ended:
                housekeeping.sweep(self.journal.layout, process_id)
        except Exception:
            log.warning("housekeeping after process %s failed", process_id, exc_info=True)
        finally:
            lock.release()

    def dismiss(self, lock: WorkerLock, process_id: str) -> None:
        """Let go of the worker lock of a process that nobody will ever claim again. Its folder goes with it."""
        try:
            housekeeping.dismiss(self.journal.layout, process_id)
        except Exception:
            log.warning("housekeeping after process %s failed", process_id, exc_info=True)
        finally:
            lock.release()

    def tidy(self) -> None:
        """Remove what workers left behind that died while they waited for locks, or during their housekeeping."""
        with self.journal.catalog.snapshot() as db:
            waiting = {waiter.process_id for waiter in locks.waiters(db)}
            live = {row.process_id for row in processes.live(db)}
        layout = self.journal.layout
        files.check_no_link(layout.processes)
        kept = {path.name for path in layout.processes.iterdir() if housekeeping.is_left(layout, path.name)}
        for process_id in sorted((kept | waiting) - live):
            try:
                self.forget_waiter(process_id)
            except TVFileError:
                log.warning("housekeeping failed", exc_info=True)

    def forget_waiter(self, process_id: str) -> None:
        """Remove what is left of a worker that waited for locks, from the queue and on disk, unless it lives."""
        lock = lock_of(self.journal.layout.process(process_id))
        if is_held(lock.path) or not lock.acquire():
            return
        with self.leaving(lock, process_id):
            with self.journal.catalog.snapshot() as db:
                is_queued = locks.waiting(db, process_id) is not None
            if is_queued:
                self.journal.reserve.insist(partial(self._dequeue, process_id))

    def _dequeue(self, process_id: str) -> None:
        with self.journal.catalog.transaction() as db:
            locks.dequeue(db, process_id)

    def revert(self, operation: Operation, run: Run, error: BaseException | None) -> None:
        """Undo a process whose worker lock is held by this worker. Its live children first."""
        self.journal.begin_revert(run.process_id, run.epoch, error)
        self._revert_children(run.process_id)
        operation.undo(run)
        counted = self._unreported(run)
        with self.journal.changing(run.process_id, run.epoch) as db:
            row = processes.get(db, run.process_id)
            operation.undo_in_catalog(run, db)
            records.report(db, run.process_id, counted, now=run.now())
            self.journal.advance(db, run.process_id, run.epoch, row.state, State.REVERTED)
        self.sweep(run)

    def materialize(self, operation: Operation, run: Run) -> None:
        """Keep what a process has done. Its worker lock is held by this worker, its state is STOPPING."""
        self._revert_children(run.process_id)
        run.made = operation.materialize(run)
        counted = self._unreported(run)
        with self.journal.changing(run.process_id, run.epoch) as db:
            operation.publish_partial(run, db)
            records.report(db, run.process_id, counted, now=run.now())
            self.journal.advance(db, run.process_id, run.epoch, State.STOPPING, State.MATERIALIZED)
        self.finish(operation, run)

    def finish(self, operation: Operation, run: Run) -> None:
        """Do the housekeeping of a process that has ended. What fails is litter, and is logged."""
        try:
            operation.finish(run)
        except Exception:
            log.warning("housekeeping after process %s failed", run.process_id, exc_info=True)

    def sweep(self, run: Run) -> None:
        try:
            housekeeping.sweep(run.layout, run.process_id)
        except Exception:
            log.warning("housekeeping after process %s failed", run.process_id, exc_info=True)

    def conclude(self, row: ProcessRow) -> None:
        """End a process whose worker is dead: as its stopper meant, else by revert. A full disk is no hindrance."""
        if not row.state.has_ended:
            self.journal.reserve.insist(lambda: self._conclude(row))

    def _conclude(self, row: ProcessRow) -> None:
        self.journal.make_durable(row)
        with self.journal.catalog.transaction() as db:
            epoch = self.journal.claim(db, row.process_id)
        operation = rebuild(row.operation, row.arguments)
        run = Run(
            row.process_id,
            epoch,
            row.named,
            row.author,
            row.created_at,
            self.journal,
            stop_intent=row.stop_intent,
        )
        if row.state is State.STOPPING and row.stop_intent is StopIntent.MATERIALIZE:
            self.materialize(operation, run)
        else:
            self.revert(operation, run, None)

    def _unreported(self, run: Run) -> list[StepRecord]:
        """Count the rows that were recorded after the last report, before the transaction that everybody waits for."""
        with self.journal.catalog.snapshot() as db:
            return records.unreported(db, run.layout, run.process_id)

    def _revert_children(self, process_id: str) -> None:
        with self.journal.catalog.snapshot() as db:
            children = processes.live_children(db, process_id)
        for child in reversed(children):
            self.finish_dead(child.process_id)
