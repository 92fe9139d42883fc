"""Create and delete code modules: the Python files and packages that builders point at."""

from __future__ import annotations

import ast
import base64
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tablevault_like.catalog import Database
from tablevault_like.errors import Location, TVArgumentError, TVBuilderError, TVFileError, nearest
from tablevault_like.functions.sources import CodeFolder
from tablevault_like.layout import Layout
from tablevault_like.model import LockRequest, Resource, check_module_name
from tablevault_like.operations import code_files
from tablevault_like.operations.sources import INIT, packages_in, read_package, read_sources
from tablevault_like.process.operation import Declaration, Operation, View
from tablevault_like.process.run import Run
from tablevault_like.storage import files

_TEMPLATE = '''"""Functions for the builders of this vault."""


def first_words(text: str, count: int = 3) -> str:
    """Return the first words of a text. A builder calls this with its ``arguments``."""
    return " ".join(text.split()[:count])
'''


@dataclass(frozen=True)
class CreateCodeModule(Operation):
    """Create code modules, or replace those that have their names.

    ``texts`` are modules by name, dotted for one inside of a package that is there. ``packages`` are packages by name,
    and their files by path; ``binaries`` are those of their files that aren't text, in base64.
    """

    name = "create_code_module"

    texts: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    binaries: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        module_name: str | None,
        *,
        copy_dir: str | os.PathLike[str] | None,
        text: str | None,
        function: Callable[..., object] | None = None,
    ) -> CreateCodeModule:
        """Make the operation from a function, a text, a file, a package, a folder of these, or nothing (a template)."""
        if function is not None:
            if copy_dir is not None or text is not None:
                raise TVArgumentError("Give the code module as function=, as text=, or where it lies as copy_dir=.")
            return cls(_text_of(function, module_name))
        if copy_dir is not None and text is None and (source := Path(copy_dir)).is_dir():
            packages = _packages(source, module_name)
            if (source / INIT).is_file() or (packages and module_name is not None):
                return cls._of_packages({}, packages)
            if packages and not any(source.glob("*.py")):
                return cls._of_packages({}, packages)
            texts = _read_texts(module_name, copy_dir, None)
            if both := texts.keys() & packages.keys():
                raise TVArgumentError(
                    f"{source} holds {min(both)}.py and a package {min(both)}. Rename one of them: only the package "
                    "could be imported."
                )
            return cls._of_packages(texts, packages)
        return cls(_read_texts(module_name, copy_dir, text))

    @classmethod
    def _of_packages(cls, texts: Mapping[str, str], packages: Mapping[str, Path]) -> CreateCodeModule:
        written: dict[str, dict[str, str]] = {}
        binaries: dict[str, dict[str, str]] = {}
        for name, folder in packages.items():
            written[name] = {}
            for path, content in read_package(folder).items():
                try:
                    written[name][path] = content.decode()
                except UnicodeDecodeError as error:
                    if path.endswith(".py"):
                        raise TVBuilderError(
                            f"This is not UTF-8 text (byte {error.start}). Save it as UTF-8.",
                            location=Location(folder / path),
                        ) from error
                    binaries.setdefault(name, {})[path] = base64.b64encode(content).decode()
        return cls(texts, written, binaries)

    def check(self) -> None:
        for name, text in self.texts.items():
            for part in name.split("."):
                check_module_name(part)
            _check_syntax(text, Location(f"{name.replace('.', '/')}.py"))
        for name, package in self.packages.items():
            check_module_name(name)
            for path, text in package.items():
                if path.endswith(".py"):
                    _check_syntax(text, Location(f"{name}/{path}"))

    def declare(self, view: View) -> Declaration:
        files.check_no_link(view.layout.code_functions)
        for name in self.texts:
            _check_package(view.layout, name)
        for name in self.packages:
            _check_is_no_other_folder(view.layout, name)
        return _declaration(view.layout, [*self.texts, *self.packages])

    def execute(self, run: Run) -> None:
        code_files.Change(run, self._new_files(run.layout), [*self.texts, *self.packages]).place()

    def publish(self, run: Run, db: Database) -> None:
        """Nothing but the files changes; the transaction ends the process."""

    def undo(self, run: Run) -> None:
        code_files.Change(run, self._new_files(run.layout), [*self.texts, *self.packages]).undo()

    def _new_files(self, layout: Layout) -> dict[Path, str | bytes]:
        new: dict[Path, str | bytes] = {code_files.file_of(layout, name): text for name, text in self.texts.items()}
        for name in self.packages:
            folder = code_files.folder_of(layout, name)
            new |= {folder / code_files.inside(path): text for path, text in self.packages[name].items()}
            binaries = self.binaries.get(name, {})
            new |= {folder / code_files.inside(path): base64.b64decode(content) for path, content in binaries.items()}
        return new


@dataclass(frozen=True)
class DeleteCodeModule(Operation):
    """Delete a code module, or a package with all that is in it. Instances that were made with it keep their copies."""

    name = "delete_code_module"

    module_name: str

    def declare(self, view: View) -> Declaration:
        for part in str(self.module_name).split("."):
            check_module_name(part)
        known = CodeFolder(view.layout.code_functions)
        if not code_files.files_of(view.layout, self.module_name):
            raise TVArgumentError(
                f"There is no code module {self.module_name!r}.{nearest(self.module_name, known.all_names())}"
            )
        return _declaration(view.layout, [self.module_name])

    def execute(self, run: Run) -> None:
        code_files.Change(run, {}, [self.module_name]).place()

    def publish(self, run: Run, db: Database) -> None:
        """Nothing but the files changes; the transaction ends the process."""

    def undo(self, run: Run) -> None:
        code_files.Change(run, {}, [self.module_name]).undo()


def _text_of(function: Callable[..., object], module_name: str | None) -> dict[str, str]:
    from tablevault_like.functions import given

    if not callable(function):
        raise TVArgumentError(f"function must be a function, not a value of type {type(function).__qualname__}.")
    name = module_name or given.name_of(function)
    if name is None:
        raise TVArgumentError("Give the code module's name: this function has none of its own.")
    return {name: given.module_text(function, module=name.rpartition(".")[2])}


def _read_texts(name: str | None, copy_dir: str | os.PathLike[str] | None, text: str | None) -> dict[str, str]:
    return read_sources("code module", ".py", name, copy_dir=copy_dir, text=text, template=lambda _: _TEMPLATE)


def _packages(source: Path, name: str | None) -> dict[str, Path]:
    """Return the packages that are meant by a folder: itself, the one in it that is named, or all that are in it."""
    inside = packages_in(source)
    if (source / INIT).is_file():
        if name is not None and (name in inside or (source / f"{name}.py").is_file()):
            raise TVArgumentError(
                f"{source} is a package, and {name!r} is in it. Name the file or the folder itself as copy_dir=, or "
                "leave the name out to copy the whole package."
            )
        return {name or source.resolve().name: source}
    if name is None:
        return inside
    if name in inside and (source / f"{name}.py").is_file():
        raise TVArgumentError(
            f"{source} holds {name}.py and a package {name}. Name the one that is meant as copy_dir=."
        )
    return {name: inside[name]} if name in inside else {}


def _declaration(layout: Layout, names: Iterable[str]) -> Declaration:
    """Name the locks. Raises TVFileError for a link that would be replaced: what it leads to isn't the vault's."""
    names = list(names)
    for path in (path for name in names for path in code_files.files_of(layout, name)):
        if path.is_symlink():
            raise TVFileError(f"{path} is a link, so nothing was changed. Remove it, or put the file there.", path=path)
    tops = sorted({name.partition(".")[0] for name in names})
    return Declaration(tuple(LockRequest.exclusive(Resource.code(top)) for top in tops))


def _check_package(layout: Layout, name: str) -> None:
    """Refuse a module inside of a package that isn't there."""
    package, _, _ = name.rpartition(".")
    if package and not (code_files.folder_of(layout, package) / INIT).is_file():
        known = CodeFolder(layout.code_functions)
        packages = [each for each in known.all_names() if known.is_package(each)]
        raise TVArgumentError(
            f"There is no package {package!r} for the code module {name!r}.{nearest(package, packages)} Copy a folder "
            f"with an {INIT}: create_code_module({package!r}, copy_dir=...)."
        )


def _check_is_no_other_folder(layout: Layout, name: str) -> None:
    folder = code_files.folder_of(layout, name)
    if folder.is_dir() and not (folder / INIT).is_file() and any(code_files.files_below(folder)):
        raise TVArgumentError(f"{folder} is a folder that isn't a package, so no package was put there. Move it away.")


def _check_syntax(text: str, location: Location) -> None:
    """Raise TVBuilderError, with the place, for what isn't Python. Nothing is executed."""
    try:
        ast.parse(text)
    except SyntaxError as error:
        where = Location(location.path, error.lineno, error.offset)
        raise TVBuilderError(f"This is not Python: {error.msg}.", location=where) from error
    except (ValueError, RecursionError) as error:
        raise TVBuilderError(f"This is not Python: {error}.", location=location) from error
