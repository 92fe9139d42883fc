"""Check a vault: hold its catalog against the disk, and every file against its checksum.

1. Nothing is written, imported from the vault, or unpickled. No damage makes it fail: it is told as a finding.
2. It works on a vault that others are changing. What is found is looked at again, with the catalog as it is then, over
   more than a second, before it is told; a folder that nobody owns, after every transaction of the time has ended.
3. What can't be read is told too: nothing counts as sound that wasn't looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from tablevault_like.check import databases, findings, reader
from tablevault_like.check.facts import Facts, KnownTable
from tablevault_like.check.findings import CheckReport, Finding, Kind
from tablevault_like.check.instances import InstanceCheck
from tablevault_like.check.processes import ProcessCheck, find_in_states
from tablevault_like.check.surroundings import SurroundingsCheck
from tablevault_like.check.tables import TableCheck, place_of
from tablevault_like.errors import TVArgumentError, nearest
from tablevault_like.layout import Layout

_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds before each new look at what was found."""

Key: TypeAlias = tuple[str, object]
Observer: TypeAlias = Callable[[str, int, int, int], None]
"""Is told what is looked at now, the how-manieth thing of how many that is, and how many bytes were read so far."""


def check(
    layout: Layout,
    table_name: str | None = None,
    *,
    contents: bool = True,
    observer: Observer | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> CheckReport:
    """Look at a vault, or at one table of it, and return what was found.

    ``contents=False`` compares only the sizes of files. ``pause`` waits for so many seconds. Raises TVArgumentError for
    an unknown table.
    """
    return _Check(layout, table_name, contents, observer, pause).run()


@dataclass
class _Subject:
    """Something that is looked at by itself, and again if anything was found."""

    name: str
    look: Callable[[], Iterator[Finding]]
    looks: int = len(_PAUSES)
    """How often it is looked at again: a large one is not read more than twice."""


@dataclass
class _Check:
    """One check."""

    layout: Layout
    table_name: str | None
    contents: bool
    observer: Observer | None
    pause: Callable[[float], None]
    size: int = 0

    def run(self) -> CheckReport:
        known = reader.read(self.layout)
        if self.table_name is not None and known.is_readable and self.table_name not in known.by_name:
            raise TVArgumentError(
                f"There is no table {self.table_name!r}.{nearest(self.table_name, list(known.by_name))}"
            )
        subjects = self._subjects(known)
        found = list(known.findings)
        suspects: dict[Key, list[Finding]] = {}
        for number, (key, subject) in enumerate(subjects.items(), start=1):
            if self.observer is not None:
                self.observer(subject.name, number, len(subjects), self.size)
            if suspected := list(subject.look()):
                suspects[key] = suspected
        found += self._confirmed(suspects)
        if known.is_readable:
            found += [each for each in find_in_states(known) if self._is_wanted(each)]
        kinds = [key[0] for key in subjects]
        return CheckReport(
            findings.in_order(found),
            tables=kinds.count("table"),
            instances=kinds.count("instance"),
            processes=kinds.count("process"),
            size=self.size,
        )

    def _confirmed(self, suspects: dict[Key, list[Finding]]) -> list[Finding]:
        """Return what is found at every new look at what was found."""
        certain: list[Finding] = []
        for number, seconds in enumerate(_PAUSES, start=1):
            if not suspects:
                break
            self.pause(seconds)
            is_last = number == len(_PAUSES)
            if is_last and not databases.wait_for_writers(self.layout.catalog):
                # Somebody may still be about to publish what lies there.
                for key, before in suspects.items():
                    suspects[key] = [each for each in before if not _may_be_published(each)]
            known = reader.read(self.layout, with_defects=False)
            subjects = self._subjects(known)
            size = self.size
            for key, before in list(suspects.items()):
                subject = subjects.get(key)
                now = set(subject.look()) if subject is not None else set()
                suspects[key] = [each for each in before if each in now]
                if subject is not None and subject.looks <= number:
                    certain += suspects.pop(key)
                elif not suspects[key]:
                    del suspects[key]
            self.size = size
        return certain + [each for found in suspects.values() for each in found]

    def _subjects(self, known: Facts) -> dict[Key, _Subject]:
        if not known.is_readable:
            return {}
        found: dict[Key, _Subject] = {}
        if self.table_name is None:
            found["surroundings", None] = _Subject("the vault", SurroundingsCheck(known).find)
        for table in known.tables:
            if self.table_name in (None, table.name):
                self._add_table(found, known, table)
        for process in known.live.values():
            if self.table_name in (None, process.table_name):
                # While its worker is at it, its files change; what is wrong with them then is looked at afterwards.
                look = ProcessCheck(known, process).find
                found["process", (process.process_id, process.epoch)] = _Subject(f"process {process.process_id}", look)
        return found

    def _add_table(self, found: dict[Key, _Subject], known: Facts, table: KnownTable) -> None:
        found["table", table.table_id] = _Subject(table.name, TableCheck(known, table).find)
        place = place_of(self.layout, table)
        for instance in table.instances:
            look = InstanceCheck(
                self.layout.root, table.name, place.instance(instance.instance_id), instance, self.contents, self._read
            ).find
            key = ("instance", (instance.number, instance.is_temporary))
            looks = len(_PAUSES) if instance.is_temporary else 2
            found[key] = _Subject(f"{table.name}/{instance.instance_id}", look, looks)

    def _read(self, size: int) -> None:
        self.size += size

    def _is_wanted(self, finding: Finding) -> bool:
        return self.table_name is None or finding.table_name in (None, self.table_name)


def _may_be_published(finding: Finding) -> bool:
    return finding.kind is Kind.LITTER and finding.trace is not None


def with_repaired(report: CheckReport, first: CheckReport) -> CheckReport:
    """Return the report of a second check, with what the first had found and the second hasn't."""
    left = {(each.kind, each.where) for each in report.findings}
    repaired = [each for each in first.findings if each.is_repairable and (each.kind, each.where) not in left]
    return replace(report, repaired=tuple(repaired))
