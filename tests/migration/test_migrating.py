"""Whole vaults, made by TableVault 0.1.1, are brought over."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import State, TableVault
from tablevault_like.migration import Kind, Outcome, migrate
from tests.migration import old_vaults
from tests.migration.old_vaults import item
from tests.states import assert_sound

Unpack = Callable[[str], Path]


def frame(vault: TableVault, table: str, instance_id: str) -> pd.DataFrame:
    """Return a frame with the names of its artifacts, and missing cells as None."""
    found = vault.get_dataframe(table, instance_id, full_artifact_path=False)
    return found.astype(object).where(found.notna(), None)


def rows(vault_dir: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(vault_dir / "metadata" / "catalog.sqlite")) as db:
        return db.execute(query).fetchall()


@pytest.mark.parametrize("name", old_vaults.NAMES)
def test_a_vault_that_was_brought_over_is_sound(old_vault: Unpack, new: Path, name: str) -> None:
    migrate(old_vault(name), new)

    assert_sound(new)


@pytest.mark.parametrize("name", old_vaults.NAMES)
def test_the_old_vault_stays_as_it_is(old_vault: Unpack, new: Path, name: str) -> None:
    old = old_vault(name)
    before = old_vaults.content(old)

    migrate(old, new)

    assert old_vaults.content(old) == before


def test_tables_and_instances_keep_their_names_ids_and_order(old_vault: Unpack, new: Path) -> None:
    old = old_vault("library")
    migrate(old, new)
    vault = TableVault(new)
    history = json.loads((old / "metadata" / "tables_history.json").read_text())

    assert sorted(vault.get_table_instances()) == sorted(history)
    for table, instances in history.items():
        assert vault.get_table_instances(table) == sorted(instances, key=lambda each: instances[each][1])
    temporary = {"stories": "TEMP_base", "answers": "TEMP_wrong", "values": "TEMP_dates"}
    for table, instance_id in temporary.items():
        assert vault.get_table_instances(table, include_temp=True)[-1] == instance_id
    assert [each.partition("_")[0] for each in vault.get_table_instances("stories")] == ["base", "first", "base"]
    assert vault.get_table_instances("stories", "first") == [vault.get_table_instances("stories")[1]]


def test_values_and_dtypes_stay(old_vault: Unpack, new: Path) -> None:
    migrate(old_vault("library"), new)
    vault = TableVault(new)
    found = vault.get_dataframe("values")

    assert {name: str(dtype) for name, dtype in found.dtypes.items()} == {
        "integer": "Int64",
        "small": "UInt8",
        "number": "Float64",
        "truth": "boolean",
        "text": "string",
        "kind": "category",
        "anything": "object",
    }
    assert frame(vault, "values", "").to_dict("list") == {
        "integer": [2**53 + 1, None, -3],
        "small": [255, 0, None],
        "number": [0.1, None, 1e300],
        "truth": [True, None, False],
        "text": ['é, "x"', None, "two\nlines"],
        "kind": ["b", None, "a"],
        "anything": ["[1, 2]", None, "{'a': 1}"],  # 0.1 keeps the text of an object
    }


def test_dates_that_could_not_be_read_any_more_are_there(old_vault: Unpack, new: Path) -> None:
    migrate(old_vault("library"), new)

    found = TableVault(new).get_dataframe("values", "TEMP_dates")

    assert str(found["day"].dtype) == "datetime64[ns]"
    days = [pd.Timestamp(2024, 1, 2), pd.Timestamp(2024, 5, 6, 7, 8, 9), pd.NaT]
    assert found["day"].equals(pd.Series(days, dtype="datetime64[ns]"))
    assert found["count"].tolist() == [1, 2, pd.NA]


def test_text_that_was_read_as_missing_is_text_and_told(old_vault: Unpack, new: Path) -> None:
    report = migrate(old_vault("library"), new)
    vault = TableVault(new)

    assert frame(vault, "values", vault.get_table_instances("values", "text")[0])["text"].tolist() == [
        *("NA", None, None, 'a,"b"\nc', "None", " é "),
    ]
    assert item(report, Kind.INSTANCE, "values/text").notes == (
        "column 'text' keeps 2 cells of the text 'NA', 'None', which 0.1 read as missing",
    )


def test_an_instance_has_its_own_artifacts_and_no_others(old_vault: Unpack, new: Path) -> None:
    report = migrate(old_vault("library"), new)
    vault = TableVault(new)
    oldest, first, newest = vault.get_table_instances("stories")

    pages = vault.get_dataframe("stories", newest)["page"]
    # The second edition did not write dove.txt; 0.1 took it from the first.
    assert [Path(page).read_text() for page in pages] == ["fox, edition 2", "dove, edition 1", "lion, edition 2"]
    assert frame(vault, "stories", first)["page"].tolist() == [None, "dove.txt", None]
    assert Path(vault.get_dataframe("stories", first)["page"][1]).read_text() == "dove, edition 1"
    assert frame(vault, "stories", oldest)["page"].tolist() == [None, None, None]
    [note] = item(report, Kind.INSTANCE, f"stories/{first}").notes
    assert note == (
        "1 artifact cell without the file that it named, empty now: 'fox.txt'. The names are in "
        "provenance/tablevault-0.1/table.csv"
    )
    kept = (new / "stories" / first / "provenance" / "tablevault-0.1" / "table.csv").read_text()
    assert kept == "title,year,page\nfox,1990,fox.txt\ndove,1991,dove.txt\nraven,1992,\n"
    assert not (new / "stories" / newest / "provenance" / "tablevault-0.1" / "table.csv").exists()


def test_the_folder_of_a_table_shows_the_newest_artifacts(old_vault: Unpack, new: Path) -> None:
    old = old_vault("library")
    migrate(old, new)

    shown = {path.name: path.read_text() for path in (new / "stories" / "artifacts").iterdir()}
    assert shown == {path.name: path.read_text() for path in (old / "stories" / "artifacts").iterdir()}
    assert not (new / "letters" / "artifacts").exists()


def test_files_that_no_cell_names_are_set_aside(old_vault: Unpack, new: Path) -> None:
    report = migrate(old_vault("library"), new)
    vault = TableVault(new)
    letters = vault.get_table_instances("letters")

    for number, instance_id in enumerate(letters, start=1):
        assert Path(vault.get_dataframe("letters", instance_id)["letter"][0]).read_text() == f"Dear crow, {number}"
        aside = new / "letters" / instance_id / "provenance" / "tablevault-0.1" / "artifacts" / f"note{number}.txt"
        assert aside.read_text() == "A file that no cell names"
    assert item(report, Kind.INSTANCE, f"letters/{letters[0]}").notes == (
        "1 file that no cell names, in provenance/ now: 'note1.txt'",
    )


def test_what_made_an_instance_inactive_stays_true(old_vault: Unpack, new: Path) -> None:
    migrate(old_vault("library"), new)
    vault = TableVault(new)

    first, second = vault.get_table_instances("sent")
    assert vault.get_descriptions(first, "sent")["active"] is False
    assert vault.get_descriptions(second, "sent")["active"] is True
    assert vault.get_descriptions(table_name="sent")["has_side_effects"] is True
    assert vault.get_descriptions(table_name="letters")["allow_multiple_artifacts"] is True


def test_descriptions_authors_and_origins_stay(old_vault: Unpack, new: Path) -> None:
    migrate(old_vault("library"), new)
    vault = TableVault(new)
    newest = vault.get_table_instances("stories")[-1]

    assert vault.get_descriptions()["description"] == "Stories and what models say of them"
    assert vault.get_descriptions(table_name="stories")["description"] == "Short stories, with a page each"
    told = vault.get_descriptions(newest, "stories")
    assert (told["description"], told["author"], told["process_id"]) == ("Edition 2", "ada", "edition-2-base")
    edited = vault.get_descriptions("TEMP_base", "stories")
    assert (edited["description"], edited["origin"]) == ("To be edited", ["stories", newest])


def test_what_an_instance_was_made_from_is_known(old_vault: Unpack, new: Path) -> None:
    migrate(old_vault("library"), new)
    vault = TableVault(new)
    stories = vault.get_table_instances("stories")

    lineage = rows(
        new,
        "SELECT made.name, sources.name, source_id FROM lineage JOIN instances ON number = lineage.instance"
        " JOIN tables AS made ON made.table_id = instances.table_id"
        " JOIN tables AS sources ON sources.table_id = source_table_id ORDER BY made.name, source_id",
    )
    assert ("answers", "stories", stories[-1]) in lineage
    assert lineage.count(("letters", "stories", stories[0])) == 2


def test_what_was_deleted_is_remembered(old_vault: Unpack, new: Path) -> None:
    report = migrate(old_vault("library"), new)

    deleted = rows(
        new,
        "SELECT tables.name, version, instances.deleted_by FROM instances JOIN tables USING (table_id)"
        " WHERE instances.deleted_at IS NOT NULL ORDER BY tables.name",
    )
    assert [each[:2] for each in deleted] == [("old", "base"), ("values", "gone")]
    assert deleted[1][2] == "tidy"
    assert [each.name.partition("_")[0] for each in report if each.kind is Kind.DELETED] == ["old", "values/gone"]
    assert "old" not in TableVault(new).get_table_instances()
    assert len(TableVault(new).get_table_instances("values", "gone")) == 1


def test_processes_and_their_outcome_are_history(old_vault: Unpack, new: Path) -> None:
    migrate(old_vault("library"), new)
    vault = TableVault(new)

    done = vault.get_process("edition-1-base")
    assert (done.operation, done.state, done.author, done.is_named) == (
        "execute_instance",
        State.COMPLETED,
        "ada",
        True,
    )
    assert done.arguments == {"table_name": "stories", "version": "base"}
    assert done.steps_done == ("stories_index", "materialize")
    failed = vault.get_process("dates")
    assert (failed.state, failed.error.type if failed.error else None) == (State.REVERTED, "TVTableError")
    assert failed.steps_done == ("write",)
    assert vault.get_active_processes() == {}


def test_an_id_that_has_completed_does_nothing_again(old_vault: Unpack, new: Path) -> None:
    migrate(old_vault("library"), new)
    vault = TableVault(new)

    assert vault.execute_instance("stories", process_id="edition-1-base") == "edition-1-base"
    assert vault.get_table_instances("stories", include_temp=True)[-1] == "TEMP_base"


def test_builders_and_code_that_were_brought_over_run(old_vault: Unpack, new: Path) -> None:
    migrate(old_vault("library"), new)
    vault = TableVault(new)

    vault.create_instance("stories", "first", copy=True)
    vault.execute_instance("stories", "first")
    vault.create_instance("answers", copy=True)
    assert vault.get_builders_list("answers") == ["answer", "answers_index"]
    vault.execute_instance("answers")

    pages = vault.get_dataframe("stories", version="first")["page"]
    assert Path(pages[0]).read_text() == "fox, edition 1"
    assert vault.get_dataframe("answers")["answer"].tolist()[0] == "Who is the fox?"
    assert_sound(new)


def test_a_frame_that_could_not_be_written_there_is_written_here(old_vault: Unpack, new: Path) -> None:
    migrate(old_vault("library"), new)
    vault = TableVault(new)

    vault.write_instance(vault.get_dataframe("values", "TEMP_dates"), "values", "dates")

    assert str(vault.get_dataframe("values", version="dates")["day"].dtype) == "datetime64[ns]"
    assert vault.get_table_instances("values", "dates", include_temp=True) == vault.get_table_instances(
        "values", "dates"
    )
    assert_sound(new)


def test_code_that_made_an_instance_stays_with_it(old_vault: Unpack, new: Path) -> None:
    old = old_vault("library")
    migrate(old, new)
    answers = TableVault(new).get_table_instances("answers")[0]

    code = new / "answers" / answers / "code" / "stories.py"
    assert code.read_bytes() == (old / "answers" / answers / "EXECUTION_ARCHIVE" / "stories.py").read_bytes()
    assert (new / "code_functions" / "stories.py").read_bytes() == (old / "code_functions" / "stories.py").read_bytes()


def test_a_partial_instance_stays_one(old_vault: Unpack, new: Path) -> None:
    migrate(old_vault("interrupted"), new)
    vault = TableVault(new)
    [stopped] = vault.get_table_instances("stopped")

    assert vault.get_descriptions(stopped, "stopped")["success"] is False
    assert frame(vault, "stopped", stopped)["answer"].tolist() == ["FOX", None, None]
    assert vault.get_process("p2").state is State.MATERIALIZED
    assert vault.get_process("stop").operation == "stop_process"


def test_an_interrupted_process_is_told_and_begins_anew_under_its_id(old_vault: Unpack, new: Path) -> None:
    report = migrate(old_vault("interrupted"), new)
    vault = TableVault(new, restart=True)

    assert "can't be resumed here" in item(report, Kind.PROCESS, "p1").notes[0]
    assert vault.get_process("p1").state is State.REVERTED
    assert frame(vault, "paused", "TEMP_base")["answer"].tolist() == ["FOX", None, None]
    source = vault.get_code_module_str("stories").replace('if title == "dove"', "if not title")
    vault.create_code_module("stories", text=source)
    vault.execute_instance("paused", process_id="p1")
    assert vault.get_dataframe("paused")["answer"].tolist() == ["FOX", "DOVE", "RAVEN"]


def test_pickles_are_never_loaded_and_told(old_vault: Unpack, new: Path) -> None:
    old = old_vault("interrupted")
    report = migrate(old, new)

    assert len([*(old / "killed" / "TEMP_base").glob("*.df.pkl")]) == 4
    assert item(report, Kind.INSTANCE, "killed/TEMP_base").notes[0].startswith("left out 4 results")
    assert not [*new.rglob("*.pkl")]


def test_nothing_of_the_old_vault_is_run(old_vault: Unpack, new: Path, tmp_path: Path) -> None:
    old, trap = old_vault("interrupted"), tmp_path / "trap"
    (old / "code_functions" / "stories.py").write_text(f"open({str(trap)!r}, 'w')\n")
    # Protocol 0 of pickle: import builtins.open, and call it.
    pickled = f"cbuiltins\nopen\n(V{trap}\nVw\ntR.".encode()
    for path in [*old.rglob("*.df.pkl")]:
        path.write_bytes(pickled)

    migrate(old, new)
    TableVault(new).get_dataframe("paused", "TEMP_base")

    assert not trap.exists()


def test_names_that_are_not_allowed_are_changed_everywhere_and_told(old_vault: Unpack, new: Path) -> None:
    report = migrate(old_vault("strange"), new)
    vault = TableVault(new)

    assert vault.get_table_instances() == ["trash-1", "my-words"]
    assert vault.get_dataframe("trash-1", version="v1-0")["word"].tolist() == ["one"]
    assert vault.get_code_modules_list() == ["broken", "my_code"]
    assert vault.get_process("run-of-today-e2f90ef3").arguments == {"table_name": "trash-1", "version": "v1-0"}
    assert '"<<trash-1(v1-0).word>>"' in vault.get_builder_str("my-words", "my-words_index")
    assert item(report, Kind.TABLE, "trash").notes == ("it is named 'trash-1' now, for its name can't be had",)
    assert item(report, Kind.PROCESS, "run of today").notes == ("its id is 'run-of-today-e2f90ef3' now",)
    assert item(report, Kind.CODE_MODULE, "broken").notes == ("it isn't Python, line 1: invalid syntax",)
    assert item(report, Kind.FILE, "notes.txt").outcome is Outcome.LEFT_OUT


def test_builders_with_changed_names_run(old_vault: Unpack, new: Path) -> None:
    migrate(old_vault("strange"), new)
    vault = TableVault(new)

    vault.create_instance("trash-1", "v1-0", copy=True)
    vault.execute_instance("trash-1", "v1-0")
    vault.delete_builder_file("all-of-them", "my-words")
    vault.execute_instance("my-words")

    assert vault.get_dataframe("my-words")["word"].tolist() == ["one"]


def test_what_is_told_is_kept_in_the_catalog(old_vault: Unpack, new: Path) -> None:
    report = migrate(old_vault("strange"), new, author="bob")

    [(process_id, author)] = rows(new, "SELECT process_id, author FROM processes WHERE operation = 'migrate'")
    assert author == "bob"
    events = rows(new, f"SELECT kind, detail FROM events WHERE process_id = '{process_id}' ORDER BY number")
    told = [each for each in report if each.outcome is not Outcome.BROUGHT]
    assert [kind for kind, _ in events] == [each.outcome for each in told]
    assert events[0] == ("changed", "code module broken: it isn't Python, line 1: invalid syntax")


def test_an_empty_vault_becomes_an_empty_vault(old_vault: Unpack, new: Path) -> None:
    report = migrate(old_vault("empty"), new)

    assert report.summary() == "Brought over: 1 vault."
    assert TableVault(new).get_table_instances() == []
    assert str(TableVault(new).get_descriptions()["migrated_from"]).endswith("/old/empty")
