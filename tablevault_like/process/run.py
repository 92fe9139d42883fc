"""A process under way, in the worker that claimed it: what an operation's methods are given."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from tablevault_like.catalog import Database, processes
from tablevault_like.engines.base import Engine, Stop
from tablevault_like.errors import TableVaultError
from tablevault_like.layout import Layout, ProcessLayout
from tablevault_like.model import Pause, Progress, StopIntent
from tablevault_like.process.interrupts import Interrupts
from tablevault_like.process.journal import UNCLAIMED, Journal
from tablevault_like.storage.files import check_no_link

_REPORT_SECONDS = 0.4

log = logging.getLogger("tablevault_like")

Observer: TypeAlias = Callable[[str, Progress, bool], None]
"""Is told the name of a step, how far it is, and whether it is done, by the thread that runs the process."""


@dataclass
class Run:
    """One claim of one process. Everything that it writes bears its epoch, and is refused when the claim is over."""

    process_id: str
    epoch: int
    is_named: bool
    author: str
    created_at: float
    """When the process was first recorded, in seconds since the epoch (POSIX)."""
    journal: Journal
    interrupts: Interrupts = field(default_factory=Interrupts)
    stop: Stop = field(default_factory=Stop)
    facts: Any = None
    """What the operation found out when it declared its locks; ``None`` after a resume."""
    prepared: Any = None
    """What the operation's ``prepare`` returned; ``None`` after a resume."""
    engines: list[Engine] = field(default_factory=list)
    stop_intent: StopIntent | None = None
    observer: Observer | None = None
    """Who is told how far steps are, to show it to somebody."""
    pause: Pause | None = None
    """Why the process is to be paused, if somebody asked for it."""
    left_over: BaseException | None = None
    """What ended the run while threads of it were still in user code: it is settled when they have returned."""
    made: Any = None
    """What the operation's ``execute`` returned, for its ``publish`` and ``finish``."""

    @property
    def is_claimed(self) -> bool:
        """Tell whether the process is recorded, with its locks."""
        return self.epoch != UNCLAIMED

    @property
    def layout(self) -> Layout:
        return self.journal.layout

    @property
    def files(self) -> ProcessLayout:
        """The folder of the process. Raises TVFileError if somebody has put a link in its place."""
        check_no_link(*self._no_links)
        return self._place

    @cached_property
    def _place(self) -> ProcessLayout:
        return self.layout.process(self.process_id)

    @cached_property
    def _no_links(self) -> tuple[Path, ...]:
        return (self.layout.processes, self._place.folder, self._place.staging, self._place.pinned)

    @property
    def is_idle(self) -> bool:
        """Tell whether no thread of this process runs user code any more."""
        return all(engine.is_idle for engine in self.engines)

    def ask_to_pause(self, pause: Pause) -> None:
        """Let the run end as soon as what is in flight is recorded, and the process be paused. The first reason counts.

        Any thread may call this.
        """
        if self.pause is None:
            self.pause = pause
        self.stop.request()

    def tell(self, step: str, progress: Progress, *, is_done: bool = False) -> None:
        """Tell the observer how far a step is. One that fails isn't told anything more."""
        if self.observer is None:
            return
        try:
            self.observer(step, progress, is_done)
        except Exception:
            self.observer = None
            log.warning("the progress of process %s can't be shown", self.process_id, exc_info=True)

    def now(self) -> float:
        return self.journal.now()

    def instance_id(self, version: str) -> str:
        """Return the id of the instance that this process makes: the same in every claim, and never used before."""
        return instance_id_of(self.process_id, self.created_at, version)

    def check(self) -> None:
        """Raise FencedError if this claim is over."""
        self.journal.check(self.process_id, self.epoch)

    @contextmanager
    def fenced(self) -> Iterator[Database]:
        """Hold this claim while files are changed that others look at. Raises FencedError if it is over.

        Nobody can take the process over in between: that needs a transaction, too. So keep it short.
        """
        with self.journal.changing(self.process_id, self.epoch) as db:
            yield db

    def plan_steps(self, names: Sequence[str]) -> None:
        """Record which steps are to come. Steps that are finished stay finished."""
        with self.journal.changing(self.process_id, self.epoch) as db:
            processes.plan_steps(db, self.process_id, names)

    def finished_steps(self) -> set[str]:
        """Return the names of the steps that are recorded as finished: they are not run again."""
        with self.journal.catalog.snapshot() as db:
            return {step.record.name for step in processes.steps(db, self.process_id) if step.record.is_done}

    @contextmanager
    def step(self, name: str) -> Iterator[StepReport]:
        """Run a step, and record it as finished when the block ends without an exception."""
        report = StepReport(self, name)
        yield report
        report.finish()


LOCAL_RUNS: dict[str, Run] = {}
"""The processes that run in this interpreter."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=LOCAL_RUNS.clear)


class StepReport:
    """How far a step is. The rows in a report are committed.

    Reports go to the catalog a few times a second at most, but none waits for the next row, which may take an hour.
    """

    def __init__(self, run: Run, name: str) -> None:
        self._run = run
        self.name = name
        self._last = time.monotonic()
        self._told: Progress | None = None
        self._latest: Progress | None = None
        # Taken before a transaction is begun, never inside of one.
        self._writing = threading.Lock()
        self._late: threading.Timer | None = None

    def start(self, *, total: int | None, already: int, batch_size: int | None = None) -> None:
        """Record that the step has begun, with ``already`` of ``total`` rows recorded earlier."""
        with self._run.journal.changing(self._run.process_id, self._run.epoch) as db:
            processes.start_step(
                db,
                self._run.process_id,
                self.name,
                rows_total=total,
                rows_before=already,
                batch_size=batch_size,
                now=self._run.now(),
            )

    def update(self, progress: Progress) -> None:
        """Tell how far it is by now."""
        self._told = self._latest = progress
        self._run.tell(self.name, progress)
        if time.monotonic() - self._last >= _REPORT_SECONDS:
            self.flush()
        elif self._late is None:
            self._late = threading.Timer(_REPORT_SECONDS, self._flush_late)
            self._late.daemon = True
            self._late.start()

    def flush(self) -> None:
        """Write what was told last."""
        with self._writing:
            if self._told is not None:
                with self._run.journal.changing(self._run.process_id, self._run.epoch) as db:
                    self._write(db)
                self._last = time.monotonic()

    def finish(self) -> None:
        """Record the step as finished."""
        with self._writing, self._run.journal.changing(self._run.process_id, self._run.epoch) as db:
            self._write(db)
            processes.finish_step(db, self._run.process_id, self.name, now=self._run.now())
        if self._latest is not None:
            self._run.tell(self.name, self._latest, is_done=True)

    def _flush_late(self) -> None:
        self._late = None
        # It is for showing only. If the claim is over, the coordinator is told so by its own next step.
        try:
            with suppress(TableVaultError, sqlite3.Error):
                self.flush()
        finally:
            self._run.journal.catalog.close()  # this thread's connection

    def _write(self, db: Database) -> None:
        told = self._told
        if told is None:
            return
        processes.report_step(db, self._run.process_id, self.name, told, now=self._run.now())
        if self._told is told:
            self._told = None


def instance_id_of(process_id: str, created_at: float, version: str) -> str:
    """Return the id of the instance that a process makes which was created at this time."""
    unique = uuid.uuid5(uuid.NAMESPACE_OID, f"{process_id}/{created_at!r}")
    return f"{version}_{int(created_at)}_{unique}"
