"""Rows that were made before: taken over from the origin where recipe and inputs are equal, made anew where not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault
from tests import states
from tests.scenes import Calls
from tests.tables import begin, build, column, index, write, write_code

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


class TestForce:
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
        names = [f"n{number}" for number in range(2_000)]
        write(vault, "names", pd.DataFrame({"name": names}))
        builders = {"index": index("name", function="keyed", arguments={"names": "<<names.{name}>>"}), "shout": SHOUT}
        build(vault, "words", builders, code=CODE)
        for place in (7, 500, 1_999):
            names[place] = "new"
        write(vault, "names", pd.DataFrame({"name": names}))

        assert Again(vault, calls)() == Counter({"shout new": 3})


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
