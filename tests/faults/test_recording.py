"""A recording is complete: done again to a copy, it makes of it what the operation made of the original."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.faults import recording
from tests.faults.recording import Change, Mark, Sync
from tests.faults.trials import Bench
from tests.library import ATTEMPTS
from tests.workers import Workers


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("operation", [attempt.operation for attempt in ATTEMPTS])
def test_of_an_operation(operation: str, library_dir: Path, tmp_path: Path, workers: Workers) -> None:
    bench = Bench(library_dir, tmp_path / "vault", operation, is_named=True)

    changes = workers.start(record, bench, tmp_path / "copy", tmp_path / "marks").result()

    recording.replay(changes, bench.vault_dir, tmp_path / "copy")
    assert contents(tmp_path / "copy") == contents(bench.vault_dir)
    assert Mark("begun") in changes
    assert any(isinstance(change, Sync) for change in changes)


def record(bench: Bench, copy: Path, marks: Path) -> list[Change]:
    bench.refresh()
    shutil.copytree(bench.vault_dir, copy)

    def attempt() -> None:
        with marks.open("a", buffering=1) as file:
            file.write("begun\n")
        bench.attempt_here()

    ending, changes = recording.record(attempt, bench.vault_dir, marks)
    assert ending.returned, ending.error
    return changes


def contents(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mode, path.read_bytes() if path.is_file() else None)
        for path in folder.rglob("*")
    }
