"""What a process that executes an instance has kept: its plan, the pinned builders and code, and what was computed.

::

    pinned/plan.json                         the plan, the number of the folder that belongs to it, and its checksums
    pinned/plan.json.copy                    the same, for when that is damaged
    pinned/<number>/builders/<builder>.yaml
    pinned/<number>/code/<module>.py
    rows.sqlite                              a row for each builder and row index
    frames/<builder>.parquet                 what dataframe builders returned

A plan that takes the place of another gets a folder of its own, and counts from the moment ``plan.json`` is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.errors import TVCheckpointError, TVFileError
from tablevault_like.layout import PinnedLayout, ProcessLayout
from tablevault_like.storage import files, reach, sealed


@dataclass(frozen=True)
class Checkpoint:
    """The plan of one process, and the files that it was made of."""

    plan: Plan
    files: PinnedLayout
    sums: Mapping[str, str] = field(default_factory=dict)
    """The SHA-256 of the pinned files, by their paths relative to ``files.folder``."""
    process_id: str | None = None

    @classmethod
    def read(cls, folder: ProcessLayout) -> Checkpoint:
        """Read the checkpoint of a process. Raises TVFileError if its plan is damaged, and the copy of that, too."""
        try:
            found = sealed.read(folder.plan, process_id=folder.folder.name)
            plan, number = Plan.from_json(found["plan"]), int(found["number"])
            sums = found.get("files", {})
        except TVCheckpointError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TVFileError(
                f"The plan {folder.plan} can't be read ({error}). Stop the process and start anew.", path=folder.plan
            ) from error
        return cls(plan, folder.pinned_files(number), sums, found.get("process_id"))

    @classmethod
    def keep(
        cls,
        folder: ProcessLayout,
        plan: Plan,
        texts: Mapping[str, str],
        code_folder: Path,
        *,
        fenced: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> Checkpoint:
        """Keep a plan with the builder files and code modules that it was made of, durably, in place of any other.

        The plan is replaced in a ``fenced()``, which raises if that isn't this worker's business any more.
        """
        number = cls.read(folder).number + 1 if folder.plan.exists() else 1
        pinned = folder.pinned_files(number)
        files.remove(pinned.folder)
        files.make_directory(pinned.builders)
        files.make_directory(pinned.code)
        for builder in plan.builders:
            files.write_file(pinned.builder(builder.name), texts[builder.name])
        for module in plan.modules:
            target = pinned.code / module
            reach.make_folders(target.parent)
            files.copy_file(code_folder / module, target)
        files.sync_tree(pinned.folder)
        sums = {name: files.sha256(path) for name, path in files.regular_files(pinned.folder)}
        process_id = folder.folder.name
        content = {"number": number, "process_id": process_id, "files": sums, "plan": plan.to_json()}
        sealed.write(folder.plan, content, fenced=fenced)
        return cls(plan, pinned, sums, process_id)

    @property
    def number(self) -> int:
        return int(self.files.folder.name)

    def text(self, builder: PlannedBuilder) -> str:
        """Return the text of a pinned builder file."""
        return self.files.builder(builder.name).read_text(encoding="utf-8")
