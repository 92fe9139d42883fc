"""The benchmarks run, with sizes at which their figures mean nothing: whether targets are met is never tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.measure import CHECKOUT, Figure, at_least, at_most

ROWS = ["--rows=20", "--waiting-rows=4", "--threads=2", "--recorded-rows=11", "--repeat=1"]
NAMES = ("create_table", "create_instance", "create_builder_file", "write_instance of 3 rows")
OPERATIONS = ["--tables=2", "--rows=3", "--repeat=2", "--starts=1"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "options", "with_targets"),
    [
        (
            "rows.py",
            ROWS,
            {
                "a trivial function in one thread: 20 rows",
                "4 rows that wait 10 ms, in 2 threads: of the ideal 0.02 s",
                "resuming a process of which one row is missing: until that row is called, 11 recorded",
                "resuming a process of which one row is missing: the difference: skipping",
            },
        ),
        (
            "operations.py",
            OPERATIONS,
            {
                *(f"{name}: in a new vault" for name in NAMES),
                *(f"{name}: ratio of the two" for name in NAMES),
                "import tablevault_like: bytecode cached",
                "tvl ps: bytecode cached",
            },
        ),
    ],
)
def test_a_benchmark_holds_its_figures_against_targets(
    script: str, options: list[str], with_targets: set[str], tmp_path: Path
) -> None:
    command = [sys.executable, str(CHECKOUT / "benchmarks" / script), "--json", f"--folder={tmp_path}", *options]
    outcome = subprocess.run(command, check=True, capture_output=True, text=True)
    held = [figure for figure in json.loads(outcome.stdout)["figures"] if figure["target"]]
    assert {f"{figure['subject']}: {figure['detail']}" for figure in held} == with_targets
    assert {figure["outcome"] for figure in held} <= {"met", "missed"}
    assert not list(tmp_path.iterdir())


def test_the_median_is_held_against_the_target() -> None:
    assert Figure("rows", "", "rows/s", [10.0, 50.0, 60.0], at_least(40)).outcome == "met"
    assert Figure("rows", "", "rows/s", [10.0, 20.0, 60.0], at_least(40)).outcome == "missed"
    assert Figure("call", "", "ms", [5.0], at_most(5)).outcome == "met"
    assert Figure("call", "", "ms", [5.1], at_most(5)).outcome == "missed"
    assert Figure("call", "", "ms", [5.1]).outcome == ""
