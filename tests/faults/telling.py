"""What an attempt has told by the moment at which power is lost, and whether the vault keeps to it.

1. When the call had returned, its effect is there. So is that of a stop.
2. A row that was recorded isn't computed again, nor is a frame, when the same process goes on. (A generator all of
   whose rows are recorded, but not that it has ended, is asked for the last of them: it may have got shorter.)
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeAlias

from tablevault_like.model import State
from tablevault_like.process.run import StepReport
from tablevault_like.storage.row_reader import RowRecord
from tablevault_like.storage.rows import DoneRow, RowStore
from tests import states
from tests.faults.trials import ID, Bench, End, Next
from tests.library import WORDS
from tests.workers import CALLS_VARIABLE

RETURNED = "returned"
STOPPED = "stopped"

Tell: TypeAlias = Callable[[Sequence[str]], object]


def attempt(bench: Bench, tell: Tell) -> object:
    """Make the attempt, and tell of every call of user code whose result is recorded, and of the end.

    To be used in a fork of its own: nothing that is changed here is put back.
    """
    record, finish = RowStore.record, StepReport.finish

    def recording_is_told(
        self: RowStore, builder: str, rows: Sequence[RowRecord], *, done: Sequence[DoneRow] = (), **more: Any
    ) -> None:
        record(self, builder, rows, done=done, **more)
        tell([_call(builder, index) for index in (*(row.index for row in rows), *(row[0] for row in done))])

    def finishing_is_told(self: StepReport) -> None:
        finish(self)
        tell([self.name])

    RowStore.record = recording_is_told  # type: ignore[method-assign]
    StepReport.finish = finishing_is_told  # type: ignore[method-assign]
    found = bench.attempt_here()
    tell([RETURNED])
    return found


def judge(bench: Bench, told: Collection[str], then: Next) -> str:
    """Let somebody come after the loss, and return the end of it (one of ``End``), or what is wrong."""
    if RETURNED in told and not _has_completed(bench):
        return "what was acknowledged is lost"
    if STOPPED in told and not _has_ended(bench):
        return "that it was stopped is lost"
    calls = bench.vault_dir.with_suffix(".calls")
    calls.write_text("")
    os.environ[CALLS_VARIABLE] = str(calls)
    try:
        bench.come_here(then)
    except Exception as error:
        if then is not Next.RIVAL:  # who may be refused
            return f"{then}: {type(error).__name__}: {error}"
    try:
        bench.settle_here()
        # That a file can't be written to is a guard against mistakes, and synced with nothing.
        end = bench.end(modes=False)
    except Exception as error:
        return f"after {then}: {type(error).__name__}: {error}"
    again = set(told) & set(calls.read_text().splitlines())
    if "words_index" not in told:
        again.discard(f"word {len(WORDS) - 1}")
    if end is End.UNCHANGED and (RETURNED in told or then is Next.SAME):
        return f"{then}: nothing was done"
    if again and end is End.DONE and then is not Next.RIVAL:
        return f"called again, though they were recorded: {sorted(again)}"
    return str(end)


def _has_completed(bench: Bench) -> bool:
    try:
        found = states.processes(bench.vault_dir)
    except sqlite3.DatabaseError:
        return False
    if bench.is_named:
        return found.get(ID) == State.COMPLETED
    return any(state == State.COMPLETED for name, state in found.items() if name not in bench.known)


def _has_ended(bench: Bench) -> bool:
    try:
        found = states.processes(bench.vault_dir)
    except sqlite3.DatabaseError:
        return False
    return all(State(state).has_ended for state in found.values())


def is_end(said: str) -> bool:
    """Tell whether that is an end that may be."""
    return said in set(End)


def _call(builder: str, index: int) -> str:
    """Return what the library's function notes when it is called for a row."""
    return f"word {index}" if builder == "words_index" else f"{builder} {WORDS[index]}"
