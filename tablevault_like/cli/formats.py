"""Numbers, times and processes, as people read them."""

from __future__ import annotations

from collections.abc import Mapping

from tablevault_like.model import ProcessRecord
from tablevault_like.monitor.words import counted, duration, moment

__all__ = ["counted", "duration", "moment", "progress", "rate", "status", "target"]


def rate(rows_a_second: float | None) -> str:
    """Return rows a second, or a minute or an hour if there are few; nothing for ``None``.

    >>> rate(48_123.4), rate(2.5), rate(0.05), rate(0.001)
    ('48,123/s', '2.5/s', '3.0/min', '3.6/h')
    """
    if rows_a_second is None:
        return ""
    if rows_a_second >= 100:
        return f"{rows_a_second:,.0f}/s"
    for factor, unit in ((1, "s"), (60, "min")):
        if rows_a_second * factor >= 1:
            return f"{rows_a_second * factor:.1f}/{unit}"
    return f"{rows_a_second * 3_600:.1f}/h"


def progress(done: int, total: int | None) -> str:
    """Return how many rows are done, of how many.

    >>> progress(412, 1000), progress(3, None), progress(0, None)
    ('412 of 1,000', '3', '')
    """
    if total is None:
        return f"{done:,}" if done else ""
    return f"{done:,} of {total:,}"


def target(arguments: Mapping[str, object]) -> str:
    """Return what a process works on, by the arguments of its operation.

    >>> target({"table_name": "stories", "version": "base"})
    'stories/base'
    >>> target({"table_name": "stories", "new_table_name": "tales"})
    'stories -> tales'
    >>> target({"table_name": "stories", "version": "base", "texts": {"summary": "...", "score": "..."}})
    'stories/base: summary, score'
    """
    instance = arguments.get("instance_id") or arguments.get("version")
    place = "/".join(str(part) for part in (arguments.get("table_name"), instance) if part)
    if renamed := arguments.get("new_table_name"):
        return f"{place} -> {renamed}"
    texts = arguments.get("texts")
    named = [*texts] if isinstance(texts, Mapping) else [arguments.get("builder_name") or arguments.get("module_name")]
    names = ", ".join(str(name) for name in named if name)
    return ": ".join(part for part in (place, names) if part)


def status(record: ProcessRecord) -> tuple[str, str]:
    """Return the state of a process in one word, and the style to print it in."""
    word = "waiting" if record.waits_for and record.is_alive else record.status
    return word, _STYLES.get(word, "")


_STYLES = {
    "running": "green",
    "completed": "green",
    "materialized": "green",
    "waiting": "cyan",
    "paused": "yellow",
    "stopping": "yellow",
    "reverting": "yellow",
    "interrupted": "red",
}
