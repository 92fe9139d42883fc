"""Interfere with a function at its nth system call that changes a file below a folder."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from tests.faults import calls, ptrace, tracing
from tests.faults.calls import Call
from tests.faults.tracing import Ending


@dataclass(frozen=True)
class Kill:
    """SIGKILL, before the call is made."""


@dataclass(frozen=True)
class Fail:
    """The call isn't made, and fails with an errno: once, or all calls from then on."""

    errno: int
    lasts: bool = False
    spares: tuple[str, ...] = calls.CANNOT_FAIL
    """Names of calls that don't fail, and don't count."""


@dataclass(frozen=True)
class Signal:
    """A signal arrives, and then the call is made."""

    number: int


@dataclass(frozen=True)
class Act:
    """The test does something of its own while the fork stands still; then the fork is killed, or goes on."""

    action: Callable[[], object]
    kills: bool = True


Deed: TypeAlias = Kill | Fail | Signal | Act


@dataclass(frozen=True)
class Outcome:
    """What became of a function that was interfered with."""

    ending: Ending
    calls: list[Call]
    """The calls that counted, up to the one at which the deed was done."""
    struck: bool
    """Whether it got to that call."""
    later: list[Call] = field(default_factory=list)
    """The calls that followed that one."""

    @property
    def returned(self) -> bool:
        return self.ending.returned


def run(function: Callable[[], object], root: Path, *, at: int | None = None, deed: Deed | None = None) -> Outcome:
    """Run ``function`` in a fork; at its ``at``-th call on a file below ``root`` do ``deed``."""
    tracer = _Injector(root, at, deed)
    ending = tracing.follow(function, tracer.meet)
    return Outcome(ending, tracer.calls, tracer.struck, tracer.later)


class _Injector:
    """Counts the calls, and does the deed at one of them."""

    def __init__(self, root: Path, at: int | None, deed: Deed | None) -> None:
        self.calls: list[Call] = []
        self.struck = False
        self.later: list[Call] = []
        self._root = root
        self._at = at
        self._deed = deed

    def meet(self, pid: int, thread: int) -> None:
        try:
            registers = ptrace.registers(thread)
            call = calls.decoded(thread, registers, self._root)
        except (ProcessLookupError, FileNotFoundError):
            return  # it was killed in the meantime
        if call is not None and self.struck:
            self.later.append(call)
        if call is None or not self._counts(call):
            ptrace.proceed(thread)
            return
        if not self.struck:
            self.calls.append(call)
            self.struck = len(self.calls) == self._at
            if not self.struck:
                ptrace.proceed(thread)
                return
        match self._deed:
            case Kill():
                os.kill(pid, signal.SIGKILL)
            case Act(action, kills):
                action()
                if kills:
                    os.kill(pid, signal.SIGKILL)
                else:
                    ptrace.proceed(thread)
            case Fail(number):
                registers.refuse(number)
                ptrace.set_registers(thread, registers)
                ptrace.proceed(thread)
            case Signal(number):
                os.kill(pid, number)
                ptrace.proceed(thread)
            case None:
                ptrace.proceed(thread)

    def _counts(self, call: Call) -> bool:
        """Tell whether the deed may be done at a call, or goes on being done."""
        if isinstance(self._deed, Fail):
            return call.name not in self._deed.spares and (self._deed.lasts or not self.struck)
        return not self.struck
