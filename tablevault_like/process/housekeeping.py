"""Remove what an ended process leaves behind. A crash in here leaves litter, nothing else."""

from __future__ import annotations

from tablevault_like.layout import Layout
from tablevault_like.storage import files


def has_more(layout: Layout, process_id: str) -> bool:
    """Tell whether there is anything in the folder of a process but its worker lock and its output."""
    folder = layout.process(process_id)
    try:
        return any(path not in (folder.worker_lock, folder.output_log) for path in folder.folder.iterdir())
    except FileNotFoundError:
        return False


def sweep(layout: Layout, process_id: str) -> None:
    """Remove what is in the folder of an ended process, but for its worker lock, which is held, and its output.

    Nothing is removed through a link that somebody has put in the way.
    """
    folder = layout.process(process_id)
    if _is_reached(layout, process_id):
        for path in folder.folder.iterdir():
            if path not in (folder.worker_lock, folder.output_log):
                files.remove(path)


def dismiss(layout: Layout, process_id: str) -> None:
    """Remove the folder of a process that nobody will ever claim again. Its worker lock is held by the caller.

    Whoever waits for the lock finds that the file has no name any more, and looks for the process anew. What a worker
    in the background has put out stays.
    """
    sweep(layout, process_id)
    folder = layout.process(process_id)
    if _is_reached(layout, process_id) and not folder.output_log.exists():
        files.remove(folder.folder)


def is_left(layout: Layout, process_id: str) -> bool:
    """Tell whether a folder of that name is one that a worker has made. The first thing in it is the worker lock.

    When power is lost while it is removed, other things may remain without it, all of which bear names of ours.
    """
    place = layout.process(process_id)
    return place.worker_lock.is_file() or (place.folder.is_dir() and all(map(place.owns, place.folder.iterdir())))


def _is_reached(layout: Layout, process_id: str) -> bool:
    """Tell whether the folder of a process is there, and no link leads to it."""
    folder = layout.process(process_id).folder
    return folder.is_dir() and not any(path.is_symlink() for path in (layout.metadata, layout.processes, folder))
