"""Tell somebody how far an archive is. Who listens can't disturb the work."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

log = logging.getLogger("tablevault_like")

_SECONDS = 0.1


class Stage(StrEnum):
    """What is done at the moment."""

    COLLECTING = "collecting"
    """Copying what may change."""
    PACKING = "packing"
    """Writing the archive."""
    UNPACKING = "unpacking"
    """Reading an archive, and writing its files."""
    CHECKING = "checking"
    """Holding the restored files to their checksums."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is, in bytes of the vault's files, before compression."""

    stage: Stage
    done: int
    """How many bytes this stage has done."""
    total: int
    """How many bytes it has to do; 0 where that isn't known."""


Observer: TypeAlias = Callable[[Progress], None]


class Watch:
    """Counts bytes, and tells an observer at the beginning and the end of a stage and ten times a second in between."""

    def __init__(self, observer: Observer | None) -> None:
        self._observer = observer
        self._progress = Progress(Stage.COLLECTING, 0, 0)
        self._told_at = 0.0

    def begin(self, stage: Stage, total: int = 0) -> None:
        """Begin a stage of so many bytes."""
        self._progress = Progress(stage, 0, total)
        self._tell()

    def add(self, count: int) -> None:
        """Count bytes that are done."""
        stage, done, total = self._progress.stage, self._progress.done + count, self._progress.total
        self._progress = Progress(stage, done, total)
        if done >= total or time.monotonic() - self._told_at >= _SECONDS:
            self._tell()

    def _tell(self) -> None:
        self._told_at = time.monotonic()
        if self._observer is None:
            return
        try:
            self._observer(self._progress)
        except Exception:
            log.warning("who watches the progress has failed, and is told nothing more", exc_info=True)
            self._observer = None
