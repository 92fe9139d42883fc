from __future__ import annotations

import threading

import pytest

from tablevault_like.engines.base import Stop
from tablevault_like.mapping.handing import Handing
from tests.workers import wait_until


@pytest.fixture
def stop() -> Stop:
    return Stop()


def taken(handing: Handing) -> tuple[threading.Thread, list[int | None]]:
    """Take all there is, in a thread."""
    found: list[int | None] = []
    thread = threading.Thread(target=lambda: found.extend(each.index for each in handing), daemon=True)
    thread.start()
    return thread, found


def test_no_more_than_the_limit_is_unsettled(stop: Stop) -> None:
    handing = Handing(range(5), limit=2, stop=stop)
    numbers = [next(handing).index, next(handing).index]
    thread, found = taken(handing)

    thread.join(0.2)
    assert (numbers, found) == ([0, 1], [])
    handing.settle()
    wait_until(lambda: found == [2])
    thread.join(0.2)
    assert found == [2]
    handing.settle(2)
    thread.join(20)  # although the last two aren't settled
    assert not thread.is_alive()
    assert found == [2, 3, 4]


@pytest.mark.parametrize("end", ["close", "stop"])
def test_whoever_waits_is_let_go(stop: Stop, end: str) -> None:
    handing = Handing(range(5), limit=1, stop=stop)
    next(handing)
    thread, found = taken(handing)

    handing.close() if end == "close" else stop.request()
    thread.join(20)

    assert not thread.is_alive()
    assert found == []
    handing.settle()
    with pytest.raises(StopIteration):
        next(handing)
