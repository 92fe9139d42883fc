"""What the fault tests have tried, for the table in docs/reliability.md: fault, points tried, violations.

``scripts/test --full`` lets every test add its lines to a file, prints the table, and writes it into the page.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NoReturn

import pytest

VARIABLE = "TABLEVAULT_FAULT_TALLY"
"""Names the file to which each test adds a line."""

_BEGIN, _END = "<!-- the table -->", "<!-- the end of the table -->"


class Row(StrEnum):
    """The faults, in the order of the table."""

    KILL = "SIGKILL at every system call that changes a file"
    KILL_TWICE = "SIGKILL in the operation, then in the recovery"
    ERROR = "EIO, ENOSPC, EACCES, EROFS, EMFILE, EINTR at every such call, once and from then on"
    SIGNAL = "SIGINT and SIGTERM at every such call"
    CTRL_C = "Ctrl-C at every line and opcode of the package"
    MEMORY = "MemoryError at the k-th allocation"
    POWER_MODEL = "Power loss, weak model: unsynced writes lost, reordered, torn"
    POWER_REAL = "Power loss on ext4 and XFS"
    DISK_FULL = "Disk full at every fill level, and recovery while it is"
    READ_ONLY = "Read-only file systems, folders without permission"
    SUSPENDED = "Workers that are suspended, replaced, and wake"
    CHILDREN = "Forked, spawned and background children that die or outlive their parent"
    SCHEDULE = "2 to 4 workers under a seeded scheduler of system calls, with random kills"
    SOAK = "A soak of random kills, in seconds"
    PID = "Reused process ids"
    CLOCK = "Clock jumps of seconds, days and years"
    DAMAGE = "Bit flips, truncation, missing and swapped files"
    HOSTILE = "Hostile input"
    MISTAKES = "Seeded mistakes, each caught by one of the tests above"


@dataclass
class Count:
    """What is known of a row."""

    tried: int = 0
    violations: int = 0
    skipped: str | None = None

    def cells(self) -> tuple[str, str]:
        """Return what the table says of it: points tried, violations."""
        if not self.tried:
            return f"not run: {self.skipped or 'no test of it was chosen'}", "-"
        note = f" (in part not run: {self.skipped})" if self.skipped else ""
        return f"{self.tried:,}{note}", f"{self.violations:,}"


def add(row: Row, tried: int, violations: Sequence[object]) -> None:
    """Note that so many points of a row were tried, and what violated a guarantee."""
    _write({"row": row.name, "tried": tried, "violations": len(violations)})


def hold(row: Row, tried: int, violations: Sequence[object]) -> None:
    """Note what was tried as ``add`` does, and hold it to having found nothing."""
    add(row, tried, violations)
    assert tried > 0
    assert violations == [], f"{len(violations)} of {tried}: {violations[0]}"


def skip(row: Row, reason: str) -> NoReturn:
    """Skip a test of a row, because something is missing here that it needs."""
    _write({"row": row.name, "skipped": reason})
    pytest.skip(reason)


def find(mistake: str, harness: str, tried: int) -> None:
    """Note that a harness has found a seeded mistake, at the ``tried``-th point that it tried."""
    _write({"mistake": mistake, "harness": harness, "tried": tried})


def read(path: Path) -> dict[Row, Count]:
    """Return what is known of each row."""
    found = {row: Count() for row in Row}
    for line in path.read_text(encoding="utf-8").splitlines():
        noted = json.loads(line)
        if "row" not in noted:
            continue
        count = found[Row[noted["row"]]]
        count.tried += noted.get("tried", 0)
        count.violations += noted.get("violations", 0)
        count.skipped = noted.get("skipped", count.skipped)
    return found


def table(counts: Mapping[Row, Count]) -> str:
    """Return the table as Markdown."""
    lines = ["| fault | points tried | violations |", "|---|---|---|"]
    lines += ["| {} | {} | {} |".format(row, *counts[row].cells()) for row in Row]
    return "\n".join(lines) + "\n"


def mistakes_table(path: Path) -> str:
    """Return what has found which mistake as Markdown; nothing, if no mistake was made."""
    noted = [
        found for line in path.read_text(encoding="utf-8").splitlines() if "mistake" in (found := json.loads(line))
    ]
    if not noted:
        return ""
    lines = ["", "| seeded mistake | found by | at which point that was tried |", "|---|---|---|"]
    lines += [f"| {each['mistake']} | {each['harness']} | {each['tried']:,} |" for each in noted]
    return "\n".join(lines) + "\n"


def put(page: Path, text: str) -> None:
    """Put the table into a page, in place of the one that is there."""
    before, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    page.write_text(f"{before}{_BEGIN}\n{text}{_END}{after}", encoding="utf-8")


def _write(noted: Mapping[str, object]) -> None:
    path = os.environ.get(VARIABLE)
    if path:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(descriptor, f"{json.dumps(noted)}\n".encode())
        finally:
            os.close(descriptor)


def main(tally: str, page: str) -> int:
    """Print the table and put it into the page. Return 1 if anything was violated."""
    counts = read(Path(tally))
    text = table(counts) + mistakes_table(Path(tally))
    print(text, end="")
    put(Path(page), text)
    return int(any(count.violations for count in counts.values()))


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
