"""JSON that comes from a file, which anybody may have written."""

from __future__ import annotations

import json
from typing import Any


def parsed(text: str | bytes) -> Any:
    """Return what a JSON text says.

    Raises ValueError for what is no JSON, and for what is nested deeper than this interpreter can follow.

    >>> parsed('{"format": 1}')
    {'format': 1}
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
