"""Make Python values of the tags that stand for them in stored text: ``{"~date":"2024-01-31"}`` is a date.

``storage.values`` writes the tags, and tells which text has any. Nothing is run and nothing imported that a tag names;
numpy and pandas are imported only when a value of theirs is met.
"""

from __future__ import annotations

import base64
import datetime
import math
import uuid
import zoneinfo
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def untag(found: dict[str, Any]) -> Any:
    """Turn a JSON object into the value that it stands for, once what is inside has been turned.

    An object that is no tag is returned as it is. Raises ValueError for an unknown tag; what a tag can't stand for
    raises what making the value of it does.
    """
    if len(found) != 1:
        return found
    ((key, payload),) = found.items()
    if not key.startswith("~"):
        return found
    maker = _TAGS.get(key[1:])
    if maker is None:
        raise ValueError(f"unknown tag {key!r}, perhaps of a newer version of tablevault_like")
    return maker(payload)


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

NAMES = frozenset(_TAGS)
"""The tags, without the ``~`` that each begins with."""
