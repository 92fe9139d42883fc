from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import pytest

from tablevault_like.engines.attempts import Attempts, CallFailed, Tried, is_one_of, retry_after
from tablevault_like.engines.base import Interrupted, Stop
from tablevault_like.engines.pace import Pace
from tablevault_like.engines.threads import ThreadEngine
from tablevault_like.limits import Rate, Retries
from tablevault_like.model import Result


def at_once(attempts: int, *on: str) -> Retries:
    return Retries(attempts, 0.0, 0.0, on)


class CostlyError(ConnectionError):
    cost = 0.5
    tokens = 3


def failing(*errors: BaseException, then: object = "fine") -> Callable[[], object]:
    """Return a function that raises one error after the other, and then returns."""
    left = list(errors)

    def call() -> object:
        if left:
            raise left.pop(0)
        return then

    return call


@pytest.fixture
def stop() -> Stop:
    return Stop()


@pytest.fixture
def engine() -> ThreadEngine:
    return ThreadEngine()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the times that were slept, which take none."""
    times: list[float] = []

    def sleep(seconds: float, stop: Stop) -> bool:
        times.append(seconds)
        return not stop.requested

    monkeypatch.setattr("tablevault_like.engines.attempts.sleep", sleep)
    return times


class TestOneAttempt:
    def test_gives_what_the_function_returns(self, engine: ThreadEngine, stop: Stop) -> None:
        assert Attempts(engine, stop).call(lambda: 7) == Tried(7)

    def test_takes_the_price_out_of_a_result(self, engine: ThreadEngine, stop: Stop) -> None:
        assert Attempts(engine, stop).call(lambda: Result([1], cost=0.25, tokens=9)) == Tried([1], 1, 0.25, 9)

    def test_that_fails_tells_what_it_has_cost(self, engine: ThreadEngine, stop: Stop) -> None:
        error = CostlyError("busy")

        with pytest.raises(CallFailed) as caught:
            Attempts(engine, stop).call(failing(error))

        assert caught.value.original is error
        assert (caught.value.attempts, caught.value.cost, caught.value.tokens) == (1, 0.5, 3)


class TestRetries:
    def test_go_on_until_it_works(self, engine: ThreadEngine, stop: Stop) -> None:
        attempts = Attempts(engine, stop, retries=at_once(3))

        tried = attempts.call(failing(CostlyError(), CostlyError(), then=Result("fine", cost=1.0)))

        assert tried == Tried("fine", 3, 2.0, 6)

    def test_end_after_so_many_attempts(self, engine: ThreadEngine, stop: Stop) -> None:
        last = ConnectionError("third")
        attempts = Attempts(engine, stop, retries=at_once(3))

        with pytest.raises(CallFailed) as caught:
            attempts.call(failing(ConnectionError(), ConnectionError(), last, ConnectionError()))

        assert (caught.value.original, caught.value.attempts) == (last, 3)

    def test_are_for_the_named_errors_only(self, engine: ThreadEngine, stop: Stop) -> None:
        attempts = Attempts(engine, stop, retries=at_once(3, "OSError"))

        assert attempts.call(failing(ConnectionError())).attempts == 2
        with pytest.raises(CallFailed) as caught:
            attempts.call(failing(ValueError()))
        assert caught.value.attempts == 1

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
    def test_are_not_for_what_ends_a_program(self, engine: ThreadEngine, stop: Stop, error: BaseException) -> None:
        with pytest.raises(CallFailed) as caught:
            Attempts(engine, stop, retries=at_once(3)).call(failing(error))
        assert (caught.value.original, caught.value.attempts) == (error, 1)

    def test_wait_twice_as_long_each_time(self, engine: ThreadEngine, stop: Stop, slept: list[float]) -> None:
        errors = [ConnectionError() for _ in range(5)]

        Attempts(engine, stop, retries=Retries(6, wait=1.0, max_wait=6.0)).call(failing(*errors))

        for found, least in zip(slept, [1, 2, 4, 6, 6], strict=True):
            assert least <= found <= min(least + 0.25, 6)

    def test_wait_as_long_as_they_are_told_to(self, engine: ThreadEngine, stop: Stop, slept: list[float]) -> None:
        error = ConnectionError()
        error.retry_after = 90  # type: ignore[attr-defined]

        Attempts(engine, stop, retries=Retries(2, wait=1.0, max_wait=6.0)).call(failing(error))

        assert slept == [90.0]

    def test_end_at_once_when_a_stop_is_requested(self, engine: ThreadEngine, stop: Stop) -> None:
        error = CostlyError()

        def call() -> None:
            threading.Timer(0.05, stop.request).start()
            raise error

        with pytest.raises(CallFailed) as caught:
            Attempts(engine, stop, retries=Retries(3, wait=600, max_wait=600)).call(call)

        assert (caught.value.original, caught.value.cost) == (error, 0.5)


class TestTimeout:
    def test_is_an_error_of_the_call(self, engine: ThreadEngine, stop: Stop) -> None:
        may_end = threading.Event()
        try:
            with pytest.raises(CallFailed) as caught:
                Attempts(engine, stop, timeout=0.05).call(may_end.wait)
            assert isinstance(caught.value.original, TimeoutError)
            assert "longer than the 0.05 seconds" in str(caught.value.original)
            assert not engine.is_idle
        finally:
            may_end.set()
        assert engine.wait(10)

    def test_is_tried_again(self, engine: ThreadEngine, stop: Stop) -> None:
        may_end, calls = threading.Event(), iter([lambda: may_end.wait(), lambda: "fine"])
        attempts = Attempts(engine, stop, timeout=1.0, retries=at_once(2, "TimeoutError"))
        try:
            assert attempts.call(lambda: next(calls)()) == Tried("fine", 2)
        finally:
            may_end.set()

    def test_passes_on_what_the_function_does_in_time(self, engine: ThreadEngine, stop: Stop) -> None:
        attempts = Attempts(engine, stop, timeout=60)

        assert attempts.call(lambda: 7) == Tried(7)
        with pytest.raises(CallFailed) as caught:
            attempts.call(failing(ZeroDivisionError()))
        assert isinstance(caught.value.original, ZeroDivisionError)


class Clock:
    """A clock that goes on when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class TestRate:
    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> Clock:
        clock = Clock()

        def sleep(seconds: float, stop: Stop) -> bool:
            clock.now += seconds
            return not stop.requested

        monkeypatch.setattr("tablevault_like.engines.pace.sleep", sleep)
        return clock

    def test_spaces_calls_evenly(self, stop: Stop, clock: Clock) -> None:
        pace, begun = Pace(Rate(60, 60), clock=clock), []
        for _ in range(4):
            pace.keep(stop)
            begun.append(clock.now)

        assert begun == [100.0, 101.0, 102.0, 103.0]

    def test_saves_nothing_up(self, stop: Stop, clock: Clock) -> None:
        pace = Pace(Rate(1, 1), clock=clock)
        pace.keep(stop)
        clock.now += 50
        pace.keep(stop)
        pace.keep(stop)

        assert clock.now == 151.0

    def test_begins_nothing_after_a_stop(self, stop: Stop, clock: Clock) -> None:
        pace = Pace(Rate(1, 1), clock=clock)
        pace.keep(stop)
        stop.request()

        with pytest.raises(Interrupted):
            pace.keep(stop)

    def test_counts_every_attempt(self, engine: ThreadEngine, stop: Stop) -> None:
        attempts = Attempts(engine, stop, retries=at_once(3), rate=Rate(20, 1))
        begun = time.monotonic()

        attempts.call(failing(ConnectionError(), ConnectionError()))

        assert time.monotonic() - begun >= 0.1  # two intervals: a sleep may be too long, never too short


@pytest.mark.parametrize(
    ("error", "names", "is_one"),
    [
        (ConnectionResetError(), ("OSError",), True),
        (ConnectionResetError(), ("builtins.OSError",), True),
        (CostlyError(), ("CostlyError",), True),
        (CostlyError(), ("test_attempts.CostlyError",), True),
        (CostlyError(), ("ttempts.CostlyError",), False),
        (ValueError(), ("OSError", "LookupError"), False),
        (KeyError(), ("OSError", "LookupError"), True),
        (KeyboardInterrupt(), (), False),
        (ValueError(), (), True),
    ],
)
def test_errors_are_known_by_their_classes(error: BaseException, names: tuple[str, ...], is_one: bool) -> None:
    assert is_one_of(error, names) is is_one


def carrying(**fields: object) -> Exception:
    error = ConnectionError("busy")
    vars(error).update(fields)
    return error


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (carrying(), None),
        (carrying(retry_after=3), 3.0),
        (carrying(retry_after="2.5"), 2.5),
        (carrying(retry_after=-5), 0.0),
        (carrying(headers={"Retry-After": "7"}), 7.0),
        (carrying(response=SimpleNamespace(headers={"retry-after": "7"})), 7.0),
        (carrying(response=SimpleNamespace(headers={})), None),
        (carrying(response=None, headers={"Retry-After": "soon"}), None),
        (carrying(retry_after=float("nan")), None),
        (carrying(headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), 0.0),
    ],
)
def test_what_a_service_asks_for_is_read(error: Exception, seconds: float | None) -> None:
    assert retry_after(error) == seconds


def test_a_date_in_the_future_is_read() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)

    found = retry_after(carrying(headers={"Retry-After": date}))

    assert found is not None
    assert 50 < found <= 60
