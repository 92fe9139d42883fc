"""Rows that were made before: taken over from the origin where recipe and inputs are equal, made anew where not."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault
from tests import states
from tests.scenes import Calls
from tests.tables import Background, begin, build, builder, column, gates, index, write, write_code

CODE = """
from pathlib import Path

import pandas as pd

from tests.workers import note_call


def rows():
    yield from ["ant", "bee", "cat"]


def keyed(names):
    for name in names["name"]:
        yield {"name": name}


def louder(word):
    # what a helper does
    return word.upper()


def shout(word, mark="!"):
    note_call(f"shout {word}")
    return louder(word) + mark


def length(word):
    note_call(f"length {word}")
    return len(word)


def page(word, folder):
    note_call(f"page {word}")
    Path(folder, f"{word}.txt").write_text(word * 2)
    return f"{word}.txt"


def read(page):
    note_call(f"read {Path(page).name}")
    return Path(page).read_text()


def total(frame):
    note_call("total")
    return pd.DataFrame({"total": [frame["name"].str.len().sum()] * len(frame)})


def stream(frame):
    note_call("stream")
    for name in frame["name"]:
        yield name[::-1]


def both(left, right):
    note_call(f"both {left} {right}")
    return f"{left}/{right}"
"""

NAME = {"word": "<<self.name[index]>>"}
SHOUT = column("loud", function="shout", arguments=NAME)
LENGTH = column("length", function="length", arguments=NAME)
BOTH = column("both", function="both", arguments={"left": "<<self.loud[index]>>", "right": "<<self.length[index]>>"})
PAGE = column(
    "page", function="page", arguments={**NAME, "folder": "~ARTIFACT_FOLDER~"}, dtypes={"page": "artifact_string"}
)
READ = column("text", function="read", arguments={"page": "<<self.page[index]>>"})
TOTAL = column("total", function="total", arguments={"frame": "<<self.{name}>>"}, return_type="dataframe")
STREAM = column("back", function="stream", arguments={"frame": "<<self.{name}>>"}, return_type="generator")
KEYED = index("name", function="keyed", arguments={"names": "<<names.{name}>>"}, primary_key=["name"])
BUILDERS = {
    "index": index("name"),
    "shout": SHOUT,
    "length": LENGTH,
    "both": BOTH,
    "page": PAGE,
    "read": READ,
    "total": TOTAL,
    "stream": STREAM,
}


@pytest.fixture
def vault(tmp_path: Path, calls: Calls) -> TableVault:
    return TableVault(tmp_path / "vault", "ada", create=True)


@pytest.fixture
def built(vault: TableVault) -> TableVault:
    """Return a vault in which the table ``words`` was built by all builders."""
    build(vault, "words", BUILDERS, code=CODE)
    return vault


class Again:
    """Build ``words`` again from its newest instance, and count what is called."""

    def __init__(self, vault: TableVault, calls: Calls) -> None:
        self.vault = vault
        self._calls = calls

    def __call__(self, *, force: bool = False, process_id: str = "", **builders: str) -> Counter[str]:
        before = self._calls()
        old = self.vault.get_dataframe("words")
        if "TEMP_base" not in self.vault.get_table_instances("words", include_temp=True):
            self.vault.create_instance("words", copy=True)
        for name, text in builders.items():
            self.vault.create_builder_file("words", name, text=text)
        self.process_id = self.vault.execute_instance("words", force_execute=force, process_id=process_id)
        self.old, self.new = old, self.vault.get_dataframe("words")
        states.assert_sound(Path(self.vault.db_dir))
        return self._calls() - before

    def assert_same(self) -> None:
        """Hold the new frame to the old one, dtypes and artifacts' content too."""
        old, new = self.old, self.new
        if "page" in old:
            assert [Path(page).read_text() for page in old["page"]] == [Path(page).read_text() for page in new["page"]]
            assert not set(old["page"]) & set(new["page"])
            old, new = old.drop(columns="page"), new.drop(columns="page")
        pd.testing.assert_frame_equal(new, old)


@pytest.fixture
def again(built: TableVault, calls: Calls) -> Again:
    return Again(built, calls)


def reused(vault: TableVault, process_id: str) -> dict[str, int]:
    return {step.name: step.rows_reused for step in vault.get_process(process_id).steps if step.rows_reused}


class TestNothingChanged:
    def test_calls_nothing_but_the_index(self, again: Again) -> None:
        assert not again()
        again.assert_same()
        every = dict.fromkeys(["shout", "length", "both", "page", "read", "total", "stream"], 3)
        assert reused(again.vault, again.process_id) == every

    def test_and_so_on_for_ever(self, again: Again) -> None:
        for _ in range(3):
            assert not again()
            again.assert_same()

    def test_not_even_when_the_origin_was_written_by_another_name(self, again: Again) -> None:
        again.vault.rename_table("terms", "words")
        before = again._calls()
        again.vault.create_instance("terms", copy=True)
        again.vault.execute_instance("terms")
        assert again._calls() == before

    def test_comments_and_docstrings_are_nothing(self, again: Again) -> None:
        write_code(again.vault, CODE.replace("# what a helper does", "# says it louder"))
        assert not again()

    def test_the_name_of_a_builder_is_nothing(self, again: Again) -> None:
        again.vault.create_instance("words", copy=True)
        again.vault.delete_builder_file("length", "words")
        assert not again(size=LENGTH)


class TestOneOfFiveColumns:
    """Five columns of one table: two are made of others, and one of those of the other."""

    @pytest.fixture
    def again(self, vault: TableVault, calls: Calls) -> Again:
        builders = {name: BUILDERS[name] for name in ("index", "shout", "length", "both", "page", "read")}
        build(vault, "words", builders, code=CODE)
        return Again(vault, calls)

    @pytest.mark.parametrize(
        ("builder", "old", "new", "made"),
        [
            ("shout", "return louder(word) + mark", "return mark + louder(word)", {"shout", "both"}),
            ("length", "return len(word)", "return -len(word)", {"length", "both"}),
            ("both", 'f"{left}/{right}"', 'f"{right}/{left}"', {"both"}),
            ("page", "word * 2", "word * 3", {"page", "read"}),
            ("read", "read_text()", "read_text().upper()", {"read"}),
        ],
    )
    def test_is_made_again_with_what_depends_on_it_and_nothing_else(
        self, again: Again, builder: str, old: str, new: str, made: set[str]
    ) -> None:
        assert CODE.count(old) == 1
        write_code(again.vault, CODE.replace(old, new))
        called = again()
        assert {name.split()[0] for name in called} == made
        assert called.total() == 3 * len(made)
        assert reused(again.vault, again.process_id) == dict.fromkeys(
            {"shout", "length", "both", "page", "read"} - made, 3
        )


class TestTheIndex:
    def test_always_runs(self, vault: TableVault, calls: Calls) -> None:
        code = CODE.replace("def rows():", "def rows():\n    note_call('rows')")
        build(vault, "words", {"index": index("name"), "shout": SHOUT}, code=code)
        again = Again(vault, calls)
        assert again() == Counter(["rows"])
        assert reused(vault, again.process_id) == {"shout": 3}


class TestBuiltInFunctions:
    """Random strings tell whether they were made anew."""

    @pytest.mark.parametrize(
        ("function", "return_type", "arguments"),
        [
            ("random_row_string", "row-wise", {}),
            ("random_column_string", "dataframe", {"df": "<<self.{name}>>"}),
            ("random_gen_string", "generator", {"df": "<<self.{name}>>"}),
        ],
    )
    def test_are_reused_as_others_are(
        self, vault: TableVault, calls: Calls, function: str, return_type: str, arguments: dict[str, str]
    ) -> None:
        made = builder(
            "ColumnBuilder",
            "made",
            code_module="random_string",
            is_custom=False,
            python_function=function,
            return_type=return_type,
            arguments={"column_names": ["made"], **arguments},
        )
        build(vault, "words", {"index": index("name"), "made": made}, code=CODE)
        again = Again(vault, calls)
        again()
        again.assert_same()
        assert reused(vault, again.process_id) == {"made": 3}
        again(made=made + "reuse: never\n")
        assert not set(again.new["made"]) & set(again.old["made"])
        assert reused(vault, again.process_id) == {}


class TestWhatIsReused:
    def test_is_told_in_the_log(self, again: Again, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "tablevault_like"):
            again(shout=column("loud", function="shout", arguments={**NAME, "mark": "?"}))
        told = [each.message for each in caplog.records if "reused" in each.message]
        assert told == [
            f"Process {again.process_id}, builder {name}: 3 of 3 rows are reused from the origin"
            for name in ("length", "page", "read", "stream", "total")
        ]

    def test_is_counted_in_the_process(self, again: Again) -> None:
        again()
        process = again.vault.get_process(again.process_id)
        assert (process.rows_done, process.rows_reused, process.rows_total) == (3, 3, 3)


class TestForce:
    @pytest.mark.parametrize("allow_multiple", [True, False], ids=["own artifacts", "the table's artifacts"])
    def test_leaves_the_old_result_until_the_new_one_is_complete(self, vault: TableVault, allow_multiple: bool) -> None:
        code = (
            CODE
            + """

def wait(word):
    from tests.tables import GATES
    if "middle" in GATES:
        GATES["middle"].enter()
    return word
"""
        )
        vault.create_table("words", allow_multiple_artifacts=allow_multiple)
        wait = column("waited", function="wait", arguments=NAME)
        build(vault, "words", {"index": index("name"), "page": PAGE, "wait": wait}, code=code)
        old = vault.get_dataframe("words")
        (made,) = vault.get_table_instances("words")
        shown = Path(vault.db_dir, "words", *([made] if allow_multiple else []), "artifacts")
        write_code(vault, code.replace("word * 2", "word * 3"))
        vault.create_instance("words", copy=True)
        with gates("middle") as (middle,):
            running = Background(vault.execute_instance, "words", force_execute=True)
            middle.await_arrival()  # all pages are written by now
            assert vault.get_table_instances("words") == [made]
            pd.testing.assert_frame_equal(vault.get_dataframe("words"), old)
            texts = [Path(page).read_text() for page in old["page"]]
            assert texts == ["antant", "beebee", "catcat"]
            assert {path.name: path.read_text() for path in shown.iterdir()} == {
                f"{word}.txt": word * 2 for word in ("ant", "bee", "cat")
            }
            middle.open()
            running.result()
        assert len(vault.get_table_instances("words")) == 2
        new = vault.get_dataframe("words")
        assert [Path(page).read_text() for page in new["page"]] == ["antantant", "beebeebee", "catcatcat"]
        assert [Path(page).read_text() for page in old["page"]] == texts
        states.assert_sound(Path(vault.db_dir))

    def test_that_fails_leaves_the_old_result(self, again: Again) -> None:
        write_code(again.vault, CODE.replace("return len(word)", "return len(word) / (word != 'cat')"))
        old = again.vault.get_dataframe("words")
        with pytest.raises(ZeroDivisionError):
            again(force=True)
        pd.testing.assert_frame_equal(again.vault.get_dataframe("words"), old)
        states.assert_sound(Path(again.vault.db_dir))

    def test_makes_everything_anew(self, again: Again) -> None:
        assert again(force=True).total() == 17
        again.assert_same()

    def test_never_reuse_is_for_one_builder(self, again: Again) -> None:
        assert again(shout=SHOUT + "reuse: never\n") == Counter({f"shout {word}": 1 for word in ("ant", "bee", "cat")})

    def test_without_an_origin_everything_is_made(self, again: Again) -> None:
        begin(again.vault, "words", BUILDERS)
        assert again().total() == 17


class TestAChangedBuilder:
    def test_is_made_again_with_what_depends_on_it(self, again: Again) -> None:
        called = again(shout=column("loud", function="shout", arguments={**NAME, "mark": "?"}))
        assert called == Counter(
            [f"shout {word}" for word in ("ant", "bee", "cat")] + [f"both {word}? 3" for word in ("ANT", "BEE", "CAT")]
        )
        assert again.new["loud"].tolist() == ["ANT?", "BEE?", "CAT?"]

    def test_whose_values_stay_is_no_change_for_others(self, again: Again) -> None:
        write_code(again.vault, CODE.replace("return len(word)", "return sum(1 for _ in word)"))
        assert again() == Counter({f"length {word}": 1 for word in ("ant", "bee", "cat")})

    def test_a_helper_is_part_of_it(self, again: Again) -> None:
        write_code(again.vault, CODE.replace("return word.upper()", "return word.title()"))
        called = again()
        assert {name.split()[0] for name in called} == {"shout", "both"}

    def test_of_a_whole_frame_is_called_again(self, again: Again) -> None:
        write_code(again.vault, CODE.replace(".str.len().sum()", ".str.len().sum() + 1"))
        assert again() == Counter(["total"])
        assert again.new["total"].tolist() == [10, 10, 10]

    def test_that_writes_artifacts_writes_them_again(self, again: Again) -> None:
        write_code(again.vault, CODE.replace("word * 2", "word * 3"))
        called = again()
        assert {name.split()[0] for name in called} == {"page", "read"}
        assert [Path(page).read_text() for page in again.new["page"]] == ["antantant", "beebeebee", "catcatcat"]
        assert [Path(page).read_text() for page in again.old["page"]] == ["antant", "beebee", "catcat"]


class TestChangedRows:
    @pytest.fixture
    def again(self, vault: TableVault, calls: Calls) -> Again:
        write(vault, "names", pd.DataFrame({"name": ["ant", "bee", "cat"]}))
        build(vault, "words", {"index": KEYED, "shout": SHOUT, "page": PAGE, "total": TOTAL}, code=CODE)
        return Again(vault, calls)

    def test_are_matched_by_the_primary_key(self, again: Again) -> None:
        write(again.vault, "names", pd.DataFrame({"name": ["dog", "cat", "ant"]}))

        assert again() == Counter(["shout dog", "page dog", "total"])

        assert again.new["loud"].tolist() == ["DOG!", "CAT!", "ANT!"]
        assert [Path(page).name for page in again.new["page"]] == ["dog.txt", "cat.txt", "ant.txt"]

    def test_in_another_order_need_a_whole_frame_anew(self, again: Again) -> None:
        write(again.vault, "names", pd.DataFrame({"name": ["cat", "bee", "ant"]}))
        assert again() == Counter(["total"])

    def test_three_of_many_are_three_calls(self, vault: TableVault, calls: Calls) -> None:
        names = [f"n{number}" for number in range(10_000)]
        write(vault, "names", pd.DataFrame({"name": names}))
        builders = {"index": index("name", function="keyed", arguments={"names": "<<names.{name}>>"}), "shout": SHOUT}
        build(vault, "words", builders, code=CODE)
        for place in (7, 500, 9_999):
            names[place] = "new"
        write(vault, "names", pd.DataFrame({"name": names}))

        again = Again(vault, calls)
        assert again() == Counter({"shout new": 3})
        assert reused(vault, again.process_id) == {"shout": 9_997}

    def test_are_matched_by_their_position_without_a_key(self, vault: TableVault, calls: Calls) -> None:
        """Rows that stand elsewhere now are made anew, as one that differs is."""
        by_position = index("name", function="keyed", arguments={"names": "<<names.{name}>>"})
        write(vault, "names", pd.DataFrame({"name": ["ant", "bee", "cat", "dog"]}))
        build(vault, "words", {"index": by_position, "shout": SHOUT}, code=CODE)
        write(vault, "names", pd.DataFrame({"name": ["ant", "cow", "cat"]}))
        again = Again(vault, calls)
        assert again() == Counter(["shout cow"])
        assert reused(vault, again.process_id) == {"shout": 2}
        write(vault, "names", pd.DataFrame({"name": ["ant", "new", "cow", "cat"]}))
        assert again() == Counter(["shout new", "shout cow", "shout cat"])
        assert again.new["loud"].tolist() == ["ANT!", "NEW!", "COW!", "CAT!"]

    def test_of_a_table_that_was_renamed_are_known(self, again: Again) -> None:
        again.vault.rename_table("terms", "names")
        renamed = KEYED.replace("<<names.", "<<terms.")
        assert not again(words_index=renamed)
        write(again.vault, "terms", pd.DataFrame({"name": ["ant", "cow", "cat"]}))
        assert again() == Counter(["shout cow", "page cow", "total"])


class TestWhatWasInterrupted:
    def test_a_partial_instance_gives_what_it_has(self, built: TableVault, calls: Calls) -> None:
        write_code(built, CODE.replace("louder(word) + mark", 'louder(word) + mark if word != "cat" else 1 / 0'))
        built.create_instance("words", copy=True)
        with pytest.raises(ZeroDivisionError):
            built.execute_instance("words", process_id="p", force_execute=True)
        built.stop_process("p", materialize=True)
        write_code(built, CODE.replace("louder(word) + mark", 'louder(word) + mark if word != "cat" else 1 / 0'))
        (partial,) = [
            each for each in built.get_table_instances("words") if not built.get_descriptions(each, "words")["success"]
        ]
        before = calls()
        built.create_instance("words", origin_id=partial)
        with pytest.raises(ZeroDivisionError):
            built.execute_instance("words", process_id="q")
        assert (calls() - before)["shout ant"] == 0
        assert (calls() - before)["shout cat"] == 1

    def test_a_resume_goes_on_reusing(self, again: Again, calls: Calls) -> None:
        code = CODE.replace('note_call(f"length {word}")', 'note_call(f"length {word}"); 1 / (word != "bee")')
        write_code(again.vault, code)
        with pytest.raises(ZeroDivisionError):
            again(process_id="p")
        write_code(again.vault, CODE)
        before = calls()

        again.vault.execute_instance("words", process_id="p", on_change="recompute")

        assert not (calls() - before)
        assert reused(again.vault, "p")["length"] == 3
        assert again.vault.get_dataframe("words")["loud"].tolist() == ["ANT!", "BEE!", "CAT!"]


class TestArtifactsAsInputs:
    def test_count_by_their_content(self, vault: TableVault, calls: Calls) -> None:
        """The text of a page is read again only where the page itself is another."""
        builders = {"index": index("name"), "page": PAGE}
        build(vault, "pages", builders, code=CODE)
        arguments = {"page": "<<pages.page[index]>>"}
        build(vault, "words", {"index": index("name"), "read": column("text", function="read", arguments=arguments)})
        build(vault, "pages", builders, code=CODE.replace("word * 2", 'word * (2 if word != "bee" else 3)'))

        assert Again(vault, calls)() == Counter(["read bee.txt"])


def test_artifacts_that_are_made_anew_are_not_taken_over(again: Again) -> None:
    """Here a row-wise IndexBuilder goes over the rows of the origin, and pages get other names."""
    other = column("name", function="louder", arguments=NAME)
    other = other.replace("ColumnBuilder", "IndexBuilder")
    again.vault.create_instance("words", copy=True)

    called = again(words_index=other)

    assert [Path(page).name for page in again.new["page"]] == ["ANT.txt", "BEE.txt", "CAT.txt"]
    assert called["page ANT"] == 1


def test_what_is_not_kept_any_more_is_made_again(again: Again) -> None:
    """An origin without its provenance, as one of a frame that was written, or of an older version."""
    (made,) = again.vault.get_table_instances("words")
    folder = Path(again.vault.db_dir) / "words" / made / "provenance" / "builders.json"
    folder.unlink()
    before = again._calls()
    again.vault.create_instance("words", copy=True)
    again.vault.execute_instance("words")
    assert (again._calls() - before).total() == 17
