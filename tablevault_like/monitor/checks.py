"""Check all processes at a glance: one line each, and whether somebody should look at it."""

from __future__ import annotations

from collections.abc import Mapping

from tablevault_like.catalog import Catalog, processes
from tablevault_like.layout import Layout
from tablevault_like.model import ProcessRecord, State
from tablevault_like.monitor.records import QuickCheck
from tablevault_like.monitor.words import counted, duration, moment
from tablevault_like.process import records


def checks(catalog: Catalog, layout: Layout, *, ended: int) -> list[QuickCheck]:
    """Return a line for each process that hasn't ended, oldest first, and for the last ones that have."""
    with catalog.snapshot() as db:
        found = list(records.active(db, layout).values())
        found += [records.describe(db, layout, row) for row in processes.newest_ended(db, limit=ended)]
    return [_check(record) for record in found]


def _check(record: ProcessRecord) -> QuickCheck:
    needs = _needs_attention(record)
    parts = [f"{record.process_id}: {record.operation} {target(record.arguments)}".rstrip(), record.status]
    if record.rows_total is not None or record.rows_done:
        of_all = "" if record.rows_total is None else f" of {record.rows_total:,}"
        parts.append(f"{record.rows_done:,}{of_all} rows done")
    if record.rows_failed:
        parts.append(f"{counted(record.rows_failed, 'row')} failed")
    if record.rows_reused:
        parts.append(f"{record.rows_reused:,} reused")
    if record.remaining is not None:
        parts.append(f"{duration(record.remaining)} left")
    if record.waits_for:
        parts.append(f"waits for {', '.join(record.waits_for)}")
    if record.pause_reason is not None and record.state is State.PAUSED:
        parts.append(record.pause_reason)
    if record.error is not None:
        parts.append(f"{record.error.type}: {record.error.message.partition(chr(10))[0]}")
    parts.append(moment(record.ended_at or record.updated_at))
    return QuickCheck(
        process_id=record.process_id,
        operation=record.operation,
        target=target(record.arguments),
        status=record.status,
        needs_attention=needs,
        line=", ".join(parts),
    )


def _needs_attention(record: ProcessRecord) -> bool:
    """Tell whether nothing more comes of a process by itself, or some of its rows have failed."""
    if record.state.has_ended:
        return record.state is State.REVERTED and record.error is not None
    if record.waits_for:
        return not record.is_alive
    if record.is_alive:
        return record.rows_failed > 0
    return not (record.state is State.PAUSED and record.paused_on_request)


def target(arguments: Mapping[str, object]) -> str:
    """Return what a process works on.

    >>> target({"table_name": "stories", "version": "base"}), target({"new_table_name": "tales", "table_name": "x"})
    ('stories/base', 'x')
    """
    instance = arguments.get("instance_id") or arguments.get("version")
    return "/".join(str(part) for part in (arguments.get("table_name"), instance) if part)
