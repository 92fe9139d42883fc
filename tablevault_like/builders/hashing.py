"""Hash what a function is given, so that equal inputs are known again in another execution.

1. What references come to is hashed by value, a dict in the order of its keys: a function may show it. What differs
   from run to run by its nature doesn't count: where artifacts lie, process ids, row keys.
2. An artifact that a reference leads to counts by its name and its content.
3. An argument that the function declares to be the path of a file or a folder that it reads
   (``functions.file_arguments``) counts by the content of that, too. What can't be read is never the same twice.
"""

from __future__ import annotations

import os
import stat
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from tablevault_like.errors import TVFileError
from tablevault_like.functions.file_arguments import files_by_default
from tablevault_like.references.cells import PLAIN_TYPES
from tablevault_like.storage import files
from tablevault_like.storage.digests import digest, digesting

PathName: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]

_PLAIN_BUT_TEXT = PLAIN_TYPES - {str}
_SETTLED = 2_000_000_000
"""Nanoseconds after which a file that is written to again has another time of change, on every file system."""


class Contents:
    """The contents of artifacts, by their absolute paths, and of other files.

    ``add`` may be called while threads ask. A file is read again only if it may have changed.
    """

    def __init__(self) -> None:
        self._known: dict[str, Callable[[], Mapping[str, str]]] = {}
        self._folders: tuple[str, ...] = ()
        self._found: dict[str, Mapping[str, str]] = {}
        self._read: dict[str, tuple[tuple[int, ...], str]] = {}
        self._lock = threading.Lock()

    def add(self, folder: Path, known: Callable[[], Mapping[str, str]] = dict) -> None:
        """Let what lies below a folder count by its content.

        ``known`` gives the SHA-256 of its files by their names in it, where they are on record; others are read.
        """
        name = f"{os.path.abspath(folder)}/"  # noqa: PTH100 - as artifacts.absolute_paths has it
        with self._lock:
            self._known[name] = known
            self._folders = tuple(self._known)

    @property
    def plain_types(self) -> frozenset[type]:
        """The types of values that ``instead_of`` returns as they are."""
        return _PLAIN_BUT_TEXT if self._folders else PLAIN_TYPES

    def instead_of(self, value: Any) -> Any:
        """Return what counts of a value: contents in place of paths, and dicts in their order, wherever they are."""
        if isinstance(value, str):
            return self._artifact(value) if value.startswith(self._folders) else value
        if isinstance(value, list | tuple):
            return [type(value).__name__, *map(self.instead_of, value)]
        if isinstance(value, dict):
            return ["dict", *([self.instead_of(key), self.instead_of(item)] for key, item in value.items())]
        if isinstance(value, np.ndarray) and value.dtype == object:
            return ["array", list(value.shape), *map(self.instead_of, value.ravel().tolist())]
        if isinstance(value, pd.Series):
            return value.map(self.instead_of) if self._counts_otherwise(value) else value
        if isinstance(value, pd.DataFrame):
            held = [name for name in value.columns if self._counts_otherwise(value[name])]
            if not held:
                return value
            counted = value.copy(deep=False)  # not assign: it takes no column that is named "self"
            for name in held:
                counted[name] = value[name].map(self.instead_of)
            return counted
        return value

    def of_path(self, path: PathName) -> object:
        """Return what tells the content of a file, or of all that is below a folder, from any other; None for nothing.

        What may be there, but can't be read (something on the network, for instance), is another thing each time.
        """
        try:
            name = os.fsdecode(path)
            if "://" in name:
                return uuid.uuid4().hex
            if os.path.isdir(name):  # noqa: PTH112 - as os.walk takes it
                found = [
                    [os.path.relpath(each, name), "~folder" if is_folder else self.of_path(each)]
                    for each, is_folder in _all_below(name)
                ]
                return sorted(found, key=itemgetter(0))
            return self._sha256(name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, TypeError, ValueError, TVFileError):
            return uuid.uuid4().hex

    def _artifact(self, path: str) -> object:
        folder = next(folder for folder in self._folders if path.startswith(folder))
        with self._lock:
            if folder not in self._found:
                self._found[folder] = self._known[folder]()
        name = path.removeprefix(folder)
        return ["~file", name, self._found[folder].get(name) or self.of_path(path)]

    def _counts_otherwise(self, series: pd.Series[Any]) -> bool:
        return series.dtype == object or (bool(self._folders) and isinstance(series.dtype, pd.StringDtype))

    def _sha256(self, name: str) -> str:
        real = os.path.realpath(name)
        before = _state(real)
        known = self._read.get(real)
        if known is not None and known[0] == before:
            return known[1]
        found = files.sha256(Path(real))
        # A file that was changed just now may be changed once more without having another time.
        if before == _state(real) and before[-1] + _SETTLED < time.time_ns():
            self._read[real] = before, found
        return found


class InputHash:
    """The input hash of a builder's rows. ``constants`` are the inputs that are the same in every row."""

    def __init__(
        self, function: Callable[..., object], constants: Sequence[object], contents: Contents | None = None
    ) -> None:
        self._contents = Contents() if contents is None else contents
        self._files = files_by_default(function)
        self._digest = digesting(digest(*map(self._contents.instead_of, constants)))

    def of(self, arguments: Mapping[str, object], inputs: Sequence[object]) -> bytes:
        """Return the hash of a row's inputs: before the call, which may change its arguments."""
        contents = self._contents
        plain = contents.plain_types
        counted = [value if type(value) in plain else contents.instead_of(value) for value in inputs]
        for name, default in self._files.items():
            counted += [contents.of_path(path) for path in paths_in(arguments.get(name, default))]
        return self._digest(counted)


def paths_in(value: object) -> Iterator[PathName]:
    """Yield the paths that a value holds, always in the same order.

    They are all texts, bytes and path objects in it, the keys of dicts too: which of them are options, nobody knows.
    """
    match value:
        case str() | bytes() | os.PathLike():
            yield value
        case Mapping():
            for key, item in value.items():
                yield from paths_in(key)
                yield from paths_in(item)
        case set() | frozenset():
            yield from sorted((path for item in value for path in paths_in(item)), key=os.fsencode)
        case list() | tuple() | deque():
            for item in value:
                yield from paths_in(item)
        case pd.DataFrame():
            for place in range(value.shape[1]):
                yield from paths_in(value.iloc[:, place])
        case pd.Series() | pd.Index():
            if not pd.api.types.is_numeric_dtype(value.dtype):
                yield from paths_in(value.tolist())
        case np.ndarray():
            if value.dtype.kind in "OUS":
                yield from paths_in(value.ravel().tolist())


def _all_below(folder: str) -> Iterator[tuple[str, bool]]:
    """Yield the paths of all there is, and whether it is a folder: through links too, but through each folder once."""
    seen: set[str] = set()

    def refuse(error: OSError) -> None:
        raise error

    for place, below, names in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(place)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        for found, is_folder in ((names, False), (below, True)):
            yield from ((os.path.join(place, name), is_folder) for name in found)  # noqa: PTH118


def _state(path: str) -> tuple[int, ...]:
    """Return what is different once a file has been changed, the latest of its times at the end."""
    found = os.stat(path)  # noqa: PTH116
    if not stat.S_ISREG(found.st_mode):
        raise TVFileError(f"{path} is not a regular file.", path=path)
    times = (found.st_mtime_ns, found.st_ctime_ns)
    return found.st_dev, found.st_ino, found.st_size, *times, max(times)
