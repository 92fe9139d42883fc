"""Generators: rows in order and out of order, and going on after a failure without losing or repeating a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVTableError
from tests.scenes import Calls
from tests.tables import begin, build, column, index, notes, write_code

# Fails at the number in the file ``fail``, if there is one. ``start`` is told, or is 0 for one that is wound forward.
COUNT = """
from pathlib import Path

from tablevault_like import Row
from tests.workers import note_call

def fail_at(number, folder):
    note_call(f"{number}")
    marker = Path(folder, "fail")
    if marker.exists() and marker.read_text() == str(number):
        raise ConnectionError("nobody answers")

def count(folder, start=0):
    note_call(f"from {start}")
    for number in range(start, 6):
        fail_at(number, folder)
        yield number * 10

def backwards(folder, start=0):
    note_call(f"from {start}")
    for number in range(5 - start, -1, -1):
        fail_at(number, folder)
        yield Row(number, number * 10)
"""


@pytest.fixture
def vault(tmp_path: Path, calls: Calls) -> TableVault:
    return TableVault(tmp_path / "vault", "ada", create=True)


def counting(vault: TableVault, *, function: str = "count", resumes: bool) -> dict[str, Any]:
    arguments = {"folder": str(Path(vault.db_dir).parent)}
    if resumes:
        arguments["start"] = "~RESUME_FROM~"
    return {"function": function, "return_type": "generator", "arguments": arguments}


@pytest.mark.parametrize("function", ["count", "backwards"])
@pytest.mark.parametrize("resumes", [True, False])
class TestAnInterruptedGenerator:
    def test_goes_on_after_its_recorded_rows(
        self, vault: TableVault, calls: Calls, tmp_path: Path, function: str, resumes: bool
    ) -> None:
        begin(
            vault, "numbers", {"index": index("n", **counting(vault, function=function, resumes=resumes))}, code=COUNT
        )
        (tmp_path / "fail").write_text("2" if function == "count" else "3")
        with pytest.raises(ConnectionError) as caught:
            vault.execute_instance("numbers", process_id="p")
        assert "paused" in notes(caught.value)[-1]
        assert vault.get_process("p").rows_done == 2
        (tmp_path / "fail").unlink()
        vault.execute_instance("numbers", process_id="p")
        assert vault.get_dataframe("numbers")["n"].tolist() == [0, 10, 20, 30, 40, 50]
        found = calls()
        if resumes:
            assert (found["from 0"], found["from 2"]) == (1, 1)
            assert sum(found[str(number)] for number in range(6)) == 7  # only the one that failed came again
        else:
            assert found["from 0"] == 2
            assert sum(found[str(number)] for number in range(6)) == 9  # wound forward

    def test_fills_columns_likewise(
        self, vault: TableVault, calls: Calls, tmp_path: Path, function: str, resumes: bool
    ) -> None:
        code = f"{COUNT}\ndef rows(): yield from 'abcdef'\n"
        numbers = column("number", **counting(vault, function=function, resumes=resumes))
        begin(vault, "numbers", {"index": index("letter"), "numbers": numbers}, code=code)
        (tmp_path / "fail").write_text("4")
        with pytest.raises(ConnectionError):
            vault.execute_instance("numbers", process_id="p")
        (tmp_path / "fail").unlink()
        vault.execute_instance("numbers", process_id="p")
        assert vault.get_dataframe("numbers").to_dict("list") == {
            "letter": list("abcdef"),
            "number": [0, 10, 20, 30, 40, 50],
        }
        assert calls()["from 0"] == (1 if resumes else 2)


class TestRows:
    def test_may_come_in_any_order_and_mixed(self, vault: TableVault) -> None:
        code = """
from tablevault_like import Row

def rows():
    yield "zero"
    yield Row(2, "two")
    yield Row(1, ("one",))
    yield "three"
    yield Row(5, {"word": "five"})
    yield Row(index=4, values="four")
"""
        assert build(vault, "words", {"index": index("word")}, code=code)["word"].tolist() == [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
        ]

    def test_of_several_columns_are_tuples_or_dicts(self, vault: TableVault) -> None:
        code = "from tablevault_like import Row\ndef rows():\n    yield 1, 'a'\n    yield {'b': 'b', 'a': 2}\n"
        frame = build(vault, "words", {"index": index("a", "b")}, code=code)
        assert frame.to_dict("list") == {"a": [1, 2], "b": ["a", "b"]}

    @pytest.mark.parametrize(
        "iterable", ["[1, 2]", "range(1, 3)", "iter([1, 2])", "(n for n in (1, 2))", "{1: 0, 2: 0}.keys()"]
    )
    def test_may_come_from_any_iterable(self, vault: TableVault, iterable: str) -> None:
        frame = build(vault, "numbers", {"index": index("n")}, code=f"def rows(): return {iterable}")
        assert frame["n"].tolist() == [1, 2]

    @pytest.mark.parametrize(
        ("yielded", "message"),
        [
            ("[Row(0, 1), Row(0, 2), Row(1, 3)]", "Row 0 was yielded twice"),
            ("[1, 2, Row(1, 3)]", "Row 1 was yielded twice"),
            ("[Row(-1, 1)]", "position -1"),
            ("[Row('0', 1)]", "position '0'"),
            ("[Row(0, 1), Row(2, 3)]", "without having yielded 1 of 3 rows: 1"),
            ("5", "returned a int, but a builder whose return_type is generator needs one that yields rows"),
            ("'text'", "returned a str"),
            ("{'a': 1}", "returned a dict"),
            ("None", "returned a NoneType"),
        ],
    )
    def test_come_once_each(self, vault: TableVault, yielded: str, message: str) -> None:
        code = f"from tablevault_like import Row\ndef rows(): return {yielded}"
        begin(vault, "numbers", {"index": index("n")}, code=code)
        with pytest.raises(TVTableError, match=message):
            vault.execute_instance("numbers")

    @pytest.mark.parametrize(
        ("yielded", "message"),
        [
            ("[1, 2]", "ended without having yielded 1 of 3 rows: 2"),
            ("[1, 2, 3, 4]", "result was yielded for row 3, but there are 3 rows"),
            ("[Row(7, 1)]", "result was yielded for row 7, but there are 3 rows"),
        ],
    )
    def test_of_a_column_are_as_many_as_the_table_has(self, vault: TableVault, yielded: str, message: str) -> None:
        code = f"from tablevault_like import Row\ndef rows(): return 'abc'[:1], 'b', 'c'\ndef more(): return {yielded}"
        more = column("more", function="more", return_type="generator")
        begin(vault, "numbers", {"index": index("n"), "more": more}, code=code)
        with pytest.raises(TVTableError, match=message) as caught:
            vault.execute_instance("numbers")
        assert "the builder 'more'" in notes(caught.value)[0]


class TestClosing:
    def test_a_generator_is_closed_in_its_own_thread_when_it_fails_to_fit(
        self, vault: TableVault, calls: Calls
    ) -> None:
        code = """
import threading
from tests.workers import note_call

def rows():
    me = threading.get_ident()
    try:
        yield 1
        yield object()
        yield 3
    finally:
        note_call(f"closed in its thread: {threading.get_ident() == me}")
"""
        begin(vault, "numbers", {"index": index("n")}, code=code)
        with pytest.raises(TVTableError):
            vault.execute_instance("numbers")
        assert calls() == {"closed in its thread: True": 1}

    def test_one_that_changed_its_mind_about_its_length_is_told(self, vault: TableVault, tmp_path: Path) -> None:
        code = f"""
from pathlib import Path

def rows():
    yield from [1, 2, 3]
    if Path({str(tmp_path)!r}, "fail").exists():
        raise ConnectionError("nobody answers")
"""
        (tmp_path / "fail").touch()
        begin(vault, "numbers", {"index": index("n")}, code=code)
        with pytest.raises(ConnectionError):
            vault.execute_instance("numbers", process_id="p")
        write_code(vault, "def rows(): yield 1")
        vault.execute_instance("numbers", process_id="p", on_change="recompute")
        assert vault.get_dataframe("numbers")["n"].tolist() == [1]
