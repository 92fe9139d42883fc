"""Bring a claimed process to its end, and settle what becomes of it when that raises.

After any exception the catalog is read before anything is decided, because a commit may have happened although it
raised:

=============================  ==================================================================
what the catalog says          what is done
=============================  ==================================================================
completed                      nothing; the error is raised with a note that it completed
another epoch, or STOPPING     nothing: this worker is fenced; the error is raised
RUNNING, a pause asked for     paused on request, with an id or without
RUNNING, an operation that     the same: it is to be gone on with by this one
user code called was paused
RUNNING, with an id given      paused, unless it is an error of ours and nothing is recorded yet
RUNNING, stopped with its      paused, if the topmost one has an id that was given, or is paused on request: whose row
parent                         runs again goes on with it
anything else                  reverted
=============================  ==================================================================
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass

from tablevault_like.catalog import processes
from tablevault_like.engines.base import Interrupted, UserCodeError
from tablevault_like.errors import FencedError, TableVaultError, TVArtifactError, TVPausedError, TVTableError
from tablevault_like.locks import WorkerLock
from tablevault_like.model import Pause, State
from tablevault_like.process import context
from tablevault_like.process.endings import Endings
from tablevault_like.process.journal import Journal, fenced_error
from tablevault_like.process.life import Life
from tablevault_like.process.memory import Memory
from tablevault_like.process.operation import Operation
from tablevault_like.process.pauses import listening
from tablevault_like.process.run import LOCAL_RUNS, Run
from tablevault_like.process.stopping import Stopper
from tablevault_like.storage import files, reach, room

log = logging.getLogger("tablevault_like")

HAD_COMPLETED = "The operation had completed: process {!r} is done."
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
        is_settled = False
        try:
            with run.interrupts, self._as_current(run), listening(run) if operation.can_pause else nullcontext():
                try:
                    self._perform(operation, run)
                    self.endings.finish(operation, run)
                except BaseException as error:  # noqa: BLE001 - it is raised again
                    failure = self._settle(operation, run, error)
                    is_settled = True
        except BaseException as error:
            # An interrupt that came before all of that was entered, or while it was left.
            if is_settled:
                raise
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
            memory = Memory.of(db, run, operation)
        if state is State.CREATED:
            operation.keep(run)
        self._remember(memory, operation, run, state)
        run.made = operation.execute(run)
        with self.journal.changing(run.process_id, run.epoch) as db:
            operation.publish(run, db)
            processes.set_error(db, run.process_id, None)
            self.journal.advance(db, run.process_id, run.epoch, State.RUNNING, State.COMPLETED)

    def _remember(self, memory: Memory, operation: Operation, run: Run, state: State | None) -> None:
        """Keep what a process is, and let one whose inputs are kept run."""
        if not operation.keeps_inputs and not run.is_named:
            # Whoever comes next reverts it, so it needn't outlive a loss of power. And an id that nobody has given is
            # never another's, over whose memory this could be put.
            reach.rename(memory.draft(run.files, is_durable=False), run.files.record)
            return
        draft = memory.draft(run.files)
        with self.journal.changing(run.process_id, run.epoch) as db:
            files.replace(draft, run.files.record)
            if state is State.CREATED:
                self.journal.advance(db, run.process_id, run.epoch, State.CREATED, State.RUNNING)

    def _settle(self, operation: Operation, run: Run, error: BaseException) -> BaseException | None:
        """Decide by the catalog what becomes of a process that raised, and return what the caller is to see.

        That is nothing if the process is paused because this very call asked for it.
        """
        cause = _cause(run, error)
        if (below := _paused_below(error)) is not None:
            run.ask_to_pause(Pause(f"{below.process_id!r}, which its code called, is paused", is_by_caller=False))
        self.journal.catalog.recover()
        try:
            state = self._state_of_claim(run)
            if state is State.COMPLETED:
                cause.add_note(HAD_COMPLETED.format(run.process_id))
                self.endings.finish(operation, run)
            elif state is None or state is State.STOPPING or state.has_ended:
                if isinstance(error, Interrupted) and not run.interrupts.received:
                    cause = fenced_error(run.process_id)
                cause.add_note(TAKEN_OVER.format(run.process_id))
            elif not run.is_idle and _is_asked(run, error):
                run.left_over = error
                log.warning(
                    "functions of process %s are still running, and weren't waited for: it is paused when they return",
                    run.process_id,
                )
                return self._paused_error(run, below)
            elif not run.is_idle:
                run.left_over = error
                cause.add_note(
                    f"Functions of process {run.process_id!r} are still running, and weren't waited for. It is "
                    f"{'paused' if run.is_named else 'reverted'} as soon as they return; if this Python ends before, "
                    "it counts as interrupted."
                )
            elif _is_asked(run, error) and state is State.RUNNING:
                return self.journal.reserve.insist(lambda: self._pause_on_request(run, below))
            else:
                self.journal.reserve.insist(lambda: self._pause_or_revert(operation, run, error, cause))
        except FencedError:
            cause.add_note(TAKEN_OVER.format(run.process_id))
        except Exception as failure:
            # The process stays as it is, without a worker: whoever claims it next finishes this.
            cause.add_note(f"Process {run.process_id!r} could not be settled ({failure}); the next who claims it will.")
            log.warning("process %s could not be settled", run.process_id, exc_info=True)
        return cause

    def _pause_on_request(self, run: Run, below: TVPausedError | None = None) -> TVPausedError | None:
        assert run.pause is not None
        self.journal.pause_on_request(run.process_id, run.epoch, run.pause)
        log.info("process %s is paused: %s", run.process_id, run.pause.reason)
        return self._paused_error(run, below)

    def _paused_error(self, run: Run, below: TVPausedError | None) -> TVPausedError | None:
        """Return what the caller is told of a pause: nothing if it was the caller's own wish."""
        assert run.pause is not None
        if run.pause.is_by_caller:
            return None
        error = TVPausedError(
            f"Process {run.process_id!r} was paused: {run.pause.reason}. Call again with the same process_id to go on, "
            "or stop_process() it.",
            process_id=run.process_id,
        )
        error.__cause__ = below
        return error

    def _pause_or_revert(self, operation: Operation, run: Run, error: BaseException, cause: BaseException) -> None:
        if self._state_of_claim(run) is State.RUNNING and self._is_to_pause(operation, run, error):
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

    def _is_to_pause(self, operation: Operation, run: Run, error: BaseException) -> bool:
        if not self._is_named(run) and not (isinstance(error, Interrupted) and self._is_below_named(run)):
            return False
        # What the disk refused is told in our words, but is no fault of what was asked for.
        is_own = isinstance(error, TableVaultError) and not isinstance(error, TVTableError | TVArtifactError)
        if isinstance(error, UserCodeError) or not is_own:
            return True
        with self.journal.catalog.snapshot() as db:
            if processes.has_finished_step(db, run.process_id):
                return True
        return operation.has_progress(run.files)

    def _is_named(self, run: Run) -> bool:
        """Tell whether somebody means to come back to a process: who has named it, or asked meanwhile for a pause."""
        with self.journal.catalog.snapshot() as db:
            return run.is_named or processes.get(db, run.process_id).named

    def _is_below_named(self, run: Run) -> bool:
        """Tell whether a process that was stopped with its parent will be gone on with by it."""
        with self.journal.catalog.snapshot() as db:
            above = processes.ancestors(db, processes.get(db, run.process_id).parent_id)
            top = processes.find(db, above[-1]) if above else None
        if top is None or top.state.has_ended:
            return False
        # What is about to be paused on request gets its owner only then.
        return top.named or any(each in LOCAL_RUNS and LOCAL_RUNS[each].pause is not None for each in above)

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
                    self.journal.reserve.insist(lambda: self._settle_left_over(operation, run))
            except Exception:
                log.warning("process %s could not be settled", run.process_id, exc_info=True)
            finally:
                self._release(run, lock)

        threading.Thread(target=wait, name=f"tablevault-{run.process_id}", daemon=True).start()

    def _settle_left_over(self, operation: Operation, run: Run) -> None:
        assert run.left_over is not None
        if _is_asked(run, run.left_over):
            self._pause_on_request(run)
        else:
            self._pause_or_revert(operation, run, run.left_over, _cause(run, run.left_over))

    def _release(self, run: Run, lock: WorkerLock) -> None:
        LOCAL_RUNS.pop(run.process_id, None)
        with self.endings.leaving(lock, run.process_id):
            pass

    @contextmanager
    def _as_current(self, run: Run) -> Iterator[None]:
        """Let operations in user code become children of a run, which are stopped with it, but not it with them."""
        inherited = context.current(self.journal.layout.root)
        stop = run.stop
        with ExitStack() as cleanup:
            if inherited is not None:
                above = inherited.stop
                cleanup.callback(above.subscribe(lambda: stop.abandon() if above.abandoned else stop.request()))
            cleanup.enter_context(context.running(context.Current(self.journal.layout.root, run.process_id, stop)))
            yield


def _is_asked(run: Run, error: BaseException) -> bool:
    """Tell whether a run ended early for nothing but a pause that somebody had asked for."""
    is_pause = isinstance(error, Interrupted) or _paused_below(error) is not None
    return run.pause is not None and is_pause and not run.interrupts.received


def _paused_below(error: BaseException) -> TVPausedError | None:
    """Return what tells that an operation was paused which user code called."""
    if isinstance(error, UserCodeError) and isinstance(error.original, TVPausedError):
        return error.original
    return None


def _cause(run: Run, error: BaseException) -> BaseException:
    """Return what the caller is to see: the user code's own exception, or what a signal stands for."""
    if isinstance(error, UserCodeError):
        return error.original
    if isinstance(error, Interrupted):
        return run.interrupts.exception()
    return room.in_words(error, run.layout.root) or error
