"""Where bundles are made and taken in: several at once, full disks, places that are taken, what goes with a vault."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault, compress_vault, decompress_vault
from tablevault_like.errors import TVArgumentError, TVFileError, TVLockError
from tablevault_like.model import State
from tests import states, tasks
from tests.bundles.pages import PAGES, called, prepare, texts, with_code
from tests.scenes import Calls
from tests.tables import Background, write
from tests.workers import Action, Fault, Workers


def test_nothing_is_overwritten(here: TableVault, place: Path) -> None:
    (place / "b").write_text("mine")

    with pytest.raises(TVArgumentError, match="exists already, so no bundle was made"):
        here.export_instance("pages", path=place / "b")
    with pytest.raises(TVArgumentError, match="there is no folder"):
        here.export_instance("pages", path=place / "none" / "b")
    with pytest.raises(TVArgumentError, match="a vault doesn't hold bundles"):
        here.export_instance("pages", path=Path(here.db_dir, "b"))

    assert (place / "b").read_text() == "mine"
    assert [path.name for path in place.iterdir()] == ["b"]


def test_the_name_says_what_is_in_it(here: TableVault, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    instance_id = here.get_table_instances("pages")[0]

    whole, results = here.export_instance("pages"), here.export_instance("pages", builder="page")

    assert whole.path == place / f"pages-{instance_id}.bundle.tar.xz"
    assert results.path == place / f"pages-{instance_id}-page.bundle.tar.xz"
    assert os.fspath(whole) == str(whole.path)
    assert whole.size == whole.path.stat().st_size


def test_any_tar_can_unpack_it(here: TableVault, place: Path) -> None:
    import tarfile

    made = here.export_instance("pages", path=place / "b")
    with tarfile.open(made.path) as archive:
        archive.extractall(place / "out", filter="data")
    instance = Path(here.db_dir, "pages", made.instance_id)
    for path in instance.rglob("*"):
        if path.is_file():
            assert (place / "out/content" / path.relative_to(instance)).read_bytes() == path.read_bytes()
    assert len([path for path in (place / "out").rglob("*") if path.is_file()]) == made.files + 1


def test_nobody_may_read_more_of_it_than_of_the_vault(here: TableVault, place: Path) -> None:
    Path(here.db_dir).chmod(0o700)

    assert stat.S_IMODE(here.export_instance("pages", path=place / "b").path.stat().st_mode) == 0o600


def test_permissions_are_those_that_the_umask_leaves(
    here: TableVault, tmp_path: Path, place: Path, workers: Workers
) -> None:
    made = here.export_instance("pages", path=place / "b")
    there = tmp_path / "there"

    assert workers.start(tasks.import_with_umask, there, made.path, 0o077).result()

    modes = {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (there / "pages").rglob("*")}
    assert modes == {0}
    written = [path for path in (there / "pages" / made.instance_id).rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o400}


class TestAFullDisk:
    @pytest.mark.parametrize("nth", [1, 3, 9])
    def test_leaves_no_import(
        self, here: TableVault, there: TableVault, place: Path, monkeypatch: pytest.MonkeyPatch, nth: int
    ) -> None:
        made = here.export_instance("pages", path=place / "b")
        before = states.state(Path(there.db_dir))
        fail_at_sync(monkeypatch, nth)

        with pytest.raises(TVFileError, match="No space left on device"):
            there.import_instance(made)
        monkeypatch.undo()

        assert states.state(Path(there.db_dir)) == before
        states.assert_sound(Path(there.db_dir))

    def test_leaves_no_bundle(self, here: TableVault, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for builder in (None, "page"):
            with monkeypatch.context() as patch:
                fail_at_sync(patch, 1)
                with pytest.raises(TVFileError, match="No space left on device"):
                    here.export_instance("pages", path=place / "b", builder=builder)
            assert list(place.iterdir()) == []


def fail_at_sync(monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    """Let the disk be full at the nth time that something is to be put on it."""
    sync, times = os.fsync, Counter[str]()

    def fail(descriptor: int) -> None:
        times["sync"] += 1
        if times["sync"] == nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)


class TestSeveral:
    def test_imports_of_one_bundle_make_one_instance(
        self, here: TableVault, there: TableVault, place: Path, workers: Workers
    ) -> None:
        made = here.export_instance("pages", path=place / "b")
        point = "after tablevault_like.operations.importing:ImportInstance.execute"
        worker = workers.start(
            tasks.import_instance, Path(there.db_dir), made.path, "first", faults=[Fault(point, Action.WAIT)]
        )
        worker.arrive()
        with pytest.raises(TVLockError, match="first"):
            there.import_instance(made)

        patient = TableVault(there.db_dir, "cyd", lock_timeout=30)
        second = Background(patient.import_instance, made, process_id="second")
        worker.go()
        assert (worker.result(), second.result()) == ("first", "second")

        assert there.get_table_instances("pages") == [made.instance_id]
        assert there.get_descriptions(made.instance_id, "pages")["process_id"] == "first"
        states.assert_sound(Path(there.db_dir))

    def test_tables_of_one_name_are_not_made_twice(
        self, here: TableVault, there: TableVault, place: Path, workers: Workers
    ) -> None:
        made = here.export_instance("pages", path=place / "b")
        point = "after tablevault_like.operations.importing:ImportInstance.execute"
        worker = workers.start(
            tasks.import_instance, Path(there.db_dir), made.path, "first", faults=[Fault(point, Action.WAIT)]
        )
        worker.arrive()
        with pytest.raises(TVLockError):
            there.create_table("pages")
        there.create_table("other")
        worker.go()
        worker.result()

        assert sorted(there.get_table_instances()) == ["other", "pages"]

    def test_a_folder_of_that_name_stays(self, here: TableVault, there: TableVault, place: Path) -> None:
        Path(there.db_dir, "pages").mkdir()
        Path(there.db_dir, "pages", "notes").write_text("mine")

        there.import_instance(here.export_instance("pages", path=place / "b"))

        assert Path(there.db_dir, "pages", "notes").read_text() == "mine"
        assert len(texts(there)) == 6
        assert Path(there.db_dir, "pages~1").is_dir()


class TestProcesses:
    def test_an_id_is_that_of_one_bundle(self, here: TableVault, there: TableVault, place: Path) -> None:
        made = here.export_instance("pages", path=place / "b")
        write(here, "notes", pd.DataFrame({"n": [1]}))
        assert there.import_instance(made, process_id="mine") == "mine"
        before = states.state(Path(there.db_dir))

        assert there.import_instance(made, process_id="mine") == "mine"
        with pytest.raises(TVArgumentError, match="was started for other work"):
            there.import_instance(here.export_instance("notes", path=place / "n"), process_id="mine")

        assert states.state(Path(there.db_dir)) == before
        record = there.get_process("mine")
        assert (record.operation, record.state, record.author) == ("import_instance", State.COMPLETED, "bob")

    def test_an_instance_keeps_its_version(self, here: TableVault, there: TableVault, place: Path) -> None:
        made = here.export_instance("pages", path=place / "b")

        with pytest.raises(TVArgumentError, match="of version 'base', which it keeps"):
            there.import_instance(made, version="other")
        there.import_instance(made, version="base")

    def test_a_bundle_may_not_become_a_forbidden_table(self, here: TableVault, there: TableVault, place: Path) -> None:
        with pytest.raises(TVArgumentError, match="Forbidden Table Name: metadata"):
            there.import_instance(here.export_instance("pages", path=place / "b"), "metadata")


def test_artifacts_take_no_disk_space_again(here: TableVault, there: TableVault, place: Path) -> None:
    there.import_instance(here.export_instance("pages", path=place / "b"), with_code=True)
    there.create_instance("pages", copy=True)
    there.execute_instance("pages")
    second = here.get_table_instances("pages")[0]
    there.delete_instance(second, "pages")

    there.import_instance(place / "b")

    one, two = (Path(there.db_dir, "pages", each, "artifacts/ape.txt") for each in there.get_table_instances("pages"))
    assert one.read_bytes() == two.read_bytes()
    if one.samefile(two):
        assert not one.stat().st_mode & 0o222
    states.assert_sound(Path(there.db_dir))


def test_results_go_with_an_archive(
    here: TableVault, there: TableVault, tmp_path: Path, place: Path, calls: Calls
) -> None:
    with_code(there)
    prepare(there)
    there.import_instance(here.export_instance("pages", path=place / "b", builder="page"))

    restored = decompress_vault(tmp_path / "restored", compress_vault(there.db_dir, place / "v", preset=0))

    assert not called(TableVault(restored, "cyd"), calls) & Counter(PAGES)


def test_results_go_with_their_temporary_instance(here: TableVault, there: TableVault, place: Path) -> None:
    prepare(there)
    made = here.export_instance("pages", path=place / "b", builder="page")
    there.import_instance(made)
    there.delete_instance("TEMP_base", "pages")
    there.create_instance("pages")

    assert not Path(there.db_dir, "pages", "TEMP_base", "results").exists()
    there.import_instance(made)
    assert Path(there.db_dir, "pages", "TEMP_base", "results").exists()


def test_code_behind_a_link_is_not_taken_for_the_same(
    here: TableVault, there: TableVault, tmp_path: Path, place: Path
) -> None:
    elsewhere = tmp_path / "work.py"
    elsewhere.write_text(Path(here.db_dir, "code_functions/work.py").read_text())
    Path(there.db_dir, "code_functions/work.py").symlink_to(elsewhere)

    with pytest.raises(TVArgumentError, match="'work' of this vault differs"):
        there.import_instance(here.export_instance("pages", path=place / "b"), with_code=True)
