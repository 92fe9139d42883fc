"""A versioned table store in a plain directory, for data sets that are built by slow, costly and failing functions."""

import logging

from tablevault_like import errors as tv_errors
from tablevault_like.archive import compress_vault, decompress_vault, delete_vault
from tablevault_like.mapping.extraction import extract_df
from tablevault_like.mapping.rows import map_rows
from tablevault_like.model import ProcessRecord, Result, Row, State
from tablevault_like.process.context import checkpoint
from tablevault_like.process.runner import Outcome
from tablevault_like.release import __version__
from tablevault_like.vault import TableVault

# Whoever wants to see what is logged says so; nothing is printed of its own accord.
logging.getLogger("tablevault_like").addHandler(logging.NullHandler())

__all__ = [
    "Outcome",
    "ProcessRecord",
    "Result",
    "Row",
    "State",
    "TableVault",
    "__version__",
    "checkpoint",
    "compress_vault",
    "decompress_vault",
    "delete_vault",
    "extract_df",
    "map_rows",
    "tv_errors",
]
