from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like import TableVault
from tests.bundles.pages import BUILDERS, CODE
from tests.scenes import Calls, calls, workers
from tests.tables import begin

__all__ = ["calls", "workers"]


@pytest.fixture
def here(tmp_path: Path, calls: Calls) -> TableVault:
    """Return a vault in which the table ``pages`` was executed."""
    vault = TableVault(tmp_path / "here", "ada", "the first one", create=True)
    begin(vault, "pages", BUILDERS, code=CODE, description="of six words")
    vault.execute_instance("pages")
    return vault


@pytest.fixture
def there(tmp_path: Path) -> TableVault:
    """Return an empty vault."""
    return TableVault(tmp_path / "there", "bob", create=True, lock_timeout=0.05)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return an empty folder for bundles."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"
