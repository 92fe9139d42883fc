"""Artifacts that a row has written without ever being recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArtifactError
from tablevault_like.model import State
from tests import library, states
from tests.workers import Action, Fault, Trouble, Workers

ID = "nightly"
CODE = """
import uuid
from pathlib import Path

from tests.workers import note_call, pass_point


def words():
    yield from ["ape", "bee", "cat"]


def page(word, folder):
    name = f"{word}-{uuid.uuid4()}.txt"
    Path(folder, name).write_text(word)
    Path(folder, f".{name}").write_text("a note")
    note_call(f"page {word}")
    pass_point(f"page {word}")
    return name
"""
INDEX = """
builder_type: IndexBuilder
changed_columns: [word]
python_function: words
code_module: pages
is_custom: true
return_type: generator
"""
PAGE = """
builder_type: ColumnBuilder
changed_columns: [page]
python_function: page
code_module: pages
is_custom: true
arguments: {word: "<<self.word[index]>>", folder: ~ARTIFACT_FOLDER~}
return_type: row-wise
dtypes: {page: artifact_string}
"""


@pytest.fixture
def vault_dir(tmp_path: Path) -> Path:
    vault = TableVault(tmp_path / "vault", "ada", create=True)
    vault.create_code_module("pages", text=CODE)
    vault.create_table("words")
    vault.create_instance("words", builders={"words_index": INDEX, "page": PAGE})
    return tmp_path / "vault"


def execute(vault_dir: Path, process_id: str) -> str:
    return TableVault(vault_dir).execute_instance("words", process_id=process_id)


def assert_whole(vault_dir: Path) -> None:
    frame = TableVault(vault_dir).get_dataframe("words")
    assert [Path(page).read_text() for page in frame["page"]] == ["ape", "bee", "cat"]
    states.assert_sound(vault_dir)


def test_those_of_a_row_that_was_killed_are_gone_when_it_runs_again(vault_dir: Path, workers: Workers) -> None:
    worker = workers.run(execute, vault_dir, ID, faults=[Fault("page bee", Action.KILL)])
    assert worker.end() == -9

    TableVault(vault_dir).execute_instance("words", process_id=ID)

    assert_whole(vault_dir)


def test_those_of_a_row_that_failed_are_gone_when_it_runs_again(vault_dir: Path, workers: Workers) -> None:
    worker = workers.start(execute, vault_dir, ID, faults=[Fault("page cat", Action.FAIL)])
    with pytest.raises(Trouble):
        worker.result()

    assert TableVault(vault_dir, restart=True).restarted[ID].state is State.COMPLETED

    assert_whole(vault_dir)


def test_what_somebody_has_put_there_before_is_never_removed(vault_dir: Path, workers: Workers) -> None:
    mine = vault_dir / "words" / "TEMP_base" / "artifacts" / "mine.txt"
    mine.write_text("precious")
    worker = workers.run(execute, vault_dir, ID, faults=[Fault("page bee", Action.KILL)])
    assert worker.end() == -9

    with pytest.raises(TVArtifactError, match=r"mine\.txt"):
        TableVault(vault_dir).execute_instance("words", process_id=ID)

    assert mine.read_text() == "precious"


def test_an_artifact_that_a_whole_frame_names_stays(copy_dir: Path, workers: Workers, made: str) -> None:
    """The library's own builders: the pages of recorded rows, and those that were there, outlive a kill."""
    worker = workers.run(library.attempt, copy_dir, "execute_instance", made, ID, faults=[Fault("length", Action.KILL)])
    assert worker.end() == -9

    TableVault(copy_dir).execute_instance("words", process_id=ID)

    pages = TableVault(copy_dir).get_dataframe("words")["page"]
    assert [Path(page).read_text() for page in pages] == [word * 3 for word in library.WORDS]
    states.assert_sound(copy_dir)
