"""What a function does, as a digest that only changes of meaning change.

The digest covers the function and everything in vault code that it uses: functions, classes, constants, decorators,
statements that are run at import and may change one of these, and the names of what is imported from elsewhere. It
doesn't cover comments, docstrings (unless code reads them), layout, other parts of the same modules, or the versions of
installed packages. It is the same under every version of Python. Nothing is run or imported.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from tablevault_like.errors import Location, TVBuilderError, nearest
from tablevault_like.functions.canonical import digest
from tablevault_like.functions.reach import Reach
from tablevault_like.functions.sources import CodeFolder, function_name
from tablevault_like.functions.units import Module, units_of

# Raise it when equal code gets other digests than before: recorded fingerprints then differ, and say so.
_FORMAT = 1

_TOP_LEVEL = "<top level>"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A digest of a function, and of each of its parts by ``module.name``."""

    digest: str
    parts: Mapping[str, str]

    @classmethod
    def of_parts(cls, function: str, parts: Mapping[str, str]) -> Fingerprint:
        """Make the fingerprint of ``function`` (``module.name``) from the digests of its parts."""
        lines = [f"{_FORMAT} {function}", *(f"{name} {parts[name]}" for name in sorted(parts))]
        return cls(blake2b("\n".join(lines).encode(), digest_size=16).hexdigest(), parts)


def fingerprint(folder: Path, module: str, function: str) -> Fingerprint:
    """Return the fingerprint of ``function`` (or ``module.function``) in the code module ``module`` of ``folder``.

    Raises ``TVBuilderError`` for an unknown module or function, and, with file, line and column, for a module that
    isn't Python.
    """
    code = CodeFolder(folder)
    source = code.require(module)
    name = function_name(module, function)
    units = units_of(source)
    reach = Reach(code)
    if not reach.count_function(units, name):
        hint = nearest(name, _functions_of(units))
        message = f"The code module {module!r} has no function {name!r}.{hint}"
        raise TVBuilderError(message, location=Location(source.path))
    return Fingerprint.of_parts(f"{module}.{name}", _parts(code, reach))


def difference(old: Fingerprint, new: Fingerprint) -> list[str]:
    """Return what is different in ``new``, a line for each part, for people.

    >>> old = Fingerprint.of_parts("score.rate", {"score.rate": "1", "text.clean": "2", "text.trim": "3"})
    >>> new = Fingerprint.of_parts("score.rate", {"score.rate": "1", "text.clean": "4", "text.LIMIT": "5"})
    >>> difference(old, new)
    ['text.LIMIT is used now', 'text.clean changed', 'text.trim is no longer used']
    """
    lines = []
    for name in sorted(old.parts.keys() | new.parts.keys()):
        if name not in old.parts:
            lines.append(f"{name} is used now")
        elif name not in new.parts:
            lines.append(f"{name} is no longer used")
        elif old.parts[name] != new.parts[name]:
            lines.append(f"{name} changed")
    if not lines and old.digest != new.digest:
        lines.append("another function is used")
    return lines


def _parts(code: CodeFolder, reach: Reach) -> dict[str, str]:
    docstrings = any(unit.reads_docstrings for unit in reach.units)
    nodes: dict[str, list[ast.AST]] = {}
    for name in sorted({unit.module for unit in reach.units}):
        for unit in units_of(code.require(name)).units:
            if unit in reach.units:
                counted = [bound for bound in unit.binds if (name, bound) in reach.nodes] or [_TOP_LEVEL]
                for bound in counted:
                    nodes.setdefault(f"{name}.{bound}", []).append(unit.node)
    return {part: digest(found, docstrings=docstrings) for part, found in sorted(nodes.items())}


def _functions_of(module: Module) -> list[str]:
    return [name for name, units in module.bindings.items() if any(_is_function(unit.node) for unit in units)]


def _is_function(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
