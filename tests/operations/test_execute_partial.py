"""What can be seen of an execution that isn't finished: while it runs, is paused, and when it was ended early."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import State, TableVault
from tablevault_like.errors import TVArgumentError
from tests.scenes import Calls
from tests.tables import GATES, Background, begin, build, column, gates, index, write_code
from tests.workers import wait_until

CODE = """
from pathlib import Path

from tests.tables import GATES
from tests.workers import note_call

def rows():
    yield from ["ant", "bee", "cat", "dog"]

def page(word, folder):
    note_call(f"page {word}")
    path = Path(folder, f"{word}.txt")
    path.write_text(word * 2)
    if word == "cat":
        if "cat" in GATES:
            GATES["cat"].enter()
        raise ConnectionError("nobody answers")
    return path.name

def double(word):
    return len(word) * 2
"""
PAGE = column(
    "page",
    function="page",
    arguments={"word": "<<self.word[index]>>", "folder": "~ARTIFACT_FOLDER~"},
    dtypes={"page": "artifact_string"},
)
BUILDERS = {
    "index": index("word"),
    "page": PAGE,
    "z": column("size", function="double", arguments={"word": "<<self.word[index]>>"}),
}


@pytest.fixture
def vault(tmp_path: Path, calls: Calls) -> TableVault:
    vault = TableVault(tmp_path / "vault", "ada", create=True)
    begin(vault, "words", BUILDERS, code=CODE)
    return vault


def assert_half_done(vault: TableVault) -> None:
    frame = vault.get_dataframe("words", "TEMP_base", full_artifact_path=False)
    assert list(frame.columns) == ["word", "page", "size"]
    assert frame["word"].tolist() == ["ant", "bee", "cat", "dog"]
    assert frame["page"].tolist()[:2] == ["ant.txt", "bee.txt"]
    assert frame["page"].isna().tolist() == [False, False, True, True]
    assert frame["size"].isna().all()
    assert frame.attrs == {"table_name": "words", "instance_id": "TEMP_base"}


class TestTheTemporaryInstance:
    def test_has_no_frame_before_it_is_executed(self, vault: TableVault) -> None:
        with pytest.raises(TVArgumentError, match=r"words/TEMP_base has no frame yet\. Execute it"):
            vault.get_dataframe("words", "TEMP_base")

    def test_shows_what_is_recorded_while_it_runs(self, vault: TableVault) -> None:
        with gates("cat") as (cat,):
            running = Background(vault.execute_instance, "words", process_id="p")
            cat.await_arrival()
            wait_until(lambda: vault.get_dataframe("words", "TEMP_base")["page"].count() == 2)
            assert_half_done(vault)
            assert vault.get_dataframe("words", "TEMP_base", rows=1)["word"].tolist() == ["ant"]
            process = vault.get_active_processes()["p"]
            assert (process.status, process.is_alive) == ("running", True)
            cat.open()
            with pytest.raises(ConnectionError):
                running.result()
        assert "cat" not in GATES

    def test_counts_finished_rows_while_the_next_one_takes_its_time(self, vault: TableVault) -> None:
        with gates("cat") as (cat,):
            running = Background(vault.execute_instance, "words", process_id="p")
            cat.await_arrival()
            wait_until(lambda: vault.get_process("p").rows_done == 2)
            assert vault.get_process("p").rows_total == 4
            cat.open()
            with pytest.raises(ConnectionError):
                running.result()
        assert (vault.get_process("p").rows_done, vault.get_process("p").rows_failed) == (2, 1)

    def test_shows_it_while_it_is_paused(self, vault: TableVault) -> None:
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")
        assert_half_done(vault)

    def test_shows_it_after_a_revert_and_until_the_next_execution(self, vault: TableVault) -> None:
        with pytest.raises(ConnectionError):
            vault.execute_instance("words")
        assert_half_done(vault)
        assert vault.get_table_instances("words") == []
        write_code(vault, CODE.replace('raise ConnectionError("nobody answers")', "pass"))
        vault.execute_instance("words")
        with pytest.raises(TVArgumentError, match="no instance 'TEMP_base'"):
            vault.get_dataframe("words", "TEMP_base")

    def test_artifact_paths_lead_to_the_files_while_it_is_paused(self, vault: TableVault) -> None:
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")
        pages = vault.get_dataframe("words", "TEMP_base")["page"].dropna()
        assert [Path(page).read_text() for page in pages] == ["antant", "beebee"]

    def test_a_frame_that_was_reverted_is_not_shown_by_default(self, vault: TableVault) -> None:
        with pytest.raises(ConnectionError):
            vault.execute_instance("words")
        with pytest.raises(
            TVArgumentError, match=r"no active materialized instance of version 'base'\. It has none of any"
        ):
            vault.get_dataframe("words")

    def test_nothing_of_a_dataframe_builder_is_shown_before_it_returns(self, vault: TableVault) -> None:
        write_code(vault, f"{CODE}\ndef fail(): raise ConnectionError('nobody answers')")
        begin(vault, "frames", {"index": index("word", function="fail", return_type="dataframe")})
        with pytest.raises(ConnectionError):
            vault.execute_instance("frames", process_id="p")
        assert len(vault.get_dataframe("frames", "TEMP_base")) == 0


class TestAPartialInstance:
    def test_keeps_what_is_done(self, vault: TableVault) -> None:
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")
        assert vault.stop_process("p", materialize=True) == "p"
        assert vault.get_process("p").state is State.MATERIALIZED
        assert vault.get_process_completion("p")
        frame = vault.get_dataframe("words")
        assert frame["word"].tolist() == ["ant", "bee", "cat", "dog"]
        assert [Path(page).read_text() for page in frame["page"].dropna()] == ["antant", "beebee"]
        assert frame["size"].isna().all()
        (made,) = vault.get_table_instances("words", include_temp=True)
        assert vault.get_descriptions(made, "words")["success"] is False
        assert sorted(path.name for path in Path(vault.get_artifact_folder("words", made)).iterdir()) == [
            "ant.txt",
            "bee.txt",
        ]

    def test_is_left_out_where_success_is_asked_for(self, vault: TableVault) -> None:
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")
        vault.stop_process("p", materialize=True)
        with pytest.raises(TVArgumentError, match="no active successful materialized instance of version 'base'"):
            vault.get_dataframe("words", successful_only=True)

    def test_of_a_process_without_a_row_is_empty(self, vault: TableVault) -> None:
        write_code(vault, CODE.replace("    yield from", "    raise ConnectionError\n    yield from"))
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")
        vault.stop_process("p", materialize=True)
        frame = vault.get_dataframe("words")
        assert (list(frame.columns), len(frame)) == (["word", "page", "size"], 0)

    def test_keeps_no_more_than_the_rows_of_an_index_that_was_interrupted(self, vault: TableVault) -> None:
        code = 'def rows():\n    yield from ["ant", "bee"]\n    raise ConnectionError("nobody answers")\n'
        begin(vault, "few", {"index": index("word")}, code=code)
        with pytest.raises(ConnectionError):
            vault.execute_instance("few", process_id="p")
        vault.stop_process("p", materialize=True)
        assert vault.get_dataframe("few")["word"].tolist() == ["ant", "bee"]

    def test_has_the_dtypes_of_the_builder(self, vault: TableVault) -> None:
        code = "def rows():\n    yield from [1, 2]\ndef fail(n):\n    return 10 // (n - 2)\n"
        fail = column("c", function="fail", arguments={"n": "<<self.n[index]>>"}, dtypes={"c": "int16"})
        begin(vault, "dtypes", {"index": index("n", dtypes={"n": "Int8"}), "c": fail}, code=code)
        with pytest.raises(ZeroDivisionError):
            vault.execute_instance("dtypes", process_id="p")
        vault.stop_process("p", materialize=True)
        frame = vault.get_dataframe("dtypes")
        assert [str(dtype) for dtype in frame.dtypes] == ["Int8", "Int16"]
        assert frame["c"].tolist() == [-10, pd.NA]

    def test_can_be_an_input_and_an_origin_as_any_other(self, vault: TableVault) -> None:
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")
        vault.stop_process("p", materialize=True)
        code = "def rows(): yield from range(4)\ndef echo(x): return x"
        echo = column("echo", function="echo", arguments={"x": "<<words.size[index]>>"})
        frame = build(vault, "copies", {"index": index("n"), "echo": echo}, code=code)
        assert frame["echo"].isna().all()
        vault.create_instance("words", copy=True)
        assert vault.get_builders_list("words") == ["page", "words_index", "z"]
