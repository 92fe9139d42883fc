"""What the monitor tells of what there is: the origin of cells, the state of processes and instances.

All are frozen, and made of plain values, so that they can be shown, compared, pickled and written as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tablevault_like.model import ErrorRecord, ProcessRecord, StepRecord

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, slots=True)
class SourceRows:
    """What a cell was made of: rows of an instance, as a reference in the builder's arguments names them."""

    reference: str
    """As it is written."""
    table: str
    instance_id: str | None
    """``None`` for the instance itself."""
    rows: tuple[int, ...] | None
    """Their positions, the first 100 at most; ``None`` for the whole table, or if that isn't known."""
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """A file that a cell names. ``sha256`` and ``size`` are as they were recorded."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class CellHistory:
    """Why a cell is what it is."""

    table: str
    instance_id: str
    row: int
    """Its position, from 0."""
    key: Mapping[str, Any]
    """Its primary key; empty if the table has none."""
    column: str
    value: Any
    builder: str | None
    """``None`` if the instance was written as a frame."""
    builder_text: str | None
    """The builder's file, as it was."""
    builder_changes: tuple[str, ...]
    """In which lines that differs from the file in the instance's origin."""
    function: str | None
    """The function's name, with its module."""
    code: Mapping[str, str]
    """The code modules that it used, as they were: texts by the names of their files. A built-in one has none."""
    code_changes: tuple[str, ...]
    """In which lines these differ from those of the instance's origin."""
    inputs: Mapping[str, Any] | None
    """What the function was called with; ``None`` if that can't be had any more."""
    inputs_missing: str | None
    """Why it can't."""
    sources: tuple[SourceRows, ...]
    artifacts: tuple[ArtifactFile, ...]
    made_in: str | None
    """The instance whose process made it: this one, or the one that it was reused from, however often."""
    reused_through: tuple[str, ...]
    """The instances that it was taken over by on the way, this one first; empty if it was made for this one."""
    process_id: str | None
    """The process that made it."""
    author: str | None
    made_at: float | None
    """When that process ended."""
    attempts: int | None
    seconds: float | None
    cost: float | None
    tokens: int | None
    error: ErrorRecord | None
    """What the last attempt failed with, if the cell is empty because of that."""
    vault: str | None = None
    """The vault that it was imported from, if it was made there: ``process_id`` is of that vault then."""

    def __rich__(self) -> RenderableType:
        from tablevault_like.monitor.showing import cell_history

        return cell_history(self)


@dataclass(frozen=True, slots=True)
class RowState:
    """What is stored of one row of one builder."""

    builder: str
    row: int
    status: str
    """``done``, ``reused``, ``failed``, ``skipped``, ``to come``; or ``missing``, as the run ended before it."""
    inputs: Mapping[str, Any] | None
    """What its function is called with, as far as that can be known."""
    inputs_missing: str | None
    """Why it can't."""
    output: Mapping[str, Any] | None
    """Its cells by column, if it is done."""
    input_hash: str | None
    code: str | None
    """The recipe that made it."""
    attempts: int | None
    seconds: float | None
    cost: float | None
    tokens: int | None
    error: ErrorRecord | None


@dataclass(frozen=True, slots=True)
class Inspection:
    """A process or an instance: what it is, and how far its steps came."""

    name: str
    table: str | None
    instance_id: str | None
    """The instance that it is about, or that the process has made."""
    facts: Mapping[str, Any]
    """Identity: version, author, times, rows, whether it is active and successful; where it was imported from."""
    process: ProcessRecord | None
    """The process, or the one that made the instance; of one that was imported, the one that did that."""
    steps: tuple[StepRecord, ...]
    """Those of the process; of an instance that was imported, those of the process that made it in the other vault."""
    columns: Mapping[str, str]
    """Dtypes by column."""
    origin: str | None
    sources: tuple[tuple[str, str], ...]
    """The instances that it is made from, as (table, instance id)."""
    recipes: Mapping[str, str]
    """What the rows of each builder can be reused by."""
    rows: tuple[RowState, ...] = ()
    """The row that was asked for, in each builder that was asked for."""

    def __rich__(self) -> RenderableType:
        from tablevault_like.monitor.showing import inspection

        return inspection(self)


@dataclass(frozen=True, slots=True)
class QuickCheck:
    """One process in one line."""

    process_id: str
    operation: str
    target: str
    status: str
    needs_attention: bool
    """Whether somebody should look at it: it failed, has lost its worker, or is paused by an error."""
    line: str

    def __str__(self) -> str:
        return self.line
