"""Which names of its module a piece of code uses, and which of them while the module is imported.

A name is given as a *chain*: ``("helpers", "clean")`` for ``helpers.clean``, as far as it is written. Local variables,
parameters and the variables of comprehensions don't count; names that a function imports do. In doubt a name counts.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

Chain: TypeAlias = tuple[str, ...]

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def used_chains(statement: ast.AST) -> frozenset[Chain]:
    """Return the chains that start at names which ``statement`` doesn't bind for itself."""
    shared = {name for node in ast.walk(statement) if isinstance(node, ast.Global) for name in node.names}
    found: set[Chain] = set()
    pending: list[tuple[ast.AST, frozenset[str]]] = [(statement, frozenset())]
    while pending:
        node, local = pending.pop()
        chain = chain_of(node)
        if chain is not None:
            is_stored = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            if chain[0] not in local and not (is_stored and chain[0] not in shared):
                found.add(chain)
            continue
        pending += ((part, local) for part in _outside(node))
        inside = _inside(node)
        if inside:
            hidden = local | (_bound_inside(node) - shared)
            pending += ((part, hidden) for part in inside)
    return frozenset(found)


def chain_of(node: ast.AST) -> Chain | None:
    """Return the chain that ``node`` is, ``None`` if it is anything else.

    >>> chain_of(ast.parse("helpers.clean", mode="eval").body)
    ('helpers', 'clean')
    """
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else None


@dataclass(slots=True)
class ImportTime:
    """What a top-level statement may change while its module is imported, beside binding names.

    ``called`` are the functions and decorators that it calls, ``passed`` what it gives them, ``stored`` the objects
    whose attributes or items it sets or deletes.
    """

    called: set[Chain] = field(default_factory=set)
    passed: set[Chain] = field(default_factory=set)
    stored: set[Chain] = field(default_factory=set)


def import_time(statement: ast.stmt) -> ImportTime:
    """Return what ``statement`` does when its module is imported: the bodies of functions aren't run then."""
    found = ImportTime()
    for node in _run_at_import(statement):
        if isinstance(node, ast.Call):
            called = chain_of(node.func)
            if called is not None:
                found.called.add(called)
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            found.passed |= {chain for part in arguments for chain in used_chains(part)}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.called |= {chain for part in node.decorator_list for chain in used_chains(part)}
            if isinstance(node, ast.ClassDef):
                found.called |= {chain for part in node.keywords for chain in used_chains(part.value)}
        found.stored |= stored_chains([node])
    return found


def stored_chains(nodes: Iterable[ast.AST]) -> frozenset[Chain]:
    """Return what ``nodes`` store into or delete: ``a.b`` for ``a.b = 1``, ``a.b[0] = 1``, ``setattr(a.b, ...)``."""
    found: set[Chain] = set()
    for node in nodes:
        match node:
            case ast.Subscript(value=changed, ctx=ast.Store() | ast.Del()):
                found |= used_chains(changed)
            case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Name(ctx=ast.Del()):
                found |= used_chains(node)
            case ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[changed, *_]):
                found |= used_chains(changed)
    return frozenset(found)


def bound_names(statements: Iterable[ast.AST]) -> frozenset[str]:
    """Return the names that ``statements`` bind in their own scope, those of imports aside."""
    found: set[str] = set()
    pending = list(statements)
    while pending:
        node = pending.pop()
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                found.add(name)
            case ast.MatchMapping(rest=str(name)):
                found.add(name)
        if isinstance(node, _Comprehension):  # only ``:=`` binds outside of it
            walrus = (inner.target for inner in ast.walk(node) if isinstance(inner, ast.NamedExpr))
            found |= {target.id for target in walrus}
        elif isinstance(node, ast.ClassDef):
            pending += [*node.decorator_list, *node.bases, *node.keywords]
        elif type(node).__name__ == "TypeAlias":  # from Python 3.12 on
            found.add(node.name.id)  # type: ignore[attr-defined]
        else:
            pending += _outside(node)
    return frozenset(found)


# A node's parts are in the scope around it, or in its own. The body of a class counts as part of the scope around it:
# what is bound there hides nothing from its methods.


def _outside(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, _Comprehension):
        return [node.generators[0].iter]
    if isinstance(node, _Function):
        body = {id(part) for part in _inside(node)}
        return [part for part in ast.iter_child_nodes(node) if id(part) not in body]
    return [] if _type_parameters(node) else list(ast.iter_child_nodes(node))


def _inside(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, ast.Lambda):
        return [node.body]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return list(node.body)
    has_scope = isinstance(node, _Comprehension) or _type_parameters(node)
    return list(ast.iter_child_nodes(node)) if has_scope else []


def _bound_inside(node: ast.AST) -> frozenset[str]:
    """Return the names that are bound in the scope of ``node`` itself."""
    parameters = _type_parameters(node)
    if isinstance(node, _Comprehension):
        return bound_names(generator.target for generator in node.generators)
    if isinstance(node, _Function):
        parameters |= {argument.arg for argument in ast.iter_child_nodes(node.args) if isinstance(argument, ast.arg)}
        return bound_names(_inside(node)) | parameters
    return parameters


def _type_parameters(node: ast.AST) -> frozenset[str]:
    return frozenset(parameter.name for parameter in getattr(node, "type_params", ()))


def _run_at_import(statement: ast.AST) -> Iterator[ast.AST]:
    pending = [statement]
    while pending:
        node = pending.pop()
        yield node
        pending += _outside(node)
        if not isinstance(node, _Function):
            pending += _inside(node)
