"""Make the first rows of an execution, to look at: user code runs, and nothing is written into the vault.

What it needs lies in a temporary folder, which is removed in the end. Nothing is reused, so a changed prompt shows what
it gives. Code that runs for a sample can read the vault, but change nothing in it.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import pandas as pd

from tablevault_like.builders.frames import FrameCache
from tablevault_like.builders.hashing import Contents
from tablevault_like.builders.recording import Building, RowsFailed
from tablevault_like.builders.run import BuilderRun
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.engines.base import Stop, UserCodeError
from tablevault_like.engines.threads import ThreadEngine
from tablevault_like.errors import TableVaultError
from tablevault_like.functions import builtin
from tablevault_like.functions.modules import Loader
from tablevault_like.functions.signature import validate_arguments
from tablevault_like.layout import ProcessLayout
from tablevault_like.model import ReturnType, Row
from tablevault_like.monitor.made import open_tables
from tablevault_like.monitor.situation import Situation
from tablevault_like.process import context
from tablevault_like.references.keywords import Keyword
from tablevault_like.storage import artifacts, files, tables
from tablevault_like.storage.rows import RowStore

PROCESS_ID = "sample"
_EPOCH = 1


def first_rows(situation: Situation, rows: int) -> pd.DataFrame:
    """Return the first rows of an execution. Cells of dtype ``artifact_string`` are names of files that are gone.

    Raises what the builders' functions raise.
    """
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="tablevault-sample-"))).resolve()
        files_of_run = ProcessLayout(folder)
        own = folder / "artifacts"
        if artifacts.has_any(situation.own_artifacts):
            files.copy_tree(situation.own_artifacts, own)
        own.mkdir(exist_ok=True)
        store = cleanup.enter_context(RowStore.create(files_of_run.rows, epoch=_EPOCH))
        stop, contents = Stop(), Contents()
        frames = FrameCache(open_tables(situation.vault, situation.plan.pins, contents), artifact_folder=own)
        root = situation.vault.layout.root
        current = cleanup.enter_context(context.running(context.Current(root, PROCESS_ID, stop, is_sample=True)))
        building = Building(
            process_id=PROCESS_ID,
            store=store,
            frames=frames,
            engine=ThreadEngine(),
            stop=stop,
            artifact_folder=own,
            frame_path=files_of_run.frame,
            enter=current.enter,
            contents=contents,
            start_at=situation.start_at,
        )
        loader = cleanup.enter_context(Loader(situation.code_folder, label=PROCESS_ID))
        return _Sample(situation, building, loader, current, rows).make()


class _Sample:
    def __init__(
        self, situation: Situation, building: Building, loader: Loader, current: context.Current, rows: int
    ) -> None:
        self._situation = situation
        self._building = building
        self._loader = loader
        self._current = current
        self._rows = rows

    def make(self) -> pd.DataFrame:
        origin, frames = self._situation.origin, self._building.frames
        for planned in self._situation.plan.builders:
            if planned.name not in self._situation.stages.wanted:
                continue
            spec = planned.specify(self._situation.texts[planned.name], frames)
            function = self._function(spec)
            self._current.builder = planned.name
            if planned.is_index:
                if origin is not None:
                    # The rows of a row-wise one, and what any other can read.
                    is_cut = spec.return_type is ReturnType.ROW_WISE
                    seen = origin.table.slice(0, self._rows) if is_cut else origin.table
                    frames.replace(seen, artifact_folder=origin.place.artifacts)
                spec, function = self._limited(spec, function)
            self._run(BuilderRun(self._building, spec, function))
            if planned.is_index:
                self._cut()
        return tables.frame_from_table(frames.table())

    def _run(self, run: BuilderRun) -> None:
        try:
            run.run()
        except UserCodeError as error:
            raise error.original from None
        except RowsFailed:
            run.load()  # its on_error lets the others go on: cells that have failed are missing

    def _limited(self, spec: BuilderSpec, function: Callable[..., object]) -> tuple[BuilderSpec, Callable[..., object]]:
        """Let an IndexBuilder make no more rows than are wanted, where it can be told to."""
        if spec.return_type is ReturnType.BATCH and spec.total_rows is not None:
            return replace(spec, total_rows=min(self._rows, spec.total_rows)), function
        if spec.return_type is not ReturnType.GENERATOR:
            return spec, function
        start_at = self._situation.start_at.get(spec.name, 0)

        @wraps(function)
        def limited(**arguments: Any) -> object:
            found = function(**arguments)
            is_stream = isinstance(found, Iterable) and not isinstance(found, str | bytes | Mapping | pd.DataFrame)
            # What isn't one is told of as ever. Of one that can't be told where to begin, the first values don't count.
            skipped = 0 if Keyword.RESUME_FROM in spec.arguments.keywords else start_at
            return self._first(found, skipped) if is_stream else found

        return spec, limited

    def _first(self, found: object, skipped: int) -> Iterator[object]:
        assert isinstance(found, Iterable)
        iterator = iter(found)
        try:
            for value in itertools.islice(iterator, skipped + self._rows):
                # Where it stands among all rows makes no sense among the first.
                yield value.values if isinstance(value, Row) else value
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def _cut(self) -> None:
        """Leave out the rows beyond those that are wanted: of a function that makes all of them at once."""
        table = self._building.frames.table()
        if table.num_rows > self._rows:
            self._building.frames.replace(table.slice(0, self._rows))

    def _function(self, spec: BuilderSpec) -> Callable[..., object]:
        if spec.is_custom:
            try:
                function = self._loader.function(spec.code_module, spec.python_function)
            except TableVaultError:
                raise
            except BaseException as error:
                error.add_note(f"This was in the code module {spec.code_module!r}, when it was imported.")
                raise
        else:
            function = builtin.function(spec.code_module, spec.python_function)
        if spec.arguments.names is not None:
            validate_arguments(function, spec.arguments.names, location=spec.location("arguments"))
        return function
