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
from functools import partial
from pathlib import Path
from typing import Any

import tablevault_like.operations  # noqa: F401 - registers every operation
from tablevault_like import displays, errors
from tablevault_like.catalog import Catalog, processes
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.errors import Location, TableVaultError, TVProcessError, message_of
from tablevault_like.layout import Layout
from tablevault_like.locks import lock_of
from tablevault_like.model import State, new_process_id
from tablevault_like.process import context
from tablevault_like.process.endings import Endings
from tablevault_like.process.journal import Journal
from tablevault_like.process.operation import Operation, rebuild
from tablevault_like.process.runner import Runner
from tablevault_like.storage import files, reach

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
    journal = runner.journal
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
        "allow_network": journal.catalog.allows_network,
    }
    before = _find(journal, str(request["process_id"]))
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
                if _is_under_way(journal, str(request["process_id"]), before=before):
                    _take_exit_status(worker)
                    return str(request["process_id"])
                time.sleep(_POLL_SECONDS)
        except BaseException as error:
            worker.terminate()
            _take_exit_status(worker)
            error.add_note(f"The worker of process {request['process_id']!r} was told to end.")
            raise
        report = worker.stdout.read()
    if worker.returncode == 0 or _is_under_way(journal, str(request["process_id"]), before=before):
        return str(request["process_id"])
    raise _reported_error(report, str(request["process_id"]))


def _take_exit_status(worker: subprocess.Popen[str]) -> None:
    """Wait for a worker without holding up the caller: else it stays a zombie for as long as the caller lives."""
    threading.Thread(target=worker.wait, daemon=True).start()


def _find(journal: Journal, process_id: str) -> tuple[int, ProcessRow] | None:
    """Return a process, and its number, which no other one of that id has had."""
    with journal.catalog.snapshot() as db:
        number, row = processes.number(db, process_id), processes.find(db, process_id)
    return None if number is None or row is None else (number, row)


def _is_under_way(journal: Journal, process_id: str, *, before: tuple[int, ProcessRow] | None) -> bool:
    """Tell whether the worker has claimed the process, and kept its inputs. It may have failed since."""
    found = _find(journal, process_id)
    if found is None or found[1].started_at is None:
        return False
    number, row = found
    if before is None or number != before[0]:
        return True
    # An earlier process of that id may be ended first.
    return row.epoch != before[1].epoch and row.state in (State.RUNNING, State.PAUSED, State.COMPLETED)


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
    operation = rebuild(request["operation"], request["arguments"])
    runner = Runner(
        Journal(Catalog(layout.catalog, allow_network=request["allow_network"]), layout, time.time),
        request["author"],
        parent_id=request["parent_id"],
        lock_timeout=request["lock_timeout"],
        display=partial(displays.shown, _title(operation)),
    )
    try:
        runner.submit(operation, request["process_id"], is_named=request["is_named"])
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
    lock = lock_of(folder)
    if journal.find(process_id) is None and lock.acquire():
        if journal.find(process_id) is None:
            files.remove(folder.output_log)
        Endings(journal).leave(lock, process_id)


def _log_to(path: Path) -> int:
    """Send all output to a file, and return a descriptor of the standard output that was there before."""
    files.check_no_link(path.parent.parent, path.parent)
    reach.make_folders(path.parent)
    report = os.dup(1)
    log = reach.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    return report
