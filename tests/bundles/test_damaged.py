"""Imports that are resumed when what came out of their bundle was damaged meanwhile: that is told, and not imported."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVCheckpointError
from tablevault_like.model import State
from tests import states, tasks
from tests.bundles.pages import SHOUTS, called, make_stage, texts
from tests.scenes import Calls
from tests.workers import Action, Fault, Trouble, Workers

ID = "import-1"
UNPLACED = "before tablevault_like.operations.importing:ImportInstance.publish"
PLACED = "after tablevault_like.operations.importing:ImportInstance.publish"
CODE_PLACED = "after tablevault_like.operations.bundled_code:BundledCode.place"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the bundles ``whole`` and ``results``, and the vaults ``empty`` and ``begun``."""
    folder = tmp_path_factory.mktemp("stage")
    make_stage(folder)
    return folder


class Scene:
    """An import whose worker was killed."""

    def __init__(self, folder: Path, stage: Path, workers: Workers) -> None:
        self.vault_dir = folder / "vault"
        self._folder = folder
        self._stage = stage
        self._workers = workers

    def kill(self, point: str, kind: str = "whole") -> Path:
        """Kill the import of a bundle at a point, and return the folder in which the bundle was opened."""
        shutil.copytree(self._stage / ("empty" if kind == "whole" else "begun"), self.vault_dir)
        shutil.copy(self._stage / kind, self.bundle)
        worker = self._workers.start(
            tasks.import_instance,
            self.vault_dir,
            self.bundle,
            ID,
            kind == "whole",
            faults=[Fault(point, Action.KILL)],
        )
        with pytest.raises((Trouble, EOFError)):
            worker.result()
        return self.vault_dir / "metadata" / "processes" / ID / "bundle"

    @property
    def bundle(self) -> Path:
        return self._folder / "bundle"

    def vault(self) -> TableVault:
        return TableVault(self.vault_dir, "bob", lock_timeout=1)

    def refused(self) -> Path:
        """Hold a resume to be refused, with the vault as it was, and return what it says is damaged."""
        before = states.state(self.vault_dir)
        with pytest.raises(TVCheckpointError) as caught:
            self.vault().import_instance(self.bundle, process_id=ID, with_code=self._is_with_code)
        assert states.state(self.vault_dir) == before
        assert caught.value.process_id == ID
        assert f"stop_process({ID!r})" in str(caught.value)
        assert caught.value.path is not None
        assert str(caught.value.path) in str(caught.value)
        return Path(caught.value.path)

    @property
    def _is_with_code(self) -> bool:
        return bool(self.vault().get_process(ID).arguments["code"])


@pytest.fixture
def scene(tmp_path: Path, stage: Path, workers: Workers) -> Scene:
    return Scene(tmp_path, stage, workers)


def flip(path: Path, place: int = -20) -> None:
    """Change one bit of a file."""
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])


DAMAGES: list[tuple[str, Callable[[Path], object]]] = [
    ("content/table.parquet", flip),
    ("content/table.parquet", cut),
    ("content/artifacts/ape.txt", Path.unlink),
    ("content/artifacts/bee.txt", lambda path: flip(path, 0)),
    ("content/provenance/builders.json", flip),
    ("content/builders/shout.yaml", lambda path: flip(path, 0)),
    ("content/manifest.json", lambda path: flip(path, 0)),
    ("content/manifest.json", Path.unlink),
    ("content", shutil.rmtree),
    ("label.json", lambda path: flip(path, 40)),
    ("label.json", cut),
    ("label.json", Path.unlink),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_what_was_unpacked_is_told_and_not_imported(scene: Scene, name: str, damage: Callable[[Path], object]) -> None:
    opened = scene.kill(UNPLACED)
    damage(opened / name)

    assert scene.refused() == opened / name
    assert scene.vault().get_table_instances() == []


def test_every_byte_of_the_label_counts(scene: Scene) -> None:
    opened = scene.kill(UNPLACED)
    whole = (opened / "label.json").read_bytes()
    author = whole.index(b'"author": "ada"') + len(b'"author": "a')

    flip(opened / "label.json", author)

    assert scene.refused() == opened / "label.json"


def test_what_is_there_in_addition_is_told(scene: Scene) -> None:
    opened = scene.kill(UNPLACED)
    (opened / "content" / "code" / "more.py").touch()

    assert scene.refused() == opened / "content" / "code" / "more.py"


def test_a_link_in_the_place_of_a_file_is_told(scene: Scene, tmp_path: Path) -> None:
    opened = scene.kill(UNPLACED)
    path = opened / "content" / "artifacts" / "ape.txt"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")

    assert scene.refused() == path


@pytest.mark.parametrize("name", ["content/artifacts.new", "content/artifacts.new/ape.txt"])
def test_what_a_worker_left_that_died_while_it_shared_artifacts_is_no_damage(scene: Scene, name: str) -> None:
    left = scene.kill(UNPLACED) / name
    left.parent.mkdir(exist_ok=True)
    left.write_text("a draft")

    assert scene.vault().check().ok
    scene.vault().import_instance(scene.bundle, process_id=ID, with_code=True)

    states.assert_sound(scene.vault_dir)


@pytest.mark.parametrize(("name", "damage"), [("table.parquet", flip), ("artifacts/ape.txt", Path.unlink)])
def test_what_has_its_place_already_is_told(scene: Scene, name: str, damage: Callable[[Path], object]) -> None:
    scene.kill(PLACED)
    (instance,) = (scene.vault_dir / "pages").glob("base_*")
    damage(instance / name)

    assert scene.refused() == instance / name


def test_an_instance_that_is_nowhere_any_more_is_told(scene: Scene) -> None:
    opened = scene.kill(PLACED)
    (instance,) = (scene.vault_dir / "pages").glob("base_*")
    shutil.rmtree(instance)

    assert scene.refused() == opened / "content"


@pytest.mark.parametrize("content", [b"papers", b"\xff", b""])
def test_a_damaged_note_of_where_the_table_lies_is_told(scene: Scene, content: bytes) -> None:
    opened = scene.kill(PLACED)
    note = opened.parent / "staging" / "folder"
    assert note.read_text() == "pages"
    note.write_bytes(content)

    assert scene.refused() == note
    assert not scene.vault().check().ok


@pytest.mark.parametrize("point", [UNPLACED, PLACED])
def test_results_that_are_damaged_are_told(scene: Scene, point: str) -> None:
    opened = scene.kill(point, "results")
    if point == PLACED:
        (opened,) = (scene.vault_dir / "pages" / "TEMP_base" / "results").iterdir()
    flip(opened / "content" / "table.parquet")

    assert scene.refused() == opened / "content" / "table.parquet"


class TestAfterwards:
    @pytest.mark.parametrize("point", [CODE_PLACED, UNPLACED, PLACED])
    @pytest.mark.parametrize("lost", ["code/work.py", ""])
    def test_it_can_be_stopped_and_imported_anew(self, scene: Scene, stage: Path, point: str, lost: str) -> None:
        opened = scene.kill(point)
        content = opened / "content"
        if not content.exists():
            (content,) = (scene.vault_dir / "pages").glob("base_*")
        (code,) = (scene.vault_dir / "code_functions").glob("*.py")
        lost_path = content / "code" / code.name if lost else content
        shutil.rmtree(lost_path) if lost_path.is_dir() else lost_path.unlink()
        scene.refused()

        vault = scene.vault()
        vault.stop_process(ID)

        assert vault.get_process(ID).state is State.REVERTED
        assert vault.get_code_modules_list() == []
        states.assert_sound(scene.vault_dir)
        found, before = (
            states.without(states.state(each), "metadata/trash(/.*)?") for each in (scene.vault_dir, stage / "empty")
        )
        assert states.differences(found, before) == []
        vault.import_instance(scene.bundle, process_id=ID, with_code=True)
        assert len(texts(vault)) == 6
        states.assert_sound(scene.vault_dir)

    def test_what_was_put_back_as_it_was_is_imported(self, scene: Scene, calls: Calls) -> None:
        opened = scene.kill(UNPLACED, "results")
        flip(opened / "content" / "table.parquet")
        scene.refused()
        flip(opened / "content" / "table.parquet")

        scene.vault().import_instance(scene.bundle, process_id=ID)

        assert not called(scene.vault(), calls).keys() & SHOUTS.keys()

    def test_restart_leaves_it_and_says_why(self, scene: Scene) -> None:
        opened = scene.kill(UNPLACED)
        flip(opened / "content" / "table.parquet")

        vault = TableVault(scene.vault_dir, restart=True)

        assert "is damaged" in str(vault.restarted[ID])
        assert vault.get_table_instances() == []


class TestCheck:
    def test_tells_of_it_with_what_to_do(self, scene: Scene) -> None:
        opened = scene.kill(UNPLACED)
        flip(opened / "content" / "table.parquet")

        (found,) = [each for each in scene.vault().check() if each.kind.value == "corruption"]

        assert scene.vault_dir / found.where == opened / "content" / "table.parquet"
        assert found.process_id == ID
        assert f"stop_process({ID!r})" in found.to_do
        assert "import the bundle" in found.to_do

    @pytest.mark.parametrize("point", [UNPLACED, PLACED])
    @pytest.mark.parametrize("kind", ["whole", "results"])
    def test_finds_nothing_where_nothing_is_damaged(self, scene: Scene, point: str, kind: str) -> None:
        scene.kill(point, kind)

        assert scene.vault().check().ok

    def test_tells_of_results_that_were_imported(self, scene: Scene) -> None:
        scene.kill(PLACED, "results")
        scene.vault().import_instance(scene.bundle, process_id=ID)
        (results,) = (scene.vault_dir / "pages" / "TEMP_base" / "results").iterdir()
        assert scene.vault().check().ok
        flip(results / "content" / "table.parquet")

        (found,) = scene.vault().check()

        assert (found.kind.value, found.table_name) == ("corruption", "pages")
        assert scene.vault_dir / found.where == results / "content" / "table.parquet"
        assert "import the bundle" in found.to_do
