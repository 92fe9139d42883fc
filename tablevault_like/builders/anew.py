"""Which builders of a process are made anew whatever is cached, and which are taken over as they are.

It is kept beside the plan, so that a resume goes on in the same way, whatever it is called with.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from tablevault_like.builders.plan import Plan
from tablevault_like.builders.stages import needed_for, resting_on
from tablevault_like.errors import TVCheckpointError, TVFileError
from tablevault_like.layout import ProcessLayout
from tablevault_like.storage import files, sealed


@dataclass(frozen=True)
class Anew:
    """What a process does with what there is already.

    ``from_builder`` is the builder that it was called to begin again with: the same call once more goes on. The
    builders in ``fresh`` reuse nothing of the origin, with ``everything`` none does. Those in ``taken`` aren't run: the
    origin's columns take their place.
    """

    from_builder: str | None = None
    everything: bool = False
    fresh: frozenset[str] = frozenset()
    taken: frozenset[str] = frozenset()

    @classmethod
    def of_new(cls, plan: Plan, from_builder: str | None, *, everything: bool) -> Anew:
        """Return what a new process does: with ``from_builder``, what that builder needs is taken over."""
        if from_builder is None:
            return cls(everything=everything)
        return cls(from_builder, fresh=resting_on(plan, from_builder), taken=needed_for(plan, from_builder))

    @classmethod
    def read(cls, folder: ProcessLayout) -> Anew:
        """Return what a process has kept. Raises TVFileError if it is damaged."""
        try:
            found = sealed.read(folder.anew, process_id=folder.folder.name)
            return cls(
                found["from_builder"], bool(found["everything"]), frozenset(found["fresh"]), frozenset(found["taken"])
            )
        except FileNotFoundError:
            return cls()
        except TVCheckpointError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TVFileError(
                f"{folder.anew} can't be read ({error}). Stop the process and start anew.", path=folder.anew
            ) from error

    def keep(
        self,
        folder: ProcessLayout,
        *,
        fenced: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """Keep it durably, in place of what was kept. The file is replaced in a ``fenced()``."""
        content = {
            "from_builder": self.from_builder,
            "everything": self.everything,
            "fresh": sorted(self.fresh),
            "taken": sorted(self.taken),
        }
        files.make_directory(folder.anew.parent)
        sealed.write(folder.anew, content, fenced=fenced)

    def begun_again(self, plan: Plan, from_builder: str) -> Anew:
        """Return what a process does that begins again with a builder."""
        again = resting_on(plan, from_builder)
        return replace(self, from_builder=from_builder, fresh=self.fresh | again, taken=self.taken - again)

    def gone_on(self) -> Anew:
        """Return what a process does that was called without a builder to begin with: the next such call counts."""
        return replace(self, from_builder=None)

    def without(self, names: Collection[str]) -> Anew:
        """Return what a process does when these builders have to run, after all."""
        return replace(self, taken=self.taken - frozenset(names))

    def reuses(self, builder: str) -> bool:
        """Tell whether rows of a builder may be taken over where they would come out the same."""
        return not self.everything and builder not in self.fresh
