"""What an instance was made with: which recipe made each row of each builder, from which inputs.

It lies in the folder ``provenance`` of the instance, and is what rows are reused by::

    plan.json             what was to be done
    builders.json         the builders, how many of their rows became what, and the recipes
    <builder>.parquet     for each row input hash, code, attempts, seconds, cost, tokens
    failures.parquet      the rows that failed, of all builders, if there are any

1. A row that isn't there (a partial instance, a row that was skipped) has no input hash, and is never reused. It has
   attempts if its function was called, and none (not 0, as a row that was reused) if it wasn't.
2. A row that was reused has the recipe and the input hash of the row that it was taken from.
3. A function that was called once for all rows has an input hash only if it made them all, in calls that were the same.
4. What a function returned for a row can be had again exactly. Where the frame's dtype has made something else of it
   (an integer among floats), it is kept here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tablevault_like.builders.failures import (
    DTYPES,
    MISSING,
    failures,
    makes_rows,
    missing,
    never_called,
    table_of,
    with_keys,
)
from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.errors import TVArgumentError, TVFileError, TVTableError
from tablevault_like.model import ARTIFACT_DTYPE, ReturnType
from tablevault_like.storage import files, reach, tables
from tablevault_like.storage.documents import parsed
from tablevault_like.storage.row_reader import Counts, RowReader
from tablevault_like.storage.values import encode_cells

FORMAT = 2
FAILURES = "failures.parquet"

_READ = (1, FORMAT)
"""The formats that are read. The first one tells nothing of attempts and failures."""

_INTEGER = re.compile(r"[\[,]-?[0-9]+[\],]")
"""An integer among the cells of rows, as they are recorded."""


_EFFORTS: Mapping[str, Literal["Int32", "Int64", "Float32", "Float64"]] = {
    "attempts": "Int32",
    "seconds": "Float32",
    "cost": "Float64",
    "tokens": "Int64",
}


@dataclass(frozen=True, slots=True)
class RowOrigins:
    """How the rows of one builder were made, by position.

    ``hashes`` are input hashes, ``None`` for a row that wasn't recorded with one; ``codes`` numbers whose recipes are
    in ``recipes``. ``cells`` are those that were recorded, by position, where the frame doesn't give them back exactly.
    """

    hashes: list[bytes | None]
    codes: list[int]
    recipes: Mapping[int, str]
    cells: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class BuilderOrigin:
    """How the columns of one builder were made.

    ``input_hash`` is that of a function that was called once for all rows: of its recipe, and of what it was given.
    """

    name: str
    changed_columns: tuple[str, ...]
    input_hash: bytes | None


class Provenance:
    """What is kept of how one instance was made.

    Its methods raise TVFileError if that is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def write(
        cls,
        folder: Path,
        plan: Plan,
        store: RowReader,
        *,
        table: Path,
        rows: int,
        has_frame: Callable[[str], bool] = lambda builder: False,
    ) -> None:
        """Write what the plan and the row store tell of an instance's ``rows`` rows, which are in the file ``table``.

        ``has_frame`` tells whether a dataframe builder's frame was kept. The caller syncs the folder.
        """
        reach.make_folder(folder)
        files.write_file(folder / "plan.json", plan.to_json())
        codes = {str(number): recipe for number, recipe in store.codes().items()}
        told = []
        count_failed = 0
        for builder in plan.builders:
            has_rows = _has_rows(builder)
            counts = store.counts(builder.name)
            count_failed += counts.failed + counts.skipped
            input_hash = store.input_hash(builder.name)
            if not (counts.done >= rows if has_rows else has_frame(builder.name)):
                input_hash = None
            told.append(
                {
                    "name": builder.name,
                    "changed_columns": list(builder.changed_columns),
                    "recipe": builder.recipe,
                    "input_hash": None if input_hash is None else input_hash.hex(),
                    "has_rows": has_rows,
                    "counts": _told_counts(store, builder, counts, rows, has_frame=has_frame(builder.name)),
                }
            )
            if has_rows or not (makes_rows(builder) or builder.return_type is ReturnType.DATAFRAME):
                tables.write_table(folder / f"{builder.name}.parquet", _frame(store, builder, table, rows))
        failed = failures(plan, store, lambda names: _key_columns(table, names)) if count_failed else table_of([])
        if len(failed):
            tables.write_table(folder / FAILURES, failed, DTYPES)
        written = {"format": FORMAT, "recipes": codes, "builders": told, "failures": len(failed)}
        files.write_file(folder / "builders.json", json.dumps(written, indent=1))

    def builders(self) -> tuple[BuilderOrigin, ...]:
        """Return the builders of the instance; none if it was made by hand, or by a version that kept nothing of it."""
        return tuple(builder for builder, _ in self._told[0])

    def rows(self, builder: str, *, count: int) -> RowOrigins | None:
        """Return how the ``count`` rows of a builder were made, None if they weren't recorded one by one."""
        builders, recipes = self._told
        if not any(each.name == builder and has_rows for each, has_rows in builders):
            return None
        path = self._folder / f"{builder}.parquet"
        try:
            frame = tables.read_table(path)
            cells = frame["cells"].tolist() if "cells" in frame else ()
            found = RowOrigins(
                hashes=frame["input_hash"].tolist(),
                codes=frame["code"].tolist(),
                recipes=recipes,
                cells={row: text for row, text in enumerate(cells) if isinstance(text, str)},
            )
        except (TVFileError, KeyError) as error:
            raise _damaged(path, error) from error
        if len(frame) != count:
            raise _damaged(path, f"it has {len(frame)} rows, the instance {count}")
        return found

    def failures(self) -> pd.DataFrame:
        """Return the rows that failed or were skipped, with the columns ``failures.DTYPES``."""
        path = self._folder / FAILURES
        count = self._written.get("failures", 0)
        if not count:
            return table_of([])
        try:
            found = tables.read_table(path, columns=list(DTYPES))
        except (TVFileError, TVArgumentError) as error:
            raise _damaged(path, error, loss=_LOST_FAILURES) from error
        if len(found) != count:
            raise _damaged(path, f"it has {len(found)} rows instead of {count}", loss=_LOST_FAILURES)
        return found

    def missing(self, *, table: Path) -> pd.DataFrame:
        """Return the rows that nobody has called a function for, likewise. ``table`` is the file of the frame."""
        if not any(each.get("counts", {}).get(MISSING) for each in self._written.get("builders", ())):
            return table_of([])
        plan = self.plan
        lines = []
        for builder, told in zip(plan.builders, self._written["builders"], strict=True):
            if not told["counts"][MISSING]:
                continue
            if builder.return_type is ReturnType.DATAFRAME:
                lines += missing(builder, range(told["counts"][MISSING]))
            else:
                lines += missing(builder, np.flatnonzero(self.efforts(builder.name)["attempts"].isna()))
        return with_keys(plan, table_of(lines), lambda names: _key_columns(table, names))

    def efforts(self, builder: str) -> pd.DataFrame:
        """Return what each row of a builder took: attempts, seconds, cost and tokens, missing where none was called."""
        path = self._folder / f"{builder}.parquet"
        try:
            return tables.read_table(path, columns=list(_EFFORTS))
        except (TVFileError, TVArgumentError) as error:
            raise _damaged(path, error, loss=_LOST_FAILURES) from error

    @property
    def plan(self) -> Plan:
        """The plan that the instance was made by."""
        path = self._folder / "plan.json"
        try:
            return Plan.from_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise _damaged(path, error, loss=_LOST_FAILURES) from error

    @cached_property
    def _told(self) -> tuple[list[tuple[BuilderOrigin, bool]], dict[int, str]]:
        """The builders, each with whether its rows were recorded one by one, and the recipes by number."""
        path = self._folder / "builders.json"
        found = self._written
        if not found:
            return [], {}
        try:
            builders = [(_builder(each), bool(each["has_rows"])) for each in found["builders"]]
            return builders, {int(number): str(recipe) for number, recipe in found["recipes"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, error) from error

    @cached_property
    def _written(self) -> Mapping[str, Any]:
        """What is written in ``builders.json``: nothing if it isn't there, or is of a format that isn't known."""
        path = self._folder / "builders.json"
        try:
            found: Mapping[str, Any] = parsed(path.read_text(encoding="utf-8"))
            return found if found["format"] in _READ else {}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(path, error) from error


def _has_rows(builder: PlannedBuilder) -> bool:
    """Tell whether a builder's rows are recorded with input hashes, and have places in the frame that are known."""
    if builder.is_index:
        return builder.return_type is ReturnType.BATCH and not builder.fields["keep_old"]
    return builder.return_type is not ReturnType.DATAFRAME


def _places(store: RowReader, builder: PlannedBuilder, rows: int) -> Callable[[Sequence[int]], NDArray[np.int64]]:
    """Return what tells where recorded rows are in the frame, -1 if they aren't in it.

    Without some batches of an IndexBuilder the rows of those that come after them stand earlier. What failed may be a
    row too many.
    """
    makes_batches = builder.is_index and builder.return_type is ReturnType.BATCH
    if not makes_batches or rows == builder.fields["total_rows"]:
        return lambda made: np.where((positions := np.array(made, np.int64)) < rows, positions, -1)
    done = store.recorded(builder.name)
    places = {position: place for place, position in enumerate(done.tolist())}
    return lambda made: np.array([places.get(position, -1) for position in made], np.int64)


def _builder(told: Mapping[str, Any]) -> BuilderOrigin:
    input_hash = None if told["input_hash"] is None else bytes.fromhex(told["input_hash"])
    return BuilderOrigin(told["name"], tuple(told["changed_columns"]), input_hash)


_LOST_REUSE = (
    "Rows of this instance can't be reused: restore the file from a backup, or execute with force_execute=True to make "
    "all rows anew."
)
_LOST_FAILURES = "It can't be told what has become of which row: restore the file from a backup."


def _damaged(path: Path, why: object, *, loss: str = _LOST_REUSE) -> TVFileError:
    return TVFileError(f"{path} is damaged ({why}). {loss}", path=path)


def _told_counts(
    store: RowReader, builder: PlannedBuilder, found: Counts, rows: int, *, has_frame: bool
) -> dict[str, float]:
    """Return how many rows of a builder became what, and what they took."""
    is_whole = builder.return_type is ReturnType.DATAFRAME
    is_full = found.done + found.failed + found.skipped >= rows
    never = 0 if is_full else len(never_called(store, builder, rows=rows, has_frame=has_frame))
    return {
        "done": rows * has_frame if is_whole else found.done,
        "failed": found.failed,
        "skipped": found.skipped,
        MISSING: never,
        "cost": found.cost,
        "tokens": found.tokens,
    }


def _key_columns(table: Path, names: Sequence[str]) -> pd.DataFrame | None:
    known = {column.name for column in tables.read_columns(table)[0]}
    return tables.read_table(table, columns=names) if set(names) <= known else None


def _frame(store: RowReader, builder: PlannedBuilder, table: Path, rows: int) -> pd.DataFrame:
    hashes = np.full(rows, None, dtype=object)
    codes = np.zeros(rows, np.int32)
    places_of = _places(store, builder, rows)
    efforts = np.full((4, rows), np.nan)
    for batch in store.efforts(builder.name):
        # Not zip(*batch): as many iterators as there are rows would keep the garbage collector busy.
        columns: list[list[Any]] = [[row[place] for row in batch] for place in range(5)]
        made, found, numbers, attempts, seconds = columns
        places = places_of(made)
        is_there = places >= 0
        places = places[is_there]
        hashes[places] = np.array(found, dtype=object)[is_there]
        codes[places] = np.array(numbers, np.int32)[is_there]
        efforts[0, places] = np.array(attempts, np.float64)[is_there]
        efforts[1, places] = np.array(seconds, np.float64)[is_there]
    if prices := store.prices(builder.name):
        priced, *price = zip(*prices, strict=True)
        places = places_of(priced)
        efforts[2:, places[places >= 0]] = np.array(price, np.float64)[:, places >= 0]  # None becomes nan
    frame = pd.DataFrame({"input_hash": pd.Series(hashes, dtype=object), "code": codes})
    for (name, dtype), values in zip(_EFFORTS.items(), efforts, strict=True):
        frame[name] = pd.Series(values).astype(dtype)
    is_row_wise = builder.return_type is ReturnType.ROW_WISE and not builder.is_index
    if is_row_wise or builder.return_type is ReturnType.BATCH:
        lost = dict(_lost_cells(store, builder, table, places_of))
        if lost:
            cells = np.full(rows, None, dtype=object)
            cells[list(lost)] = list(lost.values())
            frame["cells"] = pd.Series(cells, dtype=object)
    return frame


def _lost_cells(
    store: RowReader,
    builder: PlannedBuilder,
    table: Path,
    places_of: Callable[[Sequence[int]], NDArray[np.int64]],
) -> Iterator[tuple[int, str]]:
    """Yield the rows, with their cells as they are recorded, that can't be had again exactly from the frame."""
    if all(builder.dtypes.get(name, "category") != "category" for name in builder.changed_columns):
        return  # declared dtypes make the same of what they made
    dtypes = {column.name: column.dtype for column in tables.read_columns(table)[0]}
    has_floats = any(dtypes[name] in ("Float64", "category") for name in builder.changed_columns)
    made: pa.Table | None = None
    for batch in store.cells(builder.name, holding="" if has_floats else "{"):
        text = "".join([cells for _, cells in batch])
        if "{" not in text and not (has_floats and _INTEGER.search(text)):
            continue  # nothing but texts, numbers and such
        if made is None:
            made = _columns(table, builder.changed_columns, dtypes)
        places = places_of([row for row, _ in batch])
        part = made.take(pa.array(places, pa.int64()))
        yield from (
            (place, recorded)
            for place, (_, recorded), cells in zip(places.tolist(), batch, tables.cells_of(part), strict=True)
            if _encoded(cells) != recorded
        )


def _columns(table: Path, names: Sequence[str], dtypes: Mapping[str, str]) -> pa.Table:
    """Return columns of a frame as an execution has them that this is the origin of."""
    paths = {name: dtypes[name] for name in names if dtypes[name] == ARTIFACT_DTYPE}
    return tables.table_from_frame(tables.read_table(table, columns=names), paths)


def _encoded(cells: Sequence[object]) -> str | None:
    try:
        return encode_cells(cells)
    except TVTableError:
        return None
