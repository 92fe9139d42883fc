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
    PACKING = "packing"
    UNPACKING = "unpacking"
    CHECKING = "checking"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is: ``done`` of ``total`` bytes of the vault's files, before compression."""

    stage: Stage
    done: int
    total: int


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
