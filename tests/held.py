"""Pages that name, for each thing that they promise, the tests that hold it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def cells(line: str) -> list[str]:
    """Return the cells of a row of a Markdown table; a ``|`` in one of them is escaped."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]


def named(cell: str) -> list[str]:
    """Return the tests that a cell names, each in backquotes."""
    return re.findall(r"`([^`]+)`", cell)


def check(page: Path, test: str) -> None:
    """Fail unless the test that a page names, as pytest would name it, is there."""
    path, _, name = test.partition("::")

    assert name.rpartition("::")[2].startswith("test_"), f"{page.name} names {test}, which is no test"
    assert (CHECKOUT / path).is_file(), f"{page.name} names {test}, and there is no such file"
    assert name in _defined_in(CHECKOUT / path), f"{page.name} names {test}, which isn't there"


@cache
def _defined_in(path: Path) -> frozenset[str]:
    """Return the tests of a file, as pytest names them, without their parameters."""
    found = set()
    for node in ast.parse(path.read_text(), path).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
    return frozenset(found)
