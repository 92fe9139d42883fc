"""What every engine is: work goes out, results come back in batches and in any order.

::

    coordinator                     engine                       workers
    -----------                     ------                       -------
    work (an iterator)   ------->   hands out a piece at a time  function(work)
    for batch in calls   <-------   gathers what is finished     Done or Failed
    stop.request()       ------->   hands out nothing more       finish what they are in
    stop.abandon()       ------->   waits for nobody             end after what they are in, unheard

What an engine guarantees:

1. Every piece of work that was handed out comes back exactly once, as a ``Done`` or a ``Failed``, unless the calls were
   abandoned or closed; then it never does.
2. Whatever user code raises, ``KeyboardInterrupt`` and ``SystemExit`` included, is a ``Failed``. What the iterator of
   work raises is raised to the coordinator, after all results of what had been handed out before.
3. After a failure nothing more is handed out. (A function that is to go on over errors returns them.)
4. A finished piece of work can be had by the coordinator at once; it never waits for a worker's next call.
5. When calls have ended without being abandoned or closed, none of their workers runs user code.
6. Workers run ahead of a slow coordinator only so far, and nothing is lost when they wait for it.

Nothing here assumes that a worker lives in the coordinator's interpreter, nor that results come back in order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeAlias, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(slots=True)
class Work:
    """One call of user code.

    ``index`` is the position of its row (``None`` if it isn't about one), ``arguments`` are what the function is called
    with, ``inputs`` the values from which the row's input hash is made, and ``key`` names the row for good:
    ``<process id>:<builder>:<row>``.
    """

    index: int | None
    arguments: dict[str, object]
    inputs: tuple[object, ...] = ()
    key: str | None = None


@dataclass(slots=True)
class Done(Generic[T_co]):
    """What a call returned (or a generator yielded), and how many seconds it took.

    ``index`` is that of its work; of a stream, the number of results before this one.
    """

    index: int | None
    value: T_co
    seconds: float


@dataclass(slots=True)
class Failed:
    """What a call raised, after how many seconds."""

    index: int | None
    error: BaseException
    seconds: float


Result: TypeAlias = Done[T] | Failed


class UserCodeError(Exception):
    """Carry what user code raised, or an error about what it returned, past our own handlers, as ``original``.

    It is not a ``TableVaultError``: whoever runs the process takes ``original`` out and raises it again.
    """

    def __init__(self, original: BaseException) -> None:
        super().__init__(original)
        self.original = original
        self.__cause__ = original


class Interrupted(Exception):  # noqa: N818 - it tells of a request, not of an error
    """Tell that a run ended early because its ``Stop`` was requested. All that had finished is recorded.

    ``is_abandoned`` tells that workers may still be inside user code.
    """

    def __init__(self, *, is_abandoned: bool = False) -> None:
        super().__init__("The run was stopped before it was complete.")
        self.is_abandoned = is_abandoned


class Stop:
    """A request to stop, which any thread and any signal handler may make.

    It takes no locks, so a handler that interrupts its own thread inside of it can't deadlock.

    >>> stop = Stop()
    >>> stop.request()
    >>> stop.requested, stop.abandoned
    (True, False)
    """

    __slots__ = ("_abandoned", "_requested", "_wakers")

    def __init__(self) -> None:
        self._requested = False
        self._abandoned = False
        self._wakers: dict[object, Callable[[], None]] = {}

    @property
    def requested(self) -> bool:
        """Tell whether nothing more is to be handed out."""
        return self._requested

    @property
    def abandoned(self) -> bool:
        """Tell whether nobody is to be waited for, either."""
        return self._abandoned

    def request(self) -> None:
        """Hand out nothing more; what is in flight is waited for and recorded."""
        self._requested = True
        self._wake()

    def abandon(self) -> None:
        """Hand out nothing more, and stop waiting for what is in flight."""
        self._requested = True
        self._abandoned = True
        self._wake()

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call ``wake`` whenever a request is made (at once if one was); return what ends the subscription.

        ``wake`` runs in the thread of whoever makes the request, maybe in a signal handler: it must be reentrant, as
        ``SimpleQueue.put`` is.
        """
        ticket = object()
        self._wakers[ticket] = wake
        if self._requested:
            wake()

        def unsubscribe() -> None:
            self._wakers.pop(ticket, None)

        return unsubscribe

    def _wake(self) -> None:
        # The copy is one atomic step: another thread may subscribe meanwhile.
        for wake in self._wakers.copy().values():
            wake()


class Calls(ABC, Generic[T]):
    """Calls that are under way: an iterator of batches of results, in no order, to be used in a ``with``.

    Iterating blocks until something has finished, and gives all that has. It ends when all that was handed out has come
    back, or at once when the ``Stop`` was abandoned (after what had come back by then). Leaving the ``with`` early
    abandons what is in flight.
    """

    @abstractmethod
    def __next__(self) -> list[Result[T]]: ...

    @abstractmethod
    def cease(self) -> None:
        """Hand out nothing more. Results of what is in flight still come."""

    @abstractmethod
    def close(self) -> None:
        """Hand out nothing more, and forget what is in flight. Waits for nobody; may be called twice."""

    @property
    @abstractmethod
    def is_exhausted(self) -> bool:
        """Tell whether all work was handed out, or the generator ended by itself."""

    def __iter__(self) -> Iterator[list[Result[T]]]:
        return self

    def __enter__(self) -> Calls[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class RelayedCalls(Calls[T]):
    """Calls whose results are made of those of other calls: all but that is left to these."""

    def __init__(self, calls: Calls[Any]) -> None:
        self._calls = calls

    def cease(self) -> None:
        self._calls.cease()

    def close(self) -> None:
        self._calls.close()

    @property
    def is_exhausted(self) -> bool:
        return self._calls.is_exhausted


class Engine(ABC):
    """Runs functions on work. One engine serves one process of the vault; its calls are made by one coordinator.

    ``enter`` is called by a worker right before each call, in the worker's own copy of the coordinator's context
    (``contextvars``), so that operations inside user code can know their row.
    """

    @abstractmethod
    def map(
        self,
        function: Callable[[Work], T],
        work: Iterable[Work],
        *,
        stop: Stop,
        workers: int = 1,
        enter: Callable[[Work], None] | None = None,
    ) -> Calls[T]:
        """Call ``function`` on every piece of ``work``, ``workers`` at a time, until a call fails."""

    @abstractmethod
    def stream(
        self,
        function: Callable[[Work], Iterable[T]],
        work: Work,
        *,
        stop: Stop,
        enter: Callable[[Work], None] | None = None,
    ) -> Calls[T]:
        """Call ``function`` once, and give all that the iterable which it returns gives.

        One worker does all of it, in order. When it is to stop, it takes what the iterable is computing, and closes it.
        """

    def call(
        self,
        function: Callable[[Work], T],
        work: Work,
        *,
        stop: Stop,
        enter: Callable[[Work], None] | None = None,
    ) -> Result[T]:
        """Call ``function`` once and wait for it.

        Raises ``Interrupted`` if it was stopped before it began, or was abandoned.
        """
        with self.map(function, (work,), stop=stop, enter=enter) as calls:
            # To their end, which is when the worker has left: until then it counts as one that is at work.
            results = [result for batch in calls for result in batch]
        if results:
            return results[0]
        raise Interrupted(is_abandoned=not self.is_idle)

    @abstractmethod
    def call_within(self, function: Callable[[], T], seconds: float) -> T:
        """Call ``function`` on behalf of a worker, which waits for it no longer than that.

        Raises TimeoutError then. The call can't be ended: until it returns, unheard, the engine isn't idle.
        """

    @property
    @abstractmethod
    def is_idle(self) -> bool:
        """Tell whether no worker of this engine runs user code."""

    @abstractmethod
    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no worker runs user code, at most ``timeout`` seconds; tell whether it is so."""
