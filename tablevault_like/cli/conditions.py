"""Conditions as they are typed: ``year >= 2020`` is the filter ``("year", ">=", 2020)``."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tablevault_like.errors import TVArgumentError

if TYPE_CHECKING:
    import pandas as pd

_CONDITION = re.compile(r"\s*(?P<column>.+?)\s*(?P<op>==|!=|<=|>=|=|<|>|\bnot\s+in\b|\bin\b)(?P<value>.*)", re.DOTALL)


def read_conditions(texts: Sequence[str], frame: pd.DataFrame) -> list[tuple[str, str, object]]:
    """Return conditions as ``get_dataframe`` takes them. Raises TVArgumentError for what isn't one.

    A value is JSON, or else text; for a column of text or times it is text, unless it is quoted or ``null``. ``frame``
    has the columns.
    """
    return [_read(text, frame) for text in texts]


def _read(text: str, frame: pd.DataFrame) -> tuple[str, str, object]:
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise TVArgumentError(
            f"The condition {text!r} can't be read. Give COLUMN OP VALUE, with one of ==, !=, <, >, <=, >=, in, not in."
        )
    column, op, value = found["column"], " ".join(found["op"].split()), found["value"].strip()
    try:
        parsed = json.loads(value)
    except ValueError:
        return column, op, value
    is_texts = column in frame.columns and _is_text_or_time(frame[column])
    if is_texts and isinstance(parsed, list):
        parsed = [each if each is None or isinstance(each, str) else json.dumps(each) for each in parsed]
    elif is_texts and not (parsed is None or isinstance(parsed, str)):
        parsed = value
    return column, op, parsed


def _is_text_or_time(column: pd.Series[Any]) -> bool:
    import pandas as pd

    return isinstance(column.dtype, pd.StringDtype) or pd.api.types.is_datetime64_any_dtype(column.dtype)
