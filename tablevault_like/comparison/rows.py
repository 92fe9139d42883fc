"""Which row of one frame is which of the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tablevault_like.comparison.cells import Codes, codes


@dataclass(frozen=True, eq=False)
class Matched:
    """The positions of rows: those that both frames have, pair by pair, and those that only one of them has.

    Pairs and added rows are in the order of the new frame, removed rows in that of the old one.
    """

    old: Codes
    new: Codes
    removed: Codes
    added: Codes

    @property
    def is_reordered(self) -> bool:
        return bool((np.diff(self.old) < 0).any())


def by_position(old_count: int, new_count: int) -> Matched:
    """Match the first row with the first one, and so on."""
    both = np.arange(min(old_count, new_count))
    return Matched(both, both, np.arange(len(both), old_count), np.arange(len(both), new_count))


def by_key(old: Sequence[pd.Series[Any]], new: Sequence[pd.Series[Any]]) -> Matched | str:
    """Match rows whose keys are equal, column by column. A text says why that can't be done."""
    old_codes, new_codes = _joined([codes(*pair) for pair in zip(old, new, strict=True)])
    for found, which in ((old_codes, "old"), (new_codes, "new")):
        if (found < 0).any():
            return f"row {int((found < 0).argmax())} of the {which} instance has no value in it"
        repeated = pd.Series(found).duplicated().to_numpy()
        if repeated.any():
            return f"row {int(repeated.argmax())} of the {which} instance has the value of another row"
    place = pd.Index(old_codes).get_indexer(pd.Index(new_codes)).astype(np.int64)
    is_known = place >= 0
    is_left = np.ones(len(old_codes), bool)
    is_left[place[is_known]] = False
    return Matched(place[is_known], np.flatnonzero(is_known), np.flatnonzero(is_left), np.flatnonzero(~is_known))


def _joined(columns: Sequence[tuple[Codes, Codes]]) -> tuple[Codes, Codes]:
    """Return one number for the numbers of all columns of a row; -1 if one of them is."""
    length = len(columns[0][0])
    joined = np.concatenate(columns[0])
    for pair in columns[1:]:
        more = np.concatenate(pair)
        is_missing = (joined < 0) | (more < 0)
        # Numbered anew each time, so that they stay small.
        joined = pd.factorize(joined * (more.max(initial=0) + 1) + more)[0].astype(np.int64)
        joined[is_missing] = -1
    return joined[:length], joined[length:]
