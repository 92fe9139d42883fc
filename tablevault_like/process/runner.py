"""Run operations as processes: the one way in which anything in a vault is changed.

``Runner.submit`` starts a process, or goes on with the one of that id; ``stop`` and ``restart`` drive processes whose
worker is elsewhere or dead. All of them claim first: they hold the worker lock, and raise the epoch.

::

    runner ─┬─ start ──── driving ──┐      wait for the locks and record; run and settle
            ├─ stopping ────────────┼─ endings      revert, materialize, sweep
            └─ (resume) ─ driving ──┘
                 journal, waiting, life             who may change what; who waits for whom; who lives
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace

from tablevault_like.catalog import Database, processes
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.errors import TVProcessError, message_of
from tablevault_like.locks import WorkerLock, lock_of
from tablevault_like.model import Existing, State, check_process_id, new_process_id
from tablevault_like.process import context, records
from tablevault_like.process.driving import HAD_COMPLETED, Driver
from tablevault_like.process.endings import Endings
from tablevault_like.process.existing import check_same_work, existing_error, is_other_work
from tablevault_like.process.interrupts import is_termination
from tablevault_like.process.journal import Journal
from tablevault_like.process.life import Life
from tablevault_like.process.operation import Operation, View, rebuild
from tablevault_like.process.pausing import Pauser
from tablevault_like.process.run import Observer, Run
from tablevault_like.process.start import IdTaken, Request, Start
from tablevault_like.process.stopping import Stopper
from tablevault_like.storage import room

log = logging.getLogger("tablevault_like")

MAXIMUM_DEATHS = 3
"""How many workers in a row may die without a new row or step before ``restart`` leaves their process alone."""


@dataclass(frozen=True)
class Outcome:
    """What became of a process that ``restart`` took on. As text it says both."""

    state: State
    """The state that it was left in."""
    error: str | None = None
    """What stopped it; ``None`` if it ran to its end."""

    def __str__(self) -> str:
        # Its worker, this one, is done with it: what is still running then was interrupted.
        status = "interrupted" if self.state in (State.CREATED, State.RUNNING) else self.state.lower()
        return status if self.error is None else f"{status}: {self.error}"


@dataclass(frozen=True)
class Runner:
    """Runs operations in one vault on behalf of one author.

    ``lock_timeout`` is in seconds. ``display`` gives, for as long as an operation is run, who is told how far it is:
    the ``observer``, which is set by ``submit`` alone.
    """

    journal: Journal
    author: str
    parent_id: str | None = None
    lock_timeout: float = 5.0
    display: Callable[[], AbstractContextManager[Observer | None]] = nullcontext
    observer: Observer | None = None

    def submit(self, operation: Operation, process_id: str | None = None, *, is_named: bool | None = None) -> str:
        """Run an operation to its end and return its process id.

        With the id of an unfinished process, go on with it; with that of a completed one, do nothing. Raises what the
        operation raises, TVLockError if its locks can't be had in time, TVProcessError if another worker is at it, and
        TVArgumentError if the id belongs to other work. With ``is_named=False`` the id was chosen by us, so that a
        failure reverts.
        """
        current = context.current(self.journal.layout.root)
        if current is not None and current.is_sample:
            raise TVProcessError(
                f"This code runs for a sample, which changes nothing, so {operation.name} is refused. Execute the "
                "instance, or leave that out of what is sampled."
            )
        if context.is_protected(self.journal.layout.root):
            raise TVProcessError(
                f"This code is being rehearsed on a copy of the vault, so {operation.name} is refused here: chaos() "
                f"changes nothing in {self.journal.layout.root}. Leave that out of the function that is rehearsed."
            )
        parent_id = self.parent_id or (current.process_id if current else None)
        is_new = process_id is None and current is None
        if process_id is not None:
            check_process_id(process_id)
            is_named = is_named is not False
        else:
            is_named = False
            process_id = current.next_child_id() if current else new_process_id()
        try:
            with self.display() as observer:
                shown = replace(self, observer=observer)
                start = shown._start(operation, process_id, is_named=is_named, parent_id=parent_id)
                return shown._run(start, is_new=is_new)
        except BaseException as error:
            # It may have come after the end of the process, when the display was closed.
            self._tell_of_interrupt(error, process_id)
            raise

    def _run(self, start: Start, *, is_new: bool) -> str:
        operation, request = start.operation, start.request
        existing = None if is_new else self.journal.find(request.process_id)
        if existing is None or existing.state is State.REVERTED:
            operation.check()
            try:
                return start.run()
            except IdTaken:
                existing = self.journal.get(request.process_id)
                start = self._start(
                    operation, request.process_id, is_named=request.is_named, parent_id=request.parent_id
                )
        match operation.on_existing():
            case Existing.AUTO:
                return self._continue(existing, start)
            case Existing.ERROR:
                raise self._existing_error(existing, operation)
            case Existing.RERUN:
                return self._rerun(existing, start)

    def _tell_of_interrupt(self, error: BaseException, process_id: str) -> None:
        is_interrupt = not isinstance(error, Exception) or isinstance(error, MemoryError)
        if not is_interrupt or any(repr(process_id) in note for note in getattr(error, "__notes__", ())):
            return
        self.journal.catalog.recover()
        row = self.journal.find(process_id)
        if row is not None and row.state is State.COMPLETED:
            error.add_note(HAD_COMPLETED.format(process_id))
        elif row is not None and row.state is State.PAUSED:
            error.add_note(
                f"Process {process_id!r} is paused: call again with the same process_id to go on, or stop_process() it."
            )
        elif row is not None and not row.state.has_ended:
            error.add_note(f"Process {process_id!r} could not be settled; the next who claims it will.")

    def restart(self) -> dict[str, Outcome]:
        """Go on with every top-level process whose worker is dead. One that fails doesn't stop the others.

        Those below a process come after that, if it has ended without them.
        """
        outcomes: dict[str, Outcome] = {}
        while found := self._dead(outcomes):
            for process_id in found:
                outcomes[process_id] = self._restart_one(process_id)
        try:
            self._endings.tidy()
        except Exception:
            log.warning("housekeeping after dead workers failed", exc_info=True)
        return outcomes

    def stop(self, process_id: str, *, force: bool = False, materialize: bool = False) -> str:
        """Revert a process that hasn't ended, or keep what it has done, and return its id.

        Raises TVProcessError if it has ended, or if its worker (or one of a child) lives and ``force`` wasn't given;
        TVArgumentError for an unknown id, or if what it does can't be kept in part.
        """
        stopper = Stopper(self.journal, self._endings, self._life)
        with room.told(self.journal.layout.root):
            return stopper.stop(process_id, force=force, materialize=materialize)

    def pause(self, process_id: str) -> str:
        """Ask a process to pause at the next safe point, and return its id.

        Raises TVProcessError if it has ended or is being stopped, TVArgumentError for an unknown id, or for an
        operation that is too short to be paused.
        """
        with room.told(self.journal.layout.root):
            return self._pauser.pause(process_id)

    def _rerun(self, existing: ProcessRow, start: Start) -> str:
        """Start anew under an id that has a run already.

        What is unfinished is reverted first, but only if the new run can begin. Killed at any point, the same call
        begins anew once more; nothing that was completed is lost by that.
        """
        operation, process_id = start.operation, existing.process_id
        check_same_work(existing, operation)
        operation.check()
        with room.told(self.journal.layout.root), ExitStack() as cleanup:
            lock, row = self._take_on(process_id, cleanup)
            if not row.state.has_ended:
                with self.journal.catalog.snapshot() as db:
                    operation.declare(View(db, self.journal.layout, self.journal.now()))
                self._life.refuse_living_descendants(process_id)
                self._endings.conclude(row)
                row = self.journal.get(process_id)
            if row.state is not State.REVERTED:
                self._renew(operation, process_id)
            again = self._start(
                operation,
                process_id,
                is_named=start.request.is_named,
                parent_id=start.request.parent_id,
                replaces=row.epoch,
            )
            cleanup.pop_all()
        return again.run(lock)

    def _renew(self, operation: Operation, process_id: str) -> None:
        """Bring back what a completed process has used up: an operation of its own, which nobody has named."""
        with self.journal.catalog.snapshot() as db:
            first = operation.renewal(View(db, self.journal.layout, self.journal.now()), process_id)
        if first is not None:
            current = context.current(self.journal.layout.root)
            parent_id = self.parent_id or (current.process_id if current else None)
            self._start(first, new_process_id(), is_named=False, parent_id=parent_id).run()

    def _existing_error(self, existing: ProcessRow, operation: Operation) -> TVProcessError:
        with self.journal.catalog.snapshot() as db:
            record = records.find(db, self.journal.layout, existing.process_id)
        return existing_error(record, is_other_work=is_other_work(existing, operation))

    def _continue(self, existing: ProcessRow, start: Start, *, deaths: int = 0, only_if_same: bool = False) -> str:
        """Go on with a process, or begin anew if it was reverted.

        With ``only_if_same`` nothing is done if anybody else has claimed it since it was ``existing``.
        """
        process_id = existing.process_id
        check_same_work(existing, start.operation)
        if existing.state in (State.COMPLETED, State.MATERIALIZED):
            return process_id
        with room.told(self.journal.layout.root), ExitStack() as cleanup:
            lock, row = self._take_on(process_id, cleanup)
            if row.state in (State.COMPLETED, State.MATERIALIZED) or (only_if_same and row.epoch != existing.epoch):
                return process_id
            if row.state is State.REVERTED:
                cleanup.pop_all()
                return start.run(lock)
            self.journal.make_durable(row)
            with self.journal.catalog.snapshot() as db:
                view = View(db, self.journal.layout, self.journal.now())
                start.operation.check_resume(view, self.journal.layout.process(process_id))
            self._life.refuse_living_descendants(process_id)
            self.journal.reserve.ensure()
            epoch = self.journal.resume(row, start.operation.arguments(), mark=self._mark(process_id), deaths=deaths)
            operation = rebuild(row.operation, {**row.arguments, **start.operation.arguments()})
            run = Run(process_id, epoch, row.named, row.author, row.created_at, self.journal, observer=self.observer)
            cleanup.pop_all()
        return self._driver.drive(operation, run, lock)

    def _take_on(self, process_id: str, cleanup: ExitStack) -> tuple[WorkerLock, ProcessRow]:
        """Take a process's worker lock, which ``cleanup`` lets go of, and end what another worker had begun to end.

        Return the lock, and how the process stands then. Raises TVProcessError if its worker is alive.
        """
        lock = lock_of(self.journal.layout.process(process_id))
        if not lock.acquire():
            raise self._life.running_error(process_id)
        # Not leaving(): a generator that nobody keeps any more is closed, and would let go of the lock.
        cleanup.callback(self._endings.leave, lock, process_id)
        row = self.journal.get(process_id)
        if row.state in (State.REVERTING, State.STOPPING, State.CREATED):
            self._endings.conclude(row)
            row = self.journal.get(process_id)
        return lock, row

    def _dead(self, known: Container[str]) -> list[str]:
        """Return the ids of the processes that ``restart`` is to go on with, but for those that it knows."""
        with self.journal.catalog.snapshot() as db:
            found = [row for row in processes.live(db) if row.parent_id is None or not _is_live(db, row.parent_id)]
        return [
            row.process_id
            for row in found
            if row.process_id not in known and not row.paused_on_request and not self._life.is_alive(row.process_id)
        ]

    def _restart_one(self, process_id: str) -> Outcome:
        # Those before it may have taken hours, and others may have stopped, paused or finished it meanwhile.
        row = self.journal.find(process_id)
        if row is None or row.state.has_ended or row.paused_on_request:
            return self._outcome(process_id)
        deaths = self._deaths_in_vain(row) if row.state is State.RUNNING else 0
        try:
            if row.state in (State.CREATED, State.REVERTING, State.STOPPING):
                with ExitStack() as cleanup:
                    self._take_on(process_id, cleanup)
            elif row.pause_requested_by is not None:
                self._pauser.pause(process_id)
            elif deaths >= MAXIMUM_DEATHS:
                return Outcome(
                    row.state,
                    f"its worker has died {deaths} times in a row without a new row or step, so it isn't started again "
                    f"by itself. Look at get_process({process_id!r}); to start it, call {row.operation} with "
                    f"process_id={process_id!r}.",
                )
            else:
                start = self._start(
                    rebuild(row.operation, row.arguments).for_restart(),
                    process_id,
                    is_named=row.named,
                    parent_id=row.parent_id,
                )
                self._continue(row, start, deaths=deaths, only_if_same=True)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) or is_termination(error):
                raise
            # User code may raise anything: sys.exit(), or what asyncio cancels with.
            told = f"{type(error).__name__}: {message_of(error)}"
            log.warning("process %s was not completed by restart: %s", process_id, told)
            return self._outcome(process_id, told)
        return self._outcome(process_id)

    def _outcome(self, process_id: str, error: str | None = None) -> Outcome:
        row = self.journal.find(process_id)  # none of one that gave its claim back
        return Outcome(State.REVERTED if row is None else row.state, error)

    def _start(
        self,
        operation: Operation,
        process_id: str,
        *,
        is_named: bool,
        parent_id: str | None,
        replaces: int | None = None,
    ) -> Start:
        request = Request(
            operation, process_id, self.author, is_named, parent_id, self.lock_timeout, self.observer, replaces
        )
        return Start(self.journal, self._endings, self._driver, request)

    def _deaths_in_vain(self, row: ProcessRow) -> int:
        """Return how many workers of a process have died in a row without a new row or step, with the last one."""
        return 0 if self._mark(row.process_id) != row.mark else row.deaths + 1

    def _mark(self, process_id: str) -> int:
        with self.journal.catalog.snapshot() as db:
            return records.progress(db, self.journal.layout, process_id)

    @property
    def _pauser(self) -> Pauser:
        return Pauser(self.journal, self._endings, self.author)

    @property
    def _life(self) -> Life:
        return Life(self.journal)

    @property
    def _endings(self) -> Endings:
        return Endings(self.journal)

    @property
    def _driver(self) -> Driver:
        return Driver(self.journal, self._endings)


def _is_live(db: Database, process_id: str) -> bool:
    row = processes.find(db, process_id)
    return row is not None and not row.state.has_ended
