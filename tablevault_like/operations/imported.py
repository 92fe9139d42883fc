"""Results that were imported for a temporary instance: where they lie, and how its execution reuses them.

1. Each bundle has a folder in ``results/`` of the temporary instance, named after its identity, and never changes.
2. They are put there and removed by whoever has the temporary instance exclusively, so an execution has the same ones
   from its claim to its end.
3. What an instance has taken over is told in its ``provenance/reused.json``, with where that was made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tablevault_like.builders.frames import FrameCache
from tablevault_like.builders.gathered import GatheredReuse
from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.builders.provenance import Provenance
from tablevault_like.builders.reuse import Origin, Reuse
from tablevault_like.bundles import opening
from tablevault_like.bundles.label import Label
from tablevault_like.layout import InstanceLayout
from tablevault_like.model import ARTIFACT_DTYPE, ReturnType
from tablevault_like.storage import files, manifests, tables
from tablevault_like.storage.row_reader import RowReader

REUSED = "reused.json"

_FOLDER = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Results:
    """What one builder has made in another vault, as it lies beside a temporary instance."""

    label: Label
    place: InstanceLayout

    @property
    def origin(self) -> Origin:
        """What rows can be taken over from."""
        dtypes = {
            column.name: ARTIFACT_DTYPE for column in self.label.instance.columns if column.dtype == ARTIFACT_DTYPE
        }
        return Origin(
            tables.table_from_frame(tables.read_table(self.place.table), dtypes),
            self.place.artifacts,
            Provenance(self.place.provenance),
            digests=self._digests,
        )

    def _digests(self) -> dict[str, str]:
        listed = manifests.contents(self.place.manifest, self.place.artifacts.name)
        return {name: sha256 for name, (sha256, _) in listed.items()}


def folder_for(temporary: InstanceLayout, identity: str) -> Path:
    """Return the folder of the results of a bundle."""
    return temporary.results / identity[:32]


def result_folders(temporary: InstanceLayout) -> list[Path]:
    """Return the folders of what was imported for a temporary instance. Each bears the beginning of an identity."""
    if not temporary.results.is_dir():
        return []
    return [path for path in sorted(temporary.results.iterdir()) if _FOLDER.fullmatch(path.name)]


def results_of(temporary: InstanceLayout) -> list[Results]:
    """Return what was imported for a temporary instance. Raises TVFileError if it is damaged."""
    folders = result_folders(temporary)
    return [Results(opening.kept_label(folder), opening.content(folder)) for folder in folders]


def with_results(
    reuse: Reuse | None,
    temporary: InstanceLayout,
    frames: FrameCache,
    *,
    key: Sequence[str],
    artifact_folder: Path,
) -> Reuse | GatheredReuse | None:
    """Return what can be reused of the origin, and of what was imported."""
    found = [Reuse(each.origin, frames, key=key, artifact_folder=artifact_folder) for each in results_of(temporary)]
    if not found:
        return reuse
    told = "imported results" if reuse is None else f"{reuse.told} and imported results"
    return GatheredReuse([*([] if reuse is None else [reuse]), *found], told)


def write_reused(
    place: InstanceLayout,
    temporary: InstanceLayout,
    plan: Plan,
    store: RowReader,
    *,
    origin: InstanceLayout | None,
    reused: Mapping[str, int],
) -> None:
    """Tell in an instance's provenance what was taken over from imported results; nothing is written if nothing was.

    ``reused`` are the rows that steps have taken over, ``origin`` is where an execution looks first. The caller syncs.
    """
    results = results_of(temporary)
    told = [
        {"builder": builder.name, "rows": rows, **each.label.origin()}
        for builder in plan.builders
        if not builder.is_index and reused.get(builder.name)
        for each, rows in _shares(builder, store, results, origin, reused[builder.name])
    ]
    if told:
        files.write_file(place.provenance / REUSED, json.dumps({"format": 1, "reused": told}, indent=1))


def _shares(
    builder: PlannedBuilder,
    store: RowReader,
    results: Sequence[Results],
    origin: InstanceLayout | None,
    reused: int,
) -> Iterator[tuple[Results, int]]:
    """Yield which results have given how many of a builder's rows: each is from the first that has it."""
    if builder.return_type in (ReturnType.DATAFRAME, ReturnType.GENERATOR):
        wanted = store.input_hash(builder.name)
        if wanted is None or (origin is not None and wanted in _calls(Provenance(origin.provenance))):
            return
        for each in results:
            if wanted in _calls(Provenance(each.place.provenance)):
                yield each, reused
                return
        return
    taken = store.reused(builder.name)
    efforts = (each for batch in store.efforts(builder.name) for each in batch)
    found = [hash_ for row, hash_, *_ in efforts if hash_ is not None and row in taken]
    if origin is not None:
        rows = tables.read_columns(origin.table)[1]
        known = _hashes(Provenance(origin.provenance), builder.recipe, rows)
        found = [each for each in found if each not in known]
    for each in results:
        known = _hashes(Provenance(each.place.provenance), builder.recipe, each.label.instance.rows)
        left = [hash_ for hash_ in found if hash_ not in known]
        if len(left) < len(found):
            yield each, len(found) - len(left)
        found = left


def _calls(provenance: Provenance) -> set[bytes | None]:
    return {builder.input_hash for builder in provenance.builders()}


def _hashes(provenance: Provenance, recipe: str, rows: int) -> set[bytes | None]:
    """Return the input hashes of the rows that a recipe has made."""
    found: set[bytes | None] = set()
    for builder in provenance.builders():
        made = provenance.rows(builder.name, count=rows)
        if made is not None:
            found |= {
                each for each, code in zip(made.hashes, made.codes, strict=True) if made.recipes.get(code) == recipe
            }
    return found - {None}
