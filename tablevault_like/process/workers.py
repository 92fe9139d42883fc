"""End the workers of processes that were fenced: terminate, wait, kill. Only workers whose identity is certain.

All of them are told at once, so a tree of processes ends as soon as its slowest worker does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tablevault_like.errors import TVProcessError
from tablevault_like.locks import WorkerLock, is_held, read_worker
from tablevault_like.process.run import Run

if TYPE_CHECKING:
    import psutil

_TERMINATE_SECONDS = 3.0
_KILL_SECONDS = 10.0
_POLL_SECONDS = 0.01


@dataclass(frozen=True)
class Fenced:
    """A process whose worker was fenced and still lives, and the lock that is to be taken over from it.

    ``local`` is its run, if it is in this interpreter. ``is_replaced`` tells whether somebody else has ended the
    process since it was fenced: who is at it now is nobody's to end.
    """

    process_id: str
    lock: WorkerLock
    is_replaced: Callable[[], bool]
    local: Run | None = None


@dataclass
class _Asked:
    """Those that are asked to end: by the pid that they are in, by their run here, or not at all."""

    by_pid: dict[psutil.Process, list[Fenced]] = field(default_factory=dict)
    here: list[Fenced] = field(default_factory=list)
    unreachable: list[Fenced] = field(default_factory=list)


def end_workers(fenced: Iterable[Fenced]) -> dict[str, TVProcessError]:
    """End whoever holds the worker locks of these processes, and take the locks over, but for those that are replaced.

    Return, by process id, why it couldn't be done: nobody knows who that is, it is on another machine or another
    user's, or it doesn't end.
    """
    asked = _sorted(fenced)
    for each in asked.here:
        if each.local is not None:
            each.local.stop.abandon()
    errors = _signal(asked.by_pid, lambda found: found.terminate())
    waiting = [*asked.here, *asked.unreachable, *_still(asked.by_pid, errors)]
    left = {each.process_id for each in _take_over(waiting, seconds=_TERMINATE_SECONDS)}
    errors |= {each.process_id: _local_error(each) for each in asked.here if each.process_id in left}
    errors |= {each.process_id: _unreachable_error(each) for each in asked.unreachable if each.process_id in left}
    stubborn = {
        found: remaining
        for found, group in asked.by_pid.items()
        if (remaining := [each for each in group if each.process_id in left])
    }
    errors |= _signal(stubborn, lambda found: found.kill())
    for each in _take_over(_still(stubborn, errors), seconds=_KILL_SECONDS):
        errors[each.process_id] = _stubborn_error(each)
    return errors


def _sorted(fenced: Iterable[Fenced]) -> _Asked:
    asked = _Asked()
    for each in fenced:
        worker = read_worker(each.lock.path)
        found = worker.find() if worker is not None else None
        if each.is_replaced():
            continue
        if each.local is not None or (found is not None and found.pid == os.getpid()):
            asked.here.append(each)
        elif found is None:
            asked.unreachable.append(each)
        else:
            # A parent and its children may be in one: a second signal would mean that it shouldn't wait for its rows.
            asked.by_pid.setdefault(found, []).append(each)
    return asked


def _signal(
    by_pid: dict[psutil.Process, list[Fenced]], send: Callable[[psutil.Process], None]
) -> dict[str, TVProcessError]:
    import psutil  # it takes long to import, and every start of a program would pay for it

    errors = {}
    for found, group in by_pid.items():
        try:
            send(found)
        except psutil.NoSuchProcess:
            pass
        except psutil.AccessDenied as error:
            for each in group:
                errors[each.process_id] = _foreign_error(each, found.pid)
                errors[each.process_id].__cause__ = error
    return errors


def _still(by_pid: dict[psutil.Process, list[Fenced]], errors: dict[str, TVProcessError]) -> list[Fenced]:
    return [each for group in by_pid.values() for each in group if each.process_id not in errors]


def _take_over(fenced: Iterable[Fenced], *, seconds: float) -> list[Fenced]:
    """Take over the locks as they become free, and return those that don't within these seconds."""
    deadline = time.monotonic() + seconds
    left = list(fenced)
    while left := [each for each in left if not _is_had(each)]:
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_SECONDS)
    return left


def _is_had(each: Fenced) -> bool:
    """Tell whether a lock is taken over now, or needn't be any more."""
    return (not is_held(each.lock.path) and each.lock.acquire()) or each.is_replaced()


def _foreign_error(each: Fenced, pid: int) -> TVProcessError:
    return TVProcessError(
        f"The worker of process {each.process_id!r} (pid {pid}) belongs to another user, so it can't be ended. It was "
        "fenced and writes nothing more. Ask its owner, then call stop_process() again.",
        process_id=each.process_id,
    )


def _local_error(each: Fenced) -> TVProcessError:
    return TVProcessError(
        f"Process {each.process_id!r} runs in a thread of this very interpreter, and its function doesn't end. It was "
        "fenced and writes nothing more; call stop_process() again when the function has returned.",
        process_id=each.process_id,
    )


def _unreachable_error(each: Fenced) -> TVProcessError:
    worker = read_worker(each.lock.path)
    where = f"pid {worker.pid} on {worker.host}" if worker is not None else "an unknown place"
    return TVProcessError(
        f"The worker of process {each.process_id!r} lives ({where}), but it can't be ended from here. It was fenced "
        "and writes nothing more. End it there, then call stop_process() again.",
        process_id=each.process_id,
    )


def _stubborn_error(each: Fenced) -> TVProcessError:
    worker = read_worker(each.lock.path)
    pid = f" (pid {worker.pid})" if worker is not None else ""
    return TVProcessError(
        f"The worker of process {each.process_id!r}{pid} didn't end. It was fenced and writes nothing more; call "
        "stop_process() again when it is gone.",
        process_id=each.process_id,
    )
