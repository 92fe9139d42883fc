"""A vault and its model, side by side: every call is made on the one, foretold by the other, and compared.

A call is made here, or in a fork of this interpreter that is killed at a chosen moment. How far a killed worker came is
looked up in the vault, and is held to what may be: an operation has happened or hasn't, rows that were recorded stay,
and nothing is recorded of which the function hasn't returned.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import tempfile
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from tablevault_like import TableVault
from tablevault_like.errors import TVPausedError
from tablevault_like.layout import Layout, ProcessLayout
from tablevault_like.model import LockRequest, ProcessRecord, RowStatus, State
from tablevault_like.storage.row_reader import RowReader
from tests import states
from tests.machine import model, world
from tests.machine.model import DONE, INDEX, LIVE, Instance, Model, Plan, Process, Table, Temporary
from tests.machine.operations import (
    Bundle,
    CreateBuilder,
    CreateInstance,
    CreateModule,
    DeleteBuilder,
    DeleteModule,
    DeleteTable,
    Execute,
    Import,
    Operation,
    RenameTable,
    Write,
)
from tests.machine.recipes import DATAFRAME, GENERATOR, Kind
from tests.machine.world import Fault, World
from tests.workers import die_at_ground_call

KID = "kid_"
UNMET = "an instance whose id nobody knows yet"
CHANGES_FILES = (CreateBuilder, DeleteBuilder, CreateModule, DeleteModule)
_MEMORY = Path("/dev/shm")


class Compared:
    """A vault of its own, and what is known of it."""

    def __init__(self) -> None:
        # What is synced here need not last: no power is cut.
        self.folder = Path(tempfile.mkdtemp(dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None, prefix="machine-"))
        self.vault_dir = self.folder / "vault"
        self.world = world.current = World(self.folder / "calls", self.vault_dir)
        self.model = Model()
        self.layout = Layout(self.vault_dir)
        self.vault = TableVault(self.vault_dir, "ada", create=True, lock_timeout=0)
        self.told: list[str] = []
        self.bundles: list[Bundle] = []
        self.seen = Counter[str]()
        self.is_as_told = False
        self._turn = 0
        self._on_change = "error"
        self._unmet: list[tuple[int, str]] = []

    def close(self) -> None:
        world.current = None
        shutil.rmtree(self.folder)

    def reopen(self) -> None:
        self.vault = TableVault(self.vault_dir, "ada", lock_timeout=0)

    # --- calls

    def submit(
        self,
        operation: Operation,
        process_id: str = "",
        *,
        fault: Fault | None = None,
        after: int = 1,
        dying_at: int | None = None,
    ) -> None:
        """Call an operation. ``fault`` befalls the call number ``after`` of user code.

        ``dying_at``: it is called in a fork, which is killed at that ground call.
        """
        self.is_as_told = False
        self.told.append(f"{operation} id={process_id!r} fault={fault} after={after} dying_at={dying_at}")
        if fault is Fault.KILL or dying_at is not None:
            self._submit_in_fork(operation, process_id, fault, after, dying_at)
            return
        existing = self.model.processes.get(process_id)
        if process_id and existing is not None and existing.state is not State.REVERTED:
            self._call_again(existing, operation, fault, after)
        else:
            self._call_first(operation, process_id, fault, after)
        self._meet()

    def place(self, operation: Write, temporary: Temporary) -> None:
        """Put the artifacts of a frame, and nothing else, into the folder of a temporary instance."""
        folder = Path(self.vault.get_artifact_folder(operation.table, version=operation.version))
        for path in folder.iterdir():
            shutil.rmtree(path)
        operation.place(folder)
        temporary.pages = {name: model.content_of(name) for name in operation.placed}

    def export(self, table: Table, instance: Instance) -> None:
        """Put an instance into a file, with which it can be imported later."""
        path = self.folder / f"{len(self.bundles)}.bundle.tar.xz"
        self.told.append(f"export {table.name}/{instance.instance_id} to {path.name}")
        self.vault.export_instance(table.name, instance.instance_id, path=path)
        owners = {each.number: each.name for each in self.model.tables}
        named = [(owners[number], each) for number, each in instance.sources if number in owners]
        origin = instance.origin
        told = None if origin is None or origin[0] not in owners else (owners[origin[0]], origin[1])
        self.bundles.append(Bundle(str(path), instance, frozenset(named), told, table.has_side_effects))
        self.seen["export"] += 1

    def edit_by_hand(self, operation: CreateBuilder | CreateModule) -> None:
        """Write what an operation would write, without asking the vault; not while somebody else is about to."""
        if operation.refuse(self.model) or any(isinstance(run.operation, CHANGES_FILES) for run in self.model.live):
            return
        path, _ = self._file_of(operation)
        text = operation.text if isinstance(operation, CreateModule) else operation.recipe.text()
        self.told.append(f"by hand: {operation}")
        path.write_text(text)
        operation.effect(self.model, _NOBODY, "")

    def _call(self, operation: Operation, process_id: str, fault: Fault | None, after: int) -> tuple[str, str]:
        """Return the process's id, or an empty text, and the name of the class of what was raised."""
        self.world.calls()
        self.world.arm(fault, after)
        raised: BaseException | None = None
        result = ""
        try:
            result = operation.call(self.vault, process_id)
        except BaseException as error:
            if isinstance(error, AssertionError):
                raise
            raised = error
        self.has_struck = self.world.disarm()
        name = "" if raised is None else type(raised).__name__
        self.told[-1] += f" -> {result or name}"
        self.last_error = raised
        self.seen[f"{operation.name} {name or 'done'}"] += 1
        self._meet(but_of=operation.table if result and isinstance(operation, RenameTable | DeleteTable) else "")
        return result, name

    def _call_first(self, operation: Operation, process_id: str, fault: Fault | None, after: int) -> None:
        it = self.model
        while True:
            refused = operation.refuse(it)
            if refused:
                assert self._call(operation, process_id, None, 0)[1] in refused, self.last_error
                return
            locks = operation.locks(it)
            holders = it.conflicting([*locks, *operation.claim_locks(it)])
            dead = [each for each in holders if _may_be_ended(each)]
            if not dead:
                break
            for each in dead:
                self._conclude(each)
        if holders:
            refused = frozenset({"TVLockError"})
            if isinstance(operation, Write) and not process_id and operation.is_wrong(it):
                refused |= {"TVArtifactError"}  # without an id it is staged before it asks for locks
            assert self._call(operation, process_id, None, 0)[1] in refused, self.last_error
            return
        run = Process(process_id, operation, bool(process_id), State.RUNNING, locks)
        run.is_anew = isinstance(operation, Execute) and operation.existing == "rerun"
        self._run(run, fault, after)

    def _call_again(self, existing: Process, operation: Operation, fault: Fault | None, after: int) -> None:
        process_id = existing.process_id
        if isinstance(operation, Execute) and operation.existing == "rerun":
            self._rerun(existing, operation, fault, after)
            return
        if operation.name != existing.operation.name or not operation.is_same(existing.operation):
            assert self._call(operation, process_id, None, 0)[1] == "TVArgumentError", self.last_error
            return
        if existing.state in (State.CREATED, State.REVERTING, State.STOPPING):
            self._conclude(existing)
        if existing.state in DONE:
            result, raised = self._call(operation, process_id, None, 0)
            assert (result, raised) == (process_id, ""), self.last_error
            assert not self.world.calls()
        elif existing.state is State.REVERTED:
            self._call_first(operation, process_id, fault, after)
        else:
            self._resume(existing, operation, fault, after)

    def _rerun(self, existing: Process, operation: Execute, fault: Fault | None, after: int) -> None:
        """Make a run anew: what it hasn't finished is reverted, what it has made stays, and is the new one's origin."""
        it, process_id = self.model, existing.process_id
        same = isinstance(existing.operation, Execute) and replace(operation, force=existing.operation.force)
        if same != existing.operation:
            assert self._call(operation, process_id, None, 0)[1] == "TVArgumentError", self.last_error
            return
        if existing.state is State.STOPPING and existing.before == "materialize":
            # The id of what it keeps must be known before the locks of the new run can be.
            told = self.told.pop()
            self.stop(process_id, materialize=True)
            self.told.append(told)
        elif existing.state in (State.CREATED, State.REVERTING, State.STOPPING):
            self._conclude(existing)
        elif existing.state in LIVE:
            refused = operation.refuse(it)
            if refused:
                assert self._call(operation, process_id, None, 0)[1] in refused, self.last_error
                return
            self._revert(existing)
        if existing.state in DONE and it.temporary(operation.table, operation.version) is None:
            table = it.table(operation.table)
            if table is None or existing.made not in table.instances:
                assert self._call(operation, process_id, None, 0)[1] == "TVArgumentError", self.last_error
                return
            assert existing.made is not None
            renewal = CreateInstance(operation.table, operation.version, existing.made.instance_id)
            holders = it.conflicting(renewal.locks(it))
            for each in [each for each in holders if _may_be_ended(each)]:
                self._conclude(each)
            if any(not _may_be_ended(each) for each in holders if each.state in LIVE):
                assert self._call(operation, process_id, None, 0)[1] == "TVLockError", self.last_error
                return
            renewal.effect(it, _NOBODY, "")
        self.seen["rerun"] += 1
        self._call_first(operation, process_id, fault, after)

    def _resume(self, run: Process, operation: Operation, fault: Fault | None, after: int) -> None:
        if isinstance(operation, Execute):
            plan = self._plan_of_resume(run, operation.on_change, operation.until)
            if isinstance(plan, set):
                assert self._call(operation, run.process_id, None, 0)[1] in plan, self.last_error
                return
            self._adopt(run, plan, operation.on_change)
        self._run(run, fault, after, operation)

    def _plan_of_resume(self, run: Process, on_change: str, until: str | None) -> Plan | set[str]:
        """Return the plan that a resumed execution follows, or the errors that refuse it."""
        assert run.plan is not None
        if on_change == "keep":
            return {"TVBuilderError"} if until is not None and until not in run.plan.order else run.plan
        table, temporary = self._target(run.operation)
        new = self.model.plan(table, temporary, run.plan)
        if isinstance(new, set):
            return new
        if new.differs(run.plan) and on_change == "error":
            return {"TVBuilderError"}
        if until is not None and until not in new.order:
            return {"TVBuilderError"}
        if not new.differs(run.plan):
            return new if new.is_run_differently(run.plan) else run.plan
        if on_change == "continue" and not model.can_stay(run.plan, new, run.cells):
            return {"TVBuilderError"}
        return new

    def _adopt(self, run: Process, plan: Plan, on_change: str) -> None:
        assert run.plan is not None
        if plan is run.plan:
            return
        for name in model.forgotten(run.plan, plan, recompute=on_change == "recompute"):
            run.cells.pop(name, None)
            run.skipped.pop(name, None)
            run.steps.discard(name)
            if name == run.plan.index:
                run.with_old = False
        run.plan = plan
        self.seen[f"adopted by {on_change}"] += 1

    def _run(self, run: Process, fault: Fault | None, after: int, operation: Operation | None = None) -> None:
        """Call an operation that begins or goes on, and hold what comes of it to what is to come."""
        if isinstance(run.operation, Execute):
            again = operation if isinstance(operation, Execute) else run.operation
            self._execute(run, fault, after, again)
            return
        wrong = run.operation.refuse_again(self.model) if operation else frozenset()
        if isinstance(run.operation, Write) and not wrong and run.operation.is_wrong(self.model):
            wrong = frozenset({"TVArtifactError"})
        result, raised = self._call(operation or run.operation, run.process_id, None, 0)
        if wrong:
            assert raised in wrong, self.last_error
            if run.is_named:
                self.model.processes[run.process_id] = run
                run.state = State.PAUSED if raised == "TVArtifactError" else run.state
                if isinstance(run.operation, Write):
                    self._silence(run, [*run.silenced, *run.operation.silence(self.model)])
                if raised != "TVArtifactError":
                    self._revert(run)
            return
        assert not raised, self.last_error
        self._complete(run, result)

    def _execute(self, run: Process, fault: Fault | None, after: int, operation: Execute) -> None:
        table, temporary = self._target(run.operation)
        is_new = run.plan is None
        if run.plan is None:
            plan = self.model.plan(table, temporary)
            assert isinstance(plan, Plan)
            run.plan = plan
        made = model.make(run.plan, run.cells, run.steps, run.skipped)
        silenced = run.operation.silence(self.model) if is_new else run.silenced
        run.until, run.budget, run.on_request = operation.until, operation.budget, False
        skipped = {name: set(rows) for name, rows in run.skipped.items()}
        stage = run.plan.stage(run.until)
        result, raised = self._call(operation, run.process_id, fault, after)
        self.has_struck = self.has_struck and not self._is_in_vain(fault, run)
        entered, left = self._calls(run.plan, made, run)
        assert all(name in stage for name, rows in entered.items() if rows), "a builder ran that is not in the stage"
        on_error = self._on_error(run, fault)
        if on_error == "null":
            made = model.make(run.plan, run.cells, run.steps, run.skipped)
        if (not self.has_struck or on_error == "null") and made.error is None:
            assert not raised, self.last_error
            self._silence(run, silenced)
            process = self.vault.get_process(result) if run.until or run.budget else None
            self._check_spent(run, process, left)
            if process is None or process.state is State.COMPLETED:
                assert run.until is None
                self._check_all_called(run, made, entered, stage, skipped)
                self._complete(run, result)
            else:
                if run.budget is None:
                    self._check_all_called(run, made, entered, stage, skipped)
                    assert process.completed_through == run.until
                self._pause(run, result, made, left)
            return
        wanted = {fault.raised if self.has_struck and fault else made.error}
        if on_error == "continue":
            wanted = {"TVRowsError"}
        assert raised in wanted, self.last_error
        if self.has_struck and fault is Fault.PAUSE:
            assert isinstance(self.last_error, TVPausedError)
            self._silence(run, silenced)
            self._pause(run, self.last_error.process_id or "", made, left)
            return
        if not run.is_named:
            if run.process_id:
                self._revert(run)  # known by its id since its first worker died
            else:
                self._leave_partial_frame(run, made, entered, left)
            return
        process = self.vault.get_process(run.process_id)
        is_own = not self.has_struck and made.error == "TVBuilderError"
        assert process.state is State.PAUSED or (is_own and process.state is State.REVERTED)
        self.model.processes.pop(run.process_id, None)
        self.model.processes[run.process_id] = run
        self._silence(run, silenced)
        if process.state is State.REVERTED:
            self._revert(run)
            return
        run.state = State.PAUSED
        self._look_at_rows(run, made, left, is_killed=False)

    def _on_error(self, run: Process, fault: Fault | None) -> str:
        """Return what becomes of a row that the fault has befallen; if it is left empty, note that."""
        if self.world.struck is None or fault not in (Fault.RAISE, Fault.UNFIT):
            return ""
        process_id, who, rows = self.world.struck
        assert run.plan is not None
        if run.process_id not in ("", process_id):
            return ""
        name = next(name for name in run.plan.order if run.plan.who(name) == who)
        on_error = run.plan.recipes[name].on_error
        if on_error == "null":
            run.skipped.setdefault(name, set()).update(rows)
        self.seen[f"struck with on_error {on_error or 'stop'}"] += 1
        return on_error

    def _is_in_vain(self, fault: Fault | None, run: Process) -> bool:
        """Tell whether what can't be kept came in place of what is: a source that begins anew is read past that."""
        if fault is not Fault.UNFIT or self.world.struck is None or run.plan is None:
            return False
        process_id, who, rows = self.world.struck
        if run.process_id not in ("", process_id):
            return False
        name = next(name for name in run.plan.order if run.plan.who(name) == who)
        is_source = run.plan.recipes[name].kind.return_type is GENERATOR
        return is_source and run.cells.get(name, {}).keys() >= set(rows)

    def _check_spent(self, run: Process, process: ProcessRecord | None, left: dict[str, set[int]]) -> None:
        """Hold a process to having made no more rows than its budget allows, and to having paused when it had."""
        assert run.plan is not None
        if run.budget is None or process is None:
            return
        by_row = [name for name in left if run.plan.recipes[name].kind.return_type is not DATAFRAME]
        spent = sum(len(left[name] - run.cells.get(name, {}).keys()) for name in by_row)
        assert spent <= run.budget, f"{spent} rows were made, and {run.budget} were allowed"
        assert process.state is State.PAUSED or spent < run.budget

    def _pause(self, run: Process, process_id: str, made: model.Made, left: dict[str, set[int]] | None) -> None:
        """See that a process is paused because somebody asked for it: from now on it has an owner."""
        assert run.process_id in ("", process_id)
        self.model.processes.pop(process_id, None)
        self.model.processes[process_id] = run
        run.process_id, run.is_named, run.state, run.on_request = process_id, True, State.PAUSED, True
        self._look_at_rows(run, made, left, is_killed=False)

    def _complete(self, run: Process, process_id: str) -> None:
        run.process_id = process_id
        run.state = State.COMPLETED
        if run.is_named:
            self.model.processes.pop(process_id, None)
            self.model.processes[process_id] = run
        else:
            self.model.processes.pop(process_id, None)
        self._take_effect(run)

    def _take_effect(self, run: Process, *, is_partial: bool = False) -> None:
        new_id = ""
        if isinstance(run.operation, Execute | Write):
            new_id = self._new_instance(run.operation.table, run.operation.version)
        if is_partial:
            run.operation.keep_part(self.model, run, new_id)
        else:
            run.operation.effect(self.model, run, new_id)
        if new_id or isinstance(run.operation, Import):
            table = self.model.table(run.operation.table)
            assert table is not None
            run.made = table.instances[-1]
            self._greet(table, run.made)

    # --- ends

    def _conclude(self, run: Process) -> None:
        """Let a process end whose worker is dead, as whoever claims it next does."""
        if run.state is State.STOPPING and run.before == "materialize":
            run.state = State.MATERIALIZED
            if not run.is_named:
                self.model.processes.pop(run.process_id)
            run.operation.keep_part(self.model, run, UNMET)
            table = self.model.table(run.operation.table)
            assert table is not None
            run.made = table.instances[-1]
            self._unmet.append((table.number, run.operation.version))
        else:
            self._revert(run)

    def _meet(self, *, but_of: str = "") -> None:
        """Learn the ids of the instances that came into being on the way to something else.

        Those of the table ``but_of`` are left until the model knows what has become of that.
        """
        left = []
        for number, version in self._unmet:
            table = self.model.by_number(number)
            if table is not None and table.name == but_of:
                left.append((number, version))
                continue
            for instance in table.instances if table else ():
                assert table is not None
                if instance.instance_id == UNMET:
                    instance.instance_id = self._new_instance(table.name, version)
                    self._greet(table, instance)
        self._unmet = left

    def _revert(self, run: Process) -> None:
        was, run.state = run.state, State.REVERTED
        if not run.is_named:
            self.model.processes.pop(run.process_id, None)
        for instance in run.silenced:
            instance.active = True
        if isinstance(run.operation, Execute) and run.plan is not None:
            _, temporary = self._target(run.operation)
            # Nobody can tell how far a process came that was reverted before, or that had only begun.
            is_known = was in (State.RUNNING, State.PAUSED)
            temporary.partial = model.partial(run.plan, run.cells, has_old=run.with_old) if is_known else None
        elif isinstance(run.operation, CHANGES_FILES) and run.before is not None:
            self._put_back(run)

    def _silence(self, run: Process, silenced: Sequence[Instance]) -> None:
        run.silenced = list(silenced)
        for instance in silenced:
            instance.active = False

    def _leave_partial_frame(
        self, run: Process, made: model.Made, entered: dict[str, list[int]], left: dict[str, set[int]]
    ) -> None:
        """Foretell what an execution without an id leaves: it was reverted before anybody could look."""
        assert run.plan is not None
        _, temporary = self._target(run.operation)
        temporary.partial = None
        if run.plan.origin is not None or made.error is not None:
            return
        cells = {
            name: {row: made.cells[name][row] for row in self._recorded(run.plan, name, left[name], made)}
            for name in run.plan.order
            if left[name]
        }
        temporary.partial = model.partial(run.plan, cells, has_old=False)

    @staticmethod
    def _recorded(plan: Plan, name: str, left: set[int], made: model.Made) -> set[int]:
        return set(made.cells[name]) if plan.recipes[name].kind.return_type is DATAFRAME else left

    def stop(self, process_id: str, *, materialize: bool, dying_at: int | None = None) -> None:
        self.is_as_told = False
        self.told.append(f"stop {process_id!r} materialize={materialize} dying_at={dying_at}")
        run = self.model.processes.get(process_id)
        if dying_at is not None:
            self._in_fork(lambda vault: vault.stop_process(process_id, materialize=materialize), dying_at)
            self._look_at_all()
            return
        is_in_queue = self._is_in_queue(process_id)
        raised = ""
        self.last_error = None
        try:
            self.vault.stop_process(process_id, materialize=materialize)
        except Exception as error:
            raised, self.last_error = type(error).__name__, error
        self.told[-1] += f" -> {raised}"
        self.seen[f"stop {raised or 'done'}"] += 1
        if is_in_queue and (run is None or run.state not in LIVE):
            assert not raised, self.last_error
            assert not self._is_in_queue(process_id)
        elif run is None or (not run.is_named and run.state not in LIVE):
            assert raised == "TVArgumentError", self.last_error
        elif run.state not in LIVE:
            assert raised == "TVProcessError", self.last_error
        elif materialize and not isinstance(run.operation, Execute):
            assert raised == "TVArgumentError", self.last_error
        else:
            assert not raised, self.last_error
            is_lost = run.state in (State.CREATED, State.REVERTING)
            is_lost = is_lost or (run.state is State.STOPPING and run.before != "materialize")
            if materialize and not is_lost:
                run.state = State.MATERIALIZED
                self._take_effect(run, is_partial=True)
                if not run.is_named:
                    self.model.processes.pop(process_id)
            else:
                self._revert(run)

    def pause(self, process_id: str, *, dying_at: int | None = None) -> None:
        """Ask for a pause of a process that has no worker: it takes effect at once."""
        self.is_as_told = False
        self.told.append(f"pause {process_id!r} dying_at={dying_at}")
        run = self.model.processes.get(process_id)
        if dying_at is not None:
            self._in_fork(lambda vault: vault.pause_process(process_id), dying_at)
            self._look_at_all()
            return
        raised = ""
        self.last_error = None
        try:
            self.vault.pause_process(process_id)
        except Exception as error:
            raised, self.last_error = type(error).__name__, error
        self.told[-1] += f" -> {raised}"
        self.seen[f"pause {raised or 'done'}"] += 1
        if run is None or (not run.is_named and run.state not in LIVE) or not isinstance(run.operation, Execute):
            assert raised == "TVArgumentError", self.last_error
        elif run.state not in (State.CREATED, State.RUNNING, State.PAUSED):
            assert raised == "TVProcessError", self.last_error
        else:
            assert not raised, self.last_error
            if run.state is State.CREATED:
                self._revert(run)
            else:
                run.state, run.is_named, run.on_request = State.PAUSED, True, True

    def restart(self, *, fault: Fault | None = None, after: int = 1, dying_at: int | None = None) -> None:
        self.is_as_told = False
        self.told.append(f"restart fault={fault} after={after} dying_at={dying_at}")
        if dying_at is not None:
            self._in_fork(lambda _: TableVault(self.vault_dir, restart=True), dying_at)
            self._look_at_all()
            self.reopen()
            return
        self.world.calls()
        self.world.arm(fault, after)
        before = {run.process_id: run for run in self.model.live if not run.on_request}
        self.vault = TableVault(self.vault_dir, "ada", restart=True, lock_timeout=0)
        has_struck = self.world.disarm() and not any(self._is_in_vain(fault, run) for run in before.values())
        self.told[-1] += f" -> {self.vault.restarted}"
        assert self.vault.restarted.keys() == before.keys()
        wounded: str | None = None
        for process_id, run in before.items():
            outcome = self.vault.restarted[process_id]
            self.seen[f"restart {outcome.state}"] += 1
            if run.state in (State.CREATED, State.REVERTING, State.STOPPING):
                is_kept = run.state is State.STOPPING and run.before == "materialize"
                if is_kept:
                    run.state = State.MATERIALIZED
                    self._take_effect(run, is_partial=True)
                else:
                    self._revert(run)
                assert (outcome.state, outcome.error) == (run.state, None)
                continue
            if isinstance(run.operation, Execute):
                plan = self._plan_of_resume(run, "error", run.until)
                if isinstance(plan, set):
                    assert (outcome.error or "").partition(":")[0] in plan, outcome
                    assert outcome.state is run.state
                    continue
                made = model.make(run.plan, run.cells, run.steps, run.skipped)  # type: ignore[arg-type]
            wrong = made.error if isinstance(run.operation, Execute) else None
            if isinstance(run.operation, Write) and run.operation.is_wrong(self.model):
                wrong = "TVArtifactError"
            wrong = wrong or next(iter(run.operation.refuse_again(self.model)), None)
            on_error = self._on_error(run, fault) if isinstance(run.operation, Execute) else ""
            if outcome.error is None:
                assert wrong is None
                if on_error == "null":
                    wounded = process_id
                    made = model.make(run.plan, run.cells, run.steps, run.skipped)  # type: ignore[arg-type]
                if run.until is not None or (run.budget is not None and outcome.state is State.PAUSED):
                    self._pause(run, process_id, made, None)
                    continue
                assert outcome.state is State.COMPLETED
                run.state = State.COMPLETED
                if not run.is_named:
                    self.model.processes.pop(process_id)
                self._take_effect(run)
                continue
            told = outcome.error.partition(":")[0]
            if on_error == "continue":
                assert told == "TVRowsError", outcome
                wounded = process_id
            elif fault is not None and has_struck and wounded is None and told == fault.raised:
                wounded = process_id
            else:
                assert told == wrong, outcome
            if wounded == process_id and fault is Fault.PAUSE:
                self._pause(run, process_id, made, None)
            elif isinstance(run.operation, Execute) and outcome.state is State.PAUSED:
                run.state = State.PAUSED
                self._look_at_rows(run, made, None, is_killed=False)
            elif outcome.state is State.REVERTED:
                assert not run.is_named or told == wrong
                if isinstance(run.operation, Execute):
                    self._revert(run)
                    self._target(run.operation)[1].partial = None
                else:
                    self._revert(run)
            else:
                assert outcome.state is State.PAUSED
                assert wrong == "TVArtifactError"
                run.state = State.PAUSED
        assert not has_struck or wounded is not None
        self.world.calls()

    # --- workers that die

    def _in_fork(self, task: Callable[[TableVault], object], dying_at: int | None) -> None:
        self.world.calls()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads of ours are all asleep
            pid = os.fork()
        if pid == 0:
            try:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                if dying_at is not None:
                    die_at_ground_call(dying_at)
                task(TableVault(self.vault_dir, "ada", lock_timeout=0))
            finally:
                os._exit(0)
        timer = threading.Timer(30, os.kill, (pid, signal.SIGKILL))
        timer.start()
        _, status = os.waitpid(pid, 0)
        timer.cancel()
        self.told[-1] += f" -> {'killed' if os.WIFSIGNALED(status) else 'ended by itself'}"
        self.seen["fork killed" if os.WIFSIGNALED(status) else "fork ended"] += 1

    def _submit_in_fork(
        self, operation: Operation, process_id: str, fault: Fault | None, after: int, dying_at: int | None
    ) -> None:
        known = self._rows().keys()
        old = self.model.processes.get(process_id) if process_id else None
        self.world.arm(fault, after)
        self._in_fork(lambda vault: operation.call(vault, process_id), dying_at)
        self.world.disarm()
        adopted: dict[str, Plan] = {}
        self._on_change = operation.on_change if isinstance(operation, Execute) else "error"
        if old is not None and old.state in (State.RUNNING, State.PAUSED) and isinstance(operation, Execute):
            plan = (
                self._plan_of_resume(old, operation.on_change, operation.until)
                if operation.is_same(old.operation)
                else None
            )
            if isinstance(plan, Plan):
                adopted[process_id] = plan
        rows = self._rows()
        # An id that is used again after a revert: the old process is known by another one from then on.
        archived = [each for each in rows.keys() - known if each.startswith(f"{process_id}~")] if process_id else []
        self._look_at_all({**rows, process_id: rows[archived[0]]} if archived else rows, adopted)
        new = [each for each in rows.keys() - known if rows[each]["parent_id"] is None and "~" not in each]
        new += [process_id] if archived else []
        assert len(new) <= 1
        for each in new:
            self._look_at_new(operation, rows[each])

    def _look_at_new(self, operation: Operation, row: sqlite3.Row) -> None:
        """Take a process into the model that a killed worker has recorded."""
        assert not operation.refuse(self.model), "what is refused isn't recorded"
        run = Process(
            row["process_id"], operation, bool(row["named"]), State(row["state"]), operation.locks(self.model)
        )
        if run.state is State.CREATED:
            run.locks = (*run.locks, *operation.claim_locks(self.model))
        assert not self.model.conflicting(run.locks)
        self.model.processes.pop(run.process_id, None)
        self.model.processes[run.process_id] = run
        if isinstance(operation, Execute):
            table, temporary = self._target(operation)
            plan = self.model.plan(table, temporary)
            assert isinstance(plan, Plan)
            run.plan = plan
            self._silence(run, operation.silence(self.model) if run.state is not State.CREATED else [])
        state, run.state = run.state, State.RUNNING if run.state is not State.CREATED else run.state
        if isinstance(operation, CHANGES_FILES):
            run.before = self._file_of(operation)[1]
        self._look_at(run, row, state, {})

    def _look_at_all(
        self, rows: Mapping[str, sqlite3.Row] | None = None, adopted: Mapping[str, Plan] | None = None
    ) -> None:
        """See what became of the processes that a killed worker may have touched."""
        rows = rows or self._rows()
        self.world.calls()
        for run in list(self.model.live):
            row = rows[run.process_id]
            self._look_at(run, row, State(row["state"]), adopted or {})

    def _look_at(self, run: Process, row: sqlite3.Row, state: State, adopted: Mapping[str, Plan]) -> None:
        operation = run.operation
        if state in DONE:
            if run.process_id in adopted:
                self._adopt(run, adopted[run.process_id], self._on_change)
            run.state = state
            if not run.is_named:
                self.model.processes.pop(run.process_id, None)
            self._take_effect(run, is_partial=state is State.MATERIALIZED)
            return
        if state is State.REVERTED:
            self._revert(run)
            if isinstance(operation, Execute):
                temporary = self.model.temporary(operation.table, operation.version)
                if temporary is not None:
                    temporary.partial = None
            return
        was, run.state = run.state, state
        run.is_named, run.on_request = bool(row["named"]), bool(row["paused_on_request"])
        if isinstance(operation, Execute):
            given = json.loads(row["arguments"])
            run.until, run.budget = given["until"], (given["budget"] or {}).get("rows")
        if state in (State.STOPPING, State.REVERTING):
            run.before = row["stop_intent"] if not isinstance(operation, CHANGES_FILES) else run.before
        if isinstance(operation, Execute):
            self._look_at_silenced(run)
            if state is State.CREATED:
                return
            if was is State.CREATED and state is State.RUNNING:
                run.locks = run.operation.locks(self.model)
            folder = self.layout.process(run.process_id)
            if not folder.plan.exists():
                run.plan = None
                return
            assert run.plan is not None
            plan = adopted.get(run.process_id) or run.plan
            if _plan_number(folder) > run.plan_number:
                self._adopt(run, plan, self._on_change)
            made = model.make(run.plan, run.cells, run.steps, run.skipped)
            self._look_at_rows(run, made, None, is_killed=True)
        elif isinstance(operation, Write):
            self._look_at_silenced(run)
        elif isinstance(operation, CHANGES_FILES):
            self._look_at_file(run)

    def _look_at_silenced(self, run: Process) -> None:
        with closing(_connect(self.vault_dir)) as db:
            found = db.execute("SELECT instance_id FROM instances WHERE deactivated_by = ?", (run.process_id,))
            ids = {row[0] for row in found}
        table = self.model.table(run.operation.table)
        assert table is not None
        may_be = {each.instance_id for each in table.instances if table.has_side_effects}
        assert ids <= may_be
        if run.state is State.RUNNING and isinstance(run.operation, Execute):
            assert ids == {each.instance_id for each in run.silenced}
        self._silence(run, [each for each in table.instances if each.instance_id in ids])

    def _look_at_rows(
        self, run: Process, made: model.Made, left: dict[str, set[int]] | None, *, is_killed: bool
    ) -> None:
        """Take over what is recorded. It is what was recorded before and what has returned since, no more."""
        assert run.plan is not None
        folder = self.layout.process(run.process_id)
        run.plan_number = _plan_number(folder)
        before, run.cells = run.cells, {}
        with RowReader.open(folder.rows) as store:
            for name in run.plan.order:
                old, full = before.get(name), made.cells.get(name, {})
                if run.plan.recipes[name].kind.return_type is DATAFRAME:
                    if folder.frame(name).exists():
                        run.cells[name] = full
                    assert old is None or name in run.cells or is_killed
                    continue
                rows = set(store.recorded(name).tolist())
                assert rows <= full.keys(), f"{name} has recorded {rows}"
                if not is_killed:
                    assert rows >= (old or {}).keys()
                if left is not None and run.plan.origin is None:
                    wanted = (old or {}).keys() | left[name]
                    assert rows == wanted, f"{name} has recorded {rows}, and not {wanted}"
                empty = set(store.recorded(name, RowStatus.SKIPPED).tolist())
                assert empty == run.skipped.get(name, set()), f"{name} has left {empty} empty"
                if rows:
                    run.cells[name] = {row: full[row] for row in sorted(rows)}
        with closing(_connect(self.vault_dir)) as db:
            done = db.execute(
                "SELECT name FROM steps WHERE process_id = ? AND finished_at IS NOT NULL", (run.process_id,)
            )
            run.steps = {row[0] for row in done}
        run.with_old = folder.frame_with_old(run.plan.index).exists()

    def _look_at_file(self, run: Process) -> None:
        """See whether a file has been placed by now. It is either what it was or what it is to be."""
        operation = run.operation
        if isinstance(operation, CreateBuilder | DeleteBuilder) and not self.model.temporary(
            operation.table, operation.version
        ):
            return  # its instance was executed meanwhile
        path, _ = self._file_of(run.operation)
        text = path.read_text() if path.exists() else None
        wanted = run.operation.text if isinstance(run.operation, CreateModule) else None
        if isinstance(run.operation, CreateBuilder):
            wanted = run.operation.recipe.text()
        assert text in (wanted, run.before[1]), "a file is neither what it was nor what it is to be"
        if text == wanted and run.before[1] != wanted:
            run.operation.effect(self.model, run, "")
        else:
            self._put_back(run)

    def _file_of(self, operation: Any) -> tuple[Path, Any]:
        """Return where the file of an operation lies, and what must be put back if it is reverted."""
        it = self.model
        if isinstance(operation, CreateModule | DeleteModule):
            path = self.layout.module(operation.module)
            return path, ("module", it.modules.get(operation.module), it.code)
        table, temporary = self._target(operation)
        folder = Path(self.vault.get_artifact_folder(table.name, version=temporary.version)).parent
        recipe = temporary.builders.get(operation.builder)
        path = folder / "builders" / f"{operation.builder}.yaml"
        return path, ("builder", recipe.text() if recipe else None, recipe)

    def _put_back(self, run: Process) -> None:
        operation, (kind, text, what) = run.operation, run.before
        if kind == "module":
            self.model.modules.pop(operation.module, None)
            if text is not None:
                self.model.modules[operation.module] = text
            if operation.module in ("work", "aid"):
                self.model.code = what
            return
        temporary = self.model.temporary(operation.table, operation.version)
        if temporary is not None:
            temporary.builders.pop(operation.builder, None)
            if what is not None:
                temporary.builders[operation.builder] = what

    def _rows(self) -> dict[str, sqlite3.Row]:
        with closing(_connect(self.vault_dir)) as db:
            return {row["process_id"]: row for row in db.execute("SELECT * FROM processes ORDER BY number")}

    def _is_in_queue(self, process_id: str) -> bool:
        """Tell whether a worker that was killed while it waited for locks has left its place."""
        with closing(_connect(self.vault_dir)) as db:
            return db.execute("SELECT 1 FROM waiters WHERE process_id = ?", (process_id,)).fetchone() is not None

    # --- calls of user code

    def _calls(self, plan: Plan, made: model.Made, run: Process) -> tuple[dict[str, list[int]], dict[str, set[int]]]:
        """Return the rows at which functions were called, and those that they returned, by builder."""
        names = {plan.who(name): name for name in plan.order}
        entered: dict[str, list[int]] = {name: [] for name in plan.order}
        left: dict[str, set[int]] = {name: set() for name in plan.order}
        for what, who, row in self.world.calls():
            if what == "enter":
                entered[names[who]].append(row)
            else:
                left[names[who]].add(row)
        for name, rows in entered.items():
            kind, recorded = plan.recipes[name].kind, run.cells.get(name, {})
            if rows:
                assert name not in run.steps, f"the finished step {name} ran again"
            assert len(rows) == len(set(rows)), f"{name} was called twice for a row: {rows}"
            if kind.is_by_row:
                assert not recorded.keys() & set(rows), f"{name} was called for a recorded row: {rows}"
            elif kind.return_type is DATAFRAME:
                assert not rows or name not in run.cells, f"{name} was called though its frame is kept"
        return entered, left

    def _check_all_called(
        self,
        run: Process,
        made: model.Made,
        entered: dict[str, list[int]],
        stage: frozenset[str],
        skipped: dict[str, set[int]],
    ) -> None:
        """Hold a completed execution to having called its functions for all rows that were missing, and no others."""
        assert run.plan is not None
        may_reuse = run.plan.origin is not None and not run.operation.force and not run.is_anew
        for name in run.plan.order:
            kind = run.plan.recipes[name].kind
            if name in run.steps or name not in stage:
                continue
            missing = made.cells[name].keys() - run.cells.get(name, {}).keys() - skipped.get(name, set())
            if kind.is_by_row:
                assert set(entered[name]) == missing or (may_reuse and set(entered[name]) < missing), name
            elif kind.return_type is DATAFRAME:
                wanted = [] if name in run.cells else [0]
                assert entered[name] == wanted or (may_reuse and not entered[name]), (
                    f"{name} was called for {entered[name]}"
                )
            elif not may_reuse:
                assert set(entered[name]) >= missing, name

    # --- comparing

    def check(self) -> None:
        """Hold the vault to its model: names, ids and states; and, in turn, one of all instances."""
        it = self.model
        names = [name for name in self.vault.get_table_instances() if not name.startswith(KID)]
        assert names == [table.name for table in it.tables]
        with closing(_connect(self.vault_dir)) as db:
            assert [row[0] for row in db.execute("PRAGMA integrity_check")] == ["ok"]
            found = db.execute(
                "SELECT process_id, state, paused_on_request, named FROM processes"
                " WHERE ended_at IS NULL AND parent_id IS NULL ORDER BY number"
            )
            live = {run.process_id: (run.state, run.on_request, run.is_named) for run in it.live}
            assert {row[0]: (row[1], bool(row[2]), bool(row[3])) for row in found} == live
        for table in it.tables:
            ids = self.vault.get_table_instances(table.name, include_temp=True)
            assert ids == table.ids, f"{table.name} has {ids}, and not {table.ids}"
        self._turn += 1
        instances = [(table, instance) for table in it.tables for instance in table.instances]
        if instances:
            self.check_instance(*instances[self._turn % len(instances)])
        temporaries = [(table, each) for table in it.tables for each in table.temporaries.values()]
        if temporaries:
            self.check_temporary(*temporaries[self._turn % len(temporaries)])
        if it.tables:
            self.check_newest(it.tables[self._turn % len(it.tables)])
        self.check_code()
        self.is_as_told = True

    def check_everything(self) -> None:
        self.check()
        for table in self.model.tables:
            self.check_newest(table)
            for instance in table.instances:
                self.check_instance(table, instance)
            for temporary in table.temporaries.values():
                self.check_temporary(table, temporary)
        active = self.vault.get_active_processes()
        assert [each for each, process in active.items() if process.parent_id is None] == [
            run.process_id for run in sorted(self.model.live, key=lambda run: list(active).index(run.process_id))
        ]
        if not self.model.live:
            found = states.litter(self.vault_dir)
            # What late housekeeping puts away is named after its table, which may have had another name then.
            left = [name for name in found if not name.startswith("metadata/trash/")]
            assert not left, f"nothing accounts for {left}"
            if not found:
                states.assert_sound(self.vault_dir)

    def check_instance(self, table: Table, instance: Instance) -> None:
        frame = self.vault.get_dataframe(table.name, instance.instance_id, full_artifact_path=False)
        _compare(frame, instance.columns)
        folder = self._folder(table, instance.instance_id)
        assert hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest() == instance.sha256
        assert _contents(folder / "artifacts") == instance.pages

    def check_newest(self, table: Table) -> None:
        for version in {each.version for each in table.instances} or {"base"}:
            newest = table.newest(version)
            try:
                frame = self.vault.get_dataframe(table.name, version=version, rows=0)
            except ValueError:
                assert newest is None
            else:
                assert newest is not None
                assert frame.attrs == {"table_name": table.name, "instance_id": newest.instance_id}

    def check_temporary(self, table: Table, temporary: Temporary) -> None:
        known = self.vault.get_builders_list(table.name, version=temporary.version)
        assert known == sorted(temporary.builders)
        for name, recipe in temporary.builders.items():
            assert self.vault.get_builder_str(table.name, name, version=temporary.version) == recipe.text()
        columns = temporary.partial
        for run in self.model.live:
            if isinstance(run.operation, Execute) and (run.operation.table, run.operation.version) == (
                table.name,
                temporary.version,
            ):
                is_kept = run.plan is not None and run.state is not State.CREATED
                if run.state in (State.REVERTING, State.STOPPING) or not is_kept or run.plan is None:
                    return
                columns = model.partial(run.plan, run.cells, has_old=run.with_old)
        if columns is not None:
            frame = self.vault.get_dataframe(table.name, f"TEMP_{temporary.version}", full_artifact_path=False)
            _compare(frame, columns)

    def check_code(self) -> None:
        assert self.vault.get_code_modules_list() == sorted(self.model.modules)
        for name, text in self.model.modules.items():
            assert self.vault.get_code_module_str(name) == text

    def _greet(self, table: Table, instance: Instance) -> None:
        """Look at a new instance for the first time: remember what it is, for it must never change."""
        folder = self._folder(table, instance.instance_id)
        instance.sha256 = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
        states.assert_whole(folder)
        self.check_instance(table, instance)
        described = self.vault.get_descriptions(instance.instance_id, table.name)
        found = {tuple(each) for each in described["dependencies"]}  # type: ignore[attr-defined]
        wanted = set()
        for number, instance_id in instance.sources:
            owner = self.model.by_number(number)
            if owner is not None:
                wanted.add((owner.name, instance_id))
        assert found >= wanted
        assert described["success"] is instance.success

    def _folder(self, table: Table, instance_id: str) -> Path:
        return Path(self.vault.get_artifact_folder(table.name, instance_id, is_temp=False)).parent

    def _new_instance(self, table: str, version: str) -> str:
        """Return the id of the oldest instance that the model doesn't know."""
        known = self.model.table(table)
        assert known is not None
        ids = [each for each in self.vault.get_table_instances(table, version) if each not in known.ids]
        assert ids, f"there is no new instance of {table}"
        return ids[0]

    def _target(self, operation: Any) -> tuple[Table, Temporary]:
        table, temporary = self.model.table(operation.table), self.model.temporary(operation.table, operation.version)
        assert table is not None
        assert temporary is not None
        return table, temporary


_NOBODY = Process("", None, False, State.COMPLETED, ())


def _may_be_ended(run: Process) -> bool:
    """Tell whether somebody who needs what a process holds may end it: its worker is dead, and nobody named it."""
    return run.state is not State.PAUSED and (not run.is_named or run.state in (State.REVERTING, State.STOPPING))


def _compare(frame: pd.DataFrame, columns: model.Columns) -> None:
    assert list(frame.columns) == list(columns), f"the columns are {list(frame.columns)}, and not {list(columns)}"
    for name, cells in columns.items():
        found = [
            None if missing else cell for cell, missing in zip(frame[name].tolist(), frame[name].isna(), strict=True)
        ]
        assert found == cells, f"the column {name} is {found}, and not {cells}"
        kinds = {type(cell) for cell in cells if cell is not None}
        if kinds == {int}:
            assert pd.api.types.is_integer_dtype(frame[name]), frame[name].dtype
        elif kinds == {str}:
            assert pd.api.types.is_string_dtype(frame[name]), frame[name].dtype


def _contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def _plan_number(folder: ProcessLayout) -> int:
    from tablevault_like.builders.checkpoint import Checkpoint

    return Checkpoint.read(folder).number if folder.plan.exists() else 0


def _connect(vault_dir: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{(vault_dir / 'metadata/catalog.sqlite').as_uri()}?mode=rw", uri=True)
    connection.row_factory = sqlite3.Row
    return connection


__all__ = ["INDEX", "Compared", "Kind", "LockRequest"]
