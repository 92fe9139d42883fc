"""Processes, their steps and their epochs, as the catalog keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tablevault_like.catalog import Catalog, Database, locks, processes
from tablevault_like.errors import TVArgumentError
from tablevault_like.model import ErrorRecord, LockRequest, Progress, Resource, State, StopIntent
from tests.catalog.test_locks import add_process


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    catalog = Catalog.create(tmp_path / "catalog.sqlite")
    with catalog.transaction() as found:
        yield found
    catalog.close()


def test_an_unknown_one_is_told_with_the_nearest(db: Database) -> None:
    add_process(db, "nightly")

    with pytest.raises(TVArgumentError, match=r"There is no process 'nigthly'\. Did you mean 'nightly'"):
        processes.get(db, "nigthly")


def test_the_live_ones_are_those_that_have_not_ended(db: Database) -> None:
    for state in State:
        add_process(db, state.lower(), state=state)

    assert [row.process_id for row in processes.live(db)] == ["created", "running", "paused", "reverting", "stopping"]


def test_families(db: Database) -> None:
    add_process(db, "grandparent")
    add_process(db, "parent", parent_id="grandparent")
    add_process(db, "child", parent_id="parent")
    add_process(db, "done", parent_id="parent", state=State.COMPLETED)

    assert processes.ancestors(db, "parent") == ["parent", "grandparent"]
    assert processes.ancestors(db, None) == []
    assert [row.process_id for row in processes.live_children(db, "parent")] == ["child"]


def test_a_circle_of_parents_ends(db: Database) -> None:
    add_process(db, "a", parent_id="b")
    add_process(db, "b", parent_id="a")

    assert set(processes.ancestors(db, "a")) == {"a", "b"}


class TestEpochs:
    def test_only_the_current_one_changes_the_state(self, db: Database) -> None:
        add_process(db, "p")
        epoch = processes.raise_epoch(db, "p", host="there", pid=2, now=3.0)

        assert epoch == 2
        assert processes.is_current(db, "p", 1) is None
        assert processes.is_current(db, "p", 2) is State.RUNNING
        for epoch, is_changed in ((1, False), (2, True), (2, False)):
            change = processes.set_state(db, "p", epoch=epoch, before=State.RUNNING, after=State.PAUSED, now=4.0)
            assert change is is_changed
        row = processes.get(db, "p")
        assert (row.state, row.host, row.pid, row.updated_at) == (State.PAUSED, "there", 2, 4.0)


class TestSteps:
    def test_are_planned_done_and_forgotten(self, db: Database) -> None:
        add_process(db, "p")
        processes.plan_steps(db, "p", ["index", "shout", "materialize"])
        processes.start_step(db, "p", "index", rows_total=3, rows_before=1, now=1.0)
        assert processes.steps(db, "p")[0].record.rows_done == 1
        processes.report_step(db, "p", "index", Progress(3, 0, 3), now=2.0)
        processes.finish_step(db, "p", "index", now=3.0)

        assert processes.has_finished_step(db, "p")
        assert [(step.record.name, step.record.is_done) for step in processes.steps(db, "p")] == [
            ("index", True),
            ("shout", False),
            ("materialize", False),
        ]

        processes.forget_steps(db, "p", ["index"])
        processes.drop_steps(db, "p", ["shout"])
        assert not processes.has_finished_step(db, "p")
        assert [step.record.name for step in processes.steps(db, "p")] == ["index", "materialize"]

    def test_that_are_known_stay_when_they_are_planned_again(self, db: Database) -> None:
        add_process(db, "p")
        processes.plan_steps(db, "p", ["index", "materialize"])
        processes.finish_step(db, "p", "index", now=1.0)

        processes.plan_steps(db, "p", ["index", "new", "materialize"])

        assert [step.record.name for step in processes.steps(db, "p")] == ["index", "new", "materialize"]
        assert processes.steps(db, "p")[0].record.is_done


def test_an_archived_one_keeps_its_history_under_another_name(db: Database) -> None:
    add_process(db, "a_b", state=State.REVERTED)
    add_process(db, "aXb~1", state=State.REVERTED)
    processes.plan_steps(db, "a_b", ["step"])
    processes.add_event(db, "a_b", "state", "REVERTED", now=1.0)

    assert processes.archive(db, "a_b") == "a_b~1"
    add_process(db, "a_b", state=State.REVERTED)
    assert processes.archive(db, "a_b") == "a_b~2"

    assert processes.find(db, "a_b") is None
    assert [step.record.name for step in processes.steps(db, "a_b~1")] == ["step"]
    assert db.execute("SELECT process_id FROM events").fetchall()[0][0] == "a_b~1"


def test_a_withdrawn_one_leaves_nothing(db: Database) -> None:
    add_process(db, "p")
    locks.grant(db, "p", [LockRequest.exclusive(Resource("a"))], claim_only=False, now=1.0)
    processes.plan_steps(db, "p", ["step"])
    processes.add_event(db, "p", "state", "CREATED", now=1.0)

    processes.withdraw(db, "p")

    for table in ("processes", "locks", "steps", "events"):
        assert db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0


def test_what_is_recorded_of_one_comes_back(db: Database) -> None:
    add_process(db, "p")
    error = ErrorRecord("ValueError", "no é", "Traceback ...")
    processes.set_error(db, "p", error)
    processes.set_stop_intent(db, "p", StopIntent.MATERIALIZE)
    processes.set_arguments(db, "p", {"table_name": "é"})
    processes.set_pause(db, "p", reason="ada asked for it", completed_through=None)

    row = processes.get(db, "p")

    assert (row.error, row.stop_intent, row.arguments) == (error, StopIntent.MATERIALIZE, {"table_name": "é"})
    assert row.paused_on_request
    processes.set_error(db, "p", None)
    assert processes.get(db, "p").error is None
