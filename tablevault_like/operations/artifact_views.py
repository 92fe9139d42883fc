"""Let the folder of a table show the artifacts of its newest successful instance, for tables with one set of them.

1. ``<table>/artifacts`` is a view: links to, or copies of, the read-only files of the instance. Nothing that is read
   through the vault is read from there, so what an older instance shows never depends on it.
2. It is replaced as a whole, in a transaction that makes sure of the newest instance. Partial instances never appear.
3. All of it may be done again, by anyone. What could not be done after a commit is done by ``folders.tidy``.
4. What people have put there is moved to the trash, not removed.
"""

from __future__ import annotations

import os
from pathlib import Path

from tablevault_like.catalog import instances, tables
from tablevault_like.layout import Layout
from tablevault_like.model import InstanceRecord
from tablevault_like.process.journal import Journal
from tablevault_like.storage import artifacts, files, links, places, reach

_TRIES = 5


def follow(journal: Journal, table: str, *, name: str) -> None:
    """Make the view of a table be that of its newest successful instance.

    It is prepared, and what is replaced goes, in the trash under ``name``. Nothing happens if the table is gone, or if
    its instances have artifacts of their own only.
    """
    for _ in range(_TRIES):
        with journal.catalog.snapshot() as db:
            record = tables.find(db, table)
            newest = instances.newest_successful(db, table)
        if record is None or record.allow_multiple_artifacts:
            return
        view = places.table_layout(journal.layout, record).artifacts
        source = None if newest is None else places.instance_layout(journal.layout, newest).artifacts
        if shows(view, source):
            return
        draft, old = _prepare(journal.layout, source, name), None
        try:
            with journal.catalog.transaction() as db:
                is_still_so = (tables.find(db, table), instances.newest_successful(db, table)) == (record, newest)
                if is_still_so and (draft is not None or not artifacts.has_any(source)):
                    old = _put(journal.layout, view, draft, name)
                    return
        finally:
            if draft is not None:
                files.remove(draft)
            if old is not None and not files.has_writable(old):
                files.remove(old)


def follow_instance(journal: Journal, made: InstanceRecord, instance_id: str, *, name: str) -> None:
    """Do what ``follow`` does after an instance was made of the temporary one ``made``.

    Where there are no artifacts, and were none before, that is found out without the catalog.
    """
    place = places.table_layout(journal.layout, made)
    if artifacts.has_any(place.instance(instance_id).artifacts) or os.path.lexists(place.artifacts):
        follow(journal, made.table_name, name=name)


def _prepare(layout: Layout, source: Path | None, name: str) -> Path | None:
    """Make the new view in the trash. None if there is nothing to show, or if its instance is deleted meanwhile."""
    if source is None or not artifacts.has_any(source):
        return None
    files.check_no_link(layout.trash)
    files.make_directory(layout.trash)
    draft = files.available_name(layout.trash, name)
    try:
        links.mirror_tree(source, draft)
    except FileExistsError:  # somebody else is at the same
        return None
    except FileNotFoundError:  # the instance was moved
        files.remove(draft)
        return None
    except BaseException:
        files.remove(draft)
        raise
    return draft


def _put(layout: Layout, view: Path, draft: Path | None, name: str) -> Path | None:
    """Put the new view in the place of the old one, and return where that is now, if there was one."""
    old = None
    if os.path.lexists(view):
        files.check_no_link(layout.trash)
        files.make_directory(layout.trash)
        old = files.available_name(layout.trash, name)
        reach.rename(view, old)
    if draft is not None:
        reach.rename(draft, view)
    files.sync_directory(view.parent)
    return old


def shows(view: Path, source: Path | None) -> bool:
    """Tell whether a view shows what is in an artifact folder: the same files, or copies as old and as large."""
    if view.is_symlink():
        return False
    if source is None or not artifacts.has_any(source):
        return not artifacts.has_any(view)
    wanted, found = _look_of(source), _look_of(view)
    return found.keys() == wanted.keys() and all(
        os.path.samestat(one, found[name])
        or (one.st_size, one.st_mtime_ns) == (found[name].st_size, found[name].st_mtime_ns)
        for name, one in wanted.items()
    )


def _look_of(folder: Path) -> dict[str, os.stat_result]:
    """Return what the file system tells of everything below a folder that isn't a folder itself."""
    return {
        os.path.relpath(path, folder): path.lstat()
        for place, inner, names in os.walk(folder)
        for path in (Path(place, name) for name in (*inner, *names))
        if path.is_symlink() or not path.is_dir()
    }
