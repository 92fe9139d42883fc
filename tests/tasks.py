"""What workers of the tests do. Here, because a worker that had to import a test module would take long to start."""

from __future__ import annotations

from pathlib import Path

from tablevault_like import TableVault

PATIENT = 30.0
"""A lock timeout, in seconds, of those who are to get what they wait for."""


def delete_words(vault_dir: Path, process_id: str) -> str:
    return TableVault(vault_dir, "bob", lock_timeout=PATIENT).delete_table("words", process_id=process_id)


def write_module(vault_dir: Path, process_id: str, parent_id: str | None = None) -> str:
    """Write the code module ``tools``: what it holds tells by whom it was written."""
    vault = TableVault(vault_dir, "bob", parent_id=parent_id, lock_timeout=PATIENT)
    return vault.create_code_module("tools", text=f"NAME = {process_id!r}\n", process_id=process_id)


def execute(vault_dir: Path, table: str, process_id: str, parent_id: str | None = None) -> str:
    vault = TableVault(vault_dir, "bob", parent_id=parent_id, lock_timeout=PATIENT)
    return vault.execute_instance(table, process_id=process_id)


def stop(vault_dir: Path, process_id: str, force: bool = False, materialize: bool = False) -> str:
    return TableVault(vault_dir, "bob").stop_process(process_id, force=force, materialize=materialize)


def delete_instance(vault_dir: Path, table: str, instance_id: str) -> str:
    return TableVault(vault_dir, "bob", lock_timeout=PATIENT).delete_instance(instance_id, table)


def create_instance(vault_dir: Path, table: str, version: str, process_id: str) -> str:
    vault = TableVault(vault_dir, "bob", lock_timeout=PATIENT)
    return vault.create_instance(table, version, process_id=process_id)


def write_package(vault_dir: Path, source: Path, process_id: str) -> str:
    return TableVault(vault_dir, "bob").create_code_module(copy_dir=source, process_id=process_id)


def delete_module(vault_dir: Path, module: str, process_id: str) -> str:
    return TableVault(vault_dir, "bob").delete_code_module(module, process_id=process_id)
