"""DataFrames as commands print them: as JSON records, as CSV, or cell by cell for people."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
from collections.abc import Mapping
from datetime import date, time, timedelta
from typing import TYPE_CHECKING

from tablevault_like.cli.output import Cell, Listing

if TYPE_CHECKING:
    import pandas as pd

_CELL_WIDTH = 60
_MISSING: Cell = ("<NA>", "dim")


def records(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Return the rows of a frame as JSON has them: see ``plain``."""
    columns = [[plain(value) for value in frame[name]] for name in frame.columns]
    return [dict(zip(frame.columns, row, strict=True)) for row in zip(*columns, strict=True)]


def csv_text(frame: pd.DataFrame) -> str:
    """Return a frame as CSV with a header. A missing value is an empty cell; lists and dicts are JSON."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(frame.columns)
    for record in records(frame):
        writer.writerow([_text(value) for value in record.values()])
    return text.getvalue()


def listing(frame: pd.DataFrame) -> Listing:
    """Return a frame as a table for people: a line a row, with long cells cut off."""
    from pandas.api.types import is_numeric_dtype

    right = {name for name in frame.columns if is_numeric_dtype(frame[name])}
    rows = [[_cell(value) for value in record.values()] for record in records(frame)]
    return Listing(list(frame.columns), rows, right=right)


def plain(value: object) -> object:
    """Return a cell's value as JSON has it.

    Missing values are None, dates and times ISO 8601, bytes base64, infinite numbers and whatever else JSON lacks text.

    >>> plain([1, float("nan"), float("inf"), date(2026, 7, 21), b"ab", {"a": (1, 2)}])
    [1, None, 'inf', '2026-07-21', 'YWI=', {'a': [1, 2]}]
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else float(value) if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return _plain_of_pandas(value)


def _plain_of_pandas(value: object) -> object:
    import numpy as np
    import pandas as pd

    if value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, pd.Timedelta | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return pd.Timedelta(value).isoformat()
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        item = value.item()
        return str(value) if isinstance(item, np.generic) else plain(item)
    return str(value)


def _text(value: object) -> str:
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


def _cell(value: object) -> Cell:
    if value is None:
        return _MISSING
    text = _text(value).replace("\n", "\\n").replace("\t", "\\t")
    return text if len(text) <= _CELL_WIDTH else text[: _CELL_WIDTH - 1] + "…"
