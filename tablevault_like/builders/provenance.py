"""What an instance was made with: which recipe made each row of each builder, from which inputs.

It lies in the folder ``provenance`` of the instance, and is what rows are reused by.

1. A row that isn't there (a partial instance) has no input hash, and is never reused.
2. A row that was reused has the recipe and the input hash of the row that it was taken from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.errors import TVFileError
from tablevault_like.model import ReturnType
from tablevault_like.storage import files, tables
from tablevault_like.storage.rows import RowReader

FORMAT = 1


@dataclass(frozen=True, slots=True)
class RowOrigins:
    """How the rows of one builder were made, by position.

    ``hashes`` are input hashes, ``None`` for a row that wasn't recorded with one; ``codes`` numbers whose recipes are
    in ``recipes``.
    """

    hashes: list[bytes | None]
    codes: list[int]
    recipes: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class BuilderOrigin:
    """How the columns of one builder were made.

    ``input_hash`` is that of a function that was called once for all rows: of its recipe, and of what it was given.
    """

    name: str
    changed_columns: tuple[str, ...]
    input_hash: bytes | None


class Provenance:
    """What is kept of how one instance was made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def write(cls, folder: Path, plan: Plan, store: RowReader, *, rows: int) -> None:
        """Write what the plan and the row store tell of an instance's ``rows`` rows. The caller syncs the folder."""
        folder.mkdir()
        files.write_file(folder / "plan.json", plan.to_json())
        codes = {str(number): recipe for number, recipe in store.codes().items()}
        told = []
        for builder in plan.builders:
            has_rows = not builder.is_index and builder.return_type is not ReturnType.DATAFRAME
            input_hash = store.input_hash(builder.name)
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
                tables.write_table(folder / f"{builder.name}.parquet", _frame(store, builder, rows))
        files.write_file(
            folder / "builders.json", json.dumps({"format": FORMAT, "recipes": codes, "builders": told}, indent=1)
        )

    def builders(self) -> tuple[BuilderOrigin, ...]:
        """Return the builders of the instance; none if it was made by hand, or by a version that kept nothing of it."""
        return tuple(
            BuilderOrigin(
                each["name"],
                tuple(each["changed_columns"]),
                None if each["input_hash"] is None else bytes.fromhex(each["input_hash"]),
            )
            for each in self._read()["builders"]
        )

    def rows(self, builder: str) -> RowOrigins | None:
        """Return how the rows of a builder were made, None if they weren't recorded one by one."""
        found = self._read()
        if not any(each["name"] == builder and each["has_rows"] for each in found["builders"]):
            return None
        frame = tables.read_table(self._folder / f"{builder}.parquet")
        return RowOrigins(
            hashes=frame["input_hash"].tolist(),
            codes=frame["code"].tolist(),
            recipes={int(number): recipe for number, recipe in found["recipes"].items()},
        )

    def _read(self) -> dict[str, Any]:
        path = self._folder / "builders.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"recipes": {}, "builders": []}
        except ValueError as error:
            raise TVFileError(f"{path} is damaged ({error}). Restore it from a backup.", path=path) from error
        if found["format"] != FORMAT:
            return {"recipes": {}, "builders": []}
        return dict(found)


def _frame(store: RowReader, builder: PlannedBuilder, rows: int) -> pd.DataFrame:
    hashes = np.full(rows, None, dtype=object)
    codes = np.zeros(rows, np.int32)
    for batch in store.input_hashes(builder.name):
        made, found, numbers = zip(*batch, strict=True)
        places = np.array(made, np.int64)
        hashes[places] = np.array(found, dtype=object)
        codes[places] = numbers
    return pd.DataFrame({"input_hash": pd.Series(hashes, dtype=object), "code": codes})
