"""The request to stop, and the errors that carry what ended a run."""

from __future__ import annotations

import pytest

from tablevault_like.engines.base import Interrupted, Stop, UserCodeError
from tablevault_like.errors import TableVaultError


def test_a_request_does_not_abandon() -> None:
    stop = Stop()
    stop.request()

    assert (stop.requested, stop.abandoned) == (True, False)


def test_abandoning_is_a_request_too() -> None:
    stop = Stop()
    stop.abandon()

    assert (stop.requested, stop.abandoned) == (True, True)


def test_subscribers_hear_every_request_until_they_leave() -> None:
    stop, heard = Stop(), list[str]()
    leave = stop.subscribe(lambda: heard.append("a"))
    stop.subscribe(lambda: heard.append("b"))

    stop.request()
    leave()
    stop.abandon()
    leave()

    assert heard == ["a", "b", "b"]


def test_a_late_subscriber_hears_of_the_request_at_once() -> None:
    stop, heard = Stop(), list[str]()
    stop.request()

    stop.subscribe(lambda: heard.append("a"))

    assert heard == ["a"]


def test_a_request_may_come_while_another_is_made() -> None:
    stop, heard = Stop(), list[str]()

    def again() -> None:
        heard.append("again")
        if len(heard) == 1:
            stop.subscribe(lambda: heard.append("new"))
            stop.abandon()

    stop.subscribe(again)
    stop.request()

    assert heard == ["again", "new", "again", "new"]


@pytest.mark.parametrize("original", [ValueError("no"), KeyboardInterrupt(), SystemExit(2)])
def test_a_user_code_error_carries_the_original(original: BaseException) -> None:
    error = UserCodeError(original)

    assert error.original is original
    assert error.__cause__ is original
    assert not isinstance(error, TableVaultError)


def test_an_interruption_is_no_error_of_the_vault() -> None:
    assert not isinstance(Interrupted(), TableVaultError)
    assert Interrupted(is_abandoned=True).is_abandoned
