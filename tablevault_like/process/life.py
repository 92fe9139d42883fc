"""Tell whether the workers of processes live, and refuse what can't be done while they do."""

from __future__ import annotations

from dataclasses import dataclass

from tablevault_like.catalog import locks, processes
from tablevault_like.errors import TVProcessError
from tablevault_like.locks import is_held
from tablevault_like.process import records
from tablevault_like.process.journal import Journal


@dataclass(frozen=True)
class Life:
    """Who lives among the processes of one vault. The kernel decides, by the worker locks."""

    journal: Journal

    def is_alive(self, process_id: str) -> bool:
        """Tell whether the worker of a process lives."""
        return is_held(self.journal.layout.process(process_id).worker_lock)

    def has_living_descendant(self, process_id: str) -> bool:
        """Tell whether a worker lives below a process."""
        return self._living_descendant(process_id) is not None

    def refuse_living_tree(self, process_id: str, *, materialize: bool = False) -> None:
        """Raise TVProcessError if the worker of a process that is to be stopped, or one below it, lives."""
        if self.is_alive(process_id):
            raise self.running_error(process_id, materialize=materialize)
        living = self._living_descendant(process_id)
        if living is not None:
            raise self.running_error(living, above=process_id, materialize=materialize)

    def refuse_living_descendants(self, process_id: str) -> None:
        """Raise TVProcessError if a worker lives below a process."""
        living = self._living_descendant(process_id)
        if living is not None:
            raise self.running_error(living)

    def running_error(self, process_id: str, *, above: str | None = None, materialize: bool = False) -> TVProcessError:
        """Return the error that says which living worker is at a process.

        ``above`` is the process that was to be stopped, if it is one above that; ``materialize`` whether what it has
        done was to be kept.
        """
        with self.journal.catalog.snapshot() as db:
            if processes.find(db, process_id) is None and locks.waiting(db, process_id) is None:
                return TVProcessError(
                    f"Another worker uses the process id {process_id!r} at this moment. Call again.",
                    process_id=process_id,
                )
            record = records.find(db, self.journal.layout, process_id)
        keeping = ", materialize=True" if materialize else ""
        if above is None:
            told, way = "", f"end it with stop_process({process_id!r}, force=True{keeping})"
        else:
            told = f", which is below {above!r}"
            way = f"end both with stop_process({above!r}, force=True{keeping}), the one below first"
        return TVProcessError(
            f"A living worker is at {records.summary(record)}{told}. Wait for it, or {way}.", process_id=process_id
        )

    def _living_descendant(self, process_id: str) -> str | None:
        for child in self._children(process_id):
            living = child if self.is_alive(child) else self._living_descendant(child)
            if living is not None:
                return living
        return None

    def _children(self, process_id: str) -> list[str]:
        with self.journal.catalog.snapshot() as db:
            return [child.process_id for child in processes.live_children(db, process_id)]
