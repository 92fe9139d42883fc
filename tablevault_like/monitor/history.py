"""The history of a vault: every process that has ended, as a DataFrame."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, datetime, time
from typing import Any

import pandas as pd

from tablevault_like.catalog import processes
from tablevault_like.catalog.processes import Wanted
from tablevault_like.errors import TVArgumentError
from tablevault_like.model import ENDED_STATES, State
from tablevault_like.monitor.made import Vault

_COUNTS = ("rows_made", "rows_reused", "rows_failed", "rows_skipped", "tokens", "claims")
_EPOCH = 1970
_TIMES = ("created_at", "started_at", "ended_at")
DTYPES = {
    "process_id": "string",
    "operation": "string",
    "table": "string",
    "outcome": "string",
    "author": "string",
    "created_at": "datetime64[us, UTC]",
    "started_at": "datetime64[us, UTC]",
    "ended_at": "datetime64[us, UTC]",
    "seconds": "Float64",
    "rows_made": "Int64",
    "rows_reused": "Int64",
    "rows_failed": "Int64",
    "rows_skipped": "Int64",
    "cost": "Float64",
    "tokens": "Int64",
    "claims": "Int64",
    "is_named": "boolean",
    "parent_id": "string",
    "error": "string",
    "arguments": "object",
}
"""The columns of the history. Rows are counted over all builders; ``arguments`` are dicts."""


def history(vault: Vault, wanted: Wanted) -> pd.DataFrame:
    """Return the processes that have ended, the last one first. See ``TableVault.get_process_history``."""
    with vault.catalog.snapshot() as db:
        found = processes.ended(db, wanted)
    columns = list(zip(*found, strict=True)) if found else [()] * len(processes.ENDED_COLUMNS)
    known = dict(zip(processes.ENDED_COLUMNS, columns, strict=True))
    frame = pd.DataFrame(index=pd.RangeIndex(len(found)))
    parsed: dict[str, dict[str, object]] = {}
    for text in known["arguments"]:
        if text not in parsed:
            parsed[text] = json.loads(text)
    for name, dtype in DTYPES.items():
        if name == "seconds":
            took = pd.Series(known["ended_at"], dtype="Float64") - pd.Series(known["started_at"], dtype="Float64")
            frame[name] = took
        elif name == "arguments":
            frame[name] = pd.Series([dict(parsed[text]) for text in known[name]], dtype=object)
        elif name == "error":
            texts = [None if text is None else ": ".join(json.loads(text)[:2]) for text in known[name]]
            frame[name] = pd.Series(texts, dtype="string")
        elif name in _TIMES:
            frame[name] = _times(known[name])
        else:
            frame[name] = pd.Series(known[name], dtype=dtype)
    return frame


def _times(seconds: Sequence[Any]) -> pd.Series[Any]:
    return pd.to_datetime(pd.Series(seconds, dtype="float64"), unit="s", utc=True).dt.as_unit("us")


def outcome_of(text: str) -> State | None:
    """Return the state that a process has ended in, ``None`` for any."""
    if not text:
        return None
    for state in ENDED_STATES:
        if text.upper() == state:
            return state
    allowed = ", ".join(repr(state.lower()) for state in sorted(ENDED_STATES))
    raise TVArgumentError(f"outcome={text!r} is not known. Use one of {allowed}.")


def seconds_of(name: str, given: object) -> float | None:
    """Return a time as seconds since the epoch. Without a time zone it is a local one, a date its midnight.

    >>> seconds_of("since", "1970-01-01T00:01:00+00:00"), seconds_of("since", 60)
    (60.0, 60.0)
    """
    if given is None:
        return None
    if isinstance(given, str):
        with suppress(ValueError):
            given = datetime.fromisoformat(given)
    if isinstance(given, date) and not pd.isna(given):
        moment = given if isinstance(given, datetime) else datetime.combine(given, time.min)
        try:
            return moment.timestamp()
        except (ValueError, OverflowError):  # a clock can't tell it: long before, or after, anything here
            return -math.inf if given.year <= _EPOCH else math.inf
    if type(given) is not bool and isinstance(given, numbers.Real) and not math.isnan(given):
        return float(given)
    raise TVArgumentError(
        f"{name} must be a time: a datetime or date, text such as '2026-07-21' or '2026-07-21T18:00', or seconds since "
        f"the epoch, not {given!r}."
    )
