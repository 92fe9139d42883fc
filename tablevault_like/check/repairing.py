"""Mend what can be mended without losing anything: the housekeeping that others would come to later.

All of it is done by the parts that do it otherwise, under the same locks, and may be done again: killed at any point,
the next repair does the rest. What lies where it shouldn't is moved to the trash, never removed. A process that
somebody named, and one that is paused, is never touched.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tablevault_like.catalog import Catalog, locks, processes
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.check.findings import CheckReport, Kind
from tablevault_like.errors import TableVaultError
from tablevault_like.layout import Layout
from tablevault_like.model import State
from tablevault_like.operations import folders
from tablevault_like.process.endings import Endings
from tablevault_like.process.journal import Journal
from tablevault_like.storage import drafts, files

log = logging.getLogger("tablevault_like")


def repair(layout: Layout, report: CheckReport, *, now: Callable[[], float]) -> None:
    """Mend what a report says can be mended. What fails is logged, and is found again by the next check.

    Raises TVFileError if this user may not write to the vault.
    """
    if not any(each.is_repairable for each in report):
        return
    catalog = Catalog(layout.catalog)
    try:
        _Repair(Journal(catalog, layout, now)).run(report)
    finally:
        catalog.close()


@dataclass(frozen=True)
class _Repair:
    journal: Journal

    def run(self, report: CheckReport) -> None:
        layout = self.journal.layout
        if any(each.is_repairable and each.where == layout.code_functions.name for each in report):
            files.make_directory(layout.code_functions)
        drafts.sweep(layout.catalog)
        self._release_ended()
        endings = Endings(self.journal)
        for row in self._left():
            with _logged():
                if row.state is State.CREATED:
                    endings.finish_dead(row.process_id)
                else:
                    endings.recover(row.process_id)
        with _logged():
            endings.tidy()
        with _logged():
            folders.tidy(self.journal)
        for name in sorted({each.table_name for each in report if each.table_name and each.kind is Kind.UNFINISHED}):
            with _logged():
                folders.follow_table(self.journal, name)

    def _release_ended(self) -> None:
        """Take their locks from processes that have ended, or that there never were."""
        with self.journal.catalog.transaction() as db:
            held = {row["process_id"] for row in db.execute("SELECT DISTINCT process_id FROM locks")}
            for process_id in held - {row.process_id for row in processes.live(db)}:
                locks.release(db, process_id)

    def _left(self) -> list[ProcessRow]:
        """Return the processes that may be ended by whoever comes, if their workers are dead.

        Of a child its parent takes care. One that is CREATED has kept nothing yet, whoever named it.
        """
        with self.journal.catalog.snapshot() as db:
            live = processes.live(db)
        known = {row.process_id for row in live}
        anybodys = (State.REVERTING, State.STOPPING, State.CREATED)
        return [
            row
            for row in live
            if row.parent_id not in known and (row.state in anybodys or not row.named) and row.state is not State.PAUSED
        ]


@contextmanager
def _logged() -> Iterator[None]:
    try:
        yield
    except (TableVaultError, OSError, sqlite3.Error):
        log.warning("a repair failed", exc_info=True)
