"""Which process the running code belongs to, so that an operation inside user code becomes its child.

Children that aren't given an id get one that comes out the same when their row runs again: it tells the row, and their
number among its children. A fork of user code counts for itself, after its own number among the forks of its row, so
parent and fork never mean different children by one id.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path

from tablevault_like.engines.base import Stop, Work
from tablevault_like.errors import TVProcessError

_MAXIMUM_ID = 128


@dataclass(slots=True)
class Current:
    """The process that the running code belongs to, and the row of it that this thread is in."""

    root: Path
    process_id: str
    stop: Stop
    builder: str | None = None
    row: int | None = None
    forks: tuple[int, ...] = ()
    """Where this worker was forked off the row: the number of the fork, and of the fork's fork, and so on."""
    children: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    """The numbers of the children that are to come. Threads that share this object get different ones."""
    fork_numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    checkpoint: Callable[[], None] | None = None
    """Waits until what the builder's function has given is committed. Only in a thread that runs such a function."""
    is_sample: bool = False
    """Whether it is no process at all, but rows that are made to be looked at: then nothing may be changed."""

    def enter(self, work: Work) -> None:
        """Tell that this thread begins a row. Its children are counted from here: their ids come out the same again."""
        current = _current.get()
        # The worker's context is a copy that still holds the coordinator's object: give this thread one of its own.
        if current is self or current is None:
            current = Current(self.root, self.process_id, self.stop, self.builder, is_sample=self.is_sample)
            _current.set(current)
        current.checkpoint = self.checkpoint
        current.builder = self.builder
        current.row = work.index
        current.children = itertools.count(1)
        current.fork_numbers = itertools.count(1)

    def next_child_id(self) -> str:
        """Return the id of the next child: the same whenever this row runs again, so that it finds its child done."""
        row = "all" if self.row is None else str(self.row)
        forks = [f"f{number}" for number in self.forks]
        child_id = ".".join([self.process_id, self.builder or "main", row, *forks, str(next(self.children))])
        if len(child_id) <= _MAXIMUM_ID:
            return child_id
        digest = hashlib.blake2b(child_id.encode(), digest_size=16).hexdigest()
        return f"{self.process_id[: _MAXIMUM_ID - len(digest) - 1]}.{digest}"


_current: ContextVar[Current | None] = ContextVar("tablevault_like_process", default=None)


def current(root: Path) -> Current | None:
    """Return the process of the vault at ``root`` that the running code belongs to, ``None`` outside of user code."""
    found = _current.get()
    return found if found is not None and found.root == root else None


def stop_above() -> Stop | None:
    """Return the stop of the process that the running code belongs to, in whatever vault; ``None`` outside of one."""
    found = _current.get()
    return None if found is None else found.stop


_protected: set[Path] = set()
"""Vaults in which this interpreter changes nothing."""


def protect(root: Path) -> None:
    """Let this interpreter, and its forks, change nothing in the vault at ``root`` from now on."""
    _protected.add(root)


def is_protected(root: Path) -> bool:
    """Tell whether this interpreter is to change nothing in the vault at ``root``."""
    return root in _protected


def checkpoint() -> None:
    """Wait until everything that the running builder's function has given so far is recorded, and safe on the disk.

    For user code, before something that may end its process. A generator has given what it has yielded; a function that
    is called for rows or batches has given all whose calls have returned, in other threads too. In code that no builder
    runs it does nothing, so that functions can be tried by themselves; the same is true of threads that a function
    starts. Raises TVProcessError if the run is being given up, or in a fork of the worker, which can't know.

    >>> checkpoint()
    """
    found = _current.get()
    if found is not None and found.checkpoint is not None:
        found.checkpoint()


@contextmanager
def running(process: Current) -> Iterator[Current]:
    """Make ``process`` the current one."""
    token = _current.set(process)
    try:
        yield process
    finally:
        _current.reset(token)


_forking = threading.local()
"""The number of the fork that a thread is about to make."""


def _begin_fork() -> None:
    found = _current.get()
    if found is not None:
        _forking.number = next(found.fork_numbers)


def _enter_fork() -> None:
    found = _current.get()
    if found is not None:
        forks = (*found.forks, _forking.number)
        made = replace(found, forks=forks, children=itertools.count(1), fork_numbers=itertools.count(1))
        made.checkpoint = None if found.checkpoint is None else _refuse_in_fork
        _current.set(made)


def _refuse_in_fork() -> None:
    raise TVProcessError(
        "checkpoint() was called in a fork of the worker, which can't know what is recorded. Call it before the fork."
    )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_begin_fork, after_in_child=_enter_fork)
