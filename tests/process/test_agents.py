"""Agents: many operations at once below one process, from threads, forks and other workers, as deep as they like."""

from __future__ import annotations

import signal
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVLockError, TVProcessError
from tablevault_like.model import State
from tablevault_like.process.endings import Endings
from tablevault_like.process.journal import Journal
from tests import states, tasks
from tests.scenes import Calls
from tests.tables import column, index
from tests.workers import Action, Fault, Worker, Workers

PARENT = "parent"

CODE = '''
import contextvars
import os
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

from tablevault_like import TableVault
from tests.workers import note_call, pass_point


def rows():
    yield from ["ant", "bee"]


def work(word, vault_dir, process_id):
    note_call(f"work {word}")
    pass_point("working")
    return word


def nest(word, vault_dir, process_id):
    return TableVault(vault_dir, lock_timeout=30).execute_instance("child")


def fail(word, vault_dir, process_id):
    pass_point("working")
    raise ConnectionError("nobody answers")


def use_threads(word, vault_dir, process_id):
    """Let threads that know their parent only by its id make tables."""
    vault = TableVault(vault_dir, parent_id=process_id, lock_timeout=30)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(vault.create_table, [f"{word}_{number}" for number in range(8)]))
    return " ".join(made)


def share_context(word, vault_dir, process_id):
    """Let threads that have the row's own context make tables."""
    vault = TableVault(vault_dir, lock_timeout=30)
    made = []
    make = lambda number: made.append(vault.create_table(f"{word}_{number}"))
    threads = [threading.Thread(target=contextvars.copy_context().run, args=(make, number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return " ".join(sorted(made))


FORKING = threading.Lock()


def fork(word, vault_dir, process_id):
    """Make a table here, two in a fork, one in the fork of a fork, and another one here."""
    note_call(f"fork {word}")
    vault = TableVault(vault_dir, lock_timeout=30)
    vault.create_table(f"{word}_first")
    in_fork(lambda: (vault.create_table(f"{word}_one"), in_fork(lambda: vault.create_table(f"{word}_deep")),
                     vault.create_table(f"{word}_two")))
    pass_point(f"forked {word}")
    in_fork(lambda: vault.create_table(f"{word}_three"))
    return vault.create_table(f"{word}_last")


def in_fork(call):
    with FORKING:
        pid = os.fork()
        if pid == 0:
            global_exit = 1
            try:
                FORKING.release()
                call()
                global_exit = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(global_exit)
    assert os.waitpid(pid, 0)[1] == 0
'''

INDEX = index("word")


@pytest.fixture
def vault(tmp_path: Path, calls: Calls) -> TableVault:
    vault = TableVault(tmp_path / "vault", "ada", create=True, lock_timeout=0.05)
    vault.create_code_module("work", text=CODE)
    return vault


def plant(vault: TableVault, table: str, function: str = "work", **fields: object) -> None:
    arguments = {"word": "<<self.word[index]>>", "vault_dir": vault.db_dir, "process_id": "~PROCESS_ID~"}
    vault.create_table(table)
    made = column("made", function=function, arguments=arguments, **fields)
    vault.create_instance(table, builders={f"{table}_index": INDEX, "made": made})


class Family:
    """A parent, its child and its grandchild, each with a worker of its own, all at work."""

    def __init__(self, vault: TableVault, workers: Workers, *, parent_id: str = PARENT, function: str = "work") -> None:
        for table, used in {"garden": function, "child": "work", "grandchild": "work"}.items():
            plant(vault, table, used)
        self._workers = workers
        self._dir = Path(vault.db_dir)
        self.parent = self.start("garden", parent_id)
        [self.parent_id] = vault.get_active_processes()
        self.child = self.start("child", "child", self.parent_id)
        self.grandchild = self.start("grandchild", "grandchild", "child")

    def start(self, table: str, process_id: str, parent_id: str | None = None) -> Worker:
        worker = self._workers.start(
            tasks.execute, self._dir, table, process_id, parent_id, faults=[Fault("working", Action.WAIT)]
        )
        worker.arrive()
        return worker


def ends(vault: TableVault) -> list[tuple[str, str]]:
    """Return how the executions have ended, in this order."""
    with closing(sqlite3.connect(Path(vault.db_dir, "metadata", "catalog.sqlite"))) as db:
        return db.execute(
            "SELECT events.process_id, detail FROM events JOIN processes USING (process_id)"
            " WHERE kind = 'state' AND detail = state AND operation = 'execute_instance' AND ended_at NOT NULL"
            " ORDER BY events.number"
        ).fetchall()


def follow(
    monkeypatch: pytest.MonkeyPatch,
    events: list[tuple[str, str]],
    owner: type,
    name: str,
    who: Callable[..., str],
) -> None:
    """Note each call of a method, with the process that it is about."""
    original = getattr(owner, name)

    def noting(*arguments: Any) -> Any:
        events.append((name, who(*arguments)))
        return original(*arguments)

    monkeypatch.setattr(owner, name, noting)


class TestManyAtOnce:
    @pytest.mark.parametrize("threads", [1, 2])
    def test_from_threads_that_know_the_id_of_their_parent(self, vault: TableVault, threads: int) -> None:
        plant(vault, "garden", "use_threads", n_threads=threads)

        vault.execute_instance("garden", process_id=PARENT)

        made = " ".join(vault.get_dataframe("garden")["made"]).split()
        assert len(set(made)) == 16
        assert {vault.get_process(each).parent_id for each in made} == {PARENT}
        states.assert_sound(Path(vault.db_dir))

    def test_from_threads_in_the_context_of_their_row(self, vault: TableVault) -> None:
        plant(vault, "garden", "share_context")

        vault.execute_instance("garden", process_id=PARENT)

        ids = [f"{PARENT}.made.{row}.{child}" for row in range(2) for child in range(1, 9)]
        assert " ".join(vault.get_dataframe("garden")["made"]).split() == ids

    def test_from_other_workers_that_want_the_same(self, vault: TableVault, workers: Workers) -> None:
        """They share the locks of their parent, and take turns with their siblings."""
        plant(vault, "garden")
        point = Fault("working", Action.WAIT)
        parent = workers.start(tasks.execute, Path(vault.db_dir), "garden", PARENT, faults=[point])
        parent.arrive()

        siblings = [
            workers.start(tasks.write_module, Path(vault.db_dir), f"sibling-{number}", PARENT) for number in range(4)
        ]
        for sibling in siblings:
            sibling.result()
        parent.go()
        parent.result()

        assert {vault.get_process(f"sibling-{number}").parent_id for number in range(4)} == {PARENT}
        assert vault.get_code_module_str("tools").startswith("NAME = 'sibling-")
        states.assert_sound(Path(vault.db_dir))

    def test_may_change_what_their_parent_has_locked_and_nobody_else_may(
        self, vault: TableVault, workers: Workers
    ) -> None:
        family = Family(vault, workers)

        with pytest.raises(TVLockError):
            vault.delete_table("grandchild")
        inside = TableVault(vault.db_dir, parent_id=family.parent_id, lock_timeout=0.05)
        with pytest.raises(TVLockError) as sibling:
            inside.delete_instance("TEMP_base", "child")
        assert sibling.value.holder == "child"
        inside.create_builder_file("garden", "more")

    def test_are_shown_as_a_tree(self, vault: TableVault, workers: Workers) -> None:
        family = Family(vault, workers)

        active = vault.get_active_processes()

        assert {each: record.parent_id for each, record in active.items()} == {
            PARENT: None,
            "child": PARENT,
            "grandchild": "child",
        }
        assert [record.pid for record in active.values()] == [
            family.parent.pid,
            family.child.pid,
            family.grandchild.pid,
        ]
        assert {record.status for record in active.values()} == {"running"}


IDS = {"first": "1", "one": "f1.1", "deep": "f1.f1.1", "two": "f1.2", "three": "f2.1", "last": "2"}
"""How the ids of the tables' processes end, by the tables' names."""


class TestForks:
    def test_count_for_themselves(self, vault: TableVault) -> None:
        plant(vault, "garden", "fork", n_threads=2)

        vault.execute_instance("garden", process_id=PARENT)

        for row, word in enumerate(("ant", "bee")):
            for table, child in IDS.items():
                found = vault.get_process(f"{PARENT}.made.{row}.{child}")
                assert (found.arguments["table_name"], found.parent_id) == (f"{word}_{table}", PARENT)
        states.assert_sound(Path(vault.db_dir))

    def test_find_their_children_done_when_their_row_runs_again(
        self, vault: TableVault, workers: Workers, calls: Calls
    ) -> None:
        plant(vault, "garden", "fork")
        worker = workers.start(
            tasks.execute, Path(vault.db_dir), "garden", PARENT, faults=[Fault("forked ant", Action.KILL)]
        )
        assert worker.end() == -signal.SIGKILL

        vault.execute_instance("garden", process_id=PARENT)

        assert calls() == Counter({"fork ant": 2, "fork bee": 1})
        tables = {f"{word}_{table}" for word in ("ant", "bee") for table in IDS}
        assert set(vault.get_table_instances()) == {"garden", *tables}
        states.assert_sound(Path(vault.db_dir))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long for the workers here, who wait for the test and don't end when they are asked to."""
    monkeypatch.setattr("tablevault_like.process.workers._TERMINATE_SECONDS", 0.1)


@pytest.mark.usefixtures("impatient")
class TestTheEndOfAParent:
    def test_by_a_stop_ends_the_leaves_first(self, vault: TableVault, workers: Workers) -> None:
        family = Family(vault, workers)
        with pytest.raises(TVProcessError, match="A living worker is at process 'parent'"):
            vault.stop_process(PARENT)

        vault.stop_process(PARENT, force=True)

        assert ends(vault) == [("grandchild", State.REVERTED), ("child", State.REVERTED), (PARENT, State.REVERTED)]
        for worker in (family.grandchild, family.child, family.parent):
            assert worker.end() != 0
        states.assert_sound(Path(vault.db_dir))

    def test_is_told_by_whom_to_stop_when_a_child_lives(self, vault: TableVault, workers: Workers) -> None:
        family = Family(vault, workers)
        family.parent.kill()
        family.child.kill()

        with pytest.raises(TVProcessError, match="A living worker is at process 'grandchild'") as caught:
            vault.stop_process(PARENT)

        assert "below 'parent'" in str(caught.value)
        assert "end both with stop_process('parent', force=True), the one below first" in str(caught.value)
        assert "stop_process('grandchild'" not in str(caught.value)

    def test_by_a_stop_fences_all_signals_all_and_then_concludes_the_leaves_first(
        self, vault: TableVault, workers: Workers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Workers that don't end when they are asked to are waited for together."""
        family = Family(vault, workers)
        names = {family.grandchild.pid: "grandchild", family.child.pid: "child", family.parent.pid: PARENT}
        events = list[tuple[str, str]]()
        follow(monkeypatch, events, Journal, "begin_stop", lambda _, process_id, intent: process_id)
        follow(monkeypatch, events, psutil.Process, "terminate", lambda found: names[found.pid])
        follow(monkeypatch, events, psutil.Process, "kill", lambda found: names[found.pid])
        follow(monkeypatch, events, Endings, "conclude", lambda _, row: row.process_id)

        vault.stop_process(PARENT, force=True)

        members = [PARENT, "child", "grandchild"]
        assert events == [
            *(("begin_stop", each) for each in members),
            *(("terminate", each) for each in members[::-1]),
            *(("kill", each) for each in members[::-1]),
            *(("conclude", each) for each in members[::-1]),
        ]
        for worker in (family.grandchild, family.child, family.parent):
            assert worker.end() == -signal.SIGKILL
        states.assert_sound(Path(vault.db_dir))

    def test_by_a_stop_tells_a_worker_once_that_has_several_of_them(
        self, vault: TableVault, workers: Workers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A second signal would say that it shouldn't wait for its rows."""
        plant(vault, "garden", "nest")
        plant(vault, "child", "work")
        worker = workers.start(
            tasks.execute, Path(vault.db_dir), "garden", PARENT, faults=[Fault("working", Action.WAIT)]
        )
        worker.arrive()
        events = list[tuple[str, str]]()
        follow(monkeypatch, events, psutil.Process, "terminate", lambda found: str(found.pid))

        vault.stop_process(PARENT, force=True)

        assert events == [("terminate", str(worker.pid))]
        assert ends(vault) == [("parent.made.0.1", State.REVERTED), (PARENT, State.REVERTED)]
        states.assert_sound(Path(vault.db_dir))

    def test_by_a_stop_keeps_to_the_leaves_that_could_be_ended(
        self, vault: TableVault, workers: Workers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        family = Family(vault, workers)
        kill, terminate = psutil.Process.kill, psutil.Process.terminate

        def refuse(found: psutil.Process) -> None:
            if found.pid == family.child.pid:
                raise psutil.AccessDenied(found.pid)
            kill(found)

        with monkeypatch.context() as patch:
            patch.setattr(psutil.Process, "terminate", refuse)
            with pytest.raises(TVProcessError, match=r"process 'child' \(pid \d+\) belongs to another user"):
                vault.stop_process(PARENT, force=True)
        assert psutil.Process.terminate is terminate

        assert ends(vault) == [("grandchild", State.REVERTED)]
        assert vault.get_process("child").state is State.STOPPING
        assert vault.get_process(PARENT).state is State.STOPPING
        family.child.kill()
        vault.stop_process(PARENT)
        assert [each for each, _ in ends(vault)] == ["grandchild", "child", PARENT]
        states.assert_sound(Path(vault.db_dir))

    def test_by_a_stop_that_keeps_what_is_done_reverts_its_children(self, vault: TableVault, workers: Workers) -> None:
        Family(vault, workers)

        vault.stop_process(PARENT, force=True, materialize=True)

        assert ends(vault) == [("grandchild", State.REVERTED), ("child", State.REVERTED), (PARENT, State.MATERIALIZED)]
        assert vault.get_dataframe("garden")["word"].tolist() == ["ant", "bee"]
        states.assert_sound(Path(vault.db_dir))

    def test_of_one_of_them_leaves_the_others(self, vault: TableVault, workers: Workers) -> None:
        family = Family(vault, workers)

        vault.stop_process("child", force=True)

        assert ends(vault) == [("grandchild", State.REVERTED), ("child", State.REVERTED)]
        family.parent.go()
        family.parent.result()
        assert vault.get_dataframe("garden")["made"].tolist() == ["ant", "bee"]
        states.assert_sound(Path(vault.db_dir))

    def test_by_a_pause_leaves_children_at_work(self, vault: TableVault, workers: Workers) -> None:
        family = Family(vault, workers)
        family.parent.signal(signal.SIGINT)
        family.parent.go()
        with pytest.raises(KeyboardInterrupt):
            family.parent.result()
        assert vault.get_process(PARENT).state is State.PAUSED

        with pytest.raises(TVProcessError, match="A living worker is at process 'child'"):
            tasks.execute(Path(vault.db_dir), "garden", PARENT)
        for worker in (family.grandchild, family.child):
            worker.go()
            worker.result()
        tasks.execute(Path(vault.db_dir), "garden", PARENT)

        assert [each for each, _ in ends(vault)] == ["grandchild", "child", PARENT]
        states.assert_sound(Path(vault.db_dir))


class TestARevertOfAParent:
    """Its own worker reverts it, over an error, while its children run elsewhere."""

    def test_ends_the_leaves_first(self, vault: TableVault, workers: Workers) -> None:
        family = Family(vault, workers, parent_id="", function="fail")

        family.parent.go()

        with pytest.raises(ConnectionError) as caught:
            family.parent.result()
        assert "was reverted" in "".join(caught.value.__notes__)
        reverted = [(each, State.REVERTED) for each in ("grandchild", "child", family.parent_id)]
        assert ends(vault) == reverted
        for worker in (family.grandchild, family.child):
            assert worker.end() != 0
        states.assert_sound(Path(vault.db_dir))
