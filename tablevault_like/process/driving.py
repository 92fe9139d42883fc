"""Bring a claimed process to its end, and settle what becomes of it when that raises.

After any exception the catalog is read before anything is decided, because a commit may have happened although it
raised:

=============================  ==================================================================
what the catalog says          what is done
=============================  ==================================================================
completed                      nothing; the error is raised with a note that it completed
another epoch, or STOPPING     nothing: this worker is fenced; the error is raised
RUNNING, with an id given      paused, unless it is an error of ours and nothing is recorded yet
anything else                  reverted
=============================  ==================================================================
"""

from __future__ import annotations

import logging
import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tablevault_like.catalog import processes
from tablevault_like.engines.base import Interrupted, UserCodeError
from tablevault_like.errors import FencedError, TableVaultError, TVArtifactError, TVTableError
from tablevault_like.locks import WorkerLock
from tablevault_like.model import State
from tablevault_like.process import context
from tablevault_like.process.endings import Endings
from tablevault_like.process.journal import Journal
from tablevault_like.process.life import Life
from tablevault_like.process.operation import Operation
from tablevault_like.process.run import LOCAL_RUNS, Run
from tablevault_like.process.stopping import Stopper

log = logging.getLogger("tablevault_like")

TAKEN_OVER = "Process {!r} was taken over or stopped meanwhile; nothing was undone here."


@dataclass(frozen=True)
class Driver:
    """Runs claimed processes of one vault."""

    journal: Journal
    endings: Endings

    def drive(self, operation: Operation, run: Run, lock: WorkerLock) -> str:
        """Bring a claimed process to its end. Lets go of the worker lock, whatever happens."""
        LOCAL_RUNS[run.process_id] = run
        failure: BaseException | None = None
        try:
            with run.interrupts, self._as_current(run):
                try:
                    self._perform(operation, run)
                    self.endings.finish(operation, run)
                except BaseException as error:  # noqa: BLE001 - it is raised again
                    failure = self._settle(operation, run, error)
        finally:
            self._let_go(operation, run, lock)
        if failure is not None:
            # Not in the handler: what the caller sees is the error of the user's own code, without our way to it.
            raise failure
        return run.process_id

    def _perform(self, operation: Operation, run: Run) -> None:
        with self.journal.catalog.snapshot() as db:
            state = processes.is_current(db, run.process_id, run.epoch)
        if state is State.CREATED:
            operation.keep(run)
            with self.journal.changing(run.process_id, run.epoch) as db:
                self.journal.advance(db, run.process_id, run.epoch, State.CREATED, State.RUNNING)
        run.made = operation.execute(run)
        with self.journal.changing(run.process_id, run.epoch) as db:
            operation.publish(run, db)
            processes.set_error(db, run.process_id, None)
            self.journal.advance(db, run.process_id, run.epoch, State.RUNNING, State.COMPLETED)

    def _settle(self, operation: Operation, run: Run, error: BaseException) -> BaseException:
        """Decide by the catalog what becomes of a process that raised, and return what the caller is to see."""
        cause = _cause(run, error)
        self.journal.catalog.recover()
        try:
            state = self._state_of_claim(run)
            if state is State.COMPLETED:
                cause.add_note(f"The operation had completed: process {run.process_id!r} is done.")
                self.endings.finish(operation, run)
            elif state is None or state is State.STOPPING or state.has_ended:
                cause.add_note(TAKEN_OVER.format(run.process_id))
            elif not run.is_idle:
                run.left_over = error
                cause.add_note(
                    f"Functions of process {run.process_id!r} are still running, and weren't waited for. It is "
                    f"{'paused' if run.is_named else 'reverted'} as soon as they return; if this Python ends before, "
                    "it counts as interrupted."
                )
            else:
                self._pause_or_revert(operation, run, error, cause)
        except FencedError:
            cause.add_note(TAKEN_OVER.format(run.process_id))
        except Exception as failure:
            # The process stays as it is, without a worker: whoever claims it next finishes this.
            cause.add_note(f"Process {run.process_id!r} could not be settled ({failure}); the next who claims it will.")
            log.warning("process %s could not be settled", run.process_id, exc_info=True)
        return cause

    def _pause_or_revert(self, operation: Operation, run: Run, error: BaseException, cause: BaseException) -> None:
        if self._state_of_claim(run) is State.RUNNING and self._is_to_pause(operation, run, error, cause):
            self.journal.pause(run.process_id, run.epoch, cause)
            cause.add_note(
                f"Process {run.process_id!r} is paused: call again with the same process_id to go on, or "
                "stop_process() it."
            )
        else:
            # From now on it gets no more children, and those that run elsewhere must not outlive it.
            self.journal.begin_revert(run.process_id, run.epoch, cause)
            Stopper(self.journal, self.endings, Life(self.journal)).stop_children(run.process_id)
            self.endings.revert(operation, run, cause)
            cause.add_note(f"Process {run.process_id!r} was reverted.")

    def _is_to_pause(self, operation: Operation, run: Run, error: BaseException, cause: BaseException) -> bool:
        if not run.is_named:
            return False
        is_own = isinstance(cause, TableVaultError) and not isinstance(cause, TVTableError | TVArtifactError)
        if isinstance(error, UserCodeError) or not is_own:
            return True
        with self.journal.catalog.snapshot() as db:
            if processes.has_finished_step(db, run.process_id):
                return True
        return operation.has_progress(run.files)

    def _state_of_claim(self, run: Run) -> State | None:
        with self.journal.catalog.snapshot() as db:
            return processes.is_current(db, run.process_id, run.epoch)

    def _let_go(self, operation: Operation, run: Run, lock: WorkerLock) -> None:
        """Release the worker lock; if threads that were left behind still run user code, only when they have returned.

        Until then the worker counts as alive, which it is; the process is paused or reverted only afterwards, when
        nothing of it can write any more.
        """
        if run.is_idle and run.left_over is None:
            self._release(run, lock)
            return

        def wait() -> None:
            try:
                for engine in run.engines:
                    engine.wait()
                if run.left_over is not None:
                    self._pause_or_revert(operation, run, run.left_over, _cause(run, run.left_over))
            except Exception:
                log.warning("process %s could not be settled", run.process_id, exc_info=True)
            finally:
                self._release(run, lock)

        threading.Thread(target=wait, name=f"tablevault-{run.process_id}", daemon=True).start()

    def _release(self, run: Run, lock: WorkerLock) -> None:
        LOCAL_RUNS.pop(run.process_id, None)
        with self.endings.leaving(lock, run.process_id):
            pass

    def _as_current(self, run: Run) -> AbstractContextManager[context.Current]:
        inherited = context.current(self.journal.layout.root)
        if inherited is not None:
            # A child is stopped with its parent.
            run.stop = inherited.stop
        return context.running(context.Current(self.journal.layout.root, run.process_id, run.stop))


def _cause(run: Run, error: BaseException) -> BaseException:
    """Return what the caller is to see: the user code's own exception, or what a signal stands for."""
    if isinstance(error, UserCodeError):
        return error.original
    if isinstance(error, Interrupted):
        return run.interrupts.exception()
    return error
