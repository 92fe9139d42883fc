"""Rows that fail: what goes on, what is recorded of them, which are called again, and when it is too many."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tablevault_like.builders.hashing import InputHash
from tablevault_like.builders.recording import RowsFailed
from tablevault_like.builders.results import inputs_text
from tablevault_like.builders.run import BuilderRun
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.engines.base import Interrupted, UserCodeError
from tablevault_like.errors import TVArtifactError, TVBuilderError, TVTableError
from tablevault_like.model import Result, RowStatus
from tablevault_like.storage.row_reader import Counts
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

CONTINUE, NULL = "on_error: continue", "on_error: null"


def failed_rows(run: BuilderRun) -> RowsFailed:
    with pytest.raises(RowsFailed) as caught:
        run.run()
    return caught.value


def positions(site: Site, status: RowStatus) -> list[int]:
    found: list[int] = site.store.recorded("sizes", status).tolist()
    return found


class CostlyError(ConnectionError):
    cost = 0.25
    tokens = 5


class TestContinue:
    @pytest.mark.parametrize("threads", [1, 3])
    def test_all_other_rows_are_made(self, site: Site, threads: int) -> None:
        calls = Calls(fails_at=[1, 4])

        found = failed_rows(site.run(spec(CONTINUE, f"n_threads: {threads}"), calls))

        assert sorted(calls.numbers) == [0, 1, 2, 3, 4, 5]
        assert positions(site, RowStatus.DONE) == [0, 2, 3, 5]
        assert positions(site, RowStatus.FAILED) == [1, 4]
        assert (found.builder, found.failed, found.total, found.row) == ("sizes", 2, 6, 1)
        assert str(found) == (
            "2 of 6 rows of the builder 'sizes' failed, the first of them row 1: OSError: no answer for 1"
        )
        assert (site.progress[-1].done, site.progress[-1].failed) == (4, 2)

    def test_a_resume_calls_only_the_rows_that_failed(self, site: Site) -> None:
        failed_rows(site.run(spec(CONTINUE), Calls(fails_at=[1, 4])))
        calls, resumed = Calls(fails_at=[4]), site.again()
        found = failed_rows(resumed.run(spec(CONTINUE), calls))
        assert calls.numbers == [1, 4]
        assert (found.failed, found.row) == (1, 4)
        assert resumed.store.failures("sizes")[0].attempts == 2

        calls, resumed = Calls(), resumed.again()
        resumed.run(spec(CONTINUE), calls).run()

        assert calls.numbers == [4]
        assert resumed.values("size") == [0, 10, 20, 30, 40, 50]
        assert resumed.store.counts("sizes") == Counts(done=6)

    def test_nothing_is_added_to_the_frame_while_rows_are_missing(self, site: Site) -> None:
        failed_rows(site.run(spec(CONTINUE), Calls(fails_at=[1])))

        assert "size" not in site.frames.built().columns

    def test_values_that_do_not_fit_are_the_errors_of_their_rows(self, site: Site) -> None:
        def function(number: int) -> Any:
            return Result("two" if number == 2 else number, cost=0.5)

        found = failed_rows(site.run(spec(CONTINUE, "dtypes: {size: Int64}"), function))

        assert isinstance(found.error, TVTableError)
        assert positions(site, RowStatus.DONE) == [0, 1, 3, 4, 5]
        (failed,) = site.store.failures("sizes")
        assert (failed.index, failed.inputs, failed.cost) == (2, '{"number":2}', 0.5)

    @pytest.mark.parametrize("value", [object(), len])
    def test_so_are_values_that_cannot_be_kept(self, site: Site, value: object) -> None:
        function: Callable[[int], Any] = lambda number: value if number == 2 else number  # noqa: E731
        assert failed_rows(site.run(spec(CONTINUE), function)).row == 2
        assert site.store.failures("sizes")[0].inputs == '{"number":2}'

    def test_so_are_artifacts_that_are_missing(self, site: Site) -> None:
        def function(number: int) -> str:
            if number != 2:
                (site.artifact_folder / f"{number}.txt").write_text("a")
            return f"{number}.txt"

        found = failed_rows(site.run(spec(CONTINUE, "dtypes: {size: artifact_string}"), function))

        assert isinstance(found.error, TVArtifactError)
        assert positions(site, RowStatus.DONE) == [0, 1, 3, 4, 5]

    def test_so_are_inputs_that_cannot_be_hashed(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        of = InputHash.of

        def refuse(self: InputHash, arguments: Any, inputs: Any) -> bytes:
            if arguments["number"] == 1:
                raise TVTableError("nobody can hash this")
            return of(self, arguments, inputs)

        monkeypatch.setattr(InputHash, "of", refuse)
        calls = Calls()

        assert failed_rows(site.run(spec(CONTINUE), calls)).row == 1

        assert calls.numbers == [0, 2, 3, 4, 5]

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
    @pytest.mark.parametrize("on_error", [CONTINUE, NULL])
    def test_what_ends_a_program_ends_the_run(
        self, tmp_path: Path, opened: ExitStack, kind: type[BaseException], on_error: str
    ) -> None:
        site, calls = Site(tmp_path, opened, size=50_000), Calls(fails_at=[5], error=kind)

        assert isinstance(user_error(site.run(spec(on_error), calls)), kind)

        assert len(calls.numbers) < 50_000
        assert positions(site, RowStatus.FAILED) == [5]

    def test_after_a_stop_it_is_interrupted(self, site: Site) -> None:
        def function(number: int) -> int:
            if number == 1:
                site.stop.request()
            raise OSError

        with pytest.raises(Interrupted):
            site.run(spec(CONTINUE), function).run()
        assert positions(site, RowStatus.FAILED) == [0, 1]

    def test_of_all_errors_the_foremost_is_told(self, site: Site) -> None:
        second_failed = threading.Event()

        def function(number: int) -> int:
            if number == 0:
                assert second_failed.wait(PATIENCE)
            if number == 5:
                second_failed.set()
            raise ValueError(number)

        found = failed_rows(site.run(spec(CONTINUE, "n_threads: 2"), function))

        assert (found.row, str(found.error), found.failed) == (0, "0", 6)


class TestNull:
    def test_rows_that_fail_are_skipped_and_left_empty(self, site: Site) -> None:
        site.run(spec(NULL), Calls(fails_at=[1, 4])).run()

        assert site.values("size") == [0, None, 20, 30, None, 50]
        assert positions(site, RowStatus.SKIPPED) == [1, 4]
        assert positions(site, RowStatus.FAILED) == []
        assert (site.progress[-1].done, site.progress[-1].failed, site.progress[-1].skipped) == (4, 0, 2)

    def test_nobody_tries_them_again(self, site: Site) -> None:
        site.run(spec(NULL), Calls(fails_at=[1])).run()
        calls, resumed = Calls(), site.again()

        resumed.run(spec(NULL), calls).run()

        assert calls.numbers == []
        assert resumed.values("size")[1] is None

    @pytest.mark.parametrize(
        ("dtype", "value"),
        [
            ("Int64", 7),
            ("Float32", 1.5),
            ("float64", 1.5),
            ("string", "a"),
            ("boolean", True),
            ("category", "a"),
            ("object", [1]),
            ("datetime64[us]", pd.Timestamp("2026-01-01")),
        ],
    )
    def test_their_cells_are_missing_in_every_dtype_that_allows_it(self, site: Site, dtype: str, value: object) -> None:
        def function(number: int) -> object:
            if number == 3:
                raise OSError
            return value

        site.run(spec(NULL, f"dtypes: {{size: '{dtype}'}}"), function).run()

        found = site.frames.built()["size"]
        assert str(found.dtype) == dtype
        assert found.isna().tolist() == [number == 3 for number in range(6)]

    @pytest.mark.parametrize(("dtype", "other"), [("int64", "Int64"), ("uint8", "UInt8"), ("bool", "boolean")])
    def test_a_dtype_that_allows_none_missing_is_refused_at_once(self, dtype: str, other: str) -> None:
        with pytest.raises(TVBuilderError, match=rf"sizes\.yaml:8:16: .*{dtype}.* Give the column the dtype '{other}'"):
            spec("arguments: {number: 1}", NULL, f"dtypes: {{size: {dtype}}}")

    def test_so_is_a_primary_key(self) -> None:
        with pytest.raises(TVBuilderError, match="A row that is left empty has no primary key"):
            index_spec(NULL, "return_type: row-wise", "primary_key: id")

    def test_all_rows_may_fail(self, site: Site) -> None:
        site.run(spec(NULL), Calls(fails_at=range(6))).run()

        assert site.values("size") == [None] * 6

    def test_values_and_artifacts_that_do_not_fit_leave_their_cells_empty(self, site: Site) -> None:
        def function(number: int) -> object:
            return f"{number}.txt" if number == 2 else None

        site.run(spec(NULL, "dtypes: {size: artifact_string}"), function).run()

        assert positions(site, RowStatus.SKIPPED) == [2]
        assert site.values("size") == [None] * 6

    def test_a_row_that_is_empty_by_its_function_is_another_thing(self, site: Site) -> None:
        site.run(spec(NULL), lambda number: None).run()

        assert positions(site, RowStatus.DONE) == [0, 1, 2, 3, 4, 5]

    def test_what_a_stop_kept_from_being_tried_again_is_not_skipped(self, site: Site) -> None:
        """Else it would be left empty for good, though it was to be tried three times."""

        def function(number: int) -> int:
            threading.Timer(0.02, site.stop.request).start()
            raise CostlyError

        with pytest.raises(Interrupted):
            site.run(spec(NULL, "retries: {attempts: 3, wait: 600, max_wait: 600}"), function).run()

        (failed,) = site.store.failures("sizes")
        assert (failed.index, failed.attempts, failed.cost) == (0, 1, 0.25)
        assert positions(site, RowStatus.SKIPPED) == []
        resumed, calls = site.again(), Calls()
        resumed.run(spec(NULL), calls).run()
        assert calls.numbers == [0, 1, 2, 3, 4, 5]


class TestMaxFailures:
    @pytest.mark.parametrize(
        ("limit", "fails", "stops"),
        [
            ("2", 2, False),
            ("2", 3, True),
            ("0", 0, False),
            ("0", 1, True),
            ("5%", 5, False),
            ("5%", 6, True),
            ("0.05", 5, False),
            ("0.05", 6, True),
            ("100%", 100, False),
        ],
    )
    @pytest.mark.parametrize("on_error", [CONTINUE, NULL])
    def test_are_a_count_or_a_share_of_all_rows(
        self, tmp_path: Path, opened: ExitStack, limit: str, fails: int, stops: bool, on_error: str
    ) -> None:
        site, calls = Site(tmp_path, opened, size=100), Calls(fails_at=range(fails))
        run = site.run(spec(on_error, f"max_failures: {limit}"), calls)

        if stops:
            error = user_error(run)
            # Failures that were under way together are counted together.
            assert "of 100 rows have failed: more than max_failures allows." in error.__notes__[0]
            assert int(error.__notes__[0].partition(" ")[0]) > fails - 1
        elif fails and on_error == CONTINUE:
            assert failed_rows(run).failed == fails
        else:
            run.run()
            assert len(calls.numbers) == 100

    def test_that_are_exceeded_hand_out_nothing_more(self, tmp_path: Path, opened: ExitStack) -> None:
        site, calls = Site(tmp_path, opened, size=50_000), Calls(fails_at=range(50_000))

        user_error(site.run(spec(CONTINUE, "max_failures: 3"), calls))

        assert 4 <= len(calls.numbers) < 50_000
        assert len(positions(site, RowStatus.FAILED)) == len(calls.numbers)

    def test_of_rows_that_are_tried_again_count_anew(self, site: Site) -> None:
        limit = "max_failures: 1"
        failed_rows(site.run(spec(CONTINUE, limit), Calls(fails_at=[1])))
        resumed = site.again()

        assert failed_rows(resumed.run(spec(CONTINUE, limit), Calls(fails_at=[1]))).failed == 1

    def test_of_rows_that_are_skipped_count_over_all_runs(self, tmp_path: Path, opened: ExitStack) -> None:
        site = Site(tmp_path, opened, size=6)

        def one_then_stop(number: int) -> int:
            site.stop.request()
            raise OSError

        with pytest.raises(Interrupted):
            site.run(spec(NULL, "max_failures: 1"), one_then_stop).run()
        assert positions(site, RowStatus.SKIPPED) == [0]
        resumed = site.again()
        error = user_error(resumed.run(spec(NULL, "max_failures: 1"), Calls(fails_at=[3])))

        assert error.__notes__[0] == "2 of 6 rows have failed: more than max_failures allows."
        assert positions(resumed, RowStatus.SKIPPED) == [0]
        assert positions(resumed, RowStatus.FAILED) == [3]


class TestStop:
    def test_is_what_happens_by_default(self, site: Site) -> None:
        error = user_error(site.run(spec(), Calls(fails_at=[1])))

        assert isinstance(error, OSError)

    @pytest.mark.parametrize("threads", [1, 4])
    def test_begins_nothing_more(self, tmp_path: Path, opened: ExitStack, threads: int) -> None:
        site, calls = Site(tmp_path, opened, size=5_000), Calls(fails_at=range(5_000))

        user_error(site.run(spec(f"n_threads: {threads}"), calls))

        assert 1 <= len(calls.numbers) <= threads
        assert positions(site, RowStatus.FAILED) == sorted(calls.numbers)

    def test_a_reference_that_cannot_be_resolved_is_no_failure_of_its_row(self, site: Site) -> None:
        """What is wrong with the builder is told at once, whatever is done about errors."""
        builder = spec(CONTINUE, "arguments: {number: '<<self.id[word::<<self.nothing[index]>>]>>'}")

        with pytest.raises(Exception, match="nothing") as caught:
            site.run(builder, Calls()).run()
        assert not isinstance(caught.value, UserCodeError | RowsFailed)


class TestWhatIsRecorded:
    def test_the_error_without_our_own_frames(self, site: Site) -> None:
        fields = (CONTINUE, "retries: {attempts: 2, wait: 0}", "timeout: 60")

        failed_rows(site.run(spec(*fields), Calls(fails_at=[1])))

        (failed,) = site.store.failures("sizes")
        error = json.loads(failed.error or "")
        assert (error["type"], error["message"]) == ("OSError", "no answer for 1")
        assert error["traceback"].splitlines()[1].strip().startswith(f'File "{__file__.rpartition("/")[0]}/sites.py"')
        assert (failed.attempts, failed.inputs) == (2, '{"number":1}')

    def test_what_all_attempts_have_cost(self, site: Site) -> None:
        def function(number: int) -> object:
            if number == 1:
                raise CostlyError
            return Result(number, cost=1.0, tokens=10)

        fields = (CONTINUE, "retries: {attempts: 2, wait: 0}")
        failed_rows(site.run(spec(*fields), function))
        assert (site.progress[-1].cost, site.progress[-1].tokens) == (5.5, 60)
        resumed = site.again()
        failed_rows(resumed.run(spec(*fields), function))

        assert resumed.store.counts("sizes") == Counts(done=5, failed=1, cost=6.0, tokens=70)
        assert (resumed.progress[0].cost, resumed.progress[-1].cost) == (5.5, 6.0)

    def test_what_a_call_has_cost_whose_values_cannot_be_kept(self, site: Site) -> None:
        user_error(site.run(spec(), lambda number: Result(object(), cost=0.5, tokens=3)))

        (failed,) = site.store.failures("sizes")
        assert (failed.cost, failed.tokens) == (0.5, 3)

    def test_nothing_where_nobody_tells(self, site: Site) -> None:
        user_error(site.run(spec(), Calls(fails_at=[0])))

        (failed,) = site.store.failures("sizes")
        assert (failed.cost, failed.tokens) == (None, None)

    @pytest.mark.parametrize("odd", ["much", float("nan"), float("inf"), -1, True, object()])
    def test_a_price_that_is_none_is_none(self, site: Site, odd: object) -> None:
        def function(number: int) -> int:
            error = OSError("busy")
            error.cost = error.tokens = odd  # type: ignore[attr-defined]
            raise error

        user_error(site.run(spec(), function))

        (failed,) = site.store.failures("sizes")
        assert (failed.cost, failed.tokens) == (None, None)


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class TestInputs:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (1, "1"),
            ("an ant", '"an ant"'),
            ([1, {"a": None}], '[1,{"a":null}]'),
            ((1, 2), '{"~tuple":[1,2]}'),
            (Unshowable(), '"a Unshowable"'),
            (len, '"<built-in function len>"'),
            ("lone \udc80", "\"'lone \\\\udc80'\""),
        ],
    )
    def test_are_values_as_they_are_kept_or_what_they_look_like(self, value: object, text: str) -> None:
        assert inputs_text({"value": value, "n": 3}) == f'{{"value":{text},"n":3}}'

    def test_of_frames_are_what_they_look_like(self) -> None:
        frame = pd.DataFrame({"number": range(100_000)})

        found = json.loads(inputs_text({"frame": frame, "column": frame["number"], "array": frame["number"].values}))

        assert "[100000 rows x 1 columns]" in found["frame"]
        assert "Length: 100000" in found["column"]
        assert all(len(text) < 1_000 for text in found.values())

    @pytest.mark.parametrize("value", ["x" * 1_000_000, ["x" * 1_000] * 1_000, b"x" * 1_000_000])
    def test_that_are_huge_are_cut_off(self, value: object) -> None:
        text = inputs_text({"value": value})

        assert len(text) < 21_000
        assert json.loads(text)["value"].endswith("...")

    def test_that_hold_themselves_are_shown_all_the_same(self) -> None:
        endless: list[object] = []
        endless.append(endless)

        assert json.loads(inputs_text({"value": endless})) == {"value": "[[...]]"}

    def test_are_kept_with_every_row_that_fails(self, site: Site) -> None:
        builder = spec(
            CONTINUE, "arguments: {number: '<<self.id[index]>>', words: '<<self.{id, word}>>', says: \"a \\\"b\\\"\"}"
        )

        def function(number: int, words: pd.DataFrame, says: str) -> int:
            if number == 1:
                raise OSError
            return number

        failed_rows(site.run(builder, function))

        (failed,) = site.store.failures("sizes")
        found = json.loads(failed.inputs or "")
        assert (found["number"], found["says"]) == (1, 'a "b"')
        assert "w5" in found["words"]


class TestAttempts:
    def test_are_counted_over_retries(self, site: Site) -> None:
        left = {1: 2, 4: 9}
        calls: list[int] = []

        def function(number: int) -> int:
            calls.append(number)
            left[number] = left.get(number, 0) - 1
            if left[number] >= 0:
                raise CostlyError
            return number

        builder = spec(CONTINUE, "retries: {attempts: 3, wait: 0}")
        assert failed_rows(site.run(builder, function)).row == 4

        assert calls == [0, 1, 1, 1, 2, 3, 4, 4, 4, 5]
        assert site.store.failures("sizes")[0].attempts == 3
        assert [effort[3] for effort in next(site.store.efforts("sizes"))] == [1, 3, 1, 1, 3, 1]
        assert site.store.prices("sizes") == [(1, 0.5, 10), (4, 0.75, 15)]

    def test_are_for_the_errors_that_are_named(self, site: Site) -> None:
        calls = Calls(fails_at=[0], error=ValueError)

        user_error(site.run(spec("retries: {attempts: 3, wait: 0, on: [OSError]}"), calls))

        assert calls.numbers[0] == 0
        assert site.store.failures("sizes")[0].attempts == 1

    def test_end_the_wait_at_once_when_a_stop_is_requested(self, site: Site) -> None:
        begun = time.monotonic()

        def function(number: int) -> int:
            threading.Timer(0.02, site.stop.request).start()
            raise CostlyError

        with pytest.raises(Interrupted):
            site.run(spec("retries: {attempts: 3, wait: 600, max_wait: 600}", "n_threads: 3"), function).run()

        assert time.monotonic() - begun < PATIENCE
        assert {each.cost for each in site.store.failures("sizes")} == {0.25}

    def test_of_a_frame_are_made_again_and_cost_what_they_cost(self, no_rows: Site) -> None:
        attempts: list[int] = []

        def function() -> Result:
            attempts.append(len(attempts))
            if len(attempts) < 3:
                raise CostlyError
            return Result(pd.DataFrame({"id": [1, 2]}), cost=2.0, tokens=7)

        builder = index_spec("return_type: dataframe", "retries: {attempts: 3, wait: 0}")
        no_rows.run(builder, function).run()

        assert attempts == [0, 1, 2]
        assert no_rows.values("id") == [1, 2]
        assert (no_rows.progress[-1].cost, no_rows.progress[-1].tokens) == (2.5, 17)
        again = no_rows.again()
        again.run(builder, function).run()
        assert attempts == [0, 1, 2]
        assert (again.progress[-1].cost, again.progress[-1].tokens) == (2.5, 17)

    def test_of_a_frame_that_failed_are_paid_for(self, no_rows: Site) -> None:
        def function() -> pd.DataFrame:
            raise CostlyError

        error = user_error(no_rows.run(index_spec("return_type: dataframe"), function))

        assert isinstance(error, CostlyError)
        assert no_rows.store.counts("t_index") == Counts(cost=0.25, tokens=5)

    def test_rows_of_a_generator_may_have_a_price(self, no_rows: Site) -> None:
        def function() -> Iterator[object]:
            yield Result(1, cost=0.5, tokens=2)
            yield 2

        no_rows.run(index_spec("return_type: generator"), function).run()

        assert no_rows.values("id") == [1, 2]
        assert no_rows.store.counts("t_index") == Counts(done=2, cost=0.5, tokens=2)


class TestTimeout:
    @pytest.mark.parametrize("on_error", [CONTINUE, NULL])
    def test_fails_the_row_while_its_thread_stays(self, site: Site, release: threading.Event, on_error: str) -> None:
        def function(number: int) -> int:
            if number == 2:
                release.wait()
            return number

        run = site.run(spec(on_error, "timeout: 0.2"), function)
        if on_error == CONTINUE:
            assert isinstance(failed_rows(run).error, TimeoutError)
        else:
            run.run()

        assert positions(site, RowStatus.DONE) == [0, 1, 3, 4, 5]
        assert not site.engine.is_idle
        release.set()
        assert site.engine.wait(PATIENCE)
        # What it returns in the end is nobody's business.
        assert positions(site, RowStatus.DONE) == [0, 1, 3, 4, 5]

    def test_that_ends_the_run_tells_that_a_thread_is_left(self, site: Site, release: threading.Event) -> None:
        def function(number: int) -> int:
            site.stop.request()
            release.wait()
            return number

        with pytest.raises(Interrupted) as caught:
            site.run(spec("timeout: 0.05"), function).run()
        assert caught.value.is_abandoned

    def test_of_a_frame(self, no_rows: Site, release: threading.Event) -> None:
        def function() -> pd.DataFrame:
            release.wait()
            return pd.DataFrame()

        builder = index_spec("return_type: dataframe", "timeout: 0.05")

        assert isinstance(user_error(no_rows.run(builder, function)), TimeoutError)


class TestRate:
    @pytest.mark.parametrize("threads", [1, 4])
    def test_holds_over_all_threads_of_a_builder(self, site: Site, threads: int) -> None:
        begun: list[float] = []

        def function(number: int) -> int:
            begun.append(time.monotonic())
            return number

        start = time.monotonic()
        site.run(spec("rate: 50/s", f"n_threads: {threads}"), function).run()

        assert len(begun) == 6
        assert max(begun) - start >= 5 * 0.02  # five intervals: a sleep may be too long, never too short

    def test_counts_attempts_that_fail(self, site: Site) -> None:
        start = time.monotonic()

        user_error(site.run(spec("rate: 50/s", "retries: {attempts: 4, wait: 0}"), Calls(fails_at=[0])))

        assert time.monotonic() - start >= 3 * 0.02

    @pytest.mark.parametrize("on_error", ["on_error: stop", CONTINUE, NULL])
    def test_a_stop_ends_the_wait_and_leaves_rows_as_if_never_begun(self, site: Site, on_error: str) -> None:
        def function(number: int) -> int:
            threading.Timer(0.02, site.stop.request).start()
            return number

        with pytest.raises(Interrupted):
            site.run(spec("rate: 1/h", "n_threads: 3", on_error), function).run()

        assert site.store.counts("sizes") == Counts(done=1)


def _specs() -> list[BuilderSpec]:
    return [
        spec(field)
        for field in (CONTINUE, NULL, "retries: 3", "timeout: 5", "rate: 1/s", "budget: {rows: 3}", "n_threads: 2")
    ]


def test_how_a_builder_is_run_is_no_part_of_what_it_makes() -> None:
    plain = spec().normalized()

    assert [each.normalized() for each in _specs()] == [plain] * 7
