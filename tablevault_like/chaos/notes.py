"""What workers note while they rehearse, for whoever started them: a file of JSON lines that survives their deaths.

Each line is written by one system call to a file that is opened for appending, so lines of several threads, and of the
workers of one trial, never mix.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a builder's function. ``rows`` are the positions of its rows, ``None`` if it makes all of them.

    ``returned`` tells whether it returned, or raised.
    """

    attempt: int
    builder: str
    rows: tuple[int, ...] | None
    returned: bool


@dataclass(frozen=True, slots=True)
class Written:
    """A file that a builder's function opened for writing: outside of the vault, or in the artifact folder.

    ``size`` was its size before.
    """

    builder: str
    path: str
    appends: bool
    size: int


class Notebook:
    """Where a worker notes what it does."""

    def __init__(self, path: Path, attempt: int) -> None:
        self._attempt = attempt
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._number = 0

    def begin(self, builder: str, rows: Sequence[int] | None) -> int:
        """Note that a call begins, and return what its end is noted by."""
        self._number += 1  # two threads may get one number: their calls have different rows
        number = self._number
        self._note(["begin", self._attempt, number, builder, None if rows is None else list(rows)])
        return number

    def end(self, number: int, builder: str, rows: Sequence[int] | None) -> None:
        """Note that a call has returned."""
        self._note(["end", self._attempt, number, builder, None if rows is None else list(rows)])

    def wrote(self, builder: str, path: str, *, appends: bool, size: int) -> None:
        """Note that a file is opened for writing."""
        self._note(["wrote", builder, path, appends, size])

    def _note(self, line: list[Any]) -> None:
        os.write(self._file, (json.dumps(line) + "\n").encode())


def read(path: Path) -> tuple[list[Call], list[Written]]:
    """Return what was noted, in the order in which it began."""
    calls: dict[tuple[Any, ...], Call] = {}
    written: list[Written] = []
    for kind, *fields in _lines(path):
        if kind == "wrote":
            written.append(Written(*fields))
            continue
        attempt, number, builder, rows = fields
        rows = None if rows is None else tuple(rows)
        calls[attempt, number, builder, rows] = Call(attempt, builder, rows, returned=kind == "end")
    return list(calls.values()), written


def _lines(path: Path) -> Iterator[list[Any]]:
    if path.exists():
        for line in path.read_text().splitlines():
            yield json.loads(line)
