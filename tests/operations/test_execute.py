"""Building an instance: what builders of each kind are called with, what they may return, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
import traceback
from pathlib import Path
from typing import Any

import pytest

from tablevault_like import State, TableVault
from tablevault_like.errors import TableReferenceError, TVArgumentError, TVArtifactError, TVBuilderError, TVTableError
from tests.scenes import Calls
from tests.tables import begin, build, column, index, notes

THREE = "def rows():\n    yield from ['ant', 'bee', 'cat']\n"


@pytest.fixture
def vault(tmp_path: Path) -> TableVault:
    return TableVault(tmp_path / "vault", "ada", create=True)


class TestRowWise:
    def test_is_called_once_a_row_and_returns_a_value(self, vault: TableVault) -> None:
        shout = column("loud", function="shout", arguments={"word": "<<self.word[index]>>"})
        frame = build(
            vault, "words", {"index": index("word"), "loud": shout}, code=f"{THREE}def shout(word): return word.upper()"
        )
        assert frame.to_dict("list") == {"word": ["ant", "bee", "cat"], "loud": ["ANT", "BEE", "CAT"]}

    @pytest.mark.parametrize(
        "returned",
        [
            "(word[0], len(word))",
            "[word[0], len(word)]",
            "{'first': word[0], 'length': len(word)}",
            "{'length': len(word), 'first': word[0]}",
        ],
    )
    def test_returns_several_values_in_the_order_of_its_columns_or_by_name(
        self, vault: TableVault, returned: str
    ) -> None:
        split = column("first", "length", function="split", arguments={"word": "<<self.word[index]>>"})
        code = f"{THREE}def split(word): return {returned}"
        frame = build(vault, "words", {"index": index("word"), "split": split}, code=code)
        assert frame[["first", "length"]].to_dict("list") == {"first": ["a", "b", "c"], "length": [3, 3, 3]}

    @pytest.mark.parametrize("returned", ["[1, 2]", "{'a': 1, 'b': None}", "(1, 2)", "[]", "{}"])
    def test_a_list_a_dict_or_a_tuple_is_a_value_of_a_single_column(self, vault: TableVault, returned: str) -> None:
        value = column("value", function="value")
        code = f"{THREE}def value(): return {returned}"
        frame = build(vault, "words", {"index": index("word"), "value": value}, code=code)
        assert frame["value"].tolist() == [eval(returned)] * 3

    @pytest.mark.parametrize(
        ("returned", "message"),
        [
            ("(1, 2, 3)", r"returned a tuple of 3 for a row.*a tuple of 2 values \(first, length\)"),
            ("1", r"returned a int for a row"),
            ("{'first': 1, 'lenght': 2}", "returned a dict with the keys first, lenght"),
            ("{'first': 1, 'length': 2, 'more': 3}", "returned a dict with the keys first, length, more"),
        ],
    )
    def test_other_shapes_are_an_error_of_the_row(self, vault: TableVault, returned: str, message: str) -> None:
        split = column("first", "length", function="split")
        begin(vault, "words", {"index": index("word"), "split": split}, code=f"{THREE}def split(): return {returned}")
        with pytest.raises(TVTableError, match=message) as caught:
            vault.execute_instance("words")
        assert notes(caught.value)[0] == "This was in row 0 of the builder 'split'."

    def test_what_a_function_raises_is_raised_as_it_is(self, vault: TableVault) -> None:
        divide = column("half", function="divide", arguments={"number": "<<self.index>>"})
        code = f"{THREE}class OwnError(ValueError): ...\ndef divide(number):\n    raise OwnError(number)"
        begin(vault, "words", {"index": index("word"), "half": divide}, code=code)
        with pytest.raises(ValueError, match="0") as caught:
            vault.execute_instance("words", process_id="p")
        assert type(caught.value).__name__ == "OwnError"
        assert "row 0 of the builder 'half'" in notes(caught.value)[0]
        told = vault.get_process("p").error
        assert told is not None
        assert told.type == "OwnError"
        assert "raise OwnError(number)" in told.traceback

    @pytest.mark.parametrize(
        ("statement", "kind"),
        [
            ("sys.exit(3)", SystemExit),
            ("raise asyncio.CancelledError", asyncio.CancelledError),
            ("raise StopIteration", StopIteration),
            ("raise Untold", Exception),
        ],
    )
    def test_whatever_it_raises_pauses_and_is_told(
        self, vault: TableVault, statement: str, kind: type[BaseException]
    ) -> None:
        code = f"""{THREE}
import asyncio
import sys

class Untold(Exception):
    def __str__(self):
        raise ValueError("not even its message")

def fail():
    {statement}
"""
        begin(vault, "words", {"index": index("word"), "bad": column("bad", function="fail")}, code=code)
        with pytest.raises(kind):
            vault.execute_instance("words", process_id="p")
        assert vault.get_process("p").status == "paused"
        # A restart meets it again, goes on to others, and raises nothing.
        restarted = TableVault(vault.db_dir, restart=True).restarted["p"]
        assert restarted.state is State.PAUSED
        assert str(restarted).startswith("paused: ")
        with pytest.raises(kind):
            vault.stop_process("p")
            vault.execute_instance("words")
        assert vault.get_active_processes() == {}

    def test_calls_do_not_see_what_others_did_to_their_arguments(self, vault: TableVault) -> None:
        grow = column("size", function="grow", arguments={"given": {"words": ["a"]}, "frame": "<<self>>"})
        code = f"""{THREE}
def grow(given, frame):
    given["words"].append("b")
    frame["new"] = 1
    return len(given["words"]) + len(frame.columns)
"""
        frame = build(vault, "words", {"index": index("word"), "grow": grow}, code=code)
        assert frame["size"].tolist() == [4, 4, 4]

    def test_no_rows_are_no_calls(self, vault: TableVault) -> None:
        code = "def rows():\n    yield from ()\ndef never():\n    raise AssertionError\n"
        frame = build(vault, "words", {"index": index("word"), "more": column("more", function="never")}, code=code)
        assert (list(frame.columns), len(frame)) == (["word", "more"], 0)


class TestThreads:
    def test_rows_are_computed_side_by_side_and_stay_in_their_places(self, vault: TableVault) -> None:
        code = """
import threading

together = threading.Barrier(4)

def rows():
    yield from range(12)

def meet(number):
    together.wait(20)
    return number * 10
"""
        meet = column("tens", function="meet", n_threads=4, arguments={"number": "<<self.number[index]>>"})
        frame = build(vault, "numbers", {"index": index("number"), "tens": meet}, code=code)
        assert frame["tens"].tolist() == [number * 10 for number in range(12)]

    def test_more_threads_than_rows_do_no_harm(self, vault: TableVault) -> None:
        name = column("upper", function="upper", n_threads=50, arguments={"word": "<<self.word[index]>>"})
        code = f"{THREE}def upper(word): return word.upper()"
        frame = build(vault, "words", {"index": index("word"), "upper": name}, code=code)
        assert frame["upper"].tolist() == ["ANT", "BEE", "CAT"]

    def test_user_code_never_runs_in_the_callers_thread(self, vault: TableVault) -> None:
        code = """
import threading
import pandas as pd

def here(): return threading.current_thread() is threading.main_thread()
def rows(): yield here()
def one(): return here()
def whole(): return pd.DataFrame({"c": [here()]})
"""
        builders = {
            "index": index("a"),
            "b": column("b", function="one"),
            "c": column("c", function="whole", return_type="dataframe"),
        }
        assert build(vault, "threads", builders, code=code).to_dict("list") == {
            "a": [False],
            "b": [False],
            "c": [False],
        }


class TestDataframe:
    def test_returns_all_rows_at_once_and_keeps_its_dtypes(self, vault: TableVault) -> None:
        code = """
import pandas as pd

def rows():
    return pd.DataFrame({"n": pd.array([1, None], dtype="Int8"), "kind": pd.Categorical(["x", "y"]), "more": 0})

def ranks(frame):
    return pd.DataFrame({"rank": frame["n"].fillna(9).rank(ascending=False).astype("float32")}).set_axis([7, 7])
"""
        builders = {
            "index": index("n", "kind", return_type="dataframe"),
            "rank": column("rank", function="ranks", return_type="dataframe", arguments={"frame": "<<self.n>>"}),
        }
        frame = build(vault, "things", builders, code=code)
        assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
            "n": "Int8",
            "kind": "category",
            "rank": "float32",
        }
        assert frame["rank"].tolist() == [2.0, 1.0]
        assert frame.index.tolist() == [0, 1]

    @pytest.mark.parametrize(
        ("returned", "message"),
        [
            ("pd.DataFrame({'sizes': [1, 2, 3]})", "has no column 'size'. Did you mean 'sizes'?"),
            ("pd.DataFrame({'size': [1, 2]})", "has 2 rows, but there are 3 to fill"),
            ("[1, 2, 3]", "returned a list.*needs a DataFrame"),
            ("pd.DataFrame({'size': [1, 2, object()]})", "Column 'size', row 2: A value of type builtins.object"),
        ],
    )
    def test_a_frame_that_does_not_fit_is_an_error(self, vault: TableVault, returned: str, message: str) -> None:
        size = column("size", function="size", return_type="dataframe")
        code = f"import pandas as pd\n{THREE}def size(): return {returned}"
        begin(vault, "words", {"index": index("word"), "size": size}, code=code)
        with pytest.raises(TVTableError, match=message) as caught:
            vault.execute_instance("words")
        assert "This was in the builder 'size'." in notes(caught.value)


class TestOrder:
    def test_a_builder_comes_after_those_whose_columns_it_reads(self, vault: TableVault) -> None:
        code = f"{THREE}def join(*, left, right='!'): return f'{{left}}{{right}}'"
        builders = {
            "index": index("word"),
            "a": column("third", function="join", arguments={"left": "<<self.second[index]>>"}),
            "b": column("first", function="join", arguments={"left": "<<self.word[index]>>"}),
            "c": column("second", function="join", arguments={"left": "<<self.first[index]>>"}),
        }
        frame = build(vault, "words", builders, code=code)
        assert frame["third"].tolist() == ["ant!!!", "bee!!!", "cat!!!"]

    def test_one_that_reads_the_whole_table_comes_last(self, vault: TableVault) -> None:
        code = f"{THREE}def names(frame): return ' '.join(frame.columns)\ndef one(): return 1"
        builders = {
            "index": index("word"),
            "a": column("names", function="names", arguments={"frame": "<<self>>"}),
            "z": column("z", function="one"),
        }
        assert build(vault, "words", builders, code=code)["names"].tolist() == ["word z"] * 3

    def test_a_column_builder_may_change_a_column_of_the_index(self, vault: TableVault) -> None:
        code = f"{THREE}def shout(word): return word.upper()\ndef echo(word): return word"
        builders = {
            "index": index("word"),
            "b": column("word", function="shout", arguments={"word": "<<self.word[index]>>"}),
            "a": column("echo", function="echo", arguments={"word": "<<self.word[index]>>"}),
        }
        frame = build(vault, "words", builders, code=code)
        assert frame["word"].tolist() == frame["echo"].tolist() == ["ANT", "BEE", "CAT"]

    def test_builders_that_wait_for_each_other_are_refused_before_anything_runs(self, vault: TableVault) -> None:
        builders = {
            "index": index("word", function="never"),
            "a": column("a", function="never", arguments={"x": "<<self.b[index]>>"}),
            "b": column("b", function="never", arguments={"x": "<<self.a[index]>>"}),
        }
        begin(vault, "words", builders, code="def never(x=1):\n    raise AssertionError")
        with pytest.raises(TVBuilderError, match=r"a\.yaml:\d+:\d+: Builders wait for each other: a -> b -> a"):
            vault.execute_instance("words")


class TestKeywords:
    def test_stand_for_something_of_the_process(self, vault: TableVault) -> None:
        arguments = {
            "row_key": "~ROW_KEY~",
            "nested": {"ids": ["~PROCESS_ID~", "<~PROCESS_ID~>"], "~PROCESS_ID~": True},
            "plain": "PROCESS_ID ~ROW~",
        }
        code = f"{THREE}def show(**given): return repr(given)"
        begin(
            vault,
            "words",
            {"index": index("word"), "show": column("show", function="show", arguments=arguments)},
            code=code,
        )
        vault.execute_instance("words", process_id="p-1")
        expected = {
            "row_key": "p-1:show:2",
            "nested": {"ids": ["p-1", "<p-1>"], "p-1": True},
            "plain": "PROCESS_ID ~ROW~",
        }
        assert vault.get_dataframe("words")["show"].tolist()[2] == repr(expected)

    def test_in_what_a_reference_gives_they_are_text(self, vault: TableVault) -> None:
        code = "def rows():\n    yield '~PROCESS_ID~'\ndef echo(word): return word"
        echo = column("echo", function="echo", arguments={"word": "<<self.word[index]>>"})
        frame = build(vault, "words", {"index": index("word"), "echo": echo}, code=code)
        assert frame["echo"].tolist() == ["~PROCESS_ID~"]

    @pytest.mark.parametrize(
        ("keyword", "return_type"),
        [("~ROW_KEY~", "generator"), ("~ROW_KEY~", "dataframe"), ("~RESUME_FROM~", "row-wise")],
    )
    def test_without_a_meaning_are_refused_with_their_place(
        self, vault: TableVault, keyword: str, return_type: str
    ) -> None:
        text = column("x", function="rows", return_type=return_type, arguments={"x": keyword})
        begin(vault, "words", {"index": index("word"), "x": text}, code=THREE)
        with pytest.raises(TVBuilderError, match=rf"TEMP_base/builders/x\.yaml:\d+:6: {keyword} is only known to"):
            vault.execute_instance("words")


class TestArtifacts:
    CODE = f"""
from pathlib import Path
{THREE}
def page(word, folder):
    path = Path(folder, "pages", f"{{word}}.txt")
    path.parent.mkdir(exist_ok=True)
    path.write_text(word * 2)
    return f"pages/{{word}}.txt"

def read(path):
    return Path(path).read_text()
"""
    PAGE = column(
        "page",
        function="page",
        arguments={"word": "<<self.word[index]>>", "folder": "~ARTIFACT_FOLDER~"},
        dtypes={"page": "artifact_string"},
    )

    def test_are_kept_with_the_instance_and_read_by_later_builders(self, vault: TableVault) -> None:
        later = column("content", function="read", arguments={"path": "<<self.page[index]>>"})
        frame = build(vault, "words", {"index": index("word"), "page": self.PAGE, "z": later}, code=self.CODE)
        assert frame["content"].tolist() == ["antant", "beebee", "catcat"]
        assert [Path(path).read_text() for path in frame["page"]] == frame["content"].tolist()
        relative = vault.get_dataframe("words", full_artifact_path=False)
        assert relative["page"].tolist() == ["pages/ant.txt", "pages/bee.txt", "pages/cat.txt"]
        folder = Path(vault.get_artifact_folder("words", is_temp=False))
        assert frame["page"].tolist() == [str(folder / name) for name in relative["page"]]

    def test_of_another_table_are_read_by_reference(self, vault: TableVault) -> None:
        build(vault, "words", {"index": index("word"), "page": self.PAGE}, code=self.CODE)
        read = column("content", function="read", arguments={"path": "<<words.page[index]>>"})
        frame = build(vault, "copies", {"index": index("word"), "read": read})
        assert frame["content"].tolist() == ["antant", "beebee", "catcat"]

    @pytest.mark.parametrize(
        ("returned", "message"),
        [
            ("'none.txt'", "The artifact 'none.txt' doesn't exist"),
            ("'../outside.txt'", "'../outside.txt'"),
            ("'/etc/hostname'", "'/etc/hostname'"),
            ("folder + '/ant.txt'", "must be the path of a file relative to ~ARTIFACT_FOLDER~"),
            ("5", "Row 0 of column 'page' holds 5"),
        ],
    )
    def test_without_their_file_are_an_error_of_the_row(self, vault: TableVault, returned: str, message: str) -> None:
        code = f"{THREE}def page(word, folder):\n    open(folder + '/ant.txt', 'w').close()\n    return {returned}"
        begin(vault, "words", {"index": index("word"), "page": self.PAGE}, code=code)
        with pytest.raises((TVArtifactError, TVTableError), match=message) as caught:
            vault.execute_instance("words", process_id="p")
        assert "row 0 of the builder 'page'" in notes(caught.value)[0]
        assert vault.get_process("p").status == "paused"

    def test_that_no_cell_names_are_told(self, vault: TableVault) -> None:
        code = f"{THREE}def page(word, folder):\n    open(folder + '/stray.txt', 'w').close()\n    return None"
        begin(vault, "words", {"index": index("word"), "page": self.PAGE}, code=code)
        with pytest.raises(TVArtifactError, match=r"stray\.txt"):
            vault.execute_instance("words")


class TestPrimaryKey:
    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ("[(1, 'a'), (2, 'b'), (1, 'a')]", "Rows 0 and 2 have the same primary key: n=1, word='a'"),
            ("[(1, 'a'), (None, 'b')]", "The primary key column 'n' has no value in row 1"),
        ],
    )
    def test_is_in_every_row_and_in_no_two_the_same(self, vault: TableVault, rows: str, message: str) -> None:
        begin(
            vault,
            "words",
            {"index": index("n", "word", primary_key=["n", "word"])},
            code=f"def rows(): yield from {rows}",
        )
        with pytest.raises(TVTableError, match=message):
            vault.execute_instance("words")

    def test_may_have_equal_parts(self, vault: TableVault) -> None:
        code = "def rows(): yield from [(1, 'a'), (1, 'b')]"
        frame = build(vault, "words", {"index": index("n", "word", primary_key=["n", "word"])}, code=code)
        assert len(frame) == 2


class TestOrigins:
    """An instance that is made from an earlier one: its builders are copied, and its rows are there to begin with."""

    CODE = """
from tests.workers import note_call

def rows(first, last):
    for number in range(first, last):
        note_call(f"row {number}")
        yield number, f"text {number}"

def shout(text):
    return text.upper()
"""

    def numbers(self, first: int, last: int, **fields: Any) -> dict[str, str]:
        arguments = {"first": first, "last": last}
        return {
            "index": index("n", "text", arguments=arguments, primary_key=["n"], **fields),
            "loud": column("loud", function="shout", arguments={"text": "<<self.text[index]>>"}),
        }

    @pytest.fixture
    def first(self, vault: TableVault, calls: Calls) -> str:
        build(vault, "numbers", self.numbers(0, 3), code=self.CODE)
        return vault.get_table_instances("numbers")[0]

    def test_give_their_builders(self, vault: TableVault, first: str) -> None:
        vault.create_instance("numbers", copy=True)
        assert vault.get_builders_list("numbers") == ["loud", "numbers_index"]
        assert vault.get_builder_str("numbers") == self.numbers(0, 3)["index"]
        vault.execute_instance("numbers")
        assert vault.get_dataframe("numbers")["n"].tolist() == [0, 1, 2]
        second = vault.get_table_instances("numbers")[-1]
        assert vault.get_descriptions(second, "numbers")["origin"] == ["numbers", first]

    def test_may_be_of_another_table(self, vault: TableVault, first: str) -> None:
        vault.create_table("copies")
        vault.create_instance("copies", origin_id=first, origin_table="numbers")
        assert vault.get_builders_list("copies") == ["copies_index", "loud"]
        vault.execute_instance("copies")
        assert vault.get_dataframe("copies")["loud"].tolist() == ["TEXT 0", "TEXT 1", "TEXT 2"]

    def test_rows_are_replaced_unless_they_are_to_be_kept(self, vault: TableVault, first: str) -> None:
        vault.create_instance("numbers", copy=True)
        vault.create_builder_file("numbers", "numbers_index", text=self.numbers(2, 5)["index"])
        vault.execute_instance("numbers")
        assert vault.get_dataframe("numbers")["n"].tolist() == [2, 3, 4]

    def test_keep_old_keeps_rows_whose_key_is_not_made_again(self, vault: TableVault, first: str) -> None:
        vault.create_instance("numbers", copy=True)
        vault.create_builder_file("numbers", "numbers_index", text=self.numbers(2, 5, keep_old=True)["index"])
        vault.execute_instance("numbers")
        assert vault.get_dataframe("numbers").to_dict("list") == {
            "n": [0, 1, 2, 3, 4],
            "text": [f"text {number}" for number in range(5)],
            "loud": [f"TEXT {number}" for number in range(5)],
        }

    def test_keep_old_without_an_origin_changes_nothing(self, vault: TableVault, calls: Calls) -> None:
        frame = build(vault, "numbers", self.numbers(0, 2, keep_old=True), code=self.CODE)
        assert frame["n"].tolist() == [0, 1]

    def test_keep_old_goes_on_after_a_failure(self, vault: TableVault, first: str, tmp_path: Path) -> None:
        code = self.CODE.replace(
            "    return text.upper()",
            f"    if text == 'text 3' and not __import__('os').path.exists({str(tmp_path / 'mended')!r}):\n"
            "        raise ConnectionError\n    return text.upper()",
        )
        vault.create_code_module("work", text=code)
        vault.create_instance("numbers", copy=True)
        vault.create_builder_file("numbers", "numbers_index", text=self.numbers(2, 5, keep_old=True)["index"])
        with pytest.raises(ConnectionError):
            vault.execute_instance("numbers", process_id="p")
        partial = vault.get_dataframe("numbers", "TEMP_base")
        assert partial["n"].tolist() == [0, 1, 2, 3, 4]
        assert partial["loud"].tolist()[:3] == ["TEXT 0", "TEXT 1", "TEXT 2"]
        (tmp_path / "mended").touch()
        vault.execute_instance("numbers", process_id="p")
        assert vault.get_dataframe("numbers")["loud"].tolist() == [f"TEXT {number}" for number in range(5)]

    def test_keep_old_without_a_key_keeps_rows_that_are_not_made_again(
        self, vault: TableVault, calls: Calls, tmp_path: Path
    ) -> None:
        mended = tmp_path / "mended"
        code = self.CODE.replace(
            "    return text.upper()",
            f"    if text == 'text 3' and not __import__('os').path.exists({str(mended)!r}):\n"
            "        raise ConnectionError\n    return text.upper()",
        )
        fields: dict[str, Any] = {"arguments": {"first": 0, "last": 3}, "keep_old": True}
        loud = column("loud", function="shout", arguments={"text": "<<self.text[index]>>"})
        build(vault, "numbers", {"index": index("n", "text", **fields), "loud": loud}, code=code)
        fields["arguments"] = {"first": 2, "last": 5}
        for process_id in ("p", "q"):
            vault.create_instance("numbers", copy=True)
            vault.create_builder_file("numbers", "numbers_index", text=index("n", "text", **fields))
            if not mended.exists():
                with pytest.raises(ConnectionError):
                    vault.execute_instance("numbers", process_id=process_id)
                mended.touch()
            vault.execute_instance("numbers", process_id=process_id)
            assert vault.get_dataframe("numbers")["n"].tolist() == [0, 1, 2, 3, 4]
            assert vault.get_dataframe("numbers")["loud"].tolist() == [f"TEXT {number}" for number in range(5)]

    PAGES = """
from pathlib import Path

def rows(first, last, folder, mark=""):
    for number in range(first, last):
        Path(folder, f"{number}.txt").write_text(f"file {number}{mark}")
        yield number, f"{number}.txt"

def read(path):
    return Path(path).read_text()

def double(n, page):
    return n * 2, Path(page).read_text()
"""

    def pages(self, first: int, last: int, *, mark: str = "", **fields: Any) -> dict[str, str]:
        arguments = {"first": first, "last": last, "folder": "~ARTIFACT_FOLDER~", "mark": mark}
        dtypes = {"page": "artifact_string"}
        return {
            "index": index("n", "page", arguments=arguments, primary_key=["n"], dtypes=dtypes, **fields),
            "text": column("text", function="read", arguments={"path": "<<self.page[index]>>"}),
        }

    def test_keep_old_keeps_the_artifacts_of_the_rows_that_it_keeps(self, vault: TableVault) -> None:
        build(vault, "pages", self.pages(0, 2), code=self.PAGES)
        vault.create_instance("pages", copy=True)
        vault.create_builder_file("pages", "pages_index", text=self.pages(1, 3, mark="!", keep_old=True)["index"])
        vault.execute_instance("pages")
        frame = vault.get_dataframe("pages")
        assert frame["text"].tolist() == ["file 0", "file 1!", "file 2!"]
        assert [Path(page).read_text() for page in frame["page"]] == ["file 0", "file 1!", "file 2!"]
        assert len({Path(page).parent for page in frame["page"]}) == 1

    def test_an_artifact_that_is_kept_is_not_mixed_up_with_a_new_one(self, vault: TableVault) -> None:
        build(vault, "pages", self.pages(0, 2), code=self.PAGES)
        vault.create_code_module("work", text=self.PAGES.replace("yield number,", "yield number + 10,"))
        vault.create_instance("pages", copy=True)
        vault.create_builder_file("pages", "pages_index", text=self.pages(0, 1, mark="!", keep_old=True)["index"])
        with pytest.raises(TVArtifactError, match=r"'0\.txt' of a row that is kept from the origin was written anew"):
            vault.execute_instance("pages")

    def test_a_row_wise_index_reads_and_keeps_their_artifacts(self, vault: TableVault) -> None:
        build(vault, "pages", self.pages(0, 2), code=self.PAGES)
        vault.create_instance("pages", copy=True)
        arguments = {"n": "<<self.n[index]>>", "page": "<<self.page[index]>>"}
        text = index("n", "text", function="double", return_type="row-wise", arguments=arguments)
        vault.create_builder_file("pages", "pages_index", text=text)
        vault.delete_builder_file("text", "pages")
        vault.execute_instance("pages")
        frame = vault.get_dataframe("pages")
        assert (frame["n"].tolist(), frame["text"].tolist()) == ([0, 2], ["file 0", "file 1"])
        assert [Path(page).read_text() for page in frame["page"]] == ["file 0", "file 1"]

    def test_a_row_wise_index_works_on_their_rows(self, vault: TableVault, first: str) -> None:
        vault.create_instance("numbers", copy=True)
        text = index("text", function="shout", return_type="row-wise", arguments={"text": "<<self.text[index]>>"})
        vault.create_builder_file("numbers", "numbers_index", text=text)
        vault.delete_builder_file("loud", "numbers")
        vault.execute_instance("numbers")
        frame = vault.get_dataframe("numbers")
        assert frame["text"].tolist() == ["TEXT 0", "TEXT 1", "TEXT 2"]
        assert frame["n"].tolist() == [0, 1, 2]

    def test_an_index_may_read_them(self, vault: TableVault, first: str) -> None:
        code = "import pandas as pd\ndef more(old):\n    return pd.concat([old, old.assign(n=old['n'] + 10)])"
        vault.create_code_module("work", text=code)
        vault.create_instance("numbers", origin_id=first)
        vault.delete_builder_file("loud", "numbers")
        text = index("n", "text", function="more", return_type="dataframe", arguments={"old": "<<self.{n, text}>>"})
        vault.create_builder_file("numbers", "numbers_index", text=text)
        vault.execute_instance("numbers")
        assert vault.get_dataframe("numbers")["n"].tolist() == [0, 1, 2, 10, 11, 12]

    def test_may_be_deleted_once_their_builders_are_copied(self, vault: TableVault, first: str) -> None:
        vault.create_instance("numbers", copy=True)
        vault.delete_instance(first, "numbers")
        vault.execute_instance("numbers")
        assert vault.get_dataframe("numbers")["n"].tolist() == [0, 1, 2]
        vault.create_table("copies")
        vault.create_instance("copies", origin_id=vault.get_table_instances("numbers")[0], origin_table="numbers")
        vault.delete_table("numbers")
        vault.execute_instance("copies")
        assert vault.get_dataframe("copies")["n"].tolist() == [0, 1, 2]

    def test_whose_rows_are_to_be_kept_must_be_there(self, vault: TableVault, first: str) -> None:
        vault.create_instance("numbers", copy=True)
        vault.create_builder_file("numbers", "numbers_index", text=self.numbers(2, 5, keep_old=True)["index"])
        vault.delete_instance(first, "numbers")
        with pytest.raises(TVArgumentError, match=rf"'numbers_index' is to keep old rows, but the origin '{first}'"):
            vault.execute_instance("numbers")

    @pytest.mark.parametrize(("return_type", "reads"), [("row-wise", "a"), ("dataframe", "<<self.text>>")])
    def test_one_that_was_deleted_is_told(self, vault: TableVault, first: str, return_type: str, reads: str) -> None:
        vault.create_instance("numbers", copy=True)
        text = index("text", function="shout", return_type=return_type, arguments={"text": reads})
        vault.create_builder_file("numbers", "numbers_index", text=text)
        vault.delete_builder_file("loud", "numbers")
        vault.delete_instance(first, "numbers")
        with pytest.raises((TVBuilderError, TableReferenceError), match=rf"the origin '{first}' .*was deleted"):
            vault.execute_instance("numbers")

    def test_without_one_there_is_nothing_to_work_on(self, vault: TableVault) -> None:
        text = index("text", function="shout", return_type="row-wise", arguments={"text": "<<self.text[index]>>"})
        begin(vault, "numbers", {"index": text}, code=self.CODE)
        with pytest.raises((TVBuilderError, TableReferenceError), match=r"numbers_index\.yaml:\d+:\d+: .*origin"):
            vault.execute_instance("numbers")


class TestSideEffects:
    CODE = "def rows(fail):\n    if fail: raise ConnectionError('nobody answers')\n    yield 1\n"

    @pytest.fixture
    def effects(self, vault: TableVault) -> TableVault:
        vault.create_table("mails", has_side_effects=True)
        build(vault, "mails", {"index": index("n", arguments={"fail": False})}, code=self.CODE)
        return vault

    def test_the_newest_instance_is_the_only_active_one(self, effects: TableVault) -> None:
        (old,) = effects.get_table_instances("mails")
        build(effects, "mails", {"index": index("n", arguments={"fail": False})}, version="v2")
        _, new = effects.get_table_instances("mails")
        assert effects.get_dataframe("mails", version="v2").attrs["instance_id"] == new
        with pytest.raises(TVArgumentError, match=f"no active materialized instance of version 'base'.*{old}"):
            effects.get_dataframe("mails")
        assert effects.get_dataframe("mails", active_only=False).attrs["instance_id"] == old
        assert effects.get_dataframe("mails", old)["n"].tolist() == [1]

    def test_others_are_inactive_while_it_is_executed(self, effects: TableVault) -> None:
        begin(effects, "mails", {"index": index("n", arguments={"fail": True})})
        with pytest.raises(ConnectionError):
            effects.execute_instance("mails", process_id="p")
        with pytest.raises(TVArgumentError, match="no active"):
            effects.get_dataframe("mails")
        effects.stop_process("p")
        assert effects.get_dataframe("mails")["n"].tolist() == [1]

    def test_a_revert_makes_them_active_again(self, effects: TableVault) -> None:
        begin(effects, "mails", {"index": index("n", arguments={"fail": True})})
        with pytest.raises(ConnectionError):
            effects.execute_instance("mails")
        assert effects.get_dataframe("mails")["n"].tolist() == [1]

    @pytest.mark.parametrize("goes_on", [True, False], ids=["goes on", "is reverted"])
    def test_of_two_executions_at_once_the_last_one_is_active(self, effects: TableVault, goes_on: bool) -> None:
        begin(effects, "mails", {"index": index("n", arguments={"fail": True})}, version="v2")
        with pytest.raises(ConnectionError):
            effects.execute_instance("mails", "v2", process_id="p")
        build(effects, "mails", {"index": index("n", arguments={"fail": False})}, version="v3")

        if goes_on:
            effects.create_builder_file(
                "mails", "mails_index", version="v2", text=index("n", arguments={"fail": False})
            )
            effects.execute_instance("mails", "v2", process_id="p", on_change="recompute")
        else:
            effects.stop_process("p")

        found = effects.get_table_instances("mails")
        active = [each for each in found if effects.get_descriptions(each, "mails")["active"]]
        assert [each.partition("_")[0] for each in active] == (["v2"] if goes_on else ["v3"])
        assert effects.check().ok

    def test_of_a_table_without_them_all_stay_active(self, vault: TableVault) -> None:
        for version in ("base", "v2"):
            build(vault, "words", {"index": index("n", arguments={"fail": False})}, code=self.CODE, version=version)
        assert vault.get_dataframe("words").attrs["instance_id"].startswith("base_")
        assert vault.get_dataframe("words", version="v2").attrs["instance_id"].startswith("v2_")


class TestMistakes:
    """Errors that a reader can act on: what, where, and what to do next."""

    def test_of_any_builder_are_found_before_anything_runs(self, vault: TableVault, calls: Calls) -> None:
        code = "from tests.workers import note_call\ndef rows():\n    note_call('row')\n    yield 1\ndef last(n): ...\n"
        last = column("z", function="last", arguments={"m": 1})
        begin(vault, "words", {"index": index("n"), "z": last}, code=code)
        with pytest.raises(TVBuilderError, match=r"last\(\) has no argument 'm'.*It needs 'n'") as caught:
            vault.execute_instance("words", process_id="p")
        place = Path(vault.db_dir, "words/TEMP_base/builders/z.yaml")
        assert str(caught.value).startswith(f"{place}:9:3: ")
        assert not calls()
        # An error of the vault's own before the first row reverts, with an id too.
        assert vault.get_process("p").status == "reverted"
        vault.create_builder_file("words", "z", text=column("z", function="last", arguments={"n": 1}))
        vault.execute_instance("words", process_id="p")

    def test_of_a_module_are_told_with_it(self, vault: TableVault) -> None:
        begin(vault, "words", {"index": index("n")}, code="import nothing_of_the_kind\ndef rows(): yield 1\n")
        with pytest.raises(ModuleNotFoundError, match="nothing_of_the_kind") as caught:
            vault.execute_instance("words")
        assert notes(caught.value)[0] == "This was in the code module 'work', when it was imported."

    def test_tracebacks_name_the_file_that_people_edit(self, vault: TableVault) -> None:
        begin(vault, "words", {"index": index("n")}, code="def rows():\n    yield 1 / 0\n")
        with pytest.raises(ZeroDivisionError) as caught:
            vault.execute_instance("words")
        told = "".join(traceback.format_exception(caught.value))
        place = Path(vault.db_dir, "code_functions/work.py")
        assert f'File "{place}", line 2, in rows\n    yield 1 / 0' in told

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"python_function": "row"}, r":4:18: .*has no function 'row'\. Did you mean 'rows'\?"),
            ({"code_module": "wrk"}, r":3:14: .*There is no code module 'wrk'\. Did you mean 'work'\?"),
            (
                {"is_custom": False, "code_module": "table_generatoin"},
                r":3:14: There is no built-in module 'table_generatoin'\. Did you mean 'table_generation'\?",
            ),
            (
                {"is_custom": False, "code_module": "random_string", "python_function": "random_row_strng"},
                r":4:18: .*Did you mean 'random_row_string'\?",
            ),
            ({"dtypes": {"n": "int65"}}, r":7:15: There is no dtype 'int65'\. Did you mean 'int64'\?"),
            ({"n_threads": 0}, r":7:12: n_threads must be 1 or more, not 0"),
            ({"changed_columns": []}, r":2:18: A builder changes at least one column"),
            ({"primary_key": ["m"]}, r":8:3: The primary key 'm' is not among changed_columns"),
            ({"n_thread": 2}, r":7:1: There is no field 'n_thread'\. Did you mean 'n_threads'\?"),
        ],
    )
    def test_of_a_builder_file_have_line_and_column(
        self, vault: TableVault, fields: dict[str, object], message: str
    ) -> None:
        written: dict[str, object] = {
            "builder_type": "IndexBuilder",
            "changed_columns": ["n"],
            "code_module": "work",
            "python_function": "rows",
            "is_custom": True,
            "return_type": "generator",
        }
        text = "".join(f"{name}: {json.dumps(value)}\n" for name, value in {**written, **fields}.items())
        if "primary_key" in fields:
            text = text.replace('["m"]', '\n- "m"')
        vault.create_code_module("work", text=THREE)
        vault.create_table("words")
        vault.create_instance("words")
        path = Path(vault.db_dir, "words/TEMP_base/builders/words_index.yaml")
        path.write_text(text)
        with pytest.raises(TVBuilderError, match=message) as caught:
            vault.execute_instance("words")
        assert str(caught.value).startswith(f"{path}:")

    @pytest.mark.parametrize("content", [b"\xff\xfe", b"builder_type: \x00"])
    def test_a_file_that_is_no_text_is_told(self, vault: TableVault, content: bytes) -> None:
        begin(vault, "words", {"index": index("n")}, code=THREE)
        path = Path(vault.db_dir, "words/TEMP_base/builders/words_index.yaml")
        path.write_bytes(content)
        with pytest.raises(TVBuilderError, match=r"not UTF-8 text|not allowed in YAML") as caught:
            vault.execute_instance("words")
        assert str(caught.value).startswith(f"{path}")

    def test_an_instance_needs_its_one_index(self, vault: TableVault) -> None:
        begin(vault, "words", {"index": index("n"), "other": index("m")}, code=THREE)
        with pytest.raises(TVBuilderError, match=r"other\.yaml:1:15: The IndexBuilder .* must be named 'words_index'"):
            vault.execute_instance("words")
        vault.delete_builder_file("other", "words")
        vault.delete_builder_file("words_index", "words")
        with pytest.raises(TVBuilderError, match=r"has no IndexBuilder.*Create the builder file words_index\.yaml"):
            vault.execute_instance("words")

    def test_two_builders_of_one_column_are_refused(self, vault: TableVault) -> None:
        more = {"a": column("more", function="rows"), "b": column("more", function="rows")}
        begin(vault, "words", {"index": index("n"), **more}, code=THREE)
        with pytest.raises(TVBuilderError, match=r"b\.yaml:3:3: The column 'more' is changed by the builder 'a'"):
            vault.execute_instance("words")

    def test_what_is_edited_externally_cannot_be_executed(self, vault: TableVault) -> None:
        vault.create_table("words")
        vault.create_instance("words", external_edit=True)
        with pytest.raises(TVArgumentError, match=r"Write it with write_instance\(\)"):
            vault.execute_instance("words")

    def test_there_must_be_something_to_execute(self, vault: TableVault) -> None:
        vault.create_table("words")
        with pytest.raises(TVArgumentError, match=r"no temporary instance of version 'base'.*create_instance\('words'"):
            vault.execute_instance("words")
        vault.create_instance("words", "short")
        with pytest.raises(TVArgumentError, match=r"\(there is one for short\)"):
            vault.execute_instance("words")


class TestCodeModules:
    def test_import_each_other_and_are_told_apart_between_vaults(self, vault: TableVault, tmp_path: Path) -> None:
        other = TableVault(tmp_path / "other", "ada", create=True)
        for number, each in enumerate((vault, other)):
            each.create_code_module("helper", text=f"NUMBER = {number}")
            begin(each, "words", {"index": index("n")}, code="import helper\ndef rows(): yield helper.NUMBER")
            each.execute_instance("words")
        assert vault.get_dataframe("words")["n"].tolist() == [0]
        assert other.get_dataframe("words")["n"].tolist() == [1]

    def test_the_function_may_be_named_with_its_module(self, vault: TableVault) -> None:
        assert len(build(vault, "words", {"index": index("n", function="work.rows")}, code=THREE)) == 3

    def test_keep_no_state_from_one_execution_to_the_next(self, vault: TableVault) -> None:
        code = "seen = []\ndef rows():\n    seen.append(1)\n    yield len(seen)\n"
        assert build(vault, "words", {"index": index("n")}, code=code)["n"].tolist() == [1]
        assert build(vault, "words", {"index": index("n")})["n"].tolist() == [1]

    def test_are_kept_with_the_instance(self, vault: TableVault) -> None:
        vault.create_code_module("helper", text="WORD = 'ant'")
        vault.create_code_module("unrelated", text="raise AssertionError")
        build(vault, "words", {"index": index("n")}, code="import helper\ndef rows(): yield helper.WORD")
        (made,) = vault.get_table_instances("words")
        kept = sorted(path.name for path in Path(vault.db_dir, "words", made, "code").iterdir())
        assert kept == ["helper.py", "work.py"]

    def test_need_nothing_custom_for_what_comes_with_the_library(self, vault: TableVault) -> None:
        vault.create_table("words")
        vault.create_instance("words", builders=["words_index", "text"])
        vault.execute_instance("words")
        frame = vault.get_dataframe("words")
        assert frame["id"].tolist() == [1, 2, 3]
        assert all(isinstance(text, str) for text in frame["text"])


class TestForce:
    def test_is_taken_for_what_users_pass_it_for(self, vault: TableVault) -> None:
        """Everything is executed anyway; the argument is part of what identifies the work."""
        begin(vault, "words", {"index": index("n")}, code=THREE)
        vault.execute_instance("words", force_execute=True)
        assert len(vault.get_dataframe("words")) == 3
