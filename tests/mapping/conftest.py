from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from builders_examples.llm.code_functions.model_server import ModelServer
from tests.scenes import calls, workers

__all__ = ["cache_path", "calls", "server", "workers"]


@pytest.fixture
def cache_path(tmp_path: Path) -> Path:
    """Return the path of a cache, in a folder that isn't there."""
    return tmp_path / "some" / "folder" / "cache.sqlite"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    """Serve a model that needs no key."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with ModelServer() as found:
        yield found
