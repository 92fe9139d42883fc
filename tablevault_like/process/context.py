"""Which process the running code belongs to, so that an operation inside user code becomes its child."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from tablevault_like.engines.base import Stop, Work

_MAXIMUM_ID = 128


@dataclass(slots=True)
class Current:
    """The process that the running code belongs to, and the row of it that this thread is in."""

    root: Path
    process_id: str
    stop: Stop
    builder: str | None = None
    row: int | None = None
    children: int = 0

    def enter(self, work: Work) -> None:
        """Tell that this thread begins a row. Its children are counted from here: their ids come out the same again."""
        current = _current.get()
        # The worker's context is a copy that still holds the coordinator's object: give this thread one of its own.
        if current is self or current is None:
            current = Current(self.root, self.process_id, self.stop, self.builder)
            _current.set(current)
        current.builder = self.builder
        current.row = work.index
        current.children = 0

    def next_child_id(self) -> str:
        """Return the id of the next child: the same whenever this row runs again, so that it finds its child done."""
        self.children += 1
        where = f"{self.builder or 'main'}.{'all' if self.row is None else self.row}.{self.children}"
        child_id = f"{self.process_id}.{where}"
        if len(child_id) <= _MAXIMUM_ID:
            return child_id
        digest = hashlib.blake2b(child_id.encode(), digest_size=16).hexdigest()
        return f"{self.process_id[: _MAXIMUM_ID - len(digest) - 1]}.{digest}"


_current: ContextVar[Current | None] = ContextVar("tablevault_like_process", default=None)


def current(root: Path) -> Current | None:
    """Return the process of the vault at ``root`` that the running code belongs to, ``None`` outside of user code."""
    found = _current.get()
    return found if found is not None and found.root == root else None


@contextmanager
def running(process: Current) -> Iterator[Current]:
    """Make ``process`` the current one."""
    token = _current.set(process)
    try:
        yield process
    finally:
        _current.reset(token)
