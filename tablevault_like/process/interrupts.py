"""Turn Ctrl-C and SIGTERM into a clean end.

While rows are computed, the first signal requests a stop (rows in flight finish and are recorded), and a second one
stops waiting for them. At any other time a signal raises at once: KeyboardInterrupt for SIGINT, SystemExit(143) for
SIGTERM.

Handlers are installed only in the main thread, only over Python's own, and are taken back afterwards.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Self

from tablevault_like.engines.base import Stop
from tablevault_like.storage import callbacks


class Interrupts:
    """The signals that arrive while a process is claimed and runs. Used in a ``with``, which may be entered twice."""

    def __init__(self) -> None:
        self._stop: Stop | None = None
        self._received: int | None = None
        self._previous: dict[int, signal.Handlers] = {}
        self._depth = 0

    def __enter__(self) -> Self:
        self._depth += 1
        _ACTIVE.add(self)
        if self._depth == 1 and threading.current_thread() is threading.main_thread():
            for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
                found = signal.getsignal(number)
                if found == default:
                    self._previous[number] = found  # type: ignore[assignment]
                    signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            _ACTIVE.discard(self)
            self.restore()

    def restore(self) -> None:
        """Put back the handlers that were there before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    @contextmanager
    def requesting(self, stop: Stop) -> Iterator[None]:
        """Send signals to ``stop`` instead of raising them here."""
        self._stop = stop
        try:
            yield
        finally:
            self._stop = None

    @property
    def received(self) -> bool:
        """Tell whether a signal arrived."""
        return self._received is not None

    def exception(self) -> BaseException:
        """Return what a signal that was turned into a stop stands for."""
        return _exception(self._received or signal.SIGINT)

    def _handle(self, number: int, _: FrameType | None) -> None:
        self._received = number
        if self._stop is None:
            raise callbacks.note(_exception(number))
        if self._stop.requested:
            self._stop.abandon()
        else:
            self._stop.request()


_ACTIVE: set[Interrupts] = set()


def _restore_after_fork() -> None:
    """Let a forked child die of its signals: it belongs to user code, and may be a worker of a pool that ends it so."""
    for interrupts in list(_ACTIVE):
        with suppress(ValueError):  # forked by a thread that doesn't count as the main one
            interrupts.restore()
    _ACTIVE.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restore_after_fork)


def is_termination(error: BaseException) -> bool:
    """Tell whether an exception stands for SIGTERM."""
    return isinstance(error, SystemExit) and error.code == 128 + signal.SIGTERM


def _exception(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
