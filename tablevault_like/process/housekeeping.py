"""Remove what an ended process leaves behind. A crash in here leaves litter, nothing else."""

from __future__ import annotations

from tablevault_like.layout import Layout
from tablevault_like.storage import files


def sweep(layout: Layout, process_id: str, *, is_named: bool) -> None:
    """Remove the folder of an ended process.

    Of a process that was given an id, the worker lock stays: its id may be claimed again, and all who claim it must
    contend for one inode. Nobody ever asks for a generated id again.
    """
    folder = layout.process(process_id)
    if not folder.folder.exists():
        return
    if not is_named:
        files.remove(folder.folder)
        return
    for path in folder.folder.iterdir():
        if path != folder.worker_lock:
            files.remove(path)
