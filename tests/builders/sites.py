"""A process's folder in which one builder runs at a time, and builders and functions for it in few words."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tablevault_like.builders.frames import FrameCache, PinnedTable
from tablevault_like.builders.run import BuilderRun, Building, Progress
from tablevault_like.builders.spec import BuilderSpec, read_builder
from tablevault_like.engines.base import Stop, UserCodeError
from tablevault_like.engines.threads import ThreadEngine
from tablevault_like.storage import tables
from tablevault_like.storage.rows import RowStore

PATIENCE = 20.0


@dataclass
class Site:
    """A process's folder with a row store, and a frame of ``size`` rows that builders fill.

    The frame has the columns ``id`` (0, 1, ...) and ``word`` ("w0", "w1", ...). ``opened`` closes its row store.
    """

    folder: Path
    opened: ExitStack
    size: int = 6
    epoch: int = 1
    stop: Stop = field(default_factory=Stop)
    engine: ThreadEngine = field(default_factory=ThreadEngine)
    entered: list[int | None] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)

    def __post_init__(self) -> None:
        path = self.folder / "rows.sqlite"
        self.artifact_folder.mkdir(exist_ok=True)
        if path.exists():
            self.store = self.opened.enter_context(RowStore.open(path))
            self.store.claim(self.epoch)
        else:
            self.store = self.opened.enter_context(RowStore.create(path, epoch=self.epoch))
        self.frames = FrameCache(self._open, artifact_folder=self.artifact_folder)
        if self.size:
            ids = range(self.size)
            frame = pd.DataFrame({"id": pd.array(ids, dtype="Int64"), "word": [f"w{number}" for number in ids]})
            self.frames.begin(frame, {"word": "string"})

    @property
    def artifact_folder(self) -> Path:
        return self.folder / "artifacts"

    def _open(self, table: str, version: str | None) -> PinnedTable:
        path = self.folder / f"{table}.parquet"
        return PinnedTable(path, self.folder, tables.read_columns(path)[0])

    def frame_path(self, builder: str) -> Path:
        return self.folder / "frames" / f"{builder}.parquet"

    def again(self) -> Site:
        """Return the same folder as the worker that claims the process next sees it."""
        return Site(self.folder, self.opened, self.size, self.epoch + 1)

    def run(self, spec: BuilderSpec, function: Callable[..., object], *, code: int = 0) -> BuilderRun:
        building = Building(
            process_id="p1",
            store=self.store,
            frames=self.frames,
            engine=self.engine,
            stop=self.stop,
            artifact_folder=self.artifact_folder,
            frame_path=self.frame_path,
            enter=lambda work: self.entered.append(work.index),
        )
        return BuilderRun(building, spec, function, code=code, report=self.progress.append)

    def values(self, column: str) -> list[Any]:
        return [None if value is pd.NA else value for value in self.frames.built([column])[column].tolist()]


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Close at the end what a test has opened."""
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def site(tmp_path: Path, opened: ExitStack) -> Site:
    return Site(tmp_path, opened)


@pytest.fixture
def no_rows(tmp_path: Path, opened: ExitStack) -> Site:
    """Return a site whose rows aren't made yet."""
    return Site(tmp_path, opened, size=0)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def spec(*fields: str, name: str = "sizes", kind: str = "ColumnBuilder", columns: str = "size") -> BuilderSpec:
    text = [f"builder_type: {kind}", f"changed_columns: [{columns}]", "python_function: f", "code_module: m"]
    if not any(each.startswith("return_type") for each in fields):
        text.append("return_type: row-wise")
    if not any(each.startswith("arguments") for each in fields):
        text.append("arguments: {number: '<<self.id[index]>>'}" if "return_type: row-wise" in text else "arguments: {}")
    return read_builder("\n".join([*text, *fields]), name).resolve(FrameCache(no_tables, artifact_folder=Path()))


def index_spec(*fields: str, columns: str = "id") -> BuilderSpec:
    return spec(*fields, name="t_index", kind="IndexBuilder", columns=columns)


def no_tables(table: str, version: str | None) -> PinnedTable:
    raise AssertionError(f"nobody was to open {table}")


class Calls:
    """A function that keeps the arguments of its calls, and may fail at some."""

    def __init__(self, *, fails_at: Sequence[int] = (), error: type[BaseException] = OSError) -> None:
        self.numbers: list[int] = []
        self.fails_at = fails_at
        self.error = error

    def __call__(self, number: int) -> int:
        self.numbers.append(number)
        if number in self.fails_at:
            raise self.error(f"no answer for {number}")
        return number * 10


def user_error(run: BuilderRun) -> BaseException:
    with pytest.raises(UserCodeError) as raised:
        run.run()
    return raised.value.original
