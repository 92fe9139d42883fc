"""The two ends of a run: rows, ids and hashes from a frame, and the frame with the results.

1. Ids are texts: a text is its own, any other key has that of its JSON. Keys are there, and no two have the same id.
2. The frame that is returned has the rows of the one that was given, in its order and with its index.
3. Columns have the nullable dtypes of their values, or ``object``, which keeps values exactly.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tablevault_like.errors import TableVaultError, TVArgumentError, TVTableError, nearest
from tablevault_like.mapping.cache import first
from tablevault_like.storage.digests import digest
from tablevault_like.storage.tables import frame_from_table, table_from_cells
from tablevault_like.storage.values import decode, encode, encode_cells

RESULT = "result"
"""The column of results that aren't mappings."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rows:
    """The rows of a frame by their ids, which stand in the order of the rows, with the columns that a function sees."""

    frame: pd.DataFrame
    ids: tuple[str, ...]
    columns: tuple[str, ...]
    _values: tuple[list[Any], ...]
    _places: Mapping[str, int]

    @classmethod
    def of(cls, frame: object, key: str, columns: Sequence[str] | None = None, *, argument: str = "key") -> Rows:
        """Take a frame apart. Raises TVArgumentError for keys that aren't unique or null, and for unknown columns."""
        if not isinstance(frame, pd.DataFrame):
            raise TVArgumentError(f"df must be a pandas DataFrame, not a {type(frame).__name__}.")
        names = [*frame.columns]
        doubled = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if doubled:
            raise TVArgumentError(
                f"df has {names.count(doubled[0])} columns named {doubled[0]!r}. Rename some of them."
            )
        if isinstance(columns, str):
            columns = [columns]
        for name in (key, *(columns or ())):
            if name not in names:
                raise TVArgumentError(
                    f"df has no column {name!r}{f' ({argument}=)' if name == key else ''}."
                    f"{_or_the_index(frame, name) or nearest(str(name), map(str, names))}"
                )
        seen = names if columns is None else list(dict.fromkeys(columns))
        ids = _ids(frame[key].tolist(), key)
        values = tuple(frame[name].tolist() for name in seen)
        return cls(frame, ids, tuple(seen), values, {name: place for place, name in enumerate(ids)})

    def row(self, row_id: str) -> dict[str, Any]:
        """Return a row as a new dict of its columns."""
        place = self._places[row_id]
        return {name: values[place] for name, values in zip(self.columns, self._values, strict=True)}

    def hashes(self) -> dict[str, str]:
        """Return the hash of each row's columns. Raises TVArgumentError for a value that can't be told from others."""
        found = {}
        for row_id, *cells in zip(self.ids, *self._values, strict=True):
            try:
                found[row_id] = digest(*cells).hex()
            except TableVaultError as error:
                or_others = " Or name the columns that the function needs: columns=[...]." if self.columns[1:] else ""
                raise TVArgumentError(
                    f"Whether the row {row_id!r} has changed can't be told: {error}{or_others}"
                ) from error
        return found


def _or_the_index(frame: pd.DataFrame, name: object) -> str:
    return " That is the name of its index: df.reset_index() makes it a column." if name in frame.index.names else ""


def _ids(keys: Iterable[object], column: str) -> tuple[str, ...]:
    ids: dict[str, object] = {}
    missing: list[int] = []
    twice: dict[str, object] = {}
    for place, key in enumerate(keys):
        if _is_missing(key):
            missing.append(place)
            continue
        try:
            kept = encode(str(key) if isinstance(key, str) else _plain(key))
            text = key if isinstance(key, str) else kept
        except TableVaultError as error:
            raise TVArgumentError(f"The key {column!r} of row {place} of df can't be one: {error}") from error
        if text in ids:
            twice[text] = key
        ids[text] = key
    if missing:
        raise TVArgumentError(
            f"The key {column!r} is missing in {len(missing)} rows of df, at the positions {first(missing)}. Every row "
            "needs a key."
        )
    if twice:
        raise TVArgumentError(
            f"The key {column!r} isn't unique in df: {first(twice.values())} stand there more than once. Drop "
            "the duplicates, or name another key column."
        )
    return tuple(ids)


def _is_missing(key: object) -> bool:
    found = pd.isna(key)  # type: ignore[call-overload]
    return found is True or (not hasattr(found, "shape") and bool(found))


def _plain(key: Any) -> object:
    """Return a number of numpy as Python's."""
    return key.item() if type(key).__module__ == "numpy" and hasattr(key, "item") else key


def joined(
    rows: Rows, results: Mapping[str, str], *, fields: Sequence[str] | None = None, only: Iterable[str] | None = None
) -> pd.DataFrame:
    """Return the frame of ``rows`` with the columns of the results, given as texts by id.

    ``fields`` are columns that are there in any case, and come first; None says that a result may be a value by itself.
    With ``only`` rows other than these ids are left out; otherwise those without a result are missing.
    """
    kept = [*range(len(rows.ids))]
    if only is not None:
        wanted = set(only)
        kept = [place for place, name in enumerate(rows.ids) if name in wanted]
    values = [_by_name(decode(results[rows.ids[place]])) if rows.ids[place] in results else None for place in kept]
    has = [rows.ids[place] in results for place in kept]
    names = list(
        dict.fromkeys([*(fields or ()), *(name for value in values if isinstance(value, dict) for name in value)])
    )
    is_scalar = any(there and not isinstance(value, dict) for value, there in zip(values, has, strict=True))
    if is_scalar or (fields is None and not names):
        names = [RESULT, *(name for name in names if name != RESULT)]
    frame = rows.frame if len(kept) == len(rows.ids) else rows.frame.iloc[kept]
    if not names:
        return frame.copy()
    columns = _columns(names, values)
    columns.index = frame.index
    return pd.concat([frame, columns.rename(columns=_new_names(names, [*map(str, frame.columns)]))], axis=1)


def _by_name(value: object) -> object:
    """Return a dict with the names of its columns as keys, and anything else as it is."""
    return {str(key): each for key, each in value.items()} if isinstance(value, dict) else value


def check_names(value: object) -> None:
    """Raise TVTableError for a dict two of whose keys would be columns of the same name."""
    if isinstance(value, dict) and len(set(map(str, value))) < len(value):
        names = [str(key) for key in value]
        doubled = next(name for name in names if names.count(name) > 1)
        both = " and ".join(repr(key) for key in value if str(key) == doubled)
        raise TVTableError(f"The keys {both} would both be the column {doubled!r}. Return a dict with other keys.")


def _columns(names: Sequence[str], values: Sequence[object]) -> pd.DataFrame:
    batch = [(place, encode_cells([_cell(value, name) for name in names], names)) for place, value in enumerate(values)]
    return frame_from_table(table_from_cells(lambda: iter([batch] if batch else []), names, rows=len(values)))


def _cell(value: object, name: str) -> object:
    if isinstance(value, dict):
        return value.get(name)
    return value if name == RESULT else None


def _new_names(names: Sequence[str], taken: Sequence[str]) -> dict[str, str]:
    """Return other names for results whose names the frame has already."""
    found: dict[str, str] = {}
    for name in names:
        new = name
        while new in taken or (new != name and (new in names or new in found.values())):
            new = f"{new}_{RESULT}"
        if new != name:
            found[name] = new
            _log.warning("df has a column %r already: that of the results is named %r", name, new)
    return found
