"""Compare two instances of a table: find them, read them column by column, and tell what differs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from tablevault_like.catalog import Database, instances, tables
from tablevault_like.comparison import rows, texts
from tablevault_like.comparison.cells import Codes, equal
from tablevault_like.comparison.records import Difference, DtypeChange, RowChanges, SchemaChanges
from tablevault_like.comparison.rows import Matched
from tablevault_like.comparison.sides import Side
from tablevault_like.errors import TVArgumentError, TVTableError, nearest
from tablevault_like.model import ARTIFACT_DTYPE, Column, InstanceRecord, is_instance_id
from tablevault_like.reading import Reader, Which

_Changed: TypeAlias = "tuple[Codes, str, pd.Series[Any], pd.Series[Any]]"
"""The cells of one column that differ: at which of the matched rows, its name, the old cells, and the new ones."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be compared: two instances, by id or version, which columns, and what tells rows. None is default."""

    old: str | None = None
    new: str | None = None
    key: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None


def compare(reader: Reader, table: str, wanted: Wanted) -> Difference:
    """Return what is different. Raises TVArgumentError for what isn't there."""
    with reader.catalog.snapshot() as db:
        old, new = _chosen(db, table, wanted)
    # Both are read as a whole, or once more if files vanish meanwhile.
    try:
        return reader.of_instance(
            _same(old),
            lambda one: reader.of_instance(
                _same(new), lambda other: _Comparison(Side(reader, one), Side(reader, other), wanted).made()
            ),
        )
    except MemoryError as error:
        raise TVTableError(
            f"{table}/{old.instance_id} and {table}/{new.instance_id} need more memory to be compared than there is "
            f"({str(error) or 'no size is told'}): each column is read as a whole. Name fewer columns=, or compare "
            "them by query()."
        ) from error


def _chosen(db: Database, table: str, wanted: Wanted) -> tuple[InstanceRecord, InstanceRecord]:
    """Return the two instances that are meant: those that are named, else the newest ones."""
    tables.get(db, table)
    there = instances.of_table(db, table)
    named = [None if name is None else _named(db, table, name) for name in (wanted.old, wanted.new)]
    old, new = named
    if new is None:
        new = _newest(table, there, 1 if old is not None else 2)
    if old is None:
        old = _before(db, new, there)
    return old, new


def _named(db: Database, table: str, name: str) -> InstanceRecord:
    return Which(name if is_instance_id(name) else None, name, active_only=False).find(db, table)


def _newest(table: str, there: Sequence[InstanceRecord], needed: int) -> InstanceRecord:
    if len(there) < needed:
        raise TVArgumentError(
            f"Table {table!r} has {len(there) or 'no'} materialized instance{'' if len(there) == 1 else 's'}, so there "
            "is nothing to compare. Name two instances; TEMP_<version> counts as one."
        )
    return there[-1]


def _before(db: Database, new: InstanceRecord, there: Sequence[InstanceRecord]) -> InstanceRecord:
    """Return what an instance is compared with: the one before it, for a temporary one its origin or the newest."""
    if new.is_temporary:
        if new.origin_table == new.table_name and new.origin_id is not None:
            origin = instances.find(db, new.table_name, new.origin_id)
            if origin is not None:
                return origin
        if there:
            return there[-1]
    else:
        earlier = there[: [each.instance_id for each in there].index(new.instance_id)]
        if earlier:
            return earlier[-1]
    raise TVArgumentError(
        f"There is no instance of {new.table_name!r} before {new.instance_id!r}. Name both that are to be compared."
    )


def _same(record: InstanceRecord) -> Callable[[Database], InstanceRecord]:
    """Return what finds an instance anew, whatever its table is called by then."""

    def find(db: Database) -> InstanceRecord:
        table = tables.find_by_id(db, record.table_id)
        return instances.get(db, record.table_name if table is None else table.name, record.instance_id)

    return find


class _Comparison:
    """The comparison of two instances."""

    def __init__(self, old: Side, new: Side, wanted: Wanted) -> None:
        self._old, self._new, self._wanted = old, new, wanted

    def made(self) -> Difference:
        old, new = self._old, self._new
        schema, changes, cells = self._frames()
        is_temporary = old.record.is_temporary or new.record.is_temporary
        return Difference(
            table_name=new.record.table_name,
            old=old.record.instance_id,
            new=new.record.instance_id,
            schema=schema,
            rows=changes,
            cells=cells,
            inputs=() if is_temporary else tuple(texts.input_differences(old.sources, new.sources)),
            builders=tuple(texts.builder_differences(old.builders, new.builders)),
            code=texts.code_difference(old.code(new), new.code(old)),
        )

    def _frames(self) -> tuple[SchemaChanges, RowChanges, pd.DataFrame]:
        if self._old.columns is None or self._new.columns is None:
            side = self._old if self._old.columns is None else self._new
            note = f"{side.record.instance_id} has no frame yet, so columns, rows and cells aren't compared"
            return SchemaChanges(), self._rows((), note, rows.by_position(0, 0), []), _cells_frame(_positions(()), [])
        columns = self._checked(self._wanted.columns, any_side=True)
        old, new = (
            {name: dtype for name, dtype in found.items() if columns is None or name in columns}
            for found in (self._old.columns, self._new.columns)
        )
        both = [name for name in new if name in old]
        key, note, matched = self._matched()
        changed = [self._changed(name, matched) for name in both if name not in key]
        changed = [each for each in changed if len(each[0])]
        schema = SchemaChanges(
            added=tuple(Column(name, dtype) for name, dtype in new.items() if name not in old),
            removed=tuple(Column(name, dtype) for name, dtype in old.items() if name not in new),
            changed=tuple(DtypeChange(name, old[name], new[name]) for name in both if old[name] != new[name]),
            is_reordered=both != [name for name in old if name in new],
        )
        keys = self._keys(key, self._new, matched.new)
        return schema, self._rows(key, note, matched, changed), _cells_frame(keys, changed)

    def _matched(self) -> tuple[tuple[str, ...], str, Matched]:
        """Return the key by which rows are told, else why they are told by position; and which row is which."""
        old, new = self._old, self._new
        key, why = self._checked(self._wanted.key, any_side=False), ""
        if key is None:
            key, why = self._primary_key()
        if key:
            matched = rows.by_key([old.column(name) for name in key], [new.column(name) for name in key])
            if isinstance(matched, Matched):
                return key, "", matched
            why = f"{_listed(key)} doesn't tell rows apart: {matched}"
            if self._wanted.key is not None:
                raise TVArgumentError(f"The key {why}. Give other columns, or none.")
        return (), f"rows are told by position, as {why}", rows.by_position(old.count, new.count)

    def _primary_key(self) -> tuple[tuple[str, ...], str]:
        """Return the primary key of both instances, or why there is none."""
        old, new = self._old.primary_key, self._new.primary_key
        if old and new and old != new:
            return (), f"the primary key was {_listed(old)} and is now {_listed(new)}"
        key = new or old
        for side in (self._old, self._new):
            missing = [name for name in key if name not in (side.columns or ())]
            if missing:
                return (), f"{side.record.instance_id} has no column {_listed(missing)} of the primary key"
        return key, "" if key else "no builder names a primary key"

    def _checked(self, names: tuple[str, ...] | None, *, any_side: bool) -> tuple[str, ...] | None:
        """Return names of columns that a caller gave. Raises TVArgumentError if an instance has no such column."""
        if names is None:
            return None
        old, new = set(self._old.columns or ()), set(self._new.columns or ())
        for name in names:
            if name not in (old | new if any_side else old & new):
                where = "Neither instance has" if any_side else "Not both instances have"
                raise TVArgumentError(f"{where} a column {name!r}.{nearest(name, old | new)}")
        return names

    def _changed(self, name: str, matched: Matched) -> _Changed:
        """Return the cells of a column that differ."""
        old = self._old.column(name).iloc[matched.old].reset_index(drop=True)
        new = self._new.column(name).iloc[matched.new].reset_index(drop=True)
        dtypes = ((self._old.columns or {})[name], (self._new.columns or {})[name])
        if dtypes == (ARTIFACT_DTYPE, ARTIFACT_DTYPE):
            same = equal(*(_contents(side, names) for side, names in ((self._old, old), (self._new, new))))
        else:
            same = equal(old, new)
        places = np.flatnonzero(~same)
        return places, name, old.iloc[places], new.iloc[places]

    def _keys(self, key: Sequence[str], side: Side, places: Codes) -> pd.Series[Any]:
        """Return the keys of rows of one side."""
        if not key:
            return _positions(places)
        columns = [side.column(name).iloc[places] for name in key]
        if len(columns) == 1:
            return columns[0].rename("key").reset_index(drop=True)
        return pd.Series(list(zip(*columns, strict=True)), name="key", dtype=object)

    def _rows(self, key: tuple[str, ...], note: str, matched: Matched, changed: Sequence[_Changed]) -> RowChanges:
        places = np.unique(np.concatenate([np.empty(0, np.int64), *(each[0] for each in changed)]))
        return RowChanges(
            key=key,
            note=note,
            old_count=self._old.count,
            new_count=self._new.count,
            added=self._keys(key, self._new, matched.added),
            removed=self._keys(key, self._old, matched.removed),
            changed=self._keys(key, self._new, matched.new[places]),
            changed_cells={name: len(found) for found, name, _, _ in changed},
            is_reordered=matched.is_reordered,
        )


def _positions(places: Sequence[int] | Codes) -> pd.Series[Any]:
    return pd.Series(np.asarray(places, np.int64), name="key")


def _contents(side: Side, names: pd.Series[Any]) -> pd.Series[Any]:
    """Return what tells the contents of artifacts, in place of their names."""
    known = side.contents(names.dropna().unique())
    return pd.Series(
        [None if missing else known[name] for name, missing in zip(names, names.isna(), strict=True)], dtype=object
    )


def _cells_frame(keys: pd.Series[Any], changed: Sequence[_Changed]) -> pd.DataFrame:
    """Return a row for each cell that differs, row by row. ``keys`` are those of the matched rows."""
    places = np.concatenate([np.empty(0, np.int64), *(each[0] for each in changed)])
    order = np.argsort(places, kind="stable")
    counts = np.array([len(each[0]) for each in changed], np.int64)
    names = np.repeat(np.array([each[1] for each in changed], dtype=object), counts)
    cells = {
        "key": keys.iloc[places],
        "column": pd.Series(names, dtype="string"),
        "old": _objects([each[2] for each in changed]),
        "new": _objects([each[3] for each in changed]),
    }
    return pd.DataFrame({name: found.reset_index(drop=True).iloc[order] for name, found in cells.items()}).reset_index(
        drop=True
    )


def _objects(parts: Sequence[pd.Series[Any]]) -> pd.Series[Any]:
    found: pd.Series[Any] = pd.concat([pd.Series([], dtype=object), *(part.astype(object) for part in parts)])
    return found


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
