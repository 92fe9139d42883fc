"""The rows that failed, of all builders of an execution, as a table.

It says of each what its function raised, after how many attempts, at which price, and what it was called with; and on
demand, which rows nobody has called a function for. Nothing here runs or unpickles anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.model import ReturnType, RowStatus
from tablevault_like.storage.row_reader import RowReader, RowRecord

DTYPES = {
    "builder": "string",
    "row": "Int64",
    "key": "string",
    "status": "string",
    "error_type": "string",
    "message": "string",
    "traceback": "string",
    "attempts": "Int64",
    "seconds": "Float64",
    "cost": "Float64",
    "tokens": "Int64",
    "inputs": "string",
}
"""The columns of the table. A row that nobody has called a function for has a builder, a row, a key and a status."""

MISSING = "missing"
"""The status of a row that nobody has called a function for."""

Keys = Callable[[Sequence[str]], pd.DataFrame | None]
"""Returns these columns of the frame, as far as it has them: a row for each row of the table."""


def failures(plan: Plan, store: RowReader, keys: Keys) -> pd.DataFrame:
    """Return the rows that are recorded as failed or skipped, by builder, in the order of the plan, and by row."""
    return with_keys(plan, table_of([line for builder in plan.builders for line in _lines(store, builder)]), keys)


def missing(builder: PlannedBuilder, rows: Sequence[int] | NDArray[np.int64]) -> list[tuple[object, ...]]:
    """Return lines for rows of a builder that nobody has called its function for."""
    nothing = (None,) * (len(DTYPES) - 4)
    return [(builder.name, int(row), None, MISSING, *nothing) for row in rows]


def never_called(store: RowReader, builder: PlannedBuilder, *, rows: int, has_frame: bool) -> NDArray[np.int64]:
    """Return the rows of a table with ``rows`` rows that nobody has called a builder's function for."""
    if makes_rows(builder):
        return np.array([], np.int64)
    if builder.return_type is ReturnType.DATAFRAME:
        return np.arange(0 if has_frame else rows)
    recorded = [store.recorded(builder.name, status) for status in RowStatus]
    return np.setdiff1d(np.arange(rows), np.concatenate(recorded))


def makes_rows(builder: PlannedBuilder) -> bool:
    """Tell whether the rows that a builder is called for are none of the table's yet, but become its rows."""
    return builder.is_index and builder.return_type is not ReturnType.ROW_WISE


def table_of(lines: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    """Return lines, each with a value for each of ``DTYPES``, as a table."""
    return pd.DataFrame(lines, columns=pd.Index(DTYPES), dtype=object).astype(DTYPES)


def with_keys(plan: Plan, found: pd.DataFrame, keys: Keys) -> pd.DataFrame:
    """Return a table of failures with the primary key of each row, as text: of several columns a JSON array."""
    names: list[str] = plan.builders[0].fields["primary_key"]
    if not names or found.empty:
        return found
    made = keys(names)
    if made is None or not set(names) <= set(made.columns):
        return found
    of_table = {builder.name for builder in plan.builders if not makes_rows(builder)}
    has_row = (found["builder"].isin(of_table) & (found["row"] < len(made))).to_numpy(dtype=bool)
    cells = made[names].iloc[found["row"][has_row].to_numpy(dtype=np.int64)]
    texts = np.full(len(found), None, dtype=object)
    texts[has_row] = [_key(values) for values in zip(*(cells[name].tolist() for name in names), strict=True)]
    return found.assign(key=pd.array(texts, dtype="string"))


def _lines(store: RowReader, builder: PlannedBuilder) -> Iterator[tuple[object, ...]]:
    failed = [
        *store.failures(builder.name),
        *store.failures(builder.name, RowStatus.SKIPPED),
    ]
    for row in sorted(failed, key=lambda row: row.index):
        yield _line(builder.name, row)


def _line(builder: str, row: RowRecord) -> tuple[object, ...]:
    error = json.loads(row.error or "{}")
    told = (_text(error.get(name)) for name in ("type", "message", "traceback"))
    price = (row.attempts, row.seconds, row.cost, row.tokens)
    return (builder, row.index, None, row.status.name.lower(), *told, *price, _text(row.inputs))


def _key(values: tuple[object, ...]) -> str | None:
    if len(values) > 1:
        return _text(json.dumps(values, ensure_ascii=False, default=str))
    return None if pd.isna(values[0]) else _text(str(values[0]))  # type: ignore[call-overload]


def _text(text: str | None) -> str | None:
    """Return a text that is valid Unicode: what user code raises may say anything."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()
