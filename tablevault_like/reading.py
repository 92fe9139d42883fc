"""Read a vault: frames, instances, descriptions, builder and code files.

Reading takes no lock and waits for no process. It runs nothing: nothing is unpickled, no vault code is imported. A
file that has vanished means that the catalog has changed since it was read, so it is read once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tablevault_like.catalog import Catalog, Database, instances, locks, tables, vaults
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
from tablevault_like.storage import descriptions, files, places

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


@dataclass(frozen=True)
class Reader:
    """Reads one vault."""

    catalog: Catalog
    layout: Layout

    def dataframe(
        self,
        table: str,
        *,
        instance_id: str | None,
        version: str,
        active_only: bool,
        successful_only: bool,
        rows: int | None,
        full_artifact_path: bool,
    ) -> pd.DataFrame:
        """Return the frame of an instance. ``attrs`` names its table and its instance."""
        from tablevault_like.storage import artifacts
        from tablevault_like.storage import tables as parquet

        if rows is not None and (not isinstance(rows, int) or rows < 0):  # type: ignore[redundant-expr]
            raise TVArgumentError(f"rows must be a number of rows, or None for all: {rows!r}.")

        def read(record: InstanceRecord, place: InstanceLayout) -> pd.DataFrame:
            if record.is_temporary:
                frame, artifact_columns, folder = self._temporary_frame(record, place)
                frame = frame.head(rows) if rows is not None else frame
            else:
                frame, folder = parquet.read_table(place.table, rows=rows), place.artifacts
                with self.catalog.snapshot() as db:
                    columns = instances.columns(db, record.table_name, record.instance_id)
                artifact_columns = [column.name for column in columns if column.dtype == ARTIFACT_DTYPE]
            if full_artifact_path:
                frame = artifacts.absolute_paths(frame, artifact_columns, folder)
            frame.attrs = {"table_name": record.table_name, "instance_id": record.instance_id}
            return frame

        return self._read(
            lambda db: self._find(
                db,
                table,
                instance_id=instance_id,
                version=version,
                active_only=active_only,
                successful_only=successful_only,
            ),
            read,
        )

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
            record = instances.get(db, table, instance_id)
            columns = instances.columns(db, table, instance_id)
            sources = instances.lineage(db, table, instance_id)
        return {
            **descriptions.describe_instance(record),
            "columns": {column.name: column.dtype for column in columns},
            "dependencies": [list(source) for source in sources],
        }

    def builder_names(self, table: str, *, instance_id: str | None, version: str, is_temporary: bool) -> list[str]:
        """Return the names of an instance's builders."""
        return self._read(
            lambda db: self._pick(db, table, instance_id=instance_id, version=version, is_temporary=is_temporary),
            lambda record, place: list(_builder_files(record, place)),
        )

    def builder_text(
        self, table: str, builder: str | None, *, instance_id: str | None, version: str, is_temporary: bool
    ) -> str:
        """Return the text of a builder file."""
        name = builder or table + INDEX_SUFFIX

        def read(record: InstanceRecord, place: InstanceLayout) -> str:
            path = places.builder_files(place, record.table_name).get(name)
            if path is None or not (path.is_symlink() or _is_builder(path)):
                known = _builder_files(record, place)
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
            lambda _, place: place.artifacts,
        )

    def folder(self, *, table: str | None, instance_id: str | None) -> Path:
        """Return the folder of the vault, a table or an instance."""
        if table is None:
            return self.layout.root
        with self.catalog.snapshot() as db:
            record = tables.get(db, table)
            if instance_id is None:
                return places.table_layout(self.layout, record).folder
            return places.instance_layout(self.layout, instances.get(db, table, instance_id)).folder

    def _read(
        self, find: Callable[[Database], InstanceRecord], read: Callable[[InstanceRecord, InstanceLayout], T]
    ) -> T:
        """Find an instance and read it. If its files have vanished, look once more where it is now."""
        for is_last in (False, True):
            with self.catalog.snapshot() as db:
                record = find(db)
            try:
                return read(record, places.instance_layout(self.layout, record))
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

    def _find(
        self,
        db: Database,
        table: str,
        *,
        instance_id: str | None,
        version: str,
        active_only: bool = True,
        successful_only: bool = False,
    ) -> InstanceRecord:
        if instance_id is not None:
            return instances.get(db, table, instance_id)
        return instances.get_newest(db, table, version, active_only=active_only, successful_only=successful_only)

    def _pick(
        self, db: Database, table: str, *, instance_id: str | None, version: str, is_temporary: bool
    ) -> InstanceRecord:
        if instance_id is None and is_temporary:
            instance_id = temporary_id(version)
        return self._find(db, table, instance_id=instance_id, version=version, active_only=False)

    def _temporary_frame(
        self, record: InstanceRecord, place: InstanceLayout
    ) -> tuple[pd.DataFrame, Sequence[str], Path]:
        """Return what the execution of an instance has done by now, or had done when it was reverted.

        With it come the columns whose cells name artifacts that are there, and their folder.
        """
        from tablevault_like.builders.checkpoint import Checkpoint
        from tablevault_like.builders.partial import partial_frame
        from tablevault_like.storage import tables as parquet

        with self.catalog.snapshot() as db:
            process_id = locks.exclusive_holder(db, Resource.instance(record.table_name, record.instance_id))
        if process_id is not None:
            folder = self.layout.process(process_id)
            if folder.plan.exists():
                found = partial_frame(folder, Checkpoint.read(folder).plan)
                staged = next(folder.staging.glob(f"{record.version}_*/artifacts"), place.artifacts)
                return found.frame, found.artifact_columns, staged
        if place.table.is_file():
            return parquet.read_table(place.table), (), place.artifacts
        raise TVArgumentError(
            f"{record.table_name}/{record.instance_id} has no frame yet. "
            f"{'Write it' if record.external_edit else 'Execute it'}, or ask for a materialized instance."
        )


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
