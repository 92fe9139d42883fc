"""``tvl check`` on a terminal and for programs: what it shows, and what its exit code tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.check import checking
from tests.cli.conftest import Tvl

CATALOG = Path("vault/metadata/catalog.sqlite")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_PAUSES", (0.0, 0.0, 0.0))


@pytest.fixture
def damaged(vault: TableVault, folder: Path) -> str:
    """Damage the table of an instance, and return its path in the vault."""
    vault.execute_instance("words")
    (instance,) = vault.get_table_instances("words")
    path = folder / "vault/words" / instance / "table.parquet"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    return f"words/{instance}/table.parquet"


def test_a_sound_vault(tvl: Tvl, vault: TableVault) -> None:
    assert tvl("check", "--db-dir=vault").out.startswith("Nothing is wrong with ")


def test_damage_is_shown_by_kind_with_the_command_to_type(tvl: Tvl, damaged: str) -> None:
    shown = tvl("check", "--db-dir=vault", code=1).out

    assert shown.startswith(f"Corrupt: something is lost, or isn't what was recorded\n  {damaged}\n    It has ")
    assert f"`tvl delete-instance words {damaged.split('/')[1]}`" in shown
    assert "1 thing wrong." in shown


def test_litter_is_shown_and_counts_as_nothing_wrong(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    (folder / "vault/words/TEMP_lost").mkdir()

    shown = tvl("check", "--db-dir=vault").out

    assert "Litter" in shown
    assert "`tvl check --repair`" in shown
    assert "Nothing is wrong with any table." in shown


def test_repair_tells_what_it_did(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    (folder / "vault/words/TEMP_lost").mkdir()

    shown = tvl("check", "--repair", "--db-dir=vault").out

    assert shown.startswith("Repaired\n  words/TEMP_lost\n")
    assert "It was moved to the trash." in shown


def test_for_programs(tvl: Tvl, damaged: str) -> None:
    found = json.loads(tvl("check", "--json", "--no-contents", "--db-dir=vault", code=1).out)

    assert (found["ok"], found["tables"], found["repaired"]) == (False, len(found["findings"]), [])
    (finding,) = found["findings"]
    assert (finding["kind"], finding["severity"], finding["where"]) == ("corruption", "error", damaged)
    assert finding["is_repairable"] is False


def test_one_table(tvl: Tvl, damaged: str) -> None:
    tvl("check", "words", "--db-dir=vault", code=1)
    assert "Did you mean 'words'" in tvl("check", "wrods", "--db-dir=vault", code=3).err


def test_a_lost_catalog_is_made_anew(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    vault.execute_instance("words")
    for path in (folder / "vault/metadata").glob("catalog.sqlite*"):
        path.unlink()
    assert "tvl check --rebuild-catalog" in tvl("check", "--db-dir=vault", code=1).out

    shown = tvl("check", "--rebuild-catalog", "--db-dir=vault").out

    assert shown.startswith("Made the catalog anew: 1 table, 1 instance.\n")
    assert "The history of processes" in shown
    assert "words          1     3" in tvl("ls", "--db-dir=vault").out


def test_a_damaged_catalog_is_made_anew_for_programs(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    (folder / CATALOG).write_bytes(b"nothing")

    found = json.loads(tvl("check", "--rebuild-catalog", "--json", "--db-dir=vault").out)

    assert (found["tables"], found["report"]["ok"]) == (1, True)
    assert (folder / "vault" / found["kept"] / "catalog.sqlite").read_bytes() == b"nothing"


def test_a_sound_catalog_is_made_anew_only_by_force(tvl: Tvl, vault: TableVault) -> None:
    assert "With `--force` it is rebuilt" in tvl("check", "--rebuild-catalog", "--db-dir=vault", code=3).err

    tvl("check", "--rebuild-catalog", "--force", "--db-dir=vault")


@pytest.mark.parametrize(
    "arguments", [["--force"], ["--rebuild-catalog", "--repair"], ["--rebuild-catalog", "words"]], ids=" ".join
)
def test_what_doesn_t_go_together_is_a_usage_error(tvl: Tvl, vault: TableVault, arguments: list[str]) -> None:
    tvl("check", *arguments, "--db-dir=vault", code=2)
