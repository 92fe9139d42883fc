from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import ptrace, tally
from tests.faults.trials import Bench
from tests.library import ATTEMPTS
from tests.scenes import calls, copy_dir, library_dir, made, workers

__all__ = ["calls", "copy_dir", "library_dir", "made", "traced", "workers"]


@pytest.fixture
def traced(request: pytest.FixtureRequest) -> None:
    """Skip a test that traces system calls, where that isn't possible. Its ``fault`` mark names its row."""
    reason = ptrace.missing()
    if reason is not None:
        mark = request.node.get_closest_marker("fault")
        if mark is None:
            pytest.skip(reason)
        tally.skip(mark.args[0], reason)


@pytest.fixture(params=[True, False], ids=["named", "unnamed"])
def is_named(request: pytest.FixtureRequest) -> bool:
    """Tell whether an operation is given a process id. A test that asks for this is made with one and without."""
    return bool(request.param)


@pytest.fixture(params=[attempt.operation for attempt in ATTEMPTS])
def operation(request: pytest.FixtureRequest) -> str:
    """Return the name of an operation. A test that asks for this is made with each."""
    return str(request.param)


@pytest.fixture
def bench(operation: str, is_named: bool, library_dir: Path, scratch: Path) -> Bench:
    """Return a bench for each operation, with a process id and without."""
    return Bench(library_dir, scratch / "vault", operation, is_named=is_named)


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """Return a folder in memory, where there is one: nothing in it is waited for."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="tablevault-", dir=memory))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
