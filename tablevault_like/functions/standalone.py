"""A function that lives in an interpreter as the text of a code module that stands alone.

The text holds the function's own source, as it was written, with all that it uses: modules that it names are imported,
plain constants are assigned, functions and classes of the same module or notebook are taken along with what they use.
What comes from other modules is imported from there.

Nothing is run.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import symtable
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any

from tablevault_like.errors import TVArgumentError
from tablevault_like.functions.constants import constant
from tablevault_like.functions.origins import imported, is_installed
from tablevault_like.functions.scopes import chain_of
from tablevault_like.functions.written import Definition, NotAloneError, Written, unwrapped, written

_OWN_NAMES = frozenset({"__name__", "__doc__", "__package__", "__spec__", "__loader__", "__builtins__", "__debug__"})


def standalone(function: Callable[..., object], name: str) -> str:
    """Return the text of a module in which ``function`` is called ``name``.

    Raises ``NotAloneError`` if there is none, and ``TVArgumentError`` if it can't work in another module at all.
    """
    if getattr(builtins, name, None) is function:
        return f"from builtins import {name}\n"
    module = inspect.getmodule(function)
    found = imported(function, name)
    if found is not None and module is not None and is_installed(module):
        return f"{found}\n"
    original = unwrapped(function)
    return _Text(original.__globals__).of(name, function)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Something that is bound in the module: its text, what it uses, and what of that when the module is imported."""

    value: object
    text: str
    uses: frozenset[str] = frozenset()
    early: frozenset[str] = frozenset()
    line: tuple[str, int] = ("", 0)


@dataclass(slots=True)
class _Text:
    """Puts the text of a module together. ``home`` are the globals of the function that it is made for."""

    home: dict[str, Any]
    imports: set[str] = field(default_factory=set)
    pieces: dict[str, _Piece] = field(default_factory=dict)
    is_future: bool = False

    def of(self, name: str, function: Callable[..., object]) -> str:
        pending = self._bind(name, function)
        while pending:
            used = pending.pop()
            if used not in self.pieces:
                pending += self._use(used)
        parts = ["from __future__ import annotations\n"] if self.is_future else []
        if self.imports:
            plain = sorted(line for line in self.imports if line.startswith("import "))
            parts.append("\n".join([*plain, *sorted(self.imports - set(plain))]) + "\n")
        constants = [piece.text for piece in self._ordered() if not piece.line[0]]
        if constants:
            parts.append("\n".join(constants) + "\n")
        parts += (f"\n{piece.text.strip()}\n" for piece in self._ordered() if piece.line[0])
        return "\n".join(parts).lstrip("\n")

    def _bind(self, name: str, value: Any) -> list[str]:
        """Take the definition of a function or a class along as ``name``. Return the names that it uses."""
        found = written(value)
        if isinstance(found.node, ast.Lambda):
            return self._add(name, value, found, f"{name} = {found.text}")
        known_as = found.node.name
        used = self._add(known_as, value, found, found.text)
        if known_as != name:
            file, line = found.place
            self._keep(name, _Piece(value, f"{name} = {known_as}", early=frozenset({known_as}), line=(file, line + 1)))
        return used

    def _add(self, name: str, value: Any, found: Written, text: str) -> list[str]:
        node = found.node
        self.is_future |= found.leaves_annotations and _has_annotations(node)
        if not isinstance(value, type):
            _check_defaults(unwrapped(value), node, self.home)
        _check_imports(node)
        uses, annotations = _free_names(text), set[str]()
        if not isinstance(node, ast.Lambda):
            bare = _free_names(ast.unparse(_without_annotations(node)))
            annotations, uses = uses - bare, bare
        missing = {each for each in annotations if not self._can_be_had(each)}
        if missing:  # they are for people and type checkers only: what is imported under TYPE_CHECKING, a TypeVar
            self.is_future = True
        self._use_submodules(node)
        uses = (uses | annotations | (_declared_globals(text) & self.home.keys())) - missing - {name}
        early = frozenset(_names_at_import(node)) & uses
        self._keep(name, _Piece(value, text, frozenset(uses), early, found.place))
        return sorted(uses)

    def _keep(self, name: str, piece: _Piece) -> None:
        if name in self.pieces and self.pieces[name].value is not piece.value:
            raise NotAloneError(f"two of the things that it uses are defined as {name!r}")
        self.pieces[name] = piece

    def _can_be_had(self, name: str) -> bool:
        if name not in self.home:
            return name in _OWN_NAMES or hasattr(builtins, name)
        value = self.home[name]
        is_simple = isinstance(value, ModuleType) or self._is_at_home(value) or constant(value) is not None
        return is_simple or imported(value, name) is not None

    def _use(self, name: str) -> list[str]:
        """Take along what ``name`` stands for in the function's module. Return the names that this uses in turn."""
        if name in _OWN_NAMES:
            return []
        if name == "__file__":
            raise NotAloneError("it uses __file__, which isn't the same in the vault")
        if name in self.home:
            value = self.home[name]
        elif hasattr(builtins, name):
            value = getattr(builtins, name)
            if not str(getattr(value, "__module__", "")).startswith("IPython"):
                return []
        else:
            raise TVArgumentError(
                f"The function can't be kept: it uses {name!r}, which isn't defined. Define it first, in the same "
                "module or notebook."
            )
        if isinstance(value, ModuleType):
            if sys.modules.get(value.__name__) is not value or value.__name__ == "__main__":
                raise NotAloneError(f"it uses the module {name!r}, which can't be imported as {value.__name__!r}")
            self.imports.add(f"import {value.__name__}" + (f" as {name}" if name != value.__name__ else ""))
            return []
        if self._is_at_home(value):
            return self._bind(name, value)
        text = constant(value)
        if text is not None:
            self._keep(name, _Piece(value, f"{name} = {text}"))
            return []
        statement = imported(value, name)
        if statement is None:
            raise NotAloneError(f"it uses {name!r}, a value of type {type(value).__qualname__}")
        self.imports.add(statement)
        return []

    def _is_at_home(self, value: object) -> bool:
        """Tell whether ``value`` is a function or a class that was defined where the function was."""
        if isinstance(value, type):
            return value.__module__ == self.home.get("__name__") and "<locals>" not in value.__qualname__
        original = inspect.unwrap(value) if callable(value) else value
        return isinstance(original, FunctionType) and original.__globals__ is self.home

    def _use_submodules(self, node: ast.AST) -> None:
        """Import what ``package.module.name`` needs beside the package itself."""
        for chain in filter(None, map(chain_of, ast.walk(node))):
            value = self.home.get(chain[0])
            for part in chain[1:]:
                value = getattr(value, part, None) if isinstance(value, ModuleType) else None
                if not isinstance(value, ModuleType):
                    break
                package, _, last = value.__name__.rpartition(".")
                if package and last == part and sys.modules.get(value.__name__) is value:
                    self.imports.add(f"import {value.__name__}")

    def _ordered(self) -> Iterator[_Piece]:
        """Yield the pieces as they were written, but each after those that it needs while the module is imported."""
        begun: set[str] = set()

        def emit(name: str, *, whole: bool) -> Iterator[_Piece]:
            if name in begun or name not in self.pieces:
                return
            begun.add(name)
            piece = self.pieces[name]
            for used in sorted(piece.early):
                yield from emit(used, whole=True)
            for used in sorted(piece.uses) if whole else ():  # it is called while the module is imported
                yield from emit(used, whole=True)
            yield piece

        for name in sorted(self.pieces, key=lambda name: (*self.pieces[name].line, name)):
            yield from emit(name, whole=False)


def _check_defaults(function: FunctionType, node: Definition | ast.Lambda, home: dict[str, Any]) -> None:
    """Refuse default values that would come out otherwise if they were computed anew."""
    if isinstance(node, ast.ClassDef):
        return
    positional = [*node.args.posonlyargs, *node.args.args]
    written = dict(zip([each.arg for each in positional[::-1]], node.args.defaults[::-1], strict=False))
    given = dict(zip([each.arg for each in positional[::-1]], (function.__defaults__ or ())[::-1], strict=False))
    keywords = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    written |= {argument.arg: default for argument, default in keywords if default is not None}
    given |= function.__kwdefaults__ or {}
    for name in written.keys() | given.keys():
        if name not in written or name not in given or not _is_default(written[name], given[name], home):
            raise NotAloneError(f"the default of its argument {name!r} was computed when it was defined")


def _is_default(written: ast.expr, given: object, home: dict[str, Any]) -> bool:
    try:
        value = ast.literal_eval(written)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        chain = chain_of(written)
        if chain is None:
            return False
        value = home.get(chain[0], getattr(builtins, chain[0], None))
        for part in chain[1:]:
            value = getattr(value, part, None)
        if value is given:
            return True
    text = constant(value)
    return text is not None and text == constant(given)


def _check_imports(node: ast.AST) -> None:
    for inner in ast.walk(node):
        if isinstance(inner, ast.ImportFrom) and inner.level:
            imported_from = "." * inner.level + (inner.module or "")
            raise TVArgumentError(
                f"The function can't be kept: it imports from {imported_from!r}, which is relative to its own package. "
                "Import that by its whole name, or copy the package with copy_dir=."
            )


def _free_names(text: str) -> set[str]:
    """Return the names that the code in ``text`` takes from its module."""
    found: set[str] = set()
    top = symtable.symtable(text, "<source>", "exec")
    pending = [(top, True)]
    while pending:
        table, is_top = pending.pop()
        for symbol in table.get_symbols():
            if is_top:
                is_free = symbol.is_referenced() and not (symbol.is_assigned() or symbol.is_imported())
            else:
                is_free = symbol.is_global() and symbol.is_referenced()
            if is_free:
                found.add(symbol.get_name())
        pending += ((inner, False) for inner in table.get_children())
    return found


def _declared_globals(text: str) -> set[str]:
    """Return the names that functions in ``text`` store into their module."""
    return {name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Global) for name in node.names}


def _has_annotations(node: ast.AST) -> bool:
    return any(getattr(inner, name, None) for inner in ast.walk(node) for name in ("annotation", "returns"))


class _WithoutAnnotations(ast.NodeTransformer):
    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(node.arg)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)


def _without_annotations(node: ast.stmt) -> ast.AST:
    """Return a copy of a function without its annotations."""
    copy = ast.parse(ast.unparse(node)).body[0]
    return ast.fix_missing_locations(_WithoutAnnotations().visit(copy))  # type: ignore[no-any-return]


def _names_at_import(node: Definition | ast.Lambda) -> Iterator[str]:
    """Yield the names that are used when a function or a class is defined."""
    parts: list[ast.AST] = [node]
    if not isinstance(node, ast.ClassDef):
        parts = [node.args]
        if not isinstance(node, ast.Lambda):
            parts += [*node.decorator_list, *([node.returns] if node.returns else [])]
    for part in parts:
        yield from (inner.id for inner in ast.walk(part) if isinstance(inner, ast.Name))
