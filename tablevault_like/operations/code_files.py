"""The files of code modules and packages in a vault, and how they are replaced so that it can be undone.

1. A name stands for a module's file and for a package's folder, of which every file counts but what Python compiled.
2. A change puts files in the place of all that its names stand for. What was there is found out once, and noted: it is
   the same when the change is made again, or undone.
3. No recorded path leads out of the folder of code modules.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tablevault_like.errors import TVArgumentError
from tablevault_like.layout import Layout
from tablevault_like.operations.sources import INIT
from tablevault_like.process.run import Run
from tablevault_like.storage import files
from tablevault_like.storage.documents import parsed
from tablevault_like.storage.replacements import Replacements


@dataclass(frozen=True)
class Change:
    """The files that take the place of whatever has the names of some code modules.

    ``new`` are the files' contents; without any the names are deleted.
    """

    run: Run
    new: Mapping[Path, str | bytes]
    names: Iterable[str]

    def place(self) -> None:
        """Remove what the names stand for, and write the new files. May be done again."""
        files.check_no_link(self.run.layout.code_functions)
        removed = self._removed(self._noted())
        if removed.texts:
            removed.place()
            self._tidy(removed.texts)
        for folder in {path.parent for path in self.new}:
            files.make_directory(folder)
        if self.new:
            self._placed().place()

    def undo(self) -> None:
        """Put back what was there, but for what somebody else has changed since. May be done again."""
        files.check_no_link(self.run.layout.code_functions)
        self._placed().undo()
        self._tidy(self.new)
        removed = self._removed(self._read_note())
        for folder in {path.parent for path in removed.texts}:
            files.make_directory(folder)
        removed.undo()
        self._tidy(removed.texts)

    @property
    def _note(self) -> Path:
        return self.run.files.replaced / "removed.json"

    def _noted(self) -> list[str]:
        """Return the files that are to go, relative to the folder of code modules; what there is to note, is noted."""
        if noted := self._read_note():
            return noted
        root = self.run.layout.code_functions
        there = (path for name in self.names for path in files_of(self.run.layout, name))
        found = sorted({path.relative_to(root).as_posix() for path in there if path not in self.new})
        if found:
            files.make_directory(self.run.files.replaced)
            draft = self._note.with_suffix(".new")
            files.remove(draft)
            files.write_file(draft, json.dumps(found))
            files.replace(draft, self._note)
        return found

    def _read_note(self) -> list[str]:
        try:
            return [str(path) for path in parsed(self._note.read_text(encoding="utf-8"))]
        except FileNotFoundError:
            return []

    def _removed(self, paths: Iterable[str]) -> Replacements:
        root = self.run.layout.code_functions
        gone = {root / inside(path): None for path in paths}
        return Replacements(self.run.files.replaced / "removed", gone, self.run.fenced)

    def _placed(self) -> Replacements:
        return Replacements(self.run.files.replaced / "placed", self.new, self.run.fenced)

    def _tidy(self, paths: Iterable[Path]) -> None:
        """Remove the folders of packages that nothing is left in, but what Python compiled."""
        root = self.run.layout.code_functions
        folders = {folder for path in paths for folder in path.parents if root in folder.parents}
        for folder in sorted(folders, key=lambda folder: len(folder.parts), reverse=True):
            if folder.is_dir() and {entry.name for entry in folder.iterdir()} <= {"__pycache__"}:
                files.remove(folder / "__pycache__")
            files.remove_empty(folder)


def file_of(layout: Layout, name: str) -> Path:
    """Return the file of the code module ``name`` (dotted, inside of a package)."""
    return layout.module(name.replace(".", "/"))


def folder_of(layout: Layout, name: str) -> Path:
    """Return the folder of the package ``name``."""
    return file_of(layout, name).with_suffix("")


def files_of(layout: Layout, name: str) -> list[Path]:
    """Return the files that a name stands for: a module's, and those of a package."""
    file, folder = file_of(layout, name), folder_of(layout, name)
    found = [file] if os.path.lexists(file) else []
    if folder.is_dir() and not folder.is_symlink() and os.path.lexists(folder / INIT):
        found += files_below(folder)
    return found


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and those inside of it, and links to folders, which aren't followed."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        yield from (Path(parent, name) for name in sorted(names))
        yield from (Path(parent, name) for name in folders if Path(parent, name).is_symlink())


def inside(path: str) -> Path:
    """Return a recorded path. Raises TVArgumentError for one that leads out of its folder."""
    parts = PurePosixPath(path).parts
    if not parts or PurePosixPath(path).is_absolute() or ".." in parts:
        raise TVArgumentError(f"{path!r} leads out of the folder of code modules.")
    return Path(*parts)
