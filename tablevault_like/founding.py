"""Make a vault, all of it or none, and tell whether a folder is one."""

from __future__ import annotations

import getpass
import os
import time
import uuid
from pathlib import Path

from tablevault_like.catalog import Catalog, vaults
from tablevault_like.errors import TVArgumentError, TVFileError, TVProcessError
from tablevault_like.layout import FORMAT_VERSION, Layout
from tablevault_like.process import records
from tablevault_like.storage import files

_NOT_A_PLACE = (FileNotFoundError, NotADirectoryError, FileExistsError)


def user() -> str:
    """Return the user of the operating system, who is the author where none is named."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def locate(db_dir: str) -> Layout:
    """Return the layout of the vault at ``db_dir``. It is resolved: one vault has one name, whichever link leads to it.

    Raises TVArgumentError if the links lead nowhere.
    """
    try:
        return Layout(Path(db_dir).resolve())
    except (RuntimeError, OSError) as error:
        raise TVArgumentError(f"db_dir={db_dir!r} can't be followed: its links form a circle.") from error


def check_marker(layout: Layout) -> None:
    """Raise TVArgumentError if there is no vault, or one of a later release."""
    try:
        text = layout.marker.read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        there = "is not a vault" if layout.root.exists() else "does not exist"
        raise TVArgumentError(f"{layout.root} {there}. Create a vault there with create=True.") from None
    except OSError as error:
        raise TVFileError(f"{layout.marker} can't be read: {error.strerror}.", path=layout.marker) from error
    found = text.removeprefix("tablevault_like ")
    if not found.isdecimal() or int(found) > FORMAT_VERSION:
        raise TVArgumentError(
            f"{layout.root} has the format {text[:40]!r}, and this release of tablevault_like knows {FORMAT_VERSION}. "
            "Install the release that wrote it."
        )


def create(layout: Layout, *, author: str, description: str, replace: bool) -> None:
    """Make a vault in a folder that is empty or isn't there; with ``replace`` also in the place of another vault.

    Raises TVArgumentError for any other place, TVProcessError if the other vault is in use, and TVFileError if the disk
    refuses.
    """
    root = layout.root
    try:
        _refuse_place(layout, replace=replace)
        _put(layout, author=author, description=description)
    except TVFileError:
        raise
    except PermissionError as error:
        raise TVFileError(
            f"No vault can be created at {root}: {root.parent} may not be written to by this user. Choose another "
            "place, or change its permissions.",
            path=root,
        ) from error
    except _NOT_A_PLACE as error:
        raise TVArgumentError(
            f"No vault can be created at {root}: {error.strerror}. Choose a place where folders can be made."
        ) from error
    except OSError as error:
        raise TVFileError(
            f"No vault can be created at {root}: {error.strerror}. Choose another place, or mend this one.", path=root
        ) from error


def fill(layout: Layout, *, author: str, description: str) -> Catalog:
    """Put all that an empty vault has into a folder where nothing is yet. The caller syncs the folders."""
    for folder in (layout.code_functions, layout.metadata, layout.processes, layout.trash):
        folder.mkdir()
    catalog = Catalog.create(layout.catalog)
    with catalog.transaction() as db:
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        vaults.write(db, {"description": description, "author": author, "created": created})
    files.write_file(layout.marker, f"tablevault_like {FORMAT_VERSION}\n")
    return catalog


def _put(layout: Layout, *, author: str, description: str) -> None:
    """Make a vault under another name beside its place, then rename it: it is there as a whole or not at all."""
    root = layout.root
    draft = Layout(root.with_name(f".{root.name[:40]}.{uuid.uuid4().hex}"))
    try:
        files.make_directory(root.parent)
        draft.root.mkdir()
        fill(draft, author=author, description=description)
        files.sync_tree(draft.root)
        if layout.marker.is_file():
            files.remove(root)
        draft.root.rename(root)
        files.sync_directory(root.parent)
    except BaseException:
        files.remove(draft.root)
        raise


def _refuse_place(layout: Layout, *, replace: bool) -> None:
    root = layout.root
    outer = next((folder for folder in root.parents if Layout(folder).marker.is_file()), None)
    if outer is not None:
        raise TVArgumentError(
            f"{root} lies in the vault {outer}, and a vault doesn't hold another one. Choose a place outside of it."
        )
    if layout.marker.is_file():
        if not replace:
            raise TVArgumentError(
                f"There is a vault at {root} already. Open it without create=True, or give replace=True."
            )
        _refuse_if_in_use(layout)
    elif root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise TVArgumentError(
            f"{root} is not empty and not a vault, so no vault was created there. Choose another folder."
        )


def _refuse_if_in_use(layout: Layout) -> None:
    """Raise TVProcessError if a worker lives in a vault that is about to be deleted."""
    with Catalog(layout.catalog).snapshot() as db:
        alive = [record for record in records.active(db, layout).values() if record.is_alive]
    if alive:
        raise TVProcessError(
            f"The vault at {layout.root} is in use, so it was not replaced: {records.summary(alive[0])}. Stop it "
            "first.",
            process_id=alive[0].process_id,
        )
