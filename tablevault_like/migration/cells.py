"""Read a table of TableVault 0.1: a CSV file, and the dtypes of its columns beside it.

1. A cell is missing if nothing stands in it. Where a column isn't one of text, so is what pandas reads as missing (such
   as ``NaN``); in one of text, ``NA`` and ``None`` are what was written.
2. A column keeps its dtype if its cells fit; else they stay text, which is told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tablevault_like.errors import TVArgumentError, TVFileError, TVTableError
from tablevault_like.migration.old import OldInstance, is_file
from tablevault_like.model import ARTIFACT_DTYPE
from tablevault_like.storage import dtypes

TEXT = "string"

NULLABLE = {
    **{name.lower(): name for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")},
    "int": "Int64",
    "uint": "UInt64",
    **dict.fromkeys(("float", "float16", "float32", "float64"), "Float64"),
    "str": TEXT,
}
"""The dtypes that 0.1 replaces by others, which can have missing values."""

_READ_AS_MISSING = (
    *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"),
    *("NULL", "NaN", "None", "n/a", "nan", "null"),
)
_TEXTS = (TEXT, "object", "category", ARTIFACT_DTYPE)


@dataclass(frozen=True)
class OldFrame:
    """A frame, the dtypes to write it with, and what is to be told of it."""

    frame: pd.DataFrame
    dtypes: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def artifact_columns(self) -> list[str]:
        return [column for column, dtype in self.dtypes.items() if dtype == ARTIFACT_DTYPE]


def read_frame(instance: OldInstance) -> OldFrame:
    """Return the frame of an instance. Raises TVFileError if it is missing or can't be read."""
    frame = _read_texts(instance)
    declared, notes = _read_dtypes(instance)
    found: dict[str, str] = {}
    columns: dict[str, pd.Series[Any]] = {}
    for name in frame.columns:
        wanted = declared.get(name)
        if wanted is None:
            notes.append(f"column {name!r} has no dtype in dtypes.json, so it is text")
        columns[name], found[name] = _fitted(frame[name], NULLABLE.get(wanted or TEXT, wanted or TEXT), notes)
    return OldFrame(pd.DataFrame(columns, index=frame.index, columns=frame.columns), found, tuple(notes))


def _read_texts(instance: OldInstance) -> pd.DataFrame:
    path = instance.csv
    if not is_file(path):
        raise TVFileError(f"{path} is missing", path=path)
    try:
        with path.open("rb") as file:
            end = None if b"\r\n" in file.readline() else "\n"  # before 3.13, Python wrote a lone \r without quotes
            file.seek(0)
            found = pd.read_csv(
                file, dtype=TEXT, keep_default_na=False, na_values=[""], encoding="utf-8", lineterminator=end
            )
    except pd.errors.EmptyDataError:  # so 0.1 writes a frame without columns
        return pd.DataFrame()
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise TVFileError(f"{path} can't be read as CSV ({str(error).strip()})", path=path) from error
    return found.rename(columns=str)


def _read_dtypes(instance: OldInstance) -> tuple[dict[str, str], list[str]]:
    if not is_file(instance.dtypes_file):
        return {}, ["dtypes.json is missing"]
    try:
        found = json.loads(instance.dtypes_file.read_bytes() or b"{}")
        return {str(column): str(dtype) for column, dtype in found.items()}, []
    except (ValueError, AttributeError, RecursionError) as error:
        return {}, [f"dtypes.json can't be read ({error})"]


def _fitted(series: pd.Series[Any], dtype: str, notes: list[str]) -> tuple[pd.Series[Any], str]:
    """Return a column of text as one of a dtype, with the dtype; as text, with a note, if it doesn't fit."""
    if dtype in _TEXTS:
        _tell_of_missing(series, notes)
        return series, dtype
    cells = series.mask(series.isin(_READ_AS_MISSING))
    try:
        return dtypes.coerce_column(cells, dtype), dtype
    except (TVArgumentError, TVTableError) as error:
        reason = str(error).splitlines()[0]
    try:  # 1.0 in a column of integers, say
        return dtypes.coerce_column(pd.to_numeric(cells), dtype), dtype
    except (TVArgumentError, TVTableError, ValueError, TypeError):
        notes.append(f"column {series.name!r} can't be of dtype {dtype!r}, so it is text now: {reason}")
        return series, TEXT


def _tell_of_missing(series: pd.Series[Any], notes: list[str]) -> None:
    found = series[series.isin(_READ_AS_MISSING)]
    if len(found):
        words = ", ".join(repr(word) for word in _distinct(found.tolist()))
        notes.append(
            f"column {series.name!r} keeps {len(found)} cell{'' if len(found) == 1 else 's'} of the text {words}, "
            "which 0.1 read as missing"
        )


def _distinct(words: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(words))[:5]
