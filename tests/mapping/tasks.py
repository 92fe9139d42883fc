"""What workers of these tests do, and what they leave behind."""

from __future__ import annotations

import sqlite3
import weakref
from pathlib import Path
from typing import Any

import pandas as pd

from tablevault_like import extract_df, map_rows
from tests.workers import note_call, pass_point

PROMPT = "Which mood is it?"

_pass_point = weakref.ref(pass_point)
"""Not used by its name: what a worker is to do at which point is no part of what the function does."""


def texts(count: int) -> pd.DataFrame:
    return pd.DataFrame({"id": [f"r{n}" for n in range(count)], "text": [f"It is number {n}." for n in range(count)]})


def numbers(count: int) -> pd.DataFrame:
    return pd.DataFrame({"id": range(count), "number": range(count)})


def double(row: dict[str, Any]) -> int:
    """Note the call, and be a place where a worker can be met."""
    note_call(str(row["id"]))
    _pass_point()(f"row {row['id']}")  # type: ignore[misc]
    return int(row["number"]) * 2


def map_numbers(cache_path: Path, count: int, n_threads: int = 1, fresh: bool = False) -> list[int]:
    frame = map_rows(numbers(count), double, cache_path, n_threads=n_threads, fresh=fresh)
    return [int(each) for each in frame["result"]]


def extract_texts(cache_path: Path, base_url: str, count: int, workers: int, chunk_size: int) -> int:
    frame = extract_df(
        texts(count),
        prompt=PROMPT,
        cache_path=cache_path,
        model="small",
        base_url=base_url,
        max_workers=workers,
        chunk_size=chunk_size,
    )
    return len(frame)


def recorded(cache_path: Path) -> set[str]:
    """Return the ids of the rows that are recorded, as anybody can read them while the cache is written."""
    return {name for (name,) in query(cache_path, "SELECT row_id FROM results")}


def query(cache_path: Path, sql: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(f"{cache_path.as_uri()}?mode=ro", uri=True, timeout=20)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def map_each(folder: Path, frames: int, count: int) -> list[int]:
    """Call, for each of some rows, a function that maps a frame of its own."""

    def map_one(row: dict[str, Any]) -> int:
        return sum(map_numbers(folder / f"inner_{row['id']}.sqlite", count))

    found = map_rows(numbers(frames), map_one, folder / "outer.sqlite", n_threads=1)
    return [int(each) for each in found["result"]]
