"""Descriptions of the vault, its tables and its instances can be changed at any time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from tablevault_like import TableVault
from tablevault_like.errors import TVArgumentError, TVLockError
from tests import states
from tests.tables import GATED_ROWS, Background, begin, build, gates, index


@pytest.fixture
def vault(vault_dir: Path) -> TableVault:
    vault = TableVault(vault_dir, "ada", "as it was", create=True, lock_timeout=0)
    build(vault, "numbers", {"index": index("n")}, code="def rows(): yield 1", description="as it was")
    return vault


def test_of_the_vault(vault: TableVault) -> None:
    vault.set_description("as it is")

    assert vault.get_descriptions()["description"] == "as it is"
    assert vault.get_descriptions()["author"] == "ada"


def test_of_a_table_and_the_copy_in_its_folder(vault: TableVault, vault_dir: Path) -> None:
    before = vault.get_descriptions(table_name="numbers")

    vault.set_description("as it is: näher", "numbers")

    assert vault.get_descriptions(table_name="numbers") == {**before, "description": "as it is: näher"}
    copy = yaml.safe_load((vault_dir / "numbers" / "description.yaml").read_text(encoding="utf-8"))
    assert time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(copy.pop("created_at"))) == copy["created"]
    assert copy == vault.get_descriptions(table_name="numbers")


def test_of_an_instance_whose_files_stay_as_they_are(vault: TableVault, vault_dir: Path) -> None:
    (instance,) = vault.get_table_instances("numbers")
    before = states.state(vault_dir)["files"]

    vault.set_description("as it is", "numbers", instance)

    assert vault.get_descriptions(instance, "numbers")["description"] == "as it is"
    assert states.state(vault_dir)["files"] == before
    states.assert_sound(vault_dir)


def test_of_a_temporary_instance_goes_over_to_what_is_made_of_it(vault: TableVault) -> None:
    vault.create_instance("numbers", copy=True, description="as it was")
    vault.set_description("as it is", "numbers", "TEMP_base")
    vault.execute_instance("numbers")
    instance = vault.get_table_instances("numbers")[-1]

    assert vault.get_descriptions(instance, "numbers")["description"] == "as it is"


def test_while_something_runs(vault: TableVault) -> None:
    (instance,) = vault.get_table_instances("numbers")
    begin(vault, "numbers", {"index": index("n")}, code=GATED_ROWS)
    with gates("row") as (row,):
        running = Background(vault.execute_instance, "numbers", process_id="p")
        row.await_arrival()
        vault.set_description("the vault")
        vault.set_description("the table", "numbers")
        vault.set_description("the instance", "numbers", instance)
        with pytest.raises(TVLockError, match="held by process 'p'"):
            vault.set_description("what is made", "numbers", "TEMP_base")
        row.open()
        running.result()
    assert vault.get_descriptions(table_name="numbers")["description"] == "the table"
    assert vault.get_descriptions(instance, "numbers")["description"] == "the instance"


def test_can_be_emptied_and_done_again_under_an_id(vault: TableVault) -> None:
    assert vault.set_description("", "numbers", process_id="p") == "p"
    assert vault.get_descriptions(table_name="numbers")["description"] == ""
    assert vault.set_description("", "numbers", process_id="p") == "p"
    with pytest.raises(TVArgumentError, match="description: '' then, 'x' now"):
        vault.set_description("x", "numbers", process_id="p")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (("number",), "Did you mean 'numbers'"),
        (("numbers", "base"), "has no instance 'base'"),
        (("", "TEMP_base"), "table_name is missing"),
    ],
)
def test_of_what_is_not_there_are_refused(vault: TableVault, target: tuple[str, ...], message: str) -> None:
    with pytest.raises(TVArgumentError, match=message):
        vault.set_description("x", *target)
