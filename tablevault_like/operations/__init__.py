"""The operations: one frozen dataclass for each kind of change to a vault."""

from tablevault_like.operations import builder_files, code, execute, instances, tables

__all__ = ["builder_files", "code", "execute", "instances", "tables"]
