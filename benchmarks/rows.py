"""Measure the row path: how fast rows are computed, recorded and materialized, and how fast a resume skips them.

Every figure is of the whole public path, from the call of ``execute_instance`` to its return, unless it says otherwise.
Each repetition has a vault of its own; a small execution comes first, so that nothing is imported while it is measured.
"""

from __future__ import annotations

import argparse
from statistics import median

from measure import PEER, Bench, Report, at_least, at_most, bench, milliseconds, options

_SLEEP = 0.010


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the trivial function (%(default)s)")
    parser.add_argument("--waiting-rows", type=int, default=2_000, help="rows that wait 10 ms (%(default)s)")
    parser.add_argument("--threads", type=int, default=16, help="threads that wait at once (%(default)s)")
    parser.add_argument("--recorded-rows", type=int, default=10_000, help="rows that a resume skips (%(default)s)")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions (%(default)s)")
    parser.add_argument("--peer-rows", type=int, default=30_000, help=f"rows of the trivial function in {PEER}")
    parser.add_argument("--peer-repeat", type=int, default=3, help=f"repetitions in {PEER}")
    chosen = parser.parse_args()
    with bench(chosen) as (place, report):
        _measure_trivial(place, report, chosen)
        _measure_waiting(place, report, chosen)
        _measure_resume(place, report, chosen)


def _measure_trivial(place: Bench, report: Report, chosen: argparse.Namespace) -> None:
    subject = "a trivial function in one thread"
    seconds = place.run("trivial", rows=chosen.rows, repeat=chosen.repeat)
    rates = [chosen.rows / each for each in seconds]
    ours = report.add(subject, f"{chosen.rows:,} rows", rates, "rows/s", target=at_least(40_000))
    if place.peer is not None:
        seconds = place.run_peer("trivial", rows=chosen.peer_rows, repeat=chosen.peer_repeat)
        rates = [chosen.peer_rows / each for each in seconds]
        peer = report.add(subject, f"{PEER}, {chosen.peer_rows:,} rows", rates, "rows/s")
        report.add(subject, "ratio", [ours.median / peer.median], "times", target=at_least(100))


def _measure_waiting(place: Bench, report: Report, chosen: argparse.Namespace) -> None:
    rows, threads = chosen.waiting_rows, chosen.threads
    ideal = rows * _SLEEP / threads
    subject = f"{rows:,} rows that wait 10 ms, in {threads} threads"
    arguments = {"rows": rows, "threads": threads, "seconds": _SLEEP}
    seconds = place.run("waiting", repeat=chosen.repeat, **arguments)
    shares = [100 * ideal / each for each in seconds]
    report.add(subject, f"of the ideal {ideal:.4g} s", shares, "%", target=at_least(90))
    if place.peer is not None:
        seconds = place.run_peer("waiting", repeat=chosen.peer_repeat, **arguments)
        report.add(subject, PEER, [100 * ideal / each for each in seconds], "%")


def _measure_resume(place: Bench, report: Report, chosen: argparse.Namespace) -> None:
    few, many = 10, chosen.recorded_rows
    subject = "resuming a process of which one row is missing"
    found = {count: place.run("resuming", rows=count, repeat=chosen.repeat) for count in (few, many)}
    reached = {count: milliseconds(found[count]["reached"]) for count in found}
    for count, target in ((many, at_most(100)), (few, None)):
        detail = f"until that row is called, {count:,} recorded"
        report.add(subject, detail, reached[count], "ms", target=target)
    skipping = [each - median(reached[few]) for each in reached[many]]
    report.add(subject, "the difference: skipping", skipping, "ms", target=at_most(100))
    report.add(subject, f"the whole call, {many:,} recorded", milliseconds(found[many]["whole"]), "ms")


if __name__ == "__main__":
    main()
