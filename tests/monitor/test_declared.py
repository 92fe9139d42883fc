"""Which files a function reads, as its source says; whatever could be otherwise is not known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tablevault_like.functions.file_arguments import file_arguments, files_by_default
from tablevault_like.monitor.declared import stand_in

IMPORT = "from tablevault_like.functions.file_arguments import reads_files\n"


def planned(function: str = "f", *, module: str = "work", is_custom: bool = True, files: tuple[str, ...] = ()) -> Any:
    fields = {"code_module": module, "python_function": function, "is_custom": is_custom}
    return SimpleNamespace(fields=fields, modules=files or (f"{module}.py",))


def declared(folder: Path, code: str, *others: str) -> dict[str, object] | None:
    """Return what is declared in code, ``None`` if that isn't known."""
    (folder / "work.py").write_text(code)
    found = stand_in(planned(files=("work.py", *others)), folder)
    return None if found is None else files_by_default(found)


KNOWN: dict[str, tuple[str, dict[str, object]]] = {
    "nothing": ("def f(a): ...", {}),
    "other decorators": ("import functools\n@functools.cache\ndef f(a): ...", {}),
    "one": (IMPORT + "@reads_files('a')\ndef f(a, b=1): ...", {"a": None}),
    "defaults": (IMPORT + "@reads_files('a', 'b')\ndef f(a='x', *, b=['y']): ...", {"a": "x", "b": ["y"]}),
    "in the order in which they are applied": (
        IMPORT + "@reads_files('a')\n@reads_files('b')\ndef f(a, b): ...",
        {"b": None, "a": None},
    ),
    "by its module": (
        "from tablevault_like.functions import file_arguments\n@file_arguments.reads_files('a')\ndef f(a): ...",
        {"a": None},
    ),
}

UNKNOWN = {
    "names that are computed": "@reads_files(*names)\ndef f(a): ...",
    "another decorator besides": "@cached\n@reads_files('a')\ndef f(a): ...",
    "a default that is computed": "@reads_files('a')\ndef f(a=PATH): ...",
    "no function statement": "f = reads_files('a')(lambda a: a)",
    "bound twice": "@reads_files('a')\ndef f(a): ...\nif True:\n    pass\n@reads_files('b')\ndef f(b): ...",
}


@pytest.mark.parametrize(("code", "wanted"), KNOWN.values(), ids=KNOWN)
def test_what_is_known(tmp_path: Path, code: str, wanted: dict[str, object]) -> None:
    found = declared(tmp_path, code)

    assert found == wanted
    assert list(found or ()) == list(wanted)


@pytest.mark.parametrize("code", UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_not_known(tmp_path: Path, code: str) -> None:
    assert declared(tmp_path, IMPORT + code) is None


def test_a_declaration_in_another_module_counts(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text(IMPORT + "@reads_files('a')\ndef f(a): ...")

    assert declared(tmp_path, "from other import f", "other.py") is None
    assert declared(tmp_path, "def f(a): ...") == {}


def test_a_module_that_is_not_there(tmp_path: Path) -> None:
    assert stand_in(planned(module="missing"), tmp_path) is None


def test_a_function_that_comes_with_the_library(tmp_path: Path) -> None:
    function = "create_data_table_from_csv"

    found = stand_in(planned(function, module="table_generation", is_custom=False), tmp_path)

    assert found is not None
    assert file_arguments(found) == ("csv_file_path",)
    with pytest.raises(AssertionError):
        found()
