"""``map_rows``: what it returns, what it calls again, and what it keeps."""

from __future__ import annotations

import datetime
import functools
import json
import logging
import re
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tablevault_like import displays, map_rows
from tablevault_like.errors import TVArgumentError, TVFileError, TVLockError
from tablevault_like.mapping.cache import Cache, Recipe
from tablevault_like.mapping.limits import Limits
from tablevault_like.mapping.running import Outcome, Running
from tablevault_like.model import OnError, Result
from tests.mapping.tasks import numbers, query, recorded

Row = dict[str, Any]


@pytest.fixture
def calls() -> list[object]:
    return []


class TestWhatIsReturned:
    def test_scalars_become_the_column_result(self, cache_path: Path) -> None:
        df = pd.DataFrame({"id": ["b", "a"], "number": [2, 1]}, index=[7, 3])

        found = map_rows(df, lambda row: row["number"] * 10, cache_path)

        assert found.columns.tolist() == ["id", "number", "result"]
        assert found.index.tolist() == [7, 3]
        assert found["result"].tolist() == [20, 10]
        assert found["result"].dtype == "Int64"
        assert df.columns.tolist() == ["id", "number"]

    def test_the_keys_of_dicts_become_columns_in_the_order_of_their_first_use(self, cache_path: Path) -> None:
        def describe(row: Row) -> Row:
            return {"text": f"n{row['number']}"} | ({"even": True} if row["number"] % 2 == 0 else {})

        found = map_rows(numbers(3), describe, cache_path)

        assert found.columns.tolist() == ["id", "number", "text", "even"]
        assert found["text"].tolist() == ["n0", "n1", "n2"]
        assert found["even"].isna().tolist() == [False, True, False]

    @pytest.mark.parametrize(
        "value",
        [None, "text", 2.5, [1, {"a": 2}], (1, 2), datetime.date(2024, 1, 31), b"\0", float("inf")],
        ids=repr,
    )
    def test_values_come_back_from_the_file_as_they_were(self, cache_path: Path, value: object) -> None:
        first = map_rows(numbers(1), lambda row: value, cache_path)["result"].tolist()
        again = map_rows(numbers(1), lambda row: value, cache_path)["result"].tolist()

        assert again == first
        assert value is None or first == [value]

    def test_a_function_gets_a_row_of_its_own_as_a_dict(self, cache_path: Path) -> None:
        df = pd.DataFrame({"id": [1], "x": [2.5], "tags": [["a"]]})
        seen: list[Row] = []

        def change(row: Row) -> int:
            seen.append(dict(row))
            row.clear()
            return 1

        map_rows(df, change, cache_path)

        assert seen == [{"id": 1, "x": 2.5, "tags": ["a"]}]
        assert {type(value) for value in seen[0].values()} == {int, float, list}

    def test_only_named_columns_are_given_and_count(self, cache_path: Path, calls: list[object]) -> None:
        def note(row: Row) -> int:
            calls.append(row)
            return 1

        map_rows(numbers(2).assign(seen_at=[1, 2]), note, cache_path, columns=["number"])
        map_rows(numbers(2).assign(seen_at=[3, 4]), note, cache_path, columns=["number"])

        assert sorted(calls, key=str) == [{"number": 0}, {"number": 1}]

    def test_keys_that_are_no_texts_become_columns_by_their_texts(self, cache_path: Path) -> None:
        def count(row: Row) -> dict[object, int]:
            return {2024: row["number"], None: 1, (1, 2): 3}

        found = map_rows(numbers(2), count, cache_path)

        assert found.columns.tolist() == ["id", "number", "2024", "None", "(1, 2)"]
        assert found["2024"].tolist() == [0, 1]
        assert found["(1, 2)"].tolist() == [3, 3]

    def test_keys_that_would_be_the_same_column_are_refused(self, cache_path: Path) -> None:
        found = map_rows(numbers(1), lambda row: {1: "a", "1": "b"}, cache_path)

        assert "The keys 1 and '1' would both be the column '1'" in found.attrs["failures"]["0"]
        assert found["result"].isna().all()

    @pytest.mark.parametrize(
        "index",
        [
            pd.Index([7, 7, 7]),
            pd.MultiIndex.from_tuples([("a", 1), ("a", 1), ("b", 2)], names=["x", "number"]),
            pd.date_range("2024-01-01", periods=3),
            pd.CategoricalIndex(["b", "a", "b"], name="result"),
        ],
        ids=lambda index: type(index).__name__,
    )
    def test_a_strange_index_stays(self, cache_path: Path, index: pd.Index) -> None:
        df = numbers(3).set_index(index)

        def fail(row: Row) -> int:
            if row["number"] == 1:
                raise ValueError
            return int(row["number"]) * 10

        for _ in range(2):
            found = map_rows(df, fail, cache_path)
            pd.testing.assert_index_equal(found.index, index)
            assert found["result"].fillna(-1).tolist() == [0, -1, 20]
        pd.testing.assert_index_equal(map_rows(df.iloc[:0], fail, cache_path).index, index[:0])

    @pytest.mark.parametrize(
        "keys",
        [
            [
                "",
                " a",
                "a ",
                "ä",
                "a\u0308",
                "a\0b",
                "'; DROP TABLE results; --",
                '{"~date":"2024-01-01"}',
                "x" * 5_000,
            ],
            [1, -1, 2**63, 2**200],
            [True, 1.5, 2, "1.50", b"1", (1, 2), None.__class__.__name__],
            pd.to_datetime(["2024-01-01 00:00:00", "2024-01-01 00:00:01"]),
            pd.to_datetime(["2024-01-01T00:00Z", "2024-01-01T01:00Z"]),
            pd.Categorical(["b", "a"]),
        ],
        ids=["texts", "integers", "mixed", "timestamps", "with a zone", "categories"],
    )
    def test_keys_of_all_kinds_are_known_again(self, cache_path: Path, calls: list[object], keys: Any) -> None:
        def note(row: Row) -> int:
            calls.append(row["id"])
            return int(row["place"])

        df = pd.DataFrame({"id": keys, "place": range(len(keys))})
        first = map_rows(df, note, cache_path, n_threads=1)
        again = map_rows(df.iloc[::-1], note, cache_path, n_threads=1)

        assert calls == df["id"].tolist()
        assert first["result"].tolist() == [*range(len(keys))]
        assert again["result"].tolist() == [*range(len(keys))][::-1]

    def test_a_column_that_is_there_already_is_kept(self, cache_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        df = numbers(2).assign(result=["a", "b"])

        found = map_rows(df, lambda row: row["number"], cache_path)

        assert found.columns.tolist() == ["id", "number", "result", "result_result"]
        assert found["result"].tolist() == ["a", "b"]
        assert "named 'result_result'" in caplog.text

    def test_a_frame_without_rows(self, cache_path: Path) -> None:
        found = map_rows(numbers(0), lambda row: 1, cache_path)

        assert found.columns.tolist() == ["id", "number", "result"]
        assert len(found) == 0


class TestWhatIsCalledAgain:
    def test_nothing_that_is_there(
        self, cache_path: Path, calls: list[object], caplog: pytest.LogCaptureFixture
    ) -> None:
        def double(row: Row) -> int:
            calls.append(row["id"])
            return int(row["number"]) * 2

        map_rows(numbers(6), double, cache_path)
        with caplog.at_level(logging.INFO, "tablevault_like"):
            found = map_rows(numbers(10), double, cache_path)

        assert sorted(map(str, calls)) == sorted(map(str, range(10)))
        assert found["result"].tolist() == [2 * each for each in range(10)]
        assert "skipping 6 / 10 rows" in caplog.messages

    def test_rows_whose_input_changed_and_no_others(self, cache_path: Path, calls: list[object]) -> None:
        def double(row: Row) -> int:
            calls.append(row["id"])
            return int(row["number"]) * 2

        df = numbers(4)
        map_rows(df, double, cache_path)
        df.loc[2, "number"] = 50
        calls.clear()

        assert map_rows(df, double, cache_path)["result"].tolist() == [0, 2, 100, 6]
        assert calls == [2]
        # And back again.
        assert map_rows(numbers(4), double, cache_path)["result"].tolist() == [0, 2, 4, 6]
        assert calls == [2]

    def test_all_rows_after_a_change_of_what_is_closed_over_and_none_after_the_way_back(
        self, cache_path: Path, calls: list[object]
    ) -> None:
        def asking(prompt: str) -> Callable[[Row], str]:
            def ask(row: Row) -> str:
                calls.append((prompt, row["id"]))
                return f"{prompt} {row['number']}"

            return ask

        map_rows(numbers(2), asking("first"), cache_path)
        found = map_rows(numbers(2), asking("second"), cache_path)
        assert found["result"].tolist() == ["second 0", "second 1"]
        again = map_rows(numbers(2), asking("first"), cache_path)

        assert again["result"].tolist() == ["first 0", "first 1"]
        assert len(calls) == 4
        assert query(cache_path, "SELECT count(*) FROM results") == [(2,)]
        assert query(cache_path, "SELECT json_result FROM history ORDER BY row_id") == [
            ('"second 0"',),
            ('"second 1"',),
        ]

    def test_all_rows_of_another_version(self, cache_path: Path, calls: list[object]) -> None:
        def note(row: Row) -> int:
            calls.append(row["id"])
            return 1

        for version in (1, 2, 1):
            map_rows(numbers(2), note, cache_path, version=version)

        assert len(calls) == 4

    def test_results_are_those_of_the_rows_that_are_asked_for(self, cache_path: Path) -> None:
        def double(row: Row) -> int:
            return int(row["number"]) * 2

        map_rows(numbers(5), double, cache_path)
        map_rows(numbers(2), double, cache_path)

        assert recorded(cache_path) == {"0", "1"}
        assert query(cache_path, "SELECT count(*) FROM history") == [(3,)]

    def test_fresh_computes_all_again_and_keeps_what_there_was(self, cache_path: Path, calls: list[object]) -> None:
        def note(row: Row) -> int:
            calls.append(row["id"])
            return len(calls)

        map_rows(numbers(3), note, cache_path, n_threads=1)
        found = map_rows(numbers(3), note, cache_path, n_threads=1, fresh=True)

        assert found["result"].tolist() == [4, 5, 6]
        assert map_rows(numbers(3), note, cache_path)["result"].tolist() == [4, 5, 6]
        assert query(cache_path, "SELECT count(*) FROM history") == [(3,)]
        assert len(calls) == 6

    def test_a_fresh_run_of_another_function_begins_anew(self, cache_path: Path, calls: list[object]) -> None:
        def fail(row: Row) -> int:
            if row["id"] == 1 and len(calls) < 3:
                calls.append(row["id"])
                raise ValueError
            calls.append(row["id"])
            return 1

        def other(row: Row) -> int:
            calls.append(row["id"])
            return 2

        map_rows(numbers(2), fail, cache_path, n_threads=1, fresh=True)
        map_rows(numbers(2), other, cache_path, n_threads=1, fresh=True)
        assert calls == [0, 1, 0, 1]
        map_rows(numbers(2), fail, cache_path, n_threads=1, fresh=True)

        assert calls == [0, 1, 0, 1, 0, 1]


class TestRowsThatFail:
    @pytest.fixture
    def trouble(self, tmp_path: Path) -> Path:
        """Return a file with the ids of the rows that are to fail."""
        path = tmp_path / "trouble.json"
        path.write_text("[1, 3]")
        return path

    @pytest.fixture
    def double(self, calls: list[object], trouble: Path) -> Callable[[Row], object]:
        def double(row: Row) -> object:
            calls.append(row["id"])
            if row["id"] in json.loads(trouble.read_text()):
                error = ConnectionError(f"no answer for {row['id']}")
                error.cost = 0.25  # type: ignore[attr-defined]
                raise error
            return Result(row["number"] * 2, cost=0.5, tokens=7)

        return double

    def test_are_missing_told_and_tried_again(
        self, cache_path: Path, double: Any, trouble: Path, calls: list[object], caplog: pytest.LogCaptureFixture
    ) -> None:
        found = map_rows(numbers(4), double, cache_path)

        assert found["result"].isna().tolist() == [False, True, False, True]
        assert found["id"].tolist() == [0, 1, 2, 3]
        assert found.attrs["failures"] == {
            "1": "ConnectionError: no answer for 1",
            "3": "ConnectionError: no answer for 3",
        }
        assert f"2 of 4 rows failed; the table 'failures' in {cache_path} tells why" in caplog.text
        ((text,),) = query(cache_path, "SELECT traceback FROM failures WHERE row_id = '3'")
        assert "in double\n    raise error\nConnectionError: no answer for 3\n" in text
        assert "tablevault_like" not in text
        trouble.write_text("[]")
        calls.clear()

        again = map_rows(found.drop(columns="result"), double, cache_path)

        assert sorted(map(str, calls)) == ["1", "3"]
        assert again["result"].tolist() == [0, 2, 4, 6]
        assert "failures" not in again.attrs
        assert query(cache_path, "SELECT count(*) FROM failures") == [(0,)]

    def test_what_their_attempts_took_counts_when_they_succeed(
        self, cache_path: Path, double: Any, trouble: Path
    ) -> None:
        map_rows(numbers(4), double, cache_path)
        assert query(cache_path, "SELECT row_id, attempts, cost FROM failures ORDER BY row_id") == [
            ("1", 1, 0.25),
            ("3", 1, 0.25),
        ]
        map_rows(numbers(4), double, cache_path)
        trouble.write_text("[]")

        found = map_rows(numbers(4), double, cache_path)

        assert query(cache_path, "SELECT row_id, attempts, cost, tokens FROM results ORDER BY row_id") == [
            ("0", 1, 0.5, 7),
            ("1", 3, 1.0, 7),
            ("2", 1, 0.5, 7),
            ("3", 3, 1.0, 7),
        ]
        assert (found.attrs["cost"], found.attrs["tokens"]) == (3.0, 28)

    def test_stop_raises_the_first_error(self, cache_path: Path, double: Any, calls: list[object]) -> None:
        with pytest.raises(ConnectionError, match="no answer for 1") as raised:
            map_rows(numbers(50), double, cache_path, n_threads=1, on_error="stop")

        (note,) = raised.value.__notes__
        assert note.startswith("This was for the row '1'. 1 of 50 rows are recorded in ")
        assert recorded(cache_path) == {"0"}
        assert calls == [0, 1]

    def test_null_leaves_them_empty_for_good(self, cache_path: Path, double: Any, calls: list[object]) -> None:
        map_rows(numbers(4), double, cache_path, on_error="null")
        found = map_rows(numbers(4), double, cache_path, on_error="null")

        assert found["result"].isna().tolist() == [False, True, False, True]
        assert len(calls) == 4
        assert query(cache_path, "SELECT DISTINCT status FROM failures") == [("skipped",)]

    def test_null_rows_are_computed_by_a_fresh_run(self, cache_path: Path, double: Any, trouble: Path) -> None:
        map_rows(numbers(4), double, cache_path, on_error="null")
        trouble.write_text("[]")

        found = map_rows(numbers(4), double, cache_path, fresh=True)

        assert found["result"].tolist() == [0, 2, 4, 6]

    def test_too_many_of_them_end_it(self, cache_path: Path, trouble: Path, double: Any, calls: list[object]) -> None:
        trouble.write_text(json.dumps([*range(100)]))

        with pytest.raises(ConnectionError) as raised:
            map_rows(numbers(100), double, cache_path, n_threads=1, max_failures="3%")

        # What had been begun by then counts as well.
        assert re.search(
            r"\b[4-6] of 100 rows failed, which is more than max_failures allows", raised.value.__notes__[0]
        )
        assert 4 <= len(calls) <= 6

    def test_retries(self, cache_path: Path, calls: list[object]) -> None:
        def third_time(row: Row) -> int:
            calls.append(row["id"])
            if len(calls) < 3:
                raise TimeoutError
            return 1

        found = map_rows(numbers(1), third_time, cache_path, retries={"attempts": 3, "wait": 0})

        assert found["result"].tolist() == [1]
        assert query(cache_path, "SELECT attempts FROM results") == [(3,)]

    def test_a_timeout(self, cache_path: Path) -> None:
        release = threading.Event()

        found = map_rows(numbers(1), lambda row: release.wait(20), cache_path, timeout=0.05)
        release.set()

        assert "longer than the 0.05 seconds" in found.attrs["failures"]["0"]

    def test_an_error_that_no_file_can_hold_as_it_is(self, cache_path: Path) -> None:
        def fail(row: Row) -> int:
            if row["number"] == 1:
                raise FileNotFoundError("caf\udce9")  # as os.fsdecode gives it
            return 1

        found = map_rows(numbers(3), fail, cache_path)

        assert found.attrs["failures"] == {"1": "FileNotFoundError: caf\\udce9"}
        assert found["result"].isna().tolist() == [False, True, False]
        ((text,),) = query(cache_path, "SELECT traceback FROM failures")
        assert text.endswith("FileNotFoundError: caf\\udce9\n")

    def test_that_fail_alike_together_are_told_in_one_line(
        self, cache_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        errors = [ValueError("no"), KeyError("x"), ValueError("no")]
        outcomes = [(Outcome(str(place), error=error), 0.1) for place, error in enumerate(errors)]
        with Cache.opened(cache_path) as cache:
            cache.begin(Recipe("recipe", "prompt"), {row.row_id: "hash" for row, _ in outcomes})

            Running(cache, Limits(1, OnError.CONTINUE), "fail", total=3)._record(outcomes)

        assert caplog.messages == ["rows '0', '2' failed: ValueError: no", "row '1' failed: KeyError: 'x'"]

    def test_a_value_that_can_not_be_kept(self, cache_path: Path) -> None:
        found = map_rows(numbers(1), lambda row: object(), cache_path)

        assert "TVTableError: A value of type builtins.object can't be kept" in found.attrs["failures"]["0"]

    def test_a_budget_ends_it_early_without_an_error(self, cache_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        release = threading.Event()

        def slow(row: Row) -> Result:
            release.wait(0.005)
            return Result(1, cost=1.0)

        found = map_rows(numbers(200), slow, cache_path, n_threads=1, budget={"cost": 3})

        assert 3 <= found["result"].count() <= 5
        assert "budget used up (a cost of 3 of 3" in caplog.text

    def test_a_function_that_exits_ends_it(self, cache_path: Path) -> None:
        def leave(row: Row) -> None:
            raise SystemExit(3)

        with pytest.raises(SystemExit):
            map_rows(numbers(5), leave, cache_path)


async def asynchronous(row: Row) -> None: ...


class TestArguments:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"df": [1]}, "df must be a pandas DataFrame, not a list"),
            ({"df": pd.DataFrame({"x": [1]})}, r"df has no column 'id' \(key=\)\. Known: x"),
            ({"columns": ["nmber"]}, "df has no column 'nmber'. Did you mean 'number'?"),
            ({"df": pd.DataFrame([[1, 2, 3]], columns=["id", "x", "x"])}, "2 columns named 'x'"),
            (
                {"df": pd.DataFrame({"id": [1, 2, 1, 2, 3]})},
                r"'id' isn't unique in df: 1, 2 stand there more than once",
            ),
            ({"df": pd.DataFrame({"id": ["1", 1]})}, "isn't unique"),
            ({"df": pd.DataFrame({"id": ["a", None, float("nan")]})}, "missing in 2 rows of df, at the positions 1, 2"),
            ({"df": pd.DataFrame({"id": [pd.NA, "a"]})}, "missing in 1 rows"),
            ({"df": pd.DataFrame({"id": [1], "x": [object()]})}, r"'1' has changed can't be told: .*columns=\["),
            ({"df": pd.DataFrame({"id": [[1], [1]]})}, r"isn't unique in df: \[1\] stand"),
            ({"df": pd.DataFrame({"id": [object()]})}, "'id' of row 0 of df can't be one: A value of type"),
            (
                {"df": pd.DataFrame({"x": [1]}).rename_axis("id")},
                r"'id' \(key=\)\. That is the name of its index: df\.reset",
            ),
            (
                {"df": pd.DataFrame({"id": pd.Series(["\ud800"], dtype=object), "x": [1]}), "columns": ["x"]},
                "'id' of row 0 of df can't be one: A text holds a lone surrogate",
            ),
            ({"cache_path": "a\0b"}, "cache_path holds a null character"),
            ({"function": asynchronous}, r"asynchronous\. Give one that runs it"),
            ({"function": 3}, "function must be a function, not a int"),
            ({"cache_path": ""}, "cache_path must be the path of a file"),
            ({"n_threads": 0}, "n_threads must be a whole number of at least 1, not 0"),
            ({"on_error": "raise"}, "on_error must be one of stop, continue, null, not 'raise'"),
            ({"retries": "many"}, "retries must be a number of attempts"),
            ({"rate": "fast"}, "rate must be calls in a time"),
            ({"timeout": -1}, "timeout must be a number of seconds"),
            ({"max_failures": "x"}, "max_failures must be a count"),
            ({"budget": {"money": 1}}, "budget must be a mapping"),
        ],
        ids=lambda value: value if isinstance(value, str) else next(iter(value)),
    )
    def test_that_are_wrong_change_nothing(self, cache_path: Path, change: dict[str, Any], message: str) -> None:
        given: dict[str, Any] = {"df": numbers(2), "function": lambda row: 1, "cache_path": cache_path, **change}

        with pytest.raises(TVArgumentError, match=message):
            map_rows(**given)

        assert not cache_path.parent.exists()

    def test_a_folder_is_no_cache(self, tmp_path: Path) -> None:
        with pytest.raises(TVArgumentError, match="is a folder"):
            map_rows(numbers(1), len, tmp_path)

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("file/cache.sqlite", r"The folder .*/file of the cache can't be made \(a file is in its place\)"),
            ("file/more/cache.sqlite", r"The folder .*/file/more of the cache can't be made \(Not a directory\)"),
            ("x" * 300, r"its lock .* can't be made \(File name too long\)\. Name another cache_path"),
        ],
        ids=["in a file", "below a file", "a long name"],
    )
    def test_a_place_where_no_file_can_be(self, tmp_path: Path, name: str, why: str) -> None:
        (tmp_path / "file").write_text("mine")

        with pytest.raises(TVFileError, match=why):
            map_rows(numbers(1), len, tmp_path / name)

        assert [each.name for each in tmp_path.iterdir()] == ["file"]

    def test_an_sqlite_file_of_something_else_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.sqlite"
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE results (a)")
        connection.commit()
        connection.close()
        before = path.read_bytes()

        with pytest.raises(TVFileError, match="is an SQLite file of something else"):
            map_rows(numbers(1), len, path)

        assert path.read_bytes() == before

    def test_what_is_no_sqlite_file_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("dear diary, " * 100)

        with pytest.raises(TVFileError, match="isn't an SQLite file"):
            map_rows(numbers(1), len, path)

        assert path.read_text() == "dear diary, " * 100

    def test_two_threads_of_one_process(self, cache_path: Path) -> None:
        def within(row: Row) -> int:
            with pytest.raises(TVLockError, match="in use by this very process"):
                map_rows(numbers(1), len, cache_path)
            return 1

        assert map_rows(numbers(1), within, cache_path)["result"].tolist() == [1]


class TestTheFile:
    def test_holds_a_result_the_moment_it_is_there(self, cache_path: Path) -> None:
        counts: list[int] = []

        def count(row: Row) -> int:
            for _ in range(200):  # the coordinator records while the next row is computed
                ((found,),) = query(cache_path, "SELECT count(*) FROM results")
                if found >= row["number"] - 1:
                    break
            counts.append(found)
            return 1

        map_rows(numbers(6), count, cache_path, n_threads=1)

        assert all(found >= number - 1 for number, found in enumerate(counts))

    def test_is_written_durably(self, cache_path: Path) -> None:
        with Cache.opened(cache_path) as cache:
            run = cache._connection.execute
            assert run("PRAGMA journal_mode").fetchone() == ("persist",)
            assert run("PRAGMA synchronous").fetchone() == (3,)

    def test_ids_and_results_are_plain_text(self, cache_path: Path) -> None:
        df = pd.DataFrame({"id": ["a", 7, 2.5, datetime.date(2024, 1, 2)]})

        map_rows(df, lambda row: {"x": 1, "y": [None, "ä"]}, cache_path)

        rows = query(cache_path, "SELECT row_id, json_result, prompt_hash FROM results ORDER BY number")
        assert {row[0] for row in rows} == {"a", "7", "2.5", '{"~date":"2024-01-02"}'}
        assert {row[1] for row in rows} == {'{"x":1,"y":[null,"ä"]}'}
        assert {len(row[2]) for row in rows} == {16}

    def test_a_disk_that_is_full_is_told_and_what_was_recorded_stays(
        self, cache_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def double(row: Row) -> int:
            return int(row["number"]) * 2

        map_rows(numbers(3), double, cache_path)
        with monkeypatch.context() as patch:
            original = Cache._prepare

            def prepare(cache: Cache) -> None:
                original(cache)
                (pages,) = cache._connection.execute("PRAGMA page_count").fetchone()
                cache._connection.execute(f"PRAGMA max_page_count = {pages}")

            patch.setattr(Cache, "_prepare", prepare)
            with pytest.raises(TVFileError, match=r"the disk is full\. Free some space; the same call goes on"):
                map_rows(numbers(2_000), double, cache_path)

        assert len(map_rows(numbers(2_000), double, cache_path)) == 2_000


class TestProgress:
    @pytest.fixture(autouse=True)
    def at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let everything be shown, not only what comes every few seconds."""
        monkeypatch.setattr(displays, "INTERVAL", 0.0)

    def test_is_that_of_every_run(self, cache_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        def halve(row: Row) -> Result:
            if row["number"] == 2:
                raise ValueError
            return Result(row["number"] / 2, cost=0.5)

        map_rows(numbers(2), halve, cache_path, progress=False)
        assert capsys.readouterr() == ("", "")

        map_rows(numbers(4), halve, cache_path, progress=True)

        printed = capsys.readouterr()
        assert printed.out == ""
        lines = printed.err.splitlines()
        assert lines[0] == "cache.sqlite: halve: 2 of 4 rows, 2 reused"
        assert lines[-1] == "cache.sqlite: halve: 3 of 4 rows, 2 reused, 1 failed, cost 0.5"

    def test_goes_to_the_log_where_there_is_no_terminal(
        self, cache_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with caplog.at_level(logging.INFO, "tablevault_like"):
            map_rows(numbers(3), lambda row: 1, cache_path)

        assert caplog.messages[-1] == "cache.sqlite: lambda: 3 of 3 rows"
        assert capsys.readouterr() == ("", "")

    def test_is_bars_on_a_terminal(
        self, cache_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
        monkeypatch.setattr(displays, "PATIENCE", 0.0)

        map_rows(numbers(3), functools.partial(lambda factor, row: factor, 2), cache_path)

        said = capsys.readouterr().err
        assert "cache.sqlite: lambda" in said
        assert "3/3" in said

    def test_tells_what_stays_empty(self, cache_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        def fail(row: Row) -> int:
            if row["number"] < 2:
                raise ValueError
            return 1

        map_rows(numbers(3), fail, cache_path, on_error="null", progress=True)
        first = capsys.readouterr().err.splitlines()[-1]
        map_rows(numbers(4), fail, cache_path, on_error="null", progress=True)

        assert first == "cache.sqlite: fail: 1 of 3 rows, 2 left empty"
        assert capsys.readouterr().err.splitlines()[-1] == "cache.sqlite: fail: 2 of 4 rows, 1 reused, 2 left empty"

    def test_that_can_not_be_shown_disturbs_nothing(
        self, cache_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise OSError("no terminal any more")

        monkeypatch.setattr(displays.LineDisplay, "show", fail)
        monkeypatch.setattr(displays.LineDisplay, "close", fail)

        assert map_rows(numbers(3), lambda row: 1, cache_path)["result"].tolist() == [1, 1, 1]
        assert caplog.messages == ["the progress of cache.sqlite can't be shown"] * 2
