"""The programs that a rehearsal starts: workers, and whatever user code starts in them, which may outlive its worker.

They are told by a variable of their environment, which is inherited, whoever their parent is by then.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from select import select
from typing import Any

import psutil

from tablevault_like.chaos.points import Point, Target
from tablevault_like.errors import TVProcessError

VARIABLE = "TABLEVAULT_CHAOS"
GRACE_SECONDS = 3.0
"""How long programs may go on after the run that has started them."""

_POLL_SECONDS = 0.02
# By sys.path, not by PYTHONPATH: other Pythons that user code starts would import from there, too.
_BOOT = "import sys; sys.path[:] = sys.argv[1:]; from tablevault_like.chaos.worker import main; sys.exit(main())"


class Programs:
    """Starts workers, one after another, and ends what they leave behind."""

    def __init__(self) -> None:
        self._token = uuid.uuid4().hex
        self._nursery = subprocess.Popen(
            [sys.executable, "-c", _BOOT, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, VARIABLE: self._token},
        )
        self._heard = b""

    def run(self, request: Mapping[str, Any], target: Target | None, *, timeout: float) -> str:
        """Run a worker to its end, or kill it, and tell which: ``ended``, ``killed`` or ``hangs``.

        Raises TVProcessError if no worker can be had.
        """
        assert self._nursery.stdin is not None
        with suppress(BrokenPipeError):
            self._nursery.stdin.write(json.dumps(request).encode() + b"\n")
            self._nursery.stdin.flush()
        pid = int(self._answer("pid", None) or 0)
        assert pid > 0, "a worker tells of itself first"
        deadline = time.monotonic() + timeout
        if self._answer("ready", deadline) is None:
            return self._end(pid, "hangs")
        if target is not None and target.point is Point.MOMENT:
            number = self._answer("ended", min(deadline, time.monotonic() + target.seconds))
            return self._end(pid, "killed") if number is None else "ended"
        number = self._answer("ended", deadline)
        if number is None:
            return self._end(pid, "hangs")
        return "killed" if int(number) == signal.SIGKILL else "ended"

    def close(self) -> None:
        """End everything that was started."""
        self._nursery.kill()
        self._nursery.wait()
        for pipe in (self._nursery.stdin, self._nursery.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        self._end_all()

    def _end(self, pid: int, how: str) -> str:
        """Kill a worker. It is the nursery's child, whose pid nobody else can have until that has told of its end."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        number = self._answer("ended", None)
        return "ended" if how == "killed" and int(number or 0) != signal.SIGKILL else how

    def _answer(self, word: str, deadline: float | None) -> str | None:
        """Wait for an answer, and return what stands behind its word; ``None`` when it is too late.

        A worker that has ended without being ready has an answer of another word, which is kept.
        """
        assert self._nursery.stdout is not None
        descriptor = self._nursery.stdout.fileno()
        while b"\n" not in self._heard:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select([descriptor], [], [], left)[0]:
                return None
            part = os.read(descriptor, 4096)
            if not part:
                raise TVProcessError("The workers of the rehearsal can't be started: see what is told on stderr.")
            self._heard += part
        line, _, rest = self._heard.partition(b"\n")
        found, _, value = line.decode().partition(" ")
        if found == word:
            self._heard = rest
        elif word == "ready":
            return ""
        return value

    def left(self) -> list[str]:
        """Return what is still running after a while, and end it."""
        deadline = time.monotonic() + GRACE_SECONDS
        while (found := list(self._living())) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        told = [_told(each) for each in found]
        self._end_all()
        return told

    def _end_all(self) -> None:
        while found := list(self._living()):
            for each in found:
                with suppress(psutil.Error):
                    each.kill()
            psutil.wait_procs(found, timeout=1.0)

    def _living(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                is_ours = process.pid != self._nursery.pid and process.environ().get(VARIABLE) == self._token
                if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                    yield process


def _told(process: psutil.Process) -> str:
    with suppress(psutil.Error, OSError):
        return f"{' '.join(process.cmdline())[:100]} (pid {process.pid})"
    return f"pid {process.pid}"


@contextmanager
def started() -> Iterator[Programs]:
    """Give what starts workers. Nothing of it outlives the block."""
    programs = Programs()
    try:
        yield programs
    finally:
        programs.close()
