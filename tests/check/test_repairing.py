"""A repair that is killed at any point can be run again, and ends where an undisturbed one does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.check import Kind
from tests import states
from tests.check.conftest import check
from tests.check.test_processes import killed_without_a_name
from tests.check.test_surroundings import FOLLOW as FOLLOW_TABLE
from tests.check.test_surroundings import LOST
from tests.scenes import LibraryScene
from tests.workers import GROUND, Action, Fault, Workers


@pytest.fixture
def broken(scene: LibraryScene) -> LibraryScene:
    """Return the library with all that can be repaired."""
    killed_without_a_name(scene)
    scene.workers.run(rename_scores, scene.vault_dir, faults=[Fault(f"before {FOLLOW_TABLE}", Action.KILL)])
    TableVault(scene.vault_dir).create_table("old")
    scene.workers.run(delete_old, scene.vault_dir, faults=[Fault(f"before {PUT_AWAY}", Action.KILL)])
    (scene.vault_dir / "scores" / LOST).mkdir()
    folder = scene.vault_dir / "metadata/processes/somebody"
    folder.mkdir()
    (folder / "worker.lock").touch()
    (folder / "frame.parquet").touch()
    shutil.rmtree(scene.vault_dir / "words/artifacts")
    return scene


PUT_AWAY = "tablevault_like.operations.folders:put_away_table"


def rename_scores(vault_dir: Path) -> str:
    return TableVault(vault_dir, "bob").rename_table("marks", "scores")


def delete_old(vault_dir: Path) -> str:
    return TableVault(vault_dir, "bob").delete_table("old")


def repair(vault_dir: Path) -> list[str]:
    return list(map(str, check(vault_dir, repair=True)))


def test_all_that_can_be_repaired_is(broken: LibraryScene) -> None:
    report = check(broken.vault_dir, repair=True)

    assert list(report) == []
    assert {each.kind for each in report.repaired} == {Kind.STALE, Kind.UNFINISHED, Kind.LITTER}
    assert all(each.mended for each in report.repaired)
    assert len(report.repaired) == 7
    states.assert_sound(broken.vault_dir)


def test_a_second_repair_has_nothing_to_do(broken: LibraryScene) -> None:
    check(broken.vault_dir, repair=True)
    before = states.state(broken.vault_dir)

    report = check(broken.vault_dir, repair=True)

    assert (list(report), report.repaired) == ([], ())
    assert states.state(broken.vault_dir) == before


def test_two_repairs_at_once_do_no_harm(broken: LibraryScene) -> None:
    two = [broken.workers.start(repair, broken.vault_dir) for _ in range(2)]
    for worker in two:
        worker.result()

    assert repair(broken.vault_dir) == []
    states.assert_sound(broken.vault_dir)


@pytest.mark.timeout(120)
def test_a_repair_that_is_killed_can_be_run_again(
    broken: LibraryScene, workers: Workers, tmp_path: Path, is_full: bool
) -> None:
    nth, step = 1, 1 if is_full else 23
    while True:
        copied = Path(shutil.copytree(broken.vault_dir, tmp_path / f"killed {nth}", symlinks=True))
        worker = workers.run(repair, copied, faults=[Fault(GROUND, Action.KILL, nth)])
        assert repair(copied) == [], nth
        states.assert_sound(copied)
        assert (copied / "marks").is_dir()
        if worker.end() == 0:
            break
        shutil.rmtree(copied)
        nth += step
    assert nth > 40


def test_nothing_is_done_where_nothing_can_be_repaired(copy_dir: Path) -> None:
    (copy_dir / "stray").touch()
    before = states.state(copy_dir)

    report = check(copy_dir, repair=True)

    assert [each.where for each in report] == ["stray"]
    assert states.state(copy_dir) == before


def test_a_vault_that_others_work_on_is_repaired_around_them(scene: LibraryScene) -> None:
    worker = scene.start("execute_instance", "p1", Fault("shout dog", Action.WAIT))
    worker.arrive()
    (scene.vault_dir / "scores" / LOST).mkdir()

    report = check(scene.vault_dir, repair=True)

    assert (list(report), len(report.repaired)) == ([], 1)
    worker.go()
    assert worker.result() == "p1"
    assert list(check(scene.vault_dir)) == []
