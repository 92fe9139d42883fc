"""Executions that stop when a builder is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVBuilderError
from tablevault_like.model import State
from tests import states
from tests.library import BUILDERS, CALLS, CODE
from tests.operations.echoing import ECHO, ECHOES, ID, INDEX, PAGES, SHOUTS, counted, start, vault
from tests.scenes import Calls
from tests.tables import begin, column, gates, index
from tests.workers import Action, Fault, Workers

__all__ = ["vault"]


class TestUntil:
    def test_runs_what_the_builder_needs_and_nothing_else(self, vault: TableVault, calls: Calls) -> None:
        assert vault.execute_instance("words", process_id=ID, until="echo") == ID

        assert calls() == counted(INDEX, SHOUTS, ECHOES)
        record = vault.get_process(ID)
        assert (record.status, record.paused_on_request, record.completed_through) == ("paused", True, "echo")
        assert record.error is None
        assert record.pause_reason == "the stage 'echo' is reached"
        assert "It was paused on request: the stage 'echo' is reached. Call execute_instance" in record.next_steps
        assert record.steps_done == ("words_index", "shout", "echo")
        assert not vault.get_process_completion(ID)
        assert TableVault(vault.db_dir, restart=True).restarted == {}

    def test_goes_on_when_it_is_called_again(self, vault: TableVault, calls: Calls) -> None:
        vault.execute_instance("words", process_id=ID, until="words_index")
        assert calls() == counted(INDEX)
        vault.execute_instance("words", process_id=ID, until="page")
        assert calls() == counted(INDEX, PAGES)
        assert vault.get_process(ID).completed_through == "page"
        vault.execute_instance("words", process_id=ID, until="page")  # once more, there is nothing to do
        vault.execute_instance("words", process_id=ID, until="words_index")
        assert calls() == counted(INDEX, PAGES)

        vault.execute_instance("words", process_id=ID)

        assert calls() == counted(CALLS, ECHOES)
        assert vault.get_process(ID).state is State.COMPLETED
        states.assert_sound(Path(vault.db_dir))

    def test_without_an_id_gives_one(self, vault: TableVault, calls: Calls) -> None:
        process_id = vault.execute_instance("words", until="shout")

        record = vault.get_process(process_id)
        assert (record.status, record.is_named, record.completed_through) == ("paused", True, "shout")
        vault.execute_instance("words", process_id=process_id)
        assert calls() == counted(CALLS, ECHOES)

    def test_works_in_the_background(self, vault: TableVault, calls: Calls) -> None:
        vault.execute_instance("words", process_id=ID, until="shout", background=True)

        record = vault.wait(ID, timeout=40)

        assert (record.status, record.completed_through) == ("paused", "shout")
        assert calls() == counted(INDEX, SHOUTS)

    def test_may_be_the_last_builder_of_all(self, vault: TableVault, calls: Calls) -> None:
        vault.execute_instance("words", process_id=ID, until="shout")
        vault.execute_instance("words", process_id=ID, until="length")
        vault.execute_instance("words", process_id=ID, until="page")
        vault.execute_instance("words", process_id=ID, until="echo")

        assert vault.get_process(ID).steps_to_come == ("materialize",)

    @pytest.mark.parametrize("has_begun", [False, True])
    def test_of_an_unknown_builder_is_refused_before_anything_runs(
        self, vault: TableVault, calls: Calls, has_begun: bool
    ) -> None:
        if has_begun:
            vault.execute_instance("words", process_id=ID, until="words_index")
        before = states.state(Path(vault.db_dir)), calls()

        for argument in ("until", "from_builder"):
            with pytest.raises(TVBuilderError, match=rf"{argument}='shuot': .* no builder of that name\..*'shout'"):
                vault.execute_instance("words", process_id=ID, **{argument: "shuot"})  # type: ignore[arg-type]

        assert (states.state(Path(vault.db_dir)), calls()) == before

    def test_is_not_reached_when_a_row_fails(self, vault: TableVault, calls: Calls) -> None:
        vault.create_code_module("tools", text=CODE.replace("return word.upper()", "raise ConnectionError"))
        vault.delete_builder_file("echo", "words")

        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id=ID, until="shout")

        record = vault.get_process(ID)
        assert (record.paused_on_request, record.completed_through) == (False, None)

    def test_does_not_need_the_code_of_later_builders(self, vault: TableVault, calls: Calls) -> None:
        vault.create_code_module("later", text="raise ConnectionError('not now')\ndef echo(word, loud): ...\n")
        vault.create_builder_file("words", "echo", text=ECHO.replace("module: tools", "module: later"))

        vault.execute_instance("words", process_id=ID, until="shout")

        assert calls() == counted(INDEX, SHOUTS)

    def test_killed_on_the_way_is_resumed_up_to_it_by_restart(
        self, vault: TableVault, calls: Calls, workers: Workers
    ) -> None:
        vault.execute_instance("words", process_id=ID, until="words_index")
        start(vault, workers, {"until": "shout"}, Fault("shout dog", Action.KILL))

        outcomes = TableVault(vault.db_dir, restart=True).restarted

        assert {name: str(outcome) for name, outcome in outcomes.items()} == {ID: "paused"}
        assert vault.get_process(ID).completed_through == "shout"
        assert set(calls()) == {*INDEX, *SHOUTS}

    def test_of_a_child_does_not_stop_its_parent(self, vault: TableVault, calls: Calls, tmp_path: Path) -> None:
        code = """
from tablevault_like import TableVault

def rows(vault_dir):
    vault = TableVault(vault_dir)
    yield vault.execute_instance("words", until="shout")
    yield vault.get_process("outer.outer_index.all.1").status
"""
        vault.create_code_module("parent", text=code)
        vault.create_table("outer")
        text = BUILDERS["words_index"].replace("[word]", "[said]").replace("function: words", "function: rows")
        text = text.replace("module: tools", "module: parent").replace(
            "start: ~RESUME_FROM~", f"vault_dir: {tmp_path}/vault"
        )
        vault.create_instance("outer", builders={"outer_index": text})

        vault.execute_instance("outer", process_id="outer")

        assert vault.get_dataframe("outer")["said"].tolist() == ["outer.outer_index.all.1", "paused"]


def test_is_reached_while_a_call_that_timed_out_is_still_at_work(tmp_path: Path, calls: Calls) -> None:
    """The caller is told that the stage is reached; the process is paused when nothing of it runs any more."""
    vault = TableVault(tmp_path / "slow", "ada", create=True)
    code = """
from tests.tables import GATES

def rows():
    yield from range(3)

def work(number):
    if number == 1:
        GATES["row"].enter()
    return number
"""
    work = column("made", function="work", arguments={"number": "<<self.number[index]>>"}, timeout=0.3, on_error="null")
    begin(vault, "slow", {"index": index("number"), "work": work}, code=code)
    with gates("row"):
        assert vault.execute_instance("slow", process_id=ID, until="work") == ID

        record = vault.get_process(ID)
        assert (record.status, record.steps_done) == ("running", ("slow_index", "work"))

    assert vault.wait(ID, timeout=40).completed_through == "work"
    assert vault.get_process(ID).paused_on_request
    vault.execute_instance("slow", process_id=ID)
    assert vault.get_dataframe("slow")["made"].isna().tolist() == [False, True, False]
