"""One claim of an execution: open what it has kept, run the builders that aren't finished, and stage the instance."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pandas as pd
import pyarrow as pa

from tablevault_like.builders.checkpoint import Checkpoint
from tablevault_like.builders.frames import FrameCache, PinnedTable, keep_old
from tablevault_like.builders.hashing import Contents
from tablevault_like.builders.inputs import Pin, PinKey, find_pin
from tablevault_like.builders.partial import PartialFrame, partial_frame
from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.builders.provenance import Provenance
from tablevault_like.builders.recording import Building, Progress
from tablevault_like.builders.reuse import Origin, Reuse
from tablevault_like.builders.run import BuilderRun
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.catalog import Database, instances
from tablevault_like.engines.base import Interrupted, UserCodeError
from tablevault_like.engines.threads import ThreadEngine
from tablevault_like.errors import TableVaultError
from tablevault_like.functions import builtin
from tablevault_like.functions.modules import Loader
from tablevault_like.functions.signature import validate_arguments
from tablevault_like.layout import InstanceLayout, Layout
from tablevault_like.model import ARTIFACT_DTYPE, Column, InstanceRecord, ReturnType
from tablevault_like.operations.publication import Publication
from tablevault_like.process import context
from tablevault_like.process.run import Run, StepReport
from tablevault_like.storage import artifacts, files, manifests, places, tables
from tablevault_like.storage.rows import RowStore

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
    cleanup: ExitStack

    @classmethod
    def open(cls, run: Run, temporary: InstanceRecord, instance_id: str, *, reuses: bool) -> Self:
        """Open what the process has kept, and claim its row store before anything else.

        With ``reuses`` rows are taken over from the origin where they would come out the same.
        """
        with ExitStack() as cleanup:
            store = cleanup.enter_context(RowStore.open(run.files.rows))
            store.claim(run.epoch)
            checkpoint = Checkpoint.read(run.files)
            artifact_folder = run.files.staged_instance(instance_id).artifacts
            engine = ThreadEngine()
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
                reuse=_reuse(run, origin, frames, checkpoint.plan, artifact_folder) if reuses else None,
            )
            loader = cleanup.enter_context(
                Loader(checkpoint.files.code, label=run.process_id, original=run.layout.code_functions)
            )
            return cls(run, checkpoint, temporary, instance_id, building, origin, loader, cleanup.pop_all())
        raise AssertionError("unreachable")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cleanup.close()

    def build(self) -> None:
        """Run every builder that isn't finished, each as a step, in the order of the plan."""
        if self.run.facts is None:  # it was resumed
            self._remove_strays()
        finished = self.run.finished_steps()
        specs = [self._specify(planned) for planned in self.checkpoint.plan.builders]
        # All of them before anything runs: a mistake in the last one isn't found only after hours.
        functions = {spec.name: self._function(spec) for spec in specs if spec.name not in finished}
        origin = self.origin
        if origin is not None:
            # The IndexBuilder sees the rows of the origin.
            self.building.frames.replace(origin.table, artifact_folder=origin.artifact_folder)
        for planned, spec in zip(self.checkpoint.plan.builders, specs, strict=True):
            if planned.name in finished:
                BuilderRun(self.building, spec, _not_called).load()
            else:
                with self.run.step(planned.name) as report:
                    self._run_builder(planned, spec, functions[planned.name], report)
            if spec.is_index and origin is not None:
                self._keep_of_origin(spec, origin)

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
    def _own_artifacts(self) -> Path:
        """The artifacts that people have put into the temporary instance."""
        return places.instance_layout(self.run.layout, self.temporary).artifacts

    def _remove_strays(self) -> None:
        """Remove the artifacts of rows that were never recorded: they run again, maybe under other names."""
        artifacts.remove_strays(
            self.building.artifact_folder,
            named=lambda: _artifact_names(partial_frame(self.run.files, self.checkpoint.plan)),
            source=self._own_artifacts,
        )

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
        tables.write_arrow_table(path, table)

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
                report.start(total=progress.total, already=progress.done)
            last = progress
            report.update(done=progress.done, failed=progress.failed, reused=progress.reused, total=progress.total)

        try:
            with self.run.interrupts.requesting(self.run.stop):
                BuilderRun(self.building, spec, function, code=code, recipe=planned.recipe, report=tell).run()
        except BaseException:
            # How far it came is for showing only: what ended the run is more important than a failure to tell.
            with suppress(TableVaultError, sqlite3.Error):
                report.flush()
            raise
        if last is not None and last.total is None:
            # A generator's total is known when it has ended.
            report.update(done=last.done, failed=last.failed, reused=last.reused, total=last.done)
        if self.run.stop.requested:
            raise Interrupted

    def _function(self, spec: BuilderSpec) -> Callable[..., object]:
        """Return the builder's function, which takes its arguments. What its module raises is user code's error."""
        function = self._loaded(spec) if spec.is_custom else builtin.function(spec.code_module, spec.python_function)
        if spec.arguments.names is not None:
            validate_arguments(function, spec.arguments.names, location=spec.location("arguments"))
        return function

    def _loaded(self, spec: BuilderSpec) -> Callable[..., object]:
        try:
            return self.loader.function(spec.code_module, spec.python_function)
        except TableVaultError:
            raise
        except BaseException as error:
            error.add_note(f"This was in the code module {spec.code_module!r}, when it was imported.")
            raise UserCodeError(error) from error


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
    with RowStore.read(run.files.rows) as store:
        Provenance.write(
            staged.provenance,
            plan,
            store,
            table=staged.table,
            rows=rows,
            has_frame=lambda builder: run.files.frame(builder).exists(),
        )
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


def _not_called() -> None:
    raise AssertionError("a finished builder's function is not called")
