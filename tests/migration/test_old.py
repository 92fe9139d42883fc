"""What isn't a vault of 0.1 is refused, and what is damaged in one is told."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArgumentError, TVFileError, TVProcessError
from tablevault_like.migration import Kind, Outcome, migrate, migrating
from tablevault_like.migration.old import OldVault
from tests.migration import old_vaults
from tests.migration.old_vaults import instance_id, item, write_vault
from tests.states import assert_sound

Unpack = Callable[[str], Path]

TABLE = {"table.csv": "a\n1\n", "dtypes.json": '{"a": "Int64"}', "description.yaml": "success: true\n"}


def test_what_is_no_vault_is_refused(tmp_path: Path, new: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()

    for name, why in (("missing", "does not exist"), ("file", "does not exist"), ("folder", "is not a vault: it has")):
        with pytest.raises(TVArgumentError, match=why):
            migrate(tmp_path / name, new)
    assert not new.exists()


def test_a_vault_of_this_library_is_refused(tmp_path: Path, new: Path) -> None:
    TableVault(tmp_path / "mine", create=True)

    with pytest.raises(TVArgumentError, match="is a vault of tablevault_like already"):
        migrate(tmp_path / "mine", new)


@pytest.mark.parametrize("name", ["tables_history.json", "tables_temp.json", "active_logs.json", "logs.txt"])
def test_a_part_of_a_vault_is_refused(tmp_path: Path, new: Path, name: str) -> None:
    old = write_vault(tmp_path / "old", {})
    (old / "metadata" / name).unlink()

    with pytest.raises(TVArgumentError, match=f"metadata/{name} is missing"):
        migrate(old, new)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"stories": 3}'])
def test_metadata_that_can_not_be_read_is_named(tmp_path: Path, new: Path, text: str) -> None:
    old = write_vault(tmp_path / "old", {})
    (old / "metadata" / "tables_history.json").write_text(text)

    with pytest.raises(TVFileError, match=r"tables_history\.json can't be read"):
        migrate(old, new)
    assert not new.exists()


@pytest.mark.parametrize("name", ["tables_temp.json", "active_logs.json"])
def test_metadata_that_says_something_else_is_named(tmp_path: Path, new: Path, name: str) -> None:
    old = write_vault(tmp_path / "old", {"a": {}})
    (old / "metadata" / name).write_text('{"a": 3}')

    with pytest.raises(TVFileError, match=f"{name} can't be read"):
        migrate(old, new)


def test_a_process_whose_worker_lives_is_waited_for(old_vault: Unpack, new: Path) -> None:
    old = old_vault("interrupted")
    old_vaults.change_active(old, {"pid": os.getpid(), "log_time": 4e9})

    with pytest.raises(TVProcessError, match=r"'p1' \(execute_instance by ada\), whose worker \d+ lives") as caught:
        migrate(old, new)
    assert caught.value.process_id == "p1"
    assert not new.exists()

    migrate(old, new, ignore_workers=True)
    assert_sound(new)


def test_a_worker_that_only_has_the_same_number_is_none(old_vault: Unpack, new: Path) -> None:
    old = old_vault("interrupted")
    old_vaults.change_active(old, {"pid": os.getpid(), "log_time": 1.7e9})

    migrate(old, new)

    assert_sound(new)


def test_a_vault_that_is_changed_meanwhile_is_refused(
    tmp_path: Path, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = write_vault(tmp_path / "old", {"a": {instance_id(): TABLE}})
    original = migrating._Migration.run

    def changing(migration: migrating._Migration) -> object:
        with (old / "metadata" / "logs.txt").open("a") as log:
            log.write("\n")
        return original(migration)

    monkeypatch.setattr(migrating._Migration, "run", changing)

    with pytest.raises(TVFileError, match="was changed while it was read"):
        migrate(old, new)
    assert not new.exists()


def test_instances_without_a_readable_table_are_left_out_and_told(tmp_path: Path, new: Path) -> None:
    damaged = {
        "missing": {"dtypes.json": "{}"},
        "notcsv": {**TABLE, "table.csv": 'a,b\n1,2\n1,2,3,4\n"'},
        "sound": TABLE,
    }
    tables = {"a": {instance_id(version): files for version, files in damaged.items()}}
    report = migrate(write_vault(tmp_path / "old", tables), new)

    assert TableVault(new).get_table_instances("a") == [instance_id("sound")]
    assert "table.csv is missing" in item(report, Kind.INSTANCE, "a/missing").notes[0]
    assert "can't be read as CSV" in item(report, Kind.INSTANCE, "a/notcsv").notes[0]
    assert_sound(new)


def test_a_temporary_instance_keeps_its_builders_if_its_table_is_damaged(tmp_path: Path, new: Path) -> None:
    files = {"table.csv": 'a\n"', "builders/a_index.yaml": "builder_type: IndexBuilder\n"}
    report = migrate(write_vault(tmp_path / "old", {"a": {"TEMP_base": files}}), new)

    assert TableVault(new).get_builders_list("a") == ["a_index"]
    assert "left out its unfinished table" in item(report, Kind.INSTANCE, "a/TEMP_base").notes[0]


def test_what_the_metadata_names_and_is_not_there_is_told(tmp_path: Path, new: Path) -> None:
    old = write_vault(tmp_path / "old", {"a": {instance_id(): TABLE}, "b": {instance_id(): TABLE}})
    (old / "a" / instance_id()).rename(tmp_path / "away")
    (old / "b").rename(tmp_path / "away2")

    report = migrate(old, new)

    assert item(report, Kind.INSTANCE, "a/base").outcome is Outcome.LEFT_OUT
    assert item(report, Kind.TABLE, "b").outcome is Outcome.LEFT_OUT
    assert TableVault(new).get_table_instances() == ["a"]


def test_what_is_there_and_the_metadata_does_not_name_is_told(tmp_path: Path, new: Path) -> None:
    old = write_vault(tmp_path / "old", {"a": {instance_id(): {**TABLE, "mine.txt": ""}}})
    (old / "a" / instance_id("crashed")).mkdir()
    (old / "half").mkdir()
    (old / "code_functions" / "data.json").touch()
    (old / "a" / instance_id() / "x.df.pkl").touch()

    report = migrate(old, new)

    told = {each.name for each in report if each.kind is Kind.FILE}
    assert told == {f"a/{instance_id('crashed')}", "half", "code_functions/data.json"}
    assert item(report, Kind.INSTANCE, "a/base").notes == ("left out what isn't of 0.1: 'mine.txt'",)


@pytest.mark.parametrize("name", ["../outside", "..", ".", "", "a/../../outside"])
def test_names_never_lead_out_of_the_old_vault(tmp_path: Path, new: Path, name: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "table.csv").write_text("secret\n1\n")
    old = write_vault(tmp_path / "old", {"a": {instance_id(): TABLE}})
    history = {name: {}, "a": {name: [1, 1, None, True], instance_id(): [1, 1, None, True]}}
    (old / "metadata" / "tables_history.json").write_text(json.dumps(history))

    report = migrate(old, new)

    assert item(report, Kind.TABLE, name).notes == ("its name leads out of the vault",)
    assert item(report, Kind.INSTANCE, f"a/{name}").outcome is Outcome.LEFT_OUT
    assert TableVault(new).get_table_instances("a") == [instance_id()]


def test_links_are_not_followed(tmp_path: Path, new: Path) -> None:
    outside = tmp_path / "outside"
    (outside / instance_id("linked")).mkdir(parents=True)
    (outside / "secret.py").write_text("SECRET = 1\n")
    old = write_vault(tmp_path / "old", {"a": {instance_id(): TABLE, instance_id("linked"): TABLE}, "b": {}})
    for path in sorted((old / "a" / instance_id("linked")).iterdir()):
        path.rename(outside / instance_id("linked") / path.name)
    (old / "a" / instance_id("linked")).rmdir()
    (old / "a" / instance_id("linked")).symlink_to(outside / instance_id("linked"))
    (old / "code_functions" / "secret.py").symlink_to(outside / "secret.py")
    (old / "b").rename(outside / "b")
    (old / "b").symlink_to(outside / "b")

    report = migrate(old, new)

    left_out = {each.name for each in report.of(Outcome.LEFT_OUT)}
    assert {"b", f"a/{instance_id('linked')}", "code_functions/secret.py"} <= left_out
    assert TableVault(new).get_code_modules_list() == []
    assert_sound(new)


@pytest.mark.parametrize("text", ["- a\n", "{", "a: &a [*a]\n", "!!python/object/apply:os.abort []\n", "\x00"])
def test_descriptions_that_can_not_be_read_are_empty(tmp_path: Path, new: Path, text: str) -> None:
    files = {**TABLE, "description.yaml": text}
    old = write_vault(tmp_path / "old", {"a": {instance_id(): files}}, descriptions={"a": text})

    migrate(old, new)

    assert TableVault(new).get_descriptions(instance_id(), "a")["description"] == ""


def test_lines_of_the_log_that_can_not_be_read_are_told(tmp_path: Path, new: Path) -> None:
    entry = {"process_id": "p", "author": "ada", "start_time": 1.0, "log_time": 2.0, "operation": "create_table"}
    old = write_vault(tmp_path / "old", {}, log=[{**entry, "execution_success": True, "start_success": True}])
    with (old / "metadata" / "logs.txt").open("a") as log:
        log.write('{"process_id": "half\n[]\n{}\n')

    report = migrate(old, new)

    told = [each.name for each in report.of(Outcome.LEFT_OUT)]
    assert told == [f"metadata/logs.txt:{number}" for number in (2, 3, 4)]
    assert TableVault(new).get_process("p").ended_at == 2.0


def test_halves_of_characters_and_other_bytes_do_no_harm(tmp_path: Path, new: Path) -> None:
    entry = {"start_time": 1.0, "author": "\ud800", "operation": "create_table", "start_success": False}
    log = [{**entry, "process_id": "half \ud83d", "error": ["E", "\udc00"]}]
    old = write_vault(tmp_path / "old", {"a": {instance_id(): TABLE}}, log=log)
    stray = os.fsdecode(b"caf\xe9")
    (old / stray).touch()
    (old / "a" / instance_id() / stray).touch()

    report = migrate(old, new)

    assert item(report, Kind.FILE, "caf\\udce9").outcome is Outcome.LEFT_OUT
    assert [each.name for each in report if each.kind is Kind.PROCESS] == ["half ?"]
    assert_sound(new)


def test_a_description_that_grows_without_end_is_empty(tmp_path: Path, new: Path) -> None:
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60)) + "summary: *a59\n"
    old = write_vault(tmp_path / "old", {"a": {}}, descriptions={"a": bomb})

    migrate(old, new)

    assert TableVault(new).get_descriptions(table_name="a")["description"] == ""


def test_a_table_that_was_made_again_is_another(tmp_path: Path, new: Path) -> None:
    ended = {"log_time": 2.0, "author": "ada", "start_success": True, "execution_success": True}
    made = {"table_name": "a", "instance_id": "TEMP_base", "perm_instance_id": instance_id(number=7)}
    steps = [
        ("one", "create_table", {"table_name": "a", "description": "The first"}),
        ("two", "materialize_instance", made),
        ("three", "delete_table", {"table_name": "a"}),
        ("four", "create_table", {"table_name": "a"}),
    ]
    log = [
        {**ended, "process_id": process_id, "start_time": float(number), "operation": operation, "data": data}
        for number, (process_id, operation, data) in enumerate(steps)
    ]

    report = migrate(write_vault(tmp_path / "old", {"a": {instance_id(): TABLE}}, log=log), new)

    assert item(report, Kind.DELETED, "a").outcome is Outcome.BROUGHT
    assert TableVault(new).get_table_instances("a") == [instance_id()]
    with closing(sqlite3.connect(new / "metadata" / "catalog.sqlite")) as db:
        found = db.execute("SELECT description, process_id, deleted_by FROM tables ORDER BY table_id").fetchall()
    assert found == [("The first", "one", "three"), ("", "four", None)]
    assert_sound(new)


def test_children_keep_their_parents(tmp_path: Path, new: Path) -> None:
    entry = {"start_time": 1.0, "log_time": 2.0, "execution_success": True, "start_success": True}
    names = ["p", "p_q", "p_q_r", "s_t"]
    log = [{**entry, "process_id": name, "author": "ada", "operation": "restart_database"} for name in names]

    migrate(write_vault(tmp_path / "old", {}, log=log), new)

    vault = TableVault(new)
    assert [vault.get_process(name).parent_id for name in names] == [None, "p", "p_q", None]


def test_a_vault_is_opened_for_reading_only(tmp_path: Path) -> None:
    old = write_vault(tmp_path / "old", {"a": {instance_id(): TABLE}})
    vault = OldVault(old)

    assert [table.name for table in vault.tables] == ["a"]
    assert vault.tables[0].instances[0].version == "base"
    assert list(vault.processes(lambda number: None)) == []
    vault.check_unchanged()
