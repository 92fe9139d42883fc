"""The library, executed under an id that is given again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tests.library import CALLS
from tests.scenes import Calls

ID = "nightly"
ONCE = Counter(CALLS)
TWICE = Counter(CALLS * 2)


@pytest.fixture
def vault(copy_dir: Path, calls: Calls) -> TableVault:
    return TableVault(copy_dir, "ada", lock_timeout=0.05)


def rerun(vault: TableVault, **arguments: object) -> str:
    return vault.execute_instance("words", process_id=ID, existing="rerun", **arguments)  # type: ignore[arg-type]


def made_by(vault: TableVault, process_id: str) -> list[str]:
    found = {each: vault.get_descriptions(each, "words") for each in vault.get_table_instances("words")}
    return [each for each, told in found.items() if told["process_id"] == process_id]
