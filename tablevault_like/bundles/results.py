"""Make of an instance what one of its builders has made: its columns, by the primary key, and how they were made.

Other builders, their texts and their code are left out.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tablevault_like.errors import TVArgumentError, TVFileError, nearest
from tablevault_like.layout import InstanceLayout
from tablevault_like.model import ARTIFACT_DTYPE, INDEX_SUFFIX, Column
from tablevault_like.storage import artifacts, files, manifests, reach, tables
from tablevault_like.storage.documents import parsed


@dataclass(frozen=True, slots=True)
class Reduced:
    """What one builder has made, in the form of an instance."""

    place: InstanceLayout
    columns: tuple[Column, ...]
    rows: int
    recipe: str


def reduce(source: InstanceLayout, builder: str, target: InstanceLayout, *, known: Mapping[str, object]) -> Reduced:
    """Write what a builder has made for an instance into a new folder. ``known`` goes into its manifest.

    Raises TVArgumentError if the instance has no results of such a builder, and TVFileError if it is damaged.
    """
    listed = _listed(source)
    told = _provenance(source, listed)
    own = _builder(told, builder)
    plan = parsed(_checked(source, "provenance/plan.json", listed).read_bytes())
    planned = {each["name"]: each for each in plan["builders"]}
    index = next(each for each in plan["builders"] if each["fields"]["builder_type"] == "IndexBuilder")
    if builder == index["name"]:
        raise TVArgumentError(
            f"{builder!r} is the IndexBuilder, which always runs, so nobody can reuse what it has made. Export the "
            "whole instance, or a ColumnBuilder's results."
        )
    reach.make_folder(target.folder)
    key = index["fields"]["primary_key"]
    columns, rows = _table(source, target, listed, [*key, *own["changed_columns"]])
    reach.make_folder(target.builders)
    _copy(source, target, f"builders/{builder}.yaml", listed)
    for module in planned[builder]["modules"]:
        _copy(source, target, f"code/{module}", listed)
    reach.make_folder(target.provenance)
    files.write_file(target.provenance / "builders.json", json.dumps({**told, "builders": [own]}, indent=1))
    if own["has_rows"]:
        _copy(source, target, f"provenance/{builder}.parquet", listed)
    manifests.write(target.folder, target.manifest, known={**known, "builder": builder, "rows": rows})
    return Reduced(target, columns, rows, own["recipe"])


def _listed(source: InstanceLayout) -> dict[str, str]:
    try:
        return {str(name): str(each["sha256"]) for name, each in manifests.read(source.manifest)["files"].items()}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TVFileError(f"{source.manifest} is damaged ({error}). Restore it.", path=source.manifest) from error


def _provenance(source: InstanceLayout, listed: Mapping[str, str]) -> dict[str, Any]:
    if "provenance/builders.json" not in listed:
        raise TVArgumentError(
            f"{source.folder} has no builders' results: it was written as a frame, or nothing is kept of how it was "
            "made. Export the whole instance."
        )
    found: dict[str, Any] = parsed(_checked(source, "provenance/builders.json", listed).read_bytes())
    return found


def _builder(told: Mapping[str, Any], name: str) -> dict[str, Any]:
    for each in told["builders"]:
        if each["name"] == name:
            return dict(each)
    known = [each["name"] for each in told["builders"] if not each["name"].endswith(INDEX_SUFFIX)]
    raise TVArgumentError(f"The instance has no builder {name!r}.{nearest(name, known)}")


def _table(
    source: InstanceLayout, target: InstanceLayout, listed: Mapping[str, str], names: Sequence[str]
) -> tuple[tuple[Column, ...], int]:
    path = _checked(source, source.table.name, listed)
    known, rows = tables.read_columns(path)
    wanted = [column for column in known if column.name in names]
    frame = tables.read_table(path, columns=[column.name for column in wanted])
    named = [column.name for column in wanted if column.dtype == ARTIFACT_DTYPE]
    columns = tables.write_table(target.table, frame, dict.fromkeys(named, ARTIFACT_DTYPE))
    found = [name for column in named for name in frame[column].dropna()]
    if found:
        reach.make_folder(target.artifacts)
        for name, digest in artifacts.take_over(found, source.artifacts, target.artifacts).items():
            if listed.get(f"{source.artifacts.name}/{name}") != digest:
                raise _damage(source.artifacts / name)
    return columns, rows


def _copy(source: InstanceLayout, target: InstanceLayout, name: str, listed: Mapping[str, str]) -> None:
    path = target.folder / name
    reach.make_folders(path.parent)
    shutil.copyfile(_checked(source, name, listed), path, follow_symlinks=False)


def _checked(source: InstanceLayout, name: str, listed: Mapping[str, str]) -> Path:
    """Return the path of a file that is what the manifest says. Raises TVFileError."""
    path = source.folder / name
    if files.sha256(path) != listed.get(name):
        raise _damage(path)
    return path


def _damage(path: Path) -> TVFileError:
    return TVFileError(
        f"{path} isn't what it was when the instance was made, so nothing was exported. Restore it from a backup.",
        path=path,
    )
