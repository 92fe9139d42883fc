"""The operations: one frozen dataclass for each kind of change to a vault.

Importing this package registers them all, so that any process of a vault can be rebuilt from its record.
"""

from tablevault_like.operations import (
    builder_files,
    code,
    descriptions,
    execute,
    importing,
    instances,
    pins,
    pruning,
    tables,
    write,
)

__all__ = [
    "builder_files",
    "code",
    "descriptions",
    "execute",
    "importing",
    "instances",
    "pins",
    "pruning",
    "tables",
    "write",
]
