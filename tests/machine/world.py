"""What user code of the machine meets: faults that are armed, and a file in which every call is noted.

User code calls ``enter`` before it does anything for a row, and ``leave`` with what it is to return. The file is shared
with workers that are forked, and outlives them: so what was called is known even of those that were killed.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from tablevault_like.layout import Layout
from tablevault_like.model import Pause
from tablevault_like.process import context
from tablevault_like.process.run import LOCAL_RUNS


class Trouble(Exception):  # noqa: N818 - a word that no message of ours has
    """What user code raises."""


class Fault(Enum):
    """What befalls a call of user code."""

    RAISE = "raises an exception"
    INTERRUPT = "raises KeyboardInterrupt"
    EXIT = "raises SystemExit"
    UNFIT = "returns what can't be kept"
    SIGNAL = "meets Ctrl-C"
    PAUSE = "is asked to pause"
    KILL = "is killed"

    @property
    def raised(self) -> str:
        """The name of the class of the error that the caller gets."""
        return _RAISED[self]


_RAISED = {
    Fault.RAISE: "Trouble",
    Fault.INTERRUPT: "KeyboardInterrupt",
    Fault.EXIT: "SystemExit",
    Fault.UNFIT: "TVTableError",
    Fault.SIGNAL: "KeyboardInterrupt",
    Fault.PAUSE: "TVPausedError",
    Fault.KILL: "",
}


@dataclass
class World:
    """The calls of one vault's user code. ``countdown`` calls from now on, ``fault`` happens."""

    path: Path
    vault_dir: Path
    fault: Fault | None = None
    countdown: int = 0
    struck: tuple[str, str, tuple[int, ...]] | None = None
    """The process, the builder and the rows that the fault has befallen."""
    _read: int = 0

    def arm(self, fault: Fault | None, countdown: int) -> None:
        self.fault, self.countdown, self.struck = fault, countdown, None

    def disarm(self) -> bool:
        """Return whether the fault has happened. Nothing more happens."""
        self.fault = None
        return self.struck is not None

    def strike(self, who: str, rows: tuple[int, ...]) -> str:
        """Note that the fault happens, and return the process that it befalls."""
        process = context.current(Layout(self.vault_dir).root)
        assert process is not None
        self.struck = (process.process_id, who, rows)
        return process.process_id

    def note(self, what: str, who: str, row: int) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(descriptor, f"{what} {who} {row}\n".encode())
        finally:
            os.close(descriptor)

    def calls(self) -> list[tuple[str, str, int]]:
        """Return what was noted since the last time: ``enter`` or ``leave``, the builder, and the row."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as noted:
            noted.seek(self._read)
            lines = noted.read()
        self._read += len(lines)
        return [(what, who, int(row)) for what, who, row in (line.split() for line in lines.decode().splitlines())]


current: World | None = None
"""The world of the vault that is under test."""


def enter(who: str, *rows: int) -> None:
    """Begin the call for a row, or for those of a batch."""
    world = _world()
    for row in rows:
        world.note("enter", who, row)
    if world.fault is None:
        return
    world.countdown -= 1
    if world.countdown != 0 or world.fault is Fault.UNFIT:
        return
    process_id = world.strike(who, rows)
    match world.fault:
        case Fault.RAISE:
            raise Trouble(f"{rows} of {who}")
        case Fault.INTERRUPT:
            raise KeyboardInterrupt
        case Fault.EXIT:
            raise SystemExit(3)
        case Fault.SIGNAL:
            os.kill(os.getpid(), signal.SIGINT)
        case Fault.PAUSE:
            LOCAL_RUNS[process_id].ask_to_pause(Pause("bob asked for it", is_by_caller=False))
        case Fault.KILL:
            os.kill(os.getpid(), signal.SIGKILL)


def leave(who: str, rows: int | list[int], value: Any) -> Any:
    """End the call for a row, or for those of a batch, and return what the function is to return for it."""
    world = _world()
    if world.fault is Fault.UNFIT and world.countdown == 0:
        world.strike(who, tuple([rows] if isinstance(rows, int) else rows))
        world.fault = None
        return object()
    for row in [rows] if isinstance(rows, int) else rows:
        world.note("leave", who, row)
    return value


def _world() -> World:
    assert current is not None, "user code runs, and no machine does"
    return current
