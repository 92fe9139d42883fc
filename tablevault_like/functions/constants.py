"""Plain constants as Python's text: values that nothing but their text makes again, equal and of the same type."""

from __future__ import annotations

import math
import pathlib
import re
from collections.abc import Iterable

_DEPTH = 50


def constant(value: object, *, depth: int = 0) -> str | None:
    """Return an expression for ``value``, ``None`` if it is more than a plain constant.

    Plain are ``None``, booleans, numbers, texts and bytes, and tuples, lists, sets and dicts of these; patterns of
    ``re`` and paths, too. The text of a set is the same each time.

    >>> constant({"limit": 3, "names": ("crow", "fox")}), constant(object())
    ("{'limit': 3, 'names': ('crow', 'fox')}", None)
    """
    if value is None or value is ... or type(value) in (bool, int, str, bytes):
        return repr(value)
    if type(value) is float:
        return repr(value) if math.isfinite(value) else f"float({str(value)!r})"
    if type(value) is complex:
        return repr(value) if math.isfinite(value.real) and math.isfinite(value.imag) else None
    if isinstance(value, re.Pattern):
        return f"__import__('re').compile({value.pattern!r}, {int(value.flags) & ~_implied(value)})"
    if isinstance(value, pathlib.PurePath) and type(value).__module__.partition(".")[0] == "pathlib":
        return f"__import__('pathlib').{_path_class(value)}({str(value)!r})"
    if depth > _DEPTH:  # it is nested deeply, or in itself
        return None
    return _collection(value, depth + 1)


def _collection(value: object, depth: int) -> str | None:
    if type(value) is dict:
        keys, values = _items(value.keys(), depth), _items(value.values(), depth)
        if keys is None or values is None:
            return None
        return "{" + ", ".join(f"{key}: {item}" for key, item in zip(keys, values, strict=True)) + "}"
    if type(value) not in (tuple, list, set, frozenset):
        return None
    assert isinstance(value, tuple | list | set | frozenset)
    items = _items(value, depth)
    if items is None:
        return None
    if isinstance(value, tuple):
        return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(items)}]"
    inner = "{" + ", ".join(sorted(items)) + "}" if items else ""
    return inner if inner and isinstance(value, set) else f"{type(value).__name__}({inner})"


def _items(values: Iterable[object], depth: int) -> list[str] | None:
    found = []
    for value in values:
        text = constant(value, depth=depth)
        if text is None:
            return None
        found.append(text)
    return found


def _implied(pattern: re.Pattern[str] | re.Pattern[bytes]) -> int:
    """Return the flags that a pattern has without being given them."""
    return int(re.UNICODE) if isinstance(pattern.pattern, str) and not pattern.flags & re.ASCII else 0


def _path_class(path: pathlib.PurePath) -> str:
    return "Path" if isinstance(path, pathlib.Path) else type(path).__name__
