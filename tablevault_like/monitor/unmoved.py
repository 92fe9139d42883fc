"""Find out what could be reused of an origin, while its artifacts stay where they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from tablevault_like.builders.frames import FrameCache
from tablevault_like.builders.reuse import Origin, Reuse
from tablevault_like.errors import TVArtifactError
from tablevault_like.model import ARTIFACT_DTYPE
from tablevault_like.storage import artifacts, files, tables


class Unmoved(Reuse):
    """What can be reused, while artifacts stay where they are. ``own`` is the folder in which people put some."""

    def __init__(
        self, origin: Origin, frames: FrameCache, *, key: Sequence[str], artifact_folder: Path, own: Path
    ) -> None:
        super().__init__(origin, frames, key=key, artifact_folder=artifact_folder)
        self._present = (artifact_folder, own)
        self._sound: dict[str, bool] = {}

    def take_artifacts(self, table: pa.Table) -> bool:
        """Tell whether all artifacts that are named in a part of the origin's table could be copied."""
        columns = [each.name for each in tables.table_columns(table) if each.dtype == ARTIFACT_DTYPE]
        names = {name for column in columns for name in table.column(column).to_pylist() if name is not None}
        return all(self._is_sound(name) for name in names)

    def _is_sound(self, name: str) -> bool:
        if name not in self._sound:
            try:
                content = files.sha256(artifacts.resolve(self._origin.artifact_folder, name))
                others = [folder / name for folder in self._present if (folder / name).is_file()]
                same = all(files.sha256(other) == content for other in others)
                self._sound[name] = same and self._digests.get(name) == content
            except (TVArtifactError, OSError):
                self._sound[name] = False
        return self._sound[name]


def own_files(folder: Path) -> list[tuple[str, str]]:
    """Return the files that people have put into a folder, with their contents."""
    return [(name, files.sha256(file)) for name, file in files.open_files(folder)] if folder.is_dir() else []
