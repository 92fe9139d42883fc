"""What an unfinished execution has kept is damaged: it is told, and only what is damaged is made again."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVCheckpointError, TVFileError
from tablevault_like.layout import Layout, ProcessLayout
from tests import library, states
from tests.scenes import Calls

PROCESS = "paused"


@pytest.fixture
def vault(copy_dir: Path, calls: Calls) -> TableVault:
    """Return the library with an execution that is paused when all builders are done."""
    vault = TableVault(copy_dir, "ada")
    for builder in ("shout", "page", "length"):
        vault.execute_instance("words", process_id=PROCESS, until=builder)
    assert calls() == Counter(library.CALLS)
    return vault


@pytest.fixture
def folder(vault: TableVault, copy_dir: Path) -> ProcessLayout:
    return Layout(copy_dir).process(PROCESS)


@pytest.fixture
def undisturbed(vault: TableVault, copy_dir: Path, tmp_path: Path) -> object:
    """Return what the execution makes of the vault if nothing happens to it."""
    other = Path(shutil.copytree(copy_dir, tmp_path / "undisturbed"))
    TableVault(other, "ada").execute_instance("words", process_id=PROCESS)
    return frame(TableVault(other, "ada"))


def frame(vault: TableVault) -> object:
    found = vault.get_dataframe("words", full_artifact_path=False)
    return found.to_dict("list")


def change_rows(statement: str) -> Callable[[ProcessLayout], None]:
    def change(folder: ProcessLayout) -> None:
        with closing(sqlite3.connect(folder.rows)) as db, db:
            assert db.execute(statement).rowcount > 0

    return change


def overwrite(path_of: Callable[[ProcessLayout], Path]) -> Callable[[ProcessLayout], None]:
    """Return what flips a bit in the middle of a file."""

    def change(folder: ProcessLayout) -> None:
        path = path_of(folder)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    return change


def remove(path_of: Callable[[ProcessLayout], Path]) -> Callable[[ProcessLayout], None]:
    return lambda folder: path_of(folder).unlink()


def artifact(name: str) -> Callable[[ProcessLayout], Path]:
    return lambda folder: next(folder.staging.glob(f"*/artifacts/{name}"))


def swap_artifacts(folder: ProcessLayout) -> None:
    one, other = artifact("ape.txt")(folder), artifact("bee.txt")(folder)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def zero_first_page(folder: ProcessLayout) -> None:
    content = folder.rows.read_bytes()
    folder.rows.write_bytes(bytes(4096) + content[4096:])


SHOUT = "(SELECT id FROM builders WHERE name = 'shout')"
INDEX = "(SELECT id FROM builders WHERE name = 'words_index')"

DAMAGE: dict[str, tuple[Callable[[ProcessLayout], None], list[str]]] = {
    "the value of a row": (
        change_rows(f"UPDATE rows SET value = '[\"OTHER\"]' WHERE builder = {SHOUT} AND row = 2"),
        ["shout cat"],
    ),
    "the status of a row": (
        change_rows(f"UPDATE rows SET status = 3 WHERE builder = {SHOUT} AND row IN (2, 4)"),
        ["shout cat", "shout eel"],
    ),
    "a row of the generator, which goes on there": (
        change_rows(f"UPDATE rows SET value = '[\"dodo\"]' WHERE builder = {INDEX} AND row = 4"),
        ["word 4", "word 5"],
    ),
    "the name of a builder": (change_rows("UPDATE builders SET name = 'shoot' WHERE name = 'shout'"), []),
    "the epoch": (change_rows("UPDATE meta SET value = 99 WHERE key = 'epoch'"), []),
    "the first page of the rows": (zero_first_page, []),
    "the row store": (remove(lambda folder: folder.rows), [each for each in library.CALLS if each != "length"]),
    "a frame": (overwrite(lambda folder: folder.frame("length")), ["length"]),
    "no frame": (remove(lambda folder: folder.frame("length")), ["length"]),
    "an artifact": (overwrite(artifact("dog.txt")), ["page dog"]),
    "no artifact": (remove(artifact("dog.txt")), ["page dog"]),
    "two artifacts": (swap_artifacts, ["page ape", "page bee"]),
    "the plan": (overwrite(lambda folder: folder.plan), []),
    "no plan": (remove(lambda folder: folder.plan), []),
    "the copy of the plan": (overwrite(lambda folder: folder.pinned / "plan.json.copy"), []),
    "a pinned builder": (overwrite(lambda folder: folder.pinned / "1" / "builders" / "shout.yaml"), []),
    "the pinned code": (overwrite(lambda folder: folder.pinned / "1" / "code" / "tools.py"), []),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_it_is_told_and_only_what_is_damaged_is_made_again(
    what: str, vault: TableVault, folder: ProcessLayout, calls: Calls, undisturbed: object, copy_dir: Path
) -> None:
    damage, again = DAMAGE[what]
    before = calls()
    damage(folder)
    with pytest.raises(TVCheckpointError, match="on_damage='recompute'") as caught:
        vault.execute_instance("words", process_id=PROCESS)
    assert caught.value.process_id == PROCESS
    assert str(folder.folder) in str(caught.value.path)
    assert vault.get_process(PROCESS).status == "paused"
    assert calls() == before

    vault.execute_instance("words", process_id=PROCESS, on_damage="recompute")

    assert calls() - before == Counter(again)
    assert frame(vault) == undisturbed
    states.assert_sound(copy_dir)


def test_the_rows_are_told(vault: TableVault, folder: ProcessLayout) -> None:
    DAMAGE["the status of a row"][0](folder)

    with pytest.raises(TVCheckpointError) as caught:
        vault.execute_instance("words", process_id=PROCESS)

    assert (caught.value.builder, caught.value.rows) == ("shout", (2, 4))
    assert caught.value.path == str(folder.rows)
    assert "2 rows (2, 4) of the builder 'shout' aren't what was recorded" in str(caught.value)


def test_a_partial_instance_has_all_that_is_sound(vault: TableVault, folder: ProcessLayout, copy_dir: Path) -> None:
    DAMAGE["the value of a row"][0](folder)
    DAMAGE["an artifact"][0](folder)
    DAMAGE["a frame"][0](folder)

    vault.stop_process(PROCESS, materialize=True)

    found = vault.get_dataframe("words", full_artifact_path=False)
    assert found["shout"].isna().tolist() == [False, False, True, False, False, False]
    assert found["page"].isna().tolist() == [False, False, False, True, False, False]
    assert found["length"].isna().all()
    assert found["word"].tolist() == library.WORDS
    told = [event["detail"] for event in states.history(copy_dir, PROCESS) if event.get("kind") == "mended"]
    assert told == [
        "1 rows of the builder 'shout' were damaged, and count as not done",
        "the frame of the builder 'length' was damaged, and counts as not made",
        "artifacts of 1 rows of the builder 'page' were damaged, which count as not done",
    ]
    states.assert_sound(copy_dir)


def test_it_can_be_reverted_whatever_is_damaged(vault: TableVault, folder: ProcessLayout, copy_dir: Path) -> None:
    for damage, _ in DAMAGE.values():
        try:
            damage(folder)
        except (sqlite3.Error, AssertionError, FileNotFoundError):
            continue

    vault.stop_process(PROCESS)

    assert vault.get_process(PROCESS).status == "reverted"
    states.assert_sound(copy_dir)


def test_the_damaged_file_is_kept_until_the_process_ends(vault: TableVault, folder: ProcessLayout) -> None:
    DAMAGE["the value of a row"][0](folder)
    damaged = folder.rows.read_bytes()

    vault.execute_instance("words", process_id=PROCESS, on_damage="recompute", until="shout")

    assert (folder.folder / "rows.sqlite.damaged-1").read_bytes() == damaged


def test_what_nothing_can_be_mended_with_is_told(vault: TableVault, folder: ProcessLayout) -> None:
    DAMAGE["the plan"][0](folder)
    DAMAGE["the copy of the plan"][0](folder)

    for on_damage in ("error", "recompute"):
        with pytest.raises(TVFileError, match=r"start (fresh|anew)"):
            vault.execute_instance("words", process_id=PROCESS, on_damage=on_damage)
    assert vault.get_process(PROCESS).status == "paused"


def test_pinned_code_that_was_edited_since_can_only_be_brought_back(
    vault: TableVault, folder: ProcessLayout, copy_dir: Path
) -> None:
    DAMAGE["the pinned code"][0](folder)
    vault.create_code_module("tools", text=library.CODE + "\n# edited\n")

    with pytest.raises(TVCheckpointError, match="there is nothing to mend it with"):
        vault.execute_instance("words", process_id=PROCESS, on_damage="recompute")

    vault.create_code_module("tools", text=library.CODE)
    vault.execute_instance("words", process_id=PROCESS, on_damage="recompute")
    states.assert_sound(copy_dir)


def test_a_newer_row_store_is_no_damage(vault: TableVault, folder: ProcessLayout) -> None:
    from tablevault_like.storage.sums import sum_of

    with closing(sqlite3.connect(folder.rows)) as db, db:
        db.execute("UPDATE meta SET value = 99, sum = ? WHERE key = 'schema_version'", (sum_of("schema_version", 99),))
    before = folder.rows.read_bytes()

    for on_damage in ("error", "recompute"):
        with pytest.raises(TVFileError, match="newer version of tablevault_like"):
            vault.execute_instance("words", process_id=PROCESS, on_damage=on_damage)

    assert folder.rows.read_bytes() == before
    assert vault.get_process(PROCESS).status == "paused"


def test_a_damaged_row_is_told_when_it_is_looked_at(vault: TableVault, folder: ProcessLayout) -> None:
    DAMAGE["the value of a row"][0](folder)

    with pytest.raises(TVCheckpointError, match="row 2 of the builder 'shout'"):
        vault.get_dataframe("words", "TEMP_base")


ROWS_CODE = """
import os
from pathlib import Path

import pandas as pd

from tests.workers import note_call


def rows():
    note_call("rows")
    return pd.DataFrame({"name": Path(os.environ["NAMES"]).read_text().split()})


def shout(name):
    note_call(f"shout {name}")
    return name.upper()
"""

ROWS_BUILDERS = {
    "whole_index": """
builder_type: IndexBuilder
changed_columns: [name]
python_function: rows
code_module: whole
is_custom: true
return_type: dataframe
""",
    "shout": """
builder_type: ColumnBuilder
changed_columns: [shout]
python_function: shout
code_module: whole
is_custom: true
arguments: {name: "<<self.name[index]>>"}
return_type: row-wise
""",
}


@pytest.mark.parametrize(
    ("names", "again"),
    [("ant bee cat", ["rows"]), ("ant cat bee", ["rows", "shout ant", "shout cat", "shout bee"])],
    ids=["the same rows", "other rows"],
)
def test_what_was_made_of_rows_that_are_lost_stays_if_they_come_out_the_same(
    names: str, again: list[str], copy_dir: Path, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "names"
    monkeypatch.setenv("NAMES", str(source))
    source.write_text("ant bee cat")
    vault = TableVault(copy_dir, "ada")
    vault.create_code_module("whole", text=ROWS_CODE)
    vault.create_table("whole")
    vault.create_instance("whole", builders=ROWS_BUILDERS)
    vault.execute_instance("whole", process_id="whole", until="shout")
    before = calls()
    source.write_text(names)
    overwrite(lambda folder: folder.frame("whole_index"))(Layout(copy_dir).process("whole"))

    vault.execute_instance("whole", process_id="whole", on_damage="recompute")

    assert calls() - before == Counter(again)
    assert vault.get_dataframe("whole")["shout"].tolist() == [name.upper() for name in names.split()]


def test_a_kept_frame_that_is_damaged_is_told(copy_dir: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = TableVault(copy_dir, "ada")
    from tablevault_like.operations.publication import Publication

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Publication, "place", fail)
        with pytest.raises(KeyboardInterrupt):
            vault.write_instance(library.scores(), "scores", process_id="kept")
    path = Layout(copy_dir).process("kept").pinned_frame
    content = bytearray(path.read_bytes())
    content[12] ^= 0xFF
    path.write_bytes(content)

    with pytest.raises(TVCheckpointError, match=r"stop_process\('kept'\)") as caught:
        vault.write_instance(None, "scores", process_id="kept")

    assert caught.value.path == str(path)
    assert vault.get_process("kept").status == "paused"
    vault.stop_process("kept")
    states.assert_sound(copy_dir)
