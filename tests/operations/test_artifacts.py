"""Artifacts of instances, one set or many: the view in the table's folder, and files that are kept by content."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArtifactError, TVFileError, TVTableError
from tablevault_like.layout import Layout
from tablevault_like.storage import files, manifests, reach
from tests import states
from tests.scenes import Calls
from tests.tables import begin, column, index
from tests.workers import Action, Fault, Workers

CODE = """
from pathlib import Path

TEXTS = {"ant": "an ant", "bee": "a bee"}

def rows():
    yield from TEXTS

def page(word, folder):
    if word == "bee" and Path(folder).parents[6].joinpath("fail").exists():
        raise ConnectionError("nobody answers")
    path = Path(folder, "pages", f"{word}.txt")
    path.parent.mkdir(exist_ok=True)
    path.write_text(TEXTS[word])
    return f"pages/{path.name}"
"""

BUILDERS = {
    "index": index("word"),
    "page": column(
        "page",
        function="page",
        arguments={"word": "<<self.word[index]>>", "folder": "~ARTIFACT_FOLDER~"},
        dtypes={"page": "artifact_string"},
        reuse="never",
    ),
}


@pytest.fixture
def vault(vault_dir: Path, calls: Calls) -> TableVault:
    return TableVault(vault_dir, "ada", create=True)


@pytest.fixture
def no_clones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files share their content by hard links, which can be told, on any file system."""
    monkeypatch.setattr(files, "clone", lambda reader, writer: False)


def letters(vault: TableVault, *, version: str = "", table: str = "letters", **texts: str | None) -> str:
    """Write an instance whose artifacts are these texts, and return its id."""
    if table not in vault.get_table_instances():
        vault.create_table(table)
    vault.create_instance(table, version, external_edit=True)
    folder = Path(vault.get_artifact_folder(table, version=version))
    for name, text in texts.items():
        if text is not None:
            (folder / name).write_text(text)
    write(vault, table, list(texts), version=version)
    return vault.get_table_instances(table, version)[-1]


def write(vault: TableVault, table: str, names: list[str], *, version: str = "") -> None:
    frame = pd.DataFrame({"letter": pd.Series(names, dtype="string")})
    vault.write_instance(frame, table, version, dtypes={"letter": "artifact_string"})


def shown(folder: Path | str) -> dict[str, str]:
    """Return the text of every file below a folder; nothing, if that isn't there."""
    root = Path(folder)
    return {name: path.read_text() for name, path in files.regular_files(root)} if root.is_dir() else {}


def view(vault: TableVault, table: str = "letters") -> dict[str, str]:
    return shown(Path(vault.db_dir, table, "artifacts"))


def kept(vault: TableVault, instance_id: str, table: str = "letters") -> dict[str, str]:
    """Return the artifacts of an instance as its own cells lead to them."""
    frame = vault.get_dataframe(table, instance_id)
    paths = frame.iloc[:, -1].dropna().tolist()
    folder = vault.get_artifact_folder(table, instance_id, is_temp=False)
    assert all(path.startswith(f"{folder}/") for path in paths)
    return {path.removeprefix(f"{folder}/"): Path(path).read_text() for path in paths}


def inode(vault: TableVault, instance_id: str, name: str, table: str = "letters") -> int:
    return Path(vault.get_artifact_folder(table, instance_id, is_temp=False), name).stat().st_ino


@pytest.mark.usefixtures("no_clones")
class TestTheViewOfATable:
    def test_shows_the_artifacts_of_the_newest_instance(self, vault: TableVault, vault_dir: Path) -> None:
        first = letters(vault, a="one", b="two")
        assert view(vault) == {"a": "one", "b": "two"}

        second = letters(vault, a="changed", c="three")
        assert view(vault) == {"a": "changed", "c": "three"}
        assert kept(vault, first) == {"a": "one", "b": "two"}
        assert kept(vault, second) == {"a": "changed", "c": "three"}
        states.assert_sound(vault_dir)
        assert list((vault_dir / "metadata" / "trash").iterdir()) == []

    def test_shows_that_of_the_last_version_that_was_made(self, vault: TableVault) -> None:
        letters(vault, a="one")
        letters(vault, version="short", a="1")

        assert view(vault) == {"a": "1"}

    def test_is_empty_after_an_instance_without_artifacts(self, vault: TableVault, vault_dir: Path) -> None:
        letters(vault, a="one")
        letters(vault)

        assert view(vault) == {}
        assert not (vault_dir / "letters" / "artifacts").exists()

    def test_goes_back_when_the_newest_instance_is_deleted(self, vault: TableVault, vault_dir: Path) -> None:
        first, second = letters(vault, a="one"), letters(vault, a="two")

        vault.delete_instance(second, "letters")
        assert view(vault) == {"a": "one"}

        vault.delete_instance(first, "letters")
        assert not (vault_dir / "letters" / "artifacts").exists()

    def test_stays_when_an_older_instance_is_deleted_for_good(self, vault: TableVault, vault_dir: Path) -> None:
        first, second = letters(vault, a="one", b="same"), letters(vault, a="two", b="same")
        assert inode(vault, first, "b") == inode(vault, second, "b")

        vault.delete_instance(first, "letters")
        files.remove(vault_dir / "metadata" / "trash")

        assert view(vault) == kept(vault, second) == {"a": "two", "b": "same"}
        states.assert_sound(vault_dir)

    def test_follows_a_rename(self, vault: TableVault) -> None:
        letters(vault, a="one")
        vault.rename_table("notes", "letters")
        assert view(vault, "notes") == {"a": "one"}

        letters(vault, table="notes", a="two")
        assert view(vault, "notes") == {"a": "two"}

    def test_is_not_there_for_tables_with_many_sets(self, vault: TableVault, vault_dir: Path) -> None:
        vault.create_table("letters", allow_multiple_artifacts=True)
        made = letters(vault, a="one")

        assert not (vault_dir / "letters" / "artifacts").exists()
        assert kept(vault, made) == {"a": "one"}

    def test_costs_nothing_where_there_are_no_artifacts(
        self, vault: TableVault, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []
        monkeypatch.setattr("tablevault_like.operations.artifact_views.follow", lambda *_, **fields: asked.append("x"))

        letters(vault)
        assert asked == []
        letters(vault, a="one")
        assert asked == ["x"]

    def test_keeps_in_the_trash_what_people_have_put_there(self, vault: TableVault, vault_dir: Path) -> None:
        letters(vault, a="one")
        (vault_dir / "letters" / "artifacts" / "mine.txt").write_text("mine")

        letters(vault, a="two")

        assert view(vault) == {"a": "two"}
        [thrown] = (vault_dir / "metadata" / "trash").iterdir()
        assert shown(thrown) == {"a": "one", "mine.txt": "mine"}

    def test_is_never_followed_where_it_is_a_link(self, vault: TableVault, vault_dir: Path, tmp_path: Path) -> None:
        (tmp_path / "precious").mkdir()
        (tmp_path / "precious" / "x").write_text("x")
        vault.create_table("letters")
        (vault_dir / "letters" / "artifacts").symlink_to(tmp_path / "precious")

        letters(vault, a="one")

        assert view(vault) == {"a": "one"}
        assert not (vault_dir / "letters" / "artifacts").is_symlink()
        assert shown(tmp_path / "precious") == {"x": "x"}

    def test_is_mended_by_a_restart(self, vault: TableVault, vault_dir: Path) -> None:
        letters(vault, a="one", b="two")
        files.remove(vault_dir / "letters" / "artifacts" / "a")

        TableVault(vault_dir, restart=True)

        assert view(vault) == {"a": "one", "b": "two"}

    def test_is_not_changed_by_a_partial_instance(self, vault: TableVault, vault_dir: Path) -> None:
        begin(vault, "words", BUILDERS, code=CODE)
        vault.execute_instance("words")
        both = {"pages/ant.txt": "an ant", "pages/bee.txt": "a bee"}
        assert view(vault, "words") == both
        begin(vault, "words", BUILDERS, code=CODE.replace("an ant", "ants"))
        (vault_dir.parent / "fail").touch()
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")

        vault.stop_process("p", materialize=True)

        partial = vault.get_table_instances("words")[-1]
        assert kept(vault, partial, "words") == {"pages/ant.txt": "ants"}
        assert view(vault, "words") == both
        TableVault(vault_dir, restart=True)
        assert view(vault, "words") == both
        states.assert_sound(vault_dir)

    @pytest.mark.parametrize(
        "point",
        [
            "before tablevault_like.operations.artifact_views:follow",
            "before tablevault_like.storage.links:mirror_tree",
            "after tablevault_like.storage.links:mirror_tree",
            "before tablevault_like.operations.artifact_views:_put",
            "after tablevault_like.operations.artifact_views:_put",
            "after tablevault_like.operations.artifact_views:follow",
        ],
    )
    def test_is_the_old_one_or_the_new_one_wherever_a_worker_dies(
        self, vault: TableVault, vault_dir: Path, workers: Workers, point: str
    ) -> None:
        letters(vault, a="one")

        worker = workers.run(_write_again, vault_dir, faults=[Fault(point, Action.KILL)])

        assert worker.end() == -9
        assert view(vault) in ({"a": "one"}, {"a": "two"})
        TableVault(vault_dir, restart=True)
        assert view(vault) == kept(vault, vault.get_table_instances("letters")[-1]) == {"a": "two"}
        states.assert_sound(vault_dir)


def _write_again(vault_dir: Path) -> None:
    letters(TableVault(vault_dir), a="two")


@pytest.mark.usefixtures("no_clones")
class TestFilesAreKeptByContent:
    def test_of_the_instance_before(self, vault: TableVault) -> None:
        first = letters(vault, a="same", b="old")
        second = letters(vault, a="same", b="new", c="same")

        assert inode(vault, first, "a") == inode(vault, second, "a") == inode(vault, second, "c")
        assert inode(vault, first, "b") != inode(vault, second, "b")
        assert kept(vault, first) == {"a": "same", "b": "old"}
        assert kept(vault, second) == {"a": "same", "b": "new", "c": "same"}

    def test_of_an_origin_in_another_table(self, vault: TableVault, vault_dir: Path) -> None:
        first = letters(vault, a="same")
        vault.create_table("copies")
        vault.create_instance("copies", origin_id=first, origin_table="letters", external_edit=True)
        Path(vault.get_artifact_folder("copies"), "x").write_text("same")
        write(vault, "copies", ["x"])

        made = vault.get_table_instances("copies")[-1]
        assert inode(vault, first, "a") == inode(vault, made, "x", "copies")
        states.assert_sound(vault_dir)

    @pytest.mark.parametrize("reuse", ["never", "always"])
    def test_of_an_executed_instance(self, vault: TableVault, vault_dir: Path, reuse: str) -> None:
        page = BUILDERS["page"]
        builders = {**BUILDERS, "page": page.replace("reuse: never\n", "") if reuse == "always" else page}
        begin(vault, "words", builders, code=CODE)
        vault.execute_instance("words")
        code = CODE.replace("a bee", "bees") if reuse == "never" else CODE
        begin(vault, "words", builders, code=code, copy=True)
        vault.execute_instance("words")

        first, second = vault.get_table_instances("words")
        assert inode(vault, first, "pages/ant.txt", "words") == inode(vault, second, "pages/ant.txt", "words")
        if reuse == "never":
            assert kept(vault, first, "words")["pages/bee.txt"] == "a bee"
            assert kept(vault, second, "words")["pages/bee.txt"] == "bees"
        states.assert_sound(vault_dir)

    def test_in_the_manifest_they_look_like_any(self, vault: TableVault, vault_dir: Path) -> None:
        first, second = letters(vault, a="same"), letters(vault, a="same")

        found = [
            manifests.contents(Layout(vault_dir).table("letters").instance(each).manifest, "artifacts")
            for each in (first, second)
        ]
        assert found[0] == found[1] != {}

    def test_but_a_file_that_was_meddled_with_is_not_taken_for_another(self, vault: TableVault) -> None:
        first = letters(vault, a="same")
        damaged = Path(vault.get_artifact_folder("letters", first, is_temp=False), "a")
        damaged.chmod(0o644)
        damaged.write_text("SAME")
        damaged.chmod(0o444)

        second = letters(vault, a="same")

        assert kept(vault, second) == {"a": "same"}

    def test_but_a_file_that_may_be_written_to_is_not_shared(self, vault: TableVault) -> None:
        first = letters(vault, a="same")
        Path(vault.get_artifact_folder("letters", first, is_temp=False), "a").chmod(0o644)

        second = letters(vault, a="same")

        assert inode(vault, first, "a") != inode(vault, second, "a")

    @pytest.mark.parametrize("code", [errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP])
    def test_or_copied_where_no_link_is_possible(
        self, vault: TableVault, vault_dir: Path, monkeypatch: pytest.MonkeyPatch, code: int
    ) -> None:
        def link(source: Path, target: Path) -> None:
            if "artifacts" in str(source):
                raise OSError(code, os.strerror(code))
            original(source, target)

        original = reach.link
        monkeypatch.setattr(reach, "link", link)

        first, second = letters(vault, a="same"), letters(vault, a="same")

        assert inode(vault, first, "a") != inode(vault, second, "a")
        assert kept(vault, first) == kept(vault, second) == view(vault) == {"a": "same"}
        states.assert_sound(vault_dir)
        before = (vault_dir / "letters" / "artifacts").stat().st_ino
        TableVault(vault_dir, restart=True)
        assert (vault_dir / "letters" / "artifacts").stat().st_ino == before

    def test_and_a_resume_never_writes_to_what_is_shared(
        self, vault: TableVault, vault_dir: Path, workers: Workers
    ) -> None:
        """An instance that was placed, and taken back to be worked on, has files of its own again."""
        begin(vault, "words", BUILDERS, code=CODE)
        vault.execute_instance("words")
        begin(vault, "words", BUILDERS, code=CODE)
        point = "before tablevault_like.operations.publication:Publication.publish"
        workers.run(_execute_without_clones, vault_dir, faults=[Fault(point, Action.KILL)])
        [first] = vault.get_table_instances("words")
        [placed] = [path for path in (vault_dir / "words").glob("base_*") if path.name != first]
        shared = placed / "artifacts" / "pages" / "ant.txt"
        assert shared.stat().st_nlink > 1

        vault.execute_instance("words", process_id="p")

        original = Path(vault.get_artifact_folder("words", first, is_temp=False), "pages", "ant.txt")
        assert stat.S_IMODE(original.stat().st_mode) & 0o222 == 0
        assert kept(vault, first, "words") == {"pages/ant.txt": "an ant", "pages/bee.txt": "a bee"}
        states.assert_sound(vault_dir)


def _execute_without_clones(vault_dir: Path) -> None:
    files.clone = lambda reader, writer: False
    TableVault(vault_dir).execute_instance("words", process_id="p")


LINKS = """
import os
from pathlib import Path

import pandas as pd

def rows():
    yield from ["ant", "bee"]

def page(word, folder, original):
    if word == "bee" and Path(folder).parents[6].joinpath("fail").exists():
        raise ConnectionError("nobody answers")
    os.link(original, Path(folder, f"{word}.txt"))
    os.link(original, Path(folder, f".{word}"))
    return f"{word}.txt"

def pages(frame, folder, original):
    return pd.DataFrame({"page": [page(word, folder, original) for word in frame["word"]]})
"""


@pytest.mark.usefixtures("no_clones")
class TestAFileThatHasOtherNames:
    """What a function gives by a hard link becomes a file of its own: nobody can write to it through the other."""

    @pytest.fixture
    def original(self, tmp_path: Path) -> Path:
        path = tmp_path / "original.txt"
        path.write_text("original")
        path.chmod(0o640)
        os.utime(path, (1_000_000_000, 1_000_000_000))
        return path

    def begin(self, vault: TableVault, original: Path | str, *, frames: bool = False) -> None:
        arguments = {"folder": "~ARTIFACT_FOLDER~", "original": str(original)}
        page = column(
            "page",
            function="pages" if frames else "page",
            arguments={**arguments, **({"frame": "<<self>>"} if frames else {"word": "<<self.word[index]>>"})},
            dtypes={"page": "artifact_string"},
            return_type="dataframe" if frames else "row-wise",
            reuse="never",
        )
        begin(vault, "words", {"index": index("word"), "page": page}, code=LINKS)

    def check(self, vault: TableVault, original: Path, expected: dict[str, str]) -> None:
        """Write to the original, and see that the newest instance has what was there when a row was recorded."""
        assert (stat.S_IMODE(original.stat().st_mode), original.stat().st_nlink) == (0o640, 1)
        original.write_text("written to")

        made = vault.get_table_instances("words")[-1]
        folder = Path(vault.get_artifact_folder("words", made, is_temp=False))
        assert shown(folder) == expected
        assert {stat.S_IMODE(path.stat().st_mode) for _, path in files.regular_files(folder)} == {0o440}
        assert {path.stat().st_mtime for _, path in files.regular_files(folder)} == {1_000_000_000}
        states.assert_sound(Path(vault.db_dir))

    @pytest.mark.parametrize("frames", [False, True], ids=["rows", "frames"])
    def test_becomes_one_of_its_own(self, vault: TableVault, original: Path, frames: bool) -> None:
        self.begin(vault, original, frames=frames)

        vault.execute_instance("words")

        self.check(vault, original, dict.fromkeys(["ant.txt", "bee.txt", ".ant", ".bee"], "original"))

    @pytest.mark.parametrize("materialize", [False, True], ids=["resumed", "partial"])
    def test_does_so_before_its_row_is_recorded(self, vault: TableVault, original: Path, materialize: bool) -> None:
        self.begin(vault, original)
        fail = Path(vault.db_dir).parent / "fail"
        fail.touch()
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")
        hidden = next(Path(vault.db_dir, "metadata", "processes", "p").rglob(".ant"))
        hidden.unlink()

        if materialize:
            original.write_text("later")
            vault.stop_process("p", materialize=True)
            expected = {"ant.txt": "original"}
        else:
            fail.unlink()
            original.write_text("later")
            os.utime(original, (1_000_000_000, 1_000_000_000))
            vault.execute_instance("words", process_id="p")
            expected = {"ant.txt": "original", "bee.txt": "later", ".bee": "later"}

        self.check(vault, original, expected)

    def test_is_shared_with_an_earlier_instance_again(self, vault: TableVault, vault_dir: Path) -> None:
        first = letters(vault, a="same")
        before = Path(vault.get_artifact_folder("letters", first, is_temp=False), "a")
        vault.create_instance("letters", external_edit=True)
        os.link(before, Path(vault.get_artifact_folder("letters"), "b"))
        write(vault, "letters", ["b"])
        self.begin(vault, before)

        vault.execute_instance("words")

        second = vault.get_table_instances("letters")[-1]
        assert inode(vault, first, "a") == inode(vault, second, "b")
        [page, _] = vault.get_dataframe("words")["page"]
        assert not before.samefile(page)  # it is of another table, whose instances come and go
        assert Path(page).read_text() == before.read_text() == "same"
        states.assert_sound(vault_dir)

    @pytest.mark.parametrize(
        "point",
        [
            "before tablevault_like.storage.links:separate",
            "after tablevault_like.storage.files:copy_open_file",
            "after tablevault_like.storage.links:separate",
        ],
    )
    def test_does_so_wherever_a_worker_dies(
        self, vault: TableVault, vault_dir: Path, workers: Workers, original: Path, point: str
    ) -> None:
        self.begin(vault, original)
        worker = workers.run(_execute_without_clones, vault_dir, faults=[Fault(point, Action.KILL)])
        assert worker.end() == -9

        # A function that is called again for its row finds what it has linked.
        for path in (vault_dir / "metadata" / "processes" / "p").rglob("*"):
            if path.name in ("ant.txt", "bee.txt", ".ant", ".bee"):
                path.unlink()
        vault.execute_instance("words", process_id="p")

        self.check(vault, original, dict.fromkeys(["ant.txt", "bee.txt", ".ant", ".bee"], "original"))
        [made] = vault.get_table_instances("words")
        assert not any("new" in path.name for path in (vault_dir / "words" / made).iterdir())

    def test_is_told_where_there_is_no_room_for_it(
        self, vault: TableVault, original: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(reader: int, writer: int) -> str:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        self.begin(vault, original)
        with monkeypatch.context() as patch:
            patch.setattr(files, "_copy_content", full)
            with pytest.raises(OSError, match="No space left"):
                vault.execute_instance("words", process_id="p")

        for path in Path(vault.db_dir, "metadata", "processes", "p").rglob("*.txt"):
            path.unlink()
        for path in Path(vault.db_dir, "metadata", "processes", "p").rglob(".[ab]*"):
            path.unlink()
        vault.execute_instance("words", process_id="p")
        self.check(vault, original, dict.fromkeys(["ant.txt", "bee.txt", ".ant", ".bee"], "original"))


class TestWhatIsTaken:
    def test_hidden_files_stay_with_the_instance(self, vault: TableVault, vault_dir: Path) -> None:
        vault.create_table("letters")
        vault.create_instance("letters", external_edit=True)
        folder = Path(vault.get_artifact_folder("letters"))
        for name in ("a", ".hidden"):
            (folder / name).write_text(name)
        write(vault, "letters", ["a"])

        assert shown(vault.get_artifact_folder("letters", is_temp=False)) == {"a": "a", ".hidden": ".hidden"}
        assert view(vault) == {"a": "a", ".hidden": ".hidden"}
        states.assert_sound(vault_dir)

    @pytest.mark.parametrize(
        ("there", "named", "told"),
        [(["a"], ["a", "b"], "'b' doesn't exist"), (["a", "b"], ["a"], "1 file in .*/TEMP_base/artifacts .*: 'b'")],
    )
    def test_missing_and_extra_files_are_told_by_name(
        self, vault: TableVault, there: list[str], named: list[str], told: str
    ) -> None:
        letters(vault, a="one")
        vault.create_instance("letters", external_edit=True)
        for name in there:
            Path(vault.get_artifact_folder("letters"), name).write_text("new")

        with pytest.raises(TVArtifactError, match=told):
            write(vault, "letters", named)

        assert view(vault) == {"a": "one"}

    @pytest.mark.parametrize("process_id", [None, "p"])
    def test_of_a_stray_file_is_told_where_it_can_be_found(self, vault: TableVault, process_id: str | None) -> None:
        """The folder of an execution without an id is gone when its error is read."""
        code = CODE.replace('f"pages/{path.name}"', "None")
        begin(vault, "words", BUILDERS, code=code)

        with pytest.raises(TVArtifactError, match=r"'pages/ant\.txt'; 'pages/bee\.txt'") as caught:
            vault.execute_instance("words", process_id=process_id)

        told = str(caught.value).split(" that no artifact cell names")[0].removeprefix("There are 2 files in ")
        if process_id is None:
            assert told == "~ARTIFACT_FOLDER~"
        else:
            assert shown(told) == {"pages/ant.txt": "an ant", "pages/bee.txt": "a bee"}

    @pytest.mark.parametrize(
        ("process_id", "version", "again"),
        [
            (None, "", r"get_artifact_folder\('letters'\), .* first; then call again\."),
            ("p", "v", r"get_artifact_folder\('letters', version='v'\), .* call again\.\nProcess 'p' is paused: call"),
        ],
    )
    def test_of_a_written_frame_is_told_where_to_put_a_missing_file(
        self, vault: TableVault, process_id: str | None, version: str, again: str
    ) -> None:
        vault.create_table("letters")
        vault.create_instance("letters", version, external_edit=True)
        frame = pd.DataFrame({"letter": ["a", "b"]})
        told = rf"row 0 of column 'letter': .*'a' doesn't exist; row 1 .*'b' doesn't exist\. Put the file into {again}"

        with pytest.raises(TVArtifactError, match=told):
            vault.write_instance(frame, "letters", version, dtypes={"letter": "artifact_string"}, process_id=process_id)

    def test_a_name_is_proposed_for_a_path_into_the_folder(self, vault: TableVault) -> None:
        begin(vault, "words", BUILDERS, code=CODE.replace('f"pages/{path.name}"', "str(path)"))
        with pytest.raises(TVArtifactError, match=r"relative to ~ARTIFACT_FOLDER~\. Return 'pages/ant\.txt'\."):
            vault.execute_instance("words")

        vault.create_table("letters")
        vault.create_instance("letters", external_edit=True)
        path = Path(vault.get_artifact_folder("letters"), "a")
        path.touch()
        with pytest.raises(TVArtifactError, match=r"relative to the artifact folder .*\. Write 'a'\."):
            write(vault, "letters", [str(path)])

    def test_a_path_object_is_refused_with_what_to_return(self, vault: TableVault) -> None:
        begin(vault, "words", BUILDERS, code=CODE.replace('f"pages/{path.name}"', "path.relative_to(folder)"))
        with pytest.raises(TVTableError, match=r"PosixPath can't be kept\. Return its text; .* its name relative to"):
            vault.execute_instance("words")

    @pytest.mark.parametrize("place", ["artifacts", "artifacts/sub", "artifacts/a"])
    def test_links_that_lead_outside_are_refused(
        self, vault: TableVault, vault_dir: Path, tmp_path: Path, place: str
    ) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "a").write_text("secret")
        vault.create_table("letters")
        vault.create_instance("letters", external_edit=True)
        link = Path(vault.get_artifact_folder("letters")).parent / place
        if place == "artifacts":
            link.rmdir()
        link.symlink_to(outside / "a" if place.endswith("/a") else outside)

        with pytest.raises(TVFileError, match=f"TEMP_base/{place} is a link"):
            write(vault, "letters", ["sub/a" if place.endswith("sub") else "a"])

        assert vault.get_table_instances("letters") == []

    def test_cells_are_absolute_by_default_and_relative_on_request(self, vault: TableVault) -> None:
        made = letters(vault, a="one")

        folder = vault.get_artifact_folder("letters", made, is_temp=False)
        assert vault.get_dataframe("letters")["letter"].tolist() == [f"{folder}/a"]
        assert vault.get_dataframe("letters", full_artifact_path=False)["letter"].tolist() == ["a"]
