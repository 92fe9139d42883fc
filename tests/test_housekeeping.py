"""What a vault leaves on the disk: who may read and write it, what is protected, and what can be shown of it."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tablevault_like import State, TableVault
from tablevault_like.check import Kind
from tablevault_like.errors import TVArgumentError, TVFileError
from tests import tasks
from tests.scenes import calls, copy_dir, cut_off_a_commit, library_dir, made, workers
from tests.workers import Workers

__all__ = ["calls", "copy_dir", "library_dir", "made", "workers"]


def modes(folder: Path) -> dict[str, int]:
    """Return the permissions of a folder and all that is in it."""
    paths = [folder, *folder.rglob("*")]
    return {path.relative_to(folder.parent).as_posix(): stat.S_IMODE(path.lstat().st_mode) for path in paths}


def live(workers: Workers, vault_dir: Path, umask: int) -> TableVault:
    workers.start(tasks.live_with_umask, vault_dir, umask).result()
    vault = TableVault(vault_dir, "ada")
    assert vault.get_process("background").state is State.COMPLETED
    assert vault.get_process("paused").state is State.PAUSED
    return vault


class TestPermissions:
    @pytest.mark.parametrize("umask", [0o077, 0o027, 0o022, 0o002], ids=oct)
    def test_are_never_wider_than_the_users_umask_allows(self, workers: Workers, vault_dir: Path, umask: int) -> None:
        live(workers, vault_dir, umask)

        found = modes(vault_dir)

        wanted = ["worker.lock", "rows.sqlite", "output.log", "catalog.sqlite", "manifest.json", "artifacts/ape.txt"]
        assert [name for name in wanted if not any(path.endswith(name) for path in found)] == []
        assert {path: oct(mode) for path, mode in found.items() if mode & umask} == {}

    @pytest.mark.parametrize("umask", [0o027, 0o002], ids=oct)
    def test_are_not_narrower_either(self, workers: Workers, vault_dir: Path, umask: int) -> None:
        """Where the umask lets a group in, the group works in the vault together."""
        live(workers, vault_dir, umask)
        immutable = {
            path.relative_to(vault_dir.parent).as_posix()
            for instance in (path.parent for path in vault_dir.rglob("manifest.json"))
            for path in [*instance.rglob("*"), *instance.parent.joinpath("artifacts").rglob("*")]
            if path.is_file()
        }

        expected = {True: 0o777 & ~umask, False: 0o666 & ~umask}
        odd = {
            path: oct(mode)
            for path, mode in modes(vault_dir).items()
            if path not in immutable and mode != expected[(vault_dir.parent / path).is_dir()]
        }

        assert odd == {}

    def test_of_a_materialized_instance_let_nobody_write_its_files(self, workers: Workers, vault_dir: Path) -> None:
        vault = live(workers, vault_dir, 0o002)
        instance = vault_dir / "words" / vault.get_table_instances("words")[-1]

        files = [path for path in instance.rglob("*") if path.is_file()]

        assert len(files) > 6
        assert [path for path in files if path.stat().st_mode & 0o222] == []


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """Return a folder that every user can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
class TestAnotherUser:
    @pytest.fixture
    def call(self, workers: Workers, open_dir: Path, copy_dir: Path) -> Callable[..., Any]:
        """Return what calls a method of the vault in ``open_dir`` as another user."""

        def call(method: str, *arguments: object, **fields: object) -> Any:
            worker = workers.start(tasks.as_nobody, open_dir / "vault", copy_dir, method, arguments, fields)
            return worker.result()

        return call

    def test_reads_what_the_umask_lets_them_read(
        self, workers: Workers, open_dir: Path, call: Callable[..., Any]
    ) -> None:
        live(workers, open_dir / "vault", 0o022)
        before = modes(open_dir)

        frame = call("get_dataframe", "words", active_only=False, columns=["word"], filters=[("word", "<", "bz")])

        assert frame["word"].tolist() == ["ape", "bee"]
        assert call("get_dataframe", "words", "TEMP_edited")["word"].tolist()[0] == "ape"
        assert [each.author for each in call("get_trash")] == ["ada"]
        assert call("wait", "paused").status == "paused"
        assert modes(open_dir) == before

    @pytest.mark.parametrize(
        ("method", "arguments"),
        [
            ("set_description", ("mine",)),
            ("prune", (1, None, False)),
            ("create_table", ("mine",)),
            ("execute_instance", ("words", "edited")),
        ],
        ids=str,
    )
    def test_is_told_that_they_may_not_write(
        self, workers: Workers, open_dir: Path, call: Callable[..., Any], method: str, arguments: tuple[str, ...]
    ) -> None:
        live(workers, open_dir / "vault", 0o022)

        with pytest.raises(TVFileError, match="may not be written to by this user"):
            call(method, *arguments)

    def test_is_told_where_a_commit_has_to_be_undone_first(
        self, workers: Workers, open_dir: Path, call: Callable[..., Any]
    ) -> None:
        vault = live(workers, open_dir / "vault", 0o022)
        before = vault.get_dataframe("words", "TEMP_edited")
        cut_off_a_commit(workers, open_dir / "vault/metadata/processes/paused/rows.sqlite")

        with pytest.raises(TVFileError, match="somebody who may has to read, resume or stop the"):
            call("get_dataframe", "words", "TEMP_edited")
        assert call("get_process", "paused").status == "paused"
        (found,) = [each for each in call("check") if each.process_id == "paused"]
        assert (found.kind, found.where) == (Kind.UNCHECKED, "metadata/processes/paused/rows.sqlite")
        assert "maybe a commit of a dead worker has to be rolled back" in found.what

        assert vault.get_dataframe("words", "TEMP_edited").equals(before)
        assert call("get_dataframe", "words", "TEMP_edited").shape == before.shape

    def test_is_told_which_checkpoint_they_may_not_check(
        self, workers: Workers, open_dir: Path, call: Callable[..., Any]
    ) -> None:
        live(workers, open_dir / "vault", 0o022)
        (open_dir / "vault/metadata/processes/paused/rows.sqlite").chmod(0o600)

        (found,) = [each for each in call("check") if each.process_id == "paused"]

        assert (found.kind, found.where) == (Kind.UNCHECKED, "metadata/processes/paused/rows.sqlite")
        assert "this user may not read it" in found.what

    def test_is_told_that_they_may_not_read(self, workers: Workers, open_dir: Path, call: Callable[..., Any]) -> None:
        live(workers, open_dir / "vault", 0o077)

        with pytest.raises(TVFileError, match="can't be read: Permission denied"):
            call("get_dataframe", "words")


class TestTheFileTree:
    def shown(self, vault: TableVault, **fields: object) -> str:
        console = Console(width=200)
        with console.capture() as captured:
            console.print(vault.get_file_tree(**fields))  # type: ignore[arg-type]
        return captured.get()

    def test_of_the_vault_a_table_or_an_instance(self, copy_dir: Path, made: str) -> None:
        vault = TableVault(copy_dir)

        whole, table, instance = (
            self.shown(vault),
            self.shown(vault, table_name="words"),
            self.shown(vault, table_name="words", instance_id=made),
        )

        assert "tools.py" in whole
        assert "tools.py" not in self.shown(vault, code_files=False)
        assert "words_index.yaml" in whole
        assert "words_index.yaml" not in self.shown(vault, builder_files=False)
        assert "catalog.sqlite" not in whole
        assert "catalog.sqlite" in self.shown(vault, metadata_files=True)
        assert "ape.txt" not in instance
        assert "ape.txt" in self.shown(vault, table_name="words", instance_id=made, artifact_files=True)
        assert "TEMP_base/" in table
        assert "scores/" not in table
        assert "TEMP_base/" not in instance

    def test_leaves_out_no_more_than_it_is_told_to(self, vault_dir: Path) -> None:
        """Packages, modules and artifacts may have the names of the vault's own folders."""
        vault = TableVault(vault_dir, "ada", create=True)
        vault.create_table("words")
        vault.create_instance("words")
        artifacts = Path(vault.get_artifact_folder("words"))
        for folder in (vault_dir / "code_functions", artifacts):
            for name in ("artifacts", "builders", "code", "metadata"):
                (folder / name).mkdir()
                (folder / name / f"{name}_{folder.name}").touch()

        everything = self.shown(vault, artifact_files=True)
        only_code = self.shown(vault, builder_files=False)
        only_artifacts = self.shown(vault, code_files=False, builder_files=False, artifact_files=True)

        for name in ("artifacts", "builders", "code", "metadata"):
            in_code, in_artifacts = f"{name}_code_functions", f"{name}_artifacts"
            assert (in_code in everything, in_artifacts in everything) == (True, True)
            assert (in_code in only_code, in_artifacts in only_code) == (True, False)
            assert (in_code in only_artifacts, in_artifacts in only_artifacts) == (False, True)
        assert "words_index.yaml" not in only_artifacts

    def test_of_an_instance_without_its_table_is_refused(self, copy_dir: Path, made: str) -> None:
        with pytest.raises(TVArgumentError, match="table_name is missing"):
            TableVault(copy_dir).get_file_tree(instance_id=made)
