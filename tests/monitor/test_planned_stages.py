"""A plan comes true for a part of the builders, for batches, and for results that were imported. Calls are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVBuilderError, message_of
from tablevault_like.typing import Cause, Certainty, PlannedRun, StepRecord
from tests.monitor.counting import Calls, hold_builder
from tests.states import state
from tests.tables import begin, builder, column, index, write_code

CODE = """
def name(number):
    return f"w{number}"

def each():
    yield from map(name, range(10))

def make(start, size):
    return [name(number) for number in range(start, start + size)]

def loud(word):
    return word.upper()

def louder(rows, mark):
    return rows["loud"] + mark

def whole(frame):
    return frame.assign(size=len(frame))[["size"]]
"""
OTHER = CODE.replace('f"w{number}"', '"w" + str(number)')
INDEX = index("word", function="each", return_type="generator")
LOUD = column("loud", function="loud", arguments={"word": "<<self.word[index]>>"})
WHOLE = builder(
    "ColumnBuilder", "size", python_function="whole", return_type="dataframe", arguments={"frame": "<<self.{louder}>>"}
)


def louder(mark: str, *, size: int = 4) -> str:
    arguments = {"loud": "<<self.loud[index]>>", "mark": mark}
    return column("louder", function="louder", return_type="batch", batch_size=size, arguments=arguments)


def listed(rows: int = 10) -> str:
    """Return the text of an IndexBuilder whose rows are known before it has run."""
    return builder(
        "IndexBuilder",
        "word",
        python_function="create_data_table_from_list",
        code_module="table_generation",
        is_custom=False,
        return_type="dataframe",
        arguments={"vals": [f"w{number}" for number in range(rows)], "column": "word"},
    )


def making(total: int = 10, *, size: int = 4, **fields: object) -> str:
    arguments = {"start": "~BATCH_START~", "size": "~BATCH_SIZE~"}
    return index(
        "word", function="make", return_type="batch", batch_size=size, total_rows=total, arguments=arguments, **fields
    )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


@pytest.fixture
def vault(vault_dir: Path) -> TableVault:
    vault = TableVault(vault_dir, "ada", create=True)
    write_code(vault, CODE)
    return vault


def again(vault: TableVault, **changed: str) -> None:
    """Create the next instance of ``words``, with some builders changed."""
    made = vault.get_table_instances("words") if "words" in vault.get_table_instances() else []
    builders = {"index": INDEX, "loud": LOUD, "louder": louder("!"), "whole": WHOLE, **changed}
    begin(vault, "words", builders, origin_id=made[-1] if made else "")


def foretold(vault: TableVault, calls: Calls, process_id: str = "", **stage: Any) -> PlannedRun:
    """Plan, execute, and hold the plan to it: what isn't in the plan isn't called. Planning changes nothing."""
    calls.clear()
    was = state(Path(vault.db_dir))
    plan = vault.plan("words", **stage)
    assert state(Path(vault.db_dir)) == was
    assert not calls.counts
    before = vault.get_process(process_id) if process_id in vault.get_active_processes() else None
    earlier: dict[str, StepRecord | None] = {}
    if before is not None:  # what it begins again is none of what it had
        earlier |= {step.name: step for step in before.steps}
        earlier |= {each.builder: None for each in plan.builders if not each.recorded}
    process = vault.get_process(vault.execute_instance("words", process_id=process_id or None, **stage))
    steps = {step.name: step for step in process.steps}
    for each in plan.builders:
        hold_builder(each, steps[each.builder], earlier.get(each.builder), calls.counts[each.builder])
    assert set(calls.counts) <= {each.builder for each in plan.builders}
    return plan


def told(plan: PlannedRun) -> dict[str, tuple[int, int | None, int | None, int | None]]:
    return {each.builder: (each.recorded, each.reused, each.to_run, each.calls) for each in plan.builders}


class TestStages:
    def test_until_a_builder_and_on(self, vault: TableVault, calls: Calls) -> None:
        again(vault)

        part = foretold(vault, calls, "p", until="loud")
        rest = foretold(vault, calls, "p")

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

        plan = foretold(vault, calls, from_builder="louder")

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

        plan = foretold(vault, calls, from_builder="whole")

        assert told(plan)["whole"] == (0, 0, 10, 1)
        assert [reason.cause for reason in plan.builder("whole").reasons] == [Cause.SETTING]

    def test_a_process_has_kept_where_it_began(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        vault.execute_instance("words")
        again(vault)
        calls.clear()
        calls.fail("louder", 2)
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p", from_builder="louder")

        # It is resumed without the builder: those that it began anew with still reuse nothing.
        plan = foretold(vault, calls, "p")

        assert told(plan) == {
            "words_index": (10, 0, 0, 0),
            "loud": (10, 0, 0, 0),
            "louder": (4, 0, 6, 2),
            "whole": (0, 0, 10, 1),
        }

    def test_a_process_goes_on_with_the_builder_that_it_began_with(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        vault.execute_instance("words")
        again(vault)
        calls.clear()
        calls.fail("louder", 2)
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p", from_builder="louder")

        plan = foretold(vault, calls, "p", from_builder="louder")

        assert told(plan)["louder"] == (4, 0, 6, 2)

    def test_a_process_begins_again(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        calls.fail("louder", 2)
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")

        plan = foretold(vault, calls, "p", from_builder="loud")

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

        plan = foretold(vault, calls, active)

        assert [each.reused for each in plan.builders] == [0, 0, 0, 0]
        assert told(plan)["loud"] == (2, 0, 8, 8)
        assert "makes all rows anew" in plan.builder("whole").reasons[0].text

    def test_what_is_refused_is_told_as_the_execution_tells_it(self, vault: TableVault) -> None:
        again(vault)

        plan = vault.plan("words", from_builder="loud")

        with pytest.raises(TVBuilderError) as refused:
            vault.execute_instance("words", from_builder="loud")
        assert plan.refusal == message_of(refused.value)


class TestBatches:
    def test_there_are_more_of_them(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=making())
        vault.execute_instance("words")
        again(vault, index=making(15))

        plan = foretold(vault, calls)

        # The first two are whole; the last one was smaller.
        assert told(plan)["words_index"] == (0, 8, 7, 2)
        assert plan.builder("words_index").certainty is Certainty.EXACT

    def test_rows_of_a_batch_are_reused_one_by_one(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=listed(10))
        vault.execute_instance("words")
        again(vault, index=listed(15))

        plan = foretold(vault, calls)

        # Batches are made of the rows that are left. What the five new rows are isn't known before.
        assert told(plan)["loud"] == (0, 10, 5, 5)
        assert told(plan)["louder"] == (0, 10, 5, 2)
        assert plan.builder("louder").certainty is Certainty.EXACT

    def test_batches_are_taken_over(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=making())
        first = foretold(vault, calls)
        again(vault, index=making())
        second = foretold(vault, calls)

        assert [told(plan)["words_index"] for plan in (first, second)] == [(0, 0, 10, 3), (0, 10, 0, 0)]
        assert second.certainty is Certainty.EXACT
        assert told(second)["louder"] == (0, 10, 0, 0)
        assert told(second)["whole"] == (0, 10, 0, 0)

    def test_batches_of_other_code(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=making())
        vault.execute_instance("words")
        write_code(vault, OTHER)
        again(vault, index=making())

        plan = foretold(vault, calls)

        assert told(plan)["words_index"] == (0, 0, 10, 3)

    def test_batches_go_on(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=making())
        calls.fail("words_index", 2)
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")

        plan = foretold(vault, calls, "p")

        assert told(plan)["words_index"] == (4, 0, 6, 2)

    def test_columns_by_batches_go_on(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        calls.fail("louder", 3)
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")

        plan = foretold(vault, calls, "p")

        assert told(plan)["louder"] == (8, 0, 2, 1)
        assert plan.builder("louder").failed_before == 2

    def test_a_budget_may_end_it(self, vault: TableVault, calls: Calls) -> None:
        again(vault, index=listed(10), louder=louder("!") + "budget: {rows: 4}\n")

        plan = vault.plan("words")

        assert plan.builder("louder").certainty is Certainty.AT_MOST
        assert "budget" in (plan.builder("louder").doubt or "")


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

        plan = foretold(vault, calls)

        assert plan.certainty is Certainty.EXACT
        assert told(plan)["loud"] == (0, 10, 0, 0)
        assert told(plan)["louder"] == (0, 0, 10, 3)

    def test_they_are_asked_after_the_origin(self, vault: TableVault, calls: Calls, bundle: Path) -> None:
        again(vault, index=listed(4))
        vault.execute_instance("words")
        again(vault, index=listed(15))
        vault.import_instance(bundle, "words")

        plan = foretold(vault, calls)

        assert told(plan)["loud"] == (0, 10, 5, 5)
        assert told(plan)["louder"][1] == 4
        assert plan.origin is not None

    def test_a_forced_run_reuses_none(self, vault: TableVault, bundle: Path) -> None:
        again(vault, index=listed())
        vault.import_instance(bundle, "words")

        assert told(vault.plan("words", force_execute=True))["loud"] == (0, 0, 10, 10)
