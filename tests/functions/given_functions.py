"""Functions as people write them in scripts, for tests that give them to a vault."""

from __future__ import annotations

import functools
import os.path
import re
import threading
import xml.etree.ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd

from tablevault_like import Row
from tablevault_like.functions.file_arguments import reads_files

if TYPE_CHECKING:
    from decimal import Decimal

LIMIT = 3
LABELS = {"good": (1, 2), "bad": (0,)}
WORD = re.compile(r"[a-z]+", re.IGNORECASE)
FRAME = pd.DataFrame({"n": [1, 2, 3]})
ENDLESS = (0 for _ in iter(int, 1))
LOCK = threading.Lock()
COUNT = 0
Value = TypeVar("Value")


def alone(text: str) -> int:
    return len(text)


def with_helpers(text: str, n: int = LIMIT) -> list[str]:
    """Return the first words."""
    return [clean(word) for word in words(text)][:n]


def words(text: str) -> list[str]:
    return WORD.findall(text)


def clean(word: str) -> str:
    # This comment stays.
    return word.lower()


def with_modules(folder: str) -> tuple[str, float, str, str]:
    tree = xml.etree.ElementTree.fromstring("<a><b/></a>")
    joined = os.path.join(folder, "x")  # noqa: PTH118
    return joined, float(np.mean([1, 3])), Path(folder).name, tree[0].tag


def with_constants(name: str) -> tuple[int, ...]:
    return LABELS[name]


def doubled(function: Callable[..., int]) -> Callable[..., int]:
    @functools.wraps(function)
    def call(*given: object) -> int:
        return 2 * function(*given)

    return call


@doubled
def decorated(n: int) -> int:
    return n + 1


@functools.lru_cache(maxsize=16)
def cached(n: int) -> int:
    return n * n


@reads_files("path")
def reads(path: str) -> str:
    return Path(path).read_text()


@dataclass
class Pair:
    left: int
    right: int = LIMIT

    def total(self) -> int:
        return add(self.left, self.right)


def add(left: int, right: int) -> int:
    return left + right


def with_class(n: int) -> int:
    return Pair(n).total()


def recursive(n: int) -> int:
    return 1 if n <= 1 else n * other(n)


def other(n: int) -> int:
    return recursive(n - 1)


def counting() -> int:
    global COUNT
    COUNT += 1
    return COUNT


def generator(n: int) -> Iterator[Row]:
    for number in range(n):
        yield Row(number, number**2)


def typed(value: Decimal) -> Decimal:
    return value + 1


def with_type_variable(value: Value) -> Value:
    found: Decimal = value  # type: ignore[assignment]
    return found  # type: ignore[return-value]


def with_frame(n: int) -> int:
    return int(FRAME["n"].sum()) + n


def with_lock(n: int) -> int:
    with LOCK:
        return n


def with_generator(n: int) -> int:
    return next(ENDLESS) + n


def with_file() -> str:
    return __file__


def with_unknown() -> object:
    return nowhere  # type: ignore[name-defined]  # noqa: F821


def with_relative() -> object:
    from . import __name__ as name  # noqa: TID252

    return name


def with_lazy_import() -> str:
    import json

    return json.dumps([1])


def computed_default(n: int, made: float = float("1.5") + 1) -> float:
    return n + made


def prefixed(prefix: str) -> Callable[[str], str]:
    def add_prefix(text: str) -> str:
        return f"{prefix}{clean(text)}"

    return add_prefix


def countdown() -> Callable[[int], list[int]]:
    def down(n: int) -> list[int]:
        return [n, *down(n - 1)] if n else []

    return down


def counter() -> Callable[[], int]:
    count = 0

    def count_up() -> int:
        nonlocal count
        count += 1
        return count

    return count_up


def closing_over(value: object) -> Callable[[], object]:
    def give() -> object:
        return value

    return give


def nested() -> Callable[[int], int]:
    def increase(n: int) -> int:
        return n + LIMIT

    return increase


double = lambda n: n * LIMIT  # noqa: E731
PAIR = (lambda n: n + 1, lambda n: n + 2)


class Scorer:
    def __init__(self, weight: int) -> None:
        self.weight = weight

    def score(self, n: int) -> int:
        return n * self.weight

    @staticmethod
    def plain(n: int) -> int:
        return -n


async def asynchronous() -> int:
    return 1
