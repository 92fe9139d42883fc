"""What is damaged of what a process has kept."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from tablevault_like.errors import TVFileError
from tablevault_like.layout import ProcessLayout
from tablevault_like.process.memory import Memory
from tablevault_like.storage import sealed
from tablevault_like.storage.damage import Damage


def process_damage(folder: ProcessLayout, *, finished: Collection[str], artifact_folder: Path | None) -> list[Damage]:
    """Return what is wrong with what an execution has recorded and kept.

    ``finished`` are its finished steps, ``artifact_folder`` is where its artifacts are, if they are to be looked at.
    """
    from tablevault_like.builders.damage import checkpoint_damage

    found = checkpoint_damage(folder, finished=finished, artifact_folder=artifact_folder)
    return [*found, *_memory_damage(folder)]


def _memory_damage(folder: ProcessLayout) -> Iterator[Damage]:
    """Yield what is wrong with what a process has kept of itself. Earlier releases have kept nothing."""
    if not os.path.lexists(folder.record) and not os.path.lexists(sealed.copy_of(folder.plan)):
        return
    try:
        if Memory.read(folder).process_id != folder.folder.name:
            yield Damage(folder.record, "it is what another process has kept of itself")
    except TVFileError as error:
        what = f"what the process is can't be told from it: {error} It is written again when the process goes on."
        yield Damage(folder.record, what)


def sentence(clause: str) -> str:
    """Return a clause as a sentence.

    >>> sentence("the file is missing")
    'The file is missing.'
    """
    return f"{clause[:1].upper()}{clause[1:]}{'' if clause.endswith('.') else '.'}"
