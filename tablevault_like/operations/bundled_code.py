"""The code of a bundle, added to the code modules of a vault.

1. Nothing is ever replaced: a module is added where nothing has its name, and left alone where the very same is.
2. Which ones are added is noted before the first is. So it can be done again, and undone, by another worker.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tablevault_like.errors import TVArgumentError
from tablevault_like.layout import Layout
from tablevault_like.operations import code_files
from tablevault_like.process.run import Run
from tablevault_like.storage import files
from tablevault_like.storage.documents import parsed


@dataclass(frozen=True, slots=True)
class BundledCode:
    """What one process adds. ``code`` has the SHA-256 of each file by its path in ``source``, the bundle's code."""

    run: Run
    code: Mapping[str, str]
    source: Path

    def place(self) -> None:
        """Add what is missing. May be done again. Raises TVArgumentError for a module that differs."""
        if self.code and not self._note.exists():
            files.make_directory(self._note.parent)
            draft = self._note.with_suffix(".new")
            files.remove(draft)
            files.write_file(draft, json.dumps(missing(self.run.layout, self.code)))
            files.replace(draft, self._note)
        if self._note.exists():
            self._change(lambda path: (self.source / path).read_bytes()).place()

    def undo(self) -> None:
        """Remove what was added. May be done again."""
        if self._note.exists():
            self._change(self._placed).undo()

    @property
    def _note(self) -> Path:
        return self.run.files.staging / "code.json"

    def _change(self, content_of: Callable[[Path], bytes]) -> code_files.Change:
        names = parsed(self._note.read_text(encoding="utf-8"))
        paths = [code_files.inside(path) for path in self.code if _top(path) in names]
        new = {self.run.layout.code_functions / path: content_of(path) for path in paths}
        return code_files.Change(self.run, new, names)

    def _placed(self, path: Path) -> bytes:
        """Return what was added under a path. The bundle may be damaged, so its checksum tells."""
        wanted = self.code[path.as_posix()]
        for folder in (self.run.layout.code_functions, self.source):
            if _sha256(folder / path) == wanted:
                return (folder / path).read_bytes()
        return wanted.encode()  # nobody has that: what is there is somebody else's


def modules(code: Iterable[str]) -> list[str]:
    """Return the names of the modules and packages that files belong to."""
    return sorted({_top(path) for path in code})


def missing(layout: Layout, code: Mapping[str, str]) -> list[str]:
    """Return the modules that a vault doesn't have. Raises TVArgumentError if something else has the name of one."""
    return [name for name in modules(code) if not _is_there(layout, name, code)]


def _top(path: str) -> str:
    return path.partition("/")[0].removesuffix(".py")


def _is_there(layout: Layout, name: str, code: Mapping[str, str]) -> bool:
    root = layout.code_functions
    files.check_no_link(root)
    wanted = {path: sha256 for path, sha256 in code.items() if _top(path) == name}
    there = [*code_files.files_of(layout, name), *(root / path for path in wanted if os.path.lexists(root / path))]
    if not there and not os.path.lexists(root / name):
        return False
    for path, sha256 in wanted.items():
        links = (root / path, *(root / path).parents)
        is_reached = not any(each.is_symlink() for each in links if root in each.parents)
        if not is_reached or _sha256(root / path) != sha256:
            raise TVArgumentError(
                f"The code module {name!r} of this vault differs from the one in the bundle ({path}), and is never "
                "replaced. Nothing was imported. Import it without its code, or rename or delete that module first."
            )
    return True


def _sha256(path: Path) -> str | None:
    try:
        return files.sha256(path)
    except OSError:
        return None
