"""Pauses that somebody asked for: a stage was reached, a budget is used up, another worker said so.

A pause takes effect where a stop does: nothing more is handed out, what is in flight is awaited and recorded. What
becomes of the process then is decided by whoever settles it, by what ``Run.pause`` says.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tablevault_like.catalog import Database, processes
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.errors import TableVaultError
from tablevault_like.locks import is_held
from tablevault_like.model import Pause, State
from tablevault_like.process.journal import Journal
from tablevault_like.process.operation import REGISTRY
from tablevault_like.process.run import LOCAL_RUNS, Run

log = logging.getLogger("tablevault_like")

_SECONDS = 0.5
_FENCED_SECONDS = 5.0


@contextmanager
def listening(run: Run) -> Iterator[None]:
    """Hear within half a second that another worker wants a process paused."""
    is_over = threading.Event()

    def listen() -> None:
        catalog = run.journal.catalog
        try:
            while not is_over.wait(_SECONDS):
                try:
                    with catalog.snapshot() as db:
                        row = processes.find(db, run.process_id)
                except (TableVaultError, sqlite3.Error):
                    log.debug("process %s can't be looked at", run.process_id, exc_info=True)
                    continue
                if row is None or row.epoch != run.epoch:
                    # Whoever has fenced it signals it, too. This is for workers that no signal reaches.
                    if not is_over.wait(_FENCED_SECONDS):
                        run.stop.abandon()  # nothing that is waited for could be recorded any more
                    return
                if row.pause_requested_by is not None:
                    run.ask_to_pause(Pause(requested_by(row.pause_requested_by), is_by_caller=False))
                if run.pause is not None:
                    # Only now: a child that paused before its parent has heard of it would look as if it had failed.
                    with suppress(TableVaultError, sqlite3.Error):
                        request_below(run.journal, run.process_id)
        finally:
            catalog.close()  # this thread's connection

    listener = threading.Thread(target=listen, name=f"tablevault-listening-{run.process_id}", daemon=True)
    listener.start()
    try:
        yield
    finally:
        is_over.set()


def request_below(journal: Journal, process_id: str) -> None:
    """Ask for a pause of all that is live below a process and that other workers are at.

    What this interpreter runs below it is stopped with it.
    """
    with journal.catalog.snapshot() as db:
        asked = [row.process_id for row in _live_below(db, process_id) if _is_to_be_asked(journal, row)]
    if not asked:
        return
    author = f"its parent {process_id!r}"
    with journal.catalog.transaction() as db:
        for each in asked:
            row = processes.find(db, each)
            if row is not None and row.state in (State.CREATED, State.RUNNING):
                request(db, each, author=author, now=journal.now())


def request(db: Database, process_id: str, *, author: str, now: float) -> None:
    """Record that somebody wants a process paused. Whoever does means to go on: it is no longer nobody's."""
    processes.set_named(db, process_id)
    processes.request_pause(db, process_id, author=author)
    processes.add_event(db, process_id, "pause requested", author, now=now)


def _live_below(db: Database, process_id: str) -> Iterator[ProcessRow]:
    for child in processes.live_children(db, process_id):
        yield child
        yield from _live_below(db, child.process_id)


def _is_to_be_asked(journal: Journal, row: ProcessRow) -> bool:
    return (
        row.process_id not in LOCAL_RUNS
        and row.pause_requested_by is None
        and row.state in (State.CREATED, State.RUNNING)
        and REGISTRY[row.operation].can_pause
        and is_held(journal.layout.process(row.process_id).worker_lock)
    )


def requested_by(author: str) -> str:
    """Return the reason of a pause that ``author`` has asked for."""
    return f"{author} asked for it"
