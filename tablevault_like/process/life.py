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
        children = self._children(process_id)
        return any(self.is_alive(child) or self.has_living_descendant(child) for child in children)

    def refuse_living(self, process_id: str) -> None:
        """Raise TVProcessError if the worker of a process, or one below it, lives."""
        if self.is_alive(process_id):
            raise self.running_error(process_id)
        self.refuse_living_descendants(process_id)

    def refuse_living_descendants(self, process_id: str) -> None:
        """Raise TVProcessError if a worker lives below a process."""
        for child in self._children(process_id):
            self.refuse_living(child)

    def running_error(self, process_id: str) -> TVProcessError:
        """Return the error that says which living worker is at a process."""
        with self.journal.catalog.snapshot() as db:
            if processes.find(db, process_id) is None and locks.waiting(db, process_id) is None:
                return TVProcessError(
                    f"Another worker uses the process id {process_id!r} at this moment. Call again.",
                    process_id=process_id,
                )
            record = records.find(db, self.journal.layout, process_id)
        return TVProcessError(
            f"A living worker is at {records.summary(record)}. Wait for it, or end it with "
            f"stop_process({process_id!r}, force=True).",
            process_id=process_id,
        )

    def _children(self, process_id: str) -> list[str]:
        with self.journal.catalog.snapshot() as db:
            return [child.process_id for child in processes.live_children(db, process_id)]
