"""Load user code from a folder of code modules, isolated from everything else in the interpreter.

Guarantees:

1. Modules of the folder import each other by their plain names, anywhere and at any time, from any thread, as they
   would if the folder were on ``sys.path``; and they import the environment's packages.
2. Nothing else changes: not ``sys.path``, not the entries of ``sys.modules`` under any real name, and nothing is
   written into the folder. Two folders, or two loaders of one folder, share no module.
3. What rests on ``sys.modules`` and on files works: dataclasses, ``typing.get_type_hints``, ``inspect.getsource``,
   source lines in tracebacks. Where the folder is a copy, tracebacks (and breakpoints) are about the original.

How: each loader has a package of its own in ``sys.modules``, whose modules Python's import system imports as ever
(its locks, circular imports, relative imports). Only their ``__import__``, which is theirs alone, turns ``helper``
into ``<package>.helper``. ``importlib.import_module("helper")`` doesn't know its caller and so doesn't go
through there: code that computes names uses ``import_module(".helper", __package__)`` or ``__import__("helper")``.
"""

from __future__ import annotations

import builtins
import itertools
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any, Self

from tablevault_like.errors import Location, TVBuilderError, nearest
from tablevault_like.functions.sources import CodeFolder, Source, function_name


def modules(folder: Path) -> list[str]:
    """Return the names of the code modules in ``folder``, sorted. Packages count as one module."""
    return sorted(CodeFolder(folder).names)


class Loader:
    """Loads functions from the code modules of ``folder``. ``label`` shows in the modules' ``__name__``.

    ``original`` is the folder that ``folder`` is a copy of. Where a file says the same in both, its code bears the
    original's path: the one that people know, edit, and still have when the copy is gone.

    Safe to use from several threads. A module runs once per loader, when it is first needed; after ``close`` no
    module can be imported any more, but functions that were loaded go on working.
    """

    def __init__(self, folder: Path, *, label: str, original: Path | None = None) -> None:
        self.label = label
        self._code = CodeFolder(folder)
        self._original = original
        self._package = f"vault_code_{re.sub(r'[^A-Za-z0-9_]', '_', label)}_{next(_numbers)}"
        # Functions find their builtins through their module, so this reaches imports inside of them, in any thread.
        self._builtins = {**vars(builtins), "__import__": self._import}
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def function(self, module: str, name: str) -> Callable[..., Any]:
        """Return the function ``name`` of the code module ``module``, which is run if it wasn't yet.

        ``name`` may also be written ``module.name``. Raises ``TVBuilderError`` for an unknown module or function,
        for what can't be called, and for a module that isn't Python. What the module itself raises while it is
        imported is raised as it is.
        """
        source = self._code.require(module)
        loaded = self._load(source)
        bare = function_name(module, name)
        location = Location(self._known_path(source.path))
        try:
            function: object = getattr(loaded, bare)
        except AttributeError as error:
            hint = nearest(bare, _functions_of(loaded))
            message = f"The code module {module!r} has no function {bare!r}.{hint}"
            raise TVBuilderError(message, location=location) from error
        if not callable(function):
            kind = type(function).__name__
            raise TVBuilderError(
                f"{bare!r} in the code module {module!r} is not a function but a value of type {kind}.",
                location=location,
            )
        return function

    def close(self) -> None:
        """Remove the modules from ``sys.modules``. May be called twice."""
        with _lock:
            _loaders.pop(self._package, None)
            for name in list(sys.modules):
                if name == self._package or name.startswith(f"{self._package}."):
                    del sys.modules[name]

    def _open(self) -> None:
        package = ModuleType(self._package, f"The code modules of {self.label}.")
        package.__path__ = []  # no finder but ours finds anything below it
        package.__spec__ = ModuleSpec(self._package, None, is_package=True)
        with _lock:
            if _finder not in sys.meta_path:
                # Never removed: a thread that iterates over sys.meta_path would miss the finder behind it.
                sys.meta_path.insert(0, _finder)
            _loaders[self._package] = self
            sys.modules[self._package] = package

    def _load(self, source: Source) -> ModuleType:
        if self._package not in _loaders:
            raise ValueError(f"The code of {self.label} was closed: no function can be loaded from it any more.")
        name = f"{self._package}.{source.name}"
        __import__(name)  # unlike importlib.import_module it leaves no frames of its own in tracebacks
        return sys.modules[name]

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002  user code may pass them by name
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Import for the modules of this folder: what ``__import__`` is to them."""
        first = name.partition(".")[0]
        if level or first not in self._code.names:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        if self._package not in _loaders:
            raise ImportError(f"{name!r} can't be imported any more: the code of {self.label} was closed.", name=name)
        own_name = f"{self._package}.{first}"
        if globals is not None and globals.get("__name__") == own_name and "__path__" not in globals:
            try:
                return builtins.__import__(name, globals, locals, fromlist or (), 0)
            except ModuleNotFoundError as error:
                if error.name != first:
                    raise
        module = builtins.__import__(f"{self._package}.{name}", globals, locals, fromlist or (), 0)
        return module if fromlist else sys.modules[own_name]

    def _spec(self, name: str) -> ModuleSpec | None:
        dotted = name.removeprefix(f"{self._package}.")
        path = self._code.find(dotted)
        if path is None:
            return None
        is_package = path.name == "__init__.py"
        return spec_from_file_location(
            name,
            path,
            loader=_ModuleLoader(name, path, self._code, self._builtins, known_path=self._known_path(path)),
            submodule_search_locations=[str(path.parent)] if is_package else None,
        )

    def _known_path(self, path: Path) -> Path:
        """Return the path of the file that this one is a copy of, if that says the same; else this path."""
        if self._original is None:
            return path
        original = self._original / path.relative_to(self._code.folder)
        try:
            return original if original.read_bytes() == path.read_bytes() else path
        except OSError:
            return path


_numbers = itertools.count(1)
_lock = threading.Lock()
_loaders: dict[str, Loader] = {}


class _Finder(MetaPathFinder):
    """Finds the modules of open loaders, by the package in front of their names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        loader = _loaders.get(fullname.partition(".")[0])
        return None if loader is None else loader._spec(fullname)


_finder = _Finder()


class _ModuleLoader(SourceFileLoader):
    """Runs one module with its loader's builtins. Reads and writes no bytecode: what runs is what the file says."""

    def __init__(
        self, fullname: str, path: Path, code: CodeFolder, builtins_: dict[str, Any], *, known_path: Path
    ) -> None:
        super().__init__(fullname, str(path))
        self._code = code
        self._builtins = builtins_
        self._known_path = known_path

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        # Set here, not in exec_module: its frame would show in every traceback of user code.
        module = ModuleType(spec.name)
        module.__dict__["__builtins__"] = self._builtins
        return module

    def get_code(self, fullname: str) -> CodeType:
        return _in_file(self._code.require(fullname.partition(".")[2]).code, str(self._known_path))


def _in_file(code: CodeType, path: str) -> CodeType:
    """Return code that says that it comes from a file, and so do the functions in it."""
    if code.co_filename == path:
        return code
    constants = (_in_file(each, path) if isinstance(each, CodeType) else each for each in code.co_consts)
    return code.replace(co_filename=path, co_consts=tuple(constants))


def _functions_of(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    ]
