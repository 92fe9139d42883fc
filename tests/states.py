"""What a vault is, for comparing: its catalog and its files, without the history of its processes.

``state`` is exact: two states of one vault are equal if nothing was changed in between. ``shape`` is what is left of a
state without times and new ids: two vaults that were made by the same calls have one shape. ``assert_sound`` holds any
vault to what is always true when no process is under way.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

State: TypeAlias = dict[str, Any]

_ROWS = {
    "vault": "SELECT * FROM vault ORDER BY key",
    "tables": "SELECT * FROM tables ORDER BY table_id",
    "instances": "SELECT * FROM instances ORDER BY number",
    "columns": "SELECT * FROM columns ORDER BY instance, position",
    "lineage": "SELECT * FROM lineage ORDER BY instance, source_table_id, source_id",
    "locks": "SELECT process_id, resource, mode FROM locks ORDER BY process_id, resource",
    "waiters": "SELECT process_id FROM waiters ORDER BY process_id",
    "live processes": "SELECT process_id, state FROM processes WHERE ended_at IS NULL ORDER BY process_id",
}
_TIMES = {"created_at", "materialized_at", "deleted_at", "pinned_at", "manifest_sha256", "sum"}
_IDS = {"process_id", "deleted_by", "deactivated_by"}
_WITH_TIMES = ("description.yaml", "manifest.json")
_INSTANCE_ID = re.compile(r"[A-Za-z0-9-]+_\d{1,20}_[0-9a-f]{8}-[0-9a-f-]{27}")
_TEMPORARY = re.compile(r"TEMP_[A-Za-z0-9-]{1,100}")


def state(vault_dir: Path) -> State:
    """Return all of a vault. What a process leaves for good, an empty folder that bears its id, is history."""
    return {"rows": _rows(vault_dir), "files": dict(_files(vault_dir))}


def processes(vault_dir: Path) -> dict[str, str]:
    """Return the state of every process that is recorded."""
    with closing(_connect(vault_dir)) as db:
        return {row[0]: row[1] for row in db.execute("SELECT process_id, state FROM processes")}


def history(vault_dir: Path, process_id: str) -> list[dict[str, Any]]:
    """Return all that is recorded of a process: itself, its steps and its events."""
    queries = [f"SELECT * FROM {table} WHERE process_id = ?" for table in ("processes", "steps", "events")]
    with closing(_connect(vault_dir)) as db:
        return [dict(row) for query in queries for row in db.execute(query, (process_id,))]


def without_partial_frames(found: State) -> State:
    """Leave out the frames that a reverted execution may leave in its temporary instance."""
    return without(found, r"[^/]+/TEMP_[^/]+/table.parquet")


def without_trash(found: State) -> State:
    return without(found, r"metadata/trash/.*")


def without_modes(found: State) -> State:
    """Leave out the permissions of files."""
    return {**found, "files": {path: what.rpartition(" ")[2] for path, what in found["files"].items()}}


def without_times(found: State) -> State:
    """Leave out the contents of files that tell of times."""
    told = {name for name in found["files"] if name.endswith(_WITH_TIMES) or "/provenance/" in name}
    files = {name: "file" if name in told and what != "folder" else what for name, what in found["files"].items()}
    return {**found, "files": files}


def without(found: State, *names: str) -> State:
    """Leave out the files that match one of these patterns."""
    unwanted = re.compile("|".join(names))
    files = {path: what for path, what in found["files"].items() if not unwanted.fullmatch(path)}
    return {**found, "files": files}


def shape(vault_dir: Path, *, known: str = "") -> State:
    """Return a vault without times and ids. The id of the instance ``known`` stays as it is."""
    found = state(vault_dir)
    ids = [row["instance_id"] for row in found["rows"]["instances"] if _INSTANCE_ID.fullmatch(row["instance_id"])]
    names = {each: f"<instance {number}>" for number, each in enumerate(ids) if each != known}
    process_ids = {
        row[key]: "<process>"
        for kind in ("tables", "instances")
        for row in found["rows"][kind]
        for key in row
        if key in _IDS
    }
    names.update({each: name for each, name in process_ids.items() if each is not None})
    rows = {
        kind: [{key: value for key, value in row.items() if key not in _TIMES | _IDS} for row in each]
        for kind, each in found["rows"].items()
    }
    renamed: State = _renamed({**without_times(found), "rows": rows}, names)
    return renamed


def differences(found: Any, wanted: Any, path: str = "") -> list[str]:
    """Return what differs between two states, in a form that a person can read."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = sorted(found.keys() | wanted.keys())
        return [
            line
            for key in keys
            for line in differences(found.get(key, "nothing"), wanted.get(key, "nothing"), f"{path}.{key}")
        ]
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = enumerate(zip(found, wanted, strict=True))
        return [line for number, (one, other) in pairs for line in differences(one, other, f"{path}.{number}")]
    return [] if found == wanted else [f"{path.lstrip('.')} is {found!r} instead of {wanted!r}"]


def assert_sound(vault_dir: Path) -> None:
    """Hold a vault in which no process is under way to what is always true."""
    assert unsound(vault_dir) == []


def unsound(vault_dir: Path) -> list[str]:
    """Return what is wrong with a vault in which no process is under way."""
    with closing(_connect(vault_dir)) as db:
        found = [row[0] for row in db.execute("PRAGMA integrity_check") if row[0] != "ok"]
        found += [f"a row refers to nothing: {tuple(row)}" for row in db.execute("PRAGMA foreign_key_check")]
    rows = state(vault_dir)["rows"]
    found += [f"{kind}: {each}" for kind in ("live processes", "locks", "waiters") for each in rows[kind]]
    found += [f"litter: {each}" for each in litter(vault_dir)]
    return found + [line for instance in _materialized(vault_dir) for line in damaged(*instance)]


def litter(vault_dir: Path) -> list[str]:
    """Return the files and folders that nothing accounts for: no row of the catalog, and no process that is live."""
    with closing(_connect(vault_dir)) as db:
        folders = {
            row["table_id"]: _lies_in(vault_dir, row)
            for row in db.execute("SELECT * FROM tables WHERE deleted_at IS NULL")
        }
        instances = {
            f"{folders[row['table_id']]}/{row['instance_id']}"
            for row in db.execute("SELECT * FROM instances WHERE deleted_at IS NULL")
        }
        live = {row[0] for row in db.execute("SELECT process_id FROM processes WHERE ended_at IS NULL")}
        named = {row[0] for row in db.execute("SELECT process_id FROM processes WHERE named")}
        deleters = [row[0] for row in db.execute("SELECT process_id FROM processes")]
        deleters += [f"{row[0]}-" for row in db.execute("SELECT name FROM tables")]
    known = {".tablevault", "description.yaml", "code_functions"}
    known |= {"metadata", "metadata/catalog.sqlite", "metadata/processes"}
    known |= {"metadata/reserve", "metadata/catalog.sqlite-journal"}  # SQLite removes it when it is opened next
    known |= {"metadata/trash", *folders.values(), *instances}
    known |= {f"{folder}/{name}" for folder in folders.values() for name in ("artifacts", "description.yaml")}
    known |= {f"metadata/processes/{each}" for each in live | named}
    known |= {f"metadata/processes/{each}/worker.lock" for each in named}
    inside = ("code_functions/", *(f"{each}/" for each in instances))
    inside += tuple(f"metadata/processes/{each}/" for each in live)
    inside += tuple(f"metadata/trash/{each}" for each in deleters)
    inside += tuple(f"{folder}/artifacts/" for folder in folders.values())
    return [
        name
        for name in (path.relative_to(vault_dir).as_posix() for path in sorted(vault_dir.rglob("*")))
        if name not in known and not name.startswith(inside) and not name.endswith("/output.log")
    ]


def assert_whole(instance: Path) -> None:
    """Hold a materialized instance to its manifest: every file of it is there and is what it was."""
    assert damaged(instance) == []


def damaged(instance: Path, manifest_sha256: str | None = None) -> list[str]:
    """Return which files of an instance aren't what its manifest says, or the manifest isn't what is known of it."""
    manifest = instance / "manifest.json"
    if not manifest.is_file():
        return [f"{instance.name} has no manifest"]
    wanted = {name: each["sha256"] for name, each in json.loads(manifest.read_text())["files"].items()}
    there = {path.relative_to(instance).as_posix(): _sha256(path) for path in instance.rglob("*") if path.is_file()}
    found = there.pop(manifest.name)
    other = [] if manifest_sha256 in (None, found) else [f"{instance.name}: the manifest isn't that of the catalog"]
    return other + differences(there, wanted, instance.name)


def is_busy(path: Path) -> bool:
    """Tell whether somebody has a transaction open in an SQLite file, or reads it."""
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as db:
        try:
            db.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            return True
    return False


def _materialized(vault_dir: Path) -> Iterator[tuple[Path, str]]:
    with closing(_connect(vault_dir)) as db:
        rows = db.execute(
            "SELECT tables.*, instance_id, manifest_sha256 FROM instances JOIN tables USING (table_id)"
            " WHERE instances.status = 'materialized' AND instances.deleted_at IS NULL"
        ).fetchall()
    for row in rows:
        yield vault_dir / _lies_in(vault_dir, row) / row["instance_id"], row["manifest_sha256"]


def _lies_in(vault_dir: Path, table: sqlite3.Row) -> str:
    """Return the folder of a table: the old one, until it has followed a rename."""
    follows = table["next_folder"] is not None and not (vault_dir / table["folder"]).is_dir()
    return str(table["next_folder"] if follows else table["folder"])


def _connect(vault_dir: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{(vault_dir / 'metadata/catalog.sqlite').as_uri()}?mode=rw", uri=True)
    connection.row_factory = sqlite3.Row
    return connection


def _rows(vault_dir: Path) -> dict[str, list[dict[str, Any]]]:
    with closing(_connect(vault_dir)) as db:
        db.execute("BEGIN")
        return {kind: [dict(row) for row in db.execute(query)] for kind, query in _ROWS.items()}


def _files(vault_dir: Path) -> Iterator[tuple[str, str]]:
    with closing(_connect(vault_dir)) as db:
        named = {row[0] for row in db.execute("SELECT process_id FROM processes WHERE named")}
    history = {f"metadata/processes/{each}" for each in named}
    history |= {f"{each}/worker.lock" for each in history}
    for path in sorted(vault_dir.rglob("*")):
        name = path.relative_to(vault_dir).as_posix()
        if name in history or name == "metadata/reserve" or name.startswith("metadata/catalog.sqlite"):
            continue
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            yield name, "folder"
        else:
            yield name, f"{stat.filemode(mode)} {_sha256(path)}"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _renamed(found: Any, names: dict[str, str]) -> Any:
    """Replace names in every text."""
    if isinstance(found, dict):
        return {_renamed(key, names): _renamed(value, names) for key, value in found.items()}
    if isinstance(found, list):
        return [_renamed(item, names) for item in found]
    if isinstance(found, str):
        for old, new in names.items():
            found = found.replace(old, new)
    return found
