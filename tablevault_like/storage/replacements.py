"""Replace and delete files of a fixed name, so that it can be undone.

The old file is linked into staging before it is replaced. Undoing puts it back only if what stands in its place is what
this process put there: an edit that was made meanwhile is never lost.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tablevault_like.errors import TVFileError
from tablevault_like.storage import files, reach


@dataclass(frozen=True, slots=True)
class Replacements:
    """The changes of one process to files of a fixed name.

    ``folder`` is where it keeps what was there before; ``texts`` are the new files by their paths (bytes, for one that
    isn't text), and ``None`` stands for one that is to be deleted. Each file is changed in a ``fenced()``, which raises
    if that isn't this process's business any more. Both methods may be called again wherever they were interrupted.
    """

    folder: Path
    texts: Mapping[Path, str | bytes | None]
    fenced: Callable[[], AbstractContextManager[object]] = nullcontext

    def place(self) -> None:
        """Put the new files in place of the old ones, durably. Raises TVFileError if a folder is gone."""
        files.make_directory(self.folder)
        for number, (target, text) in enumerate(self.texts.items()):
            draft = self.folder / f"{number}.new"
            if text is not None:
                files.remove(draft)
                files.write_file(draft, text)
            try:
                with self.fenced():
                    self._keep_old(number, target)
                    if _digest(target) == _digest_of(text):
                        _sync(target)
                        continue
                    if text is None:
                        reach.unlink(target, missing_ok=True)
                        files.sync_directory(target.parent)
                    else:
                        files.replace(draft, target)
            except FileNotFoundError as error:
                raise TVFileError(
                    f"The folder {target.parent} is gone, so nothing was written. Look whether its instance was "
                    "executed or deleted meanwhile.",
                    path=target,
                ) from error

    def undo(self) -> None:
        """Put back what was replaced, unless something else has been put there since."""
        for number, (target, text) in enumerate(self.texts.items()):
            with self.fenced():
                if not target.parent.is_dir() or _digest(target) != _digest_of(text):
                    _sync(target)
                    continue
                old = self._old(number)
                if old.exists():
                    # The link in staging stays until the process has ended, in case this is interrupted.
                    copy = old.with_suffix(".back")
                    files.remove(copy)
                    reach.link(old, copy)
                    files.replace(copy, target)
                elif self._nothing(number).exists():
                    reach.unlink(target, missing_ok=True)
                    files.sync_directory(target.parent)

    def _old(self, number: int) -> Path:
        return self.folder / f"{number}.old"

    def _nothing(self, number: int) -> Path:
        """The mark that says that there was no such file before."""
        return self.folder / f"{number}.nothing"

    def _keep_old(self, number: int, target: Path) -> None:
        """Link what is there into staging, or mark that nothing is. What is known from an earlier try stays."""
        if self._old(number).exists() or self._nothing(number).exists():
            return
        try:
            reach.link(target, self._old(number))
        except FileNotFoundError:
            if not target.parent.is_dir():
                raise
            os.close(reach.open_file(self._nothing(number), os.O_WRONLY | os.O_CREAT))
        files.sync_directory(self.folder)


def _sync(target: Path) -> None:
    """Sync what is there already, or that nothing is: who has put it there may have died before that was durable."""
    if target.is_file() and not target.is_symlink():
        files.sync_file(target)
    if target.parent.is_dir():
        files.sync_directory(target.parent)


def _digest(path: Path) -> str | None:
    try:
        return files.sha256(path)
    except FileNotFoundError:
        return None


def _digest_of(content: str | bytes | None) -> str | None:
    if content is None:
        return None
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
