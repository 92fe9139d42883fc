"""The cells that can't be known before they are made, and which rows of other builders read them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tablevault_like.builders.plan import PlannedBuilder
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.monitor.outlook import Outlook
from tablevault_like.monitor.predictions import Cause, Reason
from tablevault_like.references.syntax import INDEX, SELF, Reference
from tablevault_like.storage import tables

_KEEPS_TYPE = ("string", "object", "boolean", "artifact_string")
"""Dtypes of columns that stay what they are, whatever else is in the column."""


class Unknowns:
    """The unknown cells of the frame that is being built, by column."""

    def __init__(self) -> None:
        self._unknown: dict[str, NDArray[np.bool_]] = {}
        self._loose: set[str] = set()
        self._made_by: dict[str, str] = {}

    def forget(self, column: str, rows: int) -> None:
        """Note that nothing is known of a column."""
        self._unknown[column] = np.ones(rows, bool)

    def add(self, planned: PlannedBuilder, spec: BuilderSpec, found: Outlook, *, is_finished: bool) -> None:
        """Note what is known of a builder's columns, once it has run."""
        known = found.known
        if known is None and found.table is None and found.rows is not None and not is_finished:
            known = np.zeros(found.rows, bool)
        for name in spec.changed_columns:
            self._made_by[name] = planned.name
            if known is not None:
                self._unknown[name] = ~known
                dtype = spec.dtypes.get(name, "category")
                stays = found.table is not None and _dtype(found.table, name) in _KEEPS_TYPE
                if dtype == "category" and not stays and known.any() and not known.all():
                    self._loose.add(name)

    def unsure(self, spec: BuilderSpec, found: Outlook) -> NDArray[np.bool_]:
        """Return which rows read something that isn't known before it is made."""
        assert found.rows is not None
        unsure = np.zeros(found.rows, bool)
        makers: set[str] = set()
        for reference in spec.arguments.references:
            touched = self._touched(reference)
            makers |= {self._made_by[name] for name in touched if name in self._made_by}
            if touched and not _is_of_current_row(reference):
                unsure[:] = True
            for name in touched:
                unsure |= self._unknown[name]
            if touched & self._loose:
                # One float among its integers, and all of them are floats: then none is what it was.
                unsure[:] = True
        if makers and unsure.any():
            names = " and ".join(sorted(makers))
            found.reasons.append(Reason(Cause.UPSTREAM, f"it reads what {names} makes anew"))
        return unsure

    def _touched(self, reference: Reference) -> set[str]:
        """Return the columns with unknown cells that a reference may read."""
        unknown = {name for name in self._unknown if self.is_unknown(name)}
        table = reference.table.literal
        if reference.is_row_index or not unknown or table not in (SELF, None):
            return set()
        named = [*(reference.columns or ()), *(each.key for each in reference.conditions)]
        names = [each.literal for each in named if each.literal != INDEX]
        if None in names or reference.columns is None:
            return unknown
        return unknown & set(names)

    def is_unknown(self, column: str) -> bool:
        """Tell whether any cell of a column is unknown."""
        return column in self._unknown and bool(self._unknown[column].any())


def _is_of_current_row(reference: Reference) -> bool:
    """Tell whether a reference reads nothing of this table but cells of the current row."""
    conditions = reference.conditions
    return (
        reference.table.literal == SELF
        and len(conditions) == 1
        and conditions[0].key.literal == INDEX
        and conditions[0].value is None
    )


def _dtype(table: pa.Table, name: str) -> str:
    return next(each.dtype for each in tables.table_columns(table) if each.name == name)
