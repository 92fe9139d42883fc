"""Keep Python values as JSON text and get them back exactly: same value, same type.

JSON itself holds ``None``, ``bool``, ``int``, finite ``float``, ``str``, ``list``, and a ``dict`` of text keys.
Everything else is an object with one key, a *tag*, that starts with ``~``::

    (1, 2)              {"~tuple":[1,2]}
    date(2024, 1, 31)   {"~date":"2024-01-31"}
    {"~tuple": 1}       {"~dict":[["~tuple",1]]}       a dict that looks like a tag, or has other keys than text

1. ``decode(encode(value))`` has the value and the type of ``value``, or ``encode`` raises ``TVTableError``. Instances
   of subclasses are refused (they would come back as something else), and so are cycles and absurd nesting.
2. The text is JSON in the strict sense (no ``NaN``, no NUL) and valid Unicode, so that SQLite, Arrow and any other
   tool can read it.
3. Decoding runs nothing: no pickle, no ``eval``, no import that is named by the text.
4. numpy and pandas are imported only when a value of theirs is met.
"""

from __future__ import annotations

import base64
import datetime
import json
import math
import os
import uuid
import zoneinfo
from collections.abc import Callable, Sequence
from decimal import Decimal
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from tablevault_like.errors import TVFileError, TVTableError
from tablevault_like.storage.tags import untag

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MAX_DEPTH = 100
MAX_LENGTH = 200_000_000
"""Characters of one row's text. SQLite refuses more than 1,000,000,000 bytes."""

# Python refuses to read or write integers of more than 640 to 4,300 digits, by its settings; these have fewer.
_PLAIN_INTEGER = 10**600


def encode(value: object) -> str:
    """Return ``value`` as tagged JSON text. Raises TVTableError for what can't be kept exactly.

    >>> encode([1, 2.5, "a", None, True])
    '[1,2.5,"a",null,true]'
    >>> encode({"when": datetime.date(2024, 1, 31), "at": (1, 2)})
    '{"when":{"~date":"2024-01-31"},"at":{"~tuple":[1,2]}}'
    """
    scalar = SCALARS.get(type(value))
    return scalar(value) if scalar is not None else encode_nested(value, 0)


def encode_cells(cells: Sequence[object], columns: Sequence[str] = ()) -> str:
    """Return the cells of one row as the text of a JSON array.

    Raises TVTableError for a value that can't be kept; it names the column where ``columns`` gives the names.
    """
    scalars = SCALARS
    try:
        parts = [scalars[kind](cell) if (kind := type(cell)) in scalars else encode_nested(cell, 0) for cell in cells]
    except TVTableError as error:
        raise _located(error, cells, columns) from None
    text = f"[{','.join(parts)}]"
    if len(text) > MAX_LENGTH:
        raise TVTableError(
            f"The values of this row take {len(text):,} characters, and a row can hold {MAX_LENGTH:,}. {_USE_ARTIFACT}"
        )
    return text


def decode(text: str) -> Any:
    """Return the value that ``encode`` made ``text`` of. Raises TVFileError if it can't have been.

    >>> decode('{"~tuple":[1,{"~float":"inf"}]}')
    (1, inf)
    """
    try:
        value, end = _DECODER.raw_decode(text)
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
        raise TVFileError(
            f"A stored value can't be read ({error}): {_shown(text)}. The file it is in is damaged."
        ) from error
    if end != len(text):
        raise TVFileError(f"A stored value ends too early: {_shown(text)}. The file it is in is damaged.")
    return value


def decode_rows(texts: Sequence[str]) -> list[list[Any]]:
    """Return the cells of many rows at once, which is several times faster than one by one."""
    rows: list[list[Any]] = decode(f"[{','.join(texts)}]")
    if len(rows) != len(texts):
        raise TVFileError(f"{len(texts)} stored rows were read as {len(rows)}. The file they are in is damaged.")
    return rows


_USE_ARTIFACT = (
    "Return plain values (None, bool, int, float, str, list, tuple, dict, set, bytes, dates and times, Decimal, UUID, "
    "numpy values), or write it to a file in ~ARTIFACT_FOLDER~ and return the file's name in a column of dtype "
    "artifact_string."
)


_USE_TEXT = (
    "Return its text; for a column of dtype artifact_string its name relative to ~ARTIFACT_FOLDER~ as text: "
    "str(path.relative_to(folder))."
)


def encode_nested(value: object, depth: int) -> str:
    """Return a value that lies ``depth`` levels deep in others as tagged JSON. Raises what ``encode`` raises."""
    kind = type(value)
    if (scalar := SCALARS.get(kind)) is not None:
        return scalar(value)
    if (container := _CONTAINERS.get(kind)) is not None:
        if depth >= MAX_DEPTH:
            raise TVTableError(f"A value is nested deeper than {MAX_DEPTH} levels, or contains itself. {_USE_ARTIFACT}")
        return container(value, depth + 1)
    if _learn(kind):
        return encode_nested(value, depth)
    raise _refusal(kind)


def _refusal(kind: type) -> TVTableError:
    if issubclass(kind, os.PathLike):
        return TVTableError(f"A value of type {kind.__module__}.{kind.__qualname__} can't be kept. {_USE_TEXT}")
    bases = [base for base in kind.__mro__[1:] if base in SCALARS or base in _CONTAINERS]
    why = f", which is a subclass of {bases[0].__name__} and would come back as one" if bases else ""
    return TVTableError(f"A value of type {kind.__module__}.{kind.__qualname__} can't be kept{why}. {_USE_ARTIFACT}")


def _located(error: TVTableError, cells: Sequence[object], columns: Sequence[str]) -> TVTableError:
    """Say which column the first cell that can't be encoded belongs to."""
    for column, cell in zip(columns, cells, strict=False):
        try:
            encode(cell)
        except TVTableError as found:
            return TVTableError(f"Column {column!r}: {found}", column=column)
    return error


def _tag(name: str, payload: str) -> str:
    return f'{{"~{name}":{payload}}}'


def _encode_int(value: int) -> str:
    return repr(value) if -_PLAIN_INTEGER < value < _PLAIN_INTEGER else _tag("int", f'"{value:x}"')


def _encode_float(value: float) -> str:
    return repr(value) if math.isfinite(value) else _tag("float", f'"{value!r}"')


def _encode_str(value: str) -> str:
    text: str = encode_basestring(value)
    if not text.isascii():
        _check_unicode(text)
    return text


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TVTableError(
            f"A text holds a lone surrogate, {text[error.start]!a}, which is no character, so it can't be kept. "
            "Decode its source with errors='replace', or return bytes."
        ) from None


def _encode_bytes(value: bytes) -> str:
    return _tag("bytes", f'"{_base64(value)}"')


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _encode_date(value: datetime.date) -> str:
    return _tag("date", f'"{value.isoformat()}"')


def _encode_moment(value: datetime.datetime | datetime.time) -> str:
    name = "datetime" if isinstance(value, datetime.datetime) else "time"
    plain = f'"{value.replace(tzinfo=None).isoformat()}"'
    if value.tzinfo is None and not value.fold:
        return _tag(name, plain)
    return _tag(name, f"[{plain},{_encode_zone(value.tzinfo)},{value.fold}]")


def _encode_zone(zone: datetime.tzinfo | None) -> str:
    if zone is None:
        return "null"
    if type(zone) is zoneinfo.ZoneInfo and zone.key is not None:
        return _encode_str(zone.key)
    if type(zone) is datetime.timezone:
        offset, name = _microseconds(zone.utcoffset(None)), zone.tzname(None)
        unnamed = datetime.timezone(zone.utcoffset(None)).tzname(None)
        return f"[{offset},{'null' if name == unnamed else _encode_str(name)}]"
    kind = type(zone)
    raise TVTableError(
        f"A time in a zone of type {kind.__module__}.{kind.__qualname__} can't be kept. "
        "Use zoneinfo.ZoneInfo(name) or datetime.timezone for its tzinfo."
    )


def _microseconds(value: datetime.timedelta) -> int:
    return (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds


def _encode_list(values: list[object], depth: int) -> str:
    return f"[{encode_items(values, depth)}]"


def _encode_tuple(values: tuple[object, ...], depth: int) -> str:
    return _tag("tuple", f"[{encode_items(values, depth)}]")


def encode_items(values: Sequence[Any], depth: int) -> str:
    """Return what stands between the brackets of a list. The values lie ``depth`` levels deep in others."""
    kinds = {*map(type, values)}
    if len(kinds) == 1:
        kind = kinds.pop()
        if kind is float:
            text = ",".join(map(repr, values))
            if "n" not in text:  # neither nan nor inf
                return text
        elif kind is str:
            text = ",".join(map(encode_basestring, values))
            if not text.isascii():
                _check_unicode(text)
            return text
        if (scalar := SCALARS.get(kind)) is not None:
            return ",".join(map(scalar, values))
    return ",".join([encode_nested(value, depth) for value in values])


def _encode_dict(value: dict[object, object], depth: int) -> str:
    if _is_plain(value):
        parts = [f"{_encode_str(key)}:{encode_nested(item, depth)}" for key, item in value.items()]  # type: ignore[arg-type]
        return f"{{{','.join(parts)}}}"
    pairs = [f"[{encode_nested(key, depth)},{encode_nested(item, depth)}]" for key, item in value.items()]
    return _tag("dict", f"[{','.join(pairs)}]")


def _is_plain(value: dict[Any, object]) -> bool:
    """Tell whether a dict can be a JSON object: all keys are text, and it can't be taken for a tag."""
    if len(value) == 1:
        (key,) = value
        return type(key) is str and not key.startswith("~")
    return all(type(key) is str for key in value)


def _encode_set(value: set[object] | frozenset[object], depth: int) -> str:
    return _tag(type(value).__name__, f"[{','.join(sorted(encode_nested(item, depth) for item in value))}]")


def _constant(text: str) -> Callable[[Any], str]:
    return lambda value: text


SCALARS: dict[type, Callable[[Any], str]] = {  # of numpy's and pandas' types those that were met
    type(None): _constant("null"),
    bool: lambda value: "true" if value else "false",
    int: _encode_int,
    float: _encode_float,
    str: _encode_str,
    bytes: _encode_bytes,
    datetime.date: _encode_date,
    datetime.datetime: _encode_moment,
    datetime.time: _encode_moment,
    datetime.timedelta: lambda value: _tag("timedelta", str(_microseconds(value))),
    Decimal: lambda value: _tag("decimal", f'"{value}"'),
    uuid.UUID: lambda value: _tag("uuid", f'"{value}"'),
}

_CONTAINERS: dict[type, Callable[[Any, int], str]] = {
    list: _encode_list,
    tuple: _encode_tuple,
    dict: _encode_dict,
    set: _encode_set,
    frozenset: _encode_set,
}


def _learn(kind: type) -> bool:
    """Add encoders for ``kind`` if it is a type of numpy or pandas that can be kept."""
    package = kind.__module__.partition(".")[0]
    if package == "numpy":
        import numpy as np

        if kind is np.ndarray:
            _CONTAINERS[kind] = _encode_array
        elif issubclass(kind, np.generic) and not issubclass(kind, np.void | np.object_):
            SCALARS[kind] = _encode_numpy_scalar
        else:
            return False
        return True
    if package == "pandas":
        import pandas as pd

        encoders: dict[type, Callable[[Any], str]] = {
            pd.Timestamp: _encode_timestamp,
            pd.Timedelta: _encode_pandas_timedelta,
            type(pd.NA): _constant('{"~NA":null}'),
            type(pd.NaT): _constant('{"~NaT":null}'),
        }
        if kind in encoders:
            SCALARS[kind] = encoders[kind]
            return True
    return False


def _encode_numpy_scalar(value: Any) -> str:
    dtype = value.dtype
    if dtype.kind in "biu" or dtype.char in "efd":
        payload = SCALARS[type(value.item())](value.item())
    elif dtype.kind in "mM":
        payload = str(int(value.view("i8")))
    elif dtype.kind == "U":
        payload = _encode_str(str(value))
    elif dtype.kind == "S":
        payload = f'"{_base64(bytes(memoryview(value)))}"'
    elif dtype.char in "FD":
        payload = f'"{_base64(value.tobytes())}"'
    else:
        raise _refusal(type(value))
    return _tag("numpy", f'["{dtype.str}",{payload}]')


def _encode_array(value: np.ndarray[Any, Any], depth: int) -> str:
    dtype, shape = value.dtype, ",".join(map(str, value.shape))
    if dtype.kind == "O":
        content = f"[{','.join([encode_nested(item, depth) for item in value.ravel().tolist()])}]"
    elif dtype.kind in "biumMSU" or dtype.char in "efdFD":  # "g" and "G" differ from machine to machine
        content = f'"{_base64(value.tobytes())}"'
    else:
        raise TVTableError(f"A numpy array of dtype {dtype} can't be kept. {_USE_ARTIFACT}")
    return _tag("array", f'["{dtype.str}",[{shape}],{content}]')


def _encode_timestamp(value: pd.Timestamp) -> str:
    instant = value.to_datetime64()
    return _tag("timestamp", f'["{instant.dtype.str}",{int(instant.view("i8"))},{_encode_zone(value.tzinfo)}]')


def _encode_pandas_timedelta(value: pd.Timedelta) -> str:
    length = value.to_timedelta64()
    return _tag("pandas_timedelta", f'["{length.dtype.str}",{int(length.view("i8"))}]')


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


_DECODER = json.JSONDecoder(object_hook=untag, parse_constant=_refuse_constant)
