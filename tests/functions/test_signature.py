from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from tablevault_like.errors import Location, TVBuilderError
from tablevault_like.functions.signature import validate_arguments


def rate(text: str, *, scale: int = 1) -> None: ...


def anything(**kwargs: object) -> None: ...


def some(text: str, **kwargs: object) -> None: ...


def many(*args: object) -> None: ...


def by_position(text: str, /, scale: int = 1) -> None: ...


def by_position_or_not(text: str = "", /) -> None: ...


def bad_hint(text: NoSuchType) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def nothing() -> None: ...


class Scorer:
    def __init__(self, text: str) -> None: ...

    def score(self, text: str) -> None: ...


class Rater:
    def __call__(self, text: str) -> None: ...


def injecting(function: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> object:
        return function(*args, client=1, **kwargs)

    return wrapper


@injecting
def with_client(text: str, client: object) -> None: ...


FITTING = [
    (rate, ["text"]),
    (rate, ["scale", "text"]),
    (anything, []),
    (anything, ["a", "b"]),
    (some, ["text", "b"]),
    (many, []),
    (by_position_or_not, []),
    (bad_hint, ["text"]),
    (nothing, []),
    (Scorer, ["text"]),
    (Scorer("").score, ["text"]),
    (Rater(), ["text"]),
    (functools.partial(rate, scale=2), ["text"]),
    (with_client, ["text"]),
    (functools.cache(rate), ["anything"]),  # nothing is known of what it takes
    (dict, ["anything"]),
    (lambda text: text, ["text"]),
]
MISFITTING = [
    (rate, [], r"rate\(\) needs 'text'\."),
    (rate, ["texts"], r"rate\(\) has no argument 'texts'\. Did you mean 'text'\? It needs 'text'\."),
    (rate, ["text", "x"], r"has no argument 'x'\. Known: scale, text\.$"),
    (some, ["b"], r"needs 'text'"),
    (many, ["a"], r"has no argument 'a'"),
    (nothing, ["a"], r"nothing\(\) has no argument 'a'\. It takes none\.$"),
    (by_position, ["text"], r"takes 'text' by position only, but builders pass arguments by name\."),
    (Scorer, [], r"Scorer\(\) needs 'text'"),
    (Rater(), [], r"Rater\(\) needs 'text'"),
    (Scorer("").score, ["self", "text"], r"has no argument 'self'"),
    (functools.partial(rate, "x"), ["text"], r"has no argument 'text'"),
]


@pytest.mark.parametrize(("function", "names"), FITTING)
def test_fitting_arguments_are_accepted(function: Callable[..., object], names: list[str]) -> None:
    validate_arguments(function, names)


@pytest.mark.parametrize(("function", "names", "message"), MISFITTING)
def test_other_arguments_are_refused(function: Callable[..., object], names: list[str], message: str) -> None:
    with pytest.raises(TVBuilderError, match=message):
        validate_arguments(function, names)


def test_the_error_tells_the_place() -> None:
    with pytest.raises(TVBuilderError, match=r"^stories_index\.yaml:3:1: rate\(\) needs 'text'"):
        validate_arguments(rate, {}, location=Location("stories_index.yaml", 3, 1))
