"""Operations inside of user code, and under a parent's id: they share its locks, and its fate while they live."""

from __future__ import annotations

import signal
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArgumentError, TVLockError, TVProcessError
from tablevault_like.model import State, StopIntent
from tablevault_like.process.journal import Journal
from tests import states, tasks
from tests.scenes import Calls, Scene
from tests.workers import Action, Fault, Trouble, Worker, Workers, wait_until

PARENT = "parent"

CODE = '''
import pandas as pd

from tablevault_like import TableVault
from tests.workers import note_call, pass_point


def words():
    return pd.DataFrame({"word": ["ape", "bee", "cat"]})


def grow(word, vault_dir):
    """Make a table about a word, and build it."""
    note_call(f"grow {word}")
    vault = TableVault(vault_dir, lock_timeout=30)
    vault.create_table(word)
    pass_point(f"created {word}")
    vault.create_instance(word, builders={f"{word}_index": LEAVES})
    vault.execute_instance(word)
    pass_point(f"grown {word}")
    return word.upper()


def leaves():
    for number in range(2):
        note_call(f"leaf {number}")
        pass_point(f"leaf {number}")
        yield number


def share(word, vault_dir):
    """Change what is shared by all rows, and tell whether anybody else was doing so."""
    note_call(f"share {word}")
    vault = TableVault(vault_dir, lock_timeout=30)
    vault.create_code_module("shared", text=f"LAST = {word!r}")
    return word


def reach_left(word, vault_dir):
    pass_point("reaching")
    TableVault(vault_dir, lock_timeout=30).delete_table("left")
    return word


def reach_right(word, vault_dir):
    pass_point("reaching")
    TableVault(vault_dir, lock_timeout=30).delete_table("right")
    return word


LEAVES = """
builder_type: IndexBuilder
changed_columns: [leaf]
python_function: leaves
code_module: garden
is_custom: true
return_type: generator
"""
'''

INDEX = """
builder_type: IndexBuilder
changed_columns: [word]
python_function: words
code_module: garden
is_custom: true
return_type: dataframe
"""

COLUMN = """
builder_type: ColumnBuilder
changed_columns: [made]
python_function: {function}
code_module: {module}
is_custom: true
arguments: {{word: "<<self.word[index]>>", vault_dir: {vault_dir}}}
return_type: row-wise
n_threads: {threads}
"""


@dataclass(frozen=True)
class Garden(Scene):
    """A vault in which the rows of a table change the vault themselves."""

    calls: Calls

    def plant(self, table: str, function: str, *, module: str = "garden", threads: int = 1) -> None:
        column = COLUMN.format(function=function, module=module, vault_dir=self.vault_dir, threads=threads)
        self.vault.create_table(table)
        self.vault.create_instance(table, builders={f"{table}_index": INDEX, "made": column})

    def start(self, *faults: Fault, table: str = "garden", process_id: str = PARENT) -> Worker:
        return self.workers.start(tasks.execute, self.vault_dir, table, process_id, faults=faults)

    def kill_at(self, point: str, *, rows: int) -> None:
        """Execute until a worker is at a point and that many rows are recorded, and kill it."""
        worker = self.start(Fault(point, Action.WAIT))
        worker.arrive()
        wait_until(lambda: self.recorded(PARENT, "made") == rows)
        worker.kill()

    def states(self) -> dict[str, str]:
        """Return the state of every execution, and of what it is the parent of, in the order of their ends."""
        with closing(sqlite3.connect(self.vault_dir / "metadata" / "catalog.sqlite")) as db:
            rows = db.execute(
                "SELECT process_id, state FROM processes WHERE process_id LIKE 'parent%' ORDER BY ended_at, number"
            )
            return dict(rows.fetchall())

    def assert_grown(self) -> None:
        assert self.vault.get_dataframe("garden")["made"].tolist() == ["APE", "BEE", "CAT"]
        for word in ("ape", "bee", "cat"):
            assert self.vault.get_dataframe(word)["leaf"].tolist() == [0, 1]
        states.assert_sound(self.vault_dir)


ALL_CALLS = [*(f"grow {word}" for word in ("ape", "bee", "cat")), *["leaf 0", "leaf 1"] * 3]
"""The calls of an undisturbed execution. A generator that doesn't ask where to go on is wound forward."""


@pytest.fixture
def garden(tmp_path: Path, workers: Workers, calls: Calls) -> Garden:
    found = Garden(tmp_path / "garden", workers, calls)
    vault = TableVault(found.vault_dir, "ada", create=True)
    vault.create_code_module("garden", text=CODE)
    found.plant("garden", "grow")
    return found


class TestChildrenInUserCode:
    def test_are_processes_of_their_own_below_the_row(self, garden: Garden) -> None:
        garden.start().result()

        garden.assert_grown()
        found = garden.states()
        assert list(found)[-1] == PARENT
        assert set(found) == {PARENT, *(f"parent.made.{row}.{child}" for row in range(3) for child in (1, 2, 3))}
        assert set(found.values()) == {State.COMPLETED}
        record = garden.vault.get_process("parent.made.1.3")
        assert (record.operation, record.parent_id, record.is_named) == ("execute_instance", PARENT, False)

    @pytest.mark.parametrize(
        ("point", "rows", "again"),
        [("leaf 1", 0, "grow ape"), ("created bee", 1, "grow bee"), ("grown bee", 1, "grow bee")],
    )
    @pytest.mark.parametrize("resumes", ["by id", "by restart"])
    def test_are_found_done_when_their_row_runs_again(
        self, garden: Garden, point: str, rows: int, again: str, resumes: str
    ) -> None:
        garden.kill_at(point, rows=rows)

        if resumes == "by id":
            garden.start().result()
        else:
            outcomes = TableVault(garden.vault_dir, restart=True).restarted
            assert {each: outcome.state for each, outcome in outcomes.items()} == {PARENT: State.COMPLETED}

        garden.assert_grown()
        assert garden.calls() - Counter(ALL_CALLS) <= Counter({again: 1, "leaf 0": 1, "leaf 1": 1})
        assert garden.calls()[again] == 2

    def test_wait_for_their_siblings(self, garden: Garden) -> None:
        garden.plant("sharing", "share", threads=3)

        garden.start(table="sharing").result()

        assert garden.vault.get_dataframe("sharing")["made"].tolist() == ["ape", "bee", "cat"]
        states.assert_sound(garden.vault_dir)

    def test_are_refused_when_they_close_a_circle_of_waiting(self, garden: Garden) -> None:
        """Each of two executions holds its table, and a row of each wants the other's."""
        garden.plant("left", "reach_right")
        garden.plant("right", "reach_left")
        left = garden.start(Fault("reaching", Action.WAIT), table="left")
        left.arrive()
        right = garden.start(Fault("reaching", Action.WAIT), table="right", process_id="")
        right.arrive()
        left.go()
        wait_until(lambda: "parent.made.0.1" in garden.vault.get_active_processes())

        right.go()

        with pytest.raises(TVLockError, match="delete_table would wait for ever") as caught:
            right.result()
        assert caught.value.holder == PARENT
        assert "was reverted" in "".join(caught.value.__notes__)
        # Then the other one gets what it waits for; its second row finds nothing to delete.
        with pytest.raises(TVArgumentError, match="There is no table 'right'"):
            left.result()
        garden.vault.stop_process(PARENT)
        states.assert_sound(garden.vault_dir)


class TestStoppingAParent:
    def test_stops_its_live_children_first_and_keeps_what_is_completed(self, garden: Garden) -> None:
        worker = garden.start(Fault("leaf 1", Action.WAIT, nth=2))
        worker.arrive()

        with pytest.raises(TVProcessError, match="A living worker is at process 'parent'"):
            garden.vault.stop_process(PARENT)
        garden.vault.stop_process(PARENT, force=True)

        assert worker.end() == -signal.SIGKILL
        assert garden.states() == {
            **{f"parent.made.0.{child}": State.COMPLETED for child in (1, 2, 3)},
            **{f"parent.made.1.{child}": State.COMPLETED for child in (1, 2)},
            "parent.made.1.3": State.REVERTED,
            PARENT: State.REVERTED,
        }
        assert list(garden.states())[-2:] == ["parent.made.1.3", PARENT]
        assert garden.vault.get_table_instances() == ["garden", "ape", "bee"]
        assert garden.vault.get_dataframe("ape")["leaf"].tolist() == [0, 1]
        assert garden.vault.get_table_instances("bee", include_temp=True) == ["TEMP_base"]
        states.assert_sound(garden.vault_dir)

    @pytest.mark.parametrize("process_id", [PARENT, ""], ids=["named", "unnamed"])
    def test_is_what_an_error_does_to_the_children(self, garden: Garden, process_id: str) -> None:
        with pytest.raises(Trouble):
            garden.start(Fault("leaf 1", Action.FAIL), process_id=process_id).result()

        active = garden.vault.get_active_processes()
        assert [(each, record.state) for each, record in active.items()] == (
            [(PARENT, State.PAUSED)] if process_id else []
        )
        assert garden.vault.get_table_instances("ape", include_temp=True) == ["TEMP_base"]
        if process_id:
            garden.start().result()
            garden.assert_grown()
        states.assert_sound(garden.vault_dir)


class TestAChildInAnotherWorker:
    """``TableVault(parent_id=...)``: an operation below one that runs elsewhere."""

    @pytest.fixture
    def parent(self, garden: Garden) -> Worker:
        garden.plant("other", "share")
        worker = garden.start(Fault("created ape", Action.WAIT))
        worker.arrive()
        return worker

    @pytest.fixture
    def child(self, garden: Garden, parent: Worker) -> Worker:
        faults = [Fault(SHARING, Action.WAIT)]
        worker = garden.workers.start(tasks.execute, garden.vault_dir, "other", "child", PARENT, faults=faults)
        worker.arrive()
        return worker

    def test_is_shown_with_its_parent(self, garden: Garden, child: Worker) -> None:
        record = garden.vault.get_process("child")

        assert (record.parent_id, record.pid) == (PARENT, child.pid)

    def test_outlives_neither_a_stop_of_its_parent(self, garden: Garden, parent: Worker, child: Worker) -> None:
        parent.kill()
        with pytest.raises(TVProcessError, match="A living worker is at process 'child'"):
            garden.vault.stop_process(PARENT)

        garden.vault.stop_process(PARENT, force=True)

        assert child.end() in (-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM)
        assert garden.vault.get_process("child").state is State.REVERTED
        assert garden.vault.get_process(PARENT).state is State.REVERTED
        states.assert_sound(garden.vault_dir)

    def test_may_end_while_its_parent_is_stopped(
        self, garden: Garden, parent: Worker, child: Worker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begin_stop = Journal.begin_stop

        def late(journal: Journal, process_id: str, intent: StopIntent) -> int:
            if process_id == "child":
                child.go()
                child.result()
            return begin_stop(journal, process_id, intent)

        monkeypatch.setattr(Journal, "begin_stop", late)
        garden.vault.stop_process(PARENT, force=True)

        assert garden.vault.get_process("child").state is State.COMPLETED
        assert garden.vault.get_process(PARENT).state is State.REVERTED
        states.assert_sound(garden.vault_dir)

    def test_keeps_its_dead_parent_from_going_on_until_it_ends(
        self, garden: Garden, parent: Worker, child: Worker
    ) -> None:
        parent.kill()

        with pytest.raises(TVProcessError, match="A living worker is at process 'child'"):
            tasks.execute(garden.vault_dir, "garden", PARENT)
        outcome = TableVault(garden.vault_dir, restart=True).restarted[PARENT]
        assert "TVProcessError" in str(outcome)

        child.go()
        child.result()
        tasks.execute(garden.vault_dir, "garden", PARENT)
        garden.assert_grown()

    def test_is_restarted_after_its_parent_that_ends_without_it(
        self, garden: Garden, parent: Worker, child: Worker
    ) -> None:
        parent.kill()
        child.kill()

        outcomes = TableVault(garden.vault_dir, restart=True).restarted

        assert {name: each.state for name, each in outcomes.items()} == {
            PARENT: State.COMPLETED,
            "child": State.COMPLETED,
        }
        garden.assert_grown()

    def test_shares_the_locks_of_its_parent_and_not_those_of_its_siblings(self, garden: Garden) -> None:
        point = "before tablevault_like.operations.code:CreateCodeModule.execute"
        parent = garden.workers.start(
            tasks.write_module, garden.vault_dir, "parent", None, faults=[Fault(point, Action.WAIT)]
        )
        parent.arrive()
        child = garden.workers.start(
            tasks.write_module, garden.vault_dir, "child", "parent", faults=[Fault(point, Action.WAIT)]
        )
        child.arrive()

        with pytest.raises(TVLockError) as unrelated:
            garden.vault.create_code_module("tools", text="")
        with pytest.raises(TVLockError) as sibling:
            TableVault(garden.vault_dir, parent_id=PARENT, lock_timeout=0.05).create_code_module("tools", text="")

        assert unrelated.value.holder in (PARENT, "child")
        assert sibling.value.holder == "child"
        for worker in (child, parent):
            worker.go()
            worker.result()
        assert garden.vault.get_code_module_str("tools") == "NAME = 'parent'\n"
        states.assert_sound(garden.vault_dir)

    def test_needs_a_parent_that_runs(self, garden: Garden) -> None:
        with pytest.raises(TVArgumentError, match="There is no process 'parent'"):
            TableVault(garden.vault_dir, parent_id=PARENT).create_table("x")
        with pytest.raises(Trouble):
            garden.start(Fault("created ape", Action.FAIL)).result()
        with pytest.raises(TVProcessError, match="'parent' is paused, so nothing new can be done under it"):
            TableVault(garden.vault_dir, parent_id=PARENT).create_table("x")
        garden.vault.stop_process(PARENT)
        with pytest.raises(TVProcessError, match="'parent' is reverted"):
            TableVault(garden.vault_dir, parent_id=PARENT).create_table("x")
        states.assert_sound(garden.vault_dir)


SHARING = "before tablevault_like.operations.code:CreateCodeModule.execute"
