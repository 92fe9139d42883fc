"""Housekeeping that comes late: others may have claimed the same names since the commit, and aren't disturbed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tests import library, states, tasks
from tests.library import BY_NAME
from tests.scenes import LibraryScene
from tests.workers import Action, Fault, Worker, Workers

LATE = "before tablevault_like.process.endings:Endings.finish"


class Scene(LibraryScene):
    """A copy of the library, in which an operation has committed and isn't finished."""

    @property
    def vault(self) -> TableVault:
        return TableVault(self.vault_dir, "ada")

    def late(self, operation: str) -> Worker:
        """Start an operation in a worker that waits when it has committed, before its housekeeping."""
        worker = self.start(operation, "", Fault(LATE, Action.WAIT))
        assert worker.arrive() == LATE
        return worker

    def finish(self, worker: Worker) -> None:
        worker.go()
        worker.result()
        TableVault(self.vault_dir, restart=True)
        states.assert_sound(self.vault_dir)


@pytest.fixture
def scene(copy_dir: Path, made: str, workers: Workers) -> Scene:
    return Scene(copy_dir, workers, made)


def test_of_an_execution_leaves_the_next_temporary_instance_alone(scene: Scene) -> None:
    worker = scene.late("execute_instance")
    scene.vault.create_instance("words", copy=True)
    scene.vault.create_builder_file("words", "mood")
    wanted = ["length", "mood", "page", "shout", "words_index"]

    scene.finish(worker)

    assert scene.vault.get_builders_list("words") == wanted


@pytest.mark.parametrize("is_same", [True, False], ids=["the same builders", "others"])
def test_of_a_deletion_leaves_the_next_temporary_instance_alone(scene: Scene, is_same: bool) -> None:
    faults = [Fault(LATE, Action.WAIT)]
    worker = scene.workers.start(tasks.delete_instance, scene.vault_dir, "words", "TEMP_base", faults=faults)
    worker.arrive()
    scene.vault.create_instance("words", copy=is_same)
    wanted = scene.vault.get_builders_list("words")

    scene.finish(worker)

    assert scene.vault.get_builders_list("words") == wanted
    assert len(wanted) == (4 if is_same else 1)


def test_of_a_deleted_table_leaves_the_next_of_its_name_alone(scene: Scene) -> None:
    worker = scene.late("delete_table")
    scene.vault.create_table("words")
    scene.vault.create_instance("words")

    scene.finish(worker)

    assert scene.vault.get_builders_list("words") == ["words_index"]


def write(vault: TableVault) -> None:
    vault.create_instance("terms", "written", external_edit=True)
    vault.write_instance(library.scores(), "terms", "written")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda vault: vault.create_instance("terms", "draft"), id="create an instance"),
        pytest.param(write, id="write an instance"),
        pytest.param(lambda vault: vault.rename_table("names", "terms"), id="rename it again"),
        pytest.param(lambda vault: vault.create_table("words"), id="use its old name"),
        pytest.param(lambda vault: vault.delete_table("terms"), id="delete it"),
    ],
)
@pytest.mark.parametrize("dies", [False, True], ids=["late", "never"])
def test_of_a_renamed_table_loses_nothing(scene: Scene, change: Callable[[TableVault], object], dies: bool) -> None:
    worker = scene.late("rename_table")
    before = scene.vault.get_dataframe("terms").drop(columns="page")
    change(scene.vault)

    if dies:
        worker.kill()
        TableVault(scene.vault_dir, restart=True)
        states.assert_sound(scene.vault_dir)
    else:
        scene.finish(worker)

    tables = scene.vault.get_table_instances()
    for table in {"terms", "names"} & set(tables):
        # The table has side effects: the one that was written is the active one.
        assert scene.vault.get_dataframe(table, active_only=False).drop(columns="page").equals(before)
        assert Path(scene.vault.get_artifact_folder(table)).parts[-3] == table


@pytest.mark.parametrize("name", ["names", "words"], ids=["a third name", "the first name"])
def test_of_a_renamed_table_may_die_when_the_folder_is_moved_and_not_recorded(scene: Scene, name: str) -> None:
    before = scene.vault.get_dataframe("words").drop(columns="page")
    worker = scene.start("rename_table", "", Fault("after tablevault_like.storage.files:place", Action.KILL))
    worker.end()
    assert not (scene.vault_dir / "words").exists()

    scene.vault.rename_table(name, "terms")

    assert scene.vault.get_dataframe(name).drop(columns="page").equals(before)
    TableVault(scene.vault_dir, restart=True)
    assert Path(scene.vault.get_artifact_folder(name)).parts[-3] == name
    assert "length" in scene.vault.get_builders_list(name)
    states.assert_sound(scene.vault_dir)


def test_of_a_new_table_makes_nothing_for_one_that_is_deleted_by_now(scene: Scene) -> None:
    worker = scene.late("create_table")
    scene.vault.delete_table("papers")

    scene.finish(worker)

    assert not (scene.vault_dir / "papers").exists()


def test_of_a_renamed_table_waits_while_somebody_works_in_its_folder(scene: Scene) -> None:
    worker = scene.late("rename_table")
    faults = [Fault(BY_NAME["create_instance"].point("after", "execute"), Action.WAIT)]
    other = scene.workers.start(tasks.create_instance, scene.vault_dir, "terms", "draft", "nightly", faults=faults)
    other.arrive()

    worker.go()
    worker.result()
    assert Path(scene.vault.get_artifact_folder("terms")).parts[-3] == "words"

    other.go()
    other.result()
    TableVault(scene.vault_dir, restart=True)
    assert Path(scene.vault.get_artifact_folder("terms", version="draft")).parts[-3] == "terms"
    states.assert_sound(scene.vault_dir)


def test_leaves_what_is_not_ours(scene: Scene) -> None:
    for name in ("words/notes.txt", "words/my_notes/a.txt", "own/a.txt", "metadata/trash/b.txt", "metadata/c.txt"):
        path = scene.vault_dir / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    before = states.state(scene.vault_dir)

    TableVault(scene.vault_dir, restart=True)

    assert states.differences(states.state(scene.vault_dir), before) == []


def test_puts_away_what_looks_like_an_instance_and_is_none(scene: Scene) -> None:
    litter = scene.vault_dir / "words" / "TEMP_lost" / "builders"
    litter.mkdir(parents=True)
    (litter / "words_index.yaml").write_text("mine")

    TableVault(scene.vault_dir, restart=True)

    states.assert_sound(scene.vault_dir)
    put_away = scene.vault_dir / "metadata" / "trash" / "words-TEMP_lost" / "builders" / "words_index.yaml"
    assert put_away.read_text() == "mine"


class TestTheIndexBuilderOfARenamedTable:
    """It bears the new name from the commit on, whatever its file is called."""

    @pytest.fixture
    def vault(self, scene: Scene) -> TableVault:
        scene.late("rename_table").kill()
        return scene.vault

    def test_is_read_under_it(self, vault: TableVault) -> None:
        assert vault.get_builders_list("terms") == ["length", "page", "shout", "terms_index"]
        assert "words" in vault.get_builder_str("terms")
        assert vault.get_builder_str("terms", "terms_index") == vault.get_builder_str("terms")

    def test_is_replaced_under_it(self, vault: TableVault) -> None:
        text = library.BUILDERS["words_index"] + "# anew\n"

        vault.create_builder_file("terms", "terms_index", text=text)

        assert vault.get_builder_str("terms") == text
        assert vault.get_builders_list("terms") == ["length", "page", "shout", "terms_index"]
        vault.execute_instance("terms")
        TableVault(vault.db_dir, restart=True)
        states.assert_sound(Path(vault.db_dir))

    def test_is_deleted_under_it(self, vault: TableVault) -> None:
        vault.delete_builder_file("terms_index", "terms")

        assert vault.get_builders_list("terms") == ["length", "page", "shout"]

    def test_is_copied_under_it(self, vault: TableVault) -> None:
        vault.create_instance("terms", "again", copy=True)

        assert vault.get_builders_list("terms", version="again") == ["length", "page", "shout", "terms_index"]


def test_of_a_new_table_describes_it_late(scene: Scene) -> None:
    scene.late("create_table").kill()
    (scene.vault_dir / "papers").mkdir()
    (scene.vault_dir / "papers" / "description.yaml.new").write_text("half")

    TableVault(scene.vault_dir, restart=True)

    assert [path.name for path in (scene.vault_dir / "papers").iterdir()] == ["description.yaml"]
