"""A versioned table store in a plain directory, for data sets that are built by slow, costly and failing functions."""

from tablevault_like import errors as tv_errors
from tablevault_like.model import ProcessRecord, Row, State
from tablevault_like.process.runner import Outcome
from tablevault_like.vault import TableVault

__version__ = "0.1.0"

__all__ = ["Outcome", "ProcessRecord", "Row", "State", "TableVault", "__version__", "tv_errors"]
