"""What is reused is what would be made: in doubt it is made again, and a stale value is never shown."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.builders.recording import Recorder
from tablevault_like.builders.reuse import ReusableRows, ReusedRow
from tablevault_like.errors import TVFileError
from tests import states
from tests.scenes import Calls
from tests.storage.frames import assert_same
from tests.tables import begin, build, builder, column, index, write, write_code

CODE = """
import json
import os
from pathlib import Path

import pandas as pd

from tablevault_like import TableVault
from tests.workers import note_call


def rows(words="ant bee cat"):
    yield from words.split()


def again(words):
    return words


def shout(word):
    note_call(f"shout {word}")
    return word.upper() + "!"


def whole(words):
    note_call("whole")
    if os.environ.get("FAILS"):
        raise OSError("no")
    return pd.DataFrame({"made": [word + "!" for word in words["word"]]})


def stream(words):
    for number, word in enumerate(words["word"]):
        note_call(f"stream {number}")
        if number == 1 and os.environ.get("FAILS"):
            raise OSError("no")
        yield word + "!"


def page(word, folder):
    note_call(f"page {word}")
    Path(folder, f"{word}.txt").write_text(word * 2)
    return f"{word}.txt"
"""

WORD = {"word": "<<self.word[index]>>"}
WORDS = {"words": "<<self.{word}>>"}
SHOUT = column("loud", function="shout", arguments=WORD)
PAGE = column(
    "page", function="page", arguments={**WORD, "folder": "~ARTIFACT_FOLDER~"}, dtypes={"page": "artifact_string"}
)
WHOLE = column("made", function="whole", arguments=WORDS, return_type="dataframe")
STREAM = column("made", function="stream", arguments=WORDS, return_type="generator")


@pytest.fixture
def vault(tmp_path: Path, calls: Calls) -> TableVault:
    return TableVault(tmp_path / "vault", "ada", create=True)


def made_with(vault: TableVault, builders: Mapping[str, str], code: str = CODE, **fields: object) -> pd.DataFrame:
    """Build ``t`` with these builders, and its rows."""
    return build(vault, "t", {"index": index("word"), **builders}, code=code, **fields)


def again(vault: TableVault, calls: Calls, builders: Mapping[str, str] | None = None, **fields: object) -> Counter[str]:
    """Build ``t`` from its newest instance, and return what was called."""
    before = calls()
    if "TEMP_base" not in vault.get_table_instances("t", include_temp=True):
        vault.create_instance("t", copy=True)
    for name, text in (builders or {}).items():
        vault.create_builder_file("t", name, text=text)
    vault.execute_instance("t", **fields)  # type: ignore[arg-type]
    states.assert_sound(Path(vault.db_dir))
    return calls() - before


def reused(vault: TableVault, process_id: str) -> dict[str, int]:
    return {step.name: step.rows_reused for step in vault.get_process(process_id).steps if step.rows_reused}


class TestCode:
    """Whatever decides what a function does is part of its recipe."""

    WORK = """
import functools

import shared
from shared import Style
from tests.workers import note_call

LIMIT = 3
MARKS = {}
MARKS["a"] = "!"  # at import


def twice(function):
    @functools.wraps(function)
    def called(word):
        return function(word) * 2

    return called


class Base:
    end = "."


class Writer(Base):
    start = "<"

    def write(self, word):
        return self.start + word + self.end


def rows():
    yield from ["ant", "bee", "cat"]


@twice
def shout(word, mark="?"):
    '''A docstring.'''
    note_call(f"shout {word}")
    upper = lambda text: text.upper()  # noqa
    return upper(word)[:LIMIT] + mark + MARKS["a"] + shared.END + Style.tone + Writer().write(word)
"""
    SHARED = """
END = "."


class Style:
    tone = "quiet"


UNUSED = 1
"""

    def test_a_change_of_meaning_is_seen(self, vault: TableVault, calls: Calls) -> None:
        modules = {"work": self.WORK, "shared": self.SHARED}
        write_code(vault, self.SHARED, "shared")
        before = made_with(vault, {"shout": SHOUT}, self.WORK)["loud"].tolist()
        for name, old, new in (
            ("work", 'mark="?"', 'mark="#"'),
            ("work", "LIMIT = 3", "LIMIT = 2"),
            ("work", 'MARKS["a"] = "!"', 'MARKS["a"] = "#"'),
            ("work", "* 2", "* 3"),
            ("work", "@twice\n", ""),
            ("work", 'start = "<"', 'start = "["'),
            ("work", 'end = "."', 'end = ">"'),
            ("work", "class Writer(Base):", "class Writer:\n    end = ''"),
            ("work", "text.upper()", "text.title()"),
            ("shared", 'END = "."', 'END = ";"'),
            ("shared", 'tone = "quiet"', 'tone = "loud"'),
        ):
            assert old in modules[name]
            modules[name] = modules[name].replace(old, new)
            write_code(vault, modules[name], name)
            assert again(vault, calls).total() == 3, new
            after = vault.get_dataframe("t")["loud"].tolist()
            assert all(one != other for one, other in zip(before, after, strict=True))
            before = after

    def test_anything_else_is_nothing(self, vault: TableVault, calls: Calls) -> None:
        write_code(vault, self.SHARED, "shared")
        made_with(vault, {"shout": SHOUT}, self.WORK)
        write_code(vault, self.WORK.replace("A docstring", "Another one").replace("# at import", "# then"))
        write_code(vault, self.SHARED.replace("UNUSED = 1", "UNUSED = 2"), "shared")
        assert not again(vault, calls)


class TestUnfinished:
    """A function that makes all rows at once, and didn't."""

    @pytest.mark.parametrize("text", [WHOLE, STREAM], ids=["dataframe", "generator"])
    def test_is_called_again(self, text: str, vault: TableVault, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
        begin(vault, "t", {"index": index("word"), "made": text}, code=CODE)
        monkeypatch.setenv("FAILS", "1")
        with pytest.raises(OSError, match="no"):
            vault.execute_instance("t", process_id="p")
        vault.stop_process("p", materialize=True)
        monkeypatch.delenv("FAILS")
        (partial,) = vault.get_table_instances("t")
        if "TEMP_base" not in vault.get_table_instances("t", include_temp=True):
            vault.create_instance("t", origin_id=partial)

        assert again(vault, calls)

        assert vault.get_dataframe("t")["made"].tolist() == ["ant!", "bee!", "cat!"]
        assert not again(vault, calls)

    def test_of_two_codes_is_called_again(
        self, vault: TableVault, calls: Calls, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begin(vault, "t", {"index": index("word"), "made": STREAM}, code=CODE)
        monkeypatch.setenv("FAILS", "1")
        with pytest.raises(OSError, match="no"):
            vault.execute_instance("t", process_id="p")
        monkeypatch.delenv("FAILS")
        write_code(vault, CODE.replace('yield word + "!"', 'yield word + "?"'))
        vault.execute_instance("t", process_id="p", on_change="continue")
        assert vault.get_dataframe("t")["made"].tolist() == ["ant!", "bee?", "cat?"]

        for mark in ("!", "?"):
            write_code(vault, CODE.replace('yield word + "!"', f'yield word + "{mark}"'))
            vault.create_instance("t", origin_id=vault.get_table_instances("t")[0])
            assert again(vault, calls).total() == 3
            assert vault.get_dataframe("t")["made"].tolist() == [f"ant{mark}", f"bee{mark}", f"cat{mark}"]

    @pytest.mark.parametrize("text", [WHOLE, STREAM], ids=["dataframe", "generator"])
    def test_that_was_made_after_all_is_reused(
        self, text: str, vault: TableVault, calls: Calls, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begin(vault, "t", {"index": index("word"), "made": text}, code=CODE)
        monkeypatch.setenv("FAILS", "1")
        with pytest.raises(OSError, match="no"):
            vault.execute_instance("t", process_id="p")
        monkeypatch.delenv("FAILS")
        vault.execute_instance("t", process_id="p")
        assert not again(vault, calls)

    def test_rows_of_the_old_code_are_made_again(self, vault: TableVault, calls: Calls) -> None:
        code = CODE.replace('word.upper() + "!"', 'word.upper() + "!" if word != "bee" else 1 / 0')
        begin(vault, "t", {"index": index("word"), "shout": SHOUT}, code=code)
        with pytest.raises(ZeroDivisionError):
            vault.execute_instance("t", process_id="p")
        write_code(vault, CODE.replace('+ "!"', '+ "?"'))
        vault.execute_instance("t", process_id="p", on_change="continue")
        assert vault.get_dataframe("t")["loud"].tolist() == ["ANT!", "BEE?", "CAT?"]

        assert again(vault, calls) == Counter(["shout ant"])

        assert vault.get_dataframe("t")["loud"].tolist() == ["ANT?", "BEE?", "CAT?"]

    @pytest.mark.parametrize("when", ["taken", "recorded"])
    def test_a_reuse_that_is_interrupted_goes_on(
        self, when: str, vault: TableVault, calls: Calls, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made_with(vault, {"shout": SHOUT, "page": PAGE, "made": STREAM})
        before, count = calls(), 0
        owner, name = (ReusableRows, "take") if when == "taken" else (Recorder, "reuse")
        real = getattr(owner, name)

        def interrupted(self: object, rows: list[ReusedRow], *more: object) -> object:
            nonlocal count
            count += 1
            if count == 5:
                raise KeyboardInterrupt
            return real(self, rows, *more)

        with monkeypatch.context() as patch:
            patch.setattr("tablevault_like.builders.rows._BLOCK", 1)
            patch.setattr(owner, name, interrupted)
            vault.create_instance("t", copy=True)
            with pytest.raises(KeyboardInterrupt):
                vault.execute_instance("t", process_id="p")
        vault.execute_instance("t", process_id="p")

        assert calls() == before
        assert reused(vault, "p") == {"shout": 3, "page": 3, "made": 3}
        assert [Path(page).read_text() for page in vault.get_dataframe("t")["page"]] == ["antant", "beebee", "catcat"]
        states.assert_sound(Path(vault.db_dir))


class TestValues:
    def test_a_part_of_a_mixed_column_is_as_if_it_was_made(self, vault: TableVault, calls: Calls) -> None:
        """Which dtype a column has without being told depends on all its rows."""
        code = CODE + (
            "\ndef score(word):\n"
            "    note_call(f'score {word}')\n"
            "    return {'ant': (1, 'a', None), 'bee': (2.5, None, 3), 'cow': (True, [1], {'a': 1})}[word]\n"
        )
        score = column("a", "b", "c", function="score", arguments=WORD)
        rows = {
            words: index("word", arguments={"words": words}, primary_key=["word"])
            for words in ("ant bee", "cow ant", "ant")
        }
        build(vault, "t", {"index": rows["ant bee"], "score": score}, code=code)
        for words, called in (("cow ant", ["score cow"]), ("ant", [])):
            assert again(vault, calls, {"t_index": rows[words]}) == Counter(called)
            build(vault, "fresh", {"index": rows[words], "score": score})
            assert_same(vault.get_dataframe("t"), vault.get_dataframe("fresh"))

    def test_the_order_of_a_dict_is_seen(self, vault: TableVault, calls: Calls) -> None:
        code = CODE + "\ndef show(cell):\n    note_call('show')\n    return json.dumps(cell)\n"
        show = column("made", function="show", arguments={"cell": "<<given.cell[index]>>"})
        write(vault, "given", pd.DataFrame({"cell": [{"a": 1, "b": 2}] * 3}))
        made_with(vault, {"made": show}, code)
        write(vault, "given", pd.DataFrame({"cell": [{"b": 2, "a": 1}] * 3}))
        assert again(vault, calls) == Counter({"show": 3})
        assert vault.get_dataframe("t")["made"].tolist() == ['{"b": 2, "a": 1}'] * 3

    def test_keywords_of_the_run_are_no_inputs(self, vault: TableVault, calls: Calls) -> None:
        code = CODE + "\ndef tell(key, process):\n    note_call('tell')\n    return f'{key} {process}'\n"
        tell = column("made", function="tell", arguments={"key": "~ROW_KEY~", "process": "~PROCESS_ID~"})
        before = made_with(vault, {"made": tell}, code)
        assert not again(vault, calls)
        pd.testing.assert_frame_equal(vault.get_dataframe("t"), before)


class TestInputs:
    def test_what_a_function_reads_by_itself_is_seen_if_it_is_declared(self, vault: TableVault, calls: Calls) -> None:
        code = CODE + (
            "\ndef look(word, place):\n"
            "    note_call(f'look {word}')\n"
            "    return TableVault(place).get_dataframe('other')['value'][0]\n"
        )
        arguments = {**WORD, "place": vault.db_dir}
        look = column("made", function="look", arguments=arguments, dependencies=["other"])
        write(vault, "other", pd.DataFrame({"value": ["old"]}))
        made_with(vault, {"made": look}, code)
        assert not again(vault, calls)
        write(vault, "other", pd.DataFrame({"value": ["new"]}))
        assert again(vault, calls).total() == 3
        assert vault.get_dataframe("t")["made"].tolist() == ["new"] * 3

    def test_a_file_that_a_built_in_reads_is_seen(
        self, vault: TableVault, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        path = Path("made.csv")
        path.write_text("made\none\ntwo\nthree\n")
        csv = builder(
            "ColumnBuilder",
            "made",
            code_module="table_generation",
            is_custom=False,
            python_function="create_data_table_from_csv",
            arguments={"csv_file_path": str(path)},
        )
        made_with(vault, {"made": csv})
        vault.create_instance("t", copy=True)
        assert reused(vault, vault.execute_instance("t")) == {"made": 3}
        path.write_text("made\none\ntwo\nfour\n")
        vault.create_instance("t", copy=True)
        assert reused(vault, vault.execute_instance("t")) == {}
        assert vault.get_dataframe("t")["made"].tolist() == ["one", "two", "four"]

    def test_the_name_of_an_artifact_is_seen(self, vault: TableVault, calls: Calls) -> None:
        code = CODE + "\ndef name(page):\n    note_call('name')\n    return Path(page).name\n"
        name = column("name", function="name", arguments={"page": "<<self.page[index]>>"})
        made_with(vault, {"page": PAGE, "name": name}, code)
        write_code(vault, code.replace('f"{word}.txt"', 'f"{word}.text"'))
        assert again(vault, calls)["name"] == 3
        assert vault.get_dataframe("t")["name"].tolist() == ["ant.text", "bee.text", "cat.text"]

    def test_what_a_text_says_of_artifacts_is_seen(self, vault: TableVault, calls: Calls) -> None:
        code = CODE + (
            "\ndef ask(prompt):\n    note_call('ask')\n    return Path(prompt.removeprefix('read ')).read_text()\n"
        )
        ask = column("answer", function="ask", arguments={"prompt": "read <<self.page[index]>>"})
        made_with(vault, {"page": PAGE, "ask": ask}, code)
        assert not again(vault, calls)
        write_code(vault, code.replace("word * 2", "word * 3"))
        assert again(vault, calls)["ask"] == 3
        assert vault.get_dataframe("t")["answer"].tolist() == ["antantant", "beebeebee", "catcatcat"]


class TestOrigins:
    def test_a_copy_of_the_vault_goes_on_reusing(self, vault: TableVault, calls: Calls, tmp_path: Path) -> None:
        code = CODE + "\ndef read(page):\n    note_call('read')\n    return Path(page).read_text()\n"
        read = column("text", function="read", arguments={"page": "<<self.page[index]>>"})
        made_with(vault, {"page": PAGE, "read": read, "made": STREAM}, code)
        copy = TableVault(shutil.copytree(vault.db_dir, tmp_path / "elsewhere" / "copy"), "ada")
        shutil.rmtree(vault.db_dir)
        assert not again(copy, calls)

    def test_one_in_another_table_will_do(self, vault: TableVault, calls: Calls) -> None:
        made_with(vault, {"page": PAGE, "shout": SHOUT})
        vault.create_table("u")
        vault.create_instance("u", origin_table="t", origin_id=vault.get_table_instances("t")[0])
        before = calls()
        vault.create_builder_file("u", "u_index", text=index("word"))
        vault.execute_instance("u")
        assert calls() == before
        assert [Path(page).read_text() for page in vault.get_dataframe("u")["page"]] == ["antant", "beebee", "catcat"]

    def test_one_that_was_deleted_gives_nothing(self, vault: TableVault, calls: Calls) -> None:
        made_with(vault, {"shout": SHOUT})
        vault.create_instance("t", copy=True)
        vault.delete_instance(vault.get_table_instances("t")[0], "t")
        assert again(vault, calls).total() == 3

    def test_one_that_is_not_true_any_more_gives_nothing(self, vault: TableVault, calls: Calls) -> None:
        """In a table with side effects: what it did outside may have been undone by those that came after it."""
        write_code(vault, CODE)
        vault.create_table("t", has_side_effects=True)
        made_with(vault, {"shout": SHOUT})
        (first,) = vault.get_table_instances("t")
        assert not again(vault, calls)
        assert again(vault, calls, {"shout": SHOUT.replace("loud", "loud2")}).total() == 3
        vault.create_instance("t", origin_id=first)
        assert again(vault, calls).total() == 3

    def test_artifacts_that_were_changed_by_hand_are_made_again(self, vault: TableVault, calls: Calls) -> None:
        page = Path(made_with(vault, {"page": PAGE})["page"][1])
        page.chmod(0o644)
        page.write_text("by hand")
        before = calls()
        vault.create_instance("t", copy=True)
        vault.execute_instance("t")
        assert calls() - before == Counter(["page bee"])
        assert [Path(each).read_text() for each in vault.get_dataframe("t")["page"]] == ["antant", "beebee", "catcat"]

    def test_damage_is_told_and_can_be_overcome(self, vault: TableVault, calls: Calls) -> None:
        made_with(vault, {"shout": SHOUT})
        (made,) = vault.get_table_instances("t")
        path = Path(vault.db_dir, "t", made, "provenance", "shout.parquet")
        content = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(content[:20])
        vault.create_instance("t", copy=True)
        with pytest.raises(TVFileError, match="force_execute=True"):
            vault.execute_instance("t")
        before = calls()
        vault.execute_instance("t", force_execute=True)
        assert (calls() - before).total() == 3

    def test_old_rows_that_are_kept_are_reused_too(self, vault: TableVault, calls: Calls) -> None:
        def rows(words: str) -> str:
            return index("word", arguments={"words": words}, primary_key=["word"], keep_old=True)

        build(vault, "t", {"index": rows("ant bee"), "shout": SHOUT, "page": PAGE}, code=CODE)
        assert again(vault, calls, {"t_index": rows("cat bee")}) == Counter(["shout cat", "page cat"])
        assert vault.get_dataframe("t")["loud"].tolist() == ["ANT!", "CAT!", "BEE!"]
        assert again(vault, calls, {"t_index": rows("dog")}) == Counter(["shout dog", "page dog"])
        pages = vault.get_dataframe("t")["page"]
        assert [Path(page).read_text() for page in pages] == ["antant", "catcat", "beebee", "dogdog"]


class TestColumnsOfTheOrigin:
    """An IndexBuilder that is called for each row of the origin, and leaves the other columns as they are."""

    ROWS = index("word", function="shout", return_type="row-wise", arguments=WORD)

    @pytest.fixture
    def vault(self, vault: TableVault) -> TableVault:
        frame = pd.DataFrame({"word": ["ant", "bee"], "note": ["small", "busy"]})
        write(vault, "t", frame)
        return vault

    def start(self, vault: TableVault, builders: Mapping[str, str], code: str = CODE) -> None:
        write_code(vault, code)
        (made,) = vault.get_table_instances("t")
        vault.create_instance("t", origin_id=made, builders={"t_index": self.ROWS, **builders})

    def test_are_read_by_column_builders(self, vault: TableVault, calls: Calls) -> None:
        both = column("made", function="shout", arguments={"word": "<<self.word[index]>> <<self.note[index]>>"})
        self.start(vault, {"made": both})
        assert again(vault, calls).total() == 4
        frame = vault.get_dataframe("t")
        assert frame.to_dict("list") == {
            "word": ["ANT!", "BEE!"],
            "note": ["small", "busy"],
            "made": ["ANT! SMALL!", "BEE! BUSY!"],
        }

    def test_are_worked_on_by_column_builders(self, vault: TableVault, calls: Calls) -> None:
        self.start(vault, {"note": column("note", function="shout", arguments={"word": "<<self.note[index]>>"})})
        again(vault, calls)
        assert vault.get_dataframe("t")["note"].tolist() == ["SMALL!", "BUSY!"]

    def test_stay_in_what_is_unfinished(self, vault: TableVault, calls: Calls) -> None:
        code = CODE.replace('word.upper() + "!"', 'word.upper() + "!" if word != "busy" else 1 / 0')
        self.start(vault, {"made": column("made", function="shout", arguments={"word": "<<self.note[index]>>"})}, code)
        with pytest.raises(ZeroDivisionError):
            vault.execute_instance("t", process_id="p")
        frame = vault.get_dataframe("t", instance_id="TEMP_base")
        assert frame["note"].tolist() == ["small", "busy"]
        assert frame["made"].tolist() == ["SMALL!", pd.NA]
        vault.stop_process("p", materialize=True)
        partial = vault.get_dataframe("t", active_only=False)
        assert partial["note"].tolist() == ["small", "busy"]
        states.assert_sound(Path(vault.db_dir))

    def test_with_artifacts_may_be_made_of_what_they_were(self, vault: TableVault, calls: Calls) -> None:
        """Also when that is interrupted, and goes on: the old ones are those of the origin all the time."""
        made_with(vault, {"page": PAGE})
        made = vault.get_table_instances("t")[-1]
        code = CODE + (
            "\ndef more(word, page, folder):\n"
            "    text = Path(page).read_text()\n"
            "    if word == 'BEE!' and os.environ.get('FAILS'):\n"
            "        raise OSError('no')\n"
            "    Path(folder, Path(page).name).write_text(text + '+')\n"
            "    return Path(page).name\n"
        )
        arguments = {**WORD, "page": "<<self.page[index]>>", "folder": "~ARTIFACT_FOLDER~"}
        more = column("page", function="more", arguments=arguments, dtypes={"page": "artifact_string"})
        write_code(vault, code)
        vault.create_instance("t", origin_id=made, builders={"t_index": self.ROWS, "page": more})
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FAILS", "1")
            with pytest.raises(OSError, match="no"):
                vault.execute_instance("t", process_id="p")
        vault.execute_instance("t", process_id="p")
        frame = vault.get_dataframe("t")
        assert [Path(page).read_text() for page in frame["page"]] == ["antant+", "beebee+", "catcat+"]
        states.assert_sound(Path(vault.db_dir))

    def test_with_artifacts_may_be_replaced(self, vault: TableVault, calls: Calls) -> None:
        made_with(vault, {"page": PAGE})
        code = CODE.replace('f"{word}.txt"', 'f"{word}.new"')
        write_code(vault, code)
        made = vault.get_table_instances("t")[-1]
        vault.create_instance("t", origin_id=made, builders={"t_index": self.ROWS, "page": PAGE})
        before = [Path(page).read_text() for page in vault.get_dataframe("t")["page"]]
        again(vault, calls)
        frame = vault.get_dataframe("t")
        assert before == ["antant", "beebee", "catcat"]
        assert [Path(page).name for page in frame["page"]] == ["ANT!.new", "BEE!.new", "CAT!.new"]
