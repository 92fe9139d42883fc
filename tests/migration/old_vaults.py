"""The vaults that 0.1.1 has made (see ``make_vaults``), and small ones that are made by hand."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tablevault_like.migration import Item, Kind, Report

VAULTS = Path(__file__).parent / "vaults"
NAMES = ("empty", "interrupted", "library", "strange")
NO_PID = 2**22 + 1
"""A number that no process of Linux has."""

UUID = "0d3d8438-4fdd-4574-90e8-15143337be9c"


def unpack(name: str, folder: Path) -> Path:
    """Unpack a vault, whose workers are dead for certain, and return its folder."""
    with tarfile.open(VAULTS / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    change_active(folder / name, {"pid": NO_PID})
    return folder / name


def change_active(vault: Path, fields: Mapping[str, object]) -> None:
    """Change the entries of the processes that are under way."""
    path = vault / "metadata" / "active_logs.json"
    path.write_text(json.dumps({key: {**entry, **fields} for key, entry in json.loads(path.read_text()).items()}))


def write_vault(
    root: Path,
    tables: Mapping[str, Mapping[str, Mapping[str, str]]],
    *,
    log: Sequence[Mapping[str, Any]] = (),
    descriptions: Mapping[str, str] | None = None,
) -> Path:
    """Write a vault by hand: for each table, by the id of each instance, its files and what stands in them."""
    metadata = root / "metadata"
    metadata.mkdir(parents=True)
    (root / ".tablevault").touch()
    (root / "code_functions").mkdir()
    history: dict[str, Any] = {}
    temporary: dict[str, Any] = {}
    for table, instances in tables.items():
        folder = root / table
        folder.mkdir()
        (folder / "artifacts").mkdir()
        default = "multiple_artifacts: false\nside_effects: false\nsummary: ''\n"
        (folder / "description.yaml").write_text((descriptions or {}).get(table, default))
        history[table], temporary[table] = {}, []
        for number, (instance_id, contents) in enumerate(instances.items(), start=1):
            for name, text in contents.items():
                path = folder / instance_id / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            if instance_id.startswith("TEMP_"):
                temporary[table].append(instance_id)
            else:
                history[table][instance_id] = [1.7e9 + number, 1.7e9 + number, None, True]
    (metadata / "tables_history.json").write_text(json.dumps(history))
    (metadata / "tables_temp.json").write_text(json.dumps(temporary))
    (metadata / "active_logs.json").write_text("{}")
    (metadata / "logs.txt").write_text("".join(json.dumps(entry) + "\n" for entry in log))
    return root


def instance_id(version: str = "base", number: int = 1) -> str:
    """Return an id as 0.1 makes it."""
    return f"{version}_{1_700_000_000 + number}_{UUID}"


def content(root: Path) -> dict[str, tuple[str, int]]:
    """Return all that lies in a folder: a digest and the time of the last change of each file."""
    return {
        path.relative_to(root).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            path.lstat().st_mtime_ns,
        )
        for path in sorted(root.rglob("*"))
    }


def item(report: Report, kind: Kind, name: str) -> Item:
    """Return what is told of one thing; what stands before ``_`` is enough of an instance's id."""
    found = [each for each in report if each.kind is kind and (each.name == name or each.name.startswith(f"{name}_"))]
    assert len(found) == 1, [each.name for each in report if each.kind is kind]
    return found[0]
