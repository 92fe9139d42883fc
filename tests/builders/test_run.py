"""Running builders: what is computed, recorded, skipped and raised, and what is never computed twice."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tablevault_like.builders.run import Progress
from tablevault_like.engines.base import Interrupted
from tablevault_like.errors import (
    FencedError,
    TableReferenceError,
    TableVaultError,
    TVArtifactError,
    TVBuilderError,
    TVTableError,
)
from tablevault_like.model import Row
from tablevault_like.storage import artifacts, tables
from tablevault_like.storage.rows import RowStore
from tablevault_like.storage.values import decode
from tests.builders.sites import (
    PATIENCE,
    Calls,
    Site,
    index_spec,
    no_rows,
    opened,
    release,
    site,
    spec,
    user_error,
)

__all__ = ["no_rows", "opened", "release", "site"]


class TestRowWise:
    @pytest.mark.parametrize("threads", [1, 8])
    def test_every_row_is_computed_once_and_its_column_added(self, site: Site, threads: int) -> None:
        calls = Calls()

        site.run(spec(f"n_threads: {threads}"), calls).run()

        assert sorted(calls.numbers) == [0, 1, 2, 3, 4, 5]
        assert site.values("size") == [0, 10, 20, 30, 40, 50]
        assert str(site.frames.built()["size"].dtype) == "Int64"
        assert site.engine.is_idle

    def test_resume_skips_recorded_rows(self, site: Site) -> None:
        user_error(site.run(spec(), Calls(fails_at=[3])))
        calls, resumed = Calls(), site.again()

        resumed.run(spec(), calls).run()

        assert calls.numbers == [3, 4, 5]
        assert resumed.values("size") == [0, 10, 20, 30, 40, 50]

    def test_a_finished_builder_calls_nothing_again(self, site: Site) -> None:
        site.run(spec(), Calls()).run()
        calls, resumed = Calls(), site.again()

        resumed.run(spec(), calls).run()
        loaded = resumed.again()
        loaded.run(spec(), calls).load()

        assert calls.numbers == []
        assert resumed.values("size") == loaded.values("size") == [0, 10, 20, 30, 40, 50]

    def test_a_failed_row_is_recorded_with_its_error(self, site: Site) -> None:
        error = user_error(site.run(spec(), Calls(fails_at=[3])))

        (failed,) = site.store.failures("sizes")
        recorded = json.loads(failed.error or "")
        assert isinstance(error, OSError)
        assert error.__notes__ == ["This was in row 3 of the builder 'sizes'."]
        assert failed.index == 3
        assert (recorded["type"], recorded["message"]) == ("OSError", "no answer for 3")
        assert "raise self.error(" in recorded["traceback"]
        assert "builders/results.py" not in recorded["traceback"]
        assert "engines/threads.py" not in recorded["traceback"]
        assert site.store.recorded("sizes").tolist() == [0, 1, 2]

    def test_attempts_of_a_failed_row_add_up(self, site: Site) -> None:
        for _ in range(3):
            user_error(site.run(spec(), Calls(fails_at=[3])))

        assert [each.attempts for each in site.store.failures("sizes")] == [3]

    def test_rows_in_flight_are_recorded_when_another_fails(self, site: Site, release: threading.Event) -> None:
        record = site.store.record

        def record_and_release(builder: str, rows: Any, **also: Any) -> None:
            record(builder, rows, **also)
            release.set()

        site.store.record = record_and_release  # type: ignore[method-assign]
        entered = threading.Event()

        def function(number: int) -> int:
            if number == 0:
                entered.set()
                assert release.wait(PATIENCE)
            elif number == 1:
                assert entered.wait(PATIENCE)
                raise OSError
            return number

        user_error(site.run(spec("n_threads: 2"), function))

        assert 0 in site.store.recorded("sizes")
        assert [each.index for each in site.store.failures("sizes")] == [1]

    def test_nothing_more_is_handed_out_when_a_row_failed(self, tmp_path: Path, opened: ExitStack) -> None:
        site, calls = Site(tmp_path, opened, size=100_000), Calls(fails_at=[5])

        user_error(site.run(spec(), calls))

        assert len(calls.numbers) < 100_000

    def test_the_foremost_failure_is_raised_and_tells_of_the_others(self, site: Site) -> None:
        meeting = threading.Barrier(3)
        failed = [threading.Event() for _ in range(3)]

        def function(number: int) -> int:
            meeting.wait(PATIENCE)
            if number < 2:  # the last one fails first
                assert failed[number + 1].wait(PATIENCE)
            failed[number].set()
            raise ValueError(number)

        error = user_error(site.run(spec("n_threads: 3"), function))

        assert {each.index for each in site.store.failures("sizes")} == {0, 1, 2}
        assert str(error) == "0"
        assert "row 0" in error.__notes__[0]
        assert "2 more failed" in error.__notes__[0]

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, StopIteration, GeneratorExit])
    def test_whatever_user_code_raises_is_its_error(self, site: Site, kind: type[BaseException]) -> None:
        assert isinstance(user_error(site.run(spec(), Calls(fails_at=[2], error=kind))), kind)
        assert [each.index for each in site.store.failures("sizes")] == [2]

    def test_an_error_that_cannot_be_shown_is_recorded_all_the_same(self, site: Site) -> None:
        class StrangeError(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no")

        user_error(site.run(spec(), Calls(fails_at=[0], error=StrangeError)))

        (failed,) = site.store.failures("sizes")
        assert "StrangeError" in json.loads(failed.error or "")["type"]

    @pytest.mark.parametrize(
        ("function", "expected"),
        [
            (lambda number: (number, "a"), (5, "a")),
            (lambda number: [number, "a"], (5, "a")),
            (lambda number: {"name": "a", "size": number}, (5, "a")),
        ],
    )
    def test_several_columns(self, site: Site, function: Callable[[int], object], expected: tuple[int, str]) -> None:
        site.run(spec(columns="size, name"), function).run()

        assert (site.values("size")[5], site.values("name")[5]) == expected

    @pytest.mark.parametrize(
        ("function", "expected"),
        [
            (lambda number: {"size": number}, 5),
            (lambda number: (number,), 5),
            (lambda number: [number], [5]),
            (lambda number: (number, number), (5, 5)),
            (lambda number: {"other": number}, {"other": 5}),
            (lambda number: None, None),
        ],
    )
    def test_one_column(self, site: Site, function: Callable[[int], object], expected: object) -> None:
        site.run(spec(), function).run()

        assert site.values("size")[5] == expected

    @pytest.mark.parametrize(
        ("value", "told"),
        [
            (5, "returned a int"),
            ((1, 2, 3), "a tuple of 3"),
            ({"size": 1}, "the keys size"),
            ({"size": 1, "nam": 2}, "the keys size, nam"),
            ("ab", "a str"),
            (None, "a NoneType"),
        ],
    )
    def test_what_has_another_form_is_the_rows_error(self, site: Site, value: object, told: str) -> None:
        error = user_error(site.run(spec(columns="size, name"), lambda number: value))

        assert isinstance(error, TVTableError)
        assert told in str(error)
        assert "Return a tuple of 2 values (size, name)" in str(error)
        assert error.row == 0

    def test_a_value_that_cannot_be_kept_is_the_rows_error(self, site: Site) -> None:
        error = user_error(site.run(spec(), lambda number: number if number < 2 else object()))

        assert isinstance(error, TVTableError)
        assert (error.row, error.column) == (2, "size")
        assert site.store.recorded("sizes").tolist() == [0, 1]

    def test_a_value_that_does_not_fit_its_dtype_fails_its_row_only(self, site: Site) -> None:
        typed = spec("dtypes: {size: Int8}")

        error = user_error(site.run(typed, lambda number: "many" if number == 2 else number))
        calls, resumed = Calls(), site.again()
        resumed.run(typed, calls).run()

        assert isinstance(error, TVTableError)
        assert (error.row, error.column) == (2, "size")
        assert "Row 2 of column 'size' holds 'many'" in str(error)
        assert 2 in calls.numbers
        assert {0, 1}.isdisjoint(calls.numbers)
        assert str(resumed.frames.built()["size"].dtype) == "Int8"

    def test_dtypes_are_those_of_the_column(self, site: Site) -> None:
        site.run(spec("dtypes: {size: float32}"), lambda number: number / 2).run()

        assert str(site.frames.built()["size"].dtype) == "float32"

    def test_artifacts_are_on_the_disk_before_their_row_is_recorded(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: set[str] = set()
        sync, record = artifacts.sync_artifacts, site.store.record

        def sync_and_tell(folder: Path, names: Sequence[str]) -> None:
            names = list(names)
            sync(folder, names)
            synced.update(names)

        def record_if_synced(builder: str, rows: Any, **also: Any) -> None:
            texts = [row.cells for row in rows] + [cells for _, cells, *_ in also["done"]]
            assert {decode(text)[0] for text in texts} - {None} <= synced
            record(builder, rows, **also)

        monkeypatch.setattr(artifacts, "sync_artifacts", sync_and_tell)
        site.store.record = record_if_synced  # type: ignore[method-assign]

        def function(number: int, folder: str) -> str | None:
            if number == 1:
                return None
            Path(folder, f"{number}.txt").write_text("text")
            return f"{number}.txt"

        described = spec(
            "dtypes: {size: artifact_string}",
            "arguments: {number: '<<self.id[index]>>', folder: '~ARTIFACT_FOLDER~'}",
        )
        site.run(described, function).run()

        assert site.values("size") == ["0.txt", None, "2.txt", "3.txt", "4.txt", "5.txt"]
        assert site.frames.artifact_columns == ("size",)

    @pytest.mark.parametrize(
        ("cell", "kind"), [("gone.txt", TVArtifactError), ("../x", TVArtifactError), (5, TVTableError)]
    )
    def test_a_row_without_its_artifact_fails(self, site: Site, cell: object, kind: type[TableVaultError]) -> None:
        (site.artifact_folder / "a.txt").write_text("text")

        error = user_error(
            site.run(spec("dtypes: {size: artifact_string}"), lambda number: cell if number == 2 else "a.txt")
        )

        assert isinstance(error, kind)
        assert [each.index for each in site.store.failures("sizes")] == [2]
        assert {0, 1} <= set(site.store.recorded("sizes").tolist())

    def test_a_request_to_stop_records_what_is_in_flight_and_the_rest_follows_later(self, site: Site) -> None:
        calls = Calls()

        def function(number: int) -> int:
            if number == 3:
                site.stop.request()
            return calls(number)

        with pytest.raises(Interrupted) as raised:
            site.run(spec(), function).run()
        recorded = site.store.recorded("sizes").tolist()
        resumed = site.again()
        resumed.run(spec(), calls).run()

        assert not raised.value.is_abandoned
        assert recorded == [0, 1, 2, 3]
        assert calls.numbers == [0, 1, 2, 3, 4, 5]
        assert resumed.values("size") == [0, 10, 20, 30, 40, 50]

    def test_a_request_during_the_last_row_changes_nothing(self, site: Site) -> None:
        def function(number: int) -> int:
            if number == 5:
                site.stop.request()
            return number

        site.run(spec(), function).run()

        assert site.values("size") == [0, 1, 2, 3, 4, 5]

    def test_a_request_that_came_before_calls_nothing(self, site: Site) -> None:
        site.stop.request()
        calls = Calls()

        with pytest.raises(Interrupted):
            site.run(spec(), calls).run()

        assert calls.numbers == []

    def test_an_abandoned_row_writes_nothing(self, site: Site, release: threading.Event) -> None:
        def function(number: int) -> int:
            if number == 2:
                site.stop.abandon()
                assert release.wait(PATIENCE)
            return number

        with pytest.raises(Interrupted) as raised:
            site.run(spec(), function).run()
        assert raised.value.is_abandoned
        assert not site.engine.is_idle
        release.set()
        assert site.engine.wait(PATIENCE)

        assert site.store.recorded("sizes").tolist() == [0, 1]
        assert site.store.counts("sizes").failed == 0

    def test_an_interrupt_that_the_stop_caused_is_no_failure(self, site: Site) -> None:
        def function(number: int) -> int:
            if number == 2:
                site.stop.request()
                raise KeyboardInterrupt
            return number

        with pytest.raises(Interrupted):
            site.run(spec(), function).run()

        assert site.store.recorded("sizes").tolist() == [0, 1]
        assert site.store.failures("sizes") == []

    def test_a_row_that_fails_after_a_request_is_recorded_and_the_stop_is_raised(self, site: Site) -> None:
        def function(number: int) -> int:
            if number == 2:
                site.stop.request()
                raise OSError
            return number

        with pytest.raises(Interrupted):
            site.run(spec(), function).run()

        assert [each.index for each in site.store.failures("sizes")] == [2]

    def test_a_worker_that_lost_its_claim_records_nothing_more(self, site: Site) -> None:
        def function(number: int) -> int:
            if number == 3:
                with RowStore.open(site.folder / "rows.sqlite") as other:
                    other.claim(site.epoch + 1)
            return number

        with pytest.raises(FencedError):
            site.run(spec(), function).run()
        assert site.engine.wait(PATIENCE)

        assert 3 not in site.store.recorded("sizes")

    def test_a_busy_store_is_waited_out_until_the_stop_is_abandoned(self, site: Site) -> None:
        record = site.store.record

        def abandon_and_record(builder: str, rows: Any, **also: Any) -> None:
            site.stop.abandon()
            record(builder, rows, **also)

        site.store.record = abandon_and_record  # type: ignore[method-assign]
        with closing(sqlite3.connect(site.folder / "rows.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Interrupted):
                site.run(spec(), Calls()).run()

        assert site.store.is_empty()

    def test_an_error_of_a_reference_is_the_vaults_own(self, site: Site) -> None:
        other = pd.DataFrame({"w0": ["a"] * 6, "w1": ["b"] * 6})
        tables.write_table(site.folder / "words.parquet", other)
        described = spec("arguments: {text: '<<words.<<self.word[index]>>[index]>>'}")

        with pytest.raises(TableReferenceError) as raised:
            site.run(described, lambda text: text).run()

        assert "This was for row 2 of the builder 'sizes'." in raised.value.__notes__
        assert site.store.recorded("sizes").tolist() == [0, 1]

    def test_arguments_name_process_row_and_folder(self, site: Site) -> None:
        described = spec("arguments: {key: '~ROW_KEY~', process: '~PROCESS_ID~', folder: '~ARTIFACT_FOLDER~/x'}")

        site.run(described, lambda key, process, folder: [key, process, folder]).run()

        assert site.values("size")[4] == ["p1:sizes:4", "p1", f"{site.artifact_folder}/x"]

    def test_inputs_are_hashed(self, site: Site) -> None:
        words = pd.DataFrame({"word": ["a", "b"]})
        tables.write_table(site.folder / "words.parquet", words)

        def hashes(builder: str, *fields: str) -> list[bytes]:
            site.run(spec(*fields, name=builder), lambda **arguments: 1).run()
            with closing(sqlite3.connect(site.folder / "rows.sqlite")) as connection:
                found = connection.execute(
                    "SELECT input_hash FROM rows JOIN builders ON id = builder WHERE name = ? ORDER BY row", (builder,)
                ).fetchall()
            return [input_hash for (input_hash,) in found]

        rows = hashes("a", "arguments: {n: '<<self.id[index]>>'}")
        same = hashes("b", "arguments: {n: '<<self.id[index]>>', prompt: 'Another text ~ROW_KEY~'}")
        constant = hashes("c", "arguments: {n: '<<self.id[index]>>', all: '<<words.word>>'}")

        assert len(set(rows)) == 6
        assert rows == same
        assert set(rows).isdisjoint(constant)

    def test_the_code_that_made_a_row_is_recorded(self, site: Site) -> None:
        number = site.store.code_number("abc")
        user_error(site.run(spec(), Calls(fails_at=[2]), code=number))

        assert [each.code for each in site.store.failures("sizes")] == [number]

    def test_progress_is_told_after_each_commit(self, site: Site) -> None:
        user_error(site.run(spec(), Calls(fails_at=[3])))
        first = site.progress
        resumed = site.again()
        resumed.run(spec(), Calls()).run()

        assert (first[0], first[-1]) == (Progress(0, 0, 6), Progress(3, 1, 6))
        assert (resumed.progress[0], resumed.progress[-1]) == (Progress(3, 0, 6), Progress(6, 0, 6))

    def test_workers_are_told_their_row(self, site: Site) -> None:
        site.run(spec(), Calls()).run()

        assert site.entered == [0, 1, 2, 3, 4, 5]

    def test_a_later_builder_reads_the_columns_of_an_earlier_one(self, site: Site) -> None:
        site.run(spec(), Calls()).run()
        doubled = spec("arguments: {size: '<<self.size[index]>>'}", name="doubles", columns="double")

        site.run(doubled, lambda size: size * 2).run()

        assert site.values("double") == [0, 20, 40, 60, 80, 100]

    def test_a_builder_that_changes_a_column_reads_what_it_was(self, site: Site) -> None:
        site.run(spec("arguments: {word: '<<self.word[index]>>'}", columns="word"), lambda word: word.upper()).run()

        assert site.values("word") == ["W0", "W1", "W2", "W3", "W4", "W5"]

    def test_forgetting_begins_anew(self, site: Site) -> None:
        run, calls = site.run(spec(), Calls()), Calls()
        run.run()

        run.forget()
        site.run(spec(), calls).run()

        assert calls.numbers == [0, 1, 2, 3, 4, 5]

    def test_what_is_not_done_is_missing(self, site: Site) -> None:
        run = site.run(spec(), Calls(fails_at=[3]))
        user_error(run)

        assert tables.frame_from_table(run.columns())["size"].isna().tolist() == [False] * 3 + [True] * 3

    def test_an_index_builder_needs_rows_to_run_over(self, no_rows: Site) -> None:
        with pytest.raises(TVBuilderError, match="runs over the rows that the instance has from its origin"):
            no_rows.run(index_spec("arguments: {number: '<<self.index>>'}"), Calls()).run()

    def test_an_index_builder_runs_over_the_rows_of_the_origin(self, site: Site) -> None:
        site.run(index_spec("arguments: {number: '<<self.index>>'}"), Calls()).run()

        assert site.values("id") == [0, 10, 20, 30, 40, 50]
        assert site.frames.columns("self", None) == ("id", "word")

    def test_rows_with_the_same_primary_key_are_user_codes_error(self, site: Site) -> None:
        keyed = index_spec("arguments: {number: '<<self.index>>'}", "primary_key: [id]")

        error = user_error(site.run(keyed, lambda number: number // 2))

        assert isinstance(error, TVTableError)
        assert "Rows 0 and 1 have the same primary key: id=0" in str(error)


GENERATOR = "return_type: generator"


class Yields:
    """A generator function that counts what it computed."""

    def __init__(self, count: int = 5, *, fails_at: int | None = None) -> None:
        self.count = count
        self.fails_at = fails_at
        self.computed: list[int] = []
        self.closed = 0

    def __call__(self, start: int = 0) -> Iterator[object]:
        try:
            for number in range(start, self.count):
                if number == self.fails_at:
                    raise OSError("no more")
                self.computed.append(number)
                yield number * 10
        finally:
            self.closed += 1


class TestGenerator:
    def test_an_index_builder_makes_the_rows(self, no_rows: Site) -> None:
        no_rows.run(index_spec(GENERATOR), Yields()).run()

        assert no_rows.frames.rows == 5
        assert no_rows.values("id") == [0, 10, 20, 30, 40]

    def test_it_takes_the_place_of_the_rows_of_the_origin(self, site: Site) -> None:
        site.run(index_spec(GENERATOR), Yields(3)).run()

        assert site.frames.columns("self", None) == ("id",)
        assert site.values("id") == [0, 10, 20]

    def test_no_rows_are_fine(self, no_rows: Site) -> None:
        no_rows.run(index_spec(GENERATOR), Yields(0)).run()

        assert no_rows.frames.rows == 0

    def test_a_column_builder_gives_every_row(self, site: Site) -> None:
        site.run(spec(GENERATOR), Yields(6)).run()

        assert site.values("size") == [0, 10, 20, 30, 40, 50]

    @pytest.mark.parametrize(
        ("count", "told"),
        [(5, "without having yielded 1 of 6 rows: 5"), (7, "yielded for row 6, but there are 6 rows")],
    )
    def test_a_column_builder_gives_as_many_as_there_are_rows(self, site: Site, count: int, told: str) -> None:
        error = user_error(site.run(spec(GENERATOR), Yields(count)))

        assert isinstance(error, TVTableError)
        assert told in str(error)

    def test_it_is_wound_forward_on_resume(self, no_rows: Site) -> None:
        user_error(no_rows.run(index_spec(GENERATOR), Yields(fails_at=3)))
        recorded, again, resumed = no_rows.store.recorded("t_index").tolist(), Yields(), no_rows.again()

        resumed.run(index_spec(GENERATOR), again).run()

        assert recorded == [0, 1, 2]
        assert again.computed == [0, 1, 2, 3, 4]
        assert resumed.values("id") == [0, 10, 20, 30, 40]
        assert resumed.progress[-1] == Progress(5, 0, None)

    def test_it_goes_on_where_it_was_if_it_asks(self, no_rows: Site) -> None:
        asking = index_spec(GENERATOR, "arguments: {start: ~RESUME_FROM~}")
        user_error(no_rows.run(asking, Yields(fails_at=3)))
        again, resumed = Yields(), no_rows.again()

        resumed.run(asking, again).run()

        assert again.computed == [3, 4]
        assert resumed.values("id") == [0, 10, 20, 30, 40]

    def test_it_may_have_ended_before_it_was_told_so(self, no_rows: Site) -> None:
        no_rows.run(index_spec(GENERATOR), Yields()).run()
        resumed = no_rows.again()

        resumed.run(index_spec(GENERATOR), Yields()).run()

        assert resumed.values("id") == [0, 10, 20, 30, 40]
        assert resumed.progress == [Progress(5, 0, None)]

    def test_what_it_yielded_before_it_failed_is_recorded(self, no_rows: Site) -> None:
        error = user_error(no_rows.run(index_spec(GENERATOR), Yields(fails_at=3)))

        (failed,) = no_rows.store.failures("t_index")
        assert isinstance(error, OSError)
        assert failed.index == 3
        assert no_rows.progress[-1] == Progress(3, 1, None)

    def test_failures_at_rows_that_there_are_not_in_the_end_are_forgotten(self, no_rows: Site) -> None:
        user_error(no_rows.run(index_spec(GENERATOR), Yields(fails_at=3)))

        resumed = no_rows.again()
        resumed.run(index_spec(GENERATOR), Yields(3)).run()

        assert resumed.values("id") == [0, 10, 20]
        assert resumed.store.failures("t_index") == []

    def test_rows_may_come_out_of_order(self, no_rows: Site) -> None:
        def function() -> Iterator[Row]:
            for index in (3, 0, 2, 1):
                yield Row(index, f"r{index}")

        no_rows.run(index_spec(GENERATOR), function).run()

        assert no_rows.values("id") == ["r0", "r1", "r2", "r3"]

    @pytest.mark.parametrize("asks", [True, False])
    def test_rows_out_of_order_are_not_recorded_twice(self, no_rows: Site, asks: bool) -> None:
        order, computed = [3, 0, 4, 2, 1], list[int]()

        def function(start: int = 0, fails: bool = False) -> Iterator[Row]:
            for position, index in enumerate(order):
                if position < start:
                    continue
                if fails and position == 3:
                    raise OSError
                computed.append(index)
                yield Row(index, index)

        start = "start: ~RESUME_FROM~" if asks else ""
        user_error(no_rows.run(index_spec(GENERATOR, f"arguments: {{fails: true, {start}}}"), function))
        resumed = no_rows.again()
        resumed.run(index_spec(GENERATOR, f"arguments: {{fails: false, {start}}}"), function).run()

        assert resumed.values("id") == [0, 1, 2, 3, 4]
        assert computed == ([3, 0, 4, 2, 1] if asks else [3, 0, 4, 3, 0, 4, 2, 1])

    @pytest.mark.parametrize(
        ("yielded", "told"),
        [
            ([Row(0, 1), Row(2, 1)], "without having yielded 1 of 3 rows: 1"),
            ([Row(1, 1), Row(1, 1)], "Row 1 was yielded twice"),
            ([5, Row(0, 1)], "Row 0 was yielded twice"),
            ([Row(-1, 1)], "yielded at the position -1"),
            ([Row("a", 1)], "yielded at the position 'a'"),  # type: ignore[arg-type]
            ([Row(True, 1)], "yielded at the position True"),
            ([object()], "artifact"),
        ],
    )
    def test_rows_that_cannot_be(self, no_rows: Site, yielded: list[object], told: str) -> None:
        error = user_error(no_rows.run(index_spec(GENERATOR), lambda: iter(yielded)))

        assert isinstance(error, TVTableError)
        assert told in str(error)

    @pytest.mark.parametrize("returned", [5, None, "text", {"a": 1}, pd.DataFrame({"id": [1]})])
    def test_what_does_not_yield_rows_is_told(self, no_rows: Site, returned: object) -> None:
        error = user_error(no_rows.run(index_spec(GENERATOR), lambda: returned))

        assert isinstance(error, TVTableError)
        assert "needs one that yields rows" in str(error)

    def test_a_value_that_does_not_fit_ends_it_there(self, no_rows: Site) -> None:
        typed = index_spec(GENERATOR, "dtypes: {id: Int64}")

        error = user_error(no_rows.run(typed, lambda: iter([1, 2, "x", 4, 5])))

        assert isinstance(error, TVTableError)
        assert error.row == 2
        assert no_rows.store.recorded("t_index").tolist() == [0, 1]
        assert [each.index for each in no_rows.store.failures("t_index")] == [2]

    def test_a_request_to_stop_records_what_is_in_flight_and_closes_it(self, no_rows: Site) -> None:
        yields = Yields(100)

        def function() -> Iterator[object]:
            for value in yields():
                if value == 30:
                    no_rows.stop.request()
                yield value

        with pytest.raises(Interrupted):
            no_rows.run(index_spec(GENERATOR), function).run()
        again, resumed = Yields(100), no_rows.again()
        resumed.run(index_spec(GENERATOR), again).run()

        assert no_rows.store.recorded("t_index").tolist() == list(range(100))
        assert yields.computed == [0, 1, 2, 3]
        assert resumed.frames.rows == 100

    def test_it_is_closed_when_it_is_not_to_go_on(self, no_rows: Site) -> None:
        yields = Yields(1_000_000)
        error = user_error(no_rows.run(index_spec(GENERATOR, columns="id, name"), yields))

        assert isinstance(error, TVTableError)
        assert yields.closed == 1
        assert no_rows.engine.is_idle

    def test_a_stop_comes_before_what_is_wrong_with_the_rows(self, no_rows: Site) -> None:
        def function() -> Iterator[object]:
            yield 1
            no_rows.stop.request()
            yield 1

        keyed = index_spec("return_type: dataframe", "primary_key: [id]")
        with pytest.raises(Interrupted):
            no_rows.run(keyed, lambda: pd.DataFrame({"id": list(function())})).run()

    def test_a_primary_key_tells_its_rows_apart(self, no_rows: Site) -> None:
        keyed = index_spec(GENERATOR, "primary_key: [id]")

        error = user_error(no_rows.run(keyed, lambda: iter([1, 2, 1])))

        assert "Rows 0 and 2 have the same primary key" in str(error)


FRAME = "return_type: dataframe"


class TestDataFrame:
    def test_an_index_builder_makes_the_rows(self, no_rows: Site) -> None:
        no_rows.run(index_spec(FRAME), lambda: pd.DataFrame({"id": [5, 6, 7]}, index=[9, 8, 7])).run()

        assert no_rows.values("id") == [5, 6, 7]
        assert no_rows.progress[-1] == Progress(3, 0, 3)

    def test_a_resume_finds_the_frame_and_does_not_call_again(self, no_rows: Site) -> None:
        no_rows.run(index_spec(FRAME), lambda: pd.DataFrame({"id": [5, 6, 7]})).run()
        resumed, loaded = no_rows.again(), no_rows.again()

        resumed.run(index_spec(FRAME), Calls()).run()
        loaded.run(index_spec(FRAME), Calls()).load()

        assert resumed.values("id") == loaded.values("id") == [5, 6, 7]
        assert resumed.progress == [Progress(3, 0, 3)]

    def test_only_the_changed_columns_are_kept_in_their_order(self, site: Site) -> None:
        frame = pd.DataFrame({"c": range(6), "size": range(6), "a": range(6)})

        site.run(spec(FRAME, columns="a, size"), lambda: frame).run()

        assert site.frames.columns("self", None) == ("id", "word", "a", "size")

    def test_dtypes_are_those_of_the_columns(self, site: Site) -> None:
        site.run(spec(FRAME, "dtypes: {size: string}"), lambda: pd.DataFrame({"size": range(6)})).run()

        assert site.values("size") == ["0", "1", "2", "3", "4", "5"]

    @pytest.mark.parametrize(
        ("returned", "told"),
        [
            ([1, 2], "returned a list"),
            (None, "returned a NoneType"),
            (pd.DataFrame({"sizes": range(6)}), "no column 'size'. Did you mean 'sizes'"),
            (pd.DataFrame({"size": range(5)}), "has 5 rows, but there are 6"),
            (pd.DataFrame({"size": [object()] * 6}), "artifact"),
        ],
    )
    def test_what_cannot_be_used_is_user_codes_error(self, site: Site, returned: object, told: str) -> None:
        error = user_error(site.run(spec(FRAME), lambda: returned))

        assert isinstance(error, TVTableError)
        assert told in str(error)
        assert not site.frame_path("sizes").exists()

    def test_a_named_index_is_told(self, site: Site) -> None:
        frame = pd.DataFrame({"size": range(6)}, index=pd.Index(range(6), name="key"))

        assert "reset_index()" in str(user_error(site.run(spec(FRAME), lambda: frame)))

    def test_artifacts_of_all_rows_are_needed(self, site: Site) -> None:
        (site.artifact_folder / "a").write_text("text")
        described = spec(FRAME, "dtypes: {size: artifact_string}")

        error = user_error(site.run(described, lambda: pd.DataFrame({"size": ["a", None, "a", "a", "a", "b"]})))
        site.run(described, lambda: pd.DataFrame({"size": ["a", None, "a", "a", "a", "a"]})).run()

        assert isinstance(error, TVArtifactError)
        assert site.values("size") == ["a", None, "a", "a", "a", "a"]

    def test_what_it_raises_is_user_codes_error(self, site: Site) -> None:
        def function() -> pd.DataFrame:
            raise KeyboardInterrupt

        error = user_error(site.run(spec(FRAME), function))

        assert isinstance(error, KeyboardInterrupt)
        assert error.__notes__ == ["This was in the builder 'sizes'."]

    def test_it_is_awaited_after_a_request(self, site: Site) -> None:
        def function() -> pd.DataFrame:
            site.stop.request()
            return pd.DataFrame({"size": range(6)})

        site.run(spec(FRAME), function).run()

        assert site.values("size") == [0, 1, 2, 3, 4, 5]

    def test_an_abandoned_one_writes_nothing(self, site: Site, release: threading.Event) -> None:
        def function() -> pd.DataFrame:
            site.stop.abandon()
            assert release.wait(PATIENCE)
            return pd.DataFrame({"size": range(6)})

        with pytest.raises(Interrupted) as raised:
            site.run(spec(FRAME), function).run()
        release.set()
        assert site.engine.wait(PATIENCE)

        assert raised.value.is_abandoned
        assert not site.frame_path("sizes").exists()

    def test_a_worker_that_lost_its_claim_keeps_nothing(self, site: Site) -> None:
        def function() -> pd.DataFrame:
            with RowStore.open(site.folder / "rows.sqlite") as other:
                other.claim(site.epoch + 1)
            return pd.DataFrame({"size": range(6)})

        with pytest.raises(FencedError):
            site.run(spec(FRAME), function).run()

        assert list(site.frame_path("sizes").parent.iterdir()) == []

    def test_forgetting_begins_anew(self, site: Site) -> None:
        run = site.run(spec(FRAME), lambda: pd.DataFrame({"size": range(6)}))
        run.run()
        run.forget()

        site.run(spec(FRAME), lambda: pd.DataFrame({"size": range(6, 12)})).run()

        assert site.values("size") == [6, 7, 8, 9, 10, 11]

    def test_it_is_told_its_process(self, site: Site) -> None:
        described = spec(FRAME, "arguments: {process: '~PROCESS_ID~', ids: '<<self.id>>'}")

        site.run(described, lambda process, ids: ids.rename(columns={"id": "size"}).assign(p=process)).run()

        assert site.values("size") == [0, 1, 2, 3, 4, 5]
        assert site.entered == [None]
