"""Read which rows failed, and why: of a process that is under way, or of an instance.

Like all reading it takes no lock and runs nothing. Of an instance it is told by its ``provenance``, of a process that
hasn't ended by its row store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tablevault_like.catalog import Catalog, Database, instances, locks, processes, tables
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.errors import TVArgumentError, TVProcessError, nearest
from tablevault_like.layout import Layout
from tablevault_like.model import InstanceRecord, Resource, State
from tablevault_like.reading import Which
from tablevault_like.storage import places

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd


@dataclass(frozen=True)
class Failures:
    """Reads failures in one vault. With ``missing`` rows whose functions weren't called are told, too."""

    catalog: Catalog
    layout: Layout
    missing: bool = False

    def of(self, name: str, which: Which) -> pd.DataFrame:
        """Return those of a process or a table, whichever bears the name.

        Raises TVArgumentError if there is neither, or both.
        """
        with self.catalog.snapshot() as db:
            process = processes.find(db, name)
            known = tables.names(db)
        if process is not None and name in known:
            raise TVArgumentError(f"{name!r} is a process and a table. Give it as process_id, or as table_name.")
        if process is not None:
            return self.of_process(name)
        if name in known:
            return self.of_table(name, which)
        raise TVArgumentError(f"There is no process and no table {name!r:.150}.{nearest(name, known)}")

    def of_process(self, process_id: str) -> pd.DataFrame:
        """Return those of a process; if it has ended, those of the instance that it made.

        Raises TVProcessError if nothing is left of it.
        """
        with self.catalog.snapshot() as db:
            row = processes.get(db, process_id)
            made = self._made_by(db, row)
        if made is not None:
            return self._of_instance(made)
        if row.state.has_ended and row.operation == "execute_instance":
            how = "was reverted" if row.state is State.REVERTED else "has ended, and its instance was deleted"
            raise TVProcessError(
                f"Process {process_id!r} {how}: what its rows had recorded is gone.", process_id=process_id
            )
        return self._of_rows(process_id)

    def of_table(self, table: str, which: Which) -> pd.DataFrame:
        """Return those of an instance of a table; of a temporary one, those of the process that executes it."""
        with self.catalog.snapshot() as db:
            found = which.find(db, table)
            resource = Resource.instance(found.table_name, found.instance_id)
            holder = locks.exclusive_holder(db, resource) if found.is_temporary else None
        if holder is not None:
            return self._of_rows(holder)
        return self._of_instance(found)

    def _made_by(self, db: Database, row: ProcessRow) -> InstanceRecord | None:
        """Return the instance that an execution has made, None if it made none or it was deleted since."""
        if not row.state.has_ended or row.operation != "execute_instance":
            return None
        table = str(row.arguments["table_name"])
        if table not in tables.names(db):
            return None
        found = instances.of_table(db, table)
        return next((each for each in found if each.process_id == row.process_id), None)

    def _of_instance(self, record: InstanceRecord) -> pd.DataFrame:
        from tablevault_like.builders.provenance import Provenance

        place = places.instance_layout(self.layout, record)
        provenance = Provenance(place.provenance)
        failed = provenance.failures()
        return _joined(failed, provenance.missing(table=place.table)) if self.missing else failed

    def _of_rows(self, process_id: str) -> pd.DataFrame:
        """Return what the row store of a process tells: nothing, if it has none."""
        from tablevault_like.builders.checkpoint import Checkpoint
        from tablevault_like.builders.failures import failures, missing, never_called, table_of, with_keys
        from tablevault_like.builders.partial import partial_frame
        from tablevault_like.storage.row_reader import RowReader

        folder = self.layout.process(process_id)
        if not folder.plan.exists() or not folder.rows.exists():
            return table_of([])
        plan = Checkpoint.read(folder).plan

        def keys(names: Sequence[str]) -> pd.DataFrame:
            return partial_frame(folder, plan).frame

        with RowReader.open(folder.rows) as store:
            failed = failures(plan, store, keys)
            if not self.missing:
                return failed
            rows = len(partial_frame(folder, plan).frame)
            lines = []
            for builder in plan.builders:
                has_frame = folder.frame(builder.name).exists()
                lines += missing(builder, never_called(store, builder, rows=rows, has_frame=has_frame))
        return _joined(failed, with_keys(plan, table_of(lines), keys))


def _joined(failed: pd.DataFrame, missing: pd.DataFrame) -> pd.DataFrame:
    """Return both as one table, by builder as they come, and by row."""
    import pandas as pd

    if missing.empty or failed.empty:
        return failed if missing.empty else missing
    names = dict.fromkeys([*failed["builder"], *missing["builder"]])
    order = {name: place for place, name in enumerate(names)}
    both = pd.concat([failed, missing], ignore_index=True)
    places_of = both["builder"].map(order)
    return both.assign(place=places_of).sort_values(["place", "row"], ignore_index=True).drop(columns="place")
