"""Make a vault, all of it or none, and tell whether a folder is one."""

from __future__ import annotations

import getpass
import os
import time
from contextlib import closing
from pathlib import Path

from tablevault_like.catalog import Catalog, Database, vaults
from tablevault_like.errors import TVArgumentError, TVFileError, TVProcessError
from tablevault_like.layout import FORMAT_VERSION, Layout
from tablevault_like.locks import is_held
from tablevault_like.process import records
from tablevault_like.storage import descriptions, drafts, files, networks

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


def check_marker(layout: Layout, *, way_on: str = "Create a vault there with create=True.") -> None:
    """Raise TVArgumentError if there is no vault, which tells a way on then, or one of a later release."""
    try:
        text = layout.marker.read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        there = "is not a vault" if layout.root.exists() else "does not exist"
        raise TVArgumentError(f"{layout.root} {there}. {way_on}") from None
    except OSError as error:
        raise TVFileError(f"{layout.marker} can't be read: {error.strerror}.", path=layout.marker) from error
    found = text.removeprefix("tablevault_like ")
    if not found.isdecimal() or int(found) > FORMAT_VERSION:
        raise TVArgumentError(
            f"{layout.root} has the format {text[:40]!r}, and this release of tablevault_like knows {FORMAT_VERSION}. "
            "Install the release that wrote it."
        )


def check_outside(place: Path, *, what: str = "another one") -> None:
    """Raise TVArgumentError if a place lies in a vault, which doesn't hold ``what``."""
    resolved = place.parent.resolve() / place.name
    outer = next((folder for folder in resolved.parents if Layout(folder).marker.is_file()), None)
    if outer is not None:
        raise TVArgumentError(
            f"{place} lies in the vault {outer}, and a vault doesn't hold {what}. Choose a place outside of it."
        )


def check_unused(layout: Layout, db: Database, *, wanted: str) -> None:
    """Raise TVProcessError if a worker lives in the vault, recorded or not: it isn't ``wanted`` then."""
    folders = sorted(layout.processes.iterdir()) if layout.processes.is_dir() else []
    alive = [path.name for path in folders if path.is_dir() and is_held(layout.process(path.name).worker_lock)]
    if not alive:
        return
    known = records.active(db, layout)
    what = records.summary(known[alive[0]]) if alive[0] in known else f"process {alive[0]!r}"
    raise TVProcessError(
        f"The vault at {layout.root} is in use, so it was not {wanted}: {what}. Wait for it, or stop it first.",
        process_id=alive[0],
    )


def create(layout: Layout, *, author: str, description: str, replace: bool, allow_network: bool = False) -> None:
    """Make a vault in a folder that is empty or isn't there; with ``replace`` also in the place of another vault.

    Raises TVArgumentError for any other place, TVProcessError if the other vault is in use, and TVFileError if the disk
    refuses.
    """
    root = layout.root
    try:
        networks.check(root, what=root, is_allowed=allow_network)
        _refuse_place(layout, replace=replace, allow_network=allow_network)
        _put(layout, author=author, description=description, replace=replace, allow_network=allow_network)
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


def fill(layout: Layout, *, author: str, description: str, allow_network: bool = False) -> Catalog:
    """Put all that an empty vault has into a folder where nothing is yet. The caller syncs the folders."""
    for folder in (layout.code_functions, layout.metadata, layout.processes, layout.trash):
        folder.mkdir()
    catalog = Catalog.create(layout.catalog, allow_network=allow_network)
    with catalog.transaction() as db:
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        described = {"description": description, "author": author, "created": created}
        vaults.write(db, described)
    descriptions.write_vault(layout.description, described)
    files.write_file(layout.marker, f"tablevault_like {FORMAT_VERSION}\n")
    return catalog


def _put(layout: Layout, *, author: str, description: str, replace: bool, allow_network: bool) -> None:
    """Make a vault under another name beside its place, then rename it: it is there as a whole or not at all."""
    root = layout.root
    files.make_directory(root.parent)
    with drafts.draft(root, drafts.Kind.CREATING, mode=0o777) as folder:
        fill(Layout(folder), author=author, description=description, allow_network=allow_network)
        files.sync_tree(folder)
        # Somebody may have put something there meanwhile.
        _refuse_place(layout, replace=replace, allow_network=allow_network)
        if replace and layout.marker.is_file():
            files.remove(root)
        folder.rename(root)
        files.sync_directory(root.parent)


def _refuse_place(layout: Layout, *, replace: bool, allow_network: bool) -> None:
    root = layout.root
    check_outside(root)
    if layout.marker.is_file():
        if not replace:
            raise TVArgumentError(
                f"There is a vault at {root} already. Open it without create=True, or give replace=True."
            )
        with closing(Catalog(layout.catalog, allow_network=allow_network)) as catalog, catalog.snapshot() as db:
            check_unused(layout, db, wanted="replaced")
    elif root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise TVArgumentError(
            f"{root} is not empty and not a vault, so no vault was created there. Choose another folder."
        )
