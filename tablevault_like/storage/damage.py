"""What is found damaged of what an unfinished process has kept, and how that is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tablevault_like.errors import TVCheckpointError

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that isn't what was recorded. ``what`` is a clause; it doesn't name ``path``.

    ``rows`` are positions in the rows of ``builder``, sorted; None if it isn't known which, or if it isn't about rows.
    """

    path: Path
    what: str
    builder: str | None = None
    rows: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def rows_told(builder: str, rows: Sequence[int]) -> str:
    """Return a clause about rows whose checksums are wrong. Without ``rows`` it isn't known which those are."""
    if not rows:
        return f"rows of the builder {builder!r} aren't what was recorded"
    shown = ", ".join(map(str, rows[:_SHOWN])) + (", ..." if len(rows) > _SHOWN else "")
    noun, verb = ("row", "isn't") if len(rows) == 1 else (f"{len(rows)} rows", "aren't")
    which = f" ({shown})" if len(rows) > 1 else f" {shown}"
    return f"{noun}{which} of the builder {builder!r} {verb} what was recorded"


def checkpoint_error(process_id: str, found: Sequence[Damage]) -> TVCheckpointError:
    """Return the error that tells what is damaged of what a process has kept, and the ways on."""
    first = found[0]
    told = str(first) if len(found) == 1 else "\n".join(["", *(f"  - {each}" for each in found[:_SHOWN])])
    more = f"\n  - ... and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    about = [each for each in found if each.builder is not None]
    return TVCheckpointError(
        f"What process {process_id!r} has kept is damaged: {told}{more}\nNothing was done, and the process stays as it "
        "is. Call again with on_damage='recompute': what is sound is kept, and only the "
        f"rest is computed again. Or keep what is sound as a partial instance, by stop_process({process_id!r}, "
        f"materialize=True); or stop_process({process_id!r}) and start fresh.",
        path=first.path,
        process_id=process_id,
        builder=about[0].builder if about else None,
        rows=about[0].rows if about else None,
    )
