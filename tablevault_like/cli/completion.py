"""What a shell offers for TAB: tables, instances, builders, modules and processes of the vault at hand.

Whatever fails in here offers nothing; a shell that is completing is no place for a message.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator

import typer

from tablevault_like.cli.places import find_vault
from tablevault_like.errors import TableVaultError
from tablevault_like.vault import TableVault

_Source = Callable[[TableVault, typer.Context], Iterable[str]]


def _completion(source: _Source) -> Callable[[typer.Context, str], list[str]]:
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        given = ctx.params.get("db_dir") or ctx.find_root().params.get("db_dir")
        try:
            vault = TableVault(find_vault(given, os.environ))
            return [name for name in source(vault, ctx) if name.startswith(incomplete)]
        except (TableVaultError, OSError, sqlite3.Error):
            return []

    complete.__doc__ = source.__doc__
    return complete


@_completion
def tables(vault: TableVault, _: typer.Context) -> list[str]:
    """Offer the names of tables."""
    return vault.get_table_instances()


@_completion
def instances(vault: TableVault, ctx: typer.Context) -> list[str]:
    """Offer the instances of the table that stands in the command."""
    table = _table(vault, ctx)
    return [] if table is None else vault.get_table_instances(table, include_temp=True)


@_completion
def builders(vault: TableVault, ctx: typer.Context) -> list[str]:
    """Offer the builders of the temporary instance that the command is about."""
    table = _table(vault, ctx)
    return [] if table is None else vault.get_builders_list(table, version=ctx.params.get("version") or "")


@_completion
def modules(vault: TableVault, _: typer.Context) -> list[str]:
    """Offer the names of code modules."""
    return vault.get_code_modules_list()


@_completion
def process_ids(vault: TableVault, _: typer.Context) -> Iterator[str]:
    """Offer the processes that haven't ended."""
    return iter(vault.get_active_processes())


@_completion
def processes_and_tables(vault: TableVault, _: typer.Context) -> list[str]:
    """Offer the processes that haven't ended, and the tables."""
    return [*vault.get_active_processes(), *vault.get_table_instances()]


def _table(vault: TableVault, ctx: typer.Context) -> str | None:
    """Return the table that stands in the command: while an option lacks its value, only the shell's words tell."""
    if ctx.params.get("table"):
        return str(ctx.params["table"])
    words = (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or "").split()
    known = set(vault.get_table_instances())
    return next((word for word in words if word in known), None)
