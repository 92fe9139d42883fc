"""Who may have its locks now, and who has to wait: the rules, without workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.catalog import Catalog, Database, locks, processes
from tablevault_like.layout import Layout
from tablevault_like.locks import WorkerLock
from tablevault_like.model import LockRequest, Resource, State
from tablevault_like.process import waiting
from tablevault_like.process.waiting import Queued

A, B, C = (LockRequest.exclusive(Resource(name)) for name in "abc")


class Town:
    """A catalog with processes that hold locks, and others that wait for them. All of them live."""

    def __init__(self, folder: Path) -> None:
        self._catalog = Catalog.create(folder / "catalog.sqlite")
        self._layout = Layout(folder)
        self._locks: dict[str, WorkerLock] = {}

    def hold(
        self,
        process_id: str,
        *requests: LockRequest,
        parent: str | None = None,
        state: State = State.RUNNING,
        named: bool = True,
        lives: bool = True,
    ) -> None:
        with self._catalog.transaction() as db:
            processes.add(
                db,
                process_id,
                operation="delete_table",
                arguments={},
                author="ada",
                named=named,
                parent_id=parent,
                state=state,
                epoch=1,
                host="here",
                pid=1,
                now=0.0,
            )
            locks.grant(db, process_id, requests, claim_only=False, now=0.0)
        self._live(process_id, lives)

    def wait(self, process_id: str, *requests: LockRequest, parent: str | None = None, lives: bool = True) -> None:
        with self._catalog.transaction() as db:
            locks.enqueue(
                db,
                process_id,
                requests,
                operation="delete_table",
                arguments={},
                author="ada",
                named=True,
                parent_id=parent,
                host="here",
                pid=1,
                now=0.0,
            )
        self._live(process_id, lives)

    def blockers(self, process_id: str, *requests: LockRequest, parent: str | None = None) -> list[str]:
        """Return who stands against a request, of one who waits already or of a newcomer."""
        with self._catalog.snapshot() as db:
            return list(waiting.blockers(db, self._layout, self._queued(db, process_id, requests, parent)).everyone)

    def closes_circle(self, process_id: str, *requests: LockRequest, parent: str | None = None) -> bool:
        with self._catalog.snapshot() as db:
            queued = self._queued(db, process_id, requests, parent)
            return waiting.closes_circle(db, queued, waiting.blockers(db, self._layout, queued))

    def close(self) -> None:
        for lock in self._locks.values():
            lock.release()
        self._catalog.close()

    def _queued(self, db: Database, process_id: str, requests: tuple[LockRequest, ...], parent: str | None) -> Queued:
        found = locks.waiting(db, process_id)
        return Queued(process_id, parent, requests) if found is None else Queued.of(found)

    def _live(self, process_id: str, lives: bool) -> None:
        if lives:
            self._locks[process_id] = WorkerLock(self._layout.process(process_id).worker_lock)
            assert self._locks[process_id].acquire()


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    found = Town(tmp_path)
    yield found
    found.close()


class TestWhoIsInTheWay:
    def test_nobody_where_nobody_is(self, town: Town) -> None:
        assert town.blockers("p", A) == []

    def test_who_holds_it(self, town: Town) -> None:
        town.hold("holder", A, B)

        assert town.blockers("p", A) == ["holder"]
        assert town.blockers("p", A, B) == ["holder"]
        assert town.blockers("p", C) == []

    def test_who_came_first(self, town: Town) -> None:
        town.hold("holder", A)
        town.wait("first", A, B)
        town.wait("second", B)

        assert town.blockers("first") == ["holder"]
        assert town.blockers("second") == ["first"]
        assert town.blockers("newcomer", B) == ["first", "second"]

    @pytest.mark.parametrize(
        ("state", "lives", "named"),
        [(State.PAUSED, False, True), (State.PAUSED, True, True), (State.RUNNING, False, True)],
        ids=["paused", "paused and just leaving", "dead and named"],
    )
    def test_not_who_waits_for_what_may_take_for_ever(self, town: Town, state: State, lives: bool, named: bool) -> None:
        town.hold("holder", A, state=state, lives=lives, named=named)
        town.wait("first", A, B)

        assert town.blockers("newcomer", B) == []
        assert town.blockers("newcomer", A) == ["holder"]

    def test_but_who_waits_for_what_will_be_reverted_at_once(self, town: Town) -> None:
        town.hold("holder", A, lives=False, named=False)
        town.wait("first", A, B)

        assert town.blockers("newcomer", B) == ["first"]

    def test_not_the_dead(self, town: Town) -> None:
        town.hold("holder", A)
        town.wait("first", A, B, lives=False)

        assert town.blockers("newcomer", B) == []


class TestFamilies:
    def test_share_their_ancestors_locks(self, town: Town) -> None:
        town.hold("grandparent", A)
        town.hold("parent", B, parent="grandparent")

        assert town.blockers("child", A, B, parent="parent") == []
        assert town.blockers("stranger", A, B) == ["grandparent", "parent"]

    def test_are_excluded_by_their_siblings(self, town: Town) -> None:
        town.hold("parent", A)
        town.hold("sibling", A, parent="parent")

        assert town.blockers("child", A, parent="parent") == ["sibling"]

    def test_pass_by_who_waits_for_their_ancestors(self, town: Town) -> None:
        """Else the parent would wait for its child, and the child for one that waits for the parent."""
        town.hold("parent", A)
        town.wait("first", A, B)

        assert town.blockers("child", B, parent="parent") == []
        assert town.blockers("stranger", B) == ["first"]


class TestCircles:
    def test_of_two_families_are_seen(self, town: Town) -> None:
        town.hold("left", A)
        town.hold("right", B)
        town.wait("of left", B, parent="left")

        assert town.closes_circle("of right", A, parent="right")
        assert not town.closes_circle("stranger", A)

    def test_of_three_are_seen(self, town: Town) -> None:
        for name, lock in (("one", A), ("two", B), ("three", C)):
            town.hold(name, lock)
        town.wait("of one", B, parent="one")
        town.wait("of two", C, parent="two")

        assert town.closes_circle("of three", A, parent="three")

    def test_through_a_grandchild_are_seen(self, town: Town) -> None:
        town.hold("left", A)
        town.hold("child", parent="left")
        town.hold("right", B)
        town.wait("grandchild", B, parent="child")

        assert town.closes_circle("of right", A, parent="right")

    def test_are_not_where_somebody_can_go_on(self, town: Town) -> None:
        town.hold("left", A)
        town.hold("right", B)
        town.wait("stranger", A, B)

        assert not town.closes_circle("of right", A, parent="right")


LOCKS = st.lists(st.sampled_from([A, B, C]), unique=True, min_size=1, max_size=2)


@pytest.mark.timeout(600)
@given(held=st.lists(LOCKS, max_size=2), wanted=st.lists(LOCKS, min_size=1, max_size=4))
def test_somebody_always_gets_on(tmp_path_factory: pytest.TempPathFactory, held: list, wanted: list) -> None:
    """Unless someone is held up by a holder that lives, the first of those who wait may have its locks."""
    town = Town(tmp_path_factory.mktemp("town"))
    taken: set[LockRequest] = set()
    for number, requests in enumerate(held):
        free = [request for request in requests if request not in taken]
        taken.update(free)
        town.hold(f"holder{number}", *free)
    for number, requests in enumerate(wanted):
        town.wait(f"waiter{number}", *requests)

    for number, requests in enumerate(wanted):
        ahead = [each for each in wanted[:number] if set(each) & set(requests)]
        found = town.blockers(f"waiter{number}")
        assert bool(found) == bool(set(requests) & taken or ahead)
        assert f"waiter{number}" not in found
    town.close()
