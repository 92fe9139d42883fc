"""Take over what a builder has made in the origin as it is, in place of running it.

1. Nothing is looked at: neither whether the builder, its code or its inputs are what they were, nor its ``reuse``.
2. What is taken over is recorded like any row, with the recipe and the input hash of the row that it was taken from. So
   a resume finds it, and the next instance reuses it only where that would come out the same.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import pyarrow as pa

from tablevault_like.builders.frames import check_primary_key
from tablevault_like.builders.provenance import RowOrigins
from tablevault_like.builders.reuse import Origin
from tablevault_like.builders.task import Task
from tablevault_like.builders.wholes import keep
from tablevault_like.errors import TVArtifactError
from tablevault_like.model import ARTIFACT_DTYPE, Progress, ReturnType
from tablevault_like.storage import artifacts, tables
from tablevault_like.storage.rows import DoneRow
from tablevault_like.storage.values import encode_cells

_log = logging.getLogger(__name__)
_BLOCK = 8192


def take_over(task: Task, origin: Origin) -> None:
    """Record the origin's columns of a builder as what it has made.

    Raises TVArtifactError if artifacts of theirs aren't what was recorded of them, TVTableError if they don't tell rows
    apart by the primary key, and FencedError if another worker took the process over.
    """
    columns = task.spec.changed_columns
    part = origin.table.select(list(columns))
    key = list(task.spec.primary_key)
    if key:
        check_primary_key(tables.frame_from_table(origin.table.select(key)), key)
    _take_artifacts(task, origin, part)
    maker = next((each for each in origin.provenance.builders() if each.changed_columns == tuple(columns)), None)
    rows = part.num_rows
    if task.spec.return_type is ReturnType.DATAFRAME:
        task.report(Progress(0, 0, rows))
        if not task.frame_path.exists():
            keep(task, part, None if maker is None else maker.input_hash)
    else:
        counts = task.building.store.counts(task.name)
        task.report(Progress(counts.done, 0, rows, reused=counts.reused))
        known = None if maker is None else origin.provenance.rows(maker.name, count=rows)
        for taken in _rows(task, part, known, columns):
            task.building.store.record(task.name, (), done=taken)
        if maker is not None and maker.input_hash is not None:
            task.building.store.set_input_hash(task.name, maker.input_hash)
    task.report(Progress(rows, 0, rows, reused=rows))
    _log.info("Process %s, builder %s: %d rows are as in the origin", task.building.process_id, task.name, rows)


def _rows(task: Task, part: pa.Table, known: RowOrigins | None, columns: Sequence[str]) -> Iterator[list[DoneRow]]:
    store = task.building.store
    codes = {} if known is None else {code: store.code_number(recipe) for code, recipe in known.recipes.items()}
    for start in range(0, part.num_rows, _BLOCK):
        rows: list[DoneRow] = []
        for row, cells in enumerate(tables.cells_of(part.slice(start, _BLOCK)), start):
            text, input_hash, code = None, None, 0
            if known is not None:
                text, input_hash = known.cells.get(row), known.hashes[row]
                code = codes.get(known.codes[row], 0)
            text = text or encode_cells(cells, columns)
            rows.append((row, text, 0, 0.0, input_hash, code))
        yield rows


def _take_artifacts(task: Task, origin: Origin, part: pa.Table) -> None:
    columns = [each.name for each in tables.table_columns(part) if each.dtype == ARTIFACT_DTYPE]
    names = [name for column in columns for name in part.column(column).to_pylist() if name is not None]
    if not names:
        return
    taken = artifacts.take_over(names, origin.artifact_folder, task.building.artifact_folder)
    recorded = origin.digests()
    changed = sorted(name for name, digest in taken.items() if recorded.get(name) != digest)
    if changed:
        raise TVArtifactError(
            f"The builder {task.name!r} is to be taken over from the origin, whose artifact {changed[0]!r} was changed "
            f"since it was made ({origin.artifact_folder}). Begin with this builder, or with one before it."
        )
