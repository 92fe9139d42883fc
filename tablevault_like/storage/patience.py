"""Wait for an SQLite file for as long as another program keeps it busy: that is never an error of ours."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

LOG_EVERY = 5.0
"""Seconds from one line in the log to the next, while a file is waited for."""

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


def patiently(path: Path, step: Callable[[], _T], *, while_busy: Callable[[float], None] | None = None) -> _T:
    """Return what ``step`` does, tried again while the file at ``path`` is busy.

    ``while_busy`` is called with the seconds waited so far, several times a second. It may raise, to give up.
    """
    try:
        return step()
    except sqlite3.OperationalError as error:
        if not is_busy(error):
            raise
    # Imported here: it is rarely needed, and takes long to import.
    from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random

    started = logged = time.monotonic()

    def before_sleep(state: RetryCallState) -> None:
        nonlocal logged
        now = time.monotonic()
        if now - logged >= LOG_EVERY:
            logged = now
            _log.warning("%s is kept busy by another program, for %.0f s by now; waiting", path, now - started)
        if while_busy is not None:
            while_busy(now - started)

    retrying = Retrying(
        retry=retry_if_exception(is_busy), wait=wait_random(0.001, 0.02), before_sleep=before_sleep, reraise=True
    )
    return retrying(step)


def is_busy(error: BaseException) -> bool:
    """Tell whether an error says that somebody else has the file."""
    return isinstance(error, sqlite3.OperationalError) and code(error) == sqlite3.SQLITE_BUSY


def code(error: sqlite3.Error) -> int:
    """Return SQLite's primary error code; 0 for an error of Python's module, such as a connection in a wrong thread."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
