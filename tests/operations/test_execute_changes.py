"""What changes while an execution is under way: builders, code and inputs, and the four answers of ``on_change``."""

from __future__ import annotations

import pickle
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from tablevault_like import State, TableVault
from tablevault_like.cli import app
from tablevault_like.errors import TVArgumentError, TVBuilderError
from tests.scenes import Calls
from tests.tables import Background, begin, build, column, gates, index, write, write_code

# ``shout`` fails at the third row as long as the file ``fail`` is there.
CODE = """
from pathlib import Path

from tests.workers import note_call

def rows():
    for word in ["ant", "bee", "cat", "dog"]:
        note_call(f"row {word}")
        yield word

def loud(word):
    return word.upper()

def shout(word, folder, mark="!"):
    note_call(f"shout {word}")
    if word == "cat" and Path(folder, "fail").exists():
        raise ConnectionError("nobody answers")
    return loud(word) + mark

def measure(text):
    note_call(f"measure {text}")
    return len(text)

def unrelated():
    return 1
"""
NEW_CODE = CODE.replace("word.upper()", "word.title()")
SAME_CODE = CODE.replace("def loud(word):", '# Louder!\ndef loud(word):\n    """Shout."""').replace(
    "return 1", "return 2"
)


@pytest.fixture
def vault(tmp_path: Path, calls: Calls) -> TableVault:
    return TableVault(tmp_path / "vault", "ada", create=True)


def shout(vault: TableVault, **more: object) -> str:
    folder = str(Path(vault.db_dir).parent)
    return column("loud", function="shout", arguments={"word": "<<self.word[index]>>", "folder": folder, **more})


MEASURE = column("size", function="measure", arguments={"text": "<<self.loud[index]>>"})


@pytest.fixture
def paused(vault: TableVault, calls: Calls, tmp_path: Path) -> TableVault:
    """Return a vault in which the process ``p`` is paused: two of four rows are shouted, and none is measured."""
    begin(vault, "words", {"index": index("word"), "shout": shout(vault), "measure": MEASURE}, code=CODE)
    (tmp_path / "fail").touch()
    with pytest.raises(ConnectionError):
        vault.execute_instance("words", process_id="p")
    (tmp_path / "fail").unlink()
    assert vault.get_process("p").status == "paused"
    return vault


def resume(vault: TableVault, on_change: str = "error") -> pd.DataFrame:
    vault.execute_instance("words", process_id="p", on_change=on_change)
    return vault.get_dataframe("words")


class TestNoChange:
    def test_a_resume_calls_only_what_is_missing(self, paused: TableVault, calls: Calls) -> None:
        assert resume(paused)["loud"].tolist() == ["ANT!", "BEE!", "CAT!", "DOG!"]
        found = calls()
        assert [found[f"shout {word}"] for word in ("ant", "bee", "cat", "dog")] == [1, 1, 2, 1]
        assert {found[f"row {word}"] for word in ("ant", "bee", "cat", "dog")} == {1}

    @pytest.mark.parametrize("on_change", ["error", "continue", "recompute", "keep"])
    def test_comments_docstrings_and_what_is_not_used_are_none(
        self, paused: TableVault, calls: Calls, on_change: str
    ) -> None:
        write_code(paused, SAME_CODE)
        text = paused.get_builder_str("words", "shout")
        paused.create_builder_file("words", "shout", text=f"# Louder!\nn_threads: 3\n{text}")
        assert resume(paused, on_change)["loud"].tolist() == ["ANT!", "BEE!", "CAT!", "DOG!"]
        assert calls()["shout ant"] == 1

    def test_a_newer_instance_of_an_input_is_none(self, vault: TableVault, tmp_path: Path, calls: Calls) -> None:
        write(vault, "marks", pd.DataFrame({"mark": ["!"]}))
        text = shout(vault, mark="<<marks.mark[index::0]>>")
        begin(vault, "words", {"index": index("word"), "shout": text}, code=CODE)
        (tmp_path / "fail").touch()
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")
        (tmp_path / "fail").unlink()
        write(vault, "marks", pd.DataFrame({"mark": ["?"]}))
        assert resume(vault)["loud"].tolist() == ["ANT!", "BEE!", "CAT!", "DOG!"]


class TestError:
    def test_says_what_changed_and_the_ways_on_and_changes_nothing(self, paused: TableVault, calls: Calls) -> None:
        before = (paused.get_process("p"), calls())
        write_code(paused, NEW_CODE)
        paused.create_builder_file("words", "shout", text=shout(paused, mark="?"))
        paused.create_builder_file("words", "again", text=column("again", function="unrelated"))
        paused.delete_builder_file("measure", "words")
        with pytest.raises(TVBuilderError) as caught:
            resume(paused)
        told = str(caught.value)
        assert "The builders or the code of words/base have changed since this process was started:" in told
        assert "  - builder 'again' is new\n" in told
        assert "  - builder 'measure' was removed\n" in told
        assert "  - builder 'shout': arguments.mark is new: \"?\"\n" in told
        assert "  - builder 'shout': work.loud changed\n" in told
        assert all(f"'{way}'" in told for way in ("continue", "recompute", "keep"))
        after = paused.get_process("p")
        assert (after.state, after.epoch, after.locks) == (State.PAUSED, before[0].epoch, before[0].locks)
        assert calls() == before[1]

    def test_an_unknown_answer_is_refused(self, paused: TableVault) -> None:
        with pytest.raises(TVArgumentError, match="'error', 'continue', 'recompute', 'keep'"):
            paused.execute_instance("words", process_id="p", on_change="ignore")

    def test_restart_leaves_it_paused_and_says_so(self, paused: TableVault) -> None:
        write_code(paused, NEW_CODE)
        restarted = TableVault(paused.db_dir, restart=True).restarted
        assert restarted["p"].state is State.PAUSED
        assert "work.loud changed" in str(restarted["p"].error)
        assert "on_change='continue'" in str(restarted["p"].error)


class TestContinue:
    def test_keeps_finished_rows_and_makes_the_others_with_the_new_code(self, paused: TableVault, calls: Calls) -> None:
        write_code(paused, NEW_CODE)
        assert resume(paused, "continue")["loud"].tolist() == ["ANT!", "BEE!", "Cat!", "Dog!"]
        assert calls()["shout ant"] == 1

    def test_each_row_records_which_code_made_it(self, paused: TableVault, tmp_path: Path) -> None:
        write_code(paused, NEW_CODE.replace('word == "cat"', 'word == "dog"'))
        (tmp_path / "fail").touch()
        with pytest.raises(ConnectionError):
            resume(paused, "continue")
        rows = Path(paused.db_dir, "metadata/processes/p/rows.sqlite")
        with closing(sqlite3.connect(rows)) as db:
            found = db.execute("SELECT row, status, code FROM results WHERE builder = 'shout' ORDER BY row").fetchall()
        assert [status for _, status, _ in found] == ["done", "done", "done", "failed"]
        assert found[0][2] == found[1][2] != found[2][2] == found[3][2]

    def test_new_arguments_columns_and_builders_count(self, paused: TableVault) -> None:
        paused.create_builder_file("words", "shout", text=shout(paused, mark="?"))
        paused.create_builder_file("words", "again", text=column("again", function="unrelated"))
        paused.delete_builder_file("measure", "words")
        assert resume(paused, "continue").to_dict("list") == {
            "word": ["ant", "bee", "cat", "dog"],
            "again": [1, 1, 1, 1],
            "loud": ["ANT!", "BEE!", "CAT?", "DOG?"],
        }

    def test_the_new_builders_are_those_that_the_instance_keeps(self, paused: TableVault) -> None:
        paused.create_builder_file("words", "shout", text=shout(paused, mark="?"))
        resume(paused, "continue")
        assert "mark: '?'" in paused.get_builder_str("words", "shout", is_temp=False)

    def test_new_inputs_are_pinned(self, paused: TableVault) -> None:
        write(paused, "marks", pd.DataFrame({"mark": ["?"]}))
        paused.create_builder_file("words", "shout", text=shout(paused, mark="<<marks.mark[index::0]>>"))
        assert resume(paused, "continue")["loud"].tolist() == ["ANT!", "BEE!", "CAT?", "DOG?"]
        (made,) = paused.get_table_instances("words")
        assert [table for table, _ in paused.get_descriptions(made, "words")["dependencies"]] == ["marks"]  # type: ignore[attr-defined]


class TestRecompute:
    def test_makes_all_rows_of_changed_builders_anew_and_no_others(self, paused: TableVault, calls: Calls) -> None:
        write_code(paused, NEW_CODE)
        assert resume(paused, "recompute")["loud"].tolist() == ["Ant!", "Bee!", "Cat!", "Dog!"]
        found = calls()
        assert [found[f"shout {word}"] for word in ("ant", "bee", "cat", "dog")] == [2, 2, 2, 1]
        assert found["row ant"] == 1

    def test_makes_the_rows_of_builders_that_depend_on_them_anew(
        self, vault: TableVault, calls: Calls, tmp_path: Path
    ) -> None:
        code = CODE.replace(
            "return len(text)", f"if Path({str(tmp_path)!r}, 'late').exists(): 1 / 0\n    return len(text)"
        )
        begin(vault, "words", {"index": index("word"), "shout": shout(vault), "measure": MEASURE}, code=code)
        (tmp_path / "late").write_text("")
        with pytest.raises(ZeroDivisionError):
            vault.execute_instance("words", process_id="p")
        (tmp_path / "late").unlink()
        vault.create_builder_file("words", "shout", text=shout(vault, mark="!!!"))
        frame = resume(vault, "recompute")
        assert frame["size"].tolist() == [6, 6, 6, 6]
        assert calls()["row ant"] == 1

    def test_of_the_index_makes_everything_anew(self, paused: TableVault, calls: Calls) -> None:
        write_code(paused, CODE.replace('["ant", "bee", "cat", "dog"]', '["cat", "eel"]'))
        assert resume(paused, "recompute").to_dict("list") == {
            "word": ["cat", "eel"],
            "loud": ["CAT!", "EEL!"],
            "size": [4, 4],
        }
        assert calls()["shout cat"] == 2

    def test_happens_once_even_if_it_fails_again(self, paused: TableVault, calls: Calls, tmp_path: Path) -> None:
        write_code(paused, NEW_CODE)
        (tmp_path / "fail").touch()
        with pytest.raises(ConnectionError):
            resume(paused, "recompute")
        (tmp_path / "fail").unlink()
        resume(paused)
        assert calls()["shout ant"] == 2


class TestKeep:
    def test_finishes_with_the_builders_and_the_code_as_they_were(self, paused: TableVault, calls: Calls) -> None:
        write_code(paused, NEW_CODE)
        paused.create_builder_file("words", "shout", text=shout(paused, mark="?"))
        paused.delete_builder_file("measure", "words")
        frame = resume(paused, "keep")
        assert frame["loud"].tolist() == ["ANT!", "BEE!", "CAT!", "DOG!"]
        assert frame["size"].tolist() == [4, 4, 4, 4]
        (made,) = paused.get_table_instances("words")
        assert "word.upper()" in Path(paused.db_dir, "words", made, "code", "work.py").read_text()

    def test_does_not_need_them_to_be_there(self, paused: TableVault) -> None:
        paused.delete_code_module("work")
        paused.delete_builder_file("shout", "words")
        with pytest.raises(TVBuilderError, match="No builder makes the column 'loud'") as caught:
            resume(paused)
        assert "on_change='keep'" in str(caught.value)
        assert paused.get_process("p").status == "paused"
        assert resume(paused, "keep")["loud"].tolist() == ["ANT!", "BEE!", "CAT!", "DOG!"]

    @pytest.mark.parametrize("on_change", ["error", "continue", "recompute"])
    def test_is_offered_where_the_code_is_no_python(self, paused: TableVault, on_change: str) -> None:
        place = Path(paused.db_dir, "code_functions", "work.py")
        place.write_text("def (")

        with pytest.raises(TVBuilderError, match="can't be read as Python") as caught:
            resume(paused, on_change)

        assert str(caught.value).startswith(f"{place}:1:")
        assert caught.value.location is not None
        assert caught.value.location.line == 1
        assert "Mend it and call again; or call with on_change='keep'" in str(caught.value)
        assert "on_change='keep'" in str(pickle.loads(pickle.dumps(caught.value)))
        assert "on_change='keep'" in str(TableVault(paused.db_dir, restart=True).restarted["p"])
        again = ["execute", "words", "--process-id", "p", "--on-change", on_change]
        for command in (again, ["restart"]):
            said = CliRunner().invoke(app, [*command, "--db-dir", paused.db_dir])
            assert said.exit_code != 0
            assert said.output.count("--on-change keep") == 1
        assert resume(paused, "keep")["loud"].tolist() == ["ANT!", "BEE!", "CAT!", "DOG!"]


class TestEditsMeanwhile:
    def test_do_not_leak_into_what_runs(self, vault: TableVault) -> None:
        code = f"""{CODE}
def wait(word):
    from tests.tables import GATES
    GATES["middle"].enter()
    return loud(word)

def later(word):
    import helper
    return helper.decorate(loud(word))
"""
        write_code(vault, "def decorate(text): return f'<{text}>'", "helper")
        builders = {
            "index": index("word"),
            "a": column("a", function="wait", arguments={"word": "<<self.word[index]>>"}),
            "b": column("b", function="later", arguments={"word": "<<self.word[index]>>"}),
        }
        begin(vault, "words", builders, code=code)
        with gates("middle") as (middle,):
            running = Background(vault.execute_instance, "words")
            middle.await_arrival()
            write_code(vault, NEW_CODE)
            write_code(vault, "def decorate(text): raise AssertionError", "helper")
            vault.create_builder_file("words", "b", text=column("other", function="nothing"))
            vault.create_builder_file("words", "c", text=column("more", function="nothing"))
            Path(vault.db_dir, "words/TEMP_base/builders/a.yaml").write_text("edited by hand")
            middle.open()
            running.result()
        frame = vault.get_dataframe("words")
        assert frame["a"].tolist() == ["ANT", "BEE", "CAT", "DOG"]
        assert frame["b"].tolist() == ["<ANT>", "<BEE>", "<CAT>", "<DOG>"]
        assert list(frame.columns) == ["word", "a", "b"]

    def test_are_not_lost_when_the_instance_is_materialized(self, paused: TableVault) -> None:
        edited = shout(paused, mark="a change that took a day")
        paused.create_builder_file("words", "shout", text=edited)
        resume(paused, "keep")
        assert "took a day" not in paused.get_builder_str("words", "shout", is_temp=False)
        kept = list(Path(paused.db_dir, "metadata/trash").rglob("shout.yaml"))
        assert [path.read_text() for path in kept] == [edited]

    def test_what_is_not_edited_leaves_nothing_behind(self, paused: TableVault) -> None:
        resume(paused)
        assert list(Path(paused.db_dir, "metadata/trash").rglob("*.yaml")) == []
        assert paused.get_table_instances("words", include_temp=True) == paused.get_table_instances("words")

    def test_of_a_paused_process_are_there_after_a_revert(self, paused: TableVault) -> None:
        edited = shout(paused, mark="?")
        paused.create_builder_file("words", "shout", text=edited)
        paused.stop_process("p")
        assert paused.get_builder_str("words", "shout") == edited
        paused.execute_instance("words")
        assert paused.get_dataframe("words")["loud"].tolist() == ["ANT?", "BEE?", "CAT?", "DOG?"]


class TestWhatIdentifiesTheWork:
    def test_cannot_change(self, paused: TableVault) -> None:
        paused.create_instance("words", "short")
        with pytest.raises(TVArgumentError, match="version: 'base' then, 'short' now"):
            paused.execute_instance("words", "short", process_id="p")
        with pytest.raises(TVArgumentError, match="'p' was started by execute_instance"):
            paused.create_table("more", process_id="p")
        assert paused.get_process("p").status == "paused"

    def test_a_completed_process_returns_at_once_whatever_has_changed(self, paused: TableVault, calls: Calls) -> None:
        resume(paused)
        before = calls()
        write_code(paused, NEW_CODE)
        assert paused.execute_instance("words", process_id="p") == "p"
        assert calls() == before

    def test_the_code_of_an_instance_is_what_made_it(self, vault: TableVault) -> None:
        build(vault, "words", {"index": index("word")}, code=CODE)
        write_code(vault, NEW_CODE)
        (made,) = vault.get_table_instances("words")
        assert "word.upper()" in Path(vault.db_dir, "words", made, "code", "work.py").read_text()


class TestArtifactsOfAChangedBuilder:
    CODE = """
from pathlib import Path

def rows():
    yield from ["ant", "bee", "cat"]

def page(word, folder):
    path = Path(folder, f"{word}.txt")
    path.write_text(word)
    if word == "cat":
        raise ConnectionError("nobody answers")
    return path.name
"""

    def test_go_with_the_rows_that_named_them(self, vault: TableVault) -> None:
        page = column(
            "page",
            function="page",
            arguments={"word": "<<self.word[index]>>", "folder": "~ARTIFACT_FOLDER~"},
            dtypes={"page": "artifact_string"},
        )
        begin(vault, "words", {"index": index("word"), "page": page}, code=self.CODE)
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")
        mended = self.CODE.replace('        raise ConnectionError("nobody answers")', "        pass")
        write_code(vault, mended.replace('f"{word}.txt"', 'f"page_of_{word}.txt" if word != "cat" else "cat.txt"'))
        frame = resume(vault, "recompute")
        assert [Path(path).name for path in frame["page"]] == ["page_of_ant.txt", "page_of_bee.txt", "cat.txt"]


class TestFinishedRowsThatCannotStay:
    """Rows that were recorded for other columns would end up under wrong names."""

    SPLIT = """
def rows():
    yield from ["ant", "bee"]

def split(word):
    if word == "bee":
        raise ConnectionError("nobody answers")
    return word[0], word[1:]

def mended(word):
    return word[0], word[1:]

def whole():
    import pandas as pd
    return pd.DataFrame({"first": ["x", "y"], "rest": ["z", "z"]})
"""

    @pytest.fixture
    def split(self, vault: TableVault) -> TableVault:
        text = column("first", "rest", function="split", arguments={"word": "<<self.word[index]>>"})
        begin(vault, "words", {"index": index("word"), "split": text}, code=self.SPLIT)
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")
        return vault

    @pytest.mark.parametrize("columns", [("rest", "first"), ("first",), ("first", "rest", "more"), ("one", "two")])
    def test_are_not_taken_for_what_they_are_not(self, split: TableVault, columns: tuple[str, ...]) -> None:
        text = column(*columns, function="mended", arguments={"word": "<<self.word[index]>>"})
        split.create_builder_file("words", "split", text=text)
        with pytest.raises(TVBuilderError, match=r"'split'.*'recompute'") as caught:
            resume(split, "continue")
        assert "first, rest" in str(caught.value)
        assert split.get_process("p").status == "paused"

    def test_are_made_anew_by_recompute(self, split: TableVault) -> None:
        text = column("rest", "first", function="mended", arguments={"word": "<<self.word[index]>>"})
        split.create_builder_file("words", "split", text=text)
        frame = resume(split, "recompute")
        assert frame[["first", "rest"]].to_dict("list") == {"first": ["nt", "ee"], "rest": ["a", "b"]}

    def test_nor_if_the_builder_returns_frames_now(self, split: TableVault) -> None:
        split.create_builder_file(
            "words", "split", text=column("first", "rest", function="whole", return_type="dataframe")
        )
        with pytest.raises(TVBuilderError, match=r"'split'.*'recompute'"):
            resume(split, "continue")
        assert resume(split, "recompute")["first"].tolist() == ["x", "y"]

    def test_matter_only_if_there_are_any(self, vault: TableVault) -> None:
        code = self.SPLIT.replace('word == "bee"', "True")
        text = column("first", "rest", function="split", arguments={"word": "<<self.word[index]>>"})
        begin(vault, "words", {"index": index("word"), "split": text}, code=code)
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")
        text = column("rest", "first", function="mended", arguments={"word": "<<self.word[index]>>"})
        vault.create_builder_file("words", "split", text=text)
        assert resume(vault, "continue")["rest"].tolist() == ["a", "b"]


class TestWhichRowsOfTheOriginAreKept:
    """Rows are recorded by position, and what is kept of the origin comes before all others."""

    @pytest.fixture
    def paused(self, vault: TableVault, calls: Calls, tmp_path: Path) -> TableVault:
        code = CODE + '\n\ndef other_rows():\n    yield from ["cow", "ant", "cat"]\n'
        build(vault, "words", {"index": index("word"), "shout": shout(vault)}, code=code)
        vault.create_instance("words", copy=True)
        vault.create_builder_file("words", "words_index", text=index("word", function="other_rows"))
        vault.create_builder_file("words", "shout", text=shout(vault) + "reuse: never\n")
        (tmp_path / "fail").touch()
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")
        (tmp_path / "fail").unlink()
        kept = index("word", function="other_rows", keep_old=True)
        vault.create_builder_file("words", "words_index", text=kept)
        return vault

    def test_can_not_change_under_finished_rows(self, paused: TableVault) -> None:
        with pytest.raises(TVBuilderError, match=r"can't stay: it was made as word .* keep_old by whole rows"):
            resume(paused, "continue")
        assert paused.get_process("p").state is State.PAUSED

    def test_can_change_when_they_are_made_anew(self, paused: TableVault) -> None:
        frame = resume(paused, "recompute")
        assert frame["word"].tolist() == ["bee", "dog", "cow", "ant", "cat"]
        assert frame["loud"].tolist() == ["BEE!", "DOG!", "COW!", "ANT!", "CAT!"]
