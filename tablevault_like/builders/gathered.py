"""Reuse of several places at once: of the origin first, then of results that were imported, in a fixed order.

What one doesn't have, or has with artifacts that aren't what was recorded of them, the next is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from tablevault_like.builders.reuse import ReusableBatches, ReusableRows, Reuse, ReusedRow


class GatheredReuse:
    """What can be reused, wherever it is, for one execution. ``told`` says in a few words where that is."""

    def __init__(self, parts: Sequence[Reuse], told: str) -> None:
        self.told = told
        self._parts = tuple(parts)

    def rows(self, recipe: str, columns: Sequence[str]) -> GatheredRows | None:
        """Return the rows that a recipe has made, None if it has made none."""
        found = [rows for part in self._parts if (rows := part.rows(recipe, columns)) is not None]
        return GatheredRows(found) if found else None

    def batches(self, recipe: str, columns: Sequence[str]) -> GatheredBatches | None:
        """Return the batches of rows that a recipe has made, None if it has made none."""
        found = [batches for part in self._parts if (batches := part.batches(recipe, columns)) is not None]
        return GatheredBatches(found) if found else None

    def whole(self, columns: Sequence[str], input_hash: bytes) -> pa.Table | None:
        """Return the columns that a function made for all rows at once, their artifacts in place; None if none has."""
        return next((made for part in self._parts if (made := part.whole(columns, input_hash)) is not None), None)

    def known_whole(self, columns: Sequence[str], input_hash: bytes) -> pa.Table | None:
        """Return what ``whole`` does, and leave the artifacts where they are."""
        return next((made for part in self._parts if (made := part.known_whole(columns, input_hash)) is not None), None)


class GatheredBatches:
    """The batches that one recipe has made, in several places."""

    def __init__(self, parts: Sequence[ReusableBatches]) -> None:
        self._parts = tuple(parts)

    def take(self, rows: Sequence[int], input_hash: bytes) -> list[ReusedRow]:
        """Return the rows of a batch that needn't be made, their artifacts in place: all of them, or none."""
        return next((taken for part in self._parts if (taken := part.take(rows, input_hash))), [])


class GatheredRows:
    """The rows that one recipe has made, in several places."""

    def __init__(self, parts: Sequence[ReusableRows]) -> None:
        self._parts = tuple(parts)

    def take(self, rows: Sequence[int], hash_of: Callable[[int], bytes]) -> list[ReusedRow]:
        """Return those of ``rows`` that needn't be made, their artifacts in place. ``hash_of`` gives input hashes."""
        known: dict[int, bytes] = {}

        def hash_once(row: int) -> bytes:
            if row not in known:
                known[row] = hash_of(row)
            return known[row]

        taken: list[ReusedRow] = []
        left = list(rows)
        for part in self._parts:
            found = part.take(left, hash_once)
            taken += found
            indexes = {row.index for row in found}
            left = [row for row in left if row not in indexes]
        return taken
