"""What all tests share: how hard they try, and a place for a vault."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Their assertions are to be explained like those of tests. Said here, before any test imports them.
pytest.register_assert_rewrite("tests.library", "tests.scenes", "tests.states", "tests.tasks", "tests.workers")

FULL_VARIABLE = "TABLEVAULT_TEST_FULL"

_common = settings(deadline=None, database=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("default", _common, derandomize=True, max_examples=50)
settings.register_profile("full", _common, max_examples=1_000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help=f"run the exhaustive tests too (or set {FULL_VARIABLE}=1)")


def pytest_configure(config: pytest.Config) -> None:
    os.environ.pop("TABLEVAULT_DB_DIR", None)  # a developer's own vault is none of the tests' business
    settings.load_profile("full" if _is_full(config) else "default")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not _is_full(config):
        for item in items:
            if item.get_closest_marker("full"):
                item.add_marker(pytest.mark.skip(reason="exhaustive: runs with --full"))


def _is_full(config: pytest.Config) -> bool:
    return bool(config.getoption("--full")) or os.environ.get(FULL_VARIABLE) == "1"


@pytest.fixture(scope="session")
def is_full(pytestconfig: pytest.Config) -> bool:
    """Tell whether loops shall be exhaustive: every crash point rather than some of them."""
    return _is_full(pytestconfig)


@pytest.fixture
def vault_dir(tmp_path: Path) -> Path:
    """Return a directory for a vault, which doesn't exist yet."""
    return tmp_path / "vault"
