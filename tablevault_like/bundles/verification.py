"""Hold what came out of a bundle to the form that an instance has, before anybody sees it.

1. Nothing of it is run: code is not looked at, tables, plans and builder files are read as what they say they are.
2. Its files are those of its manifest, and only such as an instance has.
3. No cell leads out of its artifact folder, and no builder's name out of its provenance.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

from tablevault_like.builders import document
from tablevault_like.builders.plan import FORMAT as PLAN_FORMAT
from tablevault_like.builders.plan import Plan
from tablevault_like.builders.provenance import Provenance
from tablevault_like.builders.spec import read_builder
from tablevault_like.bundles.label import Kind, Label, shown
from tablevault_like.errors import TableVaultError
from tablevault_like.layout import InstanceLayout
from tablevault_like.model import ARTIFACT_DTYPE, check_builder_name
from tablevault_like.storage import artifacts, manifests, tables
from tablevault_like.tapes.members import Unfit

_LONGEST_TEXT = 64 << 20


def verify(place: InstanceLayout, label: Label) -> None:
    """Raise Unfit if anything is wrong with the files of a bundle, whose checksums are those of the label."""
    try:
        _check_names(place, label)
        _check_manifest(place, label)
        _check_table(place, label)
        _check_builders(place, label)
        _check_plan(place)
        _check_provenance(place, label)
    except Unfit as error:  # without the place where it was unpacked
        raise Unfit(str(error).replace(f"{place.folder}/", "")) from None


def _check_names(place: InstanceLayout, label: Label) -> None:
    alone = {each.name for each in (place.table, place.manifest, place.description)}
    folders = {each.name for each in (place.builders, place.code, place.artifacts, place.provenance)}
    for listed in label.files:
        top, slash, _ = listed.name.partition("/")
        if top not in (folders if slash else alone):
            raise Unfit(f"{shown(listed.name)} is no part of an instance")
    if not place.table.is_file():
        raise Unfit(f"it lacks {place.table.name!r}")


def _check_manifest(place: InstanceLayout, label: Label) -> None:
    name = place.manifest.name
    _check_size(place, place.manifest)
    try:
        found = manifests.read(place.manifest)
        listed = {str(each): (str(told["sha256"]), int(told["size"])) for each, told in found["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Unfit(f"{name!r} is damaged") from None
    there = {each.name: (each.sha256, each.size) for each in label.files if each.name != name}
    for each in sorted(listed.keys() | there.keys()):
        if each not in there:
            raise Unfit(f"it lacks {shown(each)}, which {name!r} lists")
        if each not in listed:
            raise Unfit(f"{shown(each)} is in it, and {name!r} doesn't list it")
        if listed[each] != there[each]:
            raise Unfit(f"{shown(each)} isn't what {name!r} says")
    instance = label.instance
    told = {"instance": instance.instance_id, "version": instance.version, "success": instance.success}
    for field, value in {**told, "rows": instance.rows}.items():
        if found.get(field, value) != value:
            raise Unfit(f"its label and {name!r} don't agree on {field!r}")


def _check_table(place: InstanceLayout, label: Label) -> None:
    name = place.table.name
    try:
        columns, rows = tables.read_columns(place.table)
    except (TableVaultError, pa.ArrowException, ValueError, TypeError) as error:
        raise Unfit(f"{name!r} can't be read ({error})") from None
    if (columns, rows) != (label.instance.columns, label.instance.rows):
        raise Unfit(f"its label doesn't tell the columns and rows that {name!r} has")
    named: set[str] = set()
    try:
        # Each once: a few bytes may stand for billions of equal cells.
        for column in columns:
            if column.dtype == ARTIFACT_DTYPE:
                for cells in tables.distinct_cells(place.table, column.name):
                    for cell in set(cells) - named:
                        artifacts.resolve(place.artifacts, cell)
                        named.add(cell)
    except (TableVaultError, pa.ArrowException, ValueError, TypeError) as error:
        raise Unfit(f"the cells of {name!r} and its artifacts don't match ({_clause(error)})") from None
    prefix = f"{place.artifacts.name}/"
    for listed in label.files:
        artifact = listed.name.removeprefix(prefix)
        is_hidden = any(part.startswith(".") for part in artifact.split("/"))
        if artifact != listed.name and artifact not in named and not is_hidden:
            raise Unfit(f"the cells of {name!r} and its artifacts don't match: no cell names {shown(artifact)}")


def _check_builders(place: InstanceLayout, label: Label) -> None:
    for path in sorted(place.builders.rglob("*")) if place.builders.is_dir() else ():
        inside = path.relative_to(place.folder).as_posix()
        if path.suffix != ".yaml" or path.parent != place.builders or not path.is_file():
            raise Unfit(f"{shown(inside)} is no builder file")
        _check_size(place, path)
        try:
            read_builder(document.text_of(path), path.stem, path=inside)
        except (TableVaultError, ValueError, RecursionError) as error:
            raise Unfit(f"{shown(inside)} is no builder file ({_clause(error)})") from None
    if label.builder is not None and not place.builder(label.builder).is_file():
        raise Unfit(f"it lacks the builder file {shown(f'builders/{label.builder}.yaml')}")


def _check_plan(place: InstanceLayout) -> None:
    path = place.provenance / "plan.json"
    if not path.exists():
        return
    inside = path.relative_to(place.folder).as_posix()
    _check_size(place, path)
    try:
        text = path.read_text(encoding="utf-8")
        if json.loads(text)["format"] == PLAN_FORMAT:  # those of others are kept, and read by nobody
            Plan.from_json(text)
    except (TableVaultError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unfit(f"{inside!r} is no plan ({_clause(error)})") from None


def _check_provenance(place: InstanceLayout, label: Label) -> None:
    path = place.provenance / "builders.json"
    if not path.exists():
        if label.kind is Kind.RESULTS:
            raise Unfit("it lacks 'provenance/builders.json'")
        return
    _check_size(place, path)
    try:
        for builder in Provenance(place.provenance).builders():
            check_builder_name(builder.name)  # it leads to a file
        told = json.loads(path.read_bytes())
        rows_of = [str(each["name"]) for each in told["builders"] if each["has_rows"]] if "builders" in told else []
        for name in rows_of:
            _check_rows(place.provenance / f"{name}.parquet", label.instance.rows)
    except (TableVaultError, pa.ArrowException, ValueError, TypeError, KeyError, RecursionError) as error:
        raise Unfit(f"'provenance/builders.json', or what it names, is damaged ({_clause(error)})") from None


def _check_rows(path: Path, rows: int) -> None:
    """Raise ValueError unless a file tells of each of so many rows how it was made."""
    columns, found = tables.read_columns(path)
    if found != rows:
        raise ValueError(f"{path} has {found} rows, the instance {rows}")
    dtypes = {column.name: column.dtype.lower() for column in columns}
    if not {"input_hash", "code"} <= dtypes.keys():
        raise ValueError(f"{path} doesn't tell input hashes and code")
    hashes = (set(cells.map(type)) for cells in tables.distinct_cells(path, "input_hash"))
    if not dtypes["code"].startswith(("int", "uint")) or not all(kinds <= {bytes} for kinds in hashes):
        raise ValueError(f"{path} tells something else than input hashes and code")


def _check_size(place: InstanceLayout, path: Path) -> None:
    """Raise Unfit for a text that nobody could have written."""
    if path.is_file() and path.stat().st_size > _LONGEST_TEXT:
        raise Unfit(f"{shown(path.relative_to(place.folder).as_posix())} has more than {_LONGEST_TEXT:,} bytes")


def _clause(error: Exception) -> str:
    """Return what an error says, to stand in a sentence."""
    return str(error).removesuffix(".")
