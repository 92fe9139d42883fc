"""The label of a bundle: its first member, which says where it comes from and lists all others.

1. Whoever reads a bundle knows before anything is written how much it will be, and what each file has to be.
2. A label that isn't of this form is refused, names that no vault could have too. What it says is never a path.
3. ``identity`` is the SHA-256 of the manifest in it: equal bundles, and instances that came out of them, have the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from tablevault_like.errors import TVArgumentError
from tablevault_like.model import (
    TEMP_PREFIX,
    Column,
    check_builder_name,
    check_table_name,
    check_version,
    is_instance_id,
)
from tablevault_like.tapes.members import Unfit

NAME = "tablevault-bundle.json"
LONGEST = 32 << 20
CONTENT = "content"
"""The folder that all other members are in."""
MANIFEST = "manifest.json"

_FORMAT = 1
_DEEPEST = 100
_LONGEST_NAME = 255
_LONGEST_TEXT = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
T = TypeVar("T")


class Kind(StrEnum):
    """What a bundle holds: a whole instance, or what one builder has made for the rows of one."""

    INSTANCE = "instance"
    RESULTS = "results"


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of a bundle. ``name`` is its path below ``content``."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class TableTold:
    """The table that a bundle comes from: a table that is made for it is made like that."""

    name: str
    allow_multiple_artifacts: bool
    has_side_effects: bool
    description: str


@dataclass(frozen=True, slots=True)
class InstanceTold:
    """The instance that a bundle holds, or whose rows its results are for.

    ``rows`` and ``columns`` are those of the table in the bundle. ``origin`` and ``sources`` are what it was made from,
    as (table, instance id).
    """

    instance_id: str
    version: str
    success: bool
    active: bool
    external_edit: bool
    description: str
    author: str
    created_at: float
    materialized_at: float
    rows: int
    columns: tuple[Column, ...]
    origin: tuple[str, str] | None
    sources: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Label:
    """What a bundle says of itself. ``process`` tells of the process that made the instance, as far as that is known.

    ``builder`` is that of results. ``recipes`` are those of the builders, by their names.
    """

    kind: Kind
    vault: str
    table: TableTold
    instance: InstanceTold
    builder: str | None
    recipes: Mapping[str, str]
    process: Mapping[str, Any] | None
    files: tuple[Listed, ...]

    @property
    def identity(self) -> str:
        """The SHA-256 of the manifest."""
        return next(each.sha256 for each in self.files if each.name == MANIFEST)

    @property
    def total(self) -> int:
        """How many bytes the files have."""
        return sum(each.size for each in self.files)

    def origin(self) -> dict[str, object]:
        """Return what is kept of where an import came from, as JSON has it."""
        return {
            "bundle": self.identity,
            "vault": self.vault,
            "table": self.table.name,
            "instance_id": self.instance.instance_id,
            "builder": self.builder,
            "author": self.instance.author,
            "sources": [list(each) for each in self.instance.sources],
            "process": None if self.process is None else dict(self.process),
        }

    def to_json(self) -> bytes:
        """Return it as it is written: the same for equal labels."""
        instance, table = self.instance, self.table
        told = {
            "tablevault_like_bundle": _FORMAT,
            "kind": str(self.kind),
            "vault": self.vault,
            "table": {
                "name": table.name,
                "allow_multiple_artifacts": table.allow_multiple_artifacts,
                "has_side_effects": table.has_side_effects,
                "description": table.description,
            },
            "instance": {
                "instance_id": instance.instance_id,
                "version": instance.version,
                "success": instance.success,
                "active": instance.active,
                "external_edit": instance.external_edit,
                "description": instance.description,
                "author": instance.author,
                "created_at": instance.created_at,
                "materialized_at": instance.materialized_at,
                "rows": instance.rows,
                "columns": [[column.name, column.dtype] for column in instance.columns],
                "origin": None if instance.origin is None else list(instance.origin),
                "sources": [list(each) for each in instance.sources],
            },
            "builder": self.builder,
            "recipes": dict(self.recipes),
            "process": None if self.process is None else dict(self.process),
            "files": [{"name": each.name, "size": each.size, "sha256": each.sha256} for each in self.files],
        }
        return (json.dumps(told, indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, raw: bytes) -> Label:
        """Read what ``to_json`` wrote. Raises Unfit for anything else."""
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError):
            raise Unfit(f"its label {NAME} is damaged") from None
        top = _Reading(found, "")
        version = top.take("tablevault_like_bundle", int)
        if version != _FORMAT:
            raise Unfit(
                f"its label {NAME} is of format {version}, and this release of tablevault_like knows {_FORMAT}. "
                "Import it with the release that made it, or a later one"
            )
        builder = top.optional("builder", str)
        process = top.optional("process", dict)
        if process is not None and len(json.dumps(process)) > _LONGEST_TEXT:
            raise Unfit(f"its label {NAME} says too much about its process")
        label = cls(
            kind=top.word("kind", Kind),
            vault=top.text("vault"),
            table=_table(top.inner("table")),
            instance=_instance(top.inner("instance")),
            builder=None if builder is None else _named(check_builder_name, builder),
            recipes=top.texts("recipes"),
            process=process,
            files=_files(top),
        )
        if (label.kind is Kind.RESULTS) != (label.builder is not None):
            raise Unfit(f"its label {NAME} says nothing sensible about 'builder'")
        return label


class _Reading:
    """One JSON object of a label. Whatever is missing, or of another kind, is told by its name."""

    def __init__(self, found: object, path: str) -> None:
        self._path = path
        if not isinstance(found, dict):
            raise self._unfit("")
        self._found: dict[str, Any] = found

    def take(self, name: str, kind: type[T]) -> T:
        value = self._found.get(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self._unfit(name)
        return value

    def optional(self, name: str, kind: type[T]) -> T | None:
        return None if self._found.get(name) is None else self.take(name, kind)

    def text(self, name: str) -> str:
        found = self.take(name, str)
        if len(found) > _LONGEST_TEXT:
            raise self._unfit(name)
        return found

    def count(self, name: str) -> int:
        found = self.take(name, int)
        if not 0 <= found < 1 << 62:
            raise self._unfit(name)
        return found

    def seconds(self, name: str) -> float:
        found = self._found.get(name)
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < 1 << 40:  # as NaN isn't
            raise self._unfit(name)
        return float(found)

    def word(self, name: str, kind: Callable[[str], T]) -> T:
        try:
            return kind(self.text(name))
        except ValueError:
            raise self._unfit(name) from None

    def inner(self, name: str) -> _Reading:
        return _Reading(self._found.get(name), f"{self._path}{name}.")

    def each(self, name: str) -> list[Any]:
        return self.take(name, list)

    def texts(self, name: str) -> dict[str, str]:
        found = self.take(name, dict)
        if not all(isinstance(value, str) for value in found.values()):
            raise self._unfit(name)
        return dict(found)

    def pair(self, name: str, found: object) -> tuple[str, str]:
        if not isinstance(found, list) or len(found) != 2 or not all(isinstance(each, str) for each in found):
            raise self._unfit(name)
        return found[0], found[1]

    def _unfit(self, name: str) -> Unfit:
        return Unfit(
            f"its label {NAME} says nothing sensible about {f'{self._path}{name}'.rstrip('.') or 'anything'!a}"
        )


def _table(found: _Reading) -> TableTold:
    return TableTold(
        name=_named(check_table_name, found.text("name")),
        allow_multiple_artifacts=found.take("allow_multiple_artifacts", bool),
        has_side_effects=found.take("has_side_effects", bool),
        description=found.text("description"),
    )


def _instance(found: _Reading) -> InstanceTold:
    instance_id, version = found.text("instance_id"), _named(check_version, found.text("version"))
    if (
        not is_instance_id(instance_id)
        or instance_id.startswith(TEMP_PREFIX)
        or instance_id.partition("_")[0] != version
    ):
        raise Unfit(f"its label {NAME} names the instance {instance_id[:100]!a} of {version!a}, which can't be")
    origin = found.optional("origin", list)
    return InstanceTold(
        instance_id=instance_id,
        version=version,
        success=found.take("success", bool),
        active=found.take("active", bool),
        external_edit=found.take("external_edit", bool),
        description=found.text("description"),
        author=found.text("author"),
        created_at=found.seconds("created_at"),
        materialized_at=found.seconds("materialized_at"),
        rows=found.count("rows"),
        columns=tuple(Column(*found.pair("columns", each)) for each in found.each("columns")),
        origin=None if origin is None else found.pair("origin", origin),
        sources=tuple(found.pair("sources", each) for each in found.each("sources")),
    )


def _files(top: _Reading) -> tuple[Listed, ...]:
    listed: dict[str, Listed] = {}
    for each in top.each("files"):
        entry = _Reading(each, "files.")
        name = _checked_path(entry.text("name"))
        if name in listed:
            raise Unfit(f"its label {NAME} lists {shown(name)} twice")
        sha256 = entry.text("sha256")
        if not _SHA256.fullmatch(sha256):
            raise Unfit(f"its label {NAME} has no checksum of {shown(name)}")
        listed[name] = Listed(name, entry.count("size"), sha256)
    if MANIFEST not in listed:
        raise Unfit(f"its label {NAME} doesn't list {MANIFEST!r}")
    return tuple(listed.values())


def _checked_path(name: str) -> str:
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise Unfit(f"{shown(name)} would lie outside of the instance")
    if len(parts) > _DEEPEST:
        raise Unfit(f"{shown(name)} lies more than {_DEEPEST} folders deep")
    try:
        is_long = any(len(part.encode("utf-8", "surrogateescape")) > _LONGEST_NAME for part in parts)
    except UnicodeEncodeError:
        raise Unfit(f"{shown(name)} is a name that no file has") from None
    if is_long:
        raise Unfit(f"{shown(name)} is too long a name")
    return name


def _named(check: Callable[[str], str], name: str) -> str:
    try:
        return check(name)
    except TVArgumentError as error:
        raise Unfit(f"its label {NAME} is wrong: {str(error).removesuffix('.')}") from None


def shown(name: str) -> str:
    """Return a name from a bundle as it can be printed."""
    return ascii(name if len(name) <= 100 else name[:97] + "...")


def names(files: Sequence[Listed]) -> set[str]:
    """Return the names of the files that a label lists."""
    return {each.name for each in files}
