"""Every path in a vault. No other module joins paths of the vault.

::

    <vault>/
      .tablevault                        marks the directory; holds the format version
      description.yaml                   a copy for people
      code_functions/<module>.py
      <table folder>/
        description.yaml                 a copy for people
        artifacts/
        TEMP_<version>/builders/<builder>.yaml, artifacts/, description.yaml, table.parquet (the frame of a
                       reverted run), results/<digits>/ (what was imported for it)
        <instance id>/table.parquet, builders/, code/, artifacts/, manifest.json, provenance/
      metadata/
        catalog.sqlite
        reserve                          room that is kept for the end of a process on a full disk
        processes/<process id>/          worker.lock, process.json, rows.sqlite, frame.parquet, staging/, pinned/,
                                         bundle/, output.log
        trash/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tablevault_like.model import TEMP_PREFIX, temporary_id

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class PinnedLayout:
    """The builder files and code modules that a plan was made of."""

    folder: Path

    @property
    def builders(self) -> Path:
        return self.folder / "builders"

    def builder(self, name: str) -> Path:
        return self.builders / f"{name}.yaml"

    @property
    def code(self) -> Path:
        return self.folder / "code"


@dataclass(frozen=True, slots=True)
class InstanceLayout(PinnedLayout):
    """The files of one instance, wherever its folder lies: in its table, or still in staging."""

    @property
    def table(self) -> Path:
        return self.folder / "table.parquet"

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"

    @property
    def provenance(self) -> Path:
        return self.folder / "provenance"

    @property
    def description(self) -> Path:
        return self.folder / "description.yaml"

    @property
    def results(self) -> Path:
        """What was imported for a temporary instance, to be reused by its execution: a folder for each bundle."""
        return self.folder / "results"


@dataclass(frozen=True, slots=True)
class TableLayout:
    """The folder of one table. ``folder`` is where the catalog says it lies, which needn't be the table's name."""

    folder: Path

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    @property
    def description(self) -> Path:
        return self.folder / "description.yaml"

    def instance(self, instance_id: str) -> InstanceLayout:
        return InstanceLayout(self.folder / instance_id)

    def temporary(self, version: str) -> InstanceLayout:
        return self.instance(temporary_id(version))


@dataclass(frozen=True, slots=True)
class ProcessLayout:
    """The folder of one process."""

    folder: Path

    @property
    def worker_lock(self) -> Path:
        return self.folder / "worker.lock"

    @property
    def rows(self) -> Path:
        return self.folder / "rows.sqlite"

    @property
    def record(self) -> Path:
        """What the process is, for the case that the catalog is lost."""
        return self.folder / "process.json"

    @property
    def staging(self) -> Path:
        return self.folder / "staging"

    @property
    def replaced(self) -> Path:
        """What files of a fixed name were before this process replaced them."""
        return self.staging / "replaced"

    @property
    def pinned(self) -> Path:
        return self.folder / "pinned"

    @property
    def plan(self) -> Path:
        return self.pinned / "plan.json"

    @property
    def anew(self) -> Path:
        """Which builders reuse nothing, and which are taken over as they are."""
        return self.pinned / "anew.json"

    def pinned_files(self, number: int) -> PinnedLayout:
        return PinnedLayout(self.pinned / str(number))

    @property
    def pinned_frame(self) -> Path:
        """The frame that ``write_instance`` was given, kept until the process ends."""
        return self.folder / "frame.parquet"

    def frame(self, builder: str) -> Path:
        """What a dataframe builder returned, kept until the process ends."""
        return self.folder / "frames" / f"{builder}.parquet"

    def frame_with_old(self, builder: str) -> Path:
        """The frame of an IndexBuilder with the rows that were kept from its origin."""
        return self.folder / "frames" / f"{builder}.with_old.parquet"

    @property
    def bundle(self) -> Path:
        """The bundle that ``import_instance`` was given, unpacked and verified."""
        return self.folder / "bundle"

    @property
    def output_log(self) -> Path:
        return self.folder / "output.log"

    def staged_instance(self, instance_id: str) -> InstanceLayout:
        return InstanceLayout(self.staging / instance_id)

    def owns(self, path: Path) -> bool:
        """Tell whether something in the folder bears a name that a worker gives."""
        own = (self.worker_lock, self.staging, self.pinned, self.pinned_frame, self.bundle, self.output_log)
        # A journal, a draft and what was damaged lie beside the file, under its name.
        return path in (*own, self.frame("").parent) or path.name.startswith((self.rows.name, f"{self.record.stem}."))


@dataclass(frozen=True)
class Layout:
    """The paths of one vault.

    >>> layout = Layout(Path("/data/my_vault"))
    >>> layout.table("stories").temporary("base").builder("stories_index").relative_to(layout.root).as_posix()
    'stories/TEMP_base/builders/stories_index.yaml'
    """

    root: Path

    @property
    def marker(self) -> Path:
        return self.root / ".tablevault"

    @property
    def description(self) -> Path:
        return self.root / "description.yaml"

    @property
    def code_functions(self) -> Path:
        return self.root / "code_functions"

    def module(self, name: str) -> Path:
        return self.code_functions / f"{name}.py"

    def table(self, folder: str) -> TableLayout:
        return TableLayout(self.root / folder)

    @cached_property
    def metadata(self) -> Path:
        return self.root / "metadata"

    @property
    def catalog(self) -> Path:
        return self.metadata / "catalog.sqlite"

    @cached_property
    def processes(self) -> Path:
        return self.metadata / "processes"

    def process(self, process_id: str) -> ProcessLayout:
        return ProcessLayout(self.processes / process_id)

    @property
    def reserve(self) -> Path:
        return self.metadata / "reserve"

    @property
    def trash(self) -> Path:
        return self.metadata / "trash"

    def trashed(self, name: str) -> Path:
        return self.trash / name


_INSTANCE_FOLDER = re.compile(r"[A-Za-z0-9-]{1,100}_[0-9]{1,20}_[0-9a-f-]{36}")


def is_instance_folder(name: str) -> bool:
    """Tell whether a folder of a table has a name that only this library gives: an instance, or litter of one."""
    return name.startswith(TEMP_PREFIX) or _INSTANCE_FOLDER.fullmatch(name) is not None
