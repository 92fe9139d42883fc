"""A vault as it should be: tables, instances and processes in memory, and what each operation does to them.

Nothing here looks at a vault. What chance decides (how far a killed worker came) is told to it by the machine, which
has looked, and has made sure that it is among what may be.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tablevault_like.model import LockRequest, Resource, State
from tests.machine import recipes
from tests.machine.recipes import DATAFRAME, INDEX_COLUMNS, PAGE, Cell, Code, Kind, Recipe

_numbers = itertools.count(1)
Columns: TypeAlias = dict[str, list[Cell]]
INDEX = "_index"
LIVE = (State.CREATED, State.RUNNING, State.PAUSED, State.REVERTING, State.STOPPING)
DONE = (State.COMPLETED, State.MATERIALIZED)


@dataclass(eq=False)
class Instance:
    """A materialized instance. ``pages`` are the contents of its artifacts by name, ``number`` counts all instances."""

    instance_id: str
    version: str
    columns: Columns
    pages: dict[str, str]
    builders: dict[str, Recipe]
    active: bool = True
    success: bool = True
    sources: frozenset[tuple[int, str]] = frozenset()
    sha256: str = ""
    origin: tuple[int, str] | None = None
    pinned: bool = False
    number: int = field(default_factory=lambda: next(_numbers))

    @property
    def rows(self) -> int:
        return len(self.columns["k"])


@dataclass(eq=False)
class Temporary:
    """A temporary instance. ``origin`` is an instance's id and its table, which may be gone by now.

    ``partial`` is the frame that a reverted execution has left, if that is known.
    """

    version: str
    builders: dict[str, Recipe] = field(default_factory=dict)
    external: bool = False
    origin: tuple[int, str] | None = None
    pages: dict[str, str] = field(default_factory=dict)
    partial: Columns | None = None


@dataclass(eq=False)
class Table:
    number: int
    name: str
    has_side_effects: bool
    instances: list[Instance] = field(default_factory=list)
    temporaries: dict[str, Temporary] = field(default_factory=dict)

    @property
    def ids(self) -> list[str]:
        return [each.instance_id for each in self.instances] + [f"TEMP_{version}" for version in self.temporaries]

    def newest(self, version: str, *, active_only: bool = True) -> Instance | None:
        found = [each for each in self.instances if each.version == version and (each.active or not active_only)]
        return found[-1] if found else None

    def instance(self, instance_id: str) -> Instance | None:
        return next((each for each in self.instances if each.instance_id == instance_id), None)


@dataclass(frozen=True)
class Plan:
    """What an execution does. ``order`` are its builders, each with those that it waits for.

    ``pins`` are the instances that it reads, by the table's name. ``code`` is pinned.
    """

    recipes: Mapping[str, Recipe]
    order: Mapping[str, frozenset[str]]
    index: str
    code: Code
    pins: Mapping[str, tuple[int, Instance]]
    origin: tuple[int, Instance] | None

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(column for name in self.order for column in self.recipes[name].columns)

    @property
    def sources(self) -> frozenset[tuple[int, str]]:
        found = [*self.pins.values(), *([self.origin] if self.origin else [])]
        return frozenset((number, instance.instance_id) for number, instance in found)

    def meaning(self, name: str) -> tuple[object, ...]:
        """Return what two plans must have in common for the builder to do the same in both."""
        recipe = self.recipes[name]
        return recipe.meaning, self.code.used_by(recipe), self.order[name]

    def changed(self, old: Plan) -> frozenset[str]:
        """Return the builders that the old plan doesn't have as they are here."""
        return frozenset(n for n in self.order if n not in old.order or self.meaning(n) != old.meaning(n))

    def is_run_differently(self, old: Plan) -> bool:
        """Tell whether something else is to be done about errors."""
        return any(self.recipes[name].on_error != old.recipes[name].on_error for name in self.order)

    def differs(self, old: Plan) -> bool:
        return bool(self.changed(old)) or bool(old.order.keys() - self.order.keys())

    def stage(self, until: str | None) -> frozenset[str]:
        """Return the builders that are run up to one of them: all that it waits for, directly or not."""
        if until is None:
            return frozenset(self.order)
        wanted = {until, self.index}
        for name in reversed(list(self.order)):
            if name in wanted:
                wanted |= self.order[name]
        return frozenset(wanted)

    def who(self, name: str) -> str:
        """Return what the function of a builder calls itself."""
        return "index" if name == self.index else self.recipes[name].column


@dataclass(eq=False)
class Process:
    """A process that is recorded. ``cells`` are the rows that are recorded of each builder, by position.

    ``with_old`` are the rows of the index once those of the origin were added to them. ``steps`` are the builders
    that are finished. ``before`` is what a revert has to bring back. ``on_request``: it was paused because somebody
    asked for it. ``until`` is the builder after which it is to pause, ``budget`` the rows that it may make until then.
    ``skipped`` are the rows that failed where that leaves them empty. ``made`` is the instance that came of it.
    ``is_anew``: it reuses nothing.
    """

    process_id: str
    operation: Any
    is_named: bool
    state: State
    locks: tuple[LockRequest, ...]
    plan: Plan | None = None
    plan_number: int = 0
    cells: dict[str, dict[int, Any]] = field(default_factory=dict)
    steps: set[str] = field(default_factory=set)
    with_old: bool = False
    silenced: list[Instance] = field(default_factory=list)
    before: Any = None
    on_request: bool = False
    until: str | None = None
    budget: int | None = None
    skipped: dict[str, set[int]] = field(default_factory=dict)
    made: Instance | None = None
    is_anew: bool = False


@dataclass(frozen=True)
class Made:
    """What an execution makes of a plan, and what it has recorded already.

    ``cells`` are those of all builders. ``error`` names the class of what is wrong with them, and ``failing`` the
    builder.
    """

    cells: dict[str, dict[int, Any]]
    columns: Columns
    pages: dict[str, str]
    error: str | None = None
    failing: str | None = None


class Model:
    """All that there is to a vault."""

    def __init__(self) -> None:
        self.tables: list[Table] = []
        self.processes: dict[str, Process] = {}  # in the order in which they were recorded
        self.code = Code(edition=None)
        self.modules: dict[str, str] = {}
        self._numbers = 0

    # --- finding

    def table(self, name: str) -> Table | None:
        return next((each for each in self.tables if each.name == name), None)

    def by_number(self, number: int) -> Table | None:
        return next((each for each in self.tables if each.number == number), None)

    def temporary(self, table: str, version: str) -> Temporary | None:
        found = self.table(table)
        return None if found is None else found.temporaries.get(version)

    def find(self, key: tuple[int, str] | None) -> Instance | None:
        """Return an instance by the number of its table, if it is still there."""
        table = None if key is None else self.by_number(key[0])
        return None if table is None or key is None else table.instance(key[1])

    @property
    def live(self) -> list[Process]:
        return [each for each in self.processes.values() if each.state in LIVE]

    def conflicting(self, requests: Iterable[LockRequest]) -> list[Process]:
        """Return the live processes that hold a lock which excludes one of these."""
        wanted = list(requests)
        return [
            each for each in self.live if any(request.conflicts_with(held) for request in wanted for held in each.locks)
        ]

    # --- changing

    def add_table(self, name: str, *, has_side_effects: bool) -> None:
        self._numbers += 1
        self.tables.append(Table(self._numbers, name, has_side_effects))

    def rename(self, table: Table, name: str) -> None:
        for temporary in table.temporaries.values():
            index = temporary.builders.pop(table.name + INDEX, None)
            if index is not None:
                temporary.builders[name + INDEX] = index
        table.name = name

    # --- pruning

    def prunable(self, keep: int) -> list[tuple[Table, Instance]]:
        """Return the instances that aren't among the newest ones of their version, and that nobody needs."""
        found = [(table, instance) for table in self.tables for instance in table.instances]
        going: set[Instance] = set()
        for table, instance in sorted(found, key=lambda pair: pair[1].number, reverse=True):
            of_table = [each for each in table.instances if each.number > instance.number]
            newer = [each for each in of_table if each.version == instance.version]
            is_first = instance.active and not any(each.active for each in newer)
            is_first |= instance.active and instance.success and not any(each.active and each.success for each in newer)
            is_first |= instance.success and not any(each.success for each in of_table)
            key = (table.number, instance.instance_id)
            users = [each for _, each in found if key in each.sources and key != each.origin and each not in going]
            beginnings = [each for other in self.tables for each in other.temporaries.values() if each.origin == key]
            lock = LockRequest.exclusive(Resource.instance(table.name, instance.instance_id))
            is_needed = users or beginnings or self.conflicting([lock])
            if not (instance.pinned or is_first or len(newer) < keep or is_needed):
                going.add(instance)
        return [pair for pair in found if pair[1] in going]

    # --- executing

    def plan(self, table: Table, temporary: Temporary, pinned: Plan | None = None) -> Plan | set[str]:
        """Return the plan of an execution, or the classes of errors that there are about it."""
        wrong: set[str] = set()
        index = table.name + INDEX
        found = dict(temporary.builders)
        pins: dict[str, tuple[int, Instance]] = {}
        for recipe in found.values():
            if recipe.other and recipe.other not in pins:
                pin = pinned.pins.get(recipe.other) if pinned else None
                pin = pin or self._newest(recipe.other)
                if pin is None:
                    wrong.add("TableReferenceError")
                else:
                    pins[recipe.other] = pin
        origin = self.find(temporary.origin)
        if index not in found or self.code.edition is None:
            wrong.add("TVBuilderError")
        is_again = index in found and found[index].kind is Kind.AGAIN
        carried = list(origin.columns) if origin is not None and is_again else []
        order = recipes.order(found, index, carried) if index in found else None
        if order is None:
            wrong.add("TVBuilderError")
        if origin is None and index in found:
            if found[index].kind is Kind.AGAIN:
                wrong |= {"TVBuilderError", "TableReferenceError"}
            if found[index].kind.keeps_old and temporary.origin is not None:
                wrong.add("TVArgumentError")
        if wrong or order is None:
            return wrong
        key = None if origin is None or temporary.origin is None else (temporary.origin[0], origin)
        return Plan(found, order, index, self.code, pins, key)

    def _newest(self, name: str) -> tuple[int, Instance] | None:
        table = self.table(name)
        found = None if table is None else table.newest("base")
        return None if found is None or table is None else (table.number, found)


def make(
    plan: Plan,
    recorded: Mapping[str, Mapping[int, Any]],
    steps: Iterable[str],
    skipped: Mapping[str, Iterable[int]],
) -> Made:
    """Return what an execution makes that goes on with what is recorded. Rows that are ``skipped`` stay empty."""
    finished = set(steps)
    made: dict[str, dict[int, Any]] = {}
    index = plan.recipes[plan.index]
    origin = plan.origin[1] if plan.origin else None
    old = [] if origin is None else rows_of(origin.columns)
    known = dict(recorded.get(plan.index, {}))
    is_kept = index.kind.return_type is DATAFRAME and plan.index in recorded
    if index.kind is Kind.AGAIN and not old and plan.index not in finished:
        return Made(made, {}, {}, "TVBuilderError", plan.index)
    if plan.index not in finished and not is_kept:
        keys = _keys(index, plan)
        for row, cells in enumerate(recipes.index_rows(index, plan.code, keys, old)):
            known.setdefault(row, cells)
    made[plan.index] = known
    rows = [known[row] for row in sorted(known)]
    if index.kind is Kind.KEEP_KEY and plan.index not in finished and len({k for k, _ in rows}) < len(rows):
        return Made(made, {}, {}, "TVTableError", plan.index)
    rows = with_old(index, rows, old)
    columns: Columns = {}
    pages: dict[str, str] = {}
    if index.kind is Kind.AGAIN and origin is not None:
        columns = {name: list(cells) for name, cells in origin.columns.items()}
        pages = dict(origin.pages)
    columns |= {name: [row[place] for row in rows] for place, name in enumerate(INDEX_COLUMNS)}
    for name in [name for name in plan.order if name != plan.index]:
        recipe = plan.recipes[name]
        known = dict(recorded.get(name, {}))
        lookup: dict[int, list[str]] = {}
        if recipe.kind is Kind.FIND:
            for k, t in rows_of(plan.pins[recipe.other][1].columns):
                lookup.setdefault(k, []).append(t)
        for row, cell in enumerate(recipes.cells(recipe, plan.code, columns, lookup)):
            known.setdefault(row, cell)
        known.update(dict.fromkeys(skipped.get(name, ())))
        made[name] = known
        columns[recipe.column] = [known[row] for row in range(len(rows))]
    if PAGE in columns:
        pages = {name: pages.get(name) or content_of(name) for name in columns[PAGE] if isinstance(name, str)}
    return Made(made, columns, pages)


def partial(plan: Plan, recorded: Mapping[str, Mapping[int, Any]], *, has_old: bool) -> Columns:
    """Return the frame of what is recorded. What isn't is missing."""
    known = recorded.get(plan.index, {})
    rows = [known[row] for row in sorted(known)]
    if has_old and plan.origin is not None:
        rows = with_old(plan.recipes[plan.index], rows, rows_of(plan.origin[1].columns))
    columns: Columns = {}
    if has_old and plan.origin is not None and plan.recipes[plan.index].kind is Kind.AGAIN:
        columns = {name: list(cells) for name, cells in plan.origin[1].columns.items()}
    columns |= {name: [row[place] for row in rows] for place, name in enumerate(INDEX_COLUMNS)}
    for name in plan.order:
        if name != plan.index:
            known = recorded.get(name, {})
            columns[plan.recipes[name].column] = [known.get(row) for row in range(len(rows))]
    return columns


def with_old(index: Recipe, rows: list[tuple[int, str]], old: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return the rows of the origin that an IndexBuilder keeps, and then its own."""
    if index.kind is Kind.KEEP_KEY:
        keys = {k for k, _ in rows}
        return [each for each in old if each[0] not in keys] + rows
    if index.kind is Kind.KEEP:
        return [each for each in old if each not in rows] + rows
    return rows


def rows_of(columns: Columns) -> list[tuple[int, str]]:
    return list(zip(columns["k"], columns["t"], strict=True))  # type: ignore[arg-type]


def content_of(page: str) -> str:
    """Return what is in an artifact: its name tells."""
    folder, _, rest = page.partition("/")
    number, _, edition = rest.removesuffix(".txt").partition("-")
    return f"{folder[1:]} {number} {edition}"


def _keys(index: Recipe, plan: Plan) -> Sequence[int]:
    if index.kind is Kind.OTHER:
        return plan.pins[index.other][1].columns["k"]  # type: ignore[return-value]
    return index.numbers


def forgotten(old: Plan, new: Plan, *, recompute: bool) -> set[str]:
    """Return the builders whose rows are forgotten when an execution adopts a new plan."""
    again = set(old.order.keys() - new.order.keys())
    if recompute:
        reached = set(new.changed(old))
        for name, awaited in new.order.items():
            if awaited & reached:
                reached.add(name)
        again |= reached
    return again | set(new.order) if new.index in again else again


def can_stay(old: Plan, new: Plan, recorded: Mapping[str, Mapping[int, Any]]) -> bool:
    """Tell whether what is recorded can go on under the new plan."""
    return not any(name in recorded and name in old.order and not _same(name, old, new) for name in new.order)


def _same(name: str, old: Plan, new: Plan) -> bool:
    was, now = old.recipes[name], new.recipes[name]
    types = (was.kind.return_type, now.kind.return_type)
    same_kind = types[0] is types[1] if name == new.index else (types[0] is DATAFRAME) == (types[1] is DATAFRAME)
    if name == new.index:
        same_kind = same_kind and _kept(was) == _kept(now)
    return same_kind and was.columns == now.columns


def _kept(recipe: Recipe) -> object:
    """Return what decides which rows of the origin come before a recipe's own."""
    return recipe.kind if recipe.kind.keeps_old else None


def locked(*requests: tuple[str, Resource]) -> tuple[LockRequest, ...]:
    """Return lock requests from pairs of ``"x"`` or ``"s"`` and a resource."""
    return tuple(
        LockRequest.exclusive(resource) if mode == "x" else LockRequest.shared(resource) for mode, resource in requests
    )
