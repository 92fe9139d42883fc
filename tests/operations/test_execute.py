"""Building an instance: what builders of each kind are called with, what they may return, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArtifactError, TVBuilderError, TVTableError
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
