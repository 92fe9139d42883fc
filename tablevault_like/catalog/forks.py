"""Keep forks out of the moments that a forked child could not cope with.

SQLite keeps in memory which of its connections has which lock on a file, and a forked child inherits that memory. A
transaction that another thread had open is then one that never ends: the child reads without a lock of its own, can't
commit, and while it tries to, nobody else can read.

1. A fork waits until no other thread is within ``held_off``, and no thread enters it before the fork is over.
2. A fork waits no longer than ``PATIENCE``. Whatever a thread was within of at a fork is *torn* in the child, for good.

Only what runs Python code in the child counts as a fork here: ``subprocess`` waits for nobody.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock  # noqa: F401 - so that its hooks are there before ours (see the end)

PATIENCE = 30.0
"""How many seconds a fork waits. Only for a catalog that others keep busy does it take more than milliseconds."""


class _Gate:
    """Threads on one side, forks on the other."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._within: dict[object, tuple[int, Path]] = {}
        self._forks = 0

    def enter(self, key: object, path: Path) -> None:
        me = threading.get_ident()
        with self._changed:
            # Who is within already is waited for, so it can't wait itself.
            while self._forks and not any(thread == me for thread, _ in self._within.values()):
                self._changed.wait()
            self._within[key] = (me, path)

    def leave(self, key: object) -> None:
        with self._changed:
            self._within.pop(key, None)
            if self._forks:
                self._changed.notify_all()

    def leave_all(self, path: Path) -> None:
        me = threading.get_ident()
        for key in [key for key, found in list(self._within.items()) if found == (me, path)]:
            self.leave(key)

    def close(self) -> None:
        me = threading.get_ident()
        with self._changed:
            self._forks += 1
            self._changed.wait_for(lambda: all(thread == me for thread, _ in self._within.values()), PATIENCE)

    def open(self) -> None:
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()

    def paths(self) -> set[Path]:
        return {path for _, path in self._within.values()}


_gate = _Gate()
_torn: frozenset[Path] = frozenset()


@contextmanager
def held_off(path: Path) -> Iterator[None]:
    """Hold off forks in other threads, for milliseconds, while something is done with the SQLite file at ``path``."""
    key = object()
    try:
        _gate.enter(key, path)
        yield
    finally:
        _gate.leave(key)


def recover(path: Path) -> None:
    """Leave what an interrupt has kept this thread from leaving."""
    _gate.leave_all(path)


def is_torn(path: Path) -> bool:
    """Tell whether this worker was forked in the middle of something that was done with the file at ``path``."""
    return path in _torn


def _begin_anew() -> None:
    global _gate, _torn
    _torn |= _gate.paths()
    _gate = _Gate()


if hasattr(os, "register_at_fork"):
    # What is registered last is called first: filelock lets no thread fork, or take a lock, while another one is
    # between its hooks, so nobody may be waited for there.
    os.register_at_fork(before=lambda: _gate.close(), after_in_parent=lambda: _gate.open(), after_in_child=_begin_anew)
