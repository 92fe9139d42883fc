"""Record the results of user code while they come: in the coordinator, checked, and many in one commit.

1. A row is recorded as done once its values are known to be kept exactly and to fit their dtypes, and once the files
   that it names are on the disk.
2. When a row fails, nothing more is handed out; what is in flight is awaited and recorded, and so is the failure; then
   ``UserCodeError`` is raised. So it is when what user code returned can't be used.
3. Results of a stream are recorded up to the first that fails, and none after it.
4. When a stop was requested, ``Interrupted`` is raised in place of what user code raised: it may be the stop's doing.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tablevault_like.builders.frames import FrameCache
from tablevault_like.builders.hashing import Contents
from tablevault_like.builders.results import RowError, RowResult
from tablevault_like.builders.reuse import Reuse, ReusedRow
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.engines.base import Calls, Engine, Failed, Interrupted, Result, Stop, UserCodeError, Work
from tablevault_like.errors import TVArtifactError, TVTableError
from tablevault_like.model import ARTIFACT_DTYPE, ErrorRecord, RowStatus
from tablevault_like.storage import artifacts, dtypes
from tablevault_like.storage.rows import RowRecord, RowStore

_FIT_ALL = ("object", "category")
_OUR_FRAMES = ("tablevault_like.engines.", "tablevault_like.builders.")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a builder is.

    ``done`` and ``failed`` rows are recorded, ``reused`` of the former were taken over; ``total`` is None where it
    isn't known yet.
    """

    done: int
    failed: int
    total: int | None
    reused: int = 0


@dataclass(frozen=True, kw_only=True)
class Building:
    """What the builders of one execution share.

    ``store`` is claimed; ``artifact_folder`` exists; ``frame_path`` gives the path at which a dataframe builder's frame
    is kept; ``enter`` is called by a worker before each call of user code; ``contents`` are the artifacts that inputs
    may lead to; ``reuse`` gives what needn't be made again.
    """

    process_id: str
    store: RowStore
    frames: FrameCache
    engine: Engine
    stop: Stop
    artifact_folder: Path
    frame_path: Callable[[str], Path]
    enter: Callable[[Work], None] | None = None
    contents: Contents = field(default_factory=Contents)
    reuse: Reuse | None = None

    def interrupted(self) -> Interrupted:
        return Interrupted(is_abandoned=not self.engine.is_idle)

    def is_echo(self, error: BaseException) -> bool:
        """Tell whether user code was interrupted by the stop itself: then it hasn't failed, it just isn't done."""
        return isinstance(error, KeyboardInterrupt | SystemExit | Interrupted) and self.stop.requested


@dataclass(slots=True)
class _Failure:
    """A row that is recorded as failed."""

    index: int
    error: BaseException
    seconds: float


class Recorder:
    """Records the rows of one builder. ``done`` of ``total`` rows are recorded when it begins."""

    def __init__(
        self,
        building: Building,
        spec: BuilderSpec,
        *,
        code: int,
        report: Callable[[Progress], None],
        done: int,
        total: int | None,
        reused: int = 0,
    ) -> None:
        self.done = done
        self.reused = reused
        self.failed = 0
        self.total = total
        self._building = building
        self._spec = spec
        self._code = code
        self._report = report
        self._checked = [
            (place, name, spec.dtypes[name])
            for place, name in enumerate(spec.changed_columns)
            if spec.dtypes.get(name, "object") not in _FIT_ALL
        ]
        report(self.progress())

    def progress(self) -> Progress:
        return Progress(self.done, self.failed, self.total, self.reused)

    def reuse(self, rows: Sequence[ReusedRow]) -> None:
        """Record rows that were made before, with no attempt."""
        records = [RowRecord(row.index, RowStatus.DONE, row.cells, 0, 0.0, row.input_hash, self._code) for row in rows]
        if records:
            self._building.store.record(self._spec.name, records)
            self.done += len(records)
            self.reused += len(records)
            self._report(self.progress())

    def record(self, calls: Calls[RowResult | None], *, first: int | None = None) -> None:
        """Record what comes until nothing more does. None among the results is a row that was recorded earlier.

        ``first`` is given for a stream: the position of its first result. Raises UserCodeError for the row that failed,
        the foremost if several did, or Interrupted if there was one and a stop was requested.
        """
        failures: list[_Failure] = []
        is_stream = first is not None
        with calls:
            for batch in calls:
                if is_stream and failures:
                    continue  # it is on its way out; what it gives by now would come after a gap
                rows, failed = self._sort(batch, first=first)
                if failed:
                    calls.cease()
                    failures += failed
                self._commit(rows, failed)
        if failures:
            if self._building.stop.requested:
                raise self._building.interrupted()
            # Not the first in time: rows that fail together would be told in another order each time.
            foremost = min(failures, key=lambda each: each.index)
            raise failure(self._spec, foremost.error, row=foremost.index, others=len(failures) - 1)

    def _sort(
        self, batch: Sequence[Result[RowResult | None]], *, first: int | None
    ) -> tuple[list[tuple[RowResult, float]], list[_Failure]]:
        """Return the rows of a batch that can be recorded as done, with their seconds, and those that failed."""
        rows: list[tuple[RowResult, float]] = []
        failed: list[_Failure] = []
        for result in batch:
            if isinstance(result, Failed):
                if not self._building.is_echo(result.error):
                    failed.append(_failure_of(result, first or 0))
            elif result.value is not None:
                rows.append((result.value, result.seconds))
        if rows and self._checked:
            rows, unfit = self._fitting(rows, is_stream=first is not None)
            failed = unfit if unfit and first is not None else unfit + failed
        return rows, failed

    def _fitting(
        self, rows: list[tuple[RowResult, float]], *, is_stream: bool
    ) -> tuple[list[tuple[RowResult, float]], list[_Failure]]:
        """Return the rows whose values fit their dtypes and whose artifacts are on the disk, and the others."""
        try:
            self._check([row for row, _ in rows])
        except (TVTableError, TVArtifactError):
            pass
        else:
            return rows, []
        # One by one, to know which.
        fitting: list[tuple[RowResult, float]] = []
        unfit: list[_Failure] = []
        for row, seconds in rows:
            try:
                self._check([row])
            except (TVTableError, TVArtifactError) as error:
                unfit.append(_Failure(row.index, error, seconds))
                if is_stream:
                    break
            else:
                fitting.append((row, seconds))
        return fitting, unfit

    def _check(self, rows: Sequence[RowResult]) -> None:
        """Sync the artifacts of rows. Raises TVTableError for a value that doesn't fit, TVArtifactError for a file."""
        for place, name, dtype in self._checked:
            dtypes.fit([row.cells[place] for row in rows], dtype, column=name, rows=[row.index for row in rows])
            if dtype == ARTIFACT_DTYPE:
                names = (row.cells[place] for row in rows)
                artifacts.sync_artifacts(
                    self._building.artifact_folder, (name for name in names if isinstance(name, str))
                )

    def _commit(self, rows: Sequence[tuple[RowResult, float]], failed: Sequence[_Failure]) -> None:
        code = self._code
        records = [
            RowRecord(row.index, RowStatus.DONE, row.text, 1, seconds, row.input_hash, code) for row, seconds in rows
        ]
        records += [
            RowRecord(each.index, RowStatus.FAILED, None, 1, each.seconds, None, code, _error_text(each.error))
            for each in failed
        ]
        if records:
            self._building.store.record(self._spec.name, records)
            self.done += len(rows)
            self.failed += len(failed)
            self._report(self.progress())


def failure(spec: BuilderSpec, error: BaseException, *, row: int | None = None, others: int = 0) -> UserCodeError:
    """Return ``error`` as one that user code is to blame for, with a note that says where it was."""
    where = f"the builder {spec.name!r}" if row is None else f"row {row} of the builder {spec.name!r}"
    more = f" Of the rows that were under way {others} more failed; their errors are recorded." if others else ""
    error.add_note(f"This was in {where}.{more}")
    return UserCodeError(error)


def _failure_of(result: Failed, first: int) -> _Failure:
    if isinstance(result.error, RowError):
        return _Failure(result.error.index, result.error.original, result.seconds)
    return _Failure(first + (result.index or 0), result.error, result.seconds)


def _error_text(error: BaseException) -> str:
    """Return an error as the text of an ErrorRecord, without the frames of ours that called user code."""
    where = error.__traceback__
    while where is not None and where.tb_frame.f_globals.get("__name__", "").startswith(_OUR_FRAMES):
        where = where.tb_next
    return json.dumps(
        asdict(
            ErrorRecord(
                type=type(error).__qualname__,
                message=_message(error),
                traceback="".join(traceback.format_exception(type(error), error, where)),
            )
        )
    )


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the error of somebody else's class may do anything
        return f"(its message can't be had: its class {type(error).__qualname__} fails to give it)"
