"""The frame of an execution that isn't finished: what its checkpoint holds by now.

Made from the plan and what is recorded, without running anything. The rows are those that the IndexBuilder has made; a
cell that isn't computed yet is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.layout import ProcessLayout
from tablevault_like.model import ARTIFACT_DTYPE, ReturnType
from tablevault_like.storage import tables, values
from tablevault_like.storage.row_reader import RowReader


@dataclass(frozen=True, slots=True)
class PartialFrame:
    """The rows that exist, in the columns of the plan. ``artifact_columns`` are those of dtype ``artifact_string``."""

    frame: pd.DataFrame
    artifact_columns: tuple[str, ...]


def partial_frame(folder: ProcessLayout, plan: Plan) -> PartialFrame:
    """Return what the checkpoint of a process holds. Raises TVFileError if its row store is damaged."""
    with RowReader.open(folder.rows) as store:
        index = plan.builders[0]
        made: dict[str, pd.Series] = {}
        artifact_columns: dict[str, None] = {}
        with_old = folder.frame_with_old(index.name)
        if with_old.exists():
            whole = tables.read_table(with_old)
            kept = tables.read_columns(with_old)[0]
            made = {column.name: whole[column.name] for column in kept}
            artifact_columns = {column.name: None for column in kept if column.dtype == ARTIFACT_DTYPE}
            first: pd.DataFrame | None = whole
        else:
            first = _columns(folder, index, store, rows=_rows_of_batches(index, store))
        rows = 0 if first is None else len(first)
        for builder in plan.builders:
            found = first if builder is index else _columns(folder, builder, store, rows=rows)
            for name in builder.changed_columns:
                made[name] = pd.Series([None] * rows, dtype=object) if found is None else found[name]
    artifact_columns |= {
        name: None
        for builder in plan.builders
        for name, dtype in builder.dtypes.items()
        if dtype == ARTIFACT_DTYPE and name in builder.changed_columns
    }
    frame = pd.DataFrame(made, index=pd.RangeIndex(rows), columns=pd.Index(list(made), dtype=object))
    return PartialFrame(frame, tuple(artifact_columns))


def named_artifacts(folder: ProcessLayout, plan: Plan) -> Iterator[tuple[str, int, str]]:
    """Yield every artifact that is named by what is recorded: builder, row and name. Rows of no index count, too.

    Raises TVFileError if the row store is damaged, or a frame.
    """
    with RowReader.open(folder.rows) as store:
        for builder in plan.builders:
            columns = [name for name, dtype in builder.dtypes.items() if dtype == ARTIFACT_DTYPE]
            places = {name: place for place, name in enumerate(builder.changed_columns) if name in columns}
            if not places:
                continue
            if builder.return_type is ReturnType.DATAFRAME:
                path = folder.frame(builder.name)
                frame = tables.read_table(path, columns=list(places)) if path.exists() else pd.DataFrame()
                for name in frame.columns:
                    found = frame[name].dropna()
                    yield from ((builder.name, int(row), cell) for row, cell in zip(found.index, found, strict=True))
                continue
            for batch in store.cells(builder.name):
                for (row, _), cells in zip(batch, values.decode_rows([text for _, text in batch]), strict=True):
                    yield from ((builder.name, row, cells[at]) for at in places.values() if isinstance(cells[at], str))


def _rows_of_batches(index: PlannedBuilder, store: RowReader) -> int | None:
    """Return how many rows an IndexBuilder has that has made all of its batches, though some failed and are empty."""
    if index.return_type is not ReturnType.BATCH:
        return None
    counts, total = store.counts(index.name), int(index.fields["total_rows"])
    return total if counts.skipped and counts.done + counts.skipped == total else None


def _columns(
    folder: ProcessLayout, builder: PlannedBuilder, store: RowReader, *, rows: int | None
) -> pd.DataFrame | None:
    """Return what is recorded of a builder, ``None`` if nothing is. With ``rows`` it has that many rows."""
    if builder.return_type is ReturnType.DATAFRAME:
        path = folder.frame(builder.name)
        return tables.read_table(path, columns=builder.changed_columns) if path.exists() else None
    # Rows that are recorded while this reads don't count: those before them, or their index, may not have been read.
    recorded = store.recorded(builder.name)
    if rows is not None:
        recorded = recorded[recorded < rows]
    if not len(recorded):
        return None
    is_known = np.zeros(recorded[-1] + 1, dtype=bool)
    is_known[recorded] = True

    def cells() -> Iterator[list[tuple[int, str]]]:
        for batch in store.cells(builder.name):
            if known := [cell for cell in batch if cell[0] < len(is_known) and is_known[cell[0]]]:
                yield known

    table = tables.table_from_cells(cells, builder.changed_columns, dtypes=builder.dtypes, rows=rows)
    return tables.frame_from_table(table)
