from __future__ import annotations

import pytest

from tablevault_like.limits import Budget, MaxFailures, Rate, Retries, seconds


class TestRetries:
    def test_a_number_is_that_of_attempts(self) -> None:
        assert Retries.read(4) == Retries(attempts=4)

    def test_a_mapping_may_say_all(self) -> None:
        said = {"attempts": 5, "wait": 0.5, "max_wait": 30, "on": ["ConnectionError", "requests.Timeout"]}

        assert Retries.read(said) == Retries(5, 0.5, 30.0, ("ConnectionError", "requests.Timeout"))

    def test_yaml_takes_on_for_a_boolean(self) -> None:
        assert Retries.read({True: "TimeoutError"}) == Retries(3, on=("TimeoutError",))

    def test_the_longest_wait_is_never_below_the_first(self) -> None:
        assert Retries.read({"wait": 90}).max_wait == 90

    @pytest.mark.parametrize(
        ("said", "told"),
        [
            (0, "'attempts' is a whole number of at least 1"),
            (True, "'attempts' is a whole number"),
            ("often", "a number of attempts, or a mapping"),
            ({"tries": 3}, "there is no 'tries'"),
            ({"attempts": 2.5}, "'attempts' is a whole number"),
            ({"wait": -1}, "'wait' is a number of at least 0"),
            ({"wait": 10, "max_wait": 5}, "'max_wait' is a number of at least 10"),
            ({"wait": float("nan")}, "'wait' is a number"),
            ({"on": ["not a name"]}, "names classes of exceptions"),
            ({"on": 3}, "names classes of exceptions"),
        ],
    )
    def test_what_is_wrong_is_told(self, said: object, told: str) -> None:
        with pytest.raises(ValueError, match=told):
            Retries.read(said)


class TestRate:
    @pytest.mark.parametrize(
        ("said", "interval"), [("60/min", 1.0), ("2/s", 0.5), ("0.5 / second", 2.0), ("3600/h", 1.0), ("1/day", 86400)]
    )
    def test_is_calls_in_a_time(self, said: str, interval: float) -> None:
        assert Rate.read(said).interval == interval

    @pytest.mark.parametrize("said", ["0/s", "60", "60/week", "-1/s", 60, None, "1e9/s"])
    def test_anything_else_is_refused(self, said: object) -> None:
        with pytest.raises(ValueError, match="60/min"):
            Rate.read(said)


class TestBudget:
    def test_is_told_as_it_was_said(self) -> None:
        said = {"seconds": 60.0, "rows": 10, "cost": 0.5}

        assert Budget.read(said).to_json() == said

    @pytest.mark.parametrize(
        ("budget", "told"),
        [
            ({"seconds": 9}, "9.5 of 9 seconds"),
            ({"rows": 7}, "7 of 7 rows"),
            ({"failures": 2}, "2 of 2 failures"),
            ({"cost": 0.3}, "a cost of 0.35 of 0.3"),
            ({"seconds": 10, "rows": 8, "failures": 3, "cost": 1}, None),
        ],
    )
    def test_tells_what_is_used_up(self, budget: object, told: str | None) -> None:
        assert Budget.read(budget).used_up(seconds=9.5, rows=7, failures=2, cost=0.35) == told

    @pytest.mark.parametrize("said", [{}, {"money": 3}, {"rows": 0}, {"rows": 1.5}, {"cost": "5"}, 5, {"cost": None}])
    def test_anything_else_is_refused(self, said: object) -> None:
        with pytest.raises(ValueError, match="a mapping"):
            Budget.read(said)


class TestMaxFailures:
    @pytest.mark.parametrize(("said", "fine"), [(2, 2), (0, 0), ("2%", 4), (0.02, 4), ("100%", 200), (0.0, 0)])
    def test_one_more_is_too_many(self, said: object, fine: int) -> None:
        found = MaxFailures.read(said)

        assert not found.are_exceeded(fine, total=200)
        assert found.are_exceeded(fine + 1, total=200)

    @pytest.mark.parametrize("said", [-1, 1.0, "101%", "many", True, None, [3]])
    def test_anything_else_is_refused(self, said: object) -> None:
        with pytest.raises(ValueError, match="a count of rows, or a share"):
            MaxFailures.read(said)

    @pytest.mark.parametrize("percent", range(101))
    def test_a_share_is_not_a_row_less_for_being_a_float(self, percent: int) -> None:
        for said in (f"{percent}%", percent / 100) if percent < 100 else (f"{percent}%",):
            assert MaxFailures.read(said).most(100) == percent
            assert MaxFailures.read(said).most(1_000_000) == percent * 10_000


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan"), "3", True, None])
def test_seconds_are_more_than_none(value: object) -> None:
    assert seconds(3) == 3.0
    with pytest.raises(ValueError, match="above 0"):
        seconds(value)
