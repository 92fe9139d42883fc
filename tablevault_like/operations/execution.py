"""One claim of an execution: open what it has kept, run the builders that aren't finished, and stage the instance."""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import pandas as pd
import pyarrow as pa

from tablevault_like.builders.anew import Anew
from tablevault_like.builders.checkpoint import Checkpoint
from tablevault_like.builders.frames import FrameCache, PinnedTable, keep_old
from tablevault_like.builders.hashing import Contents
from tablevault_like.builders.inputs import Pin, PinKey, find_pin
from tablevault_like.builders.partial import PartialFrame, named_artifacts, partial_frame
from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.builders.provenance import Provenance
from tablevault_like.builders.recording import Building, RowsFailed
from tablevault_like.builders.reuse import Origin, Reuse
from tablevault_like.builders.run import BuilderRun
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.builders.spending import Spending
from tablevault_like.builders.stages import needed_for
from tablevault_like.builders.takeover import take_over
from tablevault_like.catalog import Database, instances, processes
from tablevault_like.engines.base import Engine, Interrupted, UserCodeError
from tablevault_like.engines.threads import ThreadEngine
from tablevault_like.errors import TableVaultError, TVRowsError
from tablevault_like.functions import builtin
from tablevault_like.functions.modules import Loader
from tablevault_like.functions.signature import validate_arguments
from tablevault_like.layout import InstanceLayout, Layout
from tablevault_like.limits import Budget
from tablevault_like.model import ARTIFACT_DTYPE, Column, InstanceRecord, Pause, Progress, ReturnType
from tablevault_like.operations.finished import forget
from tablevault_like.operations.imported import with_results, write_reused
from tablevault_like.operations.publication import Publication
from tablevault_like.process import context
from tablevault_like.process.run import Run, StepReport
from tablevault_like.storage import artifacts, files, manifests, places, tables
from tablevault_like.storage.row_reader import RowReader
from tablevault_like.storage.rows import ARTIFACTS, FRAMES, LOST, RowStore

MATERIALIZE = "materialize"
"""The last step of every execution."""


@dataclass(frozen=True)
class Execution:
    """The parts of a running execution. Used in a ``with``."""

    run: Run
    checkpoint: Checkpoint
    temporary: InstanceRecord
    instance_id: str
    building: Building
    origin: Origin | None
    loader: Loader
    anew: Anew
    until: str | None
    cleanup: ExitStack

    @classmethod
    def open(
        cls,
        run: Run,
        temporary: InstanceRecord,
        instance_id: str,
        *,
        reuses: bool,
        until: str | None = None,
        budget: Budget | None = None,
        start_at: Mapping[str, int] = MappingProxyType({}),
    ) -> Self:
        """Open what the process has kept, and claim its row store before anything else.

        With ``reuses`` rows are taken over from the origin where they would come out the same. The run is to be paused
        when the builder ``until`` is done, or when the ``budget`` is used up. ``start_at`` tells by builder where a
        generator's source begins.
        """
        with ExitStack() as cleanup:
            store = cleanup.enter_context(RowStore.open(run.files.rows))
            store.claim(run.epoch)
            checkpoint = Checkpoint.read(run.files)
            artifact_folder = run.files.staged_instance(instance_id).artifacts
            engine = cls.make_engine()
            run.engines.append(engine)
            current = context.current(run.layout.root)
            contents = Contents()
            if any(ARTIFACT_DTYPE in builder.dtypes.values() for builder in checkpoint.plan.builders):
                contents.add(artifact_folder)
            frames = FrameCache(
                _pinned_tables_of(run, checkpoint.plan.pins, contents),
                artifact_folder=artifact_folder,
            )
            origin = _origin_of(run, checkpoint.plan, contents)
            spendings = []
            if budget is not None:
                spendings.append(cleanup.enter_context(Spending(budget, _pausing(run), of="this call")))
            building = Building(
                process_id=run.process_id,
                store=store,
                frames=frames,
                engine=engine,
                stop=run.stop,
                artifact_folder=artifact_folder,
                frame_path=run.files.frame,
                enter=None if current is None else current.enter,
                contents=contents,
                reuse=with_results(
                    _reuse(run, origin, frames, checkpoint.plan, artifact_folder),
                    places.instance_layout(run.layout, temporary),
                    frames,
                    key=checkpoint.plan.builders[0].fields["primary_key"],
                    artifact_folder=artifact_folder,
                )
                if reuses
                else None,
                spendings=spendings,
                pause=_pausing(run),
                start_at=start_at,
                offer_checkpoint=partial(_offer_checkpoint, current),
            )
            loader = cleanup.enter_context(
                Loader(checkpoint.files.code, label=run.process_id, original=run.layout.code_functions)
            )
            anew = Anew.read(run.files)
            parts = (checkpoint, temporary, instance_id, building, origin, loader, anew, until)
            return cls(run, *parts, cleanup.pop_all())
        raise AssertionError("unreachable")

    @staticmethod
    def make_engine() -> Engine:
        """Return what calls the builders' functions."""
        return ThreadEngine()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cleanup.close()

    def build(self) -> None:
        """Run every builder that isn't finished, each as a step, in the order of the plan.

        With ``until`` only that builder and those that it needs; then ``Interrupted`` is raised, and the run is to be
        paused.
        """
        if self.run.facts is None:  # it was resumed
            self._remove_strays()
        finished = self.run.finished_steps()
        specs = [self._specify(planned) for planned in self.checkpoint.plan.builders]
        wanted = self._wanted
        # All of them before anything runs: a mistake in the last one isn't found only after hours.
        not_called = {*finished, *self.anew.taken}
        functions = {
            spec.name: self._function(spec) for spec in specs if spec.name in wanted and spec.name not in not_called
        }
        origin = self.origin
        if origin is not None:
            # The IndexBuilder sees the rows of the origin.
            self.building.frames.replace(origin.table, artifact_folder=origin.artifact_folder)
        incomplete: dict[str, RowsFailed | None] = {}
        for planned, spec in zip(self.checkpoint.plan.builders, specs, strict=True):
            if planned.name not in wanted:
                continue
            if planned.name in finished:
                BuilderRun(self.building, spec, _not_called).load()
            elif incomplete.keys() & planned.dependencies:
                incomplete[planned.name] = None  # what it reads isn't there
            else:
                try:
                    with self.run.step(planned.name) as report:
                        self._run_builder(planned, spec, functions.get(planned.name, _not_called), report)
                except RowsFailed as failed:
                    incomplete[planned.name] = failed
                    if spec.is_index:
                        break
            if spec.is_index:
                begun_anew = self._begin_others_anew(planned)
                finished -= begun_anew
                for each in specs:
                    if each.name in begun_anew & wanted - self.anew.taken:
                        functions[each.name] = self._function(each)
            if spec.is_index and origin is not None:
                self._keep_of_origin(spec, origin)
        if told := [failed for failed in incomplete.values() if failed is not None]:
            if self.run.stop.requested:
                raise Interrupted
            raise UserCodeError(_rows_error(self.run, told))
        if self.until is not None:
            self.run.ask_to_pause(Pause(f"the stage {self.until!r} is reached", completed_through=self.until))
            raise Interrupted

    def stage(self) -> Publication:
        """Put the whole instance together in staging, and place it."""
        with self.run.step(MATERIALIZE):
            frames = self.building.frames
            table, artifact_columns = frames.table(), frames.artifact_columns
            staged = self.run.files.staged_instance(self.instance_id)
            artifacts.check_artifacts(
                frames.built(artifact_columns),
                artifact_columns,
                staged.artifacts,
                source=self._own_artifacts,
                is_kept=self.run.is_named,
            )
            columns = tables.write_arrow_table(staged.table, table)
            return assemble(
                self.run,
                self.checkpoint,
                self.temporary,
                self.instance_id,
                columns=columns,
                rows=table.num_rows,
                success=True,
            )

    @property
    def _wanted(self) -> frozenset[str]:
        """The builders that are to be done in this call."""
        plan = self.checkpoint.plan
        if self.until is None:
            return frozenset(builder.name for builder in plan.builders)
        return needed_for(plan, self.until) | {self.until}

    @property
    def _own_artifacts(self) -> Path:
        """The artifacts that people have put into the temporary instance."""
        return places.instance_layout(self.run.layout, self.temporary).artifacts

    def _remove_strays(self) -> None:
        """Remove the artifacts of rows that were never recorded: they run again, maybe under other names."""
        artifacts.remove_strays(
            self.building.artifact_folder,
            # Those of rows, too, that the index doesn't have any more: they may come back.
            named=lambda: (
                _artifact_names(partial_frame(self.run.files, self.checkpoint.plan))
                | {name for _, _, name in named_artifacts(self.run.files, self.checkpoint.plan)}
            ),
            source=self._own_artifacts,
        )
        # What was recorded of them must not be missed by the next resume.
        store, folder = self.building.store, self.building.artifact_folder
        recorded = [name.partition("/") for name in store.files()]
        gone = [name for kind, _, name in recorded if kind == ARTIFACTS and not os.path.lexists(folder / name)]
        store.forget_files(f"{ARTIFACTS}/{name}" for name in gone)

    def _begin_others_anew(self, index: PlannedBuilder) -> frozenset[str]:
        """Forget what other builders have finished if the rows were lost, and others were made now. Return which."""
        store, run = self.building.store, self.run
        path, recorded = run.files.frame(index.name), store.files()
        lost = recorded.get(f"{LOST}/{path.name}")
        if lost is None:
            return frozenset()
        others = frozenset[str]()
        if recorded.get(f"{FRAMES}/{path.name}") != lost:
            plan = self.checkpoint.plan
            others = frozenset(builder.name for builder in plan.builders) - {index.name}
            told = f"the builder {index.name!r} has made other rows than those that were damaged; all else begins anew"
            with run.journal.changing(run.process_id, run.epoch) as db:
                processes.forget_steps(db, run.process_id, sorted(others))
                processes.add_event(db, run.process_id, "mended", told, now=run.now())
            forget(run, store, plan, others, artifact_folder_of=self.instance_id)
        store.forget_files([f"{LOST}/{path.name}"])
        return others

    def _keep_of_origin(self, spec: BuilderSpec, origin: Origin) -> None:
        """Keep what the IndexBuilder leaves of its origin, with the artifacts: columns, or rows if it says so."""
        frames = self.building.frames
        if spec.return_type is ReturnType.ROW_WISE:
            made = self.checkpoint.plan.columns
            columns = [name for name in frames.artifact_columns if name not in made]
            self._take_over(frames.built(columns), columns, origin)
            # Those that ColumnBuilders make anew lead to the origin's artifacts until then.
            old = {name: origin.artifact_folder for name in made if name not in spec.changed_columns}
            frames.replace(frames.table(), elsewhere=old)
            self._keep_frame(spec, frames.table())
        elif spec.keep_old:
            self._keep_old(spec, origin)

    def _keep_old(self, spec: BuilderSpec, origin: Origin) -> None:
        """Add the rows of the origin that the IndexBuilder didn't make again."""
        frames = self.building.frames
        made = frames.built()
        kept = keep_old(made, tables.frame_from_table(origin.table), spec.primary_key)
        dtypes = {name: dtype for name, dtype in spec.dtypes.items() if dtype == ARTIFACT_DTYPE}
        self._take_over(kept.head(len(kept) - len(made)), dtypes, origin)
        table = tables.table_from_frame(kept, dtypes)
        frames.replace(table)
        # Other builders record their rows by the positions that rows have from now on.
        self._keep_frame(spec, table)

    def _keep_frame(self, spec: BuilderSpec, table: pa.Table) -> None:
        """Keep what the IndexBuilder and the origin give together, for those who read a frame that isn't finished."""
        path = self.run.files.frame_with_old(spec.name)
        files.make_directory(path.parent)
        draft = path.with_name(f".{uuid.uuid4().hex}.parquet")
        try:
            tables.write_arrow_table(draft, table)
            self.building.store.record_files({f"{FRAMES}/{path.name}": files.sha256(draft)})
            files.replace(draft, path)
        finally:
            files.remove(draft)

    def _take_over(self, rows: pd.DataFrame, columns: Iterable[str], origin: Origin) -> None:
        names = [name for column in columns for name in rows[column].dropna()]
        staged = self.run.files.staged_instance(self.instance_id).artifacts
        artifacts.take_over(names, origin.artifact_folder, staged)

    def _specify(self, planned: PlannedBuilder) -> BuilderSpec:
        """Read a pinned builder. Messages name the file that it was pinned from: it is the one that people can mend."""
        path = places.instance_layout(self.run.layout, self.temporary).builder(planned.name)
        return planned.specify(self.checkpoint.text(planned), self.building.frames, path=path)

    def _run_builder(
        self, planned: PlannedBuilder, spec: BuilderSpec, function: Callable[..., object], report: StepReport
    ) -> None:
        current = context.current(self.run.layout.root)
        if current is not None:
            current.builder = planned.name
        code = self.building.store.code_number(planned.recipe)
        last: Progress | None = None

        def tell(progress: Progress) -> None:
            nonlocal last
            if last is None:
                report.start(total=progress.total, already=progress.done, batch_size=progress.batch_size)
            last = progress
            report.update(progress)

        building = self.building if self.anew.reuses(planned.name) else replace(self.building, reuse=None)
        builder_run = BuilderRun(building, spec, function, code=code, recipe=planned.recipe, report=tell)
        try:
            with self.run.interrupts.requesting(self.run.stop):
                if planned.name in self.anew.taken and self.origin is not None:
                    take_over(builder_run.task, self.origin)
                    builder_run.load()
                else:
                    builder_run.run()
            if last is not None and last.total is None:
                # A generator's total is known when it has ended.
                report.update(replace(last, total=last.done))
            if self.run.stop.requested:  # its last row has used up a budget, or somebody asked for it meanwhile
                raise Interrupted
        except BaseException:
            # How far it came is for showing only: what ended the run is more important than a failure to tell.
            with suppress(TableVaultError, sqlite3.Error):
                report.flush()
            raise

    def _function(self, spec: BuilderSpec) -> Callable[..., object]:
        """Return the builder's function, which takes its arguments. What its module raises is user code's error."""
        function = self._loaded(spec) if spec.is_custom else builtin.function(spec.code_module, spec.python_function)
        if spec.arguments.names is not None:
            columns = spec.arguments.varying if spec.takes_batches else ()
            names = [name for name in spec.arguments.names if name not in columns]
            validate_arguments(function, names, takes_batch=spec.takes_batches, location=spec.location("arguments"))
        return function

    def _loaded(self, spec: BuilderSpec) -> Callable[..., object]:
        try:
            return self.loader.function(spec.code_module, spec.python_function)
        except TableVaultError:
            raise
        except BaseException as error:
            error.add_note(f"This was in the code module {spec.code_module!r}, when it was imported.")
            raise UserCodeError(error) from error


def _rows_error(run: Run, told: Sequence[RowsFailed]) -> TVRowsError:
    """Return the error that tells of all rows that failed, while the others went on."""
    lines = [str(failed) for failed in told]
    what = lines[0] if len(lines) == 1 else "\n".join(["Rows failed:", *(f"  - {line}" for line in lines)])
    ways = f"get_errors({run.process_id!r}) has them all, with what they were called with." if run.is_named else ""
    error = TVRowsError(f"{what}. {ways}".rstrip(), failed={failed.builder: failed.failed for failed in told})
    error.__cause__ = told[0].error
    return error


def assemble(
    run: Run,
    checkpoint: Checkpoint,
    temporary: InstanceRecord,
    instance_id: str,
    *,
    columns: Sequence[Column],
    rows: int,
    success: bool,
) -> Publication:
    """Add to the staged frame and artifacts what they were made with, and place the instance."""
    staged = run.files.staged_instance(instance_id)
    for source, target in ((checkpoint.files.builders, staged.builders), (checkpoint.files.code, staged.code)):
        files.remove(target)
        files.copy_tree(source, target)
    files.sync_tree(staged.artifacts, with_files=True)
    plan = checkpoint.plan
    files.remove(staged.provenance)
    with RowReader.open(run.files.rows) as store:
        Provenance.write(
            staged.provenance,
            plan,
            store,
            table=staged.table,
            rows=rows,
            has_frame=lambda builder: run.files.frame(builder).exists(),
        )
        _tell_reused(run, plan, temporary, staged, store)
    sources = {(pin.table, pin.instance_id) for pin in plan.pins.values()}
    if plan.origin is not None:
        sources.add((plan.origin.table, plan.origin.instance_id))
    made = Publication(
        temporary,
        instance_id,
        columns,
        rows,
        sources=sorted(sources),
        success=success,
        extra={"fingerprints": {builder.name: builder.fingerprint for builder in plan.builders}},
    ).staged(run)
    made.place(run)
    return made


def _tell_reused(run: Run, plan: Plan, temporary: InstanceRecord, staged: InstanceLayout, store: RowReader) -> None:
    """Tell in the provenance what was taken over from results that were imported."""
    origin = None
    with run.journal.catalog.snapshot() as db:
        reused = {step.record.name: step.record.rows_reused for step in processes.steps(db, run.process_id)}
        if plan.origin is not None:
            origin = places.instance_layout(run.layout, instances.get(db, plan.origin.table, plan.origin.instance_id))
    own = places.instance_layout(run.layout, temporary)
    write_reused(staged, own, plan, store, origin=origin, reused=reused)


def stage_partial(run: Run, temporary: InstanceRecord, instance_id: str) -> Publication:
    """Stage and place what an unfinished process has computed. Artifacts of rows that aren't recorded are left out."""
    checkpoint = Checkpoint.read(run.files)
    found = partial_frame(run.files, checkpoint.plan)
    staged = run.files.staged_instance(instance_id)
    artifacts.remove_strays(staged.artifacts, named=lambda: _artifact_names(found))
    artifacts.check_artifacts(found.frame, found.artifact_columns, staged.artifacts)
    columns = tables.write_table(staged.table, found.frame, dict.fromkeys(found.artifact_columns, ARTIFACT_DTYPE))
    return assemble(run, checkpoint, temporary, instance_id, columns=columns, rows=len(found.frame), success=False)


def _artifact_names(found: PartialFrame) -> set[str]:
    return {name for column in found.artifact_columns for name in found.frame[column].dropna()}


def pinned_tables(layout: Layout, db: Database, pins: Mapping[PinKey, Pin]) -> Callable[[str, str | None], PinnedTable]:
    """Return what opens a table and version as a plan has pinned it, while a transaction lasts."""
    return lambda table, version: _pinned_table(layout, db, find_pin(pins, table, version))


def _origin_of(run: Run, plan: Plan, contents: Contents) -> Origin | None:
    """Return the instance that another is made from, if there is one."""
    if plan.origin is None:
        return None
    with run.journal.catalog.snapshot() as db:
        place = places.instance_layout(run.layout, instances.get(db, plan.origin.table, plan.origin.instance_id))
        pinned = _pinned_table(run.layout, db, plan.origin, contents)
    dtypes = {column.name: ARTIFACT_DTYPE for column in pinned.columns if column.dtype == ARTIFACT_DTYPE}
    table = tables.table_from_frame(tables.read_table(pinned.path), dtypes)
    return Origin(
        table,
        pinned.artifact_folder,
        Provenance(place.provenance),
        digests=lambda: _recorded_contents(place),
    )


def _reuse(run: Run, origin: Origin | None, frames: FrameCache, plan: Plan, artifact_folder: Path) -> Reuse | None:
    """Return what can be reused of the origin: nothing of what isn't true any more, as it is inactive."""
    if origin is None or plan.origin is None:
        return None
    with run.journal.catalog.snapshot() as db:
        if not instances.is_true(db, plan.origin.table, plan.origin.instance_id, process_id=run.process_id):
            return None
    return Reuse(origin, frames, key=plan.builders[0].fields["primary_key"], artifact_folder=artifact_folder)


def _recorded_contents(place: InstanceLayout) -> dict[str, str]:
    """Return the SHA-256 of the artifacts of an instance, by their names."""
    listed = manifests.contents(place.manifest, place.artifacts.name)
    return {name: sha256 for name, (sha256, _) in listed.items()}


def _pinned_tables_of(
    run: Run, pins: Mapping[PinKey, Pin], contents: Contents
) -> Callable[[str, str | None], PinnedTable]:
    def open_table(table: str, version: str | None) -> PinnedTable:
        with run.journal.catalog.snapshot() as db:
            return _pinned_table(run.layout, db, find_pin(pins, table, version), contents)

    return open_table


def _pinned_table(layout: Layout, db: Database, pin: Pin, contents: Contents | None = None) -> PinnedTable:
    place = places.instance_layout(layout, instances.get(db, pin.table, pin.instance_id))
    columns = instances.columns(db, pin.table, pin.instance_id)
    if contents is not None and any(column.dtype == ARTIFACT_DTYPE for column in columns):
        contents.add(place.artifacts, lambda: _recorded_contents(place))
    return PinnedTable(place.table, place.artifacts, columns)


def _pausing(run: Run) -> Callable[[str], None]:
    """Return what asks for a pause on behalf of the call that runs the process."""
    return lambda reason: run.ask_to_pause(Pause(reason))


def _offer_checkpoint(current: context.Current | None, wait: Callable[[], None]) -> None:
    if current is not None:
        current.checkpoint = wait


def _not_called() -> None:
    raise AssertionError("a finished builder's function is not called")
