"""Workers that do everything at random to one vault, and note what they were told: that must be true in the end."""

from __future__ import annotations

import contextlib
import json
import os
import random
import sqlite3
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from tablevault_like import TableVault
from tablevault_like.errors import FencedError, TVArgumentError, TVLockError, TVPausedError, TVProcessError
from tablevault_like.model import State
from tests import hammer

TABLES = ("ants", "bees", "cats")
VERSIONS = ("base", "draft")

CODE = """
import random
from pathlib import Path


def rows(start):
    yield from range(start, 6)


def square(number):
    if random.random() < 0.03:
        raise ConnectionError("nobody answers")
    return number * number


def page(number, folder):
    Path(folder, f"{number}.txt").write_text(str(number) * 3)
    return f"{number}.txt"
"""

INDEX = """
builder_type: IndexBuilder
changed_columns: [number]
python_function: rows
code_module: numbers
is_custom: true
arguments: {start: ~RESUME_FROM~}
return_type: generator
"""

PAGE = """
builder_type: ColumnBuilder
changed_columns: [page]
python_function: page
code_module: numbers
is_custom: true
arguments: {number: "<<self.number[index]>>", folder: ~ARTIFACT_FOLDER~}
return_type: row-wise
dtypes: {page: artifact_string}
n_threads: 2
"""

REFUSED = (TVLockError, TVArgumentError, TVProcessError, TVPausedError, FencedError, ConnectionError)
"""What may be raised among others who do the same; what user code raises is ours."""

Note: TypeAlias = dict[str, Any]
Change: TypeAlias = Callable[[TableVault, random.Random, str], Note | None]
"""Gets the id of its process, and returns what it was told: the ids of processes that are completed, or stopped."""


def create_table(vault: TableVault, dice: random.Random, process_id: str) -> Note:
    return {"completed": vault.create_table(dice.choice(TABLES), process_id=process_id)}


def delete_table(vault: TableVault, dice: random.Random, process_id: str) -> Note:
    return {"completed": vault.delete_table(dice.choice(TABLES), process_id=process_id)}


def rename_table(vault: TableVault, dice: random.Random, process_id: str) -> Note:
    new, old = dice.sample(TABLES, 2)
    return {"completed": vault.rename_table(new, old, process_id=process_id)}


def create_instance(vault: TableVault, dice: random.Random, process_id: str) -> Note:
    table = dice.choice(TABLES)
    builders = {f"{table}_index": INDEX, "square": hammer.SQUARE, "page": PAGE}
    return {
        "completed": vault.create_instance(table, dice.choice(VERSIONS), builders=builders, process_id=process_id),
    }


def execute(vault: TableVault, dice: random.Random, process_id: str) -> Note:
    done = vault.execute_instance(dice.choice(TABLES), dice.choice(VERSIONS), process_id=process_id)
    return {"completed": done, "made": [n * n for n in range(6)]}


def write(vault: TableVault, dice: random.Random, process_id: str) -> Note:
    table, number = dice.choice(TABLES), dice.randrange(10**6)
    with contextlib.suppress(TVArgumentError):
        vault.create_instance(table, "written", external_edit=True)
    frame = pd.DataFrame({"square": [number]})
    return {"completed": vault.write_instance(frame, table, "written", process_id=process_id), "made": [number]}


def delete_instance(vault: TableVault, dice: random.Random, process_id: str) -> Note | None:
    table = dice.choice(TABLES)
    found = vault.get_table_instances(table, include_temp=True)
    if not found:
        return None
    return {"completed": vault.delete_instance(dice.choice(found), table, process_id=process_id)}


def write_module(vault: TableVault, dice: random.Random, process_id: str) -> Note:
    text = f"X = {dice.random()}\n"
    return {"completed": vault.create_code_module("shared", text=text, process_id=process_id)}


def prune(vault: TableVault, dice: random.Random, process_id: str) -> Note | None:
    done = vault.prune(keep=dice.choice([1, 2]), dry_run=False, process_id=process_id).process_id
    return None if done is None else {"completed": done}


def pause(vault: TableVault, dice: random.Random, process_id: str) -> None:
    if found := _some_active(vault, dice):
        vault.pause_process(found)


def stop(vault: TableVault, dice: random.Random, process_id: str) -> Note | None:
    found = _some_active(vault, dice)
    if found is None:
        return None
    keeps = vault.get_process(found).operation == "execute_instance" and dice.random() < 0.5
    return {"stopped": vault.stop_process(found, force=dice.random() < 0.5, materialize=keeps)}


def resume(vault: TableVault, dice: random.Random, process_id: str) -> Note | None:
    found = _some_active(vault, dice)
    if found is None:
        return None
    process = vault.get_process(found)
    if process.operation != "execute_instance":
        return None
    table, version = process.arguments["table_name"], process.arguments["version"]
    with _resumed(Path(vault.db_dir)).open("a") as noted:
        noted.write(f"{found}\n")  # before it begins: who is killed in it can't tell any more
    return {"ended": vault.execute_instance(table, version, process_id=found, on_change="continue")}


def restart(vault: TableVault, dice: random.Random, process_id: str) -> Note:
    outcomes = TableVault(vault.db_dir, "ada", restart=True, lock_timeout=0.2).restarted
    return {"completed": [name for name, each in outcomes.items() if each.state is State.COMPLETED]}


def read(vault: TableVault, dice: random.Random, process_id: str) -> None:
    for table in vault.get_table_instances():
        for instance_id in vault.get_table_instances(table):
            vault.get_dataframe(table, instance_id)


CHANGES: list[Change] = [
    *(create_table, create_table, delete_table, rename_table, create_instance, create_instance, create_instance),
    *(execute, execute, execute, write, write, delete_instance, write_module, prune, pause, stop, resume, resume),
    *(restart, read, read),
]


def _some_active(vault: TableVault, dice: random.Random) -> str | None:
    found = sorted(vault.get_active_processes())
    return dice.choice(found) if found else None


def soak(vault_dir: Path, seed: int) -> None:
    """Change the vault at random until ``hammer.end`` is called, and note what was told."""
    hammer.watch_locks(vault_dir.with_name("held"), note=lambda text: hammer.note(vault_dir, text))
    dice, count = random.Random(seed), 0
    vault = TableVault(vault_dir, f"worker {seed}", lock_timeout=0.2)
    with (vault_dir.with_name("told") / str(seed)).open("ab", buffering=0) as told:
        while not vault_dir.with_name("end").exists():
            count += 1
            try:
                found = dice.choice(CHANGES)(vault, dice, f"p{seed}-{count}")
                if found is not None:
                    told.write(f"{json.dumps(found)}\n".encode())
                    os.fsync(told.fileno())
            except REFUSED:
                pass
            except (KeyboardInterrupt, SystemExit):
                pass  # a stop by force
            except BaseException:
                hammer.note(vault_dir, f"worker {seed}, change {count}: {traceback.format_exc()}")


def untrue(vault_dir: Path) -> tuple[int, list[str]]:
    """Return how many notes there are, and what of them isn't true of the vault, where nothing is under way."""
    notes = [
        json.loads(line)
        for path in vault_dir.with_name("told").iterdir()
        for line in path.read_text().split("\n")
        if line
    ]
    with closing(sqlite3.connect(vault_dir / "metadata/catalog.sqlite")) as db:
        db.row_factory = sqlite3.Row
        resumed = _resumed(vault_dir).read_text().split() if _resumed(vault_dir).exists() else []
        found = [line for note in notes for line in _untrue(db, vault_dir, note, resumed)]
    return len(notes), found


def _resumed(vault_dir: Path) -> Path:
    """Return the file that names the processes which somebody called again."""
    return vault_dir.with_name("resumed")


def _untrue(db: sqlite3.Connection, vault_dir: Path, note: Note, resumed: Collection[str]) -> Iterator[str]:
    for process_id in _listed(note.get("completed")):
        if (state := _state(db, process_id)) is not State.COMPLETED:
            yield f"{process_id} was said to be completed, and is {state}"
    for process_id in _listed(note.get("ended")):
        if (state := _state(db, process_id)) not in (State.COMPLETED, State.MATERIALIZED):
            yield f"{process_id} was said to have ended, and is {state}"
    for process_id in _listed(note.get("stopped")):
        # One that only waited for its locks was never recorded. A call that comes after a stop begins anew.
        allowed = [None, State.REVERTED, State.MATERIALIZED] + [State.COMPLETED] * (process_id in resumed)
        if (state := _state(db, process_id)) not in allowed:
            yield f"{process_id} was said to be stopped, and is {state}"
    if "made" in note:
        yield from _unmade(db, vault_dir, note["completed"], note["made"])


def _unmade(db: sqlite3.Connection, vault_dir: Path, process_id: str, wanted: list[int]) -> Iterator[str]:
    """Tell whether the instance that a process made isn't there, with these values, nor was deleted by another one."""
    row = db.execute(
        "SELECT instances.*, tables.deleted_at AS table_deleted_at FROM instances JOIN tables USING (table_id)"
        " WHERE instances.process_id = ? AND status != 'temporary'",
        (process_id,),
    ).fetchone()
    if row is None:
        yield f"{process_id} was said to be completed, and what it made isn't there"
    elif row["deleted_at"] is not None:
        if _state(db, row["deleted_by"]) is not State.COMPLETED:
            yield f"what {process_id} made was deleted by {row['deleted_by']}, which isn't completed"
    elif row["table_deleted_at"] is None:
        (frame,) = (pd.read_parquet(path) for path in vault_dir.glob(f"*/{row['instance_id']}/table.parquet"))
        if frame["square"].tolist() != wanted or not row["success"]:
            yield f"{process_id} made {frame['square'].tolist()} instead of {wanted}"


def _state(db: sqlite3.Connection, process_id: str) -> State | None:
    row = db.execute("SELECT state FROM processes WHERE process_id = ?", (process_id,)).fetchone()
    return None if row is None else State(row["state"])


def _listed(told: str | list[str] | None) -> list[str]:
    return [] if told is None else [told] if isinstance(told, str) else told
