"""What a code module imports, read from its text: nothing is run, and every branch counts.

Imports of a vault's code find its own modules first, then those of the environment. A code module that imports its
own name means the environment's package of that name: ``openai.py`` may wrap ``openai``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tablevault_like.functions.sources import CodeFolder, Source


@dataclass(frozen=True, slots=True)
class Import:
    """One name that an import statement binds.

    ``module`` and ``level`` are as written; ``name`` is what is taken from the module: ``None`` for the module
    itself, ``"*"`` for all. ``bound`` is the name it gets, ``None`` for the star and for ``import_module("name")``.
    """

    module: str
    name: str | None
    bound: str | None
    level: int = 0

    @property
    def target(self) -> str:
        """The module that ``bound`` or ``name`` starts from: ``a`` for ``import a.b``, which binds ``a``."""
        is_unnamed = self.name is None and "." in self.module and self.bound == self.module.partition(".")[0]
        return self.module.partition(".")[0] if is_unnamed else self.module


def closure(folder: Path, module: str) -> tuple[str, ...]:
    """Return the files that the code module ``module`` needs, itself included, relative to ``folder`` and sorted.

    A package counts with all its files. If a module's imports are computed while it runs, all modules of the folder
    count. Raises ``TVBuilderError`` for an unknown module, or one that isn't Python (with file, line and column).
    """
    code = CodeFolder(folder)
    code.require(module)
    needed: set[str] = set()
    pending = [module.partition(".")[0]]
    while pending:
        top = pending.pop()
        if top in needed:
            continue
        needed.add(top)
        sources = [code.require(name) for name in code.inner_modules(top)]
        if any(_may_import_anything(source) for source in sources):
            needed |= code.names
            break
        pending += {name.partition(".")[0] for source in sources for name in _imported_modules(code, source)}
    files = (file for top in needed for file in code.files(top))
    return tuple(sorted(file.relative_to(code.folder).as_posix() for file in files))


def imports_in(nodes: Iterable[ast.AST]) -> Iterator[Import]:
    """Yield what the import statements among ``nodes`` bind, and ``import_module("name")`` with a name written out."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, None, alias.asname or alias.name.partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                bound = None if alias.name == "*" else alias.asname or alias.name
                yield Import(node.module or "", alias.name, bound, node.level)
        elif isinstance(node, ast.Call) and (written := _written_import(node)) is not None:
            yield Import(written.lstrip("."), None, None, len(written) - len(written.lstrip(".")))


def computes_imports(nodes: Iterable[ast.AST]) -> bool:
    """Tell whether one of ``nodes`` imports a module whose name isn't written out."""
    return any(isinstance(node, ast.Call) and _is_import_call(node) and _written_import(node) is None for node in nodes)


def vault_module(code: CodeFolder, source: Source, imported: Import, *, target: bool = False) -> str | None:
    """Return the dotted name of the code module that ``imported`` is about, ``None`` if it is the environment's.

    The name ``""`` is the folder itself: ``from . import other``. With ``target``, of ``Import.target`` instead.
    """
    name = imported.target if target else imported.module
    if imported.level == 0:
        first = name.partition(".")[0]
        return None if first not in code.names or is_own_name(source, imported) else name
    package = source.package
    if imported.level - 1 > len(package):
        return None
    start = package[: len(package) - (imported.level - 1)]
    return ".".join((*start, name) if name else start)


def is_own_name(source: Source, imported: Import) -> bool:
    """Tell whether a module (not a package) imports its own name."""
    return imported.level == 0 and not source.is_package and imported.module.partition(".")[0] == source.name


def _imported_modules(code: CodeFolder, source: Source) -> Iterator[str]:
    for imported in imports_in(ast.walk(source.tree)):
        name = vault_module(code, source, imported)
        if name == "":
            name = imported.name
        if name is not None and name.partition(".")[0] in code.names:
            yield name


def _may_import_anything(source: Source) -> bool:
    nodes = list(ast.walk(source.tree))
    runs_text = any(isinstance(node, ast.Name) and node.id in ("exec", "eval") for node in nodes)
    return runs_text or computes_imports(nodes)


def _is_import_call(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
    return name in ("import_module", "__import__")


def _written_import(call: ast.Call) -> str | None:
    """Return the name in ``import_module("name")``, ``None`` if it is no such call or the name isn't written out."""
    if not _is_import_call(call) or not call.args:
        return None
    first = call.args[0]
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
