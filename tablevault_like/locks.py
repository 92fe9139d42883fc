"""Worker locks: the kernel tells whether a process's worker lives.

1. A worker holds ``worker.lock`` by ``flock`` for as long as it works; the kernel lets go of it when the worker dies,
   however it dies. No pid, age of a file or clock takes part in the decision.
2. A second claim conflicts in the same interpreter too: the lock belongs to an open file, not to a pid.
3. A forked child never holds its parent's lock (filelock closes the inherited descriptor there).
4. The file is never unlinked while somebody could still claim the process, so that all contend for the same inode.

The file names its last holder (host, pid, when that pid started), for showing and ending a worker; never for deciding.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import Timeout, UnixFileLock

from tablevault_like.errors import TVFileError
from tablevault_like.layout import ProcessLayout
from tablevault_like.storage import files, reach
from tablevault_like.storage.documents import parsed

if TYPE_CHECKING:
    import psutil

log = logging.getLogger("tablevault_like")

_CLAIM_SECONDS = 0.25
_POLL_SECONDS = 0.005

_SWEEPS = 100
"""How often a folder may be swept away before its lock is taken: far more often than that happens."""


@dataclass(frozen=True, slots=True)
class Worker:
    """Who holds, or last held, a worker lock. ``started`` is when the pid started: a number that no clock changes."""

    host: str
    boot: str
    pid: int
    started: float

    @classmethod
    def this(cls) -> Worker:
        """Return this interpreter's own identity."""
        return _this_worker(os.getpid())

    def find(self) -> psutil.Process | None:
        """Return the operating system's process, if it certainly is this worker and still runs."""
        import psutil  # it takes long to import, and is rarely needed

        if (self.host, self.boot) != (Worker.this().host, Worker.this().boot):
            return None
        try:
            return psutil.Process(self.pid) if _started(self.pid) == self.started else None
        except (psutil.Error, OSError):
            return None


@cache
def _this_worker(pid: int) -> Worker:
    return Worker(host=socket.gethostname(), boot=_boot_id(), pid=pid, started=_started(pid))


if hasattr(os, "register_at_fork"):
    # A fork may have the pid of an ancestor that has ended.
    os.register_at_fork(after_in_child=_this_worker.cache_clear)


def _started(pid: int) -> float:
    """Return when a pid started: in clock ticks since boot where the kernel tells, so that no set clock matters."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        import psutil

        return psutil.Process(pid).create_time()
    # The second field is the name in parentheses, which may hold anything; starttime is the 22nd.
    return float(stat.rpartition(")")[2].split()[19])


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class WorkerLock:
    """The worker lock of one process. Hold it with ``acquire`` and ``release``; ask with ``is_held``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = UnixFileLock(
            path,
            thread_local=False,
            is_singleton=False,
            fallback_to_soft=False,
            preserve_lock_file=True,
            on_acquired=_write_worker,
        )

    def acquire(self) -> bool:
        """Try to become the worker of this process, and tell whether it worked.

        The folder is made if needed. Its name isn't synced: who records the process does that.
        A probe holds the lock for microseconds, so a refusal is believed only after a quarter of a second.
        """
        try:
            return self._acquire()
        except BaseException:
            # What was interrupted, or refused by the disk, leaves no empty folder behind.
            with suppress(OSError):
                reach.remove_folder(self.path.parent)
            raise

    def _acquire(self) -> bool:
        for _ in range(_SWEEPS):
            # The folder may be swept away in between, when the process that it belonged to ended. Of one that went just
            # now it may be said, too, that it exists.
            with suppress(FileNotFoundError):
                self._make_folder()
                with suppress(FileExistsError):
                    return self._acquire_existing()
        self._make_folder()
        return self._acquire_existing()

    def _make_folder(self) -> None:
        try:
            reach.make_folders(self.path.parent)
        except PermissionError as error:
            raise TVFileError(
                f"Nothing can be changed in this vault: {self.path.parent.parent} may not be written to by this "
                "user. It can be read all the same; to change it, ask its owner for the permission.",
                path=self.path.parent.parent,
            ) from error

    def _acquire_existing(self) -> bool:
        try:
            with files.naming(self.path):
                self._lock.acquire(timeout=_CLAIM_SECONDS, poll_interval=_POLL_SECONDS)
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Let go of the process. Nothing happens if this object doesn't hold the lock.

        A disk that refuses even that is no reason to forget what else went wrong: the lock ends with this worker.
        """
        try:
            self._lock.release(force=True)
        except OSError:
            log.warning("%s can't be unlocked before this Python ends", self.path, exc_info=True)

    @property
    def is_mine(self) -> bool:
        return self._lock.is_locked


def lock_of(place: ProcessLayout) -> WorkerLock:
    """Return the worker lock of a process.

    Raises TVFileError if its folder, one of the two above it, or anything in it is a link.
    """
    processes = place.folder.parent
    files.check_no_link(processes.parent, processes)
    files.check_no_link_in(place.folder)
    return WorkerLock(place.worker_lock)


def is_held(path: Path) -> bool:
    """Tell whether a living worker holds the lock at ``path``. A file that isn't there is held by nobody."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two who ask at once don't take each other for a worker.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def read_worker(path: Path) -> Worker | None:
    """Return who holds, or last held, the lock at ``path``, if the file tells."""
    try:
        return Worker(**parsed(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _write_worker(descriptor: int) -> None:
    # Over what is there, and only then cut off: that needs no room on a disk that is full.
    text = json.dumps(asdict(Worker.this())).encode()
    try:
        os.pwrite(descriptor, text, 0)
        os.ftruncate(descriptor, len(text))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        # Nothing is decided by it, so it may be missing; but nobody else may be taken for the worker.
        os.ftruncate(descriptor, 0)
