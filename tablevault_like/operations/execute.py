"""Build an instance by its builders, and materialize it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from tablevault_like.catalog import Database, instances, locks, processes
from tablevault_like.errors import TableReferenceError, TVArgumentError, TVBuilderError, TVCheckpointError, TVLockError
from tablevault_like.layout import ProcessLayout
from tablevault_like.limits import Budget
from tablevault_like.model import (
    BASE_VERSION,
    Existing,
    InstanceRecord,
    LockRequest,
    OnChange,
    OnDamage,
    Resource,
)
from tablevault_like.operations import planning, publication
from tablevault_like.operations.again import begin_again, check_takeover, renewal
from tablevault_like.operations.publication import Publication
from tablevault_like.operations.rules import check_batches, check_start_at
from tablevault_like.process.operation import HOW, Declaration, Operation, View
from tablevault_like.process.run import Run
from tablevault_like.storage import files, places, sealed

if TYPE_CHECKING:
    from tablevault_like.builders.plan import Plan
    from tablevault_like.operations.execution import Execution

log = logging.getLogger("tablevault_like")


@dataclass(frozen=True)
class ExecuteInstance(Operation):
    """Run the builders of a temporary instance, row by row, and materialize what they make.

    Each builder is a step, and each row of a row-wise or generator builder is recorded. Builder files and code are
    pinned before anything runs.
    """

    name = "execute_instance"
    reads_files = True
    keeps_inputs = True
    can_materialize = True
    can_pause = True

    table_name: str
    version: str = BASE_VERSION
    force_execute: bool = False
    background: bool = field(default=False, metadata=HOW)
    on_change: OnChange = field(default=OnChange.ERROR, metadata=HOW)
    on_damage: OnDamage = field(default=OnDamage.ERROR, metadata=HOW)
    existing: Existing = field(default=Existing.AUTO, metadata=HOW)
    until: str | None = field(default=None, metadata=HOW)
    from_builder: str | None = field(default=None, metadata=HOW)
    budget: Mapping[str, float] | None = field(default=None, metadata=HOW)
    """What ``limits.Budget.read`` reads."""
    start_at: Mapping[str, int] = field(default_factory=dict)
    """For builders whose function is a generator: where its source begins."""

    def __post_init__(self) -> None:
        # Rebuilt from its record, it is given plain text.
        object.__setattr__(self, "on_change", OnChange(self.on_change))
        object.__setattr__(self, "on_damage", OnDamage(self.on_damage))
        object.__setattr__(self, "existing", Existing(self.existing))

    def for_restart(self) -> Self:
        return replace(self, on_change=OnChange.ERROR, on_damage=OnDamage.ERROR, existing=Existing.AUTO)

    def on_existing(self) -> Existing:
        return self.existing

    def renewal(self, view: View, process_id: str) -> Operation | None:
        return renewal(view, self.table_name, self.version, process_id)

    def differences(self, recorded: Mapping[str, Any]) -> list[str]:
        if self.existing is Existing.RERUN:
            # It reuses nothing in any case.
            recorded = {**recorded, "force_execute": self.force_execute}
        return super().differences(recorded)

    def check(self) -> None:
        if self.force_execute and self.from_builder is not None:
            raise TVArgumentError(
                "force_execute computes all rows anew, and from_builder those of some builders. Leave out one of them."
            )

    def has_progress(self, folder: ProcessLayout) -> bool:
        from tablevault_like.storage.rows import RowStore

        if not folder.rows.exists():
            return False
        try:
            with RowStore.open(folder.rows) as store:
                return not store.is_empty()
        except TVCheckpointError:
            return True  # what is damaged is no reason to revert

    def declare(self, view: View) -> Declaration:
        return self.declare_on(view, publication.get_temporary(view.db, self.table_name, self.version))

    def declare_on(
        self, view: View, temporary: InstanceRecord, *, builders_of: InstanceRecord | None = None
    ) -> Declaration:
        """Declare the execution of a temporary instance, which may be one that is yet to be made.

        Its builder files are those of ``builders_of`` then, as they are to be copied from there.
        """
        if temporary.external_edit:
            raise TVArgumentError(
                f"{self.table_name}/{temporary.instance_id} is edited externally, so it can't be executed. Write it "
                "with write_instance()."
            )
        planned = planning.plan(view, temporary, builders_of=builders_of)
        self._check_stages(planned.plan)
        if self.from_builder is not None:
            check_takeover(view, planned.plan, self.from_builder)
        check_start_at(planned.plan, self.start_at)
        needed = [LockRequest.exclusive(Resource.instance(self.table_name, temporary.instance_id))]
        needed += planning.input_locks(planned.plan)
        while_claiming = (
            LockRequest.shared(Resource.builders(self.table_name, self.version)),
            LockRequest.shared(Resource.code()),
        )
        return Declaration(tuple(needed), while_claiming, planned)

    def keep(self, run: Run) -> None:
        from tablevault_like.builders.anew import Anew
        from tablevault_like.builders.checkpoint import Checkpoint
        from tablevault_like.storage.rows import RowStore

        planned: planning.Planned = run.facts
        with run.journal.catalog.snapshot() as db:
            temporary = publication.get_temporary(db, self.table_name, self.version)
        staged = run.files.staged_instance(run.instance_id(self.version))
        files.remove(staged.folder)
        files.make_directory(staged.folder)
        publication.stage_artifacts(run, temporary, staged)
        files.sync_directory(staged.folder)
        with run.fenced():
            files.remove(run.files.rows)
            files.remove(run.files.anew)
            files.remove(sealed.copy_of(run.files.anew))
            RowStore.create(run.files.rows, epoch=run.epoch).close()
        anew = Anew.of_new(planned.plan, self.from_builder, everything=self.existing is Existing.RERUN)
        if anew != Anew():
            anew.keep(run.files, fenced=run.fenced)
        Checkpoint.keep(run.files, planned.plan, planned.texts, run.layout.code_functions, fenced=run.fenced)
        with run.journal.changing(run.process_id, run.epoch) as db:
            processes.plan_steps(db, run.process_id, _steps(planned.plan))
            if instances.has_side_effects(db, temporary.table_id):
                instances.deactivate_others(db, temporary.table_id, process_id=run.process_id)

    def check_resume(self, view: View, folder: ProcessLayout) -> None:
        from tablevault_like.builders.changes import differences
        from tablevault_like.builders.checkpoint import Checkpoint
        from tablevault_like.operations.mending import check_damage

        self.check()
        check_damage(view, folder, mends=self.on_damage is OnDamage.RECOMPUTE)
        if self.on_change is OnChange.KEEP:
            self._check_stages(Checkpoint.read(folder).plan)
            return
        try:
            old, new = self._plans(view, folder)
        except (TVBuilderError, TableReferenceError) as error:
            # In the message itself, and in its first line: what shows an error may leave out its notes, or other lines.
            error.message += (
                " Nothing was done. Mend it and call again; or call with on_change='keep', to finish with the builders "
                "and the code as they were."
            )
            raise
        if self.on_change in (OnChange.ERROR, OnChange.CONTINUE):
            check_batches(old, new.plan)
        if self.on_change is OnChange.ERROR and (changed := differences(old, new.plan)):
            told = "\n".join(f"  - {line}" for line in changed)
            raise TVBuilderError(
                f"The builders or the code of {self.table_name}/{self.version} have changed since this process was "
                f"started:\n{told}\nNothing was done. Call it again with on_change='continue' (finished rows stay, the "
                "others use the new code), on_change='recompute' (the rows of changed builders start again) or "
                "on_change='keep' (finish with the code as it was)."
            )
        self._check_stages(new.plan)
        if self.on_change is OnChange.CONTINUE:
            from tablevault_like.operations.finished import check_can_stay

            check_can_stay(folder, old, new.plan)

    def execution(self) -> type[Execution]:
        """Return what runs the builders."""
        from tablevault_like.operations.execution import Execution

        return Execution

    def execute(self, run: Run) -> Publication:
        from tablevault_like.operations.mending import mend, settle

        if run.facts is None:
            settle(run)
        if run.facts is None and self.on_damage is OnDamage.RECOMPUTE:
            mend(run, self.table_name, self.version)
        if run.facts is None and self.on_change is not OnChange.KEEP:
            self._adopt_changes(run)
        if run.facts is None:
            begin_again(run, self.from_builder, instance_id=run.instance_id(self.version))
        with run.journal.catalog.snapshot() as db:
            temporary = publication.get_temporary(db, self.table_name, self.version)
        instance_id = run.instance_id(self.version)
        if run.facts is None:  # it was resumed: what it has made may lie in its place by now, and be read-only
            publication.withdraw(run, temporary, instance_id)
        budget = None if self.budget is None else Budget.read(self.budget)
        opening = self.execution().open(
            run,
            temporary,
            instance_id,
            reuses=not self.force_execute,
            until=self.until,
            budget=budget,
            start_at=self.start_at,
        )
        with opening as execution:
            execution.build()
            return execution.stage()

    def publish(self, run: Run, db: Database) -> None:
        run.made.publish(run, db)

    def finish(self, run: Run) -> None:
        publication.discard_temporary(run, run.made.temporary, run.made.instance_id)
        publication.show_artifacts(run, run.made)

    def undo(self, run: Run) -> None:
        self._leave_partial_frame(run)
        publication.remove(run, self.table_name, run.instance_id(self.version))

    def undo_in_catalog(self, run: Run, db: Database) -> None:
        instances.reactivate(db, process_id=run.process_id)

    def materialize(self, run: Run) -> Publication:
        from tablevault_like.operations.execution import stage_partial
        from tablevault_like.operations.mending import mend
        from tablevault_like.storage.rows import RowStore

        # What is damaged counts as not done.
        mend(run, self.table_name, self.version)
        with RowStore.open(run.files.rows) as store:
            # Nothing is recorded any more. What a worker left half-done that died inside of a commit is undone.
            store.claim(run.epoch)
        with run.journal.catalog.snapshot() as db:
            temporary = publication.get_temporary(db, self.table_name, self.version)
        instance_id = run.instance_id(self.version)
        publication.withdraw(run, temporary, instance_id)
        return stage_partial(run, temporary, instance_id)

    def publish_partial(self, run: Run, db: Database) -> None:
        run.made.publish(run, db)

    def _leave_partial_frame(self, run: Run) -> None:
        """Leave what was computed readable as ``TEMP_<version>``: best effort, a revert must not depend on it."""
        from tablevault_like.builders.checkpoint import Checkpoint
        from tablevault_like.builders.partial import partial_frame
        from tablevault_like.storage import tables

        if not run.files.plan.exists():
            return
        try:
            with run.journal.catalog.snapshot() as db:
                temporary = publication.get_temporary(db, self.table_name, self.version)
            place = places.instance_layout(run.layout, temporary)
            found = partial_frame(run.files, Checkpoint.read(run.files).plan)
            draft = place.table.with_suffix(".new")
            tables.write_table(draft, found.frame)
            files.replace(draft, place.table)
        except Exception:
            log.info("no partial frame was left by process %s", run.process_id, exc_info=True)

    def _check_stages(self, plan: Plan) -> None:
        """Raise TVBuilderError for a stage that is no builder."""
        from tablevault_like.builders.stages import check_stage

        for argument, name in (("until", self.until), ("from_builder", self.from_builder)):
            if name is not None:
                check_stage(plan, argument, name)

    # --- what has changed since a process was started

    def _plans(self, view: View, folder: ProcessLayout) -> tuple[Plan, planning.Planned]:
        """Return the plan that a process has kept, and the one that would be made now, on the same inputs."""
        from tablevault_like.builders.checkpoint import Checkpoint

        old = Checkpoint.read(folder).plan
        temporary = publication.get_temporary(view.db, self.table_name, self.version)
        return old, planning.plan(view, temporary, pinned=old)

    def _adopt_changes(self, run: Run) -> None:
        """Go on with the builders and the code as they are now.

        What is finished stays, or is forgotten (``recompute``). What was changed after the resume was checked may be
        anything; if changes are errors, it doesn't count.
        """
        from tablevault_like.builders.anew import Anew
        from tablevault_like.builders.changes import changed_builders, differences, is_run_differently
        from tablevault_like.builders.checkpoint import Checkpoint
        from tablevault_like.operations.finished import forget
        from tablevault_like.storage.rows import RowStore

        with run.journal.catalog.snapshot() as db:
            view = View(db, run.layout, run.now())
            try:
                old, new = self._plans(view, run.files)
            except (TVBuilderError, TableReferenceError):
                if self.on_change is not OnChange.ERROR:
                    raise
                log.warning("process %s goes on with the builders as they were", run.process_id, exc_info=True)
                return
        if not differences(old, new.plan):
            if is_run_differently(old, new.plan):
                Checkpoint.keep(run.files, new.plan, new.texts, run.layout.code_functions, fenced=run.fenced)
            return
        if self.on_change is OnChange.ERROR:
            log.warning("process %s goes on with the builders as they were: they have changed again", run.process_id)
            return
        changes = changed_builders(old, new.plan)
        with RowStore.open(run.files.rows) as store:
            store.claim(run.epoch)
            self._lock_new_inputs(run, new.plan)
            again = set(changes.removed)
            if self.on_change is OnChange.RECOMPUTE:
                again |= changes.changed | changes.dependent
            if _index_of(new.plan) in again:
                again |= {builder.name for builder in new.plan.builders}
            # The steps first: one that counts as finished is never looked into again.
            with run.journal.changing(run.process_id, run.epoch) as db:
                processes.forget_steps(db, run.process_id, sorted(again))
            forget(run, store, old, again, artifact_folder_of=run.instance_id(self.version))
            Anew.read(run.files).without(again).keep(run.files, fenced=run.fenced)
        Checkpoint.keep(run.files, new.plan, new.texts, run.layout.code_functions, fenced=run.fenced)
        with run.journal.changing(run.process_id, run.epoch) as db:
            processes.drop_steps(db, run.process_id, sorted(changes.removed))
            processes.plan_steps(db, run.process_id, _steps(new.plan))

    def _lock_new_inputs(self, run: Run, plan: Plan) -> None:
        """Take the locks on inputs that only the new plan has, at once or not at all: who holds locks must not wait."""
        with run.journal.changing(run.process_id, run.epoch) as db:
            family = [run.process_id]
            for request in planning.input_locks(plan):
                held = locks.conflicting(db, request, family=family)
                if held:
                    raise TVLockError(
                        f"The changed builders read {request.resource}, which process {held[0].process_id!r} holds. "
                        "Call again when it has ended.",
                        resource=str(request.resource),
                        holder=held[0].process_id,
                    )
            locks.grant(db, run.process_id, planning.input_locks(plan), claim_only=False, now=run.now())


def _steps(plan: Plan) -> list[str]:
    from tablevault_like.operations.execution import MATERIALIZE

    return [*(builder.name for builder in plan.builders), MATERIALIZE]


def _index_of(plan: Plan) -> str:
    return next(builder.name for builder in plan.builders if builder.is_index)
