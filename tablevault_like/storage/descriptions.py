"""``description.yaml`` beside a table or an instance: a copy for people. The catalog is the truth."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tablevault_like.layout import InstanceLayout, TableLayout
from tablevault_like.model import InstanceRecord, TableRecord
from tablevault_like.storage import files, reach


def write_table(place: TableLayout, record: TableRecord, standing: Mapping[str, object] | None = None) -> None:
    """Write what describes a table into its folder. Not synced: it can be written again from the catalog.

    ``standing`` is what ``describe_standing`` returns of its instances.
    """
    # To the second is enough for people. Tables are in order of their creation, though.
    _write(place.description, {**describe_table(record), "created_at": record.created_at, **(standing or {})})


def describe_standing(pinned: Mapping[str, tuple[float, str]], inactive: Sequence[str]) -> dict[str, object]:
    """Return what may change of a table's materialized instances: when and by whom they are pinned, which are inactive.

    There is nothing where none is. Times are seconds since the epoch (POSIX).
    """
    pins = {instance_id: list(pin) for instance_id, pin in pinned.items()}
    return {**({"pinned": pins} if pins else {}), **({"inactive": list(inactive)} if inactive else {})}


def write_vault(path: Path, fields: Mapping[str, str]) -> None:
    """Write what describes a vault into its folder. Not synced: it can be written again from the catalog."""
    _write(path, fields)


def write_temporary(place: InstanceLayout, fields: Mapping[str, object]) -> None:
    """Write what describes a temporary instance into its folder, where nothing does yet. Not synced.

    It is JSON, which is YAML: a dumper of YAML takes longer to import than all else.
    """
    _write_text(place.description, json.dumps(dict(fields), indent=1) + "\n")


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
    _write_text(draft, _text(fields))
    reach.rename(draft, path)


def _write_text(path: Path, text: str) -> None:
    descriptor = reach.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with files.naming(path), os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


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
