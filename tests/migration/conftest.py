"""Vaults of TableVault 0.1 to be brought over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.migration import old_vaults


@pytest.fixture
def old_vault(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that unpacks one of the vaults that 0.1.1 has made."""
    return lambda name: old_vaults.unpack(name, tmp_path / "old")


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """Return the place of the new vault, where nothing is yet."""
    return tmp_path / "new"
