"""A sound vault has no findings, whoever uses it; and looking at it changes nothing."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.check import CheckReport, checking
from tablevault_like.errors import TVArgumentError
from tests import hammer, library, states, test_examples
from tests.check.conftest import check
from tests.scenes import LibraryScene
from tests.workers import Action, Fault, Workers

EXAMPLES = ("shop", "topics", "evaluation")


def test_the_library_is_sound(copy_dir: Path) -> None:
    report = check(copy_dir)

    assert list(report) == []
    assert report.ok
    assert (report.tables, report.instances, report.processes) == (2, 3, 0)
    assert report.size > 10_000


@pytest.mark.parametrize("attempt", library.ATTEMPTS, ids=str)
@pytest.mark.usefixtures("calls")
def test_every_operation_leaves_a_sound_vault(
    copy_dir: Path, library_dir: Path, made: str, attempt: library.Attempt
) -> None:
    attempt.prepare(copy_dir, library_dir)
    attempt.call(TableVault(copy_dir, "ada"), made, "named")

    assert list(check(copy_dir)) == []


@pytest.mark.usefixtures("calls")
def test_a_vault_with_all_that_people_do_to_it_is_sound(copy_dir: Path, made: str) -> None:
    vault = TableVault(copy_dir, "ada")
    vault.execute_instance("words")
    vault.pin("words", made)
    vault.set_description("words, loud and clear", "words")
    vault.set_description("all of it")
    vault.rename_table("terms", "words")
    vault.create_instance("terms", copy=True)
    vault.write_instance(library.scores(), "scores", dependencies=[("terms", made)])
    vault.delete_instance(made, "terms")
    vault.create_table("gone", allow_multiple_artifacts=True)
    vault.delete_table("gone")

    assert list(check(copy_dir)) == []


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_are_sound(vault_dir: Path, example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEMO_SERVICE", raising=False)
    monkeypatch.chdir(test_examples.CHECKOUT)
    vault = TableVault(vault_dir, create=True)
    vault.create_code_module(copy_dir=str(test_examples.EXAMPLES / example / "code_functions"))
    for folder in [each for each in test_examples.FOLDERS if each.startswith(f"{example}/")]:
        test_examples.add(vault, folder)
    (table, *_) = vault.get_table_instances()
    vault.execute_instance(table)

    assert list(check(vault_dir)) == []


def test_looking_changes_nothing(copy_dir: Path) -> None:
    shutil.rmtree(copy_dir / "words" / "artifacts")
    (copy_dir / "words" / "TEMP_lost").mkdir()
    before = states.state(copy_dir), (copy_dir / "metadata/catalog.sqlite").stat().st_mtime_ns

    assert len(check(copy_dir)) == 2

    assert (states.state(copy_dir), (copy_dir / "metadata/catalog.sqlite").stat().st_mtime_ns) == before


def test_a_vault_that_may_only_be_read_can_be_checked(copy_dir: Path, workers: Workers) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    for folder, _, names in os.walk(copy_dir):
        for name in names:
            Path(folder, name).chmod(0o444)
        Path(folder).chmod(0o555)
    for above in copy_dir.parents[:-2]:
        above.chmod(above.stat().st_mode | 0o055)

    found = workers.start(check_as_nobody, copy_dir).result()

    assert found == []


def check_as_nobody(vault_dir: Path) -> list[str]:
    check(vault_dir)  # what nobody may read of this installation is imported then
    os.setuid(65534)
    return list(map(str, check(vault_dir)))


def test_a_vault_with_a_running_process_is_sound(scene: LibraryScene) -> None:
    worker = scene.start("execute_instance", "p1", Fault("shout dog", Action.WAIT))
    worker.arrive()

    report = check(scene.vault_dir)

    assert list(report) == []
    assert report.processes == 1
    worker.go()
    worker.end()


def test_a_paused_process_is_nothing_wrong(scene: LibraryScene) -> None:
    scene.run("execute_instance", "p1", Fault("shout dog", Action.FAIL))

    assert scene.vault.get_process("p1").status == "paused"
    assert list(check(scene.vault_dir)) == []


def test_one_table_can_be_checked_alone(copy_dir: Path) -> None:
    (copy_dir / "words" / "stray").touch()

    assert list(check(copy_dir, "scores")) == []
    assert len(check(copy_dir, "words")) == 1


def test_an_unknown_table_is_refused_with_the_nearest_name(copy_dir: Path) -> None:
    with pytest.raises(TVArgumentError, match="Did you mean 'words'"):
        check(copy_dir, "wrods")


def test_the_vault_itself_can_be_asked(copy_dir: Path) -> None:
    (copy_dir / "stray").touch()

    report = TableVault(copy_dir).check(contents=False)

    assert isinstance(report, CheckReport)
    assert report.size < 20_000
    frame = report.to_frame()
    assert frame[["kind", "severity", "where"]].values.tolist() == [["unknown", "note", "stray"]]
    assert frame.dtypes["is_repairable"] == "bool"
    with pytest.raises(TypeError, match="ask for its"):
        bool(report)


def test_a_report_without_findings_has_an_empty_frame(copy_dir: Path) -> None:
    assert check(copy_dir).to_frame().shape == (0, 9)


@pytest.mark.timeout(120)
def test_nothing_is_found_while_workers_change_the_vault(
    tmp_path: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "_PAUSES", PAUSES)
    vault = TableVault(tmp_path / "vault", create=True)
    vault.create_code_module("numbers", text=hammer.CODE)
    (tmp_path / "held").mkdir()
    running = [workers.start(hammer.hammer, Path(vault.db_dir), seed) for seed in range(3)]
    until = time.monotonic() + 3.0
    found: list[str] = []
    instances = 0
    while time.monotonic() < until or not instances:
        report = check(Path(vault.db_dir))
        found += map(str, report)
        instances += report.instances
    hammer.end(Path(vault.db_dir))
    for worker in running:
        assert worker.end() == 0

    assert found == []
    assert list(check(Path(vault.db_dir))) == []


PAUSES = checking._PAUSES
