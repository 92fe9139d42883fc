"""Measure what people wait for between executions: operations, the import, and a command of the shell.

Operations are measured in a new vault and, in turns with it, in one that holds many tables, each with a temporary and a
written instance. The import and the command have an interpreter of their own for each repetition.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from time import perf_counter

from measure import CHECKOUT, PEER, Bench, Report, at_most, bench, milliseconds, options, say

_NAMES = ("create_table", "create_instance", "create_builder_file", "write_instance")
_IMPORT = "from time import perf_counter; start = perf_counter(); import tablevault_like; print(perf_counter() - start)"
_COMMAND = "from tablevault_like.cli import main; main()"


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--tables", type=int, default=1_000, help="tables of the large vault (%(default)s)")
    parser.add_argument("--rows", type=int, default=10, help="rows that write_instance writes (%(default)s)")
    parser.add_argument("--repeat", type=int, default=50, help="repetitions of each operation (%(default)s)")
    parser.add_argument("--starts", type=int, default=15, help="starts of an interpreter (%(default)s)")
    parser.add_argument("--peer-tables", type=int, default=200, help=f"tables of the large vault in {PEER}")
    parser.add_argument("--peer-repeat", type=int, default=20, help=f"repetitions of each operation in {PEER}")
    chosen = parser.parse_args()
    with bench(chosen) as (place, report):
        _measure_operations(place, report, chosen)
        _measure_starts(place, report, chosen.starts)


def _measure_operations(place: Bench, report: Report, chosen: argparse.Namespace) -> None:
    found = place.run("operating", samples=chosen.repeat, tables=chosen.tables, rows=chosen.rows)
    peer = None
    if place.peer is not None:
        peer = place.run_peer("operating", samples=chosen.peer_repeat, tables=chosen.peer_tables, rows=chosen.rows)
    for name in _NAMES:
        subject = f"{name} of {chosen.rows} rows" if name == "write_instance" else name
        small = report.add(subject, "in a new vault", milliseconds(found["small"][name]), "ms", target=at_most(5))
        large = report.add(subject, f"with {chosen.tables:,} tables", milliseconds(found["large"][name]), "ms")
        report.add(subject, "ratio of the two", [large.median / small.median], "times", target=at_most(1.2))
        if peer is not None:
            report.add(subject, f"{PEER}, in a new vault", milliseconds(peer["small"][name]), "ms")
            detail = f"{PEER}, with {chosen.peer_tables:,} tables"
            report.add(subject, detail, milliseconds(peer["large"][name]), "ms")


def _measure_starts(place: Bench, report: Report, repeat: int) -> None:
    """Measure starts of an interpreter that finds the package's bytecode, as after its first use, and without it."""
    cached, uncached = (_copy(place.folder / name) for name in ("cached", "uncached"))
    cached.pop("PYTHONDONTWRITEBYTECODE", None)
    uncached["PYTHONDONTWRITEBYTECODE"] = "1"
    for subject, measure, bound in (
        ("import tablevault_like", _imports, 150),
        ("tvl ps", partial(_commands, vault=place.run("pausing")), 400),
    ):
        say(subject)
        target = at_most(bound)
        report.add(subject, "bytecode cached", milliseconds(measure(cached, repeat)), "ms", target=target)
        report.add(subject, "bytecode not cached", milliseconds(measure(uncached, repeat)), "ms")


def _copy(folder: Path) -> dict[str, str]:
    """Copy the package without its bytecode, and return the environment in which it is the one that is imported."""
    package = "tablevault_like"
    shutil.copytree(CHECKOUT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return {**os.environ, "PYTHONPATH": str(folder)}


def _imports(environment: dict[str, str], repeat: int) -> list[float]:
    """Return how long the import takes in new interpreters. The first, which fills caches, isn't counted."""
    return [float(_python(environment, "-c", _IMPORT)) for _ in range(repeat + 1)][1:]


def _commands(environment: dict[str, str], repeat: int, *, vault: str) -> list[float]:
    """Return how long ``tvl ps`` takes, the start of its interpreter included, in a vault with a paused process."""
    found = []
    for _ in range(repeat + 1):
        start = perf_counter()
        shown = _python(environment, "-c", _COMMAND, "--db-dir", vault, "ps")
        found.append(perf_counter() - start)
        if "paused" not in shown:
            raise AssertionError(f"tvl ps doesn't show the paused process: {shown}")
    return found[1:]


def _python(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd="/", env=environment).stdout


if __name__ == "__main__":
    main()
