"""Open a bundle for an import: unpack it, verify it, and keep its label beside what came out.

::

    <folder>/label.json
    <folder>/content/     the files of an instance; complete from the moment that label.json is there
"""

from __future__ import annotations

from pathlib import Path

from tablevault_like.bundles.label import CONTENT, Label
from tablevault_like.bundles.unpacking import fit, unpack
from tablevault_like.bundles.verification import verify
from tablevault_like.errors import TVFileError
from tablevault_like.layout import InstanceLayout
from tablevault_like.storage import files
from tablevault_like.tapes.members import Unfit

LABEL = "label.json"


def open_bundle(path: Path, folder: Path, *, max_bytes: int | None = None) -> Label:
    """Unpack and verify a bundle in a folder, in the place of whatever is there, durably, and return its label.

    Raises TVArgumentError if there is no bundle, TVFileError for one that is damaged, or hostile, or if the disk
    refuses. Nothing is left there then.
    """
    files.remove(folder)
    try:
        files.make_directory(folder)
        label = unpack(path, folder / CONTENT, max_bytes=max_bytes)
        place = content(folder)
        with fit(path):
            verify(place, label)
        place.artifacts.mkdir(exist_ok=True)
        files.sync_directory(place.folder)
        files.write_file(folder / LABEL, label.to_json())
        files.sync_directory(folder)
    except OSError as error:
        files.remove(folder)
        if isinstance(error, TVFileError):
            raise
        where = f" ({error.filename})" if error.filename is not None else ""
        raise TVFileError(
            f"{path} can't be imported: {error.strerror or error}{where}. Nothing was imported; mend that and call "
            "again.",
            path=error.filename or path,
        ) from error
    except BaseException:
        files.remove(folder)
        raise
    return label


def kept_label(folder: Path) -> Label:
    """Return the label of a bundle that was opened there. Raises TVFileError if it is gone or damaged."""
    path = folder / LABEL
    try:
        return Label.from_json(path.read_bytes())
    except (OSError, Unfit) as error:
        raise TVFileError(
            f"{path} can't be read ({error}). Stop the process and import the bundle anew.", path=path
        ) from error


def content(folder: Path) -> InstanceLayout:
    """Return the files of a bundle that was opened there."""
    return InstanceLayout(folder / CONTENT)
