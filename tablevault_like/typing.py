"""The types of what public methods return or take, for annotations and comparisons.

What has a place at the top (``ProcessRecord``, ``State``, ``Outcome``, ``Row``) isn't repeated here; what a migration
returns is in ``tablevault_like.migration``.
"""

from tablevault_like.archive.packing import Archived
from tablevault_like.archive.progress import Observer, Progress, Stage
from tablevault_like.archive.spool import LeftOut
from tablevault_like.archive.unpacking import Restored
from tablevault_like.bundles.packing import Exported
from tablevault_like.chaos.report import BuilderCalls, ChaosReport, Death, Harm, Trial, Verdict, Violation
from tablevault_like.check import CheckReport, Finding, Kind, Rebuilt, Severity
from tablevault_like.comparison.records import Difference, DtypeChange, RowChanges, SchemaChanges
from tablevault_like.model import Column, ErrorRecord, StepRecord, StopIntent
from tablevault_like.monitor.predictions import (
    Action,
    BuilderForecast,
    Cause,
    Certainty,
    PlannedInput,
    PlannedRun,
    Reason,
)
from tablevault_like.monitor.records import (
    ArtifactFile,
    CellHistory,
    Inspection,
    QuickCheck,
    RowState,
    SourceRows,
)
from tablevault_like.operations.prunable import Prunable, Pruning
from tablevault_like.operations.trash import Removed, TrashRecord
from tablevault_like.queries import Parameters
from tablevault_like.vault_reading import Filters

__all__ = [
    "Action",
    "Archived",
    "ArtifactFile",
    "BuilderCalls",
    "BuilderForecast",
    "Cause",
    "CellHistory",
    "Certainty",
    "ChaosReport",
    "CheckReport",
    "Column",
    "Death",
    "Difference",
    "DtypeChange",
    "ErrorRecord",
    "Exported",
    "Filters",
    "Finding",
    "Harm",
    "Inspection",
    "Kind",
    "LeftOut",
    "Observer",
    "Parameters",
    "PlannedInput",
    "PlannedRun",
    "Progress",
    "Prunable",
    "Pruning",
    "QuickCheck",
    "Reason",
    "Rebuilt",
    "Removed",
    "Restored",
    "RowChanges",
    "RowState",
    "SchemaChanges",
    "Severity",
    "SourceRows",
    "Stage",
    "StepRecord",
    "StopIntent",
    "TrashRecord",
    "Trial",
    "Verdict",
    "Violation",
]
