"""The test of the tests: mistakes are put into the package; each is found by a harness, which finds nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults import tally, volumes
from tests.faults.harnesses import Harness, Trial
from tests.faults.mistakes import MISTAKES, Mistake
from tests.faults.tally import Row
from tests.faults.volumes import Kind
from tests.workers import Workers

_OWN_TESTS = (Harness.POWER_MODEL, Harness.POWER_REAL, Harness.KILL)
"""Harnesses that other tests use, which are known by these to find nothing else."""

TRIALS = {trial for mistake in MISTAKES for trial in mistake.trials}
CONTROLS = sorted((trial for trial in TRIALS if trial.harness not in _OWN_TESTS), key=str)


def tried_with(mistake: str | None, trial: Trial, library_dir: Path, folder: Path) -> tuple[int, bool]:
    """Try something in this worker after a mistake was made in it."""
    for each in MISTAKES:
        if each.name == mistake:
            each.make()
    return trial.run(library_dir, folder)


@pytest.mark.fault(Row.MISTAKES)
@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_is_found(mistake: Mistake, library_dir: Path, scratch: Path, workers: Workers, is_full: bool) -> None:
    """By the harness that does so soonest; with --full, by each that is known to."""
    missed = []
    for number, trial in enumerate(mistake.trials if is_full else mistake.trials[:1]):
        if trial.harness is Harness.POWER_REAL and (reason := volumes.missing(Kind.ORDERED)):
            if len(mistake.trials) == 1:
                tally.skip(Row.MISTAKES, reason)
            continue
        worker = workers.start(tried_with, mistake.name, trial, library_dir, scratch / str(number))
        tried, is_found = worker.result(patience=55.0)
        if is_found:
            tally.find(mistake.name, str(trial), tried)
        else:
            missed.append(f"{trial} didn't find it at {tried} points")

    tally.add(Row.MISTAKES, 1, missed)
    assert missed == []


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("trial", CONTROLS, ids=str)
def test_nothing_is_found_without_a_mistake(
    trial: Trial, library_dir: Path, scratch: Path, workers: Workers, is_full: bool
) -> None:
    some = trial if is_full else replace(trial, points=12)

    tried, is_found = workers.start(tried_with, None, some, library_dir, scratch).result(patience=55.0)

    assert tried > 0
    assert not is_found


def test_no_mistake_has_the_name_of_another() -> None:
    assert len({mistake.name for mistake in MISTAKES}) == len(MISTAKES) >= 12
