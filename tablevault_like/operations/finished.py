"""What a process has finished, when its builders have changed: which of it can stay, and how the rest is forgotten.

A row is recorded as values in the order of its builder's columns, so it can't stay under other columns: it would be
read as what it is not.
"""

from __future__ import annotations

from collections.abc import Collection

from tablevault_like.builders.partial import partial_frame
from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.errors import TVArtifactError, TVBuilderError
from tablevault_like.layout import ProcessLayout
from tablevault_like.model import ARTIFACT_DTYPE, ReturnType
from tablevault_like.process.run import Run
from tablevault_like.storage import artifacts, files
from tablevault_like.storage.row_reader import RowReader
from tablevault_like.storage.rows import ARTIFACTS, FRAMES, RowStore


def check_can_stay(folder: ProcessLayout, old: Plan, new: Plan) -> None:
    """Raise TVBuilderError if rows are finished that the builders of the new plan would take for something else."""
    before = {builder.name: builder for builder in old.builders}
    with RowReader.open(folder.rows) as store:
        for builder in new.builders:
            was = before.get(builder.name)
            if was is None or _makes_the_same(was, builder):
                continue
            if store.counts(builder.name).done or folder.frame(builder.name).exists():
                raise TVBuilderError(
                    f"What the builder {builder.name!r} has finished can't stay: it was made as {_made(was)}, and now "
                    f"it is to be {_made(builder)}. Nothing was done. Call again with on_change='recompute' to make it "
                    "anew, or with 'keep' to finish with the builders and the code as they were."
                )


def forget(run: Run, store: RowStore, plan: Plan, names: Collection[str], *, artifact_folder_of: str) -> None:
    """Forget what the builders of these names have finished, their artifacts too. ``plan`` is what they followed.

    The artifacts are those in the staged folder of the instance ``artifact_folder_of``.
    """
    stale = _artifacts_of(run.files, plan, names)
    frames = [path for name in names for path in (run.files.frame(name), run.files.frame_with_old(name))]
    store.forget_files([f"{ARTIFACTS}/{name}" for name in stale] + [f"{FRAMES}/{path.name}" for path in frames])
    # The IndexBuilder last: rows of others can't be read without the rows that they belong to.
    for name in [builder.name for builder in reversed(plan.builders) if builder.name in names]:
        store.forget(name)
        files.remove(run.files.frame(name))
        files.remove(run.files.frame_with_old(name))
    folder = run.files.staged_instance(artifact_folder_of).artifacts
    for name in stale:
        try:
            files.remove(artifacts.resolve(folder, name))
        except TVArtifactError:
            continue  # it is gone already


def _artifacts_of(folder: ProcessLayout, plan: Plan, names: Collection[str]) -> set[str]:
    """Return the artifacts that only the builders of these names have named."""
    found: dict[bool, set[str]] = {True: set(), False: set()}
    if any(ARTIFACT_DTYPE in builder.dtypes.values() for builder in plan.builders if builder.name in names):
        frame = partial_frame(folder, plan).frame
        for builder in plan.builders:
            for column in builder.changed_columns:
                if builder.dtypes.get(column) == ARTIFACT_DTYPE:
                    found[builder.name in names].update(frame[column].dropna().tolist())
    return found[True] - found[False]


def _makes_the_same(was: PlannedBuilder, now: PlannedBuilder) -> bool:
    same_kind = (was.return_type is ReturnType.DATAFRAME) == (now.return_type is ReturnType.DATAFRAME)
    if now.is_index:
        # Which rows of the origin come before its own decides where the rows of all builders are.
        same_kind = was.return_type is now.return_type and _rows_kept(was) == _rows_kept(now)
    return same_kind and was.changed_columns == now.changed_columns


def _rows_kept(builder: PlannedBuilder) -> tuple[object, ...]:
    return builder.fields["keep_old"], tuple(builder.fields["primary_key"]) if builder.fields["keep_old"] else ()


def _made(builder: PlannedBuilder) -> str:
    keep_old, key = _rows_kept(builder)
    kept = f", keep_old by {key or 'whole rows'}" if keep_old else ""
    return f"{', '.join(builder.changed_columns)} ({builder.return_type}{kept})"
