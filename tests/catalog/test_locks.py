"""The locks that processes hold and wait for, as the catalog keeps them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.catalog import Catalog, Database, locks, processes
from tablevault_like.model import LockMode, LockRequest, Resource, State

NAMES = ("a", "b", "a0", "a-")
RESOURCES = st.lists(st.sampled_from(NAMES), max_size=3).map(lambda names: Resource(*names))
REQUESTS = st.builds(LockRequest, RESOURCES, st.sampled_from(LockMode))


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    catalog = Catalog.create(tmp_path / "catalog.sqlite")
    with catalog.transaction() as found:
        for name in ("p", "q"):
            add_process(found, name)
        yield found
    catalog.close()


def add_process(db: Database, process_id: str, *, parent_id: str | None = None, state: State = State.RUNNING) -> None:
    processes.add(
        db,
        process_id,
        operation="create_table",
        arguments={},
        author="ada",
        named=True,
        parent_id=parent_id,
        state=state,
        epoch=1,
        host="here",
        pid=1,
        now=1.0,
    )


def exclusive(*path: str) -> LockRequest:
    return LockRequest.exclusive(Resource(*path))


def shared(*path: str) -> LockRequest:
    return LockRequest.shared(Resource(*path))


def enqueue(db: Database, process_id: str, *requests: LockRequest) -> int:
    return locks.enqueue(
        db,
        process_id,
        requests,
        operation="delete_table",
        arguments={"table_name": "a"},
        author="ada",
        named=True,
        parent_id=None,
        host="here",
        pid=1,
        now=2.0,
    )


@given(held=REQUESTS, wanted=REQUESTS)
def test_what_stands_against_a_request_is_what_conflicts_with_it(held: LockRequest, wanted: LockRequest) -> None:
    """The index finds the same as the definition."""
    db = Database(":memory:")
    db.row_factory = sqlite3.Row
    db.execute("CREATE TABLE locks (process_id, resource, mode, claim_only, granted_at, UNIQUE (resource, process_id))")
    locks.grant(db, "p", [held], claim_only=False, now=0.0)

    found = locks.conflicting(db, wanted, family=["q"])

    assert found == ([locks.Held("p", held)] if wanted.conflicts_with(held) else [])
    assert locks.conflicting(db, wanted, family=["p"]) == []
    db.close()


def test_of_two_requests_for_one_resource_the_stricter_counts(db: Database) -> None:
    locks.grant(db, "p", [shared("a"), exclusive("a"), shared("a")], claim_only=False, now=0.0)

    assert locks.held_by(db, "p") == [exclusive("a")]


def test_locks_for_the_claim_are_released_alone(db: Database) -> None:
    locks.grant(db, "p", [exclusive("a")], claim_only=False, now=0.0)
    locks.grant(db, "p", [shared("a"), shared("b")], claim_only=True, now=0.0)

    locks.release(db, "p", claim_only=True)
    assert locks.held_by(db, "p") == [exclusive("a")]

    locks.release(db, "p")
    assert locks.held_by(db, "p") == []


def test_who_holds_a_resource_exclusively(db: Database) -> None:
    locks.grant(db, "p", [exclusive("a", "b")], claim_only=False, now=0.0)

    assert locks.exclusive_holder(db, Resource("a", "b")) == "p"
    assert locks.exclusive_holder(db, Resource("a")) is None


class TestTheQueue:
    def test_keeps_the_order_of_arrival(self, db: Database) -> None:
        enqueue(db, "w2", exclusive("a"))
        enqueue(db, "w1", shared("b"), exclusive("a"))

        assert [waiter.process_id for waiter in locks.waiters(db)] == ["w2", "w1"]
        waiter = locks.waiting(db, "w1")
        assert waiter is not None
        assert waiter.requests == (exclusive("a"), shared("b"))
        assert waiter.arguments == {"table_name": "a"}

    def test_does_not_give_a_ticket_twice(self, db: Database) -> None:
        first = enqueue(db, "w", exclusive("a"))
        locks.dequeue(db, "w")

        assert enqueue(db, "w", exclusive("a")) > first

    def test_lets_a_waiter_want_something_else_in_its_place(self, db: Database) -> None:
        ticket = enqueue(db, "w", exclusive("a"))
        enqueue(db, "later", exclusive("a"))

        locks.replace_requests(db, ticket, [shared("b"), exclusive("b")])

        first = locks.waiters(db)[0]
        assert (first.ticket, first.requests) == (ticket, (exclusive("b"),))

    def test_forgets_who_leaves_it(self, db: Database) -> None:
        enqueue(db, "w", exclusive("a"))

        locks.dequeue(db, "w")
        locks.dequeue(db, "w")

        assert locks.waiting(db, "w") is None
        assert db.execute("SELECT count(*) FROM requests").fetchone()[0] == 0
