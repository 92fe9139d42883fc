"""What a function of a code module uses in vault code, transitively, as units.

A unit counts if it binds a name that a counted unit uses. A statement that is run while its module is imported counts,
too, if it may change what is counted: it stores into it, calls a method of it, or calls code that shares a
variable with it. In doubt a unit counts: a change that goes unnoticed costs wrong rows, one too many only time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tablevault_like.functions.names import Names, Node, Step, whole
from tablevault_like.functions.scopes import Chain
from tablevault_like.functions.sources import CodeFolder
from tablevault_like.functions.units import Module, Unit, units_of


class Reach:
    """The units that count, in the order in which they were found, and the names through which they do."""

    def __init__(self, code: CodeFolder) -> None:
        self._code = code
        self._names = Names(code)
        self._changes: dict[Unit, set[Node]] = {}
        self.units: dict[Unit, None] = {}
        self.nodes: set[Node] = set()

    def count_function(self, module: Module, name: str) -> bool:
        """Count what the function ``name`` of ``module`` uses. Return whether there may be such a function."""
        steps = list(self._names.follow_in(module, (name,)))
        if not any(step.node[1] == name for step in steps):
            if not module.may_hide_names:
                return False
            steps += whole(module)
        self._count(steps)
        while joining := [unit for unit in self._run_at_import() if unit not in self.units and self._may_change(unit)]:
            self._count(Step((unit.module, ""), unit) for unit in joining)
        return True

    def _count(self, steps: Iterable[Step]) -> None:
        pending = list(steps)
        while pending:
            step = pending.pop()
            self.nodes.add(step.node)
            if step.unit is not None and step.unit not in self.units:
                self.units[step.unit] = None
                pending += self._used_by(step.unit)

    def _used_by(self, unit: Unit) -> Iterator[Step]:
        yield from self._names.follow(unit, unit.uses)
        yield from self._names.imported_unbound(unit)
        for other in units_of(unit.source).units:
            if other.is_future_import:
                yield from (Step((unit.module, name), other) for name in other.binds)

    def _run_at_import(self) -> Iterator[Unit]:
        """Yield the units of all modules that are imported when those of the counted units are."""
        pending = {unit.module for unit in self.units}
        imported: set[str] = set()
        while pending:
            name = pending.pop()
            module = self._names.module(name)
            if module is not None and name not in imported:
                imported.add(name)
                yield from module.units
                pending |= self._names.imported_modules(module)

    def _may_change(self, unit: Unit) -> bool:
        """Tell whether ``unit``, when its module is imported, may change a value that counts."""
        if unit not in self._changes:
            self._changes[unit] = self._changed_by(unit)
        changed = self._changes[unit]
        if unit.bases and any(other.has_class_hook for other in self.units):
            changed = changed | _ends(self._names.follow(unit, unit.bases))
        return not changed.isdisjoint(self.nodes)

    def _changed_by(self, unit: Unit) -> set[Node]:
        run = unit.import_time
        inner = Reach(self._code)
        inner._count(self._names.follow(unit, run.called | run.passed))
        changed = _ends(self._names.follow(unit, run.stored))
        changed |= self._owners(unit, run.called)
        changed |= self._changed_by_bases(unit)
        for other in inner.units:
            changed |= _ends(step for step in self._names.follow(other, other.stores) if step.unit is not None)
            changed |= self._owners(other, other.calls)
        changed |= {node for node in inner.nodes if self._names.is_variable(node)}
        if unit.is_action:  # its purpose may be to change something outside the vault: random.seed(1)
            changed |= {node for node in inner.nodes if not node[0]}
        return changed

    def _owners(self, unit: Unit, called: Iterable[Chain]) -> set[Node]:
        """Return the classes (and functions) of vault code whose methods are called."""
        steps = self._names.follow(unit, called)
        return _ends(step for step in steps if step.unit is not None and step.unit.is_definition and step.rest)

    def _changed_by_bases(self, unit: Unit) -> set[Node]:
        """Return what the definition of a class may change through hooks of its base classes."""
        inner = Reach(self._code)
        inner._count(self._names.follow(unit, unit.bases))
        if not any(base.has_class_hook for base in inner.units):
            return set()
        variables = {node for node in inner.nodes if self._names.is_variable(node)}
        return variables | _ends(self._names.follow(unit, unit.bases))


def _ends(steps: Iterable[Step]) -> set[Node]:
    """Return the names at which chains end, without the imports that they pass."""
    return {step.node for step in steps if not step.is_import}
