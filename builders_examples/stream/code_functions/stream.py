"""Functions for the tables ``definitions`` and ``points``: a source of many thousand values, and rows in batches."""

import random
import re
import sysconfig
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pandas as pd

from tablevault_like import checkpoint

LARGE = 100_000
DEFINITION = re.compile(r"\s*(?:async )?(def|class) (\w+)")


def definitions(start: int) -> Iterator[tuple[str, int, str, str]]:
    """Yield the functions and classes that Python's standard library defines, from one of them on."""
    yield from islice(_all_definitions(), start, None)


def _all_definitions() -> Iterator[tuple[str, int, str, str]]:
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        if path.stat().st_size > LARGE:
            checkpoint()  # if this one were too much, nothing that came before it would be lost
        text = path.read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if found := DEFINITION.match(line):
                yield path.stem, number, found[1], found[2]


def describe(rows: pd.DataFrame, private: str) -> pd.DataFrame:
    """Return two columns for many rows at once."""
    names = rows["name"]
    return pd.DataFrame({"is_private": names.str.startswith(private), "letters": names.str.len()})


def points(start: int, size: int, batch: int) -> pd.DataFrame:
    """Return so many points: the same ones for the same batch."""
    dice = random.Random(batch)
    return pd.DataFrame(
        {
            "id": range(start, start + size),
            "x": [round(dice.uniform(-1, 1), 6) for _ in range(size)],
            "y": [round(dice.uniform(-1, 1), 6) for _ in range(size)],
        }
    )
