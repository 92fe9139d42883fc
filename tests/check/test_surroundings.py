"""What lies in a vault beside its tables' instances: litter, housekeeping that was cut short, and what isn't ours."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.check import Finding, Kind, Severity
from tablevault_like.storage import drafts
from tests import states, tasks
from tests.check.conftest import change, check, overwrite, the_one
from tests.scenes import LibraryScene
from tests.workers import Action, Fault, Workers

FOLLOW = "tablevault_like.operations.folders:follow_table"
PUT_AWAY = "tablevault_like.operations.folders:put_away_table"
SHOW = "tablevault_like.operations.artifact_views:follow_instance"
LOST = "base_17_0270bc34-17d1-4817-bbc4-3c3b91d883aa"


def only(vault_dir: Path, kind: Kind, where: str) -> Finding:
    """Return the one thing that is found, which is nothing bad."""
    report = check(vault_dir)
    assert [each.where for each in report] == [where], list(map(str, report))
    assert report.ok
    return the_one(report, kind, where)


class TestLitter:
    @pytest.mark.parametrize("name", [LOST, "TEMP_lost"])
    def test_in_a_table_is_moved_to_the_trash(self, copy_dir: Path, name: str) -> None:
        (copy_dir / "words" / name).mkdir()
        (copy_dir / "words" / name / "table.parquet").write_text("something")

        assert only(copy_dir, Kind.LITTER, f"words/{name}").is_repairable
        report = check(copy_dir, repair=True)

        assert (list(report), [each.where for each in report.repaired]) == ([], [f"words/{name}"])
        assert (copy_dir / "metadata/trash" / f"words-{name}" / "table.parquet").read_text() == "something"

    def test_of_whoever_works_in_the_table_is_left_alone(self, scene: LibraryScene) -> None:
        """It may be about to be published."""
        worker = scene.start("execute_instance", "p1", Fault("shout dog", Action.WAIT))
        worker.arrive()
        (scene.vault_dir / "words" / LOST).mkdir()

        assert list(check(scene.vault_dir, repair=True)) == []

        assert (scene.vault_dir / "words" / LOST).is_dir()
        worker.go()
        worker.end()

    def test_that_is_whole_is_told_as_that(self, copy_dir: Path, instance: Path) -> None:
        shutil.copytree(instance, instance.with_name(LOST))

        assert "which is whole" in only(copy_dir, Kind.LITTER, f"words/{LOST}").what

    def test_of_a_process_that_was_never_recorded_is_removed(self, copy_dir: Path) -> None:
        folder = copy_dir / "metadata/processes/somebody"
        folder.mkdir()
        (folder / "worker.lock").touch()
        (folder / "frame.parquet").touch()

        only(copy_dir, Kind.LITTER, "metadata/processes/somebody")
        assert list(check(copy_dir, repair=True)) == []
        assert not folder.exists()

    def test_of_a_rebuild_that_was_killed_is_removed(self, copy_dir: Path) -> None:
        draft = drafts.name_for(copy_dir / "metadata/catalog.sqlite", drafts.Kind.REBUILDING)
        draft.mkdir()

        only(copy_dir, Kind.LITTER, f"metadata/{draft.name}")
        assert list(check(copy_dir, repair=True)) == []
        assert not draft.exists()

    def test_of_a_rebuild_that_is_under_way_is_none(self, copy_dir: Path) -> None:
        with drafts.draft(copy_dir / "metadata/catalog.sqlite", drafts.Kind.REBUILDING) as draft:
            assert list(check(copy_dir, repair=True)) == []
            assert draft.is_dir()


class TestUnfinishedHousekeeping:
    def test_of_a_renamed_table_is_done(self, copy_dir: Path, workers: Workers) -> None:
        workers.run(rename, copy_dir, faults=[Fault(f"before {FOLLOW}", Action.KILL)])

        report = check(copy_dir)
        assert {each.where for each in report} == {"words", "words/description.yaml"}
        assert {each.kind for each in report} == {Kind.UNFINISHED}

        assert list(check(copy_dir, repair=True)) == []
        assert (copy_dir / "terms").is_dir()

    def test_of_a_deleted_table_is_done(self, copy_dir: Path, workers: Workers) -> None:
        workers.run(tasks.delete_words, copy_dir, "p1", faults=[Fault(f"before {PUT_AWAY}", Action.KILL)])

        only(copy_dir, Kind.UNFINISHED, "words")
        assert list(check(copy_dir, repair=True)) == []
        assert (copy_dir / "metadata/trash/p1").is_dir()

    def test_of_artifacts_is_done(self, scene: LibraryScene) -> None:
        (scene.vault_dir / "words/artifacts/dog.txt").unlink()

        only(scene.vault_dir, Kind.UNFINISHED, "words/artifacts")
        assert list(check(scene.vault_dir, repair=True)) == []
        assert (scene.vault_dir / "words/artifacts/dog.txt").read_text() == "dogdogdog"

    @pytest.mark.parametrize("text", ["", "- a\n- list\n", "\0\xff", "{", "table: other\n", "a: &a [*a]\n"])
    def test_of_a_description_is_done(self, copy_dir: Path, text: str) -> None:
        overwrite(copy_dir / "words/description.yaml", lambda raw: raw.__setitem__(slice(None), text.encode("latin-1")))

        only(copy_dir, Kind.UNFINISHED, "words/description.yaml")
        assert list(check(copy_dir, repair=True)) == []

    def test_of_a_description_that_is_missing_is_done(self, copy_dir: Path) -> None:
        (copy_dir / "words/description.yaml").unlink()

        only(copy_dir, Kind.UNFINISHED, "words/description.yaml")
        assert list(check(copy_dir, repair=True)) == []

    def test_of_the_folder_for_code_is_done(self, copy_dir: Path) -> None:
        shutil.rmtree(copy_dir / "code_functions")

        only(copy_dir, Kind.UNFINISHED, "code_functions")
        assert list(check(copy_dir, repair=True)) == []


def rename(vault_dir: Path) -> str:
    return TableVault(vault_dir, "bob").rename_table("terms", "words")


class TestWhatIsNotOurs:
    @pytest.mark.parametrize(
        "where",
        ["notes.txt", "words/notes.txt", "metadata/notes.txt", "metadata/trash/notes.txt", "metadata/processes/n.txt"],
    )
    def test_is_told_and_never_touched(self, copy_dir: Path, where: str) -> None:
        (copy_dir / where).write_text("mine")
        before = states.state(copy_dir)

        assert not only(copy_dir, Kind.UNKNOWN, where).is_repairable
        assert len(check(copy_dir, repair=True)) == 1
        assert states.state(copy_dir) == before

    def test_may_have_any_name(self, copy_dir: Path) -> None:
        raw = os.fsencode(copy_dir / "words") + b"/\xff\n\x1b[2J"
        os.mkfifo(raw)

        (found,) = check(copy_dir)

        assert (found.kind, found.where) == (Kind.UNKNOWN, "words/\\xff\n\x1b[2J")

    def test_is_worth_a_look_if_instances_lie_in_it(self, copy_dir: Path) -> None:
        """As if somebody had put an old catalog back."""
        shutil.copytree(copy_dir / "words", copy_dir / "lost")

        report = check(copy_dir)

        found = the_one(report, Kind.UNKNOWN, "lost")
        assert found.severity is Severity.WARNING
        assert "an instance lies in it" in found.what
        assert not report.ok

    def test_what_was_deleted_is_ours(self, copy_dir: Path, made: str) -> None:
        vault = TableVault(copy_dir)
        vault.delete_instance(made, "words", process_id="one")
        vault.delete_table("scores")

        assert len(list((copy_dir / "metadata/trash").iterdir())) == 2
        assert list(check(copy_dir)) == []


class TestTheMarker:
    @pytest.mark.parametrize("text", [None, "", "tablevault_like 2", "tablevault_likf 1"])
    def test_that_is_not_what_it_should_be_is_told(self, copy_dir: Path, text: str | None) -> None:
        vault = TableVault(copy_dir)
        (copy_dir / ".tablevault").unlink()
        if text is not None:
            (copy_dir / ".tablevault").write_text(text)

        assert [(each.kind, each.where) for each in vault.check()] == [(Kind.CORRUPTION, ".tablevault")]


@pytest.mark.parametrize("folder", ["metadata/trash", "metadata/processes", "code_functions", "words"])
@pytest.mark.parametrize("kind", ["file", "pipe", "link"])
def test_something_else_in_the_place_of_a_folder_is_told(copy_dir: Path, folder: str, kind: str) -> None:
    path = copy_dir / folder
    kept = path.rename(copy_dir.parent / "kept")
    match kind:
        case "file":
            path.touch()
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.symlink_to(kept)

    the_one(check(copy_dir), Kind.CORRUPTION, folder)


def test_a_table_whose_folder_is_gone_is_told_with_its_instances(copy_dir: Path, made: str) -> None:
    (copy_dir / "words").rename(copy_dir.parent / "kept")

    report = check(copy_dir)

    assert [each.where for each in report] == ["words", "words/TEMP_base", f"words/{made}"]
    assert {each.kind for each in report} == {Kind.CORRUPTION}


def test_a_lock_of_a_process_that_has_ended_is_taken_back(copy_dir: Path) -> None:
    change(
        copy_dir / "metadata/catalog.sqlite",
        "INSERT INTO locks (process_id, resource, mode, claim_only, granted_at)"
        " SELECT process_id, 'words/', 'exclusive', 0, 1.0 FROM processes WHERE number = 1",
    )
    assert any("which has ended, holds a lock" in each.what for each in check(copy_dir))

    report = check(copy_dir, repair=True)

    assert list(report) == []
    assert [each.mended for each in report.repaired] == ["The lock was taken back."]
    TableVault(copy_dir, lock_timeout=0).rename_table("terms", "words")
