"""Hash what a function is given, so that equal inputs are known again in another execution.

1. What references come to is hashed by value. What differs from run to run by its nature is not: where artifacts lie,
   process ids, row keys.
2. A file counts by its content, whatever it is called: an artifact that a reference leads to, and an argument that the
   function declares to be the path of a file or a folder that it reads (``functions.file_arguments``).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tablevault_like.functions.file_arguments import file_arguments
from tablevault_like.storage import files
from tablevault_like.storage.values import digest


class Contents:
    """The contents of artifacts, by their absolute paths.

    ``known`` gives the SHA-256 of a folder's files by their relative names, where they are on record; other files are
    read, once. ``folders`` may grow, while threads ask.
    """

    def __init__(self) -> None:
        self._known: dict[str, Callable[[], Mapping[str, str]]] = {}
        self._folders: tuple[str, ...] = ()
        self._found: dict[str, Mapping[str, str]] = {}
        self._lock = threading.Lock()

    def add(self, folder: Path, known: Callable[[], Mapping[str, str]] = dict) -> None:
        """Let what lies below a folder count by its content."""
        name = f"{os.path.abspath(folder)}/"  # noqa: PTH100 - as artifacts.absolute_paths has it
        with self._lock:
            self._known[name] = known
            self._folders = tuple(self._known)

    @property
    def is_empty(self) -> bool:
        return not self._folders

    def instead_of(self, value: Any) -> Any:
        """Return a value with contents in place of paths, wherever they are in it."""
        if isinstance(value, str):
            return self._of(value) if value.startswith(self._folders) else value
        if isinstance(value, list | tuple):
            return [type(value).__name__, *map(self.instead_of, value)]
        if isinstance(value, dict):
            return {key: self.instead_of(item) for key, item in value.items()}
        if isinstance(value, pd.Series):
            return value.map(self.instead_of) if _may_hold_text(value) else value
        if isinstance(value, pd.DataFrame):
            held = [name for name in value.columns if _may_hold_text(value[name])]
            return value.assign(**{name: value[name].map(self.instead_of) for name in held}) if held else value
        return value

    def _of(self, path: str) -> Any:
        folder = next(folder for folder in self._folders if path.startswith(folder))
        with self._lock:
            if folder not in self._found:
                self._found[folder] = self._known[folder]()
        sha256 = self._found[folder].get(path.removeprefix(folder))
        return ["~file", sha256 or content_of(path)]


class InputHash:
    """The input hash of a builder's rows. ``constants`` are the inputs that are the same in every row."""

    def __init__(
        self, function: Callable[..., object], constants: Sequence[object], contents: Contents | None = None
    ) -> None:
        self._contents = contents if contents is not None and not contents.is_empty else None
        self._files = file_arguments(function)
        self._constants = digest(*map(self._plain, constants))

    def of(self, arguments: Mapping[str, object], inputs: Sequence[object]) -> bytes:
        """Return the hash of a row's inputs: before the call, which may change its arguments."""
        if self._contents is None and not self._files:
            return digest(self._constants, *inputs)
        read = [content_of(value) for name in self._files if isinstance(value := arguments.get(name), str | Path)]
        return digest(self._constants, *map(self._plain, inputs), *read)

    def _plain(self, value: object) -> object:
        return value if self._contents is None else self._contents.instead_of(value)


def content_of(path: str | Path) -> object:
    """Return what tells the content of a file, or of all files below a folder, from any other; None if it is gone."""
    place = Path(path)
    try:
        if place.is_dir():
            return sorted(
                [str(each.relative_to(place)), files.sha256(each.resolve())]
                for each in place.rglob("*")
                if each.is_file()
            )
        return files.sha256(place.resolve())
    except OSError:
        return None


def _may_hold_text(series: pd.Series[Any]) -> bool:
    return series.dtype == object or isinstance(series.dtype, pd.StringDtype)
