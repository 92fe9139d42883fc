"""Tell whether the workers of processes live, and refuse what can't be done while they do."""

from __future__ import annotations

from dataclasses import dataclass

from tablevault_like.catalog import processes
from tablevault_like.errors import TVProcessError
from tablevault_like.locks import is_held
from tablevault_like.process.existing import running_error
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
            layout = self.journal.layout
            return running_error(db, layout, process_id, above=above, materialize=materialize)

    def _living_descendant(self, process_id: str) -> str | None:
        for child in self._children(process_id):
            living = child if self.is_alive(child) else self._living_descendant(child)
            if living is not None:
                return living
        return None

    def _children(self, process_id: str) -> list[str]:
        with self.journal.catalog.snapshot() as db:
            return [child.process_id for child in processes.live_children(db, process_id)]
