"""The copy in which a rehearsal runs: the builders, the code and the artifacts of a temporary instance, and its inputs.

1. The vault itself is read and never written. Its processes and its other tables aren't copied.
2. Every run begins with a copy of one and the same vault, at one and the same path.
3. The folder is removed when the block ends, however it ends, unless it is to be kept.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tablevault_like import founding
from tablevault_like.builders.plan import Plan
from tablevault_like.bundles import packing
from tablevault_like.catalog import Catalog, instances, tables
from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.layout import Layout
from tablevault_like.model import ARTIFACT_DTYPE, BASE_VERSION, InstanceRecord, ReturnType, TableRecord
from tablevault_like.operations import planning, publication
from tablevault_like.operations.importing import ImportInstance
from tablevault_like.operations.instances import CreateInstance
from tablevault_like.operations.tables import CreateTable
from tablevault_like.operations.write import WriteInstance
from tablevault_like.process.journal import Journal
from tablevault_like.process.operation import View
from tablevault_like.process.runner import Runner
from tablevault_like.storage import files, places
from tablevault_like.storage import tables as frames

PREFIX = "tablevault-chaos-"
ORIGIN_TABLE = "chaos-origin"


@contextmanager
def folder_of(vault: Layout, scratch: Path | None, *, keep: bool) -> Iterator[Path]:
    """Make a folder beside a vault, or in another one, for as long as the block lasts.

    Raises TVArgumentError for a place in a vault, TVFileError if nothing can be put there.
    """
    parent = vault.root.parent if scratch is None else scratch.resolve()
    founding.check_outside(parent / PREFIX, what="rehearsals")
    try:
        made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    except OSError as error:
        raise TVFileError(
            f"Nothing can be put into {parent} ({error.strerror}), where the copy of the vault was to be. Name another "
            "folder: scratch=.",
            path=parent,
        ) from error
    try:
        yield made
    finally:
        if not keep:
            files.remove(made)


@dataclass(frozen=True)
class Scratch:
    """A folder with the vault that every run begins with. ``plan`` is what runs there."""

    folder: Path
    plan: Plan

    @property
    def process_id(self) -> str:
        """Return the id of every run, and of no run of another rehearsal: services remember idempotency keys."""
        return self.folder.name.removeprefix("tablevault-")

    @property
    def vault(self) -> Layout:
        """Return where the vault of the run lies."""
        return Layout(self.folder / "vault")

    @property
    def pattern(self) -> Path:
        """Return what every run's vault is a copy of."""
        return self.folder / "pattern"

    def begin(self) -> None:
        """Put a fresh vault into its place."""
        files.remove(self.vault.root)
        shutil.copytree(self.pattern, self.vault.root, symlinks=True)

    def put_away(self, name: str) -> None:
        """Keep the vault of a run under another name."""
        if self.vault.root.exists():
            self.vault.root.rename(self.folder / name)


def make(journal: Journal, folder: Path, table: str, version: str, *, sample: int, author: str) -> Scratch:
    """Copy what an execution needs into a vault of its own.

    Raises what ``execute_instance`` raises for arguments, builder files and references.
    """
    with journal.catalog.snapshot() as db:
        temporary = publication.get_temporary(db, table, version)
        if temporary.external_edit:
            raise TVArgumentError(
                f"{table}/{temporary.instance_id} is edited externally: it has no builders that could be rehearsed."
            )
        plan = planning.plan(View(db, journal.layout, journal.now()), temporary).plan
        own = tables.get(db, table)
        needed = {pin.instance_id: pin.table for pin in plan.pins.values()}
        inputs = [instances.get(db, name, instance_id) for instance_id, name in needed.items()]
        origin = None if plan.origin is None else instances.get(db, plan.origin.table, plan.origin.instance_id)
    pattern = Layout(folder / "pattern")
    founding.create(pattern, author=author, description="", replace=False)
    copying = _Copying(journal, Journal(Catalog(pattern.catalog), pattern, time.time), folder, author)
    copying.code()
    copying.table(own)
    for each in sorted(inputs, key=lambda record: record.materialized_at or 0.0):
        copying.instance(each)
    is_row_wise = plan.builders[0].return_type is ReturnType.ROW_WISE
    begun_with: tuple[str, str] | None = None
    if origin is not None and is_row_wise:
        begun_with = copying.first_rows(origin, sample)
    elif origin is not None:
        copying.instance(origin)
        begun_with = (origin.table_name, origin.instance_id)
    return Scratch(folder, copying.temporary(temporary, begun_with, plan))


class _Copying:
    """Puts things of a vault into another one."""

    def __init__(self, source: Journal, target: Journal, folder: Path, author: str) -> None:
        self._source = source
        self._target = target
        self._folder = folder
        self._runner = Runner(target, author)
        self._copied: set[str] = set()

    def code(self) -> None:
        target = self._target.layout.code_functions
        files.remove(target)
        files.copy_tree(self._source.layout.code_functions, target)

    def table(self, record: TableRecord) -> None:
        self._runner.submit(CreateTable(record.name, record.allow_multiple_artifacts, record.has_side_effects, ""))

    def instance(self, record: InstanceRecord) -> None:
        """Copy a materialized instance, under its own id. Its checksums are verified."""
        if record.instance_id in self._copied:
            return
        self._copied.add(record.instance_id)
        bundle = self._folder / "input.bundle"
        wanted = packing.Wanted(record.table_name, record.instance_id, record.version, None)
        made = packing.export(self._source, wanted, bundle)
        try:
            self._runner.submit(
                ImportInstance.read(made.path, record.table_name, None, with_code=False, max_bytes=None)
            )
        finally:
            files.remove(made.path)

    def first_rows(self, record: InstanceRecord, rows: int) -> tuple[str, str]:
        """Copy the first rows of an instance, with their artifacts, into an instance that rows can be made of.

        Return its table and id.
        """
        with self._source.catalog.snapshot() as db:
            place = places.instance_layout(self._source.layout, record)
            columns = instances.columns(db, record.table_name, record.instance_id)
        frame = frames.read_table(place.table, rows=rows)
        name = ORIGIN_TABLE
        self._runner.submit(CreateTable(name, False, False, ""))
        self._runner.submit(CreateInstance(name, BASE_VERSION, None, None, True, False, {}, ""))
        with self._target.catalog.snapshot() as db:
            made = publication.get_temporary(db, name, BASE_VERSION, external_edit=True)
            target = places.instance_layout(self._target.layout, made)
        dtypes = {column.name: column.dtype for column in columns if column.dtype == ARTIFACT_DTYPE}
        for cell in {cell for column in dtypes for cell in frame[column].dropna()}:
            path = target.artifacts / cell
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(place.artifacts / cell, path)
        operation = WriteInstance.read(frame, name, BASE_VERSION, (), dtypes, is_named=False)
        process_id = self._runner.submit(operation)
        with self._target.catalog.snapshot() as db:
            written = instances.made_by(db, name, process_id)
        assert written is not None
        return name, written.instance_id

    def temporary(self, record: InstanceRecord, origin: tuple[str, str] | None, wanted: Plan) -> Plan:
        """Copy a temporary instance, and return the plan of its execution, on the very inputs that are wanted."""
        table, instance_id = origin or (None, None)
        self._runner.submit(CreateInstance(record.table_name, record.version, instance_id, table, False, False, {}, ""))
        with self._target.catalog.snapshot() as db:
            made = publication.get_temporary(db, record.table_name, record.version)
        source = places.instance_layout(self._source.layout, record)
        target = places.instance_layout(self._target.layout, made)
        for old, new in ((source.builders, target.builders), (source.artifacts, target.artifacts)):
            if old.is_dir():
                files.remove(new)
                files.copy_tree(old, new)
        with self._target.catalog.snapshot() as db:
            plan = planning.plan(View(db, self._target.layout, self._target.now()), made).plan
        pins = [{key: pin.instance_id for key, pin in each.pins.items()} for each in (plan, wanted)]
        if pins[0] != pins[1]:
            raise TVArgumentError(
                f"{record.table_name}/{record.instance_id} can't be rehearsed: in a copy with just its inputs, its "
                "references lead to other instances. Name the versions that they are to read."
            )
        return plan
