"""What a call is told that can't have what it asks for, because of a process that there is already."""

from __future__ import annotations

from tablevault_like.catalog import Database, locks, processes
from tablevault_like.catalog.locks import Held
from tablevault_like.catalog.processes import ProcessRow
from tablevault_like.errors import TVArgumentError, TVLockError, TVProcessError
from tablevault_like.layout import Layout
from tablevault_like.model import ProcessRecord
from tablevault_like.process import records
from tablevault_like.process.operation import Operation


def is_other_work(row: ProcessRow, operation: Operation) -> bool:
    """Tell whether a process was started for something else."""
    return row.operation != operation.name or bool(operation.differences(row.arguments))


def check_same_work(row: ProcessRow, operation: Operation) -> None:
    """Raise TVArgumentError if a process was started for something else."""
    process_id = row.process_id
    if row.operation != operation.name:
        raise TVArgumentError(
            f"Process {process_id!r} was started by {row.operation}, so it can't be used for "
            f"{operation.name}. Give another process_id."
        )
    if different := operation.differences(row.arguments):
        ways = "Call it with the same arguments, or give another process_id"
        if not row.state.has_ended:
            ways += f"; this one, {row.state.lower()}, keeps its locks until stop_process({process_id!r})"
        raise TVArgumentError(f"Process {process_id!r} was started for other work ({'; '.join(different)}). {ways}.")


def existing_error(record: ProcessRecord, *, is_other_work: bool) -> TVProcessError:
    """Return the error that refuses a run that is there already, because that was asked for."""
    if is_other_work:
        ways = ", for that was started for other work"
    elif record.is_alive:
        ways = f", or wait for this one with wait({record.process_id!r})"
    else:
        going_on = "have what it made" if record.state.has_ended else "go on with it"
        ways = f"; or call with existing='auto' to {going_on}, or with existing='rerun' to start anew"
    return TVProcessError(
        f"There is a run of that id already, and existing='error' refuses it: {records.summary(record)}. Give another "
        f"process_id{ways}.",
        process_id=record.process_id,
    )


def running_error(
    db: Database, layout: Layout, process_id: str, *, above: str | None = None, materialize: bool = False
) -> TVProcessError:
    """Return the error that says which living worker is at a process.

    ``above`` is the process that was to be stopped, if it is one above that; ``materialize`` whether what it has done
    was to be kept.
    """
    if processes.find(db, process_id) is None and locks.waiting(db, process_id) is None:
        return TVProcessError(
            f"Another worker uses the process id {process_id!r} at this moment. Call again.", process_id=process_id
        )
    keeping = ", materialize=True" if materialize else ""
    if above is None:
        told, way = "", f"end it with stop_process({process_id!r}, force=True{keeping})"
    else:
        told = f", which is below {above!r}"
        way = f"end both with stop_process({above!r}, force=True{keeping}), the one below first"
    record = records.find(db, layout, process_id)
    return TVProcessError(
        f"A living worker is at {records.summary(record)}{told}. Wait for it, or {way}.", process_id=process_id
    )


def lock_error(operation: str, held: Held, record: ProcessRecord, *, waited: str = "") -> TVLockError:
    """Return the error that says who holds a lock that an operation needs. ``waited`` is how long it tried."""
    process_id = record.process_id
    return TVLockError(
        f"{operation} needs a lock that is held{waited}: {held.request.resource} "
        f"({held.request.mode}) is held by {records.summary(record)}. Wait and call again (lock_timeout= waits "
        "longer), resume the holder with its process_id, or stop it with "
        f"stop_process({process_id!r}{', force=True' if record.is_alive else ''}).",
        resource=str(held.request.resource),
        holder=process_id,
    )
