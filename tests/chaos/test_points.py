"""Points are drawn from a seed, and all kinds of them come up."""

from __future__ import annotations

from tablevault_like.chaos.points import STAGES, Extent, Point, Target, Targets

EXTENT = Extent(calls=40, commits=30, files=50, seconds=2.0)


def drawn(seed: int, share: float, count: int = 60) -> list[Target]:
    targets = Targets(EXTENT, seed)
    return [targets.next(share) for _ in range(count)]


def test_a_seed_draws_the_same_points() -> None:
    assert drawn(3, 1.0) == drawn(3, 1.0)
    assert drawn(3, 1.0) != drawn(4, 1.0)


def test_every_kind_comes_up_before_one_comes_again() -> None:
    found = [target.point for target in drawn(1, 1.0)]

    assert all(set(found[start : start + len(Point)]) == set(Point) for start in range(0, 60, len(Point)))


def test_points_are_within_what_is_still_to_come() -> None:
    for target in drawn(1, 0.25, 300):
        if target.point is Point.CALL:
            assert 1 <= target.nth <= 10
        elif target.point is Point.COMMIT:
            assert 1 <= target.nth <= 7
        elif target.point is Point.MOMENT:
            assert 0 <= target.seconds <= 2.0


def test_without_calls_to_come_only_the_rest_is_drawn() -> None:
    found = drawn(1, 0.0)

    assert {target.point for target in found} == {Point.MOMENT, Point.FILE, Point.PUBLISHING}
    assert {target.stage for target in drawn(1, 0.0, 300)} - {""} == set(STAGES)


def test_a_run_is_not_killed_more_often_than_is_left() -> None:
    targets = Targets(EXTENT, 1)

    assert {targets.deaths(10) for _ in range(100)} == {1, 2, 3}
    assert {targets.deaths(1) for _ in range(20)} == {1}


def test_points_are_told_in_words() -> None:
    assert str(Target(Point.CALL, nth=3)) == "before call 3"
    assert str(Target(Point.MOMENT, seconds=1.5)) == "after 1,500 ms"
    assert len({str(Target(Point.PUBLISHING, stage=stage)) for stage in STAGES}) == len(STAGES)
