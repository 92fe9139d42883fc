"""The code modules of one folder as text: which there are, where they lie, what they say. Nothing here runs them.

A code module is ``<name>.py``, or a package: a folder with an ``__init__.py``. Where both have a name, the package
is meant, as in Python. Modules inside packages have dotted names.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType

from tablevault_like.errors import Location, TVBuilderError, nearest
from tablevault_like.storage import files

_INIT = "__init__.py"


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One file of Python, parsed and compiled. ``name`` is dotted and relative to its folder."""

    name: str
    path: Path
    tree: ast.Module
    code: CodeType

    @property
    def is_package(self) -> bool:
        return self.path.name == _INIT

    @property
    def package(self) -> tuple[str, ...]:
        """What a relative import of one dot starts from; empty for the folder itself."""
        parts = tuple(self.name.split("."))
        return parts if self.is_package else parts[:-1]


class CodeFolder:
    """The code modules of ``folder``. It is listed once, and each file is read once, when it is asked for.

    Raises TVFileError if the folder is a link.
    """

    def __init__(self, folder: Path) -> None:
        files.check_no_link(folder)
        self.folder = folder.resolve()
        self._modules = _modules_in(self.folder)
        self._sources: dict[str, Source] = {}
        self.names = frozenset(self._modules)

    def find(self, name: str) -> Path | None:
        """Return the file of the module ``name`` (dotted), ``None`` if there is none."""
        first, *rest = name.split(".")
        path = self._modules.get(first)
        for part in rest:
            if path is None or path.name != _INIT:
                return None
            path = _modules_in(path.parent).get(part)
        return path

    def read(self, name: str) -> Source | None:
        """Return the module ``name``, ``None`` if there is none.

        Raises ``TVBuilderError``, with file, line and column, if it isn't Python or lies outside the folder.
        """
        if name not in self._sources:
            path = self.find(name)
            if path is None:
                return None
            self._check_inside(path)
            self._sources[name] = _parse(name, path, path.read_bytes())
        return self._sources[name]

    def require(self, name: str) -> Source:
        """Return the module ``name``. Raises ``TVBuilderError`` if there is none, too."""
        source = self.read(name)
        if source is None:
            raise TVBuilderError(
                f"There is no code module {name!r}.{nearest(name, self.names)}", location=Location(self.folder)
            )
        return source

    def files(self, name: str) -> list[Path]:
        """Return every file of the top-level module ``name``: of a package also what isn't Python."""
        path = self._modules[name]
        found = _files_below(path.parent) if path.name == _INIT else [path]
        for file in found:
            self._check_inside(file)
        return found

    def inner_modules(self, name: str) -> Iterator[str]:
        """Yield the dotted name of the top-level module ``name`` and of every module inside it."""
        pending = [(name, self._modules[name])]
        while pending:
            dotted, path = pending.pop()
            yield dotted
            if path.name == _INIT:
                pending += [(f"{dotted}.{inner}", file) for inner, file in _modules_in(path.parent).items()]

    def all_names(self) -> list[str]:
        """Return the dotted names of all modules, those in packages too, sorted."""
        return sorted(inner for name in self.names for inner in self.inner_modules(name))

    def is_package(self, name: str) -> bool:
        """Tell whether ``name`` is a package."""
        path = self.find(name)
        return path is not None and path.name == _INIT

    def _check_inside(self, path: Path) -> None:
        if not path.resolve().is_relative_to(self.folder):
            raise TVBuilderError(
                "This is a link that leads out of the folder of code modules. Copy the file itself there.",
                location=Location(path),
            )


def function_name(module: str, name: str) -> str:
    """Return the bare name of a function that a builder may also name with its module.

    >>> function_name("scoring", "scoring.rate"), function_name("scoring", "rate")
    ('rate', 'rate')
    """
    return name.removeprefix(f"{module}.")


def _modules_in(folder: Path) -> dict[str, Path]:
    """Map the names of the modules that lie directly in ``folder`` to their files."""
    if not folder.is_dir():
        return {}
    found: dict[str, Path] = {}
    for entry in sorted(folder.iterdir()):
        if entry.suffix == ".py" and entry.stem.isidentifier() and entry.name not in (_INIT, "__main__.py"):
            if entry.is_file():
                found.setdefault(entry.stem, entry)
        elif entry.name.isidentifier() and (entry / _INIT).is_file():
            found[entry.name] = entry / _INIT
    return found


def _files_below(folder: Path) -> list[Path]:
    found: list[Path] = []
    pending = [folder]
    while pending:
        for entry in pending.pop().iterdir():
            if entry.name.startswith(".") or entry.name == "__pycache__":
                continue
            if entry.is_dir() and not entry.is_symlink():
                pending.append(entry)
            else:
                found.append(entry)
    return sorted(found)


@lru_cache(maxsize=256)
def _parse(name: str, path: Path, content: bytes) -> Source:
    """Parse and compile a file once for each text that it ever has, so that Python's warnings come once, too."""
    try:
        tree = ast.parse(content, str(path))
        code: CodeType = compile(tree, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        location = Location(path, error.lineno or None, error.offset or None)
        raise TVBuilderError(f"This can't be read as Python: {error.msg}.", location=location) from error
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes; nested too deeply for Python's parser
        raise TVBuilderError(f"This can't be read as Python: {error}", location=Location(path)) from error
    return Source(name, path, tree, code)
