"""Limits of failures and cost hold for functions that are faster than what records them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tablevault_like.builders.recording import RowsFailed
from tablevault_like.builders.run import BuilderRun
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.builders.spending import Spending
from tablevault_like.engines.base import Interrupted
from tablevault_like.limits import Budget
from tablevault_like.model import Result
from tests.builders.sites import Calls, Site, index_spec, no_rows, opened, spec, user_error

__all__ = ["no_rows", "opened"]

ALL = range(5_000)
CONTINUE, NULL = "on_error: continue", "on_error: 'null'"
BATCHES = ["return_type: batch", "batch_size: 10", "arguments: {number: '<<self.id[index]>>'}"]


@pytest.fixture
def large(tmp_path: Path, opened: ExitStack) -> Site:
    return Site(tmp_path, opened, size=len(ALL))


def limited(site: Site, spec: BuilderSpec, function: Callable[..., object], **limits: float) -> BuilderRun:
    """Return a run of a builder that is asked to stop when a budget is used up."""
    run = site.run(spec, function)
    spending = Spending(Budget.read(limits), lambda reason: site.stop.request(), of="this call")
    building = replace(run.building, spendings=(spending,))
    return BuilderRun(building, run.spec, function, report=site.progress.append)


def interrupted(run: BuilderRun) -> None:
    with pytest.raises(Interrupted):
        run.run()


@pytest.mark.parametrize("on_error", [CONTINUE, NULL])
@pytest.mark.parametrize("threads", [1, 4])
class TestFailures:
    def test_of_rows_are_no_more_than_may_be_but_for_those_under_way(
        self, large: Site, on_error: str, threads: int
    ) -> None:
        calls = Calls(fails_at=ALL)

        user_error(large.run(spec(on_error, "max_failures: 3", f"n_threads: {threads}"), calls))

        assert 4 <= len(calls.numbers) <= 4 + threads - 1

    def test_that_a_budget_allows_are_no_more(self, large: Site, on_error: str, threads: int) -> None:
        calls = Calls(fails_at=ALL)

        interrupted(limited(large, spec(on_error, f"n_threads: {threads}"), calls, failures=3))

        assert 3 <= len(calls.numbers) <= 3 + threads - 1

    def test_of_batches(self, large: Site, on_error: str, threads: int) -> None:
        sizes: list[int] = []

        def fail(rows: object) -> None:
            sizes.append(1)
            raise OSError

        user_error(large.run(spec(on_error, "max_failures: 25", f"n_threads: {threads}", *BATCHES), fail))

        assert 3 <= len(sizes) <= 3 + threads - 1


class TestFailuresThatAreNotTooMany:
    def test_do_not_end_it(self, large: Site) -> None:
        calls = Calls(fails_at=range(0, 5_000, 2))

        with pytest.raises(RowsFailed) as caught:
            large.run(spec(CONTINUE, "max_failures: 50%", "n_threads: 3"), calls).run()

        assert caught.value.failed == 2_500
        assert len(calls.numbers) == 5_000

    def test_with_those_whose_values_do_not_fit(self, large: Site) -> None:
        numbers: list[int] = []

        def call(number: int) -> object:
            numbers.append(number)
            return "many" if number == 0 else number

        run = large.run(spec(NULL, "max_failures: 1", "dtypes: {size: Int64}", "n_threads: 2"), call)
        run.run()

        assert len(numbers) == 5_000


@pytest.mark.parametrize("threads", [1, 4])
class TestCost:
    def test_of_rows_is_no_more_but_for_those_under_way(self, large: Site, threads: int) -> None:
        numbers: list[int] = []

        def call(number: int) -> object:
            numbers.append(number)
            return Result(number, cost=0.25)

        interrupted(limited(large, spec(f"n_threads: {threads}"), call, cost=1))

        assert 4 <= len(numbers) <= 4 + threads - 1
        assert large.store.counts("sizes").done == len(numbers)

    def test_of_attempts_that_fail_counts(self, large: Site, threads: int) -> None:
        class CostlyError(OSError):
            cost = 0.5

        calls = Calls(fails_at=ALL, error=CostlyError)

        interrupted(limited(large, spec(CONTINUE, f"n_threads: {threads}"), calls, cost=1))

        assert 2 <= len(calls.numbers) <= 2 + threads - 1

    def test_of_batches(self, large: Site, threads: int) -> None:
        sizes: list[int] = []

        def call(rows: object) -> object:
            sizes.append(len(rows))  # type: ignore[arg-type]
            return Result([0] * len(rows), cost=1.0)  # type: ignore[arg-type]

        interrupted(limited(large, spec(f"n_threads: {threads}", *BATCHES), call, cost=2))

        # The share of a row is a float: what is just used up may seem not to be.
        assert 2 <= len(sizes) <= 3 + threads - 1


class TestAStream:
    def test_is_held_at_its_cost_and_goes_on_later(self, no_rows: Site) -> None:
        given: list[int] = []
        source = index_spec("return_type: generator", "arguments: {start: ~RESUME_FROM~}")

        def rows(start: int) -> Iterator[object]:
            for number in range(start, 100):
                given.append(number)
                yield Result(number, cost=0.25)

        interrupted(limited(no_rows, source, rows, cost=1))
        assert given == [0, 1, 2, 3]
        resumed = no_rows.again()
        interrupted(limited(resumed, source, rows, cost=1))
        assert given == [*range(8)]
        resumed.again().run(source, rows).run()
        assert given == [*range(100)]

    def test_whose_source_ends_with_its_budget_is_asked_whether_there_is_more(self, no_rows: Site) -> None:
        source = index_spec("return_type: generator", "arguments: {start: ~RESUME_FROM~}")

        def rows(start: int) -> Iterator[object]:
            for number in range(start, 4):
                yield Result(number, cost=0.25)

        interrupted(limited(no_rows, source, rows, cost=1))
        resumed = no_rows.again()
        resumed.run(source, rows).run()

        assert resumed.store.counts("t_index").done == 4
