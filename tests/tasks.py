"""What workers of the tests do. Here, because a worker that had to import a test module would take long to start."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pandas as pd

from tablevault_like import TableVault
from tablevault_like.builders import rows as row_wise
from tests import library, tables

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


def execute_in_blocks(vault_dir: Path, table: str, process_id: str, rows: int) -> str:
    """Execute, and take rows over from the origin so many at a time, where it would be thousands."""
    row_wise._BLOCK = rows
    return TableVault(vault_dir, "bob", lock_timeout=PATIENT).execute_instance(table, process_id=process_id)


def stop(vault_dir: Path, process_id: str, force: bool = False, materialize: bool = False) -> str:
    return TableVault(vault_dir, "bob").stop_process(process_id, force=force, materialize=materialize)


def restart(vault_dir: Path) -> dict[str, str]:
    return {name: str(outcome) for name, outcome in TableVault(vault_dir, "ada", restart=True).restarted.items()}


def delete_instance(vault_dir: Path, table: str, instance_id: str) -> str:
    return TableVault(vault_dir, "bob", lock_timeout=PATIENT).delete_instance(instance_id, table)


def create_instance(vault_dir: Path, table: str, version: str, process_id: str) -> str:
    vault = TableVault(vault_dir, "bob", lock_timeout=PATIENT)
    return vault.create_instance(table, version, process_id=process_id)


def export_instance(vault_dir: Path, path: Path, table: str, instance_id: str = "", builder: str | None = None) -> Path:
    return TableVault(vault_dir, "bob").export_instance(table, instance_id, path=path, builder=builder).path


def import_instance(vault_dir: Path, path: Path, process_id: str, with_code: bool = False) -> str:
    vault = TableVault(vault_dir, "bob", lock_timeout=PATIENT)
    return vault.import_instance(path, process_id=process_id or None, with_code=with_code)


def import_with_umask(vault_dir: Path, path: Path, umask: int) -> str:
    os.umask(umask)
    return TableVault(vault_dir, "bob", create=True).import_instance(path)


def write_package(vault_dir: Path, source: Path, process_id: str) -> str:
    return TableVault(vault_dir, "bob").create_code_module(copy_dir=source, process_id=process_id)


def delete_module(vault_dir: Path, module: str, process_id: str) -> str:
    return TableVault(vault_dir, "bob").delete_code_module(module, process_id=process_id)


def prune(vault_dir: Path, process_id: str) -> str:
    vault = TableVault(vault_dir, "ada", lock_timeout=PATIENT)
    return vault.prune(dry_run=False, process_id=process_id or None).process_id or ""


def prune_instances(vault_dir: Path, keep: int, process_id: str) -> str:
    vault = TableVault(vault_dir, "ada", lock_timeout=PATIENT)
    return vault.prune(keep, dry_run=False, process_id=process_id or None).process_id or ""


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
    _copy_artifacts(vault)
    vault.rename_table("points", "scores")
    vault.set_description("all of them", "words")
    vault.create_code_module("tools", text=library.CODE.replace("return word.upper()", "raise ConnectionError"))
    with suppress(ConnectionError):
        vault.execute_instance("words", "edited", process_id="paused")


COPY_FOLDER = """
import shutil
from pathlib import Path

def names():
    yield "open"

def copy(name, source, folder):
    shutil.copytree(source, Path(folder, name))
    Path(folder, name).chmod(0o777)
    Path(folder).chmod(0o777)
    return f"{name}/deep/copied.txt"
"""


def _copy_artifacts(vault: TableVault) -> None:
    """Make instances whose artifacts are copied with their permissions, which are as wide as can be."""
    source = Path(vault.db_dir).with_name("open")
    file = source / "deep" / "copied.txt"
    file.parent.mkdir(parents=True)
    file.touch()
    for path in (source, file.parent, file):
        path.chmod(0o777)
    arguments = {"name": "<<self.name[index]>>", "source": str(source), "folder": "~ARTIFACT_FOLDER~"}
    dtypes = {"copy": "artifact_string"}
    builders = {
        "copies_index": tables.index("name", code_module="copies", function="names"),
        "copy": tables.column("copy", code_module="copies", function="copy", arguments=arguments, dtypes=dtypes),
    }
    vault.create_code_module("copies", text=COPY_FOLDER)
    vault.create_table("copies")
    vault.create_instance("copies", builders=builders)
    vault.execute_instance("copies")
    vault.create_instance("copies", "external", external_edit=True)
    folder = Path(vault.get_artifact_folder("copies", version="external"))
    shutil.copytree(source, folder / "open")
    frame = pd.DataFrame({"copy": ["open/deep/copied.txt"]})
    vault.write_instance(frame, "copies", "external", dtypes={"copy": "artifact_string"})
    shutil.rmtree(source)


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


def execute_with(vault_dir: Path, process_id: str, arguments: dict[str, Any], table: str = "words") -> str:
    vault = TableVault(vault_dir, "bob", lock_timeout=0.3)
    return vault.execute_instance(table, process_id=process_id, **arguments)


def execute_and_log(vault_dir: Path, table: str, process_id: str, log: Path) -> str:
    """Execute, and write what is logged to a file."""
    logging.getLogger("tablevault_like").setLevel(logging.INFO)
    logging.getLogger("tablevault_like").addHandler(logging.FileHandler(log))
    return execute(vault_dir, table, process_id)


def die_inside_of_a_commit(path: Path) -> None:
    """Be killed when a part of a commit is in a row store already: its rows are changed, and there are more of them."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = PERSIST")
        db.execute("PRAGMA cache_size = 1")
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE rows SET value = '[0]'")
        for row in range(10_000, 20_000):
            db.execute(
                "INSERT INTO rows (builder, row, status, value, attempts, seconds, code)"
                " SELECT builder, ?, 1, '[1]', 1, 0, 0 FROM rows LIMIT 1",
                (row,),
            )
        os.kill(os.getpid(), signal.SIGKILL)
