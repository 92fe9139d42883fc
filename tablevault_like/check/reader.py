"""Read the catalog, and hold it to its own rules: whatever row breaks one is told, and left out.

Everything is read from one transaction, and so is which workers live: a worker lets go of its lock after it has
committed that its process ended, and nobody commits meanwhile.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping

import tablevault_like.operations  # noqa: F401 - registers every operation
from tablevault_like.catalog import catalog, schema, tables
from tablevault_like.check import databases
from tablevault_like.check.damage import sentence
from tablevault_like.check.databases import Unreadable
from tablevault_like.check.facts import Facts, HeldLock, KnownInstance, KnownProcess, KnownTable, KnownWaiter
from tablevault_like.check.findings import About, Finding, Kind, told
from tablevault_like.check.rules import (
    BrokenRule,
    check_table,
    check_types,
    columns_by_table,
    instance_of,
    name_of,
    request_of,
    schema_of,
)
from tablevault_like.errors import TableVaultError, TVFileError
from tablevault_like.layout import Layout
from tablevault_like.locks import is_held
from tablevault_like.model import Column, LockRequest, State, StopIntent
from tablevault_like.process.operation import REGISTRY, rebuild

REBUILD = "Restore it from a backup, or make it anew from the instances' own files: tvl check --rebuild-catalog."
_MOST_TOLD = 20
"""How many rows of one table are told one by one."""


def read(layout: Layout, *, with_defects: bool = True) -> Facts:
    """Read the catalog of a vault. Nothing is raised: what is wrong is among the findings.

    ``with_defects`` looks for damage of the file as a whole, too, which takes longer.
    """
    facts = Facts(layout)
    path = layout.catalog
    try:
        with databases.reading(path) as connection:
            _Reader(facts, connection).read(with_defects=with_defects)
    except Unreadable as error:
        facts.findings.append(_file_finding(layout, error))
    except sqlite3.Error as error:
        facts.findings.append(_corrupt(layout, f"The catalog can't be read ({told(error)}).", REBUILD))
    if facts.is_readable and with_defects:
        _add_damage(facts)
    return facts


def _add_damage(facts: Facts) -> None:
    """Add what the checksums of the rows tell."""
    try:
        found = catalog.damage(facts.layout.catalog)
    except (TVFileError, sqlite3.Error) as error:
        found = [told(error)]
    told_already = " ".join(each.what for each in facts.findings)
    for what in found:
        if what not in told_already:
            facts.findings.append(_corrupt(facts.layout, sentence(what), REBUILD))


def _file_finding(layout: Layout, error: Unreadable) -> Finding:
    if error.is_damaged:
        return _corrupt(layout, f"The catalog is lost or damaged: {error}.", REBUILD)
    return About(layout.root).finding(
        Kind.UNCHECKED,
        layout.catalog,
        f"The catalog wasn't read: {error}.",
        databases.CHECK_AGAIN,
    )


def _corrupt(
    layout: Layout, what: str, to_do: str, *, process_id: str | None = None, mended: str | None = None
) -> Finding:
    about = About(layout.root, process_id=process_id)
    return about.finding(Kind.CORRUPTION, layout.catalog, what, to_do, mended=mended)


class _Reader:
    """Reads one catalog, in one transaction, into facts."""

    def __init__(self, facts: Facts, connection: sqlite3.Connection) -> None:
        self._facts = facts
        self._layout = facts.layout
        self._connection = connection
        self._version = 0

    def read(self, *, with_defects: bool) -> None:
        if not self._check_header() or (with_defects and not self._check_file()):
            return
        self._facts.is_readable = True
        self._read_processes()
        self._read_locks()
        self._read_tables()
        self._check_locks()
        for table in ("vault", "events"):
            self._rows(table, lambda row: None)

    def _add(
        self, what: str, to_do: str = REBUILD, *, process_id: str | None = None, mended: str | None = None
    ) -> None:
        self._facts.findings.append(_corrupt(self._layout, what, to_do, process_id=process_id, mended=mended))

    # --- the file as a whole

    def _check_header(self) -> bool:
        try:
            application = self._connection.execute("PRAGMA application_id").fetchone()[0]
            self._version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as error:
            self._add(f"The catalog can't be read ({told(error)}).")
            return False
        if application != schema.APPLICATION_ID:
            self._add("The catalog isn't one of tablevault_like's: its header names another application, or none.")
            return False
        if self._version > schema.VERSION:
            self._facts.findings.append(
                About(self._layout.root).finding(
                    Kind.UNCHECKED,
                    self._layout.catalog,
                    f"The catalog has version {self._version}, and this release of tablevault_like knows "
                    f"{schema.VERSION}.",
                    "Install the newer release that wrote it. If there is none, the number is damaged: restore "
                    "the catalog from a backup, or make it anew with tvl check --rebuild-catalog --force.",
                )
            )
            return False
        if self._version < 1:
            self._add(f"The catalog has version {self._version}, which there never was.")
            return False
        return True

    def _check_file(self) -> bool:
        """Tell whether the file can be read at all, after having told what SQLite finds wrong with it."""
        try:
            found = [str(row[0]) for row in self._connection.execute("PRAGMA integrity_check(20)")]
            broken = self._connection.execute("PRAGMA foreign_key_check").fetchall() if found == ["ok"] else []
        except (sqlite3.Error, ValueError) as error:
            self._add(f"The catalog is damaged: SQLite can't check it ({told(error)}).")
            return True
        for what in found:
            if what != "ok":
                self._add(f"The catalog is damaged: {' '.join(what.split()).rstrip('.')}.")
        for row in broken[:_MOST_TOLD]:
            self._add(f"A row of {row[0]!r} in the catalog refers to a row of {row[2]!r} that isn't there.")
        if found == ["ok"] and (missing := schema_of(self._version).keys() - columns_by_table(self._connection).keys()):
            self._add(f"The catalog lacks {', '.join(map(repr, sorted(missing)))}.")
        return True

    # --- rows

    def _rows(self, table: str, take: Callable[[sqlite3.Row], object]) -> None:
        """Give every row of a table that has the types that it is declared with, and tell of all others."""
        found = databases.rows_of(self._connection, table)
        wrong: list[str] = []
        declared = schema_of(self._version).get(table, {})
        for row in found.rows:
            try:
                check_types(row, declared)
                take(row)
            except BrokenRule as error:
                wrong.append(f"{name_of(row)}: {error}")
            except (ValueError, TypeError, KeyError, IndexError, RecursionError, OverflowError) as error:
                wrong.append(f"{name_of(row)}: {told(error)}")
        for each in wrong[:_MOST_TOLD]:
            self._add(f"A row of {table!r} in the catalog is wrong: {each.rstrip('.')}.")
        if len(wrong) > _MOST_TOLD:
            self._add(f"{len(wrong) - _MOST_TOLD} more rows of {table!r} in the catalog are wrong.")
        if found.error is not None:
            self._add(f"The rows of {table!r} in the catalog can't all be read ({found.error}).")

    def _read_processes(self) -> None:
        facts = self._facts
        finished: dict[str, set[str]] = {}

        def take_step(row: sqlite3.Row) -> None:
            counts = ("rows_done", "rows_failed", "rows_reused", "rows_before", "rows_skipped", "tokens")
            if any(name in row.keys() and row[name] < 0 for name in counts):  # noqa: SIM118 - of a Row, "in" asks the values
                raise BrokenRule("a count is below 0")
            if row["finished_at"] is not None:
                finished.setdefault(row["process_id"], set()).add(row["name"])

        self._rows("steps", take_step)
        self._rows("processes", lambda row: self._take_process(row, finished))
        for process in facts.live.values():
            parent = process.parent_id
            if parent is not None and parent not in facts.live and parent not in facts.ended:
                self._add(
                    f"Process {process.process_id!r} is a child of {parent!r}, and there is no such process.",
                    process_id=process.process_id,
                )

    def _take_process(self, row: sqlite3.Row, finished: Mapping[str, set[str]]) -> None:
        process_id = row["process_id"]
        state = State(row["state"])
        if (row["ended_at"] is not None) != state.has_ended:
            raise BrokenRule(f"it is {state.lower()}, and {'has' if row['ended_at'] else 'has not'} ended")
        if row["epoch"] < 1 and not state.has_ended:
            raise BrokenRule(f"its epoch is {row['epoch']}")
        arguments = json.loads(row["arguments"])
        if not isinstance(arguments, dict):
            raise BrokenRule("its arguments are no JSON object")
        if row["error"] is not None and len(json.loads(row["error"])) != 3:
            raise BrokenRule("its error isn't a class, a message and a traceback")
        intent = None if row["stop_intent"] is None else StopIntent(row["stop_intent"])
        if row["parent_id"] is not None:
            self._facts.parents[process_id] = row["parent_id"]
        if state.has_ended:
            self._facts.ended[process_id] = bool(row["named"])
            return
        if "/" in process_id or process_id.startswith(".") or "\0" in process_id:
            raise BrokenRule("its id can't be the name of a folder")
        if row["operation"] not in REGISTRY:
            raise BrokenRule(f"it does {row['operation']!r}, which this release can't")
        try:
            rebuild(row["operation"], arguments)
        except (TableVaultError, TypeError, ValueError, AttributeError) as error:
            raise BrokenRule(f"its arguments can't be used ({told(error)})") from None
        self._facts.live[process_id] = KnownProcess(
            process_id=process_id,
            operation=row["operation"],
            arguments=arguments,
            named=bool(row["named"]),
            parent_id=row["parent_id"],
            state=state,
            epoch=row["epoch"],
            stop_intent=intent,
            paused_on_request=bool(row["paused_on_request"]),
            created_at=row["created_at"],
            deaths=row["deaths"] if self._version > 1 else 0,
            is_alive=_is_alive(self._layout, process_id),
            finished=frozenset(finished.get(process_id, ())),
        )

    def _read_locks(self) -> None:
        requests: dict[int, list[LockRequest]] = {}
        self._rows("locks", lambda row: self._facts.locks.append(HeldLock(row["process_id"], request_of(row))))
        self._rows("requests", lambda row: requests.setdefault(row["ticket"], []).append(request_of(row)))

        def take_waiter(row: sqlite3.Row) -> None:
            json.loads(row["arguments"])
            self._facts.waiters.append(
                KnownWaiter(
                    row["process_id"],
                    tuple(requests.get(row["ticket"], ())),
                    _is_alive(self._layout, row["process_id"]),
                )
            )

        self._rows("waiters", take_waiter)

    def _check_locks(self) -> None:
        facts = self._facts
        for held in facts.locks:
            if held.process_id not in facts.live:
                state = "has ended" if held.process_id in facts.ended else "isn't known"
                self._add(
                    f"Process {held.process_id!r}, which {state}, holds a lock on {held.request.resource}.",
                    "Repair it with check(repair=True): what has ended needs no lock.",
                    process_id=held.process_id,
                    mended="The lock was taken back.",
                )
        locks = [each for each in facts.locks if each.process_id in facts.live]
        for position, one in enumerate(locks):
            for other in locks[position + 1 :]:
                if one.process_id == other.process_id or not one.request.conflicts_with(other.request):
                    continue
                if one.process_id in facts.family(other.process_id) or other.process_id in facts.family(one.process_id):
                    continue
                self._add(
                    f"Processes {one.process_id!r} and {other.process_id!r} both hold {one.request.resource}, one of "
                    "them exclusively.",
                    f"Stop one of them: stop_process({other.process_id!r}).",
                    process_id=other.process_id,
                )

    # --- tables and instances

    def _read_tables(self) -> None:
        columns: dict[int, list[tuple[int, Column]]] = {}
        known_tables: dict[int, sqlite3.Row] = {}
        known_instances: set[tuple[int, str]] = set()
        instances: dict[int, list[KnownInstance]] = {}

        def take_column(row: sqlite3.Row) -> None:
            columns.setdefault(row["instance"], []).append((row["position"], Column(row["name"], row["dtype"])))

        def take_instance(row: sqlite3.Row) -> None:
            known_instances.add((row["table_id"], row["instance_id"]))
            found = instance_of(row, columns.get(row["number"], []))
            if row["table_id"] not in known_tables:
                raise BrokenRule("its table isn't known")
            if found is not None:
                if known_tables[row["table_id"]]["deleted_at"] is not None:
                    raise BrokenRule("its table was deleted, and it wasn't")
                instances.setdefault(row["table_id"], []).append(found)

        def take_lineage(row: sqlite3.Row) -> None:
            if (row["source_table_id"], row["source_id"]) not in known_instances:
                raise BrokenRule(f"the instance {row['source_id']!r} that it was made from isn't known")

        def take_table(row: sqlite3.Row) -> None:
            known_tables[row["table_id"]] = row
            check_table(row)

        self._rows("columns", take_column)
        self._rows("tables", take_table)
        self._rows("instances", take_instance)
        self._rows("lineage", take_lineage)
        for table_id, row in known_tables.items():
            if row["deleted_at"] is not None:
                for folder in (row["folder"], row["next_folder"]):
                    if folder:
                        self._facts.deleted_folders[folder] = row["deleted_by"] or ""
                continue
            found = tuple(sorted(instances.get(table_id, ()), key=lambda each: each.number))
            self._facts.tables.append(KnownTable(tables.record_of(row), found))


def _is_alive(layout: Layout, process_id: str) -> bool:
    try:
        return is_held(layout.process(process_id).worker_lock)
    except (OSError, ValueError):
        return False
