"""A code module cut into units: top-level statements, with what each binds, uses, and does while it is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from tablevault_like.functions.imports import Import, computes_imports, imports_in
from tablevault_like.functions.scopes import (
    Chain,
    ImportTime,
    bound_names,
    chain_of,
    import_time,
    stored_chains,
    used_chains,
)
from tablevault_like.functions.sources import Source

# What code mentions that acts on classes when they, or their subclasses, are defined.
_CLASS_HOOKS = frozenset({"__init_subclass__", "__subclasses__", "__set_name__"})
_PLAIN_METACLASSES = frozenset({"ABCMeta", "EnumMeta", "EnumType"})
# Calls whose results nothing changes afterwards.
_FIXED_RESULTS = frozenset({"getLogger", "compile", "frozenset", "namedtuple", "TypeVar", "NewType"})
_IS_SCRIPT = frozenset({"__name__ == '__main__'", "'__main__' == __name__"})
_BINDS_BY_TEXT = frozenset({"eval", "exec", "globals", "locals", "setattr", "vars"})

_DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_ASSIGNMENTS = ast.Assign | ast.AnnAssign | ast.AugAssign


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """One top-level statement, or one name of an import statement.

    ``binds`` are the names that it gives a value in its module, ``variables`` those of them whose value may be
    changed later. ``uses``, ``stores`` and ``calls`` are the chains that its code reads, those that it stores into,
    and the methods that it calls, whenever it is run; ``imports`` are all import statements in it.
    """

    source: Source
    node: ast.stmt
    binds: frozenset[str]
    variables: frozenset[str]
    uses: frozenset[Chain]
    stores: frozenset[Chain]
    calls: frozenset[Chain]
    imports: tuple[Import, ...]
    import_time: ImportTime
    bases: frozenset[Chain]
    has_class_hook: bool
    computes_imports: bool
    reads_docstrings: bool

    @property
    def module(self) -> str:
        return self.source.name

    @property
    def is_definition(self) -> bool:
        return isinstance(self.node, _DEFINITIONS)

    @property
    def is_import(self) -> bool:
        return isinstance(self.node, ast.Import | ast.ImportFrom)

    @property
    def is_future_import(self) -> bool:
        return isinstance(self.node, ast.ImportFrom) and self.node.module == "__future__"

    @property
    def is_action(self) -> bool:
        """Tell whether it is there for what it does rather than for a name: a bare call, a loop, an ``if``."""
        return not isinstance(self.node, _DEFINITIONS | _ASSIGNMENTS | ast.Import | ast.ImportFrom)


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    """A code module as units, in their order, and by the names that they bind."""

    source: Source
    units: tuple[Unit, ...]
    bindings: Mapping[str, tuple[Unit, ...]]

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def star_imports(self) -> Iterator[tuple[Unit, Import]]:
        return ((unit, found) for unit in self.units for found in unit.imports if found.name == "*")

    @property
    def may_hide_names(self) -> bool:
        """Tell whether it may bind names that can't be seen in its text."""
        return (
            "__getattr__" in self.bindings
            or any(True for _ in self.star_imports)
            or any(chain[0] in _BINDS_BY_TEXT or "modules" in chain for unit in self.units for chain in unit.uses)
        )


@lru_cache(maxsize=256)
def units_of(source: Source) -> Module:
    """Cut ``source`` into units. What only runs as a script (``if __name__ == "__main__":``) is left out."""
    units = tuple(_unit(source, part) for statement in source.tree.body for part in _parts(statement))
    bindings: dict[str, tuple[Unit, ...]] = {}
    for unit in units:
        for name in unit.binds:
            bindings[name] = (*bindings.get(name, ()), unit)
    return Module(source, units, bindings)


def _parts(statement: ast.stmt) -> Iterator[ast.stmt]:
    if isinstance(statement, ast.Import):
        yield from (ast.Import(names=[alias]) for alias in statement.names)
    elif isinstance(statement, ast.ImportFrom):
        for alias in statement.names:
            yield ast.ImportFrom(module=statement.module, names=[alias], level=statement.level)
    elif _is_script_part(statement):
        pass
    else:
        yield statement


def _is_script_part(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and not statement.orelse and ast.unparse(statement.test) in _IS_SCRIPT


def _unit(source: Source, node: ast.stmt) -> Unit:
    inner = list(ast.walk(node))
    imports = tuple(imports_in(inner))
    shared = frozenset(name for part in inner if isinstance(part, ast.Global) for name in part.names)
    is_definition = isinstance(node, _DEFINITIONS)
    assigned = bound_names([node])
    if _is_docstring(node):
        assigned = frozenset({"__doc__"})
    elif not is_definition:  # imports in functions bind nothing in the module
        assigned |= {found.bound for found in imports if found.bound is not None}
    mentioned = set(_identifiers(inner))
    return Unit(
        source=source,
        node=node,
        binds=assigned | shared,
        variables=shared if is_definition or _is_fixed(node) else assigned | shared,
        uses=(uses := used_chains(node)),
        stores=uses & stored_chains(inner),
        calls=uses & {chain_of(part.func) or () for part in inner if isinstance(part, ast.Call)},
        imports=imports,
        import_time=import_time(node),
        bases=frozenset(chain for part in inner if isinstance(part, ast.ClassDef) for chain in _bases(part)),
        has_class_hook=not mentioned.isdisjoint(_CLASS_HOOKS) or any(_has_metaclass(part) for part in inner),
        computes_imports=computes_imports(inner),
        reads_docstrings=not mentioned.isdisjoint(("__doc__", "getdoc")),
    )


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_fixed(node: ast.stmt) -> bool:
    """Tell whether ``node`` gives names values that can't be changed later, only replaced."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
        return False
    pending: list[ast.expr] = [node.value]
    while pending:
        value = pending.pop()
        match value:
            case ast.Constant() | ast.JoinedStr() | ast.Lambda():
                pass
            case ast.Tuple(elts=parts):
                pending += parts
            case ast.UnaryOp(operand=operand):
                pending.append(operand)
            case ast.BinOp(left=left, right=right):
                pending += (left, right)
            case ast.Call(func=function) if (chain_of(function) or ("",))[-1] in _FIXED_RESULTS:
                pass
            case _:
                return False
    return True


def _identifiers(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.FunctionDef(name=name) | ast.alias(name=name):
                yield name


def _bases(node: ast.ClassDef) -> Iterator[Chain]:
    for base in node.bases:
        yield from used_chains(base)


def _has_metaclass(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef) and any(
        keyword.arg == "metaclass" and (chain_of(keyword.value) or ("",))[-1] not in _PLAIN_METACLASSES
        for keyword in node.keywords
    )
