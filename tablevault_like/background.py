"""Run an operation in a worker of its own, which outlives the caller and its terminal.

The worker is a new session of the same Python, which ignores hang-ups, so none of them and no Ctrl-C of the caller's
terminal reaches it. What user code prints, and what is logged, goes to ``output.log`` in the process's folder, which
stays there.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import tablevault_like.operations  # noqa: F401 - registers every operation
from tablevault_like import displays, errors
from tablevault_like.catalog import Catalog
from tablevault_like.errors import Location, TableVaultError, TVProcessError, message_of
from tablevault_like.layout import Layout
from tablevault_like.locks import WorkerLock
from tablevault_like.model import State, new_process_id
from tablevault_like.process import context
from tablevault_like.process.endings import Endings
from tablevault_like.process.journal import Journal
from tablevault_like.process.operation import Operation, rebuild
from tablevault_like.process.runner import Runner
from tablevault_like.storage import files

_POLL_SECONDS = 0.02
_REPORT_BYTES = 32_000
"""A report must fit into the pipe, for nobody may be reading it."""

_BOOT = "import sys; sys.path[:] = sys.argv[1:]; from tablevault_like.background import main; sys.exit(main())"
"""The worker imports from where the caller does. Not by PYTHONPATH: other Pythons that user code starts would, too."""


def start(runner: Runner, operation: Operation, process_id: str | None) -> str:
    """Start a worker that runs ``operation``, and return the process id as soon as the process is recorded as running.

    Raises what the operation raises before that: wrong arguments, locks that can't be had in time. What it raises
    later, however soon, is in its record.
    """
    journal, begun = runner.journal, runner.journal.now()
    current = context.current(journal.layout.root)
    request = {
        "root": os.fspath(journal.layout.root),
        "operation": operation.name,
        "arguments": operation.arguments(),
        "process_id": process_id or (current.next_child_id() if current else new_process_id()),
        "is_named": process_id is not None,
        "author": runner.author,
        "parent_id": runner.parent_id or (current.process_id if current else None),
        "lock_timeout": runner.lock_timeout,
    }
    found = journal.find(str(request["process_id"]))
    before = None if found is None else found.epoch
    worker = subprocess.Popen(
        [sys.executable, "-c", _BOOT, *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    with worker.stdin:
        worker.stdin.write(json.dumps(request))
    with worker.stdout:
        try:
            while worker.poll() is None:
                if _is_under_way(journal, str(request["process_id"]), before=before, begun=begun):
                    _take_exit_status(worker)
                    return str(request["process_id"])
                time.sleep(_POLL_SECONDS)
        except BaseException as error:
            worker.terminate()
            _take_exit_status(worker)
            error.add_note(f"The worker of process {request['process_id']!r} was told to end.")
            raise
        report = worker.stdout.read()
    if worker.returncode == 0 or _is_under_way(journal, str(request["process_id"]), before=before, begun=begun):
        return str(request["process_id"])
    raise _reported_error(report, str(request["process_id"]))


def _take_exit_status(worker: subprocess.Popen[str]) -> None:
    """Wait for a worker without holding up the caller: else it stays a zombie for as long as the caller lives."""
    threading.Thread(target=worker.wait, daemon=True).start()


def _is_under_way(journal: Journal, process_id: str, *, before: int | None, begun: float) -> bool:
    """Tell whether the worker has claimed the process, and kept its inputs. It may have failed since."""
    row = journal.find(process_id)
    if row is None or row.epoch == before or row.started_at is None:
        return False
    # An earlier process of that id may be ended first.
    return row.created_at >= begun or row.state in (State.RUNNING, State.PAUSED, State.COMPLETED)


def _reported_error(report: str, process_id: str) -> TableVaultError:
    try:
        name, message, fields = json.loads(report)
    except ValueError:
        return TVProcessError(f"The worker of process {process_id!r} ended without a word.", process_id=process_id)
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, TableVaultError):
        error: TableVaultError = kind(message)
        location = fields.pop("location", None)
        vars(error).update(fields, **({} if location is None else {"location": Location(*location)}))
        return error
    return TVProcessError(f"The worker of process {process_id!r} failed: {name}: {message}", process_id=process_id)


def _report(error: BaseException) -> str:
    """Return an error as JSON, with those of its fields (and its notes) that JSON can hold."""
    fields = {name: value for name, value in vars(error).items() if isinstance(value, str | int | list)}
    location = getattr(error, "location", None)
    if isinstance(location, Location):
        fields["location"] = [location.path, location.line, location.column]
    name, message = type(error).__name__, message_of(error)
    report = json.dumps([name, message, fields], default=str)
    if len(report) > _REPORT_BYTES:
        report = json.dumps([name, f"{message[: _REPORT_BYTES // 12 - 100]} ...", {}])
    return report


def main() -> int:
    """Run the operation that is described on standard input; report an error as JSON on standard output."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    request: dict[str, Any] = json.load(sys.stdin)
    layout = Layout(Path(request["root"]))
    report = _log_to(layout.process(request["process_id"]).output_log)
    runner = Runner(
        Journal(Catalog(layout.catalog), layout, time.time),
        request["author"],
        parent_id=request["parent_id"],
        lock_timeout=request["lock_timeout"],
    )
    operation = rebuild(request["operation"], request["arguments"])
    try:
        with displays.shown(_title(operation)) as observer:
            replace(runner, observer=observer).submit(operation, request["process_id"], is_named=request["is_named"])
    except BaseException as error:
        logging.getLogger("tablevault_like").exception("process %s failed", request["process_id"])
        # Nobody listens any more if the process was running.
        with suppress(BrokenPipeError):
            os.write(report, _report(error).encode())
        _forget_if_never_recorded(runner.journal, request["process_id"])
        return 1
    return 0


def _title(operation: Operation) -> str:
    said = operation.arguments()
    return "/".join(str(said[name]) for name in ("table_name", "version") if name in said) or operation.name


def _forget_if_never_recorded(journal: Journal, process_id: str) -> None:
    """Remove the folder of a process that was refused before it was recorded: the caller was told why."""
    folder = journal.layout.process(process_id)
    lock = WorkerLock(folder.worker_lock)
    if journal.find(process_id) is None and lock.acquire():
        if journal.find(process_id) is None:
            files.remove(folder.output_log)
        Endings(journal).leave(lock, process_id)


def _log_to(path: Path) -> int:
    """Send all output to a file, and return a descriptor of the standard output that was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    report = os.dup(1)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    return report
