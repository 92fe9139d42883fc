"""Replace and delete files of a fixed name, so that it can be undone.

The old file is linked into staging before it is replaced. Undoing puts it back only if what stands in its place is
what this process put there: an edit that was made meanwhile is never lost.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tablevault_like.errors import TVFileError
from tablevault_like.storage import files


@dataclass(frozen=True, slots=True)
class _Change:
    target: Path
    sha256: str | None
    """Of the new file; ``None`` where the file is deleted."""
    new: Path
    old: Path


@dataclass(frozen=True, slots=True)
class Replacements:
    """The changes of one process to files of a fixed name, kept in a folder of its staging."""

    folder: Path

    def stage(self, root: Path, changes: Mapping[Path, str | None]) -> None:
        """Write the new files into staging.

        ``None`` stands for a file that is to be deleted; ``root`` is the vault's.
        """
        if self._list.exists():
            return
        files.remove(self.folder)
        files.make_directory(self.folder)
        listed = []
        for number, (target, text) in enumerate(changes.items()):
            digest = None
            if text is not None:
                raw = text.encode()
                digest = hashlib.sha256(raw).hexdigest()
                files.write_file(self.folder / f"{number}.new", raw)
            listed.append({"target": target.relative_to(root).as_posix(), "sha256": digest})
        files.write_file(self._list, json.dumps(listed))
        files.sync_directory(self.folder)

    def place(self, root: Path) -> None:
        """Put the new files in place of the old ones. May be called again after it was interrupted."""
        for change in self._changes(root):
            if _digest(change.target) == change.sha256:
                continue
            self._link_old(change)
            try:
                if change.sha256 is None:
                    change.target.unlink(missing_ok=True)
                    files.sync_directory(change.target.parent)
                else:
                    files.replace(self._copy(change.new), change.target)
            except FileNotFoundError as error:
                raise TVFileError(
                    f"The folder {change.target.parent} is gone, so nothing was written. Look whether its instance was "
                    "executed or deleted meanwhile.",
                    path=change.target,
                ) from error

    def undo(self, root: Path) -> None:
        """Put back what was replaced, unless something else has been put there since. May be called again."""
        if not self._list.exists():
            return
        for change in self._changes(root):
            if not change.target.parent.is_dir() or _digest(change.target) != change.sha256:
                continue
            if change.old.exists():
                files.replace(self._copy(change.old), change.target)
            elif change.sha256 is not None:
                change.target.unlink(missing_ok=True)
                files.sync_directory(change.target.parent)

    @property
    def _list(self) -> Path:
        return self.folder / "changes.json"

    def _changes(self, root: Path) -> list[_Change]:
        return [
            _Change(
                target=root / listed["target"],
                sha256=listed["sha256"],
                new=self.folder / f"{number}.new",
                old=self.folder / f"{number}.old",
            )
            for number, listed in enumerate(json.loads(self._list.read_text()))
        ]

    def _link_old(self, change: _Change) -> None:
        with suppress(FileNotFoundError, FileExistsError):
            os.link(change.target, change.old, follow_symlinks=False)
            files.sync_directory(self.folder)

    def _copy(self, source: Path) -> Path:
        """Return a second copy in staging: what is renamed into place must leave the original behind."""
        copy = source.with_suffix(source.suffix + ".place")
        files.remove(copy)
        files.copy_file(source, copy)
        return copy


def _digest(path: Path) -> str | None:
    try:
        return files.sha256(path)
    except FileNotFoundError:
        return None
