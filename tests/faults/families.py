"""User code that starts children in every way there is, and what becomes of them and of the worker that it runs in.

A child tells its pid, and waits; so does the worker, in its user code. So a test says who dies, and when. To be used in
a worker that forks (``tests.faults.tracing``).
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from tablevault_like import State, TableVault
from tablevault_like.layout import Layout
from tablevault_like.locks import is_held
from tests import states
from tests.faults import tracing
from tests.tables import begin, column, index

ID, CHILD = "nightly", "child"
_BE_SUBREAPER = 36
_BORN, _GO, _STAY = "born", "go", "stay"
_OVER = "is over"

_VARIABLE = "TABLEVAULT_TEST_FAMILY"
"""Says to user code how to start a child, parted by a colon from the folder in which they meet."""

CODE = """
from tests.faults import families


def rows():
    yield from range(3)


def beget(number):
    if number == 1:
        families.beget()
    return number * number
"""


class Kind(StrEnum):
    """How a child is started."""

    FORK = "os.fork"
    MULTIPROCESSING_FORK = "multiprocessing, forked"
    SPAWN = "multiprocessing, spawned"
    FORKSERVER = "multiprocessing, by a fork server"
    SUBPROCESS = "subprocess, with inherited descriptors"
    POSIX_SPAWN = "os.posix_spawn"
    OPERATION = "an operation below the parent, in a worker of its own"
    BACKGROUND = "an execution in the background"


class Death(StrEnum):
    """Who is killed, while both of them live."""

    PARENT = "the parent"
    CHILD = "the child"
    BOTH = "both"
    NEITHER = "nobody: the parent ends first"


class Next(StrEnum):
    """Who comes after that."""

    SAME = "the same call"
    RESTART = "restart"
    STOP = "stop"
    RIVAL = "another process that needs the locks"


def make(vault_dir: Path) -> None:
    """Make the vault in which a table waits to be executed."""
    vault = TableVault(vault_dir, "ada", create=True)
    vault.create_code_module("work", text=CODE)
    square = column("square", function="beget", arguments={"number": "<<self.n[index]>>"})
    for table in ("things", "more"):
        begin(vault, table, {"index": index("n"), "square": square})


def beget() -> None:
    """Start a child, and wait until the test lets this go on: what the user code does, if the test isn't over."""
    kind, _, name = os.environ[_VARIABLE].partition(":")
    folder = Path(name)
    if (folder / _OVER).exists():
        return
    if kind == CHILD:
        linger(folder, is_inherited=False)
        return
    match Kind(kind):
        case Kind.FORK:
            if os.fork() == 0:
                linger(folder, is_inherited=True)
                os._exit(0)
        case Kind.MULTIPROCESSING_FORK | Kind.SPAWN | Kind.FORKSERVER:
            method = {Kind.SPAWN: "spawn", Kind.FORKSERVER: "forkserver"}.get(Kind(kind), "fork")
            arguments = (folder, method == "fork")
            context: Any = multiprocessing.get_context(method)
            context.Process(target=linger, args=arguments).start()
        case Kind.SUBPROCESS:
            subprocess.Popen(_shell(folder), close_fds=False)
        case Kind.POSIX_SPAWN:
            os.posix_spawn("/bin/sh", _shell(folder), os.environ)
        case Kind.OPERATION | Kind.BACKGROUND:
            with (folder / _BORN).open("w") as born:
                born.write(f"{os.getpid()}\n")
    _wait(folder / _STAY)


def _shell(folder: Path) -> list[str]:
    return ["sh", "-c", f"cd '{folder}'; echo $$ > {_BORN}; read x < {_GO}"]


def linger(folder: Path, is_inherited: bool) -> None:
    """Tell one's pid, wait, and then change the vault, if this is part of the process that it was forked from."""
    with (folder / _BORN).open("w") as born:
        born.write(f"{os.getpid()}\n")
    _wait(folder / _GO)
    if is_inherited:
        try:
            TableVault(folder / "vault", "eve").create_code_module("late", text="A = 1\n")
        except Exception as error:
            told = type(error).__name__
        else:
            told = "done"
        (folder / "told").write_text(told)


def _wait(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        file.read(1)


@dataclass
class Family:
    """One case. ``made_dir`` holds the vault that is copied into ``folder``."""

    made_dir: Path
    folder: Path
    kind: Kind
    death: Death
    then: Next
    _gates: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind}; dies: {self.death}; then: {self.then}"

    @property
    def vault_dir(self) -> Path:
        return self.folder / "vault"

    def wrong(self) -> str | None:
        """Let it happen, and tell what is wrong then."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        shutil.copytree(self.made_dir, self.vault_dir)
        with ExitStack() as cleanup:
            cleanup.enter_context(_orphans_reaped())
            self._gates = {name: cleanup.enter_context(_gate(self.folder / name)) for name in (_BORN, _GO, _STAY)}
            return self._happen()

    def _happen(self) -> str | None:
        background = self.kind is Kind.BACKGROUND
        parent = _forked(partial(self._execute, "things", ID, background=background))
        child = self._told()
        if background:
            # The child is the worker of the process; the parent is who asked for it.
            _reap(parent)
            return self._happen_in_background(child)
        if self.kind is Kind.OPERATION:
            child = _forked(partial(self._execute, "more", CHILD, parent_id=ID))
            assert self._told() == child
        dead = {Death.PARENT: [parent], Death.CHILD: [child], Death.BOTH: [parent, child]}.get(self.death, [])
        for pid in dead:
            os.kill(pid, signal.SIGKILL)
        if parent in dead:
            _reap(parent)
            (self.folder / _OVER).touch()
            return self._recovered(child, is_alive=child not in dead)
        self._let(_STAY)
        (self.folder / _OVER).touch()
        if _reap(parent) != 0:
            return "the parent failed"
        return self._over(child, is_alive=child not in dead)

    def _recovered(self, child: int, *, is_alive: bool) -> str | None:
        if is_held(self._lock):
            return "its lock outlived the worker"
        if self.kind is Kind.OPERATION and is_alive:
            came = tracing.aside(self._come)
            if came.returned and self.then in (Next.SAME, Next.STOP):
                return f"{self.then} went on although a child lives"
            self._let(_GO)
            _wait_for_end(child)
        came = tracing.aside(self._come)
        if not came.returned and not (self.then is Next.RIVAL and "TVLockError" in came.raised):
            return f"{self.then} raised: {came.error}"
        return self._over(child, is_alive=is_alive)

    def _over(self, child: int, *, is_alive: bool) -> str | None:
        """Let the child do what it wants to, when the parent is over, and look at the vault."""
        if self.kind is Kind.OPERATION and is_alive:
            self._let(_GO)
            _wait_for_end(child)
        then = states.state(self.vault_dir)
        if is_alive and self.kind is not Kind.OPERATION:
            self._let(_GO)
            _wait_for_end(child)
            told = self._child_told()
            # Where nobody has put an end to it, it is still part of the process: what it does is recorded as such.
            if told == "done" and states.processes(self.vault_dir)[ID] == State.RUNNING:
                return self._settled()
            if told not in (None, "TVProcessError"):
                return f"the child was told: {told}"
            if written := states.differences(states.state(self.vault_dir), then):
                return f"the child wrote: {written[:3]}"
        return self._settled()

    def _child_told(self) -> str | None:
        told = self.folder / "told"
        return told.read_text() if told.exists() else None

    def _settled(self) -> str | None:
        settled = tracing.aside(self._settle)
        if not settled.returned:
            return f"restart raised: {settled.error}"
        if unsound := states.unsound(self.vault_dir):
            return "; ".join(unsound)
        state = states.processes(self.vault_dir)[ID]
        worker = Death.CHILD if self.kind is Kind.BACKGROUND else Death.PARENT
        is_stopped = self.then is Next.STOP and self.death in (worker, Death.BOTH)
        if state != (State.REVERTED if is_stopped else State.COMPLETED):
            return f"{ID} is {state}"
        return None

    def _happen_in_background(self, worker: int) -> str | None:
        """Kill the worker, or don't: whoever asked for it is gone in any case."""
        if self.death in (Death.CHILD, Death.BOTH):
            os.kill(worker, signal.SIGKILL)
            _wait_for_end(worker)
            (self.folder / _OVER).touch()
            return self._recovered(worker, is_alive=False)
        self._let(_STAY)
        _wait_for_end(worker)
        if is_held(self._lock):
            return "its lock outlived the worker"
        return self._over(worker, is_alive=False)

    @property
    def _lock(self) -> Path:
        return Layout(self.vault_dir).process(ID).worker_lock

    def _execute(self, table: str, process_id: str, *, parent_id: str | None = None, background: bool = False) -> None:
        os.environ[_VARIABLE] = f"{CHILD if table == 'more' else self.kind}:{self.folder}"
        vault = TableVault(self.vault_dir, "bob", parent_id=parent_id, lock_timeout=5.0)
        vault.execute_instance(table, process_id=process_id, background=background)

    def _come(self) -> None:
        match self.then:
            case Next.SAME:
                self._execute("things", ID)
            case Next.RESTART:
                self._settle()
            case Next.STOP:
                TableVault(self.vault_dir, "ada").stop_process(ID)
            case Next.RIVAL:
                TableVault(self.vault_dir, "ada", lock_timeout=0.1).delete_instance("TEMP_base", "things")

    def _settle(self) -> None:
        os.environ[_VARIABLE] = f":{self.folder}"
        TableVault(self.vault_dir, "ada", restart=True)

    def _told(self) -> int:
        return int(os.read(self._gates[_BORN], 20))

    def _let(self, who: str) -> None:
        os.write(self._gates[who], b"\n")


def _forked(function: partial[None]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            function()
            code = 0
        finally:
            os._exit(code)
    return pid


def _reap(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _wait_for_end(pid: int) -> None:
    """Wait for somebody who may be another one's child."""
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        select.select([descriptor], [], [])
        os.close(descriptor)


@contextmanager
def _gate(path: Path) -> Iterator[int]:
    os.mkfifo(path)
    # For both: so opening it waits for nobody, and what is written stays until it is read.
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _orphans_reaped() -> Iterator[None]:
    """Be who inherits the children of those that end, and let none of them outlive this."""
    ctypes.CDLL(None).prctl(_BE_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        while found := psutil.Process().children(recursive=True):
            for each in found:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            with suppress(ChildProcessError):
                os.waitpid(-1, 0)
