"""The package as a whole: what importing it costs, and the tree of its errors."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from tablevault_like import errors
from tablevault_like.cli import main

HEAVY = {"dill", "lark", "numpy", "pandas", "pyarrow", "psutil", "pydantic", "rich", "tenacity", "yaml"}
LIGHT = (
    "tablevault_like",
    "tablevault_like.errors",
    "tablevault_like.model",
    "tablevault_like.layout",
    "tablevault_like.storage.files",
    "tablevault_like.catalog",
    "tablevault_like.locks",
    "tablevault_like.process",
    "tablevault_like.vault",
    "tablevault_like.cli",
)


@pytest.mark.parametrize("module", LIGHT)
def test_importing_loads_nothing_heavy(module: str) -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert module in loaded
    assert HEAVY.isdisjoint(loaded)


def test_the_types_are_for_everyone() -> None:
    assert Path(errors.__file__).with_name("py.typed").is_file()


def test_both_commands_are_the_same() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]

    commands = {name: EntryPoint(name, value, "console_scripts").load() for name, value in project["scripts"].items()}

    assert commands == {"tablevault-like": main, "tvl": main}


def public_errors(
    base: type[errors.TableVaultError] = errors.TableVaultError,
) -> Iterator[type[errors.TableVaultError]]:
    """Yield the classes of the errors module from the base downward, without those that only it uses."""
    if not base.__name__.startswith("_"):
        yield base
    for each in base.__subclasses__():
        if each.__module__ == errors.__name__:
            yield from public_errors(each)


FIELDS: dict[type[errors.TableVaultError], dict[str, Any]] = {
    errors.TVBuilderError: {"location": errors.Location("stories_index.yaml", 3, 7)},
    errors.TableReferenceError: {"location": errors.Location("stories_index.yaml", 3)},
    errors.TVLockError: {"resource": "stories/TEMP_base", "holder": "p1"},
    errors.TVProcessError: {"process_id": "p1"},
    errors.FencedError: {"process_id": "p1"},
    errors.TVPausedError: {"process_id": "p1"},
    errors.TVTimeoutError: {"process_id": "p1"},
    errors.TVTableError: {"column": "score", "row": 3},
    errors.TVRowsError: {"failed": {"scores": 2}},
    errors.TVFileError: {"path": "metadata/catalog.sqlite"},
    errors.TVCheckpointError: {"path": "rows.sqlite", "process_id": "p1", "builder": "loud", "rows": (3,)},
}


@pytest.mark.parametrize("cls", list(public_errors()))
@pytest.mark.parametrize("has_fields", [False, True], ids=["bare", "with fields"])
def test_errors_survive_pickling(cls: type[errors.TableVaultError], has_fields: bool) -> None:
    error = cls("what was wrong, and what to do", **(FIELDS.get(cls, {}) if has_fields else {}))
    error.add_note("while the row 7 was made")

    again = pickle.loads(pickle.dumps(error))

    assert type(again) is cls
    assert str(again) == str(error)
    assert again.args == error.args
    assert shown(again) == shown(error)


def shown(error: BaseException) -> dict[str, str]:
    """Return an error's fields in a form that can be compared."""
    return {name: str(value) for name, value in vars(error).items()}


@pytest.mark.parametrize("cls", list(public_errors()))
def test_every_field_of_an_error_is_tried(cls: type[errors.TableVaultError]) -> None:
    assert vars(cls("text")).keys() - {"message"} == FIELDS.get(cls, {}).keys()


def test_the_error_tree_is_the_one_that_is_drawn() -> None:
    drawn = dict(drawn_tree(errors.__doc__ or ""))

    assert drawn == {cls.__name__: relations(cls) for cls in public_errors()}


def relations(cls: type[errors.TableVaultError]) -> tuple[str | None, str | None]:
    """Return the names of an error's parent in the tree, and of the built-in class that it is as well."""
    if cls is errors.TableVaultError:
        return None, None
    parent = next(
        each for each in cls.__mro__[1:] if issubclass(each, errors.TableVaultError) and each.__name__[0] != "_"
    )
    builtin = next((each.__name__ for each in cls.__bases__ if each.__module__ == "builtins"), None)
    return parent.__name__, builtin


def drawn_tree(docstring: str) -> Iterator[tuple[str, tuple[str | None, str | None]]]:
    """Yield each name of a drawn tree with the name of its parent, and the one in parentheses."""
    path: list[str] = []
    for line in docstring.splitlines():
        found = re.match(r"    (?P<indent>(?:[│├└ ][── ]{2} )*)(?P<name>\w+)(?: +\((?P<builtin>\w+)\))?", line)
        if found:
            path[len(found["indent"]) // 4 :] = [found["name"]]
            yield found["name"], (path[-2] if len(path) > 1 else None, found["builtin"])
