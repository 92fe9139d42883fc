"""What may have become of a vault: what the catalog says when a worker dies, and what the next makes of that.

::

    the process is            the same id    restart      stop         stop, materialize    a rival
    not recorded, REVERTED    done           unchanged    unchanged    unchanged            its own
    CREATED                   done           unchanged    unchanged    unchanged            its own, if unnamed
    RUNNING, PAUSED           done           done         unchanged    partial              its own, if unnamed
    REVERTING, STOPPING       done           unchanged    unchanged    unchanged            its own
    STOPPING, to be kept      partial        partial      unchanged    partial              its own, after it
    COMPLETED                 done           done         done         done                 its own, after it
    MATERIALIZED              partial        partial      partial      partial              its own, after it
"""

from __future__ import annotations

import copy
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tablevault_like import TableVault
from tablevault_like.layout import Layout
from tablevault_like.model import RowStatus, State, StopIntent
from tests import library, states
from tests.faults import tracing
from tests.faults.tracing import Ending
from tests.faults.trials import Bench, End, Next
from tests.library import WORDS
from tests.workers import CALLS_VARIABLE

NOTHING = Ending(0)
"""A fork that returned nothing."""


@dataclass(frozen=True)
class Caught:
    """What there was of a process when its worker died."""

    state: State | None
    """``None`` if it wasn't recorded."""
    is_kept: bool = False
    """Whether it is being stopped, and what it has done is to be kept."""
    recorded: frozenset[str] = frozenset()
    """The calls of user code of which it has recorded what they returned, as the library's functions note them."""
    others: int = 0
    """How many processes are recorded besides: those of whoever came before."""
    is_named: bool = False
    """Whether somebody means to come back to it: not, if it is a rival's that has died in its turn."""
    operation: str | None = None

    @property
    def wanted(self) -> End:
        """Return what ``restart`` makes of it."""
        match self.state:
            case State.RUNNING | State.PAUSED | State.COMPLETED:
                return End.DONE
            case State.MATERIALIZED:
                return End.PARTIAL
            case State.STOPPING if self.is_kept:
                return End.PARTIAL
        return End.UNCHANGED

    @property
    def is_live(self) -> bool:
        """Tell whether it keeps its locks until somebody settles it who knows its id."""
        return self.state in (State.CREATED, State.RUNNING, State.PAUSED)


def catch(bench: Bench) -> Caught:
    """Look at what a worker has left behind, and leave it as it is: what SQLite has to undo is undone in a copy."""
    seen = bench.vault_dir.with_name(f"{bench.vault_dir.name}.caught")
    shutil.copytree(bench.vault_dir / "metadata", seen, ignore=shutil.ignore_patterns("trash", "staging"))
    try:
        with closing(sqlite3.connect(seen / "catalog.sqlite")) as db:
            found = db.execute(
                "SELECT process_id, state, stop_intent, named, operation FROM processes ORDER BY number"
            ).fetchall()
        new = [row for row in found if row[0] not in bench.known]
        if not new:
            return Caught(None)
        process_id, state, intent, is_named, operation = new[-1]
        recorded = frozenset(_recorded(Layout(bench.vault_dir), seen / "processes" / process_id))
        is_kept = intent == StopIntent.MATERIALIZE
        return Caught(State(state), is_kept, recorded, len(new) - 1, bool(is_named), operation)
    finally:
        shutil.rmtree(seen)


def judge(bench: Bench, caught: Caught, then: Next) -> str | None:
    """Let somebody come, and then whoever puts right what is left. Tell what is wrong then, ``None`` for nothing."""
    calls = _Calls(bench)
    came = bench.come(then)
    called = calls.take()
    settled = bench.settle()
    if not settled.returned:
        return f"restart raised: {settled.error}"
    if then is Next.RIVAL:
        return _judge_rival(bench, caught, came, [*called, *calls.take()])
    if then is Next.SAME and bench.is_named and caught.state is State.COMPLETED and not caught.is_named:
        # A rival that died when it was done has done the same before.
        is_refused = "TableVaultError" in came.raised and "TVLockError" not in came.raised
        told = "; ".join(states.unsound(bench.vault_dir))
        return told or (None if came.returned or is_refused else f"{then} raised: {came.error}")
    if not came.returned:
        return f"{then} raised: {came.error}"
    wanted = _wanted(caught, then)
    if (said := differs(bench, caught, wanted)) is not None and not _is_as_a_rival_left_it(bench, caught):
        return f"{then}, {_told(caught)}: not {wanted}: {said}"
    return _judge_calls(bench, caught, then, called, calls.take())


def contradicts(caught: Caught, ending: Ending, *, may_be_left: bool) -> str | None:
    """Tell how what an operation raised, with its notes, contradicts what the catalog says of its process.

    What ``may_be_left`` for whoever comes next, because it can't be ended now, is live.
    """
    told = [state for state, words in _WORDS.items() if words in ending.message]
    allowed: tuple[State | None, ...]
    match told:
        case [state]:
            allowed = (state,)
        case [] if _STILL_CALLED in ending.message:
            allowed = (State.RUNNING, State.PAUSED if "It is paused" in ending.message else State.REVERTED)
        case [] if _LEFT in ending.message:
            allowed = (None, State.CREATED, State.RUNNING, State.REVERTING)
        case []:
            allowed = (None, State.REVERTED)
    if may_be_left and (_LEFT in ending.message or _UNKNOWN in ending.message):
        allowed = (*allowed, State.COMPLETED)
    if may_be_left and State.COMPLETED not in told:
        allowed = (*allowed, State.CREATED, State.RUNNING, State.REVERTING, State.STOPPING)
    if len(told) > 1 or caught.state not in allowed:
        return f"it is {caught.state}, and this was told: {ending.error}"
    return None


def judge_interrupted(bench: Bench, ending: Ending, *wanted: str, died: int = 0) -> str | None:
    """Tell what is wrong with an operation that was interrupted, and with what the next make of it.

    What it raises is one of the classes that are ``wanted``; or it returned, or was ended by the signal ``died``.
    """
    caught = catch(bench)
    if ending.code >= 0:
        if ending.returned and caught.state is not State.COMPLETED:
            return f"it returned, and is {caught.state}"
        if not ending.returned and not set(wanted) & set(ending.raised):
            return f"it raised {ending.error}"
        if not ending.returned and (said := contradicts(caught, ending, may_be_left=False)) is not None:
            return said
    elif ending.code != died:
        return f"it ended with {ending.code}"
    return judge(bench, caught, Next.SAME if bench.is_named else Next.RESTART)


_WORDS = {State.COMPLETED: "had completed", State.PAUSED: "is paused: call again", State.REVERTED: "was reverted."}
_LEFT = "could not be settled"
_UNKNOWN = "can't be told"
_STILL_CALLED = "are still running, and weren't waited for"


def misjudged(bench: Bench, caught: Caught, ending: Ending) -> str | None:
    """Tell if a process was paused that should have been reverted over an error of the disk, or reversely.

    One that is settled when its functions return is neither yet.
    """
    wanted = {None, State.COMPLETED, State.PAUSED if bench.is_named else State.REVERTED}
    if not caught.recorded:
        wanted.add(State.REVERTED)
    if _STILL_CALLED in ending.message:
        wanted.add(State.RUNNING)
    if caught.state in wanted:
        return None
    return f"it is {caught.state}, with {len(caught.recorded)} calls recorded, and this was told: {ending.error}"


def differs(bench: Bench, caught: Caught, wanted: End) -> str | None:
    """Tell how a vault differs from what it should be, ``None`` if it doesn't."""
    if wanted is End.PARTIAL:
        return "; ".join([*states.unsound(bench.vault_dir), *_partial_differences(bench, caught)]) or None
    end = bench.end()
    return None if end is wanted else str(end)


def _wanted(caught: Caught, then: Next) -> End:
    """Return what somebody makes of it who isn't a rival."""
    wanted = caught.wanted
    has_ended = caught.state in (State.COMPLETED, State.MATERIALIZED)
    match then:
        case Next.SAME if wanted is End.UNCHANGED:
            return End.DONE
        case Next.STOP if not has_ended:
            return End.UNCHANGED
        case Next.MATERIALIZE if not has_ended and wanted is End.DONE:
            return End.PARTIAL
    return wanted


def _judge_rival(bench: Bench, caught: Caught, came: Ending, called: list[str]) -> str | None:
    """Judge a vault to which somebody came who needs the locks, and then whoever restarts what is dead."""
    told = _told(caught)
    if caught.others:
        return None if _is_as_a_rival_left_it(bench, caught) else f"{Next.RIVAL}, {told}: {bench.end()}"
    if caught.is_live and caught.is_named:
        if "TVLockError" not in came.raised:
            return f"{Next.RIVAL}, {told}: got a lock that is held: {came.error or 'returned'}"
        said = differs(bench, caught, caught.wanted)
        return said and f"{Next.RIVAL} was refused, {told}: not {caught.wanted}: {said}"
    if caught.wanted is End.PARTIAL:
        return "; ".join(states.unsound(bench.vault_dir)) or None
    wanted = bench.rivals[caught.state is State.COMPLETED]
    if came.returned != (wanted is not None):
        return f"{Next.RIVAL}, {told}: {came.error or 'returned, and should have been refused'}"
    if wanted is None:
        if "TableVaultError" not in came.raised or "TVLockError" in came.raised:
            return f"{Next.RIVAL}, {told}: {came.error}"
        said = differs(bench, caught, caught.wanted)
    else:
        said = "; ".join([*states.unsound(bench.vault_dir), *bench.differences(wanted)]) or None
    return said and f"{Next.RIVAL}, {told}: {said}"


def _is_as_a_rival_left_it(bench: Bench, caught: Caught) -> bool:
    """Tell whether a rival has died in between, and the vault is one that could come of that."""
    if not caught.others and caught.operation in (None, library.BY_NAME[bench.operation].kind):
        return False
    if bench.end() in (End.UNCHANGED, End.DONE):
        return True
    shapes = [shape for shape in bench.rivals if shape is not None]
    return not states.unsound(bench.vault_dir) and any(not bench.differences(shape) for shape in shapes)


def _judge_calls(bench: Bench, caught: Caught, then: Next, called: list[str], later: list[str]) -> str | None:
    """Tell what is wrong with the calls of user code that were made by whoever came, and by ``restart`` afterwards."""
    if bench.operation != "execute_instance":
        return f"user code was called: {[*called, *later]}" if called or later else None
    if later and then is not Next.SAME:
        called = called + later
    elif later:
        return f"restart called again what {then} had done: {later}"
    if _wanted(caught, then) is not End.DONE or caught.state is State.COMPLETED:
        wanted: set[str] = set()
    elif caught.state in (State.RUNNING, State.PAUSED) and (caught.is_named or then is not Next.SAME):
        wanted = set(library.CALLS) - caught.recorded
    else:
        wanted = set(library.CALLS)
    # A generator that has nothing to give any more is asked for its last value, which is thrown away.
    last = call("words_index", len(WORDS) - 1)
    asked = {last: 1} if caught.state in (State.RUNNING, State.PAUSED) and last in caught.recorded else {}
    if Counter(called) in (Counter(wanted), Counter(wanted) + Counter(asked)):
        return None
    return f"{then}, {_told(caught)}: called {sorted(called)} instead of {sorted(wanted)}"


def _told(caught: Caught) -> str:
    return f"{caught.state or 'not recorded'}, {len(caught.recorded)} calls recorded"


class _Calls:
    """The calls of user code that are made from now on."""

    def __init__(self, bench: Bench) -> None:
        self._path = bench.vault_dir.with_suffix(".calls")
        self._path.write_text("")
        os.environ[CALLS_VARIABLE] = str(self._path)

    def take(self) -> list[str]:
        """Return those that were made since this was asked last."""
        found = self._path.read_text().splitlines()
        self._path.write_text("")
        return found


def call(builder: str, index: int) -> str:
    """Return what the library's function notes when it is called for a row."""
    return f"word {index}" if builder == "words_index" else f"{builder} {WORDS[index]}"


def _recorded(layout: Layout, folder: Path) -> Iterator[str]:
    """Yield the calls of which a process has recorded what they returned."""
    place = layout.process(folder.name)
    if (folder / place.frame("length").relative_to(place.folder)).exists():
        yield "length"
    rows = folder / place.rows.name
    if rows.exists():
        query = "SELECT name, row FROM rows JOIN builders ON builders.id = builder WHERE status = ?"
        with closing(sqlite3.connect(rows)) as db:
            if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'rows'").fetchone():
                yield from (call(*found) for found in db.execute(query, (int(RowStatus.DONE),)))


def _partial_differences(bench: Bench, caught: Caught) -> Iterable[str]:
    """Yield what is wrong with a vault that should have one instance more, which holds all that was recorded."""
    found = states.without_trash(states.state(bench.vault_dir))
    before = copy.deepcopy(states.without_trash(bench.before))
    known = {row["instance_id"] for row in before["rows"]["instances"]}
    new = [row for row in found["rows"]["instances"] if row["instance_id"] not in known]
    if len(new) != 1:
        yield f"{len(new)} instances are new"
        return
    (made,) = new
    if made["success"] or made["status"] != "materialized":
        yield f"it isn't partial: {made}"
    temporary = next(row for row in before["rows"]["instances"] if row["instance_id"] == "TEMP_base")
    numbers = {made["number"], temporary["number"]}
    for row in before["rows"]["instances"]:
        if (row["table_id"], row["version"], row["active"]) == (made["table_id"], made["version"], 1):
            row |= {"active": 0, "deactivated_by": made["process_id"]}
    places = rf"words/({made['instance_id']}|TEMP_base)(/.*)?"
    now, then = [_without_instances(states.without(each, places), numbers) for each in (found, before)]
    now, then = states.without_times(now), states.without_times(then)
    yield from states.differences(now, then)
    cells = tracing.aside(lambda: _cells(bench.vault_dir, made["instance_id"])).value_or_raise()
    recorded = caught.recorded
    if caught.state is State.MATERIALIZED:
        # Some of what it had recorded may have been removed already: then the cells tell of more.
        recorded |= frozenset(_calls_behind(cells))
    yield from states.differences(cells, _expected_cells(recorded))


def _without_instances(found: states.State, numbers: set[int]) -> states.State:
    """Leave out some instances, and the sums of all, which follow from what they have been made to be."""
    rows = {
        kind: [{**row, "sum": None} for row in each if row.get("instance", row.get("number")) not in numbers]
        if kind in ("instances", "columns", "lineage")
        else each
        for kind, each in found["rows"].items()
    }
    return {**found, "rows": rows}


def _cells(vault_dir: Path, instance_id: str) -> dict[str, list[object]]:
    frame = TableVault(vault_dir, "ada").get_dataframe("words", instance_id, full_artifact_path=False)
    return {str(name): [None if pd.isna(cell) else cell for cell in frame[name]] for name in frame}


def _calls_behind(cells: dict[str, list[object]]) -> Iterator[str]:
    """Yield the calls that have made what is in the cells."""
    for index, word in enumerate(cells["word"]):
        yield call("words_index", index)
        yield from (f"{builder} {word}" for builder in ("shout", "page") if cells[builder][index] is not None)
    if any(cell is not None for cell in cells["length"]):
        yield "length"


def _expected_cells(recorded: frozenset[str]) -> dict[str, list[object]]:
    words = [word for index, word in enumerate(WORDS) if call("words_index", index) in recorded]
    return {
        "word": list(words),
        "shout": [word.upper() if f"shout {word}" in recorded else None for word in words],
        "page": [f"{word}.txt" if f"page {word}" in recorded else None for word in words],
        "length": [len(word) if "length" in recorded else None for word in words],
    }
