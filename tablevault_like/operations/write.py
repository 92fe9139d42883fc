"""Materialize frames that were made elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tablevault_like.catalog import Database, instances, locks, tables
from tablevault_like.errors import TVArgumentError, TVCheckpointError, TVFileError, TVProcessError, TVTableError
from tablevault_like.layout import ProcessLayout
from tablevault_like.model import (
    ARTIFACT_DTYPE,
    BASE_VERSION,
    Column,
    InstanceRecord,
    LockMode,
    LockRequest,
    Resource,
    check_version,
    temporary_id,
)
from tablevault_like.operations import publication
from tablevault_like.operations.publication import Publication
from tablevault_like.process.operation import INPUT, Declaration, Operation, View
from tablevault_like.process.run import Run
from tablevault_like.storage import artifacts, files, places, reach

if TYPE_CHECKING:
    import pandas as pd

_TOLD_COLUMNS = 5


@dataclass(frozen=True)
class WriteInstance(Operation):
    """Materialize a frame that was made elsewhere, in the place of a temporary instance that is edited externally."""

    name = "write_instance"
    is_short = True

    table_df: pd.DataFrame | None = field(metadata=INPUT, default=None, compare=False)
    table_name: str = ""
    version: str = BASE_VERSION
    dependencies: tuple[tuple[str, str], ...] = ()
    """What it was made from, as (table, instance id). An empty id stands for the table's newest active instance."""
    dtypes: Mapping[str, str] = field(default_factory=dict)
    frame: str | None = None
    """What tells the frame from others, for a process that may be called again. A call without a frame means that."""

    @classmethod
    def read(
        cls,
        table_df: pd.DataFrame | None,
        table_name: str,
        version: str,
        dependencies: tuple[tuple[str, str], ...],
        dtypes: Mapping[str, str],
        *,
        is_named: bool,
    ) -> WriteInstance:
        """Make the operation from a frame."""
        operation = cls(table_df, table_name, version, dependencies, dtypes)
        if table_df is None or not is_named:
            return operation
        operation.check()
        return replace(operation, frame=_told(table_df))

    def check(self) -> None:
        import pandas as pd

        check_version(self.version)
        if self.table_df is not None and not isinstance(self.table_df, pd.DataFrame):
            raise TVArgumentError(f"table_df must be a pandas DataFrame, not a {type(self.table_df).__name__}.")

    def arguments(self) -> dict[str, Any]:
        return {name: value for name, value in super().arguments().items() if name not in self._left_out}

    def differences(self, recorded: Mapping[str, Any]) -> list[str]:
        return super().differences({name: value for name, value in recorded.items() if name not in self._left_out})

    def declare(self, view: View) -> Declaration:
        if self.table_df is None:
            raise TVProcessError(
                "There is no frame to write: no process of this id has kept one. Call write_instance() with the frame."
            )
        temporary = publication.get_temporary(view.db, self.table_name, self.version, external_edit=True)
        if not temporary.external_edit:
            raise TVArgumentError(
                f"{self.table_name}/{temporary.instance_id} is made by builders: call execute_instance(). To write a "
                "frame, create the instance with external_edit=True."
            )
        needed = [LockRequest.exclusive(Resource.instance(self.table_name, temporary.instance_id))]
        sources = self._sources(view.db)
        needed += [LockRequest.shared(Resource.instance(table, instance_id)) for table, instance_id in sources]
        return Declaration(tuple(needed))

    def prepare(self, folder: ProcessLayout) -> tuple[tuple[Column, ...], int] | None:
        from tablevault_like.storage import tables as parquet

        if self.table_df is None:
            return None
        return parquet.write_table(folder.pinned_frame, self.table_df, self.dtypes), len(self.table_df)

    def check_resume(self, view: View, folder: ProcessLayout) -> None:
        from tablevault_like.storage import tables as parquet

        path, process_id = folder.pinned_frame, folder.folder.name
        try:
            parquet.read_table(path)  # each of its pages has a checksum
        except TVFileError as error:
            raise TVCheckpointError(
                f"The frame that process {process_id!r} has kept is damaged: {error.message} Or "
                f"stop_process({process_id!r}), and write the frame anew.",
                path=path,
                process_id=process_id,
            ) from error

    def stage(self, run: Run) -> Publication | None:
        if self.table_df is None:
            return None
        with run.journal.catalog.snapshot() as db:
            self.declare(View(db, run.layout, run.now()))  # what can't be done at all is said first
            temporary = publication.get_temporary(db, self.table_name, self.version)
            sources = self._sources(db)
        return self._stage(run, temporary, sources)

    def place(self, run: Run, db: Database) -> bool:
        made: Publication = run.made
        if instances.find(db, self.table_name, temporary_id(self.version)) != made.temporary:
            return False
        if self._sources(db) != made.sources:
            return False
        made.place_at_once(run)
        return True

    def execute(self, run: Run) -> Publication:
        with run.fenced() as db:
            temporary = publication.get_temporary(db, self.table_name, self.version, external_edit=True)
            self._deactivate_others(run, db)
            sources = self._sources(db, held=locks.held_by(db, run.process_id))
        publication.withdraw(run, temporary, run.instance_id(self.version))
        made = self._stage(run, temporary, sources)
        made.place(run)
        return made

    def publish(self, run: Run, db: Database) -> None:
        run.made.publish(run, db)

    def finish(self, run: Run) -> None:
        publication.discard_temporary(run, run.made.temporary, run.made.instance_id)
        publication.show_artifacts(run, run.made)

    def undo(self, run: Run) -> None:
        publication.remove(run, self.table_name, run.instance_id(self.version))

    def undo_in_catalog(self, run: Run, db: Database) -> None:
        instances.reactivate(db, process_id=run.process_id)

    @property
    def _left_out(self) -> set[str]:
        """The arguments that weren't given as they were given before: what is recorded of them counts."""
        left_out = {"frame"} if self.frame is None else set()
        if self.table_df is None:
            left_out |= {name for name in ("dtypes", "dependencies") if not getattr(self, name)}
        return left_out

    def _sources(self, db: Database, *, held: Iterable[LockRequest] = ()) -> tuple[tuple[str, str], ...]:
        """Return what the frame was made from, each by its id.

        ``held`` are the locks of the process, once it has any: which instance was the newest then, they tell.
        """
        pinned = [request.resource.path for request in held if request.mode is LockMode.SHARED]
        found = []
        for table, instance_id in self.dependencies:
            if instance_id:
                found.append((table, instances.get(db, table, instance_id).instance_id))
                continue
            # One that is named as well may be the newest: then there is no other.
            ids = [path[1] for path in pinned if path[0] == table]
            others = [each for each in ids if (table, each) not in self.dependencies]
            newest = (others or ids)[0] if ids else instances.get_newest_active(db, table).instance_id
            found.append((table, newest))
        return tuple(dict.fromkeys(found))

    def _deactivate_others(self, run: Run, db: Database) -> None:
        table = tables.get(db, self.table_name)
        if instances.has_side_effects(db, table.table_id):
            instances.deactivate_others(db, table.table_id, process_id=run.process_id)

    def _stage(self, run: Run, temporary: InstanceRecord, sources: tuple[tuple[str, str], ...]) -> Publication:
        import pandas as pd

        from tablevault_like.storage import tables as parquet

        instance_id = run.instance_id(self.version)
        staged = run.files.staged_instance(instance_id)
        files.remove(staged.folder)
        reach.make_folders(staged.folder)
        reach.link(run.files.pinned_frame, staged.table)
        columns, rows = run.prepared or parquet.read_columns(staged.table)
        digests = publication.stage_artifacts(run, temporary, staged)
        artifact_columns = [column.name for column in columns if column.dtype == ARTIFACT_DTYPE]
        cells = parquet.read_table(staged.table, columns=artifact_columns) if artifact_columns else pd.DataFrame()
        source = places.instance_layout(run.layout, temporary).artifacts
        artifacts.check_artifacts(
            cells, artifact_columns, staged.artifacts, source=source, missing=self._put_it_first()
        )
        made = Publication(temporary, instance_id, columns, rows, sources=sources, digests=digests)
        return made.staged(run)

    def _put_it_first(self) -> str:
        """Return what to do about an artifact that isn't there."""
        which = repr(self.table_name) + (f", version={self.version!r}" if self.version != BASE_VERSION else "")
        return (
            f"Put the file into get_artifact_folder({which}), the artifact folder of the instance, first; then call "
            "again."
        )


def _told(frame: pd.DataFrame) -> str | None:
    """Return a frame's size, its columns, and a digest of all that is in it; None if it can't be kept anyway."""
    from tablevault_like.storage import digests

    try:
        digest = digests.digest(frame.reset_index(drop=True)).hex()
    except TVTableError:
        return None
    names = [str(name) for name in frame.columns]
    listed = ", ".join(names[:_TOLD_COLUMNS]) + (", ..." if len(names) > _TOLD_COLUMNS else "")
    return f"{len(frame)} rows of {listed} [{digest}]"
