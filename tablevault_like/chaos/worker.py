"""The worker of a rehearsal: it runs the execution in the copy once, and is killed, or tells how it ended.

::

    rehearsal --requests--> nursery --fork--> worker          one at a time
              <--pid, ready, ended------------+

Workers are forked from a nursery that has imported everything, and no code of any vault: so each begins at once, as
fresh as the one before. The nursery ends with whoever started it, however that ends, and its worker with it.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import threading
import time
import traceback
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import tablevault_like.builders.template
import tablevault_like.operations  # noqa: F401 - registers every operation
from tablevault_like.catalog import Catalog
from tablevault_like.chaos import rehearsed
from tablevault_like.chaos.notes import Notebook
from tablevault_like.chaos.points import Point
from tablevault_like.errors import TVCheckpointError, message_of
from tablevault_like.layout import Layout
from tablevault_like.model import State
from tablevault_like.operations import folders
from tablevault_like.operations.execute import ExecuteInstance
from tablevault_like.process import context
from tablevault_like.process.journal import Journal
from tablevault_like.process.operation import REGISTRY
from tablevault_like.process.runner import Runner

_CHANGES = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"})
_WRITES = os.O_WRONLY | os.O_RDWR
_MOST_PAUSES = 1000


def main() -> int:
    """Fork a worker for every line of standard input, and tell on standard output how it is with it.

    ``pid 17`` when there is one, ``ready`` when its run begins, ``ended 9`` (or another signal, or 0) when it is over.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    requests, answers = os.dup(0), os.dup(1)
    # User code, and what it starts, has no standard input, and what it prints isn't an answer.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    living, end = os.pipe()  # its end is this nursery's: it is closed when that dies
    with os.fdopen(requests, "rb") as lines:
        for line in lines:
            pid = os.fork()
            if not pid:
                os.close(end)
                _work(json.loads(line), living, answers)
            _, status = os.waitpid(pid, 0)
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            os.write(answers, f"ended {number}\n".encode())
    return 0


def _work(request: dict[str, Any], living: int, answers: int) -> NoReturn:
    """Run what is requested, and write how it ended into a file."""
    try:
        os.write(answers, f"pid {os.getpid()}\n".encode())
        os.setsid()
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        threading.Thread(target=_end_with, args=(living,), daemon=True).start()
        outcome = _Worker(request, answers).run()
        draft = Path(request["outcome"]).with_suffix(".new")
        draft.write_text(json.dumps(outcome))
        draft.replace(request["outcome"])
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - there is nobody above to raise it to
        traceback.print_exc()
    finally:
        # Threads of user code may never end.
        os._exit(0)


def _end_with(living: int) -> None:
    os.read(living, 1)
    os._exit(1)


class _Worker:
    def __init__(self, request: dict[str, Any], answers: int) -> None:
        self._request = request
        self._answers = answers
        self._layout = Layout(Path(request["root"]))
        self._journal = Journal(Catalog(self._layout.catalog), self._layout, time.time)
        self._striker = rehearsed.Striker(**request["target"])
        self._notebook = Notebook(Path(request["notes"]), request["attempt"])
        self._staging = f"{self._layout.process(request['process_id']).staging}/"
        self._inner = (f"{request['folder']}/", "/dev/", "/proc/")
        self._seen: set[tuple[str, str, bool]] = set()

    def run(self) -> dict[str, Any]:
        request = self._request
        context.protect(Path(request["protected"]))
        rehearsed.begin(rehearsed.Rehearsal(request["sample"], self._striker, self._notebook))
        REGISTRY[ExecuteInstance.name] = rehearsed.RehearsedInstance
        runner = Runner(self._journal, request["author"], display=partial(nullcontext, self._striker.observe))
        operation = rehearsed.RehearsedInstance(request["table"], request["version"], force_execute=True)
        sys.addaudithook(self._hear)
        began = time.perf_counter()
        os.write(self._answers, b"ready\n")
        try:
            self._complete(runner, operation)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            outcome = {"error": f"{type(error).__name__}: {message_of(error)}".strip(": ")}
            if isinstance(error, TVCheckpointError):
                outcome["damaged"] = str(error.path)
            return outcome
        counts = {point.value: count for point, count in self._striker.counts.items()}
        return {"seconds": time.perf_counter() - began, "counts": counts}

    def _complete(self, runner: Runner, operation: ExecuteInstance) -> None:
        """Run it to its end: a builder's own budget may pause it, again and again."""
        process_id = self._request["process_id"]
        for _ in range(_MOST_PAUSES):
            runner.submit(operation, process_id)
            row = self._journal.find(process_id)
            if row is None or row.state is not State.PAUSED:
                break
        else:
            raise RuntimeError(f"it was paused {_MOST_PAUSES} times")
        # What a worker that died after the commit has left to others.
        runner.restart()
        folders.tidy(self._journal)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = bool(flags & _WRITES) if isinstance(flags, int) else set(mode or "") & set("wax+")
            if not writes:
                return
            builder = rehearsed.builder_inside.get()
            if builder is not None and isinstance(path, str | bytes | os.PathLike):
                appends = (isinstance(mode, str) and "a" in mode) or bool(
                    isinstance(flags, int) and flags & os.O_APPEND
                )
                self._look_at(builder, os.path.abspath(os.fsdecode(path)), appends=appends)  # noqa: PTH100 - it is cheap
        elif event not in _CHANGES:
            return
        self._striker.reach(Point.FILE)

    def _look_at(self, builder: str, path: str, *, appends: bool) -> None:
        is_inner = path.startswith(self._inner) and not path.startswith(self._staging)
        if is_inner or "/__pycache__/" in path or (builder, path, appends) in self._seen:
            return
        self._seen.add((builder, path, appends))
        try:
            found = os.stat(path)  # noqa: PTH116 - as above
        except OSError:
            size = 0
        else:
            if not stat.S_ISREG(found.st_mode):
                return
            size = found.st_size
        self._notebook.wrote(builder, path, appends=appends, size=size)
