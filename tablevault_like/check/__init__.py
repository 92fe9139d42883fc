"""Prove that a vault is sound, and mend it.

``check`` looks and never writes; ``repair`` mends what can be mended; ``rebuild_catalog`` makes a lost catalog anew.
"""

from __future__ import annotations

import os
import time

from tablevault_like import founding
from tablevault_like.check import checking, repairing
from tablevault_like.check.checking import Observer
from tablevault_like.check.findings import CheckReport, Finding, Kind, Severity
from tablevault_like.check.rebuilding import Rebuilt, rebuild
from tablevault_like.layout import Layout

__all__ = ["CheckReport", "Finding", "Kind", "Rebuilt", "Severity", "check_vault", "rebuild_catalog"]


def check_vault(
    layout: Layout,
    table_name: str | None = None,
    *,
    contents: bool = True,
    repair: bool = False,
    observer: Observer | None = None,
) -> CheckReport:
    """Check a vault, or one table of it, and with ``repair`` mend what can be mended and check again.

    Raises TVArgumentError for an unknown table, and with ``repair`` TVFileError if this user may not write.
    """
    found = checking.check(layout, table_name, contents=contents, observer=observer)
    if not repair:
        return found
    repairing.repair(layout, found, now=time.time)
    again = checking.check(layout, table_name, contents=contents, observer=observer)
    return checking.with_repaired(again, found)


def rebuild_catalog(
    db_dir: str | os.PathLike[str], *, force: bool = False, author: str | None = None, observer: Observer | None = None
) -> Rebuilt:
    """Make the catalog of a vault anew from its files, if it is lost or damaged, and check the result.

    The vault at ``db_dir`` can't be opened then, so this is no method of one. What there was of the catalog is kept in
    the trash. ``force`` rebuilds a sound catalog, too: what only it knows is lost then. ``author`` is who takes over
    what nobody knows who made it, by default the user of the operating system.

    Raises TVArgumentError if there is no vault, or its catalog is sound, TVProcessError if a worker lives in it, and
    TVFileError if the disk refuses.
    """
    layout = founding.locate(os.fspath(db_dir))
    founding.check_marker(layout)
    return rebuild(layout, force=force, author=author or founding.user(), observer=observer)
