"""Go on with a process although something that it has kept is damaged: what is sound stays, the rest is made again.

1. What can be brought back is brought back: the plan from its copy, pinned files from those that they were made of.
2. Only rows that are damaged, and those whose artifacts are, are forgotten. Frames that are damaged are, too.
3. Nothing is thrown away: a damaged row store is kept beside the new one until the process ends.
4. It may be done again: killed at any point, the next who mends finds what is left to do.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from tablevault_like.builders.checkpoint import Checkpoint
from tablevault_like.builders.damage import checkpoint_damage
from tablevault_like.builders.partial import named_artifacts
from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.catalog import processes
from tablevault_like.errors import TVCheckpointError, TVFileError
from tablevault_like.layout import ProcessLayout
from tablevault_like.model import InstanceRecord, ReturnType
from tablevault_like.operations import publication
from tablevault_like.process.operation import View
from tablevault_like.process.run import Run, instance_id_of
from tablevault_like.references.keywords import Keyword
from tablevault_like.storage import files, places, row_files, sealed
from tablevault_like.storage.damage import Damage, checkpoint_error
from tablevault_like.storage.row_damage import row_store_damage, salvage
from tablevault_like.storage.rows import ARTIFACTS, FRAMES, LOST, RowStore

log = logging.getLogger("tablevault_like")


def check_damage(view: View, folder: ProcessLayout, *, mends: bool) -> None:
    """Raise TVCheckpointError if something is damaged that the process has kept; with ``mends``, if it can't be mended.

    TVFileError if it was kept by a newer release.
    """
    process_id = folder.folder.name
    row_files.refuse_unknown(folder.rows)
    row = processes.get(view.db, process_id)
    temporary = publication.get_temporary(view.db, row.arguments["table_name"], row.arguments["version"])
    found = _damage(view, folder, temporary)
    if not mends:
        if found:
            raise checkpoint_error(process_id, found)
        return
    lost = [each for each in found if each.path == folder.plan and not _has_own_plan(folder)]
    lost += [each for each in _pinned(folder, found) if _source_of(view, folder, temporary, each.path) is None]
    if lost:
        raise TVCheckpointError(
            f"What process {process_id!r} has kept is damaged, and there is nothing to mend it with: {lost[0]}. "
            f"Nothing was done. Bring the file back from a backup; or stop_process({process_id!r}) and start fresh.",
            path=lost[0].path,
            process_id=process_id,
        )


def settle(run: Run) -> None:
    """Bring to its end what an earlier worker of a claimed process was about to keep when it died."""
    for path in (run.files.plan, run.files.anew):
        sealed.settle(path, fenced=run.fenced)


def mend(run: Run, table_name: str, version: str) -> None:
    """Bring back what a claimed process has kept, as far as it can be, and forget what of it is damaged."""
    row_files.refuse_unknown(run.files.rows)
    with run.journal.catalog.snapshot() as db:
        view = View(db, run.layout, run.now())
        temporary = publication.get_temporary(db, table_name, version)
        found = _damage(view, run.files, temporary)
        sources = {each.path: _source_of(view, run.files, temporary, each.path) for each in _pinned(run.files, found)}
    if not found:
        return
    log.warning("process %s: damaged: %s", run.process_id, "; ".join(map(str, found)))
    for path in (run.files.plan, run.files.anew):
        if path.exists() or sealed.copy_of(path).exists():
            with run.fenced():
                sealed.mend(path)
    for path, source in sources.items():
        if source is not None:
            with run.fenced():
                files.remove(path)
                files.make_directory(path.parent)
                files.copy_file(source, path)
                files.sync_directory(path.parent)
    plan = Checkpoint.read(run.files).plan
    told = _mend_rows(run, plan, [builder.name for builder in plan.builders])
    told += _forget_files(run, plan, found, temporary)
    with run.journal.changing(run.process_id, run.epoch) as db:
        for line in told or [str(found[0])]:
            processes.add_event(db, run.process_id, "mended", line, now=run.now())


def _damage(view: View, folder: ProcessLayout, temporary: InstanceRecord) -> list[Damage]:
    """Return what is damaged. What a worker left half-done that died in a commit of rows is undone first."""
    with suppress(TVFileError):
        RowStore.open(folder.rows).close()
    steps = processes.steps(view.db, folder.folder.name)
    finished = {step.record.name for step in steps if step.record.is_done}
    return checkpoint_damage(folder, finished=finished, artifact_folder=_artifacts_of(view, folder, temporary))


def _artifacts_of(view: View, folder: ProcessLayout, temporary: InstanceRecord) -> Path:
    """Return where the artifacts of an execution are: staged, or placed already."""
    row = processes.get(view.db, folder.folder.name)
    instance_id = instance_id_of(row.process_id, row.created_at, temporary.version)
    staged = folder.staged_instance(instance_id)
    placed = places.table_layout(view.layout, temporary).instance(instance_id)
    for place in (staged, placed):
        if place.folder.is_dir():
            return place.artifacts
    return staged.artifacts


def _has_own_plan(folder: ProcessLayout) -> bool:
    try:
        return Checkpoint.read(folder).process_id in (None, folder.folder.name)
    except TVFileError:
        return False


def _pinned(folder: ProcessLayout, found: Sequence[Damage]) -> list[Damage]:
    """Return the damage of pinned builder files and modules."""
    sealed_files = {each for path in (folder.plan, folder.anew) for each in (path, sealed.copy_of(path))}
    return [each for each in found if each.path.is_relative_to(folder.pinned) and each.path not in sealed_files]


def _source_of(view: View, folder: ProcessLayout, temporary: InstanceRecord, path: Path) -> Path | None:
    """Return a file that has what a pinned one had; None if there is none any more."""
    checkpoint = Checkpoint.read(folder)
    name = path.relative_to(checkpoint.files.folder).as_posix()
    kind, _, rest = name.partition("/")
    own = places.instance_layout(view.layout, temporary)
    candidates = [view.layout.code_functions / rest]
    if kind == checkpoint.files.builders.name:
        candidates = [own.builders / rest, *places.builder_files(own, temporary.table_name).values()]
    for candidate in candidates:
        try:
            if files.sha256(candidate) == checkpoint.sums[name]:
                return candidate
        except OSError:
            continue
    return None


def _mend_rows(run: Run, plan: Plan, builders: Collection[str]) -> list[str]:
    """Salvage the row store if it is damaged. Steps of builders that have lost rows aren't finished any more."""
    if not row_store_damage(run.files.rows):
        return []
    with run.fenced():
        saved = salvage(run.files.rows, epoch=run.epoch, builders=builders)
    with run.journal.catalog.snapshot() as db:
        steps = {step.record.name: step.record for step in processes.steps(db, run.process_id)}
    again = []
    told = []
    for builder in plan.builders:
        step = steps.get(builder.name)
        kept = saved.kept.get(builder.name, 0)
        if builder.return_type is ReturnType.DATAFRAME or step is None:
            continue
        had = step.rows_done + step.rows_failed + step.rows_skipped
        if step.is_done and kept < had:
            again.append(builder.name)
        if kept < had:
            told.append(f"{had - kept} rows of the builder {builder.name!r} were damaged, and count as not done")
        _cut_off(run, builder)
    beside = "" if saved.path is None else f"; the damaged file is {saved.path.name}"
    log.warning("process %s: %d rows were saved%s", run.process_id, sum(saved.kept.values()), beside)
    _forget_steps(run, again)
    return told


def _cut_off(run: Run, builder: PlannedBuilder) -> None:
    """Forget what comes after the first gap of a generator that is told where to go on: it makes that again, too."""
    if builder.return_type is not ReturnType.GENERATOR or Keyword.RESUME_FROM not in json.dumps(builder.fields):
        return
    with RowStore.open(run.files.rows) as store:
        store.claim(run.epoch)
        recorded = store.recorded(builder.name).tolist()
        kept = next((place for place, row in enumerate(recorded) if place != row), len(recorded))
        if kept < len(recorded):
            store.forget(builder.name, recorded[kept:])


def _forget_files(run: Run, plan: Plan, found: Sequence[Damage], temporary: InstanceRecord) -> list[str]:
    """Forget frames that are damaged, and rows whose artifacts are."""
    damaged = {each.path for each in found}
    told, again = [], []
    with RowStore.open(run.files.rows) as store:
        store.claim(run.epoch)
        for builder in plan.builders:
            if (path := run.files.frame_with_old(builder.name)) in damaged:
                files.remove(path)  # it is made again of what the builder and the origin have
            if (path := run.files.frame(builder.name)) in damaged:
                again.append(builder.name)
                told.append(f"the frame of the builder {builder.name!r} was damaged, and counts as not made")
                if builder.is_index and (known := store.files().get(f"{FRAMES}/{path.name}")) is not None:
                    # If other rows are made now, what was made of these is no good.
                    store.record_files({f"{LOST}/{path.name}": known.hex()})
                files.remove(path)
    with run.journal.catalog.snapshot() as db:
        folder = _artifacts_of(View(db, run.layout, run.now()), run.files, temporary)
    names = {each.path.relative_to(folder).as_posix() for each in found if each.path.is_relative_to(folder)}
    if names:
        again += _forget_artifacts(run, plan, names, told)
        for name in names:
            files.remove(folder / name)
    _forget_steps(run, again)
    return told


def _forget_artifacts(run: Run, plan: Plan, names: Collection[str], told: list[str]) -> list[str]:
    """Forget the rows that name some artifacts, and return the builders whose rows they are."""
    rows_of: dict[str, set[int]] = defaultdict(set)
    for builder_name, row, name in named_artifacts(run.files, plan):
        if name in names:
            rows_of[builder_name].add(row)
    again = []
    with RowStore.open(run.files.rows) as store:
        store.claim(run.epoch)
        for builder in plan.builders:
            rows = sorted(rows_of[builder.name])
            if not rows:
                continue
            again.append(builder.name)
            told.append(
                f"artifacts of {len(rows)} rows of the builder {builder.name!r} were damaged, which count as not done"
            )
            if builder.return_type is ReturnType.DATAFRAME:
                files.remove(run.files.frame(builder.name))
            else:
                store.forget(builder.name, rows)
        store.forget_files(f"{ARTIFACTS}/{name}" for name in names)
    for builder in plan.builders:
        _cut_off(run, builder)
    return again


def _forget_steps(run: Run, names: Sequence[str]) -> None:
    if names:
        with run.journal.changing(run.process_id, run.epoch) as db:
            processes.forget_steps(db, run.process_id, names)
