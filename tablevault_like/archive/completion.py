"""Give a restored vault what its archive doesn't have, because it can be made anew.

Artifacts of the same content take their disk space once, and tables with one set of artifacts show them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from tablevault_like.archive.contents import SIDECARS, Known
from tablevault_like.catalog import Catalog
from tablevault_like.layout import InstanceLayout, Layout
from tablevault_like.operations import artifact_views
from tablevault_like.process.journal import Journal
from tablevault_like.storage import artifacts, files, links, manifests, places


def complete(layout: Layout, known: Known) -> None:
    """Share disk space and make views, in a vault whose files have been verified. The caller syncs its folders."""
    with closing(Catalog(layout.catalog)) as catalog:
        journal = Journal(catalog, layout, time.time)
        for record, found in known.tables:
            table = places.table_layout(layout, record)
            _share(table.instance(each.instance_id) for each in found if not each.is_temporary)
            artifact_views.follow(journal, record.name, name=f"{record.name}-artifacts")
    for end in SIDECARS:
        files.remove(layout.catalog.with_name(layout.catalog.name + end))


def _share(instances: Iterable[InstanceLayout]) -> None:
    known: dict[tuple[str, int], Path] = {}
    for place in instances:
        found = manifests.contents(place.manifest, place.artifacts.name)
        for name, content in found.items():
            if content in known:
                draft = artifacts.draft_of(place.artifacts)
                links.share(known[content], place.artifacts / name, sha256=content[0], draft=draft)
        # Only then: within an instance each file stays one of its own, as where it was made.
        for name, content in found.items():
            known.setdefault(content, place.artifacts / name)
