"""What workers of the tests do. Here, because a worker that had to import a test module would take long to start."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from tablevault_like import TableVault
from tests import library

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


def prune(vault_dir: Path, process_id: str) -> str:
    return TableVault(vault_dir, "ada", lock_timeout=PATIENT).prune(process_id=process_id or None)


def live_with_umask(vault_dir: Path, umask: int) -> None:
    """Make the library and do a bit of everything in it, with a process that stays paused."""
    os.umask(umask)
    made = library.make(vault_dir)
    vault = TableVault(vault_dir, "ada")
    vault.write_instance(library.scores(), "scores")
    vault.execute_instance("words", process_id="background", background=True)
    vault.wait("background", PATIENT)
    vault.delete_instance(made, "words")
    vault.create_instance("words", "edited", copy=True)
    vault.create_code_module("more", text="A = 1\n")
    vault.create_code_module("more", text="A = 2\n")
    vault.create_builder_file("words", "shout", "edited", text=library.BUILDERS["shout"])
    vault.rename_table("points", "scores")
    vault.set_description("all of them", "words")
    vault.create_code_module("tools", text=library.CODE.replace("return word.upper()", "raise ConnectionError"))
    with suppress(ConnectionError):
        vault.execute_instance("words", "edited", process_id="paused")


def as_nobody(
    vault_dir: Path, spare_dir: Path, method: str, arguments: tuple[object, ...], fields: dict[str, Any]
) -> Any:
    """Call a method of the vault as another user. On a spare vault first, for what has to be imported may be root's."""
    with suppress(Exception):
        getattr(TableVault(spare_dir), method)(*arguments, **fields)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    return getattr(TableVault(vault_dir, "nobody"), method)(*arguments, **fields)
