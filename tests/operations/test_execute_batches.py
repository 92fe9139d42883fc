"""Builders that fill columns in batches: what they are given, what is recorded, called again and reused."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVBuilderError, TVTableError
from tests.operations.batching import CODE, made, making, recorded, shouting, step
from tests.scenes import Calls
from tests.states import assert_sound
from tests.tables import begin, build, column, index, notes, write_code


@pytest.fixture
def vault(tmp_path: Path, calls: Calls) -> TableVault:
    return TableVault(tmp_path / "vault", "ada", create=True)


class TestBatchesThatAreFilled:
    @pytest.mark.parametrize("n_threads", [1, 3])
    def test_are_given_as_frames_of_so_many_rows(self, vault: TableVault, calls: Calls, n_threads: int) -> None:
        builders = {"index": index("word", function="words"), "loud": shouting(n_threads=n_threads)}
        frame = build(vault, "words", builders, code=CODE)
        assert frame["loud"].tolist() == [f"W{number}!" for number in range(10)]
        assert made(calls, "shout") == ["0,1,2,3", "4,5,6,7", "8,9"]

    def test_are_given_columns_by_what_varies_and_the_rest_by_name(self, vault: TableVault) -> None:
        code = f"""{CODE}
def look(rows, *, names, table):
    keys = rows["key"].str.removeprefix(rows["key"].iloc[0].rpartition(":")[0]).tolist()
    return [(repr(rows.columns.tolist()), rows.index.tolist(), keys, names, table["word"].tolist()[0])] * len(rows)
"""
        more = {"key": "~ROW_KEY~", "names": ["<<self.word[index::1]>>", 3], "table": "<<self.{word}>>"}
        builders = {
            "index": index("word", function="words"),
            "seen": shouting(3, "look", columns=("a", "b", "c", "d", "e"), arguments=more),
        }
        frame = build(vault, "words", builders, code=code)
        assert [frame[name].tolist()[5] for name in "abcde"] == [
            "['word', 'key']",
            [3, 4, 5],
            [":3", ":4", ":5"],
            ["w1", 3],
            "w0",
        ]

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ("[1, None, 3]", ("Int64", [1, pd.NA, 3])),
            ("['a', None, 'c']", ("string", ["a", pd.NA, "c"])),
            ("[True, False, None]", ("boolean", [True, False, pd.NA])),
            ("[1.5, None, 2.0]", ("Float64", [1.5, pd.NA, 2.0])),
            ("[1, 2.5, 3]", ("Float64", [1.0, 2.5, 3.0])),  # as the column of the table has them
            ("[1, 'a', None]", ("object", [1, "a", None])),
            ("[[1], [2, 3], None]", ("object", [[1], [2, 3], None])),
            ("[{'a': 1}, (1, 2), b'x']", ("object", [{"a": 1}, (1, 2), b"x"])),
        ],
    )
    def test_have_values_as_they_are_in_their_dtypes(
        self, vault: TableVault, values: str, expected: tuple[str, list[object]]
    ) -> None:
        code = f"""
SEEN = []
def rows(): yield from {values}
def look(frame): return [(str(frame["x"].dtype), frame["x"].tolist())] * len(frame)
"""
        builders = {
            "index": index("x"),
            "seen": column(
                "dtype",
                "seen",
                function="look",
                return_type="batch",
                batch_size=3,
                arguments={"x": "<<self.x[index]>>"},
            ),
        }
        code = code.replace(
            'frame["x"].tolist())', '[None if v is __import__("pandas").NA else v for v in frame["x"]])'
        )
        frame = build(vault, "things", builders, code=code)
        assert frame.loc[0, "dtype"] == expected[0]
        assert frame.loc[0, "seen"] == [None if each is pd.NA else each for each in expected[1]]

    @pytest.mark.parametrize(
        "returned",
        [
            "pd.DataFrame({'n': rows['word'].str.len(), 'other': 0, 'loud': rows['word'].str.upper()})",
            "pd.DataFrame({'loud': rows['word'].str.upper(), 'n': rows['word'].str.len()}).sort_index(ascending=False)",
            "pd.DataFrame({'loud': [w.upper() for w in rows['word']], 'n': [len(w) for w in rows['word']]})",
            "[(w.upper(), len(w)) for w in rows['word']]",
            "tuple({'n': len(w), 'loud': w.upper()} for w in rows['word'])",
            "([w.upper(), len(w)] for w in rows['word'])",
            "np.array([[w.upper(), len(w)] for w in rows['word']], dtype=object)",
            "Result([(w.upper(), len(w)) for w in rows['word']], cost=1)",
            "[Result((w.upper(), len(w)), cost=1) for w in rows['word']]",
        ],
    )
    def test_may_be_returned_in_many_forms(self, vault: TableVault, returned: str) -> None:
        code = f"import numpy as np\n{CODE}\ndef fill(rows): return {returned}"
        builders = {"index": index("word", function="words"), "b": shouting(4, "fill", columns=("loud", "n"))}
        frame = build(vault, "words", builders, code=code)
        assert frame["loud"].tolist() == [f"W{number}" for number in range(10)]
        assert frame["n"].tolist() == [2] * 10

    @pytest.mark.parametrize(
        ("returned", "message"),
        [
            ("['a'] * 3", "returned 3 rows for a batch of 4"),
            ("(word for word in ['a'] * 5)", "returned 5 rows for a batch of 4"),
            ("rows['word'].head(1)", "returned 1 rows for a batch of 4"),
            ("pd.DataFrame({'loud': []})", "returned 0 rows for a batch of 4"),
            ("pd.DataFrame({'lout': rows['word']})", "no column 'loud'. Did you mean 'lout'?"),
            (
                "'abcd'",
                "returned a str, but a builder whose return_type is batch needs as many rows as the batch has, 4",
            ),
            ("None", "returned a NoneType"),
            ("{'loud': 'abcd'}", "returned a dict"),
        ],
    )
    def test_that_are_returned_otherwise_are_an_error(self, vault: TableVault, returned: str, message: str) -> None:
        code = f"{CODE}\ndef fill(rows): return {returned}"
        begin(vault, "words", {"index": index("word", function="words"), "b": shouting(4, "fill")}, code=code)
        with pytest.raises(TVTableError) as caught:
            vault.execute_instance("words")
        assert message in str(caught.value)
        assert "the call for 4 rows, 0 to 3" in notes(caught.value)[0]

    @pytest.mark.parametrize(
        ("signature", "message"),
        [
            ("rows, mark, text", "shout() needs 'text'."),
            ("rows", "shout() has no argument 'mark'."),
            ("*, mark", "shout() needs a first parameter, for the DataFrame of a batch's rows."),
            ("mark", "is given the rows of a batch as 'mark', so no other argument can have that name."),
        ],
    )
    def test_need_a_function_that_takes_them_before_anything_runs(
        self, vault: TableVault, calls: Calls, signature: str, message: str
    ) -> None:
        code = (
            f"from tests.workers import note_call\ndef rows(): note_call('rows'); yield 1\ndef shout({signature}): pass"
        )
        builders = {"index": index("word"), "loud": shouting(arguments={"mark": "?"})}
        begin(vault, "words", builders, code=code)
        with pytest.raises(TVBuilderError) as caught:
            vault.execute_instance("words", process_id="p")
        assert message in str(caught.value)
        assert not calls()

    def test_divide_what_they_cost_so_that_the_sum_is_exact(self, vault: TableVault) -> None:
        code = f"{CODE}\ndef fill(rows): return Result(rows['word'], cost=0.1, tokens=11)"
        begin(vault, "words", {"index": index("word", function="words"), "b": shouting(3, "fill")}, code=code)
        write_code(vault, f"{code}\ndef last(word): raise ConnectionError")
        vault.create_builder_file(
            "words", "z", text=column("z", function="last", arguments={"word": "<<self.loud[index]>>"})
        )
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")
        rows = [row for row in recorded(vault, "p") if row[0] == "b"]
        assert sum(row[4] for row in rows[:3]) == 0.1
        assert sum(row[4] for row in reversed(rows[3:6])) == 0.1
        assert rows[9][4] == 0.1
        assert [row[5] for row in rows] == [4, 4, 3, 4, 4, 3, 4, 4, 3, 11]
        assert step(vault, "p", "b").cost == pytest.approx(0.4)
        assert step(vault, "p", "b").tokens == 44

    def test_reuse_rows_one_by_one_and_are_made_of_what_is_left(self, vault: TableVault, calls: Calls) -> None:
        code = CODE.replace("(10)", "(10) if number not in GONE").replace("def make", "GONE = ()\n\n\ndef make")
        builders = {"index": index("word", function="words", primary_key=["word"]), "loud": shouting(4)}
        build(vault, "words", builders, code=code.replace("GONE = ()", "GONE = (2, 5, 6, 7, 8)"))
        assert made(calls, "shout") == ["0,1,2,3", "4"]
        write_code(vault, code)
        vault.create_instance("words", copy=True)
        vault.execute_instance("words", process_id="again")
        assert made(calls, "shout") == ["0,1,2,3", "2,5,6,7", "4", "8"]
        found = step(vault, "again", "loud")
        assert (found.rows_reused, found.batches_done, found.batches_total) == (5, 3, 3)
        assert vault.get_dataframe("words")["loud"].tolist() == [f"W{number}!" for number in range(10)]

    def test_of_another_size_reuse_all_rows(self, vault: TableVault, calls: Calls) -> None:
        build(vault, "words", {"index": index("word", function="words"), "loud": shouting(4)}, code=CODE)
        vault.create_instance("words", copy=True)
        vault.create_builder_file("words", "loud", text=shouting(3))
        vault.execute_instance("words")
        assert len(made(calls, "shout")) == 3

    def test_write_artifacts_that_are_reused_with_their_rows(self, vault: TableVault, calls: Calls) -> None:
        page = shouting(
            4, "page", ("page",), dtypes={"page": "artifact_string"}, arguments={"folder": "~ARTIFACT_FOLDER~"}
        )
        build(vault, "words", {"index": index("word", function="words"), "page": page}, code=CODE)
        vault.create_instance("words", copy=True)
        vault.execute_instance("words")
        assert made(calls, "page") == ["0,1,2,3", "4,5,6,7", "8,9"]
        assert [Path(path).read_text() for path in vault.get_dataframe("words")["page"]] == [
            f"w{n}" * 3 for n in range(10)
        ]
        assert_sound(Path(vault.db_dir))

    def test_are_followed_by_builders_that_read_them(self, vault: TableVault, calls: Calls) -> None:
        builders = {
            "index": making(),
            "loud": shouting(),
            "length": column("length", function="count", arguments={"word": "<<self.loud[index]>>"}),
        }
        frame = build(vault, "words", builders, code=CODE)
        assert frame["length"].tolist() == [3] * 10
        assert calls()["count W9!"] == 1


class TestBatchesThatFail:
    FAILING = CODE.replace(
        '    return rows["word"]',
        '    if FAILS & {*rows.index}: raise ConnectionError("down")\n    return rows["word"]',
    )

    def begin(self, vault: TableVault, fails: str, **fields: Any) -> None:
        code = f"{self.FAILING}\nFAILS = {{{fails}}}\n"
        begin(vault, "words", {"index": index("word", function="words"), "loud": shouting(4, **fields)}, code=code)

    def mend(self, vault: TableVault) -> None:
        write_code(vault, f"{self.FAILING}\nFAILS = set()\n")

    def test_fail_in_all_of_their_rows_and_are_made_again(self, vault: TableVault, calls: Calls) -> None:
        self.begin(vault, "5")
        with pytest.raises(ConnectionError) as caught:
            vault.execute_instance("words", process_id="p")
        assert (
            "This was in row 4 of the builder 'loud'. Of the rows that were under way 3 more" in notes(caught.value)[1]
        )
        rows = {row[1]: row for row in recorded(vault, "p") if row[0] == "loud"}
        assert {row: found[2] for row, found in rows.items()} == dict.fromkeys(range(4), "done") | dict.fromkeys(
            range(4, 8), "failed"
        )
        assert json.loads(rows[5][6]) == {"word": "w5"}
        assert rows[5][3] == 1
        self.mend(vault)
        vault.execute_instance("words", process_id="p", on_change="continue")
        assert made(calls, "shout") == ["0,1,2,3", "4,5,6,7", "4,5,6,7", "8,9"]
        assert vault.get_dataframe("words")["loud"].tolist() == [f"W{number}!" for number in range(10)]

    def test_let_others_go_on_and_only_they_are_called_again(self, vault: TableVault, calls: Calls) -> None:
        self.begin(vault, "1", on_error="continue")
        with pytest.raises(Exception, match="4 of 10 rows of the builder 'loud' failed"):
            vault.execute_instance("words", process_id="p")
        found = step(vault, "p", "loud")
        assert (found.rows_done, found.rows_failed, found.batches_done, found.batches_total) == (6, 4, 1, 3)
        self.mend(vault)
        vault.execute_instance("words", process_id="p", on_change="continue")
        assert made(calls, "shout") == ["0,1,2,3", "0,1,2,3", "4,5,6,7", "8,9"]

    def test_may_be_left_empty(self, vault: TableVault, calls: Calls) -> None:
        self.begin(vault, "8")
        vault.create_builder_file("words", "loud", text=shouting(4).replace("batch_size", "on_error: null\nbatch_size"))
        vault.execute_instance("words", process_id="p")
        assert vault.get_dataframe("words")["loud"].isna().tolist() == [False] * 8 + [True] * 2
        assert step(vault, "p", "loud").rows_skipped == 2

    def test_are_tried_again_as_a_whole(self, vault: TableVault, calls: Calls) -> None:
        code = f"""{CODE}
TRIED = []
def flaky(rows):
    note_call("flaky " + ",".join(map(str, rows.index)))
    TRIED.append(rows.pop("word").tolist())
    if len(TRIED) == 1:
        raise ConnectionError("down")
    return TRIED[-1]
"""
        builders = {
            "index": index("word", function="words"),
            "b": shouting(5, "flaky", retries={"attempts": 2, "wait": 0.01}),
        }
        frame = build(vault, "words", builders, code=code)
        assert frame["loud"].tolist() == frame["word"].tolist()
        assert made(calls, "flaky") == ["0,1,2,3,4", "0,1,2,3,4", "5,6,7,8,9"]

    @pytest.mark.parametrize("value", ["'x'", "object()"])
    def test_of_one_row_that_cannot_be_kept_are_recorded_without_it(
        self, vault: TableVault, calls: Calls, value: str
    ) -> None:
        code = f"""{CODE}
BAD = {value}
def fill(rows):
    note_call("fill " + ",".join(map(str, rows.index)))
    return [BAD if word == "w2" else 1 for word in rows["word"]]
"""
        builders = {"index": index("word", function="words"), "b": shouting(4, "fill", dtypes={"loud": "Int64"})}
        begin(vault, "words", builders, code=code)
        with pytest.raises(TVTableError) as caught:
            vault.execute_instance("words", process_id="p")
        assert "row 2 of the builder 'b'" in "".join(notes(caught.value))
        done = [row[1] for row in recorded(vault, "p") if row[0] == "b" and row[2] == "done"]
        assert done[:3] == [0, 1, 3]  # others may have been under way
        write_code(vault, code.replace(f"BAD = {value}", "BAD = 7"))
        vault.execute_instance("words", process_id="p", on_change="continue")
        again = made(calls, "fill")
        assert again[0] == "0,1,2,3"
        assert sum(call.split(",").count("2") for call in again) == 2
        assert sum(len(call.split(",")) for call in again) == 11
        assert vault.get_dataframe("words")["loud"].tolist() == [1, 1, 7, 1, 1, 1, 1, 1, 1, 1]


def test_what_a_frame_cannot_give_back_exactly_is_reused_exactly(vault: TableVault) -> None:
    code = """
def rows(): yield from "ab"
def fill(frame): return [1, 2.5]
def show(n): return repr(n)
"""
    builders = {
        "index": index("word"),
        "n": column("n", function="fill", return_type="batch", batch_size=2, arguments={"w": "<<self.word[index]>>"}),
    }
    build(vault, "words", builders, code=code)
    vault.create_instance("words", copy=True)
    vault.create_builder_file("words", "show", text=column("s", function="show", arguments={"n": "<<self.n[index]>>"}))
    vault.execute_instance("words", process_id="q")
    assert step(vault, "q", "n").rows_reused == 2
    assert vault.get_dataframe("words")["n"].tolist() == [1.0, 2.5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            shouting(arguments={"a": "~BATCH_INDEX~"}),
            "~BATCH_INDEX~ is only known to an IndexBuilder whose return_type is batch, not to a ColumnBuilder",
        ),
        (shouting(arguments={"<<self.word[index]>>": 1}), "their names can't be references"),
        (
            shouting(arguments={"a": "~RESUME_FROM~"}),
            "~RESUME_FROM~ is only known to builders whose return_type is generator",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(vault: TableVault, text: str, message: str) -> None:
    begin(vault, "words", {"index": index("word", function="words"), "loud": text}, code=CODE)
    with pytest.raises(TVBuilderError, match=message):
        vault.execute_instance("words")


def test_an_index_builder_has_no_row_keys_in_batches(vault: TableVault) -> None:
    text = making().replace("~BATCH_START~", "~ROW_KEY~")
    begin(vault, "words", {"index": text}, code=CODE)
    with pytest.raises(TVBuilderError, match="~ROW_KEY~ is only known to row-wise builders, and ColumnBuilders"):
        vault.execute_instance("words")


def test_nothing_of_it_is_logged_as_an_error(vault: TableVault, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        build(vault, "words", {"index": making(), "loud": shouting()}, code=CODE)
    assert not caplog.records
