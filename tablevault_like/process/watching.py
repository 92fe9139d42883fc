"""Wait for a process that another worker is at: until it has ended, is paused, or has lost its worker.

1. The kernel tells whether somebody is still at it (``locks.is_held``); the catalog is read only when nobody is. So its
   worker is done with it, housekeeping included, when the wait is over.
2. Between two looks a waiter sleeps, and ever longer. It holds nothing, so nobody ever waits for a waiter.
3. A process that is being stopped changes hands: it counts as left alone only if nobody takes it over for a while.
"""

from __future__ import annotations

import time

from tablevault_like.catalog import processes
from tablevault_like.engines.base import Interrupted
from tablevault_like.errors import TVArgumentError, TVProcessError, TVTimeoutError
from tablevault_like.locks import is_held
from tablevault_like.model import ProcessRecord, State
from tablevault_like.process import context, records
from tablevault_like.process.journal import Journal

_PAUSES = (0.002, 0.25)
_HAND_OVER_SECONDS = 1.0


def wait(journal: Journal, process_id: str, *, timeout: float | None) -> ProcessRecord:
    """Return a process when nobody is at it any more: it has ended, is paused, or its worker is dead.

    Raises TVArgumentError if there is none of that id, TVTimeoutError if somebody is still at it after ``timeout``
    seconds, and TVProcessError if the calling code is part of that process, which would wait for itself, or if the
    process waited for its locks and gave up.
    """
    _refuse_own(journal, process_id)
    lock = journal.layout.process(process_id).worker_lock
    record, pause, started, left_alone = _find(journal, process_id), _PAUSES[0], time.monotonic(), None
    while True:
        now = time.monotonic()
        if is_held(lock):
            left_alone = None
        else:
            record, left_alone = _find_again(journal, process_id), left_alone or now
            is_changing_hands = record.state in (State.STOPPING, State.REVERTING)
            if not record.is_alive and not (is_changing_hands and now - left_alone < _HAND_OVER_SECONDS):
                return record
        left = None if timeout is None else started + timeout - now
        if left is not None and left <= 0:
            raise _timeout_error(_find_again(journal, process_id), left_after=timeout)
        current = context.current(journal.layout.root)
        if current is not None and current.stop.requested:
            raise Interrupted
        time.sleep(pause if left is None else min(pause, left))
        pause = min(pause * 1.5, _PAUSES[1])


def _find(journal: Journal, process_id: str) -> ProcessRecord:
    with journal.catalog.snapshot() as db:
        return records.find(db, journal.layout, process_id)


def _find_again(journal: Journal, process_id: str) -> ProcessRecord:
    try:
        return _find(journal, process_id)
    except TVArgumentError as error:
        raise TVProcessError(
            f"Process {process_id!r} gave up before it had begun: it didn't get its locks. Call its operation again.",
            process_id=process_id,
        ) from error


def _refuse_own(journal: Journal, process_id: str) -> None:
    current = context.current(journal.layout.root)
    if current is None:
        return
    with journal.catalog.snapshot() as db:
        family = [current.process_id, *processes.ancestors(db, current.process_id)]
    if process_id in family:
        raise TVProcessError(
            f"This code is part of process {process_id!r}, so it would wait for itself. Wait in another process.",
            process_id=process_id,
        )


def _timeout_error(record: ProcessRecord, *, left_after: float | None) -> TVTimeoutError:
    who = records.summary(record)
    if record.waits_for:
        reason = f"{who} waits for its locks. {record.next_steps} Wait again, or longer."
    else:
        reason = (
            f"a living worker is at {who}. Wait again, longer, or end it with stop_process({record.process_id!r}, "
            "force=True)."
        )
    return TVTimeoutError(f"Gave up waiting after {left_after:g} s: {reason}", process_id=record.process_id)
