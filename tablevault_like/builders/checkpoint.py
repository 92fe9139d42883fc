"""What a process that executes an instance has kept: its plan, the pinned builders and code, and what was computed.

::

    pinned/plan.json                         the plan, and the number of the folder that belongs to it
    pinned/<number>/builders/<builder>.yaml
    pinned/<number>/code/<module>.py
    rows.sqlite                              a row for each builder and row index
    frames/<builder>.parquet                 what dataframe builders returned

A plan that takes the place of another gets a folder of its own, and counts from the moment ``plan.json`` is replaced.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.errors import TVFileError
from tablevault_like.layout import PinnedLayout, ProcessLayout
from tablevault_like.storage import files


@dataclass(frozen=True)
class Checkpoint:
    """The plan of one process, and the files that it was made of."""

    plan: Plan
    files: PinnedLayout

    @classmethod
    def read(cls, folder: ProcessLayout) -> Checkpoint:
        """Read the checkpoint of a process. Raises TVFileError if it is damaged."""
        try:
            found = json.loads(folder.plan.read_text(encoding="utf-8"))
            plan, number = Plan.from_json(found["plan"]), int(found["number"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TVFileError(
                f"The plan {folder.plan} can't be read ({error}). Stop the process and start anew.", path=folder.plan
            ) from error
        return cls(plan, folder.pinned_files(number))

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
            target.parent.mkdir(parents=True, exist_ok=True)
            files.copy_file(code_folder / module, target)
        files.sync_tree(pinned.folder)
        draft = folder.plan.with_suffix(".new")
        files.remove(draft)
        files.write_file(draft, json.dumps({"number": number, "plan": plan.to_json()}))
        with fenced():
            files.replace(draft, folder.plan)
        return cls(plan, pinned)

    @property
    def number(self) -> int:
        return int(self.files.folder.name)

    def text(self, builder: PlannedBuilder) -> str:
        """Return the text of a pinned builder file."""
        return self.files.builder(builder.name).read_text(encoding="utf-8")
