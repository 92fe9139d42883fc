"""Bring the artifacts of an instance of TableVault 0.1: each file to its own instance, each cell to its file.

In a table without multiple artifacts 0.1 keeps one set of files, that of the newest instance, and older instances name
files that newer ones may have replaced. A file is taken for an older instance's if it was written before that instance
was materialized, and not since; else what the cell named is gone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tablevault_like.errors import TVArtifactError
from tablevault_like.migration.old import OldInstance, OldTable, entries, is_folder
from tablevault_like.storage import artifacts, files

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 5


@dataclass(frozen=True)
class Brought:
    """A frame whose artifact cells all have their files, and what is to be told.

    ``lost`` says that cells were emptied.
    """

    frame: pd.DataFrame
    notes: tuple[str, ...]
    lost: bool


def bring(
    table: OldTable, instance: OldInstance, frame: pd.DataFrame, columns: Sequence[str], *, target: Path, aside: Path
) -> Brought:
    """Copy the artifacts of a materialized instance into ``target``; what no cell names into ``aside``.

    Hidden files go to ``target`` as well.
    """
    target.mkdir()
    sources = _sources(table, instance)
    notes: list[str] = []
    named: set[str] = set()
    lost: list[str] = []
    changed = {}
    for column in columns:
        cells = frame[column].tolist()
        present = frame[column].notna().tolist()
        for row, is_present in enumerate(present):
            if is_present:
                name = _relative(cells[row], table, instance)
                if name not in named:
                    if not _copy(name, sources, target):
                        lost.append(cells[row])
                        cells[row] = None
                        continue
                    named.add(name)
                cells[row] = name
        changed[column] = cells
    if lost:
        notes.append(
            f"{_counted(len(lost), 'artifact cell')} without the file that it named, empty now: {_listed(lost)}. The "
            "names are in provenance/tablevault-0.1/table.csv"
        )
    notes += _bring_others(sources[0].folder, named, target, aside) if sources and sources[0].is_own else []
    for column, cells in changed.items():
        frame[column] = _texts(frame, cells)
    return Brought(frame, tuple(notes), bool(lost))


def bring_loose(source: Path, target: Path) -> list[str]:
    """Copy the artifacts of a temporary instance as they are, and return notes."""
    target.mkdir()
    return _copy_all(source, target, "")


@dataclass(frozen=True)
class _Source:
    """A folder in which artifacts of an instance lie: all of its files, or those not written after ``until``."""

    folder: Path
    until: float | None = None

    @property
    def is_own(self) -> bool:
        return self.until is None


def _sources(table: OldTable, instance: OldInstance) -> list[_Source]:
    own = [_Source(instance.artifacts)] if is_folder(instance.artifacts) else []
    if table.allow_multiple_artifacts or not instance.success or not is_folder(table.artifacts):
        return own
    if table.artifact_instance == instance.instance_id:
        return [_Source(table.artifacts), *own]
    return [*own, _Source(table.artifacts, until=instance.made_at)]


def _relative(name: str, table: OldTable, instance: OldInstance) -> str:
    """Return the name of an artifact relative to its folder: 0.1 took paths into the temporary instance's, too."""
    inside = f"/{table.name}/TEMP_{instance.version}/artifacts/"
    return name.partition(inside)[2] if name.startswith("/") and inside in name else name


def _copy(name: str, sources: Sequence[_Source], target: Path) -> bool:
    """Copy an artifact from the first folder that has it. Tell whether there is one."""
    for source in sources:
        try:
            path = artifacts.resolve(source.folder, name)
        except TVArtifactError:
            continue
        if source.until is None or path.stat().st_mtime <= source.until:
            _copy_file(path, target / name)
            return True
    return False


def _bring_others(source: Path, named: set[str], target: Path, aside: Path) -> list[str]:
    """Copy what no cell names, and return notes."""
    notes, extra = [], []
    for name, entry in _walk(source, ""):
        if not entry.is_file(follow_symlinks=False):
            notes.append(f"the artifact {name!r} is a link or no regular file, and was left out")
        elif any(part.startswith(".") for part in name.split("/")):
            _copy_file(Path(entry.path), target / name)
        elif name not in named:
            extra.append(name)
            _copy_file(Path(entry.path), aside / name)
    if extra:
        notes.append(f"{_counted(len(extra), 'file')} that no cell names, in provenance/ now: {_listed(extra)}")
    return notes


def _copy_all(source: Path, target: Path, prefix: str) -> list[str]:
    notes = []
    for name, entry in _walk(source, prefix):
        if entry.is_file(follow_symlinks=False):
            _copy_file(Path(entry.path), target / name)
        else:
            notes.append(f"the artifact {name!r} is a link or no regular file, and was left out")
    return notes


def _copy_file(source: Path, target: Path) -> None:
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        files.copy_file(source, target)


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    for entry in entries(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry


def _texts(frame: pd.DataFrame, cells: Sequence[object]) -> pd.Series[str]:
    import pandas as pd

    found: pd.Series[str] = pd.Series(list(cells), index=frame.index, dtype="string")
    return found


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more
