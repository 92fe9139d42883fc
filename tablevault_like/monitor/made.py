"""Instances that were made, and how: their plan, their provenance and their files, read without running anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd
import pyarrow as pa

from tablevault_like.builders.frames import FrameCache, PinnedTable
from tablevault_like.builders.hashing import Contents
from tablevault_like.builders.inputs import Pin, PinKey, find_pin
from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.builders.provenance import Provenance
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.catalog import Catalog, Database, instances
from tablevault_like.errors import TVFileError
from tablevault_like.layout import InstanceLayout, Layout
from tablevault_like.model import ARTIFACT_DTYPE, Column, InstanceRecord
from tablevault_like.storage import files, manifests, places, tables

PROCESS_ID = "plan"
"""What stands for the process id where there is no process. It is part of no input hash."""


@dataclass(frozen=True)
class Vault:
    """Where things are: the catalog, and the paths."""

    catalog: Catalog
    layout: Layout


@dataclass(frozen=True)
class Made:
    """A materialized instance."""

    record: InstanceRecord
    place: InstanceLayout
    columns: tuple[Column, ...]

    @classmethod
    def find(cls, vault: Vault, db: Database, table: str | None, instance_id: str | None) -> Made | None:
        """Return an instance, ``None`` if there is none or it was deleted."""
        record = instances.find(db, table or "", instance_id or "")
        if record is None or record.is_temporary:
            return None
        columns = instances.columns(db, record.table_name, record.instance_id)
        return cls(record, places.instance_layout(vault.layout, record), columns)

    @property
    def name(self) -> str:
        return f"{self.record.table_name}/{self.record.instance_id}"

    @cached_property
    def provenance(self) -> Provenance:
        return Provenance(self.place.provenance)

    @cached_property
    def plan(self) -> Plan | None:
        """What it was made by; ``None`` if it was written as a frame, or by a version that kept no plan."""
        path = self.place.provenance / "plan.json"
        if not path.is_file():
            return None
        try:
            return Plan.from_json(files.read_text(path))
        except TVFileError:
            return None  # of another version of the library: it is told as if it weren't there

    @cached_property
    def table(self) -> pa.Table:
        """Its frame, as an execution has it that this is the origin of."""
        return tables.table_from_frame(tables.read_table(self.place.table), self.artifact_dtypes)

    @property
    def artifact_dtypes(self) -> dict[str, str]:
        return {column.name: ARTIFACT_DTYPE for column in self.columns if column.dtype == ARTIFACT_DTYPE}

    @cached_property
    def artifacts(self) -> Mapping[str, tuple[str, int]]:
        """SHA-256 and size of its artifacts, as they were recorded."""
        return manifests.contents(self.place.manifest, self.place.artifacts.name)

    def digests(self) -> dict[str, str]:
        return {name: sha256 for name, (sha256, _) in self.artifacts.items()}

    def builder_of(self, column: str) -> PlannedBuilder | None:
        """Return the builder that made a column in the end."""
        found = [each for each in (self.plan.builders if self.plan else ()) if column in each.changed_columns]
        return found[-1] if found else None

    def text(self, builder: str) -> str | None:
        """Return the text of a builder's file, as it was."""
        path = places.builder_files(self.place, self.record.table_name).get(builder) or self.place.builder(builder)
        return files.read_text(path) if path.is_file() else None

    def code(self, builder: PlannedBuilder) -> dict[str, str]:
        """Return the texts of the code that a builder used, by the names of their files."""
        paths = {name: self.place.code / name for name in builder.modules}
        return {name: files.read_text(path) for name, path in paths.items() if path.is_file()}

    @property
    def primary_key(self) -> tuple[str, ...]:
        if self.plan is None:
            return ()
        key = tuple(self.plan.builders[0].fields["primary_key"])
        return key if set(key) <= {column.name for column in self.columns} else ()

    def keys(self, rows: list[int]) -> list[str]:
        """Return how people know some rows: by their primary key, else by position."""
        return shown_keys(self.frame(self.primary_key), self.primary_key, rows)

    def frame(self, columns: tuple[str, ...] | list[str]) -> pd.DataFrame:
        return tables.read_table(self.place.table, columns=list(columns))


def shown_keys(frame: pd.DataFrame, key: tuple[str, ...], rows: list[int]) -> list[str]:
    """Return how people know rows.

    >>> shown_keys(pd.DataFrame({"id": ["a", "b"]}), ("id",), [1]), shown_keys(pd.DataFrame(), (), [1])
    (['id=b'], ['row 1'])
    """
    if not key:
        return [f"row {row}" for row in rows]
    return [", ".join(f"{name}={frame[name].iloc[row]}" for name in key) for row in rows]


def open_tables(
    vault: Vault, pins: Mapping[PinKey, Pin], contents: Contents | None = None
) -> Callable[[str, str | None], PinnedTable]:
    """Return what opens a table and version as they are pinned.

    Raises TVArgumentError for an instance that was deleted.
    """

    def open_table(table: str, version: str | None) -> PinnedTable:
        pin = find_pin(pins, table, version)
        with vault.catalog.snapshot() as db:
            found = Made.find(vault, db, pin.table, pin.instance_id)
            if found is None:
                instances.get(db, pin.table, pin.instance_id)
                raise AssertionError("unreachable")
        if contents is not None and found.artifact_dtypes:
            contents.add(found.place.artifacts, found.digests)
        return PinnedTable(found.place.table, found.place.artifacts, found.columns)

    return open_table


def renamed(vault: Vault, plan: Plan) -> Plan:
    """Return a plan of an earlier time with its tables under the names that they have today.

    A table that was deleted keeps the name that it had.
    """
    with vault.catalog.snapshot() as db:
        today = {pin.instance_id: instances.table_of(db, pin.instance_id) for pin in plan.pins.values()}
    pins = {key: replace(pin, table=today[pin.instance_id] or pin.table) for key, pin in plan.pins.items()}
    return replace(plan, pins=pins)


def specify(made: Made, builder: PlannedBuilder, frames: FrameCache) -> BuilderSpec | None:
    """Return the spec of a builder of an instance; ``None`` if its file is gone."""
    text = made.text(builder.name)
    path: Path = made.place.builder(builder.name)
    return None if text is None else builder.specify(text, frames, path=path)
