"""Small tables that stand for huge ones: what reads a part of them does so in little memory."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.faults import bombs, tally
from tests.faults.tally import Row
from tests.workers import Workers

CASES = [
    ("a billion rows", "the first rows"),
    ("a billion rows", "inspect"),
    ("a billion rows", "check"),
    ("a billion rows", "tvl show"),
    ("a billion rows", "get_dataframe"),
    ("a billion rows", "diff"),
    ("a large cell in many rows", "the first batch"),
    ("a large cell in many rows", "import_instance"),
    ("a large name of an artifact in many rows", "import_instance"),
    ("a page that says too much", "the first rows"),
    ("a column that is nested deeply", "check"),
    ("a billion rows' results", "report"),
    ("a large hash in many rows", "import_instance"),
]


@pytest.mark.fault(Row.HOSTILE)
@pytest.mark.timeout(1_800)
def test_little_is_needed_to_look_at_what_is_huge(
    library_dir: Path, tmp_path: Path, scratch: Path, workers: Workers, *, is_full: bool
) -> None:
    """In a quarter of a gigabyte more than a program has anyway. What can't be done in it is refused, as such."""
    source = tmp_path / "source"
    shutil.copytree(library_dir, source)
    cases = None if is_full else CASES
    tried, violations = workers.start(bombs.attempt_all, source, scratch / "trial", cases).result(patience=1_800.0)
    tally.add(Row.HOSTILE, tried, violations)
    assert tried >= len(CASES)
    assert violations == []
