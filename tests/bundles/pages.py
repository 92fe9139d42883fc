"""A table whose builders are of every kind, and count their calls."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tablevault_like import TableVault
from tests.scenes import Calls
from tests.tables import begin, column, index, write_code
from tests.workers import CALLS_VARIABLE

WORDS = ["ape", "bee", "cat", "dog", "eel", "fox"]

CODE = """
from pathlib import Path

import pandas as pd

from tests.workers import note_call, pass_point


def rows():
    for word in ["ape", "bee", "cat", "dog", "eel", "fox"]:
        yield {"name": word}


def shout(word):
    note_call(f"shout {word}")
    pass_point(f"shout {word}")
    return word.upper()


def page(word, folder):
    note_call(f"page {word}")
    pass_point(f"page {word}")
    Path(folder, f"{word}.txt").write_text(word * 3)
    return f"{word}.txt"


def total(words):
    note_call("total")
    return pd.DataFrame({"total": [words["name"].str.len().sum()] * len(words)})


def back(words):
    note_call("back")
    for word in words["name"]:
        pass_point(f"back {word}")
        yield word[::-1]


def again(page):
    note_call(f"again {Path(page).stem}")
    return Path(page).read_text()
"""

WORD = {"word": "<<self.name[index]>>"}
ALL = {"words": "<<self.{name}>>"}
BUILDERS = {
    "index": index("name", primary_key=["name"]),
    "shout": column("loud", function="shout", arguments=WORD),
    "page": column(
        "page",
        function="page",
        arguments={**WORD, "folder": "~ARTIFACT_FOLDER~"},
        dtypes={"page": "artifact_string"},
    ),
    "total": column("total", function="total", arguments=ALL, return_type="dataframe"),
    "back": column("back", function="back", arguments=ALL, return_type="generator"),
    "again": column("text", function="again", arguments={"page": "<<self.page[index]>>"}),
}

SHOUTS = {f"shout {word}": 1 for word in WORDS}
PAGES = {f"page {word}": 1 for word in WORDS}
AGAIN = {f"again {word}": 1 for word in WORDS}


def prepare(vault: TableVault, **fields: Any) -> None:
    """Create a temporary instance with the builders, and the code, as somebody would who has them from elsewhere."""
    begin(vault, "pages", BUILDERS, **fields)


def with_code(vault: TableVault) -> None:
    write_code(vault, CODE)


def called(vault: TableVault, calls: Calls, table: str = "pages", **fields: object) -> Counter[str]:
    """Execute, and return what was called."""
    before = calls()
    vault.execute_instance(table, **fields)  # type: ignore[arg-type]
    return calls() - before


def texts(vault: TableVault, table: str = "pages", instance_id: str = "") -> dict[str, str]:
    """Return what the artifacts of an instance hold, by the rows' keys."""
    frame = vault.get_dataframe(table, instance_id)
    return {name: Path(page).read_text() for name, page in zip(frame["name"], frame["page"], strict=True)}


def make_stage(folder: Path) -> None:
    """Make in a folder the bundles ``whole`` and ``results``, and the vaults ``executed``, ``empty`` and ``begun``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CALLS_VARIABLE, str(folder / "calls"))
        vault = TableVault(folder / "executed", "ada", create=True)
        begin(vault, "pages", BUILDERS, code=CODE)
        vault.execute_instance("pages")
    vault.export_instance("pages", path=folder / "whole")
    vault.export_instance("pages", path=folder / "results", builder="shout")
    TableVault(folder / "empty", "bob", create=True)
    begin(TableVault(folder / "begun", "bob", create=True), "pages", BUILDERS, code=CODE)
