"""The place at which one file is made of a vault's: an archive, or a bundle. Nothing is ever overwritten there."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tablevault_like import founding
from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.storage import files

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@dataclass(frozen=True)
class Output:
    """Where a file is to be. For messages: ``what`` it is, and what ``another`` place is named by."""

    path: Path
    what: str
    another: str = "another place"

    def check(self) -> None:
        """Raise TVArgumentError for a place where no such file can be made."""
        if os.path.lexists(self.path):
            raise TVArgumentError(
                f"{self.path} exists already, so no {self.what} was made. Remove it, or name {self.another}."
            )
        if not self.path.parent.is_dir():
            raise TVArgumentError(
                f"No {self.what} can be made at {self.path}: there is no folder {self.path.parent}. Make it first."
            )
        founding.check_outside(self.path, what=f"{self.what}s")

    def take(self, finished: Path) -> None:
        """Give a finished file its name, unless something has that by now. Raises TVArgumentError then."""
        try:
            os.link(finished, self.path)
        except FileExistsError:
            raise TVArgumentError(
                f"{self.path} was made by somebody else meanwhile, so it was left as it is. Name {self.another}."
            ) from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            files.place(finished, self.path)
        files.sync_directory(self.path.parent)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turn what the disk refuses into TVFileError. What has vanished isn't refused."""
        try:
            yield
        except (TVFileError, FileNotFoundError):
            raise
        except sqlite3.Error as error:
            raise TVFileError(
                f"The {self.what} {self.path} can't be made: the catalog can't be read ({error}). Nothing was left "
                "behind; call again when less is done in the vault.",
                path=self.path,
            ) from error
        except OSError as error:
            where = f" ({error.filename})" if error.filename is not None else ""
            raise TVFileError(
                f"The {self.what} {self.path} can't be made: {error.strerror or error}{where}. Nothing was left "
                f"behind; mend that and call again, or name {self.another}.",
                path=error.filename or self.path,
            ) from error
