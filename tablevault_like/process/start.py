"""Start a process: wait until all of its locks can be granted at once, and record it with them."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from dataclasses import dataclass
from typing import Any

from tablevault_like.catalog import Database, locks, processes
from tablevault_like.catalog.locks import Held
from tablevault_like.engines.base import Interrupted
from tablevault_like.errors import TVLockError, TVProcessError
from tablevault_like.locks import Worker, WorkerLock, lock_of
from tablevault_like.model import Existing, State
from tablevault_like.process import context, housekeeping, records, waiting
from tablevault_like.process.driving import HAD_COMPLETED, Driver
from tablevault_like.process.endings import Endings
from tablevault_like.process.existing import lock_error
from tablevault_like.process.interrupts import Interrupts
from tablevault_like.process.journal import UNCLAIMED, Journal
from tablevault_like.process.life import Life
from tablevault_like.process.operation import Declaration, Operation, View
from tablevault_like.process.run import Observer, Run
from tablevault_like.storage import files, room

log = logging.getLogger("tablevault_like")

_POLL_SECONDS = (0.002, 0.05)


@dataclass(frozen=True)
class Request:
    """What is asked for: an operation, under which id, by whom. ``lock_timeout`` is in seconds."""

    operation: Operation
    process_id: str
    author: str
    is_named: bool
    parent_id: str | None
    lock_timeout: float
    observer: Observer | None = None
    replaces: int | None = None
    """The epoch of an ended process of that id, if it is to make room for this one."""


class IdTaken(Exception):  # noqa: N818 - no error: the caller joins that process
    """Another worker has used the process id between the look at the catalog and the claim of the worker lock."""


class Start:
    """The start of a process that isn't recorded yet."""

    def __init__(self, journal: Journal, endings: Endings, driver: Driver, request: Request) -> None:
        self._journal = journal
        self._endings = endings
        self._driver = driver
        self._life = Life(journal)
        self.request = request
        self.operation = request.operation
        self._process_id = request.process_id
        self._parent_id = request.parent_id
        self._is_queued = False
        self._prepared: Any = None
        self._declared = Declaration(())
        self._blocked = waiting.Blockers((), ())
        self._beyond_help: set[str] = set()
        self._interrupts = Interrupts()
        self._recorded: Run | None = None
        self._lock = lock_of(journal.layout.process(request.process_id))

    def run(self, lock: WorkerLock | None = None) -> str:
        """Run the process to its end and return its id. ``lock`` is its worker lock, if the caller holds it.

        Raises IdTaken, and changes nothing, if there is a process of that id by now.
        """
        with self._interrupts:
            try:
                if self.operation.is_catalog_only and lock is None and self._is_done_at_once():
                    return self._process_id
                self._lock = lock or self._lock
                if not self._lock.is_mine and not self._lock.acquire():
                    raise self._life.running_error(self._process_id)
                if lock is None and self.request.is_named:
                    self._look_again()
                self._remove_what_is_left()
                self._prepared = self.operation.prepare(self._journal.layout.process(self._process_id))
                if self.operation.is_short and not self.request.is_named and self._is_done_at_once():
                    self._endings.dismiss(self._lock, self._process_id)
                    return self._process_id
                run = self._claim()
                if self.operation.is_catalog_only:
                    self._endings.finish(self.operation, run)
            except BaseException as error:
                try:
                    self._tell_if_completed(error)
                finally:
                    self._give_up(error)
                with room.told(self._journal.layout.root):
                    raise
            if self.operation.is_catalog_only:
                self._give_up()
                return self._process_id
            return self._driver.drive(self.operation, run, self._lock)

    def _look_again(self) -> None:
        """Look for a process of this id under the worker lock: it may have been another one's until now."""
        row = self._journal.find(self._process_id)
        if row is not None and row.state is not State.REVERTED:
            raise IdTaken

    def _remove_what_is_left(self) -> None:
        """Remove what a worker has left of an earlier process of this id that died when that had ended.

        Frames, or a bundle, would be taken for what this process has made.
        """
        if not housekeeping.has_more(self._journal.layout, self._process_id):
            return
        row = self._journal.find(self._process_id)
        if row is None or row.state.has_ended:
            housekeeping.sweep(self._journal.layout, self._process_id)

    def _is_done_at_once(self) -> bool:
        """Claim, place and publish in one transaction, unless there is something to wait for.

        Nobody ever sees the process unfinished. What touches nothing but the catalog needs no worker lock for that.
        """
        run = self._run(UNCLAIMED, self._journal.now())
        try:
            if self.operation.is_short:
                try:
                    run.made = self.operation.stage(run)
                except FileNotFoundError:
                    # What it reads may just have been deleted: no lock kept it. Under the locks it is there, or the
                    # operation says what is missing.
                    self.operation.undo(run)
                    return False
                if run.made is None:
                    return False
            with self._journal.catalog.transaction() as db:
                declaration = self.operation.declare(View(db, self._journal.layout, self._journal.now()))
                if self._blockers(db, declaration):
                    return False
                if self.operation.is_short and not self.operation.place(run, db):
                    return False
                recorded = self._record(db, declaration, run)
                self._complete(recorded, db)
            self._endings.finish(self.operation, recorded)
        except BaseException:
            if self.operation.is_short and self._completed() is None:
                self.operation.undo(run)
            raise
        return True

    def _tell_if_completed(self, error: BaseException) -> None:
        """Add to an error that came after the commit that the operation completed, and do its housekeeping again."""
        try:
            run = self._completed()
        except Exception as failure:
            error.add_note(
                f"Whether the operation has completed can't be told ({failure}): when the catalog can be read again, "
                f"look whether there is a process {self._process_id!r}."
            )
            log.warning("whether process %s has completed can't be told", self._process_id, exc_info=True)
            return
        if run is not None:
            error.add_note(HAD_COMPLETED.format(self._process_id))
            self._endings.finish(self.operation, run)

    def _completed(self) -> Run | None:
        """Return the run if the catalog says that its process has completed. A commit may have happened and raised."""
        self._journal.catalog.recover()
        run, row = self._recorded, self._journal.find(self._process_id)
        is_done = run is not None and row is not None and (row.epoch, row.state) == (run.epoch, State.COMPLETED)
        return run if is_done else None

    def _complete(self, run: Run, db: Database) -> None:
        self._journal.advance(db, run.process_id, run.epoch, State.CREATED, State.RUNNING)
        self.operation.publish(run, db)
        self._journal.advance(db, run.process_id, run.epoch, State.RUNNING, State.COMPLETED)

    def _claim(self) -> Run:
        """Wait until all locks are granted, and record the process with them.

        What is ``is_catalog_only`` has completed then.
        """
        if not self.operation.is_catalog_only:
            self._journal.reserve.ensure()
        # What is kept there must be there when the record is.
        files.sync_directory(self._lock.path.parent)
        files.sync_directory(self._lock.path.parent.parent)
        deadline = time.monotonic() + self.request.lock_timeout
        pause = _POLL_SECONDS[0]
        while True:
            run = self._try_to_claim()
            if run is not None:
                if not self.operation.reads_files or self._is_still_so(run):
                    return run
                continue
            if any(self._recover(process_id) for process_id in self._dead_holders()):
                continue
            if time.monotonic() >= deadline:
                raise self._lock_error()
            current = context.current(self._journal.layout.root)
            if current is not None and current.stop.requested:
                raise Interrupted
            time.sleep(pause)
            pause = min(pause * 1.5, _POLL_SECONDS[1])

    def _try_to_claim(self) -> Run | None:
        declaration = None
        if self.operation.reads_files:
            # Reading files takes a while: not inside the transaction that everybody else waits for.
            with self._journal.catalog.snapshot() as db:
                declaration = self.operation.declare(View(db, self._journal.layout, self._journal.now()))
        with self._journal.catalog.transaction() as db:
            if declaration is None:
                declaration = self.operation.declare(View(db, self._journal.layout, self._journal.now()))
            self._blocked = self._blockers(db, declaration)
            if self._blocked:
                self._wait_in_queue(db, declaration)
                return None
            locks.dequeue(db, self._process_id)
            self._is_queued = False
            run = self._record(db, declaration, self._run(UNCLAIMED, self._journal.now()))
            self._declared = declaration
            if self.operation.is_catalog_only:
                self._complete(run, db)
            elif not self.operation.keeps_inputs:
                self._journal.advance(db, run.process_id, run.epoch, State.CREATED, State.RUNNING)
            return run

    def _run(self, epoch: int, created_at: float) -> Run:
        return Run(
            self._process_id,
            epoch,
            self.request.is_named,
            self.request.author,
            created_at,
            self._journal,
            interrupts=self._interrupts,
            prepared=self._prepared,
            observer=self.request.observer,
        )

    def _record(self, db: Database, declaration: Declaration, run: Run) -> Run:
        """Record the process of a run, and return the run that has claimed it."""
        epoch = self._journal.add(
            db,
            self._process_id,
            operation=self.operation.name,
            arguments=self.operation.arguments(),
            needed=declaration.locks,
            needed_for_claim=declaration.claim_locks,
            author=self.request.author,
            named=self.request.is_named,
            parent_id=self._parent_id,
            created_at=run.created_at,
            replaces=self.request.replaces,
            is_rerun=self.operation.on_existing() is Existing.RERUN,
        )
        self._recorded = dataclasses.replace(run, epoch=epoch, facts=declaration.facts)
        return self._recorded

    def _is_still_so(self, run: Run) -> bool:
        """Tell whether what was declared holds under the locks.

        If not, let go of them as if nothing had been claimed.
        """
        with self._journal.catalog.snapshot() as db:
            again = self.operation.declare(View(db, self._journal.layout, self._journal.now()))
        if again == self._declared:
            return True
        self._journal.withdraw(run.process_id, run.epoch)
        return False

    def _blockers(self, db: Database, declaration: Declaration) -> waiting.Blockers:
        if self._parent_id is not None:
            self._check_parent(db, self._parent_id)
        waiter = locks.waiting(db, self._process_id) if self._is_queued else None
        queued = waiting.Queued(
            self._process_id,
            self._parent_id,
            (*declaration.locks, *declaration.claim_locks),
            waiter.ticket if waiter else None,
        )
        if (held := waiting.made_above(db, queued)) is not None:
            raise self._made_above_error(db, held)
        blocked = waiting.blockers(db, self._journal.layout, queued)
        if blocked and waiting.closes_circle(db, queued, blocked):
            raise self._circle_error(blocked)
        return blocked

    def _check_parent(self, db: Database, parent_id: str) -> None:
        parent = processes.get(db, parent_id)
        if parent.state not in (State.CREATED, State.RUNNING):
            raise TVProcessError(
                f"The parent process {parent_id!r} is {parent.state.lower()}, so nothing new can be done under it. "
                "Resume the parent first, or call without parent_id.",
                process_id=parent_id,
            )

    def _wait_in_queue(self, db: Database, declaration: Declaration) -> None:
        requests = (*declaration.locks, *declaration.claim_locks)
        waiter = locks.waiting(db, self._process_id)
        if waiter is not None and not self._is_queued:
            # Left behind by a worker of this id that died while it waited.
            locks.dequeue(db, self._process_id)
            waiter = None
        if waiter is None:
            locks.enqueue(
                db,
                self._process_id,
                requests,
                operation=self.operation.name,
                arguments=self.operation.arguments(),
                author=self.request.author,
                named=self.request.is_named,
                parent_id=self._parent_id,
                host=Worker.this().host,
                pid=os.getpid(),
                now=self._journal.now(),
            )
            self._is_queued = True
        elif waiter.requests != requests:
            locks.replace_requests(db, waiter.ticket, requests)

    def _dead_holders(self) -> list[str]:
        """Return who holds something that is needed here, and may be reverted: dead, and nobody named it."""
        with self._journal.catalog.snapshot() as db:
            rows = [processes.find(db, held.process_id) for held in self._blocked.held]
        return [
            row.process_id
            for row in rows
            if row is not None
            and (not row.named or row.state in (State.REVERTING, State.STOPPING))
            and row.state is not State.PAUSED
            and row.process_id not in self._beyond_help
            and not self._life.is_alive(row.process_id)
        ]

    def _recover(self, process_id: str) -> bool:
        """End a dead process that is in the way, and tell whether it is out of the way now."""
        try:
            return self._endings.recover(process_id)
        except Exception:
            log.warning("process %s is dead, and could not be ended", process_id, exc_info=True)
            self._beyond_help.add(process_id)
            return False

    def _give_up(self, error: BaseException | None = None) -> None:
        """Leave the queue, undo a claim that was cut short, and let go of the worker lock.

        What fails of that doesn't take the place of ``error``, over which it is done: whoever comes next does it.
        """
        try:
            self._leave()
        except Exception as failure:
            if error is not None:
                error.add_note(
                    f"Process {self._process_id!r} could not be settled ({failure}); the next who claims it will."
                )
            log.warning("process %s could not be settled", self._process_id, exc_info=True)

    def _leave(self) -> None:
        self._journal.catalog.recover()
        if not self._lock.is_mine:
            return
        with self._endings.leaving(self._lock, self._process_id):
            if self._is_queued:
                self._journal.reserve.insist(self._leave_queue)
            row, mine = self._journal.find(self._process_id), self._recorded
            if row is not None and mine is not None and row.epoch == mine.epoch:
                self._endings.conclude(row)

    def _leave_queue(self) -> None:
        with self._journal.catalog.transaction() as db:
            locks.dequeue(db, self._process_id)

    def _lock_error(self) -> TVLockError:
        with self._journal.catalog.snapshot() as db:
            held = next((held for held in self._blocked.held if processes.find(db, held.process_id)), None)
            waited = f"after {self.request.lock_timeout:g} s"
            if held is None:
                names = ", ".join(repr(name) for name in self._blocked.ahead) or "another process"
                return TVLockError(f"{self.operation.name} gave up {waited}: {names} came first. Call again.")
            record = records.find(db, self._journal.layout, held.process_id)
        return lock_error(self.operation.name, held, record, waited=f", and gave up {waited}")

    def _made_above_error(self, db: Database, held: Held) -> TVLockError:
        holder = processes.get(db, held.process_id)
        return TVLockError(
            f"{self.operation.name} can't be done here: an ancestor of this process, {holder.process_id!r} "
            f"({holder.operation}), makes {held.request.resource}. Do it when that has ended.",
            resource=str(held.request.resource),
            holder=holder.process_id,
        )

    def _circle_error(self, blocked: waiting.Blockers) -> TVLockError:
        held = blocked.held[0]
        return TVLockError(
            f"{self.operation.name} would wait for ever: {held.request.resource} is held by process "
            f"{held.process_id!r}, which in turn waits for an ancestor of this one. Let one of the two finish first.",
            resource=str(held.request.resource),
            holder=held.process_id,
        )
