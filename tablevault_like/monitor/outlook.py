"""What is to be expected of one builder, while it is being found out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tablevault_like.monitor.predictions import Certainty, Reason, weakest
from tablevault_like.storage import tables


@dataclass
class Doubt:
    """Why something isn't exact: how sure it is in the worst case, and all that it depends on."""

    certainty: Certainty = Certainty.EXACT
    text: str | None = None

    def add(self, certainty: Certainty, text: str) -> None:
        self.certainty = weakest(iter((self.certainty, certainty)))
        if self.text is None:
            self.text = text
        elif text not in self.text:
            self.text = f"{self.text}; and {text}"


@dataclass
class Outlook:
    """What is known of a builder's rows once it has run: how many there are of which kind, and the cells.

    ``batches`` are the sizes of those that an IndexBuilder makes, in their order.
    """

    rows: int | None
    recorded: int = 0
    reused: int | None = 0
    to_run: int | None = 0
    at_least: int = 0
    failed: int = 0
    calls: int | None = 0
    table: pa.Table | None = None
    known: NDArray[np.bool_] | None = None
    doubt: Doubt = field(default_factory=Doubt)
    reasons: list[Reason] = field(default_factory=list)
    left: int | None = 0
    offset: int | None = None
    batches: tuple[int, ...] = ()


def resized(table: pa.Table | None, rows: int, columns: Sequence[str] = ()) -> pa.Table:
    """Return the first rows of a table, filled up with missing values."""
    if table is None:
        return tables.table_from_cells(lambda: iter(()), columns, rows=rows)
    if table.num_rows >= rows:
        return table.slice(0, rows)
    places = pa.array([*range(table.num_rows), *[None] * (rows - table.num_rows)], pa.int64())
    return table.take(places)
