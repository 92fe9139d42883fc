"""End the worker of a process that was fenced: terminate, wait, kill. Only a worker whose identity is certain."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tablevault_like.errors import TVProcessError
from tablevault_like.locks import WorkerLock, read_worker
from tablevault_like.process.run import Run

_TERMINATE_SECONDS = 3.0
_KILL_SECONDS = 10.0


def end_worker(path: Path, lock: WorkerLock, *, process_id: str, local: Run | None) -> None:
    """End whoever holds the worker lock at ``path``, and take it over.

    ``local`` is its run, if it is in this interpreter.

    Raises TVProcessError if it can't be known who that is, if it is on another machine, or if it doesn't end.
    """
    import psutil  # it takes long to import, and every start of a program would pay for it

    worker = read_worker(path)
    if local is not None or (worker is not None and worker.pid == os.getpid() and worker.find() is not None):
        _end_local(lock, process_id=process_id, local=local)
        return
    found = worker.find() if worker is not None else None
    if found is None:
        if _take_over(lock, seconds=_TERMINATE_SECONDS):
            return
        where = f"pid {worker.pid} on {worker.host}" if worker is not None else "an unknown place"
        raise TVProcessError(
            f"The worker of process {process_id!r} lives ({where}), but it can't be ended from here. It was fenced and "
            "writes nothing more. End it there, then call stop_process() again.",
            process_id=process_id,
        )
    for end, seconds in ((found.terminate, _TERMINATE_SECONDS), (found.kill, _KILL_SECONDS)):
        try:
            end()
        except psutil.NoSuchProcess:
            pass
        except psutil.AccessDenied as error:
            raise TVProcessError(
                f"The worker of process {process_id!r} (pid {found.pid}) belongs to another user, so it can't be "
                "ended. It was fenced and writes nothing more. Ask its owner, then call stop_process() again.",
                process_id=process_id,
            ) from error
        if _take_over(lock, seconds=seconds):
            return
    raise TVProcessError(
        f"The worker of process {process_id!r} (pid {found.pid}) didn't end. It was fenced and writes nothing more; "
        "call stop_process() again when it is gone.",
        process_id=process_id,
    )


def _end_local(lock: WorkerLock, *, process_id: str, local: Run | None) -> None:
    if local is not None:
        local.stop.abandon()
    if not _take_over(lock, seconds=_TERMINATE_SECONDS):
        raise TVProcessError(
            f"Process {process_id!r} runs in a thread of this very interpreter, and its function doesn't end. It was "
            "fenced and writes nothing more; call stop_process() again when the function has returned.",
            process_id=process_id,
        )


def _take_over(lock: WorkerLock, *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not lock.acquire():
        if time.monotonic() > deadline:
            return False
    return True
