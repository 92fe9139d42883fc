"""What an execution does with a run that its process id has already: take it, refuse it, or start anew."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArgumentError, TVBuilderError, TVLockError, TVProcessError
from tablevault_like.model import State
from tests import states, tasks
from tests.library import BUILDERS, CALLS, CODE, WORDS
from tests.operations.rerunning import ID, ONCE, TWICE, made_by, rerun, vault
from tests.scenes import Calls
from tests.workers import Action, Fault, Workers

__all__ = ["vault"]


def test_what_is_not_known_is_refused(vault: TableVault) -> None:
    with pytest.raises(TVArgumentError, match=r"existing='new' is not known\. Use one of 'auto', 'error', 'rerun'\."):
        vault.execute_instance("words", process_id=ID, existing="new")


@pytest.mark.parametrize("existing", ["error", "rerun"])
def test_without_an_id_there_is_no_run_to_be_meant(vault: TableVault, calls: Calls, existing: str) -> None:
    vault.execute_instance("words", process_id=ID)

    with pytest.raises(TVArgumentError, match=f"existing='{existing}' is about the run .* none is given"):
        vault.execute_instance("words", existing=existing)

    assert calls() == ONCE


@pytest.mark.parametrize("existing", ["auto", "error", "rerun"])
def test_an_id_that_has_no_run_begins_one(vault: TableVault, calls: Calls, existing: str) -> None:
    assert vault.execute_instance("words", process_id=ID, existing=existing) == ID

    assert calls() == ONCE


class TestAuto:
    def test_takes_what_is_complete_at_once(self, vault: TableVault, calls: Calls) -> None:
        for _ in range(2):
            assert vault.execute_instance("words", process_id=ID, existing="auto") == ID
        assert calls() == ONCE

    def test_goes_on_with_what_is_not(self, vault: TableVault, calls: Calls) -> None:
        vault.execute_instance("words", process_id=ID, until="shout")
        vault.execute_instance("words", process_id=ID, existing="auto")
        assert calls() == ONCE


class TestError:
    def test_refuses_what_is_complete(self, vault: TableVault, calls: Calls) -> None:
        vault.execute_instance("words", process_id=ID)
        before = states.state(Path(vault.db_dir))

        with pytest.raises(
            TVProcessError, match=r"process 'nightly' \(.*completed.*have what it made.*'rerun'"
        ) as caught:
            vault.execute_instance("words", process_id=ID, existing="error")

        assert caught.value.process_id == ID
        assert (states.state(Path(vault.db_dir)), calls()) == (before, ONCE)

    def test_refuses_what_is_paused_before_anything_else(self, vault: TableVault) -> None:
        vault.execute_instance("words", process_id=ID, until="shout")
        vault.create_code_module("tools", text=CODE.replace("word.upper()", "word.title()"))

        with pytest.raises(TVProcessError, match=r"\(.*paused.*existing='auto' to go on with it"):
            vault.execute_instance("words", process_id=ID, existing="error")
        with pytest.raises(TVProcessError, match="There is a run of that id already"):
            vault.execute_instance("words", process_id=ID, existing="error", background=True)

        assert vault.get_process(ID).state is State.PAUSED

    def test_names_no_way_that_other_work_would_be_refused_on(self, vault: TableVault) -> None:
        vault.create_table("quiet", process_id="made")
        vault.execute_instance("words", process_id=ID)

        for process_id, version in (("made", "base"), (ID, "short")):
            with pytest.raises(TVProcessError, match="id already") as caught:
                vault.execute_instance("words", version, process_id=process_id, existing="error")
            assert str(caught.value).endswith("Give another process_id, for that was started for other work.")

    def test_has_nothing_against_what_was_reverted(self, vault: TableVault, calls: Calls) -> None:
        vault.execute_instance("words", process_id=ID, until="words_index")
        vault.stop_process(ID)

        vault.execute_instance("words", process_id=ID, existing="error")

        assert vault.get_process_completion(ID)


class TestRerunOfWhatIsComplete:
    def test_makes_all_of_it_anew_beside_the_old(self, vault: TableVault, calls: Calls, made: str) -> None:
        for name in BUILDERS:  # they may be reused
            text = BUILDERS[name].replace("reuse: never", "reuse: auto")
            vault.create_builder_file("words", name, text=text)
        vault.execute_instance("words", process_id=ID)
        (old,), before = made_by(vault, ID), calls()
        assert before["shout dog"] == 0

        assert rerun(vault) == ID

        assert calls() - before == ONCE
        (new,) = made_by(vault, ID)
        assert vault.get_table_instances("words") == [made, old, new]
        assert vault.get_descriptions(new, "words")["origin"] == ["words", old]
        assert (made_by(vault, f"{ID}~1"), vault.get_process(f"{ID}~1").state) == ([old], State.COMPLETED)
        assert "its id was used anew: 'nightly' is another run now" in vault.get_process(f"{ID}~1").next_steps
        assert vault.get_process(ID).epoch > vault.get_process(f"{ID}~1").epoch
        assert vault.get_dataframe("words")["shout"].tolist() == [word.upper() for word in WORDS]
        states.assert_sound(Path(vault.db_dir))

    def test_is_on_record_as_are_the_stages_of_it(self, vault: TableVault, calls: Calls) -> None:
        vault.execute_instance("words", process_id=ID)
        rerun(vault, until="shout")
        vault.execute_instance("words", process_id=ID, from_builder="shout", budget={"rows": 1})

        told = [(row["kind"], row["detail"]) for row in states.history(Path(vault.db_dir), ID) if "kind" in row]
        assert [event for event in told if event[0] not in ("state", "resumed")] == [
            ("took the id", f"{ID}~1"),
            ("paused", "the stage 'shout' is reached"),
            ("begun again", "from the builder shout"),
            ("paused", "the budget of this call is used up (6 of 1 rows)"),  # it is a frame
        ]

    def test_keeps_every_record(self, vault: TableVault, calls: Calls) -> None:
        vault.execute_instance("words", process_id=ID)
        for _ in range(2):
            rerun(vault)

        assert [vault.get_process(each).state for each in (f"{ID}~1", f"{ID}~2", ID)] == [State.COMPLETED] * 3
        assert [len(made_by(vault, each)) for each in (f"{ID}~1", f"{ID}~2", ID)] == [1, 1, 1]
        vault.execute_instance("words", process_id=ID)
        assert calls() == Counter(CALLS * 3)

    def test_lets_the_old_one_be_read_until_the_new_one_is_complete(self, vault: TableVault, made: str) -> None:
        vault.create_table("quiet")
        builders = {"quiet_index" if name == "words_index" else name: text for name, text in BUILDERS.items()}
        vault.create_instance("quiet", builders=builders)
        vault.execute_instance("quiet", process_id=ID)
        (old,) = vault.get_table_instances("quiet")

        vault.execute_instance("quiet", process_id=ID, existing="rerun", until="shout")

        assert vault.get_dataframe("quiet").attrs["instance_id"] == old
        vault.stop_process(ID)
        assert vault.get_dataframe("quiet").attrs["instance_id"] == old

    def test_takes_the_temporary_instance_that_somebody_made(self, vault: TableVault, calls: Calls) -> None:
        vault.execute_instance("words", process_id=ID)
        vault.create_instance("words", copy=True)
        vault.delete_builder_file("length", "words")

        rerun(vault)

        assert calls()["length"] == 1
        assert "length" not in vault.get_dataframe("words")

    def test_without_its_instance_says_what_to_do(self, vault: TableVault, calls: Calls) -> None:
        vault.execute_instance("words", process_id=ID)
        vault.delete_instance(made_by(vault, ID)[0], "words")

        with pytest.raises(TVArgumentError, match=r"was deleted, .*create_instance\('words', version='base'\)"):
            rerun(vault)

        assert vault.get_process(ID).state is State.COMPLETED
        vault.create_instance("words", copy=True)
        rerun(vault)
        assert calls() == TWICE

    def test_in_the_background(self, vault: TableVault, calls: Calls) -> None:
        vault.execute_instance("words", process_id=ID)

        rerun(vault, background=True)

        assert vault.wait(ID, timeout=40).state is State.COMPLETED
        assert calls() == TWICE

    def test_that_stops_on_the_way_is_gone_on_with_by_auto(self, vault: TableVault, calls: Calls) -> None:
        vault.create_builder_file("words", "shout", text=BUILDERS["shout"].replace("reuse: never", "reuse: auto"))
        vault.execute_instance("words", process_id=ID)
        before = calls()
        rerun(vault, until="words_index")

        vault.execute_instance("words", process_id=ID)

        assert calls() - before == ONCE

    def test_from_a_builder_takes_the_others_over(self, vault: TableVault, calls: Calls) -> None:
        vault.execute_instance("words", process_id=ID)

        rerun(vault, from_builder="shout", until="shout")

        assert calls() - ONCE == Counter(call for call in CALLS if call.startswith("shout"))

    def test_of_other_work_is_refused(self, vault: TableVault) -> None:
        vault.execute_instance("words", process_id=ID)

        with pytest.raises(TVArgumentError, match="was started for other work"):
            vault.execute_instance("words", "other", process_id=ID, existing="rerun")
        vault.create_table("papers", process_id="other")
        with pytest.raises(TVArgumentError, match="was started by create_table"):
            vault.execute_instance("words", process_id="other", existing="rerun")

    def test_that_cannot_have_its_locks_leaves_the_old_one(self, vault: TableVault, workers: Workers) -> None:
        vault.execute_instance("words", process_id=ID)
        vault.create_instance("words", copy=True)
        vault.execute_instance("words", process_id="holder", until="shout")
        before = states.state(Path(vault.db_dir))

        with pytest.raises(TVLockError, match="'holder'"):
            rerun(vault)

        assert states.state(Path(vault.db_dir)) == before
        assert vault.get_process(ID).state is State.COMPLETED
        assert states.processes(Path(vault.db_dir)).get(f"{ID}~1") is None


class TestRerunOfWhatIsNotComplete:
    def test_reverts_it_and_starts_anew(self, vault: TableVault, calls: Calls) -> None:
        vault.execute_instance("words", process_id=ID, until="shout")

        rerun(vault)

        assert calls() == ONCE + Counter(call for call in CALLS if call.startswith(("word", "shout")))
        assert vault.get_process(f"{ID}~1").state is State.REVERTED
        states.assert_sound(Path(vault.db_dir))

    def test_starts_anew_whenever_it_is_called(self, vault: TableVault, calls: Calls) -> None:
        for _ in range(3):
            rerun(vault, until="words_index")

        assert calls()["word 0"] == 3
        assert [vault.get_process(f"{ID}~{n}").state for n in (1, 2)] == [State.REVERTED] * 2

    def test_is_refused_while_its_worker_lives(self, vault: TableVault, workers: Workers, calls: Calls) -> None:
        worker = workers.start(tasks.execute_with, Path(vault.db_dir), ID, {}, faults=[Fault("shout dog", Action.WAIT)])
        worker.arrive()

        with pytest.raises(TVProcessError, match="A living worker is at process 'nightly'"):
            rerun(vault)
        with pytest.raises(
            TVProcessError, match=r"Give another process_id, or wait for this one with wait\('nightly'\)"
        ):
            vault.execute_instance("words", process_id=ID, existing="error")

        worker.go()
        assert worker.result() == ID
        assert calls() == ONCE

    def test_is_refused_while_the_new_run_could_not_begin(self, vault: TableVault, calls: Calls) -> None:
        vault.execute_instance("words", process_id=ID, until="shout")
        text = BUILDERS["length"].replace("function: length", "function: lenght")
        vault.create_builder_file("words", "length", text=text)
        before = states.state(Path(vault.db_dir))

        with pytest.raises(TVBuilderError, match="lenght"):
            rerun(vault)

        assert states.state(Path(vault.db_dir)) == before
        vault.create_builder_file("words", "length", text=BUILDERS["length"])
        with pytest.raises(TVBuilderError, match="no builder of that name"):
            rerun(vault, until="shuot")
        assert vault.get_process(ID).state is State.PAUSED

    def test_of_a_partial_instance_begins_with_its_builders(self, vault: TableVault, calls: Calls) -> None:
        vault.execute_instance("words", process_id=ID, until="shout")
        vault.stop_process(ID, materialize=True)

        rerun(vault)

        assert vault.get_process(f"{ID}~1").state is State.MATERIALIZED
        assert calls()["shout dog"] == 2
        assert vault.get_descriptions(made_by(vault, ID)[0], "words")["success"]


def test_children_are_not_found_done_by_a_rerun(vault: TableVault, calls: Calls) -> None:
    code = f"""
from pathlib import Path
from tablevault_like import TableVault
from tests.workers import note_call

def rows():
    vault = TableVault({vault.db_dir!r})
    note_call("rows")
    vault.create_code_module("made", text="ONE = 1\\n")
    yield vault.get_active_processes()["outer"].epoch
"""
    vault.create_code_module("parent", text=code)
    vault.create_table("outer")
    text = (
        BUILDERS["words_index"].replace("function: words", "function: rows").replace("module: tools", "module: parent")
    )
    vault.create_instance("outer", builders={"outer_index": text.replace("arguments: {start: ~RESUME_FROM~}\n", "")})
    vault.execute_instance("outer", process_id="outer")
    first = vault.get_process("outer.outer_index.all.1")

    vault.execute_instance("outer", process_id="outer", existing="rerun")

    assert vault.get_process("outer.outer_index.all.1").created_at > first.created_at
    assert vault.get_process("outer~1.outer_index.all.1").created_at == first.created_at
    assert vault.get_process("outer~1.outer_index.all.1").parent_id == "outer~1"

    vault.execute_instance("outer", process_id="outer", existing="rerun")

    assert vault.get_process("outer~2").created_at > vault.get_process("outer~1").created_at
