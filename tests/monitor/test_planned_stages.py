"""A plan comes true for a part of the builders, for batches, and for results that were imported. Calls are counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.typing import Cause, Certainty
from tests.monitor.counting import Calls, counted_calls, foretold, told
from tests.monitor.words import CODE, OTHER, again, listed, louder, making, words_vault
from tests.tables import write_code

__all__ = ["counted_calls", "words_vault"]


def pause_from_a_builder_on(vault: TableVault, calls: Calls) -> None:
    """Pause a second run, which takes the builder ``louder`` anew, in that builder."""
    again(vault)
    vault.execute_instance("words")
    again(vault)
    calls.clear()
    calls.fail("louder", 2)
    with pytest.raises(ConnectionError):
        vault.execute_instance("words", process_id="p", from_builder="louder")


class TestStages:
    def test_until_a_builder_and_on(self, vault: TableVault, calls: Calls) -> None:
        again(vault)

        part = foretold(vault, "words", calls, process_id="p", until="loud")
        rest = foretold(vault, "words", calls, process_id="p")

        assert list(told(part)) == ["words_index", "loud"]
        assert rest.process_id == "p"
        assert told(rest) == {
            "words_index": (10, 0, 0, 0),
            "loud": (10, 0, 0, 0),
            "louder": (0, 0, 10, 3),
            "whole": (0, 0, 10, 1),
        }

    def test_from_a_builder_on(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        vault.execute_instance("words")
        again(vault, louder=louder("?"))

        plan = foretold(vault, "words", calls, from_builder="louder")

        assert told(plan) == {
            "words_index": (0, 10, 0, 0),
            "loud": (0, 10, 0, 0),
            "louder": (0, 0, 10, 3),
            "whole": (0, 0, 10, 1),
        }
        assert plan.certainty is Certainty.EXACT

    def test_from_a_builder_on_that_has_changed_nothing(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        vault.execute_instance("words")
        again(vault)

        plan = foretold(vault, "words", calls, from_builder="whole")

        assert told(plan)["whole"] == (0, 0, 10, 1)
        assert [reason.cause for reason in plan.builder("whole").reasons] == [Cause.SETTING]

    def test_a_process_has_kept_where_it_began(self, vault: TableVault, calls: Calls) -> None:
        pause_from_a_builder_on(vault, calls)

        # It is resumed without the builder: those that it began anew with still reuse nothing.
        plan = foretold(vault, "words", calls, process_id="p")

        assert told(plan) == {
            "words_index": (10, 0, 0, 0),
            "loud": (10, 0, 0, 0),
            "louder": (4, 0, 6, 2),
            "whole": (0, 0, 10, 1),
        }

    def test_a_process_goes_on_with_the_builder_that_it_began_with(self, vault: TableVault, calls: Calls) -> None:
        pause_from_a_builder_on(vault, calls)

        plan = foretold(vault, "words", calls, process_id="p", from_builder="louder")

        assert told(plan)["louder"] == (4, 0, 6, 2)

    def test_a_process_begins_again(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        calls.fail("louder", 2)
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")

        plan = foretold(vault, "words", calls, process_id="p", from_builder="loud")

        assert told(plan) == {
            "words_index": (10, 0, 0, 0),
            "loud": (0, 0, 10, 10),
            "louder": (0, 0, 10, 3),
            "whole": (0, 0, 10, 1),
        }

    def test_a_rerun_reuses_nothing_when_it_goes_on(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        vault.execute_instance("words", process_id="p")
        calls.clear()
        calls.fail("loud", 3)
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p", existing="rerun")
        (active,) = vault.get_active_processes()

        plan = foretold(vault, "words", calls, process_id=active)

        assert [each.reused for each in plan.builders] == [0, 0, 0, 0]
        assert told(plan)["loud"] == (2, 0, 8, 8)
        assert "makes all rows anew" in plan.builder("whole").reasons[0].text

    def test_what_is_refused_is_told_as_the_execution_tells_it(self, vault: TableVault, calls: Calls) -> None:
        again(vault)

        plan = foretold(vault, "words", calls, from_builder="loud")

        assert "has none" in (plan.refusal or "")


class TestBatches:
    def test_there_are_more_of_them(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=making())
        vault.execute_instance("words")
        again(vault, index=making(15))

        plan = foretold(vault, "words", calls)

        # The first two are whole; the last one was smaller.
        assert told(plan)["words_index"] == (0, 8, 7, 2)
        assert plan.builder("words_index").certainty is Certainty.EXACT

    def test_rows_of_a_batch_are_reused_one_by_one(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=listed(10))
        vault.execute_instance("words")
        again(vault, index=listed(15))

        plan = foretold(vault, "words", calls)

        # Batches are made of the rows that are left. What the five new rows are isn't known before.
        assert told(plan)["loud"] == (0, 10, 5, 5)
        assert told(plan)["louder"] == (0, 10, 5, 2)
        assert plan.builder("louder").certainty is Certainty.EXACT

    def test_batches_are_taken_over(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=making())
        first = foretold(vault, "words", calls)
        again(vault, index=making())
        second = foretold(vault, "words", calls)

        assert [told(plan)["words_index"] for plan in (first, second)] == [(0, 0, 10, 3), (0, 10, 0, 0)]
        assert second.certainty is Certainty.EXACT
        assert told(second)["louder"] == (0, 10, 0, 0)
        assert told(second)["whole"] == (0, 10, 0, 0)

    def test_batches_of_other_code(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=making())
        vault.execute_instance("words")
        write_code(vault, OTHER)
        again(vault, index=making())

        plan = foretold(vault, "words", calls)

        assert told(plan)["words_index"] == (0, 0, 10, 3)

    def test_batches_go_on(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=making())
        calls.fail("words_index", 2)
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")

        plan = foretold(vault, "words", calls, process_id="p")

        assert told(plan)["words_index"] == (4, 0, 6, 2)

    def test_columns_by_batches_go_on(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        calls.fail("louder", 3)
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")

        plan = foretold(vault, "words", calls, process_id="p")

        assert told(plan)["louder"] == (8, 0, 2, 1)
        assert plan.builder("louder").failed_before == 2

    def test_old_rows_are_kept_and_all_batches_are_made(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=making(6))
        vault.execute_instance("words")
        again(vault, index=making(10, keep_old=True, primary_key="word"))

        plan = foretold(vault, "words", calls)

        made = plan.builder("words_index")
        assert told(plan)["words_index"] == (0, 0, 10, 3)
        assert (made.rows, made.certainty) == (None, Certainty.EXACT)
        assert made.doubt == "how many old rows are kept is known when words_index has run"
        assert plan.builder("loud").certainty is Certainty.UNKNOWN

    def test_old_rows_are_kept_where_nothing_has_changed(self, vault: TableVault, calls: Calls) -> None:
        for _ in range(2):
            again(vault, index=making(keep_old=True, primary_key="word"))
            vault.execute_instance("words")
        again(vault, index=making(keep_old=True, primary_key="word"))

        plan = foretold(vault, "words", calls)

        assert told(plan)["words_index"] == (0, 0, 10, 3)
        assert plan.builder("words_index").certainty is Certainty.EXACT
        assert told(plan)["loud"] == (0, 10, 0, 0)
        assert plan.builder("loud").certainty is Certainty.EXPECTED

    def test_batches_go_on_and_old_rows_are_kept(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=listed(3))
        vault.execute_instance("words")
        again(vault, index=making(keep_old=True, primary_key="word"))
        calls.clear()
        calls.fail("words_index", 2)
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")

        plan = foretold(vault, "words", calls, process_id="p")

        assert told(plan)["words_index"] == (4, 0, 6, 2)
        assert plan.builder("words_index").certainty is Certainty.EXACT

    def test_more_batches_than_a_smaller_origin_had(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=making(8))
        vault.execute_instance("words")
        again(vault, index=making(18, size=4))

        plan = foretold(vault, "words", calls)

        assert told(plan)["words_index"] == (0, 8, 10, 3)
        assert told(plan)["loud"] == (0, 8, 10, 10)
        assert plan.builder("loud").certainty is Certainty.EXACT


class TestImportedResults:
    @pytest.fixture
    def bundle(self, vault: TableVault, tmp_path: Path) -> Path:
        """Return what ``loud`` has made in another vault."""
        other = TableVault(tmp_path / "other", "bob", create=True)
        write_code(other, CODE)
        again(other, index=listed())
        other.execute_instance("words")
        return Path(other.export_instance("words", path=tmp_path / "loud.tvb", builder="loud"))

    def test_they_are_reused(self, vault: TableVault, calls: Calls, bundle: Path) -> None:
        again(vault, index=listed())
        vault.import_instance(bundle, "words")

        plan = foretold(vault, "words", calls)

        assert plan.certainty is Certainty.EXACT
        assert told(plan)["loud"] == (0, 10, 0, 0)
        assert told(plan)["louder"] == (0, 0, 10, 3)

    def test_they_are_asked_after_the_origin(self, vault: TableVault, calls: Calls, bundle: Path) -> None:
        again(vault, index=listed(4))
        vault.execute_instance("words")
        again(vault, index=listed(15))
        vault.import_instance(bundle, "words")

        plan = foretold(vault, "words", calls)

        assert told(plan)["loud"] == (0, 10, 5, 5)
        assert told(plan)["louder"][1] == 4
        assert plan.origin is not None

    def test_a_forced_run_reuses_none(self, vault: TableVault, bundle: Path) -> None:
        again(vault, index=listed())
        vault.import_instance(bundle, "words")

        assert told(vault.plan("words", force_execute=True))["loud"] == (0, 0, 10, 10)
