"""What is told of processes and instances: as a whole, in one line, of one row, and as a report."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArgumentError, TVRowsError
from tests.monitor.counting import seen
from tests.scenes import LibraryScene
from tests.states import state
from tests.tables import begin, builder, column, index, write
from tests.workers import Action, Fault, Workers

CODE = """
from pathlib import Path

def rows():
    yield from ["ape", "bee", "cat"]

def shout(word):
    if Path("down").exists() and word == "bee":
        raise ConnectionError("nobody | answers")
    return word.upper()

def length(shouted):
    return len(shouted)
"""
BUILDERS = {
    "index": index("word", primary_key="word"),
    "shout": column("shout", function="shout", arguments={"word": "<<self.word[index]>>"}),
    "length": column("length", function="length", arguments={"shouted": "<<self.shout[index]>>"}),
}


@pytest.fixture
def vault(vault_dir: Path, monkeypatch: pytest.MonkeyPatch) -> TableVault:
    monkeypatch.chdir(vault_dir.parent)
    vault = TableVault(vault_dir, "ada", create=True)
    begin(vault, "words", BUILDERS, code=CODE)
    return vault


@pytest.fixture
def paused(vault: TableVault) -> TableVault:
    """Return a vault in which the process ``p`` is paused by an error in the second row."""
    Path("down").touch()
    with pytest.raises(ConnectionError):
        vault.execute_instance("words", process_id="p")
    Path("down").unlink()
    return vault


class TestProcesses:
    def test_one_that_is_paused(self, paused: TableVault) -> None:
        before = state(Path(paused.db_dir))

        found = paused.inspect("p")

        assert state(Path(paused.db_dir)) == before
        assert (found.name, found.table, found.facts["state"]) == ("p", "words", "paused")
        assert found.process == paused.get_process("p")
        assert [(step.name, step.rows_done, step.rows_failed) for step in found.steps] == [
            ("words_index", 3, 0),
            ("shout", 1, 1),
            ("length", 0, 0),
            ("materialize", 0, 0),
        ]
        assert set(found.recipes) == {"words_index", "shout", "length"}
        assert "nobody | answers" in seen(found)

    def test_its_rows(self, paused: TableVault) -> None:
        made, failed, to_come = (paused.inspect("p", row=row, builder="shout").rows[0] for row in range(3))

        assert (made.status, made.inputs, made.output, made.attempts) == ("done", {"word": "ape"}, {"shout": "APE"}, 1)
        assert made.input_hash
        assert made.code == paused.inspect("p").recipes["shout"]
        assert (failed.status, failed.inputs, failed.output) == ("failed", {"word": "bee"}, None)
        assert failed.error is not None
        assert (failed.error.type, failed.error.message) == ("ConnectionError", "nobody | answers")
        assert (to_come.status, to_come.inputs, to_come.attempts) == ("to come", {"word": "cat"}, None)
        every = paused.inspect("p", row=0).rows
        assert [(row.builder, row.status) for row in every] == [
            ("words_index", "done"),
            ("shout", "done"),
            ("length", "to come"),
        ]
        assert every[2].inputs == {"shouted": "APE"}
        assert paused.inspect("p", row=2).rows[2].inputs_missing == "shout hasn't made 'shout' yet"

    def test_a_temporary_instance_is_its_process(self, paused: TableVault) -> None:
        assert paused.inspect("words", instance_id="TEMP_base").name == "p"
        assert paused.inspect("TEMP_base", table_name="words", instance_id="TEMP_base").name == "p"

    def test_rows_that_are_not_there(self, paused: TableVault) -> None:
        with pytest.raises(TVArgumentError, match="has made 3 rows"):
            paused.inspect("p", row=7)
        with pytest.raises(TVArgumentError, match="position"):
            paused.inspect("p", row="ape")
        with pytest.raises(TVArgumentError, match="Did you mean 'shout'"):
            paused.inspect("p", builder="shoot")

    def test_one_that_keeps_no_rows(self, vault: TableVault) -> None:
        process_id = vault.create_table("more")

        assert vault.inspect(process_id).facts["state"] == "completed"
        with pytest.raises(TVArgumentError, match="keeps no rows"):
            vault.inspect(process_id, row=0)


class TestInstances:
    def test_the_newest_or_any_other(self, vault: TableVault) -> None:
        vault.execute_instance("words", process_id="first")
        (first,) = vault.get_table_instances("words")
        begin(vault, "words", BUILDERS, origin_id=first)
        vault.execute_instance("words")
        second = vault.get_table_instances("words")[-1]

        found = vault.inspect("words")

        assert (found.table, found.instance_id, found.origin) == ("words", second, f"words/{first}")
        assert found.facts["rows"] == 3
        assert found.sources == (("words", first),)
        assert found.columns == {"word": "string", "shout": "string", "length": "Int64"}
        by_id, by_process = vault.inspect(first), vault.inspect("first")
        assert by_id.instance_id == by_process.instance_id == first
        assert by_id.steps == by_process.steps
        assert vault.inspect("words", instance_id=first).steps == by_id.steps

    def test_its_rows(self, vault: TableVault) -> None:
        vault.execute_instance("words")

        index_row, shout, length = vault.inspect("words", row="bee").rows

        assert (index_row.row, index_row.output) == (1, {"word": "bee"})
        assert (shout.inputs, shout.output) == ({"word": "bee"}, {"shout": "BEE"})
        assert (length.inputs, length.output) == ({"shouted": "BEE"}, {"length": 3})
        assert vault.inspect("words", builder="shout").rows[0].row == 0

    def test_a_temporary_one_that_nobody_executes(self, vault: TableVault) -> None:
        found = vault.inspect("words", instance_id="TEMP_base")

        assert (found.facts["state"], found.steps) == ("temporary", ())
        with pytest.raises(TVArgumentError, match="isn't being executed"):
            vault.inspect("words", instance_id="TEMP_base", row=0)

    def test_one_that_was_written(self, vault: TableVault) -> None:
        write(vault, "frames", pd.DataFrame({"a": [1]}))

        found = vault.inspect("frames", row=0)

        assert (found.facts["external_edit"], found.recipes, found.rows) == (True, {}, ())


class TestNames:
    def test_nothing_of_that_name(self, vault: TableVault) -> None:
        with pytest.raises(TVArgumentError, match="Did you mean 'words'"):
            vault.inspect("word")
        with pytest.raises(TVArgumentError, match="Nothing is named"):
            vault.inspect()

    def test_two_things(self, vault: TableVault) -> None:
        vault.execute_instance("words", process_id="p")
        (made,) = vault.get_table_instances("words")

        for named in ({"name": "words"}, {"table_name": "words"}, {"instance_id": made}):
            for call in (vault.inspect, vault.report):
                with pytest.raises(TVArgumentError, match="a process and something else are named"):
                    call(process_id="p", **named)
        with pytest.raises(TVArgumentError, match="'p' is a process, which has no instances"):
            vault.inspect("p", instance_id=made)

    def test_a_process_and_a_table_of_one_name(self, vault: TableVault) -> None:
        vault.execute_instance("words", process_id="words")

        with pytest.raises(TVArgumentError, match="process_id, or as table_name"):
            vault.inspect("words")
        assert vault.inspect(process_id="words").name == "words"
        assert vault.inspect(table_name="words").name.startswith("words/base_")


class TestQuickcheck:
    def test_nothing_needs_attention(self, vault: TableVault) -> None:
        vault.execute_instance("words", process_id="first")

        found = vault.quickcheck()

        assert found[0].process_id == "first"
        assert str(found[0]).startswith("first: execute_instance words/base, completed, 3 of 3 rows done")
        assert not any(each.needs_attention for each in found)
        assert vault.quickcheck(0) == []
        assert vault.quickcheck(10**30) == vault.quickcheck(1000)
        with pytest.raises(TVArgumentError, match="ended"):
            vault.quickcheck(-1)

    def test_one_that_an_error_has_paused(self, paused: TableVault) -> None:
        found = paused.quickcheck(ended=0)

        assert [(each.process_id, each.status, each.needs_attention) for each in found] == [("p", "paused", True)]
        assert "1 of 3 rows done, 1 row failed, ConnectionError: nobody | answers" in found[0].line

    def test_one_that_failed_and_was_reverted(self, vault: TableVault) -> None:
        Path("down").touch()
        with pytest.raises(ConnectionError):
            vault.execute_instance("words")

        (found,) = vault.quickcheck(ended=1)

        assert (found.status, found.needs_attention) == ("reverted", True)

    def test_one_that_has_lost_its_worker(self, scene: LibraryScene) -> None:
        worker = scene.start("execute_instance", "p1", Fault("shout cat", Action.KILL))
        worker.end()

        found = {each.process_id: each for each in scene.vault.quickcheck()}

        assert (found["p1"].status, found["p1"].needs_attention) == ("interrupted", True)

    def test_one_that_was_paused_on_request(self, paused: TableVault) -> None:
        paused.pause_process("p")

        (found,) = paused.quickcheck(ended=0)

        assert not found.needs_attention


@pytest.fixture
def scene(copy_dir: Path, made: str, workers: Workers) -> LibraryScene:
    return LibraryScene(copy_dir, workers, made)


class TestReport:
    def test_of_an_instance(self, vault: TableVault) -> None:
        vault.execute_instance("words", process_id="first")
        (first,) = vault.get_table_instances("words")
        begin(vault, "words", BUILDERS, origin_id=first, description="Loud *words*")
        vault.execute_instance("words")
        second = vault.get_table_instances("words")[-1]

        text = vault.report("words")

        assert text.startswith(f"# words/{second.replace('_', chr(92) + '_')}\n")
        assert "- **Description:** Loud \\*words\\*\n" in text
        assert "- **Rows:** 3\n" in text
        assert "- **Rows reused:** 6\n" in text
        assert f"- words/{first}: its origin" in text
        assert "| shout | work.shout | shout | row-wise |" in text
        assert "| length | Int64 | length |" in text
        assert "## Failures" not in text

    def test_of_a_process_that_is_paused(self, paused: TableVault) -> None:
        text = paused.report("p")

        assert text.startswith("# p\n")
        assert "- **Process:** p (execute\\_instance, paused)" in text
        assert "| shout | begun | 1 |  | 1 |" in text
        assert "| shout | 1 | failed | ConnectionError: nobody \\| answers |" in text
        assert "stop\\_process('p')" in text

    def test_of_any_other_process(self, vault: TableVault) -> None:
        assert "create\\_table, completed" in vault.report(vault.create_table("more"))


PRICED = """
from pathlib import Path
from tablevault_like.model import Result

def rows():
    yield from ["ape", "bee", "cat"]

def shout(word):
    if word == "bee":
        raise ConnectionError("nobody answers")
    return Result(word.upper(), cost=0.25, tokens=7)
"""


class TestRowsThatFailed:
    @staticmethod
    def begin(vault_dir: Path, **fields: object) -> TableVault:
        vault = TableVault(vault_dir, "ada", create=True)
        shout = column("shout", function="shout", arguments={"word": "<<self.word[index]>>"}, **fields)
        begin(vault, "words", {"index": BUILDERS["index"], "shout": shout}, code=PRICED)
        return vault

    def test_one_that_was_left_empty(self, vault_dir: Path) -> None:
        vault = self.begin(vault_dir, on_error="null", retries={"attempts": 2, "wait": 0})
        vault.execute_instance("words", process_id="p")

        (bee,) = vault.inspect("words", row="bee", builder="shout").rows
        why = vault.why("words", "bee", "shout")

        assert (bee.status, bee.attempts, bee.output) == ("skipped", 2, {"shout": None})
        assert bee.inputs == {"word": "bee"}
        for error in (bee.error, why.error):
            assert error is not None
            assert (error.type, error.message) == ("ConnectionError", "nobody answers")
            assert "in shout" in error.traceback
        assert (why.value, why.attempts) == (None, 2)
        assert "nobody answers" in seen(why)
        assert "nobody answers" in seen(vault.inspect("words", row="bee", builder="shout"))

    def test_what_a_row_has_cost(self, vault_dir: Path) -> None:
        vault = self.begin(vault_dir, on_error="null")
        vault.execute_instance("words")

        (ape,) = vault.inspect("words", row="ape", builder="shout").rows
        why = vault.why("words", "ape", "shout")

        assert (ape.status, ape.attempts, ape.cost, ape.tokens, ape.error) == ("done", 1, 0.25, 7, None)
        assert (why.attempts, why.cost, why.tokens, why.error) == (1, 0.25, 7, None)

    def test_one_that_keeps_a_process_from_its_end(self, vault_dir: Path) -> None:
        vault = self.begin(vault_dir, on_error="continue")
        with pytest.raises(TVRowsError):
            vault.execute_instance("words", process_id="p")

        (bee,) = vault.inspect("p", row=1, builder="shout").rows
        assert bee.error is not None
        assert (bee.status, bee.attempts, bee.error.type) == ("failed", 1, "ConnectionError")

        vault.stop_process("p", materialize=True)

        ape, bee, cat = (vault.inspect("words", row=row, builder="shout").rows[0] for row in range(3))
        assert [row.status for row in (ape, bee, cat)] == ["done", "failed", "done"]
        assert bee.error is not None
        assert bee.error.message == "nobody answers"

    def test_one_that_nobody_has_come_to(self, vault_dir: Path) -> None:
        vault = self.begin(vault_dir)
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")
        vault.stop_process("p", materialize=True)

        rows = [vault.inspect("words", row=row, builder="shout").rows[0] for row in range(3)]

        assert [row.status for row in rows] == ["done", "failed", "missing"]
        assert [row.error is None for row in rows] == [True, False, True]


FRAMES = """
import pandas as pd
from pathlib import Path

def rows():
    yield from ["ape", "bee"]

def count(frame):
    return pd.DataFrame({"count": range(len(frame))})

def fail(word):
    if Path("down").exists():
        raise ConnectionError("nobody answers")
    return word
"""


class TestAFunctionThatIsCalledOnceForAllRows:
    @staticmethod
    def builders() -> dict[str, str]:
        return {
            "index": index("word", primary_key="word"),
            "count": builder(
                "ColumnBuilder",
                "count",
                python_function="count",
                return_type="dataframe",
                arguments={"frame": "<<self.{word}>>"},
            ),
            "fail": column(
                "late", function="fail", arguments={"word": "<<self.word[index]>>", "n": "<<self.count[index]>>"}
            ),
        }

    @pytest.fixture
    def vault(self, vault_dir: Path, monkeypatch: pytest.MonkeyPatch) -> TableVault:
        monkeypatch.chdir(vault_dir.parent)
        vault = TableVault(vault_dir, "ada", create=True)
        begin(vault, "words", self.builders(), code=FRAMES.replace("fail(word)", "fail(word, n)"))
        return vault

    def test_is_done_while_the_process_goes_on(self, vault: TableVault) -> None:
        Path("down").touch()
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")

        (count,) = vault.inspect("p", row=1, builder="count").rows

        assert (count.status, count.output) == ("done", {"count": 1})
        assert count.code == vault.inspect("p").recipes["count"]

    def test_is_still_to_come_before_that(self, vault: TableVault) -> None:
        vault.execute_instance("words", process_id="p", until="words_index")

        (count,) = vault.inspect("p", row=1, builder="count").rows

        assert (count.status, count.output, count.code) == ("to come", None, None)

    def test_was_reused_if_all_its_rows_were(self, vault: TableVault) -> None:
        vault.execute_instance("words")
        begin(vault, "words", self.builders(), origin_id=vault.get_table_instances("words")[0])
        vault.execute_instance("words", process_id="p", until="fail")
        before = [row.status for row in vault.inspect("p", row=1).rows]
        vault.execute_instance("words", process_id="p")

        after = [row.status for row in vault.inspect("words", row=1).rows]

        assert before == after == ["done", "reused", "reused"]

    def test_is_missing_if_it_never_was_called(self, vault: TableVault) -> None:
        vault.execute_instance("words", process_id="p", until="words_index")
        vault.stop_process("p", materialize=True)

        assert [row.status for row in vault.inspect("words", row=1).rows] == ["done", "missing", "missing"]


class TestReportsOfAnyTable:
    def test_name_the_origin_once(self, vault_dir: Path) -> None:
        vault = TableVault(vault_dir, "ada", create=True)
        write(vault, "raw_words", pd.DataFrame({"word": ["ape"]}))
        builders = {
            "index": index("word", function="rows", arguments={"words": "<<raw_words.word>>"}),
            "n": column("n", function="n", arguments={"word": "<<self.word[index]>>"}),
        }
        code = "def rows(words):\n    yield from words\n\ndef n(word):\n    return 1\n"
        begin(vault, "my_words", builders, code=code)
        vault.execute_instance("my_words")
        (first,) = vault.get_table_instances("my_words")
        begin(vault, "my_words", builders, origin_id=first)
        vault.execute_instance("my_words")

        lines = vault.report("my_words").partition("## From\n\n")[2].partition("\n\n")[0].splitlines()

        (raw,) = vault.get_table_instances("raw_words")
        assert sorted(lines) == [f"- my\\_words/{first}: its origin", f"- raw\\_words/{raw}"]

    def test_say_what_a_process_works_on(self, paused: TableVault) -> None:
        assert "- **Works on:** words/base\n" in paused.report("p")
        assert "- **Works on:** more\n" in paused.report(paused.create_table("more"))

    def test_say_that_what_was_made_was_deleted(self, vault: TableVault) -> None:
        vault.execute_instance("words", process_id="p")
        (made,) = vault.get_table_instances("words")
        assert "deleted" not in vault.report("p")
        vault.delete_instance(made, "words")

        assert f"- **Made:** words/{made}, which was deleted since\n" in vault.report("p").replace("\\_", "_")

    def test_show_what_markdown_would_take_for_its_own(self, vault: TableVault) -> None:
        vault.execute_instance("words")
        (made,) = vault.get_table_instances("words")
        vault.set_description("a | b\nand *c*, ~~d~~, &lt;, <b>, `e`, [f](g), h\\i", "words", made)

        assert (
            "- **Description:** a \\| b and \\*c\\*, \\~\\~d\\~\\~, \\&lt;, \\<b>, \\`e\\`, \\[f](g), h\\\\i\n"
        ) in vault.report("words")

    def test_steer_no_terminal(self, vault: TableVault) -> None:
        vault.execute_instance("words")
        (made,) = vault.get_table_instances("words")
        vault.set_description("a\x1b[31mred\x07", "words", made)

        assert "- **Description:** a\\\\x1b\\[31mred\\\\x07\n" in vault.report("words")


class TestWhatWasDeleted:
    def test_is_said_to_be(self, vault: TableVault) -> None:
        vault.execute_instance("words")
        (made,) = vault.get_table_instances("words")
        vault.delete_instance(made, "words")

        for call in (vault.inspect, vault.report):
            with pytest.raises(TVArgumentError, match=f"^The instance '{made}' of table 'words' was deleted"):
                call(made)
            with pytest.raises(TVArgumentError, match=f"Table 'words' has no instance '{made}': it was deleted"):
                call("words", instance_id=made)
        with pytest.raises(TVArgumentError, match="it was deleted"):
            vault.why("words", 0, "shout", made)
