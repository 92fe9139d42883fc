"""An engine whose workers are threads of this interpreter.

Workers take work from one shared iterator, under a lock, and put each result straight into one shared queue: nothing
waits in a worker's own buffer. The coordinator blocks for the first result and takes all that are there, so a slow
function gets a batch a row, and a fast one hundreds of rows a batch.

Threads are daemons: one that never comes back from user code keeps no interpreter alive.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from enum import Enum, auto
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import TypeVar, cast

from tablevault_like.engines.base import Calls, Done, Engine, Failed, Result, Stop, Work

T = TypeVar("T")

_LOOK_EVERY = 0.5
"""Seconds after which a coordinator that waits lets signal handlers run."""
BACKLOG = 2048
"""How many results may wait for the coordinator before workers wait for it."""


class ThreadEngine(Engine):
    """Runs user code in threads, each in its own copy of the coordinator's context."""

    def __init__(self) -> None:
        self._running = 0
        self._changed = threading.Condition()

    def map(
        self,
        function: Callable[[Work], T],
        work: Iterable[Work],
        *,
        stop: Stop,
        workers: int = 1,
        enter: Callable[[Work], None] | None = None,
    ) -> Calls[T]:
        calls: ThreadCalls[T] = ThreadCalls(stop)
        turn, source = threading.Lock(), iter(work)
        self._start(calls, lambda: calls.call_each(function, source, turn=turn, enter=enter), threads=max(workers, 1))
        return calls

    def stream(
        self,
        function: Callable[[Work], Iterable[T]],
        work: Work,
        *,
        stop: Stop,
        enter: Callable[[Work], None] | None = None,
    ) -> Calls[T]:
        calls: ThreadCalls[T] = ThreadCalls(stop)
        self._start(calls, lambda: calls.follow(function, work, enter=enter), threads=1)
        return calls

    def call_within(self, function: Callable[[], T], seconds: float) -> T:
        outcome: SimpleQueue[tuple[T, None] | tuple[None, BaseException]] = SimpleQueue()

        def run() -> None:
            try:
                try:
                    outcome.put((function(), None))
                except BaseException as error:  # noqa: BLE001 - raised again by the worker
                    outcome.put((None, error))
            finally:
                self._count(-1)

        context = contextvars.copy_context()
        self._begin(threading.Thread(target=context.run, args=(run,), name="tablevault-limited", daemon=True))
        try:
            value, error = outcome.get(timeout=min(seconds, threading.TIMEOUT_MAX))
        except Empty:
            raise TimeoutError(f"The call took longer than the {seconds:g} seconds that it may take.") from None
        if error is not None:
            raise error
        return cast(T, value)

    @property
    def is_idle(self) -> bool:
        return self._running == 0

    def wait(self, timeout: float | None = None) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._running == 0, timeout)

    def _start(self, calls: ThreadCalls[T], body: Callable[[], None], *, threads: int) -> None:
        def run() -> None:
            try:
                body()
            finally:
                self._count(-1)
                calls.leave()

        try:
            for number in range(threads):
                context = contextvars.copy_context()
                thread = threading.Thread(target=context.run, args=(run,), name=f"tablevault-{number}", daemon=True)
                calls.join()
                self._begin(thread)
        except BaseException:
            calls.close()
            raise

    def _begin(self, thread: threading.Thread) -> None:
        """Start a thread that counts itself out when it ends."""
        self._count(1)
        try:
            thread.start()
        except BaseException:
            self._count(-1)
            raise

    def _count(self, change: int) -> None:
        with self._changed:
            self._running += change
            self._changed.notify_all()


class _Token(Enum):
    """What goes through the queue beside results."""

    LEFT = auto()
    """A worker has ended; its results are all in the queue."""

    WAKE = auto()
    """Somebody made a request to stop: look."""


class ThreadCalls(Calls[T]):
    """The queue between some threads and their coordinator, and what each thread does."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._results: SimpleQueue[Result[T] | _Token] = SimpleQueue()
        self._room = threading.Event()
        self._workers = 0
        self._has_ceased = False
        self._is_exhausted = False
        self._source_error: BaseException | None = None
        self._unsubscribe = stop.subscribe(lambda: self._results.put(_Token.WAKE))

    # The coordinator's side

    def __next__(self) -> list[Result[T]]:
        while self._workers:
            is_abandoned = self._stop.abandoned
            batch = self._drain(wait=not is_abandoned)
            if batch:
                return batch
            if is_abandoned:
                break
        self.close()
        if self._source_error is not None:
            error, self._source_error = self._source_error, None
            raise error
        raise StopIteration

    def cease(self) -> None:
        self._has_ceased = True
        self._room.set()

    def close(self) -> None:
        self.cease()
        self._workers = 0
        self._unsubscribe()

    @property
    def is_exhausted(self) -> bool:
        return self._is_exhausted

    def _drain(self, *, wait: bool) -> list[Result[T]]:
        """Take all that is in the queue, after waiting for a first."""
        results = self._results
        taken = [self._first()] if wait else []
        # Whoever else put something since qsize() is heard the next time.
        taken += [results.get() for _ in range(results.qsize())]
        self._room.set()
        batch = [result for result in taken if not isinstance(result, _Token)]
        if len(batch) < len(taken):
            self._workers -= taken.count(_Token.LEFT)
        return batch

    def _first(self) -> Result[T] | _Token:
        """Wait for what comes first.

        Not in one go: of two signals that come together the system may give the second to another thread. Then nothing
        wakes this one, in which its handler is to run.
        """
        while True:
            with suppress(Empty):
                return self._results.get(timeout=_LOOK_EVERY)

    # The workers' side

    def join(self) -> None:
        self._workers += 1

    def leave(self) -> None:
        self._results.put(_Token.LEFT)

    def call_each(
        self,
        function: Callable[[Work], T],
        source: Iterator[Work],
        *,
        turn: threading.Lock,
        enter: Callable[[Work], None] | None,
    ) -> None:
        """Take work from the source that is shared with other threads, and call the function, until there is none."""
        put, waiting, is_over = self._results.put, self._results.qsize, self._is_over
        while True:
            if waiting() >= BACKLOG:
                self._await_room()
            with turn:
                if is_over():
                    return
                try:
                    work = next(source)
                except StopIteration:
                    self._is_exhausted = True
                    return
                except BaseException as error:  # noqa: BLE001 - raised again by the coordinator
                    self._source_error = error
                    self._has_ceased = True
                    return
            start = perf_counter()
            try:
                if enter is not None:
                    enter(work)
                value = function(work)
            except BaseException as error:  # noqa: BLE001 - user code may raise anything
                self._has_ceased = True
                put(Failed(work.index, error, perf_counter() - start))
            else:
                put(Done(work.index, value, perf_counter() - start))

    def follow(
        self, function: Callable[[Work], Iterable[T]], work: Work, *, enter: Callable[[Work], None] | None
    ) -> None:
        """Call the function once, and give what its iterable gives until that ends or it is to stop."""
        if self._is_over():
            return
        results = self._results
        index = 0
        start = perf_counter()
        try:
            if enter is not None:
                enter(work)
            iterator = iter(function(work))
            try:
                while not self._is_over():
                    try:
                        value = next(iterator)
                    except StopIteration:
                        self._is_exhausted = True
                        return
                    results.put(Done(index, value, perf_counter() - start))
                    index += 1
                    if results.qsize() >= BACKLOG:
                        self._await_room()
                    start = perf_counter()
            finally:
                close = getattr(iterator, "close", None)
                if close is not None:
                    close()
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            results.put(Failed(index, error, perf_counter() - start))

    def _is_over(self) -> bool:
        return self._has_ceased or self._stop.requested

    def _await_room(self) -> None:
        room = self._room
        room.clear()
        # Looked at again after clearing: the coordinator may have made room, or closed, in between.
        if self._results.qsize() >= BACKLOG and not self._has_ceased:
            room.wait()
