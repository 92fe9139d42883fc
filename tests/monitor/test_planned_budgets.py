"""A plan says how far a budget goes, and it comes true. Calls are counted."""

from __future__ import annotations

import pytest

from tablevault_like import TableVault
from tablevault_like.typing import Certainty
from tests.monitor.counting import Calls, counted_calls, foretold, seen, told
from tests.monitor.words import again, listed, louder, making, words_vault

__all__ = ["counted_calls", "words_vault"]


class TestBudgets:
    """Rows are counted as an execution counts them: what is reused costs nothing."""

    @pytest.mark.parametrize("rows", [1, 10, 11, 15, 20, 21, 25, 30, 31, 40, 41])
    def test_of_rows_say_how_many_run_before_the_pause(self, vault: TableVault, calls: Calls, rows: int) -> None:
        again(vault, index=listed())

        plan = foretold(vault, "words", calls, process_id="p", budget={"rows": rows})
        rest = foretold(vault, "words", calls, process_id="p")

        assert plan.certainty is Certainty.EXACT
        made = sum(each.to_run or 0 for each in plan.builders)
        # A frame is made as a whole.
        assert made == (10 if rows <= 10 else rows if rows <= 30 else 40)
        assert plan.pause == (f"the budget of this call is used up ({made} of {rows} rows)" if rows <= 40 else None)
        assert made + sum(each.left or 0 for each in plan.builders) == 40
        assert sum(each.to_run or 0 for each in rest.builders) == 40 - made

    @pytest.mark.parametrize("rows", [1, 4, 5, 9, 10, 11])
    def test_end_after_a_batch_that_makes_rows(self, vault: TableVault, calls: Calls, rows: int) -> None:
        again(vault, index=making())

        plan = foretold(vault, "words", calls, budget={"rows": rows})

        assert plan.builder("words_index").to_run == min(10, -(-rows // 4) * 4)
        assert plan.builder("words_index").certainty is Certainty.EXACT

    def test_pause_when_the_last_row_uses_them_up(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=listed())

        plan = foretold(vault, "words", calls, budget={"rows": 40})

        assert plan.pause == "the budget of this call is used up (40 of 40 rows)"
        assert all(each.left == 0 for each in plan.builders)

    def test_are_not_spent_on_what_is_reused(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=listed())
        vault.execute_instance("words")
        again(vault, index=listed(), louder=louder("?"))

        plan = foretold(vault, "words", calls, budget={"rows": 16})

        assert told(plan) == {
            "words_index": (0, 0, 10, 1),
            "loud": (0, 10, 0, 0),
            "louder": (0, 0, 6, 2),
            "whole": (0, 0, 0, 0),
        }
        assert [each.left for each in plan.builders] == [0, 0, 4, 10]

    def test_of_a_builder_are_its_own(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=listed(), louder=louder("!") + "budget: {rows: 5}\n")

        plan = foretold(vault, "words", calls, process_id="p", budget={"rows": 100})
        rest = foretold(vault, "words", calls, process_id="p")

        assert told(plan)["louder"] == (0, 0, 5, 2)
        assert plan.pause == "the budget of the builder 'louder' is used up (5 of 5 rows)"
        assert (told(rest)["louder"], rest.pause) == ((5, 0, 5, 2), plan.pause)

    def test_of_rows_that_nobody_has_counted_yet(self, vault: TableVault, calls: Calls) -> None:
        again(vault)

        for rows in (4, 15):
            plan = foretold(vault, "words", calls, process_id=f"p{rows}", budget={"rows": rows})

            first = plan.builder("words_index")
            assert (first.to_run, first.to_run_at_least, first.certainty) == (rows, 0, Certainty.AT_MOST)
            assert plan.builder("louder").certainty is Certainty.AT_MOST
            assert plan.pause is None
            vault.stop_process(f"p{rows}")

    @pytest.mark.parametrize("budget", [{"seconds": 3600}, {"cost": 3}, {"seconds": 3600, "rows": 12}])
    def test_of_what_is_not_known_may_end_it_at_any_time(
        self, vault: TableVault, calls: Calls, budget: dict[str, float]
    ) -> None:
        again(vault, index=listed())

        plan = foretold(vault, "words", calls, budget=budget)

        assert plan.certainty is Certainty.AT_MOST
        assert "budget of this call" in (plan.builder("loud").doubt or "")
        assert plan.builder("loud").to_run_at_least == 0

    def test_of_failures_are_none_where_nothing_fails(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=listed())

        assert foretold(vault, "words", calls, budget={"failures": 1}).certainty is Certainty.EXACT

    def test_of_a_builder_that_may_be_used_up(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=listed(10), louder=louder("!") + "budget: {seconds: 3600}\n")

        plan = foretold(vault, "words", calls)

        assert plan.builder("louder").certainty is Certainty.AT_MOST
        assert "budget" in (plan.builder("louder").doubt or "")

    def test_are_told_to_people(self, vault: TableVault) -> None:
        again(vault, index=listed())

        shown = seen(vault.plan("words", budget={"rows": 12}))

        assert "It will be paused: the budget of this call is used up (12 of 12 rows)." in shown
        assert "LEFT" in shown
        assert "LEFT" not in seen(vault.plan("words"))


class TestUntil:
    def test_a_builder_and_a_budget(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=listed())

        first = foretold(vault, "words", calls, process_id="p", until="louder", budget={"rows": 12})
        second = foretold(vault, "words", calls, process_id="p", until="louder", budget={"rows": 30})

        assert told(first) == {"words_index": (0, 0, 10, 1), "loud": (0, 0, 2, 2), "louder": (0, 0, 0, 0)}
        assert told(second)["louder"] == (0, 0, 10, 3)
        assert second.pause == "the stage 'louder' is reached"

    def test_a_builder_that_is_done(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=listed())
        vault.execute_instance("words", process_id="p", until="louder")

        plan = foretold(vault, "words", calls, process_id="p", until="loud")

        assert (plan.pause, plan.seconds) == ("the stage 'loud' is reached", 0)
