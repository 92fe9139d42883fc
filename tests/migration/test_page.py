"""docs/migration.md does what it says, with a vault that TableVault 0.1.1 has made."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests import test_documentation
from tests.migration import old_vaults


def test_the_examples_do_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = test_documentation.CHECKOUT / "docs" / "migration.md"
    runner = test_documentation.Page(tmp_path)
    monkeypatch.chdir(runner.directory)
    old_vaults.unpack("library", tmp_path).rename(runner.directory / "old_vault")

    found = [block for block in test_documentation.blocks(page) if block.mark == "no-run"]
    for block in found:
        runner.run(dataclasses.replace(block, mark=None))

    assert len(found) == 3
