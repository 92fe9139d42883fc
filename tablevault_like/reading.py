"""Read a vault: frames, instances, descriptions, builder and code files.

Reading takes no lock and waits for no process. It runs nothing: nothing is unpickled, no vault code is imported. A
file that has vanished means that the catalog has changed since it was read, so it is read once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from tablevault_like.catalog import Catalog, Database, instances, locks, processes, tables, vaults
from tablevault_like.errors import TVArgumentError, TVFileError, nearest
from tablevault_like.functions.sources import CodeFolder
from tablevault_like.layout import InstanceLayout, Layout
from tablevault_like.model import (
    ARTIFACT_DTYPE,
    INDEX_SUFFIX,
    InstanceRecord,
    Resource,
    check_builder_name,
    temporary_id,
)
from tablevault_like.operations import trash
from tablevault_like.operations.trash import TrashRecord
from tablevault_like.storage import artifacts, descriptions, files, places
from tablevault_like.storage.documents import parsed

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from tablevault_like.storage.filters import Filter

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Which:
    """Which instance of a table is meant: the one of that id, or the newest of a version."""

    instance_id: str | None
    version: str
    active_only: bool = True
    successful_only: bool = False

    def find(self, db: Database, table: str) -> InstanceRecord:
        """Return the instance. Raises TVArgumentError if there is none."""
        if self.instance_id is not None:
            return instances.get(db, table, self.instance_id)
        return instances.get_newest(
            db, table, self.version, active_only=self.active_only, successful_only=self.successful_only
        )


@dataclass(frozen=True, slots=True)
class Part:
    """What of a frame is wanted: the first ``rows`` of those that a filter wants, in some columns; by default all."""

    columns: Sequence[str] | None = None
    wanted: Filter | None = None
    rows: int | None = None
    full_artifact_path: bool = True

    @classmethod
    def read(cls, *, columns: object, filters: object, rows: object, full_artifact_path: bool) -> Self:
        """Return what callers ask for. Raises TVArgumentError for anything that can't be understood."""
        if rows is not None and not (isinstance(rows, int) and rows >= 0):
            raise TVArgumentError(f"rows must be a number of rows, or None for all: {rows!r}.")
        names = _column_names(columns)
        wanted = None
        if filters is not None:
            from tablevault_like.storage.filters import read_filters

            wanted = read_filters(filters)
        return cls(names, wanted, rows, full_artifact_path)


@dataclass(frozen=True, slots=True)
class Found:
    """An instance as it was found: where it lies, and which of its columns name artifacts, in which folder."""

    record: InstanceRecord
    place: InstanceLayout
    artifact_columns: Sequence[str]
    artifact_folder: Path


@dataclass(frozen=True)
class Reader:
    """Reads one vault."""

    catalog: Catalog
    layout: Layout

    def dataframe(self, table: str, which: Which, part: Part) -> pd.DataFrame:
        """Return part of the frame of an instance. ``attrs`` names its table and its instance."""
        from tablevault_like.storage import tables as parquet

        def read(found: Found) -> pd.DataFrame:
            if found.record.is_temporary:
                return self._temporary_part(found, part)
            wanted = _wanted(found, part)
            frame = parquet.read_table(found.place.table, columns=part.columns, rows=part.rows, wanted=wanted)
            return _finished(frame, found, part)

        return self._read(lambda db: which.find(db, table), read)

    def arrow(self, table: str, which: Which, part: Part) -> pa.Table:
        """Return part of the frame of an instance in Arrow. The schema's metadata names its table and its instance."""
        from tablevault_like.storage import tables as parquet

        def read(found: Found) -> pa.Table:
            record, path = found.record, found.place.table
            known = {"table_name": record.table_name, "instance_id": record.instance_id}
            if record.is_temporary:
                return parquet.exported(parquet.table_from_frame(self._temporary_part(found, part)), known)
            wanted = _wanted(found, part)
            stored, _ = parquet.read_arrow_table(path, columns=part.columns, rows=part.rows, wanted=wanted)
            with parquet.told(path):
                return parquet.exported(_with_paths(stored, found) if part.full_artifact_path else stored, known)

        return self._read(lambda db: which.find(db, table), read)

    def batches(self, table: str, which: Which, part: Part, *, batch_size: object) -> Iterator[pd.DataFrame]:
        """Return an iterator over part of the frame of an instance, which is found now."""
        from tablevault_like.storage import tables as parquet

        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise TVArgumentError(f"batch_size must be a number of rows, 1 or more, not {batch_size!r}.")
        size = batch_size

        def read(found: Found) -> Iterator[pd.DataFrame]:
            if found.record.is_temporary:
                whole = self._temporary_part(found, part)
                return (whole.iloc[start : start + size] for start in range(0, len(whole), size))
            frames = parquet.iterate_batches(
                found.place.table, part.columns, batch_size=size, rows=part.rows, wanted=_wanted(found, part)
            )
            return (_finished(frame, found, part) for frame in frames)

        return self._read(lambda db: which.find(db, table), read)

    def table_names(self) -> list[str]:
        """Return the names of all tables, in order of their creation."""
        with self.catalog.snapshot() as db:
            return tables.names(db)

    def instance_ids(self, table: str, *, version: str | None, include_temporary: bool) -> list[str]:
        """Return the ids of a table's instances, oldest first, temporary ones last."""
        with self.catalog.snapshot() as db:
            tables.get(db, table)
            found = instances.of_table(db, table, version=version, include_temporary=include_temporary)
        return [record.instance_id for record in found]

    def instance_records(self, table: str) -> list[InstanceRecord]:
        """Return what is known of a table's instances, oldest first, temporary ones last."""
        with self.catalog.snapshot() as db:
            tables.get(db, table)
            return instances.of_table(db, table, include_temporary=True)

    def describe(self, *, table: str | None, instance_id: str | None) -> dict[str, object]:
        """Return what describes the vault, a table or an instance."""
        with self.catalog.snapshot() as db:
            if table is None:
                return dict(vaults.read(db))
            if instance_id is None:
                return descriptions.describe_table(tables.get(db, table))
            return self._described(db, instances.get(db, table, instance_id))

    def describe_instances(self, table: str) -> list[dict[str, object]]:
        """Return what describes each instance of a table, oldest first, temporary ones last."""
        with self.catalog.snapshot() as db:
            tables.get(db, table)
            return [self._described(db, record) for record in instances.of_table(db, table, include_temporary=True)]

    def _described(self, db: Database, record: InstanceRecord) -> dict[str, object]:
        columns = instances.columns(db, record.table_name, record.instance_id)
        sources = instances.lineage(db, record.table_name, record.instance_id)
        imported = None if record.is_temporary else processes.last_event(db, record.process_id, "imported")
        reused = _reused(places.instance_layout(self.layout, record))
        return {
            **descriptions.describe_instance(record),
            "columns": {column.name: column.dtype for column in columns},
            "dependencies": [list(source) for source in sources],
            **({} if imported is None else {"imported": parsed(imported)}),
            **({"reused": reused} if reused else {}),
        }

    def builder_names(self, table: str, *, instance_id: str | None, version: str, is_temporary: bool) -> list[str]:
        """Return the names of an instance's builders."""
        return self._read(
            lambda db: self._pick(db, table, instance_id=instance_id, version=version, is_temporary=is_temporary),
            lambda found: list(_builder_files(found.record, found.place)),
        )

    def builder_text(
        self, table: str, builder: str | None, *, instance_id: str | None, version: str, is_temporary: bool
    ) -> str:
        """Return the text of a builder file."""
        name = builder or table + INDEX_SUFFIX

        def read(found: Found) -> str:
            record, place = found.record, found.place
            path = places.builder_files(place, record.table_name).get(name)
            if path is None or not (path.is_symlink() or _is_builder(path)):
                known = _builder_files(record, place)
                if record.external_edit and not record.is_temporary and not known:
                    raise TVArgumentError(
                        f"{record.table_name}/{record.instance_id} was written as a frame, so it has no builders."
                    )
                raise TVArgumentError(
                    f"{record.table_name}/{record.instance_id} has no builder {name!r}.{nearest(name, list(known))}"
                )
            return files.read_text(path)  # which tells of a link

        return self._read(
            lambda db: self._pick(db, table, instance_id=instance_id, version=version, is_temporary=is_temporary), read
        )

    def module_names(self) -> list[str]:
        """Return the names of the code modules, dotted for those in packages."""
        return CodeFolder(self.layout.code_functions).all_names()

    def module_text(self, module: str) -> str:
        """Return the text of a code module; of a package, that of its ``__init__.py``."""
        code = CodeFolder(self.layout.code_functions)
        path = code.find(module)
        if path is None:
            raise TVArgumentError(f"There is no code module {module!r}.{nearest(module, code.all_names())}")
        return files.read_text(path)

    def artifact_folder(self, table: str, *, instance_id: str | None, version: str, is_temporary: bool) -> Path:
        """Return the folder that holds an instance's artifacts."""
        return self._read(
            lambda db: self._pick(db, table, instance_id=instance_id, version=version, is_temporary=is_temporary),
            lambda found: found.place.artifacts,
        )

    def trash(self, *, include_pruned: bool) -> list[TrashRecord]:
        """Return what is in the trash, oldest first, and if asked for what was pruned of it."""
        with self.catalog.snapshot() as db:
            return trash.contents(db, self.layout, include_pruned=include_pruned)

    def folder(self, *, table: str | None, instance_id: str | None) -> Path:
        """Return the folder of the vault, a table or an instance."""
        if table is None:
            if instance_id is not None:
                raise TVArgumentError("An instance is named by instance_id and table_name; table_name is missing.")
            return self.layout.root
        with self.catalog.snapshot() as db:
            record = tables.get(db, table)
            if instance_id is None:
                return places.table_layout(self.layout, record).folder
            return places.instance_layout(self.layout, instances.get(db, table, instance_id)).folder

    def of_instance(self, find: Callable[[Database], InstanceRecord], read: Callable[[Found], T]) -> T:
        """Return what ``read`` makes of the instance that ``find`` finds, be it once more if its files vanish."""
        return self._read(find, read)

    def _read(self, find: Callable[[Database], InstanceRecord], read: Callable[[Found], T]) -> T:
        """Find an instance and read it. If its files have vanished, look once more where it is now."""
        for is_last in (False, True):
            with self.catalog.snapshot() as db:
                record = find(db)
                columns = instances.columns(db, record.table_name, record.instance_id)
            place = places.instance_layout(self.layout, record)
            named = [column.name for column in columns if column.dtype == ARTIFACT_DTYPE]
            try:
                return read(Found(record, place, named, place.artifacts))
            except (FileNotFoundError, TVFileError) as error:
                missing = error.path if isinstance(error, TVFileError) else error.filename
                if missing is None or Path(missing).exists():
                    raise
                if is_last:
                    raise TVFileError(
                        f"The catalog knows {record.table_name}/{record.instance_id}, but its file {missing} is "
                        "missing. Restore it from a backup, or delete the instance.",
                        path=missing,
                    ) from error
        raise AssertionError("unreachable")

    def _pick(
        self, db: Database, table: str, *, instance_id: str | None, version: str, is_temporary: bool
    ) -> InstanceRecord:
        if instance_id is None and is_temporary:
            is_there = instances.find(db, table, temporary_id(version)) is not None
            if not is_there and instances.newest(db, table, version, active_only=False) is not None:
                raise TVArgumentError(
                    f"Table {table!r} has no temporary instance of version {version!r}. Create one with "
                    f"create_instance({table!r}, version={version!r}), or read the newest materialized one with "
                    "is_temp=False."
                )
            instance_id = temporary_id(version)
        return Which(instance_id, version, active_only=False).find(db, table)

    def _temporary_part(self, found: Found, part: Part) -> pd.DataFrame:
        """Return part of what the execution of an instance has done by now, or had done when it was reverted."""
        from tablevault_like.storage import tables as parquet

        frame, made = self.temporary_frame(found)
        for name in part.columns or ():
            if name not in frame.columns:
                raise TVArgumentError(f"The table has no column {name!r}.{nearest(name, frame.columns)}")
        wanted = _wanted(made, part)
        if wanted is not None:
            frame = frame.iloc[parquet.matching_positions(frame, wanted)]
        if part.rows is not None:
            frame = frame.head(part.rows)
        return _finished(frame if part.columns is None else frame[list(part.columns)], made, part)

    def temporary_frame(self, found: Found) -> tuple[pd.DataFrame, Found]:
        """Return the frame of a temporary instance, and where the artifacts of which columns are.

        Raises TVArgumentError if it has none yet.
        """
        from tablevault_like.builders.checkpoint import Checkpoint
        from tablevault_like.builders.partial import partial_frame
        from tablevault_like.storage import tables as parquet

        record, place = found.record, found.place
        with self.catalog.snapshot() as db:
            process_id = locks.exclusive_holder(db, Resource.instance(record.table_name, record.instance_id))
        if process_id is not None:
            folder = self.layout.process(process_id)
            if folder.plan.exists():
                made = partial_frame(folder, Checkpoint.read(folder).plan)
                staged = next(folder.staging.glob(f"{record.version}_*/artifacts"), place.artifacts)
                return made.frame, replace(found, artifact_columns=made.artifact_columns, artifact_folder=staged)
        if place.table.is_file():
            return parquet.read_table(place.table), found
        raise TVArgumentError(
            f"{record.table_name}/{record.instance_id} has no frame yet. "
            f"{'Write it' if record.external_edit else 'Execute it'}, or ask for a materialized instance."
        )


def _wanted(found: Found, part: Part) -> Filter | None:
    """Return the filter with artifacts by the names that are stored: callers may give the paths that they are shown."""
    if part.wanted is None or not part.full_artifact_path:
        return part.wanted
    return part.wanted.with_values(
        found.artifact_columns, lambda value: artifacts.stored_name(value, found.artifact_folder)
    )


def _reused(place: InstanceLayout) -> list[object]:
    """Return what an instance has taken over from imported results."""
    try:
        return list(parsed((place.provenance / "reused.json").read_text(encoding="utf-8"))["reused"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _finished(frame: pd.DataFrame, found: Found, part: Part) -> pd.DataFrame:
    """Return a frame as callers get it."""
    if part.full_artifact_path:
        named = [name for name in found.artifact_columns if name in frame.columns]
        frame = artifacts.absolute_paths(frame, named, found.artifact_folder)
    frame.attrs = {"table_name": found.record.table_name, "instance_id": found.record.instance_id}
    return frame


def _with_paths(table: pa.Table, found: Found) -> pa.Table:
    """Return an Arrow table with the cells of artifacts as absolute paths."""
    from tablevault_like.storage import tables as parquet

    named = [name for name in found.artifact_columns if name in table.column_names]
    if named:
        frame = parquet.frame_from_table(table.select(named))
        paths = parquet.table_from_frame(artifacts.absolute_paths(frame, named, found.artifact_folder))
        for name in named:
            table = table.set_column(table.column_names.index(name), paths.schema.field(name), paths.column(name))
    return table


def _builder_files(record: InstanceRecord, place: InstanceLayout) -> dict[str, Path]:
    """Return the builder files of an instance by name.

    A link, a folder, and a file of a name that no builder can have are none: executing the instance refuses them.
    """
    found = places.builder_files(place, record.table_name)
    return {name: path for name, path in found.items() if _is_builder(path)}


def _is_builder(path: Path) -> bool:
    try:
        check_builder_name(path.stem)
    except TVArgumentError:
        return False
    return path.is_file() and not path.is_symlink()


def _column_names(given: object) -> tuple[str, ...] | None:
    """Return the columns that are asked for, ``None`` for all."""
    if given is None:
        return None
    expected = "columns must be a list of different column names"
    if isinstance(given, str):
        raise TVArgumentError(f"{expected}, not {given!r}. For one column, give [{given!r}].")
    try:
        names: tuple[object, ...] = tuple(given)  # type: ignore[arg-type]
    except TypeError:
        raise TVArgumentError(f"{expected}, not {type(given).__name__}.") from None
    texts = tuple(name for name in names if isinstance(name, str))
    if len(set(texts)) < len(names):
        raise TVArgumentError(f"{expected}, not {list(names)!r}.")
    return texts
