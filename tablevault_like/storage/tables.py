"""Tables: from row results or a frame to Parquet, and back to a frame. The only module that knows the file's format.

1. A frame comes back with the columns, dtypes, values and order that it had. Its index is the position of its rows.
2. A file is never changed in place: writing a table puts a new file in the place of the old one, and syncs it.
3. Row results become a table batch by batch; the whole of it exists in Arrow, never as Python objects.
4. Reading runs nothing: no pickle, no type that is defined by the file. What this module hasn't made, and text that
   is none, is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tablevault_like.errors import TableVaultError, TVArgumentError, TVFileError, TVTableError, nearest
from tablevault_like.model import ARTIFACT_DTYPE, Column
from tablevault_like.storage import arrow, files, filters, reach, values
from tablevault_like.storage.arrow import Encoding
from tablevault_like.storage.columns import Form, Stored, arrow_type, from_stored, parse_dtype, to_stored, with_missing
from tablevault_like.storage.dtypes import check_dtypes, coerce, coerce_column, fit, form_of
from tablevault_like.storage.filters import Filter

__all__ = [
    "coerce",
    "distinct_cells",
    "exported",
    "frame_from_table",
    "iterate_batches",
    "matching_positions",
    "read_arrow_table",
    "read_columns",
    "read_table",
    "table_columns",
    "table_from_cells",
    "table_from_frame",
    "write_arrow_table",
    "write_table",
]

Cells = Iterable[Sequence[tuple[int, str]]]
Positions: TypeAlias = "pd.Index[Any]"

_ROW_GROUP_BYTES = 64 << 20
_ROW_GROUP_ROWS = 1 << 17
_COMPRESSED_BYTES = 1 << 16
"""Smaller tables are not compressed: setting up costs more than it saves."""
_BUFFER_BYTES = 1 << 16
"""How much of a column is read at a time."""


def table_from_cells(
    cells: Callable[[], Cells],
    columns: Sequence[str],
    *,
    dtypes: Mapping[str, str] | None = None,
    rows: int | None = None,
) -> pa.Table:
    """Return the columns of a builder as an Arrow table, from batches such as ``RowStore.cells`` gives.

    ``cells`` may be called twice. A column without a dtype gets pandas' nullable dtype for its values, or ``object``,
    which keeps values exactly. With ``rows`` the table has that many rows, and those without a result are missing;
    without, it has a row for each result. Raises TVTableError, with column and row, for a value that doesn't fit.
    """
    dtypes = dtypes or {}
    check_dtypes(dtypes, columns)
    made = [_Column(name, dtypes.get(name)) for name in columns]
    positions: list[int] = []
    for batch_rows, batch in _decoded(cells(), len(columns)):
        positions += batch_rows
        for column, cells_of_column in zip(made, batch, strict=True):
            column.add(cells_of_column, batch_rows)
    found = {
        column.name: column.finish(partial(_decoded_column, cells, len(columns), place))
        for place, column in enumerate(made)
    }
    if rows is not None and positions != list(range(rows)):
        found = _spread(found, positions, rows)
    return _table(found)


def table_from_frame(frame: pd.DataFrame, dtypes: Mapping[str, str] | None = None) -> pa.Table:
    """Return a frame as an Arrow table, its columns made to fit ``dtypes``.

    Raises TVTableError for what can't be kept: labels that are no names, a named index, a dtype or a value. An index
    without a name is dropped.
    """
    dtypes = dtypes or {}
    if any(name is not None for name in frame.index.names):
        names = ", ".join(repr(name) for name in frame.index.names)
        raise TVTableError(f"The frame has an index named {names}. Call reset_index() to make it a column.")
    frame = coerce(frame, dtypes)
    if not len(frame.columns) and len(frame):
        raise TVTableError(f"The frame has {len(frame)} rows and no columns. Give it at least one column.")
    found = {}
    for name in frame.columns:
        try:
            stored = to_stored(frame[name])
        except TVTableError as error:
            where = "" if error.row is None else f", row {error.row}"
            raise TVTableError(f"Column {name!r}{where}: {error}", column=name, row=error.row) from None
        if dtypes.get(name) == ARTIFACT_DTYPE:
            stored = Stored(stored.values, form_of(ARTIFACT_DTYPE))
        found[str(name)] = stored
    return _table(found)


def frame_from_table(table: pa.Table, *, positions: Positions | None = None) -> pd.DataFrame:
    """Return an Arrow table that this module made as a frame. Its index is ``positions``; by default it counts from 0.

    Raises ValueError or TypeError if this module can't have made it.
    """
    found = {
        each.name: from_stored(Stored(table.column(place), Form.of(each))) for place, each in enumerate(table.schema)
    }
    return _frame(found, pd.RangeIndex(table.num_rows) if positions is None else positions)


def cells_of(table: pa.Table) -> Iterator[tuple[object, ...]]:
    """Yield the rows of an Arrow table that this module made, as values of which the same columns would be made.

    What is missing is None, except in columns of dtype ``object``, which keep what they were given.
    """
    frame = frame_from_table(table)
    return zip(*(_values(frame[name]) for name in frame.columns), strict=True)


def _values(series: pd.Series[Any]) -> list[object]:
    """Return a column's values; those of numbers that aren't Python's own know their width."""
    dtype, values = series.dtype, series.tolist()
    width = getattr(dtype, "numpy_dtype", dtype)
    if isinstance(width, np.dtype) and width.kind in "iuf" and width not in (np.int64, np.float64):
        return [None if value is pd.NA else width.type(value) for value in values]
    if (isinstance(dtype, np.dtype) and dtype.kind not in "mM") or not series.hasnans:
        return values
    if isinstance(dtype, pd.StringDtype | pd.CategoricalDtype):
        return [None if is_missing else value for value, is_missing in zip(values, series.isna(), strict=True)]
    return [None if value is pd.NA or value is pd.NaT else value for value in values]


def table_columns(table: pa.Table) -> tuple[Column, ...]:
    """Return the columns of an Arrow table that this module made."""
    return _columns(table.schema)


def write_table(path: Path, frame: pd.DataFrame, dtypes: Mapping[str, str] | None = None) -> tuple[Column, ...]:
    """Write a frame to a Parquet file, its columns made to fit ``dtypes``, and return the columns.

    Raises what ``table_from_frame`` raises.
    """
    return write_arrow_table(path, table_from_frame(frame, dtypes))


def write_arrow_table(path: Path, table: pa.Table) -> tuple[Column, ...]:
    """Write an Arrow table that this module made to a Parquet file, sync it, and return its columns.

    The file is a new one: a hard link to the one that it replaces keeps what it had. The caller syncs the folder.
    """
    row_bytes = table.nbytes // max(1, table.num_rows) + 1
    group = max(1, min(_ROW_GROUP_ROWS, _ROW_GROUP_BYTES // row_bytes))
    reach.unlink(path, missing_ok=True)
    try:
        with os.fdopen(reach.open_file(path, files.CREATE), "wb") as sink:
            compression = "zstd" if table.nbytes >= _COMPRESSED_BYTES else "none"
            pq.write_table(
                _with_pandas_metadata(table),
                sink,
                compression=compression,
                row_group_size=group,
                write_page_checksum=True,
            )
        files.sync_file(path)
    except OSError as error:
        reach.unlink(path, missing_ok=True)
        message = f"The table {path} can't be written ({error}). Check the disk and try again."
        raise TVFileError(message, path=path) from error
    return _columns(table.schema)


def read_table(
    path: Path, *, columns: Sequence[str] | None = None, rows: int | None = None, wanted: Filter | None = None
) -> pd.DataFrame:
    """Return a table as a frame: some of its columns, in that order, and its first ``rows``; by default all.

    With a filter, only rows that are ``wanted`` count; they keep their positions in the index. Raises TVFileError if
    the table is missing or damaged, TVArgumentError for a column that it doesn't have, and for values of the filter
    that can't be compared with theirs.
    """
    with told(path):
        table, positions = read_arrow_table(path, columns=columns, rows=rows, wanted=wanted)
        return frame_from_table(table, positions=positions)


def read_arrow_table(
    path: Path, *, columns: Sequence[str] | None = None, rows: int | None = None, wanted: Filter | None = None
) -> tuple[pa.Table, Positions]:
    """Return what ``read_table`` does in Arrow, as it is stored, and the positions of its rows."""
    with _opened(path) as (file, source):
        names = _chosen(file, columns)
        if wanted is None and (rows is None or rows >= file.metadata.num_rows):
            return _read(file, names), pd.RangeIndex(file.metadata.num_rows)
        size = _ROW_GROUP_ROWS if rows is None else max(1, min(rows, _ROW_GROUP_ROWS))
        found: list[pa.Table] = []
        positions: list[Any] = [np.empty(0, np.int64)]
        for table, places in _first(_chosen_pieces(file, source, names, size, wanted), rows):
            found.append(table)
            positions.append(places)
        joined = _joined(file, names, found)
        return joined, pd.RangeIndex(joined.num_rows) if wanted is None else pd.Index(np.concatenate(positions))


def read_columns(path: Path) -> tuple[tuple[Column, ...], int]:
    """Return the columns of a table and how many rows it has, without reading them.

    Raises TVFileError as ``read_table`` does.
    """
    with _opened(path) as (file, _):
        return _columns(file.schema_arrow), file.metadata.num_rows


def iterate_batches(
    path: Path,
    columns: Sequence[str] | None = None,
    *,
    batch_size: int = 10_000,
    rows: int | None = None,
    wanted: Filter | None = None,
) -> Iterator[pd.DataFrame]:
    """Return an iterator over a table in frames of at most ``batch_size`` rows, whose indexes go on.

    The file is opened now, and can be read to its end even if it is deleted meanwhile. ``rows`` and ``wanted`` are
    those of ``read_table``. Raises what ``read_table`` raises, before anything is read.
    """
    with ExitStack() as stack:
        file, source = stack.enter_context(_opened(path))
        names = _chosen(file, columns)
        size = batch_size if rows is None else max(1, min(rows, batch_size))
        pieces = _chosen_pieces(file, source, names, size, wanted)
        return _batches(stack.pop_all(), _first(pieces, rows), batch_size)


def distinct_cells(path: Path, column: str) -> Iterator[pd.Series[Any]]:
    """Yield the cells that a column of texts or bytes has, without those that are missing, some of its rows at a time.

    Each comes once of those rows, and may come again of others. What the file stores once is held once, however many
    rows of it there are. Raises TVFileError as ``read_table`` does.
    """
    with _opened(path, dictionaries=[column]) as (file, _):
        for batch in file.iter_batches(batch_size=_ROW_GROUP_ROWS, columns=[column]):
            cells, known = batch.column(0), batch.schema.field(0)
            if pa.types.is_dictionary(cells.type):
                cells = cells.dictionary.take(pc.unique(cells.indices).drop_null())
            else:
                cells = pc.unique(cells).drop_null()
            table = _checked(pa.table([cells], schema=pa.schema([known.with_type(cells.type)])))
            yield frame_from_table(table)[column]


def matching_positions(frame: pd.DataFrame, wanted: Filter) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the positions of the rows of a frame for which a filter holds. Raises what ``read_table`` raises."""
    filters.check_columns(wanted, list(frame.columns))
    table = table_from_frame(frame[list(wanted.columns)])
    return filters.matching(table, filters.fit_values(wanted, table.schema))


def exported(table: pa.Table, known: Mapping[str, str] | None = None) -> pa.Table:
    """Return an Arrow table that this module made in a form for others.

    A category becomes a dictionary. What Arrow can't hold stays the tagged JSON text that it is stored as; the field's
    metadata has ``b"encoding": b"json"`` then. ``known`` is put into the schema's metadata.
    """
    columns, fields = [], []
    for place, each in enumerate(table.schema):
        form, column = Form.of(each), table.column(place)
        if form.dtype == "category" and form.encoding is Encoding.PLAIN:
            column = _dictionary(column, form)
        metadata = {b"encoding": b"json"} if form.encoding is Encoding.JSON else None
        columns.append(column)
        fields.append(pa.field(each.name, column.type, metadata=metadata))
    described = _pandas_metadata(table.schema.serialize().to_pybytes()) or {}
    metadata = {**described, **{name.encode(): text.encode() for name, text in (known or {}).items()}}
    return pa.table(columns, schema=pa.schema(fields, metadata=metadata))


def _dictionary(column: Any, form: Form) -> Any:
    """Return the cells of a categorical column as an Arrow dictionary with all of its categories."""
    categories = from_stored(Stored(column.slice(0, 0), form)).cat.categories
    known = to_stored(pd.Series(categories)).values.combine_chunks()
    codes = pc.index_in(column, value_set=known).combine_chunks()
    return pa.DictionaryArray.from_arrays(codes, known, ordered=form.ordered)


@dataclass(slots=True)
class _Column:
    """A column that is made of row results, batch by batch."""

    name: str
    dtype: str | None
    _fitted: list[Any] = field(default_factory=list)
    _packed: list[arrow.Packed] = field(default_factory=list)

    @property
    def _is_inferred(self) -> bool:
        return self.dtype in (None, "object", "category")

    def add(self, cells: Sequence[object], rows: Sequence[int]) -> None:
        if self.dtype is None or self._is_inferred:
            self._packed.append(arrow.pack_block(cells, exact=self.dtype == "object"))
        else:
            self._fitted.append(fit(cells, self.dtype, column=self.name, rows=rows))

    def finish(self, again: Callable[[], Iterable[Sequence[object]]]) -> Stored:
        """Return the whole column. ``again`` gives its cells once more, for what only JSON can hold together."""
        if self.dtype is not None and not self._is_inferred:
            return Stored(pa.chunked_array(self._fitted, arrow_type(parse_dtype(self.dtype))), form_of(self.dtype))
        packed = arrow.join(self._packed, exact=self.dtype == "object") or arrow.pack_json(again())
        stored = Stored(packed.values, Form("object" if self.dtype == "object" else packed.dtype, packed.encoding))
        if self.dtype != "category":
            return stored
        return to_stored(coerce_column(from_stored(stored).rename(self.name), self.dtype))


def _decoded(cells: Cells, width: int) -> Iterator[tuple[list[int], list[list[object]]]]:
    """Yield the positions and the columns of each batch."""
    for batch in cells:
        rows = [row for row, _ in batch]
        found = values.decode_rows([text for _, text in batch])
        if any(type(cells) is not list or len(cells) != width for cells in found):
            raise TVFileError(
                f"The results of rows {rows[0]} to {rows[-1]} don't have the {width} columns that they should have. "
                "The file that they are in is damaged, or made by another builder."
            )
        # Not zip(*found): as many iterators as there are rows would keep the garbage collector busy.
        yield rows, [[cells[place] for cells in found] for place in range(width)]


def _decoded_column(cells: Callable[[], Cells], width: int, place: int) -> Iterator[list[object]]:
    return (columns[place] for _, columns in _decoded(cells(), width))


def _spread(found: Mapping[str, Stored], positions: Sequence[int], rows: int) -> dict[str, Stored]:
    """Return the columns with ``rows`` rows: each result in its place, and missing values where there is none."""
    places = np.full(rows, -1, np.int64)
    places[np.array(positions, np.int64)] = np.arange(len(positions))
    indices = pa.array(places, mask=places < 0)
    return {name: with_missing(Stored(stored.values.take(indices), stored.form)) for name, stored in found.items()}


def _frame(found: Mapping[str, pd.Series[Any]], index: pd.Index[Any]) -> pd.DataFrame:
    for column in found.values():
        column.index = index
    return pd.DataFrame(found, index=index, columns=pd.Index(list(found), dtype="str"), copy=False)


def _table(found: Mapping[str, Stored]) -> pa.Table:
    fields = [pa.field(name, stored.values.type, metadata=stored.form.metadata()) for name, stored in found.items()]
    return pa.table([stored.values for stored in found.values()], schema=pa.schema(fields))


def _columns(schema: Any) -> tuple[Column, ...]:
    return tuple(Column(each.name, Form.of(each).dtype) for each in schema)


def _with_pandas_metadata(table: pa.Table) -> pa.Table:
    """Let other programs that read the file with pandas find the same dtypes. This one doesn't need that."""
    return table.replace_schema_metadata(_pandas_metadata(table.schema.serialize().to_pybytes()))


@lru_cache(maxsize=64)
def _pandas_metadata(serialized: bytes) -> dict[bytes, bytes] | None:
    """Return pandas' own metadata for a schema. All of it is the key: equal schemas may differ in their forms."""
    schema = pa.ipc.read_schema(pa.py_buffer(serialized))
    empty = frame_from_table(schema.empty_table())
    categories = [column.name for column in _columns(schema) if column.dtype == "category"]
    if categories:  # pyarrow can't describe those of mixed types; the values are there all the same
        empty = empty.astype(dict.fromkeys(categories, "object"))
    found: dict[bytes, bytes] | None = pa.Schema.from_pandas(empty, preserve_index=False).metadata
    return found


@contextmanager
def _opened(path: Path, *, dictionaries: Sequence[str] = ()) -> Iterator[tuple[pq.ParquetFile, Any]]:
    """Open a table. ``dictionaries`` are columns that are read as numbers of what is stored once."""
    with (
        told(path),
        pa.OSFile(os.fspath(path)) as source,
        # By default Arrow reads some 32 MB ahead, also for a single row.
        pq.ParquetFile(
            source,
            pre_buffer=False,
            buffer_size=_BUFFER_BYTES,
            page_checksum_verification=True,
            read_dictionary=list(dictionaries) or None,
        ) as file,
    ):
        _columns(file.schema_arrow)  # what this module hasn't made is told before any of it is read
        yield file, source


def _checked(table: pa.Table) -> pa.Table:
    """Return a table whose texts are texts: Arrow doesn't look, and what reads them would fail, or worse."""
    for place, each in enumerate(table.schema):
        if pa.types.is_string(each.type) or pa.types.is_large_string(each.type):
            table.column(place).validate(full=True)
    return table


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what is raised over a table that is missing, damaged, or not made by this module, into TVFileError."""
    try:
        yield
    except TableVaultError:
        raise
    except FileNotFoundError as error:
        raise TVFileError(f"The table {path} is missing. Restore it from a backup.", path=path) from error
    except MemoryError as error:
        raise TVFileError(
            f"The table {path} needs more memory than there is ({str(error) or 'no size is told'}). Read a part of it, "
            "by columns=, filters= or rows=, or batch by batch.",
            path=path,
        ) from error
    except (OSError, pa.ArrowException, ValueError, TypeError, KeyError) as error:
        raise TVFileError(f"The table {path} can't be read ({error}). Restore it from a backup.", path=path) from error


def _chosen(file: pq.ParquetFile, columns: Sequence[str] | None) -> list[str]:
    known = file.schema_arrow.names
    for name in columns or ():
        if name not in known:
            raise TVArgumentError(f"The table has no column {name!r}.{nearest(name, known)}")
    return list(known if columns is None else columns)


def _read(file: pq.ParquetFile, names: list[str]) -> pa.Table:
    if not names:  # of a table without columns, Arrow doesn't know how many rows it has
        return _without_columns(file.metadata.num_rows)
    return _checked(file.read(columns=names).select(names))


def _joined(file: pq.ParquetFile, names: list[str], tables: Sequence[pa.Table]) -> pa.Table:
    if not names:
        return _without_columns(sum(table.num_rows for table in tables))
    return pa.concat_tables([file.schema_arrow.empty_table().select(names), *tables])


def _without_columns(rows: int) -> pa.Table:
    return pa.table({"none": pa.nulls(rows)}).select([])


def _chosen_pieces(
    file: pq.ParquetFile, source: Any, names: list[str], size: int, wanted: Filter | None
) -> Iterator[tuple[pa.Table, Positions]]:
    """Return an iterator over a table piece by piece, with the positions of the rows. A filter is checked now."""
    if wanted is None:
        return _pieces(file, names, size)
    return _wanted_pieces(file, source, names, filters.fit_values(wanted, file.schema_arrow))


def _first(pieces: Iterable[tuple[pa.Table, Positions]], rows: int | None) -> Iterator[tuple[pa.Table, Positions]]:
    """Yield the pieces of the first rows."""
    left = rows
    for table, positions in pieces if rows != 0 else ():
        if left is None or left > len(positions):
            left = None if left is None else left - len(positions)
            yield table, positions
        else:
            yield table.slice(0, left), positions[:left]
            return


def _pieces(file: pq.ParquetFile, names: list[str], size: int) -> Iterator[tuple[pa.Table, Positions]]:
    start = 0
    if not names:
        for first in range(0, file.metadata.num_rows, size):
            rows = min(size, file.metadata.num_rows - first)
            yield _without_columns(rows), pd.RangeIndex(first, first + rows)
        return
    for batch in file.iter_batches(batch_size=size, columns=names):
        yield _checked(pa.Table.from_batches([batch]).select(names)), pd.RangeIndex(start, start + batch.num_rows)
        start += batch.num_rows


def _wanted_pieces(
    file: pq.ParquetFile, source: Any, names: list[str], wanted: Filter
) -> Iterator[tuple[pa.Table, Positions]]:
    """Yield the rows that are wanted, row group by row group, with their positions.

    A row group whose statistics say that it has none isn't read; of one that has none, only what tells so.
    """
    looked_at = list(wanted.columns)
    others = [name for name in names if name not in looked_at]
    starts = np.cumsum([0, *(file.metadata.row_group(each).num_rows for each in range(file.num_row_groups))])
    for group in _promising_groups(file, source, wanted):
        known = _checked(file.read_row_group(group, columns=looked_at).select(looked_at))
        rows = filters.matching(known, wanted)
        if not len(rows):
            continue
        if others:
            more = _checked(file.read_row_group(group, columns=others).select(others))
            for name in others:
                known = known.append_column(more.schema.field(name), more.column(name))
        # By the indices in any case, so that nothing holds the whole row group in memory.
        yield known.select(names).take(pa.array(rows)), pd.Index(rows + int(starts[group]))


def _promising_groups(file: pq.ParquetFile, source: Any, wanted: Filter) -> list[int]:
    expression = filters.pruning_expression(wanted, file.schema_arrow) if file.num_row_groups > 1 else None
    if expression is None:
        return list(range(file.num_row_groups))
    import pyarrow.dataset as ds  # it takes long to import, and is needed for large tables only

    fragment = ds.ParquetFileFormat().make_fragment(source)
    return sorted(group.id for group in fragment.subset(expression).row_groups)


def _batches(opened: ExitStack, pieces: Iterable[tuple[pa.Table, Positions]], size: int) -> Iterator[pd.DataFrame]:
    with opened:
        for table, positions in pieces:
            for start in range(0, len(positions), size):
                yield frame_from_table(table.slice(start, size), positions=positions[start : start + size])
