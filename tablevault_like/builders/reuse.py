"""Take over from the origin instance what an execution would make again.

1. A row is reused if the same recipe made it of the same inputs. Nothing else counts: not its age, not its builder's
   name.
2. Rows are matched by the primary key of the table if it has one, else by position.
3. A builder whose function is called once for all rows is reused as a whole, if the rows are the same, in the same
   order.
4. What is reused is recorded like any row, with the input hash, so that it is found again at a resume, and by the next
   instance.
5. An artifact is taken over only if it is what was recorded of it. One that isn't is made again, with its row.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tablevault_like.builders.frames import FrameCache, row_keys
from tablevault_like.builders.provenance import Provenance
from tablevault_like.errors import TVArtifactError, TVTableError
from tablevault_like.model import ARTIFACT_DTYPE
from tablevault_like.storage import artifacts, files, tables
from tablevault_like.storage.values import encode_cells

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """The instance that another is made from: its frame, its artifacts, and how it was made.

    ``digests`` gives the SHA-256 of its artifacts, by name, as they were recorded.
    """

    table: pa.Table
    artifact_folder: Path
    provenance: Provenance
    digests: Callable[[], Mapping[str, str]]


@dataclass(frozen=True)
class ReusedRow:
    """A row of the origin in the place of one that would be made: ``cells`` is the text that is recorded."""

    index: int
    cells: str
    input_hash: bytes | None


class Reuse:
    """What can be reused of an origin, for one execution. ``artifact_folder`` is that of the instance being built."""

    told = "the origin"

    def __init__(self, origin: Origin, frames: FrameCache, *, key: Sequence[str], artifact_folder: Path) -> None:
        self._origin = origin
        self._frames = frames
        self._key = tuple(key)
        self._artifact_folder = artifact_folder

    def rows(self, recipe: str, columns: Sequence[str]) -> ReusableRows | None:
        """Return the rows that a recipe has made, None if it has made none."""
        found = self._made_by(recipe, columns)
        return None if found is None else ReusableRows(self, columns, self.places, *found)

    def batches(self, recipe: str, columns: Sequence[str]) -> ReusableBatches | None:
        """Return the batches of rows that a recipe has made, None if it has made none.

        None as well if another builder changed their columns: what they were is lost then.
        """
        changed = [builder.changed_columns for builder in self._origin.provenance.builders()]
        if sum(bool(set(columns).intersection(each)) for each in changed) > 1:
            return None
        found = self._made_by(recipe, columns)
        if found is None:
            return None
        every = np.arange(self._origin.table.num_rows)
        return ReusableBatches(ReusableRows(self, columns, every, *found), found[0])

    def _made_by(self, recipe: str, columns: Sequence[str]) -> tuple[list[bytes | None], Mapping[int, str]] | None:
        """Return the input hashes of the origin's rows that a recipe has made, and their cells where they are kept."""
        if not set(columns) <= set(self._origin.table.column_names):
            return None
        for builder in self._origin.provenance.builders():
            if builder.changed_columns == tuple(columns):
                found = self._origin.provenance.rows(builder.name, count=self._origin.table.num_rows)
                if found is not None and recipe in found.recipes.values():
                    usable = [
                        each if found.recipes.get(code) == recipe else None
                        for each, code in zip(found.hashes, found.codes, strict=True)
                    ]
                    if any(usable):  # else another builder of the same columns may have used it
                        return usable, found.cells
        return None

    def whole(self, columns: Sequence[str], input_hash: bytes) -> pa.Table | None:
        """Return the columns that a function made for all rows at once, None if it hasn't made these.

        Their artifacts are in place then. ``input_hash`` is that of the recipe, too.
        """
        found = self.known_whole(columns, input_hash)
        return found if found is not None and self.take_artifacts(found) else None

    def known_whole(self, columns: Sequence[str], input_hash: bytes) -> pa.Table | None:
        """Return what ``whole`` does, and leave the artifacts where they are."""
        table = self._origin.table
        is_same = len(self.places) == table.num_rows and bool((self.places == np.arange(table.num_rows)).all())
        for builder in self._origin.provenance.builders():
            if (builder.changed_columns, builder.input_hash) == (tuple(columns), input_hash):
                return table.select(list(columns)) if is_same and set(columns) <= set(table.column_names) else None
        return None

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """For each row of the frame being built the position of its row in the origin, or -1."""
        rows, known = self._frames.rows or 0, self._origin.table.num_rows
        if not self._key:
            places = np.arange(rows, dtype=np.int64)
            places[known:] = -1
            return places
        if not set(self._key) <= set(self._origin.table.column_names):
            return np.full(rows, -1, np.int64)
        old = tables.frame_from_table(self._origin.table.select(list(self._key)))
        try:
            positions = {key: place for place, key in enumerate(row_keys(old, self._key))}
            new = row_keys(self._frames.built(self._key), self._key)
            return np.fromiter((positions.get(key, -1) for key in new), dtype=np.int64, count=rows)
        except TVTableError:  # keys that can't be told apart by hashing
            return np.full(rows, -1, np.int64)

    def take_artifacts(self, table: pa.Table) -> bool:
        """Copy the artifacts that are named in a part of the origin's table, all or none. Tell whether it was all."""
        columns = [each.name for each in tables.table_columns(table) if each.dtype == ARTIFACT_DTYPE]
        names = [name for column in columns for name in table.column(column).to_pylist() if name is not None]
        new = {name for name in names if not os.path.lexists(self._artifact_folder / name)}
        try:
            taken = artifacts.take_over(names, self._origin.artifact_folder, self._artifact_folder)
            changed = [name for name, digest in taken.items() if self._digests.get(name) != digest]
        except TVArtifactError as error:
            changed, told = names, str(error)
        else:
            told = f"{', '.join(map(repr, changed))} was changed since"
        if changed:
            _log.warning("Not reused: artifacts in %s. %s", self._origin.artifact_folder, told)
            for name in new:
                files.remove(self._artifact_folder / name)
        return not changed

    @cached_property
    def _digests(self) -> Mapping[str, str]:
        return self._origin.digests()

    def part(self, columns: Sequence[str], places: Sequence[int]) -> pa.Table:
        """Return some rows of the origin's table, in some columns."""
        return self._origin.table.select(list(columns)).take(pa.array(places, pa.int64()))


class ReusableRows:
    """The rows that one recipe has made."""

    def __init__(
        self,
        reuse: Reuse,
        columns: Sequence[str],
        places: NDArray[np.int64],
        hashes: Sequence[bytes | None],
        exact: Mapping[int, str],
    ) -> None:
        self._reuse = reuse
        self._columns = tuple(columns)
        self._places = places.tolist()
        self._hashes = hashes
        self._exact = exact

    def take(self, rows: Sequence[int], hash_of: Callable[[int], bytes]) -> list[ReusedRow]:
        """Return those of ``rows`` that needn't be made, their artifacts in place. ``hash_of`` gives input hashes."""
        found: list[tuple[int, int, bytes]] = []
        for row in rows:
            place = self._places[row]
            known = self._hashes[place] if place >= 0 else None
            if known is not None and hash_of(row) == known:
                found.append((row, place, known))
        if not found:
            return []
        return self.take_together(found) or self._one_by_one(found)

    def take_together(self, found: Sequence[tuple[int, int, bytes]]) -> list[ReusedRow]:
        """Return rows that needn't be made, all or none: for each its position, where it is in the origin, its hash."""
        part = self._reuse.part(self._columns, [place for _, place, _ in found])
        return self._recorded(found, part) if self._reuse.take_artifacts(part) else []

    def _one_by_one(self, found: Sequence[tuple[int, int, bytes]]) -> list[ReusedRow]:
        """Leave out the rows whose artifacts can't be had."""
        kept: list[ReusedRow] = []
        for each in found:
            part = self._reuse.part(self._columns, [each[1]])
            if self._reuse.take_artifacts(part):
                kept += self._recorded([each], part)
        return kept

    def _recorded(self, found: Sequence[tuple[int, int, bytes]], part: pa.Table) -> list[ReusedRow]:
        return [
            ReusedRow(row, self._exact.get(place) or encode_cells(cells, self._columns), known)
            for (row, place, known), cells in zip(found, tables.cells_of(part), strict=True)
        ]


class ReusableBatches:
    """The batches that one recipe has made: all rows of a batch have its hash, and no others."""

    def __init__(self, rows: ReusableRows, hashes: Sequence[bytes | None]) -> None:
        self._rows = rows
        self._places: dict[bytes, list[int]] = {}
        for place, known in enumerate(hashes):
            if known is not None:
                self._places.setdefault(known, []).append(place)

    def take(self, rows: Sequence[int], input_hash: bytes) -> list[ReusedRow]:
        """Return the rows of a batch if they needn't be made, their artifacts in place; else none."""
        places = self._places.get(input_hash, ())
        if len(places) != len(rows):
            return []
        return self._rows.take_together([(row, at, input_hash) for row, at in zip(rows, places, strict=True)])
