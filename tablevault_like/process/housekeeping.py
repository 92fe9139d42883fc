"""Remove what an ended process leaves behind. A crash in here leaves litter, nothing else."""

from __future__ import annotations

from tablevault_like.layout import Layout
from tablevault_like.storage import files


def sweep(layout: Layout, process_id: str) -> None:
    """Remove what is in the folder of an ended process, but for its worker lock, which is held."""
    folder = layout.process(process_id)
    if folder.folder.exists():
        for path in folder.folder.iterdir():
            if path != folder.worker_lock:
                files.remove(path)


def dismiss(layout: Layout, process_id: str) -> None:
    """Remove the whole folder of a process that nobody will ever claim again. Its worker lock is held by the caller.

    Whoever waits for the lock finds that the file has no name any more, and looks for the process anew.
    """
    files.remove(layout.process(process_id).folder)
