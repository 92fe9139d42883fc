"""Ctrl-C and SIGTERM: raised at once, or turned into a request to stop, and given back afterwards."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from tablevault_like.engines.base import Stop
from tablevault_like.process.interrupts import Interrupts
from tests.workers import PATIENCE

BOTH = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]


@pytest.fixture(autouse=True)
def defaults() -> Iterator[None]:
    """Begin with Python's own handlers, whatever those who run the tests have set."""
    before = {number: signal.getsignal(number) for number, _ in BOTH}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "raised"), BOTH)
def test_are_raised_at_once(number: signal.Signals, raised: type[BaseException]) -> None:
    with pytest.raises(raised) as caught, Interrupts():
        signal.raise_signal(number)

    if isinstance(caught.value, SystemExit):
        assert caught.value.code == 128 + signal.SIGTERM


@pytest.mark.parametrize(("number", "raised"), BOTH)
def test_request_a_stop_while_that_is_asked_for(number: signal.Signals, raised: type[BaseException]) -> None:
    stop = Stop()
    with Interrupts() as interrupts:
        with interrupts.requesting(stop):
            signal.raise_signal(number)
            assert (stop.requested, stop.abandoned) == (True, False)
            signal.raise_signal(number)
            assert stop.abandoned
        assert isinstance(interrupts.exception(), raised)
        with pytest.raises(raised):
            signal.raise_signal(number)


def test_handlers_are_given_back() -> None:
    interrupts = Interrupts()
    with interrupts, interrupts:
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_entered_twice_are_still_caught_after_the_first_exit() -> None:
    interrupts = Interrupts()
    with interrupts:
        with interrupts:
            pass
        with pytest.raises(SystemExit):
            signal.raise_signal(signal.SIGTERM)


def test_handlers_of_others_stay() -> None:
    seen = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))

    with Interrupts():
        signal.raise_signal(signal.SIGTERM)

    assert seen == [signal.SIGTERM]


def test_in_another_thread_nothing_is_changed() -> None:
    found = []

    def enter() -> None:
        with Interrupts():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join(PATIENCE)

    assert found == [signal.default_int_handler]
