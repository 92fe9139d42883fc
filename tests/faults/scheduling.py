"""Several workers at once, one system call at a time: who goes on is drawn from a seed, and so is who is killed.

A worker stops before each call that changes a file below a folder, before it asks for a lock of such a file, and
before it sleeps. As soon as it can't go on by itself, the next one is drawn. So one seed is one schedule, as long as
nothing in the workers rests on a clock: theirs is the schedule's own (``Clock``), which goes on a bit with every call,
and nobody really sleeps. A worker whose threads all wait, for one another or for a child, isn't drawn until one of them
comes to a call.

To be used in a worker that forks (``tests.faults.tracing``).
"""

from __future__ import annotations

import os
import random
import signal
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

from tablevault_like.process import run as process_run
from tests.faults import calls, ptrace, tracing
from tests.faults.clock import Clock
from tests.faults.ptrace import Event, Registers
from tests.faults.tracing import Ending, Fork

NANOSLEEP, CLOCK_NANOSLEEP = 35, 230
PATIENCE = 10.0
"""How many seconds nobody may come to a call before that counts as a deadlock."""
MOST_STEPS = 60_000

_CALL_SECONDS = 0.0005
_ABSOLUTE = 1
_DAYS = 86_400.0
JUMPS = tuple(sign * seconds for seconds in (1.5, 90.0, _DAYS, 400 * _DAYS, 40 * 365 * _DAYS) for sign in (1, -1))
"""Seconds by which the wall clock is set forward or back."""

Who: TypeAlias = int


@dataclass(frozen=True)
class Step:
    """Who went on, and with which call; or what befell them before it."""

    who: Who
    what: str


@dataclass(frozen=True)
class Schedule:
    """What became of workers that ran by turns."""

    endings: tuple[Ending | None, ...]
    """What became of each; ``None`` if it didn't end."""
    steps: tuple[Step, ...]

    @property
    def is_over(self) -> bool:
        """Tell whether all of them have ended."""
        return None not in self.endings

    def __str__(self) -> str:
        """Return who did how many calls in a row, and the last of them."""
        rows = [list(row) for _, row in groupby(self.steps, key=lambda step: step.who)]
        return "; ".join(f"{row[0].who}: {len(row)}, to {row[-1].what}" for row in rows)


@dataclass
class _Thread:
    """A thread of a worker, or of a child of it."""

    number: int
    who: Who
    call: str | None = None
    """The call before which it stands still."""
    wakes: float = 0.0
    """When it is to go on, if it sleeps."""
    sleeps: Registers | None = None


@dataclass
class Scheduler:
    """Runs workers by turns. ``kills`` of them are killed, and the clock jumps ``jumps`` times, at drawn moments."""

    root: Path
    seed: int
    kills: int = 0
    jumps: int = 0
    within: int = 600
    """The kills and jumps are among so many first steps."""
    clock: Clock = field(default_factory=Clock)
    _threads: dict[int, _Thread] = field(default_factory=dict)
    _forks: list[Fork] = field(default_factory=list)
    _codes: dict[Who, int] = field(default_factory=dict)
    _steps: list[Step] = field(default_factory=list)
    _count: int = 0

    def run(self, functions: Sequence[Callable[[], object]]) -> Schedule:
        """Run each function in a fork of its own, until all have ended or nobody can go on."""
        dice = random.Random(self.seed)
        constancy = dice.choice([0.0, 0.5, 0.9, 0.97, 0.995])
        deeds: dict[int, Callable[[random.Random, Who], bool]] = {}
        deeds |= {dice.randrange(1, self.within): self._kill for _ in range(self.kills)}
        deeds |= {dice.randrange(1, self.within): self._jump for _ in range(self.jumps)}
        try:
            for who, function in enumerate(functions):
                self._begin(who, function)
            who = -1
            while len(self._steps) < MOST_STEPS and (able := self._able()):
                if who not in able or dice.random() >= constancy:
                    who = dice.choice(sorted(able))
                thread = dice.choice(able[who])
                deed = deeds.get(len(self._steps) + 1)
                if deed is None or not deed(dice, who):
                    self._proceed(thread)
                self._settle(who)
        finally:
            endings = self._end()
        return Schedule(endings, tuple(self._steps))

    def _begin(self, who: Who, function: Callable[[], object]) -> None:
        reading, writing = os.pipe()

        def begin() -> None:
            os.close(writing)
            os.read(reading, 1)
            source = random.Random(f"{self.seed}/{who}")
            random.seed(source.random())
            os.urandom = source.randbytes
            self.clock.rule()
            process_run._REPORT_SECONDS = 1e6  # what is for showing only
            ptrace.stop_before((*calls.NUMBERS, NANOSLEEP, CLOCK_NANOSLEEP))

        fork = Fork.begin(function, begin)
        self._forks.append(fork)
        os.close(reading)
        ptrace.seize(fork.pid)
        self._threads[fork.pid] = self._new(who)
        os.write(writing, b"x")
        os.close(writing)
        self._settle(who)

    def _new(self, who: Who) -> _Thread:
        self._count += 1
        return _Thread(self._count, who)

    def _able(self) -> dict[Who, list[int]]:
        """Return which threads of whom may go on now. Waits, and lets time go by, until there are some."""
        until = time.monotonic() + PATIENCE
        while len(self._codes) < len(self._forks):
            standing = {tid: each for tid, each in self._threads.items() if each.call is not None}
            if standing:
                self.clock.now = max(self.clock.now, min(each.wakes for each in standing.values()))
                able: dict[Who, list[int]] = {}
                for tid, each in sorted(standing.items(), key=lambda item: item[1].number):
                    if each.wakes <= self.clock.now:
                        able.setdefault(each.who, []).append(tid)
                return able
            if not self._meet(os.WNOHANG):
                if time.monotonic() > until:
                    return {}
                time.sleep(0.0005)
        return {}

    def _proceed(self, tid: int) -> None:
        thread = self._threads[tid]
        assert thread.call is not None
        self._steps.append(Step(thread.who, thread.call))
        self.clock.now += _CALL_SECONDS
        if thread.sleeps is not None:
            thread.sleeps.refuse(0)
            with suppress(ProcessLookupError):
                ptrace.set_registers(tid, thread.sleeps)
        thread.call, thread.sleeps, thread.wakes = None, None, 0.0
        ptrace.proceed(tid)

    def _kill(self, _: random.Random, who: Who) -> bool:
        self._steps.append(Step(who, "SIGKILL"))
        os.kill(self._forks[who].pid, signal.SIGKILL)
        for thread in self._threads.values():
            if thread.who == who:
                thread.call = None
        while who not in self._codes:
            self._meet(0)
        return True

    def _jump(self, dice: random.Random, who: Who) -> bool:
        seconds = dice.choice(JUMPS)
        self._steps.append(Step(who, f"the clock jumps by {seconds:g} s"))
        self.clock.jump(seconds)
        return False

    def _settle(self, who: Who) -> None:
        """Wait until a worker can't go on by itself: its threads stand before calls, or wait for one another."""
        while who not in self._codes:
            if not self._meet(os.WNOHANG):
                if self._waits(who):
                    return
                os.sched_yield()

    def _waits(self, who: Who) -> bool:
        """Tell whether no thread of a worker runs, or is about to be met."""
        pid = self._forks[who].pid
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                tid = int(task.name)
                thread = self._threads.get(tid)
                if thread is not None and thread.call is not None:
                    continue
                if (task / "stat").read_text().rpartition(")")[2].split()[0] != "S":
                    return False
        except (FileNotFoundError, ProcessLookupError):
            return False
        return True

    def _meet(self, flags: int) -> bool:
        """Meet one thread that has stopped or ended, if there is one."""
        try:
            tid, status = os.waitpid(-1, ptrace.WAIT_FOR_ALL | flags)
        except ChildProcessError:
            return False
        if tid == 0:
            return False
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            thread = self._threads.pop(tid, None)
            if thread is not None and self._forks[thread.who].pid == tid:
                self._codes[thread.who] = os.waitstatus_to_exitcode(status)
            return True
        if tid not in self._threads:
            self._threads[tid] = self._new(self._owner(tid))
        if status >> 16 == Event.SYSTEM_CALL:
            self._stop(tid)
        else:
            tracing.pass_on(tid, status)
        return True

    def _stop(self, tid: int) -> None:
        """Note before which call a thread stands, or let it go on if that is none of ours."""
        thread = self._threads[tid]
        try:
            registers = ptrace.registers(tid)
            if registers.number in (NANOSLEEP, CLOCK_NANOSLEEP):
                seconds = _seconds(tid, registers)
                thread.sleeps, thread.wakes = registers, self.clock.now + seconds
                thread.call = f"sleep {seconds:.4f}"
                return
            call = calls.decoded(tid, registers, self.root)
        except (ProcessLookupError, FileNotFoundError):
            return  # it was killed in the meantime
        if call is None:
            ptrace.proceed(tid)
        else:
            thread.call = str(call)

    def _owner(self, tid: int) -> Who:
        """Return whose thread, or child, a thread is that nobody has met before."""
        pids = {fork.pid: who for who, fork in enumerate(self._forks)}
        while tid not in pids:
            with suppress(FileNotFoundError, ProcessLookupError):
                lines = Path(f"/proc/{tid}/status").read_text().splitlines()
                told = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
                tid = int(told["Tgid"] if int(told["Tgid"]) != tid else told["PPid"])
                continue
            return 0
        return pids[tid]

    def _end(self) -> tuple[Ending | None, ...]:
        endings: list[Ending | None] = []
        for who, fork in enumerate(self._forks):
            if who not in self._codes:
                with suppress(ProcessLookupError):
                    os.kill(fork.pid, signal.SIGKILL)
                while who not in self._codes and self._meet(0):
                    pass
                endings.append(None)
            else:
                endings.append(fork.ending(self._codes[who]))
            fork.forget()
        self.clock.close()
        return tuple(endings)


def _seconds(tid: int, registers: Registers) -> float:
    """Return how long a thread means to sleep."""
    place = registers.arguments[2 if registers.number == CLOCK_NANOSLEEP else 0]
    whole, part = struct.unpack("ll", ptrace.bytes_at(tid, place, 16))
    seconds = whole + part / 1e9
    if registers.number == CLOCK_NANOSLEEP and registers.arguments[1] & _ABSOLUTE:
        seconds -= time.clock_gettime(time.CLOCK_MONOTONIC)
    return float(max(0.0, seconds))
