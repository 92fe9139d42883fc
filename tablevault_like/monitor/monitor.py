"""The face of the monitor: one short method for each question about a vault. Nothing heavy is imported before one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tablevault_like.catalog import Catalog
from tablevault_like.catalog.processes import Wanted
from tablevault_like.layout import Layout

if TYPE_CHECKING:
    import pandas as pd

    from tablevault_like.monitor.made import Vault
    from tablevault_like.monitor.predictions import PlannedRun
    from tablevault_like.monitor.records import CellHistory, Inspection, QuickCheck
    from tablevault_like.operations.execute import ExecuteInstance


@dataclass(frozen=True)
class Monitor:
    """Answers questions about one vault, and changes nothing in it."""

    catalog: Catalog
    layout: Layout

    def plan(self, operation: ExecuteInstance, process_id: str | None, *, sample: int, now: float) -> PlannedRun:
        """Return what an execution is going to do, and with ``sample`` the first rows of it."""
        from tablevault_like.monitor.planned import plan_run

        return plan_run(self._vault, operation, process_id, sample=sample, now=now)

    def why(self, table: str, row: object, column: str, *, instance_id: str | None, version: str) -> CellHistory:
        """Return where a cell comes from."""
        from tablevault_like.monitor.cells import cell_history

        return cell_history(self._vault, table, row, column, instance_id=instance_id, version=version)

    def inspect(self, *, row: object, builder: str, **named: str) -> Inspection:
        """Return what is known of a process or an instance."""
        from tablevault_like.monitor.inspection import Named, inspect

        return inspect(self._vault, Named(**named), row=row, builder=builder)

    def report(self, **named: str) -> str:
        """Return a report of a process or an instance as Markdown."""
        from tablevault_like.monitor.inspection import Named
        from tablevault_like.monitor.report import report

        return report(self._vault, Named(**named))

    def checks(self, *, ended: int) -> list[QuickCheck]:
        """Return a line for each process that hasn't ended, and for the last ones that have."""
        from tablevault_like.monitor.checks import checks

        return checks(self.catalog, self.layout, ended=ended)

    def history(
        self,
        *,
        table: str,
        operation: str,
        author: str,
        outcome: str,
        since: object,
        until: object,
        named_only: bool,
        limit: int | None,
    ) -> pd.DataFrame:
        """Return the processes that have ended."""
        from tablevault_like.monitor.history import history, outcome_of, seconds_of

        wanted = Wanted(
            table=table or None,
            operation=operation or None,
            author=author or None,
            outcome=outcome_of(outcome),
            since=seconds_of("since", since),
            until=seconds_of("until", until),
            named_only=named_only,
            limit=limit,
        )
        return history(self._vault, wanted)

    @property
    def _vault(self) -> Vault:
        from tablevault_like.monitor.made import Vault

        return Vault(self.catalog, self.layout)
