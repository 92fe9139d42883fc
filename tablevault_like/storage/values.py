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
import uuid
import zoneinfo
from collections.abc import Callable, Sequence
from decimal import Decimal
from hashlib import blake2b
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from tablevault_like.errors import TVFileError, TVTableError

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
    scalar = _SCALARS.get(type(value))
    return scalar(value) if scalar is not None else _encode_deep(value, 0)


def encode_cells(cells: Sequence[object], columns: Sequence[str] = ()) -> str:
    """Return the cells of one row as the text of a JSON array.

    Raises TVTableError for a value that can't be kept; it names the column where ``columns`` gives the names.
    """
    scalars = _SCALARS
    try:
        parts = [scalars[kind](cell) if (kind := type(cell)) in scalars else _encode_deep(cell, 0) for cell in cells]
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


def digest(*values: object) -> bytes:
    """Return 16 bytes that tell these values, in this order, from any others.

    Types count (``1``, ``1.0``, ``True`` and ``"1"`` differ), the order of a dict's keys doesn't. DataFrames and Series
    count by their labels, dtypes and values. Raises TVTableError for what ``encode`` refuses.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    >>> len({digest(1), digest(1.0), digest(True), digest("1"), digest(1, None)})
    5
    """
    scalars = _SCALARS
    parts = [scalars[kind](value) if (kind := type(value)) in scalars else _canonical(value, 0) for value in values]
    return blake2b(",".join(parts).encode(), digest_size=16).digest()


_USE_ARTIFACT = (
    "Return plain values (None, bool, int, float, str, list, tuple, dict, set, bytes, dates and times, Decimal, UUID, "
    "numpy values), or write it to a file in ~ARTIFACT_FOLDER~ and return the file's name in a column of dtype "
    "artifact_string."
)


def _encode_deep(value: object, depth: int) -> str:
    kind = type(value)
    if (scalar := _SCALARS.get(kind)) is not None:
        return scalar(value)
    if (container := _CONTAINERS.get(kind)) is not None:
        if depth >= MAX_DEPTH:
            raise TVTableError(f"A value is nested deeper than {MAX_DEPTH} levels, or contains itself. {_USE_ARTIFACT}")
        return container(value, depth + 1)
    if _learn(kind):
        return _encode_deep(value, depth)
    raise _refusal(kind)


def _refusal(kind: type) -> TVTableError:
    bases = [base for base in kind.__mro__[1:] if base in _SCALARS or base in _CONTAINERS]
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
    return f"[{_encode_items(values, depth)}]"


def _encode_tuple(values: tuple[object, ...], depth: int) -> str:
    return _tag("tuple", f"[{_encode_items(values, depth)}]")


def _encode_items(values: Sequence[Any], depth: int) -> str:
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
        if (scalar := _SCALARS.get(kind)) is not None:
            return ",".join(map(scalar, values))
    return ",".join([_encode_deep(value, depth) for value in values])


def _encode_dict(value: dict[object, object], depth: int) -> str:
    if _is_plain(value):
        parts = [f"{_encode_str(key)}:{_encode_deep(item, depth)}" for key, item in value.items()]  # type: ignore[arg-type]
        return f"{{{','.join(parts)}}}"
    pairs = [f"[{_encode_deep(key, depth)},{_encode_deep(item, depth)}]" for key, item in value.items()]
    return _tag("dict", f"[{','.join(pairs)}]")


def _is_plain(value: dict[Any, object]) -> bool:
    """Tell whether a dict can be a JSON object: all keys are text, and it can't be taken for a tag."""
    if len(value) == 1:
        (key,) = value
        return type(key) is str and not key.startswith("~")
    return all(type(key) is str for key in value)


def _encode_set(value: set[object] | frozenset[object], depth: int) -> str:
    return _tag(type(value).__name__, f"[{','.join(sorted(_encode_deep(item, depth) for item in value))}]")


def _constant(text: str) -> Callable[[Any], str]:
    return lambda value: text


_SCALARS: dict[type, Callable[[Any], str]] = {
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
            _SCALARS[kind] = _encode_numpy_scalar
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
            _SCALARS[kind] = encoders[kind]
            return True
    return False


def _encode_numpy_scalar(value: Any) -> str:
    dtype = value.dtype
    if dtype.kind in "biu" or dtype.char in "efd":
        payload = _SCALARS[type(value.item())](value.item())
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
        content = f"[{','.join([_encode_deep(item, depth) for item in value.ravel().tolist()])}]"
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


def _untag(found: dict[str, Any]) -> Any:
    """Turn a JSON object into the value that it stands for. What is inside has been turned already."""
    if len(found) != 1:
        return found
    ((key, payload),) = found.items()
    if not key.startswith("~"):
        return found
    maker = _TAGS.get(key[1:])
    if maker is None:
        raise ValueError(f"unknown tag {key!r}, perhaps of a newer version of tablevault_like")
    return maker(payload)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _decode_datetime(payload: str | list[Any]) -> datetime.datetime:
    if isinstance(payload, str):
        return datetime.datetime.fromisoformat(payload)
    text, zone, fold = payload
    return datetime.datetime.fromisoformat(text).replace(tzinfo=_decode_zone(zone), fold=fold)


def _decode_time(payload: str | list[Any]) -> datetime.time:
    if isinstance(payload, str):
        return datetime.time.fromisoformat(payload)
    text, zone, fold = payload
    return datetime.time.fromisoformat(text).replace(tzinfo=_decode_zone(zone), fold=fold)


def _decode_zone(zone: str | list[Any] | None) -> datetime.tzinfo | None:
    if zone is None:
        return None
    if isinstance(zone, str):
        try:
            return zoneinfo.ZoneInfo(zone)
        except zoneinfo.ZoneInfoNotFoundError as error:
            raise ValueError(f"no time zone {zone!r} here; install the package tzdata") from error
    offset, name = datetime.timedelta(microseconds=zone[0]), zone[1]
    return datetime.timezone(offset) if name is None else datetime.timezone(offset, name)


def _decode_numpy_scalar(payload: list[Any]) -> np.generic:
    import numpy as np

    dtype = _numpy_dtype(payload[0])
    if dtype.kind in "mM":
        return np.int64(payload[1]).view(dtype)  # type: ignore[no-any-return]
    if dtype.kind == "S":
        return np.bytes_(_decode_bytes(payload[1]))
    if dtype.kind == "O":
        raise ValueError("an object is no numpy scalar")
    if dtype.kind == "c":
        return np.frombuffer(_decode_bytes(payload[1]), dtype)[0]  # type: ignore[no-any-return]
    return dtype.type(payload[1])  # type: ignore[no-any-return]


def _decode_array(payload: list[Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    name, shape, content = payload
    dtype = _numpy_dtype(name)
    if dtype.kind == "O":
        array = np.empty(len(content), dtype=object)
        for position, item in enumerate(content):  # at once, numpy would take nested lists for further dimensions
            array[position] = item
        return array.reshape(shape)
    buffer = bytearray(_decode_bytes(content))
    if len(buffer) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(buffer)} bytes for an array of shape {shape}")
    return np.ndarray(tuple(shape), dtype, buffer)


def _numpy_dtype(name: str) -> np.dtype[Any]:
    import numpy as np

    dtype = np.dtype(name)
    if dtype.kind not in "biufcmMSUO":
        raise ValueError(f"unknown numpy dtype {name!r}")
    return dtype


def _decode_bytes(payload: str) -> bytes:
    return base64.b64decode(payload, validate=True)


def _decode_timestamp(payload: list[Any]) -> pd.Timestamp:
    import numpy as np
    import pandas as pd

    instant = pd.Timestamp(np.int64(payload[1]).view(_numpy_dtype(payload[0])))
    zone = _decode_zone(payload[2])
    return instant if zone is None else instant.tz_localize("UTC").tz_convert(zone)


def _decode_pandas_timedelta(payload: list[Any]) -> pd.Timedelta:
    import numpy as np
    import pandas as pd

    return pd.Timedelta(np.int64(payload[1]).view(_numpy_dtype(payload[0])))


def _decode_missing(name: str) -> Any:
    import pandas as pd

    return getattr(pd, name)


_TAGS: dict[str, Callable[[Any], Any]] = {
    "int": lambda payload: int(payload, 16),
    "float": float,
    "tuple": tuple,
    "dict": dict,
    "set": set,
    "frozenset": frozenset,
    "bytes": _decode_bytes,
    "date": datetime.date.fromisoformat,
    "datetime": _decode_datetime,
    "time": _decode_time,
    "timedelta": lambda payload: datetime.timedelta(microseconds=payload),
    "decimal": Decimal,
    "uuid": uuid.UUID,
    "numpy": _decode_numpy_scalar,
    "array": _decode_array,
    "timestamp": _decode_timestamp,
    "pandas_timedelta": _decode_pandas_timedelta,
    "NA": lambda payload: _decode_missing("NA"),
    "NaT": lambda payload: _decode_missing("NaT"),
}

_DECODER = json.JSONDecoder(object_hook=_untag, parse_constant=_refuse_constant)


def _canonical(value: Any, depth: int) -> str:
    """Return a text that is equal for equal values. Where it isn't what ``encode`` gives, it is no JSON."""
    kind = type(value)
    if depth > MAX_DEPTH:
        raise TVTableError(f"A value is nested deeper than {MAX_DEPTH} levels, or contains itself.")
    if kind is dict:
        pairs = [f"{_canonical(key, depth + 1)}:{_canonical(item, depth + 1)}" for key, item in value.items()]
        return f"~dict{{{','.join(sorted(pairs))}}}"
    if kind in (set, frozenset):
        return f"~{kind.__name__}[{','.join(sorted(_canonical(item, depth + 1) for item in value))}]"
    if kind in (list, tuple):
        if all(type(item) in _SCALARS for item in value):
            return f"~{kind.__name__}[{_encode_items(value, depth)}]"
        return f"~{kind.__name__}[{','.join([_canonical(item, depth + 1) for item in value])}]"
    package = kind.__module__.partition(".")[0]
    if package == "pandas":
        import pandas as pd

        if isinstance(value, pd.DataFrame):
            return _canonical_frame(value, depth)
        if isinstance(value, pd.Series):
            return _canonical_series(value, depth)
    if package == "numpy":
        import numpy as np

        if kind is np.ndarray and value.dtype.kind in "biufcmMSU":
            return f"~array{value.dtype.str}{value.shape}{_hash(value.tobytes())}"
        if kind is np.ndarray and value.dtype.kind == "O":
            return f"~array{value.shape}{_canonical(value.ravel().tolist(), depth + 1)}"
    return _encode_deep(value, depth)


def _hash(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


def _canonical_frame(frame: pd.DataFrame, depth: int) -> str:
    columns = [_canonical_series(column, depth) for _, column in frame.items()]
    return f"~frame{len(frame)}[{','.join(columns)}]"


def _canonical_series(series: pd.Series[Any], depth: int) -> str:
    label = _canonical(series.name, depth + 1)
    index = "" if _is_default(series.index) else _canonical_column(series.index.to_series(), depth)
    return f"~series({label},{index},{_canonical_column(series, depth)})"


def _is_default(index: pd.Index[Any]) -> bool:
    import pandas as pd

    return isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1 and index.name is None


def _canonical_column(column: pd.Series[Any], depth: int) -> str:
    import pandas as pd

    dtype = repr(column.dtype)
    if isinstance(column.dtype, pd.CategoricalDtype):  # of many categories it shows some
        dtype += _hash(_canonical(column.cat.categories.tolist(), depth + 1).encode())
    if len(column) > _FEW and column.dtype != object:
        try:
            hashes = pd.util.hash_pandas_object(column, index=False)
        except TypeError:  # cells that can't be hashed, such as Arrow lists
            pass
        else:
            return f"{dtype}:{_hash(hashes.to_numpy().tobytes())}{_signs(column)}"
    return f"{dtype}:{_hash(_canonical(column.tolist(), depth + 1).encode())}"


def _signs(column: pd.Series[Any]) -> str:
    """Return what tells 0.0 from -0.0, which pandas' hashing takes for the same."""
    import numpy as np

    if getattr(column.dtype, "kind", "") != "f":
        return ""
    signs = np.signbit(column.to_numpy(np.float64, na_value=0.0))
    return f":{_hash(np.packbits(signs).tobytes())}" if signs.any() else ""


_FEW = 100  # rows from which on pandas' own hashing, which takes about 100 microseconds to start, is the faster one
