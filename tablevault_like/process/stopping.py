"""Stop processes: fence the workers, end them, and then undo or keep what they have done. Leaves of the tree first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Self

from tablevault_like.catalog import locks, processes
from tablevault_like.errors import TVArgumentError, TVProcessError
from tablevault_like.locks import WorkerLock, lock_of
from tablevault_like.model import State, StopIntent, check_process_id
from tablevault_like.process.endings import Endings
from tablevault_like.process.journal import Journal
from tablevault_like.process.life import Life
from tablevault_like.process.operation import rebuild
from tablevault_like.process.run import LOCAL_RUNS
from tablevault_like.process.workers import Fenced, end_workers


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
        if self._is_waiting(check_process_id(process_id)):
            self.endings.forget_waiter(process_id)
            return process_id
        row = self.journal.get(process_id)
        if row.state.has_ended:
            raise TVProcessError(
                f"Process {process_id!r} has ended ({row.state.lower()}), so there is nothing to stop.",
                process_id=process_id,
            )
        if materialize and not rebuild(row.operation, row.arguments).can_materialize:
            raise TVArgumentError(
                f"What {row.operation} has done can't be kept in part. Stop it without materialize=True."
            )
        if not force:
            self.life.refuse_living_tree(process_id, materialize=materialize)
        with _Tree(self.journal, self.endings, self.life, force=force) as tree:
            tree.fence(process_id, StopIntent.MATERIALIZE if materialize else StopIntent.REVERT)
            tree.end()
        return process_id

    def _is_waiting(self, process_id: str) -> bool:
        """Tell whether all there is of a process is a place in the queue, left behind by a worker that died.

        Raises TVProcessError if that worker lives.
        """
        with self.journal.catalog.snapshot() as db:
            waiter = locks.waiting(db, process_id)
            row = processes.find(db, process_id)
        if waiter is None or (row is not None and not row.state.has_ended):
            return False
        if self.life.is_alive(process_id):
            raise TVProcessError(
                f"Process {process_id!r} waits for its locks and hasn't begun, so there is nothing to stop. Wait until "
                f"it gives up, or interrupt its worker (on {waiter.host}, pid {waiter.pid}).",
                process_id=process_id,
            )
        return True

    def stop_children(self, process_id: str, *, force: bool = True) -> None:
        """Revert what is live below a process that was fenced or is being reverted, leaves first.

        Raises TVProcessError if a worker lives there and ``force`` wasn't given, or if it can't be ended.
        """
        with _Tree(self.journal, self.endings, self.life, force=force) as tree:
            tree.fence_children(process_id, None)
            tree.end()


@dataclass(frozen=True)
class _Member:
    """A process of a tree that was fenced with ``epoch``; its worker lock is held here if ``is_free``."""

    process_id: str
    parent: _Member | None
    lock: WorkerLock
    is_free: bool
    epoch: int

    @property
    def ancestors(self) -> Iterator[_Member]:
        member = self
        while member.parent is not None:
            member = member.parent
            yield member

    @property
    def top(self) -> str:
        """The id of the process at the top of the tree."""
        return [self, *self.ancestors][-1].process_id


class _Tree:
    """A process and what is live below it, to be stopped together.

    All are fenced first, parents before their children: a parent that is fenced gets no more of them. Then all of the
    workers are ended at once, and each process is concluded after those below it.
    """

    def __init__(self, journal: Journal, endings: Endings, life: Life, *, force: bool) -> None:
        self._journal = journal
        self._endings = endings
        self._life = life
        self._force = force
        self._locks: list[WorkerLock] = []
        self._fenced: list[_Member] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for lock in self._locks:
            lock.release()

    def fence(self, process_id: str, intent: StopIntent, parent: _Member | None = None) -> None:
        """Fence a process and all that is live below it.

        Raises TVProcessError if it has ended by itself, or if its worker lives and may not be ended.
        """
        lock = lock_of(self._journal.layout.process(process_id))
        self._locks.append(lock)
        is_free = lock.acquire()
        if not is_free and not self._force:
            raise self._life.running_error(process_id, above=None if parent is None else parent.top)
        try:
            epoch = self._journal.reserve.insist(lambda: self._journal.begin_stop(process_id, intent))
        except TVProcessError:
            if is_free:
                self._endings.leave(lock, process_id)
            raise
        member = _Member(process_id, parent, lock, is_free, epoch)
        self._fenced.append(member)
        self.fence_children(process_id, member)

    def fence_children(self, process_id: str, parent: _Member | None) -> None:
        """Fence what is live below a process."""
        with self._journal.catalog.snapshot() as db:
            children = processes.live_children(db, process_id)
        for child in children:
            try:
                self.fence(child.process_id, StopIntent.REVERT, parent)
            except TVProcessError:
                # A child that ends by itself in between is as good.
                if not self._journal.get(child.process_id).state.has_ended:
                    raise

    def end(self) -> None:
        """End the workers, and conclude the processes, leaves first, as far as their workers have ended.

        Raises TVProcessError for the first worker that couldn't be ended.
        """
        leaves_first = self._fenced[::-1]
        errors = end_workers(
            Fenced(each.process_id, each.lock, partial(self._is_replaced, each), LOCAL_RUNS.get(each.process_id))
            for each in leaves_first
            if not each.is_free
        )
        above = {above.process_id for each in leaves_first if each.process_id in errors for above in each.ancestors}
        for member in leaves_first:
            if member.process_id not in {*errors, *above} and not self._is_replaced(member):
                with self._endings.leaving(member.lock, member.process_id):
                    self._endings.conclude(self._journal.get(member.process_id))
        if errors:
            raise next(iter(errors.values()))

    def _is_replaced(self, member: _Member) -> bool:
        """Tell whether somebody else has finished a stop since it began here, and perhaps used the id again."""
        row = self._journal.find(member.process_id)
        return row is None or (row.epoch != member.epoch and row.state not in (State.STOPPING, State.REVERTING))
