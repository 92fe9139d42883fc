"""What every engine must do: subclass ``EngineContract`` in a test module and give it an ``engine`` fixture."""

from __future__ import annotations

import contextvars
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import pytest

from tablevault_like.engines.base import Calls, Done, Engine, Failed, Interrupted, Result, Stop, Work

PATIENCE = 20.0
"""Seconds that a test waits for what must happen. Only a test that fails waits so long."""

ROW = contextvars.ContextVar("ROW", default="none")


def rows(count: int) -> Iterator[Work]:
    return (Work(index, {}) for index in range(count))


def gather(calls: Calls) -> list[Result]:
    with calls:
        return [result for batch in calls for result in batch]


def indexes(results: Iterable[Result]) -> list[int]:
    return sorted(result.index for result in results if result.index is not None)


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class EngineContract:
    """The guarantees of ``engines.base``, for an engine whose workers share this interpreter."""

    backlog: int

    @pytest.fixture
    def engine(self) -> Engine:
        raise NotImplementedError

    @pytest.fixture
    def stop(self) -> Stop:
        return Stop()

    @pytest.fixture
    def release(self) -> Iterator[threading.Event]:
        """Give an event on which functions of a test may wait; nobody is left waiting when the test is over."""
        event = threading.Event()
        yield event
        event.set()

    @pytest.mark.parametrize("workers", [1, 3, 16])
    def test_every_piece_of_work_comes_back_once(self, engine: Engine, stop: Stop, workers: int) -> None:
        called: Counter = Counter()

        def function(work: Work) -> int:
            called[work.index] += 1
            assert work.index is not None
            return work.index * 2

        calls = engine.map(function, rows(5_000), workers=workers, stop=stop)
        results = gather(calls)

        assert indexes(results) == list(range(5_000))
        assert all(isinstance(each, Done) and each.value == (each.index or 0) * 2 for each in results)
        assert set(called.values()) == {1}
        assert calls.is_exhausted
        assert engine.is_idle

    def test_no_work_is_no_result(self, engine: Engine, stop: Stop) -> None:
        calls = engine.map(lambda work: 1, (), workers=2, stop=stop)

        assert gather(calls) == []
        assert calls.is_exhausted

    def test_workers_work_at_the_same_time(self, engine: Engine, stop: Stop) -> None:
        meeting = threading.Barrier(4)

        results = gather(engine.map(lambda work: meeting.wait(PATIENCE), rows(4), workers=4, stop=stop))

        assert all(isinstance(each, Done) for each in results)

    @pytest.mark.parametrize(
        "kind", [ValueError, StopIteration, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError]
    )
    def test_whatever_user_code_raises_is_the_failure_of_its_row(
        self, engine: Engine, stop: Stop, kind: type[BaseException]
    ) -> None:
        raised = kind("row 1")

        def function(work: Work) -> int | None:
            if work.index == 1:
                raise raised
            return work.index

        calls = engine.map(function, rows(4), stop=stop)
        done, failed = gather(calls)

        assert isinstance(done, Done)
        assert isinstance(failed, Failed)
        assert (failed.index, failed.error) == (1, raised)
        assert not calls.is_exhausted

    def test_after_a_failure_nothing_more_is_handed_out(
        self, engine: Engine, stop: Stop, release: threading.Event
    ) -> None:
        meeting = threading.Barrier(4)

        def function(work: Work) -> None:
            meeting.wait(PATIENCE)
            if work.index == 2:
                raise LookupError
            assert release.wait(PATIENCE)

        with engine.map(function, rows(1_000_000), workers=4, stop=stop) as calls:
            (failed,) = next(calls)
            release.set()
            rest = gather(calls)

        assert isinstance(failed, Failed)
        assert indexes(rest) == [0, 1, 3]
        assert all(isinstance(each, Done) for each in rest)

    def test_what_the_iterator_of_work_raises_comes_after_all_results(self, engine: Engine, stop: Stop) -> None:
        def source() -> Iterator[Work]:
            yield from rows(7)
            raise LookupError("no such row")

        results = []
        with (
            pytest.raises(LookupError, match="no such row"),
            engine.map(int_of, source(), workers=3, stop=stop) as calls,
        ):
            for batch in calls:
                results += batch

        assert indexes(results) == list(range(7))
        assert engine.is_idle
        assert not calls.is_exhausted

    def test_seconds_are_those_of_the_call(self, engine: Engine, stop: Stop) -> None:
        results = gather(engine.map(lambda work: time.sleep(0.02 * (work.index or 0)), rows(3), workers=3, stop=stop))

        for each in results:
            assert each.seconds >= 0.02 * (each.index or 0)

    def test_a_finished_row_does_not_wait_for_its_workers_next_call(
        self, engine: Engine, stop: Stop, release: threading.Event
    ) -> None:
        def function(work: Work) -> bool:
            return work.index == 0 or release.wait(PATIENCE)

        with engine.map(function, rows(2), stop=stop) as calls:
            first = next(calls)
            release.set()
            rest = gather(calls)

        assert indexes(first) == [0]
        assert [each.value for each in rest if isinstance(each, Done)] == [True]

    @pytest.mark.parametrize("workers", [1, 4])
    def test_after_a_request_nothing_more_is_handed_out(self, engine: Engine, stop: Stop, workers: int) -> None:
        called: list[int] = []
        called_before: list[int] = []

        def function(work: Work) -> None:
            called.append(int_of(work))
            if work.index == 20:
                stop.request()
                called_before.append(len(called))

        calls = engine.map(function, rows(1_000_000), workers=workers, stop=stop)
        results = gather(calls)

        assert indexes(results) == sorted(called)
        assert len(called) <= called_before[0] + workers - 1
        assert not calls.is_exhausted
        assert engine.is_idle

    def test_rows_in_flight_are_waited_for_after_a_request(
        self, engine: Engine, stop: Stop, release: threading.Event
    ) -> None:
        entered = threading.Event()

        def function(work: Work) -> bool:
            if work.index == 0:
                entered.set()
                return release.wait(PATIENCE)
            entered.wait(PATIENCE)
            stop.request()
            return True

        with engine.map(function, rows(10), workers=2, stop=stop) as calls:
            first = next(calls)
            assert not engine.is_idle
            release.set()
            rest = gather(calls)

        assert (indexes(first), indexes(rest)) == ([1], [0])

    def test_nothing_is_called_when_the_request_came_before(self, engine: Engine, stop: Stop) -> None:
        stop.request()

        assert gather(engine.map(fail, rows(3), workers=2, stop=stop)) == []
        assert gather(engine.stream(fail, Work(None, {}), stop=stop)) == []

    def test_abandoning_wakes_a_waiting_coordinator(self, engine: Engine, stop: Stop, release: threading.Event) -> None:
        def function(work: Work) -> bool:
            if work.index == 1:
                stop.abandon()
            return release.wait(PATIENCE)

        calls = engine.map(function, rows(100), workers=2, stop=stop)
        results = gather(calls)
        left_behind = not engine.is_idle
        release.set()

        assert results == []
        assert left_behind
        assert engine.wait(PATIENCE)
        assert engine.is_idle
        assert list(calls) == []

    def test_what_had_finished_when_it_was_abandoned_still_comes(
        self, engine: Engine, stop: Stop, release: threading.Event
    ) -> None:
        def function(work: Work) -> bool:
            if work.index == 2:
                stop.abandon()
                release.wait(PATIENCE)
            return True

        with engine.map(function, rows(100), stop=stop) as calls:
            until(lambda: stop.abandoned)
            results = gather(calls)

        assert indexes(results) == [0, 1]

    def test_wait_tells_when_it_was_too_short(self, engine: Engine, stop: Stop, release: threading.Event) -> None:
        with engine.map(lambda work: release.wait(PATIENCE), rows(1), stop=stop):
            pass

        assert not engine.wait(0.01)
        release.set()
        assert engine.wait(PATIENCE)

    def test_ceasing_hands_out_nothing_more(self, engine: Engine, stop: Stop, release: threading.Event) -> None:
        def function(work: Work) -> int | None:
            if work.index == 1:
                release.wait(PATIENCE)
            return work.index

        with engine.map(function, rows(1_000_000), stop=stop) as calls:
            first = next(calls)
            calls.cease()
            release.set()
            rest = gather(calls)

        assert (indexes(first), indexes(rest)) == ([0], [1])
        assert not stop.requested
        assert not calls.is_exhausted

    def test_leaving_early_waits_for_nobody(self, engine: Engine, stop: Stop, release: threading.Event) -> None:
        called: list[int | None] = []

        def function(work: Work) -> None:
            called.append(work.index)
            if work.index == 1:
                release.wait(PATIENCE)

        with engine.map(function, rows(1_000_000), stop=stop) as calls:
            next(calls)
            until(lambda: 1 in called)
        calls.close()
        release.set()

        assert engine.wait(PATIENCE)
        assert called == [0, 1]

    @pytest.mark.parametrize("workers", [1, 4])
    def test_workers_wait_for_a_slow_coordinator_and_lose_nothing(
        self, engine: Engine, stop: Stop, workers: int
    ) -> None:
        handed = Counter[str]()
        total = 4 * self.backlog

        def source() -> Iterator[Work]:
            for work in rows(total):
                handed["out"] += 1
                yield work

        results: list[Result] = []
        with engine.map(int_of, source(), workers=workers, stop=stop) as calls:
            until(lambda: handed["out"] >= self.backlog)
            time.sleep(0.02)
            assert handed["out"] <= self.backlog + workers
            for batch in calls:
                results += batch

        assert indexes(results) == list(range(total))

    def test_leaving_frees_workers_that_wait_for_the_coordinator(self, engine: Engine, stop: Stop) -> None:
        handed = Counter[str]()

        def source() -> Iterator[Work]:
            for work in rows(10 * self.backlog):
                handed["out"] += 1
                yield work

        with engine.map(int_of, source(), workers=4, stop=stop):
            until(lambda: handed["out"] >= self.backlog)

        assert engine.wait(PATIENCE)

    def test_workers_see_the_coordinators_context_and_keep_their_own(self, engine: Engine, stop: Stop) -> None:
        token = ROW.set("coordinator")
        try:

            def function(work: Work) -> tuple[str, str]:
                before = ROW.get()
                ROW.set(f"row {work.index}")
                return before, ROW.get()

            results = gather(engine.map(function, rows(1), stop=stop))
            assert [each.value for each in results if isinstance(each, Done)] == [("coordinator", "row 0")]
            assert ROW.get() == "coordinator"
        finally:
            ROW.reset(token)

    def test_enter_is_called_before_each_call_in_its_worker(self, engine: Engine, stop: Stop) -> None:
        def enter(work: Work) -> None:
            ROW.set(f"{threading.get_ident()}:{work.index}")

        def function(work: Work) -> bool:
            return ROW.get() == f"{threading.get_ident()}:{work.index}"

        def stream(work: Work) -> Iterator[bool]:
            yield function(work)

        results = gather(engine.map(function, rows(200), workers=4, stop=stop, enter=enter))
        results += gather(engine.stream(stream, Work(7, {}), stop=stop, enter=enter))

        assert all(isinstance(each, Done) and each.value for each in results)

    def test_calls_end_idle(self, engine: Engine, stop: Stop) -> None:
        for _ in range(50):
            gather(engine.map(int_of, rows(3), workers=3, stop=stop))
            assert engine.is_idle

    def test_a_signal_handler_stops_a_waiting_coordinator(
        self, engine: Engine, stop: Stop, release: threading.Event
    ) -> None:
        def function(work: Work) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            release.wait(PATIENCE)

        before = signal.signal(signal.SIGINT, lambda number, frame: stop.abandon())
        try:
            results = gather(engine.map(function, rows(1), stop=stop))
        finally:
            signal.signal(signal.SIGINT, before)

        assert results == []
        assert stop.abandoned

    def test_call_gives_what_the_function_returns_or_raises(self, engine: Engine, stop: Stop) -> None:
        done = engine.call(int_of, Work(None, {}), stop=stop)
        failed = engine.call(fail, Work(None, {}), stop=stop)

        assert isinstance(done, Done)
        assert done.value == -1
        assert isinstance(failed, Failed)
        assert isinstance(failed.error, AssertionError)
        assert engine.is_idle

    def test_call_waits_for_a_function_after_a_request(self, engine: Engine, stop: Stop) -> None:
        def function(work: Work) -> str:
            stop.request()
            return "done"

        result = engine.call(function, Work(None, {}), stop=stop)

        assert isinstance(result, Done)
        assert result.value == "done"

    def test_call_is_interrupted(self, engine: Engine, stop: Stop, release: threading.Event) -> None:
        def function(work: Work) -> None:
            stop.abandon()
            release.wait(PATIENCE)

        with pytest.raises(Interrupted) as abandoned:
            engine.call(function, Work(None, {}), stop=stop)
        release.set()
        assert engine.wait(PATIENCE)
        with pytest.raises(Interrupted) as before:
            engine.call(fail, Work(None, {}), stop=stop)

        assert abandoned.value.is_abandoned
        assert not before.value.is_abandoned

    def test_a_stream_comes_in_order(self, engine: Engine, stop: Stop) -> None:
        total = 3 * self.backlog

        calls = engine.stream(lambda work: (str(number) for number in range(total)), Work(None, {}), stop=stop)
        results = gather(calls)

        assert [each.index for each in results] == list(range(total))
        assert [each.value for each in results if isinstance(each, Done)] == [str(number) for number in range(total)]
        assert calls.is_exhausted
        assert engine.is_idle

    def test_a_stream_may_be_any_iterable(self, engine: Engine, stop: Stop) -> None:
        results = gather(engine.stream(lambda work: ["a", "b"], Work(None, {}), stop=stop))

        assert [each.value for each in results if isinstance(each, Done)] == ["a", "b"]

    def test_what_a_stream_raises_comes_after_what_it_gave(self, engine: Engine, stop: Stop) -> None:
        def function(work: Work) -> Iterator[int]:
            yield 1
            yield 2
            raise KeyboardInterrupt

        calls = engine.stream(function, Work(None, {}), stop=stop)
        *done, failed = gather(calls)

        assert [each.value for each in done if isinstance(each, Done)] == [1, 2]
        assert isinstance(failed, Failed)
        assert failed.index == 2
        assert isinstance(failed.error, KeyboardInterrupt)
        assert not calls.is_exhausted

    def test_what_is_no_iterable_is_a_failed_stream(self, engine: Engine, stop: Stop) -> None:
        def function(work: Work) -> Iterable[int]:
            return 5  # type: ignore[return-value]

        (failed,) = gather(engine.stream(function, Work(None, {}), stop=stop))

        assert isinstance(failed, Failed)
        assert isinstance(failed.error, TypeError)

    def test_a_stream_takes_what_is_in_flight_and_closes_in_its_own_thread(
        self, engine: Engine, stop: Stop, release: threading.Event
    ) -> None:
        threads: list[int] = []

        def function(work: Work) -> Iterator[int]:
            try:
                for number in range(1_000_000):
                    if number == 1:
                        stop.request()
                        release.wait(PATIENCE)
                    threads.append(threading.get_ident())
                    yield number
            finally:
                threads.append(threading.get_ident())

        with engine.stream(function, Work(None, {}), stop=stop) as calls:
            first = next(calls)
            release.set()
            rest = gather(calls)

        assert (indexes(first), indexes(rest)) == ([0], [1])
        assert len(threads) == 3
        assert len(set(threads)) == 1
        assert not calls.is_exhausted

    def test_what_closing_a_stream_raises_is_a_failure(self, engine: Engine, stop: Stop) -> None:
        def function(work: Work) -> Iterator[int]:
            try:
                yield 1
                stop.request()
                yield 2
            finally:
                raise OSError("can't close")

        *done, failed = gather(engine.stream(function, Work(None, {}), stop=stop))

        assert [each.value for each in done if isinstance(each, Done)] == [1, 2]
        assert isinstance(failed, Failed)
        assert isinstance(failed.error, OSError)

    def test_a_stream_waits_for_a_slow_coordinator(self, engine: Engine, stop: Stop) -> None:
        given: list[int] = []

        def function(work: Work) -> Iterator[int]:
            for number in range(3 * self.backlog):
                given.append(number)
                yield number

        with engine.stream(function, Work(None, {}), stop=stop) as calls:
            until(lambda: len(given) >= self.backlog)
            time.sleep(0.02)
            assert len(given) <= self.backlog + 1
            results = gather(calls)

        assert indexes(results) == list(range(3 * self.backlog))

    def test_an_abandoned_stream_gives_nothing_more(self, engine: Engine, stop: Stop, release: threading.Event) -> None:
        closed = threading.Event()

        def function(work: Work) -> Iterator[int]:
            try:
                yield 0
                stop.abandon()
                release.wait(PATIENCE)
                yield 1
            finally:
                closed.set()

        with engine.stream(function, Work(None, {}), stop=stop) as calls:
            until(lambda: stop.abandoned)
            results = gather(calls)
        assert not engine.is_idle
        release.set()

        assert indexes(results) == [0]
        assert closed.wait(PATIENCE)
        assert engine.wait(PATIENCE)
        assert list(calls) == []


def int_of(work: Work) -> int:
    return -1 if work.index is None else work.index


def fail(work: Work) -> list[int]:
    raise AssertionError("nobody was to call this")
