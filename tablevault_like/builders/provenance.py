"""What an instance was made with: which recipe made each row of each builder, from which inputs.

It lies in the folder ``provenance`` of the instance, and is what rows are reused by.

1. A row that isn't there (a partial instance) has no input hash, and is never reused.
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
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.errors import TVFileError, TVTableError
from tablevault_like.model import ARTIFACT_DTYPE, ReturnType
from tablevault_like.storage import files, tables
from tablevault_like.storage.rows import RowReader
from tablevault_like.storage.values import encode_cells

FORMAT = 1

_INTEGER = re.compile(r"[\[,]-?[0-9]+[\],]")
"""An integer among the cells of rows, as they are recorded."""


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
        folder.mkdir()
        files.write_file(folder / "plan.json", plan.to_json())
        codes = {str(number): recipe for number, recipe in store.codes().items()}
        told = []
        for builder in plan.builders:
            has_rows = not builder.is_index and builder.return_type is not ReturnType.DATAFRAME
            input_hash = store.input_hash(builder.name)
            if not (store.counts(builder.name).done >= rows if has_rows else has_frame(builder.name)):
                input_hash = None
            told.append(
                {
                    "name": builder.name,
                    "changed_columns": list(builder.changed_columns),
                    "recipe": builder.recipe,
                    "input_hash": None if input_hash is None else input_hash.hex(),
                    "has_rows": has_rows,
                }
            )
            if has_rows:
                tables.write_table(folder / f"{builder.name}.parquet", _frame(store, builder, table, rows))
        files.write_file(
            folder / "builders.json", json.dumps({"format": FORMAT, "recipes": codes, "builders": told}, indent=1)
        )

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

    @cached_property
    def _told(self) -> tuple[list[tuple[BuilderOrigin, bool]], dict[int, str]]:
        """The builders, each with whether its rows were recorded one by one, and the recipes by number."""
        path = self._folder / "builders.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["format"] != FORMAT:
                return [], {}
            builders = [(_builder(each), bool(each["has_rows"])) for each in found["builders"]]
            return builders, {int(number): str(recipe) for number, recipe in found["recipes"].items()}
        except FileNotFoundError:
            return [], {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, error) from error


def _builder(told: Mapping[str, Any]) -> BuilderOrigin:
    input_hash = None if told["input_hash"] is None else bytes.fromhex(told["input_hash"])
    return BuilderOrigin(told["name"], tuple(told["changed_columns"]), input_hash)


def _damaged(path: Path, why: object) -> TVFileError:
    return TVFileError(
        f"{path} is damaged ({why}). Rows of this instance can't be reused: restore the file from a backup, or execute "
        "with force_execute=True to make all rows anew.",
        path=path,
    )


def _frame(store: RowReader, builder: PlannedBuilder, table: Path, rows: int) -> pd.DataFrame:
    hashes = np.full(rows, None, dtype=object)
    codes = np.zeros(rows, np.int32)
    for batch in store.input_hashes(builder.name):
        made, found, numbers = zip(*batch, strict=True)
        places = np.array(made, np.int64)
        hashes[places] = np.array(found, dtype=object)
        codes[places] = numbers
    frame = pd.DataFrame({"input_hash": pd.Series(hashes, dtype=object), "code": codes})
    if builder.return_type is ReturnType.ROW_WISE:
        lost = dict(_lost_cells(store, builder, table))
        if lost:
            cells = np.full(rows, None, dtype=object)
            cells[list(lost)] = list(lost.values())
            frame["cells"] = pd.Series(cells, dtype=object)
    return frame


def _lost_cells(store: RowReader, builder: PlannedBuilder, table: Path) -> Iterator[tuple[int, str]]:
    """Yield the rows, with their cells as they are recorded, that can't be had again exactly from the frame."""
    if all(builder.dtypes.get(name, "category") != "category" for name in builder.changed_columns):
        return  # declared dtypes make the same of what they made
    dtypes = {column.name: column.dtype for column in tables.read_columns(table)[0]}
    has_floats = any(dtypes[name] in ("Float64", "category") for name in builder.changed_columns)
    made: pa.Table | None = None
    for batch in store.cells(builder.name):
        text = "".join(cells for _, cells in batch)
        if "{" not in text and not (has_floats and _INTEGER.search(text)):
            continue  # nothing but texts, numbers and such
        if made is None:
            made = _columns(table, builder.changed_columns, dtypes)
        part = made.take(pa.array([row for row, _ in batch], pa.int64()))
        yield from (
            (row, recorded)
            for (row, recorded), cells in zip(batch, tables.cells_of(part), strict=True)
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
