"""Record the results of user code while they come: in the coordinator, checked, and many in one commit.

1. A row is recorded as done once its values are known to be kept exactly and to fit their dtypes, and once the files
   that it names are on the disk.
2. When a row fails, nothing more is handed out; what is in flight is awaited and recorded, and so is the failure; then
   ``UserCodeError`` is raised. So it is when what user code returned can't be used. Unless the builder's ``on_error``
   says otherwise: then all other rows are made; rows that failed stay so (``RowsFailed`` is raised at the end), or are
   skipped, which is the end of them.
3. Results of a stream are recorded up to the first that fails, and none after it.
4. When a stop was requested, ``Interrupted`` is raised in place of what user code raised: it may be the stop's doing.
5. A row in which an operation was paused (``TVPausedError``) hasn't failed, whatever ``on_error`` says: it just isn't
   done. Nothing more is handed out, what is in flight is recorded, and that error is raised, before any other.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tablevault_like.builders.frames import FrameCache
from tablevault_like.builders.gathered import GatheredReuse
from tablevault_like.builders.hashing import Contents
from tablevault_like.builders.results import RowError, RowResult
from tablevault_like.builders.reuse import Reuse, ReusedRow
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.builders.spending import Spending
from tablevault_like.engines.base import Calls, Engine, Failed, Interrupted, Result, Stop, UserCodeError, Work
from tablevault_like.errors import TVArtifactError, TVPausedError, TVTableError, message_of
from tablevault_like.model import ARTIFACT_DTYPE, ErrorRecord, OnError, Progress, RowStatus
from tablevault_like.storage import artifacts, dtypes, files, values
from tablevault_like.storage.row_reader import Counts, RowRecord
from tablevault_like.storage.rows import ARTIFACTS, DoneRow, RowStore

_FIT_ALL = ("object", "category")
_OUR_FRAMES = ("tablevault_like.engines.", "tablevault_like.builders.", "tenacity", "concurrent.futures.")


@dataclass(frozen=True, kw_only=True)
class Building:
    """What the builders of one execution share.

    ``store`` is claimed; ``artifact_folder`` exists; ``frame_path`` gives the path at which a dataframe builder's frame
    is kept; ``enter`` is called by a worker before each call of user code; ``contents`` are the artifacts that inputs
    may lead to; ``reuse`` gives what needn't be made again; ``spendings`` count what this call spends; ``pause`` asks
    for a pause, for a reason. ``start_at`` tells by builder where a generator's source begins. ``offer_checkpoint`` is
    given, when a builder begins, what its user code waits with for commits.
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
    reuse: Reuse | GatheredReuse | None = None
    spendings: Sequence[Spending] = ()
    pause: Callable[[str], None] = lambda reason: None
    start_at: Mapping[str, int] = field(default_factory=dict)
    offer_checkpoint: Callable[[Callable[[], None]], None] = lambda wait: None

    def interrupted(self) -> Interrupted:
        return Interrupted(is_abandoned=not self.engine.is_idle)

    def is_echo(self, error: BaseException) -> bool:
        """Tell whether user code was interrupted by the stop itself: then it hasn't failed, it just isn't done."""
        return isinstance(error, KeyboardInterrupt | SystemExit | Interrupted | TVPausedError) and self.stop.requested


class RowsFailed(Exception):  # noqa: N818 - it tells of errors, as many as there are
    """Tell that a builder isn't complete because rows of it failed, which didn't hold up the others.

    ``error`` is that of the foremost row, ``row``.
    """

    def __init__(self, builder: str, *, failed: int, total: int, row: int, error: BaseException) -> None:
        super().__init__(builder, failed, total, row, error)
        self.builder = builder
        self.failed = failed
        self.total = total
        self.row = row
        self.error = error

    def __str__(self) -> str:
        return (
            f"{self.failed} of {self.total} rows of the builder {self.builder!r} failed, the first of them row "
            f"{self.row}: {type(self.error).__name__}: {message_of(self.error)}"
        )


@dataclass(slots=True)
class _Failure:
    """A row that is recorded as failed. ``is_ending``: the engine has handed out nothing more since."""

    row: RowError
    seconds: float
    is_ending: bool = False

    @property
    def index(self) -> int:
        return self.row.index


class Recorder:
    """Records the rows of one builder. ``counts`` are those that are recorded when it begins, ``total`` all there are.

    ``failed`` are only those of this run: what failed before is tried again. ``inputs_of`` gives the text that is
    recorded of what a row was called with, where its worker didn't.
    """

    def __init__(
        self,
        building: Building,
        spec: BuilderSpec,
        *,
        code: int,
        report: Callable[[Progress], None],
        counts: Counts,
        total: int | None,
    ) -> None:
        self.inputs_of: Callable[[int], str | None] = lambda row: None
        self.done = counts.done
        self.reused = counts.reused
        self.skipped = counts.skipped
        self.failed = 0
        self.total = total
        self.cost = counts.cost
        self.tokens = counts.tokens
        self._foremost: _Failure | None = None
        self._paused: RowError | None = None
        self._digests: dict[str, str] = {}
        self._spendings = building.spendings
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
        return Progress(
            self.done,
            self.failed,
            self.total,
            self.reused,
            skipped=self.skipped,
            batch_size=self._spec.batch_size,
            cost=self.cost,
            tokens=self.tokens,
        )

    @property
    def rows_left(self) -> int | None:
        """How many rows budgets still allow to be made, None if none of them counts rows."""
        return min((left for each in self._spendings if (left := each.rows_left) is not None), default=None)

    @property
    def failures_left(self) -> int | None:
        """How many more rows may fail until the run is to end, None if there is no limit."""
        left = [each.failures_left for each in self._spendings]
        limit = self._spec.max_failures
        if limit is not None:
            left.append(max(0, limit.most(self.total or 0) - self.failed - self.skipped) + 1)
        return min((each for each in left if each is not None), default=None)

    @property
    def cost_left(self) -> float | None:
        """What budgets still allow to be spent, None if none of them counts it."""
        return min((left for each in self._spendings if (left := each.cost_left) is not None), default=None)

    def reuse(self, rows: Sequence[ReusedRow]) -> None:
        """Record rows that were made before, with no attempt."""
        if rows:
            done = [(row.index, row.cells, 0, 0.0, row.input_hash, self._code) for row in rows]
            self._building.store.record(self._spec.name, (), done=done, files=self._digests_of(rows))
            self.done += len(rows)
            self.reused += len(rows)
            self._report(self.progress())

    def record(self, calls: Calls[RowResult | RowError | None], *, first: int | None = None) -> None:
        """Record what comes until nothing more does. None among the results is a row that was recorded earlier.

        ``first`` is given for a stream: the position of its first result. Raises UserCodeError for the row that failed,
        the foremost if several did, or Interrupted if there was one and a stop was requested. With an ``on_error`` that
        lets the others go on, it does so only for what isn't an Exception, or if too many rows have failed.
        """
        failures: list[_Failure] = []
        is_stream = first is not None
        with calls:
            for batch in calls:
                if is_stream and (failures or self._paused is not None):
                    continue  # it is on its way out; what it gives by now would come after a gap
                rows, failed = self._sort(batch, first=first)
                goes_on = self._goes_on(failed)
                if not goes_on:
                    failures += failed
                if not goes_on or self._paused is not None:
                    calls.cease()
                self._commit(rows, failed, goes_on=goes_on)
        if (failures or self._paused is not None) and self._building.stop.requested:
            raise self._building.interrupted()
        if self._paused is not None:
            raise failure(self._spec, self._paused.original, row=self._paused.index, others=len(failures))
        if failures:
            # Not the first in time: rows that fail together would be told in another order each time.
            foremost = min(failures, key=lambda each: each.index)
            raise failure(self._spec, foremost.row.original, row=foremost.index, others=len(failures) - 1)

    def check(self, rows: Sequence[RowResult]) -> None:
        """Sync the artifacts of rows. Raises TVTableError for a value that doesn't fit, TVArtifactError for a file."""
        if self._checked:
            self._check(rows)

    def check_complete(self) -> None:
        """Raise Interrupted if rows are missing, or RowsFailed if those have failed."""
        assert self.total is not None
        if self._building.stop.requested or self.done + self.skipped + self.failed < self.total:
            if self.done + self.skipped < self.total:
                raise self._building.interrupted()
        elif self._foremost is not None and self.failed:
            row = self._foremost.row
            raise RowsFailed(self._spec.name, failed=self.failed, total=self.total, row=row.index, error=row.original)

    def _goes_on(self, failed: Sequence[_Failure]) -> bool:
        """Tell whether other rows are to be made although these have failed."""
        if not failed:
            return True
        if self._spec.on_error is OnError.STOP or any(each.is_ending for each in failed):
            return False
        limit, count = self._spec.max_failures, self.failed + self.skipped + len(failed)
        if limit is None or not limit.are_exceeded(count, total=self.total or 0):
            return True
        for error in {id(each.row.original): each.row.original for each in failed}.values():
            error.add_note(f"{count} of {self.total} rows have failed: more than max_failures allows.")
        return False

    def _sort(
        self, batch: Sequence[Result[RowResult | RowError | None]], *, first: int | None
    ) -> tuple[list[tuple[RowResult, float]], list[_Failure]]:
        """Return the rows of a batch that can be recorded as done, with their seconds, and those that failed."""
        rows: list[tuple[RowResult, float]] = []
        failed: list[_Failure] = []
        for result in batch:
            if isinstance(result, Failed):
                found = _row_error_of(result, first or 0)
                if isinstance(found.original, TVPausedError):
                    self._note_pause(found)
                elif not self._building.is_echo(found.original):
                    failed.append(_Failure(found, result.seconds, is_ending=True))
                continue
            value = result.value
            if isinstance(value, RowResult):
                rows.append((value, result.seconds))
            elif value is not None and not self._building.is_echo(value.original):
                failed.append(_Failure(value, result.seconds))
        if rows and self._checked:
            rows, unfit = self._fitting(rows, is_stream=first is not None)
            failed = unfit if unfit and first is not None else unfit + failed
        return rows, failed

    def _note_pause(self, row: RowError) -> None:
        """Count what a row has cost in which an operation was paused: it isn't recorded, and is called again."""
        if row.cost or row.tokens:
            self._building.store.add_price(self._spec.name, cost=row.cost or 0.0, tokens=row.tokens or 0)
            self.cost += row.cost or 0.0
            self.tokens += row.tokens or 0
            for spending in self._spendings:
                spending.add(cost=row.cost or 0.0)
        if not self._building.is_echo(row.original) and (self._paused is None or row.index < self._paused.index):
            self._paused = row

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
                found = RowError(
                    row.index,
                    error,
                    attempts=row.attempts,
                    cost=row.cost,
                    tokens=row.tokens,
                    inputs=self.inputs_of(row.index),
                )
                unfit.append(_Failure(found, seconds))
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
                self._digests |= kept_artifacts(
                    self._building.artifact_folder, [cell for row in rows if isinstance(cell := row.cells[place], str)]
                )

    def _commit(self, rows: Sequence[tuple[RowResult, float]], failed: Sequence[_Failure], *, goes_on: bool) -> None:
        code = self._code
        done: list[DoneRow] = []
        records: list[RowRecord] = []
        for row, seconds in rows:
            if row.cost is None and row.tokens is None:
                done.append((row.index, row.text, row.attempts, seconds, row.input_hash, code))
            else:
                records.append(self._priced_record(row, seconds))
        may_skip = goes_on and self._spec.on_error is OnError.NULL
        skipped = [each for each in failed if may_skip and each.row.is_final]
        remaining = [each for each in failed if not (may_skip and each.row.is_final)]
        records += [self._failed_record(each, RowStatus.SKIPPED) for each in skipped]
        records += [self._failed_record(each, RowStatus.FAILED) for each in remaining]
        if not records and not done:
            return
        digests, self._digests = self._digests, {}
        self._building.store.record(self._spec.name, records, done=done, files=digests)
        self.done += len(rows)
        self.skipped += len(skipped)
        self.failed += len(remaining)
        if remaining:
            self._foremost = min([*([self._foremost] if self._foremost else []), *remaining], key=_index)
        cost = sum([record.cost for record in records if record.cost is not None])
        self.cost += cost
        self.tokens += sum([record.tokens for record in records if record.tokens is not None])
        self._report(self.progress())
        for spending in self._spendings:
            spending.add(rows=len(rows), failures=len(failed), cost=cost)

    def _priced_record(self, row: RowResult, seconds: float) -> RowRecord:
        return RowRecord(
            row.index,
            RowStatus.DONE,
            row.text,
            row.attempts,
            seconds,
            row.input_hash,
            self._code,
            cost=row.cost,
            tokens=row.tokens,
        )

    def _failed_record(self, failed: _Failure, status: RowStatus) -> RowRecord:
        row = failed.row
        return RowRecord(
            row.index,
            status,
            None,
            row.attempts,
            failed.seconds,
            None,
            self._code,
            _error_text(row.original),
            row.cost,
            row.tokens,
            row.inputs,
        )

    def _digests_of(self, rows: Sequence[ReusedRow]) -> dict[str, str]:
        """Return what is to be recorded of the artifacts of rows that were taken over."""
        found: dict[str, str] = {}
        if any(dtype == ARTIFACT_DTYPE for _, _, dtype in self._checked):
            folder = self._building.artifact_folder
            cells = values.decode_rows([row.cells for row in rows])
            for place, _, dtype in self._checked:
                if dtype == ARTIFACT_DTYPE:
                    found |= digests_of(folder, [name for row in cells if isinstance(name := row[place], str)])
        return found


def kept_artifacts(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Sync artifacts, and return what is to be recorded of them. Raises TVArtifactError as ``sync_artifacts`` does."""
    artifacts.sync_artifacts(folder, names)
    return digests_of(folder, names)


def digests_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of artifacts by the names under which a row store has them."""
    return {f"{ARTIFACTS}/{name}": files.sha256(artifacts.resolve(folder, name)) for name in dict.fromkeys(names)}


def _index(failed: _Failure) -> int:
    return failed.index


def failure(spec: BuilderSpec, error: BaseException, *, row: int | None = None, others: int = 0) -> UserCodeError:
    """Return ``error`` as one that user code is to blame for, with a note that says where it was."""
    where = f"the builder {spec.name!r}" if row is None else f"row {row} of the builder {spec.name!r}"
    more = f" Of the rows that were under way {others} more failed; their errors are recorded." if others else ""
    error.add_note(f"This was in {where}.{more}")
    return UserCodeError(error)


def _row_error_of(result: Failed, first: int) -> RowError:
    if isinstance(result.error, RowError):
        return result.error
    return RowError(first + (result.index or 0), result.error)


def _error_text(error: BaseException) -> str:
    """Return an error as the text of an ErrorRecord, without the frames of ours that called user code."""
    where = error.__traceback__
    while where is not None and where.tb_frame.f_globals.get("__name__", "").startswith(_OUR_FRAMES):
        where = where.tb_next
    return json.dumps(
        asdict(
            ErrorRecord(
                type=type(error).__qualname__,
                message=message_of(error),
                traceback="".join(traceback.format_exception(type(error), error, where)),
            )
        )
    )
