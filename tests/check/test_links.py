"""A link in the place of whatever part of a vault is told, once, with what to do: nothing is reached through one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like.check import Kind
from tablevault_like.errors import TVFileError
from tests.check.conftest import check, the_one
from tests.scenes import LibraryScene
from tests.workers import Action, Fault


@pytest.fixture
def vault_dir(scene: LibraryScene) -> Path:
    """Return a vault with an execution that was killed."""
    scene.run("execute_instance", "p1", Fault("shout dog", Action.KILL))
    assert list(check(scene.vault_dir)) == []
    return scene.vault_dir


def put_link(path: Path, kept: Path) -> None:
    """Put a link in the place of a file or folder, to that itself."""
    path.rename(kept)
    path.symlink_to(kept)


def take_back(path: Path, kept: Path) -> None:
    path.unlink()
    kept.rename(path)


def is_view(where: str) -> bool:
    """Tell whether something is a copy for people, which housekeeping makes anew."""
    return where.startswith("words/artifacts") or where in ("words/description.yaml", "scores/description.yaml")


def test_each_component_is_told_once(vault_dir: Path, tmp_path: Path) -> None:
    paths = [path for path in sorted(vault_dir.rglob("*")) if not path.name.endswith("-journal")]
    told = dict[str, list[str]]()
    for path in paths:
        put_link(path, tmp_path / "kept")
        where = path.relative_to(vault_dir).as_posix()
        if not is_view(where) and "/staging/" not in where:
            told[where] = [each.where for each in check(vault_dir) if each.kind is Kind.CORRUPTION]
        take_back(path, tmp_path / "kept")

    assert len(told) > 50
    assert {where: found for where, found in told.items() if found != [where]} == {}
    assert list(check(vault_dir)) == []


def test_views_are_made_anew(vault_dir: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("artifacts/dog.txt", "description.yaml")):
        path = vault_dir / "words" / name
        put_link(path, tmp_path / f"kept{number}")

        assert [each.kind for each in check(vault_dir)] == [Kind.UNFINISHED]
        assert list(check(vault_dir, repair=True)) == []
        assert not path.is_symlink()


def test_in_a_staged_instance(vault_dir: Path, tmp_path: Path) -> None:
    (staged,) = (vault_dir / "metadata/processes/p1/staging").iterdir()
    for path in (staged, staged / "artifacts", staged / "artifacts" / "ape.txt"):
        put_link(path, tmp_path / "kept")

        found = the_one(check(vault_dir), Kind.CORRUPTION, path.relative_to(vault_dir).as_posix())

        assert found.process_id == "p1"
        take_back(path, tmp_path / "kept")


def test_what_to_do_is_told(vault_dir: Path, tmp_path: Path) -> None:
    put_link(vault_dir / "metadata/processes/p1/pinned", tmp_path / "kept")

    (found,) = check(vault_dir)

    assert found.what == "It is a link, and nothing of a vault is reached through one."
    assert "put the file or folder itself in its place" in found.to_do


@pytest.mark.parametrize("database", ["metadata/catalog.sqlite", "metadata/processes/p1/rows.sqlite"])
def test_beside_a_database(vault_dir: Path, tmp_path: Path, database: str) -> None:
    """SQLite would take what it leads to for a commit that was cut short."""
    (tmp_path / "elsewhere").write_text("journal")
    journal = vault_dir / f"{database}-journal"
    journal.unlink(missing_ok=True)
    journal.symlink_to(tmp_path / "elsewhere")

    report = check(vault_dir)

    assert not report.ok
    assert any("journal" in f"{each.where} {each.what}" and "link" in each.what for each in report)
    assert (tmp_path / "elsewhere").read_text() == "journal"
    assert journal.is_symlink()


class TestTheReserve:
    def test_is_known(self, vault_dir: Path) -> None:
        assert (vault_dir / "metadata/reserve").is_file()
        assert list(check(vault_dir)) == []

    def test_that_is_missing_is_no_finding(self, vault_dir: Path) -> None:
        """It is made again when the next process begins."""
        (vault_dir / "metadata/reserve").unlink()

        assert list(check(vault_dir)) == []

    def test_that_is_something_else_is_told(self, vault_dir: Path) -> None:
        (vault_dir / "metadata/reserve").unlink()
        (vault_dir / "metadata/reserve").mkdir()

        found = the_one(check(vault_dir), Kind.CORRUPTION, "metadata/reserve")

        assert "a folder" in found.what
        assert "Remove it" in found.to_do


class TestCodeModules:
    def test_that_lead_out_of_their_folder_are_told(self, vault_dir: Path, tmp_path: Path) -> None:
        (tmp_path / "module.py").touch()
        (vault_dir / "code_functions" / "module.py").symlink_to(tmp_path / "module.py")

        (found,) = check(vault_dir)

        assert (found.kind, found.where) == (Kind.CORRUPTION, "code_functions/module.py")
        assert found.to_do == "Copy the file itself there."

    def test_that_are_another_name_of_one_are_not(self, vault_dir: Path) -> None:
        (vault_dir / "code_functions" / "module.py").symlink_to("tools.py")

        assert list(check(vault_dir)) == []


def test_the_folder_of_a_vault_may_have_a_link_to_it(vault_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").symlink_to(vault_dir)

    assert list(check(tmp_path / "elsewhere")) == []


def test_what_the_library_refuses_is_told(vault_dir: Path, tmp_path: Path) -> None:
    """What check tells of is what an operation stumbles over."""
    from tablevault_like import TableVault

    put_link(vault_dir / "scores/TEMP_base/description.yaml", tmp_path / "kept")

    with pytest.raises(TVFileError, match="is a link"):
        TableVault(vault_dir).get_artifact_folder("scores")
    assert [each.where for each in check(vault_dir)] == ["scores/TEMP_base/description.yaml"]
