"""The rules that the rows of a catalog keep, each by itself; and what a sound row says.

Whatever a row breaks is told by BrokenRule, in a clause.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import cache
from pathlib import Path

from tablevault_like.catalog import schema
from tablevault_like.check.facts import KnownInstance
from tablevault_like.errors import TableVaultError
from tablevault_like.model import (
    TEMP_PREFIX,
    Column,
    InstanceStatus,
    LockMode,
    LockRequest,
    Resource,
    check_table_name,
    check_version,
    is_instance_id,
    temporary_id,
)

_TYPES: Mapping[str, tuple[type, ...]] = {"TEXT": (str,), "INTEGER": (int,), "REAL": (int, float), "BLOB": (bytes,)}


class BrokenRule(Exception):  # noqa: N818 - it is told as a finding
    """Tell which rule a row breaks."""


def check_table(row: sqlite3.Row) -> None:
    _checked(check_table_name, row["name"])
    for folder in (row["folder"], row["next_folder"]):
        if folder is not None and not _is_table_folder(folder):
            raise BrokenRule(f"its folder {folder!r} can't be a table's")
    if (row["deleted_at"] is None) != (row["deleted_by"] is None):
        raise BrokenRule("whether it was deleted isn't clear")


def _is_table_folder(folder: str) -> bool:
    name, tilde, number = folder.partition("~")
    try:
        check_table_name(name)
    except TableVaultError:
        return False
    return not tilde or number.isdecimal()


def instance_of(row: sqlite3.Row, columns: list[tuple[int, Column]]) -> KnownInstance | None:
    """Return an instance, None for one that was deleted. Raises BrokenRule."""
    status = InstanceStatus(row["status"])
    instance_id = row["instance_id"]
    if (status is InstanceStatus.DELETED) != (row["deleted_at"] is not None):
        raise BrokenRule(f"its status is {status}, and {'it was' if row['deleted_at'] else 'it was not'} deleted")
    _checked(check_version, row["version"])
    if not is_instance_id(instance_id):
        raise BrokenRule("no instance can have this id")
    if row["active"] and status is not InstanceStatus.MATERIALIZED:
        raise BrokenRule(f"it is active, and {status}")
    if (row["origin_id"] is None) != (row["origin_table_id"] is None):
        raise BrokenRule("its origin is known in part only")
    if status is InstanceStatus.DELETED:
        return None
    if status is InstanceStatus.TEMPORARY:
        if instance_id != temporary_id(row["version"]):
            raise BrokenRule(f"its version is {row['version']!r}")
    else:
        if instance_id.startswith(TEMP_PREFIX) or instance_id.partition("_")[0] != row["version"]:
            raise BrokenRule(f"its version is {row['version']!r}")
        digest = row["manifest_sha256"] or ""
        if row["materialized_at"] is None or row["rows"] is None or row["rows"] < 0:
            raise BrokenRule("what a materialized instance has, it lacks")
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise BrokenRule("the checksum of its manifest is none")
        if [position for position, _ in sorted(columns, key=lambda each: each[0])] != list(range(len(columns))):
            raise BrokenRule("one of its columns is missing")
    return KnownInstance(
        number=row["number"],
        table_id=row["table_id"],
        instance_id=instance_id,
        version=row["version"],
        status=status,
        active=bool(row["active"]),
        success=bool(row["success"]),
        external_edit=bool(row["external_edit"]),
        process_id=row["process_id"],
        created_at=row["created_at"],
        rows=row["rows"],
        manifest_sha256=row["manifest_sha256"],
        columns=tuple(column for _, column in sorted(columns, key=lambda each: each[0])),
        pinned_at=row["pinned_at"] if "pinned_at" in row.keys() else None,  # noqa: SIM118 - of a Row, "in" asks the values
        pinned_by=row["pinned_by"] if "pinned_by" in row.keys() else None,  # noqa: SIM118
        deactivated_by=row["deactivated_by"],
    )


def _checked(check: Callable[[str], str], name: str) -> None:
    try:
        check(name)
    except TableVaultError as error:
        raise BrokenRule(str(error)) from None


def check_types(row: sqlite3.Row, declared: Mapping[str, tuple[str, bool]]) -> None:
    names = set(row.keys())
    for name, (kind, is_required) in declared.items():
        if name not in names:
            raise BrokenRule(f"it has no {name!r}")
        value = row[name]
        if value is None:
            if is_required:
                raise BrokenRule(f"its {name!r} is missing")
        elif not isinstance(value, _TYPES.get(kind, (object,))):
            raise BrokenRule(f"its {name!r} is a {type(value).__name__}")


def name_of(row: sqlite3.Row) -> str:
    for name in ("instance_id", "process_id", "name", "key"):
        if name in row.keys():  # noqa: SIM118 - of a Row, "in" asks the values
            return repr(row[name])[:80]
    return repr(tuple(row))[:80]


def request_of(row: sqlite3.Row) -> LockRequest:
    resource = row["resource"]
    if resource and not resource.endswith("/"):
        raise BrokenRule(f"{resource!r} is no resource")
    return LockRequest(Resource(*resource.split("/")[:-1]), LockMode(row["mode"]))


def columns_by_table(connection: sqlite3.Connection) -> dict[str, dict[str, tuple[str, bool]]]:
    """Return for each table its columns, their declared types, and whether a value is required."""
    names = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    ).fetchall()
    return {
        str(name): {
            str(row[1]): (str(row[2]).upper(), bool(row[3]) and not row[5])
            for row in connection.execute("SELECT * FROM pragma_table_info(?)", (name,))
        }
        for (name,) in names
    }


@cache
def schema_of(version: int) -> dict[str, dict[str, tuple[str, bool]]]:
    """Return what ``columns_by_table`` returns of a catalog of a version."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        if version == schema.VERSION:
            schema.migrate(fresh, Path(":memory:"))
        else:
            for script in schema.MIGRATIONS[:version]:
                for statement in script.split(";"):
                    fresh.execute(statement)
        return columns_by_table(fresh)
