"""Rehearse failures of an execution: run it undisturbed, kill it again and again, and judge what comes of it.

::

    undisturbed   ------------------------------------------>  complete          twice
    trial 1       -------X  resumed -----X  resumed -------->  complete, judged
    trial 2       ------------------------------------X  --->  complete, judged
    ...           until as many workers were killed as was asked for

1. Everything happens in a copy, in workers of its own. What is being rehearsed can't change the vault.
2. Every run has the same process id, path, arguments and inputs: what differs comes from the kills, or from functions
   that are never twice the same, which two undisturbed runs tell.
3. Whatever ends it, no program and (unless asked for) no file of it is left.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tablevault_like.builders.plan import Plan
from tablevault_like.catalog import Catalog, processes
from tablevault_like.chaos import notes, scratch, soundness
from tablevault_like.chaos.judging import Counting, Judge, Made, Recorded, damaged
from tablevault_like.chaos.points import Extent, Point, Target, Targets
from tablevault_like.chaos.programs import Programs, started
from tablevault_like.chaos.report import ChaosReport, Death, Harm, Trial, Violation
from tablevault_like.chaos.scratch import Scratch
from tablevault_like.errors import TableVaultError
from tablevault_like.model import ReturnType, State
from tablevault_like.process.journal import Journal
from tablevault_like.storage.rows import RowStore

_NOTHING_SEEN = (
    "What functions do elsewhere can't be seen: requests to services, and files that other programs, or libraries in "
    "C, write outside of the artifact folder."
)
_WAYS_ON = {
    Harm.LITTER: "This is a defect of tablevault_like. Please report it, with the seed.",
    Harm.LOCKS: "A process that a function started in the vault hasn't ended. Give children no ids of their own, and "
    "wait for those that run in the background.",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be rehearsed, and how. ``timeout`` is in seconds, for one run; without a ``seed`` one is drawn."""

    table: str
    version: str
    sample: int
    kills: int
    seed: int | None
    timeout: float
    scratch: str | os.PathLike[str] | None
    keep: bool


def rehearse(
    journal: Journal, wanted: Wanted, *, author: str, tell: Callable[[str], None] = lambda line: None
) -> ChaosReport:
    """Rehearse the failures of an execution. ``tell`` is told how far it is, a line at a time.

    Raises what ``execute_instance`` raises for arguments, builder files and references.
    """
    began = time.perf_counter()
    seed = secrets.randbelow(1_000_000) if wanted.seed is None else wanted.seed
    place = None if wanted.scratch is None else Path(wanted.scratch)
    with ExitStack() as cleanup:
        folder = cleanup.enter_context(scratch.folder_of(journal.layout, place, keep=wanted.keep))
        programs = cleanup.enter_context(started())
        tell(f"copying {wanted.table}/{wanted.version} and its inputs")
        copy = scratch.make(journal, folder, wanted.table, wanted.version, sample=wanted.sample, author=author)
        rehearsal = _Rehearsal(journal, wanted, copy, programs, author, seed, tell)
        found = rehearsal.report()
    return replace(found, seconds=time.perf_counter() - began, kept=str(folder) if wanted.keep else None)


@dataclass(frozen=True)
class _Run:
    """What came of one run, however often it was killed."""

    trial: Trial
    made: Made | None
    error: str | None
    calls: list[notes.Call]
    written: list[notes.Written]
    recorded: dict[int, Recorded]
    outcome: dict[str, Any]
    unsound: list[tuple[Harm, str]]
    programs: list[str]


class _Rehearsal:
    def __init__(
        self,
        journal: Journal,
        wanted: Wanted,
        copy: Scratch,
        programs: Programs,
        author: str,
        seed: int,
        tell: Callable[[str], None],
    ) -> None:
        self._journal = journal
        self._wanted = wanted
        self._copy = copy
        self._programs = programs
        self._author = author
        self._seed = seed
        self._tell = tell
        self._counting = Counting(copy.plan)
        self._violations: dict[tuple[Harm, str | None, str], Violation] = {}
        self._trials: list[Trial] = []
        self._made = 0

    def report(self) -> ChaosReport:
        """Run everything."""
        undisturbed = []
        for number in (1, 2):
            self._tell(f"undisturbed run {number} of 2")
            run = self._run(-number, lambda run_so_far: None)
            if run.made is None:
                self._add(_undisturbed_failure(run, self._wanted.timeout))
                return self._told(None, None, ())
            self._judge_remains(run, ())
            undisturbed.append(run)
        first = undisturbed[0]
        assert first.made is not None
        self._counting.undisturbed(first.calls)
        judge = Judge(self._copy.plan, first.made, undisturbed[1].made or first.made)
        extent = _extent([run.outcome for run in undisturbed])
        self._kill(judge, extent, calls=len(first.calls))
        return self._told(first.made.rows, extent.seconds, tuple(judge.notes()))

    def _kill(self, judge: Judge, extent: Extent, *, calls: int) -> None:
        """Run trials until there were enough kills. There are never more trials than kills that were asked for."""
        targets = Targets(extent, self._seed)
        kills = self._wanted.kills
        for number in range(1, kills + 1):
            left = kills - self._made
            if not left:
                break
            deaths = left if number == kills else targets.deaths(left)

            def next_target(died: _Progress, deaths: int = deaths) -> Target | None:
                if len(died.deaths) >= deaths:
                    return None
                return targets.next(1 - min(1.0, died.calls / max(1, calls)))

            run = self._run(number, next_target)
            self._made += len(run.trial.deaths)
            self._trials.append(run.trial)
            self._judge(judge, run)
            self._tell(f"trial {number}: {_deaths(run.trial)}; {self._made} of {kills} kills")

    def _judge(self, judge: Judge, run: _Run) -> None:
        number = run.trial.number
        violations, again = self._counting.trial(run.calls, run.recorded)
        for each in violations:
            self._add(each, number)
        if run.made is not None:
            for each in judge.violations(run.made, again):
                self._add(each, number)
        elif run.error is None:
            self._add(_hanging(self._wanted.timeout), number)
        elif (path := run.outcome.get("damaged")) is not None:
            staging = self._copy.vault.process(self._copy.process_id).staging
            self._add(damaged(Path(path), staging, run.written, run.error), number)
        else:
            self._add(
                Violation(
                    Harm.FAILED,
                    None,
                    f"fails when it is resumed, and never undisturbed: {run.error}",
                    "A function meets what its first call has left: a file, a folder, an entry in a service. Let it "
                    "take what is there (~ROW_KEY~ tells it), or write it anew.",
                ),
                number,
            )
        self._judge_remains(run, (number,))

    def _judge_remains(self, run: _Run, trials: tuple[int, ...]) -> None:
        for kind, line in run.unsound:
            self._add(Violation(kind, None, line, _WAYS_ON[kind], about=line), *trials)
        if run.programs:
            self._add(
                Violation(
                    Harm.PROGRAMS,
                    None,
                    f"still running when all was done: {'; '.join(run.programs[:3])}",
                    "A program that a function starts outlives a worker that is killed, and then works beside the one "
                    "that the next call starts. Let it end with its parent: when its standard input is closed, or by "
                    "prctl(PR_SET_PDEATHSIG) on Linux. They were ended.",
                ),
                *trials,
            )

    def _add(self, violation: Violation, *trials: int) -> None:
        key = (violation.kind, violation.builder, violation.about or violation.to_do)
        known = self._violations.setdefault(key, violation)
        self._violations[key] = replace(
            known, trials=(*known.trials, *(each for each in trials if each not in known.trials))
        )

    def _told(self, rows: int | None, seconds: float | None, said: tuple[str, ...]) -> ChaosReport:
        said += tuple(_too_few(self._made, self._wanted.kills)) if self._trials else ()
        return ChaosReport(
            table=self._wanted.table,
            version=self._wanted.version,
            sample=self._wanted.sample,
            rows=rows,
            seed=self._seed,
            kills=self._made,
            wanted=self._wanted.kills,
            seconds=0.0,
            undisturbed_seconds=seconds,
            builders=self._counting.table(),
            trials=tuple(self._trials),
            violations=tuple(self._violations.values()),
            notes=(*said, _NOTHING_SEEN),
        )

    # --- one run

    def _run(self, number: int, next_target: Callable[[_Progress], Target | None]) -> _Run:
        """Run the execution to its end, killing its workers where it is said."""
        began = time.perf_counter()
        name = f"undisturbed-{-number}" if number < 0 else f"trial-{number}"
        place = self._copy.folder / name
        place.mkdir()
        self._copy.begin()
        progress = _Progress(self._copy, place)
        outcome: dict[str, Any] = {}
        while True:
            target = next_target(progress)
            ended = self._attempt(place, progress.attempt, target)
            if ended == "killed" and target is not None:
                progress.died(target)
                continue
            if (place / "outcome.json").exists():
                outcome = json.loads((place / "outcome.json").read_text())
            break
        calls, written = notes.read(place / "notes.jsonl")
        left = self._programs.left()
        error = outcome.get("error")
        if not outcome and ended != "hangs":
            error = f"the worker ended by itself ({_last_line(place / 'output.log')})"
        is_complete = bool(outcome) and error is None
        vault = self._copy.vault
        outside = [each for each in written if not Path(each.path).is_relative_to(vault.root)]
        made = Made.read(vault, self._wanted.table, self._copy.process_id, outside) if is_complete else None
        unsound = soundness.unsound(vault) if is_complete else []
        if self._wanted.keep:
            self._copy.put_away(f"{name}/vault")
        trial = Trial(
            number,
            tuple(progress.deaths),
            "completed" if is_complete else "hangs" if error is None else "failed",
            time.perf_counter() - began,
        )
        return _Run(trial, made, error, calls, written, progress.recorded, outcome, unsound, left)

    def _attempt(self, place: Path, attempt: int, target: Target | None) -> str:
        is_inner = target is not None and target.point is not Point.MOMENT
        request = {
            "root": str(self._copy.vault.root),
            "folder": str(self._copy.folder),
            "protected": str(self._journal.layout.root),
            "table": self._wanted.table,
            "version": self._wanted.version,
            "sample": self._wanted.sample,
            "process_id": self._copy.process_id,
            "author": self._author,
            "attempt": attempt,
            "target": target.request() if is_inner and target is not None else {},
            "notes": str(place / "notes.jsonl"),
            "outcome": str(place / "outcome.json"),
            "log": str(place / "output.log"),
        }
        return self._programs.run(request, target, timeout=self._wanted.timeout)


class _Progress:
    """How far one run is: the kills so far, and what was recorded at each."""

    def __init__(self, copy: Scratch, place: Path) -> None:
        self._copy = copy
        self._place = place
        self.attempt = 1
        self.deaths: list[Death] = []
        self.recorded: dict[int, Recorded] = {}

    @property
    def calls(self) -> int:
        """Return how many calls have returned so far."""
        return sum(call.returned for call in notes.read(self._place / "notes.jsonl")[0])

    def died(self, target: Target) -> None:
        """Tell that the worker was killed."""
        found = _recorded(self._copy)
        self.recorded[self.attempt] = found
        count = None if found.is_published else sum(len(rows) for rows in found.rows.values())
        self.deaths.append(Death(str(target), count))
        self.attempt += 1


def _recorded(copy: Scratch) -> Recorded:
    """Return what a dead worker's process has recorded."""
    layout, plan = copy.vault, copy.plan
    everything = frozenset(builder.name for builder in plan.builders)
    catalog = Catalog(layout.catalog)
    try:
        with catalog.snapshot() as db:
            row = processes.find(db, copy.process_id)
            finished = {step.record.name for step in processes.steps(db, copy.process_id) if step.record.is_done}
    finally:
        catalog.close()
    if row is None or row.state is State.CREATED:
        return Recorded()
    if row.state is State.COMPLETED:
        return Recorded(whole=everything, is_published=True)
    folder = layout.process(copy.process_id)
    try:
        with RowStore.open(folder.rows) as store:
            rows = {name: frozenset(store.recorded(name).tolist()) for name in everything}
    except TableVaultError:
        rows = {}
    return Recorded(rows, frozenset(finished & everything) | _kept_frames(plan, folder.frame))


def _kept_frames(plan: Plan, path_of: Callable[[str], Path]) -> frozenset[str]:
    is_kept = [
        each.name for each in plan.builders if each.return_type is ReturnType.DATAFRAME and path_of(each.name).exists()
    ]
    return frozenset(is_kept)


def _extent(outcomes: list[dict[str, Any]]) -> Extent:
    counts = [outcome["counts"] for outcome in outcomes]
    fewest = {point: min(count[point.value] for count in counts) for point in Point}
    seconds = sum(outcome["seconds"] for outcome in outcomes) / len(outcomes)
    return Extent(fewest[Point.CALL], fewest[Point.COMMIT], fewest[Point.FILE], seconds)


def _undisturbed_failure(run: _Run, timeout: float) -> Violation:
    if run.error is None:
        return _hanging(timeout)
    return Violation(
        Harm.FAILED,
        None,
        f"fails undisturbed: {run.error}",
        "Nothing was killed. Let it run on a sample first: vault.plan(table, sample=...) shows what it makes.",
    )


def _hanging(timeout: float) -> Violation:
    return Violation(
        Harm.HANGS,
        None,
        f"a run hasn't ended within {timeout:g} seconds",
        "If it takes longer by itself, give it a longer timeout, or fewer rows. If it waits for what a killed worker "
        "has left (a lock file, a port, a queue), let that end with its worker.",
    )


def _too_few(made: int, wanted: int) -> list[str]:
    if made >= wanted:
        return []
    return [f"Only {made} of {wanted} workers were killed: the others were done before their point came."]


def _deaths(trial: Trial) -> str:
    told = ", then ".join(death.point for death in trial.deaths)
    return f"killed {told}; {trial.outcome}" if told else f"not killed; {trial.outcome}"


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").split("\n") if path.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "without a word")
