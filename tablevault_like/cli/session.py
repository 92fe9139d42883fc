"""The options that commands share, and the vault that they open.

A command's first parameter is one of these classes: its fields become options of the command (see ``app.command``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tablevault_like.catalog import Catalog
from tablevault_like.cli.options import Author, DbDir, Debug, Json, LockTimeout, ParentId, ProcessId
from tablevault_like.cli.output import Output
from tablevault_like.cli.places import find_vault
from tablevault_like.errors import TVArgumentError
from tablevault_like.layout import Layout
from tablevault_like.model import ProcessRecord, State
from tablevault_like.reading import Reader
from tablevault_like.vault import TableVault


@dataclass(frozen=True, slots=True)
class Finished:
    """A process that a command has run. ``had_completed``: it had completed earlier, so that nothing was done."""

    record: ProcessRecord
    had_completed: bool


@dataclass(frozen=True)
class Session:
    """A command that reads a vault."""

    db_dir: DbDir = None
    as_json: Json = False
    debug: Debug = False

    @property
    def output(self) -> Output:
        return Output(self.as_json)

    @cached_property
    def folder(self) -> Path:
        return find_vault(self.db_dir, os.environ)

    @cached_property
    def vault(self) -> TableVault:
        return TableVault(self.folder)

    @cached_property
    def reader(self) -> Reader:
        layout = Layout(self.folder.absolute())
        return Reader(Catalog(layout.catalog), layout)


@dataclass(frozen=True)
class Driving(Session):
    """A command that works on processes that are there already."""

    author: Author = None
    lock_timeout: LockTimeout = 5.0

    @cached_property
    def vault(self) -> TableVault:
        return TableVault(self.folder, self.author, lock_timeout=self.lock_timeout)


@dataclass(frozen=True)
class Writing(Driving):
    """A command that is a process of its own."""

    process_id: ProcessId = None
    parent_id: ParentId = None

    @cached_property
    def vault(self) -> TableVault:
        return TableVault(self.folder, self.author, parent_id=self.parent_id, lock_timeout=self.lock_timeout)

    def run(self, call: Callable[..., str]) -> Finished:
        """Call a method of the vault with the process id that was given, and return what became of the process."""
        before = self._completed()
        try:
            process_id = call(process_id=self.process_id)
        except (KeyboardInterrupt, SystemExit) as error:
            # Who has begun something tells what became of it.
            if not getattr(error, "__notes__", ()):
                error.add_note("Nothing had begun.")
            raise
        record = self.vault.get_process(process_id)
        return Finished(record, had_completed=before is not None and before.epoch == record.epoch)

    def give(self, finished: Finished, sentence: str, **known: object) -> None:
        """Print what a process has done: a sentence, or as JSON its id and what is known of it."""
        record = finished.record
        document = {"process_id": record.process_id, "operation": record.operation, "state": record.state, **known}
        nothing = f"Process {record.process_id!r} had completed before; nothing was done."
        self.output.give(document, lambda: nothing if finished.had_completed else sentence)

    def _completed(self) -> ProcessRecord | None:
        """Return the process if it has completed."""
        if self.process_id is None:
            return None
        try:
            record = self.vault.get_process(self.process_id)
        except TVArgumentError:
            return None
        return record if record.state in (State.COMPLETED, State.MATERIALIZED) else None
