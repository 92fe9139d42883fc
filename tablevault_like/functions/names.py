"""What the names in code modules stand for: follow ``helpers.clean`` to where it is bound, through imports.

What can't be followed stands for everything in its module: a module that is used as a value, an attribute that nothing
in its module binds, names that are looked up by text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from tablevault_like.functions.imports import Import, is_own_name, vault_module
from tablevault_like.functions.scopes import Chain
from tablevault_like.functions.sources import CodeFolder
from tablevault_like.functions.units import Module, Unit, units_of

# A code module and a name in it; or "" and a top-level module of the environment.
Node: TypeAlias = tuple[str, str]

_LOOKS_UP_NAMES = frozenset({"builtins.eval", "builtins.exec", "builtins.globals", "sys.modules"})
_MODULE_ATTRIBUTES = frozenset({"__doc__", "__file__", "__name__", "__package__", "__path__", "__spec__"})


@dataclass(frozen=True, slots=True)
class Step:
    """A name at which a chain arrives, the unit that binds it (``None`` outside the vault), and the chain's rest."""

    node: Node
    unit: Unit | None
    rest: Chain = ()

    @property
    def is_import(self) -> bool:
        return self.unit is not None and self.unit.is_import


class Names:
    """The names in the modules of one folder."""

    def __init__(self, code: CodeFolder) -> None:
        self._code = code

    def module(self, name: str) -> Module | None:
        """Return the code module ``name``, ``None`` if there is none."""
        source = self._code.read(name) if name else None
        return None if source is None else units_of(source)

    def follow(self, unit: Unit, chains: Iterable[Chain]) -> Iterator[Step]:
        """Yield every step on the ways from ``chains``, as they stand in ``unit``."""
        module = units_of(unit.source)
        for chain in chains:
            yield from self.follow_in(module, chain, imports=unit.imports)

    def follow_in(
        self,
        module: Module,
        chain: Chain,
        *,
        imports: Iterable[Import] = (),
        seen: set[tuple[str, Chain]] | None = None,
    ) -> Iterator[Step]:
        """Yield every step on the way from ``chain``, as it stands in ``module``.

        ``imports`` are those made in the code around it. ``seen`` ends circles of modules that import each other.
        """
        seen = set() if seen is None else seen
        if (module.name, chain) in seen:
            return
        seen.add((module.name, chain))
        head, rest = chain[0], chain[1:]
        bindings = module.bindings.get(head, ())
        for unit in bindings:
            yield Step((module.name, head), unit, rest)
        inner = (imported for unit in bindings for imported in unit.imports)
        found = [imported for imported in (*inner, *imports) if imported.bound == head]
        for imported in found:
            yield from self._through(module, imported, rest, seen)
        for unit, star in module.star_imports:
            yield Step((module.name, ""), unit)
            yield from self._through(module, star, chain, seen)
        if not bindings and not found and f"builtins.{head}" in _LOOKS_UP_NAMES:
            yield from whole(module)

    def imported_unbound(self, unit: Unit) -> Iterator[Step]:
        """Yield the modules that ``unit`` imports without an import statement."""
        module = units_of(unit.source)
        for imported in unit.imports:
            if imported.name is None and imported.bound is None:
                yield from self._through(module, imported, (), set())
        if unit.computes_imports:
            for name in sorted(self._code.names):
                for inner in self._code.inner_modules(name):
                    yield from whole(units_of(self._code.require(inner)))

    def imported_modules(self, module: Module) -> set[str]:
        """Return the names of the code modules that ``module`` may import; some of them may not exist."""
        found = {module.name.rpartition(".")[0]}
        for unit in module.units:
            for imported in unit.imports:
                name = vault_module(self._code, module.source, imported)
                if name is not None:
                    found |= {name, f"{name}.{imported.name}".lstrip(".")}
        return found

    def is_variable(self, node: Node) -> bool:
        """Tell whether ``node`` is a name whose value may be changed after it was bound."""
        module = self.module(node[0])
        return module is not None and any(node[1] in unit.variables for unit in module.bindings.get(node[1], ()))

    def _through(self, module: Module, imported: Import, rest: Chain, seen: set[tuple[str, Chain]]) -> Iterator[Step]:
        """Follow ``rest`` from what ``module`` imports."""
        name = vault_module(self._code, module.source, imported, target=True)
        taken: Chain = () if imported.name is None or imported.name == "*" else (imported.name,)
        if name is None:
            top, *path = (*imported.target.split("."), *taken, *rest)
            yield Step(("", top), None, tuple(path))
            if is_own_name(module.source, imported) or ".".join((top, *path[:1])) in _LOOKS_UP_NAMES:
                yield from whole(module)
        elif imported.name == "*":
            source = self.module(name)
            if source is not None:
                yield from self.follow_in(source, rest, seen=seen)
        else:
            yield from self._inside(name, taken + rest, seen)

    def _inside(self, name: str, chain: Chain, seen: set[tuple[str, Chain]]) -> Iterator[Step]:
        """Follow ``chain``, attribute by attribute, from the module ``name``."""
        if not name:
            name, chain = chain[0], chain[1:]
        module = self.module(name)
        if module is None:
            return
        if not chain:
            yield from whole(module)
            return
        head = chain[0]
        is_circle = (name, chain) in seen  # such as ``from . import first`` in a package's own __init__
        steps = [] if is_circle else list(self.follow_in(module, chain, seen=seen))
        yield from steps
        if any(step.node[1] == head for step in steps):
            return
        if self._code.find(f"{name}.{head}") is not None:
            yield from self._inside(f"{name}.{head}", chain[1:], seen)
        elif not is_circle and head not in _MODULE_ATTRIBUTES:
            yield from whole(module)


def whole(module: Module) -> Iterator[Step]:
    """Yield a step to every name of ``module``, and to every statement in it that binds none."""
    for unit in module.units:
        for name in unit.binds or ("",):
            yield Step((module.name, name), unit)
