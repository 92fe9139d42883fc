"""Delete a vault: at once for everybody who looks for it, and nothing but a vault."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from tablevault_like import founding
from tablevault_like.archive import databases
from tablevault_like.catalog import Catalog, Database, schema, tables
from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.layout import Layout
from tablevault_like.storage import drafts, files

_SHOWN = 5


def delete(layout: Layout) -> None:
    """Delete the vault.

    Raises TVArgumentError for a folder that isn't one, or that holds what isn't the vault's, TVProcessError if a worker
    lives in it, TVFileError if the disk refuses. Nothing has changed then.
    """
    founding.check_marker(layout, way_on="Name the folder of a vault.")
    root = layout.root
    if layout.catalog.is_file() and not databases.may_write(layout.catalog):
        raise TVFileError(
            f"The vault at {root} was not deleted: {layout.catalog} may not be written to by this user. Ask its owner.",
            path=layout.catalog,
        )
    drafts.sweep(root)
    gone = drafts.name_for(root, drafts.Kind.DELETING)
    lock = None
    try:
        # While this transaction is open nobody can begin anything.
        with closing(Catalog(layout.catalog)) as catalog, catalog.transaction() as db:
            _refuse_other_folders(layout, db)
            founding.check_unused(layout, db, wanted="deleted")
            lock = drafts.locked(root)
            root.rename(gone)
        files.sync_directory(root.parent)
        _remove(gone, root)
    except sqlite3.Error as error:
        raise TVFileError(
            f"The vault at {root} was not deleted: its catalog can't be used ({error}). If nobody works in it, remove "
            "the folder by hand.",
            path=layout.catalog,
        ) from error
    except OSError as error:
        if isinstance(error, TVFileError):
            raise
        raise TVFileError(
            f"The vault at {root} was not deleted: {error.strerror or error}. Its folder must be one that this user "
            "may rename and remove.",
            path=root,
        ) from error
    finally:
        if lock is not None:
            os.close(lock)


def _refuse_other_folders(layout: Layout, db: Database) -> None:
    """Raise TVArgumentError for a folder that is something else as well."""
    if db.execute("PRAGMA application_id").fetchone()[0] != schema.APPLICATION_ID:
        raise TVArgumentError(f"{layout.root} is not a vault: {layout.catalog} is something else. It was left alone.")
    known = {path.name for path in (layout.marker, layout.description, layout.code_functions, layout.metadata)}
    known.update(folder for folder, _ in tables.deleted_folders(db))
    for name in tables.names(db):
        record = tables.get(db, name)
        known.update(folder for folder in (record.folder, record.next_folder) if folder is not None)
    others = sorted(path.name for path in layout.root.iterdir() if path.name not in known)
    if others:
        shown = ", ".join(map(repr, others[:_SHOWN])) + (", ..." if len(others) > _SHOWN else "")
        raise TVArgumentError(
            f"{layout.root} was not deleted, because it holds what is no part of the vault: {shown}. Move that away, "
            "and call again."
        )


def _remove(gone: Path, root: Path) -> None:
    try:
        files.remove(gone)
    except OSError as error:
        raise TVFileError(
            f"The vault at {root} was deleted, but its files couldn't be removed: {error.strerror or error}. They lie "
            f"in {gone}; remove that by hand.",
            path=gone,
        ) from error
