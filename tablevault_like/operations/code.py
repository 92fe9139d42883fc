"""Create and delete code modules: the Python files that builders point at."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field

from tablevault_like.catalog import Database
from tablevault_like.errors import Location, TVArgumentError, TVBuilderError, nearest
from tablevault_like.model import LockRequest, Resource, check_module_name
from tablevault_like.operations.sources import read_sources
from tablevault_like.process.operation import Declaration, Operation, View
from tablevault_like.process.run import Run
from tablevault_like.storage.replacements import Replacements

_TEMPLATE = '''"""Functions for the builders of this vault."""


def first_words(text: str, count: int = 3) -> str:
    """Return the first words of a text. A builder calls this with its ``arguments``."""
    return " ".join(text.split()[:count])
'''


@dataclass(frozen=True)
class CreateCodeModule(Operation):
    """Create code modules, or replace those that have their names."""

    name = "create_code_module"

    texts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, module_name: str | None, *, copy_dir: str | None, text: str | None) -> CreateCodeModule:
        """Make the operation from a text, a file, a folder of files, or nothing (a template)."""
        return cls(
            read_sources("code module", ".py", module_name, copy_dir=copy_dir, text=text, template=lambda _: _TEMPLATE)
        )

    def check(self) -> None:
        for name, text in self.texts.items():
            check_module_name(name)
            _check_syntax(text, Location(f"{name}.py"))

    def declare(self, view: View) -> Declaration:
        return Declaration(tuple(LockRequest.exclusive(Resource.code(name)) for name in self.texts))

    def execute(self, run: Run) -> None:
        self._replacements(run).place()

    def publish(self, run: Run, db: Database) -> None:
        """Nothing but the files changes; the transaction ends the process."""

    def undo(self, run: Run) -> None:
        self._replacements(run).undo()

    def _replacements(self, run: Run) -> Replacements:
        changes = {run.layout.module(name): text for name, text in self.texts.items()}
        return Replacements(run.files.replaced, changes, run.fenced)


@dataclass(frozen=True)
class DeleteCodeModule(Operation):
    """Delete a code module. Instances that were made with it keep their copies."""

    name = "delete_code_module"

    module_name: str

    def declare(self, view: View) -> Declaration:
        check_module_name(self.module_name)
        if not view.layout.module(self.module_name).exists():
            known = sorted(path.stem for path in view.layout.code_functions.glob("*.py"))
            raise TVArgumentError(f"There is no code module {self.module_name!r}.{nearest(self.module_name, known)}")
        return Declaration((LockRequest.exclusive(Resource.code(self.module_name)),))

    def execute(self, run: Run) -> None:
        self._replacements(run).place()

    def publish(self, run: Run, db: Database) -> None:
        """Nothing but the file changes; the transaction ends the process."""

    def undo(self, run: Run) -> None:
        self._replacements(run).undo()

    def _replacements(self, run: Run) -> Replacements:
        return Replacements(run.files.replaced, {run.layout.module(self.module_name): None}, run.fenced)


def _check_syntax(text: str, location: Location) -> None:
    """Raise TVBuilderError, with the place, for what isn't Python. Nothing is executed."""
    try:
        ast.parse(text)
    except SyntaxError as error:
        where = Location(location.path, error.lineno, error.offset)
        raise TVBuilderError(f"This is not Python: {error.msg}.", location=where) from error
    except (ValueError, RecursionError) as error:
        raise TVBuilderError(f"This is not Python: {error}.", location=location) from error
