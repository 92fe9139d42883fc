from __future__ import annotations

import functools

from tablevault_like.functions.file_arguments import file_arguments, reads_files


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
