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


def takes_rows(rows: object, mark: str = "", *, scale: int = 1) -> None: ...


def takes_rows_by_position(rows: object, /, mark: str) -> None: ...


def takes_names_only(*, mark: str) -> None: ...


BATCHES = [
    (takes_rows, ["mark"], None),
    (takes_rows, [], None),
    (takes_rows_by_position, ["mark"], None),
    (many, [], None),
    (anything, ["mark"], "anything() needs a first parameter, for the DataFrame of a batch's rows."),
    (takes_names_only, ["mark"], "takes_names_only() needs a first parameter, for the DataFrame of a batch's rows."),
    (nothing, [], "nothing() needs a first parameter, for the DataFrame of a batch's rows."),
    (takes_rows, ["rows"], "is given the rows of a batch as 'rows', so no other argument can have that name."),
    (takes_rows, ["marks"], "takes_rows() has no argument 'marks'. Did you mean 'mark'?"),
    (takes_rows_by_position, [], "takes_rows_by_position() needs 'mark'."),
    (many, ["mark"], "many() has no argument 'mark'."),
    (Rater(), [], None),
]


@pytest.mark.parametrize(("function", "names", "message"), BATCHES)
def test_a_batch_is_given_first(function: Callable[..., object], names: list[str], message: str | None) -> None:
    if message is None:
        validate_arguments(function, names, takes_batch=True)
        return
    with pytest.raises(TVBuilderError) as caught:
        validate_arguments(function, names, takes_batch=True)
    assert message in str(caught.value)
