"""Run a builder, from what is recorded of it to all of its rows.

1. Only the coordinator, the thread that calls ``run``, writes. A worker that is left behind writes nothing.
2. A row that is recorded as done is not computed again; neither is a dataframe that was kept.
3. A generator's rows are recorded in the order in which it yields them: what is recorded is always all that it had
   yielded up to some point.
4. When a stop is requested, what is in flight is awaited and recorded; then ``Interrupted`` is raised.
5. What user code raised, and what is wrong with what it returned, is raised as ``UserCodeError``. Errors of the vault's
   own (a reference that can't be resolved, a lost claim) are raised as they are.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tablevault_like.builders.frames import check_primary_key
from tablevault_like.builders.hashing import InputHash
from tablevault_like.builders.recording import Building, Progress, Recorder, failure
from tablevault_like.builders.results import RowCall, RowResult, RowStream
from tablevault_like.builders.reuse import Reuse, ReusedRow
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.engines.base import Failed, Work
from tablevault_like.errors import TableVaultError, TVArtifactError, TVBuilderError, TVTableError, nearest
from tablevault_like.model import ARTIFACT_DTYPE, ReturnType
from tablevault_like.model import Reuse as ReuseMode
from tablevault_like.references.arguments import Bound
from tablevault_like.references.keywords import Keyword
from tablevault_like.storage import artifacts, files, tables
from tablevault_like.storage.digests import digest
from tablevault_like.storage.values import encode_cells

__all__ = ["BuilderRun", "Building", "Progress"]

_BLOCK = 8192

_log = logging.getLogger(__name__)


class BuilderRun:
    """One builder of an execution.

    ``code`` is the number of the code that makes its rows (``RowStore.code_number``), ``recipe`` what its rows can be
    reused by. ``report`` is called in the coordinator when it begins, and after each commit.
    """

    def __init__(
        self,
        building: Building,
        spec: BuilderSpec,
        function: Callable[..., object],
        *,
        code: int = 0,
        recipe: str = "",
        report: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        self.building = building
        self.spec = spec
        self.function = function
        self.code = code
        self.recipe = recipe
        self.report = report
        self._frame_path = building.frame_path(spec.name)

    @property
    def name(self) -> str:
        return self.spec.name

    def run(self) -> None:
        """Compute what isn't recorded yet, and add the builder's columns to the frame that is being built.

        Raises UserCodeError for whatever user code raised, or returned that can't be used; Interrupted if it was
        stopped before it was complete; TableVaultError for what is wrong with the builder; FencedError if another
        worker took the process over.
        """
        self.building.store.while_busy = self._give_up_if_abandoned
        table: pa.Table | None = None
        match self.spec.return_type:
            case ReturnType.ROW_WISE:
                self._run_rows()
            case ReturnType.GENERATOR:
                self._run_generator()
            case ReturnType.DATAFRAME:
                table = self._run_frame()
        try:
            table = self.columns() if table is None else table
            if self.spec.primary_key:
                check_primary_key(
                    tables.frame_from_table(table.select(list(self.spec.primary_key))), self.spec.primary_key
                )
        except (TVTableError, TVArtifactError) as error:
            if self.building.stop.requested:  # it comes before what is wrong with what was made meanwhile
                raise self.building.interrupted() from error
            raise failure(self.spec, error) from error
        self._add(table)

    def load(self) -> None:
        """Add the columns of a builder that was finished earlier to the frame that is being built."""
        self._add(self.columns())

    def columns(self) -> pa.Table:
        """Return what is recorded of this builder as an Arrow table, in its dtypes.

        An IndexBuilder's has a row for each that is done; a ColumnBuilder's one for each of the frame being built, and
        what isn't done is missing.
        """
        names = self.spec.changed_columns
        rows = None if self._makes_rows else self.building.frames.rows
        if self.spec.return_type is ReturnType.DATAFRAME and self._frame_path.exists():
            frame = tables.read_table(self._frame_path, columns=names)
            return tables.table_from_frame(frame, self.spec.dtypes)
        return tables.table_from_cells(
            lambda: self.building.store.cells(self.name), names, dtypes=self.spec.dtypes, rows=rows
        )

    def forget(self) -> None:
        """Delete what is recorded of this builder: its next run begins anew."""
        self.building.store.forget(self.name)
        files.remove(self._frame_path)

    @property
    def _makes_rows(self) -> bool:
        return self.spec.is_index and self.spec.return_type is not ReturnType.ROW_WISE

    def _add(self, table: pa.Table) -> None:
        if self._makes_rows:
            self.building.frames.replace(table)
        else:
            self.building.frames.add(table)

    # A call for each row

    def _run_rows(self) -> None:
        building = self.building
        total = self._rows_to_fill()
        recorded = building.store.recorded(self.name)
        missing = np.setdiff1d(np.arange(total), recorded, assume_unique=True)
        recorder = self._recorder(done=len(recorded), total=total)
        if not len(missing):
            return
        bound = self._bind()
        inputs = self._input_hash(bound)
        missing = self._left_to_make(missing, bound, inputs, recorder)
        if not len(missing):
            return
        call: Callable[[Work], RowResult | None] = RowCall(self.function, self.spec.changed_columns, inputs=inputs)
        calls = building.engine.map(
            call,
            self._work(bound, missing),
            workers=min(self.spec.n_threads, len(missing)),
            stop=building.stop,
            enter=building.enter,
        )
        recorder.record(calls)
        if recorder.done < total:
            raise building.interrupted()

    def _work(self, bound: Bound, rows: NDArray[np.int64]) -> Iterator[Work]:
        for start in range(0, len(rows), _BLOCK):
            for index in rows[start : start + _BLOCK].tolist():
                key = self._key(index)
                arguments, inputs = self._row(bound, index, key)
                yield Work(index, arguments, inputs, key)

    def _row(self, bound: Bound, index: int, key: str) -> tuple[dict[str, object], tuple[object, ...]]:
        try:
            return bound.row(index, key)
        except TableVaultError as error:
            error.add_note(f"This was for row {index} of the builder {self.name!r}.")
            raise

    def _left_to_make(
        self, missing: NDArray[np.int64], bound: Bound, inputs: InputHash, recorder: Recorder
    ) -> NDArray[np.int64]:
        """Take over the rows that were made before, and return those that weren't."""
        reusable = None if self._reuse is None else self._reuse.rows(self.recipe, self.spec.changed_columns)
        if reusable is None:
            return missing
        left: list[int] = []
        failed = {each.index for each in self.building.store.failures(self.name)}
        for start in range(0, len(missing), _BLOCK):
            if self.building.stop.requested:
                raise self.building.interrupted()
            block = missing[start : start + _BLOCK].tolist()
            taken = reusable.take(block, lambda row: inputs.of(*self._row(bound, row, self._key(row))))
            indexes = {row.index for row in taken}
            if failed & indexes:
                # Or else the attempts that failed, with other code, would make them rows that were made here.
                self.building.store.forget(self.name, failed & indexes)
            recorder.reuse(taken)
            left += [row for row in block if row not in indexes]
        self._tell_reuse(len(missing) - len(left), of=len(missing))
        return np.array(left, np.int64)

    # Rows as a generator yields them

    def _run_generator(self) -> None:
        building = self.building
        total = None if self.spec.is_index else self._rows_to_fill()
        recorded = building.store.recorded(self.name)
        resumes = Keyword.RESUME_FROM in self.spec.arguments.keywords
        recorder = self._recorder(done=len(recorded), total=total)
        if total and recorder.reused == total:
            return  # taken over by a worker that died then: nobody needs to be asked whether there is more
        stream = RowStream(self.function, self.spec.changed_columns, recorded=recorded, resumes=resumes, total=total)
        bound = self._bind(resume_from=len(recorded))
        work = self._whole_work(bound)
        input_hash = self._call_hash(bound, work)
        if len(recorded):
            if building.store.input_hash(self.name) != input_hash:
                # Its rows are of different calls: another code goes on, or other inputs.
                building.store.set_input_hash(self.name, None)
        elif input_hash is not None:
            building.store.set_input_hash(self.name, input_hash)
            made = self._made_before(input_hash)
            if made is not None:
                # At once: if it were in parts, a resume would take the first of them for a generator's.
                rows = enumerate(tables.cells_of(made))
                recorder.reuse([ReusedRow(row, encode_cells(cells), None) for row, cells in rows])
                self._tell_reuse(made.num_rows, of=made.num_rows)
                return
        calls = building.engine.stream(stream, work, stop=building.stop, enter=building.enter)
        recorder.record(calls, first=len(recorded) if resumes else 0)
        if not calls.is_exhausted:
            raise building.interrupted()
        self._check_positions(total)

    def _check_positions(self, total: int | None) -> None:
        """Raise UserCodeError unless the generator, which has ended, gave every row."""
        store = self.building.store
        recorded = store.recorded(self.name)
        if total is None:
            total = int(recorded[-1]) + 1 if len(recorded) else 0
        missing = np.setdiff1d(np.arange(total), recorded, assume_unique=True)
        if len(missing):
            shown = ", ".join(map(str, missing[:5].tolist())) + (", ..." if len(missing) > 5 else "")
            error = TVTableError(
                f"The generator ended without having yielded {len(missing)} of {total} rows: {shown}. It must yield "
                "every row once.",
                row=int(missing[0]),
            )
            raise failure(self.spec, error)
        # What failed in earlier runs, at positions that the generator has no longer.
        store.forget(self.name, [each.index for each in store.failures(self.name)])

    # All rows at once

    def _run_frame(self) -> pa.Table:
        total = None if self.spec.is_index else self._rows_to_fill()
        if self._frame_path.exists():
            return self._kept_frame()
        self.report(Progress(0, 0, total))
        bound = self._bind()
        work = self._whole_work(bound)
        input_hash = self._call_hash(bound, work)
        made = self._made_before(input_hash)
        table = self._call_for_frame(work, total) if made is None else made
        self._keep(table, input_hash)
        reused = 0 if made is None else made.num_rows
        self._tell_reuse(reused, of=table.num_rows)
        self.report(Progress(table.num_rows, 0, table.num_rows, reused=reused))
        return table

    def _kept_frame(self) -> pa.Table:
        """Return the frame that was kept by a worker that died then: it may have counted none of its rows as reused."""
        table, reused = self.columns(), 0
        if self._reuse is not None:
            input_hash = self.building.store.input_hash(self.name)
            if input_hash is not None and self._reuse.known_whole(self.spec.changed_columns, input_hash) is not None:
                reused = table.num_rows
        self.report(Progress(table.num_rows, 0, table.num_rows, reused=reused))
        return table

    def _call_for_frame(self, work: Work, total: int | None) -> pa.Table:
        building, function = self.building, self.function
        result = building.engine.call(
            lambda work: function(**work.arguments), work, stop=building.stop, enter=building.enter
        )
        if isinstance(result, Failed):
            raise building.interrupted() if building.is_echo(result.error) else failure(self.spec, result.error)
        try:
            return self._table_of(result.value, total)
        except (TVTableError, TVArtifactError) as error:
            raise failure(self.spec, error) from error

    def _table_of(self, value: object, total: int | None) -> pa.Table:
        """Return the builder's columns of the frame that a function returned; their artifacts are on the disk."""
        if not isinstance(value, pd.DataFrame):
            raise TVTableError(
                f"The function returned a {type(value).__name__}, but a builder whose return_type is dataframe needs a "
                "DataFrame. Return one, or set another return_type."
            )
        names = list(self.spec.changed_columns)
        for name in names:
            if name not in value.columns:
                hint = nearest(name, map(str, value.columns))
                raise TVTableError(f"The DataFrame that was returned has no column {name!r}.{hint}", column=name)
        if total is not None and len(value) != total:
            raise TVTableError(f"The DataFrame that was returned has {len(value)} rows, but there are {total} to fill.")
        table = tables.table_from_frame(value[names], self.spec.dtypes)
        for name in [name for name in names if self.spec.dtypes.get(name) == ARTIFACT_DTYPE]:
            cells: list[str | None] = table.column(name).to_pylist()
            artifacts.sync_artifacts(self.building.artifact_folder, (cell for cell in cells if cell is not None))
        return table

    def _keep(self, table: pa.Table, input_hash: bytes | None) -> None:
        path = self._frame_path
        files.make_directory(path.parent)
        # A name of its own: a worker that lost its claim may still be writing.
        draft = path.with_name(f".{uuid.uuid4().hex}.parquet")
        try:
            tables.write_arrow_table(draft, table)
            # Before the frame, for without one it says nothing. FencedError if this worker has lost its claim.
            self.building.store.set_input_hash(self.name, input_hash)
            files.place(draft, path)
        finally:
            files.remove(draft)

    # What they have in common

    def _rows_to_fill(self) -> int:
        rows = self.building.frames.rows
        if self.spec.is_index and not rows:
            raise TVBuilderError(
                "An IndexBuilder whose return_type is row-wise runs over the rows that the instance has from its "
                "origin, and it has none. Create the instance with an origin that has rows, or set 'return_type: "
                "generator' or 'return_type: dataframe' to make rows.",
                location=self.spec.location("return_type"),
            )
        if rows is None:
            raise RuntimeError(f"the rows that {self.name!r} is to fill aren't made yet")
        return rows

    def _bind(self, *, resume_from: int = 0) -> Bound:
        building = self.building
        keywords: dict[Keyword, object] = {
            Keyword.ARTIFACT_FOLDER: str(building.artifact_folder),
            Keyword.PROCESS_ID: building.process_id,
            Keyword.RESUME_FROM: resume_from,
        }
        return self.spec.arguments.bind(building.frames, keywords)

    def _whole_work(self, bound: Bound) -> Work:
        """Return the one call of a function that makes all rows."""
        key = self._key("all")
        arguments, inputs = bound.row(None, key)
        return Work(None, arguments, inputs, key)

    def _input_hash(self, bound: Bound) -> InputHash:
        return InputHash(self.function, bound.constant_inputs, self.building.contents)

    @property
    def _reuse(self) -> Reuse | None:
        """What may be taken over. An IndexBuilder always runs."""
        return None if self.spec.is_index or self.spec.reuse is ReuseMode.NEVER else self.building.reuse

    def _call_hash(self, bound: Bound, work: Work) -> bytes | None:
        """Return what tells the one call that makes all rows from any other; None for an IndexBuilder's."""
        if self.spec.is_index:
            return None
        return digest(self.recipe, self._input_hash(bound).of(work.arguments, work.inputs))

    def _made_before(self, input_hash: bytes | None) -> pa.Table | None:
        """Return what this call has made in the origin, None if it hasn't."""
        if self._reuse is None or input_hash is None:
            return None
        return self._reuse.whole(self.spec.changed_columns, input_hash)

    def _tell_reuse(self, reused: int, *, of: int) -> None:
        if reused:
            process_id = self.building.process_id
            _log.info(
                "Process %s, builder %s: %d of %d rows are reused from the origin", process_id, self.name, reused, of
            )

    def _key(self, row: int | str) -> str:
        return f"{self.building.process_id}:{self.name}:{row}"

    def _recorder(self, *, done: int, total: int | None) -> Recorder:
        reused = self.building.store.counts(self.name).reused
        return Recorder(
            self.building, self.spec, code=self.code, report=self.report, done=done, total=total, reused=reused
        )

    def _give_up_if_abandoned(self, seconds: float) -> None:
        """Wait for a busy row store no longer than the user does."""
        if self.building.stop.abandoned:
            raise self.building.interrupted()
