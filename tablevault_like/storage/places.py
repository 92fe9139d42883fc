"""Find where a table's folder lies. It follows a rename when it can, so for a while it may lie under either name.

No part of a table or an instance is reached through a link: one that stands in the place of a folder is refused.
"""

from __future__ import annotations

from pathlib import Path

from tablevault_like.layout import InstanceLayout, Layout, TableLayout
from tablevault_like.model import INDEX_SUFFIX, InstanceRecord, TableRecord
from tablevault_like.storage import files, reach

_INSTANCE = InstanceLayout(Path())
_PARTS = frozenset(
    part.name
    for part in (
        *(_INSTANCE.table, _INSTANCE.manifest, _INSTANCE.description, _INSTANCE.builders, _INSTANCE.code),
        *(_INSTANCE.artifacts, _INSTANCE.provenance, _INSTANCE.results),
    )
)
"""The names of what an instance is made of."""


def table_layout(layout: Layout, record: TableRecord | InstanceRecord) -> TableLayout:
    """Return the folder of a table (or of an instance's table), whether or not it has followed a rename yet.

    Raises TVFileError if it is a link.
    """
    place = layout.table(record.folder)
    if record.next_folder is not None and not place.folder.is_dir():
        place = layout.table(record.next_folder)
    files.check_no_link(place.folder)
    return place


def make_table_folder(place: TableLayout) -> None:
    """Make a table's folder if it isn't there, durably.

    One that is there may have been made by housekeeping that nobody synced, so its name is synced in any case.
    """
    reach.make_folder(place.folder, exist_ok=True)
    files.sync_directory(place.folder.parent)


def builder_files(place: InstanceLayout, table: str) -> dict[str, Path]:
    """Return the builder files of an instance by name.

    An IndexBuilder that still bears an old name of its table counts as having the new one: its file follows a rename
    when it can, and in a materialized instance never.
    """
    found = {path.stem: path for path in sorted(place.builders.glob("*.yaml"))}
    index = table + INDEX_SUFFIX
    named_like_one = [name for name in found if name.endswith(INDEX_SUFFIX)]
    if index not in found and len(named_like_one) == 1:
        found[index] = found.pop(named_like_one[0])
    return dict(sorted(found.items()))


def instance_layout(layout: Layout, record: InstanceRecord) -> InstanceLayout:
    """Return the folder of an instance. Raises TVFileError if it is a link, or has one in the place of a part."""
    return part_of(table_layout(layout, record), record.instance_id)


def part_of(table: TableLayout, instance_id: str) -> InstanceLayout:
    """Return the folder of an instance in a table's. Raises TVFileError as ``instance_layout`` does."""
    place = table.instance(instance_id)
    files.check_no_link_in(place.folder, _PARTS)
    return place
