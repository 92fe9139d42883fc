"""The types of what public methods return or take, for annotations and comparisons.

What has a place at the top (``ProcessRecord``, ``State``, ``Outcome``, ``Row``) isn't repeated here; what a migration
returns is in ``tablevault_like.migration``.
"""

from tablevault_like.archive.packing import Archived
from tablevault_like.archive.progress import Observer, Progress, Stage
from tablevault_like.archive.spool import LeftOut
from tablevault_like.archive.unpacking import Restored
from tablevault_like.model import ErrorRecord, StepRecord, StopIntent
from tablevault_like.operations.trash import Removed, TrashRecord
from tablevault_like.vault import Filters

__all__ = [
    "Archived",
    "ErrorRecord",
    "Filters",
    "LeftOut",
    "Observer",
    "Progress",
    "Removed",
    "Restored",
    "Stage",
    "StepRecord",
    "StopIntent",
    "TrashRecord",
]
