"""What is damaged of what an execution has kept: its plan, what is pinned, its rows, frames and artifacts.

Everything is held to a checksum that was recorded when it was kept. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from tablevault_like.builders.checkpoint import Checkpoint
from tablevault_like.errors import TVFileError
from tablevault_like.layout import ProcessLayout
from tablevault_like.storage import files, sealed
from tablevault_like.storage.damage import Damage
from tablevault_like.storage.row_damage import row_store_damage
from tablevault_like.storage.row_reader import RowReader
from tablevault_like.storage.rows import ARTIFACTS, FRAMES


def checkpoint_damage(
    folder: ProcessLayout,
    *,
    finished: Collection[str],
    instance_id: str | None = None,
    artifact_folder: Path | None = None,
) -> list[Damage]:
    """Return what is wrong with what an execution has kept in its folder; nothing if all is sound.

    ``finished`` are its finished steps: what those have made must be there. Its artifacts are looked for where the
    instance ``instance_id`` is staged, or in ``artifact_folder`` if they are elsewhere by now; without both, they
    aren't looked at.
    """
    if artifact_folder is None and instance_id is not None and folder.staged_instance(instance_id).folder.is_dir():
        artifact_folder = folder.staged_instance(instance_id).artifacts
    found = [*_pinned_damage(folder), *row_store_damage(folder.rows)]
    recorded: dict[str, bytes] = {}
    with suppress(TVFileError), RowReader.open(folder.rows) as store:
        recorded = store.files()
    for name, sha256 in recorded.items():
        kind, _, rest = name.partition("/")
        if kind == FRAMES:
            path = folder.folder / name
            builder = rest.removesuffix(".parquet").removesuffix(".with_old")
            if builder in finished or path.exists():
                found += _file_damage(path, sha256.hex(), builder=builder)
        elif kind == ARTIFACTS and artifact_folder is not None:
            found += _file_damage(artifact_folder / rest, sha256.hex())
    return found


def _pinned_damage(folder: ProcessLayout) -> Iterator[Damage]:
    yield from sealed.damage(folder.plan)
    if folder.anew.exists() or sealed.copy_of(folder.anew).exists():
        yield from sealed.damage(folder.anew)
    try:
        checkpoint = Checkpoint.read(folder)
    except TVFileError:
        return
    if checkpoint.process_id not in (None, folder.folder.name):
        yield Damage(folder.plan, f"it is the plan of the process {checkpoint.process_id!r}")
    for name, sha256 in checkpoint.sums.items():
        yield from _file_damage(checkpoint.files.folder / name, sha256)


def _file_damage(path: Path, sha256: str, *, builder: str | None = None) -> list[Damage]:
    try:
        if files.sha256(path) == sha256:
            return []
        what = "its content isn't what was recorded"
    except FileNotFoundError:
        what = "the file is missing"
    except OSError as error:
        what = f"it can't be read ({error.strerror or error})"
    return [Damage(path, what, builder)]
