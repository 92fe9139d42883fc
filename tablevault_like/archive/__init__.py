"""Make one file of a vault, make a vault of such a file, and delete a vault.

An archive is a ``tar.xz`` that any tar can unpack: a label that says what is to come, then one folder with the vault,
as its catalog has it at one moment. ``contents`` says what belongs to it, ``packing`` makes it, ``unpacking`` and
``verification`` read it back. All is made in drafts (``storage.drafts``), so that nothing is ever half there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tablevault_like import founding
from tablevault_like.errors import TVArgumentError

if TYPE_CHECKING:
    from tablevault_like.archive.packing import Archived
    from tablevault_like.archive.progress import Observer
    from tablevault_like.archive.unpacking import Restored

SUFFIX = ".tar.xz"


def compress_vault(
    db_dir: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    preset: int = 6,
    *,
    observer: Observer | None = None,
) -> Archived:
    """Make an archive of a vault, by default ``<db_dir>.tar.xz``, and return where it is and what it has.

    The vault may be in use: the archive has it as it was at one moment, with the processes that are paused or under
    way, which can be resumed where it is restored. ``preset`` is that of xz, from 0 (fast) to 9 (small). ``observer``
    is called with a Progress. What lies in the vault's folder and isn't in the archive, such as the trash, is in
    ``left_out`` of what is returned.

    Raises TVArgumentError if there is no vault, or something is at the archive's place already, and TVFileError if a
    file is damaged, or can't be read or written. No archive is left behind then.
    """
    from tablevault_like.archive.packing import pack

    layout = founding.locate(os.fspath(_path("db_dir", db_dir)))
    founding.check_marker(layout, way_on="Name the folder of a vault.")
    if _is_number(output):
        raise TVArgumentError(f"output must be a path, not {output!r}. For xz's preset, give preset={output!r}.")
    if not _is_number(preset) or preset > 9:
        raise TVArgumentError(f"preset must be a number from 0 to 9, not {preset!r}.")
    place = _beside(db_dir) if output is None else _absolute("output", output)
    return pack(layout, place, preset=preset, observer=observer)


def decompress_vault(
    db_dir: str | os.PathLike[str],
    archive: str | os.PathLike[str] | None = None,
    *,
    max_bytes: int | None = None,
    observer: Observer | None = None,
) -> Restored:
    """Restore the vault that ``compress_vault`` has put into an archive, by default from ``<db_dir>.tar.xz``.

    ``db_dir`` must be an empty folder, or not be there. The vault appears there when all of it has been written and
    every checksum was found right. Nothing of it is run. ``max_bytes`` is how many bytes its files may have; there is
    no limit but the room on the disk by default. ``observer`` is called with a Progress.

    Raises TVArgumentError for a place where no vault can be, or an archive that isn't there, and TVFileError for one
    that is damaged or isn't a vault's, or if the disk refuses. Nothing is left behind then.
    """
    from tablevault_like.archive.unpacking import unpack

    source = _beside(db_dir) if archive is None else _absolute("archive", archive)
    if max_bytes is not None and not _is_number(max_bytes):
        raise TVArgumentError(f"max_bytes must be a number of bytes, or None for no limit, not {max_bytes!r}.")
    target = founding.locate(os.fspath(_path("db_dir", db_dir))).root
    return unpack(target, source, max_bytes=max_bytes, observer=observer)


def delete_vault(db_dir: str | os.PathLike[str]) -> None:
    """Delete a vault for good, trash and all.

    For everybody else it is gone at once. Raises TVArgumentError for a folder that isn't a vault, or that holds other
    things, TVProcessError if a worker lives in it, and TVFileError if the disk refuses.
    """
    from tablevault_like.archive.deletion import delete

    delete(founding.locate(os.fspath(_path("db_dir", db_dir))))


def _is_number(given: object) -> bool:
    """Tell whether something is a whole number, 0 or more."""
    return isinstance(given, int) and not isinstance(given, bool) and given >= 0


def _path(name: str, given: object) -> str | os.PathLike[str]:
    found = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    if not isinstance(found, str) or not found or "\0" in found:
        raise TVArgumentError(f"{name} must be a path, not {str(given)[:60]!r}.")
    return found


def _absolute(name: str, given: object) -> Path:
    # A link at the end stays one: it says where somebody wants the file to be found.
    return Path(os.path.abspath(_path(name, given)))  # noqa: PTH100 - see above


def _beside(db_dir: object) -> Path:
    """Return ``<db_dir>.tar.xz``."""
    place = _absolute("db_dir", db_dir)
    if not place.name:
        raise TVArgumentError(f"{place} has nothing beside it. Name the archive.")
    return place.with_name(place.name + SUFFIX)
