"""Waiting until what a builder's function has given is committed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tablevault_like.builders.commits import Commits
from tablevault_like.engines.base import Calls, Stop, Work
from tablevault_like.engines.threads import ThreadEngine
from tablevault_like.errors import TVProcessError

PATIENCE = 20.0


def work(count: int) -> Iterator[Work]:
    return (Work(number, {}) for number in range(count))


def test_nothing_is_waited_for_where_nothing_was_given() -> None:
    saved: list[int] = []

    Commits(lambda: saved.append(1)).wait()

    assert saved == [1]


@pytest.mark.parametrize("workers", [1, 4])
def test_a_call_waits_for_those_that_came_before_it(workers: int) -> None:
    commits, committed = Commits(), [0]
    seen: list[tuple[int, int]] = []

    def call(work: Work) -> int:
        before = finished[0]
        commits.wait()
        seen.append((before, committed[0]))
        with lock:
            finished[0] += 1
        return work.index or 0

    finished, lock = [0], threading.Lock()
    calls = commits.committed(ThreadEngine().map(commits.counting(call), work(200), stop=Stop(), workers=workers))
    with calls:
        for batch in calls:
            committed[0] += len(batch)
    # Those of other workers count from the moment at which they are handed over.
    assert all(after >= before - workers for before, after in seen)
    assert committed == [200]
    if workers == 1:
        assert all(after >= before for before, after in seen)


def test_a_stream_waits_for_what_it_has_yielded() -> None:
    commits, committed = Commits(), [0]
    seen: list[int] = []

    def stream(work: Work) -> Iterator[int]:
        for number in range(100):
            commits.wait()
            seen.append(committed[0])
            yield number

    calls = commits.committed(ThreadEngine().stream(commits.counting_each(stream), Work(None, {}), stop=Stop()))
    with calls:
        for batch in calls:
            committed[0] += len(batch)
    assert seen == [*range(100)]


class Given(Calls[int]):
    """Calls that have come to nothing."""

    def __next__(self) -> list[object]:  # type: ignore[override]
        raise StopIteration

    def cease(self) -> None: ...

    def close(self) -> None: ...

    @property
    def is_exhausted(self) -> bool:
        return False


@pytest.mark.parametrize("way", ["close", "cease"])
def test_who_waits_for_what_nobody_commits_any_more_is_told(way: str) -> None:
    commits, told = Commits(), threading.Event()
    commits.counting(lambda work: None)(Work(0, {}))
    calls = commits.committed(Given(), is_stream=True)

    def wait() -> None:
        with pytest.raises(TVProcessError, match="given up"):
            commits.wait()
        told.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    getattr(calls, way)()

    assert told.wait(PATIENCE)
    waiting.join()


def test_in_flight_calls_that_are_awaited_after_a_failure_may_wait() -> None:
    commits = Commits()
    commits.counting(lambda work: None)(Work(0, {}))
    calls = commits.committed(Given())
    calls.cease()
    commits.commit(1)

    commits.wait()


def test_an_iterator_is_closed_in_the_thread_that_gives_it() -> None:
    closed: list[int] = []

    def stream(work: Work) -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(threading.get_ident())

    results = Commits().counting_each(stream)(Work(None, {}))
    next(results)
    results.close()  # type: ignore[attr-defined]

    assert closed == [threading.get_ident()]
