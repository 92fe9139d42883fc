"""A plan comes true however ``execute_instance`` is called: ids, runs that are there, budgets, places in sources."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from tablevault_like import State, TableVault
from tablevault_like.catalog import Catalog
from tablevault_like.errors import TableVaultError, TVArgumentError, message_of
from tablevault_like.typing import Action, Cause, Certainty
from tests.monitor.counting import Calls, counted_calls, foretold, seen, told
from tests.monitor.words import LOUD, again, listed, louder, making, words_vault
from tests.states import state
from tests.tables import begin, column, index

__all__ = ["counted_calls", "words_vault"]

SOURCE = """
def pages(first, count):
    for number in range(first, count):
        yield number, first

def all_pages(count):
    yield from range(count)

def double(page):
    return page * 2
"""


def pause(vault: TableVault, calls: Calls, builder: str, call: int, process_id: str = "p", **how: Any) -> None:
    """Let a run fail at a call of a builder."""
    calls.clear()
    calls.fail(builder, call)
    with pytest.raises(ConnectionError):
        vault.execute_instance("words", process_id=process_id, **how)


class TestArguments:
    def test_are_those_of_execute_instance(self) -> None:
        execute, plan = (inspect.signature(each).parameters for each in (TableVault.execute_instance, TableVault.plan))

        assert {name: plan[name] for name in execute} == dict(execute)
        assert [name for name in plan if name not in execute] == ["sample"]

    @pytest.mark.parametrize(
        "how",
        [
            {"existing": "rerun"},
            {"existing": "error"},
            {"existing": "new", "process_id": "p"},
            {"on_change": "whatever"},
            {"process_id": "../p"},
            {"until": "lout"},
            {"from_builder": "lout"},
            {"from_builder": "lout", "process_id": "q"},
            {"from_builder": "loud", "force_execute": True},
            {"budget": {"money": 1}},
            {"budget": {"rows": 0}},
            {"start_at": {"words_index": -1}},
            {"start_at": {"loud": 1}},
            {"start_at": {"lout": 1}},
            {"version": "v 2"},
            {"force_execute": True, "process_id": "other"},
            {"start_at": {"words_index": 1}, "process_id": "other"},
            {"process_id": "written"},
            {"process_id": "written", "existing": "error"},
        ],
        ids=str,
    )
    def test_that_make_no_sense_are_refused_in_the_same_words(self, vault: TableVault, how: dict[str, Any]) -> None:
        vault.create_table("more", process_id="written")
        again(vault)
        vault.execute_instance("words", process_id="other")
        again(vault)
        was = state(Path(vault.db_dir))

        with pytest.raises(TableVaultError) as refused:
            vault.plan("words", **how)

        assert state(Path(vault.db_dir)) == was
        with pytest.raises(type(refused.value)) as told:
            vault.execute_instance("words", **how)
        assert message_of(told.value) == message_of(refused.value)


class TestAnId:
    def test_that_is_new_begins_a_run(self, vault: TableVault, calls: Calls) -> None:
        again(vault)

        plan = foretold(vault, "words", calls, process_id="p")

        assert (plan.action, plan.process_id) == (Action.START, None)

    def test_of_a_run_that_was_reverted_begins_anew(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        pause(vault, calls, "loud", 3)
        vault.stop_process("p")

        plan = foretold(vault, "words", calls, process_id="p")

        assert (plan.action, told(plan)["loud"]) == (Action.START, (0, 0, None, None))

    def test_of_a_completed_run_has_nothing_to_do(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        vault.execute_instance("words", process_id="p")
        (made,) = vault.get_table_instances("words")

        plan = foretold(vault, "words", calls, process_id="p")

        assert (plan.action, plan.process_id, plan.made) == (Action.REUSE, "p", f"words/{made}")
        assert told(plan) == dict.fromkeys(("words_index", "loud", "louder", "whole"), (10, 0, 0, 0))
        assert plan.seconds == 0
        assert "what it made is reused, there is nothing to do" in seen(plan)

    def test_of_a_completed_run_whose_instance_was_deleted(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        vault.execute_instance("words", process_id="p")
        vault.delete_instance(vault.get_table_instances("words")[0], "words")

        plan = foretold(vault, "words", calls, process_id="p")

        assert (plan.action, plan.made) == (Action.REUSE, None)

    def test_of_a_run_that_was_kept_in_part(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        pause(vault, calls, "loud", 3)
        vault.stop_process("p", materialize=True)

        plan = foretold(vault, "words", calls, process_id="p")

        assert plan.action is Action.REUSE
        assert [each.recorded for each in plan.builders] == [10, 2, 0, 0]

    def test_that_does_nothing_has_no_sample(self, vault: TableVault) -> None:
        again(vault)
        vault.execute_instance("words", process_id="p")

        with pytest.raises(TVArgumentError, match="Leave out the process_id, or call with existing='rerun'"):
            vault.plan("words", process_id="p", sample=2)

    def test_beside_a_paused_run_is_refused(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        pause(vault, calls, "loud", 3)

        plan = vault.plan("words", process_id="q")

        assert plan.action is Action.START
        assert "words/TEMP_base (exclusive) is held by process 'p'" in (plan.refusal or "")

    def test_is_not_needed_where_a_worker_died_that_nobody_named(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=listed())
        pause(vault, calls, "loud", 3)
        with Catalog(Path(vault.db_dir, "metadata", "catalog.sqlite")).transaction() as db:
            db.execute("UPDATE processes SET named = 0, state = ? WHERE process_id = 'p'", (State.RUNNING,))

        plan = foretold(vault, "words", calls)

        assert (plan.action, plan.process_id, told(plan)["loud"]) == (Action.START, None, (0, 0, 10, 10))

    def test_of_other_batches_is_refused(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=making())
        pause(vault, calls, "words_index", 2)
        vault.create_builder_file("words", "words_index", text=making(20))

        plan = foretold(vault, "words", calls, process_id="p")

        assert "total_rows 20, and this process was started with 10" in (plan.refusal or "")

    def test_whose_rows_can_not_stay_is_refused(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=listed())
        pause(vault, calls, "loud", 3)
        vault.create_builder_file("words", "loud", text=LOUD.replace("- loud", "- noisy"))
        vault.create_builder_file("words", "louder", text=louder("!").replace("self.loud[", "self.noisy["))

        plan = foretold(vault, "words", calls, process_id="p", on_change="continue")

        assert "can't stay" in (plan.refusal or "")


class TestExisting:
    def test_error_refuses_what_is_complete(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        vault.execute_instance("words", process_id="p")

        plan = foretold(vault, "words", calls, process_id="p", existing="error")

        assert plan.action is Action.REUSE
        assert "existing='error' refuses it" in (plan.refusal or "")

    def test_error_refuses_what_is_paused(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        pause(vault, calls, "loud", 3)

        plan = foretold(vault, "words", calls, process_id="p", existing="error")

        assert (plan.action, told(plan)["loud"]) == (Action.RESUME, (2, 0, 8, 8))
        assert "existing='error' refuses it" in (plan.refusal or "")

    def test_error_refuses_nothing_that_is_new(self, vault: TableVault, calls: Calls) -> None:
        again(vault)

        assert foretold(vault, "words", calls, process_id="p", existing="error").refusal is None

    def test_rerun_makes_what_is_complete_anew(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=listed())
        vault.execute_instance("words", process_id="p")

        plan = foretold(vault, "words", calls, process_id="p", existing="rerun")

        assert (plan.action, plan.process_id, plan.certainty) == (Action.RERUN, "p", Certainty.EXACT)
        assert told(plan)["loud"] == (0, 0, 10, 10)
        assert [reason.cause for reason in plan.builder("loud").reasons] == [Cause.SETTING]

    def test_rerun_takes_the_next_instance_if_there_is_one(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=listed())
        vault.execute_instance("words", process_id="p")
        again(vault, index=listed(4))

        plan = foretold(vault, "words", calls, process_id="p", existing="rerun")

        assert told(plan)["loud"] == (0, 0, 4, 4)

    def test_rerun_begins_what_is_paused_anew(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=listed())
        vault.execute_instance("words")
        again(vault, index=listed())
        pause(vault, calls, "whole", 1, existing="auto", from_builder="loud")

        plan = foretold(vault, "words", calls, process_id="p", existing="rerun")

        assert plan.action is Action.RERUN
        assert told(plan)["loud"] == (0, 0, 10, 10)

    def test_rerun_in_a_stage(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=listed())
        vault.execute_instance("words", process_id="p")

        plan = foretold(vault, "words", calls, process_id="p", existing="rerun", until="loud", from_builder="loud")

        assert told(plan) == {"words_index": (0, 10, 0, 0), "loud": (0, 0, 10, 10)}
        assert plan.pause == "the stage 'loud' is reached"

    def test_rerun_of_what_was_deleted_is_refused(self, vault: TableVault) -> None:
        again(vault)
        vault.execute_instance("words", process_id="p")
        vault.delete_instance(vault.get_table_instances("words")[0], "words")

        with pytest.raises(TVArgumentError, match="was deleted, so its builders are gone") as refused:
            vault.plan("words", process_id="p", existing="rerun")
        with pytest.raises(TVArgumentError) as told:
            vault.execute_instance("words", process_id="p", existing="rerun")
        assert message_of(told.value) == message_of(refused.value)


class TestSources:
    """``pages`` is told where to go on; ``all_pages`` isn't, so the first values are left out."""

    TOLD = index(
        "page", "first", function="pages", arguments={"first": "~RESUME_FROM~", "count": 9}, return_type="generator"
    )
    NOT_TOLD = index("page", function="all_pages", arguments={"count": 9}, return_type="generator")
    DOUBLE = column("double", function="double", arguments={"page": "<<self.page[index]>>"})

    def begin(self, vault: TableVault, text: str, **fields: Any) -> None:
        begin(vault, "pages", {"index": text, "double": self.DOUBLE}, code=SOURCE, **fields)

    @pytest.mark.parametrize("text", [TOLD, NOT_TOLD])
    def test_begin_where_the_plan_says(self, vault: TableVault, calls: Calls, text: str) -> None:
        self.begin(vault, text)

        how: dict[str, Any] = {"process_id": "p", "start_at": {"pages_index": 3}}
        plan = foretold(vault, "pages", calls, budget={"rows": 2}, **how)
        rest = foretold(vault, "pages", calls, **how)

        assert plan.builder("pages_index").offset == 3
        assert rest.builder("pages_index").offset == 5
        assert rest.builder("double").offset is None
        made = vault.get_dataframe("pages")
        assert made["page"].tolist() == [3, 4, 5, 6, 7, 8]
        if "first" in made:
            assert made["first"].tolist() == [3, 3, 5, 5, 5, 5]
        assert "FROM" in seen(rest)

    def test_that_begin_elsewhere_give_other_rows(self, vault: TableVault, calls: Calls) -> None:
        self.begin(vault, self.NOT_TOLD)
        vault.execute_instance("pages", start_at={"pages_index": 3})
        self.begin(vault, self.NOT_TOLD, copy=False, origin_id=vault.get_table_instances("pages")[-1])

        same = vault.plan("pages", start_at={"pages_index": 3})
        other = foretold(vault, "pages", calls)

        assert same.builder("double").certainty is Certainty.EXPECTED
        assert other.builder("double").certainty is Certainty.UNKNOWN

    @pytest.mark.parametrize("text", [TOLD, NOT_TOLD])
    def test_give_a_sample_from_there(self, vault: TableVault, text: str) -> None:
        self.begin(vault, text)

        plan = vault.plan("pages", start_at={"pages_index": 3}, sample=2)

        assert plan.sample["page"].tolist() == [3, 4]
        assert plan.sample["double"].tolist() == [6, 8]

    def test_that_come_with_the_library(self, vault: TableVault, calls: Calls) -> None:
        self.begin(vault, self.NOT_TOLD)
        vals = {"vals": [1, 2, 3, 4], "column": "page"}
        text = index(
            "page",
            function="create_data_table_from_list",
            code_module="table_generation",
            is_custom=False,
            return_type="dataframe",
            arguments=vals,
        )
        vault.create_builder_file("pages", "pages_index", text=text)

        with pytest.raises(TVArgumentError, match="return_type is generator"):
            vault.plan("pages", start_at={"pages_index": 3})
        assert foretold(vault, "pages", calls).builder("pages_index").offset is None
