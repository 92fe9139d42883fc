"""Do again what was done: begin with a builder that has run already, or make a completed instance anew."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from tablevault_like.catalog import instances, processes
from tablevault_like.errors import TVArgumentError, TVBuilderError
from tablevault_like.model import temporary_id
from tablevault_like.operations.instances import CreateInstance
from tablevault_like.process.operation import Operation, View
from tablevault_like.process.run import Run

if TYPE_CHECKING:
    from tablevault_like.builders.plan import Plan


def check_takeover(view: View, plan: Plan, from_builder: str) -> None:
    """Raise TVBuilderError if what comes before a builder can't be taken over from the origin."""
    from tablevault_like.builders.stages import needed_for

    before = needed_for(plan, from_builder)
    if not before:
        return
    asked = f"from_builder={from_builder!r} takes over what comes before it from the instance's origin"
    origin = plan.origin
    if origin is None:
        raise TVBuilderError(
            f"{asked}, and {plan.table}/{plan.instance_id} has none. Create it with an origin (copy=True, or "
            "origin_id), give the process_id of a run that is paused, or leave out from_builder."
        )
    if not instances.is_true(view.db, origin.table, origin.instance_id, process_id=""):
        raise TVBuilderError(
            f"{asked}, and that ({origin.instance_id}) isn't active any more. Leave out from_builder, or create the "
            "instance from another one."
        )
    if not instances.get(view.db, origin.table, origin.instance_id).success:
        raise TVBuilderError(
            f"{asked}, and that ({origin.instance_id}) is partial: rows of it may be missing. Leave out from_builder; "
            "what it has is reused all the same."
        )
    _refuse_what_was_made_over(plan, before, asked)
    for builder in plan.builders:
        missing = [name for name in builder.changed_columns if name not in origin.columns]
        if builder.name in before and missing:
            raise TVBuilderError(
                f"{asked}, and that ({origin.instance_id}) has no column {missing[0]!r}, which {builder.name!r} makes. "
                f"Begin with that one: from_builder={builder.name!r}."
            )


def _refuse_what_was_made_over(plan: Plan, before: Collection[str], asked: str) -> None:
    """Raise TVBuilderError for a column that the origin has only as a builder left it which is to be run again."""
    for maker in plan.builders:
        for builder in plan.builders:
            both = [name for name in builder.changed_columns if name in maker.changed_columns]
            if both and builder.name in before and maker.name not in before:
                raise TVBuilderError(
                    f"{asked}, which has the column {both[0]!r} as {maker.name!r} left it, and no longer as "
                    f"{builder.name!r} made it. Begin with that one: from_builder={builder.name!r}."
                )


def begin_again(run: Run, from_builder: str | None, *, instance_id: str) -> None:
    """Forget what a builder, and all that rest on it, have finished in a process that goes on; once for one request.

    Whoever calls again with the same builder goes on, until somebody has called without one. Killed in between, it is
    as if nothing had been asked for, or is done again by the same call.
    """
    from tablevault_like.builders.anew import Anew
    from tablevault_like.builders.checkpoint import Checkpoint
    from tablevault_like.builders.stages import resting_on
    from tablevault_like.operations.finished import forget
    from tablevault_like.storage.rows import RowStore

    anew = Anew.read(run.files)
    if from_builder == anew.from_builder:
        return
    if from_builder is None:
        anew.gone_on().keep(run.files, fenced=run.fenced)
        return
    plan = Checkpoint.read(run.files).plan
    again = resting_on(plan, from_builder)
    with RowStore.open(run.files.rows) as store:
        store.claim(run.epoch)
        # The steps first: one that counts as finished is never looked into again.
        with run.journal.changing(run.process_id, run.epoch) as db:
            processes.forget_steps(db, run.process_id, sorted(again))
            processes.add_event(db, run.process_id, "begun again", f"from the builder {from_builder}", now=run.now())
        forget(run, store, plan, again, artifact_folder_of=instance_id)
    anew.begun_again(plan, from_builder).keep(run.files, fenced=run.fenced)


def renewal(view: View, table: str, version: str, process_id: str) -> Operation | None:
    """Return what makes the temporary instance anew that a completed process has turned into a materialized one.

    There is nothing to do if there is one, whoever has made it. Raises TVArgumentError if what the process made was
    deleted.
    """
    if instances.find(view.db, table, temporary_id(version)) is not None:
        return None
    made = instances.made_by(view.db, table, process_id)
    if made is None:
        raise TVArgumentError(
            f"The instance that process {process_id!r} made was deleted, so its builders are gone. Create one with "
            f"create_instance({table!r}, version={version!r}) and call again."
        )
    return CreateInstance(table, version, origin_id=made.instance_id, description=made.description)
