"""Workers for tests: processes of the operating system that can be killed, interrupted and suspended at a chosen point.

They are forked from a server that has imported everything already, so that hundreds of them fit into a run. A *point*
is the moment before or after a call, such as ``before Endings.finish``; the user code of the tests has points of its
own, called ``row 3``. ``GROUND`` is a point before every call that changes a file or the catalog, and after every
commit. What a worker does at a point is a ``Fault``.
"""

from __future__ import annotations

import functools
import importlib
import multiprocessing
import os
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from tablevault_like.catalog import Database
from tablevault_like.errors import TVArgumentError

PATIENCE = 40.0
"""How many seconds anything may take before a test fails."""

CALLS_VARIABLE = "TABLEVAULT_TEST_CALLS"
STRUCK = "struck"
"""What is noted among the calls when a worker meets a signal or an exception."""

GROUND = "ground call"
_GROUND_CALLS = {
    "tablevault_like.storage.files": (
        *("write_file", "sync_file", "sync_directory", "make_directory", "place", "replace", "copy_file", "remove"),
        *("protect", "unprotect_tree", "discard"),
    ),
    "tablevault_like.storage.rows": ("RowStore.create", "RowStore.claim", "RowStore.record", "RowStore.forget"),
    "tablevault_like.storage.tables": ("write_arrow_table",),
    "tablevault_like.locks": ("WorkerLock.acquire", "WorkerLock.release"),
}

_ROOT = Path(__file__).resolve().parent.parent
_CONTEXT = multiprocessing.get_context("forkserver")
_PRELOADED = [
    "pandas.core.arrays.arrow._arrow_utils",
    "pyarrow.pandas_compat",
    "pyarrow.parquet",
    "tablevault_like.builders.template",
    "tablevault_like.operations.execution",
    "tablevault_like.operations.mending",
    "tablevault_like.vault",
    "tests.faults.soaking",
    "tests.hammer",
    "tests.library",
    "tests.tasks",
    "tests.workers",
    "tests.warmed",
]


class Trouble(Exception):  # noqa: N818 - a word that no message of ours has
    """What user code, or the disk, raises in these tests."""


class Action(Enum):
    """What happens to a worker that reaches a point."""

    KILL = "SIGKILL"
    INTERRUPT = "SIGINT"
    TERMINATE = "SIGTERM"
    FAIL = "an exception"
    REFUSE = "an error of the vault's own"
    WAIT = "a wait for the test"
    TELL = "a word to the test"


@dataclass(frozen=True)
class Fault:
    """What a worker does when it reaches a point for the ``nth`` time."""

    point: str
    action: Action
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.action.value} {self.point}"


class Worker:
    """A worker that runs one task. Whatever the test does, it doesn't outlive it (see ``starting``)."""

    def __init__(self, process: Any, connection: Connection) -> None:
        self._process = process
        self._connection = connection

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    def arrive(self) -> str:
        """Wait until the worker is at a point of which it tells, and return the point."""
        kind, point = self._receive()
        if kind == "raised":
            raise point
        assert kind == "arrived", f"the worker {kind} instead of arriving"
        return str(point)

    def go(self) -> None:
        """Let it go on from where it waits."""
        self._connection.send("go")

    def result(self, *, patience: float = PATIENCE) -> Any:
        """Wait for the end of the task and return what it returned, or raise what it raised."""
        try:
            kind, value = self._receive(patience)
        except EOFError:
            kind, value = "raised", Trouble(f"the worker ended without a word: {self.end()}")
        self.end()
        if kind == "raised":
            raise value
        assert kind == "returned", f"the worker {kind} {value} instead of returning"
        return value

    def end(self) -> int:
        """Wait for the end of the worker and return its exit code: negative for a signal."""
        self._process.join(PATIENCE)
        assert self._process.exitcode is not None, "the worker doesn't end"
        return int(self._process.exitcode)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.end()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Keep it from running, as a debugger or a laptop's lid would."""
        self.signal(signal.SIGSTOP)
        process = psutil.Process(self.pid)
        wait_until(lambda: process.status() == psutil.STATUS_STOPPED)
        try:
            yield
        finally:
            if self._process.is_alive():
                self.signal(signal.SIGCONT)

    def dismiss(self) -> None:
        """End it, if it hasn't ended."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join(PATIENCE)
        self._process.close()
        self._connection.close()

    def _receive(self, patience: float = PATIENCE) -> tuple[str, Any]:
        assert self._connection.poll(patience), "the worker says nothing"
        found: tuple[str, Any] = self._connection.recv()
        return found


class Workers:
    """Starts workers, and ends those that a test leaves behind."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._started: list[Worker] = []

    def start(self, task: Callable[..., object], *arguments: object, faults: Sequence[Fault] = ()) -> Worker:
        """Run a function of a test module in a worker of its own."""
        mine, its = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=_work, args=(its, dict(self._environment), faults, task, arguments))
        with mock.patch.dict(os.environ, PYTHONPATH=str(_ROOT), OPENBLAS_NUM_THREADS="1"):
            _CONTEXT.set_forkserver_preload(_PRELOADED)
            process.start()
        its.close()
        worker = Worker(process, mine)
        self._started.append(worker)
        return worker

    def run(self, task: Callable[..., object], *arguments: object, faults: Sequence[Fault] = ()) -> Worker:
        """Run a function in a worker of its own, and wait for the end."""
        worker = self.start(task, *arguments, faults=faults)
        worker.end()
        return worker

    def end(self, worker: Worker) -> None:
        """End a worker, if it hasn't ended, and keep nothing of it."""
        self._started.remove(worker)
        worker.dismiss()

    def dismiss(self) -> None:
        for worker in self._started:
            worker.dismiss()
        self._started.clear()


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for something that can't tell of itself, for a limited time."""
    for _ in range(int(PATIENCE / 0.005)):
        if is_so():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it never became so")


def note_call(text: str) -> None:
    """Note a call of user code in the file of calls. It stays noted if the worker is killed in the next moment."""
    descriptor = os.open(os.environ[CALLS_VARIABLE], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(descriptor, f"{text}\n".encode())
    finally:
        os.close(descriptor)


def die_at_ground_call(nth: int) -> None:
    """Let this very interpreter be killed at its ``nth`` ground call: for one that was forked to die."""
    _rehearse(None, [Fault(GROUND, Action.KILL, nth)])


def pass_point(point: str) -> None:
    """Tell that this worker is at a point. Nothing happens where no fault is rehearsed."""
    if _rehearsal is not None:
        _rehearsal.reach(point)


class _Rehearsal:
    """What is to happen in this worker, and where."""

    def __init__(self, connection: Connection | None, faults: Sequence[Fault]) -> None:
        self._connection = connection
        self._faults = {fault.point: fault for fault in faults}
        self._times = Counter[str]()

    def reach(self, point: str) -> None:
        fault = self._faults.get(point)
        if fault is not None:
            self._times[point] += 1
            if self._times[point] == fault.nth:
                self._act(fault)

    def _act(self, fault: Fault) -> None:
        match fault.action:
            case Action.KILL:
                os.kill(os.getpid(), signal.SIGKILL)
                threading.Event().wait()
            case Action.INTERRUPT:
                note_call(STRUCK)
                os.kill(os.getpid(), signal.SIGINT)
            case Action.TERMINATE:
                note_call(STRUCK)
                os.kill(os.getpid(), signal.SIGTERM)
            case Action.FAIL:
                note_call(STRUCK)
                raise Trouble("the disk is on fire")
            case Action.REFUSE:
                raise TVArgumentError("no such thing")
            case Action.WAIT:
                assert self._connection is not None
                self._connection.send(("arrived", fault.point))
                self._connection.recv()
            case Action.TELL:
                assert self._connection is not None
                self._connection.send(("arrived", fault.point))

    def install(self) -> None:
        """Make the points of the faults be passed that are those of calls: ``before module:Class.method``."""
        for point in self._faults:
            if point == GROUND:
                for module, names in _GROUND_CALLS.items():
                    for name in names:
                        _watch(module, name, before=point)
                _watch_commits(point)
            elif ":" in point:
                when, _, where = point.partition(" ")
                module, _, name = where.partition(":")
                _watch(module, name, **{when: point})


def _watch(module: str, path: str, *, before: str | None = None, after: str | None = None) -> None:
    """Make every call of a function or method pass a point."""
    *parents, name = path.split(".")
    owner = functools.reduce(getattr, parents, importlib.import_module(module))
    original = getattr(owner, name)

    @functools.wraps(original)
    def passing(*arguments: Any, **fields: Any) -> Any:
        if before is not None:
            pass_point(before)
        result = original(*arguments, **fields)
        if after is not None:
            pass_point(after)
        return result

    setattr(owner, name, passing)


def _watch_commits(point: str) -> None:
    """Make every commit of the catalog pass a point twice: before it, and when it is durable."""

    def execute(self: Database, sql: str, *parameters: Any) -> Any:
        if sql == "COMMIT":
            pass_point(point)
        result = sqlite3.Connection.execute(self, sql, *parameters)
        if sql == "COMMIT":
            pass_point(point)
        return result

    Database.execute = execute  # type: ignore[assignment, method-assign]


_rehearsal: _Rehearsal | None = None


def _rehearse(connection: Connection | None, faults: Sequence[Fault]) -> None:
    global _rehearsal
    _rehearsal = _Rehearsal(connection, faults)
    _rehearsal.install()


def _work(
    connection: Connection,
    environment: Mapping[str, str],
    faults: Sequence[Fault],
    task: Callable[..., object],
    arguments: tuple[object, ...],
) -> None:
    os.environ.update(environment)
    # Whoever runs the tests may ignore these signals; a worker of ours is what a user starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _rehearse(connection, faults)
    try:
        result = task(*arguments)
    except BaseException as error:
        connection.send(("raised", error))
        if isinstance(error, SystemExit):
            raise
        raise SystemExit(128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1) from None
    connection.send(("returned", result))
