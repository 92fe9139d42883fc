"""Columns and rows of random strings, to try things out with."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator, Sequence, Sized
from typing import TypeAlias

import pandas as pd

from tablevault_like.functions.builtin.declared import built_in

_CHARACTERS = string.ascii_letters + string.digits
_LENGTH = 20

Seed: TypeAlias = int | str | None


@built_in(version=1)
def random_column_string(
    df: Sized, column_names: str | Sequence[str], seed: Seed = None, **kwargs: object
) -> pd.DataFrame:
    """Return a frame as long as ``df`` whose columns are filled with random strings.

    The strings have 20 ASCII letters and digits. With a ``seed`` they are the same each time. Other keyword arguments
    are accepted and ignored.
    """
    source = random.Random(seed)
    return pd.DataFrame({name: [_string(source) for _ in range(len(df))] for name in _listed(column_names)})


@built_in(version=1)
def random_row_string(column_names: str | Sequence[str], seed: Seed = None, **kwargs: object) -> str | tuple[str, ...]:
    """Return a random string for each of ``column_names``; for a single one the string itself.

    A ``seed`` should differ from row to row (``<<self.id[index]>>``), otherwise all rows are the same.

    >>> random_row_string("name", seed=1)
    'i0VpEBOWfbZAVaBSo63b'
    """
    return _row(random.Random(seed), _listed(column_names))


@built_in(version=1)
def random_gen_string(
    column_names: str | Sequence[str], df: Sized, seed: Seed = None, **kwargs: object
) -> Iterator[str | tuple[str, ...]]:
    """Yield what ``random_row_string`` returns, once for each row of ``df``; with a ``seed`` the same each time."""
    source = random.Random(seed)
    names = _listed(column_names)
    for _ in range(len(df)):
        yield _row(source, names)


def _row(source: random.Random, names: Sequence[str]) -> str | tuple[str, ...]:
    row = tuple(_string(source) for _ in names)
    return row[0] if len(row) == 1 else row


def _string(source: random.Random) -> str:
    return "".join(source.choices(_CHARACTERS, k=_LENGTH))


def _listed(names: str | Sequence[str]) -> Sequence[str]:
    return [names] if isinstance(names, str) else names
