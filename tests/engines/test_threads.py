"""Threads as an engine: the contract of all engines, and what only threads can get wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tablevault_like.engines import threads
from tablevault_like.engines.base import Done, Engine, Stop, Work
from tablevault_like.engines.threads import ThreadEngine
from tests.engines.contract import EngineContract, gather, indexes, int_of, rows


class TestThreadEngine(EngineContract):
    backlog = 64

    @pytest.fixture(autouse=True)
    def small_backlog(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(threads, "BACKLOG", self.backlog)

    @pytest.fixture
    def engine(self) -> Engine:
        return ThreadEngine()


def test_threads_keep_no_interpreter_alive() -> None:
    results = gather(ThreadEngine().map(lambda work: threading.current_thread().daemon, rows(1), stop=Stop()))

    assert [each.value for each in results if isinstance(each, Done)] == [True]


def test_the_iterator_of_work_is_never_entered_twice_at_once() -> None:
    inside = threading.Lock()

    def source() -> Iterator[Work]:
        for work in rows(2_000):
            assert inside.acquire(blocking=False)
            inside.release()
            yield work

    assert indexes(gather(ThreadEngine().map(int_of, source(), workers=8, stop=Stop()))) == list(range(2_000))


def test_a_thread_that_cannot_start_is_told_and_the_others_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, stop, start = ThreadEngine(), Stop(), threading.Thread.start
    started: list[threading.Thread] = []

    def start_two(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_two)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        engine.map(int_of, rows(10_000_000), workers=3, stop=stop)

    assert engine.wait(20.0)


def test_a_call_leaves_no_worker_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one that has only to leave: whoever looks then would take its process for one that is still at work."""
    engine = ThreadEngine()
    count, is_late = engine._count, threading.Event()

    def dally(change: int) -> None:
        if change < 0:
            is_late.wait(0.2)
        count(change)

    monkeypatch.setattr(engine, "_count", dally)

    done = engine.call(int_of, Work(3, {}), stop=Stop())

    assert isinstance(done, Done)
    assert engine.is_idle
