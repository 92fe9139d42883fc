"""A folder that becomes a vault: it is there as a whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tablevault_like import founding
from tablevault_like.errors import TableVaultError, TVArgumentError, TVFileError
from tablevault_like.storage import drafts, files


def check_place(place: Path) -> None:
    """Raise TVArgumentError if no vault can be made at ``place``, because something is there or it lies in a vault."""
    founding.check_outside(place)
    if os.path.lexists(place) and (place.is_symlink() or not place.is_dir() or any(place.iterdir())):
        raise TVArgumentError(
            f"There is something at {place} already, so nothing was brought there. Choose a folder that isn't there "
            "yet, or an empty one."
        )


@contextmanager
def drafted(place: Path) -> Iterator[Path]:
    """Give an empty folder that is renamed to ``place`` on leaving, all of it synced; removed if anything is raised.

    Raises TVFileError if the disk refuses.
    """
    try:
        files.make_directory(place.parent)
        with drafts.draft(place, drafts.Kind.MIGRATING, mode=0o777) as folder:
            yield folder
            files.sync_tree(folder)
            check_place(place)
            folder.rename(place)
            try:
                files.sync_directory(place.parent)
            except BaseException:
                files.remove(place)
                raise
    except TableVaultError:
        raise
    except OSError as error:
        named = error.filename or place
        raise TVFileError(
            f"{place} can't be made: {error.strerror} ({named}). Nothing was brought over. Choose another place, or "
            "mend this one, and call again.",
            path=place,
        ) from error
