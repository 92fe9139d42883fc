"""Exports and imports whose worker is killed: nothing is half there, and the same id goes on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.model import State
from tests import states, tasks
from tests.bundles.pages import SHOUTS, called, make_stage, prepare, texts
from tests.scenes import Calls
from tests.workers import GROUND, Action, Fault, Trouble, Workers, wait_until

ID = "import-1"


@dataclass(frozen=True)
class Stage:
    """What scenes are copied from: a vault that was executed, an empty one, one with builders only; and bundles."""

    folder: Path

    def copy(self, name: str, target: Path) -> Path:
        """Return a copy in a folder that never was a vault: this interpreter may have its catalog open still."""
        number = len(list(target.parent.glob(f"{target.name}*")))
        return Path(shutil.copytree(self.folder / name, target.with_name(f"{target.name}{number}")))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    folder = tmp_path_factory.mktemp("stage")
    make_stage(folder)
    return Stage(folder)


def killed(workers: Workers, fault: Fault, task: object, *arguments: object) -> bool:
    """Run a task until its worker is killed. Tell whether it came to that."""
    worker = workers.start(task, *arguments, faults=[fault])  # type: ignore[arg-type]
    try:
        worker.result()
    except Trouble:
        return True
    except EOFError:
        return True
    return False


def ground(step: int) -> Iterator[Fault]:
    """Yield a fault at every so manieth call that changes a file or the catalog."""
    for nth in range(1, 1000, step):
        yield Fault(GROUND, Action.KILL, nth)


PUBLISH = "after tablevault_like.operations.importing:ImportInstance.publish"
"""Where it has its place on the disk, and the transaction that says so isn't committed."""


@pytest.mark.parametrize(("kind", "begins"), [("whole", "empty"), ("whole", "begun"), ("results", "begun")])
class TestAnImportThatHasItsPlace:
    def test_goes_on(self, stage: Stage, tmp_path: Path, workers: Workers, kind: str, begins: str) -> None:
        vault_dir = stage.copy(begins, tmp_path / "vault")
        undisturbed = TableVault(stage.copy(begins, tmp_path / "undisturbed"), "bob")
        undisturbed.import_instance(stage.folder / kind, process_id=ID)

        assert killed(workers, Fault(PUBLISH, Action.KILL), tasks.import_instance, vault_dir, stage.folder / kind, ID)
        vault = TableVault(vault_dir, "bob")
        assert vault.get_table_instances() == ([] if begins == "empty" else ["pages"])
        if begins == "begun":
            assert vault.get_table_instances("pages") == []
        vault.import_instance(stage.folder / kind, process_id=ID)

        states.assert_sound(vault_dir)
        assert states.differences(states.shape(vault_dir), states.shape(Path(undisturbed.db_dir))) == []
        assert event(vault_dir) == event(Path(undisturbed.db_dir)) != []

    @pytest.mark.parametrize("is_named", [True, False])
    def test_can_be_reverted(
        self, stage: Stage, tmp_path: Path, workers: Workers, kind: str, begins: str, is_named: bool
    ) -> None:
        vault_dir = stage.copy(begins, tmp_path / "vault")
        fault, process_id = Fault(PUBLISH, Action.KILL), ID if is_named else ""
        assert killed(workers, fault, tasks.import_instance, vault_dir, stage.folder / kind, process_id, True)

        vault = TableVault(vault_dir, "bob", lock_timeout=5)
        (found,) = vault.get_active_processes()
        vault.stop_process(found)

        states.assert_sound(vault_dir)
        before = states.without(states.state(stage.folder / begins), "metadata/trash")
        assert states.differences(states.without(states.state(vault_dir), "metadata/trash"), before) == []


def event(vault_dir: Path) -> list[str]:
    """Return what is on record of where an import came from."""
    rows = states.history(vault_dir, ID)
    return [row["detail"] for row in rows if row.get("kind") == "imported"]


class TestAnImportOfAnInstance:
    @pytest.mark.parametrize("is_named", [True, False])
    def test_is_all_there_or_not_at_all(self, stage: Stage, tmp_path: Path, workers: Workers, is_named: bool) -> None:
        undisturbed = stage.copy("empty", tmp_path / "undisturbed")
        TableVault(undisturbed, "bob").import_instance(stage.folder / "whole", process_id=ID, with_code=True)
        wanted = states.shape(undisturbed)
        process_id = ID if is_named else ""
        for fault in ground(13):
            vault_dir = stage.copy("empty", tmp_path / "vault")
            if not killed(workers, fault, tasks.import_instance, vault_dir, stage.folder / "whole", process_id, True):
                break
            vault = TableVault(vault_dir, "bob", lock_timeout=5)
            is_there = vault.get_table_instances() == ["pages"]
            if is_there:
                assert len(vault.get_dataframe("pages")) == 6
            assert vault.get_table_instances() in ([], ["pages"])

            vault.import_instance(stage.folder / "whole", process_id=process_id or None, with_code=True)
            TableVault(vault_dir, "bob", restart=True)

            states.assert_sound(vault_dir)
            assert len(texts(vault)) == 6
            if is_named:
                found = states.without_trash(states.shape(vault_dir))
                assert states.differences(found, wanted) == [], str(fault)
        assert fault.nth > 30

    def test_can_be_reverted_wherever_it_is(self, stage: Stage, tmp_path: Path, workers: Workers) -> None:
        before = states.state(stage.folder / "empty")
        for fault in ground(9):
            vault_dir = stage.copy("empty", tmp_path / "vault")
            if not killed(workers, fault, tasks.import_instance, vault_dir, stage.folder / "whole", ID, True):
                break
            vault = TableVault(vault_dir, "bob")
            if states.processes(vault_dir).get(ID) in ("RUNNING", "CREATED"):
                vault.stop_process(ID)
                assert vault.get_process(ID).state is State.REVERTED
            TableVault(vault_dir, "bob", restart=True)
            if states.processes(vault_dir).get(ID) != "COMPLETED":
                found = states.without(states.state(vault_dir), "metadata/trash")
                assert states.differences(found, states.without(before, "metadata/trash")) == [], str(fault)
            states.assert_sound(vault_dir)
        assert fault.nth > 30

    @pytest.mark.parametrize("way", ["restart", "the same call"])
    def test_goes_on_without_the_file(self, stage: Stage, tmp_path: Path, workers: Workers, way: str) -> None:
        vault_dir = stage.copy("empty", tmp_path / "vault")
        bundle = Path(shutil.copy(stage.folder / "whole", tmp_path / "bundle"))
        fault = Fault("before tablevault_like.operations.importing:ImportInstance.publish", Action.KILL)
        assert killed(workers, fault, tasks.import_instance, vault_dir, bundle, ID, True)
        bundle.unlink()

        if way == "restart":
            vault = TableVault(vault_dir, restart=True)
            assert {name: str(each) for name, each in vault.restarted.items()} == {ID: "completed"}
        else:
            vault = TableVault(vault_dir)
            vault.import_instance(bundle, process_id=ID)
            assert vault.import_instance(bundle, process_id=ID) == ID
        assert len(texts(vault)) == 6
        states.assert_sound(vault_dir)

    def test_that_has_placed_it_is_archived_as_it_is(self, stage: Stage, tmp_path: Path, workers: Workers) -> None:
        from tablevault_like import compress_vault, decompress_vault

        vault_dir = stage.copy("empty", tmp_path / "vault")
        fault = Fault("before tablevault_like.operations.importing:ImportInstance.publish", Action.KILL)
        assert killed(workers, fault, tasks.import_instance, vault_dir, stage.folder / "whole", ID, True)

        restored = decompress_vault(tmp_path / "copy", compress_vault(vault_dir, preset=0))
        vault = TableVault(restored, restart=True)

        assert {name: str(each) for name, each in vault.restarted.items()} == {ID: "completed"}
        assert len(texts(vault)) == 6


class TestAnImportOfResults:
    def test_is_all_there_or_not_at_all(self, stage: Stage, tmp_path: Path, workers: Workers, calls: Calls) -> None:
        undisturbed = stage.copy("begun", tmp_path / "undisturbed")
        TableVault(undisturbed, "bob").import_instance(stage.folder / "results", process_id=ID)
        wanted = states.shape(undisturbed)
        for fault in ground(6):
            vault_dir = stage.copy("begun", tmp_path / "vault")
            if not killed(workers, fault, tasks.import_instance, vault_dir, stage.folder / "results", ID):
                break
            vault = TableVault(vault_dir, "bob")

            vault.import_instance(stage.folder / "results", process_id=ID)
            TableVault(vault_dir, "bob", restart=True)

            states.assert_sound(vault_dir)
            assert states.differences(states.shape(vault_dir), wanted) == [], str(fault)
        assert fault.nth > 12
        assert not called(vault, calls).keys() & SHOUTS.keys()

    def test_can_be_reverted_wherever_it_is(self, stage: Stage, tmp_path: Path, workers: Workers) -> None:
        before = states.state(stage.folder / "begun")
        for fault in ground(8):
            vault_dir = stage.copy("begun", tmp_path / "vault")
            if not killed(workers, fault, tasks.import_instance, vault_dir, stage.folder / "results", ID):
                break
            if states.processes(vault_dir).get(ID) in ("RUNNING", "CREATED"):
                TableVault(vault_dir, "bob").stop_process(ID)
            TableVault(vault_dir, "bob", restart=True)
            if states.processes(vault_dir).get(ID) != "COMPLETED":
                assert states.differences(states.state(vault_dir), before) == [], str(fault)
        assert fault.nth > 12


class TestAnExport:
    @pytest.mark.parametrize("builder", [None, "page"])
    def test_is_all_there_or_not_at_all(
        self, stage: Stage, tmp_path: Path, workers: Workers, builder: str | None
    ) -> None:
        vault = TableVault(stage.folder / "executed", "ada")
        wanted = vault.export_instance("pages", path=tmp_path / "wanted", builder=builder).path.read_bytes()
        before = states.state(stage.folder / "executed")
        place = tmp_path / "place"
        for fault in ground(2):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            task = (tasks.export_instance, stage.folder / "executed", place / "b", "pages", "", builder)
            if not killed(workers, fault, *task):
                break
            if not (place / "b").exists():
                vault.export_instance("pages", path=place / "b", builder=builder)
            else:
                vault.export_instance("pages", path=place / "c", builder=builder)
                vault.export_instance("pages", path=place / "d", builder=builder)
                (place / "c").unlink()
                (place / "d").unlink()
            assert (place / "b").read_bytes() == wanted
        assert fault.nth > 2
        assert states.state(stage.folder / "executed") == before

    def test_leaves_a_draft_that_the_next_one_removes(self, stage: Stage, tmp_path: Path, workers: Workers) -> None:
        fault = Fault("before tablevault_like.outputs:Output.take", Action.KILL)
        assert killed(workers, fault, tasks.export_instance, stage.folder / "executed", tmp_path / "b", "pages")
        assert [path.name.endswith(".archiving") for path in tmp_path.glob(".b*")] == [True]

        TableVault(stage.folder / "executed").export_instance("pages", path=tmp_path / "b")

        assert list(tmp_path.glob(".b*")) == []

    def test_of_a_process_that_is_under_way_disturbs_nobody(
        self, stage: Stage, tmp_path: Path, workers: Workers, calls: Calls
    ) -> None:
        vault_dir = stage.copy("begun", tmp_path / "vault")
        worker = workers.start(tasks.execute, vault_dir, "pages", "p", faults=[Fault("page dog", Action.WAIT)])
        worker.arrive()
        wait_until(lambda: TableVault(vault_dir).get_dataframe("pages", "TEMP_base")["page"].count() == 3)
        there = TableVault(stage.copy("begun", tmp_path / "there"), "ada")

        there.import_instance(TableVault(vault_dir).export_instance("pages", "TEMP_base", path=tmp_path / "b"))
        worker.go()
        worker.result()
        there.delete_instance("TEMP_base", "pages")
        there.create_instance("pages", copy=True)

        assert {call for call in called(there, calls) if call.startswith("page")} == {
            "page dog",
            "page eel",
            "page fox",
        }
        states.assert_sound(vault_dir)
        states.assert_sound(Path(there.db_dir))

    @pytest.mark.parametrize("point", ["page bee", "page fox", "back dog", "shout ape"])
    def test_of_a_process_that_died_has_what_it_recorded(
        self, stage: Stage, tmp_path: Path, workers: Workers, calls: Calls, point: str
    ) -> None:
        vault_dir = stage.copy("begun", tmp_path / "vault")
        assert killed(workers, Fault(point, Action.KILL), tasks.execute, vault_dir, "pages", "p")
        recorded = TableVault(vault_dir).get_dataframe("pages", "TEMP_base")
        there = TableVault(tmp_path / "there", "ada", create=True)

        made = TableVault(vault_dir).export_instance("pages", "TEMP_base", path=tmp_path / "b")
        there.import_instance(made, with_code=True)
        found = there.get_dataframe("pages")
        there.create_instance("pages", copy=True)

        columns = [name for name in recorded.columns if name != "page"]
        assert found[columns].fillna("").astype(str).equals(recorded[columns].fillna("").astype(str))
        before = calls()
        there.execute_instance("pages")
        again = [call for call in (calls() - before) if call.startswith("page")]
        assert len(again) == int(recorded["page"].isna().sum())


def test_builders_are_all_that_is_needed(stage: Stage, tmp_path: Path, calls: Calls) -> None:
    """What the scenes rest on: without a bundle everything is called."""
    vault = TableVault(stage.copy("begun", tmp_path / "vault"))
    assert len(called(vault, calls)) == 20
    prepare(vault)
