"""Call user code as often as it may be tried, no faster than its rate, and no longer than its time.

1. What a call costs is counted, whether it succeeds or not: ``Result`` says so, or attributes ``cost`` and ``tokens``
   of an exception.
2. A service that says when to come back (``Retry-After``) is asked again then, not before.
3. A stop ends waiting at once. What had failed until then is a failure like any other, so that its cost is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tablevault_like.engines.base import Engine, Interrupted, Stop
from tablevault_like.engines.pace import Pace, sleep
from tablevault_like.errors import TVPausedError
from tablevault_like.limits import Rate, Retries
from tablevault_like.model import Result

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")


@dataclass(slots=True)
class Tried(Generic[T]):
    """What a call returned in the end: after how many attempts, and at which price. None is a price nobody told."""

    value: T
    attempts: int = 1
    cost: float | None = None
    tokens: int | None = None


class CallFailed(Exception):  # noqa: N818 - it carries an error
    """Carry what the last attempt raised, as ``original``, with how many there were and what they cost.

    ``was_stopped`` tells that it would have been tried again, but for a stop.
    """

    def __init__(
        self,
        original: BaseException,
        attempts: int,
        cost: float | None,
        tokens: int | None,
        *,
        was_stopped: bool = False,
    ) -> None:
        super().__init__(original)
        self.original = original
        self.attempts = attempts
        self.cost = cost
        self.tokens = tokens
        self.was_stopped = was_stopped


class Attempts:
    """How the function of one builder is called. Workers may share it."""

    def __init__(
        self,
        engine: Engine,
        stop: Stop,
        *,
        retries: Retries | None = None,
        timeout: float | None = None,
        rate: Rate | None = None,
    ) -> None:
        self._engine = engine
        self._stop = stop
        self._retries = retries or Retries()
        self._timeout = timeout
        self._pace = None if rate is None else Pace(rate)

    def call(self, function: Callable[[], object]) -> Tried[object]:
        """Call ``function`` until it returns, or may not be tried again.

        Raises CallFailed with the last error; Interrupted if it was to stop before the first attempt had begun.
        """
        count = _Count()
        retrying = None if self._retries.attempts == 1 else self._retrying()
        try:
            value = self._attempt(function, count) if retrying is None else retrying(self._attempt, function, count)
        except Interrupted:
            if count.last_error is None:
                raise
            raise CallFailed(
                count.last_error, count.attempts, count.cost, count.tokens, was_stopped=True
            ) from count.last_error
        except BaseException as error:
            raise CallFailed(error, count.attempts, count.cost, count.tokens) from error
        return Tried(value, count.attempts, count.cost, count.tokens)

    def _attempt(self, function: Callable[[], object], count: _Count) -> object:
        if self._pace is not None:
            self._pace.keep(self._stop)
        count.attempts += 1
        try:
            value = function() if self._timeout is None else self._engine.call_within(function, self._timeout)
        except BaseException as error:
            count.last_error = error
            count.add(*price_of(error))
            raise
        if isinstance(value, Result):
            count.add(value.cost, value.tokens)
            return value.values
        return value

    def _retrying(self) -> Callable[..., object]:
        # Imported here: it takes long to import, and few builders need it.
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

        retries, stop = self._retries, self._stop
        usual = wait_exponential(multiplier=retries.wait, max=retries.max_wait) + wait_random(0, retries.wait / 4)

        def wait(state: RetryCallState) -> float:
            error = None if state.outcome is None else state.outcome.exception()
            asked = None if error is None else retry_after(error)
            return min(usual(state), retries.max_wait) if asked is None else asked

        def pause(seconds: float) -> None:
            if not sleep(seconds, stop):
                raise Interrupted

        return Retrying(
            stop=stop_after_attempt(retries.attempts),
            wait=wait,
            # Somebody has paused what the function called: to call it again would go on with that.
            retry=retry_if_exception(
                lambda error: is_one_of(error, retries.on) and not isinstance(error, TVPausedError)
            ),
            sleep=pause,
            reraise=True,
        )


@dataclass(slots=True)
class _Count:
    """What the attempts of one call have taken by now."""

    attempts: int = 0
    cost: float | None = None
    tokens: int | None = None
    last_error: BaseException | None = None

    def add(self, cost: float | None, tokens: int | None) -> None:
        if cost is not None:
            self.cost = (self.cost or 0.0) + cost
        if tokens is not None:
            self.tokens = (self.tokens or 0) + tokens


def price_of(error: BaseException) -> tuple[float | None, int | None]:
    """Return what an exception says that the call has cost, and how many tokens it took: None where it doesn't."""
    return (
        _read(error, "cost", lambda cost: Result(None, cost=cost).cost),
        _read(error, "tokens", lambda tokens: Result(None, tokens=tokens).tokens),
    )


def _read(error: object, name: str, read: Callable[[Any], T]) -> T | None:
    try:
        told = getattr(error, name, None)
        return None if told is None else read(told)
    except Exception:  # noqa: BLE001 - an attribute of somebody else's class may be anything, and mean something else
        return None


def is_one_of(error: BaseException, names: tuple[str, ...]) -> bool:
    """Tell whether an exception is of a class with one of these names, or of one below it; without any, an Exception.

    >>> is_one_of(ConnectionResetError(), ("ConnectionError",)), is_one_of(ValueError(), ("ConnectionError",))
    (True, False)
    """
    if not names:
        return isinstance(error, Exception)
    known = {name for each in type(error).__mro__ for name in (each.__name__, f"{each.__module__}.{each.__qualname__}")}
    return any(name in known or any(each.endswith(f".{name}") for each in known) for name in names)


def retry_after(error: BaseException) -> float | None:
    """Return how many seconds an exception asks to wait, None if it doesn't.

    It is told by an attribute ``retry_after``, or by the header of that name (RFC 9110, 10.2.3: seconds or a date) of
    the response that the exception carries, as those of ``requests``, ``httpx``, ``urllib`` and of vendors' clients do.
    """
    asked = _read(error, "retry_after", lambda asked: asked)
    for holder in (_read(error, "response", lambda response: response), error):
        if asked is None and holder is not None:
            asked = _read(holder, "headers", lambda headers: headers.get("Retry-After") or headers.get("retry-after"))
    if asked is None:
        return None
    try:
        seconds = float(asked)
    except (TypeError, ValueError):
        try:
            seconds = (_aware(parsedate_to_datetime(str(asked))) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError, OverflowError):
            return None
    return max(0.0, seconds) if seconds < float("inf") else None


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
