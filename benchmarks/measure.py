"""Figures with their targets: run the work in a fresh interpreter, print a table or JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
PEER = "tablevault"
PEER_RELEASE = "0.1.1"


@dataclass(frozen=True)
class Target:
    """What the median of a figure is to be: at least, or at most, ``bound``."""

    bound: float
    is_lowest: bool = False

    def is_met(self, found: float) -> bool:
        return found >= self.bound if self.is_lowest else found <= self.bound

    def __str__(self) -> str:
        return f"{'>=' if self.is_lowest else '<='} {self.bound:,g}"


def at_least(bound: float) -> Target:
    return Target(bound, is_lowest=True)


def at_most(bound: float) -> Target:
    return Target(bound)


@dataclass(frozen=True)
class Figure:
    """What was measured, once or several times. The median is held against the target."""

    subject: str
    detail: str
    unit: str
    values: Sequence[float]
    target: Target | None = None

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def outcome(self) -> str:
        if self.target is None:
            return ""
        return "met" if self.target.is_met(self.median) else "missed"

    def as_json(self) -> dict[str, Any]:
        return {
            "subject": self.subject,
            "detail": self.detail,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "values": list(self.values),
            "target": None if self.target is None else str(self.target),
            "outcome": self.outcome or None,
        }


@dataclass
class Report:
    """The figures of one run of a script."""

    machine: dict[str, str]
    figures: list[Figure] = field(default_factory=list)

    def add(
        self, subject: str, detail: str, values: Sequence[float], unit: str, *, target: Target | None = None
    ) -> Figure:
        figure = Figure(subject, detail, unit, tuple(values), target)
        self.figures.append(figure)
        return figure

    def show(self, *, as_json: bool) -> None:
        if as_json:
            found = {"machine": self.machine, "figures": [figure.as_json() for figure in self.figures]}
            print(json.dumps(found, indent=1))
            return
        print(", ".join(self.machine.values()))
        header = ("", "median", "min", "max", "unit", "target", "")
        lines = [self._line(figure) for figure in self.figures]
        widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
        subject = None
        for figure, line in zip((None, *self.figures), (header, *lines), strict=True):
            if figure is not None and figure.subject != subject:
                subject = figure.subject
                print(f"\n{subject}")
            name, *numbers, unit, target, outcome = (
                text.rjust(width) if 1 <= place <= 3 else text.ljust(width)
                for place, (text, width) in enumerate(zip(line, widths, strict=True))
            )
            print("  ".join(("", name, *numbers, unit, target, outcome)).rstrip())

    @staticmethod
    def _line(figure: Figure) -> tuple[str, ...]:
        numbers = (_number(value) for value in (figure.median, min(figure.values), max(figure.values)))
        target = "" if figure.target is None else str(figure.target)
        return (figure.detail, *numbers, figure.unit, target, figure.outcome)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" if value < 100 else f"{value:.1f}"


@dataclass(frozen=True)
class Bench:
    """Where work is run: ``folder`` for the vaults, ``peer`` for the interpreter that has the other library, if any."""

    folder: Path
    peer: str | None

    def run(self, job: str, **arguments: object) -> Any:
        """Run a job of ``workload.py`` on this checkout, in an interpreter of its own, and return what it found."""
        return self._run(sys.executable, "tablevault_like", job, arguments, {"PYTHONPATH": str(CHECKOUT)})

    def run_peer(self, job: str, **arguments: object) -> Any:
        """Run the same job on TableVault."""
        if self.peer is None:
            raise ValueError("no interpreter of the peer was given")
        return self._run(self.peer, PEER, job, arguments, {})

    def _run(self, python: str, library: str, job: str, arguments: dict[str, object], further: dict[str, str]) -> Any:
        say(f"{library}: {job} {' '.join(f'{name}={value}' for name, value in arguments.items())}")
        result = self.folder / "result.json"
        script = Path(__file__).with_name("workload.py")
        command = [python, str(script), library, job, json.dumps(arguments), str(self.folder), str(result)]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        # What the libraries print is not ours.
        subprocess.run(command, check=True, stdout=sys.stderr, cwd=self.folder, env=environment | further)
        return json.loads(result.read_text())


def options(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where vaults are made, on the disk to be measured")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    peer = parser.add_mutually_exclusive_group()
    peer.add_argument(
        "--peer", metavar="PYTHON", help=f"measure {PEER} {PEER_RELEASE} too, with the interpreter of its environment"
    )
    peer.add_argument("--make-peer", action="store_true", help="make that environment, for this run only (with pip)")
    return parser


@contextmanager
def bench(chosen: argparse.Namespace) -> Iterator[tuple[Bench, Report]]:
    """Give the place where work is run, and the report that is printed at the end."""
    with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="benchmark-", ignore_cleanup_errors=True) as made:
        folder = Path(made).resolve()
        peer = _make_peer(folder / "peer") if chosen.make_peer else chosen.peer
        report = Report(_machine(folder))
        yield Bench(folder, peer), report
        report.show(as_json=chosen.json)


def milliseconds(seconds: Sequence[float]) -> list[float]:
    return [1000 * each for each in seconds]


def say(text: str) -> None:
    """Tell a person what is going on."""
    print(text, file=sys.stderr, flush=True)


def _make_peer(folder: Path) -> str:
    say(f"Making an environment with {PEER} {PEER_RELEASE} ...")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, stdout=sys.stderr)
    python = str(folder / "bin" / "python")
    quiet = ["-qq", "--disable-pip-version-check", "--no-input"]
    subprocess.run([python, "-m", "pip", "install", *quiet, f"{PEER}=={PEER_RELEASE}"], check=True, stdout=sys.stderr)
    return python


def _machine(folder: Path) -> dict[str, str]:
    """Return what the figures depend on besides the code."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "pandas": f"pandas {version('pandas')}",
        "pyarrow": f"pyarrow {version('pyarrow')}",
        "processor": f"{os.cpu_count()} x {_processor()}",
        "file_system": _file_system(folder),
        "fsync": f"an fsync takes {median(_sync_seconds(folder) for _ in range(50)) * 1000:.2f} ms",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _file_system(folder: Path) -> str:
    """Return the type of the file system: a folder in memory would flatter every figure."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown file system"
    found = [(point, kind) for _, point, kind, *_ in mounts if folder.is_relative_to(point)]
    return max(found, key=lambda mount: len(mount[0]))[1]


def _sync_seconds(folder: Path) -> float:
    path = folder / "synced"
    with path.open("wb", buffering=0) as file:
        file.write(bytes(4096))
        start = perf_counter()
        os.fsync(file.fileno())
        seconds = perf_counter() - start
    path.unlink()
    return seconds
