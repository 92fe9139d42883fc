"""Call a function for many rows, and record what comes while it comes: in the calling thread, many rows in one commit.

1. Only what isn't recorded is called. What is recorded is durable before a worker begins the next but one call.
2. Rows that fail are recorded with error, traceback, attempts and cost, and are called again by the next run.
3. On Ctrl-C and SIGTERM what is in flight is awaited and recorded; then KeyboardInterrupt or SystemExit is raised. A
   second one stops waiting.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tablevault_like.engines.attempts import Attempts, is_one_of
from tablevault_like.engines.base import Failed, Interrupted, Stop, Work
from tablevault_like.engines.threads import ThreadEngine
from tablevault_like.mapping.cache import Cache, Finished, first
from tablevault_like.mapping.handing import Handing
from tablevault_like.mapping.limits import Limits
from tablevault_like.mapping.showing import Show
from tablevault_like.model import OnError, Progress
from tablevault_like.process.interrupts import Interrupts

_OUR_FRAMES = ("tablevault_like.engines.", "tablevault_like.mapping.", "tenacity")
_FAST = 0.001
"""Seconds below which a call costs so little that it needn't wait until the one before is recorded."""

_log = logging.getLogger(__name__)


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
    """One run over the rows of a cache."""

    cache: Cache
    limits: Limits
    total: int
    show: Show
    is_costly: bool = False
    """Whether each call costs something, however fast it is."""
    _done: int = 0
    _made: int = 0
    _failed: int = 0
    _skipped: int = 0
    _cost: float = 0.0
    _tokens: int = 0
    _ended_by: str | None = None
    _errors: list[tuple[str, BaseException]] = field(default_factory=list)
    """The first one, and those that end the run."""

    def run(self, pieces: Sequence[Sequence[str]], call: Call, *, done: int) -> None:
        """Call ``call`` for each piece, a few ids, and record what comes. ``done`` rows were recorded before.

        Raises what the function raised, if it is to stop then or too many rows have failed; KeyboardInterrupt or
        SystemExit after a signal.
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
                raise interrupts.exception()

        self.cache.while_busy = give_up_if_abandoned
        began = time.monotonic()
        with self.show, interrupts, interrupts.requesting(stop):
            self.show.update(self._progress())
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
        if interrupts.received:
            error = interrupts.exception()
            error.add_note(f"{self._state()} The same call goes on from there.")
            raise error
        self._tell_end()

    def _record(self, outcomes: Sequence[tuple[Outcome, float]]) -> None:
        rows = []
        told: dict[int, tuple[str, list[str]]] = {}
        for each, seconds in outcomes:
            row = Finished(each.row_id, each.json_result, each.attempts, seconds, each.cost, each.tokens)
            if each.error is not None:
                row.error, row.traceback = described(each.error), _traceback(each.error)
                row.is_skipped = self.limits.on_error is OnError.NULL and isinstance(each.error, Exception)
                if not self._errors or self._is_fatal((each.row_id, each.error)):
                    self._errors.append((each.row_id, each.error))
                told.setdefault(id(each.error), (row.error, []))[1].append(each.row_id)
            rows.append(row)
            self._cost += each.cost or 0.0
            self._tokens += each.tokens or 0
        if rows:
            self.cache.record(rows)
            for why, names in told.values():
                _log.warning("%s failed: %s", f"{'rows' if names[1:] else 'row'} {first(names)}", why)
            failed = sum(row.json_result is None for row in rows)
            self._skipped += sum(row.is_skipped for row in rows)
            self._failed += failed
            self._made += len(rows) - failed
            self._done += len(rows) - failed
            self.show.update(self._progress())

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
            if used_up is not None and self._done + self._failed < self.total:
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

    def _progress(self) -> Progress:
        reused = self._done - self._made
        return Progress(self._done, self._failed, self.total, reused, skipped=self._skipped)


def described(error: BaseException) -> str:
    """Return class and message of an error in one text."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - the error of somebody else's class may do anything
        message = "(its message can't be had)"
    return f"{type(error).__qualname__}: {message}" if message else type(error).__qualname__


def _traceback(error: BaseException) -> str:
    """Return the traceback of an error without the frames of ours that called user code."""
    where = error.__traceback__
    while where is not None and where.tb_frame.f_globals.get("__name__", "").startswith(_OUR_FRAMES):
        where = where.tb_next
    return "".join(traceback.format_exception(type(error), error, where, chain=error.__cause__ is not None))
