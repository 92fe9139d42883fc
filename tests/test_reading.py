"""Reading while others change the vault: it waits for nobody, and looks again when a file has vanished."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.storage import tables


@pytest.fixture
def vault(vault_dir: Path) -> TableVault:
    found = TableVault(vault_dir, create=True)
    write(found, 1)
    return found


def write(vault: TableVault, value: int) -> str:
    if "numbers" not in vault.get_table_instances():
        vault.create_table("numbers")
    vault.create_instance("numbers", external_edit=True)
    vault.write_instance(pd.DataFrame({"number": [value]}), "numbers")
    return vault.get_table_instances("numbers")[-1]


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], list[Path]]:
    """Return what makes something happen right before a table is read, and tells what was read."""

    def prepare(change: Callable[[], object]) -> list[Path]:
        read, original = list[Path](), tables.read_table

        def read_table(path: Path, **fields: Any) -> pd.DataFrame:
            read.append(path)
            if len(read) == 1:
                change()
            return original(path, **fields)

        monkeypatch.setattr(tables, "read_table", read_table)
        return read

    return prepare


class TestAFileThatVanishes:
    def test_is_looked_for_again(self, vault: TableVault, meanwhile: Any) -> None:
        """The table's folder follows a rename, and another table takes its name."""

        def change() -> None:
            vault.rename_table("old", "numbers")
            write(vault, 2)

        read = meanwhile(change)

        assert vault.get_dataframe("numbers")["number"].tolist() == [2]
        assert [path.parts[-3] for path in read] == ["numbers", "numbers"]

    def test_of_what_was_deleted_is_told_as_that(self, vault: TableVault, meanwhile: Any) -> None:
        (instance,) = vault.get_table_instances("numbers")
        meanwhile(lambda: vault.delete_instance(instance, "numbers"))

        with pytest.raises(TVArgumentError, match=f"has no instance '{instance}'"):
            vault.get_dataframe("numbers", instance)

    def test_of_a_table_that_was_deleted_too(self, vault: TableVault, meanwhile: Any) -> None:
        meanwhile(lambda: vault.delete_table("numbers"))

        with pytest.raises(TVArgumentError, match="There is no table 'numbers'"):
            vault.get_dataframe("numbers")

    def test_for_good_is_corruption_and_is_reported(self, vault: TableVault, vault_dir: Path) -> None:
        (path,) = vault_dir.glob("numbers/*/table.parquet")
        path.unlink()

        with pytest.raises(TVFileError, match=r"its file .*table\.parquet is missing\. Restore it") as caught:
            vault.get_dataframe("numbers")

        assert caught.value.path == str(path)

    def test_is_not_a_file_that_is_damaged(self, vault: TableVault, vault_dir: Path, meanwhile: Any) -> None:
        (path,) = vault_dir.glob("numbers/*/table.parquet")
        path.chmod(0o600)
        path.write_bytes(b"PAR1 no more")
        read = meanwhile(lambda: None)

        with pytest.raises(TVFileError, match=r"can't be read"):
            vault.get_dataframe("numbers")
        assert len(read) == 1


def test_a_new_instance_is_not_half_read(vault: TableVault, meanwhile: Any) -> None:
    """What was found first is what is read: an instance never changes."""
    first = vault.get_table_instances("numbers")[0]
    meanwhile(lambda: write(vault, 2))

    frame = vault.get_dataframe("numbers")

    assert (frame["number"].tolist(), frame.attrs["instance_id"]) == ([1], first)
    assert vault.get_dataframe("numbers")["number"].tolist() == [2]
