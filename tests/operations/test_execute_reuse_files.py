"""Files that a function declares to read count by what is in them, wherever their paths come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArgumentError
from tests.scenes import Calls
from tests.tables import begin, build, column, index, write

CODE = """
from pathlib import Path

import pandas as pd

from tablevault_like.functions import reads_files
from tests.workers import note_call


def rows():
    yield from ["ant", "bee", "cat"]


@reads_files("path")
def text(path):
    note_call(f"text {Path(path).name}")
    return Path(path).read_text()


@reads_files("paths")
def joined(paths):
    note_call("joined")
    return "".join(Path(each).read_text() for each in paths)


@reads_files("paths")
def of_frame(paths):
    note_call("of_frame")
    return pd.DataFrame({"text": [Path(each).read_text() for each in paths["path"]]})


@reads_files("folder")
def of_folder(folder):
    note_call("of_folder")
    return pd.DataFrame({"text": [each.read_text() for each in sorted(Path(folder).rglob("*.txt"))]})


@reads_files("folder")
def by_default(folder=Path("files")):
    note_call("by_default")
    for each in sorted(folder.rglob("*.txt")):
        yield each.read_text()
"""
NAMES = ("a.txt", "b.txt", "deep/c.txt")

Seen: TypeAlias = Callable[[str, str, Counter[str]], None]


@pytest.fixture
def vault(tmp_path: Path, calls: Calls) -> TableVault:
    return TableVault(tmp_path / "vault", "ada", create=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of files, in the current one."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "files"
    (folder / "deep").mkdir(parents=True)
    for name in NAMES:
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def assert_seen(vault: TableVault, calls: Calls, folder: Path) -> Seen:
    """Return what holds a builder to this: nothing is called while a file stays, and when it changes, what reads it."""

    def again() -> Counter[str]:
        before = calls()
        vault.create_instance("words", copy=True)
        vault.execute_instance("words")
        return calls() - before

    def run(builder: str, name: str, called: Counter[str]) -> None:
        build(vault, "words", {"index": index("name"), "text": builder}, code=CODE)
        assert not again()
        (folder / name).write_text("new")
        assert again() == called
        assert any("new" in text for text in vault.get_dataframe("words")["text"])
        assert not again()

    return run


def test_in_a_column(vault: TableVault, folder: Path, assert_seen: Seen) -> None:
    write(vault, "files", pd.DataFrame({"path": [str(folder / name) for name in NAMES]}))
    text = column("text", function="text", arguments={"path": "<<files.path[index]>>"})
    assert_seen(text, "b.txt", Counter(["text b.txt"]))


def test_in_a_text_of_several_parts(vault: TableVault, folder: Path, assert_seen: Seen) -> None:
    write(vault, "files", pd.DataFrame({"name": [*NAMES]}))
    text = column("text", function="text", arguments={"path": f"{folder}/<<files.name[index]>>"})
    assert_seen(text, "deep/c.txt", Counter(["text c.txt"]))


def test_in_lists(vault: TableVault, folder: Path, assert_seen: Seen) -> None:
    """Lists are cells here; only one of them has the file."""
    lists = [[f"files/{name}"] for name in NAMES]
    write(vault, "files", pd.DataFrame({"paths": lists}))
    joined = column("text", function="joined", arguments={"paths": "<<files.paths[index]>>"})
    assert_seen(joined, "b.txt", Counter(["joined"]))


def test_in_a_list_of_the_builder_file(vault: TableVault, folder: Path, assert_seen: Seen) -> None:
    joined = column("text", function="joined", arguments={"paths": [f"files/{name}" for name in NAMES]})
    assert_seen(joined, "a.txt", Counter({"joined": 3}))


def test_in_a_dict_whose_keys_are_paths(vault: TableVault, folder: Path, assert_seen: Seen) -> None:
    joined = column("text", function="joined", arguments={"paths": {f"files/{name}": 1 for name in NAMES}})
    assert_seen(joined, "a.txt", Counter({"joined": 3}))


def test_in_a_whole_frame(vault: TableVault, folder: Path, assert_seen: Seen) -> None:
    write(vault, "files", pd.DataFrame({"path": [str(folder / name) for name in NAMES]}))
    frame = column("text", function="of_frame", arguments={"paths": "<<files.{path}>>"}, return_type="dataframe")
    assert_seen(frame, "b.txt", Counter(["of_frame"]))


def test_in_a_folder(vault: TableVault, folder: Path, assert_seen: Seen) -> None:
    texts = column("text", function="of_folder", arguments={"folder": str(folder)}, return_type="dataframe")
    assert_seen(texts, "deep/c.txt", Counter(["of_folder"]))


def test_by_a_path_object_that_is_the_default(vault: TableVault, folder: Path, assert_seen: Seen) -> None:
    texts = column("text", function="by_default", return_type="generator")
    assert_seen(texts, "a.txt", Counter(["by_default"]))


def test_a_declaration_that_fits_nothing_is_told_before_anything_runs(vault: TableVault, calls: Calls) -> None:
    code = CODE.replace('@reads_files("folder")', '@reads_files("folders")')
    texts = column("text", function="of_folder", arguments={"folder": "files"}, return_type="dataframe")
    begin(vault, "words", {"index": index("name"), "text": texts}, code=code)
    with pytest.raises(TVArgumentError, match=r"no such argument\. Did you mean 'folder'\?"):
        vault.execute_instance("words", process_id="p")
    assert not calls()
    assert vault.get_active_processes() == {}
