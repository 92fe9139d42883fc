"""From where an execution would take rows over: the origin first, then results that were imported.

Artifacts stay where they are meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from tablevault_like.builders.frames import FrameCache
from tablevault_like.builders.gathered import GatheredReuse
from tablevault_like.builders.plan import PlannedBuilder
from tablevault_like.builders.reuse import Origin, Reuse
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.errors import TVArtifactError
from tablevault_like.model import ARTIFACT_DTYPE, ReturnType
from tablevault_like.model import Reuse as ReuseMode
from tablevault_like.monitor.predictions import Cause, Reason
from tablevault_like.monitor.situation import Situation
from tablevault_like.storage import artifacts, files, tables

_IMPORTED = "the imported results"


class Reusing:
    """Tells what may be taken over, and why nothing may. ``folder`` stands for that of the instance's artifacts."""

    def __init__(self, situation: Situation, frames: FrameCache, folder: Path) -> None:
        self._situation = situation
        self._frames = frames
        self._folder = folder

    def prevented(self, planned: PlannedBuilder, spec: BuilderSpec, changes: Sequence[Reason]) -> Reason | None:
        """Return why no row of a builder can be reused, ``None`` if some may. ``changes`` are since the origin."""
        no_reuse = self._situation.no_reuse
        if not self._places:
            return no_reuse or Reason(Cause.NEW, "the instance has no origin")
        if planned.name in self._situation.stages.fresh:
            return Reason(Cause.SETTING, "from_builder begins anew with it, or with what it reads")
        if spec.reuse is ReuseMode.NEVER:
            return Reason(Cause.SETTING, "its reuse is never")
        if spec.is_index and spec.keep_old:
            return Reason(Cause.SETTING, "it keeps old rows, so it makes all others anew")
        unlike = [_unlike(name, place, planned, spec, changes) for name, place in self._places]
        return None if None in unlike else no_reuse or unlike[0]

    @cached_property
    def reuse(self) -> Reuse | GatheredReuse | None:
        """What can be reused, while artifacts stay where they are."""
        key, own = self._situation.plan.builders[0].fields["primary_key"], self._situation.own_artifacts
        parts = [
            Unmoved(place, self._frames, key=key, artifact_folder=self._folder, own=own) for _, place in self._places
        ]
        return parts[0] if len(parts) == 1 else GatheredReuse(parts, "the origin") if parts else None

    @cached_property
    def _places(self) -> list[tuple[str, Origin]]:
        situation, made = self._situation, self._situation.origin
        if situation.no_reuse is not None and situation.no_reuse.cause is Cause.SETTING:
            return []
        found: list[tuple[str, Origin]] = []
        if made is not None and situation.no_reuse is None:
            origin = Origin(made.table, made.place.artifacts, made.provenance, digests=made.digests)
            found.append((made.name, origin))
        return [*found, *((_IMPORTED, each.origin) for each in situation.results)]


def _unlike(
    name: str, place: Origin, planned: PlannedBuilder, spec: BuilderSpec, changes: Sequence[Reason]
) -> Reason | None:
    """Return why nothing in a place is what a builder would make, ``None`` if something may be."""
    if not set(spec.changed_columns) <= set(place.table.column_names):
        return Reason(Cause.NEW, f"{name} has no such columns")
    known = [each for each in place.provenance.builders() if each.changed_columns == spec.changed_columns]
    if not known:
        return Reason(Cause.NEW, f"no builder of {name} has made these columns")
    if spec.return_type in (ReturnType.ROW_WISE, ReturnType.BATCH):
        found = place.provenance.rows(known[0].name, count=place.table.num_rows)
        made_it = found is not None and planned.recipe in found.recipes.values()
    else:
        # Its hash has the recipe in it; but then there is nothing that reads what isn't known.
        made_it = known[0].input_hash is not None and (not changes or name == _IMPORTED)
    return None if made_it else Reason(Cause.NEW, f"nothing in {name} was made like that")


class Unmoved(Reuse):
    """What can be reused, while artifacts stay where they are. ``own`` is the folder in which people put some."""

    def __init__(
        self, origin: Origin, frames: FrameCache, *, key: Sequence[str], artifact_folder: Path, own: Path
    ) -> None:
        super().__init__(origin, frames, key=key, artifact_folder=artifact_folder)
        self._present = (artifact_folder, own)
        self._sound: dict[str, bool] = {}

    def take_artifacts(self, table: pa.Table) -> bool:
        """Tell whether all artifacts that are named in a part of the origin's table could be copied."""
        columns = [each.name for each in tables.table_columns(table) if each.dtype == ARTIFACT_DTYPE]
        names = {name for column in columns for name in table.column(column).to_pylist() if name is not None}
        return all(self._is_sound(name) for name in names)

    def _is_sound(self, name: str) -> bool:
        if name not in self._sound:
            try:
                content = files.sha256(artifacts.resolve(self._origin.artifact_folder, name))
                others = [folder / name for folder in self._present if (folder / name).is_file()]
                same = all(files.sha256(other) == content for other in others)
                self._sound[name] = same and self._digests.get(name) == content
            except (TVArtifactError, OSError):
                self._sound[name] = False
        return self._sound[name]


def own_files(folder: Path) -> list[tuple[str, str]]:
    """Return the files that people have put into a folder, with their contents."""
    return [(name, files.sha256(file)) for name, file in files.open_files(folder)] if folder.is_dir() else []
