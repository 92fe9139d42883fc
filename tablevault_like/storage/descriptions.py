"""``description.yaml`` beside a table or an instance: a copy for people. The catalog is the truth."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from tablevault_like.layout import InstanceLayout, TableLayout
from tablevault_like.model import InstanceRecord, TableRecord
from tablevault_like.storage import files


def write_table(place: TableLayout, record: TableRecord) -> None:
    """Write what describes a table into its folder. Not synced: it can be written again from the catalog."""
    _write(place.description, describe_table(record))


def describe_table(record: TableRecord) -> dict[str, object]:
    """Return what describes a table."""
    return {
        "table": record.name,
        "description": record.description,
        "author": record.author,
        "created": _iso(record.created_at),
        "allow_multiple_artifacts": record.allow_multiple_artifacts,
        "has_side_effects": record.has_side_effects,
    }


def write_instance(
    place: InstanceLayout, known: Mapping[str, object], *, created_at: float, materialized_at: float
) -> None:
    """Write what describes an instance into its folder, where nothing does yet, and sync it."""
    fields = {**known, "created": _iso(created_at), "materialized": _iso(materialized_at)}
    files.write_file(place.description, _text(fields))


def describe_instance(record: InstanceRecord) -> dict[str, object]:
    """Return what describes an instance."""
    return {
        "table": record.table_name,
        "instance": record.instance_id,
        "version": record.version,
        "description": record.description,
        "author": record.author,
        "created": _iso(record.created_at),
        "materialized": _iso(record.materialized_at),
        "active": record.active,
        "success": record.success,
        "external_edit": record.external_edit,
        "origin": None if record.origin_id is None else [record.origin_table, record.origin_id],
        "rows": record.rows,
        "process_id": record.process_id,
        "pinned_by": record.pinned_by,
        "pinned": _iso(record.pinned_at),
    }


def is_written(place: TableLayout) -> bool:
    """Tell whether a table's description is there, and was not being written when its worker died."""
    return place.description.is_file() and not _draft(place.description).exists()


def _write(path: Path, fields: Mapping[str, object]) -> None:
    draft = _draft(path)
    draft.write_text(_text(fields), encoding="utf-8")
    draft.replace(path)


def _draft(path: Path) -> Path:
    return path.with_suffix(".yaml.new")


def _text(fields: Mapping[str, object]) -> str:
    import yaml  # it takes long to import, and most programs write no description

    # libyaml's is five times as fast, where PyYAML was built with it.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(dict(fields), Dumper=dumper, sort_keys=False, allow_unicode=True)
    return text


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
