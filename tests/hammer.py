"""What the workers do that change one vault at random, and how they see that none of them overlap."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from tablevault_like import TableVault
from tablevault_like.catalog import Database
from tablevault_like.errors import TVArgumentError, TVLockError
from tablevault_like.model import State
from tablevault_like.process.driving import Driver
from tablevault_like.process.journal import Journal

TABLES = ("ants", "bees", "cats")

CODE = """
def rows():
    yield from range(3)


def square(number):
    return number * number
"""

INDEX = """
builder_type: IndexBuilder
changed_columns: [number]
python_function: rows
code_module: numbers
is_custom: true
return_type: generator
"""

SQUARE = """
builder_type: ColumnBuilder
changed_columns: [square]
python_function: square
code_module: numbers
is_custom: true
arguments: {number: "<<self.number[index]>>"}
return_type: row-wise
"""

Change = Callable[[TableVault, random.Random, str], object]


def create_instance(vault: TableVault, dice: random.Random, table: str) -> None:
    vault.create_instance(table, dice.choice(["base", "draft"]), builders={f"{table}_index": INDEX, "square": SQUARE})


def write(vault: TableVault, dice: random.Random, table: str) -> None:
    with contextlib.suppress(TVArgumentError):
        vault.create_instance(table, "written", external_edit=True)
    vault.write_instance(pd.DataFrame({"number": [dice.random()]}), table, "written")


def delete_instance(vault: TableVault, dice: random.Random, table: str) -> None:
    found = vault.get_table_instances(table, include_temp=True)
    if found:
        vault.delete_instance(dice.choice(found), table)


def read(vault: TableVault, dice: random.Random, table: str) -> None:
    for table_name in vault.get_table_instances():
        for instance_id in vault.get_table_instances(table_name):
            vault.get_dataframe(table_name, instance_id)
    vault.get_active_processes()


CHANGES: list[Change] = [
    lambda vault, dice, table: vault.create_table(table),
    lambda vault, dice, table: vault.delete_table(table),
    lambda vault, dice, table: vault.rename_table(dice.choice(TABLES), table),
    create_instance,
    create_instance,
    lambda vault, dice, table: vault.execute_instance(table, dice.choice(["base", "draft"])),
    lambda vault, dice, table: vault.execute_instance(table, dice.choice(["base", "draft"])),
    write,
    delete_instance,
    lambda vault, dice, table: vault.create_code_module("shared", text=f"X = {dice.random()}\n"),
    lambda vault, dice, table: vault.create_builder_file(table, "square", text=SQUARE),
    read,
]


def hammer(vault_dir: Path, seed: int) -> None:
    """Change the vault at random until ``end`` is called. What may not be raised is noted beside the vault."""
    watch_locks(vault_dir.with_name("held"), note=lambda text: note(vault_dir, text))
    dice = random.Random(seed)
    vault = TableVault(vault_dir, f"worker {seed}", lock_timeout=0.5)
    while not _end_of(vault_dir).exists():
        change = dice.choice(CHANGES)
        try:
            change(vault, dice, dice.choice(TABLES))
        except (TVLockError, TVArgumentError):
            pass
        except BaseException:
            note(vault_dir, traceback.format_exc())


def end(vault_dir: Path) -> None:
    """Let all that hammer on the vault come to an end."""
    _end_of(vault_dir).touch()


def _end_of(vault_dir: Path) -> Path:
    return vault_dir.with_name("end")


def note(vault_dir: Path, text: str) -> None:
    descriptor = os.open(vault_dir.with_name("errors"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.write(descriptor, text.encode())
    os.close(descriptor)


def watch_locks(folder: Path, note: Callable[[str], None]) -> None:
    """Let every process hold files, by the kernel, for as long as it runs and holds locks of the vault.

    A file for each resource, and shared ones for what it is part of. One that is held already by a living worker shows
    that two processes overlap.
    """
    drive, advance = Driver.drive, Journal.advance
    held: dict[str, list[int]] = {}

    def hold(process_id: str, rows: list[Any]) -> None:
        for resource, mode in rows:
            names = resource.split("/")[:-1]
            for end in range(1, len(names) + 1):
                is_own = end == len(names) and mode == "exclusive"
                descriptor = os.open(folder / "~".join(names[:end]), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
                held.setdefault(process_id, []).append(descriptor)
                try:
                    fcntl.flock(descriptor, (fcntl.LOCK_EX if is_own else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                except BlockingIOError:
                    note(f"{process_id} overlaps with another process on {resource} ({mode})\n")

    def let_go(process_id: str) -> None:
        for descriptor in held.pop(process_id, []):
            os.close(descriptor)

    def watched_drive(self: Driver, operation: Any, run: Any, lock: Any) -> str:
        with self.journal.catalog.snapshot() as db:
            query = "SELECT resource, mode FROM locks WHERE process_id = ? AND NOT claim_only"
            rows = [tuple(row) for row in db.execute(query, (run.process_id,))]
        hold(run.process_id, rows)
        try:
            return drive(self, operation, run, lock)
        finally:
            let_go(run.process_id)

    def watched_advance(self: Journal, db: Database, process_id: str, epoch: int, before: State, after: State) -> None:
        advance(self, db, process_id, epoch, before, after)
        if after.has_ended:
            # Before the commit: as soon as that is done, others may have the locks.
            let_go(process_id)

    Driver.drive = watched_drive  # type: ignore[method-assign]
    Journal.advance = watched_advance  # type: ignore[method-assign]
