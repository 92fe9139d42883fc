"""The face of a vault: names, orders and defaults that users know, what each method returns, and what it refuses."""

from __future__ import annotations

import getpass
import inspect
import logging
import multiprocessing
import os
import pickle
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

import tablevault_like
from tablevault_like import State, TableVault, tv_errors
from tablevault_like.errors import (
    TVArgumentError,
    TVArtifactError,
    TVBuilderError,
    TVFileError,
    TVProcessError,
    TVTableError,
)
from tests.tables import begin, build, column, index, write, write_code

# What users of TableVault 0.1.1 pass by position, with the defaults of today. ``...`` has none; * begins keywords only.
SIGNATURES: dict[str, dict[str, Any]] = {
    "__init__": {
        "db_dir": ...,
        "author": None,
        "description": "",
        "create": False,
        "restart": False,
        "verbose": False,
        "parent_id": None,
        "*replace": False,
        "*lock_timeout": 5.0,
        "*allow_network": False,
    },
    "create_table": {
        "table_name": ...,
        "allow_multiple_artifacts": False,
        "has_side_effects": False,
        "description": "",
        "process_id": None,
    },
    "make_table": {
        "table_name": ...,
        "allow_multiple_artifacts": False,
        "has_side_effects": False,
        "description": "",
        "process_id": None,
    },
    "rename_table": {"new_table_name": ..., "table_name": ..., "process_id": None},
    "delete_table": {"table_name": ..., "process_id": None},
    "create_instance": {
        "table_name": ...,
        "version": "",
        "origin_id": "",
        "origin_table": "",
        "external_edit": False,
        "copy": False,
        "builders": None,
        "description": "",
        "process_id": None,
    },
    "write_instance": {
        "table_df": ...,
        "table_name": ...,
        "version": "base",
        "dependencies": None,
        "dtypes": None,
        "process_id": None,
    },
    "execute_instance": {
        "table_name": ...,
        "version": "base",
        "force_execute": False,
        "process_id": None,
        "background": False,
        "*on_change": "error",
        "*on_damage": "error",
        "*existing": "auto",
        "*until": "",
        "*from_builder": "",
        "*budget": None,
        "*start_at": None,
        "*progress": None,
    },
    "plan": {
        "table_name": ...,
        "version": "base",
        "force_execute": False,
        "process_id": None,
        "background": False,
        "*on_change": "error",
        "*on_damage": "error",
        "*existing": "auto",
        "*until": "",
        "*from_builder": "",
        "*budget": None,
        "*start_at": None,
        "*progress": None,
        "*sample": 0,
    },
    "chaos": {
        "table_name": ...,
        "*version": "base",
        "*sample": 20,
        "*kills": 10,
        "*seed": None,
        "*timeout": 600.0,
        "*scratch": "",
        "*keep": False,
        "*progress": None,
    },
    "delete_instance": {"instance_id": ..., "table_name": ..., "process_id": None},
    "export_instance": {"table_name": ..., "instance_id": "", "version": "base", "path": None, "*builder": None},
    "import_instance": {
        "path": ...,
        "table_name": "",
        "version": "",
        "process_id": None,
        "*with_code": False,
        "*max_bytes": None,
    },
    "create_code_module": {"module_name": "", "copy_dir": "", "text": "", "process_id": None, "*function": None},
    "delete_code_module": {"module_name": ..., "process_id": None},
    "create_builder_file": {
        "table_name": ...,
        "builder_name": "",
        "version": "base",
        "copy_dir": "",
        "text": "",
        "process_id": None,
    },
    "delete_builder_file": {"builder_name": ..., "table_name": ..., "version": "base", "process_id": None},
    "generate_process_id": {},
    "get_active_processes": {},
    "get_process": {"process_id": ...},
    "get_process_completion": {"process_id": ...},
    "pause_process": {"process_id": ...},
    "stop_process": {"process_id": ..., "force": False, "materialize": False},
    "get_errors": {
        "name": "",
        "*table_name": "",
        "*process_id": "",
        "*instance_id": "",
        "*version": "base",
        "*missing": False,
    },
    "wait": {"process_id": ..., "timeout": None},
    "get_process_history": {
        "table_name": "",
        "*operation": "",
        "*author": "",
        "*outcome": "",
        "*since": None,
        "*until": None,
        "*named_only": False,
        "*limit": None,
    },
    "inspect": {
        "name": "",
        "*table_name": "",
        "*process_id": "",
        "*instance_id": "",
        "*version": "base",
        "*row": None,
        "*builder": "",
    },
    "quickcheck": {"ended": 5},
    "report": {"name": "", "*table_name": "", "*process_id": "", "*instance_id": "", "*version": "base"},
    "why": {"table_name": ..., "row": ..., "column": ..., "instance_id": "", "version": "base"},
    "set_description": {"description": ..., "table_name": "", "instance_id": "", "process_id": None},
    "get_trash": {"include_pruned": False},
    "pin": {"table_name": ..., "instance_id": ..., "process_id": None},
    "unpin": {"table_name": ..., "instance_id": ..., "process_id": None},
    "check": {"table_name": None, "*contents": True, "*repair": False},
    "prune": {"keep": None, "older_than": None, "dry_run": True, "process_id": None},
    "get_dataframe": {
        "table_name": ...,
        "instance_id": "",
        "version": "base",
        "active_only": True,
        "successful_only": False,
        "rows": None,
        "full_artifact_path": True,
        "*columns": None,
        "*filters": None,
    },
    "to_arrow": {
        "table_name": ...,
        "instance_id": "",
        "version": "base",
        "active_only": True,
        "successful_only": False,
        "rows": None,
        "full_artifact_path": True,
        "*columns": None,
        "*filters": None,
    },
    "iter_batches": {
        "table_name": ...,
        "instance_id": "",
        "version": "base",
        "active_only": True,
        "successful_only": False,
        "rows": None,
        "full_artifact_path": True,
        "*batch_size": 10_000,
        "*columns": None,
        "*filters": None,
    },
    "diff": {"table_name": ..., "a": "", "b": "", "*key": None, "*columns": None},
    "query": {"sql": ..., "*parameters": None, "*as_arrow": False, "*full_artifact_path": True},
    "get_table_instances": {"table_name": "", "version": "", "include_temp": False},
    "get_descriptions": {"instance_id": "", "table_name": ""},
    "get_builders_list": {"table_name": ..., "instance_id": "", "version": "base", "is_temp": True},
    "get_builder_str": {
        "table_name": ...,
        "builder_name": "",
        "instance_id": "",
        "version": "base",
        "is_temp": True,
    },
    "get_code_modules_list": {},
    "get_code_module_str": {"module_name": ...},
    "get_artifact_folder": {"table_name": ..., "instance_id": "", "version": "base", "is_temp": True},
    "get_file_tree": {
        "instance_id": "",
        "table_name": "",
        "code_files": True,
        "builder_files": True,
        "metadata_files": False,
        "artifact_files": False,
    },
}

FRAME = pd.DataFrame({"n": [1, 2, 3], "text": ["one", "two", None]})
CODE = "def rows():\n    yield from [1, 2]\n"


@pytest.fixture
def vault_dir(tmp_path: Path) -> Path:
    return tmp_path / "vault"


@pytest.fixture
def vault(vault_dir: Path) -> TableVault:
    return TableVault(vault_dir, "ada", create=True)


class TestSignatures:
    @pytest.mark.parametrize("name", SIGNATURES)
    def test_are_those_that_users_know(self, name: str) -> None:
        found = {}
        for parameter in list(inspect.signature(getattr(TableVault, name)).parameters.values())[1:]:
            mark = "*" if parameter.kind is parameter.KEYWORD_ONLY else ""
            found[mark + parameter.name] = ... if parameter.default is parameter.empty else parameter.default
        assert list(found.items()) == list(SIGNATURES[name].items())

    def test_there_are_no_others(self) -> None:
        public = {name for name, _ in inspect.getmembers(TableVault, callable) if not name.startswith("_")}
        assert public == SIGNATURES.keys() - {"__init__"}

    def test_what_changes_something_takes_a_process_id_last(self) -> None:
        for name in writes(lambda: None):
            parameters = [p for p in SIGNATURES[name] if not p.startswith("*") and p != "background"]
            assert parameters[-1] == "process_id"

    def test_the_errors_are_there(self) -> None:
        names = ["TVArgumentError", "TVBuilderError", "TVLockError", "TVProcessError", "TVTableError"]
        names += ["TVArtifactError", "TVFileError", "TableReferenceError"]
        assert all(issubclass(getattr(tv_errors, name), tv_errors.TableVaultError) for name in names)

    def test_the_package_offers_little_else(self) -> None:
        assert sorted(tablevault_like.__all__) == [
            *("Outcome", "ProcessRecord", "Result", "Row", "State", "TableVault", "__version__"),
            *("checkpoint", "compress_vault", "decompress_vault", "delete_vault", "extract_df", "map_rows"),
            "tv_errors",
        ]


def writes(of: Callable[[], TableVault | None]) -> dict[str, Callable[..., Any]]:
    """Return every method that changes something, with arguments that work one after the other."""

    def call(name: str, *arguments: object, **fields: object) -> Callable[..., Any]:
        return lambda process_id: getattr(of(), name)(*arguments, **fields, process_id=process_id)

    return {
        "create_table": call("create_table", "words"),
        "make_table": call("make_table", "letters"),
        "rename_table": call("rename_table", "characters", "letters"),
        "create_code_module": call("create_code_module", "work", text=CODE),
        "create_instance": call("create_instance", "words"),
        "create_builder_file": call("create_builder_file", "words", "words_index", text=index("n")),
        "delete_builder_file": call("delete_builder_file", "text", "words"),
        "execute_instance": call("execute_instance", "words"),
        "write_instance": call("write_instance", FRAME, "words", "written"),
        "delete_code_module": call("delete_code_module", "work"),
        "delete_instance": call("delete_instance", "TEMP_spare", "words"),
        "delete_table": call("delete_table", "characters"),
    }


@pytest.mark.parametrize("is_named", [True, False])
def test_every_write_returns_the_id_of_its_process(vault: TableVault, is_named: bool) -> None:
    for name, call in writes(lambda: vault).items():
        if name == "delete_builder_file":
            vault.create_builder_file("words", "text")
        if name == "write_instance":
            vault.create_instance("words", "written", external_edit=True)
            vault.create_instance("words", "spare")
        asked = f"my.{name}" if is_named else ""
        process_id = call(asked)
        assert process_id == (asked or process_id)
        process = vault.get_process(process_id)
        assert (process.state, process.author, process.is_named) == (State.COMPLETED, "ada", is_named)
        assert process.operation == name.replace("make_", "create_")
        if is_named:
            assert call(asked) == asked  # once more does nothing
    assert vault.get_active_processes() == {}


class TestOpening:
    def test_db_dir_and_author_are_what_was_given(self, vault_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        vault = TableVault(str(vault_dir), "ada", create=True)
        assert (vault.db_dir, vault.author, vault.restarted) == (str(vault_dir), "ada", {})
        monkeypatch.chdir(vault_dir.parent)
        assert TableVault("vault").db_dir == "vault"

    def test_the_author_defaults_to_the_user(self, vault_dir: Path) -> None:
        assert TableVault(vault_dir, create=True).author == getpass.getuser()
        assert TableVault(vault_dir, "").author == getpass.getuser()

    def test_needs_a_vault(self, vault_dir: Path, tmp_path: Path) -> None:
        with pytest.raises(TVArgumentError, match=r"vault does not exist\. Create a vault there with create=True"):
            TableVault(vault_dir)
        assert not vault_dir.exists()
        with pytest.raises(TVArgumentError, match="is not a vault"):
            TableVault(tmp_path)
        (tmp_path / "file").touch()
        with pytest.raises(TVArgumentError, match="is not a vault"):
            TableVault(tmp_path / "file")

    def test_of_a_newer_format_is_refused(self, vault: TableVault, vault_dir: Path) -> None:
        (vault_dir / ".tablevault").write_text("tablevault_like 999\n")
        with pytest.raises(TVArgumentError, match=r"format 'tablevault_like 999'.*Install the release that wrote it"):
            TableVault(vault_dir)

    def test_without_its_catalog_is_told(self, vault: TableVault, vault_dir: Path) -> None:
        (vault_dir / "metadata/catalog.sqlite").unlink()
        with pytest.raises(TVFileError, match=r"catalog\.sqlite is missing\. Restore the vault from a backup"):
            TableVault(vault_dir).get_table_instances()
        assert not (vault_dir / "metadata/catalog.sqlite").exists()

    def test_a_vault_may_be_moved(self, vault: TableVault, vault_dir: Path) -> None:
        write(vault, "words", FRAME)
        elsewhere = vault_dir.rename(vault_dir.parent / "elsewhere")
        pd.testing.assert_frame_equal(TableVault(elsewhere).get_dataframe("words"), FRAME)

    def test_what_cannot_be_read_is_told(self, tmp_path: Path) -> None:
        (tmp_path / ".tablevault").mkdir()
        with pytest.raises(TVFileError, match=r"\.tablevault can't be read: Is a directory"):
            TableVault(tmp_path)
        (tmp_path / "circle").symlink_to("circle")
        with pytest.raises((TVArgumentError, TVFileError), match="circle"):
            TableVault(tmp_path / "circle")

    def test_is_shown_by_its_place_and_author(self, vault: TableVault, vault_dir: Path) -> None:
        assert repr(vault) == f"TableVault({str(vault_dir)!r}, 'ada')"

    def test_verbose_logs_what_happens(self, vault_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
        logger = logging.getLogger("tablevault_like")
        level, handlers = logger.level, list(logger.handlers)
        try:
            TableVault(vault_dir, create=True, verbose=True).create_table("words", process_id="p")
        finally:
            logger.setLevel(level)
            logger.handlers[:] = handlers
        assert "process p: completed" in caplog.text

    def test_by_a_link_is_the_same_vault(self, vault: TableVault, vault_dir: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(vault_dir)
        TableVault(tmp_path / "link").create_table("words")
        assert vault.get_table_instances() == ["words"]


class TestCreating:
    def test_makes_missing_folders(self, tmp_path: Path) -> None:
        TableVault(tmp_path / "a" / "b" / "vault", create=True, description="of words")
        assert TableVault(tmp_path / "a" / "b" / "vault").get_descriptions()["description"] == "of words"

    def test_takes_an_empty_folder(self, tmp_path: Path) -> None:
        (tmp_path / "vault").mkdir()
        assert TableVault(tmp_path / "vault", create=True).get_table_instances() == []

    def test_where_a_vault_is_is_refused(self, vault: TableVault, vault_dir: Path) -> None:
        vault.create_table("words")
        with pytest.raises(TVArgumentError, match=r"There is a vault at .* already\. Open it without create=True"):
            TableVault(vault_dir, create=True)
        assert TableVault(vault_dir).get_table_instances() == ["words"]

    @pytest.mark.parametrize("replace", [True, False])
    def test_where_something_else_is_is_refused(self, tmp_path: Path, replace: bool) -> None:
        (tmp_path / "thesis.txt").write_text("years of work")
        with pytest.raises(TVArgumentError, match="is not empty and not a vault"):
            TableVault(tmp_path, create=True, replace=replace)
        with pytest.raises(TVArgumentError, match="is not empty and not a vault"):
            TableVault(tmp_path / "thesis.txt", create=True, replace=replace)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_replace_deletes_the_vault_that_is_there(self, vault: TableVault, vault_dir: Path) -> None:
        write(vault, "words", FRAME)
        assert TableVault(vault_dir, create=True, replace=True).get_table_instances() == []
        assert [path.name for path in vault_dir.parent.iterdir()] == ["vault"]

    def test_replace_needs_create(self, vault: TableVault, vault_dir: Path) -> None:
        with pytest.raises(TVArgumentError, match="it needs create=True"):
            TableVault(vault_dir, replace=True)

    def test_replace_where_nothing_is_just_creates(self, vault_dir: Path) -> None:
        assert TableVault(vault_dir, create=True, replace=True).get_table_instances() == []

    def test_replace_does_not_follow_a_link_out_of_the_vault(self, vault: TableVault, vault_dir: Path) -> None:
        precious = vault_dir.parent / "precious"
        precious.mkdir()
        (precious / "thesis.txt").touch()
        (vault_dir / "code_functions" / "link").symlink_to(precious)
        TableVault(vault_dir, create=True, replace=True)
        assert (precious / "thesis.txt").exists()

    @pytest.mark.parametrize("where", ["inner", "words", "metadata/x/y", "."])
    @pytest.mark.parametrize("replace", [True, False])
    def test_a_vault_inside_a_vault_is_refused(
        self, vault: TableVault, vault_dir: Path, where: str, replace: bool
    ) -> None:
        vault.create_table("words")
        inner = TableVault(vault_dir.parent / "inner", create=True)
        Path(inner.db_dir).rename(vault_dir / "inner")  # by hand
        before = sorted(vault_dir.rglob("*"))
        if where == ".":
            vault_dir = vault_dir / "inner"
            where = "deeper"
        with pytest.raises(TVArgumentError, match=f"lies in the vault {vault_dir}, and a vault doesn't hold another"):
            TableVault(vault_dir / where, create=True, replace=replace)
        assert sorted(Path(vault.db_dir).rglob("*")) == before

    @pytest.mark.parametrize("place", ["/proc/xyz", "file/vault", "x" * 256])
    def test_where_no_folder_can_be_is_told(self, tmp_path: Path, place: str) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(tv_errors.TableVaultError, match=f"No vault can be created at .*{place}: [A-Z].* Choose"):
            TableVault(tmp_path / place, create=True)
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def test_a_name_may_be_as_long_as_the_file_system_allows(self, tmp_path: Path) -> None:
        assert TableVault(tmp_path / ("é" * 127), create=True).get_table_instances() == []


class TestNames:
    @pytest.mark.parametrize(
        "name", ["artifacts", "metadata", "code_functions", "builders", "locks", "restart", "_temp"]
    )
    def test_that_mean_something_else_are_forbidden(self, vault: TableVault, name: str) -> None:
        for each in (name, name.upper()):
            with pytest.raises(TVArgumentError, match=f"^Forbidden Table Name: {each}$"):
                vault.create_table(each)
        with pytest.raises(TVArgumentError, match="Forbidden Table Name: TEMP_x"):
            vault.create_table("TEMP_x")

    @pytest.mark.parametrize(
        "name", ["", "../x", "a/b", "a b", "é", ".hidden", "x" * 101, "a\n", "a\x00", "C:", "~", "a.b", 5, None]
    )
    def test_of_other_forms_are_refused_everywhere(self, vault: TableVault, vault_dir: Path, name: Any) -> None:
        before = sorted(vault_dir.rglob("*"))
        vault.create_table("words", process_id="p")
        vault.create_instance("words", builders=["words_index"])
        for call in (
            lambda: vault.create_table(name),
            lambda: vault.rename_table(name, "words"),
            lambda: vault.create_instance("words", name or "a/b"),
            lambda: vault.create_builder_file("words", name or "a/b", text=index("n")),
            lambda: vault.create_code_module(name or "a/b", text=CODE),
            lambda: vault.create_table("more", process_id=name if name not in ("", None, "a.b", "x" * 101) else "a/b"),
            lambda: vault.get_dataframe("words", name or "a/b"),
            lambda: vault.get_builder_str("words", name or "../../words_index"),
            lambda: vault.get_code_module_str(name),
            lambda: vault.delete_code_module(name),
            lambda: vault.delete_instance(name, "words"),
            lambda: vault.get_process(name),
            lambda: vault.stop_process(name),
        ):
            with pytest.raises((TVArgumentError, TVBuilderError)):
                call()
        assert vault.get_table_instances("words", include_temp=True) == ["TEMP_base"]
        assert not [path for path in vault_dir.parent.iterdir() if path != vault_dir]
        assert set(vault_dir.iterdir()) - {*before} == {vault_dir / "words"}

    def test_are_shown_as_they_are(self, vault: TableVault) -> None:
        with pytest.raises(TVArgumentError, match="The table name 'é' is not allowed: use 1 to 100 ASCII letters"):
            vault.create_table("é")
        with pytest.raises(TVArgumentError, match=r"The table name '\\x1b\[2J\\u202e' is not allowed"):
            vault.create_table("\x1b[2J\u202e")

    @pytest.mark.parametrize("name", ["class", "None", "async"])
    def test_of_modules_may_be_imported(self, vault: TableVault, name: str) -> None:
        with pytest.raises(TVArgumentError, match=f"code module name '{name}' can't be imported: .* keyword of Python"):
            vault.create_code_module(name, text=CODE)
        vault.create_code_module("match", text=CODE)

    def test_allowed_are_taken(self, vault: TableVault) -> None:
        vault.create_table("A-table_1" + "x" * 91, process_id="a.b_c-D" + "9" * 121)
        vault.create_instance("A-table_1" + "x" * 91, "v-1")
        assert vault.get_table_instances("A-table_1" + "x" * 91, include_temp=True) == ["TEMP_v-1"]


class TestEmptyStrings:
    """They mean "not given", wherever TableVault's users pass them."""

    def test_are_taken(self, vault: TableVault, vault_dir: Path) -> None:
        vault = TableVault(vault_dir, "ada", "", False, False, False, "")
        vault.create_table("words", False, False, "", "")
        vault.create_instance("words", "", "", "", True, False, None, "", "")
        vault.write_instance(FRAME, "words", "", None, None, "")
        vault.create_code_module("work", "", CODE, "")
        vault.create_instance("words", "", "", "", False, False, {}, "", "")
        vault.create_builder_file("words", "words_index", "", "", index("n"), "")
        vault.execute_instance("words", "", False, "", False)
        (written, executed) = vault.get_table_instances("words", "")
        assert vault.get_dataframe("words", "", "").attrs["instance_id"] == executed
        assert vault.get_descriptions("", "words")["table"] == "words"
        assert vault.get_descriptions("", "")["author"] == "ada"
        assert vault.get_builder_str("words", "", "", "", False) == index("n")
        assert vault.get_builders_list("words", "", "", False) == ["words_index"]
        assert Path(vault.get_artifact_folder("words", "", "", False)).parent.name == executed
        assert vault.get_table_instances("", "") == ["words"]
        assert written != executed


class TestUnknownNames:
    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda v: v.get_dataframe("wrods"), "There is no table 'wrods'. Did you mean 'words'?"),
            (lambda v: v.get_table_instances("wrods"), "There is no table 'wrods'. Did you mean 'words'?"),
            (lambda v: v.rename_table("x", "wrods"), "There is no table 'wrods'. Did you mean 'words'?"),
            (lambda v: v.delete_table("wrods"), "There is no table 'wrods'. Did you mean 'words'?"),
            (lambda v: v.create_instance("wrods"), "There is no table 'wrods'. Did you mean 'words'?"),
            (lambda v: v.execute_instance("wrods"), "There is no table 'wrods'. Did you mean 'words'?"),
            (lambda v: v.write_instance(FRAME, "wrods"), "There is no table 'wrods'. Did you mean 'words'?"),
            (lambda v: v.create_builder_file("wrods", "x"), "There is no table 'wrods'. Did you mean 'words'?"),
            (lambda v: v.get_descriptions("", "wrods"), "There is no table 'wrods'. Did you mean 'words'?"),
            (lambda v: v.get_file_tree("", "wrods"), "There is no table 'wrods'. Did you mean 'words'?"),
            (lambda v: v.get_dataframe("words", "TEMP_bse"), "no instance 'TEMP_bse'. Did you mean 'TEMP_base'?"),
            (lambda v: v.delete_instance("TEMP_bse", "words"), "no instance 'TEMP_bse'. Did you mean 'TEMP_base'?"),
            (lambda v: v.get_descriptions("TEMP_bse", "words"), "no instance 'TEMP_bse'. Did you mean 'TEMP_base'?"),
            (lambda v: v.get_dataframe("words", version="shrt"), "version 'shrt'. Did you mean 'short'?"),
            (lambda v: v.get_builder_str("words", "txt"), "no builder 'txt'. Did you mean 'text'?"),
            (lambda v: v.delete_builder_file("txt", "words"), "no builder 'txt'. Did you mean 'text'?"),
            (lambda v: v.get_code_module_str("wrk"), "There is no code module 'wrk'. Did you mean 'work'?"),
            (lambda v: v.delete_code_module("wrk"), "There is no code module 'wrk'. Did you mean 'work'?"),
            (lambda v: v.get_process("nightli"), "There is no process 'nightli'. Did you mean 'nightly'?"),
            (lambda v: v.stop_process("nightli"), "There is no process 'nightli'. Did you mean 'nightly'?"),
            (lambda v: v.get_process_completion("nightli"), "no process 'nightli'. Did you mean 'nightly'?"),
            (lambda v: v.create_instance("words", "x", "base_1"), "no instance 'base_1'. Known: "),
            (lambda v: v.create_instance("words", "x", "", "words"), "origin_table was given without origin_id"),
            (
                lambda v: v.write_instance(FRAME, "words", "ext", [("wrods", "x")]),
                "There is no table 'wrods'. Did you mean 'words'?",
            ),
            (lambda v: v.get_descriptions("TEMP_base"), "table_name is missing"),
        ],
    )
    def test_are_told_with_the_nearest_one(
        self, vault: TableVault, call: Callable[[TableVault], object], message: str
    ) -> None:
        write(vault, "words", FRAME, "short")
        vault.create_instance("words", "ext", external_edit=True)
        vault.create_instance("words", builders=["text"])
        vault.create_code_module("work", text=CODE, process_id="nightly")
        with pytest.raises(TVArgumentError) as caught:
            call(vault)
        assert message in str(caught.value)

    def test_that_no_process_has_an_id_is_told(self, vault: TableVault) -> None:
        with pytest.raises(TVArgumentError, match=r"There is no process 'zz'\. There are none yet\."):
            vault.get_process("zz")
        vault.create_table("words")
        with pytest.raises(TVArgumentError, match=r"There is no process 'zz'\. None was given an id yet") as caught:
            vault.get_process("zz")
        assert "get_active_processes()" in str(caught.value)


class TestTables:
    def test_are_listed_in_the_order_of_their_creation(self, vault: TableVault) -> None:
        assert vault.get_table_instances() == []
        for name in ("words", "letters", "atoms"):
            vault.create_table(name)
        assert vault.get_table_instances() == ["words", "letters", "atoms"]

    def test_cannot_be_made_twice(self, vault: TableVault) -> None:
        vault.create_table("words")
        with pytest.raises(TVArgumentError, match="There is a table 'words' already"):
            vault.make_table("words")

    def test_are_described(self, vault: TableVault) -> None:
        vault.create_table("words", True, True, "all of them")
        found = vault.get_descriptions(table_name="words")
        assert {name: found[name] for name in ("table", "description", "author")} == {
            "table": "words",
            "description": "all of them",
            "author": "ada",
        }
        assert (found["allow_multiple_artifacts"], found["has_side_effects"]) == (True, True)

    def test_keep_everything_when_they_are_renamed(self, vault: TableVault, vault_dir: Path) -> None:
        made = write(vault, "words", FRAME)
        vault.create_instance("words")
        write(vault, "copies", FRAME, dependencies=[("words", made)])
        vault.rename_table("terms", "words")
        assert vault.get_table_instances() == ["terms", "copies"]
        assert vault.get_table_instances("terms", include_temp=True) == [made, "TEMP_base"]
        pd.testing.assert_frame_equal(vault.get_dataframe("terms"), FRAME)
        (copy,) = vault.get_table_instances("copies")
        assert vault.get_descriptions(copy, "copies")["dependencies"] == [["terms", made]]
        assert (vault_dir / "terms" / made / "table.parquet").is_file()
        assert not (vault_dir / "words").exists()
        with pytest.raises(TVArgumentError, match="There is no table 'words'"):
            vault.get_dataframe("words")
        vault.create_table("words")

    def test_can_be_executed_after_they_were_renamed(self, vault: TableVault) -> None:
        begin(vault, "words", {"index": index("n")}, code=CODE)
        vault.rename_table("terms", "words")
        assert vault.get_builders_list("terms") == ["terms_index"]
        vault.execute_instance("terms")
        assert vault.get_dataframe("terms")["n"].tolist() == [1, 2]

    def test_cannot_take_a_name_that_is_taken(self, vault: TableVault) -> None:
        vault.create_table("words")
        vault.create_table("letters")
        with pytest.raises(TVArgumentError, match="There is a table 'letters' already"):
            vault.rename_table("letters", "words")
        with pytest.raises(TVArgumentError, match="Forbidden Table Name: artifacts"):
            vault.rename_table("artifacts", "words")

    def test_go_with_all_that_they_have(self, vault: TableVault, vault_dir: Path) -> None:
        write(vault, "words", FRAME)
        vault.delete_table("words")
        assert vault.get_table_instances() == []
        assert not (vault_dir / "words").exists()
        assert list((vault_dir / "metadata/trash").rglob("table.parquet"))
        vault.create_table("words")
        assert vault.get_table_instances("words") == []


class TestInstances:
    def test_are_listed_oldest_first(self, vault: TableVault) -> None:
        vault.create_table("words")
        assert vault.get_table_instances("words") == []
        made = [write(vault, "words", FRAME, version) for version in ("", "short", "", "a")]
        assert vault.get_table_instances("words") == made
        assert vault.get_table_instances("words", "base") == [made[0], made[2]]
        assert vault.get_table_instances("words", "none") == []
        vault.create_instance("words", "later")
        vault.create_instance("words")
        assert vault.get_table_instances("words", include_temp=True) == [*made, "TEMP_later", "TEMP_base"]
        assert vault.get_table_instances("words", "base", True) == [made[0], made[2], "TEMP_base"]

    def test_have_ids_of_version_time_and_something_unique(self, vault: TableVault) -> None:
        made = write(vault, "words", FRAME, "v-1")
        version, seconds, unique = made.split("_")
        assert (version, seconds.isdecimal(), len(unique)) == ("v-1", True, 36)

    def test_begin_with_the_builders_that_are_asked_for(self, vault: TableVault) -> None:
        vault.create_table("words")
        vault.create_instance("words")
        assert vault.get_builders_list("words") == ["words_index"]
        vault.create_instance("words", "named", builders=["text", "size"])
        assert vault.get_builders_list("words", version="named") == ["size", "text", "words_index"]
        text = f"# mine\n{column('x', function='rows')}"
        vault.create_instance("words", "given", builders={"text": text})
        assert vault.get_builder_str("words", "text", version="given") == text
        with pytest.raises(TVBuilderError, match=r"text\.yaml:1:1: There is no field 'x'"):
            vault.create_instance("words", "wrong", builders={"text": "x: 1"})

    def test_one_temporary_of_a_version_at_a_time(self, vault: TableVault) -> None:
        vault.create_table("words")
        vault.create_instance("words")
        with pytest.raises(TVArgumentError, match=r"Execute it, or delete it with delete_instance\('TEMP_base'"):
            vault.create_instance("words")
        vault.create_instance("words", "written", external_edit=True)
        with pytest.raises(TVArgumentError, match=r"Write it, or delete it with delete_instance\('TEMP_written'"):
            vault.create_instance("words", "written")

    def test_may_be_deleted(self, vault: TableVault, vault_dir: Path) -> None:
        made = write(vault, "words", FRAME)
        vault.create_instance("words")
        vault.delete_instance("TEMP_base", "words")
        vault.delete_instance(made, "words")
        assert vault.get_table_instances("words", include_temp=True) == []
        assert [path.name for path in (vault_dir / "words").iterdir()] == ["description.yaml"]

    def test_are_described(self, vault: TableVault) -> None:
        made = write(vault, "words", FRAME)
        vault.create_instance("words", "copy", made, description="once more")
        found = vault.get_descriptions(made, "words")
        assert found["columns"] == {"n": "int64", "text": "str"}
        assert (found["rows"], found["success"], found["active"], found["external_edit"]) == (3, True, True, True)
        assert (found["version"], found["author"], found["origin"]) == ("base", "ada", None)
        found = vault.get_descriptions("TEMP_copy", "words")
        assert (found["description"], found["origin"], found["rows"]) == ("once more", ["words", made], None)

    def test_copy_is_of_the_newest_one(self, vault: TableVault) -> None:
        build(vault, "words", {"index": index("n")}, code=CODE)
        build(vault, "words", {"index": index("m")})
        vault.create_instance("words", copy=True)
        assert vault.get_builder_str("words") == index("m")

    def test_copy_of_nothing_is_a_fresh_one(self, vault: TableVault) -> None:
        vault.create_table("words")
        vault.create_instance("words", copy=True)
        assert vault.get_builders_list("words") == ["words_index"]

    def test_copy_may_be_of_the_newest_one_of_another_table(self, vault: TableVault) -> None:
        build(vault, "words", {"index": index("n")}, code=CODE)
        build(vault, "words", {"index": index("m")})
        build(vault, "words", {"index": index("k")}, version="v2")
        base, v2 = vault.get_table_instances("words")[1:]
        vault.create_table("others")
        for version, origin, name in (("base", base, "m"), ("v2", v2, "k"), ("v3", v2, "k")):
            vault.create_instance("others", version, origin_table="words", copy=True)
            assert vault.get_descriptions(f"TEMP_{version}", "others")["origin"] == ["words", origin]
            assert vault.get_builder_str("others", version=version) == index(name)

    def test_copy_of_another_table_without_instances_is_a_fresh_one(self, vault: TableVault) -> None:
        vault.create_table("words")
        write(vault, "others", FRAME)
        vault.create_instance("others", origin_table="words", copy=True)
        assert vault.get_builders_list("others") == ["others_index"]
        assert vault.get_descriptions("TEMP_base", "others")["origin"] is None
        with pytest.raises(TVArgumentError, match=r"There is no table 'wrods'\. Did you mean 'words'"):
            vault.create_instance("others", "v2", origin_table="wrods", copy=True)


class TestWriting:
    @pytest.fixture
    def words(self, vault: TableVault) -> TableVault:
        vault.create_table("words")
        vault.create_instance("words", external_edit=True)
        return vault

    def test_needs_an_instance_that_is_edited_externally(self, vault: TableVault) -> None:
        vault.create_table("words")
        message = r"Create one with create_instance\('words', version='base', external_edit=True\)\."
        with pytest.raises(TVArgumentError, match=message):
            vault.write_instance(FRAME, "words")
        with pytest.raises(TVArgumentError, match=r"Create one with create_instance\('words', version='base'\)\."):
            vault.execute_instance("words")
        vault.create_instance("words")
        with pytest.raises(TVArgumentError, match="create the instance with external_edit=True"):
            vault.write_instance(FRAME, "words")

    def test_has_no_builders(self, words: TableVault) -> None:
        with pytest.raises(TVArgumentError, match="edited externally"):
            words.create_builder_file("words", "text")
        words.create_table("more")
        with pytest.raises(TVArgumentError, match="has no builders"):
            words.create_instance("more", external_edit=True, builders=["text"])

    def test_keeps_dependencies_and_dtypes(self, words: TableVault) -> None:
        source = write(words, "sources", FRAME)
        words.write_instance(FRAME, "words", dependencies=[("sources", source)], dtypes={"n": "Int8"})
        (made,) = words.get_table_instances("words")
        assert words.get_descriptions(made, "words")["dependencies"] == [["sources", source]]
        assert str(words.get_dataframe("words")["n"].dtype) == "Int8"

    @pytest.mark.parametrize(
        ("frame", "dtypes", "error", "message"),
        [
            (FRAME, {"n": "Int99"}, TVArgumentError, "There is no dtype 'Int99'"),
            (FRAME, {"m": "Int8"}, TVArgumentError, "dtypes names the column 'm', which isn't there"),
            (FRAME, {"text": "Int8"}, TVTableError, "Row 0 of column 'text' holds 'one'"),
            (pd.DataFrame({"x": [object()]}), {}, TVTableError, "Column 'x', row 0"),
            (pd.DataFrame({1: [1]}), {}, TVTableError, "label 1"),
            (pd.DataFrame([[1, 2]], columns=["a", "a"]), {}, TVTableError, "Two columns are named 'a'"),
            (FRAME.set_index("n"), {}, TVTableError, r"index named 'n'\. Call reset_index"),
            (FRAME, {"text": "artifact_string"}, TVArtifactError, "'one'"),
            (pd.DataFrame({"x": ["é\n"]}), {"x": "Int8"}, TVTableError, r"holds 'é\\n'"),
            (pd.DataFrame({"x": ["é.txt"]}), {"x": "artifact_string"}, TVArtifactError, "'é.txt'"),
            ([1, 2], {}, TVArgumentError, "DataFrame"),
        ],
    )
    def test_what_does_not_fit_is_told_and_leaves_nothing(
        self, words: TableVault, frame: Any, dtypes: dict[str, str], error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            words.write_instance(frame, "words", dtypes=dtypes)
        assert words.get_table_instances("words", include_temp=True) == ["TEMP_base"]
        words.write_instance(FRAME, "words")
        assert len(words.get_dataframe("words")) == 3

    def test_none_resumes_with_the_frame_that_was_kept(self, words: TableVault) -> None:
        frame = pd.DataFrame({"page": ["one.txt"]})
        dtypes = {"page": "artifact_string"}
        with pytest.raises(TVArtifactError, match="the artifact folder of the instance, first"):
            words.write_instance(frame, "words", dtypes=dtypes, process_id="p")
        assert words.get_process("p").status == "paused"
        Path(words.get_artifact_folder("words"), "one.txt").write_text("one")
        assert words.write_instance(None, "words", dtypes=dtypes, process_id="p") == "p"
        assert words.get_dataframe("words", full_artifact_path=False)["page"].tolist() == ["one.txt"]
        assert words.write_instance(None, "words", dtypes=dtypes, process_id="p") == "p"

    def test_none_without_a_process_is_refused(self, words: TableVault) -> None:
        with pytest.raises(TVProcessError, match=r"no frame to write.*Call write_instance\(\) with the frame"):
            words.write_instance(None, "words", process_id="p")
        with pytest.raises(TVProcessError, match="no frame to write"):
            words.write_instance(None, "words")

    def test_does_not_see_what_happens_to_the_frame_later(self, words: TableVault) -> None:
        frame = FRAME.copy()
        words.write_instance(frame, "words")
        frame.loc[0, "n"] = 99
        assert words.get_dataframe("words")["n"].tolist() == [1, 2, 3]

    def test_an_empty_frame_is_a_frame(self, words: TableVault) -> None:
        words.write_instance(FRAME.head(0), "words")
        pd.testing.assert_frame_equal(words.get_dataframe("words"), FRAME.head(0))


class TestGetDataframe:
    def test_names_what_was_read(self, vault: TableVault) -> None:
        made = write(vault, "words", FRAME)
        assert vault.get_dataframe("words").attrs == {"table_name": "words", "instance_id": made}

    def test_gives_the_newest_of_a_version(self, vault: TableVault) -> None:
        old = write(vault, "words", FRAME.head(1))
        write(vault, "words", FRAME.head(2))
        write(vault, "words", FRAME.head(0), "other")
        assert len(vault.get_dataframe("words")) == 2
        assert len(vault.get_dataframe("words", version="other")) == 0
        assert len(vault.get_dataframe("words", old)) == 1
        assert len(vault.get_dataframe("words", old, "other")) == 1

    @pytest.mark.parametrize(("rows", "expected"), [(None, 3), (0, 0), (2, 2), (99, 3)])
    def test_rows_limits_it(self, vault: TableVault, rows: int | None, expected: int) -> None:
        write(vault, "words", FRAME)
        frame = vault.get_dataframe("words", rows=rows)
        assert frame["n"].tolist() == [1, 2, 3][:expected]
        assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {"n": "int64", "text": "str"}

    def test_negative_rows_are_refused(self, vault: TableVault) -> None:
        write(vault, "words", FRAME)
        with pytest.raises(TVArgumentError, match="rows must be a number of rows, or None for all: -1"):
            vault.get_dataframe("words", rows=-1)

    def test_what_is_done_to_the_frame_stays_with_the_caller(self, vault: TableVault) -> None:
        write(vault, "words", FRAME)
        frame = vault.get_dataframe("words")
        frame["n"] = 0
        assert vault.get_dataframe("words")["n"].tolist() == [1, 2, 3]

    def test_full_artifact_path(self, vault: TableVault) -> None:
        vault.create_table("words")
        vault.create_instance("words", external_edit=True)
        folder = Path(vault.get_artifact_folder("words"))
        (folder / "sub").mkdir()
        (folder / "sub" / "one.txt").write_text("one")
        frame = pd.DataFrame({"page": ["sub/one.txt", None]})
        vault.write_instance(frame, "words", dtypes={"page": "artifact_string"})
        page, missing = vault.get_dataframe("words")["page"]
        assert Path(page).read_text() == "one"
        assert missing is pd.NA
        assert vault.get_dataframe("words", full_artifact_path=False)["page"].tolist() == ["sub/one.txt", pd.NA]
        assert Path(vault.get_artifact_folder("words", is_temp=False), "sub/one.txt") == Path(page)


class TestBuilderFilesAndCode:
    def test_are_given_as_they_were_written(self, vault: TableVault) -> None:
        text = f"# é, and\r\n{index('n')}"
        vault.create_table("words")
        vault.create_instance("words")
        vault.create_builder_file("words", "words_index", text=text)
        assert vault.get_builder_str("words") == vault.get_builder_str("words", "words_index") == text
        vault.create_code_module("work", text="# é\n" + CODE)
        assert vault.get_code_module_str("work") == "# é\n" + CODE
        assert vault.get_code_modules_list() == ["work"]

    def test_replace_what_has_their_name(self, vault: TableVault) -> None:
        vault.create_table("words")
        vault.create_instance("words")
        for columns in ("a", "b"):
            vault.create_builder_file("words", "words_index", text=index(columns))
            vault.create_code_module("work", text=f"# {columns}")
        assert vault.get_builder_str("words") == index("b")
        assert vault.get_code_module_str("work") == "# b"

    def test_come_from_files_and_folders(self, vault: TableVault, tmp_path: Path) -> None:
        sources = tmp_path / "sources"
        sources.mkdir()
        (sources / "words_index.yaml").write_text(index("n"))
        (sources / "more.yaml").write_text(column("more", function="rows"))
        (sources / "work.py").write_text(CODE)
        (sources / "notes.txt").write_text("not for us")
        vault.create_table("words")
        vault.create_instance("words")
        vault.create_builder_file("words", copy_dir=str(sources))
        vault.create_builder_file("words", "renamed", copy_dir=str(sources / "more.yaml"))
        vault.create_builder_file("words", "more", copy_dir=str(sources))
        assert vault.get_builders_list("words") == ["more", "renamed", "words_index"]
        vault.create_code_module(copy_dir=str(sources))
        vault.create_code_module("other", str(sources / "work.py"))
        assert vault.get_code_modules_list() == ["other", "work"]

    def test_from_nowhere_are_templates_that_work(self, vault: TableVault) -> None:
        vault.create_table("words")
        vault.create_instance("words")
        vault.create_builder_file("words", "words_index")
        vault.create_builder_file("words", "text")
        vault.create_code_module("work")
        vault.execute_instance("words")
        assert list(vault.get_dataframe("words").columns) == ["id", "text"]

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda v, d: v.create_builder_file("words"), "Give the builder's name, or copy_dir="),
            (lambda v, d: v.create_code_module(), "Give the code module's name, or copy_dir="),
            (
                lambda v, d: v.create_builder_file("words", "x", copy_dir=f"{d}/none.yaml"),
                "no file .*none.yaml",
            ),
            (lambda v, d: v.create_code_module("x", f"{d}/none"), "none is neither a folder nor a .py file"),
            (lambda v, d: v.create_code_module(copy_dir=str(d)), "holds no .py files"),
            (lambda v, d: v.create_builder_file("words", "x_index", text=index("n")), "Only the table's IndexBuilder"),
            (lambda v, d: v.create_code_module("class x", text=CODE), "not allowed"),
            (lambda v, d: v.create_code_module("a-b", text=CODE), "must be a Python identifier"),
            (lambda v, d: v.create_code_module("x", text="def x(:"), r"x\.py:1:7: This is not Python"),
            (lambda v, d: v.create_code_module("x", str(d), CODE), "text=, or where it lies as copy_dir=, not both"),
            (lambda v, d: v.create_builder_file("words", "x", "", str(d), "a: 1"), "not both"),
        ],
    )
    def test_mistakes_are_told(
        self, vault: TableVault, tmp_path: Path, call: Callable[[TableVault, Path], object], message: str
    ) -> None:
        vault.create_table("words")
        vault.create_instance("words")
        empty = tmp_path / "empty"
        empty.mkdir()
        with pytest.raises((TVArgumentError, TVBuilderError), match=message):
            call(vault, empty)
        assert vault.get_builders_list("words") == ["words_index"]
        assert vault.get_code_modules_list() == []

    def test_a_folder_with_files_that_would_be_skipped_is_refused(self, vault: TableVault, tmp_path: Path) -> None:
        (tmp_path / "sources").mkdir()
        (tmp_path / "sources" / "size.yaml").write_text(column("size", function="rows"))
        (tmp_path / "sources" / "more.yml").write_text(column("more", function="rows"))
        vault.create_table("words")
        vault.create_instance("words")
        with pytest.raises(TVArgumentError, match=r"more\.yml in the folder .* would be skipped.* ends in \.yaml"):
            vault.create_builder_file("words", copy_dir=tmp_path / "sources")
        assert vault.get_builders_list("words") == ["words_index"]
        vault.create_builder_file("words", "size", copy_dir=tmp_path / "sources")  # what is named isn't skipped

    def test_files_that_are_no_builders_are_not_listed_and_stop_an_execution(
        self, vault: TableVault, vault_dir: Path
    ) -> None:
        begin(vault, "words", {"index": index("n")}, code=CODE)
        folder = vault_dir / "words/TEMP_base/builders"
        (folder / "folder.yaml").mkdir()
        (folder / "link.yaml").symlink_to("words_index.yaml")
        (folder / "bad name.yaml").write_text(column("x", function="rows"))
        (folder / "other.yml").write_text(column("x", function="rows"))
        assert vault.get_builders_list("words") == ["words_index"]
        with pytest.raises(TVFileError, match=r"link\.yaml is a link"):
            vault.get_builder_str("words", "link")
        for name in ("bad name", "folder", "../builders/words_index"):
            with pytest.raises(TVArgumentError, match=f"has no builder '{name}'"):
                vault.get_builder_str("words", name)
        for name, message in {
            "other.yml": r"other\.yml: The name of a builder file ends in \.yaml",
            "bad name": r"bad name\.yaml: The builder name 'bad name' is not allowed.* Rename the file",
            "folder": r"folder\.yaml: This is a link, or no file",
            "link": r"link\.yaml: This is a link, or no file",
        }.items():
            with pytest.raises(TVBuilderError, match=message) as caught:
                vault.execute_instance("words")
            assert caught.value.location is not None
            path = Path(caught.value.location.path)
            assert path == folder / (name if name.endswith(".yml") else f"{name}.yaml")
            path.rmdir() if name == "folder" else path.unlink()
        vault.execute_instance("words")

    def test_only_the_form_is_checked_when_a_builder_is_created(self, vault: TableVault) -> None:
        vault.create_table("words")
        vault.create_instance("words")
        text = column("x", function="nothing", arguments={"y": "<<nowhere.z[index]>>"})
        vault.create_builder_file("words", "x", text=text)
        assert vault.get_builders_list("words") == ["words_index", "x"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("builder_type: ColumnBuilder\nchanged_column: [x]\n", r"x\.yaml:2:1: There is no field 'changed_column'"),
            ("builder_type: [", r"x\.yaml:1:16: This is not YAML"),
            ("a: &x 1\n", r"x\.yaml:1:4: .*[Aa]nchor"),
            ("a: !!python/object:os.system 1\n", r"x\.yaml:1:4: .*tag"),
            ("a: 1\na: 2\n", r"x\.yaml:2:1: The key 'a' is given twice"),
            ("é: 1\né: 2\n", r"x\.yaml:2:1: The key 'é' is given twice"),
            ("a: " + "[" * 60 + "]" * 60, "deep"),
            ("a: b\n" * 1_000_000, "more than 1,048,576 characters"),
            ("", "is empty"),
            ("- 1", "does not hold fields"),
        ],
    )
    def test_yaml_is_read_safely(self, vault: TableVault, text: str, message: str) -> None:
        vault.create_table("words")
        vault.create_instance("words")
        with pytest.raises(TVBuilderError, match=message):
            vault.create_builder_file("words", "x", text=text or "\n")

    def test_of_a_materialized_instance_are_read_with_is_temp_false(self, vault: TableVault) -> None:
        build(vault, "words", {"index": index("n")}, code=CODE)
        vault.create_instance("words", builders=["more"])
        (made,) = vault.get_table_instances("words")
        assert vault.get_builders_list("words") == ["more", "words_index"]
        assert vault.get_builders_list("words", is_temp=False) == ["words_index"]
        assert vault.get_builders_list("words", made) == ["words_index"]
        assert vault.get_builder_str("words", instance_id=made) == index("n")

    def test_of_a_temporary_instance_that_is_not_there_are_told_where_else_to_look(self, vault: TableVault) -> None:
        instance_id = write(vault, "words", FRAME)

        for read in (vault.get_builders_list, vault.get_builder_str, vault.get_artifact_folder):
            with pytest.raises(TVArgumentError) as caught:
                read("words")
            assert str(caught.value) == (
                "Table 'words' has no temporary instance of version 'base'. Create one with create_instance('words', "
                "version='base'), or read the newest materialized one with is_temp=False."
            )
        with pytest.raises(TVArgumentError, match=f"words/{instance_id} was written as a frame, so it has no builders"):
            vault.get_builder_str("words", instance_id=instance_id)

    def test_an_instance_id_wins_over_version_and_kind(self, vault: TableVault) -> None:
        build(vault, "words", {"index": index("n")}, code=CODE)
        (made,) = vault.get_table_instances("words")
        vault.create_instance("words", builders=["text"])

        assert vault.get_builders_list("words", made, "other", is_temp=True) == ["words_index"]
        assert vault.get_builders_list("words", "TEMP_base", "other", is_temp=False) == ["text", "words_index"]
        assert vault.get_builder_str("words", "", made, "other") == index("n")
        assert Path(vault.get_artifact_folder("words", made, "other")).parent.name == made


class TestFileTree:
    def test_shows_what_is_asked_for(self, vault: TableVault) -> None:
        build(vault, "words", {"index": index("n")}, code=CODE)
        (made,) = vault.get_table_instances("words")

        def shown(**fields: Any) -> str:
            console = Console(width=200, color_system=None)
            with console.capture() as capture:
                console.print(vault.get_file_tree(**fields))
            return capture.get()

        assert all(name in shown() for name in ("words/", f"{made}/", "work.py", "words_index.yaml", "table.parquet"))
        assert "catalog.sqlite" not in shown()
        assert "catalog.sqlite" in shown(metadata_files=True)
        assert "work.py" not in shown(code_files=False)
        assert "words_index.yaml" not in shown(builder_files=False)
        assert "artifacts/" in shown(artifact_files=True)
        assert "code_functions" not in shown(table_name="words")
        assert "words_index.yaml" in shown(instance_id=made, table_name="words")


class TestProcesses:
    def test_ids_are_generated(self, vault: TableVault) -> None:
        first, second = vault.generate_process_id(), vault.generate_process_id()
        assert first != second
        assert vault.create_table("words", process_id=first) == first

    def test_completion_is_told(self, vault: TableVault) -> None:
        vault.create_table("words", process_id="p")
        assert vault.get_process_completion("p") is True
        begin(vault, "numbers", {"index": index("n", function="fail")}, code="def fail():\n    yield 1\n    1 / 0\n")
        with pytest.raises(ZeroDivisionError):
            vault.execute_instance("numbers", process_id="q")
        assert vault.get_process_completion("q") is False
        vault.stop_process("q")
        assert vault.get_process_completion("q") is False
        with pytest.raises(ZeroDivisionError):
            vault.execute_instance("numbers", process_id="r")
        vault.stop_process("r", materialize=True)
        assert vault.get_process_completion("r") is True

    def test_stopping_returns_the_targets_id_and_ends_it_once(self, vault: TableVault) -> None:
        begin(vault, "numbers", {"index": index("n", function="fail")}, code="def fail():\n    1 / 0\n")
        with pytest.raises(ZeroDivisionError):
            vault.execute_instance("numbers", process_id="p")
        assert vault.stop_process("p") == "p"
        for force in (True, False):
            with pytest.raises(TVProcessError, match=r"'p' has ended \(reverted\), so there is nothing") as caught:
                vault.stop_process("p", force)
            assert caught.value.process_id == "p"
        vault.create_table("words", process_id="done")
        with pytest.raises(TVProcessError, match=r"'done' has ended \(completed\)"):
            vault.stop_process("done", True, True)

    def test_what_cannot_be_kept_in_part_is_told(self, vault: TableVault) -> None:
        vault.create_table("words")
        vault.create_instance("words", external_edit=True)
        with pytest.raises(TVArtifactError):
            vault.write_instance(FRAME, "words", dtypes={"text": "artifact_string"}, process_id="p")
        with pytest.raises(TVArgumentError, match="What write_instance has done can't be kept in part"):
            vault.stop_process("p", materialize=True)
        assert vault.get_process("p").status == "paused"
        vault.stop_process("p")

    def test_are_recorded_in_full(self, vault: TableVault) -> None:
        code = "def rows():\n    yield from [1, 2, 3]\ndef half(n):\n    return 6 / (n - 2)\n"
        half = column("half", function="half", arguments={"n": "<<self.n[index]>>"})
        begin(vault, "numbers", {"index": index("n"), "half": half}, code=code)
        with pytest.raises(ZeroDivisionError):
            vault.execute_instance("numbers", process_id="p")
        process = vault.get_active_processes()["p"]
        assert process == vault.get_process("p")
        assert (process.operation, process.author, process.state) == ("execute_instance", "ada", State.PAUSED)
        assert process.arguments["table_name"] == "numbers"
        assert (process.is_alive, process.pid, process.parent_id) == (False, os.getpid(), None)
        assert process.created_at <= (process.started_at or 0) <= process.updated_at
        assert process.steps_done == ("numbers_index",)
        assert process.steps_to_come == ("half", "materialize")
        assert (process.rows_done, process.rows_failed, process.rows_total) == (1, 1, 3)
        assert process.locks == ("numbers/TEMP_base (exclusive)",)
        assert process.error is not None
        assert process.error.type == "ZeroDivisionError"
        assert "return 6 / (n - 2)" in process.error.traceback
        assert process.next_steps.startswith("Call execute_instance again with process_id='p'")

    def test_an_id_belongs_to_one_piece_of_work(self, vault: TableVault) -> None:
        vault.create_table("words", process_id="p")
        with pytest.raises(
            TVArgumentError, match=r"'p' was started for other work .*table_name: 'words' then, 'more' now"
        ):
            vault.create_table("more", process_id="p")
        begin(vault, "numbers", {"index": index("n")})
        text = column("size", function="rows", arguments={"x": "y" * 500})
        vault.create_builder_file("numbers", "size", text=text + "# one", process_id="q")
        with pytest.raises(TVArgumentError) as caught:
            vault.create_builder_file("numbers", "size", text=text + "# two", process_id="q")
        assert "texts['size']: '...yyyyyyyyyyy" in str(caught.value)
        assert "# one' then, '...yyyyyyy" in str(caught.value)
        assert len(str(caught.value)) < 400
        with pytest.raises(TVArgumentError, match=r"texts\['other'\]: missing then, 'builder_type.*\.\.\.' now"):
            vault.create_builder_file("numbers", "other", text=text, process_id="q")
        with pytest.raises(
            TVArgumentError, match="'p' was started by create_table, so it can't be used for delete_table"
        ):
            vault.delete_table("words", process_id="p")

    def test_an_id_that_was_reverted_may_be_used_again(self, vault: TableVault) -> None:
        with pytest.raises(TVArgumentError):
            vault.rename_table("x", "words", process_id="p")
        assert vault.create_table("words", process_id="p") == "p"


class TestThreadsAndInterpreters:
    def test_one_vault_object_serves_many_threads(self, vault: TableVault) -> None:
        errors: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for each in range(3):
                    vault.create_table(f"table_{number}_{each}")
                    write(vault, f"table_{number}_{each}", FRAME)
                    assert len(vault.get_dataframe(f"table_{number}_{each}")) == 3
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(vault.get_table_instances()) == 12

    def test_one_that_was_opened_in_a_thread_that_ended_still_works(self, vault_dir: Path) -> None:
        opened: list[TableVault] = []
        thread = threading.Thread(target=lambda: opened.append(TableVault(vault_dir, "ada", create=True)))
        thread.start()
        thread.join()
        (vault,) = opened
        vault.create_table("words")
        assert vault.get_table_instances() == ["words"]

    def test_several_on_one_vault_see_each_other_at_once(self, vault: TableVault, vault_dir: Path) -> None:
        other = TableVault(vault_dir, "bob")
        other.create_table("words")
        assert vault.get_table_instances() == ["words"]
        process_id = vault.create_instance("words", external_edit=True)
        assert other.get_process(process_id).author == "ada"

    def test_two_vaults_have_nothing_to_do_with_each_other(self, vault: TableVault, tmp_path: Path) -> None:
        other = TableVault(tmp_path / "other", "bob", create=True)
        for each in (vault, other):
            write_code(each, CODE)
            each.create_table("words", process_id="p")
        assert (vault.get_process("p").author, other.get_process("p").author) == ("ada", "bob")
        with pytest.raises(TVArgumentError):
            vault.get_process(other.create_table("more"))

    def test_nothing_is_left_open(self, vault: TableVault, vault_dir: Path) -> None:
        build(vault, "words", {"index": index("n")}, code=CODE)
        vault.get_dataframe("words")
        held = {str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}
        ours = {path for path in held if path.startswith(str(vault_dir))}
        assert ours <= {str(vault_dir / "metadata/catalog.sqlite")}

    def test_a_vault_can_be_handed_to_a_worker(self, vault_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(vault_dir.parent)
        vault = TableVault(vault_dir.name, "ada", create=True, lock_timeout=7.5)
        vault.create_table("words")
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context, initializer=os.chdir, initargs=("/",)) as pool:
            process_id = pool.submit(TableVault.create_instance, vault, "words").result()
        assert vault.get_process(process_id).author == "ada"
        assert vault.get_process(process_id).pid != os.getpid()
        assert vault.get_table_instances("words", include_temp=True) == ["TEMP_base"]

    def test_a_copy_opens_the_same_vault_in_the_same_way(self, vault_dir: Path) -> None:
        TableVault(vault_dir, "ada", create=True).create_table("words")
        vault = TableVault(vault_dir, "bob", parent_id="p", lock_timeout=0)
        again = pickle.loads(pickle.dumps(vault))
        assert (again.db_dir, again.author, repr(again)) == (vault.db_dir, "bob", repr(vault))
        with pytest.raises(TVArgumentError, match="There is no process 'p'"):
            again.create_table("more")
        assert again.get_table_instances() == ["words"]


class TestFilesOfAnInstance:
    def test_are_readable_for_others_and_written_by_nobody(self, vault: TableVault, vault_dir: Path) -> None:
        made = write(vault, "words", FRAME)
        for path in (vault_dir / "words" / made).rglob("*"):
            if path.is_file():
                assert not stat.S_IMODE(path.stat().st_mode) & 0o222

    def test_can_be_read_with_pandas_alone(self, vault: TableVault, vault_dir: Path) -> None:
        made = write(vault, "words", FRAME)
        frame = pd.read_parquet(vault_dir / "words" / made / "table.parquet")
        pd.testing.assert_frame_equal(frame, FRAME)

    def test_that_are_gone_are_told(self, vault: TableVault, vault_dir: Path) -> None:
        made = write(vault, "words", FRAME)
        (vault_dir / "words" / made / "table.parquet").unlink()
        with pytest.raises(TVFileError, match=f"The catalog knows words/{made}, but its file .* is missing"):
            vault.get_dataframe("words")
