"""Read a vault of TableVault 0.1: its metadata, its tables and instances, and the log of its processes.

1. It is only read: no file of it is opened for writing, no lock of it is taken, nothing in it is run or unpickled.
2. No link is followed: what is behind one is not part of the vault.
3. ``check_unchanged`` raises if somebody changed the vault while it was read.

The layout, as 0.1.1 writes it::

    .tablevault, description.yaml, code_functions/<module>.py
    <table>/description.yaml, artifacts/ (those of the newest instance, unless the table has one set an instance)
    <table>/TEMP_<version> and <table>/<version>_<seconds>_<uuid>/
        table.csv, dtypes.json, description.yaml, builders/, artifacts/, EXECUTION_ARCHIVE/<module>.py, *.df.pkl
    metadata/tables_history.json, tables_temp.json, active_logs.json, logs.txt, ARCHIVED_TRASH/
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.layout import Layout
from tablevault_like.model import BASE_VERSION, TEMP_PREFIX
from tablevault_like.storage import documents

_T = TypeVar("_T")

_METADATA = ("tables_history.json", "tables_temp.json", "active_logs.json", "logs.txt")
_LARGEST_DESCRIPTION = 1 << 20


class _Described:
    """What instances and tables have in common: a folder, with a description and artifacts in it."""

    folder: Path

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    @cached_property
    def description(self) -> Mapping[str, Any]:
        return read_description(self.folder)

    @property
    def summary(self) -> str:
        return text_of(self.description.get("summary"))


@dataclass(frozen=True)
class OldInstance(_Described):
    """An instance. ``made_at`` and ``stopped_at`` (seconds since the epoch) say when it was materialized, and when it
    became inactive.
    """

    table: str
    instance_id: str
    folder: Path
    made_at: float | None = None
    stopped_at: float | None = None
    success: bool = True

    @property
    def name(self) -> str:
        return f"{self.table}/{self.instance_id}"

    @property
    def is_temporary(self) -> bool:
        return self.instance_id.startswith(TEMP_PREFIX)

    @property
    def version(self) -> str:
        """The version: 0.1 allows no ``_`` in it."""
        return self.instance_id.removeprefix(TEMP_PREFIX).partition("_")[0] or BASE_VERSION

    @property
    def csv(self) -> Path:
        return self.folder / "table.csv"

    @property
    def dtypes_file(self) -> Path:
        return self.folder / "dtypes.json"

    @property
    def builders(self) -> Path:
        return self.folder / "builders"

    @property
    def code(self) -> Path:
        return self.folder / "EXECUTION_ARCHIVE"

    @property
    def external_edit(self) -> bool:
        return self.description.get("external_edit") is True

    @property
    def origin(self) -> tuple[str, str] | None:
        """The table and the instance that it was copied from."""
        found = pairs([self.description.get("origin")])
        return (found[0][1], found[0][0]) if found and found[0][0] else None


@dataclass(frozen=True)
class OldTable(_Described):
    """A table, with its instances: the materialized ones in the order of their making, the temporary ones last."""

    name: str
    folder: Path
    instances: tuple[OldInstance, ...] = field(repr=False)

    @property
    def allow_multiple_artifacts(self) -> bool:
        return self.description.get("multiple_artifacts") is True

    @property
    def has_side_effects(self) -> bool:
        return self.description.get("side_effects") is True

    @property
    def artifact_instance(self) -> str | None:
        """The instance whose artifacts lie in the table's folder."""
        found = self.description.get("artifact_instance")
        successful = [each.instance_id for each in self.instances if not each.is_temporary and each.success]
        return found if isinstance(found, str) else (successful[-1] if successful else None)


@dataclass(frozen=True)
class OldProcess:
    """An entry of the log. ``succeeded`` is None for one that hasn't ended. Times are seconds since the epoch."""

    process_id: str
    author: str
    operation: str
    started_at: float
    ended_at: float
    steps: tuple[tuple[str, float], ...]
    data: Mapping[str, Any]
    succeeded: bool | None
    error: tuple[str, str] | None
    is_named: bool
    pid: int | None


class OldVault:
    """A vault of TableVault 0.1."""

    def __init__(self, root: Path) -> None:
        """Open the vault. Raises TVArgumentError if there is none, or one of another release."""
        self.root = root
        self.metadata = root / "metadata"
        _check(root)
        self._seen = self._signature()

    @property
    def code_functions(self) -> Path:
        return self.root / "code_functions"

    @property
    def trash(self) -> Path:
        return self.metadata / "ARCHIVED_TRASH"

    @cached_property
    def description(self) -> str:
        return text_of(read_description(self.root).get("summary"))

    @cached_property
    def tables(self) -> tuple[OldTable, ...]:
        """The tables that its metadata names. Raises TVFileError if the metadata can't be read."""
        temporary = self._read("tables_temp.json", lambda found: {name: list(map(str, ids)) for name, ids in found})
        return self._read(
            "tables_history.json",
            lambda found: tuple(self._table(name, _mapping(known), temporary.get(name, [])) for name, known in found),
        )

    def _table(self, name: str, made: Mapping[str, Any], temporary: Sequence[str]) -> OldTable:
        folder = self.root / name
        instances = [_instance(name, instance_id, folder, times) for instance_id, times in made.items()]
        instances.sort(key=lambda each: each.made_at or 0)
        instances += [OldInstance(name, each, folder / each) for each in sorted(temporary)]
        return OldTable(name, folder, tuple(instances))

    @cached_property
    def active(self) -> tuple[OldProcess, ...]:
        """The processes that haven't ended."""
        return self._read("active_logs.json", lambda found: tuple(_process(_mapping(entry)) for _, entry in found))

    def processes(self, unreadable: Callable[[int], None]) -> Iterator[OldProcess]:
        """Yield the processes that have ended, in that order; call ``unreadable`` with the number of a bad line."""
        with self._opened("logs.txt") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    try:
                        yield _process(_mapping(_parsed(line)))
                    except (ValueError, KeyError, TypeError, RecursionError):
                        unreadable(number)

    def check_unchanged(self) -> None:
        """Raise TVFileError if the metadata isn't what it was when the vault was opened."""
        if self._signature() != self._seen:
            raise TVFileError(
                f"The vault {self.root} was changed while it was read, so nothing was brought over. Wait until nobody "
                "works in it, and call again.",
                path=self.root,
            )

    def _signature(self) -> list[tuple[int, int]]:
        found = [(self.metadata / name).stat() for name in _METADATA]
        return [(each.st_size, each.st_mtime_ns) for each in found]

    def _read(self, name: str, understand: Callable[[Iterable[tuple[str, Any]]], _T]) -> _T:
        try:
            with self._opened(name) as file:
                return understand(_mapping(_parsed(file.read())).items())
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            path = self.metadata / name
            raise TVFileError(
                f"{path} can't be read ({error}), so it isn't known what the vault holds. Restore it from a backup.",
                path=path,
            ) from error

    def _opened(self, name: str) -> Any:
        return (self.metadata / name).open(encoding="utf-8", errors="replace")


def entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield what lies in a folder, in order; nothing if there is no such folder, or a link in its place."""
    if not is_folder(folder):
        return
    with os.scandir(folder) as found:
        yield from sorted(found, key=lambda entry: entry.name)


def source_files(folder: Path, suffix: str) -> dict[str, Path]:
    """Return the regular files in a folder that end with ``suffix``, by their names without it."""
    return {
        entry.name.removesuffix(suffix): Path(entry.path)
        for entry in entries(folder)
        if entry.name.endswith(suffix) and entry.name != suffix and entry.is_file(follow_symlinks=False)
    }


def is_folder(path: Path) -> bool:
    """Tell whether there is a folder, not a link to one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_file(path: Path) -> bool:
    """Tell whether there is a regular file, not a link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def read_description(folder: Path) -> Mapping[str, Any]:
    """Return what ``description.yaml`` says; nothing if it isn't there or can't be read."""
    path = folder / "description.yaml"
    if not is_file(path) or path.stat().st_size > _LARGEST_DESCRIPTION:
        return {}
    return documents.described(path.read_bytes())


def pairs(found: object) -> list[tuple[str, str]]:
    """Return what is a pair of texts in a list."""
    listed = found if isinstance(found, list) else []
    return [
        (each[0], each[1])
        for each in listed
        if isinstance(each, list) and len(each) == 2 and all(isinstance(part, str) for part in each)
    ]


def text_of(value: object) -> str:
    """Return a plain value as text; nothing, and what isn't plain, as an empty one."""
    return str(value) if isinstance(value, str | int | float | date) else ""


def _check(root: Path) -> None:
    marker = Layout(root).marker
    if not root.is_dir():
        raise TVArgumentError(f"{root} does not exist. Name the folder of a vault of TableVault 0.1.")
    if not marker.is_file():
        raise TVArgumentError(f"{root} is not a vault: it has no file {marker.name!r}. Name the folder of a vault.")
    if marker.read_bytes()[:40].startswith(b"tablevault_like"):
        raise TVArgumentError(f"{root} is a vault of tablevault_like already. Open it as it is.")
    missing = [name for name in _METADATA if not (root / "metadata" / name).is_file()]
    if missing:
        raise TVArgumentError(
            f"{root} is not a vault of TableVault 0.1, or a part of one: metadata/{missing[0]} is missing. Vaults of "
            "other releases can't be brought over."
        )


def _parsed(text: str) -> Any:
    """Return what JSON says, without halves of characters: no file and no catalog could hold those."""
    found = json.loads(text)
    if "\\ud" in text.lower():
        found = json.loads(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))
    return found


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"a {type(value).__name__} stands where names and values are expected")
    return value


def _instance(table: str, instance_id: str, folder: Path, times: object) -> OldInstance:
    _, made_at, stopped_at, success = times if isinstance(times, list) and len(times) == 4 else (0, 0, None, True)
    found = OldInstance(table, instance_id, folder / instance_id, _seconds(made_at) or 0, _seconds(stopped_at))
    told = found.description.get("success", success)
    return OldInstance(table, instance_id, found.folder, found.made_at, found.stopped_at, success=told is not False)


def _process(entry: Mapping[str, Any]) -> OldProcess:
    steps = [*zip(entry.get("complete_steps") or [], entry.get("step_times") or [], strict=False)]
    error = [text_of(part) for part in entry.get("error") or ()]
    started = entry.get("start_success")
    return OldProcess(
        process_id=str(entry["process_id"]),
        author=text_of(entry.get("author")),
        operation=str(entry["operation"]),
        started_at=float(entry["start_time"]),
        ended_at=float(entry.get("log_time") or entry["start_time"]),
        steps=tuple((str(name), float(at)) for name, at in steps),
        data=_mapping(entry.get("data") or {}),
        succeeded=False if started is False else entry.get("execution_success"),
        error=(error[0], error[1]) if len(error) == 2 and any(error) else None,
        is_named=entry.get("force_takedown") is False,
        pid=entry["pid"] if isinstance(entry.get("pid"), int) else None,
    )


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
