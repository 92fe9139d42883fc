"""A builder whose function is called once for all rows, and returns a DataFrame."""

from __future__ import annotations

import uuid

import pandas as pd
import pyarrow as pa

from tablevault_like.builders.recording import failure, kept_artifacts
from tablevault_like.builders.task import Task
from tablevault_like.engines.attempts import Attempts, CallFailed
from tablevault_like.engines.base import Failed, Work
from tablevault_like.errors import TVArtifactError, TVTableError, nearest
from tablevault_like.model import ARTIFACT_DTYPE, Progress
from tablevault_like.storage import files, tables
from tablevault_like.storage.rows import FRAMES


def make_frame(task: Task) -> pa.Table:
    """Return what the function gives, which is called once for all rows, and keep it: it isn't called again."""
    total = None if task.spec.is_index else task.rows_to_fill()
    if task.frame_path.exists():
        return _kept_frame(task)
    task.report(_progress(task, 0, total))
    bound = task.bind()
    work = task.whole_work(bound)
    input_hash = task.call_hash(bound, work)
    made = task.made_before(input_hash)
    table, cost = _call_for_frame(task, work, total) if made is None else (made, 0.0)
    keep(task, table, input_hash)
    if made is None:
        for spending in task.building.spendings:
            spending.add(rows=table.num_rows, cost=cost)
    reused = 0 if made is None else made.num_rows
    task.tell_reuse(reused, of=table.num_rows)
    task.report(_progress(task, table.num_rows, table.num_rows, reused=reused))
    return table


def kept(task: Task) -> pa.Table:
    """Return the frame that was kept."""
    frame = tables.read_table(task.frame_path, columns=task.spec.changed_columns)
    return tables.table_from_frame(frame, task.spec.dtypes)


def _kept_frame(task: Task) -> pa.Table:
    """Return the frame that was kept by a worker that died then: it may have counted none of its rows as reused."""
    table, reused = kept(task), 0
    if task.reuse is not None:
        input_hash = task.building.store.input_hash(task.name)
        if input_hash is not None and task.reuse.known_whole(task.spec.changed_columns, input_hash) is not None:
            reused = table.num_rows
    task.report(_progress(task, table.num_rows, table.num_rows, reused=reused))
    return table


def _progress(task: Task, done: int, total: int | None, *, reused: int = 0) -> Progress:
    price = task.building.store.counts(task.name)
    return Progress(done, 0, total, reused, cost=price.cost, tokens=price.tokens)


def _call_for_frame(task: Task, work: Work, total: int | None) -> tuple[pa.Table, float]:
    """Return what the function gives, and what it has cost."""
    building, function = task.building, task.function
    attempts = task.attempts() or Attempts(building.engine, building.stop)
    result = building.engine.call(
        lambda work: attempts.call(lambda: function(**work.arguments)), work, stop=building.stop, enter=building.enter
    )
    if isinstance(result, Failed):
        error = result.error
        if isinstance(error, CallFailed):
            _record_price(task, error.cost, error.tokens)
            error = building.interrupted() if error.was_stopped else error.original
        raise building.interrupted() if building.is_echo(error) else failure(task.spec, error)
    tried = result.value
    _record_price(task, tried.cost, tried.tokens)
    try:
        return _table_of(task, tried.value, total), tried.cost or 0.0
    except (TVTableError, TVArtifactError) as error:
        raise failure(task.spec, error) from error


def _record_price(task: Task, cost: float | None, tokens: int | None) -> None:
    if cost or tokens:
        task.building.store.add_price(task.name, cost=cost or 0.0, tokens=tokens or 0)


def _table_of(task: Task, value: object, total: int | None) -> pa.Table:
    """Return the builder's columns of the frame that a function returned; their artifacts are on the disk."""
    if not isinstance(value, pd.DataFrame):
        raise TVTableError(
            f"The function returned a {type(value).__name__}, but a builder whose return_type is dataframe needs a "
            "DataFrame. Return one, or set another return_type."
        )
    names = list(task.spec.changed_columns)
    for name in names:
        if name not in value.columns:
            hint = nearest(name, map(str, value.columns))
            raise TVTableError(f"The DataFrame that was returned has no column {name!r}.{hint}", column=name)
    if total is not None and len(value) != total:
        raise TVTableError(f"The DataFrame that was returned has {len(value)} rows, but there are {total} to fill.")
    table = tables.table_from_frame(value[names], task.spec.dtypes)
    for name in [name for name in names if task.spec.dtypes.get(name) == ARTIFACT_DTYPE]:
        cells: list[str | None] = table.column(name).to_pylist()
        names_of_files = [cell for cell in cells if cell is not None]
        task.building.store.record_files(kept_artifacts(task.building.artifact_folder, names_of_files))
    return table


def keep(task: Task, table: pa.Table, input_hash: bytes | None) -> None:
    """Keep a frame as what a builder has made, with the hash of the call that made it."""
    path = task.frame_path
    files.make_directory(path.parent)
    # A name of its own: a worker that lost its claim may still be writing.
    draft = path.with_name(f".{uuid.uuid4().hex}.parquet")
    try:
        tables.write_arrow_table(draft, table)
        # Before the frame, for without one it says nothing. FencedError if this worker has lost its claim.
        task.building.store.set_input_hash(task.name, input_hash)
        task.building.store.record_files({f"{FRAMES}/{path.name}": files.sha256(draft)})
        files.place(draft, path)
    finally:
        files.remove(draft)
