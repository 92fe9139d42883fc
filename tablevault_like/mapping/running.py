"""Call a function for many rows, and record what comes while it comes: in the calling thread, many rows in one commit.

1. Only what isn't recorded is called. What is recorded is durable before a worker begins the next but one call.
2. Rows that fail are recorded with error, traceback, attempts and cost, and are called again by the next run.
3. On Ctrl-C and SIGTERM what is in flight is awaited and recorded; then KeyboardInterrupt or SystemExit is raised. A
   second one stops waiting.
4. What runs within a process of a vault, or within a row of another run, is stopped with it: what is in flight is
   awaited and recorded; then Interrupted is raised, unless nothing was left.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from tablevault_like.engines.attempts import Attempts, is_one_of
from tablevault_like.engines.base import Failed, Interrupted, Stop, Work
from tablevault_like.engines.threads import ThreadEngine
from tablevault_like.mapping.cache import Cache, Finished, first
from tablevault_like.mapping.handing import Handing
from tablevault_like.mapping.limits import Limits
from tablevault_like.model import OnError, Progress
from tablevault_like.process import context
from tablevault_like.process.interrupts import Interrupts
from tablevault_like.process.run import Observer

_OUR_FRAMES = ("tablevault_like.engines.", "tablevault_like.mapping.", "tenacity")
_FAST = 0.001
"""Seconds below which a call costs so little that it needn't wait until the one before is recorded."""

_log = logging.getLogger(__name__)

_stop: ContextVar[Stop | None] = ContextVar("tablevault_like_mapping_stop", default=None)
"""The stop of the run whose function the running code is in."""


@dataclass(slots=True)
class Outcome:
    """What came of one row: the text of its value, or an error; and what it took."""

    row_id: str
    json_result: str | None = None
    error: BaseException | None = None
    attempts: int = 1
    cost: float | None = None
    tokens: int | None = None


Call = Callable[[Sequence[str], Attempts], list[Outcome]]
"""Computes some rows, by their ids. Raises nothing but Interrupted, if none of them was begun."""


@dataclass
class Running:
    """One run over the rows of a cache. ``observer`` is told how far ``step`` is."""

    cache: Cache
    limits: Limits
    step: str
    total: int
    observer: Observer | None = None
    is_costly: bool = False
    """Whether each call costs something, however fast it is."""
    _done: int = 0
    _made: int = 0
    _failed: int = 0
    """How many rows have failed in this run, those that are left empty too."""
    _skipped: int = 0
    _cost: float = 0.0
    _tokens: int = 0
    _ended_by: str | None = None
    _errors: list[tuple[str, BaseException]] = field(default_factory=list)
    """The first one, and those that end the run."""

    def run(self, pieces: Sequence[Sequence[str]], call: Call, *, done: int) -> None:
        """Call ``call`` for each piece, a few ids, and record what comes. ``done`` rows were recorded before.

        Raises what the function raised, if it is to stop then or too many rows have failed; KeyboardInterrupt or
        SystemExit after a signal; Interrupted if it was stopped by what it runs within.
        """
        self._done = done
        if not pieces:
            return
        engine, stop, interrupts = ThreadEngine(), Stop(), Interrupts()
        limits = self.limits
        attempts = Attempts(engine, stop, retries=limits.retries, timeout=limits.timeout, rate=limits.rate)
        workers = min(limits.workers, len(pieces))
        handing = Handing(pieces, limit=2 * workers, stop=stop)

        def compute(work: Work) -> tuple[list[Outcome], float, bool]:
            started = time.perf_counter()
            outcomes = call(pieces[work.index or 0], attempts)
            took = time.perf_counter() - started
            failed = [(each.row_id, each.error) for each in outcomes if each.error is not None]
            if failed and (limits.on_error is OnError.STOP or any(map(self._is_fatal, failed))):
                handing.close()  # at once, not when this is recorded
            may_go_on = took < _FAST and not self.is_costly and not failed
            if may_go_on:
                handing.settle()
            return outcomes, took, may_go_on

        def give_up_if_abandoned() -> None:
            if stop.abandoned:
                raise self._interruption(interrupts)

        self.cache.while_busy = give_up_if_abandoned
        began = time.monotonic()
        with interrupts, interrupts.requesting(stop), _within(stop):
            self._tell()
            try:
                with engine.map(compute, handing, stop=stop, workers=workers) as calls:
                    for batch in calls:
                        outcomes = [each.value for each in batch if not isinstance(each, Failed)]
                        self._record([(one, took) for many, took, _ in outcomes for one in many])
                        handing.settle(sum(not is_settled for _, _, is_settled in outcomes))
                        for each in batch:
                            if isinstance(each, Failed) and not isinstance(each.error, Interrupted):
                                raise each.error  # a defect of ours
                        self._end_early(time.monotonic() - began)
                        if self._ended_by is not None:
                            calls.cease()
            finally:
                handing.close()
        if interrupts.received or (stop.requested and self._left):
            raise self._interruption(interrupts)
        self._tell(is_done=not self._left)
        self._tell_end()

    def _interruption(self, interrupts: Interrupts) -> BaseException:
        """Return what a stop before the end is raised as."""
        error = interrupts.exception() if interrupts.received else Interrupted()
        error.add_note(f"{self._state()} The same call goes on from there.")
        return error

    def _record(self, outcomes: Sequence[tuple[Outcome, float]]) -> None:
        rows = []
        told: dict[str, list[str]] = {}
        for each, seconds in outcomes:
            row = Finished(each.row_id, each.json_result, each.attempts, seconds, each.cost, each.tokens)
            if each.error is not None:
                row.error, row.traceback = described(each.error), _traceback(each.error)
                row.is_skipped = self.limits.on_error is OnError.NULL and isinstance(each.error, Exception)
                if not self._errors or self._is_fatal((each.row_id, each.error)):
                    self._errors.append((each.row_id, each.error))
                told.setdefault(row.error, []).append(each.row_id)
            rows.append(row)
            self._cost += each.cost or 0.0
            self._tokens += each.tokens or 0
        if rows:
            self.cache.record(rows)
            for why, names in told.items():
                _log.warning("%s failed: %s", f"{'rows' if names[1:] else 'row'} {first(names)}", why)
            failed = sum(row.json_result is None for row in rows)
            self._skipped += sum(row.is_skipped for row in rows)
            self._failed += failed
            self._made += len(rows) - failed
            self._done += len(rows) - failed
            self._tell()

    def _end_early(self, seconds: float) -> None:
        """Find out whether nothing more is to be begun, and why."""
        limits = self.limits
        if self._ended_by is not None:
            return
        if self._errors and (limits.on_error is OnError.STOP or any(map(self._is_fatal, self._errors))):
            self._ended_by = "an error"
        elif limits.max_failures is not None and limits.max_failures.are_exceeded(self._failed, total=self.total):
            self._ended_by = f"{self._failed} of {self.total} rows failed, which is more than max_failures allows"
        elif limits.budget is not None:
            used_up = limits.budget.used_up(seconds=seconds, rows=self._made, failures=self._failed, cost=self._cost)
            if used_up is not None and self._left:
                self._ended_by = f"budget used up ({used_up})"
                _log.warning("%s; %s The same call goes on from there.", self._ended_by, self._state())
                self._errors.clear()  # it isn't for them that it ended

    def _is_fatal(self, failure: tuple[str, BaseException]) -> bool:
        return not isinstance(failure[1], Exception) or bool(
            self.limits.fatal and is_one_of(failure[1], self.limits.fatal)
        )

    def _tell_end(self) -> None:
        if self._ended_by is not None and self._errors:
            name, error = next((each for each in self._errors if self._is_fatal(each)), self._errors[0])
            why = "" if self._ended_by == "an error" else f" {self._ended_by}."
            error.add_note(f"This was for the row {name!r}.{why} {self._state()} The same call goes on from there.")
            raise error
        if self._failed:
            _log.warning(
                "%d of %d rows failed; the table 'failures' in %s tells why. The next run tries them again%s.",
                *(self._failed, self.total, self.cache.path),
                ", but for those that on_error left empty" if self._skipped else "",
            )

    def _state(self) -> str:
        return f"{self._done} of {self.total} rows are recorded in {self.cache.path}."

    @property
    def _left(self) -> int:
        """How many rows haven't been called."""
        return self.total - self.cache.skipped - self._done - self._failed

    def _tell(self, *, is_done: bool = False) -> None:
        if self.observer is not None:
            failed, skipped = self._failed - self._skipped, self._skipped + self.cache.skipped
            reused = self._done - self._made
            progress = Progress(
                self._done, failed, self.total, reused, skipped=skipped, cost=self._cost, tokens=self._tokens
            )
            self.observer(self.step, progress, is_done)


def stops_above() -> list[Stop]:
    """Return the stops of what the running code is part of: of a process in a vault, and of another run over rows."""
    return [stop for stop in (context.stop_above(), _stop.get()) if stop is not None]


@contextmanager
def _within(stop: Stop) -> Iterator[None]:
    """Stop with what this is part of, and let the rows of this run be part of it.

    If what is above stops waiting for its functions, this goes on to wait for those that it has called: it is one of
    the functions that are still running.
    """
    with ExitStack() as cleanup:
        for above in stops_above():
            cleanup.callback(above.subscribe(stop.request))
        cleanup.callback(_stop.reset, _stop.set(stop))
        yield


def described(error: BaseException) -> str:
    """Return class and message of an error in one text, which any file can hold."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - the error of somebody else's class may do anything
        message = "(its message can't be had)"
    return _writable(f"{type(error).__qualname__}: {message}" if message else type(error).__qualname__)


def _traceback(error: BaseException) -> str:
    """Return the traceback of an error without the frames of ours that called user code."""
    where = error.__traceback__
    while where is not None and where.tb_frame.f_globals.get("__name__", "").startswith(_OUR_FRAMES):
        where = where.tb_next
    return _writable("".join(traceback.format_exception(type(error), error, where, chain=error.__cause__ is not None)))


def _writable(text: str) -> str:
    """Return a text without lone surrogates, as names of files may have them, which are no characters."""
    return text.encode("utf-8", "backslashreplace").decode()
