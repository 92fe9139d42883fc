from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import pytest

from tablevault_like.errors import TVArgumentError
from tablevault_like.functions.file_arguments import file_arguments, files_by_default, reads_files


@reads_files("path", "folder")
def load(path: str, folder: str, rows: int) -> int:
    return rows


def test_declared_arguments_are_known_and_the_function_is_unchanged() -> None:
    assert file_arguments(load) == ("path", "folder")
    assert load("", "", 3) == 3


def test_a_wrapper_that_says_what_it_wraps_declares_the_same() -> None:
    @functools.wraps(load)
    def wrapper(*args: object) -> None: ...

    assert file_arguments(wrapper) == ("path", "folder")


def test_what_declares_nothing_reads_nothing() -> None:
    assert file_arguments(len) == ()
    assert file_arguments(functools.partial(print)) == ()


def test_declarations_add_up() -> None:
    assert file_arguments(reads_files("folder", "rows")(reads_files("path")(lambda path, folder, rows: None))) == (
        "path",
        "folder",
        "rows",
    )


def test_a_partial_declares_what_its_function_does() -> None:
    assert file_arguments(functools.partial(functools.partial(load, rows=1), "a.csv")) == ("path", "folder")


class Loader:
    @reads_files("path")
    def __call__(self, path: str = "a.csv") -> None: ...

    @reads_files("folder")
    def listed(self, folder: str) -> None: ...


def test_objects_and_methods_declare_them() -> None:
    assert file_arguments(Loader()) == ("path",)
    assert file_arguments(Loader().listed) == ("folder",)
    assert files_by_default(Loader()) == {"path": "a.csv"}


@reads_files("second", "any")
def with_defaults(first: str, second: str = "b", **options: str) -> None: ...


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (with_defaults, {"second": "b", "any": None}),
        (functools.partial(with_defaults, "a"), {"second": "b", "any": None}),
        (functools.partial(with_defaults, "a", "c"), {"second": "c", "any": None}),
        (functools.partial(functools.partial(with_defaults, second="c"), second="d"), {"second": "d", "any": None}),
        (len, {}),
    ],
)
def test_defaults_and_what_a_partial_binds_are_known(function: Callable[..., object], found: dict[str, str]) -> None:
    assert files_by_default(function) == found


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("pth",), "reads_files names 'pth', but .*read has no such argument. Did you mean 'path'?"),
        (("path", "paths"), "reads_files can't name 'paths', which takes many arguments. Name each of them."),
        ((), "reads_files needs the names of arguments: @reads_files('path')."),
    ],
)
def test_a_declaration_that_would_do_nothing_is_refused(names: tuple[str, ...], message: str) -> None:
    def read(path: str, *paths: str) -> None: ...

    with pytest.raises(TVArgumentError, match=message.replace("(", r"\(").replace(")", r"\)").replace("?", r"\?")):
        reads_files(*names)(read)


def test_a_declaration_without_brackets_is_refused() -> None:
    def read(path: str) -> None: ...

    wrong: Any = read
    with pytest.raises(TVArgumentError, match=re.escape("@reads_files('path')")):
        reads_files(wrong)


def test_what_takes_any_argument_may_declare_any() -> None:
    assert file_arguments(reads_files("path")(lambda **options: None)) == ("path",)
