"""Rows that fail while the rest goes on: what is kept, called again, left out, and told of processes and instances."""

from __future__ import annotations

import re
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import State, TableVault
from tablevault_like.errors import TVArgumentError, TVBuilderError, TVFileError, TVProcessError, TVRowsError
from tablevault_like.layout import Layout, ProcessLayout
from tablevault_like.operations.execute import ExecuteInstance
from tablevault_like.process.operation import View
from tests import states, tasks
from tests.scenes import Calls
from tests.tables import begin, build, column, gates, index, notes, write
from tests.workers import Action, Fault, Workers

WORDS = ["ant", "bee", "cat", "dog"]

# ``shout`` fails at the words that stand in the file ``fails``.
CODE = """
from pathlib import Path

from tablevault_like import Result
from tests.workers import note_call, pass_point

class BusyError(ConnectionError):
    cost = 0.5
    tokens = 2

def rows():
    yield from ["ant", "bee", "cat", "dog"]

def shout(word, folder, mark="!"):
    note_call(f"shout {word}")
    pass_point(f"shout {word}")
    if word in Path(folder, "fails").read_text().split():
        raise BusyError(f"no answer for {word}")
    return Result(word.upper() + mark, cost=1.0, tokens=10)

def measure(loud):
    note_call(f"measure {loud}")
    return len(loud)

def turn(word):
    note_call(f"turn {word}")
    return word[::-1]

def count(words):
    note_call("count")
    return words.assign(letters=words["word"].str.len())[["letters"]]
"""

MEASURE = column("size", function="measure", arguments={"loud": "<<self.loud[index]>>"})
TURN = column("back", function="turn", arguments={"word": "<<self.word[index]>>"})


@pytest.fixture
def vault(tmp_path: Path, calls: Calls) -> TableVault:
    return TableVault(tmp_path / "vault", "ada", create=True)


@pytest.fixture
def fails(tmp_path: Path) -> Callable[..., None]:
    """Return what says at which words the function fails."""

    def say(*words: str) -> None:
        (tmp_path / "fails").write_text(" ".join(words))

    say("bee", "dog")
    return say


def shout(vault: TableVault, **fields: object) -> str:
    arguments = {"word": "<<self.word[index]>>", "folder": str(Path(vault.db_dir).parent)}
    return column("loud", function="shout", arguments=arguments, **{"on_error": "continue", **fields})


def builders(vault: TableVault, **fields: object) -> dict[str, str]:
    """Return builders of which ``measure`` reads what ``shout`` makes, and ``turn`` doesn't."""
    key = index("word", primary_key="word")
    return {"index": key, "shout": shout(vault, **fields), "measure": MEASURE, "turn": TURN}


@pytest.fixture
def paused(vault: TableVault, fails: Callable[..., None]) -> TableVault:
    """Return a vault in which the process ``p`` is paused, as two of four rows failed."""
    begin(vault, "words", builders(vault), code=CODE)
    with pytest.raises(TVRowsError):
        vault.execute_instance("words", process_id="p")
    return vault


class TestContinue:
    def test_tells_how_many_rows_failed_and_where_they_are(self, vault: TableVault, fails: Callable[..., None]) -> None:
        begin(vault, "words", builders(vault), code=CODE)

        with pytest.raises(TVRowsError) as caught:
            vault.execute_instance("words", process_id="p")

        assert str(caught.value) == (
            "2 of 4 rows of the builder 'shout' failed, the first of them row 1: BusyError: no answer for bee. "
            "get_errors('p') has them all, with what they were called with."
        )
        assert caught.value.failed == {"shout": 2}
        assert type(caught.value.__cause__).__name__ == "BusyError"
        assert "is paused: call again with the same process_id" in notes(caught.value)[-1]

    def test_lets_builders_go_on_that_do_not_read_what_failed(self, paused: TableVault, calls: Calls) -> None:
        process = paused.get_process("p")

        assert process.status == "paused"
        assert not process.paused_on_request
        assert set(process.steps_done) == {"words_index", "turn"}
        assert calls()["turn dog"] == 1
        assert not any(name.startswith("measure") for name in calls())
        step = next(step for step in process.steps if step.name == "shout")
        assert (step.rows_done, step.rows_failed, step.rows_total) == (2, 2, 4)
        assert (step.cost, step.tokens) == (3.0, 24)
        assert (process.cost, process.tokens) == (3.0, 24)

    def test_the_same_call_calls_just_the_rows_that_failed(
        self, paused: TableVault, calls: Calls, fails: Callable[..., None]
    ) -> None:
        fails()

        paused.execute_instance("words", process_id="p")

        found = calls()
        assert [found[f"shout {word}"] for word in WORDS] == [1, 2, 1, 2]
        assert {found[f"turn {word}"] for word in WORDS} == {1}
        frame = paused.get_dataframe("words")
        assert frame["loud"].tolist() == ["ANT!", "BEE!", "CAT!", "DOG!"]
        assert frame["size"].tolist() == [4, 4, 4, 4]
        assert paused.get_errors("p").empty
        assert paused.get_process("p").cost == 5.0
        states.assert_sound(Path(paused.db_dir))

    def test_rows_that_fail_again_are_counted_alone(self, paused: TableVault, fails: Callable[..., None]) -> None:
        fails("dog")

        with pytest.raises(TVRowsError, match=r"^1 of 4 rows of the builder 'shout' failed, the first of them row 3"):
            paused.execute_instance("words", process_id="p")

        assert paused.get_errors("p")["attempts"].tolist() == [2]

    def test_of_several_builders_tells_of_each(self, vault: TableVault, fails: Callable[..., None]) -> None:
        more = {"again": shout(vault).replace("- loud", "- again")}
        begin(vault, "words", {**builders(vault), **more}, code=CODE)

        with pytest.raises(TVRowsError) as caught:
            vault.execute_instance("words", process_id="p")

        assert str(caught.value).splitlines()[:2] == [
            "Rows failed:",
            "  - 2 of 4 rows of the builder 'again' failed, the first of them row 1: BusyError: no answer for bee",
        ]
        assert caught.value.failed == {"again": 2, "shout": 2}
        assert vault.get_errors("p")["builder"].tolist() == ["again", "again", "shout", "shout"]

    def test_without_an_id_it_is_reverted(self, vault: TableVault, fails: Callable[..., None]) -> None:
        begin(vault, "words", builders(vault), code=CODE)

        with pytest.raises(TVRowsError) as caught:
            vault.execute_instance("words")

        assert "get_errors" not in str(caught.value)
        assert "was reverted" in notes(caught.value)[-1]
        assert vault.get_active_processes() == {}
        assert vault.get_dataframe("words", "TEMP_base")["loud"].fillna("-").tolist() == ["ANT!", "-", "CAT!", "-"]
        states.assert_sound(Path(vault.db_dir))

    def test_of_an_index_builder_holds_up_all_others(
        self, vault: TableVault, calls: Calls, fails: Callable[..., None]
    ) -> None:
        build(vault, "words", {"index": index("word")}, code=CODE)
        folder = str(Path(vault.db_dir).parent)
        fields = {"return_type": "row-wise", "on_error": "continue"}
        arguments = {"word": "<<self.word[index]>>", "folder": folder}
        loud = index("word", function="shout", arguments=arguments, **fields)
        origin = vault.get_table_instances("words")[-1]
        begin(vault, "words", {"index": loud, "turn": TURN}, origin_id=origin)

        with pytest.raises(TVRowsError):
            vault.execute_instance("words", process_id="p")
        assert not any(name.startswith("turn") for name in calls())
        fails()
        vault.execute_instance("words", process_id="p")

        assert vault.get_dataframe("words")["back"].tolist() == ["!TNA", "!EEB", "!TAC", "!GOD"]


class TestMaterialized:
    def test_keeps_what_is_done_and_says_what_is_missing_and_why(self, paused: TableVault) -> None:
        before = paused.get_errors("p", missing=True)

        paused.stop_process("p", materialize=True)

        frame = paused.get_dataframe("words")
        assert frame["loud"].fillna("-").tolist() == ["ANT!", "-", "CAT!", "-"]
        assert frame["back"].tolist() == ["tna", "eeb", "tac", "god"]
        found = paused.get_errors("words")
        assert found["row"].tolist() == [1, 3]
        assert set(found["status"]) == {"failed"}
        pd.testing.assert_frame_equal(paused.get_errors("p"), found)
        whole = paused.get_errors("words", missing=True)
        pd.testing.assert_frame_equal(whole, before)
        assert whole[["builder", "row", "key", "status"]].values.tolist() == [
            ["shout", 1, "bee", "failed"],
            ["shout", 3, "dog", "failed"],
            *(["measure", row, word, "missing"] for row, word in enumerate(WORDS)),
        ]
        states.assert_sound(Path(paused.db_dir))

    def test_rows_that_failed_are_made_by_the_next_instance(
        self, paused: TableVault, calls: Calls, fails: Callable[..., None]
    ) -> None:
        paused.stop_process("p", materialize=True)
        fails()
        paused.create_instance("words", copy=True)

        paused.execute_instance("words")

        assert [calls()[f"shout {word}"] for word in WORDS] == [1, 2, 1, 2]
        assert paused.get_dataframe("words")["loud"].tolist() == ["ANT!", "BEE!", "CAT!", "DOG!"]


class TestNull:
    def test_leaves_rows_empty_and_completes(self, vault: TableVault, calls: Calls, fails: Callable[..., None]) -> None:
        more = {"measure": MEASURE.replace("row-wise", "row-wise\non_error: null")}
        frame = build(vault, "words", {**builders(vault, on_error="null"), **more}, code=CODE)

        assert frame["loud"].fillna("-").tolist() == ["ANT!", "-", "CAT!", "-"]
        assert frame["size"].fillna(0).tolist() == [4, 0, 4, 0]
        found = vault.get_errors("words")
        assert found[["builder", "row", "key", "status", "error_type"]].values.tolist() == [
            ["shout", 1, "bee", "skipped", "BusyError"],
            ["shout", 3, "dog", "skipped", "BusyError"],
            ["measure", 1, "bee", "skipped", "TypeError"],
            ["measure", 3, "dog", "skipped", "TypeError"],
        ]
        assert vault.get_errors("words", missing=True).equals(found)
        assert vault.get_descriptions(vault.get_table_instances("words")[-1], "words")["success"] is True

    def test_its_rows_are_made_again_by_the_next_instance(
        self, vault: TableVault, calls: Calls, fails: Callable[..., None]
    ) -> None:
        build(vault, "words", {"index": index("word"), "shout": shout(vault, on_error="null")}, code=CODE)
        fails("dog")
        vault.create_instance("words", copy=True)

        vault.execute_instance("words", process_id="next")

        assert [calls()[f"shout {word}"] for word in WORDS] == [1, 2, 1, 2]
        assert vault.get_dataframe("words")["loud"].fillna("-").tolist() == ["ANT!", "BEE!", "CAT!", "-"]
        assert vault.get_errors("words")["row"].tolist() == [3]
        step = next(step for step in vault.get_process("next").steps if step.name == "shout")
        assert (step.rows_done, step.rows_reused, step.rows_skipped) == (3, 2, 1)
        assert vault.get_process("next").rows_skipped == 1

    def test_too_many_pause_it(self, vault: TableVault, fails: Callable[..., None]) -> None:
        begin(vault, "words", builders(vault, on_error="null", max_failures="25%"), code=CODE)

        with pytest.raises(ConnectionError) as caught:
            vault.execute_instance("words", process_id="p")

        assert "2 of 4 rows have failed: more than max_failures allows." in notes(caught.value)
        assert vault.get_errors("p")["status"].tolist()[-1] == "failed"


class TestRetries:
    def test_make_a_run_complete_that_would_fail(
        self, vault: TableVault, calls: Calls, tmp_path: Path, fails: Callable[..., None]
    ) -> None:
        code = CODE.replace("    if word in", "    with gate(word, folder):\n        pass\n    if word in")
        code += """
from contextlib import contextmanager

@contextmanager
def gate(word, folder):
    path = Path(folder, f"tried {word}")
    if word in ("bee", "dog") and not path.exists():
        path.touch()
        raise BusyError("come back")
    yield
"""
        fails()
        begin(vault, "words", builders(vault, on_error="stop", retries={"attempts": 2, "wait": 0}), code=code)

        vault.execute_instance("words", process_id="p")

        assert [calls()[f"shout {word}"] for word in WORDS] == [1, 2, 1, 2]
        assert vault.get_process("p").cost == 5.0
        (instance_id,) = vault.get_table_instances("words")
        found = pd.read_parquet(Path(vault.db_dir, "words", instance_id, "provenance", "shout.parquet"))
        assert found["attempts"].tolist() == [1, 2, 1, 2]
        assert found["cost"].tolist() == [1.0, 1.5, 1.0, 1.5]
        assert found["tokens"].tolist() == [10, 12, 10, 12]
        assert (found["seconds"] >= 0).all()

    def test_a_timeout_keeps_the_process_running_until_its_call_returns(self, vault: TableVault) -> None:
        code = """
        from tests.tables import GATES

        def rows():
            yield from range(2)

        def slow(number):
            if number:
                GATES["slow"].enter()
            return number
        """
        slow = column("slow", function="slow", arguments={"number": "<<self.id[index]>>"}, timeout=0.1)
        begin(vault, "t", {"index": index("id"), "slow": slow}, code=code)
        with gates("slow") as (gate,):
            with pytest.raises(TimeoutError) as caught:
                vault.execute_instance("t", process_id="p")
            assert "are still running" in notes(caught.value)[-1]
            assert vault.get_process("p").status == "running"
            gate.open()
            assert vault.wait("p", timeout=30).status == "paused"
        assert vault.get_errors("p")["error_type"].tolist() == ["TimeoutError"]


class TestWhileItRuns:
    @pytest.mark.parametrize("word", ["cat", "dog"])
    def test_a_kill_loses_no_failure(
        self, vault: TableVault, calls: Calls, workers: Workers, fails: Callable[..., None], word: str
    ) -> None:
        begin(vault, "words", builders(vault), code=CODE)
        worker = workers.start(
            tasks.execute, Path(vault.db_dir), "words", "p", faults=[Fault(f"shout {word}", Action.WAIT)]
        )
        assert worker.arrive() == f"shout {word}"
        done = WORDS.index(word)
        _await_rows(vault, done)
        assert vault.get_errors("p")["row"].tolist() == [1]
        assert vault.get_errors("words", instance_id="TEMP_base")["key"].tolist() == ["bee"]
        worker.kill()

        assert vault.get_errors("p")["row"].tolist() == [1]
        fails()
        vault.execute_instance("words", process_id="p")
        found = calls()
        assert [found[f"shout {each}"] for each in WORDS] == [1, 2, *((2, 1) if word == "cat" else (1, 2))]
        assert vault.get_dataframe("words")["size"].tolist() == [4, 4, 4, 4]
        states.assert_sound(Path(vault.db_dir))

    def test_restart_tries_the_rows_that_failed(
        self, paused: TableVault, calls: Calls, fails: Callable[..., None]
    ) -> None:
        outcome = TableVault(paused.db_dir, restart=True).restarted["p"]
        assert outcome.state is State.PAUSED
        assert str(outcome.error).startswith("TVRowsError: 2 of 4 rows of the builder 'shout' failed")
        fails()

        assert TableVault(paused.db_dir, restart=True).restarted["p"].state is State.COMPLETED
        assert [calls()[f"shout {word}"] for word in WORDS] == [1, 3, 1, 3]

    def test_an_error_that_says_anything_is_kept(self, vault: TableVault) -> None:
        code = r"""
        def rows():
            yield "a \udc80".replace("\udc80", "b")

        def fail(word):
            raise ValueError("lone \udc80, \x00 and \x1b[2J")
        """
        fail = column("loud", function="fail", arguments={"word": "<<self.word[index]>>"}, on_error="null")
        build(vault, "t", {"index": index("word"), "fail": fail}, code=code)

        (message,) = vault.get_errors("t")["message"]
        assert message == "lone \\udc80, \x00 and \x1b[2J"


def _await_rows(vault: TableVault, rows: int) -> None:
    from tests.workers import wait_until

    path = Layout(Path(vault.db_dir)).process("p").rows

    def recorded() -> int:
        with closing(sqlite3.connect(path)) as db:
            return int(db.execute("SELECT count(*) FROM results WHERE builder = 'shout'").fetchone()[0])

    wait_until(lambda: recorded() >= rows)


class TestGetErrors:
    def test_has_all_columns(self, paused: TableVault) -> None:
        found = paused.get_errors("p")

        assert found.dtypes.astype(str).to_dict() == {
            "builder": "string",
            "row": "Int64",
            "key": "string",
            "status": "string",
            "error_type": "string",
            "message": "string",
            "traceback": "string",
            "attempts": "Int64",
            "seconds": "Float64",
            "cost": "Float64",
            "tokens": "Int64",
            "inputs": "string",
        }
        first = found.iloc[0]
        folder = str(Path(paused.db_dir).parent)
        assert (first["builder"], first["row"], first["key"], first["status"]) == ("shout", 1, "bee", "failed")
        assert (first["error_type"], first["message"]) == ("BusyError", "no answer for bee")
        assert (first["attempts"], first["cost"], first["tokens"]) == (1, 0.5, 2)
        assert first["inputs"] == f'{{"word":"bee","folder":"{folder}"}}'
        lines = first["traceback"].splitlines()
        assert re.match(r'  File ".*work\.py", line \d+, in shout', lines[1])
        assert lines[-1].endswith("BusyError: no answer for bee")

    def test_tells_several_keys_as_json(self, vault: TableVault) -> None:
        code = """
        def rows():
            yield "a", 1
            yield None, 2

        def fail(number):
            raise ValueError(number)
        """
        fail = column("x", function="fail", arguments={"number": "<<self.n[index]>>"}, on_error="null")
        build(vault, "t", {"index": index("a", "n", primary_key="n"), "fail": fail}, code=code)
        assert vault.get_errors("t")["key"].tolist() == ["1", "2"]
        code = code.replace("None, 2", '"b", 2')
        build(vault, "u", {"index": index("a", "n", primary_key=["a", "n"]), "fail": fail}, code=code)
        assert vault.get_errors("u")["key"].tolist() == ['["a", 1]', '["b", 2]']

    def test_is_empty_where_nothing_failed(self, vault: TableVault) -> None:
        write(vault, "numbers", pd.DataFrame({"n": [1]}))
        vault.create_table("other", process_id="other-made")

        for found in (vault.get_errors("numbers"), vault.get_errors("other-made")):
            assert found.empty
            assert "traceback" in found.columns

    def test_of_a_table_are_those_of_the_instance_that_is_asked_for(
        self, paused: TableVault, fails: Callable[..., None]
    ) -> None:
        paused.stop_process("p", materialize=True)
        fails()
        paused.create_instance("words", copy=True)
        paused.execute_instance("words")
        first, _ = paused.get_table_instances("words")

        assert paused.get_errors("words").empty
        assert paused.get_errors("words", instance_id=first)["row"].tolist() == [1, 3]
        with pytest.raises(TVArgumentError):
            paused.get_errors("words", version="other")

    def test_refuses_what_is_unknown_or_may_be_either(self, paused: TableVault) -> None:
        with pytest.raises(TVArgumentError, match=r"no process and no table 'word'\. Did you mean 'words'\?"):
            paused.get_errors("word")
        with pytest.raises(TVArgumentError, match="Give one of them"):
            paused.get_errors()
        with pytest.raises(TVArgumentError, match="Give one of them"):
            paused.get_errors("p", table_name="words")
        paused.create_table("p")
        with pytest.raises(TVArgumentError, match="'p' is a process and a table"):
            paused.get_errors("p")
        assert len(paused.get_errors(process_id="p")) == 2
        with pytest.raises(TVArgumentError, match="p"):
            paused.get_errors(table_name="p")

    def test_tells_that_nothing_is_left(self, paused: TableVault) -> None:
        paused.stop_process("p")

        with pytest.raises(TVProcessError, match="'p' was reverted: what its rows had recorded is gone"):
            paused.get_errors("p")

    def test_tells_that_its_file_is_damaged(self, paused: TableVault) -> None:
        paused.stop_process("p", materialize=True)
        (instance_id,) = paused.get_table_instances("words")
        path = Path(paused.db_dir, "words", instance_id, "provenance", "failures.parquet")
        path.chmod(0o644)
        path.unlink()

        with pytest.raises(TVFileError, match=r"failures\.parquet.* restore the file from a backup"):
            paused.get_errors("words")

    def test_of_an_instance_of_an_earlier_version_are_none(self, paused: TableVault) -> None:
        paused.stop_process("p", materialize=True)
        (instance_id,) = paused.get_table_instances("words")
        path = Path(paused.db_dir, "words", instance_id, "provenance", "builders.json")
        path.chmod(0o644)
        path.write_text('{"format": 1, "recipes": {}, "builders": []}')

        assert paused.get_errors("words").empty
        assert paused.get_errors("words", missing=True).empty


class TestEdited:
    """What says how a builder is run counts from the next start on."""

    def test_what_is_done_about_errors(self, paused: TableVault, calls: Calls) -> None:
        paused.create_builder_file("words", "shout", text=shout(paused, on_error="null"))
        paused.create_builder_file("words", "measure", text=MEASURE + "on_error: null\n")

        paused.execute_instance("words", process_id="p")

        assert [calls()[f"shout {word}"] for word in WORDS] == [1, 2, 1, 2]
        assert paused.get_errors("words")["status"].tolist() == ["skipped"] * 4
        (instance_id,) = paused.get_table_instances("words")
        kept = paused.get_builder_str("words", "shout", instance_id)
        assert "on_error: 'null'" in kept

    @pytest.mark.parametrize("on_change", ["error", "continue", "recompute"])
    def test_whatever_is_done_about_changes(
        self, paused: TableVault, calls: Calls, fails: Callable[..., None], on_change: str
    ) -> None:
        fails()
        text = shout(paused, n_threads=3, retries=2, timeout=60, rate="1000/s", on_error="stop")
        paused.create_builder_file("words", "shout", text=text)

        paused.execute_instance("words", process_id="p", on_change=on_change)

        assert [calls()[f"shout {word}"] for word in WORDS] == [1, 2, 1, 2]
        (instance_id,) = paused.get_table_instances("words")
        assert paused.get_builder_str("words", "shout", instance_id) == text

    def test_but_keep_keeps_it(self, paused: TableVault) -> None:
        paused.create_builder_file("words", "shout", text=shout(paused, on_error="null"))

        with pytest.raises(TVRowsError):
            paused.execute_instance("words", process_id="p", on_change="keep")

    def test_restart_takes_it_up(self, paused: TableVault) -> None:
        paused.create_builder_file("words", "shout", text=shout(paused, on_error="null"))
        paused.create_builder_file("words", "measure", text=MEASURE + "on_error: null\n")

        assert TableVault(paused.db_dir, restart=True).restarted["p"].state is State.COMPLETED

    def test_a_mistake_is_told_and_changes_nothing(self, paused: TableVault) -> None:
        path = Path(paused.db_dir, "words", "TEMP_base", "builders", "shout.yaml")
        path.write_text(shout(paused).replace("on_error: continue", "on_error: carry on"))

        with pytest.raises(TVBuilderError, match="on_error must be 'stop', 'continue' or 'null'"):
            paused.execute_instance("words", process_id="p")
        assert paused.get_process("p").status == "paused"

    def test_with_other_changes_it_is_an_error_as_ever(self, paused: TableVault) -> None:
        text = shout(paused, on_error="null").replace("word: <<", 'mark: "?"\n  word: <<')
        paused.create_builder_file("words", "shout", text=text)

        with pytest.raises(TVBuilderError, match=r"arguments\.mark is new"):
            paused.execute_instance("words", process_id="p")

    @pytest.mark.parametrize("edit", ["on_error: [what", "another function"])
    def test_what_changes_after_the_check_does_not_count(
        self, paused: TableVault, fails: Callable[..., None], monkeypatch: pytest.MonkeyPatch, edit: str
    ) -> None:
        check = ExecuteInstance.check_resume
        path = Path(paused.db_dir, "words", "TEMP_base", "builders", "shout.yaml")
        text = edit if edit.startswith("on_error") else path.read_text().replace("function: shout", "function: turn")

        def check_and_edit(self: ExecuteInstance, view: View, folder: ProcessLayout) -> None:
            check(self, view, folder)
            path.write_text(text)

        fails()
        monkeypatch.setattr(ExecuteInstance, "check_resume", check_and_edit)

        paused.execute_instance("words", process_id="p")

        assert paused.get_dataframe("words")["loud"].tolist() == ["ANT!", "BEE!", "CAT!", "DOG!"]

    @pytest.mark.parametrize("point", ["before tablevault_like.storage.files:replace"])
    def test_a_kill_while_it_is_taken_up_loses_nothing(
        self, paused: TableVault, workers: Workers, calls: Calls, fails: Callable[..., None], point: str
    ) -> None:
        fails()
        text = shout(paused, n_threads=2)
        paused.create_builder_file("words", "shout", text=text)
        worker = workers.start(tasks.execute, Path(paused.db_dir), "words", "p", faults=[Fault(point, Action.KILL)])
        assert worker.end() == -signal.SIGKILL

        paused.execute_instance("words", process_id="p")

        assert [calls()[f"shout {word}"] for word in WORDS] == [1, 2, 1, 2]
        states.assert_sound(Path(paused.db_dir))
