"""The journal: nobody changes a process whose claim is over, and a process that ends frees its locks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tablevault_like.catalog import Catalog, locks, processes
from tablevault_like.errors import FencedError, TVArgumentError, TVProcessError
from tablevault_like.layout import Layout
from tablevault_like.model import ENDED_STATES, LockRequest, Resource, State, StopIntent
from tablevault_like.process.journal import Journal, describe_error

NEEDED = LockRequest.exclusive(Resource("stories"))
FOR_CLAIM = LockRequest.shared(Resource("code_functions"))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    catalog = Catalog.create(tmp_path / "catalog.sqlite")
    clock = itertools.count(1)
    yield Journal(catalog, Layout(tmp_path), lambda: float(next(clock)))
    catalog.close()


def add(journal: Journal, process_id: str = "p", *, state: State = State.RUNNING) -> int:
    """Add a process in some live state and return its epoch."""
    paths = {
        State.CREATED: [],
        State.RUNNING: [State.RUNNING],
        State.PAUSED: [State.RUNNING, State.PAUSED],
        State.REVERTING: [State.REVERTING],
        State.STOPPING: [State.STOPPING],
    }
    with journal.catalog.transaction() as db:
        epoch = journal.add(
            db,
            process_id,
            operation="create_table",
            arguments={"table_name": "stories"},
            needed=[NEEDED],
            needed_for_claim=[FOR_CLAIM],
            author="ada",
            named=True,
            parent_id=None,
            created_at=journal.now(),
        )
        for before, after in itertools.pairwise([State.CREATED, *paths[state]]):
            journal.advance(db, process_id, epoch, before, after)
    return epoch


def held(journal: Journal, process_id: str = "p") -> list[LockRequest]:
    with journal.catalog.snapshot() as db:
        return locks.held_by(db, process_id)


class TestAdvancing:
    def test_needs_the_epoch_and_the_state(self, journal: Journal) -> None:
        epoch = add(journal)

        with pytest.raises(FencedError, match="claim on process 'p' is over"), journal.catalog.transaction() as db:
            journal.advance(db, "p", epoch + 1, State.RUNNING, State.PAUSED)
        with pytest.raises(FencedError), journal.catalog.transaction() as db:
            journal.advance(db, "p", epoch, State.PAUSED, State.RUNNING)

        assert journal.get("p").state is State.RUNNING

    def test_to_what_may_not_follow_is_a_mistake_of_ours(self, journal: Journal) -> None:
        epoch = add(journal, state=State.CREATED)

        with pytest.raises(RuntimeError, match="can't go"), journal.catalog.transaction() as db:
            journal.advance(db, "p", epoch, State.CREATED, State.COMPLETED)

    def test_frees_the_locks_of_the_claim_and_then_all(self, journal: Journal) -> None:
        epoch = add(journal, state=State.CREATED)
        assert held(journal) == [FOR_CLAIM, NEEDED]

        with journal.catalog.transaction() as db:
            journal.advance(db, "p", epoch, State.CREATED, State.RUNNING)
        assert held(journal) == [NEEDED]

        journal.pause("p", epoch, ValueError("no"))
        assert held(journal) == [NEEDED]

        journal.begin_revert("p", epoch, None)
        with journal.catalog.transaction() as db:
            journal.advance(db, "p", epoch, State.REVERTING, State.REVERTED)
        assert held(journal) == []

    def test_is_remembered(self, journal: Journal) -> None:
        add(journal, state=State.PAUSED)

        with journal.catalog.snapshot() as db:
            events = [tuple(row) for row in db.execute("SELECT kind, detail FROM events ORDER BY number")]

        assert events == [("state", "RUNNING"), ("state", "PAUSED")]


class TestEpochs:
    def test_rise_with_every_claim(self, journal: Journal) -> None:
        first = add(journal, state=State.PAUSED)

        second = journal.resume(journal.get("p"), {"background": True}, mark=0, deaths=0)

        assert (first, second) == (1, 2)
        row = journal.get("p")
        assert (row.state, row.epoch) == (State.RUNNING, 2)
        assert row.arguments == {"table_name": "stories", "background": True}

    def test_go_on_when_an_id_is_used_again(self, journal: Journal) -> None:
        first = add(journal, state=State.REVERTING)
        with journal.catalog.transaction() as db:
            journal.advance(db, "p", first, State.REVERTING, State.REVERTED)

        second = add(journal)

        assert second == first + 1
        assert journal.get("p~1").state is State.REVERTED
        with pytest.raises(FencedError):
            journal.check("p", first)
        journal.check("p", second)

    @pytest.mark.parametrize("state", [State.CREATED, State.RUNNING, State.PAUSED, State.STOPPING])
    def test_do_not_go_on_while_the_id_is_in_use(self, journal: Journal, state: State) -> None:
        add(journal, state=state)

        with pytest.raises(TVProcessError, match="at the same time"):
            add(journal)

    def test_that_are_over_change_nothing(self, journal: Journal) -> None:
        old = add(journal)
        journal.begin_stop("p", StopIntent.REVERT)
        before = journal.get("p")

        with pytest.raises(FencedError), journal.changing("p", old) as db:
            processes.set_error(db, "p", describe_error(ValueError("no")))
        with pytest.raises(FencedError):
            journal.pause("p", old, ValueError("no"))
        with pytest.raises(FencedError):
            journal.begin_revert("p", old, None)
        with pytest.raises(FencedError):
            journal.check("p", old)

        assert journal.get("p") == before


class TestStopping:
    @pytest.mark.parametrize("state", [State.CREATED, State.RUNNING, State.PAUSED, State.REVERTING, State.STOPPING])
    def test_fences_and_says_what_is_to_happen(self, journal: Journal, state: State) -> None:
        epoch = add(journal, state=state)

        assert journal.begin_stop("p", StopIntent.MATERIALIZE) == epoch + 1

        row = journal.get("p")
        assert row.state is (State.REVERTING if state is State.REVERTING else State.STOPPING)
        is_kept = state in (State.RUNNING, State.PAUSED, State.STOPPING)
        assert row.stop_intent is (StopIntent.MATERIALIZE if is_kept else StopIntent.REVERT)

    def test_the_newest_wish_counts_unless_all_is_lost_already(self, journal: Journal) -> None:
        add(journal)

        wishes = [StopIntent.MATERIALIZE, StopIntent.REVERT, StopIntent.MATERIALIZE]
        intents = [(journal.begin_stop("p", wish), journal.get("p").stop_intent)[1] for wish in wishes]

        assert intents == [StopIntent.MATERIALIZE, StopIntent.REVERT, StopIntent.REVERT]


def test_an_unknown_process_is_told(journal: Journal) -> None:
    assert journal.find("p") is None
    with pytest.raises(TVArgumentError, match="There is no process 'p'"):
        journal.get("p")


def test_an_ended_process_can_not_be_reverted(journal: Journal) -> None:
    for state in ENDED_STATES - {State.COMPLETED}:
        epoch = add(journal, state, state=State.STOPPING)
        with journal.catalog.transaction() as db:
            journal.advance(db, state, epoch, State.STOPPING, state)

        with pytest.raises(FencedError):
            journal.begin_revert(state, epoch, None)


def test_an_error_is_described_with_its_notes_and_its_traceback() -> None:
    error = ValueError("no é")
    error.add_note("This was in row 3.")
    try:
        raise error
    except ValueError:
        record = describe_error(error)

    assert (record.type, record.message) == ("ValueError", "no é\nThis was in row 3.")
    assert "test_an_error_is_described" in record.traceback
