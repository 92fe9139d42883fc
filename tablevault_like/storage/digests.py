"""Tell values apart by a few bytes: which rows and frames are the same is decided by their digests.

1. What ``storage.values`` keeps as different values has different digests, and what comes back from it has the digest
   of what went in. Only the order of a dict's keys, and of a set's members, makes no difference.
2. DataFrames and Series, which ``storage.values`` doesn't keep, count by their labels, dtypes and values.
3. A digest is the same in every interpreter, and numpy and pandas are imported only when a value of theirs is met.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from tablevault_like.errors import TVTableError
from tablevault_like.storage.values import MAX_DEPTH, SCALARS, encode_items, encode_nested

if TYPE_CHECKING:
    import pandas as pd


def digest(*values: object) -> bytes:
    """Return 16 bytes that tell these values, in this order, from any others.

    Types count (``1``, ``1.0``, ``True`` and ``"1"`` differ), the order of a dict's keys doesn't. DataFrames and Series
    count by their labels, dtypes and values. Raises TVTableError for what ``encode`` refuses.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    >>> len({digest(1), digest(1.0), digest(True), digest("1"), digest(1, None)})
    5
    """
    return blake2b(",".join(_texts(values)).encode(), digest_size=16).digest()


def digesting(first: object) -> Callable[[Sequence[object]], bytes]:
    """Return ``digest`` for values that come after a first one, which is encoded only once.

    >>> digesting("a")([1, 2]) == digest("a", 1, 2)
    True
    """
    (text,) = _texts([first])
    return lambda values: blake2b(",".join([text, *_texts(values)]).encode(), digest_size=16).digest()


def _texts(values: Sequence[object]) -> list[str]:
    scalars = SCALARS
    return [scalars[kind](value) if (kind := type(value)) in scalars else _canonical(value, 0) for value in values]


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
        if all(type(item) in SCALARS for item in value):
            return f"~{kind.__name__}[{encode_items(value, depth)}]"
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
    return encode_nested(value, depth)


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
