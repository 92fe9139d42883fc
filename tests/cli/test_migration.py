from __future__ import annotations

import os
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tests.cli.conftest import Tvl
from tests.migration import old_vaults


@pytest.fixture
def old(folder: Path) -> Path:
    return old_vaults.unpack("strange", folder / "old")


def test_what_was_brought_over_is_listed(tvl: Tvl, folder: Path, old: Path) -> None:
    said = tvl("migrate", old, "new", "--author=bob")

    lines = said.out.splitlines()
    assert lines[0].split() == ["OUTCOME", "WHAT", "NAME", "NOTE"]
    assert "left out  file         notes.txt" in said.out
    told = next(number for number, line in enumerate(lines) if "/trash_index " in line)
    assert lines[told].endswith("it is named 'trash-1_index' now")
    assert lines[told + 2].strip() == "0.1 ignored the field 'speed'; it is a comment now"
    assert lines[-1].startswith("Brought over: 1 vault, 2 code modules, 2 tables,")
    assert not [line for line in lines if " process " in line and line.startswith("brought")]
    assert TableVault(folder / "new").get_descriptions()["author"] == "bob"


def test_json_tells_of_everything(tvl: Tvl, old: Path) -> None:
    found = tvl("migrate", old, "new", "--json").json

    assert (found["old"], found["new"]) == (str(old), "new")
    assert found["items"][0] == {"kind": "vault", "name": "strange", "outcome": "brought", "notes": []}
    assert len([item for item in found["items"] if item["kind"] == "process"]) == 10


def test_what_is_there_stays(tvl: Tvl, vault: TableVault, old: Path) -> None:
    assert "There is something at" in tvl("migrate", old, "vault", code=3).err
    assert "is a vault of tablevault_like already" in tvl("migrate", "vault", "new", code=3).err
    assert "does not exist" in tvl("migrate", "nowhere", "new", code=3).err
    assert vault.get_table_instances() == ["words"]


def test_a_living_worker_is_told_and_may_be_ignored(tvl: Tvl, folder: Path) -> None:
    old = old_vaults.unpack("interrupted", folder / "old")
    old_vaults.change_active(old, {"pid": os.getpid(), "log_time": 4e9})

    assert "`--ignore-workers`" in tvl("migrate", old, "new", code=6).err
    assert not (folder / "new").exists()
    tvl("migrate", old, "new", "--ignore-workers")
    assert TableVault(folder / "new").get_table_instances() == ["stories", "paused", "stopped", "killed"]
