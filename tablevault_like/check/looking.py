"""Look at what stands at a path, without following links and without raising."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from tablevault_like.check.findings import told

MISSING = "missing"
FOLDER = "a folder"
FILE = "a file"
LINK = "a link"

IS_LINK = "It is a link, and nothing of a vault is reached through one."
PUT_IT_THERE = "Find out who has put it there, and put the file or folder itself in its place."


def kind_of(path: Path) -> str:
    """Return in a word or two what stands at a path."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return MISSING
    except OSError as error:
        return f"out of reach ({told(error)})"
    if stat.S_ISLNK(mode):
        return LINK
    if stat.S_ISDIR(mode):
        return FOLDER
    return FILE if stat.S_ISREG(mode) else "neither a file nor a folder"


def identity(path: Path) -> tuple[int, int] | None:
    """Return what tells what stands at a path from anything else that could stand there; None for nothing."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def entries(folder: Path) -> list[Path]:
    """Return what is in a folder, in order. Raises OSError."""
    with os.scandir(folder) as found:
        return sorted(Path(entry.path) for entry in found)


def links(folder: Path, *, besides: Collection[Path] = ()) -> Iterator[Path]:
    """Yield every link below a folder, and not what lies in ``besides``. None is followed, and nothing is raised."""
    try:
        found = entries(folder)
    except OSError:
        return
    for path in found:
        kind = kind_of(path)
        if kind == LINK:
            yield path
        elif kind == FOLDER and path not in besides:
            yield from links(path, besides=besides)
