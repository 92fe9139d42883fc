"""Tables whose builders work in batches, and what is recorded and noted of them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tablevault_like import TableVault
from tablevault_like.layout import Layout
from tablevault_like.model import StepRecord
from tests.scenes import Calls
from tests.tables import column, index

CODE = """
from pathlib import Path

import pandas as pd

from tablevault_like.model import Result
from tests.workers import note_call, pass_point


def make(start, size):
    note_call(f"make {start}+{size}")
    pass_point(f"make {start}")
    return [f"w{number}" for number in range(start, start + size)]


def words():
    yield from (f"w{number}" for number in range(10))


def shout(rows, mark="!"):
    note_call("shout " + ",".join(map(str, rows.index)))
    pass_point(f"shout {rows.index[0]}")
    return rows["word"].str.upper() + mark


def page(rows, folder):
    note_call("page " + ",".join(map(str, rows.index)))
    for word in rows["word"]:
        Path(folder, f"{word}.txt").write_text(word * 3)
    return [f"{word}.txt" for word in rows["word"]]


def count(word):
    note_call(f"count {word}")
    return len(word)
"""


def making(total: int = 10, size: int = 4, **fields: object) -> str:
    arguments = {"start": "~BATCH_START~", "size": "~BATCH_SIZE~"}
    return index(
        "word",
        function="make",
        return_type="batch",
        batch_size=size,
        total_rows=total,
        arguments=arguments,
        **fields,
    )


def shouting(size: int = 4, function: str = "shout", columns: tuple[str, ...] = ("loud",), **fields: Any) -> str:
    given = {"word": "<<self.word[index]>>", **fields.pop("arguments", {})}
    return column(*columns, function=function, return_type="batch", batch_size=size, arguments=given, **fields)


def made(calls: Calls, kind: str) -> list[str]:
    """Return the calls of a function, sorted."""
    return sorted(call.partition(" ")[2] for call in calls().elements() if call.startswith(f"{kind} "))


def step(vault: TableVault, process_id: str, name: str) -> StepRecord:
    return next(each for each in vault.get_process(process_id).steps if each.name == name)


def recorded(vault: TableVault, process_id: str) -> list[tuple[Any, ...]]:
    """Return builder, row, status, attempts, cost and tokens of each row that is recorded."""
    with closing(sqlite3.connect(Layout(Path(vault.db_dir)).process(process_id).rows)) as store:
        return store.execute("SELECT builder, row, status, attempts, cost, tokens, inputs FROM results").fetchall()
