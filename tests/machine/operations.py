"""The operations of a vault: how each is called, what it refuses, which locks it needs, and what it changes.

``refuse`` returns the names of the classes of errors that may be raised, before anything is recorded. ``locks`` and
``effect`` are only asked for what isn't refused. ``run`` is what ``effect`` is told of the process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import pandas as pd

from tablevault_like import TableVault
from tablevault_like.model import RESERVED_NAMES, LockRequest, Resource
from tests.machine import model
from tests.machine.model import INDEX, Instance, Model, Process, Temporary, locked
from tests.machine.recipes import Code, Recipe

WRONG = frozenset({"TVArgumentError"})
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Operation(ABC):
    """One kind of change, and its arguments."""

    name: ClassVar[str]
    is_at_once: ClassVar[bool] = False
    """It is one transaction of the catalog: no worker can die halfway."""

    @abstractmethod
    def call(self, vault: TableVault, process_id: str) -> str: ...

    @abstractmethod
    def refuse(self, it: Model) -> frozenset[str]: ...

    @abstractmethod
    def locks(self, it: Model) -> tuple[LockRequest, ...]: ...

    def claim_locks(self, it: Model) -> tuple[LockRequest, ...]:
        return ()

    @abstractmethod
    def effect(self, it: Model, run: Process, new_id: str) -> None: ...

    def refuse_again(self, it: Model) -> frozenset[str]:
        """Return what is raised when a process goes on that was claimed earlier, and is then reverted."""
        return NOTHING

    def is_same(self, other: Operation) -> bool:
        """Tell whether a process that was started by ``other`` goes on when this is called with its id."""
        return self == other


@dataclass(frozen=True)
class CreateTable(Operation):
    name = "create_table"
    is_at_once = True

    table: str
    has_side_effects: bool = False

    def call(self, vault: TableVault, process_id: str) -> str:
        return vault.create_table(self.table, has_side_effects=self.has_side_effects, process_id=process_id)

    def refuse(self, it: Model) -> frozenset[str]:
        return WRONG if it.table(self.table) or self.table in RESERVED_NAMES else NOTHING

    def locks(self, it: Model) -> tuple[LockRequest, ...]:
        return locked(("x", Resource.table(self.table)))

    def effect(self, it: Model, run: Process, new_id: str) -> None:
        it.add_table(self.table, has_side_effects=self.has_side_effects)


@dataclass(frozen=True)
class RenameTable(Operation):
    name = "rename_table"
    is_at_once = True

    new: str
    table: str

    def call(self, vault: TableVault, process_id: str) -> str:
        return vault.rename_table(self.new, self.table, process_id=process_id)

    def refuse(self, it: Model) -> frozenset[str]:
        return WRONG if not it.table(self.table) or it.table(self.new) or self.new in RESERVED_NAMES else NOTHING

    def locks(self, it: Model) -> tuple[LockRequest, ...]:
        return locked(("x", Resource.table(self.table)), ("x", Resource.table(self.new)))

    def effect(self, it: Model, run: Process, new_id: str) -> None:
        table = it.table(self.table)
        assert table is not None
        it.rename(table, self.new)


@dataclass(frozen=True)
class DeleteTable(Operation):
    name = "delete_table"
    is_at_once = True

    table: str

    def call(self, vault: TableVault, process_id: str) -> str:
        return vault.delete_table(self.table, process_id=process_id)

    def refuse(self, it: Model) -> frozenset[str]:
        return NOTHING if it.table(self.table) else WRONG

    def locks(self, it: Model) -> tuple[LockRequest, ...]:
        return locked(("x", Resource.table(self.table)))

    def effect(self, it: Model, run: Process, new_id: str) -> None:
        it.tables = [each for each in it.tables if each.name != self.table]


@dataclass(frozen=True)
class CreateInstance(Operation):
    """``index`` is the IndexBuilder's file. Without it, the origin's is meant."""

    name = "create_instance"

    table: str
    version: str = "base"
    origin_id: str = ""
    origin_table: str = ""
    external: bool = False
    copy: bool = False
    index: Recipe | None = None

    def call(self, vault: TableVault, process_id: str) -> str:
        builders = {self.table + INDEX: self.index.text()} if self.index else None
        return vault.create_instance(
            self.table,
            self.version,
            self.origin_id,
            self.origin_table,
            self.external,
            self.copy,
            builders,
            process_id=process_id,
        )

    def refuse(self, it: Model) -> frozenset[str]:
        table = it.table(self.table)
        if table is None or self.version in table.temporaries or (self.external and self.index):
            return WRONG
        if self.origin_id:
            origin = it.table(self.origin_table or self.table)
            return NOTHING if origin and origin.instance(self.origin_id) else WRONG
        if self.origin_table and (not self.copy or it.table(self.origin_table) is None):
            return WRONG
        return NOTHING

    def locks(self, it: Model) -> tuple[LockRequest, ...]:
        needed = locked(
            ("x", Resource.instance(self.table, f"TEMP_{self.version}")),
            ("x", Resource.builders(self.table, self.version)),
        )
        key = self._origin(it)
        if key is None:
            return needed
        owner = it.by_number(key[0])
        assert owner is not None
        return (*needed, *locked(("s", Resource.instance(owner.name, key[1]))))

    def effect(self, it: Model, run: Process, new_id: str) -> None:
        table = it.table(self.table)
        assert table is not None
        key = self._origin(it)
        builders: dict[str, Recipe] = {}
        origin = it.find(key)
        if origin is not None and not self.external:
            builders = {
                self.table + INDEX if name.endswith(INDEX) else name: recipe for name, recipe in origin.builders.items()
            }
        if self.index:
            builders[self.table + INDEX] = self.index
        table.temporaries[self.version] = Temporary(self.version, builders, self.external, key)

    def _origin(self, it: Model) -> tuple[int, str] | None:
        if self.origin_id:
            owner = it.table(self.origin_table or self.table)
            return None if owner is None else (owner.number, self.origin_id)
        table = it.table(self.origin_table or self.table)
        if not self.copy or table is None or not table.instances:
            return None
        found = table.newest(self.version, active_only=False) or table.instances[-1]
        return table.number, found.instance_id


@dataclass(frozen=True)
class DeleteInstance(Operation):
    name = "delete_instance"
    is_at_once = True

    instance_id: str
    table: str

    def call(self, vault: TableVault, process_id: str) -> str:
        return vault.delete_instance(self.instance_id, self.table, process_id=process_id)

    def refuse(self, it: Model) -> frozenset[str]:
        table = it.table(self.table)
        return NOTHING if table and self.instance_id in table.ids else WRONG

    def locks(self, it: Model) -> tuple[LockRequest, ...]:
        needed = locked(("x", Resource.instance(self.table, self.instance_id)))
        if self._version is None:
            return needed
        return (*needed, *locked(("x", Resource.builders(self.table, self._version))))

    def effect(self, it: Model, run: Process, new_id: str) -> None:
        table = it.table(self.table)
        assert table is not None
        if self._version is not None:
            del table.temporaries[self._version]
        table.instances = [each for each in table.instances if each.instance_id != self.instance_id]

    @property
    def _version(self) -> str | None:
        return self.instance_id.removeprefix("TEMP_") if self.instance_id.startswith("TEMP_") else None


@dataclass(frozen=True)
class Bundle:
    """What a bundle has: an instance as it was, and the tables of what it was made from, under their names of then."""

    path: str
    instance: Instance
    sources: frozenset[tuple[str, str]]
    origin: tuple[str, str] | None
    has_side_effects: bool


@dataclass(frozen=True)
class Import(Operation):
    name = "import_instance"

    path: str = field(compare=False)
    table: str
    instance_id: str
    bundle: Bundle = field(compare=False, repr=False)

    def call(self, vault: TableVault, process_id: str) -> str:
        return vault.import_instance(self.path, self.table, process_id=process_id)

    def refuse(self, it: Model) -> frozenset[str]:
        return NOTHING

    def locks(self, it: Model) -> tuple[LockRequest, ...]:
        table, instance_id = it.table(self.table), self.bundle.instance.instance_id
        if table is None:
            return locked(("x", Resource.table(self.table)))
        mode = "x" if table.instance(instance_id) is None else "s"
        return locked((mode, Resource.instance(self.table, instance_id)))

    def effect(self, it: Model, run: Process, new_id: str) -> None:
        told = self.bundle.instance
        if it.table(self.table) is None:
            it.add_table(self.table, has_side_effects=self.bundle.has_side_effects)
        table = it.table(self.table)
        assert table is not None
        if table.instance(told.instance_id) is not None:
            return
        made = Instance(told.instance_id, told.version, told.columns, told.pages, told.builders, success=told.success)
        made.active = not table.has_side_effects
        keys = [(it.table(name), instance_id) for name, instance_id in self.bundle.sources]
        made.sources = frozenset((owner.number, each) for owner, each in keys if owner and owner.instance(each))
        if self.bundle.origin is not None:
            owner, origin_id = it.table(self.bundle.origin[0]), self.bundle.origin[1]
            made.origin = (owner.number, origin_id) if owner and owner.instance(origin_id) else None
        table.instances.append(made)


@dataclass(frozen=True)
class Pin(Operation):
    name = "pin"
    is_at_once = True
    pinned: ClassVar[bool] = True

    table: str
    instance_id: str

    def call(self, vault: TableVault, process_id: str) -> str:
        return vault.pin(self.table, self.instance_id, process_id=process_id)

    def refuse(self, it: Model) -> frozenset[str]:
        table = it.table(self.table)
        return NOTHING if table and table.instance(self.instance_id) else WRONG

    def locks(self, it: Model) -> tuple[LockRequest, ...]:
        return locked(("s", Resource.instance(self.table, self.instance_id)))

    def effect(self, it: Model, run: Process, new_id: str) -> None:
        table = it.table(self.table)
        instance = table and table.instance(self.instance_id)
        assert instance
        instance.pinned = self.pinned


@dataclass(frozen=True)
class Unpin(Pin):
    name = "unpin"
    pinned: ClassVar[bool] = False

    def call(self, vault: TableVault, process_id: str) -> str:
        return vault.unpin(self.table, self.instance_id, process_id=process_id)


@dataclass(frozen=True)
class Prune(Operation):
    name = "prune"

    keep: int

    def call(self, vault: TableVault, process_id: str) -> str:
        return str(vault.prune(self.keep, dry_run=False, process_id=process_id).process_id)

    def refuse(self, it: Model) -> frozenset[str]:
        return NOTHING if self.keep else WRONG

    def locks(self, it: Model) -> tuple[LockRequest, ...]:
        going = [("x", Resource.instance(table.name, each.instance_id)) for table, each in it.prunable(self.keep)]
        return locked(("x", Resource("trash")), *going)

    def effect(self, it: Model, run: Process, new_id: str) -> None:
        # What it holds itself isn't in its way.
        held, run.locks = run.locks, ()
        going = it.prunable(self.keep)
        run.locks = held
        mine = {request.resource for request in held}
        for table, instance in going:
            if Resource.instance(table.name, instance.instance_id) in mine:
                table.instances.remove(instance)


@dataclass(frozen=True)
class CreateBuilder(Operation):
    name = "create_builder_file"

    table: str
    builder: str
    recipe: Recipe
    version: str = "base"

    def call(self, vault: TableVault, process_id: str) -> str:
        text = self.recipe.text()
        return vault.create_builder_file(self.table, self.builder, self.version, text=text, process_id=process_id)

    def refuse(self, it: Model) -> frozenset[str]:
        if self.builder.endswith(INDEX) and self.builder != self.table + INDEX:
            return frozenset({"TVBuilderError"})
        temporary = it.temporary(self.table, self.version)
        return WRONG if temporary is None or temporary.external else NOTHING

    def locks(self, it: Model) -> tuple[LockRequest, ...]:
        return locked(("x", Resource.builders(self.table, self.version, self.builder)))

    def effect(self, it: Model, run: Process, new_id: str) -> None:
        temporary = it.temporary(self.table, self.version)
        assert temporary is not None
        temporary.builders[self.builder] = self.recipe

    def refuse_again(self, it: Model) -> frozenset[str]:
        return NOTHING if it.temporary(self.table, self.version) else WRONG


@dataclass(frozen=True)
class DeleteBuilder(Operation):
    name = "delete_builder_file"

    builder: str
    table: str
    version: str = "base"

    def call(self, vault: TableVault, process_id: str) -> str:
        return vault.delete_builder_file(self.builder, self.table, self.version, process_id=process_id)

    def refuse(self, it: Model) -> frozenset[str]:
        temporary = it.temporary(self.table, self.version)
        return NOTHING if temporary and self.builder in temporary.builders else WRONG

    def locks(self, it: Model) -> tuple[LockRequest, ...]:
        return locked(("x", Resource.builders(self.table, self.version, self.builder)))

    def effect(self, it: Model, run: Process, new_id: str) -> None:
        temporary = it.temporary(self.table, self.version)
        assert temporary is not None
        temporary.builders.pop(self.builder, None)

    def refuse_again(self, it: Model) -> frozenset[str]:
        return NOTHING if it.temporary(self.table, self.version) else WRONG


@dataclass(frozen=True)
class CreateModule(Operation):
    """Write ``work`` or ``aid``, with a number in it; or any other module, which nobody uses."""

    name = "create_code_module"

    module: str
    number: int = 0
    note: int = 0

    @property
    def text(self) -> str:
        return replace(Code(0), **self._changed, note=self.note).module("aid" if self.module != "work" else "work")

    def call(self, vault: TableVault, process_id: str) -> str:
        return vault.create_code_module(self.module, text=self.text, process_id=process_id)

    def refuse(self, it: Model) -> frozenset[str]:
        return NOTHING

    def locks(self, it: Model) -> tuple[LockRequest, ...]:
        return locked(("x", Resource.code(self.module)))

    def effect(self, it: Model, run: Process, new_id: str) -> None:
        it.modules[self.module] = self.text
        if self.module in ("work", "aid"):
            it.code = replace(it.code, **self._changed)

    @property
    def _changed(self) -> dict[str, int]:
        return {"edition" if self.module == "work" else "aid": self.number}


@dataclass(frozen=True)
class DeleteModule(Operation):
    name = "delete_code_module"

    module: str

    def call(self, vault: TableVault, process_id: str) -> str:
        return vault.delete_code_module(self.module, process_id=process_id)

    def refuse(self, it: Model) -> frozenset[str]:
        return NOTHING if self.module in it.modules else WRONG

    def locks(self, it: Model) -> tuple[LockRequest, ...]:
        return locked(("x", Resource.code(self.module)))

    def effect(self, it: Model, run: Process, new_id: str) -> None:
        it.modules.pop(self.module, None)
        if self.module == "work":
            it.code = replace(it.code, edition=None)


@dataclass(frozen=True)
class Write(Operation):
    """Write a frame with these keys. With ``pages``, those artifacts are put into the folder first.

    ``is_given`` is false for a call that goes on without giving the frame again.
    """

    name = "write_instance"

    table: str
    version: str = "base"
    keys: tuple[int, ...] = ()
    pages: tuple[str, ...] | None = None
    placed: tuple[str, ...] = ()
    dependencies: tuple[tuple[str, str], ...] = ()
    is_given: bool = True

    @property
    def columns(self) -> model.Columns:
        columns: model.Columns = {"k": list(self.keys), "t": [f"e{k}" for k in self.keys]}
        if self.pages is not None:
            columns["page"] = [self.pages[row] if row < len(self.pages) else None for row in range(len(self.keys))]
        return columns

    def call(self, vault: TableVault, process_id: str) -> str:
        frame = None
        if self.is_given:
            frame = pd.DataFrame(self.columns).astype({"k": "Int64", "t": "string"})
        dtypes = None if self.pages is None else {"page": "artifact_string"}
        return vault.write_instance(
            frame, self.table, self.version, self.dependencies, dtypes=dtypes, process_id=process_id
        )

    def place(self, folder: Path) -> None:
        """Put the artifacts into the temporary instance's folder."""
        for name in self.placed:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(model.content_of(name))

    def refuse(self, it: Model) -> frozenset[str]:
        if not self.is_given:
            return frozenset({"TVProcessError"})
        temporary = it.temporary(self.table, self.version)
        if temporary is None or not temporary.external:
            return WRONG
        for name, instance_id in self.dependencies:
            table = it.table(name)
            if table is None or instance_id not in table.ids:
                return WRONG
        return NOTHING

    def locks(self, it: Model) -> tuple[LockRequest, ...]:
        read = [("s", Resource.instance(table, each)) for table, each in self.dependencies]
        return locked(("x", Resource.instance(self.table, f"TEMP_{self.version}")), *read)

    def is_wrong(self, it: Model) -> bool:
        """Tell whether artifacts and cells don't match."""
        temporary = it.temporary(self.table, self.version)
        assert temporary is not None
        named = {name for name in self.columns.get("page", []) if isinstance(name, str)}
        return named != set(temporary.pages)

    def effect(self, it: Model, run: Process, new_id: str) -> None:
        table = it.table(self.table)
        assert table is not None
        temporary = table.temporaries.pop(self.version)
        pages = {str(name): model.content_of(str(name)) for name in self.columns.get("page", []) if name is not None}
        sources = set()
        for name, instance_id in self.dependencies:
            owner = it.table(name)
            assert owner is not None
            sources.add((owner.number, instance_id))
        for each in self.silence(it):
            each.active = False
        made = Instance(new_id, self.version, self.columns, pages, temporary.builders, sources=frozenset(sources))
        table.instances.append(made)

    def silence(self, it: Model) -> list[Instance]:
        """Return the instances that become inactive when this begins, and again when it ends."""
        return silenced(it, self.table)

    def is_same(self, other: Operation) -> bool:
        if not isinstance(other, Write):
            return False
        if not self.is_given:  # then what isn't given either is what was
            return (
                (self.table, self.version) == (other.table, other.version)
                and self.dependencies in ((), other.dependencies)
                and (self.pages is None or other.pages is not None)
            )
        return replace(self, placed=other.placed) == other


@dataclass(frozen=True)
class Execute(Operation):
    name = "execute_instance"

    table: str
    version: str = "base"
    force: bool = False
    on_change: str = field(default="error", compare=False)
    until: str | None = field(default=None, compare=False)
    budget: int | None = field(default=None, compare=False)
    existing: str = field(default="auto", compare=False)

    def call(self, vault: TableVault, process_id: str) -> str:
        return vault.execute_instance(
            self.table,
            self.version,
            self.force,
            process_id=process_id,
            on_change=self.on_change,
            until=self.until or "",
            budget=None if self.budget is None else {"rows": self.budget},
            existing=self.existing,
        )

    def refuse(self, it: Model) -> frozenset[str]:
        temporary = it.temporary(self.table, self.version)
        if temporary is None or temporary.external:
            return WRONG
        table = it.table(self.table)
        assert table is not None
        found = it.plan(table, temporary)
        if isinstance(found, set):
            return frozenset(found)
        return NOTHING if self.until is None or self.until in found.order else frozenset({"TVBuilderError"})

    def locks(self, it: Model) -> tuple[LockRequest, ...]:
        table, temporary = it.table(self.table), it.temporary(self.table, self.version)
        assert table is not None
        assert temporary is not None
        plan = it.plan(table, temporary)
        assert isinstance(plan, model.Plan)
        read = []
        for number, instance_id in sorted(plan.sources):
            owner = it.by_number(number)
            assert owner is not None
            read.append(("s", Resource.instance(owner.name, instance_id)))
        return locked(("x", Resource.instance(self.table, f"TEMP_{self.version}")), *read)

    def claim_locks(self, it: Model) -> tuple[LockRequest, ...]:
        return locked(("s", Resource.builders(self.table, self.version)), ("s", Resource.code()))

    def effect(self, it: Model, run: Process, new_id: str) -> None:
        table = it.table(self.table)
        assert table is not None
        assert run.plan is not None
        temporary = table.temporaries.pop(self.version)
        made = model.make(run.plan, run.cells, run.steps, run.skipped)
        assert made.error is None
        instance = Instance(new_id, self.version, made.columns, made.pages, dict(run.plan.recipes))
        instance.sources, instance.origin = run.plan.sources, temporary.origin
        table.instances.append(instance)

    def keep_part(self, it: Model, run: Process, new_id: str) -> None:
        """Do what ``stop_process(materialize=True)`` does."""
        table = it.table(self.table)
        assert table is not None
        assert run.plan is not None
        temporary = table.temporaries.pop(self.version)
        columns = model.partial(run.plan, run.cells, has_old=run.with_old)
        pages = {str(name): model.content_of(str(name)) for name in columns.get("page", []) if name is not None}
        instance = Instance(new_id, self.version, columns, pages, dict(run.plan.recipes), success=False)
        instance.sources, instance.origin = run.plan.sources, temporary.origin
        table.instances.append(instance)

    def silence(self, it: Model) -> list[Instance]:
        """Return the instances that become inactive when this begins."""
        return silenced(it, self.table)


def silenced(it: Model, name: str) -> list[Instance]:
    """Return the instances that become inactive when another one of their table is made."""
    table = it.table(name)
    if table is None or not table.has_side_effects:
        return []
    return [each for each in table.instances if each.active]


ALL: Mapping[str, type[Operation]] = {each.name: each for each in Operation.__subclasses__()}
