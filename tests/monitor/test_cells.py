"""Why a cell is what it is: its builder, code, inputs, sources and process, through every instance that reused it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArgumentError
from tablevault_like.functions import modules, unpickled
from tests.monitor.counting import seen
from tests.states import state
from tests.tables import begin, builder, column, index, write, write_code

CODE = """
import pandas as pd

def rows(names):
    yield from names

def greet(name, words):
    return f"{words} {name}"

def shout(text):
    return text.upper()

def count(frame):
    return pd.DataFrame({"count": [len(frame)] * len(frame)})

def page(name, folder):
    from pathlib import Path
    Path(folder, f"{name}.txt").write_text(name)
    return f"{name}.txt"
"""
WORDS = pd.DataFrame({"language": ["en", "de"], "words": ["Hello", "Hallo"]})
BUILDERS = {
    "index": index("name", "language", arguments={"names": [["ada", "en"], ["bob", "de"]]}, primary_key="name"),
    "greet": column(
        "greeting",
        function="greet",
        arguments={
            "name": "<<self.name[index]>>",
            "words": "<<words.words[language::<<self.language[index]>>]>>",
        },
    ),
    "shout": column("shout", function="shout", arguments={"text": "<<self.greeting[index]>>!"}),
    "count": builder(
        "ColumnBuilder",
        "count",
        python_function="count",
        return_type="dataframe",
        arguments={"frame": "<<self.{name}>>"},
    ),
    "page": column(
        "page",
        function="page",
        arguments={"name": "<<self.name[index]>>", "folder": "~ARTIFACT_FOLDER~"},
        dtypes={"page": "artifact_string"},
    ),
}


@pytest.fixture
def vault(vault_dir: Path) -> TableVault:
    vault = TableVault(vault_dir, "ada", create=True)
    write_code(vault, CODE)
    write(vault, "words", WORDS)
    return vault


def make(vault: TableVault, *, by: str = "", **changed: str) -> str:
    """Make the next instance of ``people``, and return its id."""
    known = vault.get_table_instances("people") if "people" in vault.get_table_instances() else []
    begin(vault, "people", {**BUILDERS, **changed}, origin_id=known[-1] if known else "")
    TableVault(vault.db_dir, by or "ada").execute_instance("people")
    return vault.get_table_instances("people")[-1]


def keyed(vault: TableVault, frame: pd.DataFrame, **fields: Any) -> None:
    """Make the table ``keyed``, whose primary key are all columns of a frame."""
    write(vault, "raw", frame, **fields)
    text = builder(
        "IndexBuilder",
        *frame.columns,
        python_function="create_data_table_from_table",
        code_module="table_generation",
        is_custom=False,
        return_type="dataframe",
        primary_key=list(frame.columns),
        arguments={"df": "<<raw.{" + ", ".join(frame.columns) + "}>>"},
    )
    begin(vault, "keyed", {"index": text})
    vault.execute_instance("keyed")


class TestACell:
    def test_what_was_made_here(self, vault: TableVault) -> None:
        made = make(vault, by="bob")
        (words,) = vault.get_table_instances("words")
        before = state(Path(vault.db_dir))

        cell = vault.why("people", "bob", "greeting")

        assert state(Path(vault.db_dir)) == before
        assert (cell.table, cell.instance_id, cell.row, cell.key) == ("people", made, 1, {"name": "bob"})
        assert (cell.value, cell.builder, cell.function) == ("Hallo bob", "greet", "work.greet")
        assert cell.builder_text == vault.get_builder_str("people", "greet", made, is_temp=False)
        assert cell.code == {"work.py": vault.get_code_module_str("work")}
        assert cell.inputs == {"name": "bob", "words": "Hallo"}
        assert (cell.made_in, cell.reused_through, cell.author) == (f"people/{made}", (), "bob")
        assert vault.get_process(cell.process_id or "").ended_at == cell.made_at
        read = {each.reference: each for each in cell.sources}
        source = read["<<words.words[language::<<self.language[index]>>]>>"]
        assert (source.table, source.instance_id, source.rows) == ("words", words, (1,))
        own = read["<<self.name[index]>>"]
        assert (own.table, own.instance_id, own.rows) == ("people", None, (1,))

    @pytest.mark.parametrize("row", [1, np.int64(1), "bob", {"name": "bob"}])
    def test_a_row_is_named_by_position_or_key(self, vault: TableVault, row: object) -> None:
        make(vault)

        assert vault.why("people", row, "name").value == "bob"

    @pytest.mark.parametrize(
        "row", [2, -1, True, "eve", {"language": "de"}, {}, None, 1.5, 10**30, {"name": pd.NA}, {"name": float("nan")}]
    )
    def test_a_row_that_is_not_there(self, vault: TableVault, row: object) -> None:
        make(vault)

        with pytest.raises(TVArgumentError, match="people"):
            vault.why("people", row, "name")

    @pytest.mark.parametrize(
        ("day", "number", "word"),
        [
            (pd.Timestamp("2026-01-09"), 7, "0012"),
            ("2026-01-09", "7", "0012"),
            ("2026-01-09T00:00:00", 7, "0012"),
            ("2026-01-09 00:00:00", 7.0, "0012"),
            ("2026-01-09", 7, "0012"),
        ],
    )
    def test_a_key_may_be_given_as_its_text(self, vault: TableVault, day: object, number: object, word: object) -> None:
        frame = pd.DataFrame({"day": pd.to_datetime(["2026-01-08", "2026-01-09"]), "number": 7, "word": "0012"})
        keyed(vault, frame)

        assert vault.why("keyed", {"day": day, "number": number, "word": word}, "word").row == 1

    def test_a_key_that_is_equal_comes_before_one_that_reads_the_same(self, vault: TableVault) -> None:
        keyed(vault, pd.DataFrame({"key": pd.Series(["7", 7, "x"], dtype=object)}), dtypes={"key": "object"})

        assert [vault.why("keyed", {"key": key}, "key").row for key in ("7", 7, "x")] == [0, 1, 2]

    def test_a_text_that_reads_as_a_number_is_found_by_it(self, vault: TableVault) -> None:
        keyed(vault, pd.DataFrame({"key": ["x", "7"]}))

        assert vault.why("keyed", {"key": 7}, "key").row == 1
        with pytest.raises(TVArgumentError, match="no row with key='2026-01-09'"):
            vault.why("keyed", {"key": "2026-01-09"}, "key")

    def test_other_things_that_are_not_there(self, vault: TableVault) -> None:
        make(vault)

        with pytest.raises(TVArgumentError, match="Did you mean 'greeting'"):
            vault.why("people", 0, "greetings")
        with pytest.raises(TVArgumentError, match="Did you mean 'people'"):
            vault.why("peoples", 0, "greeting")
        vault.create_instance("people")
        with pytest.raises(TVArgumentError, match="temporary"):
            vault.why("people", 0, "greeting", "TEMP_base")

    def test_a_function_that_was_called_once_for_all_rows(self, vault: TableVault) -> None:
        make(vault)

        cell = vault.why("people", 0, "count")

        assert cell.inputs is not None
        assert cell.inputs["frame"]["name"].tolist() == ["ada", "bob"]
        assert [each.rows for each in cell.sources] == [None]

    def test_a_cell_of_an_index(self, vault: TableVault) -> None:
        make(vault)

        cell = vault.why("people", 0, "language")

        assert (cell.builder, cell.inputs) == ("people_index", {"names": [["ada", "en"], ["bob", "de"]]})

    def test_an_artifact(self, vault: TableVault) -> None:
        make(vault)

        (artifact,) = vault.why("people", 0, "page").artifacts

        assert (artifact.name, artifact.size, len(artifact.sha256)) == ("ada.txt", 3, 64)

    def test_an_instance_that_was_written(self, vault: TableVault) -> None:
        made = make(vault)
        write(vault, "frames", pd.DataFrame({"a": [1, None]}), dependencies=[("people", made)])

        cell = vault.why("frames", 1, "a")

        assert (cell.value, cell.builder, cell.inputs) == (None, None, None)
        assert cell.inputs_missing == "it was written as a frame"
        assert [(each.table, each.instance_id) for each in cell.sources] == [("people", made)]

    def test_an_instance_of_which_no_plan_is_on_record(self, vault: TableVault) -> None:
        made = make(vault)
        folder = Path(vault.db_dir, "people", made, "provenance")
        folder.chmod(0o700)
        (folder / "plan.json").unlink()

        cell = vault.why("people", 0, "greeting")

        assert (cell.value, cell.builder) == ("Hello ada", None)
        assert cell.inputs_missing == "how it was made isn't on record"
        assert vault.inspect("people", row=0).rows == ()
        assert "## Builders" not in vault.report("people")


class TestReuse:
    def test_it_is_followed_to_the_instance_that_made_it(self, vault: TableVault) -> None:
        first = make(vault, by="bob")
        second, third = make(vault), make(vault, shout=BUILDERS["shout"].replace("!", "?"))

        cell = vault.why("people", "ada", "greeting")

        assert cell.instance_id == third
        assert cell.reused_through == (f"people/{third}", f"people/{second}")
        assert (cell.made_in, cell.author) == (f"people/{first}", "bob")
        assert cell.inputs == {"name": "ada", "words": "Hello"}
        again = vault.why("people", "ada", "shout")
        assert (again.made_in, again.reused_through) == (f"people/{third}", ())
        assert vault.why("people", "ada", "count").made_in == f"people/{first}"
        assert vault.why("people", "ada", "page").made_in == f"people/{first}"
        assert vault.why("people", "ada", "greeting", second).reused_through == (f"people/{second}",)

    def test_rows_that_have_moved(self, vault: TableVault) -> None:
        first = make(vault)
        longer = index(
            "name",
            "language",
            arguments={"names": [["eve", "en"], ["bob", "de"], ["ada", "en"]]},
            primary_key="name",
        )
        second = make(vault, index=longer)

        assert vault.why("people", "ada", "greeting").made_in == f"people/{first}"
        assert vault.why("people", "ada", "greeting").inputs == {"name": "ada", "words": "Hello"}
        assert vault.why("people", "eve", "greeting").made_in == f"people/{second}"

    def test_an_origin_that_was_deleted(self, vault: TableVault) -> None:
        first = make(vault)
        make(vault)
        vault.delete_instance(first, "people")

        cell = vault.why("people", "ada", "greeting")

        assert cell.made_in == f"people/{first}"
        assert cell.inputs_missing == f"people/{first}, from which it was reused, was deleted"
        assert (cell.inputs, cell.process_id) == (None, None)


class TestChanges:
    def test_the_difference_to_the_origin(self, vault: TableVault) -> None:
        make(vault)
        write_code(vault, CODE.replace("text.upper()", "text.upper().strip()"))
        make(vault, shout=BUILDERS["shout"].replace("!", "?"))

        cell = vault.why("people", 0, "shout")

        assert cell.builder_changes[0].startswith("-")
        assert "!" in cell.builder_changes[0]
        assert "?" in cell.builder_changes[1]
        assert cell.code_changes == ("work.py:", "-    return text.upper()", "+    return text.upper().strip()")

    def test_a_source_that_was_deleted(self, vault: TableVault) -> None:
        make(vault)
        (words,) = vault.get_table_instances("words")
        vault.delete_instance(words, "words")

        cell = vault.why("people", 0, "greeting")

        assert cell.inputs is None
        assert cell.inputs_missing == f"words/{words} was deleted"
        assert (words, True) in [(each.instance_id, each.is_deleted) for each in cell.sources]
        assert cell.builder_text

    def test_a_source_whose_table_was_renamed(self, vault: TableVault) -> None:
        make(vault)
        vault.rename_table("phrases", "words")
        vault.rename_table("persons", "people")

        cell = vault.why("persons", "bob", "greeting")

        assert cell.inputs == {"name": "bob", "words": "Hallo"}
        assert "phrases" in [each.table for each in cell.sources]

    def test_what_another_builder_has_changed_afterwards(self, vault: TableVault) -> None:
        louder = column("language", function="shout", arguments={"text": "<<self.language[index]>>"})
        make(vault, louder=louder)

        cell = vault.why("people", 0, "language")

        assert (cell.value, cell.builder) == ("EN", "louder")
        assert cell.inputs_missing == "'language' was changed afterwards, by louder"


def test_asking_runs_and_unpickles_nothing(vault: TableVault, monkeypatch: pytest.MonkeyPatch) -> None:
    make(vault)

    def refuse(*arguments: object, **fields: object) -> None:
        raise AssertionError("reading runs nothing")

    monkeypatch.setattr(modules.Loader, "_load", refuse)
    monkeypatch.setattr(unpickled, "unpickled", refuse)
    monkeypatch.setattr(pickle, "loads", refuse)

    assert vault.why("people", 0, "shout").inputs == {"text": "Hello ada!"}
    assert vault.inspect("people", row=0).rows
    assert vault.report("people")


def test_a_cell_for_people(vault: TableVault) -> None:
    make(vault)
    make(vault)

    shown = seen(vault.why("people", "ada", "greeting"))

    assert "Hello ada" in shown
    assert "reused by" in shown
    assert "def greet(name, words):" in shown
