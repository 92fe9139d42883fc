"""Whatever a public function takes or returns can be imported from a place that stays, and is in the reference."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from rich.tree import Tree

import tablevault_like
from tablevault_like import TableVault, archive, migration
from tablevault_like import typing as public_typing

REFERENCE = Path(__file__).parent.parent / "docs" / "python.md"
PLACES = (tablevault_like, public_typing, migration)
NAMES = {"pd": pd, "pa": pa, "Tree": Tree} | vars(public_typing)


def functions() -> Iterator[Callable[..., Any]]:
    """Yield the public functions, and the methods of a vault."""
    yield from (getattr(archive, name) for name in ("compress_vault", "decompress_vault", "delete_vault"))
    yield migration.migrate
    yield from (method for name, method in inspect.getmembers(TableVault, callable) if name[0] != "_")


def classes(annotation: object, seen: set[type]) -> set[type]:
    """Add the classes of this library that an annotation names, and those that their fields name, to ``seen``."""
    for part in typing.get_args(annotation):
        for each in part if isinstance(part, list) else [part]:
            classes(each, seen)
    if isinstance(annotation, type) and annotation.__module__.startswith("tablevault_like.") and annotation not in seen:
        seen.add(annotation)
        if is_dataclass(annotation):
            hints = typing.get_type_hints(annotation, localns=NAMES)
            for field in fields(annotation):
                classes(hints[field.name], seen)
    return seen


def spoken() -> set[type]:
    found: set[type] = set()
    for function in functions():
        for hint in typing.get_type_hints(getattr(function, "__wrapped__", function), localns=NAMES).values():
            classes(hint, found)
    return found


def test_every_type_can_be_imported() -> None:
    found = {cls.__name__: cls for cls in spoken()}

    assert found.keys() >= {"ProcessRecord", "StepRecord", "TrashRecord", "Archived", "LeftOut", "Progress", "Report"}
    assert found.keys() >= {"RowChanges", "Column", "Prunable"}
    for name, cls in found.items():
        assert any(getattr(place, name, None) is cls for place in PLACES), f"nobody can import {name}"


@pytest.mark.parametrize("name", public_typing.__all__)
def test_every_type_is_in_the_reference(name: str) -> None:
    directive = rf"\n\.\. (autoclass|py:data):: tablevault_like\.typing\.{name}\n"
    assert re.search(directive, REFERENCE.read_text())


def test_nothing_is_there_twice() -> None:
    assert not set(public_typing.__all__) & set(tablevault_like.__all__)
    assert sorted(public_typing.__all__) == public_typing.__all__
